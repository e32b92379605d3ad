// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/units.h"
#include "policy/policy.h"

/* Samples that say more about latency than about bandwidth. */
#define SAMPLE_MIN_TIME		(100 * NS_PER_MS)
#define SAMPLE_MIN_BYTES	(4ull << 20)

/* Weight of a new sample, in percent. */
#define SAMPLE_WEIGHT		40

const struct policy_limits policy_default_limits = {
	.downtime	= 300 * NS_PER_MS,
	.fixed_cost	= 0,
	.bandwidth	= 0,
	.timeout	= 0,
	.max_iteration	= 10 * NS_PER_S,
	.min_interval	= 100 * NS_PER_MS,
};

/* a * b / c, saturated; c is not 0. */
static uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c)
{
	unsigned __int128 result = (unsigned __int128)a * b / c;

	return result > UINT64_MAX ? UINT64_MAX : (uint64_t)result;
}

/**
 * policy_init() - begin
 * @policy: set up
 * @limits: copied
 * @now: when the setup sync ended
 */
void policy_init(struct policy *policy, const struct policy_limits *limits,
		 uint64_t now)
{
	*policy = (struct policy) {
		.limits = *limits,
		.started = now,
		.iteration_started = now,
		.exact_total = POLICY_UNKNOWN,
	};
	if (limits->bandwidth) {
		policy->bandwidth = limits->bandwidth;
		policy->bandwidth_source = POLICY_BANDWIDTH_USER;
	}
}

uint64_t policy_threshold(const struct policy *policy)
{
	const struct policy_limits *limits = &policy->limits;

	if (policy->bandwidth_source == POLICY_BANDWIDTH_UNKNOWN ||
	    limits->downtime <= limits->fixed_cost)
		return 0;
	return mul_div(policy->bandwidth, limits->downtime - limits->fixed_cost,
		       NS_PER_S);
}

/*
 * The one comparison. A total of 0 fits any threshold, also where the
 * bandwidth is unknown.
 */
static bool fits(const struct policy *policy, uint64_t total)
{
	return total <= policy_threshold(policy);
}

static struct policy_decision decide(enum policy_verdict verdict,
				     enum policy_reason reason, uint64_t value,
				     uint64_t limit)
{
	return (struct policy_decision) {
		.verdict = verdict,
		.reason = reason,
		.value = value,
		.limit = limit,
	};
}

static uint64_t since(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

static bool timed_out(const struct policy *policy, uint64_t now)
{
	return policy->limits.timeout &&
	       since(now, policy->started) >= policy->limits.timeout;
}

/**
 * policy_next() - go on moving, or sync?
 * @policy: the state
 * @now: the time
 * @total: fast: bytes left in all sources
 * @live: fast: of these, what can be moved while the guest runs
 */
struct policy_decision policy_next(const struct policy *policy, uint64_t now,
				   uint64_t total, uint64_t live)
{
	const struct policy_limits *limits = &policy->limits;
	uint64_t age = since(now, policy->iteration_started);

	if (timed_out(policy, now))
		return decide(POLICY_GIVE_UP, POLICY_REASON_TIMEOUT,
			      since(now, policy->started), limits->timeout);
	if (age < limits->min_interval)
		return decide(POLICY_MOVE, POLICY_REASON_TOO_SOON, age,
			      limits->min_interval);
	if (!live)
		return decide(POLICY_ITERATE, POLICY_REASON_ALL_MOVED, total,
			      policy_threshold(policy));
	if (fits(policy, total))
		return decide(POLICY_ITERATE, POLICY_REASON_ESTIMATE_FITS, total,
			      policy_threshold(policy));
	if (age >= limits->max_iteration)
		return decide(POLICY_ITERATE, POLICY_REASON_MAX_ITERATION, age,
			      limits->max_iteration);
	return decide(POLICY_MOVE, POLICY_REASON_MORE_TO_MOVE, total,
		      policy_threshold(policy));
}

static void take_sample(struct policy *policy, const struct policy_sample *sample)
{
	uint64_t measured;

	if (policy->bandwidth_source == POLICY_BANDWIDTH_USER)
		return;
	if (!sample || sample->time < SAMPLE_MIN_TIME ||
	    sample->bytes < SAMPLE_MIN_BYTES) {
		if (policy->bandwidth_source == POLICY_BANDWIDTH_MEASURED)
			policy->bandwidth_source = POLICY_BANDWIDTH_KEPT;
		return;
	}
	measured = mul_div(sample->bytes, NS_PER_S, sample->time);
	if (policy->bandwidth_source == POLICY_BANDWIDTH_UNKNOWN)
		policy->bandwidth = measured;
	else
		policy->bandwidth = mul_div(measured, SAMPLE_WEIGHT, 100) +
				    mul_div(policy->bandwidth,
					    100 - SAMPLE_WEIGHT, 100);
	policy->bandwidth_source = POLICY_BANDWIDTH_MEASURED;
}

/**
 * policy_switchover() - a sync ended: switch over?
 * @policy: the state; a new iteration begins
 * @now: the time
 * @total: exact: bytes left in all sources
 * @ready: every source is
 * @sample: what was sent while there was more to send, since the sync before;
 *	NULL for none
 */
struct policy_decision policy_switchover(struct policy *policy, uint64_t now,
					 uint64_t total, bool ready,
					 const struct policy_sample *sample)
{
	uint64_t threshold;

	take_sample(policy, sample);
	policy->iteration_started = now;
	policy->exact_total = total;
	threshold = policy_threshold(policy);

	if (timed_out(policy, now))
		return decide(POLICY_GIVE_UP, POLICY_REASON_TIMEOUT,
			      since(now, policy->started), policy->limits.timeout);
	if (!fits(policy, total) &&
	    policy->bandwidth_source == POLICY_BANDWIDTH_UNKNOWN)
		return decide(POLICY_MOVE, POLICY_REASON_NO_BANDWIDTH, total, 0);
	if (!fits(policy, total))
		return decide(POLICY_MOVE, POLICY_REASON_TOO_MUCH, total, threshold);
	if (!ready)
		return decide(POLICY_MOVE, POLICY_REASON_NOT_READY, total, threshold);
	return decide(POLICY_SWITCHOVER, POLICY_REASON_FITS, total, threshold);
}

/**
 * policy_expected_downtime() - of a switchover at the last sync
 * @policy: the state
 *
 * Return: ns; POLICY_UNKNOWN before the first iteration ended, or without a
 * bandwidth.
 */
uint64_t policy_expected_downtime(const struct policy *policy)
{
	uint64_t move;

	if (policy->exact_total == POLICY_UNKNOWN ||
	    policy->bandwidth_source == POLICY_BANDWIDTH_UNKNOWN ||
	    !policy->bandwidth)
		return POLICY_UNKNOWN;
	move = mul_div(policy->exact_total, NS_PER_S, policy->bandwidth);
	if (move > UINT64_MAX - 1 - policy->limits.fixed_cost)
		return UINT64_MAX - 1;
	return move + policy->limits.fixed_cost;
}

const char *policy_reason_name(enum policy_reason reason)
{
	switch (reason) {
	case POLICY_REASON_MORE_TO_MOVE:	return "more-to-move";
	case POLICY_REASON_TOO_SOON:		return "too-soon";
	case POLICY_REASON_ESTIMATE_FITS:	return "estimate-fits";
	case POLICY_REASON_ALL_MOVED:		return "all-moved";
	case POLICY_REASON_MAX_ITERATION:	return "max-iteration";
	case POLICY_REASON_FITS:		return "fits";
	case POLICY_REASON_NOT_READY:		return "not-ready";
	case POLICY_REASON_TOO_MUCH:		return "too-much";
	case POLICY_REASON_NO_BANDWIDTH:	return "no-bandwidth";
	case POLICY_REASON_TIMEOUT:		return "timeout";
	}
	return "unknown";
}

const char *policy_bandwidth_name(enum policy_bandwidth source)
{
	switch (source) {
	case POLICY_BANDWIDTH_UNKNOWN:		return "unknown";
	case POLICY_BANDWIDTH_MEASURED:		return "measured";
	case POLICY_BANDWIDTH_KEPT:		return "kept";
	case POLICY_BANDWIDTH_USER:		return "user";
	}
	return "unknown";
}
