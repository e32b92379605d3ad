// SPDX-License-Identifier: GPL-2.0-or-later
/* When it does not converge: what to do, in order, each only if allowed. */
#include "common/units.h"
#include "policy/internal.h"

/*
 * What a decision is made of: @total of the last exact query, the downtime that it
 * @needs, and the time that is left until the timeout.
 */
struct situation {
	const struct policy *policy;
	uint64_t now;
	uint64_t needed;
	uint64_t budget;
	enum policy_reason reason;
};

static struct policy_action explain(const struct situation *at, enum policy_act act,
				    enum policy_reason reason)
{
	const struct policy *policy = at->policy;
	uint64_t room = sat_sub(policy->limits.downtime, policy_fixed_cost(policy));
	bool known = policy->exact_total != POLICY_UNKNOWN && !policy->exact.unknown;

	return (struct policy_action) {
		.act = act,
		.reason = reason,
		.value = policy->exact_total,
		.limit = policy_threshold(policy),
		.needed_downtime = known ? at->needed : POLICY_UNKNOWN,
		.needed_bandwidth = known && room ?
			mul_div_up(policy->exact_total, NS_PER_S, room) :
			POLICY_UNKNOWN,
	};
}

/* What stands in the way, and what the user could do about it. */
static void advise(const struct situation *at, struct policy_action *action)
{
	const struct policy *policy = at->policy;

	if (policy->exact.unknown) {
		action->source = policy->exact.unknown;
		action->advice = POLICY_ADVICE_DEVICE;
	} else if (policy->exact_total == POLICY_UNKNOWN) {
		action->advice = POLICY_ADVICE_TIME;
	} else if (policy->bandwidth_source == POLICY_BANDWIDTH_UNKNOWN) {
		action->advice = POLICY_ADVICE_BANDWIDTH;
	} else if (policy_fits(policy, &policy->exact)) {
		action->advice = policy->ready ? POLICY_ADVICE_NONE :
						 POLICY_ADVICE_READY;
	} else {
		action->advice = POLICY_ADVICE_DOWNTIME;
	}
}

static struct policy_action nothing(const struct situation *at,
				    enum policy_reason reason)
{
	return explain(at, POLICY_ACT_NONE, reason);
}

static struct policy_action act(struct policy *policy, const struct situation *at,
				enum policy_act act)
{
	struct policy_action action = explain(at, act, at->reason);

	policy->acted = true;
	policy->acted_at = at->now;
	if (act == POLICY_ACT_POSTCOPY)
		policy->postcopy_started = true;
	if (act == POLICY_ACT_GIVE_UP)
		advise(at, &action);
	return action;
}

static bool may(const struct policy *policy, enum policy_act act, unsigned int bit)
{
	return (!bit || policy->limits.allowed & bit) &&
	       !(policy->refused & 1u << act);
}

/* No limit that may be set is enough for what moves only when stopped. */
static bool beyond_max(const struct policy *policy)
{
	return policy_downtime_of(policy, policy->exact.stopcopy) >
	       (policy->limits.max_downtime > policy->limits.downtime ?
		policy->limits.max_downtime : policy->limits.downtime);
}

/*
 * To what is needed now and a margin, or as far as allowed, for a moment with less
 * left to come.
 */
static bool raise(struct policy *policy, const struct situation *at,
		  struct policy_action *action)
{
	struct policy_limits *limits = &policy->limits;
	uint64_t wanted = percent(at->needed, 100 + limits->raise_margin);
	uint64_t step = limits->raise_step ? limits->raise_step : 1;

	if (!may(policy, POLICY_ACT_RAISE, 0) || policy->exact.unknown ||
	    at->needed == POLICY_UNKNOWN || limits->downtime >= limits->max_downtime ||
	    beyond_max(policy) || at->needed > at->budget)
		return false;
	wanted = sat_add(wanted, step - 1) / step * step;
	if (wanted > limits->max_downtime)
		wanted = limits->max_downtime;
	/* It fits and only waits for a source. */
	if (wanted <= limits->downtime)
		return false;
	*action = act(policy, at, POLICY_ACT_RAISE);
	limits->downtime = wanted;
	action->downtime = wanted;
	return true;
}

static bool throttle(struct policy *policy, const struct situation *at,
		     struct policy_action *action)
{
	const struct policy_limits *limits = &policy->limits;

	if (!may(policy, POLICY_ACT_THROTTLE, POLICY_ALLOW_THROTTLE) ||
	    policy->exact.unknown || beyond_max(policy) ||
	    policy_fits(policy, &policy->exact) ||
	    policy->throttle >= limits->throttle_max)
		return false;
	*action = act(policy, at, POLICY_ACT_THROTTLE);
	policy->throttle += limits->throttle_step;
	if (policy->throttle > limits->throttle_max)
		policy->throttle = limits->throttle_max;
	action->throttle = policy->throttle;
	return true;
}

static bool postcopy(struct policy *policy, const struct situation *at,
		     unsigned int bit, struct policy_action *action)
{
	if (!may(policy, POLICY_ACT_POSTCOPY, bit) ||
	    policy_postcopy(policy).verdict != POLICY_SWITCHOVER ||
	    at->needed > at->budget)
		return false;
	*action = act(policy, at, POLICY_ACT_POSTCOPY);
	return true;
}

/* A source that is not ready fails when it is stopped. */
static bool stop(struct policy *policy, const struct situation *at,
		 unsigned int bit, struct policy_action *action)
{
	if (!may(policy, POLICY_ACT_STOP, bit) || !policy->ready ||
	    policy->exact_total == POLICY_UNKNOWN ||
	    (at->needed != POLICY_UNKNOWN && at->needed > at->budget))
		return false;
	*action = act(policy, at, POLICY_ACT_STOP);
	return true;
}

/* Why nothing that is allowed helps. */
static struct policy_action stuck(const struct situation *at)
{
	const struct policy *policy = at->policy;
	struct policy_action action = nothing(at, at->reason);

	advise(at, &action);
	if (policy->exact.unknown) {
		action.reason = POLICY_REASON_UNKNOWN_SIZE;
	} else if (policy_fits(policy, &policy->exact)) {
		action.reason = POLICY_REASON_NOT_READY;
	} else if (at->needed != POLICY_UNKNOWN && at->needed > at->budget) {
		action.reason = POLICY_REASON_NO_TIME;
		action.value = at->needed;
		action.limit = at->budget;
		action.advice = POLICY_ADVICE_TIME;
	} else if (policy->limits.max_downtime && at->needed != POLICY_UNKNOWN &&
		   at->needed > policy->limits.max_downtime) {
		action.reason = POLICY_REASON_MAX_DOWNTIME;
		action.value = at->needed;
		action.limit = policy->limits.max_downtime;
	}
	return action;
}

static struct policy_action against_stall(struct policy *policy,
					  const struct situation *at)
{
	struct policy_action action;

	if (raise(policy, at, &action) || throttle(policy, at, &action) ||
	    postcopy(policy, at, POLICY_ALLOW_POSTCOPY, &action) ||
	    stop(policy, at, POLICY_ALLOW_STOP, &action))
		return action;
	action = stuck(at);
	if (may(policy, POLICY_ACT_GIVE_UP, POLICY_ALLOW_GIVE_UP))
		action.act = act(policy, at, POLICY_ACT_GIVE_UP).act;
	return action;
}

/* Its reason stays "timeout", also where what was asked for can't be done. */
static struct policy_action at_timeout(struct policy *policy, struct situation *at)
{
	enum policy_on_timeout how = policy->limits.on_timeout;
	struct policy_action action;

	at->reason = POLICY_REASON_TIMEOUT;
	at->budget = POLICY_UNKNOWN;
	if ((how == POLICY_ON_TIMEOUT_POSTCOPY && postcopy(policy, at, 0, &action)) ||
	    (how == POLICY_ON_TIMEOUT_STOP && stop(policy, at, 0, &action))) {
		;
	} else {
		action = act(policy, at, POLICY_ACT_GIVE_UP);
		if (how == POLICY_ON_TIMEOUT_POSTCOPY &&
		    policy_postcopy(policy).reason == POLICY_REASON_POSTCOPY_OFF)
			action.advice = POLICY_ADVICE_POSTCOPY;
	}
	action.value = sat_sub(at->now, policy->started);
	action.limit = policy->limits.timeout;
	return action;
}

/*
 * What moves only when stopped does not fit by itself, and what else is left is
 * little beside it, or gets no less: no need to wait for a stall.
 */
static bool stop_only(const struct policy *policy)
{
	uint64_t threshold = policy_threshold(policy);
	uint64_t live = policy_live(&policy->exact);

	if (policy->bandwidth_source == POLICY_BANDWIDTH_UNKNOWN ||
	    policy->exact.unknown || policy->exact.stopcopy <= threshold)
		return false;
	return live <= percent(policy->exact.stopcopy, policy->limits.raise_margin) ||
	       (policy->previous_live != POLICY_UNKNOWN &&
		live >= percent(policy->previous_live, policy->limits.stall_margin));
}

static uint64_t budget(const struct policy *policy, uint64_t now)
{
	if (!policy->limits.timeout)
		return POLICY_UNKNOWN;
	return sat_sub(policy->limits.timeout, sat_sub(now, policy->started));
}

/**
 * policy_act() - when it does not converge: what to do?
 * @policy: the state; what is to be done is noted in it
 * @now: the time
 *
 * To be asked after policy_next() and policy_switchover(), unless that said to
 * switch over. Against a stall it acts once for an iteration, when that has just
 * ended; at the timeout, at any time. After ACT_RAISE policy_recheck() may say to
 * switch over at once.
 */
struct policy_action policy_act(struct policy *policy, uint64_t now)
{
	struct situation at = {
		.policy = policy,
		.now = now,
		.needed = policy->exact_total == POLICY_UNKNOWN ? POLICY_UNKNOWN :
			  policy_downtime_of(policy, policy->exact_total),
		.budget = budget(policy, now),
		.reason = POLICY_REASON_STALL,
	};
	bool boundary = policy->boundary;

	policy->boundary = false;
	if (policy->postcopy_started)
		return nothing(&at, POLICY_REASON_PROGRESS);
	if (policy_timed_out(policy, now))
		return at_timeout(policy, &at);
	if (!boundary || policy_recheck(policy).verdict == POLICY_SWITCHOVER)
		return nothing(&at, POLICY_REASON_PROGRESS);
	if (stop_only(policy))
		at.reason = POLICY_REASON_STOP_ONLY;
	else if (!policy->stall.stalled)
		return nothing(&at, POLICY_REASON_PROGRESS);
	else if (policy->acted &&
		 sat_sub(now, policy->acted_at) < policy->limits.cool_down)
		return nothing(&at, POLICY_REASON_COOL_DOWN);
	else if (!stall_is_minimum(&policy->stall, &policy->limits,
				   policy->exact.unknown ? policy_live(&policy->exact) :
				   policy->exact_total))
		return nothing(&at, POLICY_REASON_WAIT_MINIMUM);
	return against_stall(policy, &at);
}

/**
 * policy_refused() - what policy_act() said can't be done here
 * @policy: the state
 * @act: not to be said again
 */
void policy_refused(struct policy *policy, enum policy_act act)
{
	policy->refused |= 1u << act;
	if (act == POLICY_ACT_POSTCOPY)
		policy->postcopy_started = false;
	policy->boundary = true;
}
