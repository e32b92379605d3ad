/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tests of a kind of writers, for each of WRITERS(X): no sync misses a page
 * of theirs. See oracle.h.
 */
#ifndef WRITERS_H
#define WRITERS_H

#include "kselftest_harness.h"
#include "oracle.h"

#define MEMORY		(8UL << 20)
#define SYNCS		200
#define FAST_SYNCS	100
#define DELAY_US	5000
#define SELF_SYNCS	100

/* Of the reports, so many may be without need, in percent. */
#define MAX_EXCESS	2

FIXTURE(writers) {
	struct oracle o;
};

FIXTURE_VARIANT(writers) {
	const struct writer_ops *ops;
	unsigned int processes;		/* that map the memory */
};

#define WRITERS_VARIANT(name, n, kind)						\
FIXTURE_VARIANT_ADD(writers, name) { .ops = kind, .processes = n };
WRITERS(WRITERS_VARIANT)

FIXTURE_SETUP(writers)
{
	oracle_create(&self->o, MEMORY);
	oracle_add(&self->o, variant->ops);
	oracle_start(&self->o);
	oracle_open(&self->o);
}

FIXTURE_TEARDOWN(writers)
{
	oracle_destroy(&self->o);
}

static bool nobody_pins(const struct oracle *o)
{
	unsigned int i;

	for (i = 0; i < o->nwriters; i++)
		if (o->writers[i].ops->pins)
			return false;
	return true;
}

/* At random times, then one after the other. */
static void sync_and_finish(struct __test_metadata *_metadata, struct oracle *o,
			    unsigned int syncs, unsigned int fast_syncs)
{
	oracle_syncs(o, syncs, DELAY_US);
	oracle_syncs(o, fast_syncs, 0);
	oracle_finish(o);
	TH_LOG("%zu syncs, %zu pages reported, %zu missed, %zu torn, %zu late, %zu differ, %zu lost",
	       o->syncs, o->reported, o->missed, o->torn, o->late, o->differ,
	       o->lost);
	TH_LOG("%zu pages reported without need, %.1f %%, %zu that were about to be written, %zu as a process had ended",
	       o->excess, 100.0 * o->excess / o->reported, o->early, o->gone);
	EXPECT_EQ(0, o->missed);
	EXPECT_EQ(0, o->differ);
	EXPECT_EQ(0, o->lost);
	if (nobody_pins(o)) {
		EXPECT_LT(0, o->adopted_at);
		EXPECT_GE(o->syncs / 2, o->adopted_at);
		EXPECT_GE(o->reported * MAX_EXCESS, o->excess * 100);
	}
	/* Else there was nothing to miss. */
	EXPECT_LT(syncs, o->reported);
}

TEST_F_TIMEOUT(writers, none_is_missed, 600)
{
	sync_and_finish(_metadata, &self->o, SYNCS, FAST_SYNCS);
	EXPECT_EQ(variant->processes, self->o.processes);
	if (variant->ops->late)
		EXPECT_LT(SYNCS, self->o.late);
}

/* The oracle is worth something: it sees this writer's pages being dropped. */
TEST_F_TIMEOUT(writers, dropped_are_noticed, 600)
{
	struct oracle *o = &self->o;

	o->drop = 20;
	while (!o->missed && o->syncs < SELF_SYNCS)
		oracle_syncs(o, 1, DELAY_US);
	TH_LOG("1 of %u reports dropped: noticed after %zu syncs", o->drop, o->syncs);
	EXPECT_NE(0, o->missed);
	oracle_finish(o);
}

#endif /* WRITERS_H */
