// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>

#include "cmd/forecast_windows.h"
#include "cmd/stats.h"

static size_t words_of(const struct tracker_source *source)
{
	return source->map.map_length / sizeof(unsigned long);
}

int windows_open(struct windows *windows, struct tracker *tracker,
		 uint64_t intervals, uint64_t now, struct error *err)
{
	size_t i, l;

	*windows = (struct windows) { .tracker = tracker };
	if (tracker->n > FORECAST_SOURCES)
		return error_set(err, EXIT_FAILED, "too many memory back ends: %zu",
				 tracker->n);
	while (windows->n < FORECAST_LEVELS && 1ull << windows->n <= intervals)
		windows->n++;
	for (l = 0; l < windows->n; l++) {
		windows->levels[l].began = now;
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

void windows_close(struct windows *windows)
{
	size_t i, l;

	for (l = 0; l < windows->n; l++) {
		for (i = 0; i < windows->tracker->n; i++)
			free(windows->levels[l].seen[i]);
	}
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

void windows_add(struct windows *windows, uint64_t now)
{
	size_t l;

	for (l = 0; l < windows->n; l++)
		level_add(&windows->levels[l], windows->tracker, 1ull << l, now);
	tracker_forget(windows->tracker);
}

/* A longer window never has less in it, whatever the averages say. */
size_t windows_points(const struct windows *windows,
		      struct forecast_point points[FORECAST_LEVELS])
{
	struct forecast_point *point;
	const struct level *level;
	size_t l;

	for (l = 0; l < windows->n; l++) {
		level = &windows->levels[l];
		if (!level->windows)
			break;
		point = &points[l];
		point->window = level->time / level->windows;
		point->bytes = level->bytes / level->windows;
		if (l && point->bytes < point[-1].bytes)
			point->bytes = point[-1].bytes;
	}
	return l;
}
