// SPDX-License-Identifier: GPL-2.0-or-later
/* Pages into the memory, and the waiters awake. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/clock.h"
#include "uffd/internal.h"

/* The host has no page to spare, or its tmpfs no room: how long to try again. */
#define NO_MEMORY_NS	(30 * NS_PER_S)
#define NO_MEMORY_MS	100

#define BASE_PAGE	4096ull

/* Pages that are put in place without letting a fault be read meanwhile. */
#define BATCH_BYTES	(64ull << 10)

int uffd_ioctl_error(int error, const char *what, struct error *err)
{
	switch (error) {
	case ESRCH:
		return error_set(err, EXIT_GONE, "the VMM has ended");
	case ENOENT:
		error_set(err, EXIT_PEER, "%s: memory that the VMM has told of is not registered, or not there any more",
			  what);
		break;
	case EINVAL:
	case EFAULT:
		error_set(err, EXIT_PEER, "%s: the memory is not as the VMM has told: %s",
			  what, strerror(error));
		break;
	case ENOSPC:
		error_set(err, EXIT_FAILED, "%s: there are no huge pages left", what);
		return error_advise(err, "raise vm.nr_hugepages");
	case ENOMEM:
		error_set(err, EXIT_FAILED, "%s: %s", what, strerror(error));
		return error_advise(err, "make room in the file system of the guest's memory: see df");
	default:
		return error_set(err, EXIT_FAILED, "%s: %s", what, strerror(error));
	}
	return error_advise(err, "the VMM is broken, or has another guest than the snapshot");
}

int uffd_wake(struct uffd *uffd, uint64_t start, uint64_t size, struct error *err)
{
	struct uffdio_range range = { .start = start, .len = size };

	if (!ioctl(uffd->fd, UFFDIO_WAKE, &range))
		return 0;
	return uffd_ioctl_error(errno, "waking who waits for a page", err);
}

void uffd_arrived(struct uffd *uffd, uint64_t page, uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++)
		uffd_claim_done(uffd->claims, page + i);
	blocktime_end(&uffd->clock, page, n, now_ns());
}

void uffd_blocktime(struct uffd *uffd, struct blocktime *result)
{
	blocktime_get(&uffd->clock, result);
}

/* One attempt; the bytes that were put in place, or a negative errno. */
static int64_t put_data(struct uffd *uffd, uint64_t to, uint64_t size, const char *from)
{
	struct uffdio_copy copy = {
		.dst = to,
		.src = (uintptr_t)from,
		.len = size,
	};

	if (!ioctl(uffd->fd, UFFDIO_COPY, &copy) || copy.copy > 0)
		return copy.copy;
	return -errno;
}

static int64_t put_zero(struct uffd *uffd, uint64_t to, uint64_t size)
{
	struct uffdio_zeropage zero = { .range = { .start = to, .len = size } };

	if (!ioctl(uffd->fd, UFFDIO_ZEROPAGE, &zero) || zero.zeropage > 0)
		return zero.zeropage;
	return -errno;
}

static int64_t put_alias(struct uffd *uffd, uint64_t to, uint64_t size)
{
	struct uffdio_continue map = { .range = { .start = to, .len = size } };

	if (!ioctl(uffd->fd, UFFDIO_CONTINUE, &map) || map.mapped > 0)
		return map.mapped;
	return -errno;
}

static int64_t put(struct uffd *uffd, const struct uffd_region *region, uint64_t to,
		   uint64_t size, enum uffd_kind kind, const char *buffer)
{
	if (region->modes & UFFD_MINOR)
		return put_alias(uffd, to, size);
	if (kind == UFFD_ZERO)
		return put_zero(uffd, to, size);
	return put_data(uffd, to, size, buffer);
}

/*
 * All of a run that the VMM has not given back. The lock was taken after the last
 * event that was read: what is given back later fails with EAGAIN until that event
 * is read, too.
 */
static int64_t batch_put(struct uffd *uffd, const struct uffd_region *region,
			 uint64_t page, uint64_t n, enum uffd_kind kind,
			 const char *buffer)
{
	uint64_t to = region->start + page * region->page_size, run;
	int64_t ret;

	pthread_rwlock_rdlock(&uffd->lock);
	for (run = 0; run < n; run++) {
		if (uffd_claim_is_removed(uffd->claims, region->first + page + run))
			break;
	}
	/* Who waits for it asks again, and gets zeros. */
	if (!run) {
		struct uffdio_range range = { .start = to, .len = region->page_size };

		ret = ioctl(uffd->fd, UFFDIO_WAKE, &range) ? -errno :
		      (int64_t)region->page_size;
	} else {
		ret = put(uffd, region, to, run * region->page_size, kind, buffer);
	}
	pthread_rwlock_unlock(&uffd->lock);
	return ret;
}

/*
 * Memory comes back, and a guest that has waited goes on. False if it has for too long, or
 * all is over. Huge pages are not waited for: nobody frees them but by intent.
 */
static bool memory_await(struct uffd *uffd, const struct uffd_region *region,
			 uint64_t *since)
{
	struct pollfd quit = { .fd = uffd->quit_fd, .events = POLLIN };
	uint64_t now = now_ns();

	if (!*since)
		*since = now;
	return region->page_size == BASE_PAGE && now - *since < NO_MEMORY_NS &&
	       !__atomic_load_n(&uffd->failed, __ATOMIC_RELAXED) &&
	       poll(&quit, 1, NO_MEMORY_MS) <= 0;
}

static int place_error(int error, const struct uffd_region *region, const char *what,
		       struct error *err)
{
	if (error == ENOMEM && region->page_size != BASE_PAGE)
		error = ENOSPC;
	return uffd_ioctl_error(error, what, err);
}

/**
 * uffd_place() - put pages that were claimed in place, and wake who waits for them
 * @uffd: set up
 * @region: theirs
 * @page: the first, in the region
 * @n: how many
 * @kind: what they are
 * @buffer: their contents, for UFFD_DATA
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int uffd_place(struct uffd *uffd, const struct uffd_region *region, uint64_t page,
	       uint64_t n, enum uffd_kind kind, const char *buffer, struct error *err)
{
	uint64_t size = region->page_size, batch = BATCH_BYTES / size, put, since = 0;
	int64_t ret;

	while (n) {
		put = n < batch ? n : batch ? batch : 1;
		ret = batch_put(uffd, region, page, put, kind, buffer);
		if (ret == -EAGAIN && uffd_read_events(uffd, err))
			return -1;
		if (ret == -EAGAIN || ret == -EINTR)
			continue;
		if (ret == -ENOMEM && memory_await(uffd, region, &since))
			continue;
		since = 0;
		if (ret == -EEXIST) {
			if (uffd_wake(uffd, region->start + page * size, size, err))
				return -1;
			ret = (int64_t)size;
		}
		/*
		 * Of zeros, or it would have been awaited: the kernel makes it. Who had
		 * begun to wait just before the release is not woken by it.
		 */
		if (ret == -ENOENT && uffd_is_released(uffd)) {
			if (uffd_wake(uffd, region->start + page * size, put * size, err))
				return -1;
			ret = (int64_t)(put * size);
		}
		if (ret <= 0)
			return place_error((int)-ret, region, "loading a page", err);
		put = (uint64_t)ret / size;
		uffd_arrived(uffd, region->first + page, put);
		uffd_count(&uffd->claims->stats->loaded, put);
		page += put;
		n -= put;
		if (buffer)
			buffer += put * size;
	}
	return 0;
}

/**
 * uffd_place_zero() - put a page of zeros where there is none, and wake who waits
 * @uffd: set up
 * @region: its
 * @page: in the region
 * @channel: of this thread
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int uffd_place_zero(struct uffd *uffd, const struct uffd_region *region,
		    uint64_t page, struct uffd_channel *channel, struct error *err)
{
	uint64_t to = region->start + page * region->page_size, since = 0;
	int64_t ret;

	do {
		/* What is in the file is mapped as it is. */
		ret = region->modes & UFFD_MINOR ?
		      put_alias(uffd, to, region->page_size) : -EFAULT;
		if (ret == -EFAULT)
			ret = put_zero(uffd, to, region->page_size);
		/* Huge pages have no page of zeros to share. */
		if (ret == -EINVAL && region->page_size > 4096) {
			memset(channel->buffer, 0, region->page_size);
			ret = put_data(uffd, to, region->page_size, channel->buffer);
		}
		if (ret == -EEXIST)
			return uffd_wake(uffd, to, region->page_size, err);
		/*
		 * An event is to be read first, by this thread perhaps: who waits
		 * asks again.
		 */
		if (ret == -EAGAIN)
			return uffd_wake(uffd, to, region->page_size, err);
		/* The kernel wants room before it looks: it is there, if nobody took it. */
		if (ret == -ENOMEM && uffd_claim_is_done(uffd->claims, region->first + page) &&
		    !uffd_claim_is_removed(uffd->claims, region->first + page))
			return uffd_wake(uffd, to, region->page_size, err);
	} while (ret == -EINTR || (ret == -ENOMEM && memory_await(uffd, region, &since)));
	if (ret > 0)
		return 0;
	if (ret == -ENOENT && uffd_is_released(uffd))
		return uffd_wake(uffd, to, region->page_size, err);
	return place_error((int)-ret, region, "a page of zeros", err);
}

/**
 * uffd_poison() - who touches these pages gets SIGBUS, and does not wait for ever
 * @uffd: set up
 * @region: theirs
 * @page: the first, in the region
 * @n: how many
 *
 * A kernel that has no such pages (before 6.6) leaves them as they are: they are
 * counted, and whoever waits for them does until his process is ended.
 */
void uffd_poison(struct uffd *uffd, const struct uffd_region *region, uint64_t page,
		 uint64_t n)
{
	struct uffdio_poison poison = {
		.range = {
			.start = region->start + page * region->page_size,
			.len = n * region->page_size,
		},
	};
	struct error err;

	while (ioctl(uffd->fd, UFFDIO_POISON, &poison)) {
		if (errno != EAGAIN || uffd_read_events(uffd, &err)) {
			uffd_count(&uffd->claims->stats->stuck, n);
			return;
		}
	}
	uffd_arrived(uffd, region->first + page, n);
	uffd_count(&uffd->claims->stats->poisoned, n);
}
