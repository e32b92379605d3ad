// SPDX-License-Identifier: GPL-2.0-or-later
/* The mover of TEST_DROP=N, under names of its own: is its fault found? */
#define MIGCTL_TEST_DROP	10
#define pending_open		drop_open
#define pending_close		drop_close
#define pending_first_pass	drop_first_pass
#define pending_harvest		drop_harvest
#define pending_give_back	drop_give_back
#define pending_find		drop_find
#define pending_drop		drop_drop
#define pending_open_answered	drop_open_answered
#define pending_answered	drop_answered
#define pending_drop_answered	drop_drop_answered
#define pending_take		drop_take
#include "stream/pending.c"

#include "stream_move.h"
#include "unit.h"

#define PAGES	1000

static void moved(struct move *move)
{
	struct error err;

	move_block(move, 0, PAGES);
	page_fill(move->from[0].fd, 0, PAGES, 1);
	move_open(move, 0);
	CHECK_EQ(sender_first_pass(&move->sender, &err), 0);
	move_all(move);
	CHECK(move_is_equal(move));
	page_fill(move->from[0].fd, 0, PAGES, 2);
	bitmap_mark(move->bitmap[0], 0, PAGES);
}

TEST(drop_build_loses_one_page_in_n_and_hashes_tell)
{
	uint64_t hashes[PAGES], lost = 0;
	struct move move = { };
	struct error err;
	size_t i;

	moved(&move);
	drop_harvest(&move.from[0], move.bitmap[0]);
	CHECK_EQ(sender_pending(&move.sender), (PAGES - PAGES / 10) * PAGE);
	move_all(&move);
	CHECK(!move_is_equal(&move));
	CHECK_EQ(sender_hash(&move.sender, 0, 0, PAGES, hashes, &err), 0);
	for (i = 0; i < PAGES; i++)
		lost += hashes[i] != move.to[0].hashes[i];
	CHECK_EQ(lost, PAGES / 10);
	move_close(&move);
}

TEST(normal_build_loses_none)
{
	struct move move = { };

	moved(&move);
	sender_harvest(&move.sender, 0, move.bitmap[0]);
	CHECK_EQ(sender_pending(&move.sender), PAGES * PAGE);
	move_all(&move);
	CHECK(move_is_equal(&move));
	move_close(&move);
}
