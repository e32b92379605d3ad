// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uffd/internal.h"

#define RELEASE_WAIT_US	200

int uffd_channel_open(struct uffd_channel *channel, size_t size, struct error *err)
{
	*channel = (struct uffd_channel){};
	channel->buffer = mmap(NULL, size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (channel->buffer == MAP_FAILED) {
		channel->buffer = NULL;
		return error_set(err, EXIT_FAILED, "out of memory");
	}
	channel->size = size;
	return 0;
}

void uffd_channel_close(struct uffd_channel *channel)
{
	if (channel->buffer)
		munmap(channel->buffer, channel->size);
	*channel = (struct uffd_channel){};
}

static uint64_t largest_page(const struct uffd_region *regions, size_t n)
{
	uint64_t size = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (regions[i].page_size > size)
			size = regions[i].page_size;
	}
	return size;
}

static int regions_copy(struct uffd *uffd, const struct uffd_config *config,
			struct error *err)
{
	uint64_t first = 0;
	size_t i;

	if (uffd_regions_check(config->regions, config->n, UINT64_MAX, err))
		return -1;
	uffd->regions = calloc(config->n, sizeof(*uffd->regions));
	if (!uffd->regions)
		return error_set(err, EXIT_FAILED, "out of memory");
	uffd->n = config->n;
	for (i = 0; i < uffd->n; i++) {
		uffd->regions[i] = config->regions[i];
		uffd->regions[i].first = first;
		first += uffd->regions[i].size / uffd->regions[i].page_size;
		if ((uffd->regions[i].modes & UFFD_WRITE ? !config->ops->written :
		     !config->ops->load))
			return error_set(err, EXIT_FAILED,
					 "memory region %zu has nobody to ask", i);
	}
	uffd->claims = config->claims;
	if (!uffd->claims) {
		uffd->claims = &uffd->own_claims;
		return uffd_claims_open(uffd->claims, first, false, err);
	}
	if (uffd->claims->pages == first)
		return 0;
	return error_set(err, EXIT_FAILED, "the claims are those of other memory");
}

static uint64_t ioctls_of(unsigned int modes)
{
	return (modes & UFFD_MISSING ? 1ull << _UFFDIO_COPY : 0) |
	       (modes & UFFD_MINOR ? 1ull << _UFFDIO_CONTINUE : 0) |
	       (modes & UFFD_WRITE ? 1ull << _UFFDIO_WRITEPROTECT : 0);
}

static void region_unregister(struct uffd *uffd, const struct uffd_region *region)
{
	struct uffdio_range range = { .start = region->start, .len = region->size };

	ioctl(uffd->fd, UFFDIO_UNREGISTER, &range);
}

static int region_register(struct uffd *uffd, const struct uffd_region *region,
			   struct error *err)
{
	struct uffdio_register reg = {
		.range = { .start = region->start, .len = region->size },
		.mode = (region->modes & UFFD_MISSING ? UFFDIO_REGISTER_MODE_MISSING : 0) |
			(region->modes & UFFD_MINOR ? UFFDIO_REGISTER_MODE_MINOR : 0) |
			(region->modes & UFFD_WRITE ? UFFDIO_REGISTER_MODE_WP : 0),
	};

	if (!ioctl(uffd->fd, UFFDIO_REGISTER, &reg)) {
		if (!(ioctls_of(region->modes) & ~reg.ioctls))
			return 0;
		region_unregister(uffd, region);
		errno = EINVAL;
	}
	error_set(err, EXIT_FAILED, "memory at 0x%llx can't be registered: %s",
		  (unsigned long long)region->start, strerror(errno));
	switch (errno) {
	case EBUSY:
		return error_advise(err, "another userfaultfd has it already");
	case EINVAL:
		return error_advise(err, "it has to be anonymous, tmpfs or hugetlbfs, and of a page size that the kernel handles this way");
	default:
		return -1;
	}
}

static int regions_register(struct uffd *uffd, struct error *err)
{
	while (uffd->own && uffd->registered < uffd->n) {
		if (region_register(uffd, &uffd->regions[uffd->registered], err))
			return -1;
		uffd->registered++;
	}
	return 0;
}

/* Who was read of by a process that is gone asks again. */
static int wake_all(struct uffd *uffd, struct error *err)
{
	size_t i;

	for (i = 0; i < uffd->n; i++) {
		if (uffd_wake(uffd, uffd->regions[i].start, uffd->regions[i].size, err))
			return -1;
	}
	return 0;
}

static int threads_start(struct uffd *uffd, unsigned int n, struct error *err)
{
	size_t size = largest_page(uffd->regions, uffd->n);
	struct uffd_thread *thread;
	int ret;

	uffd->threads = calloc(n, sizeof(*uffd->threads));
	if (!uffd->threads)
		return error_set(err, EXIT_FAILED, "out of memory");
	while (uffd->n_threads < n) {
		thread = &uffd->threads[uffd->n_threads];
		thread->uffd = uffd;
		if (uffd_channel_open(&thread->channel, size, err))
			return -1;
		ret = pthread_create(&thread->thread, NULL, uffd_fault_thread, thread);
		if (ret) {
			uffd_channel_close(&thread->channel);
			return error_set(err, EXIT_FAILED, "can't make a thread: %s",
					 strerror(ret));
		}
		uffd->n_threads++;
	}
	return 0;
}

static bool has_to_save(const struct uffd *uffd)
{
	size_t i;

	for (i = 0; i < uffd->n; i++) {
		if (uffd->regions[i].modes & UFFD_WRITE)
			return true;
	}
	return false;
}

static int descriptors_open(struct uffd *uffd, const struct uffd_config *config,
			    struct error *err)
{
	uffd->own = config->fd < 0;
	uffd->fd = config->fd;
	if (uffd->own ? uffd_open(config->features, &uffd->fd, err) :
			uffd_adopt(uffd->fd, err))
		return -1;
	uffd->quit_fd = eventfd(0, EFD_CLOEXEC);
	uffd->failed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (uffd->quit_fd < 0 || uffd->failed_fd < 0)
		return error_set(err, EXIT_FAILED, "eventfd: %s", strerror(errno));
	return 0;
}

static void locks_init(struct uffd *uffd)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	/* A fault is never behind a thread that loads one run after the other. */
	pthread_rwlockattr_setkind_np(&attr,
				      PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&uffd->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&uffd->err_lock, NULL);
	pthread_mutex_init(&uffd->saving_lock, NULL);
	blocktime_open(&uffd->clock);
}

/**
 * uffd_setup() - handle the faults of some memory from now on
 * @uffd: NULL after a failure
 * @config: see there
 * @err: why it failed, with the remedy where the host lacks something
 *
 * Prerequisites: a kernel with userfaultfd, and the privilege to open it, unless
 * @config has one. Its regions are mapped, and no other userfaultfd has them.
 *
 * On success the regions are registered (unless @config has a userfaultfd, whose
 * owner has done that), the threads run, and whoever touches a page that is not
 * there waits until @config->ops->load has supplied it. On failure all is as before,
 * but for @config->fd, which is closed in any case.
 *
 * Return: 0 or -1.
 */
int uffd_setup(struct uffd **uffd, const struct uffd_config *config,
	       struct error *err)
{
	unsigned int threads = config->threads ? config->threads : 1;
	struct uffd *new = calloc(1, sizeof(*new));

	*uffd = NULL;
	if (!new) {
		if (config->fd >= 0)
			close(config->fd);
		return error_set(err, EXIT_FAILED, "out of memory");
	}
	new->fd = new->quit_fd = new->failed_fd = new->watch_fd = -1;
	new->ops = config->ops;
	new->data = config->data;
	locks_init(new);
	if (threads > UFFD_MAX_THREADS)
		threads = UFFD_MAX_THREADS;
	if (descriptors_open(new, config, err) || regions_copy(new, config, err) ||
	    regions_register(new, err) || wake_all(new, err) ||
	    threads_start(new, threads, err) ||
	    (has_to_save(new) && uffd_watch_start(new, err))) {
		uffd_stop(new);
		return -1;
	}
	*uffd = new;
	return 0;
}

static void regions_unregister(struct uffd *uffd)
{
	while (uffd->registered)
		region_unregister(uffd, &uffd->regions[--uffd->registered]);
}

static void threads_stop(struct uffd *uffd)
{
	if (uffd->quit_fd >= 0)
		eventfd_write(uffd->quit_fd, 1);
	while (uffd->n_threads) {
		struct uffd_thread *thread = &uffd->threads[--uffd->n_threads];

		pthread_join(thread->thread, NULL);
		uffd_channel_close(&thread->channel);
	}
}

/**
 * uffd_stop() - end the threads, and close everything
 * @uffd: from uffd_setup(), freed; or NULL
 *
 * Memory of our own is not registered any more: a page that was not loaded is one of
 * zeros to who touches it now. That of a VMM stays as it is, and whoever holds its
 * userfaultfd can go on with the same claims. No thread may be in uffd_load().
 */
void uffd_stop(struct uffd *uffd)
{
	struct error ignored;

	if (!uffd)
		return;
	/* Threads end when their storage lets them: until then somebody may wait for them. */
	threads_stop(uffd);
	uffd_watch_stop(uffd);
	/* Who had begun to wait just before the release, and was not read of. */
	if (uffd->claims && uffd->claims->stats && uffd->claims->stats->released)
		wake_all(uffd, &ignored);
	regions_unregister(uffd);
	if (uffd->fd >= 0)
		close(uffd->fd);
	if (uffd->quit_fd >= 0)
		close(uffd->quit_fd);
	if (uffd->failed_fd >= 0)
		close(uffd->failed_fd);
	uffd_claims_close(&uffd->own_claims);
	pthread_rwlock_destroy(&uffd->lock);
	pthread_mutex_destroy(&uffd->err_lock);
	pthread_mutex_destroy(&uffd->saving_lock);
	blocktime_close(&uffd->clock);
	free(uffd->threads);
	free(uffd->regions);
	free(uffd);
}

/*
 * What is not saved by now had no data when it was protected. A thread that has read of a
 * fault there, and looks at the page only when another one could write to it, would save
 * what is too new.
 */
static void saving_end(struct uffd *uffd)
{
	size_t i;

	for (i = 0; i < uffd->n; i++) {
		const struct uffd_region *region = &uffd->regions[i];

		if (region->modes & UFFD_WRITE)
			uffd_claim_rest(uffd->claims, region->first,
					region->size / region->page_size);
	}
}

/**
 * uffd_release() - the memory is all there: its faults are the kernel's again
 * @uffd: set up; every page that is not of zeros is loaded, or saved
 * @err: why it failed: the VMM has ended
 *
 * What was not loaded is of zeros from now on, and what was not saved is not saved any
 * more; what a thread is just loading or saving is awaited. The threads still run: who has
 * begun to give memory back waits for them to read of it.
 *
 * Return: 0 or -1.
 */
int uffd_release(struct uffd *uffd, struct error *err)
{
	size_t i;

	saving_end(uffd);
	while (uffd_claims_busy(uffd->claims) && !uffd->claims->stats->stuck)
		usleep(RELEASE_WAIT_US);
	if (uffd->claims->stats->stuck)
		return error_set(err, EXIT_FAILED, "a page could not be loaded");
	__atomic_store_n(&uffd->claims->stats->released, 1, __ATOMIC_SEQ_CST);
	for (i = 0; i < uffd->n; i++) {
		struct uffdio_range range = { .start = uffd->regions[i].start,
					      .len = uffd->regions[i].size };

		/* The kernel's word for an address space that is no more. */
		if (ioctl(uffd->fd, UFFDIO_UNREGISTER, &range))
			return uffd_ioctl_error(errno == ENOMEM ? ESRCH : errno,
						"releasing the memory", err);
	}
	uffd->registered = 0;
	return 0;
}

static int run_place(struct uffd *uffd, const struct uffd_region *region, uint64_t page,
		     uint64_t n, enum uffd_kind kind, const char *buffer, struct error *err)
{
	if (!uffd_place(uffd, region, page, n, kind, buffer, err))
		return 0;
	/* Nobody else will: who waits for it does for ever. */
	uffd_count(&uffd->claims->stats->stuck, 1);
	return -1;
}

/**
 * uffd_give() - put pages in place that came unasked
 * @uffd: set up
 * @page: the first, as the claims number them; the caller has claimed them
 * @n: how many, of one region
 * @kind: what they are
 * @buffer: their contents, for UFFD_DATA
 * @err: why it failed
 *
 * Whoever waits for them is woken.
 *
 * Return: 0 or -1.
 */
int uffd_give(struct uffd *uffd, uint64_t page, uint64_t n, enum uffd_kind kind,
	      const char *buffer, struct error *err)
{
	const struct uffd_region *region;

	region = uffd_region_of_page(uffd->regions, uffd->n, page);
	if (!region)
		return error_set(err, EXIT_FAILED, "there is no such page");
	return run_place(uffd, region, page - region->first, n, kind, buffer, err);
}

/**
 * uffd_retry() - pages that could not be had can be
 * @uffd: set up
 * @err: why it failed
 *
 * Who waits for one that was parked touches it again.
 *
 * Return: 0 or -1.
 */
int uffd_retry(struct uffd *uffd, struct error *err)
{
	const struct uffd_region *region;
	uint64_t page = 0;

	for (;; page++) {
		page = uffd_claim_parked(uffd->claims, page);
		if (page >= uffd->claims->pages)
			return 0;
		uffd_claim_unpark(uffd->claims, page);
		region = uffd_region_of_page(uffd->regions, uffd->n, page);
		if (uffd_wake(uffd, region->start + (page - region->first) * region->page_size,
			      region->page_size, err))
			return -1;
	}
}

/*
 * The region of a page, and how many from it on are ours now: none if somebody has it,
 * and no more than there is room for. NULL: there is no such page.
 */
const struct uffd_region *uffd_run_claim(struct uffd *uffd,
					 const struct uffd_channel *channel, uint64_t page,
					 uint64_t n, uint64_t *run, struct error *err)
{
	const struct uffd_region *region = uffd_region_of_page(uffd->regions, uffd->n, page);
	uint64_t left, room;

	if (!region) {
		error_set(err, EXIT_FAILED, "there is no such page");
		return NULL;
	}
	left = region->first + region->size / region->page_size - page;
	room = channel->size / region->page_size;
	if (n > left)
		n = left;
	*run = uffd_claim_run(uffd->claims, page, n < room ? n : room ? room : 1);
	return region;
}

static int run_load(struct uffd *uffd, struct uffd_channel *channel,
		    const struct uffd_region *region, uint64_t page, uint64_t n,
		    struct error *err);

/* One of them can't be had: the others can. */
static int run_load_apart(struct uffd *uffd, struct uffd_channel *channel,
			  const struct uffd_region *region, uint64_t page, uint64_t n,
			  struct error *err)
{
	struct error later;
	int ret = 0;

	if (n == 1) {
		/* Noted first: it may be the end of who touches it. */
		uffd_fail(uffd, err);
		uffd_poison(uffd, region, page, 1);
		return -1;
	}
	for (; n; n--, page++) {
		if (run_load(uffd, channel, region, page, 1, ret ? &later : err))
			ret = -1;
	}
	return ret;
}

static int run_load(struct uffd *uffd, struct uffd_channel *channel,
		    const struct uffd_region *region, uint64_t page, uint64_t n,
		    struct error *err)
{
	uint64_t offset = page * region->page_size;
	bool minor = region->modes & UFFD_MINOR;
	char *buffer = minor ? region->alias + offset : channel->buffer;
	enum uffd_kind kind = UFFD_DATA;
	int ret;

	ret = uffd->ops->load(uffd->data, region->offset + offset, n * region->page_size,
			      buffer, &kind, err);
	/* Parked: uffd_retry() tells who waits. */
	if (ret > 0)
		return 0;
	if (ret)
		return run_load_apart(uffd, channel, region, page, n, err);
	if (kind == UFFD_ZERO && (minor || region->page_size > 4096)) {
		memset(buffer, 0, n * region->page_size);
		kind = UFFD_DATA;
	}
	return run_place(uffd, region, page, n, kind, buffer, err);
}

/**
 * uffd_load() - load pages that nobody has loaded
 * @uffd: set up
 * @channel: of this thread
 * @page: the first, as the claims number them
 * @n: how many; they may be of several regions
 * @err: why it failed
 *
 * Pages that somebody else has claimed are left to him. Those that could not be
 * supplied are poisoned; the others are loaded all the same.
 *
 * Return: 0, or -1 with the first reason.
 */
int uffd_load(struct uffd *uffd, struct uffd_channel *channel, uint64_t page,
	      uint64_t n, struct error *err)
{
	const struct uffd_region *region;
	struct error later;
	uint64_t run;
	int ret = 0;

	while (n) {
		region = uffd_run_claim(uffd, channel, page, n, &run, ret ? &later : err);
		if (!region)
			return -1;
		if (run && run_load(uffd, channel, region, page - region->first, run,
				    ret ? &later : err))
			ret = -1;
		if (!run)
			run = 1;
		page += run;
		n -= run;
	}
	return ret;
}
