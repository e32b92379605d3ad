// SPDX-License-Identifier: GPL-2.0-or-later
/* What is done against a stall, in order, each only if allowed. */
#include "policy_state.h"

/* 1 GiB that gets no less, at 100 MiB/s: 10.24 s. */
static struct policy stalled(uint64_t max_downtime, unsigned int allowed)
{
	struct policy policy = start(300, 0, 100 * MIB);

	policy.limits.max_downtime = max_downtime;
	policy.limits.allowed = allowed;
	exact(&policy, NS_PER_S, GIB, 0);
	policy_act(&policy, NS_PER_S);
	return policy;
}

static struct policy_action again(struct policy *policy, uint64_t seconds)
{
	exact(policy, seconds * NS_PER_S, GIB, 0);
	return policy_act(policy, seconds * NS_PER_S);
}

TEST(policy_rule_17_raises_to_what_is_needed_and_a_margin)
{
	struct policy policy = stalled(60 * NS_PER_S, ~0u);
	struct policy_action action = again(&policy, 60);

	CHECK_EQ(action.act, POLICY_ACT_RAISE);
	CHECK_EQ(action.reason, POLICY_REASON_STALL);
	CHECK_EQ(action.value, GIB);
	CHECK_EQ(action.limit, 30 * MIB);
	CHECK_EQ(action.needed_downtime, 10240 * NS_PER_MS);
	/* And 5 %, in steps of 10 ms. */
	CHECK_EQ(action.downtime, 10760 * NS_PER_MS);
	CHECK_EQ(policy.limits.downtime, 10760 * NS_PER_MS);
	CHECK_EQ(policy_recheck(&policy).verdict, POLICY_SWITCHOVER);
}

TEST(policy_rule_17_raises_no_further_than_allowed)
{
	struct policy policy = stalled(10500 * NS_PER_MS, 0);
	struct policy_action action = again(&policy, 60);

	CHECK_EQ(action.downtime, 10500 * NS_PER_MS);
	CHECK_EQ(policy_recheck(&policy).verdict, POLICY_SWITCHOVER);
	/* Not enough now: a moment with less may come. */
	policy = stalled(5 * NS_PER_S, 0);
	action = again(&policy, 60);
	CHECK_EQ(action.act, POLICY_ACT_RAISE);
	CHECK_EQ(action.downtime, 5 * NS_PER_S);
	CHECK_EQ(policy_recheck(&policy).verdict, POLICY_MOVE);
	action = again(&policy, 70);
	CHECK_EQ(action.act, POLICY_ACT_NONE);
	CHECK_EQ(action.reason, POLICY_REASON_MAX_DOWNTIME);
	CHECK_EQ(action.value, 10240 * NS_PER_MS);
	CHECK_EQ(action.limit, 5 * NS_PER_S);
	CHECK_EQ(action.advice, POLICY_ADVICE_DOWNTIME);
}

TEST(policy_rule_17_in_this_order)
{
	struct policy policy = stalled(5 * NS_PER_S, ~0u);

	CHECK_EQ(again(&policy, 60).act, POLICY_ACT_RAISE);
	CHECK_EQ(again(&policy, 66).act, POLICY_ACT_THROTTLE);
	CHECK_EQ(policy.throttle, 20);
	CHECK_EQ(again(&policy, 72).throttle, 40);
	CHECK_EQ(again(&policy, 78).throttle, 60);
	CHECK_EQ(again(&policy, 84).throttle, 80);
	/* The session is not set up for post-copy. */
	CHECK_EQ(again(&policy, 90).act, POLICY_ACT_STOP);
	policy_refused(&policy, POLICY_ACT_STOP);
	CHECK_EQ(again(&policy, 96).act, POLICY_ACT_GIVE_UP);

	policy = stalled(0, POLICY_ALLOW_POSTCOPY | POLICY_ALLOW_STOP);
	policy.limits.postcopy = true;
	exact(&policy, 60 * NS_PER_S, 0, 0);
	policy.exact.postcopy = GIB;
	policy.exact_total = GIB;
	CHECK_EQ(policy_act(&policy, 60 * NS_PER_S).act, POLICY_ACT_NONE);
}

TEST(policy_rule_17_nothing_that_is_not_allowed)
{
	struct policy policy = stalled(0, 0);
	struct policy_action action = again(&policy, 60);

	CHECK_EQ(action.act, POLICY_ACT_NONE);
	CHECK_EQ(action.reason, POLICY_REASON_STALL);
	CHECK_EQ(action.advice, POLICY_ADVICE_DOWNTIME);
	CHECK_EQ(action.needed_downtime, 10240 * NS_PER_MS);
	CHECK_EQ(action.needed_bandwidth, GIB * 10 / 3 + 1);
	policy = stalled(0, POLICY_ALLOW_THROTTLE);
	CHECK_EQ(again(&policy, 60).act, POLICY_ACT_THROTTLE);
	policy = stalled(0, POLICY_ALLOW_STOP);
	CHECK_EQ(again(&policy, 60).act, POLICY_ACT_STOP);
	policy = stalled(0, POLICY_ALLOW_GIVE_UP);
	CHECK_EQ(again(&policy, 60).act, POLICY_ACT_GIVE_UP);
}

TEST(policy_rule_17_a_cool_down_between)
{
	struct policy policy = stalled(0, POLICY_ALLOW_THROTTLE);

	CHECK_EQ(again(&policy, 60).act, POLICY_ACT_THROTTLE);
	CHECK_EQ(again(&policy, 64).reason, POLICY_REASON_COOL_DOWN);
	CHECK_EQ(again(&policy, 65).act, POLICY_ACT_THROTTLE);
}

/* At an iteration's end, and once. */
TEST(policy_rule_17_acts_at_a_boundary)
{
	struct policy policy = stalled(0, POLICY_ALLOW_THROTTLE);

	CHECK_EQ(again(&policy, 60).act, POLICY_ACT_THROTTLE);
	CHECK_EQ(policy_act(&policy, 80 * NS_PER_S).act, POLICY_ACT_NONE);
	CHECK_EQ(policy.throttle, 20);
}

static struct policy_action postcopy(struct policy *policy, uint64_t precopy)
{
	struct policy_pending pending = { .precopy = precopy, .postcopy = GIB };

	policy->limits.postcopy = true;
	policy_switchover(policy, 60 * NS_PER_S, &pending, true, NULL);
	return policy_act(policy, 60 * NS_PER_S);
}

TEST(policy_rule_17_postcopy_when_its_blackout_fits)
{
	struct policy policy = stalled(0, POLICY_ALLOW_POSTCOPY);

	CHECK_EQ(postcopy(&policy, 30 * MIB + 1).act, POLICY_ACT_NONE);
	policy = stalled(0, POLICY_ALLOW_POSTCOPY);
	CHECK_EQ(postcopy(&policy, 30 * MIB).act, POLICY_ACT_POSTCOPY);
	/* Nothing is decided after it. */
	policy.limits.timeout = NS_PER_S;
	CHECK_EQ(again(&policy, 120).act, POLICY_ACT_NONE);
	/* It could not be started: something else is looked for. */
	policy = stalled(0, POLICY_ALLOW_POSTCOPY | POLICY_ALLOW_STOP);
	CHECK_EQ(postcopy(&policy, 0).act, POLICY_ACT_POSTCOPY);
	policy_refused(&policy, POLICY_ACT_POSTCOPY);
	CHECK_EQ(postcopy(&policy, 0).reason, POLICY_REASON_COOL_DOWN);
	CHECK_EQ(again(&policy, 66).act, POLICY_ACT_STOP);
}

TEST(policy_rule_17_an_action_fits_the_time_that_is_left)
{
	struct policy policy = stalled(60 * NS_PER_S, 0);
	struct policy_action action;

	policy.limits.timeout = 100 * NS_PER_S;
	action = again(&policy, 90);
	CHECK_EQ(action.act, POLICY_ACT_NONE);
	CHECK_EQ(action.reason, POLICY_REASON_NO_TIME);
	CHECK_EQ(action.value, 10240 * NS_PER_MS);
	CHECK_EQ(action.limit, 10 * NS_PER_S);
	policy = stalled(60 * NS_PER_S, 0);
	policy.limits.timeout = 101 * NS_PER_S;
	CHECK_EQ(again(&policy, 90).act, POLICY_ACT_RAISE);
	policy = stalled(0, POLICY_ALLOW_STOP);
	policy.limits.timeout = 100 * NS_PER_S;
	CHECK_EQ(again(&policy, 90).act, POLICY_ACT_NONE);
	policy = stalled(0, POLICY_ALLOW_POSTCOPY);
	policy.limits.timeout = 65 * NS_PER_S;
	CHECK_EQ(postcopy(&policy, 0).act, POLICY_ACT_NONE);
}

/* What moves only when stopped: precopy does not make it less, a wait is vain. */
TEST(policy_rule_17_stop_only_data_does_not_wait_for_a_stall)
{
	struct policy policy = start(300, 0, GIB);
	struct policy_action action;

	policy.limits.max_downtime = 3 * NS_PER_S;
	/* RAM gets less yet. */
	exact(&policy, NS_PER_S, 2 * GIB, 1910 * MIB);
	CHECK_EQ(policy_act(&policy, NS_PER_S).act, POLICY_ACT_NONE);
	exact(&policy, 3 * NS_PER_S, 200 * MIB, 1910 * MIB);
	CHECK_EQ(policy_act(&policy, 3 * NS_PER_S).act, POLICY_ACT_NONE);
	exact(&policy, 4 * NS_PER_S, MIB, 1910 * MIB);
	action = policy_act(&policy, 4 * NS_PER_S);
	CHECK_EQ(action.act, POLICY_ACT_RAISE);
	CHECK_EQ(action.reason, POLICY_REASON_STOP_ONLY);
	CHECK_EQ(policy_recheck(&policy).verdict, POLICY_SWITCHOVER);
	CHECK(action.downtime < 2000 * NS_PER_MS);
	/* It gets no less: that is paid, too. */
	policy = start(300, 0, GIB);
	policy.limits.max_downtime = 3 * NS_PER_S;
	exact(&policy, NS_PER_S, 200 * MIB, 1910 * MIB);
	CHECK_EQ(policy_act(&policy, NS_PER_S).act, POLICY_ACT_NONE);
	exact(&policy, 2 * NS_PER_S, 192 * MIB, 1910 * MIB);
	CHECK_EQ(policy_act(&policy, 2 * NS_PER_S).act, POLICY_ACT_RAISE);
}

TEST(policy_rule_17_stop_only_data_beyond_all_limits)
{
	struct policy policy = start(300, 0, GIB);
	struct policy_action action;

	policy.limits.max_downtime = 1800 * NS_PER_MS;
	policy.limits.allowed = POLICY_ALLOW_THROTTLE;
	exact(&policy, NS_PER_S, MIB, 1910 * MIB);
	action = policy_act(&policy, NS_PER_S);
	CHECK_EQ(action.act, POLICY_ACT_NONE);
	CHECK_EQ(action.reason, POLICY_REASON_MAX_DOWNTIME);
	CHECK_EQ(policy.limits.downtime, 300 * NS_PER_MS);
}

TEST(policy_rule_17_an_unknown_size_is_named)
{
	struct policy policy = stalled(60 * NS_PER_S, ~0u & ~POLICY_ALLOW_STOP);
	struct policy_pending pending = { .precopy = GIB, .unknown = "0000:01:00.0" };
	struct policy_action action;
	char text[200];

	policy_switchover(&policy, 60 * NS_PER_S, &pending, true, NULL);
	action = policy_act(&policy, 60 * NS_PER_S);
	CHECK_EQ(action.act, POLICY_ACT_GIVE_UP);
	CHECK_EQ(action.reason, POLICY_REASON_UNKNOWN_SIZE);
	CHECK(action.needed_downtime == POLICY_UNKNOWN);
	policy_explain(text, sizeof(text), &action);
	CHECK_HAS(text, "0000:01:00.0");
	policy_advise(text, sizeof(text), &action);
	CHECK_HAS(text, "0000:01:00.0");
}

static struct policy late(enum policy_on_timeout how)
{
	struct policy policy = stalled(0, 0);

	policy.limits.timeout = 30 * NS_PER_S;
	policy.limits.on_timeout = how;
	return policy;
}

TEST(policy_at_the_timeout_as_asked)
{
	struct policy policy = late(POLICY_ON_TIMEOUT_CANCEL);
	struct policy_action action;

	CHECK_EQ(policy_act(&policy, 30 * NS_PER_S - 1).act, POLICY_ACT_NONE);
	action = policy_act(&policy, 30 * NS_PER_S);
	CHECK_EQ(action.act, POLICY_ACT_GIVE_UP);
	CHECK_EQ(action.reason, POLICY_REASON_TIMEOUT);
	CHECK_EQ(action.value, 30 * NS_PER_S);
	CHECK_EQ(action.advice, POLICY_ADVICE_DOWNTIME);

	policy = late(POLICY_ON_TIMEOUT_STOP);
	CHECK_EQ(policy_act(&policy, 30 * NS_PER_S).act, POLICY_ACT_STOP);
	policy = late(POLICY_ON_TIMEOUT_STOP);
	policy.ready = false;
	CHECK_EQ(policy_act(&policy, 30 * NS_PER_S).act, POLICY_ACT_GIVE_UP);

	policy = late(POLICY_ON_TIMEOUT_POSTCOPY);
	action = policy_act(&policy, 30 * NS_PER_S);
	CHECK_EQ(action.act, POLICY_ACT_GIVE_UP);
	CHECK_EQ(action.advice, POLICY_ADVICE_POSTCOPY);
	policy = late(POLICY_ON_TIMEOUT_POSTCOPY);
	CHECK_EQ(postcopy(&policy, 0).act, POLICY_ACT_POSTCOPY);
}

TEST(policy_a_source_that_is_not_ready_is_said)
{
	struct policy policy = stalled(60 * NS_PER_S, POLICY_ALLOW_STOP);
	struct policy_pending pending = { .precopy = MIB };
	struct policy_action action;
	uint64_t s;

	for (s = 10; s < 120; s += 10) {
		policy_switchover(&policy, s * NS_PER_S, &pending, false, NULL);
		action = policy_act(&policy, s * NS_PER_S);
		CHECK_EQ(action.act, POLICY_ACT_NONE);
	}
	CHECK_EQ(action.reason, POLICY_REASON_NOT_READY);
	CHECK_EQ(action.advice, POLICY_ADVICE_READY);
	CHECK_EQ(policy.limits.downtime, 300 * NS_PER_MS);
}

TEST(policy_tells_people_the_number_and_what_would_do)
{
	struct policy policy = stalled(5 * NS_PER_S, 0);
	struct policy_action action;
	char text[200];

	policy.limits.downtime = 5 * NS_PER_S;
	action = again(&policy, 60);
	policy_explain(text, sizeof(text), &action);
	CHECK_STR(text, "it takes a longer downtime than may be allowed: 10.2 s of 5.0 s");
	policy_advise(text, sizeof(text), &action);
	CHECK_STR(text, "allow a downtime of 10.3 s, or a bandwidth of 204.9 MiB/s");
	policy_advise_limits(text, sizeof(text), 1911914067, POLICY_UNKNOWN);
	CHECK_STR(text, "allow a downtime of 1912 ms");
	policy_advise_limits(text, sizeof(text), 1, UINT64_MAX - 1);
	CHECK_STR(text, "allow a downtime of 1 ms, or a bandwidth of 16.0 EiB/s");
	policy = stalled(0, 0);
	action = again(&policy, 60);
	policy_explain(text, sizeof(text), &action);
	CHECK_STR(text, "what is left gets no less: 1.0 GiB left, 30.0 MiB fit into the downtime");
}

TEST(policy_every_code_has_a_name)
{
	struct policy_action action = {};
	char text[8];
	int i, j;

	for (i = 0; i <= POLICY_REASON_POSTCOPY_SOURCE; i++) {
		CHECK(strcmp(policy_reason_name((enum policy_reason)i), "unknown"));
		for (j = 0; j < i; j++)
			CHECK(strcmp(policy_reason_name((enum policy_reason)i),
				     policy_reason_name((enum policy_reason)j)));
		action.reason = (enum policy_reason)i;
		policy_explain(text, sizeof(text), &action);
		CHECK(strlen(text) < sizeof(text));
	}
	for (i = 0; i <= POLICY_ADVICE_POSTCOPY; i++) {
		CHECK(strcmp(policy_advice_name((enum policy_advice)i), "unknown"));
		action.advice = (enum policy_advice)i;
		policy_advise(text, sizeof(text), &action);
		CHECK(strlen(text) < sizeof(text));
	}
	for (i = 0; i <= POLICY_ACT_GIVE_UP; i++)
		CHECK(strcmp(policy_act_name((enum policy_act)i), "unknown"));
	CHECK_STR(policy_reason_name((enum policy_reason)99), "unknown");
}
