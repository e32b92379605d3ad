// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The source after the handover: what the destination has not got yet goes there in
 * the background, and what its guest waits for on the urgent channels.
 */
#include "stream/bitmap.h"
#include "stream/pending.h"
#include "stream/sender.h"

/**
 * sender_postcopy() - answer requests from now on
 * @sender: opened; its link has urgent channels
 * @err: why it failed
 *
 * The guest is stopped and stays so: what is pending is all that will ever be.
 *
 * Return: 0 or -1.
 */
int sender_postcopy(struct sender *sender, struct error *err)
{
	struct link *link = sender->link;
	unsigned int i;
	size_t block;

	for (block = 0; block < sender->nblocks; block++) {
		if (pending_open_answered(&sender->blocks[block]))
			return error_set(err, EXIT_FAILED, "out of memory");
	}
	for (i = 0; i < link->urgent; i++) {
		if (urgent_start(&sender->urgent[i], sender, link->channels[link->n + i],
				 err))
			return -1;
	}
	return 0;
}

/**
 * sender_missing() - say what the destination has not got
 * @sender: what is pending is what it has not: a barrier was passed
 * @control: where to
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int sender_missing(struct sender *sender, struct channel *control, struct error *err)
{
	size_t i;

	for (i = 0; i < sender->nblocks; i++) {
		if (bitmap_send(control, WIRE_MISSING, (uint32_t)i, sender->blocks[i].pending,
				block_pages(&sender->blocks[i]), err))
			return -1;
	}
	return 0;
}

/**
 * sender_received() - these pages need not be sent again
 * @sender: opened, with all pages pending
 * @frame: WIRE_RECEIVED, as it came
 * @payload: its bitmap
 * @err: why it is refused, EXIT_PEER
 *
 * Return: 0 or -1.
 */
int sender_received(struct sender *sender, const struct wire_frame *frame,
		    const void *payload, struct error *err)
{
	struct sender_block *block;
	size_t i, first, n = frame->length / sizeof(uint64_t);

	if (frame->block >= sender->nblocks)
		return error_set(err, EXIT_PEER, "the destination has received memory block %u, which there is not",
				 frame->block);
	block = &sender->blocks[frame->block];
	if (bitmap_check(frame, block_pages(block), payload, err))
		return -1;
	first = frame->offset / WIRE_PAGE_SIZE / BITMAP_BITS;
	for (i = 0; i < n; i++)
		pending_drop(block, first + i, bitmap_word(payload, i));
	return 0;
}
