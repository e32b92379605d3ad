/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migctl forecast: what is measured, and the forecast that is made of it. */
#ifndef MIGCTL_CMD_FORECAST_H
#define MIGCTL_CMD_FORECAST_H

#include "cmd/forecast_windows.h"
#include "cmd/track.h"
#include "cmd/tracker.h"
#include "policy/forecast.h"

/**
 * struct forecast_options - the command line
 * @target: the guest, the interval and the duration
 * @limits: what a migration would be allowed
 */
struct forecast_options {
	struct track_options target;
	struct policy_limits limits;
};

/**
 * struct measurement - what was seen of the guest
 * @intervals: that were looked at
 * @elapsed: all of them
 * @dirty: bytes written, the same page once in each interval
 * @data: bytes of memory that are no holes
 * @zero: of these, in pages of zeros
 * @flags: of all syncs: why numbers may be too high
 * @points: bytes written by windows
 * @n: how many
 */
struct measurement {
	uint64_t intervals;
	uint64_t elapsed;
	uint64_t dirty;
	uint64_t data;
	uint64_t zero;
	uint32_t flags;
	struct forecast_point points[FORECAST_LEVELS];
	size_t n;
};

/* Tracks the memory of @pid for the duration, or until Ctrl-C. */
int forecast_measure(struct measurement *measured, struct tracker *tracker, pid_t pid,
		     const struct track_options *options, struct error *err);

/* How much of the memory has data, and of that how much is zero, by samples. */
int forecast_data(struct measurement *measured, const struct track_target *target,
		  struct error *err);

#endif /* MIGCTL_CMD_FORECAST_H */
