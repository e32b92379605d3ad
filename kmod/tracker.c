// SPDX-License-Identifier: GPL-2.0-only
/* Trackers: made by the first source that tracks a file, ended by the last. */

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "main.h"
#include "ram.h"
#include "tracker.h"
#include "watch.h"

static DEFINE_MUTEX(migtrack_trackers_lock);
static LIST_HEAD(migtrack_trackers);

/* Frees what died as soon as it dies, so that no mm_struct waits for a sync. */
static void migtrack_tracker_reap(struct work_struct *work)
{
	struct migtrack_tracker *tracker =
		container_of(work, struct migtrack_tracker, reap_work);
	struct migtrack_watch *watch;
	struct hlist_node *tmp;
	unsigned int bucket;

	mutex_lock(&tracker->sync_lock);
	hash_for_each_safe(tracker->watches, bucket, tmp, watch, node) {
		if (!READ_ONCE(watch->dead))
			continue;
		migtrack_ram_mm_gone(tracker, watch->mm);
		migtrack_watch_end(watch);
	}
	mutex_unlock(&tracker->sync_lock);
}

static unsigned long *migtrack_bitmap_alloc(const struct migtrack_tracker *tracker)
{
	return __vmalloc(tracker->nchunks * MIGTRACK_CHUNK_LONGS * sizeof(long),
			 GFP_KERNEL_ACCOUNT | __GFP_ZERO);
}

static void migtrack_tracker_free(struct migtrack_tracker *tracker)
{
	vfree(tracker->chunks);
	vfree(tracker->echo);
	vfree(tracker->marks);
	vfree(tracker->pres);
	vfree(tracker->carry);
	if (tracker->file)
		fput(tracker->file);
	kfree(tracker);
}

static struct migtrack_tracker *migtrack_tracker_new(struct file *file)
{
	struct migtrack_tracker *tracker = kzalloc(sizeof(*tracker), GFP_KERNEL_ACCOUNT);

	if (!tracker)
		return NULL;

	tracker->file = get_file(file);
	tracker->mapping = file->f_mapping;
	tracker->npages = DIV_ROUND_UP(i_size_read(file_inode(file)), PAGE_SIZE);
	tracker->nchunks = max(DIV_ROUND_UP(tracker->npages, MIGTRACK_CHUNK_PAGES), 1);

	mutex_init(&tracker->sync_lock);
	INIT_LIST_HEAD(&tracker->sources);
	hash_init(tracker->watches);
	spin_lock_init(&tracker->lock);
	INIT_WORK(&tracker->reap_work, migtrack_tracker_reap);
	init_waitqueue_head(&tracker->adopted);

	tracker->carry = migtrack_bitmap_alloc(tracker);
	tracker->pres = migtrack_bitmap_alloc(tracker);
	tracker->marks = migtrack_bitmap_alloc(tracker);
	tracker->echo = migtrack_bitmap_alloc(tracker);
	tracker->chunks = __vmalloc(array_size(tracker->nchunks,
					       sizeof(*tracker->chunks)),
				    GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!tracker->carry || !tracker->pres || !tracker->marks ||
	    !tracker->echo || !tracker->chunks) {
		migtrack_tracker_free(tracker);
		return NULL;
	}
	return tracker;
}

static void migtrack_tracker_end(struct migtrack_tracker *tracker)
{
	struct migtrack_watch *watch;
	struct hlist_node *tmp;
	unsigned int bucket;

	mutex_lock(&tracker->sync_lock);
	hash_for_each_safe(tracker->watches, bucket, tmp, watch, node)
		migtrack_watch_end(watch);
	mutex_unlock(&tracker->sync_lock);

	/* No watch is left to queue it again. */
	cancel_work_sync(&tracker->reap_work);
	migtrack_tracker_free(tracker);
}

/**
 * migtrack_tracker_attach - let a source track a file
 * @file: the file
 * @ram: the source, with its range set
 *
 * Return: the file's tracker, shared with other sources; -ENOMEM, or -EFBIG if
 * the range is past the size that the file had when its tracker was made.
 */
struct migtrack_tracker *migtrack_tracker_attach(struct file *file,
						 struct migtrack_ram *ram)
{
	struct migtrack_tracker *tracker;
	int err;

	mutex_lock(&migtrack_trackers_lock);
	list_for_each_entry(tracker, &migtrack_trackers, node)
		if (tracker->mapping == file->f_mapping)
			goto found;

	tracker = migtrack_tracker_new(file);
	if (!tracker) {
		err = -ENOMEM;
		goto err_unlock;
	}
	list_add(&tracker->node, &migtrack_trackers);
found:
	if (ram->first + ram->npages > tracker->npages) {
		err = -EFBIG;
		goto err_put;
	}
	tracker->users++;
	mutex_unlock(&migtrack_trackers_lock);

	mutex_lock(&tracker->sync_lock);
	list_add_tail(&ram->node, &tracker->sources);
	mutex_unlock(&tracker->sync_lock);
	return tracker;

err_put:
	if (!tracker->users) {
		list_del(&tracker->node);
		migtrack_tracker_free(tracker);
	}
err_unlock:
	mutex_unlock(&migtrack_trackers_lock);
	return ERR_PTR(err);
}

/**
 * migtrack_tracker_detach - a source no longer tracks the file
 * @tracker: the tracker
 * @ram: the source
 *
 * Waits for a sync that runs. The last one ends the tracker: its notifiers are
 * unregistered, the file is let go.
 */
void migtrack_tracker_detach(struct migtrack_tracker *tracker,
			     struct migtrack_ram *ram)
{
	bool last;

	mutex_lock(&tracker->sync_lock);
	list_del(&ram->node);
	mutex_unlock(&tracker->sync_lock);

	mutex_lock(&migtrack_trackers_lock);
	last = !--tracker->users;
	if (last)
		list_del(&tracker->node);
	mutex_unlock(&migtrack_trackers_lock);

	if (last)
		migtrack_tracker_end(tracker);
}

/**
 * migtrack_tracker_memory - kernel memory that a tracker uses
 * @tracker: the tracker
 *
 * Return: bytes.
 */
u64 migtrack_tracker_memory(struct migtrack_tracker *tracker)
{
	u64 bitmap = tracker->nchunks * MIGTRACK_CHUNK_LONGS * sizeof(long);
	u64 watch = tracker->nchunks * sizeof(u32);

	return sizeof(*tracker) + 4 * bitmap +
	       tracker->nchunks * sizeof(*tracker->chunks) +
	       migtrack_tracker_processes(tracker) * watch;
}

/**
 * migtrack_tracker_processes - address spaces that a tracker watches
 * @tracker: the tracker
 *
 * Return: how many.
 */
unsigned int migtrack_tracker_processes(struct migtrack_tracker *tracker)
{
	struct migtrack_watch *watch;
	unsigned int bucket, n = 0;

	mutex_lock(&tracker->sync_lock);
	hash_for_each(tracker->watches, bucket, watch, node)
		n++;
	mutex_unlock(&tracker->sync_lock);
	return n;
}
