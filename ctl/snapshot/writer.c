// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/units.h"
#include "snapshot/writer.h"
#include "stream/rate.h"

#define WORD_BITS	(CHAR_BIT * sizeof(unsigned long))
#define RUN_PAGES	256u

static size_t block_words(const struct snapshot_block *block)
{
	return (snapshot_pages(block) + WORD_BITS - 1) / WORD_BITS;
}

static int memory_error(const struct writer *writer, size_t index, const char *what,
			struct error *err)
{
	return error_set(err, EXIT_FAILED, "memory %s: %s",
			 writer->snapshot->blocks[index].id, what);
}

static int file_error(const struct writer *writer, size_t index, struct error *err)
{
	int error = errno;

	error_set(err, EXIT_FAILED, "the copy of memory %s can't be written: %s",
		  writer->snapshot->blocks[index].id, strerror(error));
	if (error == ENOSPC || error == EDQUOT)
		error_advise(err, "the file system is full: free some of it, or choose another one");
	return -1;
}

/**
 * writer_open() - get ready to copy
 * @writer: filled; nothing is marked as far as it knows
 * @snapshot: its files are open and all holes
 * @sources: as many as it has blocks
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int writer_open(struct writer *writer, struct snapshot *snapshot,
		struct writer_source *sources, struct error *err)
{
	*writer = (struct writer) { .snapshot = snapshot, .sources = sources };
	writer->buffer = aligned_alloc(SNAPSHOT_PAGE_SIZE,
				       RUN_PAGES * SNAPSHOT_PAGE_SIZE);
	return writer->buffer ? 0 : error_set(err, EXIT_FAILED, "out of memory");
}

/**
 * writer_close() - free what writer_open() allocated
 * @writer: opened, or all 0
 */
void writer_close(struct writer *writer)
{
	free(writer->buffer);
	writer->buffer = NULL;
}

static uint64_t source_count(const struct writer_source *source,
			     const struct snapshot_block *block)
{
	uint64_t pages = snapshot_pages(block), count = 0;
	size_t i, n = block_words(block);
	unsigned long word;

	for (i = 0; i < n; i++) {
		word = __atomic_load_n(&source->bitmap[i], __ATOMIC_RELAXED);
		if (i == pages / WORD_BITS)
			word &= ~(~0ul << pages % WORD_BITS);
		count += (uint64_t)__builtin_popcountl(word);
	}
	return count;
}

void writer_count(struct writer *writer)
{
	size_t i;

	for (i = 0; i < writer->snapshot->n; i++)
		writer->sources[i].left = source_count(&writer->sources[i],
						       &writer->snapshot->blocks[i]);
}

uint64_t writer_pending(const struct writer *writer)
{
	uint64_t pages = 0;
	size_t i;

	for (i = 0; i < writer->snapshot->n; i++)
		pages += writer->sources[i].left;
	return pages * SNAPSHOT_PAGE_SIZE;
}

static void bits_set(unsigned long *bitmap, uint64_t first, uint64_t end)
{
	for (; first < end; first++)
		__atomic_fetch_or(&bitmap[first / WORD_BITS],
				  1ul << first % WORD_BITS, __ATOMIC_RELAXED);
}

/**
 * writer_data() - the next pages of a block that have data
 * @writer: opened
 * @block: its number
 * @first: from this page on; set to the first of them
 * @end: set to the page behind the last of them
 * @err: why it failed
 *
 * Return: 1, 0 if there are none, or -1.
 */
int writer_data(const struct writer *writer, size_t block, uint64_t *first, uint64_t *end,
		struct error *err)
{
	const struct writer_source *source = &writer->sources[block];
	uint64_t pages = snapshot_pages(&writer->snapshot->blocks[block]);
	off_t data, hole, begin = (off_t)source->offset;

	while (*first < pages) {
		data = lseek(source->fd, begin + (off_t)(*first * SNAPSHOT_PAGE_SIZE),
			     SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return 0;
		hole = data < 0 ? data : lseek(source->fd, data, SEEK_HOLE);
		/* The data were punched between the two: look again. */
		if (hole < 0 && errno == ENXIO)
			continue;
		if (hole < 0)
			return memory_error(writer, block, strerror(errno), err);
		*first = (uint64_t)(data - begin) / SNAPSHOT_PAGE_SIZE;
		*end = ((uint64_t)(hole - begin) + SNAPSHOT_PAGE_SIZE - 1) / SNAPSHOT_PAGE_SIZE;
		if (*end > pages)
			*end = pages;
		return *first < pages;
	}
	return 0;
}

static int data_mark(struct writer *writer, size_t index, struct error *err)
{
	uint64_t first = 0, end;
	int ret;

	while ((ret = writer_data(writer, index, &first, &end, err)) > 0) {
		bits_set(writer->sources[index].bitmap, first, end);
		first = end;
	}
	return ret;
}

/**
 * writer_first_pass() - mark all that has data
 * @writer: opened; the memory is tracked already, so that what is written from now
 *	on, holes included, is marked by a later sync
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int writer_first_pass(struct writer *writer, struct error *err)
{
	size_t i;

	for (i = 0; i < writer->snapshot->n; i++) {
		memset(writer->sources[i].bitmap, 0,
		       block_words(&writer->snapshot->blocks[i]) *
		       sizeof(unsigned long));
		if (data_mark(writer, i, err))
			return -1;
	}
	writer_count(writer);
	for (i = 0; i < writer->snapshot->n; i++)
		writer->sources[i].moved = writer->snapshot->blocks[i].size -
			writer->sources[i].left * SNAPSHOT_PAGE_SIZE;
	return 0;
}

static bool bit_test(const unsigned long *bitmap, uint64_t page)
{
	return __atomic_load_n(&bitmap[page / WORD_BITS], __ATOMIC_RELAXED) >>
	       page % WORD_BITS & 1;
}

/* The first marked page from the cursor on; false if there is none. */
static bool run_find(struct writer *writer)
{
	const struct writer_source *source = &writer->sources[writer->current];
	uint64_t pages = snapshot_pages(&writer->snapshot->blocks[writer->current]);
	unsigned long word;

	while (writer->cursor < pages) {
		word = __atomic_load_n(&source->bitmap[writer->cursor / WORD_BITS],
				       __ATOMIC_RELAXED) >> writer->cursor % WORD_BITS;
		if (word) {
			writer->cursor += (uint64_t)__builtin_ctzl(word);
			return writer->cursor < pages;
		}
		writer->cursor += WORD_BITS - writer->cursor % WORD_BITS;
	}
	return false;
}

/*
 * The marks are taken away here, before the pages are read: what is written after
 * that is marked again by the next sync.
 */
static uint64_t run_take(struct writer *writer, uint64_t max)
{
	struct writer_source *source;
	uint64_t pages, n = 0, page;

	while (!writer->sources[writer->current].left || !run_find(writer)) {
		writer->cursor = 0;
		writer->current = (writer->current + 1) % writer->snapshot->n;
	}
	source = &writer->sources[writer->current];
	pages = snapshot_pages(&writer->snapshot->blocks[writer->current]);
	for (page = writer->cursor; n < max && page < pages &&
	     bit_test(source->bitmap, page); page++, n++)
		__atomic_fetch_and(&source->bitmap[page / WORD_BITS],
				   ~(1ul << page % WORD_BITS), __ATOMIC_SEQ_CST);
	source->left -= n < source->left ? n : source->left;
	return n;
}

/**
 * struct run - pages on their way from the guest to the snapshot
 * @writer: whose
 * @block: number of theirs
 * @first: the first of them, in the block
 * @n: how many
 * @buffer: room for them
 */
struct run {
	struct writer *writer;
	size_t block;
	uint64_t first;
	uint64_t n;
	char *buffer;
};

/* pread, not a mapping: reading a hole through one would give it memory. */
static int run_read(const struct run *run, struct error *err)
{
	const struct writer_source *source = &run->writer->sources[run->block];
	size_t size = run->n * SNAPSHOT_PAGE_SIZE, done = 0;
	off_t at = (off_t)(source->offset + run->first * SNAPSHOT_PAGE_SIZE);
	ssize_t length;

	while (done < size) {
		length = pread(source->fd, run->buffer + done, size - done,
			       at + (off_t)done);
		if (length > 0)
			done += (size_t)length;
		else if (!length)
			return memory_error(run->writer, run->block,
					    "its file ends before the block does", err);
		else if (errno != EINTR)
			return memory_error(run->writer, run->block, strerror(errno), err);
	}
	return 0;
}

static void count(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static int part_write(const struct run *run, const char *data, size_t size,
		      uint64_t at, struct error *err)
{
	int fd = run->writer->snapshot->blocks[run->block].fd;
	ssize_t length;

	count(&run->writer->bytes, size);
	while (size) {
		length = pwrite(fd, data, size, (off_t)at);
		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return file_error(run->writer, run->block, err);
		data += length;
		size -= (size_t)length;
		at += (uint64_t)length;
	}
	return 0;
}

/* Pages that became zeros: a hole again, or zeros where there are no holes. */
static int part_clear(const struct run *run, const char *zeros, size_t size,
		      uint64_t at, struct error *err)
{
	int fd = run->writer->snapshot->blocks[run->block].fd;

	if (!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
		       (off_t)size))
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return file_error(run->writer, run->block, err);
	return part_write(run, zeros, size, at, err);
}

/* What is to be done with a page: it stays a hole, becomes one, or is written. */
enum part { PART_HOLE, PART_CLEAR, PART_WRITE };

static enum part page_digest(const struct run *run, uint64_t i)
{
	uint64_t *digest = run->writer->snapshot->blocks[run->block].digests +
			   run->first + i;
	uint64_t before = *digest;

	*digest = snapshot_digest(run->buffer + i * SNAPSHOT_PAGE_SIZE);
	if (*digest)
		return PART_WRITE;
	count(&run->writer->zero_pages, 1);
	return before ? PART_CLEAR : PART_HOLE;
}

static int part_do(const struct run *run, enum part part, uint64_t first, uint64_t end,
		   struct error *err)
{
	const char *data = run->buffer + first * SNAPSHOT_PAGE_SIZE;
	uint64_t at = (run->first + first) * SNAPSHOT_PAGE_SIZE;
	size_t size = (end - first) * SNAPSHOT_PAGE_SIZE;

	switch (part) {
	case PART_WRITE:
		return part_write(run, data, size, at, err);
	case PART_CLEAR:
		return part_clear(run, data, size, at, err);
	case PART_HOLE:
		break;
	}
	return 0;
}

static int run_write(const struct run *run, struct error *err)
{
	enum part part, next = page_digest(run, 0);
	uint64_t first, end;

	for (first = 0; first < run->n; first = end) {
		part = next;
		for (end = first + 1; end < run->n; end++) {
			next = page_digest(run, end);
			if (next != part)
				break;
		}
		if (part_do(run, part, first, end, err))
			return -1;
	}
	count(&run->writer->pages, run->n);
	return 0;
}

/**
 * writer_pages() - copy pages, whatever is marked
 * @writer: opened
 * @block: number of theirs
 * @first: the first of them, in the block
 * @n: how many, at least 1
 * @buffer: of the caller, room for them
 * @err: why it failed
 *
 * From several threads at once, for other pages.
 *
 * Return: 0 or -1.
 */
int writer_pages(struct writer *writer, size_t block, uint64_t first, uint64_t n,
		 char *buffer, struct error *err)
{
	const struct run run = {
		.writer = writer, .block = block, .first = first, .n = n, .buffer = buffer,
	};

	return run_read(&run, err) || run_write(&run, err) ? -1 : 0;
}

/**
 * writer_copy() - copy some of what is marked
 * @writer: opened
 * @bytes: about how much
 * @err: why it failed
 *
 * Return: 1 while something is marked, 0 when nothing is, or -1.
 */
int writer_copy(struct writer *writer, uint64_t bytes, struct error *err)
{
	uint64_t patience = 100 * NS_PER_MS, done = 0, n, max;

	while (done < bytes) {
		if (!writer_pending(writer))
			return 0;
		if (!rate_wait(writer->paid_until, writer->max_bandwidth, &patience))
			return 1;
		max = rate_chunk(writer->max_bandwidth) / SNAPSHOT_PAGE_SIZE;
		n = run_take(writer, !max ? 1 : max < RUN_PAGES ? max : RUN_PAGES);
		if (writer_pages(writer, writer->current, writer->cursor, n,
				 writer->buffer, err))
			return -1;
		rate_charge(&writer->paid_until, writer->max_bandwidth,
			    n * SNAPSHOT_PAGE_SIZE);
		writer->sources[writer->current].moved += n * SNAPSHOT_PAGE_SIZE;
		writer->cursor += n;
		done += n * SNAPSHOT_PAGE_SIZE;
	}
	return !!writer_pending(writer);
}
