// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>

#include "cmd/session.h"

const char list_usage[] =
	"migctl list [-j]\n"
	"\n"
	"The sessions of this network namespace, one a line: the processes whose\n"
	"memory they track, what is left to be moved as of the last sync, and how long\n"
	"ago that was. Needs no privileges and disturbs nothing.";

enum { ID, PHASE, SOURCES, ITERATION, REMAINING, RATE, AGE, FLAGS, PIDS, FIELDS };

static const struct out_field fields[FIELDS] = {
	[ID] = { "session_id", "SESSION", 7, OUT_ID },
	[PHASE] = { "phase", "MIGRATION", 10, OUT_TEXT },
	[SOURCES] = { "sources", "SOURCES", 7, OUT_NUMBER },
	[ITERATION] = { "iteration", "ITERATION", 9, OUT_NUMBER },
	[REMAINING] = { "remaining_bytes", "REMAINING", 10, OUT_BYTES },
	[RATE] = { "dirty_bytes_per_second", "DIRTY RATE", 12, OUT_RATE },
	[AGE] = { "sync_age_ns", "LAST SYNC", 9, OUT_TIME },
	[FLAGS] = { "flags", "FLAGS", 7, OUT_TEXT },
	[PIDS] = { "pids", "PROCESS", 0, OUT_TEXT },
};

struct listing {
	struct output *out;
	struct migtrack *mt;
	size_t n;
};

static int list_session(const struct migtrack_session *session, void *data)
{
	struct listing *listing = data;
	struct output *out = listing->out;
	struct session_view view;
	int ret;

	ret = session_view(listing->mt, session, &view);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	if (!listing->n++)
		out_header(out, fields, FIELDS);
	out_begin(out, OUT_ROW, "session");
	out_uint(out, &fields[ID], session->id);
	out_phase(out, &fields[PHASE], session);
	out_uint(out, &fields[SOURCES], session->sources);
	out_uint(out, &fields[ITERATION], session->iteration);
	out_remaining(out, &fields[REMAINING], session->bytes.total,
		      session->flags);
	out_uint(out, &fields[RATE], view.dirty_rate);
	out_age(out, &fields[AGE], session);
	out_flags(out, &fields[FLAGS], session->flags);
	out_pids(out, &fields[PIDS], &view);
	out_end(out);
	return 0;
}

int cmd_list(struct output *out, int argc, char **argv, struct error *err)
{
	static const struct option longs[] = { COMMON_OPTIONS };
	struct listing listing = { .out = out };
	int option, ret;

	while ((option = option_next(argc, argv, ":j", longs, err)))
		if (option < 0)
			return -1;
	if (option_end(argc, argv, err) || kernel_open(&listing.mt, err))
		return -1;
	ret = migtrack_session_dump(listing.mt, list_session, &listing);
	if (ret)
		kernel_error(listing.mt, ret, "can't list the sessions", err);
	else if (!listing.n)
		out_say(out, "No sessions. migctl track and migctl migrate start one.");
	migtrack_close(listing.mt);
	return ret ? -1 : 0;
}
