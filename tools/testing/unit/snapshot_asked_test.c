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

TEST(snapshot_that_is_live_was_paused_already)
{
	static const struct snapshot_options live = {
		.guest = { .driver = &vmm_driver_handover }, .live = true,
	};
	struct output out;
	struct taking t = begin(&out);
	struct error err = {};

	t.options = &live;
	CHECK_EQ(snapshot_asked("switchover", NULL, &t, &err), -1);
	CHECK_HAS(err.message, "too late");
	CHECK(!t.forced);
	fclose(out.stream);
}
