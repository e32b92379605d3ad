/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source's half of moving memory: pages of files, in order, as frames. One
 * thread, the caller's, decides what is sent next; those of the data channels
 * read and send it.
 */
#ifndef MIGCTL_SENDER_H
#define MIGCTL_SENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream/feed.h"
#include "stream/link.h"
#include "stream/urgent.h"

/**
 * struct sender_block - a block of guest memory
 * @name: for messages, or NULL
 * @fd: its file
 * @offset: where it starts there, a multiple of the page size
 * @size: bytes, a multiple of the page size
 * @pending: bits of pages to send; taken from the kernel's bitmap, and cleared
 *	as they are sent
 * @npending: how many
 * @answered: post-copy: bits of pages that were asked for and sent, atomic; NULL before
 * @moved: bytes that were given to the channels, or need not be sent; only grows
 * @cursor: where the pass is
 * @empty: the destination's file has no data: what is a hole here need not be
 *	sent in the first pass
 */
struct sender_block {
	const char *name;
	int fd;
	uint64_t offset;
	uint64_t size;
	unsigned long *pending;
	uint64_t npending;
	unsigned long *answered;
	uint64_t moved;
	uint64_t cursor;
	bool empty;
};

struct sender_stats {
	uint64_t pages;			/* sent with their data */
	uint64_t zero_pages;		/* sent as zero runs */
	uint64_t bytes;			/* on the wire */
	uint64_t passes;		/* times that all blocks were gone over */
	uint64_t requests;		/* answered on the urgent channels */
};

/**
 * struct sender_options - how to send
 * @max_bandwidth: bytes on the wire per second of all channels together, 0 for no
 *	limit
 * @codec: compress with
 * @level: of zstd
 */
struct sender_options {
	uint64_t max_bandwidth;
	enum codec codec;
	unsigned int level;
};

/**
 * struct sender - moves the pages of some blocks
 * @link: where to
 * @blocks: in the order of the description
 * @nblocks: how many
 * @options: of sender_open()
 * @lock: guards the limit in @options, @stats, @paid_until, @queued and the feeds'
 *	jobs
 * @stats: so far
 */
struct sender {
	struct link *link;
	struct sender_block *blocks;
	size_t nblocks;
	struct sender_options options;
	pthread_mutex_t lock;
	struct sender_stats stats;
	/* the rest is the sender's own */
	size_t current;			/* block that the pass is in */
	uint64_t paid_until;		/* when what was sent fits the limit, ns */
	uint64_t queued;		/* bytes of memory on their way to a channel */
	pthread_cond_t progress;	/* what the caller waits for may be there */
	const struct feed *awaited;	/* a place in its queue */
	struct feed feeds[WIRE_MAX_CHANNELS];
	struct urgent urgent[WIRE_MAX_URGENT];
	uint8_t *buffer;
};

/*
 * Takes the blocks' name, fd, offset, size and empty; allocates the bitmaps.
 * The files stay the caller's.
 */
int sender_open(struct sender *sender, struct link *link, struct sender_block *blocks,
		size_t nblocks, const struct sender_options *options,
		struct error *err);
/* Ends the link's data channels, too. */
void sender_close(struct sender *sender);

/*
 * The first pass: all pages are pending, but for the holes of blocks whose
 * destination is empty (SEEK_DATA; a hole there needs nothing).
 */
int sender_first_pass(struct sender *sender, struct error *err);

/*
 * Add what the kernel's bitmap of a block has (test and clear, atomically; the
 * page is read after that).
 */
void sender_harvest(struct sender *sender, size_t block, unsigned long *bitmap);
/* Before a sync: what was harvested and not sent is still to be moved, too. */
void sender_give_back(struct sender *sender, size_t block, unsigned long *bitmap);

/* Bytes that are pending. */
uint64_t sender_pending(const struct sender *sender);

/*
 * Give up to about @bytes of what is pending to the channels, going round the
 * blocks; returns 1 while something is left, 0 when nothing is, -1 if a channel
 * has failed. Waits for the channels, and as the bandwidth limit wants, 100 ms at
 * most a call.
 */
int sender_send(struct sender *sender, uint64_t bytes, struct error *err);

/*
 * Send a barrier on all channels, after what they were given before. The one
 * before must have been passed.
 */
int sender_barrier(struct sender *sender, uint64_t number, struct error *err);

void sender_limit(struct sender *sender, uint64_t max_bandwidth);
struct sender_stats sender_stats(struct sender *sender);

/*
 * sender_postcopy.c: the guest runs at the destination, or is about to. What is
 * pending is missing there: WIRE_MISSING says which pages these are, and sender_send()
 * moves them while requests are answered. After a lost connection all is pending
 * again (a new sender, sender_first_pass()), but for what WIRE_RECEIVED says.
 */
int sender_postcopy(struct sender *sender, struct error *err);
int sender_missing(struct sender *sender, struct channel *control, struct error *err);
int sender_received(struct sender *sender, const struct wire_frame *frame,
		    const void *payload, struct error *err);

/* For those who send, under the lock. */
void sender_count(struct sender *sender, const struct sender_stats *sent);
/* For the feeds: the pages of a run, into a buffer that has room for them. */
int sender_read(const struct sender *sender, const struct page_run *run,
		uint8_t *buffer, struct error *err);

/* Hash @n pages of a block from @offset on, as they are now; see stream/hash.h. */
int sender_hash(struct sender *sender, size_t block, uint64_t offset, size_t n,
		uint64_t *hashes, struct error *err);

#endif /* MIGCTL_SENDER_H */
