// SPDX-License-Identifier: GPL-2.0-or-later
/* The mover of TEST_DROP=N, under names of its own: is its fault found? */
#define MIGCTL_TEST_DROP	10
#define sender_open		drop_open
#define sender_close		drop_close
#define sender_first_pass	drop_first_pass
#define sender_harvest		drop_harvest
#define sender_pending		drop_pending
#define sender_send		drop_send
#define sender_hash		drop_hash
#include "stream/sender.c"
#undef sender_harvest
#undef sender_pending

#include "stream_move.h"
#include "unit.h"

#define PAGES	1000

void sender_harvest(struct sender *sender, size_t block, unsigned long *bitmap);
uint64_t sender_pending(const struct sender *sender);

static void moved(struct move *move)
{
	struct error err;

	move_block(move, 0, PAGES);
	page_fill(move->from[0].fd, 0, PAGES, 1);
	move_open(move, 0);
	CHECK_EQ(drop_first_pass(&move->sender, &err), 0);
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
	drop_harvest(&move.sender, 0, move.bitmap[0]);
	CHECK_EQ(drop_pending(&move.sender), (PAGES - PAGES / 10) * PAGE);
	move_all(&move);
	CHECK(!move_is_equal(&move));
	CHECK_EQ(drop_hash(&move.sender, 0, 0, PAGES, hashes, &err), 0);
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
