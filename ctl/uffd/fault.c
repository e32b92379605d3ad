// SPDX-License-Identifier: GPL-2.0-or-later
/* The threads that handle faults. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "uffd/internal.h"

/* One: with more, a thread would let others wait while its page is read from a disk. */
#define MESSAGES	1
/* More than threads wait at a time: an event comes after all of them. */
#define EVENT_MESSAGES	256
/* A range that has the address of a fault, and can be woken. */
#define FAULT_BYTES	4096ull

void uffd_fail(struct uffd *uffd, const struct error *err)
{
	bool first;

	pthread_mutex_lock(&uffd->err_lock);
	first = !uffd->failed;
	if (first)
		uffd->err = *err;
	uffd->failed = true;
	pthread_mutex_unlock(&uffd->err_lock);
	eventfd_write(uffd->failed_fd, 1);
	if (first && uffd->ops->failed)
		uffd->ops->failed(uffd->data, err);
}

/**
 * uffd_failed() - whether a page could not be loaded, or a fault not be handled
 * @uffd: set up
 * @err: filled with the first failure, if there was one
 *
 * Return: true if so.
 */
bool uffd_failed(struct uffd *uffd, struct error *err)
{
	bool failed;

	/* An event that was read is noted by then. */
	pthread_rwlock_rdlock(&uffd->lock);
	pthread_mutex_lock(&uffd->err_lock);
	failed = uffd->failed;
	if (failed)
		*err = uffd->err;
	pthread_mutex_unlock(&uffd->err_lock);
	pthread_rwlock_unlock(&uffd->lock);
	return failed;
}

int uffd_failed_fd(const struct uffd *uffd)
{
	return uffd->failed_fd;
}

/* From @start to @end: what lies in our regions has been given back. */
static void range_removed(struct uffd *uffd, uint64_t start, uint64_t end)
{
	bool lost = false;
	struct error err;
	size_t i;

	for (i = 0; i < uffd->n; i++) {
		const struct uffd_region *r = &uffd->regions[i];
		uint64_t from = start > r->start ? start : r->start;
		uint64_t to = end < r->start + r->size ? end : r->start + r->size;
		uint64_t page = (from - r->start + r->page_size - 1) / r->page_size;

		for (; from < to && (page + 1) * r->page_size <= to - r->start; page++) {
			if (r->modes & UFFD_WRITE)
				lost |= !uffd_claim_is_done(uffd->claims, r->first + page);
			else
				uffd_claim_remove(uffd->claims, r->first + page);
		}
	}
	/* It is gone once this was read. Who gave it back goes on. */
	if (!lost || !uffd->protected)
		return;
	error_set(&err, EXIT_VMM, "the VMM gave back memory that was not saved yet");
	error_advise(&err, "keep its balloon as it is meanwhile");
	uffd_fail(uffd, &err);
}

static int event_refuse(const char *what, struct error *err)
{
	error_set(err, EXIT_PEER, "the VMM has %s", what);
	return error_advise(err, "that can't be followed: its userfaultfd should not report such events, or it should not do that while pages are loaded");
}

/* What the VMM did to its memory. It waits until this is read. */
static int event_take(struct uffd *uffd, const struct uffd_msg *msg, struct error *err)
{
	switch (msg->event) {
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		range_removed(uffd, msg->arg.remove.start, msg->arg.remove.end);
		return 0;
	case UFFD_EVENT_REMAP:
		if (!uffd_region_find(uffd->regions, uffd->n, msg->arg.remap.from))
			return 0;
		return event_refuse("moved memory of the guest (mremap)", err);
	case UFFD_EVENT_FORK:
		/* The child's own userfaultfd: closed, its memory is its own matter. */
		close((int)msg->arg.fork.ufd);
		return event_refuse("forked, with memory that is not loaded", err);
	default:
		return event_refuse("reported an event that is not known here", err);
	}
}

/**
 * uffd_read_events() - do with the events what is to be done first
 * @uffd: set up; its lock is not held
 * @err: why it failed; noted
 *
 * As long as one is not read nothing can be put in place (EAGAIN), and all threads that
 * read may want to do just that. Faults come before events: those that were read ask
 * again when they are woken.
 *
 * Return: 0 or -1.
 */
int uffd_read_events(struct uffd *uffd, struct error *err)
{
	struct uffd_msg all[EVENT_MESSAGES];
	struct error ignored;
	ssize_t length;
	size_t i, n;
	int ret = 0;

	pthread_rwlock_wrlock(&uffd->lock);
	length = read(uffd->fd, all, sizeof(all));
	n = length > 0 ? (size_t)length / sizeof(all[0]) : 0;
	for (i = 0; i < n && !ret; i++) {
		if (all[i].event != UFFD_EVENT_PAGEFAULT)
			ret = event_take(uffd, &all[i], err);
	}
	pthread_rwlock_unlock(&uffd->lock);
	for (i = 0; i < n; i++) {
		if (all[i].event == UFFD_EVENT_PAGEFAULT)
			uffd_wake(uffd, all[i].arg.pagefault.address & ~(FAULT_BYTES - 1),
				  FAULT_BYTES, &ignored);
	}
	if (ret)
		uffd_fail(uffd, err);
	/* It is over when whoever did it has been on its CPU again. */
	if (!n)
		sched_yield();
	return ret;
}

/* The end of a wait for a page that nobody loads. */
static int zero_one(struct uffd *uffd, struct uffd_channel *channel,
		    const struct uffd_region *region, uint64_t page, struct error *err)
{
	int ret = uffd_place_zero(uffd, region, page, channel, err);

	blocktime_end(&uffd->clock, region->first + page, 1, now_ns());
	return ret;
}

static int load_one(struct uffd *uffd, struct uffd_channel *channel,
		    const struct uffd_region *region, uint64_t page,
		    struct error *err)
{
	if (uffd_claim_is_removed(uffd->claims, region->first + page) ||
	    uffd_claim_is_done(uffd->claims, region->first + page)) {
		/*
		 * Zeros also for what is done: it is there, and this wakes who has
		 * asked too late; or it was given back without an event.
		 */
		uffd_count(&uffd->claims->stats->zero_faults, 1);
		return zero_one(uffd, channel, region, page, err);
	}
	/* Whoever loads it wakes all that wait for it. */
	if (uffd_claim_is_taken(uffd->claims, region->first + page))
		uffd_count(&uffd->claims->stats->waited, 1);
	if (uffd_load(uffd, channel, region->first + page, 1, err))
		return -1;
	/* Given back since it was looked at: nobody has loaded it. */
	if (!uffd_claim_is_removed(uffd->claims, region->first + page))
		return 0;
	return zero_one(uffd, channel, region, page, err);
}

static int fault_take(struct uffd_thread *thread, const struct uffd_msg *msg,
		      struct error *err)
{
	struct uffd *uffd = thread->uffd;
	const struct uffd_region *region;
	uint64_t page;

	uffd_count(&uffd->claims->stats->faults, 1);
	region = uffd_region_find(uffd->regions, uffd->n, msg->arg.pagefault.address);
	if (!region) {
		error_set(err, EXIT_PEER,
			  "a fault at 0x%llx, where the VMM has told of no memory",
			  (unsigned long long)msg->arg.pagefault.address);
		return error_advise(err, "the VMM is broken: it has registered more than it told");
	}
	page = (msg->arg.pagefault.address - region->start) / region->page_size;
	if (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
		if (region->modes & UFFD_WRITE)
			return uffd_save_one(uffd, &thread->channel, region,
					     page, err);
		return error_set(err, EXIT_PEER, "the VMM write-protects memory that is loaded");
	}
	/* Before it is seen whether the page is there: it may be put there meanwhile. */
	blocktime_begin(&uffd->clock, region->first + page, msg->arg.pagefault.feat.ptid,
			now_ns());
	uffd_claim_record(uffd->claims, region->first + page);
	return load_one(uffd, &thread->channel, region, page, err);
}

/*
 * Messages, in their order: events are done with before the lock is released, so
 * that nothing is put where it was given back; then the faults.
 */
static int messages_read(struct uffd *uffd, struct uffd_msg *messages, size_t *n,
			 struct error *err)
{
	struct uffd_msg all[MESSAGES];
	ssize_t length;
	size_t i;
	int ret = 0;

	*n = 0;
	pthread_rwlock_wrlock(&uffd->lock);
	length = read(uffd->fd, all, sizeof(all));
	for (i = 0; length > 0 && i < (size_t)length / sizeof(all[0]) && !ret; i++) {
		if (all[i].event == UFFD_EVENT_PAGEFAULT)
			messages[(*n)++] = all[i];
		else
			ret = event_take(uffd, &all[i], err);
	}
	pthread_rwlock_unlock(&uffd->lock);
	if (length < 0 && errno != EAGAIN && errno != EINTR)
		return error_set(err, EXIT_PEER, "the userfaultfd can't be read: %s",
				 strerror(errno));
	return ret;
}

/* Errors that are about one page do not end it; who waits for it has SIGBUS. */
static bool is_fatal(const struct error *err)
{
	return err->code == EXIT_PEER || err->code == EXIT_GONE;
}

static int messages_handle(struct uffd_thread *thread, struct error *err)
{
	struct uffd_msg messages[MESSAGES];
	size_t i, n;

	if (messages_read(thread->uffd, messages, &n, err)) {
		uffd_fail(thread->uffd, err);
		return -1;
	}
	for (i = 0; i < n; i++) {
		if (!fault_take(thread, &messages[i], err))
			continue;
		uffd_fail(thread->uffd, err);
		if (is_fatal(err))
			return -1;
	}
	return 0;
}

/* Of all threads one is woken for a fault. */
static int wait_open(struct uffd *uffd, struct error *err)
{
	struct epoll_event fault = { .events = EPOLLIN | EPOLLEXCLUSIVE, .data.fd = uffd->fd };
	struct epoll_event quit = { .events = EPOLLIN, .data.fd = uffd->quit_fd };
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd >= 0 && !epoll_ctl(fd, EPOLL_CTL_ADD, uffd->fd, &fault) &&
	    !epoll_ctl(fd, EPOLL_CTL_ADD, uffd->quit_fd, &quit))
		return fd;
	if (fd >= 0)
		close(fd);
	return error_set(err, EXIT_FAILED, "epoll: %s", strerror(errno));
}

/* Whether to go on. */
static bool event_handle(struct uffd_thread *thread, const struct epoll_event *event,
			 struct error *err)
{
	if (event->data.fd == thread->uffd->quit_fd)
		return false;
	if (!(event->events & (EPOLLERR | EPOLLHUP)))
		return !messages_handle(thread, err);
	error_set(err, EXIT_PEER, "the userfaultfd can't be waited for");
	error_advise(err, "the VMM has to do its handshake before it sends it");
	uffd_fail(thread->uffd, err);
	return false;
}

void *uffd_fault_thread(void *data)
{
	struct uffd_thread *thread = data;
	struct epoll_event event;
	struct error err;
	int fd, n;

	fd = wait_open(thread->uffd, &err);
	if (fd < 0) {
		uffd_fail(thread->uffd, &err);
		return NULL;
	}
	do {
		n = epoll_wait(fd, &event, 1, -1);
	} while ((n < 0 && errno == EINTR) ||
		 (n > 0 && event_handle(thread, &event, &err)));
	close(fd);
	return NULL;
}
