/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_RAM_H
#define _MIGTRACK_RAM_H

#include <linux/list.h>
#include <linux/spinlock.h>

#include "source.h"

struct migtrack_tracker;
struct sk_buff;
struct netlink_ext_ack;

/**
 * struct migtrack_ram - a range of a guest memory file, in one VMM
 * @source: what all sources have
 * @mm: the VMM's address space; its memory is not kept from being freed
 * @first: first page of the range
 * @npages: pages of the range
 * @tracker: of the file, NULL when stopped. source.lock
 * @attached: it is in the tracker's sources. source.lock
 * @armed: a sync succeeded. source.lock
 * @synced_at: CLOCK_MONOTONIC of the last sync in ns. source.lock
 * @node: in the tracker's sources, under its sync_lock
 * @found: pages found since the last sync of this source, under the tracker's
 *	sync_lock
 * @gone: the VMM's address space ended
 * @mark_lock: short; a device's pages are set in the map, or it is not set any more
 * @deaf: under @mark_lock: nothing is set in the map any more
 */
struct migtrack_ram {
	struct migtrack_source source;
	struct mm_struct *mm;
	pgoff_t first;
	unsigned long npages;
	struct migtrack_tracker *tracker;
	bool attached;
	bool armed;
	u64 synced_at;
	struct list_head node;
	u64 found;
	bool gone;
	spinlock_t mark_lock;		/* short */
	bool deaf;
};

/**
 * struct migtrack_ram_args - what to track
 * @pid: the VMM, in the caller's pid namespace
 * @fd: the memory, a descriptor of the caller
 * @offset: bytes
 * @length: bytes, 0 for up to the end of the file
 */
struct migtrack_ram_args {
	pid_t pid;
	int fd;
	u64 offset;
	u64 length;
};

struct migtrack_source *migtrack_ram_new(const struct migtrack_ram_args *args,
					 struct sk_buff *skb,
					 struct netlink_ext_ack *extack);

/* For the tracker, with its sync_lock held. */
void migtrack_ram_report(struct migtrack_tracker *tracker,
			 struct migtrack_ram *asker, pgoff_t chunk_first,
			 const unsigned long *bits);
unsigned long migtrack_ram_first_chunk(const struct migtrack_ram *ram);
unsigned long migtrack_ram_last_chunk(const struct migtrack_ram *ram);
void migtrack_ram_mm_gone(struct migtrack_tracker *tracker, struct mm_struct *mm);
bool migtrack_ram_is_target(struct migtrack_tracker *tracker, struct mm_struct *mm);

/* For devices that write to it. */
unsigned long migtrack_ram_mark(struct migtrack_source *source, unsigned long page,
				const unsigned long *bits, unsigned int from,
				unsigned int to);
void migtrack_ram_mark_range(struct migtrack_source *source, unsigned long page,
			     unsigned long n);
struct mm_struct *migtrack_ram_mm(struct migtrack_source *source);

#endif /* _MIGTRACK_RAM_H */
