/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What track adds up. Pure functions: numbers come in, numbers go out. */
#ifndef MIGCTL_STATS_H
#define MIGCTL_STATS_H

#include <stddef.h>
#include <stdint.h>

/**
 * struct stats - all intervals of a run
 * @intervals: that ended
 * @elapsed_ns: from the first sync's end to the last one's
 * @dirty_bytes: written in all intervals, the same page once in each
 * @peak_rate: of the busiest interval, bytes per second
 * @sync_ns: spent in syncs
 * @sync_max_ns: the longest
 * @flags: that any sync had
 */
struct stats {
	uint64_t intervals;
	uint64_t elapsed_ns;
	uint64_t dirty_bytes;
	uint64_t peak_rate;
	uint64_t sync_ns;
	uint64_t sync_max_ns;
	uint32_t flags;
};

/**
 * struct interval - one of them
 * @period_ns: from the end of the sync before to the end of its own
 * @dirty_bytes: found by its sync
 * @sync_ns: how long that took
 * @flags: of its sync
 */
struct interval {
	uint64_t period_ns;
	uint64_t dirty_bytes;
	uint64_t sync_ns;
	uint32_t flags;
};

void stats_add(struct stats *stats, const struct interval *interval);
uint64_t stats_average_rate(const struct stats *stats);

/*
 * When to sync next: the first multiple of @interval after @now, but at
 * @duration (0: none) at the latest; all since the start. 0: the run is over.
 */
uint64_t next_tick(uint64_t now, uint64_t interval, uint64_t duration);

/*
 * Take the bits out of a bitmap that the kernel sets bits in, into @seen.
 * Returns how many were set.
 */
uint64_t bitmap_take(unsigned long *bitmap, unsigned long *seen, size_t words);
uint64_t bitmap_count(const unsigned long *bitmap, size_t words);

#endif /* MIGCTL_STATS_H */
