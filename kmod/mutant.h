/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_MUTANT_H
#define _MIGTRACK_MUTANT_H

#include <linux/compiler.h>
#include <linux/types.h>

struct migtrack_ram;
struct migtrack_tracker;

/**
 * enum migtrack_step - a step of the tracker's algorithm that can be left out
 * @MIGTRACK_STEP_NONE: leave out nothing
 * @MIGTRACK_STEP_OTHERS: look at mappings of other processes than the VMM
 * @MIGTRACK_STEP_ADOPTION: have a notifier in processes other than the VMM
 * @MIGTRACK_STEP_UNPROVEN: report once more what a process maps whose notifier was
 *	not there yet when the sync began
 * @MIGTRACK_STEP_UNTRACKED: report once more what turned up after the refresh
 * @MIGTRACK_STEP_UNCOVERED: report once what was mapped since the last sync
 * @MIGTRACK_STEP_EXIT: report what a process mapped that ended
 * @MIGTRACK_STEP_UNSEEN: report what a process mapped since the last sync when it ends
 * @MIGTRACK_STEP_RELEASE: take back what a process that ends has under way
 * @MIGTRACK_STEP_FORKED: report what a process maps that had a child
 * @MIGTRACK_STEP_PRESENT: report pages that were not present at the last walk
 * @MIGTRACK_STEP_HUGE: report the pages of huge entries
 * @MIGTRACK_STEP_MARKS: mark the pages of an event
 * @MIGTRACK_STEP_KEEP: keep marks while an invalidation is under way, or as FLUSH
 * @MIGTRACK_STEP_PUNCH: keep marks while a hole is being punched
 * @MIGTRACK_STEP_PROTECTION: heed events that change protections
 * @MIGTRACK_STEP_COUNT: check the number of entries that were protected
 * @MIGTRACK_STEP_SEQ: heed events between the walk and the end of the protection
 * @MIGTRACK_STEP_CARRY: report pages that are held again
 * @MIGTRACK_STEP_FLUSH: keep marks while a TLB may be stale
 * @MIGTRACK_STEP_ECHO: report marks once more, or as FLUSH
 * @MIGTRACK_STEP_ATOMIC: set the bits that are shared with the owner atomically
 * @MIGTRACK_STEP_ALGORITHM: all of it: be the naive tracker, which clears dirty
 *	bits over the file and protects what it found
 *
 * For the tests only: what shows that they notice a tracker that is wrong. A
 * module with these has MIGTRACK_MUTANTS defined, is never installed, and has a
 * parameter "without" with the step's name.
 */
enum migtrack_step {
	MIGTRACK_STEP_NONE,
	MIGTRACK_STEP_OTHERS,
	MIGTRACK_STEP_ADOPTION,
	MIGTRACK_STEP_UNPROVEN,
	MIGTRACK_STEP_UNTRACKED,
	MIGTRACK_STEP_UNCOVERED,
	MIGTRACK_STEP_EXIT,
	MIGTRACK_STEP_UNSEEN,
	MIGTRACK_STEP_RELEASE,
	MIGTRACK_STEP_FORKED,
	MIGTRACK_STEP_PRESENT,
	MIGTRACK_STEP_HUGE,
	MIGTRACK_STEP_MARKS,
	MIGTRACK_STEP_KEEP,
	MIGTRACK_STEP_PUNCH,
	MIGTRACK_STEP_PROTECTION,
	MIGTRACK_STEP_COUNT,
	MIGTRACK_STEP_SEQ,
	MIGTRACK_STEP_CARRY,
	MIGTRACK_STEP_FLUSH,
	MIGTRACK_STEP_ECHO,
	MIGTRACK_STEP_ATOMIC,
	MIGTRACK_STEP_ALGORITHM,
};

#ifdef MIGTRACK_MUTANTS
extern unsigned int migtrack_mutant;

static inline bool migtrack_without(enum migtrack_step step)
{
	return READ_ONCE(migtrack_mutant) == step;
}

/* A tracker may end when the step is no longer the one that it lived with. */
static inline bool migtrack_has_mutants(void)
{
	return true;
}

void migtrack_mutant_sync_chunk(struct migtrack_tracker *tracker,
				struct migtrack_ram *ram, unsigned long nr);
#else
static inline bool migtrack_without(enum migtrack_step step)
{
	return false;
}

static inline bool migtrack_has_mutants(void)
{
	return false;
}

static inline void migtrack_mutant_sync_chunk(struct migtrack_tracker *tracker,
					      struct migtrack_ram *ram,
					      unsigned long nr)
{
}
#endif

#endif /* _MIGTRACK_MUTANT_H */
