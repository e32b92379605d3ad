// SPDX-License-Identifier: GPL-2.0-only
/* The DMA log: bitmaps of the pages that were written, where any were. */

#include <linux/bitmap.h>
#include <linux/interval_tree.h>
#include <linux/iova_bitmap.h>
#include <linux/log2.h>
#include <linux/slab.h>

#include "testdev.h"

/* Pages in a chunk, whose bitmap is one page. */
#define TESTDEV_LOG_BITS	(PAGE_SIZE * BITS_PER_BYTE)
#define TESTDEV_LOG_SHIFT_MIN	PAGE_SHIFT
#define TESTDEV_LOG_SHIFT_MAX	21

static void testdev_log_clear(struct testdev_log *log)
{
	unsigned long index;
	void *chunk;

	xa_for_each(&log->chunks, index, chunk)
		kfree(chunk);
	xa_destroy(&log->chunks);
	kfree(log->ranges);
	log->ranges = NULL;
	log->n_ranges = 0;
	log->active = false;
}

/* The core leaves it to drivers to see nonsense in ranges and page size. */
static int testdev_log_set_ranges(struct testdev_log *log, struct rb_root_cached *root, u32 n)
{
	struct interval_tree_node *node;

	log->ranges = kcalloc(n, sizeof(*log->ranges), GFP_KERNEL_ACCOUNT);
	if (!log->ranges)
		return -ENOMEM;
	for (node = interval_tree_iter_first(root, 0, ULONG_MAX); node;
	     node = interval_tree_iter_next(node, 0, ULONG_MAX)) {
		/* ULONG_MAX: a range of no length at 0. */
		if (log->n_ranges == n || node->start > node->last || node->last == ULONG_MAX)
			return -EINVAL;
		log->ranges[log->n_ranges].first = node->start;
		log->ranges[log->n_ranges].last = node->last;
		log->n_ranges++;
	}
	return log->n_ranges == n ? 0 : -EINVAL;
}

static int testdev_log_start(struct vfio_device *vdev, struct rb_root_cached *ranges, u32 n,
			     u64 *page_size)
{
	struct testdev *dev = to_testdev(vdev);
	struct testdev_log *log = &dev->dma.log;
	int ret;

	ret = testdev_call(dev, TESTDEV_LOG_START);
	if (ret)
		return ret;
	if (!is_power_of_2(*page_size))
		return -EINVAL;

	mutex_lock(&dev->dma.lock);
	if (log->active) {
		ret = -EINVAL;
		goto out;
	}
	ret = testdev_log_set_ranges(log, ranges, n);
	if (ret) {
		testdev_log_clear(log);
		goto out;
	}
	log->shift = clamp(ilog2(*page_size), TESTDEV_LOG_SHIFT_MIN, TESTDEV_LOG_SHIFT_MAX);
	log->active = true;
	*page_size = 1ULL << log->shift;
out:
	mutex_unlock(&dev->dma.lock);
	return ret;
}

static int testdev_log_stop(struct vfio_device *vdev)
{
	struct testdev *dev = to_testdev(vdev);
	int ret;

	ret = testdev_call(dev, TESTDEV_LOG_STOP);
	if (ret)
		return ret;
	mutex_lock(&dev->dma.lock);
	if (dev->dma.log.active)
		testdev_log_clear(&dev->dma.log);
	else
		ret = -EINVAL;
	mutex_unlock(&dev->dma.lock);
	return ret;
}

void testdev_log_end(struct testdev *dev)
{
	mutex_lock(&dev->dma.lock);
	testdev_log_clear(&dev->dma.log);
	mutex_unlock(&dev->dma.lock);
}

static bool testdev_log_watches(const struct testdev_log *log, u64 first, u64 last)
{
	unsigned int i;

	for (i = 0; i < log->n_ranges; i++) {
		if (first <= log->ranges[i].last && last >= log->ranges[i].first)
			return true;
	}
	return false;
}

/* So that a write which is within one page can be recorded without memory. */
int testdev_log_prepare(struct testdev *dev, u64 iova, u64 length)
{
	struct testdev_log *log = &dev->dma.log;
	unsigned long index = (iova >> log->shift) / TESTDEV_LOG_BITS;
	void *chunk;
	int ret;

	lockdep_assert_held(&dev->dma.lock);
	if (!log->active || !testdev_log_watches(log, iova, iova + length - 1) ||
	    xa_load(&log->chunks, index))
		return 0;
	chunk = kzalloc(PAGE_SIZE, GFP_KERNEL_ACCOUNT);
	if (!chunk)
		return -ENOMEM;
	ret = xa_err(xa_store(&log->chunks, index, chunk, GFP_KERNEL_ACCOUNT));
	if (ret)
		kfree(chunk);
	return ret;
}

void testdev_log_record(struct testdev *dev, u64 iova, u64 length)
{
	struct testdev_log *log = &dev->dma.log;
	u64 page = iova >> log->shift;
	unsigned long *chunk;

	lockdep_assert_held(&dev->dma.lock);
	if (!log->active || !testdev_log_watches(log, iova, iova + length - 1))
		return;
	chunk = xa_load(&log->chunks, page / TESTDEV_LOG_BITS);
	if (!WARN_ON(!chunk))
		__set_bit(page % TESTDEV_LOG_BITS, chunk);
}

/*
 * Report the pages of a chunk that lie in first..last, bytes. A page of which
 * only a part was asked for stays dirty.
 */
static void testdev_log_report_chunk(struct testdev_log *log, unsigned long index,
				     unsigned long *chunk, u64 first, u64 last,
				     struct iova_bitmap *dirty)
{
	u64 base = (u64)index * TESTDEV_LOG_BITS;
	u64 from, to;
	unsigned long bit;

	for_each_set_bit(bit, chunk, TESTDEV_LOG_BITS) {
		from = (base + bit) << log->shift;
		to = from + (1ULL << log->shift) - 1;
		if (to < first || from > last)
			continue;
		iova_bitmap_set(dirty, max(from, first), min(to, last) - max(from, first) + 1);
		if (from >= first && to <= last)
			__clear_bit(bit, chunk);
	}
}

static int testdev_log_read_and_clear(struct vfio_device *vdev, unsigned long iova,
				      unsigned long length, struct iova_bitmap *dirty)
{
	struct testdev *dev = to_testdev(vdev);
	struct testdev_log *log = &dev->dma.log;
	unsigned long index, *chunk;
	u64 last = iova + length - 1;
	int ret;

	ret = testdev_call(dev, TESTDEV_LOG_REPORT);
	if (ret || !length)
		return ret;

	mutex_lock(&dev->dma.lock);
	if (!log->active) {
		ret = -EINVAL;
		goto out;
	}
	xa_for_each_range(&log->chunks, index, chunk, (iova >> log->shift) / TESTDEV_LOG_BITS,
			  (last >> log->shift) / TESTDEV_LOG_BITS)
		testdev_log_report_chunk(log, index, chunk, iova, last, dirty);
out:
	mutex_unlock(&dev->dma.lock);
	return ret;
}

/*
 * "off", or page size and number of ranges, and then each run of dirty pages,
 * as many as there is room for; nothing is cleared.
 */
ssize_t testdev_log_print(struct testdev *dev, char *buf)
{
	struct testdev_log *log = &dev->dma.log;
	unsigned long index, *chunk, from, to;
	ssize_t len;

	mutex_lock(&dev->dma.lock);
	if (!log->active) {
		len = sysfs_emit(buf, "off\n");
		goto out;
	}
	len = sysfs_emit(buf, "%llu %u\n", 1ULL << log->shift, log->n_ranges);
	xa_for_each(&log->chunks, index, chunk) {
		for_each_set_bitrange(from, to, chunk, TESTDEV_LOG_BITS)
			len += sysfs_emit_at(buf, len, "%#llx %#llx\n",
					     ((u64)index * TESTDEV_LOG_BITS + from) << log->shift,
					     (u64)(to - from) << log->shift);
	}
out:
	mutex_unlock(&dev->dma.lock);
	return len;
}

const struct vfio_log_ops testdev_log_ops = {
	.log_start		= testdev_log_start,
	.log_stop		= testdev_log_stop,
	.log_read_and_clear	= testdev_log_read_and_clear,
};
