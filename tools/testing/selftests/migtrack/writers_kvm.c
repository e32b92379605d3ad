// SPDX-License-Identifier: GPL-2.0-or-later
/* vCPUs, and together with others. */

#include "writer.h"

#define WRITERS		WRITERS_KVM
#include "writers.h"

FIXTURE(together) {
	struct oracle o;
};

FIXTURE_SETUP(together)
{
	oracle_create(&self->o, 2 * MEMORY);
	oracle_add(&self->o, &writer_vcpus);
	oracle_add(&self->o, &writer_process);
	oracle_add(&self->o, &writer_uring);
	oracle_start(&self->o);
	oracle_open(&self->o);
}

FIXTURE_TEARDOWN(together)
{
	oracle_destroy(&self->o);
}

TEST_F_TIMEOUT(together, misses_nothing, 600)
{
	sync_and_finish(_metadata, &self->o, SYNCS, 10);
	EXPECT_EQ(2, self->o.processes);
	EXPECT_LT(0, self->o.late);
}

TEST_HARNESS_MAIN
