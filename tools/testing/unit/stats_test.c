// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmd/stats.h"
#include "common/units.h"
#include "unit.h"

#define S	NS_PER_S

TEST(stats_add_up)
{
	struct stats stats = {};

	CHECK_EQ(stats_average_rate(&stats), 0);
	stats_add(&stats, &(struct interval) {
		.period_ns = S, .dirty_bytes = 4096, .sync_ns = 10, .flags = 1 });
	stats_add(&stats, &(struct interval) {
		.period_ns = S / 2, .dirty_bytes = 8192, .sync_ns = 5,
		.flags = 4 });
	CHECK_EQ(stats.intervals, 2);
	CHECK_EQ(stats.elapsed_ns, S + S / 2);
	CHECK_EQ(stats.dirty_bytes, 12288);
	CHECK_EQ(stats_average_rate(&stats), 8192);
	CHECK_EQ(stats.peak_rate, 16384);
	CHECK_EQ(stats.sync_ns, 15);
	CHECK_EQ(stats.sync_max_ns, 10);
	CHECK_EQ(stats.flags, 5);
}

TEST(ticks_keep_the_interval)
{
	CHECK_EQ(next_tick(0, S, 0), S);
	CHECK_EQ(next_tick(S - 1, S, 0), S);
	CHECK_EQ(next_tick(S, S, 0), 2 * S);
	/* A sync that took long: the ticks meanwhile are skipped. */
	CHECK_EQ(next_tick(5 * S + 3, S, 0), 6 * S);
}

TEST(ticks_end_with_the_duration)
{
	CHECK_EQ(next_tick(0, S, 3 * S), S);
	CHECK_EQ(next_tick(2 * S + 1, S, 3 * S), 3 * S);
	CHECK_EQ(next_tick(3 * S, S, 3 * S), 0);
	CHECK_EQ(next_tick(4 * S, S, 3 * S), 0);
	/* The last interval may be shorter, and the only one. */
	CHECK_EQ(next_tick(2 * S + 1, S, 2 * S + S / 2), 2 * S + S / 2);
	CHECK_EQ(next_tick(0, 10 * S, S), S);
}

TEST(bits_are_taken_once)
{
	unsigned long bitmap[3] = { 0x8000000000000001ul, 0, 0xff };
	unsigned long seen[3] = { 2, 0, 1 };

	CHECK_EQ(bitmap_take(bitmap, seen, 3), 10);
	CHECK(!bitmap[0] && !bitmap[1] && !bitmap[2]);
	CHECK(seen[0] == 0x8000000000000003ul);
	CHECK_EQ(bitmap_count(seen, 3), 11);
	CHECK_EQ(bitmap_take(bitmap, seen, 3), 0);
	CHECK_EQ(bitmap_count(seen, 3), 11);
}
