// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From the decision to the guest that runs at the destination, so that never
 * two of them run: the guest is stopped, the rest of its memory is moved, the
 * VMM's own state is loaded, it is written down that the guest was handed over,
 * and only then the destination is told to run it.
 */
#include <string.h>
#include <unistd.h>

#include "cmd/migrate.h"
#include "cmd/reason.h"
#include "cmd/session.h"
#include "common/fault.h"
#include "stream/address.h"

#define STATUS_WAIT_US		1000
#define LOADED_WAIT_NS		(20 * NS_PER_MS)
#define STOP_TIMEOUT		(60 * NS_PER_S)
#define PEER_TIMEOUT		(60 * NS_PER_S)
#define RUNNING_TIMEOUT		(30 * NS_PER_S)
#define UNDO_SEND_MS		500
#define SLICE_BYTES		(256ull << 10)
#define SLICE_NS		(10 * NS_PER_MS)

/* Wait until the VMM's migration is in a phase; @work is done meanwhile. */
static int wait_phase(struct migration *m, enum vmm_phase phase,
		      int (*work)(struct migration *m, struct error *err),
		      struct error *err)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + STOP_TIMEOUT, now;
	struct vmm_status status;

	for (;;) {
		now = clock_ns(CLOCK_MONOTONIC);
		if (m->ops->status(m->vmm, &status, err) || migrate_check(m, err))
			return -1;
		if (status.running)
			m->times.running = now;
		if (status.phase == phase)
			return 0;
		if (status.phase == VMM_FAILED || status.phase == VMM_CANCELLED ||
		    status.phase == VMM_CANCELLING)
			/* One that fails undoes things as one that is cancelled does. */
			return error_set(err, EXIT_VMM,
					 "the VMM's own migration %s: %s",
					 status.phase == VMM_FAILED || status.reason[0] ?
					 "failed" : "was cancelled",
					 status.reason[0] ? status.reason :
					 "no reason given");
		if (now > end)
			return error_set(err, EXIT_VMM,
					 "the VMM did not reach the next step of its migration within %llu s",
					 (unsigned long long)(STOP_TIMEOUT / NS_PER_S));
		if (work && work(m, err))
			return -1;
		if (!work)
			usleep(STATUS_WAIT_US);
	}
}

/*
 * While the VMM gets there, the guest runs and writes: keep up with it. What was not
 * found by the time it has stopped is moved in the downtime. To see late that it has
 * costs nothing as long as there is something to send.
 */
static int keep_up(struct migration *m, struct error *err)
{
	struct policy_sync last = sync_measured(&m->sync, m->interval, WIRE_PAGE_SIZE);
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + SLICE_NS;
	int left;

	do {
		left = migrate_send(m, SLICE_BYTES, err);
	} while (left > 0 && clock_ns(CLOCK_MONOTONIC) < until);
	if (left)
		return left < 0 ? -1 : 0;
	usleep(STATUS_WAIT_US);
	return policy_sync_pays(&m->policy, clock_ns(CLOCK_MONOTONIC), &last) ?
	       migrate_sync(m, MIGTRACK_SYNC_KIND_HELPER, err) : 0;
}

static int start_vmm(struct migration *m, struct error *err)
{
	struct wire_frame frame = { .type = WIRE_VMM_START };

	while (fault_late("switchover"))
		if (keep_up(m, err))
			return -1;
	if (relay_open(&m->relay, &m->channel, err) ||
	    channel_send(&m->channel, &frame, NULL, err))
		return -1;
	/* Until the VMM says more: it can stop the guest from here on. */
	m->times.running = clock_ns(CLOCK_MONOTONIC);
	if (guard_check(m->guard, err) || m->ops->start(m->vmm, m->relay.vmm_fd, err))
		return -1;
	return relay_start(&m->relay, err);
}

static int changed(struct error *err)
{
	error_set(err, EXIT_VMM, "the machine was changed while it was moved");
	return error_advise(err, "the guest runs on here: start again");
}

/* Hot-plug is possible as long as the guest runs. */
static int same_machine(struct migration *m, struct error *err)
{
	json_t *now;
	int ret;

	if (m->ops->describe(m->vmm, &now, err))
		return -1;
	ret = vmm_blocks_changed(json_object_get(m->description, "blocks"),
				 json_object_get(now, "blocks"), err);
	if (!ret && vmm_compare(m->description, now, err))
		ret = changed(err);
	json_decref(now);
	return ret;
}

/* And until the guest has stopped: a block that we do not know is not moved. */
static int same_memory(struct migration *m, struct error *err)
{
	json_t *now;
	int ret;

	if (vmm_memory_same(m->vmm, m->memory, m->n_memory, err))
		return -1;
	if (m->ops->memory_blocks(m->vmm, &now, err))
		return -1;
	ret = vmm_blocks_changed(json_object_get(m->description, "blocks"), now, err);
	json_decref(now);
	return ret;
}

/* Of a unix socket nobody else notices it: what carries it further may hang. */
static int destination_takes(struct migration *m, uint64_t *sent, uint64_t *since,
			     struct error *err)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), sent_now = link_sent(&m->link);

	if (sent_now != *sent)
		*since = now;
	*sent = sent_now;
	if (now - *since <= TCP_PATIENCE_STOPPED_S * NS_PER_S)
		return 0;
	error_set(err, EXIT_PEER, "%s: for %u s the destination has taken nothing",
		  m->channel.peer, TCP_PATIENCE_STOPPED_S);
	return error_advise(err, "see whether the other host runs and the network between is up");
}

static int copy_rest(struct migration *m, struct error *err)
{
	uint64_t sent = link_sent(&m->link), since = clock_ns(CLOCK_MONOTONIC);
	int left;

	sender_limit(&m->sender, 0);
	do {
		if (migrate_check(m, err) || destination_takes(m, &sent, &since, err))
			return -1;
		left = migrate_send(m, SLICE_BYTES, err);
	} while (left > 0);
	if (left < 0 || peer_barrier(&m->peer, &m->sender, err))
		return -1;
	return peer_wait(&m->peer, PEER_BARRIER, PEER_TIMEOUT, m->signals, err);
}

static int final_copy(struct migration *m, struct error *err)
{
	if (same_memory(m, err) ||
	    migrate_sync(m, MIGTRACK_SYNC_KIND_FINAL, err))
		return -1;
	m->times.synced = clock_ns(CLOCK_MONOTONIC);
	if (m->postcopy ? migrate_postcopy_begin(m, err) : copy_rest(m, err))
		return -1;
	m->times.copied = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

/*
 * Whom we ask whether it has completed answers when it could be at work: the
 * destination says by itself that all was loaded.
 */
static int await_loaded(struct migration *m, struct error *err)
{
	(void)err;
	peer_pause(&m->peer, PEER_LOADED, LOADED_WAIT_NS);
	return 0;
}

static int vmm_state(struct migration *m, struct error *err)
{
	if (guard_check(m->guard, err) || m->ops->go_on(m->vmm, err))
		return -1;
	/* The VMM is busy, and the guest is stopped: nobody waits for this. */
	migrate_throttle_close(m);
	if (wait_phase(m, VMM_COMPLETED, await_loaded, err) ||
	    peer_wait(&m->peer, PEER_LOADED, PEER_TIMEOUT, m->signals, err))
		return -1;
	m->times.loaded = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

/* From here on it is the destination's guest, whatever happens. */
static int hand_over(struct migration *m, struct error *err)
{
	struct wire_frame frame = {
		.type = WIRE_GO,
		.count = m->ops->ran(m->vmm),
	};

	m->record.paused = !frame.count;
	if (migrate_set_phase(m, MIGTRACK_PHASE_HANDOVER, err) ||
	    record_set(&m->record, "handed-over", err))
		return -1;
	m->handed_over = true;
	guard_handed_over(m->guard);
	if (m->postcopy) {
		link_patience(&m->link, TCP_PATIENCE_S);
		return migrate_postcopy_run(m, err);
	}
	if ((fault("handed-over", err) ||
	     channel_send(&m->channel, &frame, NULL, err) || fault("go", err) ||
	     peer_wait(&m->peer, PEER_RUNNING, RUNNING_TIMEOUT, -1, err)) &&
	    migrate_doubt(m, err))
		return -1;
	link_patience(&m->link, TCP_PATIENCE_S);
	m->times.resumed = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

int migrate_prepare(struct migration *m, struct error *err)
{
	if (same_machine(m, err) || migrate_guard(m, err) ||
	    (!m->times.prepared && m->ops->prepare_source(m->vmm, err)))
		return -1;
	m->times.prepared = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

int migrate_switchover(struct migration *m, struct error *err)
{
	if ((clock_ns(CLOCK_MONOTONIC) > m->times.prepared + VMM_COMPARED_FOR &&
	     migrate_prepare(m, err)) ||
	    migrate_set_phase(m, MIGTRACK_PHASE_SWITCHOVER, err) ||
	    fault("switchover", err) || start_vmm(m, err) ||
	    fault("vmm-started", err) ||
	    wait_phase(m, VMM_PRE_SWITCHOVER, keep_up, err) || fault("stopped", err))
		return -1;
	if (m->vmm->stopped_ns > m->times.running)
		m->times.running = m->vmm->stopped_ns;
	m->times.stopped = clock_ns(CLOCK_MONOTONIC);
	link_patience(&m->link, TCP_PATIENCE_STOPPED_S);
	if (final_copy(m, err) || fault("copied", err))
		return -1;
	if (m->options->verify == VERIFY_BEFORE && !m->postcopy && migrate_verify(m, err))
		return -1;
	/* The last moment at which it can be called off. */
	if (vmm_state(m, err) || fault("loaded", err) || migrate_check(m, err))
		return -1;
	return hand_over(m, err);
}

/* The settings go back in any case; the guest only if it is still ours. */
static void restore_vmm(struct migration *m)
{
	struct error err, later;
	bool failed;

	if (!m->saved)
		return;
	failed = !m->handed_over && m->ops->cancel(m->vmm, &err);
	if (m->ops->restore(m->vmm, m->saved, failed ? &later : &err))
		failed = true;
	migrate_throttle_close(m);
	if (guard_conclude(m->guard, m->vmm, failed ? &err : NULL))
		lock_leave(&m->lock);
	if (failed)
		out_error(m->out, &err);
	m->guard = NULL;
}

void migrate_undo(struct migration *m, const struct error *why)
{
	/* The guest waits for this: not for a network that hangs. */
	if (why && !m->handed_over && m->peer.started) {
		channel_hurry(&m->channel, UNDO_SEND_MS);
		peer_call_off(&m->peer);
		reason_send(&m->channel, WIRE_CANCEL, why);
	}
	/* Nor for a VMM that writes a state which nobody reads. */
	if (!m->handed_over)
		relay_break(&m->relay);
	restore_vmm(m);
	/* The peer's thread may still deliver to it: it is closed after that has ended. */
	relay_break(&m->relay);
	if (relay_has_ended(&m->relay, UNDO_SEND_MS * NS_PER_MS))
		m->device_bytes += m->relay.bytes;
}
