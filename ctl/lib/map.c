// SPDX-License-Identifier: LGPL-2.1-or-later
/* The session's descriptor: its mapping, and waiting for a sync. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "migtrack.h"

/**
 * migtrack_sync_wait() - wait until a sync has ended since the last call
 * @session_fd: the session's descriptor
 * @timeout_ms: as for poll(2)
 *
 * Return: 0, -ETIMEDOUT, -EINTR, -ENODEV if the session ended, or another
 * negative errno. The sync's own result is in the header.
 */
int migtrack_sync_wait(int session_fd, int timeout_ms)
{
	struct pollfd pfd = { .fd = session_fd, .events = POLLIN };
	uint64_t syncs;
	ssize_t len;
	int ret;

	ret = poll(&pfd, 1, timeout_ms);
	if (ret < 0)
		return -errno;
	if (!ret)
		return -ETIMEDOUT;
	if (pfd.revents & POLLNVAL)
		return -EBADF;
	if (!(pfd.revents & POLLIN))
		return -ENODEV;
	len = read(session_fd, &syncs, sizeof(syncs));
	if (len < 0)
		return -errno;
	return len == sizeof(syncs) ? 0 : -EPROTO;
}

static void *session_mmap(int fd, size_t length, off_t offset)
{
	void *map;

	map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   offset);
	return map == MAP_FAILED ? NULL : map;
}

/**
 * migtrack_header_map() - map the session's header page
 * @session_fd: the session's descriptor
 * @header: the mapping, NULL on failure
 *
 * Return: 0 or a negative errno.
 */
int migtrack_header_map(int session_fd, struct migtrack_map_header **header)
{
	*header = session_mmap(session_fd, (size_t)sysconf(_SC_PAGESIZE), 0);
	return *header ? 0 : -errno;
}

/**
 * migtrack_header_unmap() - undo migtrack_header_map()
 * @header: the mapping
 */
void migtrack_header_unmap(struct migtrack_map_header *header)
{
	munmap(header, (size_t)sysconf(_SC_PAGESIZE));
}

/**
 * migtrack_header_read() - copy the header as one sync left it
 * @header: the mapping
 * @copy: where to
 */
void migtrack_header_read(const struct migtrack_map_header *header,
			  struct migtrack_map_header *copy)
{
	uint32_t seq;

	for (;;) {
		seq = __atomic_load_n(&header->seq, __ATOMIC_ACQUIRE);
		if (!(seq & 1)) {
			memcpy(copy, header, sizeof(*copy));
			__atomic_thread_fence(__ATOMIC_ACQUIRE);
			if (__atomic_load_n(&header->seq,
					    __ATOMIC_RELAXED) == seq)
				return;
		}
		sched_yield();
	}
}

/**
 * migtrack_bitmap_map() - map a source's dirty bitmap
 * @session_fd: the session's descriptor
 * @map: what migtrack_source_add_ram() filled
 * @bitmap: the mapping, NULL on failure; bit 0 is the first page of the range
 *
 * Return: 0 or a negative errno.
 */
int migtrack_bitmap_map(int session_fd, const struct migtrack_source_map *map,
			unsigned long **bitmap)
{
	*bitmap = session_mmap(session_fd, map->map_length,
			       (off_t)map->map_offset);
	return *bitmap ? 0 : -errno;
}

/**
 * migtrack_bitmap_unmap() - undo migtrack_bitmap_map()
 * @map: the same
 * @bitmap: the mapping
 */
void migtrack_bitmap_unmap(const struct migtrack_source_map *map,
			   unsigned long *bitmap)
{
	munmap(bitmap, map->map_length);
}
