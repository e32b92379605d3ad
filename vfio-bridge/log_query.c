// SPDX-License-Identifier: GPL-2.0-only
/* Starts, reads and stops a device's DMA log, as its VMM would. */

#include <linux/bitmap.h>
#include <linux/build_bug.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include <linux/migtrack.h>

#include "dma.h"
#include "log.h"
#include "query.h"

/* Devices can watch few ranges: what is no farther apart than that is one. */
#define MIGTRACK_VFIO_LOG_GAP	SZ_1G
/* Where in the page that is lent the ranges are. */
#define MIGTRACK_VFIO_LOG_RANGES	(PAGE_SIZE / 2)
/* Pages of bitmap that are read at a time: of 8 GiB. */
#define MIGTRACK_VFIO_LOG_WINDOW	64UL
/* Pages that a page of bitmap stands for. */
#define MIGTRACK_VFIO_LOG_BITS	(PAGE_SIZE * BITS_PER_BYTE)

/**
 * struct migtrack_vfio_reader - reads a log
 * @device: the device's file
 * @page: to ask with
 * @window: for the bitmap, of MIGTRACK_VFIO_LOG_WINDOW pages
 * @buf: a page of the kernel's, for a part of that
 * @query: what was found
 */
struct migtrack_vfio_reader {
	struct file *device;
	void __user *page;
	void __user *window;
	unsigned long *buf;
	struct migtrack_vfio_log_query *query;
};

/* The next range to watch, from range @i of the map on; returns where it ends there. */
static unsigned int migtrack_vfio_log_next(const struct migtrack_dma_map *map,
					   unsigned int i, u64 *iova, u64 *length)
{
	u64 end = map->ranges[i].iova + map->ranges[i].length;

	*iova = map->ranges[i].iova;
	for (i++; i < map->n && map->ranges[i].iova - end <= MIGTRACK_VFIO_LOG_GAP; i++)
		end = map->ranges[i].iova + map->ranges[i].length;
	*length = end - *iova;
	return i;
}

/* Only while nobody migrates the device: the log is then its VMM's, now or soon. */
static int migtrack_vfio_log_check_state(struct file *device, void __user *page)
{
	u32 state;
	int err = migtrack_vfio_get_state(device, page, &state);

	if (err)
		return err;
	return state == VFIO_DEVICE_STATE_RUNNING || state == VFIO_DEVICE_STATE_RUNNING_P2P ||
	       state == VFIO_DEVICE_STATE_STOP ? 0 : -EBUSY;
}

static int migtrack_vfio_log_start(struct file *device, void __user *page,
				   const struct migtrack_dma_map *map)
{
	struct vfio_device_feature_dma_logging_control control = { .page_size = PAGE_SIZE };
	struct vfio_device_feature_dma_logging_range range;
	void __user *ranges = page + MIGTRACK_VFIO_LOG_RANGES;
	unsigned int i = 0;
	int err;

	BUILD_BUG_ON(MIGTRACK_MAX_DMA_RANGES * sizeof(range) > MIGTRACK_VFIO_LOG_RANGES);
	err = migtrack_vfio_log_check_state(device, page);
	if (err)
		return err;
	while (i < map->n) {
		i = migtrack_vfio_log_next(map, i, &range.iova, &range.length);
		if (copy_to_user(ranges + control.num_ranges++ * sizeof(range), &range,
				 sizeof(range)))
			return -EFAULT;
	}
	control.ranges = (uintptr_t)ranges;
	err = migtrack_vfio_feature(device, page, VFIO_DEVICE_FEATURE_SET |
				    VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
				    &control, sizeof(control));
	/* What is asked for is sane: it is how drivers say that they log already. */
	return err == -EINVAL ? -EBUSY : err;
}

/* What the window holds: the pages from @iova on. */
static int migtrack_vfio_log_take(struct migtrack_vfio_reader *reader, u64 iova,
				  unsigned long pages)
{
	struct migtrack_vfio_log_query *query = reader->query;
	void __user *from = reader->window;
	unsigned long missed;
	unsigned long n;

	for (; pages; pages -= n, iova += (u64)n << PAGE_SHIFT, from += PAGE_SIZE) {
		n = min(pages, MIGTRACK_VFIO_LOG_BITS);
		if (copy_from_user(reader->buf, from, PAGE_SIZE) ||
		    clear_user(from, PAGE_SIZE))
			return -EFAULT;
		missed = migtrack_dma_mark(query->report, iova, reader->buf, n);
		query->pages += bitmap_weight(reader->buf, n) - missed;
		query->untracked += missed;
		cond_resched();
	}
	return 0;
}

static int migtrack_vfio_log_read_range(struct migtrack_vfio_reader *reader, u64 iova,
					u64 length)
{
	const u64 most = MIGTRACK_VFIO_LOG_WINDOW * MIGTRACK_VFIO_LOG_BITS << PAGE_SHIFT;
	u64 now;
	int err;

	for (; length; iova += now, length -= now) {
		struct vfio_device_feature_dma_logging_report report = {
			.iova = iova,
			.page_size = PAGE_SIZE,
			.bitmap = (uintptr_t)reader->window,
		};

		now = min(length, most);
		report.length = now;
		err = migtrack_vfio_feature(reader->device, reader->page,
					    VFIO_DEVICE_FEATURE_GET |
					    VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
					    &report, sizeof(report));
		if (!err)
			err = migtrack_vfio_log_take(reader, iova, now >> PAGE_SHIFT);
		if (err)
			return err;
	}
	return 0;
}

static int migtrack_vfio_log_read(struct migtrack_vfio_reader *reader)
{
	const struct migtrack_dma_map *map = reader->query->report;
	unsigned int i = 0;
	u64 iova, length;
	int err = 0;

	while (i < map->n && !err) {
		i = migtrack_vfio_log_next(map, i, &iova, &length);
		err = migtrack_vfio_log_read_range(reader, iova, length);
	}
	return err;
}

static int migtrack_vfio_log_report(struct file *device, void __user *page,
				    struct migtrack_vfio_log_query *query)
{
	unsigned long size = MIGTRACK_VFIO_LOG_WINDOW << PAGE_SHIFT, addr;
	struct migtrack_vfio_reader reader = {
		.device = device,
		.page = page,
		.query = query,
	};
	int err;

	reader.buf = (unsigned long *)__get_free_page(GFP_KERNEL);
	if (!reader.buf)
		return -ENOMEM;
	addr = vm_mmap(NULL, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0);
	if (IS_ERR_VALUE(addr)) {
		err = (int)addr;
		goto out;
	}
	reader.window = (void __user *)addr;
	err = migtrack_vfio_log_read(&reader);
	vm_munmap(addr, size);
out:
	free_page((unsigned long)reader.buf);
	return err;
}

/**
 * migtrack_vfio_log_ask - have a device stop, start or report its log
 * @device: the device's file
 * @page: of the address space that is lent, to ask with
 * @query: what; and the answers
 */
void migtrack_vfio_log_ask(struct file *device, void __user *page,
			   struct migtrack_vfio_log_query *query)
{
	query->asked = true;
	if (query->stop)
		migtrack_vfio_feature(device, page, VFIO_DEVICE_FEATURE_SET |
				      VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, NULL, 0);
	if (query->start)
		query->start_err = migtrack_vfio_log_start(device, page, query->start);
	if (query->report)
		query->report_err = migtrack_vfio_log_report(device, page, query);
}

/**
 * migtrack_vfio_log_not_asked - the device could not be asked
 * @query: what was to be asked; and the answers
 * @err: why
 */
void migtrack_vfio_log_not_asked(struct migtrack_vfio_log_query *query, int err)
{
	query->start_err = err;
	query->report_err = err;
}
