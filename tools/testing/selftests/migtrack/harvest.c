// SPDX-License-Identifier: GPL-2.0-or-later

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harvest.h"

#define WORD_BITS	(8 * sizeof(unsigned long))
#define SETTLE_S	60
#define SETTLE_US	20000

static void check(struct harvest *h, int ret, const char *what)
{
	if (!ret)
		return;
	errno = -ret;
	err(1, "%s: %s", what, migtrack_message(h->mt));
}

/**
 * harvest_open_range() - make a session with a part of a memory as its source
 * @h: filled in
 * @pid: of the process that maps the memory
 * @mem_fd: the memory
 * @offset: bytes
 * @length: bytes, 0 for up to the end
 */
void harvest_open_range(struct harvest *h, pid_t pid, int mem_fd, uint64_t offset,
			uint64_t length)
{
	memset(h, 0, sizeof(*h));
	errno = -migtrack_open(&h->mt);
	if (errno)
		err(1, "migtrack_open");
	check(h, migtrack_session_new(h->mt, &h->id, &h->fd), "session-new");
	check(h, migtrack_source_add_ram(h->mt, h->fd, pid, mem_fd, offset, length,
				       &h->map),
	      "source-add");
	check(h, migtrack_header_map(h->fd, &h->header), "mmap of the header");
	check(h, migtrack_bitmap_map(h->fd, &h->map, &h->bitmap),
	      "mmap of the bitmap");
	h->npages = h->map.length / h->map.page_size;
	h->taken = calloc(1, h->map.map_length);
}

/**
 * harvest_open() - make a session with all of a memory as its source
 * @h: filled in
 * @pid: of the process that maps the memory
 * @mem_fd: the memory
 */
void harvest_open(struct harvest *h, pid_t pid, int mem_fd)
{
	harvest_open_range(h, pid, mem_fd, 0, 0);
}

/**
 * harvest_close() - end the session
 * @h: opened
 */
void harvest_close(struct harvest *h)
{
	free(h->taken);
	migtrack_bitmap_unmap(&h->map, h->bitmap);
	migtrack_header_unmap(h->header);
	close(h->fd);
	migtrack_close(h->mt);
}

/**
 * harvest_sync() - sync and wait for its end
 * @h: opened
 * @kind: what for
 */
void harvest_sync(struct harvest *h, enum migtrack_sync_kind kind)
{
	check(h, migtrack_sync(h->mt, h->fd, kind), "sync");
	check(h, migtrack_sync_wait(h->fd, 60000), "waiting for the sync");
	check(h, -(int)h->header->sync_error, "the sync");
}

/**
 * harvest_take() - test and clear the bitmap, as a mover does before it reads
 * @h: opened
 *
 * Return: how many pages were set.
 */
size_t harvest_take(struct harvest *h)
{
	size_t i, n = 0;

	for (i = 0; i * WORD_BITS < h->npages; i++) {
		h->taken[i] = __atomic_exchange_n(&h->bitmap[i], 0, __ATOMIC_SEQ_CST);
		n += __builtin_popcountl(h->taken[i]);
	}
	return n;
}

/**
 * harvest_settles_at() - sync until so many pages are found, but not for ever
 * @h: opened; nobody writes
 * @kind: of the syncs
 * @pages: how many
 *
 * A sync waits for the adoption of a process only so long. On a machine that is
 * busy enough, the next ones report its memory once more.
 *
 * Return: true if a sync has found just that.
 */
bool harvest_settles_at(struct harvest *h, enum migtrack_sync_kind kind, size_t pages)
{
	time_t end = time(NULL) + SETTLE_S;
	size_t n;

	for (;;) {
		harvest_sync(h, kind);
		n = harvest_take(h);
		if (n == pages)
			return true;
		if (time(NULL) > end)
			return false;
		usleep(SETTLE_US);
	}
}

/**
 * harvest_settle() - set up, and sync until nothing is found
 * @h: opened; nobody writes
 */
void harvest_settle(struct harvest *h)
{
	harvest_sync(h, MIGTRACK_SYNC_KIND_SETUP);
	harvest_take(h);
	if (!harvest_settles_at(h, MIGTRACK_SYNC_KIND_ITERATION, 0))
		errx(1, "quiet memory is still reported after %d s", SETTLE_S);
}

/**
 * harvest_took() - did the last harvest_take() take a page?
 * @h: opened
 * @page: its number
 */
bool harvest_took(const struct harvest *h, size_t page)
{
	return h->taken[page / WORD_BITS] >> (page % WORD_BITS) & 1;
}

/**
 * harvest_source() - what the kernel says about the source
 * @h: opened
 */
struct migtrack_source harvest_source(struct harvest *h)
{
	struct migtrack_source source;

	check(h, migtrack_source_get(h->mt, h->id, h->map.id, &source), "source-get");
	return source;
}
