// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads the page tables of every mapping of a chunk. Changes nothing.
 *
 * A VMA is taken out of the file's i_mmap before its page tables are freed, so
 * i_mmap_rwsem keeps those of exit and munmap away; what frees tables under a
 * living VMA (khugepaged, reclaim of empty tables) does it by RCU.
 */

#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/rcupdate.h>

#include <linux/migtrack.h>

#include "mutant.h"
#include "ram.h"
#include "walk.h"
#include "watch.h"

INTERVAL_TREE_DEFINE(struct vm_area_struct, shared.rb, unsigned long,
		     shared.rb_subtree_last, migtrack_vma_first,
		     migtrack_vma_last, static inline __maybe_unused,
		     migtrack_vma_tree)

struct vm_area_struct *migtrack_vma_iter_first(struct rb_root_cached *root,
					       unsigned long start,
					       unsigned long last)
{
	return migtrack_vma_tree_iter_first(root, start, last);
}

struct vm_area_struct *migtrack_vma_iter_next(struct vm_area_struct *vma,
					      unsigned long start,
					      unsigned long last)
{
	return migtrack_vma_tree_iter_next(vma, start, last);
}

static void migtrack_walk_huge(struct migtrack_walk *walk, unsigned int bit,
			       unsigned int nbits)
{
	if (migtrack_without(MIGTRACK_STEP_HUGE))
		return;
	bitmap_set(walk->found, bit, nbits);
	bitmap_set(walk->present, bit, nbits);
	walk->flags |= MIGTRACK_COUNTER_FLAGS_HUGE;
}

static void migtrack_walk_ptes(struct migtrack_walk *walk, pmd_t pmd,
			       unsigned long addr, unsigned int bit,
			       unsigned int nbits)
{
	pte_t *ptep = pte_offset_kernel(&pmd, addr);
	unsigned int end = bit + nbits;

	for (; bit < end; bit++, ptep++) {
		pte_t pte = ptep_get(ptep);

		if (!pte_present(pte))
			continue;

		__set_bit(bit, walk->present);
		if (pte_write(pte)) {
			__set_bit(bit, walk->writable);
			walk->nwritable++;
		}
		/*
		 * A NUMA hint fault may give the write bit back without a
		 * notification.
		 */
		if (pte_write(pte) || pte_protnone(pte))
			__set_bit(bit, walk->found);
	}
}

/* Entries of addresses within one page table. */
static void migtrack_walk_table(struct migtrack_walk *walk, struct mm_struct *mm,
				unsigned long addr, unsigned int bit,
				unsigned int nbits)
{
	pgd_t pgd, *pgdp = pgd_offset(mm, addr);
	p4d_t p4d, *p4dp;
	pud_t pud, *pudp;
	pmd_t pmd, *pmdp;

	pgd = READ_ONCE(*pgdp);
	if (pgd_none(pgd) || pgd_bad(pgd))
		return;

	p4dp = p4d_offset(pgdp, addr);
	p4d = READ_ONCE(*p4dp);
	if (p4d_none(p4d) || p4d_bad(p4d))
		return;

	pudp = pud_offset(p4dp, addr);
	pud = READ_ONCE(*pudp);
	if (pud_none(pud))
		return;
	if (pud_leaf(pud)) {
		migtrack_walk_huge(walk, bit, nbits);
		return;
	}
	if (pud_bad(pud))
		return;

	pmdp = pmd_offset(pudp, addr);
	pmd = pmdp_get_lockless(pmdp);
	if (pmd_none(pmd) || !pmd_present(pmd))
		return;
	if (pmd_leaf(pmd)) {
		migtrack_walk_huge(walk, bit, nbits);
		return;
	}
	if (pmd_bad(pmd))
		return;

	migtrack_walk_ptes(walk, pmd, addr, bit, nbits);
}

static void migtrack_walk_vma(struct migtrack_tracker *tracker,
			      struct migtrack_walk *walk, pgoff_t first,
			      pgoff_t last, struct vm_area_struct *vma)
{
	unsigned long addr = vma->vm_start + ((first - vma->vm_pgoff) << PAGE_SHIFT);
	unsigned long end = addr + ((last - first + 1) << PAGE_SHIFT);
	unsigned int bit = first - walk->first;
	struct migtrack_watch *watch;
	unsigned long next;

	if (migtrack_without(MIGTRACK_STEP_OTHERS) &&
	    !migtrack_ram_is_target(tracker, vma->vm_mm))
		return;

	/* What wp_shared_mapping_range() would stop at. */
	if ((READ_ONCE(vma->vm_flags) & (VM_SHARED | VM_MAYWRITE | VM_HUGETLB)) !=
	    (VM_SHARED | VM_MAYWRITE)) {
		walk->whole = true;
		walk->flags |= MIGTRACK_COUNTER_FLAGS_BARRIER;
		return;
	}

	watch = migtrack_watch_find(tracker, vma->vm_mm);
	if (!watch && migtrack_without(MIGTRACK_STEP_ADOPTION)) {
		walk->whole = false;
	} else if (!watch || !migtrack_watch_covers(watch, addr, end, first)) {
		walk->whole = true;
		walk->untracked = true;
	} else if (READ_ONCE(watch->state) != MIGTRACK_WATCH_LIVE ||
		   READ_ONCE(watch->dead)) {
		walk->whole = true;
	}

	for (; addr < end; addr = next) {
		unsigned int nbits;

		next = pmd_addr_end(addr, end);
		nbits = (next - addr) >> PAGE_SHIFT;
		rcu_read_lock();
		migtrack_walk_table(walk, vma->vm_mm, addr, bit, nbits);
		rcu_read_unlock();
		bit += nbits;
	}
}

/**
 * migtrack_walk_range - read the page tables of every mapping of a chunk's part
 * @tracker: the tracker
 * @walk: zeroed, but for @walk->first
 * @start: the first page, from the chunk's first
 * @end: the page after the last
 *
 * Called with the tracker's sync_lock, takes i_mmap_rwsem.
 */
void migtrack_walk_range(struct migtrack_tracker *tracker,
			 struct migtrack_walk *walk, unsigned int start,
			 unsigned int end)
{
	struct address_space *mapping = tracker->mapping;
	pgoff_t first = walk->first + start, last = walk->first + end - 1;
	struct vm_area_struct *vma;

	lockdep_assert_held(&tracker->sync_lock);

	i_mmap_lock_read(mapping);
	migtrack_for_each_vma(vma, mapping, first, last) {
		walk->nmappings++;
		migtrack_walk_vma(tracker, walk, max(first, vma->vm_pgoff),
				  min(last, migtrack_vma_last(vma)), vma);
		cond_resched();
	}
	i_mmap_unlock_read(mapping);
}
