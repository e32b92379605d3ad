// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>

#include "cmd/prometheus.h"
#include "cmd/session.h"
#include "vmm/memfile.h"

const char show_usage[] =
	"migctl show [-j] SESSION\n"
	"       migctl show --prometheus [SESSION]\n"
	"\n"
	"Everything about a session and its sources, as of its last sync. SESSION is its\n"
	"number in migctl list. Needs no privileges and disturbs nothing.\n"
	"\n"
	"  --prometheus    these of all sessions, and the last run, as metrics";

enum {
	S_ID, S_PIDS, S_SOURCES, S_ITERATION, S_REMAINING, S_PRECOPY,
	S_POSTCOPY, S_STOPCOPY, S_COVERED, S_DIRTY, S_RATE, S_FLAGS, S_SYNCS,
	S_KIND, S_AGE, S_DURATION, S_ERROR, S_MEMORY, S_PHASE, S_BANDWIDTH,
	S_BANDWIDTH_SOURCE, S_LIMIT, S_EXPECTED, S_VERDICT,
	S_REASON,
};

static const struct out_field session_fields[] = {
	[S_ID] = { "session_id", "session", 0, OUT_ID },
	[S_PIDS] = { "pids", "processes", 0, OUT_TEXT },
	[S_SOURCES] = { "sources", "sources", 0, OUT_NUMBER },
	[S_ITERATION] = { "iteration", "iteration", 0, OUT_NUMBER },
	[S_REMAINING] = { "remaining_bytes", "remaining", 0, OUT_BYTES },
	[S_PRECOPY] = { "precopy_bytes", "  precopy", 0, OUT_BYTES },
	[S_POSTCOPY] = { "postcopy_bytes", "  postcopy", 0, OUT_BYTES },
	[S_STOPCOPY] = { "stopcopy_bytes", "  stopcopy", 0, OUT_BYTES },
	[S_COVERED] = { "length_bytes", "tracked", 0, OUT_BYTES },
	[S_DIRTY] = { "dirty_pages", "dirty pages", 0, OUT_NUMBER },
	[S_RATE] = { "dirty_bytes_per_second", "dirty rate", 0, OUT_RATE },
	[S_FLAGS] = { "flags", "flags", 0, OUT_TEXT },
	[S_SYNCS] = { "syncs", "syncs", 0, OUT_NUMBER },
	[S_KIND] = { "sync_kind", "last sync", 0, OUT_TEXT },
	[S_AGE] = { "sync_age_ns", "  age", 0, OUT_TIME },
	[S_DURATION] = { "sync_ns", "  took", 0, OUT_TIME },
	[S_ERROR] = { "sync_errno", "  failed, errno", 0, OUT_ID },
	[S_MEMORY] = { "memory_bytes", "kernel memory", 0, OUT_BYTES },
	[S_PHASE] = { "phase", "migration", 0, OUT_TEXT },
	[S_BANDWIDTH] = { "bandwidth_bytes_per_second", "  bandwidth", 0, OUT_RATE },
	[S_BANDWIDTH_SOURCE] = { "bandwidth_source", "    that is", 0, OUT_TEXT },
	[S_LIMIT] = { "downtime_limit_ns", "  downtime limit", 0, OUT_TIME },
	[S_EXPECTED] = { "expected_downtime_ns", "  expected", 0, OUT_TIME },
	[S_VERDICT] = { "verdict", "  verdict", 0, OUT_TEXT },
	[S_REASON] = { "reason", "    why", 0, OUT_TEXT },
};

enum {
	R_ID, R_SESSION, R_TYPE, R_PID, R_COMMAND, R_OFFSET, R_LENGTH, R_PAGE,
	R_REMAINING, R_PRECOPY, R_POSTCOPY, R_STOPCOPY, R_DIRTY, R_RATE,
	R_FLAGS, R_HELD, R_WHOLE, R_PROTECTED, R_CALLS, R_PROCESSES, R_MEMORY,
	R_NAME, R_STATE, R_INITIAL, R_PRECOPY_DIRTY, R_SIZE, R_CLAMPS, R_ERROR,
};

static const struct out_field source_fields[] = {
	[R_ID] = { "source_id", "source", 0, OUT_ID },
	[R_SESSION] = { "session_id", NULL, 0, OUT_ID },
	[R_TYPE] = { "source_type", "  type", 0, OUT_TEXT },
	[R_PID] = { "pid", "  pid", 0, OUT_TEXT },
	[R_COMMAND] = { NULL, "  command", 0, OUT_TEXT },
	[R_OFFSET] = { "offset_bytes", "  offset in file", 0, OUT_BYTES },
	[R_LENGTH] = { "length_bytes", "  length", 0, OUT_BYTES },
	[R_PAGE] = { "page_size_bytes", "  page size", 0, OUT_BYTES },
	[R_REMAINING] = { "remaining_bytes", "  remaining", 0, OUT_BYTES },
	[R_PRECOPY] = { "precopy_bytes", NULL, 0, OUT_BYTES },
	[R_POSTCOPY] = { "postcopy_bytes", NULL, 0, OUT_BYTES },
	[R_STOPCOPY] = { "stopcopy_bytes", NULL, 0, OUT_BYTES },
	[R_DIRTY] = { "dirty_pages", "  dirty pages", 0, OUT_NUMBER },
	[R_RATE] = { "dirty_bytes_per_second", "  dirty rate", 0, OUT_RATE },
	[R_FLAGS] = { "flags", "  flags", 0, OUT_TEXT },
	[R_HELD] = { "held_pages", "  held pages", 0, OUT_NUMBER },
	[R_WHOLE] = { "whole_chunks", "  chunks whole", 0, OUT_NUMBER },
	[R_PROTECTED] = { "protected_pages", "  protected", 0, OUT_NUMBER },
	[R_CALLS] = { "protect_calls", "  in calls", 0, OUT_NUMBER },
	[R_PROCESSES] = { "processes", "  watched mappers", 0, OUT_NUMBER },
	[R_MEMORY] = { "memory_bytes", "  kernel memory", 0, OUT_BYTES },
	[R_NAME] = { "name", "  name", 0, OUT_TEXT },
	[R_STATE] = { "device_state", "  device state", 0, OUT_TEXT },
	[R_INITIAL] = { "precopy_initial_bytes", "  precopy initial", 0, OUT_BYTES },
	[R_PRECOPY_DIRTY] = { "precopy_dirty_bytes", "  precopy dirty", 0, OUT_BYTES },
	[R_SIZE] = { "stopcopy_size_bytes", "  stop-copy size", 0, OUT_BYTES },
	[R_CLAMPS] = { "clamps", "  impossible sizes", 0, OUT_NUMBER },
	[R_ERROR] = { "error", "  errno of device", 0, OUT_ID },
};

static void out_migration(struct output *out, const struct migtrack_session *s)
{
	const struct out_field *f = session_fields;

	out_text(out, &f[S_PHASE], phase_name(s->phase));
	out_uint(out, &f[S_BANDWIDTH], s->bandwidth);
	out_text(out, &f[S_BANDWIDTH_SOURCE],
		 bandwidth_source_name(s->bandwidth_source));
	out_uint(out, &f[S_LIMIT], s->downtime_limit_ns);
	if (s->expected_downtime_ns == UINT64_MAX)
		out_none(out, &f[S_EXPECTED]);
	else
		out_uint(out, &f[S_EXPECTED], s->expected_downtime_ns);
	out_text(out, &f[S_VERDICT], verdict_name(s->verdict));
	out_text(out, &f[S_REASON], reason_name(s->reason));
}

static void out_session(struct output *out, const struct session_view *view)
{
	const struct migtrack_session *s = &view->session;
	const struct out_field *f = session_fields;

	out_begin(out, OUT_RECORD, "session");
	out_uint(out, &f[S_ID], s->id);
	out_pids(out, &f[S_PIDS], view);
	out_uint(out, &f[S_SOURCES], s->sources);
	out_uint(out, &f[S_ITERATION], s->iteration);
	out_remaining(out, &f[S_REMAINING], s->bytes.total, s->flags);
	out_uint(out, &f[S_PRECOPY], s->bytes.precopy);
	out_uint(out, &f[S_POSTCOPY], s->bytes.postcopy);
	out_remaining(out, &f[S_STOPCOPY], s->bytes.stopcopy, s->flags);
	out_uint(out, &f[S_COVERED], view->length);
	out_uint(out, &f[S_DIRTY], s->dirty_pages);
	out_uint(out, &f[S_RATE], view->dirty_rate);
	out_flags(out, &f[S_FLAGS], s->flags);
	out_uint(out, &f[S_SYNCS], s->syncs);
	out_text(out, &f[S_KIND], sync_kind_name(s->sync_kind));
	out_age(out, &f[S_AGE], s);
	out_uint(out, &f[S_DURATION], s->sync_duration_ns);
	if (out->json || s->sync_error)
		out_uint(out, &f[S_ERROR], s->sync_error);
	out_uint(out, &f[S_MEMORY], s->memory);
	if (s->phase)
		out_migration(out, s);
	out_end(out);
}

static void out_process(struct output *out, pid_t pid)
{
	char name[32], text[16];

	if (!pid) {
		out_none(out, &source_fields[R_PID]);
		return;
	}
	snprintf(text, sizeof(text), "%d", pid);
	out_json(out, &source_fields[R_PID], json_integer(pid), text);
	process_name(pid, name, sizeof(name));
	out_text(out, &source_fields[R_COMMAND], name);
}

static void out_vfio(struct output *out, const struct migtrack_source *s)
{
	const struct out_field *f = source_fields;

	out_text(out, &f[R_NAME], s->name);
	out_text(out, &f[R_STATE], device_state_name(s->device_state));
	out_known(out, &f[R_INITIAL], s->precopy_initial);
	out_known(out, &f[R_PRECOPY_DIRTY], s->precopy_dirty);
	out_known(out, &f[R_SIZE], s->stopcopy_size);
	out_uint(out, &f[R_CLAMPS], s->clamps);
	out_uint(out, &f[R_ERROR], s->error);
}

static void out_source(struct output *out, const struct migtrack_source *s)
{
	const struct out_field *f = source_fields;

	out_say(out, "%s", "");
	out_begin(out, OUT_RECORD, "source");
	out_uint(out, &f[R_ID], s->id);
	out_uint(out, &f[R_SESSION], s->session_id);
	out_text(out, &f[R_TYPE], source_type_name(s->type));
	out_process(out, s->pid);
	out_uint(out, &f[R_OFFSET], s->offset);
	out_uint(out, &f[R_LENGTH], s->length);
	out_uint(out, &f[R_PAGE], s->page_size);
	out_remaining(out, &f[R_REMAINING], s->bytes.total, s->flags);
	out_uint(out, &f[R_PRECOPY], s->bytes.precopy);
	out_uint(out, &f[R_POSTCOPY], s->bytes.postcopy);
	out_remaining(out, &f[R_STOPCOPY], s->bytes.stopcopy, s->flags);
	out_uint(out, &f[R_DIRTY], s->dirty_pages);
	out_uint(out, &f[R_RATE], s->dirty_rate * s->page_size);
	out_flags(out, &f[R_FLAGS], s->flags);
	out_uint(out, &f[R_HELD], s->held_pages);
	out_uint(out, &f[R_WHOLE], s->whole_chunks);
	out_uint(out, &f[R_PROTECTED], s->protected_pages);
	out_uint(out, &f[R_CALLS], s->protect_calls);
	out_uint(out, &f[R_PROCESSES], s->processes);
	out_uint(out, &f[R_MEMORY], s->memory);
	if (s->type == MIGTRACK_SOURCE_TYPE_VFIO)
		out_vfio(out, s);
	out_end(out);
}

struct showing {
	struct output *out;
	struct migtrack *mt;
};

static int show_source(const struct migtrack_source *entry, void *data)
{
	struct showing *showing = data;
	struct migtrack_source source;
	int ret;

	ret = migtrack_source_get(showing->mt, entry->session_id, entry->id,
				  &source);
	if (!ret)
		out_source(showing->out, &source);
	return ret;
}

static int show(struct output *out, struct migtrack *mt, uint64_t id,
		struct error *err)
{
	struct showing showing = { .out = out, .mt = mt };
	struct migtrack_session session;
	struct session_view view;
	char what[64];
	int ret;

	ret = migtrack_session_get(mt, id, &session);
	if (ret)
		goto err_kernel;
	ret = session_view(mt, &session, &view);
	if (ret)
		goto err_kernel;
	out_session(out, &view);
	ret = migtrack_source_dump(mt, id, show_source, &showing);
	if (ret)
		goto err_kernel;
	return 0;

err_kernel:
	snprintf(what, sizeof(what), "session %llu", (unsigned long long)id);
	return kernel_error(mt, ret, what, err);
}

static int options_parse(int argc, char **argv, uint64_t *id, bool *prometheus,
			 struct error *err)
{
	static const struct option longs[] = {
		{ "prometheus", no_argument, NULL, 'p' },
		COMMON_OPTIONS
	};
	int option;

	while ((option = option_next(argc, argv, ":j", longs, err))) {
		if (option < 0)
			return -1;
		*prometheus |= option == 'p';
	}
	if (optind >= argc && *prometheus)
		return 0;
	if (optind >= argc) {
		error_set(err, EXIT_USAGE, "show: which session?");
		return error_advise(err, "give a number from migctl list");
	}
	if (option_number("show", argv[optind++], 1, UINT64_MAX, id, err))
		return -1;
	return option_end(argc, argv, err);
}

int cmd_show(struct output *out, int argc, char **argv, struct error *err)
{
	bool prometheus = false;
	struct migtrack *mt;
	uint64_t id = 0;
	int ret;

	if (options_parse(argc, argv, &id, &prometheus, err) ||
	    kernel_open(&mt, err))
		return -1;
	ret = prometheus ? show_prometheus(out, mt, id, err) :
			   show(out, mt, id, err);
	migtrack_close(mt);
	return ret;
}
