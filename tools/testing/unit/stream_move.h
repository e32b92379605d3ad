/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A sender and a receiver in one process, and memory for both. */
#ifndef MIGTRACK_STREAM_MOVE_H
#define MIGTRACK_STREAM_MOVE_H

#include <pthread.h>
#include <stdint.h>

#include "stream/channel.h"
#include "stream/receiver.h"
#include "stream/sender.h"

#define PAGE		((uint64_t)WIRE_PAGE_SIZE)
#define MOVE_BLOCKS	3

/**
 * struct move - blocks of memory on their way
 * @nblocks: how many
 * @from: the source's, memfds
 * @to: the destination's, memfds
 * @sender: sends @from
 * @receiver: writes @to, in @thread
 * @bitmap: as the kernel's, one per block
 * @err: of the receiver
 * @failed: what receiver_apply() returned last
 */
struct move {
	size_t nblocks;
	struct sender_block from[MOVE_BLOCKS];
	struct receiver_block to[MOVE_BLOCKS];
	struct channel out;
	struct channel in;
	struct sender sender;
	struct receiver receiver;
	pthread_t thread;
	unsigned long *bitmap[MOVE_BLOCKS];
	struct error err;
	int failed;
};

/* Add a block of @pages, which starts in its file at page @offset. */
void move_block(struct move *move, uint64_t offset, uint64_t pages);
/* Find out what is empty, connect, start the receiver. */
void move_open(struct move *move, uint64_t max_bandwidth);
/* Send all that is pending, and wait until it is written. */
void move_all(struct move *move);
/* The same memory and the same hashes on both sides? */
bool move_is_equal(struct move *move);
void move_close(struct move *move);

/* Page contents that differ from page to page and from seed to seed. */
void page_fill(int fd, uint64_t page, uint64_t n, uint64_t seed);
void page_punch(int fd, uint64_t page, uint64_t n);
void bitmap_mark(unsigned long *bitmap, uint64_t page, uint64_t n);
uint64_t file_pages(int fd);

#endif /* MIGTRACK_STREAM_MOVE_H */
