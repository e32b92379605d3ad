// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmd/migrate.h"
#include "cmd/session.h"

enum {
	ITERATION, ELAPSED, SENT, REMAINING, RATE, BANDWIDTH, EXPECTED, LIMIT,
	SOURCE, VERDICT, FIELDS
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
	[SOURCE] = { "bandwidth_source", NULL, 0, OUT_TEXT },
	[VERDICT] = { "reason", "THEN", 0, OUT_TEXT },
};

static uint64_t elapsed(const struct migration *m)
{
	return clock_ns(CLOCK_MONOTONIC) - m->times.started;
}

static uint64_t sent(struct migration *m)
{
	return m->sent_before + link_sent(&m->link);
}

void migrate_out_start(struct migration *m)
{
	uint64_t total = 0;
	char size[UNIT_TEXT_SIZE];
	size_t i;

	for (i = 0; i < m->n_memory; i++)
		total += m->memory[i].size;
	out_say(m->out, "Process %d (%s %s), session %llu: %s of memory in %zu block%s, to %s by %u channel%s.\n",
		m->vmm->pid, m->vmm->ops->name, m->vmm->version,
		(unsigned long long)m->tracker.id, format_bytes(size, total),
		m->n_memory, m->n_memory == 1 ? "" : "s", m->channel.peer,
		m->link.n, m->link.n == 1 ? "" : "s");
	out_header(m->out, fields, FIELDS);
}

/* What is left for migctl history. */
static void note_numbers(struct migration *m)
{
	struct run *run = &m->run;

	run_note(run, "phase", json_string(phase_name(m->phase)));
	run_note(run, "iterations", json_integer((json_int_t)m->sync.iteration));
	run_note(run, "sent_bytes", json_integer((json_int_t)sent(m)));
	run_note(run, "remaining_bytes",
		 json_integer((json_int_t)sender_pending(&m->sender)));
	run_note(run, "total_ns", json_integer((json_int_t)elapsed(m)));
	if (m->times.resumed)
		run_note(run, "downtime_ns",
			 json_integer((json_int_t)(m->times.resumed - m->times.running)));
}

void migrate_out_iteration(struct migration *m,
			   const struct policy_decision *decision,
			   uint64_t interval_ns)
{
	uint64_t dirty = m->sync.dirty_pages * WIRE_PAGE_SIZE;
	struct output *out = m->out;

	note_numbers(m);
	run_write(&m->run, false);
	out_begin(out, OUT_ROW, "iteration");
	out_uint(out, &fields[ITERATION], m->sync.iteration);
	out_uint(out, &fields[ELAPSED], elapsed(m));
	out_uint(out, &fields[SENT], sent(m));
	out_uint(out, &fields[REMAINING], sender_pending(&m->sender));
	out_uint(out, &fields[RATE], per_second(dirty, interval_ns));
	if (m->policy.bandwidth_source == POLICY_BANDWIDTH_UNKNOWN)
		out_none(out, &fields[BANDWIDTH]);
	else
		out_uint(out, &fields[BANDWIDTH], m->policy.bandwidth);
	out_known(out, &fields[EXPECTED],
			   policy_expected_downtime(&m->policy));
	out_uint(out, &fields[LIMIT], m->policy.limits.downtime);
	out_text(out, &fields[SOURCE],
		 policy_bandwidth_name(m->policy.bandwidth_source));
	out_text(out, &fields[VERDICT],
		 decision->verdict == POLICY_SWITCHOVER ? "switch over" :
		 policy_reason_name(decision->reason));
	out_end(out);
}

enum {
	RESULT, TOTAL, DOWNTIME, STOP, LAST_SYNC, LAST_COPY, DEVICES, RESUME,
	ITERATIONS, BYTES, PAGES, ZEROS, DEVICE_BYTES, MISSING, REQUESTS, RECOVERIES,
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

	note_numbers(m);
	out_say(out, "%s", "");
	out_begin(out, OUT_RECORD, "summary");
	out_text(out, &summary[RESULT], phase_name(m->phase));
	out_uint(out, &summary[TOTAL], elapsed(m));
	if (m->times.resumed)
		out_downtime(m);
	out_uint(out, &summary[ITERATIONS], m->sync.iteration);
	out_uint(out, &summary[BYTES], sent(m));
	out_uint(out, &summary[PAGES], stats.pages);
	out_uint(out, &summary[ZEROS], stats.zero_pages);
	out_uint(out, &summary[DEVICE_BYTES], m->device_bytes);
	if (m->postcopy) {
		out_uint(out, &summary[MISSING], m->missing);
		out_uint(out, &summary[REQUESTS], stats.requests);
		out_uint(out, &summary[RECOVERIES], m->recoveries);
	}
	if (m->times.resumed)
		out_verified(m);
	out_flags(out, &summary[FLAGS], m->sync.flags);
	out_end(out);
	if (!err)
		out_say(out, "\nThe guest runs at the destination. Its source is paused and can be ended.");
}
