// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The iterations are those of a migration: copy what was found, sync, decide. Then
 * the VMM stops the guest for a migration of its own, into a file; while it waits
 * for us the last pages are copied, it writes its devices, and is resumed.
 */
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/limits.h"
#include "cmd/session.h"
#include "cmd/snapshot.h"

/* Between two looks at what else happened. */
#define SLICE_BYTES	(4ull << 20)
#define LAST_SLICE	(256ull << 10)
#define SLICE_NS	(10 * NS_PER_MS)
#define WAIT_US		1000

/* What a sample must have, before it is worth a decision; see the policy. */
#define SAMPLE_TIME	(100 * NS_PER_MS)
#define SAMPLE_BYTES	(4ull << 20)

#define STOP_TIMEOUT	(60 * NS_PER_S)

int snapshot_phase(struct taking *t, enum migtrack_phase phase, struct error *err)
{
	/* One that is live needs no session of the kernel. Phases only go forward. */
	if (t->tracker.fd >= 0 &&
	    tracker_publish(&t->tracker, &t->policy, phase, t->verdict, t->reason,
			    "can't publish the snapshot's phase", err))
		return -1;
	t->phase = phase;
	return 0;
}

/* Nothing is decided there: what is left of the limits is how long it may take. */
static int live_set(struct taking *t, const json_t *request, struct error *err)
{
	if (json_object_get(request, "downtime_ns") ||
	    json_object_get(request, "max_downtime_ns") ||
	    json_object_get(request, "bandwidth_bytes_per_second")) {
		error_set(err, EXIT_USAGE,
			  "a live snapshot has no limit of the downtime, and decides by no bandwidth");
		return error_advise(err, "--timeout and --max-bandwidth can be set");
	}
	control_number(request, "timeout_ns", &t->policy.limits.timeout);
	return 0;
}

static int precopy_set(struct taking *t, const json_t *request, struct error *err)
{
	if (json_object_get(request, "max_downtime_ns"))
		return error_set(err, EXIT_USAGE,
				 "migctl snapshot does not raise the limit by itself");
	return limits_set(&t->policy, UINT64_MAX, request, err);
}

int snapshot_asked(const char *command, const json_t *request, void *data,
		   struct error *err)
{
	struct taking *t = data;

	if (t->phase >= MIGTRACK_PHASE_SWITCHOVER)
		return error_set(err, EXIT_FAILED, "too late: the guest is being paused");
	if (!strcmp(command, "switchover") && snapshot_is_live(t->options))
		return error_set(err, EXIT_FAILED, "too late: the guest was paused at the start");
	if (!strcmp(command, "switchover")) {
		t->forced = true;
		snapshot_out_asked(t, "pausing the guest as asked for");
		return 0;
	}
	if (strcmp(command, "set"))
		return error_set(err, EXIT_USAGE, "%s is not known here", command);
	if (snapshot_is_live(t->options) ? live_set(t, request, err) :
					   precopy_set(t, request, err))
		return -1;
	control_number(request, "max_bandwidth_bytes_per_second",
		       &t->writer.max_bandwidth);
	snapshot_out_asked(t, "limits set as asked for");
	return 0;
}

int snapshot_check(struct taking *t, struct error *err)
{
	struct pollfd pollfd = { .fd = t->signals, .events = POLLIN };

	if (poll(&pollfd, 1, 0) > 0)
		return error_set(err, EXIT_CANCELLED, "cancelled");
	control_serve(&t->control, snapshot_asked, t);
	return 0;
}

/* The owner's word on what was copied; the kernel takes it off its numbers. */
static void publish_moved(struct taking *t)
{
	size_t i;

	for (i = 0; i < t->n_memory; i++)
		t->tracker.header->moved_bytes[t->tracker.sources[i].map.id] =
			t->sources[i].moved;
}

static int copy(struct taking *t, uint64_t bytes, struct error *err)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), pages = t->writer.pages;
	int ret = writer_copy(&t->writer, bytes, err);

	t->sample.bytes += (t->writer.pages - pages) * SNAPSHOT_PAGE_SIZE;
	t->sample.time += clock_ns(CLOCK_MONOTONIC) - start;
	publish_moved(t);
	return ret;
}

/* The marks stay in the kernel's bitmap until their pages are copied. */
static int sync_memory(struct taking *t, enum migtrack_sync_kind kind,
		       struct error *err)
{
	uint64_t before = t->sync.sync_time_ns;

	if (tracker_sync_whole(&t->tracker, kind, t->vmm->pid, &t->sync, err))
		return -1;
	t->interval = before ? t->sync.sync_time_ns - before : 0;
	writer_count(&t->writer);
	return 0;
}

static int first_pass(struct taking *t, struct error *err)
{
	struct policy_limits limits;

	if (sync_memory(t, MIGTRACK_SYNC_KIND_SETUP, err) ||
	    writer_first_pass(&t->writer, err))
		return -1;
	publish_moved(t);
	/* Anew, as of now; they may have been changed meanwhile. */
	limits = t->policy.limits;
	policy_init(&t->policy, &limits, clock_ns(CLOCK_MONOTONIC));
	return snapshot_phase(t, MIGTRACK_PHASE_PRECOPY, err);
}

static int iterate(struct taking *t, struct policy_decision *decision,
		   struct error *err)
{
	const struct policy_sample *sample = NULL;
	struct policy_pending pending = {};

	if (sync_memory(t, MIGTRACK_SYNC_KIND_ITERATION, err))
		return -1;
	if (t->sample.time >= SAMPLE_TIME && t->sample.bytes >= SAMPLE_BYTES)
		sample = &t->sample;
	pending.precopy = writer_pending(&t->writer);
	*decision = policy_switchover(&t->policy, clock_ns(CLOCK_MONOTONIC), &pending,
				      true, sample);
	if (sample)
		t->sample = (struct policy_sample){};
	snapshot_out_iteration(t, decision);
	t->verdict = t->forced ? MIGTRACK_VERDICT_SWITCHOVER :
				 verdict_published(decision->verdict);
	t->reason = decision->reason;
	return snapshot_phase(t, MIGTRACK_PHASE_PRECOPY, err);
}

static int give_up(struct taking *t, struct error *err)
{
	char left[UNIT_TEXT_SIZE], limit[UNIT_TEXT_SIZE], time[UNIT_TEXT_SIZE];

	t->verdict = verdict_published(POLICY_GIVE_UP);
	t->reason = POLICY_REASON_TIMEOUT;
	error_set(err, EXIT_TIMEOUT,
		  "not converged within %s: %s are left, and %s can be copied while the guest is paused",
		  format_time(time, t->policy.limits.timeout),
		  format_bytes(left, writer_pending(&t->writer)),
		  format_bytes(limit, policy_threshold(&t->policy)));
	return error_advise(err,
			    "the guest runs on, and writes about as fast as can be copied; allow more downtime, or use faster storage");
}

/* Hot-plug is possible as long as the guest runs. */
static int same_machine(struct taking *t, struct error *err)
{
	json_t *now;
	int ret;

	if (t->ops->describe(t->vmm, &now, err))
		return -1;
	ret = vmm_compare(t->snapshot.vm, now, err);
	json_decref(now);
	if (!ret)
		return 0;
	error_set(err, EXIT_VMM, "the machine was changed while it was saved");
	return error_advise(err, "the guest runs on: start again");
}

static int prepare_vmm(struct taking *t, struct error *err)
{
	if (t->guard)
		return guard_check(t->guard, err);
	return snapshot_state_save(&t->state, t->snapshot.state_fd, err) ||
	       t->ops->save(t->vmm, &t->saved, err) ||
	       guard_start(&t->guard, t->vmm, t->ops, t->saved,
			   &(struct guard_duty) { .keep = t->lock.fd }, err) ||
	       t->ops->prepare_save(t->vmm, err) ? -1 : 0;
}

static int prepare(struct taking *t, struct error *err)
{
	if (same_machine(t, err) || prepare_vmm(t, err))
		return -1;
	t->times.prepared = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

int snapshot_precopy(struct taking *t, struct error *err)
{
	struct policy_pending pending = {};
	struct policy_decision decision;

	if (first_pass(t, err))
		return -1;
	for (;;) {
		if (snapshot_check(t, err))
			return -1;
		pending.precopy = writer_pending(&t->writer);
		decision = policy_next(&t->policy, clock_ns(CLOCK_MONOTONIC), &pending);
		if ((t->forced || decision.verdict == POLICY_ITERATE) &&
		    iterate(t, &decision, err))
			return -1;
		if (t->forced || decision.verdict == POLICY_SWITCHOVER) {
			/* What takes a while comes first, then the numbers. */
			if (t->times.prepared)
				return 0;
			if (prepare(t, err))
				return -1;
			continue;
		}
		if (decision.verdict == POLICY_GIVE_UP)
			return give_up(t, err);
		if (!writer_pending(&t->writer))
			usleep(WAIT_US);
		else if (copy(t, SLICE_BYTES, err) < 0)
			return -1;
	}
}

/* While the VMM gets there the guest runs and writes: keep up with it. */
static int keep_up(struct taking *t, struct error *err)
{
	struct policy_sync last = sync_measured(&t->sync, t->interval, SNAPSHOT_PAGE_SIZE);
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + SLICE_NS;
	int left;

	do {
		left = copy(t, LAST_SLICE, err);
	} while (left > 0 && clock_ns(CLOCK_MONOTONIC) < until);
	if (left)
		return left < 0 ? -1 : 0;
	usleep(WAIT_US);
	return policy_sync_pays(&t->policy, clock_ns(CLOCK_MONOTONIC), &last) ?
	       sync_memory(t, MIGTRACK_SYNC_KIND_HELPER, err) : 0;
}

int snapshot_wait(struct taking *t, struct error *err)
{
	(void)t;
	(void)err;
	usleep(WAIT_US);
	return 0;
}

static int wait_phase(struct taking *t, enum vmm_phase phase,
		      int (*work)(struct taking *t, struct error *err),
		      struct error *err)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + STOP_TIMEOUT, now;
	struct vmm_status status;

	for (;;) {
		now = clock_ns(CLOCK_MONOTONIC);
		if (t->ops->status(t->vmm, &status, err) || snapshot_check(t, err))
			return -1;
		if (status.running)
			t->times.running = now;
		if (status.phase == phase)
			return 0;
		if (status.phase == VMM_FAILED || status.phase == VMM_CANCELLED ||
		    status.phase == VMM_CANCELLING)
			return error_set(err, EXIT_VMM,
					 "the VMM could not save its devices: %s",
					 status.reason[0] ? status.reason :
					 "no reason given");
		if (now > end)
			return error_set(err, EXIT_VMM,
					 "the VMM did not reach the next step within %llu s",
					 (unsigned long long)(STOP_TIMEOUT / NS_PER_S));
		if (work(t, err))
			return -1;
	}
}

static int start_vmm(struct taking *t, struct error *err)
{
	if (prepare_vmm(t, err))
		return -1;
	/* Until the VMM says more: it can stop the guest from here on. */
	t->times.running = clock_ns(CLOCK_MONOTONIC);
	if (guard_check(t->guard, err) ||
	    t->ops->start(t->vmm, snapshot_state_fd(t->state), err))
		return -1;
	return snapshot_state_start(t->state, err);
}

/* And until the guest has stopped: a block that we do not know is not saved. */
static int same_memory(struct taking *t, struct error *err)
{
	json_t *now;
	int ret;

	if (vmm_memory_same(t->vmm, t->memory, t->n_memory, err) ||
	    t->ops->memory_blocks(t->vmm, &now, err))
		return -1;
	ret = vmm_blocks_changed(json_object_get(t->snapshot.vm, "blocks"), now, err);
	json_decref(now);
	return ret;
}

static int last_copy(struct taking *t, struct error *err)
{
	int left;

	t->writer.max_bandwidth = 0;
	if (same_memory(t, err) ||
	    sync_memory(t, MIGTRACK_SYNC_KIND_FINAL, err))
		return -1;
	t->times.synced = clock_ns(CLOCK_MONOTONIC);
	do {
		if (snapshot_check(t, err))
			return -1;
		left = copy(t, SLICE_BYTES, err);
	} while (left > 0);
	t->times.copied = clock_ns(CLOCK_MONOTONIC);
	return left;
}

/**
 * snapshot_pause() - have the VMM stop the guest, with its state still to be written
 * @t: its directory is open
 * @work: done meanwhile
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int snapshot_pause(struct taking *t, int (*work)(struct taking *t, struct error *err),
		   struct error *err)
{
	if (start_vmm(t, err) || wait_phase(t, VMM_PRE_SWITCHOVER, work, err))
		return -1;
	if (t->vmm->stopped_ns > t->times.running)
		t->times.running = t->vmm->stopped_ns;
	t->times.stopped = clock_ns(CLOCK_MONOTONIC);
	t->snapshot.created_ns = clock_ns(CLOCK_REALTIME);
	t->snapshot.ran = t->ops->ran(t->vmm);
	return 0;
}

/**
 * snapshot_devices() - have the VMM write its state
 * @t: paused
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int snapshot_devices(struct taking *t, struct error *err)
{
	if (guard_check(t->guard, err) || t->ops->go_on(t->vmm, err))
		return -1;
	if (wait_phase(t, VMM_COMPLETED, snapshot_wait, err)) {
		snapshot_state_failed(t->state, err);
		return -1;
	}
	if (snapshot_state_end(t->state, &t->snapshot.state_size,
			       &t->snapshot.state_digest, err))
		return -1;
	t->times.saved = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

int snapshot_stop(struct taking *t, struct error *err)
{
	if ((clock_ns(CLOCK_MONOTONIC) > t->times.prepared + VMM_COMPARED_FOR &&
	     prepare(t, err)) ||
	    snapshot_phase(t, MIGTRACK_PHASE_SWITCHOVER, err) ||
	    snapshot_pause(t, keep_up, err) || last_copy(t, err))
		return -1;
	return snapshot_devices(t, err);
}

int snapshot_resume(struct taking *t, struct error *err)
{
	struct error later;
	int ret = 0;

	if (t->saved) {
		if (!t->times.saved)
			snapshot_state_break(t->state);
		/* The same whether its migration has completed or is cancelled. */
		ret = t->ops->cancel(t->vmm, err);
		if (!ret && t->times.saved)
			t->times.resumed = clock_ns(CLOCK_MONOTONIC);
		if (t->ops->restore(t->vmm, t->saved, ret ? &later : err))
			ret = -1;
		t->guarded = guard_conclude(t->guard, t->vmm, ret ? err : NULL);
		if (t->guarded)
			lock_leave(&t->lock);
		t->guard = NULL;
		/* Done: who pauses the guest from now on means it. */
		if (!ret || t->guarded) {
			json_decref(t->saved);
			t->saved = NULL;
		}
	}
	snapshot_state_close(t->state);
	t->state = NULL;
	return ret;
}
