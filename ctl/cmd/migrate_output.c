// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmd/limits.h"
#include "cmd/live.h"
#include "cmd/migrate.h"
#include "cmd/session.h"

enum {
	ITERATION, ELAPSED, SENT, REMAINING, RATE, BANDWIDTH, EXPECTED, LIMIT,
	PROGRESS, SOURCE, VERDICT, ADVICE, FIELDS
};

static const struct out_field fields[FIELDS] = {
	[ITERATION] = { "iteration", "ITERATION", 9, OUT_NUMBER },
	[ELAPSED] = { "elapsed_ns", "TIME", 8, OUT_TIME },
	[SENT] = { "sent_bytes", "SENT", 10, OUT_BYTES },
	[REMAINING] = { "remaining_bytes", "REMAINING", 10, OUT_BYTES },
	[RATE] = { "dirty_bytes_per_second", "DIRTY RATE", 12, OUT_RATE },
	[BANDWIDTH] = { "bandwidth_bytes_per_second", "BANDWIDTH", 12, OUT_RATE },
	[EXPECTED] = { "expected_downtime_ns", "DOWNTIME", 9, OUT_TIME },
	[LIMIT] = { "downtime_limit_ns", "LIMIT", 8, OUT_TIME },
	[PROGRESS] = { "progress_percent", "DONE %", 6, OUT_NUMBER },
	[SOURCE] = { "bandwidth_source", NULL, 0, OUT_TEXT },
	[VERDICT] = { "reason", "THEN", 0, OUT_TEXT },
	[ADVICE] = { "advice", NULL, 0, OUT_TEXT },
};

static uint64_t elapsed(const struct migration *m)
{
	return clock_ns(CLOCK_MONOTONIC) - m->times.started;
}

static uint64_t memory_size(const struct migration *m)
{
	uint64_t total = 0;
	size_t i;

	for (i = 0; i < m->n_memory; i++)
		total += m->memory[i].size;
	return total;
}

/* Before the first connection there is no link, and there may have been others. */
static uint64_t sent_bytes(struct migration *m)
{
	return m->sent_before + (m->link.control ? link_sent(&m->link) : 0);
}

/* The action's reason says more, if there is one. */
enum policy_reason migrate_reason(const struct migration *m)
{
	if (m->decision.verdict != POLICY_SWITCHOVER &&
	    m->action.reason != POLICY_REASON_PROGRESS &&
	    m->action.reason != POLICY_REASON_MORE_TO_MOVE)
		return m->action.reason;
	return m->decision.reason;
}

static const char *reason_of(const struct migration *m)
{
	if (m->forced)
		return "forced";
	if (m->decision.verdict == POLICY_SWITCHOVER)
		return "switch over";
	return policy_reason_name(migrate_reason(m));
}

/* How much is equal at both sides, at the best moment so far: it only grows. */
static void measure_progress(struct migration *m)
{
	uint64_t total = memory_size(m), left = migrate_left(m);
	unsigned int now;

	if (!m->blocks || !total)
		return;
	now = m->times.resumed ? 100 :
	      (unsigned int)(99 * (double)(total - (left < total ? left : total)) /
			     (double)total);
	if (now > m->progress)
		m->progress = now;
}

void migrate_out_start(struct migration *m)
{
	char size[UNIT_TEXT_SIZE];

	out_say(m->out, "Process %d (%s %s), session %llu: %s of memory in %zu block%s, to %s by %u channel%s.\n",
		m->vmm->pid, m->vmm->ops->name, m->vmm->version,
		(unsigned long long)m->tracker.id,
		format_bytes(size, memory_size(m)),
		m->n_memory, m->n_memory == 1 ? "" : "s", m->channel.peer,
		m->link.n, m->link.n == 1 ? "" : "s");
	if (m->lines < 0)
		out_header(m->out, fields, FIELDS);
}

/* ---- what is left for migctl history ---- */

static void note_number(struct migration *m, const char *key, uint64_t number)
{
	run_note(&m->run, key, number == POLICY_UNKNOWN ? json_null() :
		 json_integer((json_int_t)number));
}

static void note_downtime(struct migration *m)
{
	const struct migrate_times *t = &m->times;

	note_number(m, "downtime_ns", t->resumed - t->running);
	note_number(m, "downtime_stop_ns", t->stopped - t->running);
	note_number(m, "downtime_sync_ns", t->synced - t->stopped);
	note_number(m, "downtime_copy_ns", t->copied - t->synced);
	note_number(m, "downtime_devices_ns", t->loaded - t->copied);
	note_number(m, "downtime_resume_ns", t->resumed - t->loaded);
	run_note(&m->run, "verified", json_boolean(m->verified));
}

static void note_numbers(struct migration *m)
{
	run_note(&m->run, "phase", json_string(phase_name(m->phase)));
	note_number(m, "iterations", m->sync.iteration);
	note_number(m, "sent_bytes", sent_bytes(m));
	note_number(m, "remaining_bytes", migrate_left(m));
	note_number(m, "total_ns", elapsed(m));
	note_number(m, "bandwidth_bytes_per_second",
		    m->policy.bandwidth_source == POLICY_BANDWIDTH_UNKNOWN ?
		    POLICY_UNKNOWN : m->policy.bandwidth);
	note_number(m, "downtime_limit_ns", m->policy.limits.downtime);
	note_number(m, "expected_downtime_ns", policy_expected_downtime(&m->policy));
	run_note(&m->run, "reason", json_string(reason_of(m)));
	if (m->times.resumed)
		note_downtime(m);
}

/* ---- lines and the screen ---- */

static uint64_t dirty_rate(const struct migration *m)
{
	return m->interval ? per_second(m->sync.dirty_pages * WIRE_PAGE_SIZE,
					m->interval) : UINT64_MAX;
}

static void out_line(struct migration *m, bool iteration)
{
	struct output *out = m->out;
	char advice[256];

	policy_advise(advice, sizeof(advice), &m->action);
	out_begin(out, OUT_ROW, iteration ? "iteration" : "progress");
	out_uint(out, &fields[ITERATION], m->sync.iteration);
	out_uint(out, &fields[ELAPSED], elapsed(m));
	out_uint(out, &fields[SENT], sent_bytes(m));
	out_uint(out, &fields[REMAINING], migrate_left(m));
	out_known(out, &fields[RATE], dirty_rate(m));
	out_known(out, &fields[BANDWIDTH],
		  m->policy.bandwidth_source == POLICY_BANDWIDTH_UNKNOWN ?
		  POLICY_UNKNOWN : m->policy.bandwidth);
	out_known(out, &fields[EXPECTED],
			   policy_expected_downtime(&m->policy));
	out_uint(out, &fields[LIMIT], m->policy.limits.downtime);
	out_uint(out, &fields[PROGRESS], m->progress);
	out_text(out, &fields[SOURCE],
		 policy_bandwidth_name(m->policy.bandwidth_source));
	out_text(out, &fields[VERDICT], iteration ? reason_of(m) : "");
	if (out->json)
		out_text(out, &fields[ADVICE], advice);
	out_end(out);
}

static void draw(FILE *file, void *data)
{
	struct migration *m = data;
	uint64_t left = migrate_left(m);
	struct live_numbers numbers = {
		.phase = phase_name(m->phase),
		.iteration = m->sync.iteration,
		.note = "",
		.elapsed_ns = elapsed(m),
		.memory = left,
		.remaining = left,
		.before = m->policy.previous_live,
		.dirty_rate = dirty_rate(m),
		.sent = sent_bytes(m),
		.policy = &m->policy,
	};

	live_numbers(file, &numbers);
	fprintf(file, "progress    %u %%\n", m->progress);
	live_verdict(file, reason_of(m), &m->action);
}

void migrate_out_look(struct migration *m, bool iteration)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), age = now - m->times.shown;

	measure_progress(m);
	note_numbers(m);
	run_write(&m->run, false);
	if (!iteration &&
	    age < (m->lines < 0 ? LIVE_LINE_INTERVAL : LIVE_SCREEN_INTERVAL))
		return;
	m->times.shown = now;
	if (m->lines < 0)
		out_line(m, iteration);
	else
		live_draw(m->out, &m->lines, draw, m);
}

void migrate_out_action(struct migration *m, const char *done,
			const struct policy_action *why)
{
	live_leave(&m->lines);
	out_action(m->out, &m->run, done, why, &m->policy, elapsed(m));
}

/* ---- the summary ---- */

const char *migrate_result(const struct migration *m, const struct error *err)
{
	/* It runs there, and lacks memory that will never come. */
	if (err && err->code == EXIT_IN_DOUBT)
		return phase_name(MIGTRACK_PHASE_IN_DOUBT);
	if (err && m->times.resumed)
		return "moved";
	return m->phase == MIGTRACK_PHASE_NONE ? "failed" : phase_name(m->phase);
}

enum {
	RESULT, TOTAL, DOWNTIME, STOP, LAST_SYNC, LAST_COPY, DEVICES, RESUME,
	ITERATIONS, BYTES, PAGES, ZEROS, DEVICE_BYTES, MISSING, REQUESTS, RECOVERIES,
	LIMIT_AT_END, REASON,
	VERIFIED, FLAGS,
};

static const struct out_field summary[] = {
	[RESULT] = { "result", "migration", 0, OUT_TEXT },
	[TOTAL] = { "total_ns", "total time", 0, OUT_TIME },
	[DOWNTIME] = { "downtime_ns", "downtime", 0, OUT_TIME },
	[STOP] = { "downtime_stop_ns", "  stop", 0, OUT_TIME },
	[LAST_SYNC] = { "downtime_sync_ns", "  last sync", 0, OUT_TIME },
	[LAST_COPY] = { "downtime_copy_ns", "  last copy", 0, OUT_TIME },
	[DEVICES] = { "downtime_devices_ns", "  device state", 0, OUT_TIME },
	[RESUME] = { "downtime_resume_ns", "  resume", 0, OUT_TIME },
	[ITERATIONS] = { "iterations", "iterations", 0, OUT_NUMBER },
	[BYTES] = { "sent_bytes", "sent", 0, OUT_BYTES },
	[PAGES] = { "pages", "  pages", 0, OUT_NUMBER },
	[ZEROS] = { "zero_pages", "  zero pages", 0, OUT_NUMBER },
	[DEVICE_BYTES] = { "device_bytes", "  device state", 0, OUT_BYTES },
	[MISSING] = { "postcopy_bytes", "moved by post-copy", 0, OUT_BYTES },
	[REQUESTS] = { "postcopy_requests", "  asked for", 0, OUT_NUMBER },
	[RECOVERIES] = { "postcopy_recoveries", "  connected again", 0, OUT_NUMBER },
	[LIMIT_AT_END] = { "downtime_limit_ns", "downtime limit", 0, OUT_TIME },
	[REASON] = { "reason", "verdict", 0, OUT_TEXT },
	[VERIFIED] = { "verified", "verified", 0, OUT_TEXT },
	[FLAGS] = { "flags", "flags", 0, OUT_TEXT },
};

static void out_downtime(struct migration *m)
{
	const struct migrate_times *t = &m->times;
	struct output *out = m->out;

	out_uint(out, &summary[DOWNTIME], t->resumed - t->running);
	out_uint(out, &summary[STOP], t->stopped - t->running);
	out_uint(out, &summary[LAST_SYNC], t->synced - t->stopped);
	out_uint(out, &summary[LAST_COPY], t->copied - t->synced);
	out_uint(out, &summary[DEVICES], t->loaded - t->copied);
	out_uint(out, &summary[RESUME], t->resumed - t->loaded);
}

static void out_verified(struct migration *m)
{
	static const char * const when[] = {
		[VERIFY_AFTER] = "every page is equal (compared after the switchover)",
		[VERIFY_BEFORE] = "every page is equal (compared before the handover)",
	};

	if (m->verified)
		out_json(m->out, &summary[VERIFIED], json_true(),
			 when[m->options->verify]);
	else
		out_json(m->out, &summary[VERIFIED], json_false(),
			 m->options->verify == VERIFY_OFF ? "not asked for" : "NO");
}

void migrate_out_summary(struct migration *m, const struct error *err)
{
	struct sender_stats stats = sender_stats(&m->sender);
	struct output *out = m->out;

	measure_progress(m);
	note_numbers(m);
	live_leave(&m->lines);
	out_say(out, "%s", "");
	out_begin(out, OUT_RECORD, "summary");
	out_text(out, &summary[RESULT], migrate_result(m, err));
	out_uint(out, &summary[TOTAL], elapsed(m));
	if (m->times.resumed)
		out_downtime(m);
	out_uint(out, &summary[ITERATIONS], m->sync.iteration);
	out_uint(out, &summary[BYTES], sent_bytes(m));
	out_uint(out, &summary[PAGES], stats.pages);
	out_uint(out, &summary[ZEROS], stats.zero_pages);
	out_uint(out, &summary[DEVICE_BYTES], m->device_bytes);
	if (m->postcopy) {
		out_uint(out, &summary[MISSING], m->missing);
		out_uint(out, &summary[REQUESTS], stats.requests);
		out_uint(out, &summary[RECOVERIES], m->recoveries);
	}
	out_uint(out, &summary[LIMIT_AT_END], m->policy.limits.downtime);
	out_text(out, &summary[REASON], reason_of(m));
	if (m->times.resumed)
		out_verified(m);
	out_flags(out, &summary[FLAGS], m->sync.flags);
	out_end(out);
	if (!err)
		out_say(out, "\nThe guest runs at the destination. Its source is paused and can be ended.");
}
