// SPDX-License-Identifier: GPL-2.0-or-later
/* Threads and processes of the host; some of these come and go. */

#include "writer.h"

#define WRITERS		WRITERS_HOST
#include "writers.h"

FIXTURE(come_and_go) {
	struct oracle o;
};

FIXTURE_SETUP(come_and_go)
{
	oracle_create(&self->o, MEMORY);
	oracle_add(&self->o, &writer_back_ends);
	oracle_start(&self->o);
	oracle_open(&self->o);
}

FIXTURE_TEARDOWN(come_and_go)
{
	oracle_destroy(&self->o);
}

TEST_F_TIMEOUT(come_and_go, misses_nothing, 600)
{
	const struct writer *w = &self->o.writers[0];
	unsigned int i;

	sync_and_finish(_metadata, &self->o, SYNCS, FAST_SYNCS);
	EXPECT_LE(2, self->o.processes);
	/* Else there was little to miss. */
	for (i = 0; i < w->ops->slots; i++)
		EXPECT_LT(SYNCS, w->stampers[i]->count);
}

TEST_HARNESS_MAIN
