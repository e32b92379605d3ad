/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_WATCH_H
#define _MIGTRACK_WATCH_H

#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/workqueue.h>

struct migtrack_tracker;

/**
 * struct migtrack_segment - where an address space maps a part of the file
 * @start: first address
 * @end: address after the last one
 * @pgoff: page of the file at @start
 */
struct migtrack_segment {
	unsigned long start;
	unsigned long end;
	pgoff_t pgoff;
};

static inline pgoff_t migtrack_segment_page(const struct migtrack_segment *seg,
					    unsigned long addr)
{
	return seg->pgoff + ((addr - seg->start) >> PAGE_SHIFT);
}

enum migtrack_watch_state {
	MIGTRACK_WATCH_PENDING,		/* the work item will register it */
	MIGTRACK_WATCH_LIVE,
	MIGTRACK_WATCH_FAILED,		/* not registered, to be freed */
};

/**
 * struct migtrack_watch - an address space that maps the tracked file
 *
 * Found by a sync, registered ("adopted") by a work item, unregistered and
 * freed with the tracker's sync_lock held. While registered, its notifier
 * marks the pages of every event that may take the trace of a write away.
 *
 * @mn: the notifier; holds a reference to @mm of its own
 * @tracker: outlives the watch
 * @mm: referenced by mm_count, so that guest memory is not kept from being freed
 * @node: in the tracker's hash, under its sync_lock
 * @work: registers the notifier
 * @state: written by @work, released and acquired
 * @ending: we are unregistering; the address space lives on. sync_lock
 * @unproven: events may have been missed since the last sync: report the
 *	segments. sync_lock
 * @seen: by the refresh that is under way. sync_lock
 * @awaited: made by the refresh that is under way. sync_lock
 * @segs: sorted by address; written under sync_lock and lock
 * @nsegs: likewise
 * @dead: the address space is going; no more events. lock
 * @open: invalidations under way in this address space. lock
 * @forked: for so many more syncs, a child may have written. lock
 * @active: its share of each chunk's active. lock
 */
struct migtrack_watch {
	struct mmu_notifier mn;
	struct migtrack_tracker *tracker;
	struct mm_struct *mm;
	struct hlist_node node;
	struct work_struct work;
	enum migtrack_watch_state state;
	bool ending;
	bool unproven;
	bool seen;
	bool awaited;
	struct migtrack_segment *segs;
	unsigned int nsegs;
	bool dead;
	unsigned int open;
	unsigned int forked;
	u32 *active;
};

struct migtrack_watch *migtrack_watch_find(struct migtrack_tracker *tracker,
					   struct mm_struct *mm);
struct migtrack_watch *migtrack_watch_new(struct migtrack_tracker *tracker,
					  struct mm_struct *mm);
void migtrack_watch_end(struct migtrack_watch *watch);
const struct migtrack_segment *
migtrack_watch_segment(const struct migtrack_watch *watch, unsigned long addr);
bool migtrack_watch_covers(const struct migtrack_watch *watch,
			   unsigned long start, unsigned long end, pgoff_t pgoff);

#endif /* _MIGTRACK_WATCH_H */
