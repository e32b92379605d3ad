/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Would a migration converge? The policy itself decides, over a guest that writes as
 * it was seen to write. Pure, as all of the policy.
 */
#ifndef MIGCTL_FORECAST_H
#define MIGCTL_FORECAST_H

#include "policy/policy.h"

/**
 * struct forecast_point - how much memory is written in a while
 * @window: any time of this length
 * @bytes: written in it, on average, each page counted once
 */
struct forecast_point {
	uint64_t window;
	uint64_t bytes;
};

/**
 * struct forecast_guest - what was seen of a guest
 * @memory: bytes that the first pass has to move
 * @points: what it writes, by windows that get longer
 * @n: how many
 * @precopy: of devices, can be moved while the guest runs
 * @stopcopy: of devices, can be moved only while it is stopped
 * @unknown: a device whose size nobody knows, NULL for none
 */
struct forecast_guest {
	uint64_t memory;
	const struct forecast_point *points;
	size_t n;
	uint64_t precopy;
	uint64_t stopcopy;
	const char *unknown;
};

/**
 * struct forecast - what a migration would be
 * @converges: it would
 * @reason: why not: POLICY_REASON_FITS if it would
 * @iterations: that it would take; until it is given up, if it does not converge
 * @total: time, with the downtime
 * @bytes: that would be moved
 * @downtime: with the fixed cost
 * @brownout: the time that the guest would be moved while it runs: its first write to
 *	each page after a sync takes longer
 * @left: bytes for the last copy; what it gets down to, if it does not converge
 * @needed_downtime: if not, the least limit at which it does; POLICY_UNKNOWN for none
 * @needed_bandwidth: if not, the least bandwidth at which it does; POLICY_UNKNOWN
 */
struct forecast {
	bool converges;
	enum policy_reason reason;
	uint64_t iterations;
	uint64_t total;
	uint64_t bytes;
	uint64_t downtime;
	uint64_t brownout;
	uint64_t left;
	uint64_t needed_downtime;
	uint64_t needed_bandwidth;
};

/* Bytes written in a window: between the points a line, beyond the last the same slope. */
uint64_t forecast_written(const struct forecast_guest *guest, uint64_t window);

/* @limits has the bandwidth. */
void forecast_make(struct forecast *forecast, const struct forecast_guest *guest,
		   const struct policy_limits *limits);

#endif /* MIGCTL_FORECAST_H */
