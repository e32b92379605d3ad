// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What holds for any history: random ones, with hostile numbers. POLICY_SEED in the
 * environment makes others; each run says which it had.
 */
#include <stdlib.h>

#include "policy_state.h"

#define HISTORIES	4000
#define STEPS		50

static uint64_t state;

static uint64_t random_u64(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t below(uint64_t n)
{
	return random_u64() % n;
}

static bool one_in(uint64_t n)
{
	return !below(n);
}

static void seed(void)
{
	const char *text = getenv("POLICY_SEED");

	state = text ? strtoull(text, NULL, 0) : 20250701;
	printf("# POLICY_SEED=%llu\n", (unsigned long long)state);
	if (!state)
		state = 1;
}

/* Of any magnitude, the ends more often than others. */
static uint64_t any(void)
{
	switch (below(12)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX - below(3);
	case 2:
		return INT64_MAX - 1 + below(3);
	default:
		return random_u64() >> below(64);
	}
}

/* As a real guest would have it, in most cases. */
static uint64_t bytes(void)
{
	return one_in(4) ? any() : below(64 * GIB) >> below(36);
}

static uint64_t time_of(uint64_t max_ms)
{
	return one_in(20) ? any() : below(max_ms * NS_PER_MS);
}

static struct policy_limits random_limits(void)
{
	struct policy_limits limits = policy_default_limits;

	limits.downtime = time_of(2000);
	limits.max_downtime = one_in(2) ? 0 : time_of(20000);
	limits.fixed_cost = one_in(2) ? 0 : time_of(500);
	limits.bandwidth = one_in(3) ? bytes() : 0;
	limits.timeout = one_in(2) ? 0 : time_of(200000);
	limits.on_timeout = (enum policy_on_timeout)below(3);
	limits.allowed = (unsigned int)below(16);
	limits.postcopy = one_in(2);
	limits.stall_window = one_in(2) ? limits.stall_window : time_of(80000);
	limits.raise_step = one_in(2) ? limits.raise_step : below(NS_PER_S);
	limits.cool_down = time_of(5000);
	return limits;
}

static struct policy_pending random_pending(void)
{
	return (struct policy_pending) {
		.precopy = bytes(),
		.postcopy = one_in(2) ? bytes() : 0,
		.stopcopy = one_in(2) ? bytes() : 0,
		.unknown = one_in(8) ? "0000:01:00.0" : NULL,
		.no_postcopy = one_in(4) ? "0000:01:00.0" : NULL,
	};
}

/* Computed in another way than the policy does. */
static long double sum(const struct policy_pending *pending)
{
	return (long double)pending->precopy + pending->postcopy + pending->stopcopy;
}

static long double cost(const struct policy *policy)
{
	return policy->limits.fixed_cost ? policy->limits.fixed_cost :
					   policy->measured_cost;
}

static long double threshold(const struct policy *policy)
{
	long double room = (long double)policy->limits.downtime - cost(policy);

	if (room <= 0 || policy->bandwidth_source == POLICY_BANDWIDTH_UNKNOWN)
		return 0;
	return (long double)policy->bandwidth * room / NS_PER_S;
}

static void check_numbers(const struct policy *policy, uint64_t max_downtime,
			  uint64_t first_downtime)
{
	uint64_t expected = policy_expected_downtime(policy);
	long double limit = threshold(policy);

	CHECK(limit >= (long double)UINT64_MAX ?
	      policy_threshold(policy) >= UINT64_MAX - 1 :
	      (long double)policy_threshold(policy) <= limit + 1 &&
	      (long double)policy_threshold(policy) >= limit - 1 - limit / 1e15L);
	CHECK(policy->limits.downtime <= max_downtime ||
	      policy->limits.downtime == first_downtime);
	CHECK(policy->limits.downtime >= first_downtime);
	if (expected == POLICY_UNKNOWN) {
		CHECK(policy->iteration == 1 || policy->exact.unknown ||
		      policy->bandwidth_source == POLICY_BANDWIDTH_UNKNOWN ||
		      !policy->bandwidth);
		return;
	}
	CHECK(policy->iteration > 1 && !policy->exact.unknown && policy->bandwidth);
	CHECK((long double)expected >= cost(policy) || expected == UINT64_MAX - 1);
}

static void check_switchover(const struct policy *policy,
			     const struct policy_pending *pending, bool ready,
			     struct policy_decision decision)
{
	bool fits = sum(pending) <= (long double)policy_threshold(policy);

	if (decision.verdict == POLICY_GIVE_UP)
		return;
	CHECK(decision.verdict == POLICY_MOVE || decision.verdict == POLICY_SWITCHOVER);
	CHECK((decision.verdict == POLICY_SWITCHOVER) ==
	      (fits && ready && !pending->unknown));
}

static void check_action(const struct policy *policy, struct policy_action action,
			 unsigned int allowed, bool late)
{
	switch (action.act) {
	case POLICY_ACT_RAISE:
		CHECK_EQ(action.downtime, policy->limits.downtime);
		CHECK(!policy->exact.unknown);
		break;
	case POLICY_ACT_THROTTLE:
		CHECK(allowed & POLICY_ALLOW_THROTTLE);
		CHECK(action.throttle <= policy->limits.throttle_max);
		break;
	case POLICY_ACT_POSTCOPY:
		CHECK(late || allowed & POLICY_ALLOW_POSTCOPY);
		CHECK(policy->limits.postcopy && policy->ready &&
		      !policy->exact.no_postcopy && !policy->exact.unknown);
		CHECK((long double)policy->exact.precopy + policy->exact.stopcopy <=
		      threshold(policy) + 1);
		break;
	case POLICY_ACT_STOP:
		CHECK(late || allowed & POLICY_ALLOW_STOP);
		CHECK(policy->ready && policy->iteration > 1);
		break;
	case POLICY_ACT_GIVE_UP:
		CHECK(late || allowed & POLICY_ALLOW_GIVE_UP);
		break;
	case POLICY_ACT_NONE:
		break;
	}
}

static bool is_late(const struct policy *policy, uint64_t now)
{
	return policy->limits.timeout &&
	       now - policy->started >= policy->limits.timeout;
}

/* Between two syncs: nothing but "sync now" comes of it. */
static void move_on(struct policy *policy, uint64_t now)
{
	struct policy_pending pending = random_pending();
	struct policy_decision decision = policy_next(policy, now, &pending);

	CHECK(decision.verdict == POLICY_MOVE || decision.verdict == POLICY_ITERATE ||
	      (decision.verdict == POLICY_GIVE_UP && is_late(policy, now)));
}

static void synced(struct policy *policy, uint64_t now)
{
	struct policy_sample sample = { .bytes = bytes(), .time = time_of(10000) };
	struct policy_pending pending = random_pending();
	struct policy_decision decision;
	uint64_t iteration = policy->iteration;
	bool ready = !one_in(5);

	decision = policy_switchover(policy, now, &pending, ready,
				     one_in(3) ? NULL : &sample);
	CHECK_EQ(policy->iteration, iteration + 1);
	check_switchover(policy, &pending, ready, decision);
}

static void history(void)
{
	struct policy_limits limits = random_limits();
	uint64_t now = below(1000 * NS_PER_S), iteration;
	struct policy_action action;
	struct policy policy;
	int i;

	policy_init(&policy, &limits, now);
	CHECK_EQ(policy.iteration, 1);
	CHECK(policy_expected_downtime(&policy) == POLICY_UNKNOWN);
	if (one_in(3))
		policy_learn_fixed_cost(&policy, time_of(300));
	for (i = 0; i < STEPS && !unit_failed; i++) {
		iteration = policy.iteration;
		now += below(15 * NS_PER_S) >> below(20);
		if (one_in(3))
			move_on(&policy, now);
		else if (!one_in(4) || policy_pass(&policy, now))
			synced(&policy, now);
		action = policy_act(&policy, now);
		check_action(&policy, action, limits.allowed, is_late(&policy, now));
		check_numbers(&policy, limits.max_downtime, limits.downtime);
		CHECK(policy.iteration >= iteration);
	}
}

TEST(policy_any_history)
{
	int i;

	seed();
	for (i = 0; i < HISTORIES && !unit_failed; i++)
		history();
	printf("# %d steps\n", HISTORIES * STEPS);
}

/* The detector's memory is bounded: compared with one that keeps everything. */
TEST(policy_any_stall)
{
	struct policy policy;
	uint64_t remaining[400], when[400], now, best, s;
	int round, i, n;

	seed();
	for (round = 0; round < 300 && !unit_failed; round++) {
		policy = start(1, 0, 1);
		now = 0;
		for (n = 0; n < 400 && !unit_failed; n++) {
			now += below(500 * NS_PER_MS);
			remaining[n] = 50 * MIB + below(one_in(9) ? 100 * GIB : 8 * MIB);
			when[n] = now;
			exact(&policy, now, remaining[n], 0);
			best = UINT64_MAX;
			/* A slot is a 63rd of the window long. */
			s = policy.limits.stall_window / 63 + 2;
			for (i = 0; i <= n; i++) {
				if (now - when[i] >= policy.limits.stall_window + s &&
				    remaining[i] < best)
					best = remaining[i];
			}
			/* All that is old is known, and nothing that is not. */
			CHECK(policy.stall.best <= best);
			best = UINT64_MAX;
			for (i = 0; i <= n; i++) {
				if (now - when[i] >= policy.limits.stall_window &&
				    remaining[i] < best)
					best = remaining[i];
			}
			CHECK(policy.stall.best >= best);
			CHECK(!policy.stall.stalled ||
			      remaining[n] >= policy.stall.best * 96 / 100);
		}
	}
}
