// SPDX-License-Identifier: GPL-2.0-or-later
#include <time.h>

#include "cmd/limits.h"
#include "cmd/session.h"
#include "cmd/snapshot.h"

enum {
	ITERATION, ELAPSED, COPIED, REMAINING, RATE, BANDWIDTH, EXPECTED, LIMIT,
	VERDICT, FIELDS
};

static const struct out_field fields[FIELDS] = {
	[ITERATION] = { "iteration", "ITERATION", 9, OUT_NUMBER },
	[ELAPSED] = { "elapsed_ns", "TIME", 8, OUT_TIME },
	[COPIED] = { "copied_bytes", "COPIED", 10, OUT_BYTES },
	[REMAINING] = { "remaining_bytes", "REMAINING", 10, OUT_BYTES },
	[RATE] = { "dirty_bytes_per_second", "DIRTY RATE", 12, OUT_RATE },
	[BANDWIDTH] = { "bandwidth_bytes_per_second", "BANDWIDTH", 12, OUT_RATE },
	[EXPECTED] = { "expected_downtime_ns", "DOWNTIME", 9, OUT_TIME },
	[LIMIT] = { "downtime_limit_ns", "LIMIT", 8, OUT_TIME },
	[VERDICT] = { "reason", "THEN", 0, OUT_TEXT },
};

static uint64_t elapsed(const struct taking *t)
{
	return clock_ns(CLOCK_MONOTONIC) - t->times.started;
}

static uint64_t copied(const struct taking *t)
{
	return t->writer.pages * SNAPSHOT_PAGE_SIZE;
}

uint64_t snapshot_memory_size(const struct taking *t)
{
	uint64_t total = 0;
	size_t i;

	for (i = 0; i < t->n_memory; i++)
		total += t->memory[i].size;
	return total;
}

void snapshot_out_start(struct taking *t)
{
	char size[UNIT_TEXT_SIZE];

	out_say(t->out, "Process %d (%s %s), session %llu: %s of memory in %zu block%s, to %s.\nDisks are not in it.\n",
		t->vmm->pid, t->vmm->ops->name, t->vmm->version, (unsigned long long)t->tracker.id,
		format_bytes(size, snapshot_memory_size(t)), t->n_memory,
		t->n_memory == 1 ? "" : "s", t->options->to);
	if (t->options->live)
		out_say(t->out, "%s hands over no userfaultfd: it is saved by tracked pre-copy.\n",
			t->vmm->ops->name);
	out_header(t->out, fields, FIELDS);
}

/* What is left for migctl history. */
static void note_numbers(struct taking *t)
{
	struct run *run = &t->run;

	run_note(run, "phase", json_string(phase_name(t->phase)));
	run_note(run, "iterations", json_integer((json_int_t)t->sync.iteration));
	run_note(run, "sent_bytes", json_integer((json_int_t)copied(t)));
	run_note(run, "remaining_bytes",
		 json_integer((json_int_t)writer_pending(&t->writer)));
	run_note(run, "total_ns", json_integer((json_int_t)elapsed(t)));
	if (t->times.resumed && t->snapshot.ran)
		run_note(run, "downtime_ns",
			 json_integer((json_int_t)(t->times.resumed - t->times.running)));
}

void snapshot_out_iteration(struct taking *t, const struct policy_decision *decision)
{
	uint64_t dirty = t->sync.dirty_pages * SNAPSHOT_PAGE_SIZE;
	struct output *out = t->out;

	note_numbers(t);
	run_write(&t->run, false);
	out_begin(out, OUT_ROW, "iteration");
	out_uint(out, &fields[ITERATION], t->sync.iteration);
	out_uint(out, &fields[ELAPSED], elapsed(t));
	out_uint(out, &fields[COPIED], copied(t));
	out_uint(out, &fields[REMAINING], writer_pending(&t->writer));
	out_uint(out, &fields[RATE], per_second(dirty, t->interval));
	if (t->policy.bandwidth_source == POLICY_BANDWIDTH_UNKNOWN)
		out_none(out, &fields[BANDWIDTH]);
	else
		out_uint(out, &fields[BANDWIDTH], t->policy.bandwidth);
	out_known(out, &fields[EXPECTED], policy_expected_downtime(&t->policy));
	out_uint(out, &fields[LIMIT], t->policy.limits.downtime);
	out_text(out, &fields[VERDICT],
		 t->forced || decision->verdict == POLICY_SWITCHOVER ? "pause" :
		 policy_reason_name(decision->reason));
	out_end(out);
}

void snapshot_out_asked(struct taking *t, const char *done)
{
	out_action(t->out, &t->run, done, NULL, &t->policy, elapsed(t));
}

enum {
	RESULT, METHOD, TOTAL, DOWNTIME, STOP, LAST_SYNC, LAST_COPY, DEVICES, RESUME,
	ITERATIONS, BYTES, PAGES, ZEROS, SIZE, DEVICE_BYTES, DISKS, FLAGS,
};

static const struct out_field summary[] = {
	[RESULT] = { "result", "snapshot", 0, OUT_TEXT },
	[METHOD] = { "method", "by", 0, OUT_TEXT },
	[TOTAL] = { "total_ns", "total time", 0, OUT_TIME },
	[DOWNTIME] = { "downtime_ns", "guest paused", 0, OUT_TIME },
	[STOP] = { "downtime_stop_ns", "  stop", 0, OUT_TIME },
	[LAST_SYNC] = { "downtime_sync_ns", "  last sync", 0, OUT_TIME },
	[LAST_COPY] = { "downtime_copy_ns", "  last copy", 0, OUT_TIME },
	[DEVICES] = { "downtime_devices_ns", "  device state", 0, OUT_TIME },
	[RESUME] = { "downtime_resume_ns", "  resume", 0, OUT_TIME },
	[ITERATIONS] = { "iterations", "iterations", 0, OUT_NUMBER },
	[BYTES] = { "written_bytes", "written", 0, OUT_BYTES },
	[PAGES] = { "pages", "  pages", 0, OUT_NUMBER },
	[ZEROS] = { "zero_pages", "  of these zero", 0, OUT_NUMBER },
	[SIZE] = { "memory_bytes", "memory", 0, OUT_BYTES },
	[DEVICE_BYTES] = { "device_bytes", "device state", 0, OUT_BYTES },
	[DISKS] = { "disks", "disks", 0, OUT_TEXT },
	[FLAGS] = { "flags", "flags", 0, OUT_TEXT },
};

static void out_pause(struct taking *t)
{
	const struct snapshot_times *times = &t->times;
	struct output *out = t->out;

	out_uint(out, &summary[DOWNTIME], times->resumed - times->running);
	out_uint(out, &summary[STOP], times->stopped - times->running);
	out_uint(out, &summary[LAST_SYNC], times->synced - times->stopped);
	out_uint(out, &summary[LAST_COPY], times->copied - times->synced);
	out_uint(out, &summary[DEVICES], times->saved - times->copied);
	out_uint(out, &summary[RESUME], times->resumed - times->saved);
}

void snapshot_out_summary(struct taking *t, const struct error *err)
{
	struct output *out = t->out;

	note_numbers(t);
	out_say(out, "%s", "");
	out_begin(out, OUT_RECORD, "summary");
	out_text(out, &summary[RESULT], phase_name(t->phase));
	out_text(out, &summary[METHOD], "pre-copy");
	out_uint(out, &summary[TOTAL], elapsed(t));
	if (t->times.resumed && t->snapshot.ran)
		out_pause(t);
	out_uint(out, &summary[ITERATIONS], t->sync.iteration);
	out_uint(out, &summary[BYTES], t->writer.bytes);
	out_uint(out, &summary[PAGES], t->writer.pages);
	out_uint(out, &summary[ZEROS], t->writer.zero_pages);
	out_uint(out, &summary[SIZE], snapshot_memory_size(t));
	out_uint(out, &summary[DEVICE_BYTES], t->snapshot.state_size);
	out_json(out, &summary[DISKS], json_false(), "not in it");
	out_flags(out, &summary[FLAGS], t->sync.flags);
	out_end(out);
	if (!err)
		out_say(out, "\n%s has the guest; it runs on. To have it run from there: migctl restore %s --%s SOCKET",
			t->options->to, t->options->to, t->options->guest.driver->option);
}
