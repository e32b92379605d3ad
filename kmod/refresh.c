// SPDX-License-Identifier: GPL-2.0-only
/*
 * At the start of each sync: who maps the file, and where? Processes that were
 * not known are adopted, those that died or unmapped it are let go.
 */

#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "mutant.h"
#include "ram.h"
#include "tracker.h"
#include "walk.h"
#include "watch.h"

/* Rounds in which processes that just turned up are looked for. */
#define MIGTRACK_REFRESH_ROUNDS	8
/* How long all rounds wait for adoptions; a process can hold its mmap_lock. */
#define MIGTRACK_ADOPT_WAIT_MS	250
/* How often, and how long in us, to wait for an invalidation to end. */
#define MIGTRACK_OPEN_TRIES	50
#define MIGTRACK_OPEN_WAIT_US	200

struct migtrack_mapping {
	struct mm_struct *mm;
	struct migtrack_segment seg;
};

/**
 * struct migtrack_mappings - the shared mappings of a file, at one instant
 * @v: sorted by address space and address; each holds a reference to mm_count
 * @n: how many
 * @cap: room in @v
 */
struct migtrack_mappings {
	struct migtrack_mapping *v;
	size_t n;
	size_t cap;
};

static void migtrack_mappings_put(struct migtrack_mappings *maps)
{
	size_t i;

	for (i = 0; i < maps->n; i++)
		mmdrop(maps->v[i].mm);
	maps->n = 0;
}

static int migtrack_mapping_cmp(const void *a, const void *b)
{
	const struct migtrack_mapping *x = a, *y = b;

	if (x->mm != y->mm)
		return x->mm < y->mm ? -1 : 1;
	return x->seg.start < y->seg.start ? -1 : x->seg.start > y->seg.start;
}

/* Neighbours that mprotect or madvise split are one segment. */
static void migtrack_mappings_join(struct migtrack_mappings *maps)
{
	size_t i, out = 0;

	for (i = 1; i < maps->n; i++) {
		struct migtrack_mapping *last = &maps->v[out], *next = &maps->v[i];

		if (last->mm == next->mm && last->seg.end == next->seg.start &&
		    migtrack_segment_page(&last->seg, last->seg.end) == next->seg.pgoff) {
			last->seg.end = next->seg.end;
			mmdrop(next->mm);
		} else {
			maps->v[++out] = *next;
		}
	}
	if (maps->n)
		maps->n = out + 1;
}

static int migtrack_mappings_collect(struct migtrack_tracker *tracker,
				     struct migtrack_mappings *maps)
{
	struct address_space *mapping = tracker->mapping;
	struct migtrack_mapping *v;
	struct vm_area_struct *vma;
	size_t found;

	for (;;) {
		found = 0;
		i_mmap_lock_read(mapping);
		migtrack_for_each_vma(vma, mapping, 0,
				      migtrack_tracker_limit(tracker) - 1) {
			if (!(vma->vm_flags & VM_SHARED))
				continue;
			if (found++ >= maps->cap)
				continue;
			mmgrab(vma->vm_mm);
			maps->v[maps->n++] = (struct migtrack_mapping) {
				.mm		= vma->vm_mm,
				.seg.start	= vma->vm_start,
				.seg.end	= vma->vm_end,
				.seg.pgoff	= vma->vm_pgoff,
			};
		}
		i_mmap_unlock_read(mapping);

		if (found <= maps->cap)
			break;

		migtrack_mappings_put(maps);
		v = kvmalloc_array(found + 8, sizeof(*v), GFP_KERNEL | __GFP_NOWARN);
		if (!v)
			return -ENOMEM;
		kvfree(maps->v);
		maps->v = v;
		maps->cap = found + 8;
	}

	sort(maps->v, maps->n, sizeof(*maps->v), migtrack_mapping_cmp, NULL);
	migtrack_mappings_join(maps);
	return 0;
}

static void migtrack_carry_segment(struct migtrack_tracker *tracker,
				   const struct migtrack_segment *seg,
				   unsigned long start, unsigned long end)
{
	if (start < end)
		migtrack_tracker_carry(tracker, migtrack_segment_page(seg, start),
				       (end - start) >> PAGE_SHIFT);
}

/*
 * What a live watch has seen no event of may have been taken away by a reclaim that
 * has not flushed yet. The adoption of a new one has waited for that.
 */
static void migtrack_report_segment(struct migtrack_watch *watch, bool live,
				    const struct migtrack_segment *seg,
				    unsigned long start, unsigned long end)
{
	if (!live)
		migtrack_carry_segment(watch->tracker, seg, start, end);
	else if (start < end)
		migtrack_tracker_mark(watch->tracker, migtrack_segment_page(seg, start),
				      (end - start) >> PAGE_SHIFT);
}

/* Pages of @seg that the watch's segments do not have at these addresses. */
static void migtrack_report_uncovered(struct migtrack_watch *watch, bool live,
				      const struct migtrack_segment *seg)
{
	const struct migtrack_segment *old, *last = watch->segs + watch->nsegs;
	unsigned long addr = seg->start;

	for (old = migtrack_watch_segment(watch, addr);
	     old < last && old->start < seg->end; old++) {
		if (migtrack_segment_page(old, max(addr, old->start)) !=
		    migtrack_segment_page(seg, max(addr, old->start)))
			continue;
		migtrack_report_segment(watch, live, seg, addr, max(addr, old->start));
		addr = old->end;
	}
	migtrack_report_segment(watch, live, seg, addr, seg->end);
}

static void migtrack_carry_mappings(struct migtrack_tracker *tracker,
				    const struct migtrack_mapping *v, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		migtrack_carry_segment(tracker, &v[i].seg, v[i].seg.start,
				       v[i].seg.end);
}

static void migtrack_carry_known(struct migtrack_watch *watch)
{
	unsigned int i;

	for (i = 0; i < watch->nsegs; i++)
		migtrack_carry_segment(watch->tracker, &watch->segs[i],
				       watch->segs[i].start, watch->segs[i].end);
}

static bool migtrack_watch_same(const struct migtrack_watch *watch,
				const struct migtrack_mapping *v, size_t n)
{
	size_t i;

	if (watch->nsegs != n)
		return false;
	for (i = 0; i < n; i++)
		if (watch->segs[i].start != v[i].seg.start ||
		    watch->segs[i].end != v[i].seg.end ||
		    watch->segs[i].pgoff != v[i].seg.pgoff)
			return false;
	return true;
}

/*
 * The segments can change only while no invalidation is under way: its end
 * has to find what its start found. If one never ends, the old ones stay, and
 * the walk reports chunks of mappings that they do not cover whole, twice.
 */
static int migtrack_watch_set_segments(struct migtrack_watch *watch,
				       const struct migtrack_mapping *v, size_t n,
				       const bool *cancel)
{
	struct migtrack_tracker *tracker = watch->tracker;
	struct migtrack_segment *segs;
	unsigned int try;
	int err = 0;
	bool done;
	size_t i;

	segs = kvmalloc_array(max_t(size_t, n, 1), sizeof(*segs),
			      GFP_KERNEL | __GFP_NOWARN);
	if (!segs)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		segs[i] = v[i].seg;

	for (try = 0; try < MIGTRACK_OPEN_TRIES; try++) {
		spin_lock(&tracker->lock);
		done = watch->dead || !watch->open;
		if (done && !watch->dead) {
			swap(watch->segs, segs);
			watch->nsegs = n;
		}
		spin_unlock(&tracker->lock);
		if (done)
			break;
		if (READ_ONCE(*cancel)) {
			err = -EINTR;
			break;
		}
		usleep_range(MIGTRACK_OPEN_WAIT_US, 2 * MIGTRACK_OPEN_WAIT_US);
	}
	kvfree(segs);
	return err;
}

/* Bring a watch up to date with the mappings of its address space. */
static int migtrack_watch_refresh(struct migtrack_watch *watch,
				  const struct migtrack_mapping *v, size_t n,
				  const bool *cancel)
{
	/* Read first: registered later means that events may have been missed. */
	bool live = smp_load_acquire(&watch->state) == MIGTRACK_WATCH_LIVE;
	size_t i;
	int err;

	if (watch->unproven && !migtrack_without(MIGTRACK_STEP_UNPROVEN))
		migtrack_carry_known(watch);

	if (!migtrack_watch_same(watch, v, n)) {
		for (i = 0; i < n && !migtrack_without(MIGTRACK_STEP_UNCOVERED); i++)
			migtrack_report_uncovered(watch, live, &v[i].seg);
		err = migtrack_watch_set_segments(watch, v, n, cancel);
		if (err)
			return err;
	}

	if (live)
		watch->unproven = false;
	return 0;
}

/* A child may have written through the mappings that it got, and be gone. */
static void migtrack_refresh_forked(struct migtrack_tracker *tracker)
{
	struct migtrack_watch *watch;
	unsigned int bucket;
	bool forked;

	hash_for_each(tracker->watches, bucket, watch, node) {
		spin_lock(&tracker->lock);
		forked = watch->forked;
		if (forked)
			watch->forked--;
		spin_unlock(&tracker->lock);
		if (forked && !migtrack_without(MIGTRACK_STEP_FORKED))
			migtrack_carry_known(watch);
	}
}

/* Let go of those that died, failed, or no longer map the file. */
static void migtrack_refresh_reap(struct migtrack_tracker *tracker, bool unseen)
{
	struct migtrack_watch *watch;
	struct hlist_node *tmp;
	unsigned int bucket;

	hash_for_each_safe(tracker->watches, bucket, tmp, watch, node) {
		bool gone = READ_ONCE(watch->dead);

		watch->awaited = false;
		if (gone)
			migtrack_ram_mm_gone(tracker, watch->mm);
		if (gone || READ_ONCE(watch->state) == MIGTRACK_WATCH_FAILED ||
		    (unseen && !watch->seen && !watch->unproven &&
		     !migtrack_ram_is_target(tracker, watch->mm)))
			migtrack_watch_end(watch);
		else
			watch->seen = false;
	}
}

static bool migtrack_refresh_settled(struct migtrack_tracker *tracker)
{
	struct migtrack_watch *watch;
	unsigned int bucket;

	hash_for_each(tracker->watches, bucket, watch, node)
		if (watch->awaited && READ_ONCE(watch->state) == MIGTRACK_WATCH_PENDING)
			return false;
	return true;
}

/* One round: all mappings, each address space with its watch. */
static int migtrack_refresh_round(struct migtrack_tracker *tracker,
				  struct migtrack_mappings *maps,
				  const bool *cancel, bool *adopting)
{
	struct migtrack_watch *watch;
	unsigned int bucket;
	size_t i, n;
	int err;

	err = migtrack_mappings_collect(tracker, maps);
	if (err)
		return err;

	for (i = 0; i < maps->n; i += n) {
		struct mm_struct *mm = maps->v[i].mm;

		for (n = 1; i + n < maps->n && maps->v[i + n].mm == mm; n++)
			;

		if ((migtrack_without(MIGTRACK_STEP_OTHERS) ||
		     migtrack_without(MIGTRACK_STEP_ADOPTION)) &&
		    !migtrack_ram_is_target(tracker, mm))
			continue;

		watch = migtrack_watch_find(tracker, mm);
		if (!watch) {
			watch = migtrack_watch_new(tracker, mm);
			if (!watch) {
				/* It stays unknown: its chunks are reported whole. */
				migtrack_carry_mappings(tracker, &maps->v[i], n);
				continue;
			}
			watch->awaited = true;
			*adopting = true;
		}
		watch->seen = true;
		err = migtrack_watch_refresh(watch, &maps->v[i], n, cancel);
		if (err)
			break;
	}
	migtrack_mappings_put(maps);
	if (err)
		return err;

	/* Those that map nothing now: what they did was marked, or is carried. */
	hash_for_each(tracker->watches, bucket, watch, node) {
		if (watch->seen)
			continue;
		err = migtrack_watch_refresh(watch, NULL, 0, cancel);
		if (err)
			return err;
	}
	return 0;
}

/**
 * migtrack_tracker_refresh - bring the watches and their segments up to date
 * @tracker: the tracker
 * @cancel: set by another task to give up early
 *
 * What may have been written without a trace goes into the tracker's carry, or its
 * marks. A process whose adoption takes long stays unknown: its mappings are reported
 * whole until a sync starts after the adoption.
 *
 * Return: 0, -EINTR if cancelled, or -ENOMEM; what was found is not lost.
 */
int migtrack_tracker_refresh(struct migtrack_tracker *tracker, const bool *cancel)
{
	struct migtrack_mappings maps = {};
	long left = msecs_to_jiffies(MIGTRACK_ADOPT_WAIT_MS);
	unsigned int round;
	bool adopting;
	int err = 0;

	lockdep_assert_held(&tracker->sync_lock);

	migtrack_refresh_reap(tracker, false);
	migtrack_refresh_forked(tracker);

	for (round = 0; round < MIGTRACK_REFRESH_ROUNDS; round++) {
		adopting = false;
		err = migtrack_refresh_round(tracker, &maps, cancel, &adopting);
		if (err || !adopting)
			break;
		left = wait_event_timeout(tracker->adopted,
					  migtrack_refresh_settled(tracker) ||
					  READ_ONCE(*cancel), left);
		if (READ_ONCE(*cancel)) {
			err = -EINTR;
			break;
		}
	}
	kvfree(maps.v);
	if (!err)
		migtrack_refresh_reap(tracker, true);
	return err;
}
