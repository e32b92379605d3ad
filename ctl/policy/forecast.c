// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/units.h"
#include "policy/forecast.h"
#include "policy/internal.h"

/* More would be no forecast, but a wait: at 100 ms each, most of an hour. */
#define ITERATIONS_MAX	30000

static uint64_t between(uint64_t x, struct forecast_point from,
			struct forecast_point to)
{
	if (to.window <= from.window)
		return to.bytes;
	return sat_add(from.bytes, mul_div(x - from.window,
					   sat_sub(to.bytes, from.bytes),
					   to.window - from.window));
}

uint64_t forecast_written(const struct forecast_guest *guest, uint64_t window)
{
	struct forecast_point from = {}, to = {};
	uint64_t bytes;
	size_t i;

	for (i = 0; i < guest->n; i++) {
		from = to;
		to = guest->points[i];
		if (window <= to.window)
			break;
	}
	bytes = between(window, from, to);
	return bytes < guest->memory ? bytes : guest->memory;
}

/*
 * What is left of memory and devices between two syncs, and the time. The guest
 * writes in its working set only, of @set bytes; the rest is @cold when it has been
 * sent. The mover goes through memory in rounds and has @passed so much of the set
 * in this one: what is written @behind it waits for the next round, and does not
 * delay what is @ahead.
 */
struct run {
	const struct forecast_guest *guest;
	struct policy policy;
	uint64_t now;
	uint64_t set;
	uint64_t passed;
	uint64_t ahead;
	uint64_t behind;
	uint64_t cold;
	uint64_t bytes;
};

static uint64_t live(const struct run *run)
{
	return sat_add(sat_add(run->ahead, run->behind), run->cold);
}

static void begin(struct run *run, const struct forecast_guest *guest,
		  const struct policy_limits *limits)
{
	size_t n = guest->n;

	*run = (struct run) {
		.guest = guest,
		.set = n ? forecast_written(guest, guest->points[n - 1].window) : 0,
	};
	run->ahead = run->set;
	run->cold = sat_add(guest->memory - run->set, guest->precopy);
	policy_init(&run->policy, limits, 0);
}

static struct policy_pending pending(const struct run *run)
{
	return (struct policy_pending) {
		.precopy = live(run),
		.stopcopy = run->guest->stopcopy,
		.unknown = run->guest->unknown,
	};
}

/* How long the policy lets it move before it wants the next sync. */
static uint64_t iteration_time(const struct run *run)
{
	const struct policy *policy = &run->policy;
	uint64_t room = sat_sub(policy_threshold(policy), run->guest->stopcopy);
	uint64_t to_send = live(run);
	uint64_t time;

	if (!run->guest->unknown && run->guest->stopcopy <= policy_threshold(policy))
		to_send = sat_sub(to_send, room);
	time = mul_div_up(to_send, NS_PER_S, policy->bandwidth);
	if (time < policy->limits.min_interval)
		return policy->limits.min_interval;
	return time < policy->limits.max_iteration ? time :
						     policy->limits.max_iteration;
}

/* A part of what is ahead: the set lies evenly in memory. */
static void advance(struct run *run, uint64_t bytes)
{
	uint64_t all = sat_add(run->ahead, run->cold);
	uint64_t hot;

	if (!bytes)
		return;
	hot = mul_div(bytes, run->ahead, all);
	run->passed += mul_div(bytes, run->set - run->passed, all);
	run->ahead -= hot;
	run->cold = sat_sub(run->cold, bytes - hot);
}

static void next_round(struct run *run)
{
	run->ahead = run->behind;
	run->behind = 0;
	run->cold = 0;
	run->passed = 0;
}

static uint64_t send(struct run *run, uint64_t time)
{
	uint64_t room = mul_div(run->policy.bandwidth, time, NS_PER_S);
	uint64_t sent = room < live(run) ? room : live(run);
	uint64_t round = sat_add(run->ahead, run->cold);

	if (sent < round) {
		advance(run, sent);
		return sent;
	}
	next_round(run);
	advance(run, sent - round);
	return sent;
}

static void iterate(struct run *run)
{
	uint64_t time = iteration_time(run);
	uint64_t written = forecast_written(run->guest, time);

	run->now = sat_add(run->now, time);
	run->bytes = sat_add(run->bytes, send(run, time));
	/* A set that grows takes from the rest. */
	if (written > run->set)
		run->set = written;
	if (!run->set)
		return;
	/* It hits what is left anyway as often as the rest of the set. */
	run->ahead = sat_add(run->ahead,
			     mul_div(written, sat_sub(run->set - run->passed, run->ahead),
				     run->set));
	run->behind = sat_add(run->behind,
			      mul_div(written, sat_sub(run->passed, run->behind), run->set));
}

static void converged(struct forecast *forecast, const struct run *run)
{
	forecast->converges = true;
	forecast->reason = POLICY_REASON_FITS;
	forecast->left = run->policy.exact_total;
	forecast->downtime = policy_expected_downtime(&run->policy);
	forecast->brownout = run->now;
	forecast->total = sat_add(run->now, forecast->downtime);
	forecast->bytes = sat_add(run->bytes, forecast->left);
}

static void not_converged(struct forecast *forecast, const struct run *run,
			  enum policy_reason reason)
{
	forecast->converges = false;
	forecast->reason = reason;
	forecast->total = POLICY_UNKNOWN;
	forecast->downtime = POLICY_UNKNOWN;
	forecast->brownout = run->now;
	forecast->bytes = run->bytes;
}

static void make(struct forecast *forecast, const struct forecast_guest *guest,
		 const struct policy_limits *limits)
{
	struct policy_decision decision;
	struct policy_action action;
	struct policy_pending left;
	struct run run;

	*forecast = (struct forecast) {
		.left = POLICY_UNKNOWN,
		.needed_downtime = POLICY_UNKNOWN,
		.needed_bandwidth = POLICY_UNKNOWN,
	};
	begin(&run, guest, limits);
	for (;;) {
		iterate(&run);
		left = pending(&run);
		decision = policy_switchover(&run.policy, run.now, &left, true, NULL);
		forecast->iterations = run.policy.iteration - 1;
		if (decision.verdict == POLICY_SWITCHOVER) {
			converged(forecast, &run);
			return;
		}
		if (run.policy.exact_total < forecast->left)
			forecast->left = run.policy.exact_total;
		/* Where something would have to be done, it does not converge. */
		action = policy_act(&run.policy, run.now);
		if (action.reason != POLICY_REASON_PROGRESS &&
		    action.reason != POLICY_REASON_WAIT_MINIMUM) {
			not_converged(forecast, &run, action.reason);
			return;
		}
		if (forecast->iterations >= ITERATIONS_MAX) {
			not_converged(forecast, &run, POLICY_REASON_STALL);
			return;
		}
	}
}

static bool converges(const struct forecast_guest *guest,
		      const struct policy_limits *limits)
{
	struct forecast forecast;

	make(&forecast, guest, limits);
	return forecast.converges;
}

/* The least value of a limit, within a thousandth, at which it converges. */
static uint64_t least(const struct forecast_guest *guest, struct policy_limits *limits,
		      uint64_t *limit)
{
	uint64_t low = *limit, high;

	do {
		if (*limit > UINT64_MAX / 4)
			return POLICY_UNKNOWN;
		*limit = *limit * 2 + 1;
	} while (!converges(guest, limits));
	high = *limit;
	while (high - low > high / 1000 + 1) {
		*limit = low + (high - low) / 2;
		if (converges(guest, limits))
			high = *limit;
		else
			low = *limit;
	}
	return high;
}

/**
 * forecast_make() - would it converge, and what would it take?
 * @forecast: filled
 * @guest: what was seen of it
 * @limits: what the user allows, with the bandwidth; nothing is done against a stall
 */
void forecast_make(struct forecast *forecast, const struct forecast_guest *guest,
		   const struct policy_limits *limits)
{
	struct policy_limits asked = *limits, other;

	make(forecast, guest, &asked);
	/* What is left of a device whose size nobody knows is not known either. */
	if (guest->unknown)
		forecast->left = POLICY_UNKNOWN;
	if (forecast->converges || guest->unknown)
		return;
	/* A timeout is met by another guest, not by another limit. */
	asked.timeout = 0;
	other = asked;
	forecast->needed_downtime = least(guest, &other, &other.downtime);
	other = asked;
	if (asked.downtime > asked.fixed_cost)
		forecast->needed_bandwidth = least(guest, &other, &other.bandwidth);
}
