// SPDX-License-Identifier: GPL-2.0-or-later
/* The rules of iterating and switching over, each as its own test. */
#include "common/units.h"
#include "policy/policy.h"
#include "unit.h"

#define MIB	(1ull << 20)
#define GIB	(1ull << 30)

static struct policy start(uint64_t downtime_ms, uint64_t fixed_ms,
			   uint64_t bandwidth)
{
	struct policy_limits limits = policy_default_limits;
	struct policy policy;

	limits.downtime = downtime_ms * NS_PER_MS;
	limits.fixed_cost = fixed_ms * NS_PER_MS;
	limits.bandwidth = bandwidth;
	policy_init(&policy, &limits, 0);
	return policy;
}

static struct policy_decision next(struct policy *policy, uint64_t now,
				   uint64_t total, uint64_t live)
{
	struct policy_pending pending = { .precopy = live, .stopcopy = total - live };

	return policy_next(policy, now, &pending);
}

static struct policy_decision boundary(struct policy *policy, uint64_t now,
				       uint64_t total,
				       const struct policy_sample *sample)
{
	struct policy_pending pending = { .precopy = total };

	return policy_switchover(policy, now, &pending, true, sample);
}

static struct policy_decision exact(struct policy *policy, uint64_t total)
{
	return boundary(policy, NS_PER_S, total, NULL);
}

/* A real 2 GiB vGPU: 1.91 GiB that can be moved only while it is stopped. */
TEST(policy_worked_example)
{
	const uint64_t total = 1.91 * GIB;
	struct policy policy = start(1909, 0, GIB);
	struct policy_decision decision = exact(&policy, total);

	CHECK_EQ(decision.verdict, POLICY_MOVE);
	CHECK_EQ(decision.reason, POLICY_REASON_TOO_MUCH);
	CHECK_EQ(decision.value, total);
	CHECK_EQ(decision.limit, policy_threshold(&policy));
	CHECK_EQ(policy_expected_downtime(&policy), 1910 * NS_PER_MS);

	policy = start(1910, 0, GIB);
	CHECK_EQ(exact(&policy, total).verdict, POLICY_SWITCHOVER);
	policy = start(2009, 100, GIB);
	CHECK_EQ(exact(&policy, total).verdict, POLICY_MOVE);
	policy = start(2010, 100, GIB);
	CHECK_EQ(exact(&policy, total).verdict, POLICY_SWITCHOVER);
	CHECK_EQ(policy_expected_downtime(&policy), 2010 * NS_PER_MS);
}

/* Stop-only data keeps the total above the threshold: iterate all the same. */
TEST(policy_iterates_when_all_that_can_be_moved_is_moved)
{
	struct policy policy = start(300, 0, GIB);

	CHECK_EQ(next(&policy, NS_PER_S, 2 * GIB, 1).verdict, POLICY_MOVE);
	CHECK_EQ(next(&policy, NS_PER_S, 2 * GIB, 0).verdict, POLICY_ITERATE);
	CHECK_EQ(next(&policy, NS_PER_S, 2 * GIB, 0).reason,
		 POLICY_REASON_ALL_MOVED);
}

TEST(policy_iterates_when_the_estimate_fits)
{
	struct policy policy = start(1000, 0, 100 * MIB);

	CHECK_EQ(next(&policy, NS_PER_S, 100 * MIB + 1, MIB).verdict, POLICY_MOVE);
	CHECK_EQ(next(&policy, NS_PER_S, 100 * MIB, MIB).reason,
		 POLICY_REASON_ESTIMATE_FITS);
	/* "Fits" is one comparison: an equal exact total switches over. */
	CHECK_EQ(exact(&policy, 100 * MIB + 1).verdict, POLICY_MOVE);
	CHECK_EQ(exact(&policy, 100 * MIB).verdict, POLICY_SWITCHOVER);
}

TEST(policy_iterates_not_too_often_and_not_too_late)
{
	struct policy policy = start(300, 0, GIB);

	CHECK_EQ(next(&policy, 99 * NS_PER_MS, 0, 0).reason,
		 POLICY_REASON_TOO_SOON);
	CHECK_EQ(next(&policy, 100 * NS_PER_MS, 0, 0).verdict, POLICY_ITERATE);
	CHECK_EQ(next(&policy, 10 * NS_PER_S - 1, 50 * GIB, GIB).verdict,
		 POLICY_MOVE);
	CHECK_EQ(next(&policy, 10 * NS_PER_S, 50 * GIB, GIB).reason,
		 POLICY_REASON_MAX_ITERATION);
}

TEST(policy_bandwidth_is_measured_smoothed_and_kept)
{
	struct policy_sample sample = { 100 * MIB, NS_PER_S };
	struct policy policy = start(1000, 0, 0);

	CHECK_EQ(policy_threshold(&policy), 0);
	CHECK_EQ(boundary(&policy, 1, MIB, NULL).reason,
		 POLICY_REASON_NO_BANDWIDTH);
	CHECK_STR(policy_bandwidth_name(policy.bandwidth_source), "unknown");
	CHECK(policy_expected_downtime(&policy) == POLICY_UNKNOWN);

	boundary(&policy, 1, GIB, &sample);
	CHECK_EQ(policy.bandwidth, 100 * MIB);
	CHECK_STR(policy_bandwidth_name(policy.bandwidth_source), "measured");

	sample.bytes = 200 * MIB;
	boundary(&policy, 1, GIB, &sample);
	CHECK_EQ(policy.bandwidth, 140 * MIB);

	/* Too short, too little, none: the last one is kept. */
	sample = (struct policy_sample){ GIB, 99 * NS_PER_MS };
	boundary(&policy, 1, GIB, &sample);
	CHECK_EQ(policy.bandwidth, 140 * MIB);
	CHECK_STR(policy_bandwidth_name(policy.bandwidth_source), "kept");
	sample = (struct policy_sample){ 4 * MIB - 1, NS_PER_S };
	boundary(&policy, 1, GIB, &sample);
	CHECK_EQ(policy.bandwidth, 140 * MIB);
	boundary(&policy, 1, GIB, NULL);
	CHECK_STR(policy_bandwidth_name(policy.bandwidth_source), "kept");
}

TEST(policy_bandwidth_of_the_user_decides)
{
	struct policy_sample sample = { 100 * MIB, NS_PER_S };
	struct policy policy = start(1000, 0, 7 * MIB);

	boundary(&policy, 1, GIB, &sample);
	CHECK_EQ(policy.bandwidth, 7 * MIB);
	CHECK_STR(policy_bandwidth_name(policy.bandwidth_source), "user");
	CHECK_EQ(policy_threshold(&policy), 7 * MIB);
}

TEST(policy_threshold_is_never_below_zero)
{
	struct policy policy = start(100, 200, GIB);

	CHECK_EQ(policy_threshold(&policy), 0);
	CHECK_EQ(exact(&policy, 1).verdict, POLICY_MOVE);
	CHECK_EQ(exact(&policy, 0).verdict, POLICY_SWITCHOVER);

	policy = start(UINT32_MAX, 0, UINT64_MAX);
	CHECK(policy_threshold(&policy) == UINT64_MAX);
	exact(&policy, UINT64_MAX - 1);
	CHECK(policy_expected_downtime(&policy) != POLICY_UNKNOWN);
}

TEST(policy_waits_for_sources_that_are_not_ready)
{
	struct policy policy = start(1000, 0, GIB);
	struct policy_decision decision;

	decision = policy_switchover(&policy, 1, &(struct policy_pending){}, false, NULL);
	CHECK_EQ(decision.verdict, POLICY_MOVE);
	CHECK_EQ(decision.reason, POLICY_REASON_NOT_READY);
}

TEST(policy_gives_up_after_the_timeout)
{
	struct policy policy = start(1000, 0, GIB);

	policy.limits.timeout = 5 * NS_PER_S;
	CHECK_EQ(next(&policy, 5 * NS_PER_S - 1, 9 * GIB, GIB).verdict,
		 POLICY_MOVE);
	CHECK_EQ(next(&policy, 5 * NS_PER_S, 9 * GIB, GIB).reason,
		 POLICY_REASON_TIMEOUT);
	CHECK_EQ(boundary(&policy, 6 * NS_PER_S, 9 * GIB, NULL).verdict,
		 POLICY_GIVE_UP);
}
