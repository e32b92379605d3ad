// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmd/stats.h"
#include "common/units.h"

void stats_add(struct stats *stats, const struct interval *interval)
{
	uint64_t rate = per_second(interval->dirty_bytes, interval->period_ns);

	stats->intervals++;
	stats->elapsed_ns += interval->period_ns;
	stats->dirty_bytes += interval->dirty_bytes;
	stats->sync_ns += interval->sync_ns;
	stats->flags |= interval->flags;
	if (rate > stats->peak_rate)
		stats->peak_rate = rate;
	if (interval->sync_ns > stats->sync_max_ns)
		stats->sync_max_ns = interval->sync_ns;
}

uint64_t stats_average_rate(const struct stats *stats)
{
	return per_second(stats->dirty_bytes, stats->elapsed_ns);
}

uint64_t next_tick(uint64_t now, uint64_t interval, uint64_t duration)
{
	uint64_t next = (now / interval + 1) * interval;

	if (!duration)
		return next;
	if (now >= duration)
		return 0;
	return next < duration ? next : duration;
}

/* Most words are 0: look first, so that clean memory is only read. */
uint64_t bitmap_take(unsigned long *bitmap, unsigned long *seen, size_t words)
{
	unsigned long word;
	uint64_t bits = 0;
	size_t i;

	for (i = 0; i < words; i++) {
		if (!__atomic_load_n(&bitmap[i], __ATOMIC_RELAXED))
			continue;
		word = __atomic_exchange_n(&bitmap[i], 0, __ATOMIC_ACQ_REL);
		bits += (uint64_t)__builtin_popcountl(word);
		seen[i] |= word;
	}
	return bits;
}

uint64_t bitmap_count(const unsigned long *bitmap, size_t words)
{
	uint64_t bits = 0;
	size_t i;

	for (i = 0; i < words; i++)
		bits += (uint64_t)__builtin_popcountl(bitmap[i]);
	return bits;
}
