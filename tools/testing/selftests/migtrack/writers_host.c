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

/* ---- several sessions ---- */

FIXTURE(sessions) {
	struct oracle o;
};

FIXTURE_SETUP(sessions)
{
	oracle_create(&self->o, MEMORY);
	oracle_add(&self->o, &writer_threads);
	oracle_add(&self->o, &writer_process);
	oracle_start(&self->o);
	oracle_open(&self->o);
}

FIXTURE_TEARDOWN(sessions)
{
	oracle_destroy(&self->o);
}

/*
 * What one session's sync finds is another one's as well, which syncs at other times;
 * and one that only watches comes and goes. Catches who keeps for one what is for all.
 */
TEST_F_TIMEOUT(sessions, each_gets_every_page, 600)
{
	struct oracle other, *o = &self->o;
	struct harvest watcher;
	unsigned int sync, watchers = 0;

	oracle_open_other(&other, o);
	for (sync = 0; sync < SYNCS && !o->missed && !other.missed; sync++) {
		oracle_syncs(o, 1, DELAY_US);
		if (rand() % 3 == 0)
			oracle_sync_other(&other, o, MIGTRACK_SYNC_KIND_ITERATION);
		if (sync % 10)
			continue;
		harvest_open(&watcher, getpid(), o->mem_fd);
		harvest_sync(&watcher, MIGTRACK_SYNC_KIND_SETUP);
		harvest_close(&watcher);
		watchers++;
	}
	oracle_finish(o);
	oracle_sync_other(&other, o, MIGTRACK_SYNC_KIND_FINAL);
	TH_LOG("%zu and %zu syncs, %u watchers, %zu and %zu pages reported, %zu and %zu missed",
	       o->syncs, other.syncs, watchers, o->reported, other.reported, o->missed,
	       other.missed);
	EXPECT_EQ(0, o->missed);
	EXPECT_EQ(0, o->differ);
	EXPECT_EQ(0, o->lost);
	EXPECT_EQ(0, other.missed);
	EXPECT_EQ(0, other.differ);
	/* Else there was nothing to miss. */
	EXPECT_LT(SYNCS / 10, other.syncs);
	EXPECT_LT(SYNCS, other.reported);
	oracle_close_other(&other);
}

TEST_HARNESS_MAIN
