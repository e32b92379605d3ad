/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_SNAPSHOT_H
#define _MIGTRACK_SNAPSHOT_H

#include <linux/rcupdate.h>

#include "published.h"
#include "source.h"

struct migtrack_session;

/**
 * struct migtrack_source_snapshot - a source, as last published
 * @source: what it is of; only to be compared
 * @pid: referenced; may be NULL
 * @id: its slot
 * @type: for userspace
 * @offset: bytes
 * @length: bytes
 * @max_age: ns, 0 for a type that has none
 * @name: for people
 * @features: enum migtrack_device_features
 * @moved: what the owner had moved when @stats was made, in bytes
 * @stats: what the last sync found
 */
struct migtrack_source_snapshot {
	const struct migtrack_source *source;
	struct pid *pid;
	u32 id;
	u32 type;
	u64 offset;
	u64 length;
	u64 max_age;
	char name[MIGTRACK_NAME_SIZE];
	u32 features;
	u64 moved;
	struct migtrack_source_stats stats;
};

/**
 * struct migtrack_snapshot - what readers see of a session
 *
 * Never changed once published: swapped by RCU, so that nobody sees iteration
 * N with the data of N - 1.
 *
 * @rcu: frees it
 * @iteration: 0 before the setup
 * @syncs: that ended
 * @time: CLOCK_MONOTONIC of the last sync's end, in ns
 * @duration: of the last sync, in ns
 * @kind: of the last sync, 0 before the first
 * @error: errno of the last sync, or 0
 * @generation: changes with each snapshot, never 0
 * @published: by the controller
 * @nsources: how many
 * @sources: by slot
 */
struct migtrack_snapshot {
	struct rcu_head rcu;
	u64 iteration;
	u64 syncs;
	u64 time;
	u64 duration;
	u32 kind;
	u32 error;
	u32 generation;
	struct migtrack_published published;
	u32 nsources;
	struct migtrack_source_snapshot sources[] __counted_by(nsources);
};

/**
 * struct migtrack_totals - the sums over a session's sources
 * @bytes: still to be moved
 * @flags: enum migtrack_counter_flags
 * @dirty_pages: found by the last sync
 * @dirty_rate: pages per second
 * @memory: bytes of kernel memory
 */
struct migtrack_totals {
	struct migtrack_counters bytes;
	u32 flags;
	u64 dirty_pages;
	u64 dirty_rate;
	u64 memory;
};

u64 migtrack_counters_total(const struct migtrack_counters *bytes);
struct migtrack_snapshot *migtrack_snapshot_new(unsigned int nsources);
void migtrack_snapshot_free(struct migtrack_snapshot *snap);
void migtrack_snapshot_free_rcu(struct migtrack_snapshot *snap);
void migtrack_snapshot_set(struct migtrack_source_snapshot *dst,
			   const struct migtrack_source *source,
			   const struct migtrack_source_stats *stats, u64 moved);
void migtrack_snapshot_bytes(const struct migtrack_session *session,
			     const struct migtrack_source_snapshot *source,
			     struct migtrack_counters *bytes);
void migtrack_snapshot_totals(const struct migtrack_session *session,
			      const struct migtrack_snapshot *snap,
			      struct migtrack_totals *totals);

#endif /* _MIGTRACK_SNAPSHOT_H */
