// SPDX-License-Identifier: GPL-2.0-only
/* Trackers: made by the first source that tracks a file, ended by the last. */

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "main.h"
#include "map.h"
#include "mutant.h"
#include "ram.h"
#include "trace.h"
#include "tracker.h"
#include "watch.h"

/* A bitmap may take this share of the machine's memory, and so may all watches. */
#define MIGTRACK_MEMORY_SHARE	64

static DEFINE_MUTEX(migtrack_trackers_lock);
static LIST_HEAD(migtrack_trackers);

/**
 * migtrack_tracker_affords - is this much memory for one purpose acceptable?
 * @bytes: how much
 *
 * Return: true if so, on this machine.
 */
bool migtrack_tracker_affords(u64 bytes)
{
	return bytes <= ((u64)totalram_pages() << PAGE_SHIFT) / MIGTRACK_MEMORY_SHARE;
}

/**
 * migtrack_tracker_end_dead - end the watches of processes that died
 * @tracker: the tracker
 */
void migtrack_tracker_end_dead(struct migtrack_tracker *tracker)
{
	struct migtrack_watch *watch;
	struct hlist_node *tmp;
	unsigned int bucket;

	lockdep_assert_held(&tracker->sync_lock);

	hash_for_each_safe(tracker->watches, bucket, tmp, watch, node) {
		if (!READ_ONCE(watch->dead))
			continue;
		migtrack_ram_mm_gone(tracker, watch->mm);
		migtrack_watch_end(watch);
	}
}

/* Frees what died as soon as it dies, so that no mm_struct waits for a sync. */
static void migtrack_tracker_reap(struct work_struct *work)
{
	struct migtrack_tracker *tracker =
		container_of(work, struct migtrack_tracker, reap_work);

	mutex_lock(&tracker->sync_lock);
	migtrack_tracker_end_dead(tracker);
	mutex_unlock(&tracker->sync_lock);
}

static unsigned long *migtrack_bitmap_alloc(const struct migtrack_tracker *tracker)
{
	return __vmalloc(tracker->nchunks * MIGTRACK_CHUNK_LONGS * sizeof(long),
			 MIGTRACK_GFP_LARGE);
}

/* Without watches nothing can be under way. */
static void migtrack_tracker_check_rest(const struct migtrack_tracker *tracker)
{
	unsigned long chunk;

	for (chunk = 0; chunk < tracker->nchunks; chunk++)
		if (WARN_ON_ONCE(tracker->chunks[chunk].active && !migtrack_has_mutants()))
			break;
}

static void migtrack_tracker_free(struct migtrack_tracker *tracker)
{
	vfree(tracker->chunks);
	vfree(tracker->echo);
	vfree(tracker->older);
	vfree(tracker->marks);
	vfree(tracker->pres);
	vfree(tracker->carry);
	kfree(tracker);
}

/*
 * Waits for adoptions and notifiers, and frees the guest's memory if nobody else
 * has its file any more: in a work item of its own, which nobody waits for.
 */
static void migtrack_tracker_end(struct work_struct *work)
{
	struct migtrack_tracker *tracker =
		container_of(work, struct migtrack_tracker, end_work);
	struct migtrack_watch *watch;
	struct hlist_node *tmp;
	unsigned int bucket;

	mutex_lock(&tracker->sync_lock);
	hash_for_each_safe(tracker->watches, bucket, tmp, watch, node)
		migtrack_watch_end(watch);
	mutex_unlock(&tracker->sync_lock);
	migtrack_tracker_check_rest(tracker);

	/* No watch is left to queue it again. */
	cancel_work_sync(&tracker->reap_work);
	trace_migtrack_tracker_free(tracker);
	__fput_sync(tracker->file);
	migtrack_tracker_free(tracker);
}

static struct migtrack_tracker *migtrack_tracker_new(struct file *file)
{
	unsigned long npages = DIV_ROUND_UP(i_size_read(file_inode(file)), PAGE_SIZE);
	struct migtrack_tracker *tracker;

	/* A sparse file can have any size, and its owner chose it. */
	if (!migtrack_tracker_affords(npages / BITS_PER_BYTE))
		return ERR_PTR(-EFBIG);

	tracker = kzalloc(sizeof(*tracker), GFP_KERNEL_ACCOUNT);
	if (!tracker)
		return ERR_PTR(-ENOMEM);

	tracker->mapping = file->f_mapping;
	tracker->npages = npages;
	tracker->nchunks = max(DIV_ROUND_UP(tracker->npages, MIGTRACK_CHUNK_PAGES), 1);

	mutex_init(&tracker->sync_lock);
	INIT_LIST_HEAD(&tracker->sources);
	hash_init(tracker->watches);
	spin_lock_init(&tracker->lock);
	INIT_WORK(&tracker->reap_work, migtrack_tracker_reap);
	INIT_WORK(&tracker->end_work, migtrack_tracker_end);
	init_waitqueue_head(&tracker->adopted);

	tracker->carry = migtrack_bitmap_alloc(tracker);
	tracker->pres = migtrack_bitmap_alloc(tracker);
	tracker->marks = migtrack_bitmap_alloc(tracker);
	tracker->echo = migtrack_bitmap_alloc(tracker);
	tracker->older = migtrack_bitmap_alloc(tracker);
	tracker->chunks = __vmalloc(array_size(tracker->nchunks,
					       sizeof(*tracker->chunks)),
				    MIGTRACK_GFP_LARGE);
	if (!tracker->carry || !tracker->pres || !tracker->marks ||
	    !tracker->echo || !tracker->older || !tracker->chunks) {
		migtrack_tracker_free(tracker);
		return ERR_PTR(-ENOMEM);
	}
	tracker->file = get_file(file);
	trace_migtrack_tracker_new(tracker);
	return tracker;
}

/**
 * migtrack_tracker_get - the tracker of a file
 * @file: the file
 *
 * Made if there is none yet, on the caller's account. Nothing is tracked before
 * a source is attached.
 *
 * Return: the tracker, to be put; -ENOMEM, or -EFBIG if the bitmaps would take
 * an absurd part of this machine's memory.
 */
struct migtrack_tracker *migtrack_tracker_get(struct file *file)
{
	struct migtrack_tracker *tracker;

	mutex_lock(&migtrack_trackers_lock);
	list_for_each_entry(tracker, &migtrack_trackers, node)
		if (tracker->mapping == file->f_mapping)
			goto found;

	tracker = migtrack_tracker_new(file);
	if (IS_ERR(tracker))
		goto out;
	list_add(&tracker->node, &migtrack_trackers);
found:
	tracker->users++;
out:
	mutex_unlock(&migtrack_trackers_lock);
	return tracker;
}

/**
 * migtrack_tracker_put - let go of a tracker
 * @tracker: the tracker
 *
 * The last one ends it: its notifiers are unregistered, the file is let go. Does not
 * wait for that.
 */
void migtrack_tracker_put(struct migtrack_tracker *tracker)
{
	bool last;

	mutex_lock(&migtrack_trackers_lock);
	last = !--tracker->users;
	if (last)
		list_del(&tracker->node);
	mutex_unlock(&migtrack_trackers_lock);

	if (last)
		queue_work(migtrack_wq, &tracker->end_work);
}

/**
 * migtrack_tracker_attach - let a source track the file
 * @tracker: held by the source
 * @ram: the source, with its range set
 *
 * Waits for a sync that runs.
 */
void migtrack_tracker_attach(struct migtrack_tracker *tracker,
			     struct migtrack_ram *ram)
{
	mutex_lock(&tracker->sync_lock);
	list_add_tail(&ram->node, &tracker->sources);
	mutex_unlock(&tracker->sync_lock);
}

/**
 * migtrack_tracker_detach - a source no longer tracks the file
 * @tracker: the tracker, still held by the source
 * @ram: the source
 *
 * Waits for a sync that runs.
 */
void migtrack_tracker_detach(struct migtrack_tracker *tracker,
			     struct migtrack_ram *ram)
{
	mutex_lock(&tracker->sync_lock);
	list_del(&ram->node);
	mutex_unlock(&tracker->sync_lock);
}
