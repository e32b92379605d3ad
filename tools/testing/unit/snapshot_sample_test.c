// SPDX-License-Identifier: GPL-2.0-or-later
/* What is measured while a snapshot is taken, by the code of the iterations itself. */
#define snapshot_phase			sample_snapshot_phase
#define snapshot_asked			sample_snapshot_asked
#define snapshot_check			sample_snapshot_check
#define snapshot_precopy		sample_snapshot_precopy
#define snapshot_wait			sample_snapshot_wait
#define snapshot_pause			sample_snapshot_pause
#define snapshot_devices		sample_snapshot_devices
#define snapshot_stop			sample_snapshot_stop
#define snapshot_resume			sample_snapshot_resume
#define snapshot_out_iteration		sample_snapshot_out_iteration
#define tracker_sync_whole		sample_tracker_sync_whole
#include "cmd/snapshot_run.c"

#include "unit.h"

void snapshot_out_iteration(struct taking *t, const struct policy_decision *decision)
{
	(void)t;
	(void)decision;
}

int tracker_sync_whole(struct tracker *tracker, enum migtrack_sync_kind kind, pid_t pid,
		       struct migtrack_map_header *result, struct error *err)
{
	(void)tracker;
	(void)kind;
	(void)pid;
	(void)result;
	(void)err;
	return 0;
}

/* So much was copied, in so much time; then it is asked what comes next. */
static void copied(struct taking *t, uint64_t mib, uint64_t ms)
{
	struct policy_decision decision;
	struct error err;

	t->sample.bytes += mib << 20;
	t->sample.time += ms * NS_PER_MS;
	CHECK_EQ(iterate(t, &decision, &err), 0);
}

static void begin(struct taking *t, struct vmm *vmm)
{
	*t = (struct taking) { .vmm = vmm, .tracker.fd = -1 };
	t->writer.snapshot = &t->snapshot;
	policy_init(&t->policy, &policy_default_limits, 0);
}

/* Each iteration is too short for a sample: all of them together are not. */
TEST(snapshot_measures_a_fast_copy)
{
	struct vmm vmm = {};
	struct taking t;

	begin(&t, &vmm);
	copied(&t, 100, 40);
	copied(&t, 100, 40);
	CHECK_EQ(t.policy.bandwidth_source, POLICY_BANDWIDTH_UNKNOWN);
	CHECK_EQ(t.sample.bytes, 200 << 20);
	copied(&t, 100, 40);
	CHECK_EQ(t.policy.bandwidth_source, POLICY_BANDWIDTH_MEASURED);
	CHECK_EQ(t.policy.bandwidth / 1000000, (300 << 20) * 1000ull / 120 / 1000000);
	CHECK_EQ(t.sample.bytes, 0);
}

TEST(snapshot_measures_a_slow_copy)
{
	struct vmm vmm = {};
	struct taking t;

	begin(&t, &vmm);
	copied(&t, 2, 200);
	CHECK_EQ(t.policy.bandwidth_source, POLICY_BANDWIDTH_UNKNOWN);
	copied(&t, 2, 200);
	CHECK_EQ(t.policy.bandwidth_source, POLICY_BANDWIDTH_MEASURED);
	CHECK_EQ(t.policy.bandwidth, 10 << 20);
}
