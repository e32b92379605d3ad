// SPDX-License-Identifier: GPL-2.0-or-later
/* Counting, iterating, the bandwidth and the one comparison, rule by rule. */
#include "policy_state.h"

TEST(policy_rule_2_sums_saturate)
{
	struct policy_pending pending = {
		.precopy = UINT64_MAX - 1, .postcopy = 5, .stopcopy = UINT64_MAX,
	};
	struct policy policy = start(300, 0, GIB);

	CHECK(policy_live(&pending) == UINT64_MAX);
	CHECK(policy_total(&pending) == UINT64_MAX);
	/* A wrapped sum would be small, and be switched over. */
	CHECK_EQ(policy_next(&policy, NS_PER_S, &pending).verdict, POLICY_MOVE);
	CHECK_EQ(policy_switchover(&policy, NS_PER_S, &pending, true, NULL).reason,
		 POLICY_REASON_TOO_MUCH);
	CHECK(policy_expected_downtime(&policy) > UINT64_MAX / 2);
	/* Nor where any number seems to fit. */
	policy.limits.downtime = UINT64_MAX;
	CHECK_EQ(policy_recheck(&policy).verdict, POLICY_MOVE);
	pending = (struct policy_pending) { .stopcopy = UINT64_MAX - 7, .precopy = 8 };
	CHECK(policy_total(&pending) == UINT64_MAX);
}

TEST(policy_rule_3_an_unknown_size_blocks_and_is_not_shown)
{
	struct policy_pending pending = { .stopcopy = 100 * GIB, .unknown = "0000:01:00.0" };
	/* So much that what stands for the device would fit. */
	struct policy policy = start(1000, 0, 1000 * GIB);

	CHECK(policy_remaining(&pending) == POLICY_UNKNOWN);
	CHECK_EQ(policy_switchover(&policy, 1, &pending, true, NULL).reason,
		 POLICY_REASON_UNKNOWN_SIZE);
	CHECK_EQ(policy_recheck(&policy).verdict, POLICY_MOVE);
	CHECK(policy_expected_downtime(&policy) == POLICY_UNKNOWN);
	pending.precopy = 1;
	CHECK_EQ(policy_next(&policy, NS_PER_S, &pending).reason,
		 POLICY_REASON_MORE_TO_MOVE);
	/* It has said it. */
	pending = (struct policy_pending) { .stopcopy = 100 * GIB };
	CHECK_EQ(policy_remaining(&pending), 100 * GIB);
	CHECK_EQ(policy_switchover(&policy, 1, &pending, true, NULL).verdict,
		 POLICY_SWITCHOVER);
	CHECK_EQ(policy_expected_downtime(&policy), 100 * NS_PER_MS);
}

TEST(policy_rule_4_live_is_what_can_still_be_moved)
{
	struct policy_pending pending = { .precopy = 3, .postcopy = 4, .stopcopy = 9 };

	CHECK_EQ(policy_live(&pending), 7);
	CHECK_EQ(policy_total(&pending), 16);
}

/* Stop-only data keeps the total above the threshold: iterate all the same. */
TEST(policy_rule_6_iterates_when_all_that_can_be_moved_is_moved)
{
	struct policy_pending pending = { .postcopy = 1, .stopcopy = 2 * GIB };
	struct policy policy = start(300, 0, GIB);

	CHECK_EQ(estimate(&policy, NS_PER_S, 1, 2 * GIB).verdict, POLICY_MOVE);
	CHECK_EQ(estimate(&policy, NS_PER_S, 0, 2 * GIB).verdict, POLICY_ITERATE);
	CHECK_EQ(estimate(&policy, NS_PER_S, 0, 2 * GIB).reason,
		 POLICY_REASON_ALL_MOVED);
	/* With post-copy all of RAM is there: no sync on every loop. */
	CHECK_EQ(policy_next(&policy, NS_PER_S, &pending).verdict, POLICY_MOVE);
}

TEST(policy_rule_6_iterates_when_the_estimate_fits)
{
	struct policy policy = start(1000, 0, 100 * MIB);

	CHECK_EQ(estimate(&policy, NS_PER_S, MIB + 1, 99 * MIB).verdict, POLICY_MOVE);
	CHECK_EQ(estimate(&policy, NS_PER_S, MIB, 99 * MIB).reason,
		 POLICY_REASON_ESTIMATE_FITS);
}

TEST(policy_rule_6_iterates_at_the_latest)
{
	struct policy policy = start(300, 0, GIB);

	CHECK_EQ(estimate(&policy, 10 * NS_PER_S - 1, GIB, 50 * GIB).verdict,
		 POLICY_MOVE);
	CHECK_EQ(estimate(&policy, 10 * NS_PER_S, GIB, 50 * GIB).reason,
		 POLICY_REASON_MAX_ITERATION);
}

TEST(policy_rule_7_iterates_not_too_often)
{
	struct policy policy = start(300, 0, GIB);

	CHECK_EQ(estimate(&policy, 99 * NS_PER_MS, 0, 0).reason,
		 POLICY_REASON_TOO_SOON);
	CHECK_EQ(estimate(&policy, 100 * NS_PER_MS, 0, 0).verdict, POLICY_ITERATE);
	exact(&policy, 100 * NS_PER_MS, GIB, 0);
	CHECK_EQ(estimate(&policy, 199 * NS_PER_MS, 0, 0).verdict, POLICY_MOVE);
	/* A clock that went back is no reason to hurry. */
	CHECK_EQ(estimate(&policy, 0, 0, 0).reason, POLICY_REASON_TOO_SOON);
}

/* The seed's own case: 247045 passes in 337 s. */
TEST(policy_rule_7_passes_between_are_counted)
{
	struct policy policy = start(300, 0, GIB);
	uint64_t taken = 0, i;

	for (i = 1; i <= 247045; i++) {
		if (policy_pass(&policy, i * 337 * NS_PER_S / 247045)) {
			exact(&policy, i * 337 * NS_PER_S / 247045, 0, 2 * GIB);
			taken++;
		}
	}
	CHECK(taken > 3300 && taken <= 3370);
	CHECK_EQ(policy.passes + taken, 247045);
	CHECK_EQ(policy.iteration, 1 + taken);
}

TEST(policy_rule_8_the_first_iteration_is_1)
{
	struct policy policy = start(300, 0, GIB);

	CHECK_EQ(policy.iteration, 1);
	estimate(&policy, NS_PER_S, 0, 0);
	policy_recheck(&policy);
	policy_act(&policy, NS_PER_S);
	CHECK_EQ(policy.iteration, 1);
	exact(&policy, NS_PER_S, GIB, 0);
	CHECK_EQ(policy.iteration, 2);
}

TEST(policy_rule_9_bandwidth_is_measured_and_smoothed)
{
	struct policy policy = start(1000, 0, 0);

	CHECK_EQ(policy_threshold(&policy), 0);
	CHECK_STR(policy_bandwidth_name(policy.bandwidth_source), "unknown");
	CHECK_EQ(exact(&policy, 1, MIB, 0).reason, POLICY_REASON_NO_BANDWIDTH);
	CHECK(policy_expected_downtime(&policy) == POLICY_UNKNOWN);

	sampled(&policy, 100 * MIB, NS_PER_S);
	CHECK_EQ(policy.bandwidth, 100 * MIB);
	CHECK_STR(policy_bandwidth_name(policy.bandwidth_source), "measured");
	sampled(&policy, 200 * MIB, NS_PER_S);
	CHECK_EQ(policy.bandwidth, 140 * MIB);
}

TEST(policy_rule_9_bandwidth_is_kept_without_a_sample_of_use)
{
	struct policy policy = start(1000, 0, 0);

	sampled(&policy, 140 * MIB, NS_PER_S);
	sampled(&policy, GIB, 100 * NS_PER_MS - 1);
	CHECK_EQ(policy.bandwidth, 140 * MIB);
	CHECK_STR(policy_bandwidth_name(policy.bandwidth_source), "kept");
	sampled(&policy, 4 * MIB - 1, NS_PER_S);
	CHECK_EQ(policy.bandwidth, 140 * MIB);
	exact(&policy, 1, GIB, 0);
	CHECK_EQ(policy.bandwidth, 140 * MIB);
	CHECK_STR(policy_bandwidth_name(policy.bandwidth_source), "kept");
	sampled(&policy, 140 * MIB / 10, 100 * NS_PER_MS);
	CHECK_EQ(policy.bandwidth, 140 * MIB);
	CHECK_STR(policy_bandwidth_name(policy.bandwidth_source), "measured");
}

TEST(policy_rule_9_bandwidth_of_the_user_decides)
{
	struct policy policy = start(1000, 0, 7 * MIB);

	sampled(&policy, 100 * MIB, NS_PER_S);
	CHECK_EQ(policy.bandwidth, 7 * MIB);
	CHECK_STR(policy_bandwidth_name(policy.bandwidth_source), "user");
	CHECK_EQ(policy_threshold(&policy), 7 * MIB);
	/* Taken back on the way: it stands until something was measured. */
	policy_set_bandwidth(&policy, 0);
	CHECK_EQ(policy_threshold(&policy), 7 * MIB);
	CHECK_STR(policy_bandwidth_name(policy.bandwidth_source), "kept");
	policy_set_bandwidth(&policy, 9 * MIB);
	CHECK_EQ(policy_threshold(&policy), 9 * MIB);
}

TEST(policy_rule_10_threshold_is_never_below_zero)
{
	struct policy policy = start(100, 200, GIB);

	CHECK_EQ(policy_threshold(&policy), 0);
	CHECK_EQ(exact(&policy, 1, 1, 0).verdict, POLICY_MOVE);
	CHECK_EQ(exact(&policy, 1, 0, 0).verdict, POLICY_SWITCHOVER);

	policy = start(UINT32_MAX, 0, UINT64_MAX);
	CHECK(policy_threshold(&policy) == UINT64_MAX - 1);
	exact(&policy, 1, UINT64_MAX - 1, 0);
	CHECK(policy_expected_downtime(&policy) != POLICY_UNKNOWN);
}

TEST(policy_rule_10_fixed_cost_is_configured_or_measured)
{
	struct policy policy = start(300, 0, GIB);

	CHECK_EQ(policy_threshold(&policy), 300 * GIB / 1000);
	policy_learn_fixed_cost(&policy, 100 * NS_PER_MS);
	CHECK_EQ(policy_threshold(&policy), 200 * GIB / 1000);
	exact(&policy, 1, GIB, 0);
	CHECK_EQ(policy_expected_downtime(&policy), 1100 * NS_PER_MS);
	policy.limits.fixed_cost = 50 * NS_PER_MS;
	CHECK_EQ(policy_threshold(&policy), 250 * GIB / 1000);
}

/* One comparison, for "go exact" and for "complete": what is equal fits. */
/* The next attempt is of the same migration: what it was told, and what it knows. */
TEST(policy_another_attempt_keeps_what_was_set_and_learned)
{
	struct policy policy = start(300, 0, 0);

	policy.limits.timeout = 60 * NS_PER_S;
	policy.limits.max_downtime = NS_PER_S;
	sampled(&policy, 100 * MIB, NS_PER_S);
	CHECK_EQ(policy.bandwidth_source, POLICY_BANDWIDTH_MEASURED);
	policy.limits.downtime = 700 * NS_PER_MS;
	policy_learn_fixed_cost(&policy, 200 * NS_PER_MS);
	policy_again(&policy, 59 * NS_PER_S);
	CHECK_EQ(policy.limits.downtime, 700 * NS_PER_MS);
	CHECK_EQ(policy_fixed_cost(&policy), 200 * NS_PER_MS);
	CHECK_EQ(policy.bandwidth, 100 * MIB);
	CHECK_EQ(policy.bandwidth_source, POLICY_BANDWIDTH_KEPT);
	CHECK_EQ(policy_threshold(&policy), 50 * MIB);
	/* The time goes on. */
	CHECK(!policy_timed_out(&policy, 60 * NS_PER_S - 1));
	CHECK(policy_timed_out(&policy, 60 * NS_PER_S));
}

TEST(policy_another_attempt_forgets_what_was_left)
{
	struct policy policy = start(300, 0, GIB);
	struct policy_pending nothing = {};

	exact(&policy, NS_PER_S, MIB, 0);
	policy.postcopy_started = true;
	policy_again(&policy, 2 * NS_PER_S);
	CHECK_EQ(policy.iteration, 1);
	CHECK_EQ(policy.bandwidth_source, POLICY_BANDWIDTH_USER);
	CHECK_EQ(policy_expected_downtime(&policy), POLICY_UNKNOWN);
	CHECK_EQ(policy_recheck(&policy).verdict, POLICY_MOVE);
	CHECK(!policy.postcopy_started && !policy.stall.stalled);
	/* What was least in the first one is no measure for the second. */
	CHECK_EQ(policy.stall.best, POLICY_UNKNOWN);
	CHECK_EQ(policy_next(&policy, 2 * NS_PER_S, &nothing).reason,
		 POLICY_REASON_TOO_SOON);
}

TEST(policy_rule_11_one_comparison)
{
	struct policy policy = start(1000, 0, 100 * MIB);

	CHECK_EQ(estimate(&policy, NS_PER_S, 100 * MIB, 0).verdict, POLICY_ITERATE);
	CHECK_EQ(exact(&policy, NS_PER_S, 100 * MIB, 0).verdict, POLICY_SWITCHOVER);
	CHECK_EQ(estimate(&policy, 2 * NS_PER_S, 100 * MIB + 1, 0).verdict, POLICY_MOVE);
	CHECK_EQ(exact(&policy, 2 * NS_PER_S, 100 * MIB + 1, 0).reason,
		 POLICY_REASON_TOO_MUCH);
}

TEST(policy_rule_11_never_on_an_estimate)
{
	struct policy policy = start(1000, 0, 100 * MIB);

	exact(&policy, 1, GIB, 0);
	CHECK_EQ(estimate(&policy, NS_PER_S, 0, 0).verdict, POLICY_ITERATE);
	/* The estimate changes nothing of what was exact. */
	CHECK_EQ(policy_recheck(&policy).value, GIB);
	CHECK_EQ(policy_recheck(&policy).verdict, POLICY_MOVE);
	CHECK_EQ(exact(&policy, NS_PER_S, GIB, 0).verdict, POLICY_MOVE);
}

/* A real 2 GiB vGPU: 1.91 GiB that can be moved only while it is stopped. */
TEST(policy_rule_14_worked_example)
{
	const uint64_t total = 1.91 * GIB;
	struct policy policy = start(1909, 0, GIB);
	struct policy_decision decision = exact(&policy, 1, 0, total);
	struct policy_action action = policy_act(&policy, 1);

	CHECK_EQ(decision.verdict, POLICY_MOVE);
	CHECK_EQ(decision.reason, POLICY_REASON_TOO_MUCH);
	CHECK_EQ(decision.value, total);
	CHECK_EQ(decision.limit, policy_threshold(&policy));
	CHECK_EQ(policy_expected_downtime(&policy), 1910 * NS_PER_MS);
	CHECK_EQ(action.reason, POLICY_REASON_STOP_ONLY);
	CHECK_EQ(action.needed_downtime, 1910 * NS_PER_MS);

	policy = start(1910, 0, GIB);
	CHECK_EQ(exact(&policy, 1, 0, total).verdict, POLICY_SWITCHOVER);
	policy = start(2009, 100, GIB);
	CHECK_EQ(exact(&policy, 1, 0, total).verdict, POLICY_MOVE);
	CHECK_EQ(policy_expected_downtime(&policy), 2010 * NS_PER_MS);
	policy = start(2010, 100, GIB);
	CHECK_EQ(exact(&policy, 1, 0, total).verdict, POLICY_SWITCHOVER);
}

TEST(policy_rule_14_of_a_session_set_up_for_postcopy)
{
	struct policy_pending pending = {
		.precopy = 100 * MIB, .postcopy = 50 * GIB, .stopcopy = 200 * MIB,
	};
	struct policy policy = start(300, 10, 1000 * MIB);

	policy.limits.postcopy = true;
	CHECK(policy_expected_downtime(&policy) == POLICY_UNKNOWN);
	CHECK_EQ(policy_switchover(&policy, 1, &pending, true, NULL).verdict,
		 POLICY_MOVE);
	CHECK_EQ(policy_expected_downtime(&policy), 310 * NS_PER_MS);
	policy.limits.postcopy = false;
	CHECK_EQ(policy_expected_downtime(&policy), 51510 * NS_PER_MS);
}

/* A limit of just the expected downtime converges at once. */
TEST(policy_rule_14_the_expected_downtime_is_enough)
{
	struct policy policy = start(1, 0, 333 * MIB + 1);
	uint64_t total;

	for (total = 5; total < 1000 * GIB; total = total * 3 + 1) {
		exact(&policy, 1, total, 0);
		policy.limits.downtime = policy_expected_downtime(&policy);
		CHECK_EQ(policy_recheck(&policy).verdict, POLICY_SWITCHOVER);
		policy.limits.downtime -= 4;
		CHECK_EQ(policy_recheck(&policy).verdict, POLICY_MOVE);
	}
}

TEST(policy_gives_up_after_the_timeout)
{
	struct policy policy = start(1000, 0, GIB);

	policy.limits.timeout = 5 * NS_PER_S;
	CHECK_EQ(estimate(&policy, 5 * NS_PER_S - 1, GIB, 8 * GIB).verdict, POLICY_MOVE);
	CHECK_EQ(estimate(&policy, 5 * NS_PER_S, GIB, 8 * GIB).reason,
		 POLICY_REASON_TIMEOUT);
	CHECK_EQ(exact(&policy, 6 * NS_PER_S, 9 * GIB, 0).verdict, POLICY_GIVE_UP);
	/* Another end is policy_act()'s. */
	policy.limits.on_timeout = POLICY_ON_TIMEOUT_STOP;
	CHECK_EQ(estimate(&policy, 5 * NS_PER_S, GIB, 8 * GIB).verdict, POLICY_MOVE);
	CHECK_EQ(exact(&policy, 6 * NS_PER_S, 9 * GIB, 0).reason,
		 POLICY_REASON_TOO_MUCH);
}
