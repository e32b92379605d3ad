// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/snapshot.h"

#define RUN_PAGES	256u

/**
 * snapshot_read() - read pages, and see that they are what was saved
 * @block: opened
 * @page: the first
 * @n: how many, all in the block
 * @buffer: filled, aligned to 8
 * @err: why it failed; EXIT_DIFFERS if a page is not what was saved
 *
 * Return: 0 or -1.
 */
int snapshot_read(const struct snapshot_block *block, uint64_t page, size_t n,
		  void *buffer, struct error *err)
{
	size_t size = n * SNAPSHOT_PAGE_SIZE, done = 0, i;
	off_t at = (off_t)(page * SNAPSHOT_PAGE_SIZE);
	ssize_t length;

	while (done < size) {
		length = pread(block->fd, (char *)buffer + done, size - done,
			       at + (off_t)done);
		if (length < 0 && errno == EINTR)
			continue;
		if (length <= 0)
			return error_set(err, EXIT_SNAPSHOT, "memory %s: %s", block->id,
					 length ? strerror(errno) :
					 "its file has become shorter");
		done += (size_t)length;
	}
	for (i = 0; i < n; i++) {
		if (snapshot_digest((char *)buffer + i * SNAPSHOT_PAGE_SIZE) ==
		    block->digests[page + i])
			continue;
		error_set(err, EXIT_DIFFERS,
			  "memory %s, page at 0x%" PRIx64 ": it is not what was saved, its digest differs",
			  block->id, (page + i) * SNAPSHOT_PAGE_SIZE);
		return error_advise(err, "the snapshot was changed, or the disk has lost it: use another one");
	}
	return 0;
}

static int write_error(const struct snapshot_block *block, struct error *err)
{
	int error = errno;

	error_set(err, EXIT_FAILED, "memory %s: %s", block->id, strerror(error));
	if (error == ENOSPC || error == EDQUOT)
		error_advise(err, "the file system of the guest's memory files is full: make it larger (mount -o remount,size= for a tmpfs) or free some of it");
	return -1;
}

/* The pages of a run that are not all zeros; the file has holes there already. */
static int run_write(const struct snapshot_block *block, uint64_t page, size_t n,
		     const char *buffer, int fd, uint64_t offset, struct error *err)
{
	size_t i, end, done, size;
	ssize_t length;

	for (i = 0; i < n; i = end) {
		end = i + 1;
		if (!block->digests[page + i])
			continue;
		while (end < n && block->digests[page + end])
			end++;
		size = (end - i) * SNAPSHOT_PAGE_SIZE;
		for (done = 0; done < size; done += (size_t)length) {
			length = pwrite(fd, buffer + i * SNAPSHOT_PAGE_SIZE + done,
					size - done,
					(off_t)(offset + (page + i) * SNAPSHOT_PAGE_SIZE + done));
			if (length < 0 && errno == EINTR)
				length = 0;
			else if (length < 0)
				return write_error(block, err);
		}
	}
	return 0;
}

/* What a hole of the file is must have been zeros. */
static int hole_check(const struct snapshot_block *block, uint64_t from, uint64_t to,
		      struct error *err)
{
	for (; from < to; from++) {
		if (!block->digests[from])
			continue;
		error_set(err, EXIT_DIFFERS,
			  "memory %s, page at 0x%" PRIx64 ": it was saved, and is a hole",
			  block->id, from * SNAPSHOT_PAGE_SIZE);
		return error_advise(err, "the snapshot was copied without its data: use another one");
	}
	return 0;
}

/* The pages from @at on up to the next hole; where data begin in @first. */
static int extent_find(const struct snapshot_block *block, uint64_t at,
		       uint64_t *first, uint64_t *end, struct error *err)
{
	uint64_t pages = snapshot_pages(block);
	off_t data, hole;

	data = lseek(block->fd, (off_t)(at * SNAPSHOT_PAGE_SIZE), SEEK_DATA);
	if (data < 0 && errno == ENXIO) {
		*first = *end = pages;
		return 0;
	}
	hole = data < 0 ? data : lseek(block->fd, data, SEEK_HOLE);
	if (hole < 0)
		return error_set(err, EXIT_SNAPSHOT, "memory %s: %s", block->id,
				 strerror(errno));
	*first = (uint64_t)data / SNAPSHOT_PAGE_SIZE;
	*end = ((uint64_t)hole + SNAPSHOT_PAGE_SIZE - 1) / SNAPSHOT_PAGE_SIZE;
	if (*end > pages)
		*end = pages;
	return 0;
}

/* @fd: -1 if they are only compared. */
static int extent_fill(const struct snapshot_block *block, uint64_t first, uint64_t end,
		       char *buffer, int fd, uint64_t offset,
		       struct snapshot_reading *reading, struct error *err)
{
	size_t n;

	for (; first < end; first += n) {
		n = end - first < RUN_PAGES ? (size_t)(end - first) : RUN_PAGES;
		if (reading->look && reading->look(reading->data, err))
			return -1;
		if (snapshot_read(block, first, n, buffer, err) ||
		    (fd >= 0 && run_write(block, first, n, buffer, fd, offset, err)))
			return -1;
		reading->bytes += n * SNAPSHOT_PAGE_SIZE;
	}
	return 0;
}

static int block_fill(const struct snapshot_block *block, int fd, uint64_t offset,
		      struct snapshot_reading *reading, struct error *err)
{
	uint64_t pages = snapshot_pages(block), at = 0, first = 0, end = 0;
	char *buffer;
	int ret = 0;

	buffer = aligned_alloc(SNAPSHOT_PAGE_SIZE, RUN_PAGES * SNAPSHOT_PAGE_SIZE);
	if (!buffer)
		return error_set(err, EXIT_FAILED, "out of memory");
	while (!ret && at < pages) {
		ret = extent_find(block, at, &first, &end, err);
		if (!ret)
			ret = hole_check(block, at, first, err);
		if (!ret)
			ret = extent_fill(block, first, end, buffer, fd, offset,
					  reading, err);
		at = end;
	}
	free(buffer);
	return ret;
}

/**
 * snapshot_fill() - put a block into the file of a guest's memory
 * @block: opened
 * @fd: the file; its part is made empty first
 * @offset: where the block starts there
 * @reading: told of what is read
 * @err: why it failed; EXIT_DIFFERS if a page is not what was saved
 *
 * Return: 0 or -1.
 */
int snapshot_fill(const struct snapshot_block *block, int fd, uint64_t offset,
		  struct snapshot_reading *reading, struct error *err)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)block->size))
		return write_error(block, err);
	return block_fill(block, fd, offset, reading, err);
}

/**
 * snapshot_verify() - see that a block is what was saved
 * @block: opened
 * @reading: told of what is read
 * @err: why it failed; EXIT_DIFFERS if a page is not what was saved
 *
 * What is read is in the page cache then, where a mapping of the file finds it.
 *
 * Return: 0 or -1.
 */
int snapshot_verify(const struct snapshot_block *block, struct snapshot_reading *reading,
		    struct error *err)
{
	return block_fill(block, -1, 0, reading, err);
}
