// SPDX-License-Identifier: GPL-2.0-or-later
/* The stall detector: a window of 40 s, 96 %, 104 %, patience that halves. */
#include "policy_state.h"

/* A guest that may be stopped for 300 ms, and for a minute if need be. */
static struct policy begin(void)
{
	struct policy policy = start(300, 0, 100 * MIB);

	policy.limits.max_downtime = 60 * NS_PER_S;
	return policy;
}

static struct policy_action at(struct policy *policy, uint64_t seconds,
			       uint64_t remaining)
{
	exact(policy, seconds * NS_PER_S, remaining, 0);
	return policy_act(policy, seconds * NS_PER_S);
}

TEST(policy_rule_16_a_stall_is_no_progress_for_the_window)
{
	struct policy policy = begin();
	uint64_t s;

	for (s = 1; s <= 40; s++) {
		CHECK_EQ(at(&policy, s, GIB).reason, POLICY_REASON_PROGRESS);
		CHECK(!policy.stall.stalled);
	}
	/* The slots are a part of the window long. */
	at(&policy, 42, GIB);
	CHECK(policy.stall.stalled);
}

TEST(policy_rule_16_what_is_in_the_window_does_not_count)
{
	struct policy policy = begin();
	uint64_t s;

	/* Falls slowly, but by more than 4 % in 40 s. */
	for (s = 1; s < 1000; s++) {
		CHECK_EQ(at(&policy, s, (1000 - s) * GIB).reason,
			 POLICY_REASON_PROGRESS);
		if (s > 900)
			break;
	}
	CHECK(!policy.stall.stalled);
}

TEST(policy_rule_16_a_margin_of_96_percent)
{
	struct policy policy = begin();

	at(&policy, 1, 100 * GIB);
	at(&policy, 60, 96 * GIB - 1);
	CHECK(!policy.stall.stalled);
	policy = begin();
	at(&policy, 1, 100 * GIB);
	at(&policy, 60, 96 * GIB);
	CHECK(policy.stall.stalled);
	/* It went on after all. */
	at(&policy, 61, 95 * GIB);
	CHECK(!policy.stall.stalled);
}

TEST(policy_rule_16_waits_for_a_local_minimum)
{
	struct policy policy = begin();

	at(&policy, 1, 100 * MIB);
	CHECK_EQ(at(&policy, 50, 105 * MIB).reason, POLICY_REASON_WAIT_MINIMUM);
	CHECK_EQ(at(&policy, 51, 200 * MIB).act, POLICY_ACT_NONE);
	CHECK_EQ(at(&policy, 52, 104 * MIB + 1).act, POLICY_ACT_NONE);
	CHECK_EQ(at(&policy, 53, 104 * MIB).act, POLICY_ACT_RAISE);
}

/* The best does not come back: after 40 s, then 20, then 10, what does will do. */
TEST(policy_rule_16_patience_halves)
{
	struct policy policy = begin();
	uint64_t s;

	at(&policy, 1, 100 * MIB);
	for (s = 50; s < 90; s++)
		CHECK_EQ(at(&policy, s, 200 * MIB).reason,
			 POLICY_REASON_WAIT_MINIMUM);
	CHECK_EQ(policy.stall.patience, 40 * NS_PER_S);
	/* What the 40 s had as their least is the target now: 200 MiB. */
	CHECK_EQ(at(&policy, 90, 300 * MIB).reason, POLICY_REASON_WAIT_MINIMUM);
	CHECK_EQ(policy.stall.patience, 20 * NS_PER_S);
	for (s = 91; s < 110; s++)
		CHECK_EQ(at(&policy, s, 300 * MIB).reason,
			 POLICY_REASON_WAIT_MINIMUM);
	CHECK_EQ(at(&policy, 110, 300 * MIB).act, POLICY_ACT_RAISE);
	CHECK_EQ(policy.stall.patience, 10 * NS_PER_S);
}

TEST(policy_rule_16_the_parameters_are_parameters)
{
	struct policy policy = begin();

	policy.limits.stall_window = 4 * NS_PER_S;
	policy.limits.stall_margin = 50;
	policy.limits.local_minimum = 120;
	at(&policy, 1, 100 * MIB);
	at(&policy, 6, 49 * MIB);
	CHECK(!policy.stall.stalled);
	policy = begin();
	policy.limits.stall_window = 4 * NS_PER_S;
	policy.limits.stall_margin = 50;
	policy.limits.local_minimum = 120;
	at(&policy, 1, 100 * MIB);
	CHECK_EQ(at(&policy, 6, 120 * MIB).act, POLICY_ACT_RAISE);
}

TEST(policy_rule_16_a_timeout_makes_the_window_shorter)
{
	struct policy policy = begin();

	policy.limits.timeout = 20 * NS_PER_S;
	at(&policy, 1, 100 * MIB);
	CHECK_EQ(at(&policy, 5, 100 * MIB).reason, POLICY_REASON_PROGRESS);
	CHECK_EQ(at(&policy, 7, 100 * MIB).act, POLICY_ACT_RAISE);
}

/* migctl set: what was seen by then leaves the new window as if it was seen then. */
TEST(policy_rule_16_a_longer_timeout_meanwhile)
{
	struct policy policy = begin();

	policy.limits.timeout = 40 * NS_PER_S;
	at(&policy, 1, 100 * MIB);
	at(&policy, 4, 200 * MIB);
	policy.limits.timeout = 400 * NS_PER_S;
	at(&policy, 5, 200 * MIB);
	at(&policy, 44, 150 * MIB);
	CHECK(!policy.stall.stalled);
	at(&policy, 46, 150 * MIB);
	CHECK(policy.stall.stalled);
	CHECK_EQ(policy.stall.target, 100 * MIB);
	CHECK_EQ(policy.stall.patience, 40 * NS_PER_S);
}

TEST(policy_rule_16_a_shorter_timeout_meanwhile)
{
	struct policy policy = begin();

	at(&policy, 1, 100 * MIB);
	at(&policy, 20, 100 * MIB);
	policy.limits.timeout = 40 * NS_PER_S;
	at(&policy, 21, 100 * MIB);
	CHECK(!policy.stall.stalled);
	at(&policy, 30, 100 * MIB);
	CHECK(!policy.stall.stalled);
	at(&policy, 32, 100 * MIB);
	CHECK(policy.stall.stalled);
	CHECK_EQ(policy.stall.patience, 10 * NS_PER_S);
}

/* What stands for a size that nobody knows is no stall while RAM gets less. */
TEST(policy_rule_16_of_what_is_known)
{
	struct policy policy = begin();
	struct policy_pending pending = { .stopcopy = 100 * GIB, .unknown = "gpu" };
	uint64_t s;

	for (s = 1; s < 100; s++) {
		pending.precopy = (100 - s) * MIB;
		policy_switchover(&policy, s * NS_PER_S, &pending, true, NULL);
		CHECK(!policy.stall.stalled);
	}
}
