// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who writes to a page waits until it is saved, and a storage that hangs would have him
 * wait as long as it does: all threads that handle faults hang with it. One thread that
 * needs no storage looks after them. It has the saving fail, and lets everybody write.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "uffd/internal.h"

/* Nobody waits longer for pages to be saved; for huge ones a second for so much of them. */
#define WAIT_MAX_S	1
#define BYTES_PER_S	(64u << 20)
/*
 * Counted in looks, not read off a clock: if we did not run ourselves meanwhile, it was
 * not the storage that took so long.
 */
#define LOOK_MS		100
#define LOOKS_PER_S	(1000 / LOOK_MS)

static void saving_add(struct uffd *uffd, const struct uffd_region *region,
		       struct uffd_saving *saving)
{
	saving->max_s = WAIT_MAX_S + saving->n * region->page_size / BYTES_PER_S;
	saving->next = uffd->saving;
	uffd->saving = saving;
}

/**
 * uffd_saving_one() - claim a page that somebody is about to write to
 * @uffd: set up
 * @region: of the page
 * @page: as the claims number it
 * @saving: filled; to be given to uffd_saving_end() if the page is ours
 *
 * Return: true if it is ours. If not, it is awaited from who has it.
 */
bool uffd_saving_one(struct uffd *uffd, const struct uffd_region *region, uint64_t page,
		     struct uffd_saving *saving)
{
	struct uffd_saving *other;
	bool ours;

	*saving = (struct uffd_saving) { .page = page, .n = 1, .awaited = true };
	pthread_mutex_lock(&uffd->saving_lock);
	ours = uffd_claim(uffd->claims, page);
	if (ours)
		saving_add(uffd, region, saving);
	for (other = ours ? NULL : uffd->saving; other; other = other->next) {
		if (page - other->page < other->n)
			other->awaited = true;
	}
	pthread_mutex_unlock(&uffd->saving_lock);
	return ours;
}

/**
 * uffd_saving_run() - claim pages that nobody waits for yet
 * @uffd: set up
 * @channel: of this thread
 * @page: the first, as the claims number them
 * @n: how many
 * @saving: filled; to be given to uffd_saving_end() if some pages, @saving->n, are ours
 * @err: why it failed
 *
 * Return: their region, or NULL: there is no such page.
 */
const struct uffd_region *uffd_saving_run(struct uffd *uffd,
					  const struct uffd_channel *channel,
					  uint64_t page, uint64_t n,
					  struct uffd_saving *saving, struct error *err)
{
	const struct uffd_region *region;

	*saving = (struct uffd_saving) { .page = page };
	/* Whoever finds them claimed finds whose they are, too. */
	pthread_mutex_lock(&uffd->saving_lock);
	region = uffd_run_claim(uffd, channel, page, n, &saving->n, err);
	if (region && saving->n)
		saving_add(uffd, region, saving);
	pthread_mutex_unlock(&uffd->saving_lock);
	return region;
}

/**
 * uffd_saving_end() - the storage has these pages, or has refused them
 * @uffd: set up
 * @saving: of this thread
 *
 * If that took too long uffd_failed() says so from now on.
 */
void uffd_saving_end(struct uffd *uffd, struct uffd_saving *saving)
{
	struct uffd_saving **at;

	pthread_mutex_lock(&uffd->saving_lock);
	for (at = &uffd->saving; *at != saving; at = &(*at)->next)
		;
	*at = saving->next;
	pthread_mutex_unlock(&uffd->saving_lock);
}

/* The first one that takes too long, or NULL. */
static const struct uffd_saving *late_find(struct uffd *uffd)
{
	struct uffd_saving *saving;

	for (saving = uffd->saving; saving; saving = saving->next) {
		if (saving->awaited && saving->looks++ >= saving->max_s * LOOKS_PER_S)
			return saving;
	}
	return NULL;
}

static void abandon(struct uffd *uffd, const struct uffd_saving *late)
{
	struct error err;

	error_set(&err, EXIT_FAILED,
		  "the storage hangs: a page that the guest writes to was not saved within %llu s",
		  (unsigned long long)late->max_s);
	error_advise(&err, "the guest runs on; see the kernel's log for the disk or the server, or choose another file system");
	uffd_fail(uffd, &err);
	__atomic_store_n(&uffd->abandoned, true, __ATOMIC_SEQ_CST);
}

/* Whether everybody may write from now on. */
static bool look(struct uffd *uffd)
{
	const struct uffd_saving *late;

	/* Noted before those pages are done with, and before anybody may write. */
	pthread_mutex_lock(&uffd->saving_lock);
	late = late_find(uffd);
	if (late)
		abandon(uffd, late);
	pthread_mutex_unlock(&uffd->saving_lock);
	if (late)
		uffd_unprotect(uffd);
	return late;
}

static void *watch(void *data)
{
	struct pollfd fds[] = { { .events = POLLIN }, { .fd = -1, .events = POLLIN } };
	struct uffd *uffd = data;
	struct error ignored;
	int n;

	fds[0].fd = uffd->watch_fd;
	for (;;) {
		n = poll(fds, 2, LOOK_MS);
		if (n > 0 && fds[0].revents)
			return NULL;
		if (n > 0 && fds[1].revents & POLLIN)
			uffd_read_events(uffd, &ignored);
		else if (n > 0)
			fds[1].fd = -1;
		/* Who gives memory back waits for an event to be read: by us, if all hang. */
		if (!n && !uffd->abandoned && look(uffd))
			fds[1].fd = uffd->fd;
	}
}

/**
 * uffd_watch_start() - let nobody wait for long for a page to be saved
 * @uffd: all but set up
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int uffd_watch_start(struct uffd *uffd, struct error *err)
{
	int ret;

	uffd->watch_fd = eventfd(0, EFD_CLOEXEC);
	if (uffd->watch_fd < 0)
		return error_set(err, EXIT_FAILED, "eventfd: %s", strerror(errno));
	ret = pthread_create(&uffd->watch, NULL, watch, uffd);
	if (!ret)
		return 0;
	close(uffd->watch_fd);
	uffd->watch_fd = -1;
	return error_set(err, EXIT_FAILED, "can't make a thread: %s", strerror(ret));
}

/**
 * uffd_watch_stop() - end it at once
 * @uffd: no thread of it saves anything any more; perhaps it was never started
 */
void uffd_watch_stop(struct uffd *uffd)
{
	if (uffd->watch_fd < 0)
		return;
	eventfd_write(uffd->watch_fd, 1);
	pthread_join(uffd->watch, NULL);
	close(uffd->watch_fd);
	uffd->watch_fd = -1;
}
