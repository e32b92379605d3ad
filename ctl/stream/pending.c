// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stream/pending.h"

#define WORD_BITS	(CHAR_BIT * sizeof(unsigned long))
#define CHUNK_PAGES	(WIRE_CHUNK / WIRE_PAGE_SIZE)

static size_t block_words(const struct sender_block *block)
{
	return (block_pages(block) + WORD_BITS - 1) / WORD_BITS;
}

int pending_open(struct sender_block *block)
{
	block->npending = 0;
	block->moved = 0;
	block->cursor = 0;
	block->pending = calloc(block_words(block) + 1, sizeof(unsigned long));
	return block->pending ? 0 : -ENOMEM;
}

void pending_close(struct sender_block *block)
{
	free(block->pending);
	free(block->answered);
	block->pending = NULL;
	block->answered = NULL;
}

/* The first page from @from on whose bit is @value, or @n. */
static uint64_t bit_find(const unsigned long *map, uint64_t n, uint64_t from,
			 bool value)
{
	unsigned long word;

	while (from < n) {
		word = map[from / WORD_BITS];
		word = (value ? word : ~word) >> from % WORD_BITS;
		if (word) {
			from += (uint64_t)__builtin_ctzl(word);
			break;
		}
		from += WORD_BITS - from % WORD_BITS;
	}
	return from < n ? from : n;
}

static void pending_set(struct sender_block *block, uint64_t first, uint64_t end)
{
	for (; first < end; first++)
		block->pending[first / WORD_BITS] |= 1ul << first % WORD_BITS;
}

static void pending_clear(struct sender_block *block, uint64_t first, uint64_t n)
{
	uint64_t end = first + n;

	for (; first < end; first++)
		block->pending[first / WORD_BITS] &= ~(1ul << first % WORD_BITS);
	block->npending -= n;
}

/* The parts of a block that have data are pending, in whole pages. */
static int pending_set_data(struct sender_block *block)
{
	off_t at = (off_t)block->offset, end = at + (off_t)block->size;
	off_t data, hole;

	while (at < end) {
		data = lseek(block->fd, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			break;
		hole = data < 0 ? data : lseek(block->fd, data, SEEK_HOLE);
		/* The data were punched between the two: look again. */
		if (hole < 0 && errno == ENXIO)
			continue;
		if (hole < 0)
			return -errno;
		if (data >= end)
			break;
		if (hole > end)
			hole = end;
		pending_set(block,
			    (uint64_t)(data - (off_t)block->offset) / WIRE_PAGE_SIZE,
			    ((uint64_t)(hole - (off_t)block->offset) +
			     WIRE_PAGE_SIZE - 1) / WIRE_PAGE_SIZE);
		at = hole;
	}
	return 0;
}

static uint64_t pending_count(const struct sender_block *block)
{
	size_t i, n = block_words(block);
	uint64_t count = 0;

	for (i = 0; i < n; i++)
		count += (uint64_t)__builtin_popcountl(block->pending[i]);
	return count;
}

int pending_first_pass(struct sender_block *block)
{
	int ret = 0;

	block->cursor = 0;
	if (block->empty) {
		/* The setup sync found all pages, holes too. */
		memset(block->pending, 0,
		       block_words(block) * sizeof(*block->pending));
		ret = pending_set_data(block);
	} else {
		pending_set(block, 0, block_pages(block));
	}
	block->npending = pending_count(block);
	block->moved += (block_pages(block) - block->npending) * WIRE_PAGE_SIZE;
	return ret;
}

#ifdef MIGCTL_TEST_DROP
/* A mover that is broken on purpose, for the verification to find out. */
static unsigned long test_drop(unsigned long harvested)
{
	static uint64_t count;
	unsigned long bits, bit;

	for (bits = harvested; bits; bits &= bits - 1) {
		bit = bits & -bits;
		if (!(++count % MIGCTL_TEST_DROP))
			harvested &= ~bit;
	}
	return harvested;
}
#else
static unsigned long test_drop(unsigned long harvested)
{
	return harvested;
}
#endif

void pending_harvest(struct sender_block *block, unsigned long *bitmap)
{
	uint64_t pages = block_pages(block);
	size_t i, n = block_words(block);
	unsigned long word;

	for (i = 0; i < n; i++) {
		if (!__atomic_load_n(&bitmap[i], __ATOMIC_RELAXED))
			continue;
		word = __atomic_exchange_n(&bitmap[i], 0, __ATOMIC_SEQ_CST);
		if (i == pages / WORD_BITS)
			word &= ~(~0ul << pages % WORD_BITS);
		word = test_drop(word);
		block->npending += (uint64_t)
			__builtin_popcountl(word & ~block->pending[i]);
		block->pending[i] |= word;
	}
}

void pending_give_back(struct sender_block *block, unsigned long *bitmap)
{
	size_t i, n = block_words(block);

	if (!block->npending)
		return;
	for (i = 0; i < n; i++) {
		if (!block->pending[i])
			continue;
		__atomic_fetch_or(&bitmap[i], block->pending[i], __ATOMIC_SEQ_CST);
		block->pending[i] = 0;
	}
	block->npending = 0;
}

void pending_drop(struct sender_block *block, size_t word, unsigned long bits)
{
	bits &= block->pending[word];
	block->pending[word] &= ~bits;
	block->npending -= (uint64_t)__builtin_popcountl(bits);
	block->moved += (uint64_t)__builtin_popcountl(bits) * WIRE_PAGE_SIZE;
}

int pending_open_answered(struct sender_block *block)
{
	block->answered = calloc(block_words(block) + 1, sizeof(unsigned long));
	return block->answered ? 0 : -ENOMEM;
}

void pending_answered(struct sender_block *block, const struct page_run *run)
{
	uint64_t page;

	for (page = run->first; page < run->first + run->n; page++)
		__atomic_fetch_or(&block->answered[page / WORD_BITS],
				  1ul << page % WORD_BITS, __ATOMIC_RELAXED);
}

void pending_drop_answered(struct sender_block *block)
{
	size_t i, n = block_words(block);

	for (i = 0; block->answered && i < n; i++) {
		if (__atomic_load_n(&block->answered[i], __ATOMIC_RELAXED))
			pending_drop(block, i, __atomic_exchange_n(&block->answered[i], 0,
								   __ATOMIC_RELAXED));
	}
}

bool pending_find(struct sender_block *block, uint64_t max, struct page_run *run)
{
	uint64_t pages = block_pages(block), end;

	if (!block->npending)
		return false;
	run->first = bit_find(block->pending, pages, block->cursor, true);
	if (run->first == pages)
		return false;
	block->cursor = run->first;
	/* Runs do not cross chunks: these are of different channels. */
	end = (run->first / CHUNK_PAGES + 1) * CHUNK_PAGES;
	if (end > pages)
		end = pages;
	if (max < end - run->first)
		end = run->first + max;
	run->n = bit_find(block->pending, end, run->first, false) - run->first;
	return true;
}

/*
 * The bits are cleared here, before the pages are read: what is written after
 * that comes back with the next harvest.
 */
void pending_take(struct sender_block *block, const struct page_run *run)
{
	block->cursor = run->first + run->n;
	pending_clear(block, run->first, run->n);
}
