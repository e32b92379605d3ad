/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much is written in windows of different lengths: each level's window is two of
 * the level below, and its bitmaps gather what was written in it.
 */
#ifndef MIGCTL_FORECAST_WINDOWS_H
#define MIGCTL_FORECAST_WINDOWS_H

#include "cmd/tracker.h"
#include "policy/forecast.h"

/* Windows double: more than these make no difference. */
#define FORECAST_LEVELS		16
#define FORECAST_SOURCES	64

/**
 * struct level - windows of one length
 * @seen: for each source, the pages written in the window that is open
 * @intervals: in it
 * @began: its start
 * @windows: that are complete
 * @bytes: in all of these
 * @time: of all of these
 */
struct level {
	unsigned long *seen[FORECAST_SOURCES];
	uint64_t intervals;
	uint64_t began;
	uint64_t windows;
	uint64_t bytes;
	uint64_t time;
};

/**
 * struct windows - all of them
 * @tracker: whose sources have what each interval has seen
 * @levels: one for each length
 * @n: how many
 */
struct windows {
	struct tracker *tracker;
	struct level levels[FORECAST_LEVELS];
	size_t n;
};

/* For up to so many intervals; to be closed also after a failure. */
int windows_open(struct windows *windows, struct tracker *tracker,
		 uint64_t intervals, uint64_t now, struct error *err);
void windows_close(struct windows *windows);

/* An interval ended @now: takes what the tracker has seen in it. */
void windows_add(struct windows *windows, uint64_t now);

/* Averages over the windows that are complete. Returns how many points. */
size_t windows_points(const struct windows *windows,
		      struct forecast_point points[FORECAST_LEVELS]);

#endif /* MIGCTL_FORECAST_WINDOWS_H */
