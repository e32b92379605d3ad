/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_MAP_H
#define _MIGTRACK_MAP_H

#include <linux/bits.h>
#include <linux/gfp.h>
#include <linux/kref.h>
#include <linux/mm_types.h>

/*
 * Where things are in the session's mapping: it is cut into slots of 1 TiB.
 * The header page is in slot 0, the bitmap of source N in slot N + 1.
 */
#define MIGTRACK_SLOT_SHIFT	40
#define MIGTRACK_SLOT_SIZE	BIT_ULL(MIGTRACK_SLOT_SHIFT)

/**
 * struct migtrack_map - zeroed kernel memory that its owner can map
 * @kref: held by the object it belongs to and by each mapping, so that a
 *	mapping stays valid when the object has ended
 * @addr: page-aligned
 * @size: a multiple of the page size
 */
struct migtrack_map {
	struct kref kref;
	void *addr;
	size_t size;
};

/*
 * For memory whose size userspace chose: on its account, and without room there
 * or at all it is told so, and neither killed nor does it fill the log.
 */
#define MIGTRACK_GFP_LARGE	(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN |	\
				 __GFP_RETRY_MAYFAIL)

struct migtrack_map *migtrack_map_alloc(size_t size);
void migtrack_map_put(struct migtrack_map *map);
int migtrack_map_mmap(struct migtrack_map *map, struct vm_area_struct *vma);

#endif /* _MIGTRACK_MAP_H */
