/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_WALK_H
#define _MIGTRACK_WALK_H

#include <linux/interval_tree_generic.h>
#include <linux/mm.h>

#include "tracker.h"

/*
 * The kernel's own vma_interval_tree_*() are not exported. These are the same
 * over the same nodes; only the iteration is used.
 */
static inline unsigned long migtrack_vma_first(struct vm_area_struct *vma)
{
	return vma->vm_pgoff;
}

static inline unsigned long migtrack_vma_last(struct vm_area_struct *vma)
{
	return vma->vm_pgoff + vma_pages(vma) - 1;
}

struct vm_area_struct *migtrack_vma_iter_first(struct rb_root_cached *root,
					       unsigned long start,
					       unsigned long last);
struct vm_area_struct *migtrack_vma_iter_next(struct vm_area_struct *vma,
					      unsigned long start,
					      unsigned long last);

/* Each VMA of a file's pages from..to. i_mmap_rwsem is held. */
#define migtrack_for_each_vma(vma, mapping, from, to)				\
	for ((vma) = migtrack_vma_iter_first(&(mapping)->i_mmap, from, to);	\
	     (vma); (vma) = migtrack_vma_iter_next(vma, from, to))

/**
 * struct migtrack_walk - what the page tables say about a chunk
 * @first: in: the chunk's first page
 * @found: pages that may have been written
 * @present: pages that are mapped
 * @writable: pages with an entry that can be written
 * @nwritable: such entries; a page can have several
 * @nmappings: mappings of the chunk, of all processes
 * @whole: the walk can't vouch for the chunk
 * @untracked: for a mapping that no notifier knows: if it goes before the next
 *	sync, nothing tells what was written through it
 * @flags: MIGTRACK_COUNTER_FLAGS_BARRIER and _HUGE
 */
struct migtrack_walk {
	pgoff_t first;
	DECLARE_BITMAP(found, MIGTRACK_CHUNK_PAGES);
	DECLARE_BITMAP(present, MIGTRACK_CHUNK_PAGES);
	DECLARE_BITMAP(writable, MIGTRACK_CHUNK_PAGES);
	unsigned long nwritable;
	unsigned long nmappings;
	bool whole;
	bool untracked;
	u32 flags;
};

void migtrack_walk_range(struct migtrack_tracker *tracker,
			 struct migtrack_walk *walk, unsigned int start,
			 unsigned int end);

static inline void migtrack_walk_chunk(struct migtrack_tracker *tracker,
				       struct migtrack_walk *walk)
{
	migtrack_walk_range(tracker, walk, 0, MIGTRACK_CHUNK_PAGES);
}

#endif /* _MIGTRACK_WALK_H */
