// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How much a guest writes in windows of different lengths: each level's window is
 * two of the level below, and its bitmap gathers what was written in it.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/forecast.h"
#include "cmd/stats.h"
#include "stream/hash.h"
#include "stream/wire.h"

#define SYNC_TIMEOUT_MS	60000
#define SOURCES_MAX	64
/* Pages that are read to see how many are zero. */
#define SAMPLES		65536

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
	unsigned long *seen[SOURCES_MAX];
	uint64_t intervals;
	uint64_t began;
	uint64_t windows;
	uint64_t bytes;
	uint64_t time;
};

struct windows {
	struct tracker *tracker;
	struct level levels[FORECAST_LEVELS];
	size_t n;
};

static size_t words_of(const struct tracker_source *source)
{
	return source->map.map_length / sizeof(unsigned long);
}

static int windows_open(struct windows *windows, struct tracker *tracker,
			uint64_t intervals, struct error *err)
{
	size_t i, l;

	*windows = (struct windows) { .tracker = tracker };
	if (tracker->n > SOURCES_MAX)
		return error_set(err, EXIT_FAILED, "too many memory back ends: %zu",
				 tracker->n);
	while (windows->n < FORECAST_LEVELS && 1ull << windows->n <= intervals)
		windows->n++;
	for (l = 0; l < windows->n; l++) {
		for (i = 0; i < tracker->n; i++) {
			windows->levels[l].seen[i] =
				calloc(words_of(&tracker->sources[i]),
				       sizeof(unsigned long));
			if (!windows->levels[l].seen[i])
				return error_set(err, EXIT_FAILED, "out of memory");
		}
	}
	return 0;
}

static void windows_close(struct windows *windows)
{
	size_t i, l;

	for (l = 0; l < windows->n; l++) {
		for (i = 0; i < windows->tracker->n; i++)
			free(windows->levels[l].seen[i]);
	}
}

static void windows_begin(struct windows *windows, uint64_t now)
{
	size_t l;

	for (l = 0; l < windows->n; l++)
		windows->levels[l].began = now;
}

/* What is in the window so far, and no more in it. */
static uint64_t level_take(struct level *level, const struct tracker *tracker)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < tracker->n; i++) {
		bytes += tracker->sources[i].map.page_size *
			 bitmap_count(level->seen[i], words_of(&tracker->sources[i]));
		memset(level->seen[i], 0, tracker->sources[i].map.map_length);
	}
	return bytes;
}

/* The interval that ended at @now is what the tracker has seen. */
static void level_add(struct level *level, const struct tracker *tracker,
		      uint64_t length, uint64_t now)
{
	size_t i, word, n;

	for (i = 0; i < tracker->n; i++) {
		n = words_of(&tracker->sources[i]);
		for (word = 0; word < n; word++)
			level->seen[i][word] |= tracker->sources[i].seen[word];
	}
	if (++level->intervals < length)
		return;
	level->bytes += level_take(level, tracker);
	level->time += now - level->began;
	level->windows++;
	level->intervals = 0;
	level->began = now;
}

static void windows_add(struct windows *windows, uint64_t now)
{
	size_t l;

	for (l = 0; l < windows->n; l++)
		level_add(&windows->levels[l], windows->tracker, 1ull << l, now);
	tracker_forget(windows->tracker);
}

/* A longer window never has less in it, whatever the averages say. */
static void windows_points(const struct windows *windows, struct measurement *measured)
{
	struct forecast_point *point;
	const struct level *level;
	size_t l;

	for (l = 0; l < windows->n; l++) {
		level = &windows->levels[l];
		if (!level->windows)
			break;
		point = &measured->points[measured->n++];
		point->window = level->time / level->windows;
		point->bytes = level->bytes / level->windows;
		if (l && point->bytes < point[-1].bytes)
			point->bytes = point[-1].bytes;
	}
}

static int sync_memory(struct tracker *tracker, enum migtrack_sync_kind kind,
		       struct migtrack_map_header *sync, struct error *err)
{
	struct pollfd pollfd = { .fd = tracker->fd, .events = POLLIN };
	int ret;

	if (tracker_sync(tracker, kind, err))
		return -1;
	do {
		ret = poll(&pollfd, 1, SYNC_TIMEOUT_MS);
	} while (ret < 0 && errno == EINTR);
	if (!ret)
		return error_set(err, EXIT_FAILED, "a sync did not end within %d s",
				 SYNC_TIMEOUT_MS / 1000);
	if (tracker_result(tracker, sync, err))
		return -1;
	if (sync->flags & MIGTRACK_COUNTER_FLAGS_GONE)
		return error_set(err, EXIT_GONE, "the tracked process has exited");
	return 0;
}

/* Returns 1 at @when, 0 at Ctrl-C. */
static int wait_until(int signals, uint64_t when)
{
	struct pollfd pollfd = { .fd = signals, .events = POLLIN };
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	int ret;

	while (now < when) {
		ret = poll(&pollfd, 1, (int)((when - now + NS_PER_MS - 1) / NS_PER_MS));
		if (ret > 0)
			return 0;
		now = clock_ns(CLOCK_MONOTONIC);
	}
	return 1;
}

static int measure(struct measurement *measured, struct windows *windows,
		   const struct track_options *options, int signals,
		   struct error *err)
{
	struct tracker *tracker = windows->tracker;
	struct migtrack_map_header sync;
	uint64_t start, last, next;

	if (sync_memory(tracker, MIGTRACK_SYNC_KIND_SETUP, &sync, err))
		return -1;
	tracker_take(tracker);
	tracker_forget(tracker);
	start = clock_ns(CLOCK_MONOTONIC);
	last = sync.sync_time_ns;
	windows_begin(windows, last);
	for (;;) {
		next = next_tick(clock_ns(CLOCK_MONOTONIC) - start,
				 options->interval_ns, options->duration_ns);
		if (!next || !wait_until(signals, start + next))
			break;
		if (sync_memory(tracker, MIGTRACK_SYNC_KIND_HELPER, &sync, err))
			return -1;
		measured->dirty += tracker_take(tracker);
		measured->intervals++;
		measured->elapsed += sync.sync_time_ns - last;
		last = sync.sync_time_ns;
		windows_add(windows, last);
	}
	windows_points(windows, measured);
	return 0;
}

int forecast_measure(struct measurement *measured, struct tracker *tracker,
		     const struct track_options *options, struct error *err)
{
	struct windows windows;
	int signals, ret;

	signals = signals_open(err);
	if (signals < 0)
		return -1;
	ret = windows_open(&windows, tracker,
			   options->duration_ns / options->interval_ns, err);
	if (!ret)
		ret = measure(measured, &windows, options, signals, err);
	windows_close(&windows);
	close(signals);
	if (!ret && !measured->intervals)
		return error_set(err, EXIT_CANCELLED, "cancelled before an interval ended");
	return ret;
}

/* ---- what there is to move ---- */

static int read_failed(const struct vmm_memory *mem, struct error *err)
{
	return error_set(err, EXIT_FAILED, "%s: %s", mem->path, strerror(errno));
}

/* Looks at one page of @stride, and lets it stand for all of these. */
static int sample_zero(struct measurement *measured, const struct vmm_memory *mem,
		       off_t at, off_t end, uint64_t stride, struct error *err)
{
	char page[WIRE_PAGE_SIZE] __attribute__((aligned(8)));

	for (; at < end; at += (off_t)stride) {
		if (pread(mem->fd, page, sizeof(page), at) != (ssize_t)sizeof(page))
			return read_failed(mem, err);
		if (page_is_zero(page))
			measured->zero += (uint64_t)(end - at) < stride ?
					  (uint64_t)(end - at) : stride;
	}
	return 0;
}

static int block_data(struct measurement *measured, const struct vmm_memory *mem,
		      struct error *err)
{
	uint64_t stride = (mem->size / WIRE_PAGE_SIZE / SAMPLES + 1) * WIRE_PAGE_SIZE;
	off_t at = (off_t)mem->offset, end = at + (off_t)mem->size;
	off_t data, hole;

	while (at < end) {
		data = lseek(mem->fd, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return 0;
		hole = data < 0 ? data : lseek(mem->fd, data, SEEK_HOLE);
		/* The data were punched between the two: look again. */
		if (hole < 0 && errno == ENXIO)
			continue;
		if (hole < 0)
			return read_failed(mem, err);
		if (data >= end)
			return 0;
		if (hole > end)
			hole = end;
		measured->data += (uint64_t)(hole - data);
		if (sample_zero(measured, mem, data, hole, stride, err))
			return -1;
		at = hole;
	}
	return 0;
}

int forecast_data(struct measurement *measured, const struct track_target *target,
		  struct error *err)
{
	size_t i;

	for (i = 0; i < target->n; i++) {
		if (block_data(measured, &target->memory[i], err))
			return -1;
	}
	return 0;
}
