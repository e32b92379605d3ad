// SPDX-License-Identifier: GPL-2.0-only
/* For the tests: a tracker that leaves out a step. See mutant.h. */

#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "mutant.h"
#include "ram.h"
#include "tracker.h"

static const char * const migtrack_steps[] = {
	[MIGTRACK_STEP_NONE]		= "none",
	[MIGTRACK_STEP_OTHERS]		= "others",
	[MIGTRACK_STEP_ADOPTION]	= "adoption",
	[MIGTRACK_STEP_UNPROVEN]	= "unproven",
	[MIGTRACK_STEP_UNTRACKED]	= "untracked",
	[MIGTRACK_STEP_UNCOVERED]	= "uncovered",
	[MIGTRACK_STEP_EXIT]		= "exit",
	[MIGTRACK_STEP_UNSEEN]		= "unseen",
	[MIGTRACK_STEP_RELEASE]		= "release",
	[MIGTRACK_STEP_FORKED]		= "forked",
	[MIGTRACK_STEP_PRESENT]		= "present",
	[MIGTRACK_STEP_HUGE]		= "huge",
	[MIGTRACK_STEP_MARKS]		= "marks",
	[MIGTRACK_STEP_KEEP]		= "keep",
	[MIGTRACK_STEP_PUNCH]		= "punch",
	[MIGTRACK_STEP_PROTECTION]	= "protection",
	[MIGTRACK_STEP_COUNT]		= "count",
	[MIGTRACK_STEP_SEQ]		= "seq",
	[MIGTRACK_STEP_CARRY]		= "carry",
	[MIGTRACK_STEP_FLUSH]		= "flush",
	[MIGTRACK_STEP_ECHO]		= "echo",
	[MIGTRACK_STEP_ATOMIC]		= "atomic",
	[MIGTRACK_STEP_ALGORITHM]	= "algorithm",
};

unsigned int migtrack_mutant;

static int migtrack_mutant_set(const char *value, const struct kernel_param *kp)
{
	int step = sysfs_match_string(migtrack_steps, value);

	if (step < 0)
		return step;
	WRITE_ONCE(migtrack_mutant, step);
	return 0;
}

static int migtrack_mutant_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", migtrack_steps[READ_ONCE(migtrack_mutant)]);
}

static const struct kernel_param_ops migtrack_mutant_ops = {
	.set = migtrack_mutant_set,
	.get = migtrack_mutant_get,
};

module_param_cb(without, &migtrack_mutant_ops, NULL, 0600);
MODULE_PARM_DESC(without, "the step of the tracker's algorithm to leave out");

/**
 * migtrack_mutant_sync_chunk - the naive way to sync a chunk
 * @tracker: the tracker
 * @ram: the source that asked
 * @nr: the chunk
 */
void migtrack_mutant_sync_chunk(struct migtrack_tracker *tracker,
				struct migtrack_ram *ram, unsigned long nr)
{
	pgoff_t chunk_first = nr << MIGTRACK_CHUNK_SHIFT;
	DECLARE_BITMAP(found, MIGTRACK_CHUNK_PAGES) = {};
	pgoff_t from = MIGTRACK_CHUNK_PAGES, to = 0;
	unsigned long start, end;

	clean_record_shared_mapping_range(tracker->mapping, chunk_first,
					  MIGTRACK_CHUNK_PAGES, chunk_first,
					  found, &from, &to);
	for_each_set_bitrange(start, end, found, MIGTRACK_CHUNK_PAGES)
		wp_shared_mapping_range(tracker->mapping, chunk_first + start,
					end - start);
	migtrack_ram_report(tracker, ram, chunk_first, found);
}
