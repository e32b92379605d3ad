// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "cmd/stats.h"
#include "cmd/track.h"
#include "cmd/tracker.h"

enum {
	ITERATION, ELAPSED, PERIOD, PAGES, BYTES, RATE, WORKING_SET, REMAINING,
	SYNC, FLAGS, FIELDS
};

static const struct out_field fields[FIELDS] = {
	[ITERATION] = { "iteration", "ITERATION", 9, OUT_NUMBER },
	[ELAPSED] = { "elapsed_ns", NULL, 0, OUT_TIME },
	[PERIOD] = { "interval_ns", NULL, 0, OUT_TIME },
	[PAGES] = { "dirty_pages", "DIRTY PAGES", 11, OUT_NUMBER },
	[BYTES] = { "dirty_bytes", NULL, 0, OUT_BYTES },
	[RATE] = { "dirty_bytes_per_second", "DIRTY RATE", 12, OUT_RATE },
	[WORKING_SET] = { "working_set_bytes", "WORKING SET", 11, OUT_BYTES },
	[REMAINING] = { "remaining_bytes", "REMAINING", 10, OUT_BYTES },
	[SYNC] = { "sync_ns", "SYNC TIME", 9, OUT_TIME },
	[FLAGS] = { "flags", "FLAGS", 0, OUT_TEXT },
};

enum { FD_SIGNALS, FD_SESSION, FD_TIMER, FD_PROCESS, FDS };

/**
 * struct run - a run of track
 * @out: where to
 * @options: what the user asked for
 * @tracker: the session
 * @devices: the guest's VFIO devices
 * @pid: whose memory it is
 * @fds: what it waits for
 * @syncing: a sync has been started and not ended
 * @start_ns: end of the setup sync, 0 before
 * @last_ns: end of the last sync
 * @stats: so far
 * @done: all intervals that were asked for are over
 */
struct run {
	struct output *out;
	const struct track_options *options;
	struct tracker *tracker;
	struct track_devices *devices;
	pid_t pid;
	struct pollfd fds[FDS];
	bool syncing;
	uint64_t start_ns;
	uint64_t last_ns;
	struct stats stats;
	bool done;
};

static int run_gone(const struct run *run, struct error *err)
{
	return error_set(err, EXIT_GONE, "process %d has exited", run->pid);
}

static bool run_has_exited(const struct run *run)
{
	struct pollfd process = run->fds[FD_PROCESS];

	return poll(&process, 1, 0) == 1;
}

static int timer_arm(struct run *run, struct error *err)
{
	struct itimerspec when = {};
	uint64_t next;

	next = next_tick(clock_ns(CLOCK_MONOTONIC) - run->start_ns,
			 run->options->interval_ns, run->options->duration_ns);
	if (!next) {
		run->done = true;
		return 0;
	}
	next += run->start_ns;
	when.it_value.tv_sec = (time_t)(next / NS_PER_S);
	when.it_value.tv_nsec = (long)(next % NS_PER_S);
	if (timerfd_settime(run->fds[FD_TIMER].fd, TFD_TIMER_ABSTIME, &when,
			    NULL))
		return error_set(err, EXIT_FAILED, "timerfd: %s",
				 strerror(errno));
	return 0;
}

static void out_interval(struct run *run, const struct interval *interval,
			 const struct migtrack_map_header *sync)
{
	struct output *out = run->out;

	out_begin(out, OUT_ROW, "interval");
	out_uint(out, &fields[ITERATION], sync->iteration);
	out_uint(out, &fields[ELAPSED], run->stats.elapsed_ns);
	out_uint(out, &fields[PERIOD], interval->period_ns);
	out_uint(out, &fields[PAGES], sync->dirty_pages);
	out_uint(out, &fields[BYTES], interval->dirty_bytes);
	out_uint(out, &fields[RATE],
		 per_second(interval->dirty_bytes, interval->period_ns));
	out_uint(out, &fields[WORKING_SET], tracker_working_set(run->tracker));
	out_uint(out, &fields[REMAINING], sync->total_bytes);
	out_uint(out, &fields[SYNC], sync->sync_duration_ns);
	out_flags(out, &fields[FLAGS], sync->flags);
	out_end(out);
}

static void run_interval(struct run *run,
			 const struct migtrack_map_header *sync)
{
	struct interval interval = {
		.period_ns = sync->sync_time_ns - run->last_ns,
		.dirty_bytes = tracker_take(run->tracker),
		.sync_ns = sync->sync_duration_ns,
		.flags = sync->flags,
	};

	stats_add(&run->stats, &interval);
	out_interval(run, &interval, sync);
	if (run->options->count == run->stats.intervals)
		run->done = true;
}

/* A sync has ended. All of memory is found by the first: it counts for none. */
static int run_synced(struct run *run, struct error *err)
{
	struct migtrack_map_header sync;

	if (tracker_result(run->tracker, &sync, err))
		return err->code == EXIT_GONE &&
		       sync.sync_error == ESRCH ? run_gone(run, err) : -1;
	run->syncing = false;
	/* A device can go while its guest goes on. */
	if (sync.flags & MIGTRACK_COUNTER_FLAGS_GONE && !run->devices->n_tracked)
		return run_gone(run, err);
	if (run->start_ns) {
		run_interval(run, &sync);
	} else {
		run->start_ns = clock_ns(CLOCK_MONOTONIC);
		tracker_take(run->tracker);
		tracker_forget(run->tracker);
	}
	run->last_ns = sync.sync_time_ns;
	track_devices_show(run->out, run->devices, run->tracker);
	return run->done ? 0 : timer_arm(run, err);
}

static int run_tick(struct run *run, struct error *err)
{
	uint64_t ticks;

	if (read(run->fds[FD_TIMER].fd, &ticks, sizeof(ticks)) < 0)
		return 0;
	run->syncing = true;
	return tracker_sync(run->tracker, MIGTRACK_SYNC_KIND_ITERATION, err);
}

static int run_loop(struct run *run, struct error *err)
{
	run->syncing = true;
	if (tracker_sync(run->tracker, MIGTRACK_SYNC_KIND_SETUP, err))
		return -1;
	while (!run->done && !run->out->failed) {
		if (poll(run->fds, FDS, -1) < 0) {
			if (errno == EINTR)
				continue;
			return error_set(err, EXIT_FAILED, "poll: %s",
					 strerror(errno));
		}
		if (run->fds[FD_SIGNALS].revents)
			return 0;
		if (run->fds[FD_SESSION].revents) {
			if (run_synced(run, err))
				return -1;
			continue;
		}
		if (run->fds[FD_PROCESS].revents)
			return run_gone(run, err);
		if (run->fds[FD_TIMER].revents && run_tick(run, err))
			return -1;
	}
	return 0;
}

enum {
	SUM_INTERVALS, SUM_ELAPSED, SUM_DIRTY, SUM_AVERAGE, SUM_PEAK, SUM_SET,
	SUM_TRACKED, SUM_SYNC, SUM_SYNC_MAX, SUM_FLAGS,
};

static const struct out_field summary[] = {
	[SUM_INTERVALS] = { "intervals", "intervals", 0, OUT_NUMBER },
	[SUM_ELAPSED] = { "elapsed_ns", "time", 0, OUT_TIME },
	[SUM_DIRTY] = { "dirty_bytes", "dirtied", 0, OUT_BYTES },
	[SUM_AVERAGE] = { "average_bytes_per_second", "average rate", 0,
			  OUT_RATE },
	[SUM_PEAK] = { "peak_bytes_per_second", "peak rate", 0, OUT_RATE },
	[SUM_SET] = { "working_set_bytes", "working set", 0, OUT_BYTES },
	[SUM_TRACKED] = { "length_bytes", "of memory", 0, OUT_BYTES },
	[SUM_SYNC] = { "sync_ns", "spent in syncs", 0, OUT_TIME },
	[SUM_SYNC_MAX] = { "sync_max_ns", "longest sync", 0, OUT_TIME },
	[SUM_FLAGS] = { "flags", "flags", 0, OUT_TEXT },
};

static void out_summary(const struct run *run)
{
	const struct stats *stats = &run->stats;
	struct output *out = run->out;
	const struct flag_text *text;

	out_say(out, "%s", "");
	out_begin(out, OUT_RECORD, "summary");
	out_uint(out, &summary[SUM_INTERVALS], stats->intervals);
	out_uint(out, &summary[SUM_ELAPSED], stats->elapsed_ns);
	out_uint(out, &summary[SUM_DIRTY], stats->dirty_bytes);
	out_uint(out, &summary[SUM_AVERAGE], stats_average_rate(stats));
	out_uint(out, &summary[SUM_PEAK], stats->peak_rate);
	out_uint(out, &summary[SUM_SET], tracker_working_set(run->tracker));
	out_uint(out, &summary[SUM_TRACKED], tracker_length(run->tracker));
	out_uint(out, &summary[SUM_SYNC], stats->sync_ns);
	out_uint(out, &summary[SUM_SYNC_MAX], stats->sync_max_ns);
	out_flags(out, &summary[SUM_FLAGS], stats->flags);
	out_end(out);
	for (text = flag_texts; text->flag; text++) {
		if (text->meaning && stats->flags & text->flag)
			out_say(out, "%s: %s", text->name, text->meaning);
	}
}

static int run_open(struct run *run, struct error *err)
{
	int i, fd;

	for (i = 0; i < FDS; i++)
		run->fds[i] = (struct pollfd) { .fd = -1, .events = POLLIN };
	fd = signals_open(err);
	if (fd < 0)
		return -1;
	run->fds[FD_SIGNALS].fd = fd;
	run->fds[FD_SESSION].fd = run->tracker->fd;
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return error_set(err, EXIT_FAILED, "timerfd: %s",
				 strerror(errno));
	run->fds[FD_TIMER].fd = fd;
	fd = (int)syscall(SYS_pidfd_open, run->pid, 0);
	if (fd < 0 && errno == ESRCH)
		return run_gone(run, err);
	if (fd < 0) {
		error_set(err, EXIT_USAGE, "%d: %s", run->pid,
			  strerror(errno));
		return error_advise(err,
				    "give the number of the process, not of one of its threads");
	}
	run->fds[FD_PROCESS].fd = fd;
	return 0;
}

/* The session's descriptor belongs to the tracker. */
static void run_close(struct run *run)
{
	int i;

	for (i = 0; i < FDS; i++) {
		if (i != FD_SESSION && run->fds[i].fd >= 0)
			close(run->fds[i].fd);
	}
}

int track_run(struct output *out, const struct track_options *options,
	      struct tracker *tracker, struct track_devices *devices, pid_t pid,
	      struct error *err)
{
	struct run run = {
		.out = out,
		.options = options,
		.tracker = tracker,
		.devices = devices,
		.pid = pid,
	};
	int ret;

	ret = run_open(&run, err);
	if (!ret) {
		out_header(out, fields, FIELDS);
		ret = run_loop(&run, err);
		/* What failed is only what came of it. */
		if (ret && err->code == EXIT_FAILED && run_has_exited(&run))
			run_gone(&run, err);
		out_summary(&run);
	}
	run_close(&run);
	return ret;
}
