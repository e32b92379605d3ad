// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/units.h"
#include "stream/hash.h"
#include "stream/pending.h"
#include "stream/rate.h"
#include "stream/sender.h"

#define RUN_PAGES	(WIRE_MAX_PAYLOAD / WIRE_PAGE_SIZE)

static int block_error(const struct sender *sender, size_t index,
		       const char *what, struct error *err)
{
	const char *name = sender->blocks[index].name;

	return error_set(err, EXIT_FAILED, "memory block %zu%s%s: %s", index,
			 name ? " " : "", name ? name : "", what);
}

static int block_open(struct sender *sender, size_t index, struct error *err)
{
	struct sender_block *block = &sender->blocks[index];
	uint64_t end;
	struct stat st;

	if (block->offset % WIRE_PAGE_SIZE || block->size % WIRE_PAGE_SIZE ||
	    __builtin_add_overflow(block->offset, block->size, &end) ||
	    end > INT64_MAX)
		return block_error(sender, index, "not made of whole pages", err);
	if (fstat(block->fd, &st))
		return block_error(sender, index, strerror(errno), err);
	if ((uint64_t)st.st_size < end)
		return block_error(sender, index,
				   "its file ends before the block does", err);
	if (pending_open(block))
		return error_set(err, EXIT_FAILED, "out of memory");
	return 0;
}

/**
 * sender_open() - get ready to send
 * @sender: filled; nothing is pending
 * @channel: where to
 * @blocks: the memory
 * @nblocks: how many
 * @max_bandwidth: bytes per second, 0 for no limit
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int sender_open(struct sender *sender, struct channel *channel,
		struct sender_block *blocks, size_t nblocks,
		uint64_t max_bandwidth, struct error *err)
{
	size_t i;

	*sender = (struct sender){
		.channel = channel,
		.blocks = blocks,
		.nblocks = nblocks,
		.max_bandwidth = max_bandwidth,
	};
	for (i = 0; i < nblocks; i++)
		blocks[i].pending = NULL;
	sender->buffer = aligned_alloc(WIRE_PAGE_SIZE, WIRE_MAX_PAYLOAD);
	if (!sender->buffer)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (i = 0; i < nblocks; i++) {
		if (block_open(sender, i, err))
			goto err_close;
	}
	return 0;

err_close:
	sender_close(sender);
	return -1;
}

/**
 * sender_close() - free what sender_open() allocated
 * @sender: opened, or all 0
 */
void sender_close(struct sender *sender)
{
	size_t i;

	for (i = 0; i < sender->nblocks; i++)
		pending_close(&sender->blocks[i]);
	free(sender->buffer);
	sender->buffer = NULL;
	sender->nblocks = 0;
}

/**
 * sender_first_pass() - all pages are pending
 * @sender: opened; the memory is tracked already, so that what is written from
 *	now on is harvested later
 * @err: why it failed
 *
 * But for the holes of blocks whose destination is empty.
 *
 * Return: 0 or -1.
 */
int sender_first_pass(struct sender *sender, struct error *err)
{
	size_t i;
	int ret;

	for (i = 0; i < sender->nblocks; i++) {
		ret = pending_first_pass(&sender->blocks[i]);
		if (ret)
			return block_error(sender, i, strerror(-ret), err);
	}
	sender->current = 0;
	return 0;
}

/**
 * sender_harvest() - add what the guest has written
 * @sender: opened
 * @block: index of the block
 * @bitmap: the kernel's, one bit per page of the block; its bits are cleared,
 *	each atomically with being taken, so that none that the kernel sets
 *	meanwhile is lost
 */
void sender_harvest(struct sender *sender, size_t block, unsigned long *bitmap)
{
	pending_harvest(&sender->blocks[block], bitmap);
}

/**
 * sender_give_back() - leave to the kernel's bitmap what was not sent
 * @sender: opened
 * @block: index of the block
 * @bitmap: the kernel's, one bit per page of the block
 *
 * Before a sync, which counts the bits of the bitmap; after it they are harvested
 * with the others. Nothing is pending then.
 */
void sender_give_back(struct sender *sender, size_t block, unsigned long *bitmap)
{
	pending_give_back(&sender->blocks[block], bitmap);
}

/**
 * sender_pending() - how much is to be sent
 * @sender: opened
 *
 * Return: bytes of memory.
 */
uint64_t sender_pending(const struct sender *sender)
{
	uint64_t pages = 0;
	size_t i;

	for (i = 0; i < sender->nblocks; i++)
		pages += sender->blocks[i].npending;
	return pages * WIRE_PAGE_SIZE;
}

static void pass_end(struct sender *sender)
{
	sender->blocks[sender->current].cursor = 0;
	sender->current = 0;
	sender->stats.passes++;
}

static void block_next(struct sender *sender)
{
	if (sender->current + 1 == sender->nblocks) {
		pass_end(sender);
		return;
	}
	sender->blocks[sender->current].cursor = 0;
	sender->current++;
}

/* Take the next run of at most @max pages; something is pending. */
static void run_take(struct sender *sender, uint64_t max, struct run *run)
{
	while (!pending_take(&sender->blocks[sender->current], max, run))
		block_next(sender);
	run->block = sender->current;
	if (!sender_pending(sender))
		pass_end(sender);
}

/*
 * pread, not a mapping: reading a hole through one would give it memory.
 * @page: where in the block
 */
static int pages_read(struct sender *sender, size_t index, uint64_t page,
		      uint64_t n, struct error *err)
{
	const struct sender_block *block = &sender->blocks[index];
	size_t size = n * WIRE_PAGE_SIZE, done = 0;
	off_t at = (off_t)(block->offset + page * WIRE_PAGE_SIZE);
	ssize_t len;

	while (done < size) {
		len = pread(block->fd, sender->buffer + done, size - done,
			    at + (off_t)done);
		if (len > 0)
			done += (size_t)len;
		else if (!len)
			return block_error(sender, index,
					   "its file ends before the block does",
					   err);
		else if (errno != EINTR)
			return block_error(sender, index, strerror(errno), err);
	}
	return 0;
}

/* Pages of the buffer from its @skip-th on, all zero or none. */
static int frame_send(struct sender *sender, const struct run *run,
		      uint64_t skip, uint64_t n, bool zero, struct error *err)
{
	struct wire_frame frame = {
		.type = zero ? WIRE_ZERO : WIRE_PAGES,
		.length = zero ? 0 : (uint32_t)(n * WIRE_PAGE_SIZE),
		.block = (uint32_t)run->block,
		.offset = (run->first + skip) * WIRE_PAGE_SIZE,
		.count = n * WIRE_PAGE_SIZE,
	};
	uint64_t bytes = WIRE_HEADER_SIZE + frame.length;

	if (channel_send(sender->channel, &frame,
			 sender->buffer + skip * WIRE_PAGE_SIZE, err))
		return -1;
	if (zero)
		sender->stats.zero_pages += n;
	else
		sender->stats.pages += n;
	sender->stats.bytes += bytes;
	rate_charge(&sender->paid_until, sender->max_bandwidth, bytes);
	return 0;
}

static int run_send(struct sender *sender, const struct run *run,
		    struct error *err)
{
	uint64_t start = 0, end;
	bool zero, next;

	if (pages_read(sender, run->block, run->first, run->n, err))
		return -1;
	next = page_is_zero(sender->buffer);
	while (start < run->n) {
		zero = next;
		for (end = start + 1; end < run->n; end++) {
			next = page_is_zero(sender->buffer +
					    end * WIRE_PAGE_SIZE);
			if (next != zero)
				break;
		}
		if (frame_send(sender, run, start, end - start, zero, err))
			return -1;
		start = end;
	}
	return 0;
}

/* At most @bytes, rounded up, and what the bandwidth limit lets go at once. */
static uint64_t run_limit(const struct sender *sender, uint64_t bytes)
{
	uint64_t limit = rate_chunk(sender->max_bandwidth) / WIRE_PAGE_SIZE;
	uint64_t pages = bytes / WIRE_PAGE_SIZE + !!(bytes % WIRE_PAGE_SIZE);

	if (pages > RUN_PAGES)
		pages = RUN_PAGES;
	if (pages > limit)
		pages = limit;
	return pages ? pages : 1;
}

/**
 * sender_send() - send some of what is pending
 * @sender: opened
 * @bytes: about how much memory to go through, zero pages included
 * @err: why it failed; a block whose file is too short is named
 *
 * Waits as the bandwidth limit wants, 100 ms at most, and returns then even if
 * nothing could be sent.
 *
 * Return: 1 while something is left, 0 when nothing is, or -1.
 */
int sender_send(struct sender *sender, uint64_t bytes, struct error *err)
{
	uint64_t patience = 100 * NS_PER_MS;
	struct run run;
	uint64_t done;

	for (done = 0; done < bytes; done += run.n * WIRE_PAGE_SIZE) {
		if (!sender_pending(sender))
			return 0;
		if (!rate_wait(sender->paid_until, sender->max_bandwidth,
			       &patience))
			return 1;
		run_take(sender, run_limit(sender, bytes - done), &run);
		if (run_send(sender, &run, err))
			return -1;
		sender->blocks[run.block].moved += run.n * WIRE_PAGE_SIZE;
	}
	return !!sender_pending(sender);
}

/**
 * sender_hash() - hash pages as they are now
 * @sender: opened
 * @block: index of the block
 * @offset: of the first page in the block
 * @n: how many
 * @hashes: filled, one for each
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int sender_hash(struct sender *sender, size_t block, uint64_t offset, size_t n,
		uint64_t *hashes, struct error *err)
{
	uint64_t page = offset / WIRE_PAGE_SIZE, pages, step, i;

	if (block >= sender->nblocks)
		return error_set(err, EXIT_FAILED, "there is no memory block %zu",
				 block);
	pages = block_pages(&sender->blocks[block]);
	if (offset % WIRE_PAGE_SIZE || page > pages || n > pages - page)
		return block_error(sender, block,
				   "these pages are not in the block", err);
	for (; n; n -= step, page += step) {
		step = n < RUN_PAGES ? n : RUN_PAGES;
		if (pages_read(sender, block, page, step, err))
			return -1;
		for (i = 0; i < step; i++)
			*hashes++ = hash_page(sender->buffer +
					      i * WIRE_PAGE_SIZE);
	}
	return 0;
}
