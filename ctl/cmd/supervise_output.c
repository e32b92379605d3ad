// SPDX-License-Identifier: GPL-2.0-or-later
/* What the user sees: a screen, lines, or JSON; and what the run's file says. */
#include <stdio.h>
#include <time.h>

#include "cmd/limits.h"
#include "cmd/live.h"
#include "cmd/session.h"
#include "cmd/supervise.h"

enum {
	ITERATION, PASSES, ELAPSED, SENT, REMAINING, RAM, RATE, BANDWIDTH, EXPECTED,
	LIMIT, SOURCE, THEN, ADVICE, FIELDS
};

static const struct out_field fields[FIELDS] = {
	[ITERATION] = { "iteration", "ITERATION", 9, OUT_NUMBER },
	[PASSES] = { "passes", NULL, 0, OUT_NUMBER },
	[ELAPSED] = { "elapsed_ns", "TIME", 8, OUT_TIME },
	[SENT] = { "sent_bytes", "SENT", 10, OUT_BYTES },
	[REMAINING] = { "remaining_bytes", "REMAINING", 10, OUT_BYTES },
	[RAM] = { "ram_bytes", NULL, 0, OUT_BYTES },
	[RATE] = { "dirty_bytes_per_second", "DIRTY RATE", 12, OUT_RATE },
	[BANDWIDTH] = { "bandwidth_bytes_per_second", "BANDWIDTH", 12, OUT_RATE },
	[EXPECTED] = { "expected_downtime_ns", "DOWNTIME", 9, OUT_TIME },
	[LIMIT] = { "downtime_limit_ns", "LIMIT", 8, OUT_TIME },
	[SOURCE] = { "bandwidth_source", NULL, 0, OUT_TEXT },
	[THEN] = { "reason", "THEN", 0, OUT_TEXT },
	[ADVICE] = { "advice", NULL, 0, OUT_TEXT },
};

static uint64_t elapsed(const struct supervision *s)
{
	return clock_ns(CLOCK_MONOTONIC) - s->times.started;
}

static uint64_t bandwidth_of(const struct supervision *s)
{
	return s->policy.bandwidth_source == POLICY_BANDWIDTH_UNKNOWN ?
	       POLICY_UNKNOWN : s->policy.bandwidth;
}

static const char *reason_of(const struct supervision *s)
{
	if (s->forced)
		return "forced";
	if (s->decision.verdict == POLICY_SWITCHOVER)
		return "switch over";
	return policy_reason_name(supervise_reason(s));
}

void supervise_out_start(struct supervision *s)
{
	const char *to = s->options->vmm.to;

	out_say(s->out, "Process %d (QEMU %s), session %llu: %s%s%s.\n", s->vmm->pid,
		s->vmm->version, (unsigned long long)s->tracker.id,
		to ? "to " : s->options->dry_run ? "only watching what is under way" :
		"in charge of the migration that is under way", to ? to : "",
		s->attempt > 1 ? " (once more)" : "");
	out_track_devices(s->out, &s->devices);
	if (s->lines < 0)
		out_header(s->out, fields, FIELDS);
}

/* ---- lines ---- */

static void out_line(struct supervision *s)
{
	struct output *out = s->out;
	char advice[256];

	policy_advise(advice, sizeof(advice), &s->action);
	out_begin(out, OUT_ROW, "iteration");
	out_uint(out, &fields[ITERATION], s->sync.iteration);
	out_uint(out, &fields[PASSES], s->progress.passes);
	out_uint(out, &fields[ELAPSED], elapsed(s));
	out_uint(out, &fields[SENT], s->progress.sent_bytes);
	out_remaining(out, &fields[REMAINING], s->sync.total_bytes, s->sync.flags);
	out_uint(out, &fields[RAM], s->progress.ram_bytes);
	out_known(out, &fields[RATE], s->progress.dirty_rate);
	out_known(out, &fields[BANDWIDTH], bandwidth_of(s));
	out_known(out, &fields[EXPECTED],
			   policy_expected_downtime(&s->policy));
	out_uint(out, &fields[LIMIT], s->policy.limits.downtime);
	out_text(out, &fields[SOURCE],
		 policy_bandwidth_name(s->policy.bandwidth_source));
	out_text(out, &fields[THEN], reason_of(s));
	if (out->json)
		out_text(out, &fields[ADVICE], advice);
	out_end(out);
	track_devices_show(out, &s->devices, &s->tracker);
}

/* ---- the screen ---- */

static void draw_numbers(struct supervision *s, FILE *file)
{
	char passes[64];
	struct live_numbers numbers = {
		.phase = phase_name(s->phase),
		.iteration = s->sync.iteration,
		.note = passes,
		.elapsed_ns = elapsed(s),
		.memory = s->progress.ram_bytes,
		.remaining = s->sync.flags & MIGTRACK_COUNTER_FLAGS_UNKNOWN ?
			     UINT64_MAX : s->sync.total_bytes,
		.before = s->policy.previous_live == POLICY_UNKNOWN ? UINT64_MAX :
			  s->policy.previous_live + s->policy.exact.stopcopy,
		.dirty_rate = s->progress.dirty_rate,
		.sent = s->progress.sent_bytes,
		.policy = &s->policy,
	};

	snprintf(passes, sizeof(passes), " (%llu passes of QEMU's)",
		 (unsigned long long)s->progress.passes);
	live_numbers(file, &numbers);
}

static void draw(FILE *file, void *data)
{
	struct output out = { .stream = file };
	struct supervision *s = data;

	draw_numbers(s, file);
	track_devices_show(&out, &s->devices, &s->tracker);
	live_verdict(file, reason_of(s), &s->action);
}

/* ---- what is left for migctl history ---- */

static void note_numbers(struct supervision *s)
{
	struct run *run = &s->run;
	uint64_t expected = policy_expected_downtime(&s->policy);

	run_note(run, "phase", json_string(phase_name(s->phase)));
	run_note(run, "iterations", json_integer((json_int_t)s->sync.iteration));
	run_note(run, "passes", json_integer((json_int_t)s->progress.passes));
	run_note(run, "sent_bytes", json_integer((json_int_t)s->progress.sent_bytes));
	run_note(run, "remaining_bytes",
		 s->sync.flags & MIGTRACK_COUNTER_FLAGS_UNKNOWN ? json_null() :
		 json_integer((json_int_t)s->sync.total_bytes));
	run_note(run, "bandwidth_bytes_per_second",
		 bandwidth_of(s) == POLICY_UNKNOWN ? json_null() :
		 json_integer((json_int_t)s->policy.bandwidth));
	run_note(run, "downtime_limit_ns",
		 json_integer((json_int_t)s->policy.limits.downtime));
	run_note(run, "expected_downtime_ns", expected == POLICY_UNKNOWN ?
		 json_null() : json_integer((json_int_t)expected));
	run_note(run, "total_ns", json_integer((json_int_t)elapsed(s)));
	run_note(run, "attempts", json_integer(s->attempt));
}

/* ---- events ---- */

static const struct out_field phase_fields[] = {
	[0] = { .key = "phase" },
	[1] = { .key = "elapsed_ns" },
	[2] = { .key = "session_id" },
};

void supervise_out_phase(struct supervision *s)
{
	struct output *out = s->out;

	if (s->held)
		return;
	note_numbers(s);
	run_write(&s->run, true);
	if (!out->json)
		return;
	out_begin(out, OUT_ROW, "phase");
	out_text(out, &phase_fields[0], phase_name(s->phase));
	out_uint(out, &phase_fields[1], elapsed(s));
	out_uint(out, &phase_fields[2], s->tracker.id);
	out_end(out);
}

void supervise_out_look(struct supervision *s, bool iteration)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	uint64_t age = now - s->times.shown;

	out_catch_up(s->out);
	note_numbers(s);
	run_write(&s->run, false);
	if (s->out->json) {
		if (iteration)
			out_line(s);
		return;
	}
	if (age < (s->lines < 0 ? LIVE_LINE_INTERVAL : LIVE_SCREEN_INTERVAL) &&
	    s->decision.verdict != POLICY_SWITCHOVER)
		return;
	if (s->lines < 0 && !iteration)
		return;
	s->times.shown = now;
	if (s->lines < 0)
		out_line(s);
	else
		live_draw(s->out, &s->lines, draw, s);
}

void supervise_out_action(struct supervision *s, const char *done,
			  const struct policy_action *why)
{
	live_leave(&s->lines);
	out_action(s->out, &s->run, done, why, &s->policy, elapsed(s));
}

/* ---- the summary ---- */

enum {
	RESULT, TOTAL, DOWNTIME, STOP, CHECK, COPY, BY_VMM, FORECAST, ITERATIONS,
	ALL_PASSES, BYTES, ATTEMPTS, REASON, FLAGS,
};

static const struct out_field summary[] = {
	[RESULT] = { "result", "migration", 0, OUT_TEXT },
	[TOTAL] = { "total_ns", "total time", 0, OUT_TIME },
	[DOWNTIME] = { "downtime_ns", "downtime", 0, OUT_TIME },
	[STOP] = { "downtime_stop_ns", "  stop", 0, OUT_TIME },
	[CHECK] = { "downtime_check_ns", "  last check", 0, OUT_TIME },
	[COPY] = { "downtime_copy_ns", "  last copy and devices", 0, OUT_TIME },
	[BY_VMM] = { "downtime_vmm_ns", "  as QEMU says", 0, OUT_TIME },
	[FORECAST] = { "expected_downtime_ns", "  was expected", 0, OUT_TIME },
	[ITERATIONS] = { "iterations", "iterations", 0, OUT_NUMBER },
	[ALL_PASSES] = { "passes", "  passes of QEMU's", 0, OUT_NUMBER },
	[BYTES] = { "sent_bytes", "sent", 0, OUT_BYTES },
	[ATTEMPTS] = { "attempts", "attempts", 0, OUT_NUMBER },
	[REASON] = { "reason", "verdict", 0, OUT_TEXT },
	[FLAGS] = { "flags", "flags", 0, OUT_TEXT },
};

/* In the summary, and for migctl history. */
static void out_part(struct supervision *s, const struct out_field *field, uint64_t ns)
{
	out_uint(s->out, field, ns);
	run_note(&s->run, field->key, json_integer((json_int_t)ns));
}

static void out_downtime(struct supervision *s)
{
	const struct supervise_times *t = &s->times;

	/* One that was watched, or did not wait for us: only the VMM knows. */
	if (t->continued) {
		out_part(s, &summary[DOWNTIME], t->over - t->running);
		out_part(s, &summary[STOP], t->stopped - t->running);
		out_part(s, &summary[CHECK], t->continued - t->stopped);
		out_part(s, &summary[COPY], t->over - t->continued);
	}
	out_known(s->out, &summary[BY_VMM], s->progress.downtime_ns);
}

void supervise_out_summary(struct supervision *s, const struct error *err)
{
	struct output *out = s->out;

	note_numbers(s);
	live_leave(&s->lines);
	if (s->phase == MIGTRACK_PHASE_NONE)
		return;
	out_say(out, "%s", "");
	out_begin(out, OUT_RECORD, "summary");
	out_text(out, &summary[RESULT], phase_name(s->phase));
	out_uint(out, &summary[TOTAL], elapsed(s));
	if (s->phase == MIGTRACK_PHASE_COMPLETED)
		out_downtime(s);
	out_known(out, &summary[FORECAST],
			   policy_expected_downtime(&s->policy));
	out_uint(out, &summary[ITERATIONS], s->sync.iteration);
	out_uint(out, &summary[ALL_PASSES], s->progress.passes);
	out_uint(out, &summary[BYTES], s->progress.sent_bytes);
	out_uint(out, &summary[ATTEMPTS], s->attempt);
	out_text(out, &summary[REASON], reason_of(s));
	out_flags(out, &summary[FLAGS], s->sync.flags);
	out_end(out);
	if (!err && s->phase == MIGTRACK_PHASE_COMPLETED)
		out_say(out, "\nThe guest has been moved. QEMU here is paused and can be ended.");
}
