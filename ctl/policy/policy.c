// SPDX-License-Identifier: GPL-2.0-or-later
/* Bandwidth, threshold, iterations, switchover. */
#include "common/units.h"
#include "policy/internal.h"

/* Samples that say more about latency than about bandwidth. */
#define SAMPLE_MIN_TIME		(100 * NS_PER_MS)
#define SAMPLE_MIN_BYTES	(4ull << 20)

/* Weight of a new sample, in percent. */
#define SAMPLE_WEIGHT		40

const struct policy_limits policy_default_limits = {
	.downtime	= 300 * NS_PER_MS,
	.max_iteration	= 10 * NS_PER_S,
	.min_interval	= 100 * NS_PER_MS,
	.stall_window	= 40 * NS_PER_S,
	.stall_margin	= 96,
	.local_minimum	= 104,
	.raise_margin	= 5,
	.raise_step	= 10 * NS_PER_MS,
	.cool_down	= 5 * NS_PER_S,
	.throttle_step	= 20,
	.throttle_max	= 80,
};

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
		.iteration = 1,
		.exact_total = POLICY_UNKNOWN,
		.previous_live = POLICY_UNKNOWN,
	};
	stall_init(&policy->stall);
	if (limits->bandwidth)
		policy_set_bandwidth(policy, limits->bandwidth);
}

/**
 * policy_again() - begin anew, after an attempt that failed
 * @policy: the state
 * @now: the time
 *
 * What is left was said by that attempt, and is forgotten. What was learned stays,
 * and so do the limits as they were raised and set; the timeout is of all attempts.
 */
void policy_again(struct policy *policy, uint64_t now)
{
	const struct policy before = *policy;

	policy_init(policy, &before.limits, now);
	policy->started = before.started;
	policy->measured_cost = before.measured_cost;
	policy->bandwidth = before.bandwidth;
	policy->bandwidth_source = before.bandwidth_source;
	if (policy->bandwidth_source == POLICY_BANDWIDTH_MEASURED)
		policy->bandwidth_source = POLICY_BANDWIDTH_KEPT;
}

/**
 * policy_set_bandwidth() - decide by what the user says
 * @policy: the state
 * @bandwidth: bytes per second; 0 to measure, starting from what was known
 */
void policy_set_bandwidth(struct policy *policy, uint64_t bandwidth)
{
	policy->limits.bandwidth = bandwidth;
	if (bandwidth) {
		policy->bandwidth = bandwidth;
		policy->bandwidth_source = POLICY_BANDWIDTH_USER;
	} else if (policy->bandwidth_source == POLICY_BANDWIDTH_USER) {
		policy->bandwidth_source = POLICY_BANDWIDTH_KEPT;
	}
}

/**
 * policy_learn_fixed_cost() - what an earlier attempt measured
 * @policy: the state
 * @cost: time for stop, device state and resume; what the user says goes first
 */
void policy_learn_fixed_cost(struct policy *policy, uint64_t cost)
{
	policy->measured_cost = cost;
}

uint64_t policy_fixed_cost(const struct policy *policy)
{
	return policy->limits.fixed_cost ? policy->limits.fixed_cost :
					   policy->measured_cost;
}

uint64_t policy_live(const struct policy_pending *pending)
{
	return sat_add(pending->precopy, pending->postcopy);
}

uint64_t policy_total(const struct policy_pending *pending)
{
	return sat_add(policy_live(pending), pending->stopcopy);
}

uint64_t policy_remaining(const struct policy_pending *pending)
{
	return pending->unknown ? POLICY_UNKNOWN : policy_total(pending);
}

uint64_t policy_threshold(const struct policy *policy)
{
	uint64_t room = sat_sub(policy->limits.downtime, policy_fixed_cost(policy));
	uint64_t threshold;

	if (policy->bandwidth_source == POLICY_BANDWIDTH_UNKNOWN)
		return 0;
	threshold = mul_div(policy->bandwidth, room, NS_PER_S);
	/* A saturated sum stands for any number: it fits nowhere. */
	return threshold == UINT64_MAX ? UINT64_MAX - 1 : threshold;
}

/* A total of 0 fits any threshold, also where the bandwidth is unknown. */
bool policy_bytes_fit(const struct policy *policy, uint64_t bytes)
{
	return bytes <= policy_threshold(policy);
}

bool policy_fits(const struct policy *policy, const struct policy_pending *pending)
{
	return !pending->unknown && policy_bytes_fit(policy, policy_total(pending));
}

struct policy_decision policy_decide(enum policy_verdict verdict,
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

/**
 * policy_timed_out() - is the time over?
 * @policy: the state
 * @now: the time
 */
bool policy_timed_out(const struct policy *policy, uint64_t now)
{
	return policy->limits.timeout &&
	       sat_sub(now, policy->started) >= policy->limits.timeout;
}

/* With another end, policy_act() says what. */
static bool cancelled(const struct policy *policy, uint64_t now)
{
	return policy->limits.on_timeout == POLICY_ON_TIMEOUT_CANCEL &&
	       policy_timed_out(policy, now);
}

static struct policy_decision cancel(const struct policy *policy, uint64_t now)
{
	return policy_decide(POLICY_GIVE_UP, POLICY_REASON_TIMEOUT,
			     sat_sub(now, policy->started), policy->limits.timeout);
}

/**
 * policy_next() - go on moving, or sync?
 * @policy: the state
 * @now: the time
 * @pending: fast: what is left
 */
struct policy_decision policy_next(const struct policy *policy, uint64_t now,
				   const struct policy_pending *pending)
{
	const struct policy_limits *limits = &policy->limits;
	uint64_t age = sat_sub(now, policy->iteration_started);
	uint64_t total = policy_total(pending);

	if (cancelled(policy, now))
		return cancel(policy, now);
	if (age < limits->min_interval)
		return policy_decide(POLICY_MOVE, POLICY_REASON_TOO_SOON, age,
				     limits->min_interval);
	if (!policy_live(pending))
		return policy_decide(POLICY_ITERATE, POLICY_REASON_ALL_MOVED, total,
				     policy_threshold(policy));
	if (policy_fits(policy, pending))
		return policy_decide(POLICY_ITERATE, POLICY_REASON_ESTIMATE_FITS,
				     total, policy_threshold(policy));
	if (age >= limits->max_iteration)
		return policy_decide(POLICY_ITERATE, POLICY_REASON_MAX_ITERATION,
				     age, limits->max_iteration);
	return policy_decide(POLICY_MOVE, POLICY_REASON_MORE_TO_MOVE, total,
			     policy_threshold(policy));
}

/**
 * policy_pass() - the VMM synced by itself: is that an iteration?
 * @policy: the state
 * @now: the time
 *
 * Return: true to ask all sources and then policy_switchover(); false: too soon,
 * it was counted.
 */
bool policy_pass(struct policy *policy, uint64_t now)
{
	if (sat_sub(now, policy->iteration_started) >= policy->limits.min_interval)
		return true;
	policy->passes++;
	return false;
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
		policy->bandwidth = percent(measured, SAMPLE_WEIGHT) +
				    percent(policy->bandwidth, 100 - SAMPLE_WEIGHT);
	policy->bandwidth_source = POLICY_BANDWIDTH_MEASURED;
}

/**
 * policy_recheck() - as policy_switchover(), after a limit has changed
 * @policy: the state, with the last exact numbers
 */
struct policy_decision policy_recheck(const struct policy *policy)
{
	const struct policy_pending *exact = &policy->exact;
	uint64_t total = policy->exact_total, threshold = policy_threshold(policy);

	if (total == POLICY_UNKNOWN)
		return policy_decide(POLICY_MOVE, POLICY_REASON_MORE_TO_MOVE, total,
				     threshold);
	if (exact->unknown)
		return policy_decide(POLICY_MOVE, POLICY_REASON_UNKNOWN_SIZE, total,
				     threshold);
	if (!policy_fits(policy, exact))
		return policy_decide(POLICY_MOVE, policy->bandwidth_source ==
				     POLICY_BANDWIDTH_UNKNOWN ?
				     POLICY_REASON_NO_BANDWIDTH :
				     POLICY_REASON_TOO_MUCH, total, threshold);
	if (!policy->ready)
		return policy_decide(POLICY_MOVE, POLICY_REASON_NOT_READY, total,
				     threshold);
	return policy_decide(POLICY_SWITCHOVER, POLICY_REASON_FITS, total, threshold);
}

/**
 * policy_switchover() - a sync ended: switch over?
 * @policy: the state; a new iteration begins
 * @now: the time
 * @pending: exact: what is left; the names in it are kept until the next call
 * @ready: every source is
 * @sample: what was sent while there was more to send, since the sync before;
 *	NULL for none
 */
struct policy_decision policy_switchover(struct policy *policy, uint64_t now,
					 const struct policy_pending *pending,
					 bool ready,
					 const struct policy_sample *sample)
{
	take_sample(policy, sample);
	policy->iteration_started = now;
	policy->iteration++;
	if (policy->exact_total != POLICY_UNKNOWN)
		policy->previous_live = policy_live(&policy->exact);
	policy->exact = *pending;
	policy->exact_total = policy_total(pending);
	/* That would say that nothing is known yet. */
	if (policy->exact_total == POLICY_UNKNOWN)
		policy->exact_total--;
	policy->ready = ready;
	policy->boundary = true;
	/* What stands for a size that nobody knows makes no progress. */
	stall_add(&policy->stall, &policy->limits, now, pending->unknown ?
		  policy_live(pending) : policy->exact_total);
	if (cancelled(policy, now))
		return cancel(policy, now);
	return policy_recheck(policy);
}

uint64_t policy_downtime_of(const struct policy *policy, uint64_t bytes)
{
	uint64_t move;

	if (policy->bandwidth_source == POLICY_BANDWIDTH_UNKNOWN ||
	    !policy->bandwidth)
		return POLICY_UNKNOWN;
	move = mul_div_up(bytes, NS_PER_S, policy->bandwidth);
	move = sat_add(move, policy_fixed_cost(policy));
	return move == POLICY_UNKNOWN ? POLICY_UNKNOWN - 1 : move;
}

/**
 * policy_expected_downtime() - of a switchover at the last sync
 * @policy: the state
 *
 * In a session set up for post-copy, the blackout of its start.
 *
 * Return: ns; POLICY_UNKNOWN before the first iteration ended, without a
 * bandwidth, or with a device whose size is not known.
 */
uint64_t policy_expected_downtime(const struct policy *policy)
{
	const struct policy_pending *exact = &policy->exact;

	if (policy->exact_total == POLICY_UNKNOWN || exact->unknown)
		return POLICY_UNKNOWN;
	return policy_downtime_of(policy, policy->limits.postcopy ?
				  sat_add(exact->precopy, exact->stopcopy) :
				  policy->exact_total);
}
