// SPDX-License-Identifier: GPL-2.0-or-later
/* The mover of TEST_SWAP=N, under names of its own: is its fault found? */
#define MIGCTL_TEST_SWAP		10
#define feed_open(...)			swap_feed_open(__VA_ARGS__)
#define feed_send(...)			swap_feed_send(__VA_ARGS__)
#define feed_start(...)			swap_feed_start(__VA_ARGS__)
#define feed_has_place(...)		swap_feed_has_place(__VA_ARGS__)
#define feed_push(...)			swap_feed_push(__VA_ARGS__)
#define feed_end(...)			swap_feed_end(__VA_ARGS__)
#define sender_open(...)		swap_sender_open(__VA_ARGS__)
#define sender_close(...)		swap_sender_close(__VA_ARGS__)
#define sender_first_pass(...)		swap_sender_first_pass(__VA_ARGS__)
#define sender_harvest(...)		swap_sender_harvest(__VA_ARGS__)
#define sender_give_back(...)		swap_sender_give_back(__VA_ARGS__)
#define sender_pending(...)		swap_sender_pending(__VA_ARGS__)
#define sender_read(...)		swap_sender_read(__VA_ARGS__)
#define sender_send(...)		swap_sender_send(__VA_ARGS__)
#define sender_barrier(...)		swap_sender_barrier(__VA_ARGS__)
#define sender_count(...)		swap_sender_count(__VA_ARGS__)
#define sender_limit(...)		swap_sender_limit(__VA_ARGS__)
#define sender_stats(...)		swap_sender_stats(__VA_ARGS__)
#define sender_hash(...)		swap_sender_hash(__VA_ARGS__)
#include "stream/feed.c"
#include "stream/sender.c"

#include "stream_move.h"
#include "unit.h"

#define PAGES	1000

/* All of what is pending, by the sender of this file. */
static void send_all(struct move *move)
{
	struct error err = { };

	while (sender_send(&move->sender, 1 << 20, &err) > 0)
		;
	CHECK_STR(err.message, "");
	CHECK_EQ(sender_barrier(&move->sender, ++move->barrier, &err), 0);
	move_passed(move, move->barrier);
}

TEST(swap_build_sends_an_older_copy_last_and_hashes_tell)
{
	const struct sender_options options = { .level = 1 };
	struct move move = { .channels = 3 };
	uint64_t hashes[PAGES], wrong = 0;
	struct error err;
	size_t i;

	move_block(&move, 0, PAGES);
	page_fill(move.from[0].fd, 0, PAGES, 1);
	CHECK_EQ(receiver_open(&move.receiver, move.to, 1, &err), 0);
	move_link(&move);
	CHECK_EQ(sender_open(&move.sender, &move.source, move.from, 1, &options,
			     &err), 0);
	CHECK_EQ(sender_first_pass(&move.sender, &err), 0);
	send_all(&move);
	page_fill(move.from[0].fd, 0, PAGES, 2);
	bitmap_mark(move.bitmap[0], 0, PAGES);
	sender_harvest(&move.sender, 0, move.bitmap[0]);
	send_all(&move);
	CHECK_EQ(sender_hash(&move.sender, 0, 0, PAGES, hashes, &err), 0);
	for (i = 0; i < PAGES; i++) {
		wrong += hashes[i] != move.to[0].hashes[i];
		CHECK_EQ(hashes[i] != move.to[0].hashes[i], i % 10 == 5);
	}
	CHECK_EQ(wrong, PAGES / 10);
	sender_close(&move.sender);
	move_close(&move);
}
