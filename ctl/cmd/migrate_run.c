// SPDX-License-Identifier: GPL-2.0-or-later
/* The iterations: move what was found, sync, decide. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cmd/migrate.h"
#include "common/fault.h"
#include "cmd/session.h"

/* Between two looks at what else happened. */
#define SLICE_BYTES	(4ull << 20)
#define IDLE_WAIT_US	2000

/* What a sample must have, before it is worth a decision; see the policy. */
#define SAMPLE_TIME	(100 * NS_PER_MS)
#define SAMPLE_BYTES	(4ull << 20)

int migrate_set_phase(struct migration *m, enum migtrack_phase phase,
		      struct error *err)
{
	if (tracker_publish(&m->tracker, &m->policy, phase, m->verdict, migrate_reason(m),
			    "can't publish the migration's phase", err))
		return -1;
	m->phase = phase;
	return 0;
}

void migrate_tell_phase(struct migration *m, enum migtrack_phase phase)
{
	struct error ignored;

	if (m->tracker.fd >= 0)
		migrate_set_phase(m, phase, &ignored);
	m->phase = phase;
}

int migrate_check(struct migration *m, struct error *err)
{
	struct pollfd pollfd = { .fd = m->signals, .events = POLLIN };

	if (poll(&pollfd, 1, 0) > 0)
		return error_set(err, EXIT_CANCELLED, "cancelled");
	control_serve(&m->control, migrate_asked, m);
	return peer_check(&m->peer, err);
}

/* The owner's word on what was moved; the kernel takes it off its numbers. */
static void publish_moved(struct migration *m)
{
	size_t i;

	/* Post-copy has a source of its own for what is left. */
	if (m->left.told)
		return;
	for (i = 0; i < m->n_memory; i++) {
		uint32_t id = m->tracker.sources[i].map.id;

		m->tracker.header->moved_bytes[id] = m->blocks[i].moved;
	}
}

/* Of memory, as what is left is: on the wire a compressor makes it less. */
static void sample_add(struct migration *m, const struct sender_stats *before, uint64_t time)
{
	struct sender_stats now = sender_stats(&m->sender);

	m->sample.bytes += (now.pages - before->pages) * WIRE_PAGE_SIZE;
	m->sample.zeros += (now.zero_pages - before->zero_pages) * WIRE_PAGE_SIZE;
	m->sample.time += time;
}

int migrate_send(struct migration *m, uint64_t bytes, struct error *err)
{
	struct sender_stats before = sender_stats(&m->sender);
	uint64_t start = clock_ns(CLOCK_MONOTONIC);
	int ret;

	ret = sender_send(&m->sender, bytes, err);
	/* Only while there is more: an idle channel says nothing. */
	sample_add(m, &before, clock_ns(CLOCK_MONOTONIC) - start);
	publish_moved(m);
	return ret;
}

int migrate_sync(struct migration *m, enum migtrack_sync_kind kind,
		 struct error *err)
{
	uint64_t before = m->sync.sync_time_ns;
	size_t i;

	for (i = 0; i < m->n_memory; i++)
		sender_give_back(&m->sender, i, m->tracker.sources[i].bitmap);
	if (tracker_sync_whole(&m->tracker, kind, m->vmm->pid, &m->sync, err))
		return -1;
	/* Before the first there was none. */
	m->interval = before ? m->sync.sync_time_ns - before : 0;
	for (i = 0; i < m->n_memory; i++)
		sender_harvest(&m->sender, i, m->tracker.sources[i].bitmap);
	return 0;
}

/* Everything is to be moved, but for what both sides have no data of. */
static int first_pass(struct migration *m, struct error *err)
{
	struct policy_limits limits;

	if (migrate_sync(m, MIGTRACK_SYNC_KIND_SETUP, err) ||
	    sender_first_pass(&m->sender, err))
		return -1;
	publish_moved(m);
	/* Anew, as of now; they may have been changed meanwhile. */
	limits = m->policy.limits;
	policy_init(&m->policy, &limits, clock_ns(CLOCK_MONOTONIC));
	return migrate_set_phase(m, MIGTRACK_PHASE_PRECOPY, err);
}

/* All that is left is RAM: if it comes to that, it can wait until after the switchover. */
static void pending_get(const struct migration *m, struct policy_pending *pending)
{
	if (m->options->postcopy)
		pending->postcopy = sender_pending(&m->sender);
	else
		pending->precopy = sender_pending(&m->sender);
}

/*
 * Zero pages take time and hardly any bandwidth: a sample that is mostly of them says too
 * little, and goes. As long as nothing is known that is better than nothing.
 */
static const struct policy_sample *sample_due(struct migration *m)
{
	struct policy_sample *sample = &m->sample;

	if (sample->zeros > sample->bytes &&
	    m->policy.bandwidth_source != POLICY_BANDWIDTH_UNKNOWN)
		*sample = (struct policy_sample){};
	return sample->time >= SAMPLE_TIME && sample->bytes >= SAMPLE_BYTES ? sample : NULL;
}

/* All was asked: what is to be done now is in @m. */
static int decide(struct migration *m, struct error *err)
{
	const struct policy_sample *sample = sample_due(m);
	struct policy_pending pending = {};

	pending_get(m, &pending);
	m->decision = policy_switchover(&m->policy, clock_ns(CLOCK_MONOTONIC),
					&pending, true, sample);
	if (m->decision.verdict == POLICY_MOVE)
		migrate_postcopy_due(m, &m->decision);
	if (sample)
		m->sample = (struct policy_sample){};
	if (!m->postcopy && migrate_act(m, err))
		return -1;
	m->verdict = m->forced ? MIGTRACK_VERDICT_SWITCHOVER :
				 verdict_published(m->decision.verdict);
	return 0;
}

static int iterate(struct migration *m, struct error *err)
{
	int ret;

	if (migrate_sync(m, MIGTRACK_SYNC_KIND_ITERATION, err))
		return -1;
	if (!m->times.first_pass)
		m->times.first_pass = clock_ns(CLOCK_MONOTONIC);
	ret = decide(m, err);
	migrate_out_look(m, true);
	if (ret || fault("precopy", err))
		return -1;
	return migrate_set_phase(m, MIGTRACK_PHASE_PRECOPY, err);
}

static bool is_due(const struct migration *m)
{
	return m->forced || m->decision.verdict == POLICY_SWITCHOVER;
}

/*
 * Not yet, after all. With what a switchover wants anybody else's migration, or snapshot,
 * of this VMM would leave out its memory.
 */
static int unprepare(struct migration *m, struct error *err)
{
	if (!m->times.prepared)
		return 0;
	m->times.prepared = 0;
	if (m->ops->restore(m->vmm, m->saved, err))
		return -1;
	/* What others set meanwhile is theirs, unless we have more to undo than that. */
	if (!m->throttle.n) {
		guard_stop(m->guard);
		m->guard = NULL;
		json_decref(m->saved);
		m->saved = NULL;
	}
	return 0;
}

int migrate_precopy(struct migration *m, struct error *err)
{
	struct policy_pending pending = {};

	m->times.started = clock_ns(CLOCK_MONOTONIC);
	/* What a killed one has left; to throttle, it was taken over. */
	if (!m->throttle.n)
		throttle_sweep(&m->throttle, m->vmm->pid);
	if (first_pass(m, err))
		return -1;
	for (;;) {
		if (migrate_check(m, err))
			return -1;
		pending_get(m, &pending);
		m->decision = policy_next(&m->policy, clock_ns(CLOCK_MONOTONIC),
					  &pending);
		if (m->forced || m->decision.verdict == POLICY_ITERATE) {
			if (iterate(m, err))
				return -1;
			if (is_due(m)) {
				/* What takes a while comes first, then the numbers. */
				if (m->times.prepared || m->postcopy)
					return 0;
				if (migrate_prepare(m, err))
					return -1;
				continue;
			}
			if (unprepare(m, err))
				return -1;
		} else if (migrate_act(m, err)) {
			return -1;
		}
		migrate_out_look(m, false);
		if (!sender_pending(&m->sender))
			usleep(IDLE_WAIT_US);
		else if (migrate_send(m, SLICE_BYTES, err) < 0)
			return -1;
	}
}
