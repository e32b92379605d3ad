// SPDX-License-Identifier: GPL-2.0-or-later
/* migctl snapshot: what migctl set and switchover ask of it. */
#include <stdio.h>

#include "cmd/snapshot.h"
#include "unit.h"

static const struct snapshot_options paused_at_the_end;

static struct taking begin(struct output *out)
{
	struct taking t = { .out = out, .options = &paused_at_the_end };

	*out = (struct output) { .stream = tmpfile() };
	policy_init(&t.policy, &policy_default_limits, 0);
	return t;
}

/* No bandwidth is known, and it has to be for any limit of the downtime. */
TEST(snapshot_pauses_as_asked)
{
	struct output out;
	struct taking t = begin(&out);
	json_t *request = json_pack("{s:I}", "downtime_ns", (json_int_t)NS_PER_S);
	struct error err = {};

	CHECK_EQ(snapshot_asked("switchover", NULL, &t, &err), 0);
	CHECK(t.forced);
	/* The limit stays what the user has said, and says afterwards. */
	CHECK_EQ(t.policy.limits.downtime, policy_default_limits.downtime);
	CHECK_EQ(snapshot_asked("set", request, &t, &err), 0);
	CHECK_EQ(t.policy.limits.downtime, NS_PER_S);
	CHECK(t.forced);
	json_decref(request);
	fclose(out.stream);
}

TEST(snapshot_refuses_what_it_does_not_do)
{
	struct output out;
	struct taking t = begin(&out);
	json_t *request = json_pack("{s:I}", "max_downtime_ns", (json_int_t)NS_PER_S);
	struct error err = {};

	CHECK_EQ(snapshot_asked("explode", NULL, &t, &err), -1);
	CHECK_EQ(snapshot_asked("set", request, &t, &err), -1);
	CHECK_HAS(err.message, "does not raise");
	t.phase = MIGTRACK_PHASE_SWITCHOVER;
	CHECK_EQ(snapshot_asked("switchover", NULL, &t, &err), -1);
	CHECK_HAS(err.message, "too late");
	CHECK(!t.forced);
	json_decref(request);
	fclose(out.stream);
}

static const struct snapshot_options live = {
	.guest = { .driver = &vmm_driver_handover }, .live = true,
};

/* It has no limit of the downtime, as its policy says. */
static struct taking begin_live(struct output *out)
{
	struct taking t = begin(out);

	t.options = &live;
	t.policy.limits.downtime = 0;
	return t;
}

TEST(snapshot_that_is_live_was_paused_already)
{
	struct output out;
	struct taking t = begin_live(&out);
	struct error err = {};

	CHECK_EQ(snapshot_asked("switchover", NULL, &t, &err), -1);
	CHECK_HAS(err.message, "too late");
	CHECK(!t.forced);
	fclose(out.stream);
}

TEST(snapshot_that_is_live_takes_time_and_bandwidth)
{
	struct output out;
	struct taking t = begin_live(&out);
	json_t *request = json_pack("{s:I, s:I}", "timeout_ns", (json_int_t)(7 * NS_PER_S),
				    "max_bandwidth_bytes_per_second", (json_int_t)1000);
	struct error err = {};

	CHECK_EQ(snapshot_asked("set", request, &t, &err), 0);
	CHECK_EQ(t.policy.limits.timeout, 7 * NS_PER_S);
	CHECK_EQ(t.writer.max_bandwidth, 1000);
	CHECK_EQ(t.policy.limits.downtime, 0);
	json_decref(request);
	/* What is not said stays as it is. */
	request = json_pack("{s:I}", "max_bandwidth_bytes_per_second", (json_int_t)0);
	CHECK_EQ(snapshot_asked("set", request, &t, &err), 0);
	CHECK_EQ(t.policy.limits.timeout, 7 * NS_PER_S);
	CHECK_EQ(t.writer.max_bandwidth, 0);
	json_decref(request);
	fclose(out.stream);
}

TEST(snapshot_that_is_live_refuses_what_it_does_not_decide)
{
	static const char *const keys[] = {
		"downtime_ns", "max_downtime_ns", "bandwidth_bytes_per_second",
	};
	struct output out;
	struct taking t = begin_live(&out);
	json_t *request;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		struct error err = {};

		request = json_pack("{s:I, s:I}", keys[i], (json_int_t)NS_PER_S,
				    "timeout_ns", (json_int_t)NS_PER_S);
		CHECK_EQ(snapshot_asked("set", request, &t, &err), -1);
		CHECK_EQ(err.code, EXIT_USAGE);
		CHECK_HAS(err.message, "no limit of the downtime");
		CHECK_HAS(err.advice, "--timeout and --max-bandwidth");
		/* All of it, or nothing. */
		CHECK_EQ(t.policy.limits.timeout, policy_default_limits.timeout);
		json_decref(request);
	}
	fclose(out.stream);
}
