// SPDX-License-Identifier: GPL-2.0-only
/*
 * The notifier in each address space that maps a tracked file: whatever may
 * take away a page table entry, or its write bit, marks the pages.
 */

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "bits.h"
#include "main.h"
#include "mutant.h"
#include "trace.h"
#include "tracker.h"
#include "watch.h"

/* Chunks of a range that are done before others get the lock. */
#define MIGTRACK_LOCK_CHUNKS	512

/* How many syncs after a fork the parent's mappings are reported. */
#define MIGTRACK_FORK_SYNCS	2

static struct migtrack_watch *to_watch(struct mmu_notifier *mn)
{
	return container_of(mn, struct migtrack_watch, mn);
}

/* The pages of @seg between two addresses, clipped to what is tracked. */
static bool migtrack_segment_clip(const struct migtrack_tracker *tracker,
				  const struct migtrack_segment *seg,
				  unsigned long start, unsigned long end,
				  pgoff_t *first, pgoff_t *last)
{
	start = max(start, seg->start);
	end = min(end, seg->end);
	if (start >= end)
		return false;

	*first = migtrack_segment_page(seg, start);
	*last = migtrack_segment_page(seg, end - 1);
	if (*first >= migtrack_tracker_limit(tracker))
		return false;
	*last = min(*last, migtrack_tracker_limit(tracker) - 1);
	return true;
}

static void migtrack_mark(struct migtrack_tracker *tracker, pgoff_t first,
			  pgoff_t last)
{
	lockdep_assert_held(&tracker->lock);
	if (!migtrack_without(MIGTRACK_STEP_MARKS))
		migtrack_bits_set(tracker->marks, first, last - first + 1);
}

enum migtrack_chunk_event {
	MIGTRACK_CHUNK_START,
	MIGTRACK_CHUNK_END,
};

static void migtrack_chunk_event(struct migtrack_watch *watch, pgoff_t first,
				 pgoff_t last, enum migtrack_chunk_event event)
{
	unsigned long nr = first >> MIGTRACK_CHUNK_SHIFT;
	struct migtrack_tracker *tracker = watch->tracker;
	struct migtrack_chunk *chunk = &tracker->chunks[nr];

	/*
	 * The end counts as well: what a sync saw while an invalidation was
	 * under way proves nothing.
	 */
	chunk->seq++;
	if (event == MIGTRACK_CHUNK_START) {
		migtrack_mark(tracker, first, last);
		chunk->active++;
		watch->active[nr]++;
	} else {
		chunk->active--;
		watch->active[nr]--;
	}
}

/*
 * Each chunk is consistent by itself, so the lock is let go of now and then: a
 * range can be a terabyte. The segments stay, as the watch is open; it may die.
 */
static void migtrack_watch_event(struct migtrack_watch *watch,
				 const struct mmu_notifier_range *range,
				 enum migtrack_chunk_event event)
{
	const struct migtrack_segment *seg, *end = watch->segs + watch->nsegs;
	struct migtrack_tracker *tracker = watch->tracker;
	unsigned int held = 0;
	pgoff_t first, last, part;

	lockdep_assert_held(&tracker->lock);

	for (seg = migtrack_watch_segment(watch, range->start);
	     seg < end && seg->start < range->end; seg++) {
		if (!migtrack_segment_clip(tracker, seg, range->start, range->end,
					   &first, &last))
			continue;
		for (; first <= last; first = part + 1) {
			part = min(last, first | (MIGTRACK_CHUNK_PAGES - 1));
			if (++held % MIGTRACK_LOCK_CHUNKS == 0) {
				spin_unlock(&tracker->lock);
				cpu_relax();
				spin_lock(&tracker->lock);
				if (watch->dead)
					return;
			}
			migtrack_chunk_event(watch, first, part, event);
		}
	}
}

/*
 * Our own protection takes no trace away that the sync has not seen. It would
 * mark all that it protects.
 */
static bool migtrack_own_call(const struct migtrack_tracker *tracker,
			      const struct mmu_notifier_range *range)
{
	if (migtrack_without(MIGTRACK_STEP_PROTECTION))
		return range->event == MMU_NOTIFY_PROTECTION_PAGE ||
		       range->event == MMU_NOTIFY_PROTECTION_VMA;

	return READ_ONCE(tracker->protecting) == current &&
	       range->event == MMU_NOTIFY_PROTECTION_PAGE;
}

static bool migtrack_maps_shared(const struct migtrack_tracker *tracker,
				 const struct vm_area_struct *vma)
{
	return vma->vm_file && (READ_ONCE(vma->vm_flags) & VM_SHARED) &&
	       vma->vm_file->f_mapping == tracker->mapping;
}

/* Asked at the fork: MADV_DONTFORK may come and go between two syncs. */
static bool migtrack_child_maps(const struct migtrack_tracker *tracker,
				struct mm_struct *mm)
{
	MA_STATE(mas, &mm->mm_mt, 0, 0);
	struct vm_area_struct *vma;
	bool maps = false;

	rcu_read_lock();
	while (!maps && (vma = mas_find(&mas, ULONG_MAX)) && !xa_is_zero(vma))
		maps = migtrack_maps_shared(tracker, vma) &&
		       !(READ_ONCE(vma->vm_flags) & VM_DONTCOPY);
	rcu_read_unlock();
	return maps;
}

/*
 * fork tells of the parent's private mappings only, and copies shared ones
 * without a word: a child that writes and exits before the next sync would
 * leave no trace.
 */
static bool migtrack_is_fork(const struct migtrack_watch *watch,
			     const struct mmu_notifier_range *range)
{
	MA_STATE(mas, &range->mm->mm_mt, range->start, range->start);
	struct vm_area_struct *vma;
	bool fork;

	if (range->event != MMU_NOTIFY_PROTECTION_PAGE ||
	    current->mm != range->mm)
		return false;
	/* One fork has many of these; it is counted already. */
	if (READ_ONCE(watch->forked) == MIGTRACK_FORK_SYNCS)
		return true;

	rcu_read_lock();
	vma = mas_walk(&mas);
	fork = vma && !(READ_ONCE(vma->vm_flags) & VM_SHARED);
	rcu_read_unlock();
	return fork && migtrack_child_maps(watch->tracker, range->mm);
}

static int migtrack_watch_range_start(struct mmu_notifier *mn,
				      const struct mmu_notifier_range *range)
{
	struct migtrack_watch *watch = to_watch(mn);
	struct migtrack_tracker *tracker = watch->tracker;
	bool fork;

	if (migtrack_own_call(tracker, range))
		return 0;

	fork = migtrack_is_fork(watch, range);

	spin_lock(&tracker->lock);
	if (!watch->dead) {
		watch->open++;
		migtrack_watch_event(watch, range, MIGTRACK_CHUNK_START);
		if (fork)
			watch->forked = MIGTRACK_FORK_SYNCS;
	}
	spin_unlock(&tracker->lock);
	return 0;
}

static void migtrack_watch_range_end(struct mmu_notifier *mn,
				     const struct mmu_notifier_range *range)
{
	struct migtrack_watch *watch = to_watch(mn);
	struct migtrack_tracker *tracker = watch->tracker;

	if (migtrack_own_call(tracker, range))
		return;

	spin_lock(&tracker->lock);
	if (!watch->dead && !WARN_ON_ONCE(!watch->open)) {
		migtrack_watch_event(watch, range, MIGTRACK_CHUNK_END);
		watch->open--;
	}
	spin_unlock(&tracker->lock);
}

/* Its invalidations end without us: take back what they hold. */
static void migtrack_watch_take_back(struct migtrack_watch *watch)
{
	struct migtrack_tracker *tracker = watch->tracker;
	unsigned long chunk;
	pgoff_t first, last;
	unsigned int i;

	lockdep_assert_held(&tracker->lock);

	for (i = 0; i < watch->nsegs; i++) {
		if (!migtrack_segment_clip(tracker, &watch->segs[i], 0, ULONG_MAX,
					   &first, &last))
			continue;
		for (chunk = first >> MIGTRACK_CHUNK_SHIFT;
		     chunk <= last >> MIGTRACK_CHUNK_SHIFT; chunk++) {
			tracker->chunks[chunk].seq++;
			if (!migtrack_without(MIGTRACK_STEP_RELEASE))
				tracker->chunks[chunk].active -= watch->active[chunk];
			watch->active[chunk] = 0;
		}
	}
}

/* Mappings that were made since the last sync are in no segment yet. */
static void migtrack_watch_mark_unseen(struct migtrack_watch *watch,
				       struct mm_struct *mm)
{
	MA_STATE(mas, &mm->mm_mt, 0, 0);
	struct migtrack_tracker *tracker = watch->tracker;
	struct migtrack_segment seg = {};
	struct vm_area_struct *vma;
	pgoff_t first, last;

	lockdep_assert_held(&tracker->lock);

	rcu_read_lock();
	while ((vma = mas_find(&mas, ULONG_MAX)) && !xa_is_zero(vma)) {
		seg.start = vma->vm_start;
		seg.end = vma->vm_end;
		seg.pgoff = vma->vm_pgoff;
		if (!migtrack_maps_shared(tracker, vma))
			continue;
		if (migtrack_watch_covers(watch, seg.start, seg.end, seg.pgoff))
			continue;
		if (migtrack_segment_clip(tracker, &seg, 0, ULONG_MAX, &first, &last))
			migtrack_mark(tracker, first, last);
	}
	rcu_read_unlock();
}

static void migtrack_watch_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct migtrack_watch *watch = to_watch(mn);
	struct migtrack_tracker *tracker = watch->tracker;
	bool reap = false;

	spin_lock(&tracker->lock);
	if (!watch->dead) {
		watch->dead = true;
		migtrack_watch_take_back(watch);
		if (!watch->ending) {
			if (!migtrack_without(MIGTRACK_STEP_UNSEEN))
				migtrack_watch_mark_unseen(watch, mm);
			tracker->ndead++;
			reap = true;
		}
	}
	spin_unlock(&tracker->lock);

	if (reap) {
		trace_migtrack_mm_release(tracker, mm);
		queue_work(migtrack_wq, &tracker->reap_work);
	}
}

static const struct mmu_notifier_ops migtrack_watch_ops = {
	.invalidate_range_start	= migtrack_watch_range_start,
	.invalidate_range_end	= migtrack_watch_range_end,
	.release		= migtrack_watch_release,
};

/* Reclaim takes entries away there, or did once, and flushes the TLBs after that. */
static bool migtrack_flushes_late(const struct mm_struct *mm)
{
#ifdef CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH
	return atomic_read(&mm->tlb_flush_batched);
#else
	return false;
#endif
}

/*
 * Adoption. A work item, because the mmap_lock of a process can be held for as
 * long as it likes; nothing waits for us but this.
 */
static void migtrack_watch_adopt(struct work_struct *work)
{
	struct migtrack_watch *watch = container_of(work, struct migtrack_watch, work);
	struct migtrack_tracker *tracker = watch->tracker;
	struct mm_struct *mm = watch->mm;
	int err = -ESRCH;

	if (mmget_not_zero(mm)) {
		err = mmap_write_lock_killable(mm);
		if (!err) {
			/* A fork that failed half-way leaves mappings that are none. */
			err = check_stable_address_space(mm) ? -EFAULT :
			      __mmu_notifier_register(&watch->mn, mm);
			mmap_write_unlock(mm);
		}
		mmput_async(mm);
	}

	trace_migtrack_mm_adopt(tracker, mm, err);

	/* What was taken away before we were told of such: its echo has to be over. */
	if (!err && migtrack_flushes_late(mm))
		msleep(MIGTRACK_ECHO_MS);

	/* Whoever sees it live sees the notifier at work. */
	smp_store_release(&watch->state,
			  err ? MIGTRACK_WATCH_FAILED : MIGTRACK_WATCH_LIVE);
	wake_up_all(&tracker->adopted);
}

/**
 * migtrack_watch_find - the watch of an address space
 * @tracker: whose
 * @mm: the address space
 *
 * Return: the watch or NULL.
 */
struct migtrack_watch *migtrack_watch_find(struct migtrack_tracker *tracker,
					   struct mm_struct *mm)
{
	struct migtrack_watch *watch;

	lockdep_assert_held(&tracker->sync_lock);

	hash_for_each_possible(tracker->watches, watch, node, (unsigned long)mm)
		if (watch->mm == mm)
			return watch;
	return NULL;
}

/**
 * migtrack_watch_new - start to watch an address space
 * @tracker: for this tracker
 * @mm: the address space; the caller holds a reference to mm_count
 *
 * The notifier is registered in the background; @tracker->adopted is woken.
 *
 * Return: the watch, in state MIGTRACK_WATCH_PENDING, or NULL without memory,
 * or if there are too many.
 */
struct migtrack_watch *migtrack_watch_new(struct migtrack_tracker *tracker,
					  struct mm_struct *mm)
{
	struct migtrack_watch *watch;

	lockdep_assert_held(&tracker->sync_lock);

	/* Whoever has the file chooses how many there are. */
	if (tracker->nwatches == MIGTRACK_MAX_WATCHES ||
	    !migtrack_tracker_affords((u64)(tracker->nwatches + 1) * tracker->nchunks *
				      sizeof(*watch->active)))
		return NULL;
	watch = kzalloc(sizeof(*watch), GFP_KERNEL);
	if (!watch)
		return NULL;

	watch->active = kvcalloc(tracker->nchunks, sizeof(*watch->active), GFP_KERNEL);
	if (!watch->active) {
		kfree(watch);
		return NULL;
	}

	mmgrab(mm);
	watch->mm = mm;
	watch->tracker = tracker;
	watch->mn.ops = &migtrack_watch_ops;
	watch->state = MIGTRACK_WATCH_PENDING;
	watch->unproven = true;
	INIT_WORK(&watch->work, migtrack_watch_adopt);
	hash_add(tracker->watches, &watch->node, (unsigned long)mm);
	tracker->nwatches++;
	trace_migtrack_mm_watch(tracker, mm);
	queue_work(migtrack_adopt_wq, &watch->work);
	return watch;
}

/* The writes of a process that is gone are found by the next two syncs. */
static void migtrack_watch_bequeath(struct migtrack_watch *watch)
{
	struct migtrack_tracker *tracker = watch->tracker;
	pgoff_t first, last;
	unsigned int i;

	for (i = 0; i < watch->nsegs; i++)
		if (migtrack_segment_clip(tracker, &watch->segs[i], 0, ULONG_MAX,
					  &first, &last))
			migtrack_tracker_mark(tracker, first, last - first + 1);
}

/**
 * migtrack_watch_end - stop to watch an address space and free the watch
 * @watch: the watch
 *
 * What a process that died may have written is handed to the tracker's marks.
 * Waits for the work item that registers the notifier, and for the notifier's
 * callbacks.
 */
void migtrack_watch_end(struct migtrack_watch *watch)
{
	struct migtrack_tracker *tracker = watch->tracker;
	bool died;

	lockdep_assert_held(&tracker->sync_lock);

	cancel_work_sync(&watch->work);

	spin_lock(&tracker->lock);
	watch->ending = true;
	died = watch->dead;
	spin_unlock(&tracker->lock);

	if (watch->state == MIGTRACK_WATCH_LIVE)
		mmu_notifier_unregister(&watch->mn, watch->mm);

	if ((died || watch->state != MIGTRACK_WATCH_LIVE) &&
	    !migtrack_without(MIGTRACK_STEP_EXIT))
		migtrack_watch_bequeath(watch);
	if (died) {
		spin_lock(&tracker->lock);
		tracker->ndead--;
		spin_unlock(&tracker->lock);
	}

	trace_migtrack_mm_free(tracker, watch->mm);
	hash_del(&watch->node);
	tracker->nwatches--;
	mmdrop(watch->mm);
	kvfree(watch->segs);
	kvfree(watch->active);
	kfree(watch);
}

/**
 * migtrack_watch_segment - the first segment that ends after an address
 * @watch: the watch
 * @addr: the address
 *
 * Called with the tracker's sync_lock or its lock held.
 *
 * Return: the segment, or the end of the array.
 */
const struct migtrack_segment *
migtrack_watch_segment(const struct migtrack_watch *watch, unsigned long addr)
{
	unsigned int low = 0, high = watch->nsegs;

	while (low < high) {
		unsigned int mid = low + (high - low) / 2;

		if (watch->segs[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return watch->segs + low;
}

/**
 * migtrack_watch_covers - do the segments tell where this mapping leads?
 * @watch: the watch
 * @start: first address
 * @end: address after the last one
 * @pgoff: page of the file at @start
 *
 * Called with the tracker's sync_lock or its lock held.
 *
 * Return: true if one segment has all of it, at the same pages.
 */
bool migtrack_watch_covers(const struct migtrack_watch *watch,
			   unsigned long start, unsigned long end, pgoff_t pgoff)
{
	const struct migtrack_segment *seg = migtrack_watch_segment(watch, start);

	return seg < watch->segs + watch->nsegs && seg->start <= start &&
	       end <= seg->end && migtrack_segment_page(seg, start) == pgoff;
}
