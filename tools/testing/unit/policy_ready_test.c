// SPDX-License-Identifier: GPL-2.0-or-later
/* Readiness and post-copy. */
#include <string.h>

#include "policy_state.h"

TEST(policy_rule_12_waits_for_sources_that_are_not_ready)
{
	struct policy policy = start(1000, 0, GIB);
	struct policy_pending nothing = {};
	struct policy_decision decision;

	decision = policy_switchover(&policy, 1, &nothing, false, NULL);
	CHECK_EQ(decision.verdict, POLICY_MOVE);
	CHECK_EQ(decision.reason, POLICY_REASON_NOT_READY);
	CHECK_EQ(policy_switchover(&policy, 2, &nothing, true, NULL).verdict,
		 POLICY_SWITCHOVER);
}

TEST(policy_rule_12_a_device_that_begins_anew_after_the_stop)
{
	struct policy policy = start(1000, 0, GIB);
	struct policy_decision decision;

	CHECK_EQ(exact(&policy, 1, MIB, 0).verdict, POLICY_SWITCHOVER);
	CHECK_EQ(policy_final(&policy, true, false, 1, 3).verdict, POLICY_SWITCHOVER);
	decision = policy_final(&policy, false, false, 1, 3);
	CHECK_EQ(decision.verdict, POLICY_RETRY);
	CHECK_STR(policy_reason_name(decision.reason), "reinit");
	CHECK_EQ(policy_final(&policy, false, false, 2, 3).verdict, POLICY_RETRY);
	CHECK_EQ(policy_final(&policy, false, false, 3, 3).verdict, POLICY_GIVE_UP);
	/* A VMM that stops in PRE_COPY_P2P goes on. */
	CHECK_EQ(policy_final(&policy, false, true, 3, 3).verdict, POLICY_MOVE);
}

static struct policy postcopy(struct policy_pending pending, bool ready)
{
	struct policy policy = start(300, 0, 1000 * MIB);

	policy.limits.postcopy = true;
	policy_switchover(&policy, 1, &pending, ready, NULL);
	return policy;
}

TEST(policy_rule_13_postcopy_pays_for_precopy_and_stopcopy)
{
	struct policy_pending pending = {
		.precopy = 100 * MIB, .postcopy = 50 * GIB, .stopcopy = 200 * MIB,
	};
	struct policy policy = postcopy(pending, true);
	struct policy_decision decision = policy_postcopy(&policy);

	CHECK_EQ(decision.verdict, POLICY_SWITCHOVER);
	CHECK_EQ(decision.value, 300 * MIB);
	CHECK_EQ(decision.limit, 300 * MIB);
	pending.precopy++;
	policy = postcopy(pending, true);
	CHECK_EQ(policy_postcopy(&policy).reason, POLICY_REASON_TOO_MUCH);
	pending.precopy--;
	pending.stopcopy++;
	policy = postcopy(pending, true);
	CHECK_EQ(policy_postcopy(&policy).reason, POLICY_REASON_TOO_MUCH);
}

/* The source can't resume: no timeout and no stall gives it up any more. */
TEST(policy_rule_20_nothing_is_done_once_postcopy_has_started)
{
	struct policy_pending pending = { .postcopy = 50 * GIB };
	struct policy policy = postcopy(pending, true);

	policy.limits.timeout = NS_PER_S;
	policy.limits.on_timeout = POLICY_ON_TIMEOUT_POSTCOPY;
	policy.limits.allowed = POLICY_ALLOW_GIVE_UP | POLICY_ALLOW_STOP;
	CHECK_EQ(policy_act(&policy, 2 * NS_PER_S).act, POLICY_ACT_POSTCOPY);
	policy_switchover(&policy, 3 * NS_PER_S, &pending, true, NULL);
	CHECK_EQ(policy_act(&policy, 3 * NS_PER_S).act, POLICY_ACT_NONE);
	/* Unless it did not start after all. */
	policy_refused(&policy, POLICY_ACT_POSTCOPY);
	CHECK_EQ(policy_act(&policy, 4 * NS_PER_S).act, POLICY_ACT_GIVE_UP);
}

TEST(policy_rule_13_postcopy_is_refused_with_the_reason)
{
	struct policy_pending pending = { .postcopy = GIB };
	struct policy policy = start(300, 0, GIB);

	policy.limits.postcopy = true;
	CHECK_EQ(policy_postcopy(&policy).verdict, POLICY_MOVE);
	policy = postcopy(pending, false);
	CHECK_EQ(policy_postcopy(&policy).reason, POLICY_REASON_NOT_READY);
	policy = postcopy(pending, true);
	CHECK_EQ(policy_postcopy(&policy).verdict, POLICY_SWITCHOVER);
	policy.limits.postcopy = false;
	CHECK_STR(policy_reason_name(policy_postcopy(&policy).reason), "postcopy-off");
	pending.no_postcopy = "0000:01:00.0";
	policy = postcopy(pending, true);
	CHECK_STR(policy_reason_name(policy_postcopy(&policy).reason),
		  "postcopy-source");
	pending = (struct policy_pending) { .unknown = "0000:01:00.0" };
	policy = postcopy(pending, true);
	CHECK_EQ(policy_postcopy(&policy).reason, POLICY_REASON_UNKNOWN_SIZE);
}

static bool pays(const struct policy *policy, uint64_t age_ms, uint64_t duration_ms,
		 uint64_t found)
{
	const struct policy_sync last = {
		.time = NS_PER_S, .duration = duration_ms * NS_PER_MS,
		.interval = NS_PER_S, .found = found,
	};

	return policy_sync_pays(policy, NS_PER_S + age_ms * NS_PER_MS, &last);
}

/* Short beside the downtime limit: whatever it may find, but not all of the time. */
TEST(policy_sync_that_is_short_pays)
{
	struct policy policy = start(300, 0, 1000 * MIB);

	CHECK(pays(&policy, 15, 15, 0));
	CHECK(!pays(&policy, 14, 15, 0));
	CHECK(!pays(&policy, 14, 15, GIB));
	CHECK(!pays(&policy, 1000, 16, 0));
	CHECK(pays(&policy, 0, 0, 0));
}

/* 100 ms are 100 MiB: pays when so much was written since the last one. */
TEST(policy_sync_that_finds_more_than_it_costs_pays)
{
	struct policy policy = start(300, 0, 1000 * MIB);
	struct policy_sync last = { .duration = 100 * NS_PER_MS, .found = GIB };

	CHECK(!pays(&policy, 199, 100, 500 * MIB));
	CHECK(pays(&policy, 200, 100, 500 * MIB));
	CHECK(!pays(&policy, 99, 100, 500 * GIB));
	/* A clock that went back, and a first sync. */
	CHECK(!policy_sync_pays(&policy, 0, &(struct policy_sync) {
		.time = 1, .duration = 100 * NS_PER_MS, .interval = 1, .found = GIB }));
	CHECK(!policy_sync_pays(&policy, NS_PER_S, &last));
	/* Without a bandwidth nobody knows. */
	policy = start(300, 0, 0);
	CHECK(!pays(&policy, 1000, 100, GIB));
	CHECK(pays(&policy, 1000, 15, GIB));
}

/* It was decided on exact numbers, and stays so. */
TEST(policy_sync_that_pays_decides_nothing)
{
	struct policy policy = start(300, 0, 1000 * MIB), before;

	CHECK_EQ(exact(&policy, NS_PER_S, 300 * MIB, 0).verdict, POLICY_SWITCHOVER);
	before = policy;
	CHECK(pays(&policy, 100, 1, GIB));
	CHECK(!memcmp(&before, &policy, sizeof(policy)));
}
