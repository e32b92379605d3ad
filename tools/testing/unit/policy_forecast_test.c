// SPDX-License-Identifier: GPL-2.0-or-later
/* Whether a migration would converge. */
#include "policy/forecast.h"
#include "policy_state.h"

#define POINTS(...)	\
	.points = (const struct forecast_point[]){ __VA_ARGS__ }, \
	.n = sizeof((const struct forecast_point[]){ __VA_ARGS__ }) / \
	     sizeof(struct forecast_point)

static struct policy_limits limits(uint64_t downtime_ms, uint64_t bandwidth)
{
	struct policy_limits limits = policy_default_limits;

	limits.downtime = downtime_ms * NS_PER_MS;
	limits.bandwidth = bandwidth;
	return limits;
}

TEST(policy_rule_18_what_is_written_in_a_window)
{
	struct forecast_guest guest = {
		.memory = 1000 * MIB,
		POINTS({ NS_PER_S, 100 * MIB }, { 2 * NS_PER_S, 150 * MIB },
		       { 4 * NS_PER_S, 150 * MIB }),
	};
	struct forecast_guest growing = { .memory = GIB, POINTS({ NS_PER_S, MIB }) };
	struct forecast_guest idle = { .memory = GIB };

	CHECK_EQ(forecast_written(&guest, 0), 0);
	CHECK_EQ(forecast_written(&guest, NS_PER_S / 4), 25 * MIB);
	CHECK_EQ(forecast_written(&guest, 3 * NS_PER_S / 2), 125 * MIB);
	CHECK_EQ(forecast_written(&guest, 3600 * NS_PER_S), 150 * MIB);
	CHECK_EQ(forecast_written(&growing, 10 * NS_PER_S), 10 * MIB);
	CHECK_EQ(forecast_written(&growing, 36000 * NS_PER_S), GIB);
	CHECK_EQ(forecast_written(&idle, 10 * NS_PER_S), 0);
}

TEST(policy_rule_18_an_idle_guest)
{
	struct forecast_guest guest = { .memory = GIB };
	struct policy_limits l = limits(300, GIB);
	struct forecast forecast;

	forecast_make(&forecast, &guest, &l);
	CHECK(forecast.converges);
	CHECK_EQ(forecast.iterations, 1);
	CHECK_EQ(forecast.total / NS_PER_MS, 1000);
	CHECK_EQ(forecast.bytes, GIB);
	CHECK(forecast.downtime <= 300 * NS_PER_MS);
	CHECK_EQ(forecast.total, forecast.brownout + forecast.downtime);
	/* A sync every 10 s at the latest. */
	guest.memory = 100 * GIB;
	forecast_make(&forecast, &guest, &l);
	CHECK_EQ(forecast.iterations, 10);
}

/* 64 MiB round and round at 32 MiB/s; 100 MiB/s to send it by. */
TEST(policy_rule_18_a_writer_below_the_bandwidth)
{
	struct forecast_guest guest = {
		.memory = GIB, POINTS({ 2 * NS_PER_S, 64 * MIB }, { 4 * NS_PER_S, 64 * MIB }),
	};
	struct policy_limits l = limits(300, 100 * MIB);
	struct forecast forecast;

	forecast_make(&forecast, &guest, &l);
	CHECK(forecast.converges);
	CHECK(forecast.iterations > 2);
	/* Everything once, and some twice. */
	CHECK(forecast.bytes > GIB && forecast.bytes < GIB + 128 * MIB);
	CHECK(forecast.total > 10 * NS_PER_S && forecast.total < 12 * NS_PER_S);
}

/* The same at 10 MiB/s: 64 MiB are always left. */
TEST(policy_rule_18_a_writer_above_the_bandwidth)
{
	struct forecast_guest guest = {
		.memory = GIB, POINTS({ 2 * NS_PER_S, 64 * MIB }, { 4 * NS_PER_S, 64 * MIB }),
	};
	struct policy_limits l = limits(300, 10 * MIB);
	struct forecast forecast, other;

	/* It is the limit that is asked about, not how far it may be raised. */
	l.max_downtime = 60 * NS_PER_S;
	l.allowed = ~0u;
	forecast_make(&forecast, &guest, &l);
	CHECK(!forecast.converges);
	CHECK_STR(policy_reason_name(forecast.reason), "stall");
	CHECK(forecast.total == POLICY_UNKNOWN);
	printf("# needs %llu ms, %llu MiB/s\n", forecast.needed_downtime / NS_PER_MS,
	       forecast.needed_bandwidth / MIB);
	/* What would do it does it, and not much less does. */
	CHECK(forecast.needed_downtime > 4 * NS_PER_S &&
	      forecast.needed_downtime < 8 * NS_PER_S);
	CHECK(forecast.needed_bandwidth > 32 * MIB / 2 &&
	      forecast.needed_bandwidth < 300 * MIB);
	l.downtime = forecast.needed_downtime;
	forecast_make(&other, &guest, &l);
	CHECK(other.converges);
	CHECK(other.downtime <= l.downtime);
	l.downtime = forecast.needed_downtime * 99 / 100;
	forecast_make(&other, &guest, &l);
	CHECK(!other.converges);
	l = limits(300, forecast.needed_bandwidth);
	forecast_make(&other, &guest, &l);
	CHECK(other.converges);
	l = limits(300, forecast.needed_bandwidth * 99 / 100);
	forecast_make(&other, &guest, &l);
	CHECK(!other.converges);
}

/*
 * 9 MiB, all of it anew before each sync, which just fit: the mover meets them once a
 * round, however many syncs there are in the first one.
 */
TEST(policy_rule_18_a_small_set_is_sent_once_a_round)
{
	struct forecast_guest guest = {
		.memory = 78 * MIB,
		POINTS({ NS_PER_S / 4, 9 * MIB }, { NS_PER_S, 9 * MIB }),
	};
	struct policy_limits l = limits(5000, 2 * MIB);
	struct forecast forecast;

	forecast_make(&forecast, &guest, &l);
	CHECK(forecast.converges);
	CHECK(forecast.iterations > 2);
	CHECK(forecast.bytes > 78 * MIB && forecast.bytes <= 78 * MIB + 10 * MIB);
	CHECK(forecast.downtime > 4 * NS_PER_S);
	/* What is ahead and written again is not sent twice: most of it, in one round. */
	guest.memory = 18 * MIB;
	forecast_make(&forecast, &guest, &l);
	CHECK(forecast.bytes > 18 * MIB && forecast.bytes < 18 * MIB + 9 * MIB);
}

/* What is left after the first round, and of the next, goes in one iteration. */
TEST(policy_rule_18_a_slow_writer_needs_two_iterations)
{
	struct forecast_guest guest = {
		.memory = 64 * MIB,
		POINTS({ NS_PER_S, MIB }, { 64 * NS_PER_S, 64 * MIB }),
	};
	struct policy_limits l = limits(4, 100 * MIB);
	struct forecast forecast;

	forecast_make(&forecast, &guest, &l);
	CHECK(forecast.converges);
	CHECK_EQ(forecast.iterations, 2);
}

TEST(policy_rule_18_a_device_that_only_moves_when_stopped)
{
	struct forecast_guest guest = { .memory = GIB, .stopcopy = 1910 * MIB };
	struct policy_limits l = limits(300, 1000 * MIB);
	struct forecast forecast;

	l.fixed_cost = 100 * NS_PER_MS;
	forecast_make(&forecast, &guest, &l);
	CHECK(!forecast.converges);
	CHECK_STR(policy_reason_name(forecast.reason), "stop-only");
	CHECK(forecast.needed_downtime >= 2010 * NS_PER_MS &&
	      forecast.needed_downtime < 2015 * NS_PER_MS);
	CHECK(forecast.needed_bandwidth >= 9550 * MIB &&
	      forecast.needed_bandwidth < 9580 * MIB);
	/* No bandwidth makes up for a fixed cost beyond the limit. */
	l.fixed_cost = 300 * NS_PER_MS;
	forecast_make(&forecast, &guest, &l);
	CHECK(forecast.needed_bandwidth == POLICY_UNKNOWN);
	guest.unknown = "0000:01:00.0";
	forecast_make(&forecast, &guest, &l);
	CHECK_STR(policy_reason_name(forecast.reason), "unknown-size");
	CHECK(forecast.needed_downtime == POLICY_UNKNOWN);
	CHECK(forecast.left == POLICY_UNKNOWN);
}

TEST(policy_rule_18_hostile_numbers)
{
	static const uint64_t any[] = { 0, 1, GIB, INT64_MAX, UINT64_MAX - 1, UINT64_MAX };
	struct forecast forecast;
	size_t i;

	for (i = 0; i < 6 * 6 * 6; i++) {
		struct forecast_guest guest = {
			.memory = any[i % 6], .stopcopy = any[i / 6 % 6],
			POINTS({ NS_PER_S, any[i / 36] }, { NS_PER_S, any[i % 6] }),
		};
		struct policy_limits l = limits(300, any[1 + i % 5]);

		forecast_make(&forecast, &guest, &l);
		CHECK(!forecast.converges || forecast.downtime <= l.downtime);
	}
}
