/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_SOURCE_H
#define _MIGTRACK_SOURCE_H

#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/refcount.h>
#include <linux/workqueue.h>

#include <linux/migtrack.h>

#include "provider.h"
#include "sizes.h"

struct migtrack_dma_map;
struct migtrack_map;
struct migtrack_session;
struct migtrack_source;

/* What is known of a device; see struct migtrack_device_stats. */
#define MIGTRACK_DEVICE_STATE_KNOWN	BIT(0)
#define MIGTRACK_DEVICE_PRECOPY_KNOWN	BIT(1)
#define MIGTRACK_DEVICE_SIZE_KNOWN	BIT(2)

/**
 * struct migtrack_device_stats - what a device says about itself
 * @known: which of the following; 0 of a source that is no device
 * @state: enum migtrack_device_state
 * @initial: bytes
 * @dirty: bytes
 * @size: bytes; all that there is
 */
struct migtrack_device_stats {
	u32 known;
	u32 state;
	u64 initial;
	u64 dirty;
	u64 size;
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
 * @error: errno of the last query of a device, or 0
 * @device: of a device
 * @log: enum migtrack_dma_log, 0 if nobody asked for it
 * @log_error: errno, or 0
 * @untracked_pages: that the log reported, and that are in no source
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
	u32 error;
	struct migtrack_device_stats device;
	u32 log;
	u32 log_error;
	u64 untracked_pages;
};

/**
 * struct migtrack_source_ops - a type of source
 * @owner: the module that has it, which each source holds; NULL for this one
 * @attach: the source is in its session from now on. Called with the session's
 *	lock; NULL if that is nothing
 * @begin: a sync is going to be, ask for what takes long. Called in the context
 *	of who started it, with the session's lock; does not wait; NULL if nothing
 *	takes long
 * @set: something became known about the source. Called with the session's
 *	lock; NULL if nothing can
 * @log_start: have a device log what memory it writes, which harvests set in the
 *	bitmaps of the map's sources. Called with the session's lock; does not wait.
 *	NULL if it is no device
 * @log_stop: do without that; likewise
 * @harvest: set those pages. Called before any source's @sync, with the source's
 *	lock; sleeps; may end early when *cancel is set; NULL if there are none
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
	struct module *owner;
	void (*attach)(struct migtrack_source *source);
	void (*begin)(struct migtrack_source *source, enum migtrack_sync_kind kind);
	int (*set)(struct migtrack_source *source,
		   const struct migtrack_device_args *args,
		   struct netlink_ext_ack *extack);
	int (*log_start)(struct migtrack_source *source, struct migtrack_dma_map *map,
			 struct netlink_ext_ack *extack);
	int (*log_stop)(struct migtrack_source *source, struct netlink_ext_ack *extack);
	void (*harvest)(struct migtrack_source *source, const bool *cancel);
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
 * @name: for people, "" for none
 * @features: enum migtrack_device_features, 0 of a source that is no device
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
	char name[MIGTRACK_NAME_SIZE];
	u32 features;
	struct migtrack_map *map;
	struct work_struct retire_work;

	struct mutex lock;		/* one op at a time */
	struct migtrack_source_stats stats;
};

void migtrack_source_init(struct migtrack_source *source,
			  const struct migtrack_source_ops *ops,
			  enum migtrack_source_type type);
void migtrack_source_put(struct migtrack_source *source);
void migtrack_source_harvest(struct migtrack_source *source, const bool *cancel);
int migtrack_source_sync(struct migtrack_source *source,
			 enum migtrack_sync_kind kind, const bool *cancel);
void migtrack_source_stop(struct migtrack_source *source);
void migtrack_source_retire(struct migtrack_source *source);
void migtrack_source_gone(struct migtrack_source *source);
void migtrack_source_changed(struct migtrack_source *source);
u64 migtrack_source_session_id(const struct migtrack_source *source);

#endif /* _MIGTRACK_SOURCE_H */
