// SPDX-License-Identifier: GPL-2.0-or-later
/* Pages that are saved before they change. */
#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "uffd/internal.h"

/* 0 or errno; what can't be followed is noted. */
static int protection_set(struct uffd *uffd, uint64_t start, uint64_t size, uint64_t mode)
{
	struct error err;

	struct uffdio_writeprotect protect = {
		.range = { .start = start, .len = size },
		.mode = mode,
	};

	while (ioctl(uffd->fd, UFFDIO_WRITEPROTECT, &protect)) {
		if (errno != EAGAIN && errno != EINTR)
			return errno;
		if (errno == EAGAIN)
			uffd_read_events(uffd, &err);
	}
	return 0;
}

/**
 * uffd_unprotect() - let everybody write, saved or not
 * @uffd: set up; what is saved has failed
 *
 * Whoever waits is woken. Where that can't be the VMM has ended, or has taken its memory
 * back: nobody waits there.
 */
void uffd_unprotect(struct uffd *uffd)
{
	size_t i;

	for (i = 0; i < uffd->n; i++) {
		if (uffd->regions[i].modes & UFFD_WRITE)
			protection_set(uffd, uffd->regions[i].start,
				       uffd->regions[i].size, 0);
	}
}

static int regions_protect(struct uffd *uffd, struct error *err)
{
	size_t i;
	int ret;

	for (i = 0; i < uffd->n; i++) {
		const struct uffd_region *region = &uffd->regions[i];

		if (!(region->modes & UFFD_WRITE))
			continue;
		ret = protection_set(uffd, region->start, region->size,
				     UFFDIO_WRITEPROTECT_MODE_WP);
		if (ret)
			return uffd_ioctl_error(ret, "write-protecting", err);
	}
	return 0;
}

/**
 * uffd_protect() - write-protect all memory that is registered for it
 * @uffd: set up
 * @err: why it failed
 *
 * Prerequisites: nobody writes to the memory meanwhile, if what is saved is to be of one
 * instant.
 *
 * On success @ops->written is called before a page changes, once. If somebody waits for
 * that longer than a second all may be written to again, saved or not, and uffd_failed()
 * says so. On failure some of the memory may be protected: uffd_stop() or uffd_release()
 * end that.
 *
 * Return: 0 or -1.
 */
int uffd_protect(struct uffd *uffd, struct error *err)
{
	int ret;

	/* What was read until now is done with: it was given back before. */
	pthread_rwlock_wrlock(&uffd->lock);
	uffd->protected = true;
	pthread_rwlock_unlock(&uffd->lock);
	ret = regions_protect(uffd, err);
	if (ret || !__atomic_load_n(&uffd->abandoned, __ATOMIC_SEQ_CST))
		return ret;
	/* Somebody has waited too long meanwhile: what was protected since then stays so. */
	uffd_unprotect(uffd);
	uffd_failed(uffd, err);
	return -1;
}

/* Whoever waits for them is woken. */
static int run_allow(struct uffd *uffd, const struct uffd_region *region, uint64_t page,
		     uint64_t n, struct error *err)
{
	uint64_t start = region->start + page * region->page_size;
	int ret = protection_set(uffd, start, n * region->page_size, 0);

	/* Who had begun to wait just before the release is not woken by it. */
	if (ret == ENOENT && uffd_is_released(uffd))
		return uffd_wake(uffd, start, n * region->page_size, err);
	return ret ? uffd_ioctl_error(ret, "allowing a page to be written", err) : 0;
}

#ifdef MIGCTL_TEST_LATE
/* One that is broken on purpose: some pages may be written before they are saved. */
static void test_late(struct uffd *uffd, const struct uffd_region *region, uint64_t page,
		      uint64_t n)
{
	static uint64_t count;
	struct error ignored;

	if (__atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) % MIGCTL_TEST_LATE)
		return;
	run_allow(uffd, region, page, n, &ignored);
	usleep(10000);
}
#else
static void test_late(struct uffd *uffd, const struct uffd_region *region, uint64_t page,
		      uint64_t n)
{
	(void)uffd;
	(void)region;
	(void)page;
	(void)n;
}
#endif

/*
 * Pages that were claimed: saved, and only then allowed to be written. Also if they could
 * not be saved: the guest is worth more than its copy, which fails.
 */
static int run_save(struct uffd *uffd, struct uffd_channel *channel,
		    const struct uffd_region *region, struct uffd_saving *saving,
		    struct error *err)
{
	uint64_t page = saving->page - region->first, n = saving->n, i;
	struct error later;
	int ret;

	test_late(uffd, region, page, n);
	ret = uffd->ops->written(uffd->data, region->offset + page * region->page_size,
				 n * region->page_size, channel->buffer, err);
	if (ret)
		uffd_fail(uffd, err);
	uffd_saving_end(uffd, saving);
	/*
	 * Memory that is given back is gone as soon as its event is read. That is done,
	 * and noted, under this lock: what we have read is older, or it is told of.
	 */
	pthread_rwlock_rdlock(&uffd->lock);
	for (i = 0; i < n; i++)
		uffd_claim_done(uffd->claims, saving->page + i);
	pthread_rwlock_unlock(&uffd->lock);
	uffd_count(&uffd->claims->stats->saved, n);
	return run_allow(uffd, region, page, n, ret ? &later : err) ? -1 : ret;
}

/* A fault: somebody is about to write to a page. */
int uffd_save_one(struct uffd *uffd, struct uffd_channel *channel,
		  const struct uffd_region *region, uint64_t page, struct error *err)
{
	uint64_t index = region->first + page;
	struct uffd_saving saving;

	uffd_count(&uffd->claims->stats->write_faults, 1);
	if (uffd_saving_one(uffd, region, index, &saving))
		return run_save(uffd, channel, region, &saving, err);
	/* Somebody saves it, and allows it then. */
	if (!uffd_claim_is_done(uffd->claims, index))
		return 0;
	return run_allow(uffd, region, page, 1, err);
}

/**
 * uffd_save() - save pages that nobody has saved
 * @uffd: set up; the memory is protected
 * @channel: of this thread
 * @page: the first, as the claims number them
 * @n: how many; they may be of several regions
 * @err: why it failed
 *
 * Prerequisites: all of them are in regions for UFFD_WRITE.
 *
 * On success each was handed to @ops->written, by this thread or another one, and may be
 * written to again; those that another thread has claimed perhaps only a little later.
 * On failure uffd_failed() says so, too: what was to be saved is not whole.
 *
 * Return: 0 or -1.
 */
int uffd_save(struct uffd *uffd, struct uffd_channel *channel, uint64_t page, uint64_t n,
	      struct error *err)
{
	const struct uffd_region *region;
	struct uffd_saving saving;
	uint64_t run;

	while (n) {
		region = uffd_saving_run(uffd, channel, page, n, &saving, err);
		if (!region)
			return -1;
		run = saving.n;
		if (run && run_save(uffd, channel, region, &saving, err))
			return -1;
		if (!run)
			run = 1;
		page += run;
		n -= run;
	}
	return 0;
}
