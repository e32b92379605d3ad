/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A sender and a receiver in one process, and memory for both; over TCP. */
#ifndef MIGTRACK_STREAM_MOVE_H
#define MIGTRACK_STREAM_MOVE_H

#include <pthread.h>
#include <stdint.h>

#include "stream/channel.h"
#include "stream/intake.h"
#include "stream/link.h"
#include "stream/receiver.h"
#include "stream/sender.h"

#define PAGE		((uint64_t)WIRE_PAGE_SIZE)
#define MOVE_BLOCKS	3

/**
 * struct move - blocks of memory on their way
 * @nblocks: how many
 * @from: the source's, memfds
 * @to: the destination's, memfds
 * @channels: that memory goes over; 0: one
 * @urgent: and what is asked for
 * @ops: who takes the memory at the destination, or NULL: @receiver
 * @ops_data: for them
 * @codec: that it is compressed with
 * @control: the control channel's two ends
 * @security: what they are allowed
 * @door: where the data channels join
 * @address: of that
 * @join_timeout_ns: how long they may take for that, 0: as it is
 * @refused: how many did not
 * @why: and why the last of them
 * @source: the source's end of the link
 * @destination: and the other one
 * @sender: sends @from
 * @intake: takes it
 * @receiver: writes it to @to
 * @bitmap: as the kernel's, one per block
 * @barrier: number of the last one
 * @failed: @destination has failed, @err says why
 * @err: see there
 */
struct move {
	size_t nblocks;
	struct sender_block from[MOVE_BLOCKS];
	struct receiver_block to[MOVE_BLOCKS];
	unsigned int channels;
	unsigned int urgent;
	const struct intake_ops *ops;
	void *ops_data;
	enum codec codec;
	struct channel control[2];
	struct security security;
	struct door door;
	char address[64];
	uint64_t join_timeout_ns;
	int refused;
	struct error why;
	struct link source;
	struct link destination;
	struct sender sender;
	struct intake intake;
	struct receiver receiver;
	unsigned long *bitmap[MOVE_BLOCKS];
	uint64_t barrier;
	bool failed;
	struct error err;
};

/* Add a block of @pages, which starts in its file at page @offset. */
void move_block(struct move *move, uint64_t offset, uint64_t pages);
/* Find out what is empty, connect, let the data channels join. */
void move_open(struct move *move, uint64_t max_bandwidth);
/* The two ends of a link, without a sender. */
void move_link(struct move *move);
/* The same, but the source has not connected yet to move->address. */
void move_listen(struct move *move);
/* Send all that is pending, and wait until it is written. */
void move_all(struct move *move);
/* Wait until all that was given to the channels is written. */
void move_drain(struct move *move);
/* Wait until the destination says that it has passed this barrier. */
void move_passed(struct move *move, uint64_t number);
/* Wait for the first failure of the source's or the destination's channels. */
void move_broken(struct link *link, struct error *err);
/* The same memory and the same hashes on both sides? */
bool move_is_equal(struct move *move);
void move_close(struct move *move);

/* Page contents that differ from page to page and from seed to seed. */
void page_fill(int fd, uint64_t page, uint64_t n, uint64_t seed);
void page_punch(int fd, uint64_t page, uint64_t n);
void bitmap_mark(unsigned long *bitmap, uint64_t page, uint64_t n);
uint64_t file_pages(int fd);

#endif /* MIGTRACK_STREAM_MOVE_H */
