// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/session.h"

const char monitor_usage[] =
	"migctl monitor [-j] [--count N]\n"
	"\n"
	"Sessions' events as they happen, until Ctrl-C: sessions that begin and end,\n"
	"their iterations, sources that come, change and go.\n"
	"\n"
	"  -n, --count N   end after N events";

enum {
	TIME, EVENT, SESSION, SOURCE, PHASE, ITERATION, DIRTY, REMAINING, SYNC,
	FLAGS, SEQ, BANDWIDTH, LIMIT, EXPECTED,
	VERDICT, REASON, FIELDS
};

static const struct out_field fields[FIELDS] = {
	[TIME] = { "time_ns", "TIME", 12, OUT_TEXT },
	[EVENT] = { "event", "EVENT", 17, OUT_TEXT },
	[SESSION] = { "session_id", "SESSION", 7, OUT_ID },
	[SOURCE] = { "source_id", "SOURCE", 6, OUT_ID },
	[PHASE] = { "phase", "PHASE", 10, OUT_TEXT },
	[ITERATION] = { "iteration", "ITERATION", 9, OUT_NUMBER },
	[DIRTY] = { "dirty_pages", "DIRTY PAGES", 11, OUT_NUMBER },
	[REMAINING] = { "remaining_bytes", "REMAINING", 10, OUT_BYTES },
	[SYNC] = { "sync_ns", "SYNC", 9, OUT_TIME },
	[FLAGS] = { "flags", "FLAGS", 0, OUT_TEXT },
	[SEQ] = { "event_seq", NULL, 0, OUT_ID },
	[BANDWIDTH] = { "bandwidth_bytes_per_second", NULL, 0, OUT_RATE },
	[LIMIT] = { "downtime_limit_ns", NULL, 0, OUT_TIME },
	[EXPECTED] = { "expected_downtime_ns", NULL, 0, OUT_TIME },
	[VERDICT] = { "verdict", NULL, 0, OUT_TEXT },
	[REASON] = { "reason", NULL, 0, OUT_TEXT },
};

/**
 * struct monitor - a listener
 * @out: where to
 * @events: the handle that subscribed
 * @queries: a second one, to catch up by
 * @count: events to show, 0 for all
 * @shown: events shown
 * @seq: number of the last event, 0 before the first
 * @lost: the kernel could not queue some; where they are missing is not known yet
 */
struct monitor {
	struct output *out;
	struct migtrack *events;
	struct migtrack *queries;
	uint64_t count;
	uint64_t shown;
	uint64_t seq;
	bool lost;
};

static void out_wallclock(struct output *out)
{
	uint64_t now = clock_ns(CLOCK_REALTIME);
	time_t seconds = (time_t)(now / NS_PER_S);
	char text[32], clock[16];
	struct tm tm;

	localtime_r(&seconds, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03u", clock,
		 (unsigned int)(now % NS_PER_S / NS_PER_MS));
	out_json(out, &fields[TIME], json_integer((json_int_t)now), text);
}

/* What a controller decides by: for programs only. */
static void out_published(struct output *out,
			  const struct migtrack_session *session)
{
	if (!out->json || !session->phase)
		return;
	out_uint(out, &fields[BANDWIDTH], session->bandwidth);
	out_uint(out, &fields[LIMIT], session->downtime_limit_ns);
	if (session->expected_downtime_ns == UINT64_MAX)
		out_none(out, &fields[EXPECTED]);
	else
		out_uint(out, &fields[EXPECTED], session->expected_downtime_ns);
	out_text(out, &fields[VERDICT], verdict_name(session->verdict));
	out_text(out, &fields[REASON], reason_name(session->reason));
}

static void out_session_event(struct output *out, const char *name,
			      const struct migtrack_session *session)
{
	out_begin(out, OUT_ROW, "event");
	out_wallclock(out);
	out_text(out, &fields[EVENT], name);
	out_uint(out, &fields[SESSION], session->id);
	out_none(out, &fields[SOURCE]);
	out_phase(out, &fields[PHASE], session);
	out_uint(out, &fields[ITERATION], session->iteration);
	out_uint(out, &fields[DIRTY], session->dirty_pages);
	out_remaining(out, &fields[REMAINING], session->bytes.total,
		      session->flags);
	if (session->syncs)
		out_uint(out, &fields[SYNC], session->sync_duration_ns);
	else
		out_none(out, &fields[SYNC]);
	out_flags(out, &fields[FLAGS], session->flags);
	out_uint(out, &fields[SEQ], session->event_seq);
	out_published(out, session);
	out_end(out);
}

static void out_source_event(struct output *out,
			     const struct migtrack_source *source)
{
	out_begin(out, OUT_ROW, "event");
	out_wallclock(out);
	out_text(out, &fields[EVENT], "source-change");
	out_uint(out, &fields[SESSION], source->session_id);
	out_uint(out, &fields[SOURCE], source->id);
	out_none(out, &fields[PHASE]);
	out_none(out, &fields[ITERATION]);
	out_uint(out, &fields[DIRTY], source->dirty_pages);
	out_remaining(out, &fields[REMAINING], source->bytes.total,
		      source->flags);
	out_none(out, &fields[SYNC]);
	out_flags(out, &fields[FLAGS], source->flags);
	out_uint(out, &fields[SEQ], source->event_seq);
	out_end(out);
}

static uint64_t event_seq(const struct migtrack_event *event)
{
	return event->type == MIGTRACK_EVENT_SOURCE_CHANGE ?
	       event->source.event_seq : event->session.event_seq;
}

static void out_event(struct output *out, const struct migtrack_event *event)
{
	static const char * const names[] = {
		[MIGTRACK_EVENT_SESSION_NEW] = "session-new",
		[MIGTRACK_EVENT_SESSION_ITERATION] = "session-iteration",
		[MIGTRACK_EVENT_SESSION_DEL] = "session-del",
		[MIGTRACK_EVENT_SESSION_CHANGE] = "session-change",
	};

	if (event->type == MIGTRACK_EVENT_SOURCE_CHANGE)
		out_source_event(out, &event->source);
	else
		out_session_event(out, names[event->type], &event->session);
}

static int monitor_state(const struct migtrack_session *session, void *data)
{
	out_session_event(data, "session-state", session);
	return 0;
}

/* Events were lost: say so, and show how things stand now. */
static int monitor_catch_up(struct monitor *monitor, struct error *err)
{
	struct output *out = monitor->out;
	int ret;

	monitor->lost = false;
	out_say(out, "Events were lost; the sessions as they are now:");
	if (out->json) {
		out_begin(out, OUT_ROW, "lost");
		out_wallclock(out);
		out_end(out);
	}
	ret = migtrack_session_dump(monitor->queries, monitor_state, out);
	if (ret)
		return kernel_error(monitor->queries, ret,
				    "can't read the sessions", err);
	return 0;
}

static bool monitor_done(const struct monitor *monitor)
{
	return monitor->count && monitor->shown >= monitor->count;
}

/*
 * Shows what has arrived. The kernel tells of a loss before the events that it had
 * queued until then: the gap is after them, or they are the last.
 */
static int monitor_drain(struct monitor *monitor, struct error *err)
{
	struct migtrack_event event;
	uint64_t seq;
	bool gap;
	int ret;

	while (!monitor_done(monitor)) {
		ret = migtrack_event_read(monitor->events, &event);
		if (ret == -EAGAIN)
			break;
		if (ret == -ENOBUFS) {
			monitor->lost = true;
			continue;
		}
		if (ret)
			return kernel_error(monitor->events, ret,
					    "can't read events", err);
		seq = event_seq(&event);
		gap = monitor->seq && seq > monitor->seq + 1;
		monitor->seq = seq;
		if (gap && monitor_catch_up(monitor, err))
			return -1;
		out_event(monitor->out, &event);
		monitor->shown++;
	}
	return monitor->lost ? monitor_catch_up(monitor, err) : 0;
}

static int monitor_loop(struct monitor *monitor, int signals,
			struct error *err)
{
	struct pollfd pfds[2] = {
		{ .fd = migtrack_fd(monitor->events), .events = POLLIN },
		{ .fd = signals, .events = POLLIN },
	};

	out_header(monitor->out, fields, FIELDS);
	while (!monitor_done(monitor)) {
		if (poll(pfds, 2, -1) < 0 && errno != EINTR)
			return error_set(err, EXIT_FAILED, "poll: %s",
					 strerror(errno));
		if (pfds[1].revents || monitor->out->failed)
			return 0;
		if (monitor_drain(monitor, err))
			return -1;
	}
	return 0;
}

static int monitor_run(struct monitor *monitor, struct error *err)
{
	int signals, ret = -1;

	if (kernel_open(&monitor->events, err))
		return -1;
	if (kernel_open(&monitor->queries, err))
		goto err_events;
	ret = migtrack_subscribe(monitor->events);
	if (ret) {
		kernel_error(monitor->events, ret, "can't subscribe to events",
			     err);
		ret = -1;
		goto err_queries;
	}
	signals = signals_open(err);
	if (signals < 0) {
		ret = -1;
		goto err_queries;
	}
	ret = monitor_loop(monitor, signals, err);
	close(signals);
err_queries:
	migtrack_close(monitor->queries);
err_events:
	migtrack_close(monitor->events);
	return ret;
}

int cmd_monitor(struct output *out, int argc, char **argv, struct error *err)
{
	static const struct option longs[] = {
		{ "count", required_argument, NULL, 'n' },
		COMMON_OPTIONS
	};
	struct monitor monitor = { .out = out };
	int option;

	while ((option = option_next(argc, argv, ":jn:", longs, err))) {
		if (option < 0)
			return -1;
		if (option == 'n' &&
		    option_number("--count", optarg, 1, UINT64_MAX,
				  &monitor.count, err))
			return -1;
	}
	if (option_end(argc, argv, err))
		return -1;
	return monitor_run(&monitor, err);
}
