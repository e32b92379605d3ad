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
	if (tracker_publish(&m->tracker, &m->policy, phase, m->verdict,
			    "can't publish the migration's phase", err))
		return -1;
	m->phase = phase;
	return 0;
}

static void set_verdict(struct migration *m, enum policy_verdict verdict)
{
	m->verdict = verdict_published(verdict);
}

/* Of migctl set; the policy goes on with the new limits. */
static int set_limits(struct migration *m, const json_t *request, struct error *err)
{
	struct policy_limits limits = m->policy.limits;
	uint64_t bandwidth = limits.bandwidth;
	uint64_t max_bandwidth = m->sender.options.max_bandwidth;

	if (json_object_get(request, "max_downtime_ns"))
		return error_set(err, EXIT_USAGE,
				 "migctl migrate does not raise the limit by itself");
	control_number(request, "downtime_ns", &limits.downtime);
	control_number(request, "timeout_ns", &limits.timeout);
	control_number(request, "bandwidth_bytes_per_second", &bandwidth);
	control_number(request, "max_bandwidth_bytes_per_second", &max_bandwidth);
	if (limits.downtime <= limits.fixed_cost)
		return error_set(err, EXIT_USAGE,
				 "that leaves nothing of the downtime for the last copy");
	sender_limit(&m->sender, max_bandwidth);
	m->policy.limits = limits;
	policy_set_bandwidth(&m->policy, bandwidth);
	return 0;
}

static int asked(const char *command, const json_t *request, void *data,
		 struct error *err)
{
	struct migration *m = data;

	if (m->phase >= MIGTRACK_PHASE_SWITCHOVER)
		return error_set(err, EXIT_FAILED, "too late: the guest is being handed over");
	if (!strcmp(command, "set"))
		return set_limits(m, request, err);
	if (strcmp(command, "switchover"))
		return error_set(err, EXIT_USAGE, "%s is not known here", command);
	m->policy.limits.downtime = DOWNTIME_ANY;
	return 0;
}

int migrate_check(struct migration *m, struct error *err)
{
	struct pollfd pollfd = { .fd = m->signals, .events = POLLIN };

	if (poll(&pollfd, 1, 0) > 0)
		return error_set(err, EXIT_CANCELLED, "cancelled");
	control_serve(&m->control, asked, m);
	return peer_check(&m->peer, err);
}

/* The owner's word on what was moved; the kernel takes it off its numbers. */
static void publish_moved(struct migration *m)
{
	size_t i;

	for (i = 0; i < m->n_memory; i++) {
		uint32_t id = m->tracker.sources[i].map.id;

		m->tracker.header->moved_bytes[id] = m->blocks[i].moved;
	}
}

int migrate_send(struct migration *m, uint64_t bytes, struct error *err)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), sent = link_sent(&m->link);
	int ret;

	ret = sender_send(&m->sender, bytes, err);
	/* Only while there is more: an idle channel says nothing. */
	m->sample.bytes += link_sent(&m->link) - sent;
	m->sample.time += clock_ns(CLOCK_MONOTONIC) - start;
	publish_moved(m);
	return ret;
}

int migrate_sync(struct migration *m, enum migtrack_sync_kind kind,
		 struct error *err)
{
	size_t i;

	for (i = 0; i < m->n_memory; i++)
		sender_give_back(&m->sender, i, m->tracker.sources[i].bitmap);
	if (tracker_sync_whole(&m->tracker, kind, m->vmm->pid, &m->sync, err))
		return -1;
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

/* One iteration: returns 1 with what is to be done when its sync has ended. */
static int iterate(struct migration *m, struct policy_decision *decision,
		   struct error *err)
{
	uint64_t before = m->sync.sync_time_ns;
	const struct policy_sample *sample = NULL;
	struct policy_pending pending = {};

	if (migrate_sync(m, MIGTRACK_SYNC_KIND_ITERATION, err))
		return -1;
	if (!m->times.first_pass)
		m->times.first_pass = clock_ns(CLOCK_MONOTONIC);
	if (m->sample.time >= SAMPLE_TIME && m->sample.bytes >= SAMPLE_BYTES)
		sample = &m->sample;
	pending_get(m, &pending);
	*decision = policy_switchover(&m->policy, clock_ns(CLOCK_MONOTONIC), &pending,
				      true, sample);
	if (decision->verdict == POLICY_MOVE)
		migrate_postcopy_due(m, decision);
	if (sample)
		m->sample = (struct policy_sample){};
	migrate_out_iteration(m, decision, m->sync.sync_time_ns - before);
	set_verdict(m, decision->verdict);
	if (fault("precopy", err))
		return -1;
	return migrate_set_phase(m, MIGTRACK_PHASE_PRECOPY, err);
}

static int give_up(const struct migration *m, struct error *err)
{
	char left[UNIT_TEXT_SIZE], limit[UNIT_TEXT_SIZE], time[UNIT_TEXT_SIZE];
	char rate[UNIT_TEXT_SIZE];

	error_set(err, EXIT_TIMEOUT,
		  "not converged within %s: %s are left, and %s can be moved while the guest is stopped",
		  format_time(time, m->policy.limits.timeout),
		  format_bytes(left, m->policy.exact_total == POLICY_UNKNOWN ?
			       sender_pending(&m->sender) : m->policy.exact_total),
		  format_bytes(limit, policy_threshold(&m->policy)));
	if (policy_expected_downtime(&m->policy) == POLICY_UNKNOWN)
		return error_advise(err, "the guest runs on here; give it more time");
	return error_advise(err,
			    "the guest runs on here, and writes about as fast as %s can be sent; allow a downtime of %s, or more bandwidth",
			    format_rate(rate, m->policy.bandwidth),
			    format_time(time, policy_expected_downtime(&m->policy)));
}

int migrate_precopy(struct migration *m, struct error *err)
{
	struct policy_pending pending = {};
	struct policy_decision decision;

	m->times.started = clock_ns(CLOCK_MONOTONIC);
	if (first_pass(m, err))
		return -1;
	for (;;) {
		if (migrate_check(m, err))
			return -1;
		pending_get(m, &pending);
		decision = policy_next(&m->policy, clock_ns(CLOCK_MONOTONIC), &pending);
		if (decision.verdict == POLICY_ITERATE &&
		    iterate(m, &decision, err))
			return -1;
		if (decision.verdict == POLICY_GIVE_UP) {
			set_verdict(m, decision.verdict);
			return give_up(m, err);
		}
		if (decision.verdict == POLICY_SWITCHOVER)
			return 0;
		if (!sender_pending(&m->sender))
			usleep(IDLE_WAIT_US);
		else if (migrate_send(m, SLICE_BYTES, err) < 0)
			return -1;
	}
}
