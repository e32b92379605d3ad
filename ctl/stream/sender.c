// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/units.h"
#include "stream/hash.h"
#include "stream/pending.h"
#include "stream/rate.h"
#include "stream/sender.h"

#define RUN_PAGES	(WIRE_MAX_PAYLOAD / WIRE_PAGE_SIZE)
#define PATIENCE_NS	(100 * NS_PER_MS)

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
 * @link: where to, all its data channels have joined
 * @blocks: the memory
 * @nblocks: how many
 * @options: copied
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int sender_open(struct sender *sender, struct link *link,
		struct sender_block *blocks, size_t nblocks,
		const struct sender_options *options, struct error *err)
{
	pthread_condattr_t attr;
	size_t i;

	*sender = (struct sender){
		.link = link,
		.blocks = blocks,
		.nblocks = nblocks,
		.options = *options,
	};
	for (i = 0; i < nblocks; i++)
		blocks[i].pending = blocks[i].answered = NULL;
	pthread_mutex_init(&sender->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&sender->progress, &attr);
	pthread_condattr_destroy(&attr);

	sender->buffer = aligned_alloc(WIRE_PAGE_SIZE, WIRE_MAX_PAYLOAD);
	if (!sender->buffer) {
		error_set(err, EXIT_FAILED, "out of memory");
		goto err_close;
	}
	for (i = 0; i < nblocks; i++) {
		if (block_open(sender, i, err))
			goto err_close;
	}
	for (i = 0; i < link->n; i++) {
		if (feed_start(&sender->feeds[i], sender, link->channels[i], err))
			goto err_close;
	}
	return 0;

err_close:
	sender_close(sender);
	return -1;
}

/**
 * sender_close() - end the threads, and free what sender_open() allocated
 * @sender: opened, or all 0; nothing can be sent on its data channels any more
 */
void sender_close(struct sender *sender)
{
	size_t i;

	if (!sender->link)
		return;
	link_stop(sender->link);
	for (i = 0; i < WIRE_MAX_CHANNELS; i++)
		feed_end(&sender->feeds[i]);
	for (i = 0; i < WIRE_MAX_URGENT; i++)
		urgent_end(&sender->urgent[i]);
	for (i = 0; i < sender->nblocks; i++)
		pending_close(&sender->blocks[i]);
	free(sender->buffer);
	pthread_cond_destroy(&sender->progress);
	pthread_mutex_destroy(&sender->lock);
	*sender = (struct sender) { .stats = sender->stats };
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

/* Find the next run of at most @max pages; something is pending. */
static void run_find(struct sender *sender, uint64_t max, struct page_run *run)
{
	while (!pending_find(&sender->blocks[sender->current], max, run))
		block_next(sender);
	run->block = sender->current;
}

static void run_take(struct sender *sender, const struct page_run *run)
{
	struct sender_block *block = &sender->blocks[run->block];

	pending_take(block, run);
	block->moved += run->n * WIRE_PAGE_SIZE;
	if (!sender_pending(sender))
		pass_end(sender);
}

/**
 * sender_read() - read memory as it is now
 * @sender: opened
 * @run: which pages
 * @buffer: filled with them
 * @err: why it failed; a block whose file is too short is named
 *
 * pread, not a mapping: reading a hole through one would give it memory.
 *
 * Return: 0 or -1.
 */
int sender_read(const struct sender *sender, const struct page_run *run,
		uint8_t *buffer, struct error *err)
{
	const struct sender_block *block = &sender->blocks[run->block];
	size_t size = run->n * WIRE_PAGE_SIZE, done = 0;
	off_t at = (off_t)(block->offset + run->first * WIRE_PAGE_SIZE);
	ssize_t len;

	while (done < size) {
		len = pread(block->fd, buffer + done, size - done,
			    at + (off_t)done);
		if (len > 0)
			done += (size_t)len;
		else if (!len)
			return block_error(sender, run->block,
					   "its file ends before the block does",
					   err);
		else if (errno != EINTR)
			return block_error(sender, run->block, strerror(errno),
					   err);
	}
	return 0;
}

void sender_count(struct sender *sender, const struct sender_stats *sent)
{
	sender->stats.pages += sent->pages;
	sender->stats.zero_pages += sent->zero_pages;
	sender->stats.bytes += sent->bytes;
	rate_charge(&sender->paid_until, sender->options.max_bandwidth, sent->bytes);
}

/* At most @bytes, rounded up, and what the bandwidth limit lets go at once. */
static uint64_t run_limit(uint64_t rate, uint64_t bytes)
{
	uint64_t limit = rate_chunk(rate) / WIRE_PAGE_SIZE;
	uint64_t pages = bytes / WIRE_PAGE_SIZE + !!(bytes % WIRE_PAGE_SIZE);

	if (pages > limit)
		pages = limit;
	return pages ? pages : 1;
}

/* Under the lock: can this be sent, so that the limit holds, and a queue too? */
static bool has_place(const struct sender *sender, const struct feed *feed,
		      const struct page_run *run)
{
	uint64_t size = run->n * WIRE_PAGE_SIZE;

	if (!feed_has_place(feed))
		return false;
	/* What is on its way is not charged yet. */
	return !sender->queued || size + sender->queued <=
	       rate_chunk(sender->options.max_bandwidth);
}

/* Give a run to its channel; false if that has no place for it yet. */
static bool run_push(struct sender *sender, const struct page_run *run,
		     const struct timespec *until)
{
	unsigned int index = link_channel_of((uint32_t)run->block,
					     run->first * WIRE_PAGE_SIZE,
					     sender->link->n);
	struct feed *feed = &sender->feeds[index];
	struct feed_job job = { .run = *run };
	bool place;

	pthread_mutex_lock(&sender->lock);
	sender->awaited = feed;
	while (!has_place(sender, feed, run)) {
		if (pthread_cond_timedwait(&sender->progress, &sender->lock,
					   until))
			break;
	}
	sender->awaited = NULL;
	place = has_place(sender, feed, run);
	if (place) {
		run_take(sender, run);
		feed_push(feed, &job);
	}
	pthread_mutex_unlock(&sender->lock);
	return place;
}

/* 100 ms from now. */
static struct timespec soon(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_nsec += (long)PATIENCE_NS;
	if (ts.tv_nsec >= (long)NS_PER_S) {
		ts.tv_nsec -= (long)NS_PER_S;
		ts.tv_sec++;
	}
	return ts;
}

/**
 * sender_send() - send some of what is pending
 * @sender: opened
 * @bytes: about how much memory to go through, zero pages included
 * @err: why it failed; a block whose file is too short is named
 *
 * Waits for the channels and as the bandwidth limit wants, 100 ms at most, and
 * returns then even if nothing could be sent. What it returns for is given to
 * the channels; that it was written only a barrier tells.
 *
 * Return: 1 while something is left, 0 when nothing is, or -1.
 */
int sender_send(struct sender *sender, uint64_t bytes, struct error *err)
{
	const struct timespec until = soon();
	uint64_t patience = PATIENCE_NS, paid_until, rate, done;
	struct page_run run;
	size_t i;

	for (i = 0; i < sender->nblocks; i++)
		pending_drop_answered(&sender->blocks[i]);
	for (done = 0; done < bytes; done += run.n * WIRE_PAGE_SIZE) {
		if (link_check(sender->link, err))
			return -1;
		if (!sender_pending(sender))
			return 0;
		pthread_mutex_lock(&sender->lock);
		paid_until = sender->paid_until;
		rate = sender->options.max_bandwidth;
		pthread_mutex_unlock(&sender->lock);
		if (!rate_wait(paid_until, rate, &patience))
			return 1;
		run_find(sender, run_limit(rate, bytes - done), &run);
		if (!run_push(sender, &run, &until))
			return link_check(sender->link, err) ? -1 : 1;
	}
	return !!sender_pending(sender);
}

/**
 * sender_barrier() - send a barrier on all channels
 * @sender: opened
 * @number: of the barrier: one more than the last, which the destination has
 *	passed
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int sender_barrier(struct sender *sender, uint64_t number, struct error *err)
{
	struct feed_job job = { .barrier = number };
	unsigned int i;

	if (link_check(sender->link, err))
		return -1;
	/* The queues have a place for it. */
	pthread_mutex_lock(&sender->lock);
	for (i = 0; i < sender->link->n; i++)
		feed_push(&sender->feeds[i], &job);
	pthread_mutex_unlock(&sender->lock);
	return 0;
}

/**
 * sender_limit() - send no more than that
 * @sender: opened
 * @max_bandwidth: bytes per second, 0 for no limit
 */
void sender_limit(struct sender *sender, uint64_t max_bandwidth)
{
	pthread_mutex_lock(&sender->lock);
	sender->options.max_bandwidth = max_bandwidth;
	pthread_mutex_unlock(&sender->lock);
}

/**
 * sender_stats() - what was sent so far
 * @sender: opened, or closed again
 *
 * Return: a copy.
 */
struct sender_stats sender_stats(struct sender *sender)
{
	struct sender_stats stats;

	if (!sender->link)
		return sender->stats;
	pthread_mutex_lock(&sender->lock);
	stats = sender->stats;
	pthread_mutex_unlock(&sender->lock);
	return stats;
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
		if (sender_read(sender, &(struct page_run){ block, page, step },
				sender->buffer, err))
			return -1;
		for (i = 0; i < step; i++)
			*hashes++ = hash_page(sender->buffer +
					      i * WIRE_PAGE_SIZE);
	}
	return 0;
}
