/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source's half of moving memory: pages of files, in order, as frames. */
#ifndef MIGCTL_SENDER_H
#define MIGCTL_SENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream/channel.h"

/**
 * struct sender_block - a block of guest memory
 * @name: for messages, or NULL
 * @fd: its file
 * @offset: where it starts there, a multiple of the page size
 * @size: bytes, a multiple of the page size
 * @pending: bits of pages to send; taken from the kernel's bitmap, and cleared
 *	as they are sent
 * @npending: how many
 * @moved: bytes that were sent, or need not be; only grows
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
	uint64_t moved;
	uint64_t cursor;
	bool empty;
};

struct sender_stats {
	uint64_t pages;			/* sent with their data */
	uint64_t zero_pages;		/* sent as zero runs */
	uint64_t bytes;			/* on the wire */
	uint64_t passes;		/* times that all blocks were gone over */
};

/**
 * struct sender - moves the pages of some blocks
 * @channel: where to
 * @blocks: in the order of the description
 * @nblocks: how many
 * @max_bandwidth: bytes on the wire per second, 0 for no limit; may be changed
 *	between calls
 * @stats: so far
 */
struct sender {
	struct channel *channel;
	struct sender_block *blocks;
	size_t nblocks;
	uint64_t max_bandwidth;
	struct sender_stats stats;
	/* the rest is the sender's own */
	size_t current;			/* block that the pass is in */
	uint64_t paid_until;		/* when what was sent fits the limit, ns */
	uint8_t *buffer;
};

/*
 * Takes the blocks' name, fd, offset, size and empty; allocates the bitmaps.
 * The files stay the caller's.
 */
int sender_open(struct sender *sender, struct channel *channel,
		struct sender_block *blocks, size_t nblocks,
		uint64_t max_bandwidth, struct error *err);
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
 * Send up to about @bytes of what is pending, going round the blocks; returns
 * 1 while something is left, 0 when nothing is, -1 on error. Waits as the
 * bandwidth limit wants, 100 ms at most a call.
 */
int sender_send(struct sender *sender, uint64_t bytes, struct error *err);

/* Hash @n pages of a block from @offset on, as they are now; see stream/hash.h. */
int sender_hash(struct sender *sender, size_t block, uint64_t offset, size_t n,
		uint64_t *hashes, struct error *err);

#endif /* MIGCTL_SENDER_H */
