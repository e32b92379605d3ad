// SPDX-License-Identifier: GPL-2.0-only
/*
 * A sync of a range of a tracked file: find what may have been written, protect
 * it again, and hand it to every source that tracks it, chunk by chunk.
 */

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/rmap.h>
#include <linux/sched.h>

#include <linux/migtrack.h>

#include "bits.h"
#include "mutant.h"
#include "ram.h"
#include "trace.h"
#include "tracker.h"
#include "walk.h"
#include "watch.h"

/*
 * A call that protects costs about as much as so many faults of the guest; KVM
 * drops all that is in its range. Gaps up to this are protected with what is
 * beside them.
 */
#define MIGTRACK_PROTECT_GAP	4

/* And no gap after so many pages: a count that does not fit tells of all before. */
#define MIGTRACK_PROTECT_RUN	64

/*
 * Nor in a chunk whose count has not fit for so many syncs: somebody is at it all
 * the time, and each gap would be reported without need.
 */
#define MIGTRACK_DOUBT_SYNCS	16
/* And longer where the page tables had to be read again for it. */
#define MIGTRACK_AGAIN_SYNCS	240

/* Folios of a chunk that are tried to be locked; the others' owners are busy. */
#define MIGTRACK_LOCK_TRIES	8

/**
 * migtrack_tracker_carry - let the next sync report pages
 * @tracker: the tracker
 * @first: first page; may be past the tracked ones, as may be
 * @npages: how many
 */
void migtrack_tracker_carry(struct migtrack_tracker *tracker, pgoff_t first,
			    unsigned long npages)
{
	pgoff_t limit = migtrack_tracker_limit(tracker);

	lockdep_assert_held(&tracker->sync_lock);

	first = min(first, limit);
	migtrack_bits_set(tracker->carry, first, min(npages, limit - first));
}

/**
 * migtrack_tracker_mark - let syncs report pages for as long as an echo lasts
 * @tracker: the tracker
 * @first: first page; may be past the tracked ones, as may be
 * @npages: how many
 *
 * As if there had been an event. Sleeps.
 */
void migtrack_tracker_mark(struct migtrack_tracker *tracker, pgoff_t first,
			   unsigned long npages)
{
	pgoff_t limit = migtrack_tracker_limit(tracker), end, last;

	first = min(first, limit);
	last = first + min(npages, limit - first);
	/* Each chunk is consistent by itself. */
	for (; first < last; first = end) {
		end = min(last, (first | (MIGTRACK_CHUNK_PAGES - 1)) + 1);
		spin_lock(&tracker->lock);
		migtrack_bits_set(tracker->marks, first, end - first);
		spin_unlock(&tracker->lock);
		cond_resched();
	}
}

/* Has anything happened in a chunk since it had @seq, or is it happening? */
static bool migtrack_chunk_changed(struct migtrack_tracker *tracker,
				   const struct migtrack_chunk *chunk, u32 seq)
{
	bool changed;

	spin_lock(&tracker->lock);
	changed = chunk->seq != seq || chunk->active;
	spin_unlock(&tracker->lock);
	return changed;
}

/*
 * Keep huge entries away for as long as this is held: nobody makes a huge folio of
 * a chunk's small ones, in which alone there can be huge entries, while one of these
 * is locked. wp_shared_mapping_range() warns of a huge entry.
 *
 * Returns NULL if that can't be had at once.
 */
static struct folio *migtrack_lock_small(struct migtrack_tracker *tracker,
					 const struct migtrack_walk *walk)
{
	unsigned long bit = find_first_bit(walk->writable, MIGTRACK_CHUNK_PAGES);
	struct folio *folio;
	unsigned int try;

	for (try = 0; try < MIGTRACK_LOCK_TRIES && bit < MIGTRACK_CHUNK_PAGES; try++) {
		folio = __filemap_get_folio(tracker->mapping, walk->first + bit,
					    FGP_LOCK | FGP_NOWAIT, 0);
		if (!IS_ERR(folio)) {
			if (folio_nr_pages(folio) < MIGTRACK_CHUNK_PAGES)
				return folio;
			folio_unlock(folio);
			folio_put(folio);
			return NULL;
		}
		bit = find_next_bit(walk->writable, MIGTRACK_CHUNK_PAGES, bit + 1);
	}
	return NULL;
}

/* The end of the run at @start, with others that are no further than @gap. */
static unsigned long migtrack_run_end(const unsigned long *bits,
				      unsigned long start, unsigned long gap,
				      unsigned long *nbits)
{
	unsigned long end, next = start;

	*nbits = 0;
	do {
		end = find_next_zero_bit(bits, MIGTRACK_CHUNK_PAGES, next);
		*nbits += end - next;
		next = find_next_bit(bits, MIGTRACK_CHUNK_PAGES, end);
	} while (next < MIGTRACK_CHUNK_PAGES && next - end <= gap &&
		 next - start < MIGTRACK_PROTECT_RUN);
	return end;
}

/*
 * Where several mappings are, one that the calls stop at may have turned up between
 * them, and entries in the gaps of those before it make up in the count for those
 * behind it: these are writable still, or have been written again.
 */
static bool migtrack_left_writable(struct migtrack_tracker *tracker,
				   const struct migtrack_walk *walk,
				   unsigned long start, unsigned long end)
{
	struct migtrack_walk now = { .first = walk->first };

	if (walk->nmappings == 1)
		return false;

	migtrack_walk_range(tracker, &now, start, end);
	return bitmap_intersects(now.writable, walk->writable, MIGTRACK_CHUNK_PAGES);
}

/*
 * Write-protect what the walk found writable, and what is in the gaps between.
 * Were the entries that this changed those that the walk saw, and no others? Where
 * not, the pages of that range are added to @walk->found.
 */
static unsigned long migtrack_protect(struct migtrack_tracker *tracker,
				      struct migtrack_chunk *chunk, u32 seq,
				      struct migtrack_walk *walk, u64 *calls)
{
	const unsigned long *bits = walk->writable;
	bool single = walk->nwritable == bitmap_weight(bits, MIGTRACK_CHUNK_PAGES);
	DECLARE_BITMAP(doubtful, MIGTRACK_CHUNK_PAGES) = {};
	DECLARE_BITMAP(ranges, MIGTRACK_CHUNK_PAGES) = {};
	unsigned long gap = chunk->doubts ? 0 : MIGTRACK_PROTECT_GAP;
	unsigned long start, end, nbits, n, protected = 0;
	bool again, left = false;
	struct folio *folio;

	lockdep_assert_held(&tracker->sync_lock);

	folio = migtrack_lock_small(tracker, walk);
	if (!folio)
		return 0;
	if (migtrack_chunk_changed(tracker, chunk, seq))
		goto out_unlock;

	WRITE_ONCE(tracker->protecting, current);
	for (start = find_first_bit(bits, MIGTRACK_CHUNK_PAGES);
	     start < MIGTRACK_CHUNK_PAGES;
	     start = find_next_bit(bits, MIGTRACK_CHUNK_PAGES, end)) {
		end = migtrack_run_end(bits, start, gap, &nbits);
		n = wp_shared_mapping_range(tracker->mapping, walk->first + start,
					    end - start);
		protected += n;
		++*calls;
		bitmap_set(ranges, start, end - start);
		if (!single)
			continue;
		/* At once: of what is written meanwhile this puts only a run in doubt. */
		again = end - start != nbits &&
			migtrack_left_writable(tracker, walk, start, end);
		left |= again;
		if (n != nbits || again)
			bitmap_set(doubtful, start, end - start);
	}
	WRITE_ONCE(tracker->protecting, NULL);

	/* With pages that several processes can write to, only the sum tells. */
	if (!single && !bitmap_equal(ranges, bits, MIGTRACK_CHUNK_PAGES))
		left = migtrack_left_writable(tracker, walk, 0, MIGTRACK_CHUNK_PAGES);
	if ((!single && (protected != walk->nwritable || left)) ||
	    (migtrack_chunk_changed(tracker, chunk, seq) &&
	     !migtrack_without(MIGTRACK_STEP_SEQ)))
		bitmap_copy(doubtful, ranges, MIGTRACK_CHUNK_PAGES);

	if (migtrack_without(MIGTRACK_STEP_COUNT))
		goto out_unlock;

	if (!bitmap_empty(doubtful, MIGTRACK_CHUNK_PAGES))
		chunk->doubts = left ? MIGTRACK_AGAIN_SYNCS : MIGTRACK_DOUBT_SYNCS;
	else if (chunk->doubts)
		chunk->doubts--;
	bitmap_or(walk->found, walk->found, doubtful, MIGTRACK_CHUNK_PAGES);
out_unlock:
	folio_unlock(folio);
	folio_put(folio);
	return protected;
}

/*
 * Somebody who looked the page up while it was writable may still write to it:
 * a device, io_uring, a vhost worker. Not all of them pin, so any reference
 * beyond those of the mappings and of the page cache counts.
 */
static bool migtrack_folio_held(struct folio *folio)
{
	int ours = 1, refs, expected;
	bool batched;

	expected = folio_mapcount(folio) + folio_nr_pages(folio) +
		   folio_test_private(folio);
	/*
	 * A folio on its way to or from the LRU has one more. It must be on its
	 * way both before and after, with as many references, or that one may be
	 * gone and hide another.
	 */
	smp_rmb();	/* mappings first: one that goes meanwhile leaves a mark */
	batched = !folio_test_lru(folio);
	smp_rmb();	/* on its way before the references */
	refs = folio_ref_count(folio);
	smp_rmb();	/* and after them */
	batched = batched && !folio_test_lru(folio);
	smp_rmb();	/* and they are still the same */
	if (batched && folio_ref_count(folio) != refs)
		return true;

	return refs - ours > expected + batched;
}

/*
 * Pages of @bits that are to be reported again: those that are @held, and of those
 * that lost an entry lately, @recent, those whose folio is still locked: reclaim and
 * migration flush the TLB before they unlock it, at last. Both are zeroed.
 */
static void migtrack_find_held(struct migtrack_tracker *tracker,
			       pgoff_t chunk_first, const unsigned long *bits,
			       unsigned long *held, unsigned long *recent)
{
	DECLARE_BITMAP(locked, MIGTRACK_CHUNK_PAGES) = {};
	pgoff_t next = chunk_first + find_first_bit(bits, MIGTRACK_CHUNK_PAGES);
	pgoff_t last = chunk_first + find_last_bit(bits, MIGTRACK_CHUNK_PAGES);
	struct folio_batch batch;
	unsigned int i;

	folio_batch_init(&batch);
	while (filemap_get_folios(tracker->mapping, &next, last, &batch)) {
		for (i = 0; i < folio_batch_count(&batch); i++) {
			struct folio *folio = batch.folios[i];
			pgoff_t from = max(folio->index, chunk_first);
			pgoff_t to = min(folio->index + folio_nr_pages(folio),
					 chunk_first + MIGTRACK_CHUNK_PAGES);

			if (from < to && migtrack_folio_held(folio))
				bitmap_set(held, from - chunk_first, to - from);
			if (from < to && folio_test_locked(folio))
				bitmap_set(locked, from - chunk_first, to - from);
			folio_put(folio);
		}
		folio_batch_init(&batch);
	}
	bitmap_and(held, held, bits, MIGTRACK_CHUNK_PAGES);
	bitmap_and(recent, recent, locked, MIGTRACK_CHUNK_PAGES);
}

/* Pages of processes that died meanwhile and whose marks are not made yet. */
static void migtrack_add_dead(struct migtrack_tracker *tracker,
			      pgoff_t chunk_first, unsigned long *bits)
{
	pgoff_t chunk_end = chunk_first + MIGTRACK_CHUNK_PAGES;
	struct migtrack_watch *watch;
	unsigned int bucket, i;

	lockdep_assert_held(&tracker->lock);

	hash_for_each(tracker->watches, bucket, watch, node) {
		if (!watch->dead)
			continue;
		for (i = 0; i < watch->nsegs; i++) {
			const struct migtrack_segment *seg = &watch->segs[i];
			pgoff_t from = max(seg->pgoff, chunk_first);
			pgoff_t to = min(migtrack_segment_page(seg, seg->end),
					 chunk_end);

			if (from < to)
				bitmap_set(bits, from - chunk_first, to - from);
		}
	}
}

/*
 * A hole punch tells of its whole range first and takes the pages out of the
 * file after that, one by one. It holds the inode's lock from before its mark
 * until the last page is gone.
 */
static bool migtrack_is_punched(const struct migtrack_tracker *tracker)
{
	return inode_is_locked(tracker->mapping->host) &&
	       !migtrack_without(MIGTRACK_STEP_PUNCH);
}

/* The mutants whose steps these would do as well are without them, too. */
static bool migtrack_heeds_flushes(void)
{
	return !migtrack_without(MIGTRACK_STEP_FLUSH) &&
	       !migtrack_without(MIGTRACK_STEP_ECHO) &&
	       !migtrack_without(MIGTRACK_STEP_KEEP);
}

/*
 * What takes many entries away may tell of it first and flush the TLBs after that;
 * until then a thread can write through an entry that is not there any more. It
 * says so before it begins, so that whoever sees its mark sees this.
 */
static bool migtrack_flush_pending(struct migtrack_tracker *tracker)
{
	struct migtrack_watch *watch;
	unsigned int bucket;

	lockdep_assert_held(&tracker->lock);

	if (!migtrack_heeds_flushes())
		return false;
	hash_for_each(tracker->watches, bucket, watch, node)
		if (!watch->dead && mm_tlb_flush_pending(watch->mm))
			return true;
	return false;
}

/*
 * What earlier syncs took is @recent, too. It is forgotten once it is old enough; sources
 * that share a chunk, and other sessions', can be there right after us. There are two ages,
 * so that marks without end make none of them stay for longer than that, twice.
 */
static void migtrack_take_echo(struct migtrack_tracker *tracker, unsigned long nr,
			       unsigned long *recent)
{
	unsigned long *echo = migtrack_chunk_bits(tracker->echo, nr);
	unsigned long *older = migtrack_chunk_bits(tracker->older, nr);
	struct migtrack_chunk *chunk = &tracker->chunks[nr];
	u32 now = jiffies, enough = msecs_to_jiffies(MIGTRACK_ECHO_MS);

	lockdep_assert_held(&tracker->lock);

	/* As long as what a test can make last, it would hide that these are left out. */
	if (migtrack_without(MIGTRACK_STEP_KEEP) || migtrack_without(MIGTRACK_STEP_PUNCH) ||
	    migtrack_without(MIGTRACK_STEP_FLUSH))
		enough = 0;

	bitmap_or(recent, recent, echo, MIGTRACK_CHUNK_PAGES);
	bitmap_or(recent, recent, older, MIGTRACK_CHUNK_PAGES);
	if (now - chunk->marked > enough) {
		bitmap_zero(echo, MIGTRACK_CHUNK_PAGES);
		bitmap_zero(older, MIGTRACK_CHUNK_PAGES);
	} else if (now - chunk->turned > enough) {
		bitmap_copy(older, echo, MIGTRACK_CHUNK_PAGES);
		bitmap_zero(echo, MIGTRACK_CHUNK_PAGES);
		chunk->turned = now;
	}
}

/*
 * Marks stay while an invalidation is under way, as its zap may come after us, and
 * while a TLB may be stale; and are reported once more after that, by a sync that comes
 * long enough after it, for reclaim that gives a folio up before it flushes. Returns
 * true if they stay: so has all that is @recent, as a mapping that no segment covered
 * yet has no marks.
 */
static bool migtrack_take_marks(struct migtrack_tracker *tracker, unsigned long nr,
				unsigned long *c, unsigned long *recent)
{
	unsigned long *marks = migtrack_chunk_bits(tracker->marks, nr);
	unsigned long *echo = migtrack_chunk_bits(tracker->echo, nr);
	struct migtrack_chunk *chunk = &tracker->chunks[nr];
	bool stay;

	lockdep_assert_held(&tracker->lock);

	bitmap_or(recent, recent, marks, MIGTRACK_CHUNK_PAGES);
	if (!migtrack_without(MIGTRACK_STEP_ECHO))
		migtrack_take_echo(tracker, nr, recent);
	if (!bitmap_empty(marks, MIGTRACK_CHUNK_PAGES)) {
		bitmap_or(echo, echo, marks, MIGTRACK_CHUNK_PAGES);
		chunk->marked = jiffies;
	}
	bitmap_or(c, c, recent, MIGTRACK_CHUNK_PAGES);
	if (bitmap_empty(recent, MIGTRACK_CHUNK_PAGES))
		return false;

	stay = (chunk->active && !migtrack_without(MIGTRACK_STEP_KEEP)) ||
	       migtrack_is_punched(tracker) || migtrack_flush_pending(tracker);
	if (!stay)
		bitmap_zero(marks, MIGTRACK_CHUNK_PAGES);
	return stay;
}

static void migtrack_sync_chunk(struct migtrack_tracker *tracker,
				struct migtrack_ram *ram, unsigned long nr,
				struct migtrack_sync_stats *stats)
{
	struct migtrack_chunk *chunk = &tracker->chunks[nr];
	unsigned long *carry = migtrack_chunk_bits(tracker->carry, nr);
	unsigned long *pres = migtrack_chunk_bits(tracker->pres, nr);
	struct migtrack_walk walk = { .first = nr << MIGTRACK_CHUNK_SHIFT };
	DECLARE_BITMAP(scratch, MIGTRACK_CHUNK_PAGES);
	DECLARE_BITMAP(recent, MIGTRACK_CHUNK_PAGES);
	unsigned long *fresh = scratch, *held = scratch;
	unsigned long *c = walk.found;
	unsigned long protected = 0;
	bool stay;
	u32 seq;

	if (migtrack_without(MIGTRACK_STEP_ALGORITHM)) {
		migtrack_mutant_sync_chunk(tracker, ram, nr);
		return;
	}

	spin_lock(&tracker->lock);
	seq = chunk->seq;
	spin_unlock(&tracker->lock);

	migtrack_walk_chunk(tracker, &walk);
	stats->flags |= walk.flags;

	/*
	 * A page that turned up may have been put there write-protected by
	 * UFFDIO_COPY, which leaves no other trace.
	 */
	bitmap_or(c, c, carry, MIGTRACK_CHUNK_PAGES);
	bitmap_andnot(fresh, walk.present, pres, MIGTRACK_CHUNK_PAGES);
	if (!migtrack_without(MIGTRACK_STEP_PRESENT))
		bitmap_or(c, c, fresh, MIGTRACK_CHUNK_PAGES);
	bitmap_copy(pres, walk.present, MIGTRACK_CHUNK_PAGES);

	bitmap_copy(recent, carry, MIGTRACK_CHUNK_PAGES);
	spin_lock(&tracker->lock);
	stay = migtrack_take_marks(tracker, nr, c, recent);
	if (tracker->ndead)
		migtrack_add_dead(tracker, walk.first, c);
	spin_unlock(&tracker->lock);

	/* Protecting costs the guest faults: never where nothing is writable. */
	if (walk.flags & MIGTRACK_COUNTER_FLAGS_HUGE) {
		walk.whole = true;
	} else if (walk.nwritable) {
		protected = migtrack_protect(tracker, chunk, seq, &walk,
					     &stats->calls);
		stats->protected += protected;
	}

	if (walk.whole) {
		bitmap_fill(c, MIGTRACK_CHUNK_PAGES);
		stats->whole++;
	}

	bitmap_zero(carry, MIGTRACK_CHUNK_PAGES);
	if (walk.untracked && !migtrack_without(MIGTRACK_STEP_UNTRACKED))
		bitmap_fill(carry, MIGTRACK_CHUNK_PAGES);
	if (bitmap_empty(c, MIGTRACK_CHUNK_PAGES))
		return;

	if (stay && migtrack_heeds_flushes() && !migtrack_without(MIGTRACK_STEP_UNPROVEN))
		bitmap_or(carry, carry, recent, MIGTRACK_CHUNK_PAGES);
	bitmap_zero(held, MIGTRACK_CHUNK_PAGES);
	migtrack_find_held(tracker, walk.first, c, held, recent);
	if (migtrack_without(MIGTRACK_STEP_CARRY))
		bitmap_zero(held, MIGTRACK_CHUNK_PAGES);
	bitmap_or(carry, carry, held, MIGTRACK_CHUNK_PAGES);
	if (migtrack_heeds_flushes())
		bitmap_or(carry, carry, recent, MIGTRACK_CHUNK_PAGES);
	if (!bitmap_empty(held, MIGTRACK_CHUNK_PAGES)) {
		stats->held += bitmap_weight(held, MIGTRACK_CHUNK_PAGES);
		stats->flags |= MIGTRACK_COUNTER_FLAGS_HELD;
	}

	trace_migtrack_chunk(tracker, walk.first, c, walk.nwritable, protected,
			     walk.whole);
	migtrack_ram_report(tracker, ram, walk.first, c);
}

static u64 migtrack_tracker_memory(const struct migtrack_tracker *tracker)
{
	u64 bitmap = tracker->nchunks * MIGTRACK_CHUNK_LONGS * sizeof(long);
	u64 watch = tracker->nchunks * sizeof(u32);

	return sizeof(*tracker) + 5 * bitmap +
	       tracker->nchunks * sizeof(*tracker->chunks) +
	       tracker->nwatches * watch;
}

/**
 * migtrack_tracker_sync - find what was written since the last sync
 * @tracker: the tracker
 * @ram: the source that asked, attached to @tracker
 * @stats: what was done
 *
 * Looks at the chunks of @ram, and sets the bits of all sources there. Sleeps;
 * takes the tracker's sync_lock, so another source's sync comes first.
 *
 * Return: 0, also if the VMM of @ram ended meanwhile; -EINTR if cancelled or
 * -ENOMEM, and then the pages that were not looked at are found by the next one.
 */
int migtrack_tracker_sync(struct migtrack_tracker *tracker,
			  struct migtrack_ram *ram,
			  struct migtrack_sync_stats *stats)
{
	unsigned long chunk;
	int err;

	mutex_lock(&tracker->sync_lock);
	err = migtrack_tracker_refresh(tracker, stats->cancel);
	if (err)
		goto out;

	for (chunk = migtrack_ram_first_chunk(ram);
	     chunk <= migtrack_ram_last_chunk(ram); chunk++) {
		if (READ_ONCE(*stats->cancel)) {
			err = -EINTR;
			goto out;
		}
		/* Else each chunk would look through what they had mapped. */
		if (READ_ONCE(tracker->ndead))
			migtrack_tracker_end_dead(tracker);
		/* Its memory is not to wait for the rest of the sync. */
		if (READ_ONCE(ram->gone))
			goto out;
		migtrack_sync_chunk(tracker, ram, chunk, stats);
		cond_resched();
	}
	stats->found = ram->found;
	ram->found = 0;
	stats->processes = tracker->nwatches;
	stats->memory = migtrack_tracker_memory(tracker);
out:
	mutex_unlock(&tracker->sync_lock);
	return err;
}
