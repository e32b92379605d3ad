// SPDX-License-Identifier: GPL-2.0-or-later
/* How much a guest writes, and how much of its memory has something in it. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/forecast.h"
#include "cmd/forecast_windows.h"
#include "cmd/stats.h"
#include "stream/hash.h"
#include "stream/wire.h"

/* Pages that are read to see how many are zero. */
#define SAMPLES		65536

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
		   struct tracker *tracker, pid_t pid,
		   const struct track_options *options, int signals, struct error *err)
{
	struct migtrack_map_header sync;
	uint64_t start, last, next;

	if (tracker_sync_whole(tracker, MIGTRACK_SYNC_KIND_SETUP, pid, &sync, err))
		return -1;
	tracker_take(tracker);
	tracker_forget(tracker);
	start = clock_ns(CLOCK_MONOTONIC);
	last = sync.sync_time_ns;
	if (windows_open(windows, tracker, options->duration_ns / options->interval_ns,
			 last, err))
		return -1;
	for (;;) {
		next = next_tick(clock_ns(CLOCK_MONOTONIC) - start,
				 options->interval_ns, options->duration_ns);
		if (!next || !wait_until(signals, start + next))
			break;
		if (tracker_sync_whole(tracker, MIGTRACK_SYNC_KIND_HELPER, pid, &sync, err))
			return -1;
		measured->dirty += tracker_take(tracker);
		measured->intervals++;
		measured->flags |= sync.flags;
		measured->elapsed += sync.sync_time_ns - last;
		last = sync.sync_time_ns;
		windows_add(windows, last);
	}
	measured->n = windows_points(windows, measured->points);
	return 0;
}

int forecast_measure(struct measurement *measured, struct tracker *tracker, pid_t pid,
		     const struct track_options *options, struct error *err)
{
	struct windows windows = { .tracker = tracker };
	int signals, ret;

	signals = signals_open(err);
	if (signals < 0)
		return -1;
	ret = measure(measured, &windows, tracker, pid, options, signals, err);
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
