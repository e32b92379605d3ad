// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/stats.h"
#include "cmd/tracker.h"

#define SYNC_TIMEOUT_MS	60000
/* What is left is told so often; after so long without it is not known any more. */
#define LEFT_INTERVAL	NS_PER_S
#define LEFT_MAX_AGE	(5 * NS_PER_S)

static size_t source_words(const struct tracker_source *source)
{
	return source->map.map_length / sizeof(unsigned long);
}

int tracker_open(struct tracker *tracker, struct error *err)
{
	int ret;

	*tracker = (struct tracker) { .fd = -1 };
	if (kernel_open(&tracker->mt, err))
		return -1;
	ret = migtrack_session_new(tracker->mt, &tracker->id, &tracker->fd);
	if (ret) {
		kernel_error(tracker->mt, ret, "can't make a session", err);
		goto err_close;
	}
	ret = migtrack_header_map(tracker->fd, &tracker->header);
	if (ret) {
		error_set(err, EXIT_FAILED, "can't map the session: %s",
			  strerror(-ret));
		goto err_close;
	}
	return 0;

err_close:
	tracker_close(tracker);
	return -1;
}

void tracker_close(struct tracker *tracker)
{
	size_t i;

	for (i = 0; i < tracker->n; i++) {
		migtrack_bitmap_unmap(&tracker->sources[i].map,
				      tracker->sources[i].bitmap);
		free(tracker->sources[i].seen);
	}
	free(tracker->sources);
	if (tracker->header)
		migtrack_header_unmap(tracker->header);
	if (tracker->fd >= 0)
		close(tracker->fd);
	migtrack_close(tracker->mt);
	*tracker = (struct tracker) { .fd = -1 };
}

static int source_map(struct tracker *tracker, struct tracker_source *source,
		      struct error *err)
{
	int ret;

	source->seen = calloc(1, source->map.map_length);
	if (!source->seen)
		return error_set(err, EXIT_FAILED, "out of memory");
	ret = migtrack_bitmap_map(tracker->fd, &source->map, &source->bitmap);
	if (!ret)
		return 0;
	free(source->seen);
	return error_set(err, EXIT_FAILED, "can't map the bitmap: %s",
			 strerror(-ret));
}

int tracker_add(struct tracker *tracker, pid_t pid,
		const struct vmm_memory *mem, struct error *err)
{
	struct tracker_source *sources, *source;
	char what[sizeof(mem->id) + 32];
	int ret;

	sources = reallocarray(tracker->sources, tracker->n + 1,
			       sizeof(*sources));
	if (!sources)
		return error_set(err, EXIT_FAILED, "out of memory");
	tracker->sources = sources;
	source = &sources[tracker->n];
	*source = (struct tracker_source) { .memory = mem };
	ret = migtrack_source_add_ram(tracker->mt, tracker->fd, pid, mem->fd,
				      mem->offset, mem->size, &source->map);
	if (ret) {
		snprintf(what, sizeof(what), "%s of process %d", mem->id, pid);
		return kernel_error(tracker->mt, ret, what, err);
	}
	if (source_map(tracker, source, err))
		return -1;
	tracker->n++;
	return 0;
}

int tracker_sync(struct tracker *tracker, enum migtrack_sync_kind kind,
		 struct error *err)
{
	int ret;

	ret = migtrack_sync(tracker->mt, tracker->fd, kind);
	if (ret)
		return kernel_error(tracker->mt, ret, "can't start a sync",
				    err);
	return 0;
}

static int sync_error(int error, struct error *err)
{
	if (error == ESRCH)
		return error_set(err, EXIT_GONE,
				 "the tracked process has exited");
	if (error == ENODEV) {
		error_set(err, EXIT_GONE, "the session has ended");
		return error_advise(err,
				    "somebody ended it, or its network namespace is gone");
	}
	return error_set(err, EXIT_FAILED, "the sync failed: %s",
			 strerror(error));
}

int tracker_result(struct tracker *tracker, struct migtrack_map_header *result,
		   struct error *err)
{
	int ret;

	ret = migtrack_sync_wait(tracker->fd, 0);
	if (ret)
		return sync_error(-ret, err);
	migtrack_header_read(tracker->header, result);
	if (result->sync_error)
		return sync_error((int)result->sync_error, err);
	return 0;
}

int tracker_sync_whole(struct tracker *tracker, enum migtrack_sync_kind kind, pid_t pid,
		       struct migtrack_map_header *result, struct error *err)
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
	if (tracker_result(tracker, result, err))
		return -1;
	if (result->flags & MIGTRACK_COUNTER_FLAGS_GONE)
		return error_set(err, EXIT_GONE, "process %d has exited", (int)pid);
	return 0;
}

uint64_t tracker_take(struct tracker *tracker)
{
	struct tracker_source *source;
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < tracker->n; i++) {
		source = &tracker->sources[i];
		bytes += source->map.page_size *
			 bitmap_take(source->bitmap, source->seen,
				     source_words(source));
	}
	return bytes;
}

void tracker_forget(struct tracker *tracker)
{
	size_t i;

	for (i = 0; i < tracker->n; i++)
		memset(tracker->sources[i].seen, 0,
		       tracker->sources[i].map.map_length);
}

uint64_t tracker_working_set(const struct tracker *tracker)
{
	const struct tracker_source *source;
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < tracker->n; i++) {
		source = &tracker->sources[i];
		bytes += source->map.page_size *
			 bitmap_count(source->seen, source_words(source));
	}
	return bytes;
}

uint64_t tracker_length(const struct tracker *tracker)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < tracker->n; i++)
		bytes += tracker->sources[i].map.length;
	return bytes;
}

void tracker_left_open(struct tracker *tracker, struct tracker_left *left)
{
	if (!migtrack_source_add_reported(tracker->mt, tracker->fd, LEFT_MAX_AGE, &left->id))
		left->told = 1;
}

void tracker_left_tell(struct tracker *tracker, struct tracker_left *left,
		       const struct migtrack_counters *bytes)
{
	const struct migtrack_report report = {
		.bytes = *bytes,
		.flags = MIGTRACK_COUNTER_FLAGS_EXACT,
	};
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (!left->told || ((bytes->precopy || bytes->postcopy) &&
			    now < left->told + LEFT_INTERVAL))
		return;
	left->told = now;
	migtrack_source_report(tracker->mt, tracker->fd, left->id, &report);
}
