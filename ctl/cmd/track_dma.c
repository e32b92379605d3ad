// SPDX-License-Identifier: GPL-2.0-or-later
/* track --dma-log: what the guest's devices write by DMA. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/session.h"
#include "cmd/track_devices.h"
#include "cmd/tracker.h"

enum { SOURCE, NAME, STATE, PAGES, BYTES, RATE, UNTRACKED, ERROR, FIELDS };

static const struct out_field fields[FIELDS] = {
	[SOURCE] = { "source_id", NULL, 0, OUT_ID },
	[NAME] = { "name", "  DMA LOG", 38, OUT_TEXT },
	[STATE] = { "state", "STATE", 12, OUT_TEXT },
	[PAGES] = { "dirty_pages", NULL, 0, OUT_NUMBER },
	[BYTES] = { "dirty_bytes", "WRITTEN", 10, OUT_BYTES },
	[RATE] = { "dirty_bytes_per_second", "RATE", 12, OUT_RATE },
	[UNTRACKED] = { "untracked_bytes", "UNTRACKED", 10, OUT_BYTES },
	[ERROR] = { "error", NULL, 0, OUT_ID },
};

static const char *dma_log_name(uint32_t state)
{
	static const char * const names[] = {
		[MIGTRACK_DMA_LOG_STARTING] = "starting",
		[MIGTRACK_DMA_LOG_ON] = "on",
		[MIGTRACK_DMA_LOG_UNREAD] = "unread",
		[MIGTRACK_DMA_LOG_IN_USE] = "in-use",
		[MIGTRACK_DMA_LOG_FAILED] = "failed",
	};

	return state < sizeof(names) / sizeof(names[0]) && names[state] ?
	       names[state] : "-";
}

/* Ranges of memory that is tracked; of others nobody would know what to say. */
static size_t dma_map(const struct tracker *tracker,
		      const struct vmm_range *ranges, size_t n,
		      struct migtrack_dma_range *map)
{
	const struct tracker_source *source;
	size_t i, j, used = 0;

	for (i = 0; i < n; i++) {
		for (j = 0; j < tracker->n && used < MIGTRACK_MAX_DMA_RANGES; j++) {
			source = &tracker->sources[j];
			if (strcmp(source->memory->id, ranges[i].id) ||
			    ranges[i].offset + ranges[i].length > source->map.length)
				continue;
			map[used++] = (struct migtrack_dma_range) {
				.iova = ranges[i].iova,
				.length = ranges[i].length,
				.offset = ranges[i].offset,
				.source_id = source->map.id,
			};
		}
	}
	return used;
}

static const struct out_field refused[] = {
	[0] = { .key = "name" },
	[1] = { .key = "source_id" },
	[2] = { .key = "reason" },
};

static void out_refused(struct output *out, const struct track_device *device,
			const char *reason)
{
	out_say(out, "The DMA log of VFIO device %s is not read: %s",
		device->name, reason);
	if (!out->json)
		return;
	out_begin(out, OUT_ROW, "dma_log_refused");
	out_text(out, &refused[0], device->name);
	out_uint(out, &refused[1], device->id);
	out_text(out, &refused[2], reason);
	out_end(out);
}

void track_dma_start(struct output *out, const struct track_devices *all,
		     struct tracker *tracker, const struct vmm_range *ranges,
		     size_t n_ranges)
{
	struct migtrack_dma_range map[MIGTRACK_MAX_DMA_RANGES];
	const char *reason;
	size_t i, n;
	int ret;

	n = dma_map(tracker, ranges, n_ranges, map);
	for (i = 0; i < all->n; i++) {
		if (!all->devices[i].tracked)
			continue;
		if (!n) {
			out_refused(out, &all->devices[i],
				    "no memory of the guest is tracked");
			continue;
		}
		ret = migtrack_dma_log_start(tracker->mt, tracker->fd,
					     all->devices[i].id, map, n);
		if (!ret)
			continue;
		reason = migtrack_message(tracker->mt);
		out_refused(out, &all->devices[i],
			    *reason ? reason : strerror(-ret));
	}
	if (all->n_tracked)
		out_say(out, "%s", "");
}

static void out_dma(struct output *out, const struct track_device *device,
		    const struct migtrack_source *source, uint64_t page)
{
	char name[VFIO_NAME_SIZE + 2];

	snprintf(name, sizeof(name), "%s%s", out->json ? "" : "  ",
		 device->name);
	out_begin(out, OUT_ROW, "dma_log");
	out_uint(out, &fields[SOURCE], source->id);
	out_text(out, &fields[NAME], name);
	out_text(out, &fields[STATE], dma_log_name(source->dma_log));
	out_uint(out, &fields[PAGES], source->dirty_pages);
	out_uint(out, &fields[BYTES], source->dirty_pages * page);
	out_uint(out, &fields[RATE], source->dirty_rate * page);
	out_uint(out, &fields[UNTRACKED], source->dma_untracked * page);
	out_uint(out, &fields[ERROR], source->dma_log_error);
	out_end(out);
}

void track_dma_show(struct output *out, const struct track_devices *all,
		    struct tracker *tracker)
{
	struct migtrack_source source;
	bool header = false;
	size_t i;

	for (i = 0; i < all->n; i++) {
		if (!all->devices[i].tracked ||
		    migtrack_source_get(tracker->mt, tracker->id,
					all->devices[i].id, &source) ||
		    !source.dma_log)
			continue;
		if (!header)
			out_header(out, fields, FIELDS);
		header = true;
		out_dma(out, &all->devices[i], &source, source.page_size);
	}
}
