/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_SOURCE_H
#define _MIGTRACK_SOURCE_H

#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/refcount.h>
#include <linux/workqueue.h>

#include <linux/migtrack.h>

struct migtrack_map;
struct migtrack_session;
struct migtrack_source;

/* Bytes that are still to be moved. Adding them saturates. */
struct migtrack_counters {
	u64 precopy;
	u64 postcopy;
	u64 stopcopy;
};

/**
 * struct migtrack_source_stats - what the last sync found in a source
 * @bytes: still to be moved
 * @flags: enum migtrack_counter_flags
 * @processes: address spaces that are watched
 * @dirty_pages: pages found written
 * @dirty_rate: pages per second
 * @held_pages: pages with references beyond their mappings
 * @whole_chunks: chunks reported whole
 * @protected_pages: page table entries write-protected
 * @protect_calls: ranges write-protected
 * @memory: bytes of kernel memory
 * @time: when they were made, CLOCK_MONOTONIC in ns; 0 before the first
 * @clamps: impossible sizes that were reported
 */
struct migtrack_source_stats {
	struct migtrack_counters bytes;
	u32 flags;
	u32 processes;
	u64 dirty_pages;
	u64 dirty_rate;
	u64 held_pages;
	u64 whole_chunks;
	u64 protected_pages;
	u64 protect_calls;
	u64 memory;
	u64 time;
	u64 clamps;
};

/**
 * struct migtrack_source_ops - a type of source
 * @sync: ask the source and set its stats. The first sync, and one of kind
 *	setup, reports everything. Called with the source's lock; sleeps; ends
 *	early with -EINTR when *cancel is set
 * @latest: the stats as they are now; NULL for a type whose stats only a sync
 *	sets. Called with the session's lock, so that no publication is older
 *	than the one before it
 * @stop: stop tracking and let go of what is tracked. Called with the source's
 *	lock, more than once
 * @free: free the source; it was stopped
 */
struct migtrack_source_ops {
	int (*sync)(struct migtrack_source *source, enum migtrack_sync_kind kind,
		    const bool *cancel);
	void (*latest)(struct migtrack_source *source,
		       struct migtrack_source_stats *stats);
	void (*stop)(struct migtrack_source *source);
	void (*free)(struct migtrack_source *source);
};

/**
 * struct migtrack_source - something that has to be moved
 *
 * Referenced by its session's slot, and by @retire_work while that is queued.
 *
 * @refs: references
 * @ops: of its type
 * @session: referenced, from migtrack_session_add() on
 * @id: its slot there
 * @type: for userspace
 * @pid: the process it was taken from; referenced; may be NULL
 * @offset: bytes
 * @length: bytes
 * @max_age: ns without news after which it is stale; 0 for a type that has none
 * @map: the bitmap; NULL for a type that has none
 * @retire_work: stops it, see migtrack_source_retire()
 * @lock: one op at a time; guards what follows
 * @stats: of the last sync
 */
struct migtrack_source {
	refcount_t refs;
	const struct migtrack_source_ops *ops;
	struct migtrack_session *session;
	u32 id;
	enum migtrack_source_type type;
	struct pid *pid;
	u64 offset;
	u64 length;
	u64 max_age;
	struct migtrack_map *map;
	struct work_struct retire_work;

	struct mutex lock;		/* one op at a time */
	struct migtrack_source_stats stats;
};

void migtrack_source_init(struct migtrack_source *source,
			  const struct migtrack_source_ops *ops,
			  enum migtrack_source_type type);
void migtrack_source_put(struct migtrack_source *source);
int migtrack_source_sync(struct migtrack_source *source,
			 enum migtrack_sync_kind kind, const bool *cancel);
void migtrack_source_stop(struct migtrack_source *source);
void migtrack_source_retire(struct migtrack_source *source);

#endif /* _MIGTRACK_SOURCE_H */
