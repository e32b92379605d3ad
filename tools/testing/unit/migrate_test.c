// SPDX-License-Identifier: GPL-2.0-or-later
/* migctl migrate: its options, what is done when it does not converge, how it ends. */
#include <stdlib.h>

#include "cmd/limits.h"
#include "cmd/migrate.h"
#include "unit.h"

static int parse(struct migrate_options *options, const char *line, struct error *err)
{
	char *argv[UNIT_WORDS];
	int argc = unit_words("migrate", line, argv);

	return migrate_options_parse(options, argc, argv, err);
}

static void refused(const char *line, const char *message)
{
	struct migrate_options options;
	struct error err = {};

	CHECK_EQ(parse(&options, line, &err), -1);
	CHECK_EQ(err.code, EXIT_USAGE);
	CHECK_HAS(err.message, message);
}

TEST(migrate_options_are_understood)
{
	struct migrate_options options;
	struct error err = {};

	CHECK_EQ(parse(&options, "--qmp s --to unix:t --downtime 500ms --max-downtime 3s "
		       "--timeout 10m --on-timeout stop --stall-window 5s --throttle", &err), 0);
	CHECK_EQ(options.limits.max_downtime, 3 * NS_PER_S);
	CHECK_EQ(options.limits.on_timeout, POLICY_ON_TIMEOUT_STOP);
	CHECK_EQ(options.limits.stall_window, 5 * NS_PER_S);
	CHECK_EQ(options.limits.allowed, POLICY_ALLOW_THROTTLE);
	CHECK_EQ(options.limits.throttle_max, policy_default_limits.throttle_max);
	CHECK_EQ(parse(&options, "--qmp s --to unix:t --throttle=60", &err), 0);
	CHECK_EQ(options.limits.throttle_max, 60);
	CHECK_EQ(parse(&options, "--qmp s --to unix:t", &err), 0);
	CHECK_EQ(options.limits.allowed, 0);
}

TEST(migrate_options_out_of_range)
{
	refused("--qmp s", "where to");
	refused("--qmp s --to t --downtime 1s --max-downtime 500ms", "below");
	refused("--qmp s --to t --fixed-cost 300ms", "leaves nothing");
	refused("--qmp s --to t --on-timeout stop", "without --timeout");
	refused("--qmp s --to t --timeout 1m --on-timeout postcard", "is unknown");
	refused("--qmp s --to t --throttle=0", "at least 1");
	refused("--qmp s --to t --throttle=96", "at least 1");
	refused("--qmp s --to t --stall-window 0", "too short");
}

static struct migration begin(const struct migrate_options *options, struct output *out)
{
	struct migration m = {
		.out = out, .options = options, .throttle = THROTTLE_NONE, .lines = -1,
	};

	policy_init(&m.policy, &options->limits, clock_ns(CLOCK_MONOTONIC));
	return m;
}

static void iterate(struct migration *m, uint64_t left)
{
	const struct policy_pending pending = { .precopy = left };

	m->decision = policy_switchover(&m->policy, clock_ns(CLOCK_MONOTONIC), &pending,
					true, NULL);
}

static const struct migrate_options stalling = {
	.limits = {
		.downtime = 100 * NS_PER_MS, .max_downtime = 10 * NS_PER_S,
		.bandwidth = 1 << 20, .max_iteration = NS_PER_S, .stall_window = 64,
		.stall_margin = 96, .local_minimum = 104, .raise_margin = 5,
		.raise_step = 10 * NS_PER_MS,
	},
};

/* What is left gets no less: the limit is raised, and it switches over at once. */
TEST(migrate_raises_the_limit)
{
	struct output out = { .stream = tmpfile() };
	struct migration m = begin(&stalling, &out);
	struct error err = {};
	int i;

	for (i = 0; i < 10 && m.decision.verdict != POLICY_SWITCHOVER; i++) {
		iterate(&m, 4 << 20);
		CHECK_EQ(migrate_act(&m, &err), 0);
	}
	CHECK_EQ(m.decision.verdict, POLICY_SWITCHOVER);
	CHECK_EQ(m.action.act, POLICY_ACT_RAISE);
	CHECK_EQ(m.action.reason, POLICY_REASON_STALL);
	CHECK_EQ(m.policy.limits.downtime, 4200 * NS_PER_MS);
	CHECK(ftell(out.stream) > 0);
	fclose(out.stream);
}

TEST(migrate_gives_up_and_says_why)
{
	struct migrate_options options = stalling;
	struct output out = { .stream = tmpfile() };
	struct migration m;
	struct error err = {};

	options.limits.timeout = 1;
	options.limits.max_downtime = 0;
	m = begin(&options, &out);
	iterate(&m, 4 << 20);
	CHECK_EQ(m.decision.verdict, POLICY_GIVE_UP);
	CHECK_EQ(migrate_act(&m, &err), -1);
	CHECK_EQ(err.code, EXIT_TIMEOUT);
	CHECK_HAS(err.message, "the time is over");
	CHECK_HAS(err.message, "4.0 MiB left");
	CHECK_HAS(err.advice, "allow a downtime of 4000 ms");
	CHECK_EQ(m.verdict, MIGTRACK_VERDICT_GIVE_UP);
	fclose(out.stream);
}

/* However much is left, and although no bandwidth is known. */
TEST(migrate_stops_at_the_timeout)
{
	struct migrate_options options = stalling;
	struct output out = { .stream = tmpfile() };
	struct migration m;
	struct error err = {};

	options.limits.timeout = 1;
	options.limits.bandwidth = 0;
	options.limits.on_timeout = POLICY_ON_TIMEOUT_STOP;
	m = begin(&options, &out);
	iterate(&m, 4ull << 40);
	CHECK_EQ(migrate_act(&m, &err), 0);
	CHECK(m.forced);
	fclose(out.stream);
}

TEST(migrate_switches_over_as_asked)
{
	struct output out = { .stream = tmpfile() };
	struct migration m = begin(&stalling, &out);
	struct error err = {};

	CHECK_EQ(migrate_asked("explode", NULL, &m, &err), -1);
	CHECK_EQ(migrate_asked("switchover", NULL, &m, &err), 0);
	CHECK(m.forced);
	/* The limit stays what the user has said. */
	CHECK_EQ(m.policy.limits.downtime, 100 * NS_PER_MS);
	m.phase = MIGTRACK_PHASE_SWITCHOVER;
	CHECK_EQ(migrate_asked("switchover", NULL, &m, &err), -1);
	CHECK_HAS(err.message, "too late");
	fclose(out.stream);
}

TEST(limits_can_be_set)
{
	struct policy policy;
	struct error err = {};
	json_t *request = json_pack("{s:i, s:i}", "downtime_ns", 500, "max_downtime_ns", 900);

	policy_init(&policy, &stalling.limits, 1);
	CHECK_EQ(limits_set(&policy, 400, request, &err), -1);
	CHECK_HAS(err.message, "out of range");
	CHECK_EQ(policy.limits.downtime, 100 * NS_PER_MS);
	CHECK_EQ(limits_set(&policy, 1000, request, &err), 0);
	CHECK_EQ(policy.limits.downtime, 500);
	CHECK_EQ(policy.limits.max_downtime, 900);
	policy.limits.fixed_cost = 500;
	CHECK_EQ(limits_set(&policy, 1000, request, &err), -1);
	CHECK_HAS(err.message, "leaves nothing");
	json_decref(request);
}

/* A guest that runs at the destination has been moved, whatever came after that. */
TEST(migrate_result_in_one_word)
{
	struct migration m = { .phase = MIGTRACK_PHASE_FAILED };
	struct error err = { .code = EXIT_MOVED };

	CHECK_STR(migrate_result(&m, &err), "failed");
	m.times.resumed = 1;
	CHECK_STR(migrate_result(&m, &err), "moved");
	m.phase = MIGTRACK_PHASE_COMPLETED;
	CHECK_STR(migrate_result(&m, NULL), "completed");
	m = (struct migration) {};
	CHECK_STR(migrate_result(&m, &err), "failed");
}
