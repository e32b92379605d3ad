/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_TRACKER_H
#define _MIGTRACK_TRACKER_H

#include <linux/hashtable.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct migtrack_ram;
struct migtrack_watch;

/* What is looked at in one go; whole if a mapping there is in doubt: 2 MiB. */
#define MIGTRACK_CHUNK_SHIFT	9
#define MIGTRACK_CHUNK_PAGES	BIT(MIGTRACK_CHUNK_SHIFT)
#define MIGTRACK_CHUNK_LONGS	(MIGTRACK_CHUNK_PAGES / BITS_PER_LONG)

/* Longer than reclaim takes from a folio that it gives up to its flush of the TLBs. */
#define MIGTRACK_ECHO_MS	100

/* Address spaces that are adopted; more of them are reported whole. */
#define MIGTRACK_MAX_WATCHES	1024

/**
 * struct migtrack_chunk - what happens to the mappings of a chunk
 * @seq: changes with every event. The tracker's lock
 * @active: invalidations under way. The tracker's lock
 * @marked: when a sync took marks last, in jiffies. The tracker's lock
 * @turned: when echo became older, in jiffies. The tracker's lock
 * @doubts: syncs left for which no gap is protected. The tracker's sync_lock
 */
struct migtrack_chunk {
	u32 seq;
	u32 active;
	u32 marked;
	u32 turned;
	u8 doubts;
};

/**
 * struct migtrack_tracker - a tracked file, shared by all sources that track it
 *
 * Guarantee: a page written before a sync was called is reported by that sync
 * at the latest; one written while it runs, by it or by the next. A page may
 * be reported without need, never missed. Documentation/tracker.rst has the
 * argument.
 *
 * Locking, outermost first::
 *
 *	sync_lock > mmap_lock (of another process) > folio lock > i_mmap_rwsem > lock
 *
 * Notifiers run under i_mmap_rwsem, an mmap_lock, or in reclaim, and may not
 * block: they take @lock only. Nothing under @lock allocates or sleeps, and
 * there is no GFP_KERNEL allocation under i_mmap_rwsem.
 *
 * @node: in the list of all trackers, under migtrack_trackers_lock
 * @users: sources, under migtrack_trackers_lock
 * @file: keeps the inode
 * @mapping: of @file
 * @npages: pages of the file when the tracker was made
 * @nchunks: chunks of the file
 * @sync_lock: one sync at a time; also guards the members down to @protecting,
 *	and changes of the watches' segments
 * @sources: struct migtrack_ram
 * @watches: struct migtrack_watch by mm
 * @nwatches: how many
 * @carry: pages to report at the next sync, whatever it finds
 * @pres: pages that were present at the last walk
 * @protecting: the task that is inside one of our own protect calls. Written by
 *	that task only; a notifier compares it with current, without a lock
 * @lock: guards what follows
 * @marks: pages of events since the last sync
 * @echo: marks that syncs have taken, reported once more by each sync up to the first
 *	that comes MIGTRACK_ECHO_MS later
 * @older: the same, from before @turned of their chunk
 * @chunks: per chunk
 * @ndead: watches that died and were not freed yet
 * @reap_work: frees these
 * @end_work: queued once no source is left: ends the tracker
 * @adopted: a watch left MIGTRACK_WATCH_PENDING
 */
struct migtrack_tracker {
	struct list_head node;
	unsigned int users;

	struct file *file;
	struct address_space *mapping;
	pgoff_t npages;
	unsigned long nchunks;

	struct mutex sync_lock;		/* one sync at a time */
	struct list_head sources;
	DECLARE_HASHTABLE(watches, 6);
	unsigned int nwatches;
	unsigned long *carry;
	unsigned long *pres;
	struct task_struct *protecting;

	spinlock_t lock;		/* innermost; notifiers take it */
	unsigned long *marks;
	unsigned long *echo;
	unsigned long *older;
	struct migtrack_chunk *chunks;
	unsigned int ndead;

	struct work_struct reap_work;
	struct work_struct end_work;
	wait_queue_head_t adopted;
};

/**
 * struct migtrack_sync_stats - what a sync of a tracker did
 * @cancel: in: set by another task to end the sync early
 * @found: pages of the source that asked
 * @flags: MIGTRACK_COUNTER_FLAGS_BARRIER, _HUGE and _HELD
 * @held: pages with references beyond their mappings
 * @whole: chunks reported whole
 * @protected: page table entries write-protected
 * @calls: ranges write-protected
 * @processes: address spaces watched
 * @memory: bytes of kernel memory
 */
struct migtrack_sync_stats {
	const bool *cancel;
	u64 found;
	u32 flags;
	u64 held;
	u64 whole;
	u64 protected;
	u64 calls;
	u32 processes;
	u64 memory;
};

struct migtrack_tracker *migtrack_tracker_get(struct file *file);
void migtrack_tracker_put(struct migtrack_tracker *tracker);
void migtrack_tracker_attach(struct migtrack_tracker *tracker,
			     struct migtrack_ram *ram);
void migtrack_tracker_detach(struct migtrack_tracker *tracker,
			     struct migtrack_ram *ram);
int migtrack_tracker_sync(struct migtrack_tracker *tracker,
			  struct migtrack_ram *ram,
			  struct migtrack_sync_stats *stats);
void migtrack_tracker_carry(struct migtrack_tracker *tracker, pgoff_t first,
			    unsigned long npages);
void migtrack_tracker_mark(struct migtrack_tracker *tracker, pgoff_t first,
			   unsigned long npages);
int migtrack_tracker_refresh(struct migtrack_tracker *tracker, const bool *cancel);
bool migtrack_tracker_affords(u64 bytes);
void migtrack_tracker_end_dead(struct migtrack_tracker *tracker);

/* Pages that the bitmaps have room for: those of the file, in whole chunks. */
static inline pgoff_t migtrack_tracker_limit(const struct migtrack_tracker *tracker)
{
	return tracker->nchunks << MIGTRACK_CHUNK_SHIFT;
}

static inline unsigned long *migtrack_chunk_bits(unsigned long *bitmap,
						 unsigned long chunk)
{
	return bitmap + chunk * MIGTRACK_CHUNK_LONGS;
}

#endif /* _MIGTRACK_TRACKER_H */
