// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device as a writer of the VMM's memory: by vfio_dma_rw(), or through pages
 * that it pins. VFIO marks these dirty when they are unpinned.
 */

#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/math64.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "testdev.h"

/* Writes in a row, with the lock held. */
#define TESTDEV_DMA_BATCH	256
#define TESTDEV_DMA_PERIOD	msecs_to_jiffies(8)
/* How long nothing is pinned after the VMM has unmapped pinned memory. */
#define TESTDEV_DMA_NO_PIN	msecs_to_jiffies(100)

static bool testdev_dma_wanted(const struct testdev_dma *dma)
{
	lockdep_assert_held(&dma->lock);
	return dma->allowed && (dma->control & TESTDEV_DMA_ENABLE) && dma->rate && dma->length &&
	       (!dma->limit || dma->written < dma->limit);
}

/* The page that the next write goes to. */
static int testdev_dma_target(const struct testdev_dma *dma, u64 *iova)
{
	u64 pages = dma->length >> PAGE_SHIFT, index = dma->written;

	lockdep_assert_held(&dma->lock);
	if (dma->control & TESTDEV_DMA_RANDOM)
		index = testdev_mix(dma->written + 1);
	div64_u64_rem(index, pages, &index);
	if (check_add_overflow(dma->iova, index << PAGE_SHIFT, iova) ||
	    *iova > U64_MAX - PAGE_SIZE)
		return -EOVERFLOW;
	return 0;
}

static void testdev_dma_fill(struct testdev_dma *dma, u64 iova)
{
	u64 number = dma->written + 1;
	unsigned int i;

	lockdep_assert_held(&dma->lock);
	dma->buffer[0] = number;
	dma->buffer[1] = iova;
	for (i = 2; i < dma->bytes / sizeof(u64); i++)
		dma->buffer[i] = TESTDEV_DMA_WORD(number, (u64)i);
}

static int testdev_dma_write_pinned(struct testdev *dev, u64 iova)
{
	struct testdev_dma *dma = &dev->dma;
	struct page *page;
	int ret;

	lockdep_assert_held(&dma->lock);
	atomic_inc(&dma->pinning);
	/* Either testdev_dma_unmap() waits for us, or we see its time. */
	smp_mb__after_atomic();
	if (time_before(jiffies, READ_ONCE(dma->no_pin_before))) {
		ret = -EAGAIN;
		goto out;
	}
	ret = vfio_pin_pages(&dev->vdev, iova, 1, IOMMU_READ | IOMMU_WRITE, &page);
	if (ret != 1) {
		ret = ret < 0 ? ret : -EFAULT;
		goto out;
	}
	memcpy_to_page(page, 0, (char *)dma->buffer, dma->bytes);
	vfio_unpin_pages(&dev->vdev, iova, 1);
	ret = 0;
out:
	if (atomic_dec_and_test(&dma->pinning))
		wake_up(&dma->unmap);
	return ret;
}

/*
 * Memory in which a page is pinned is being unmapped: type1 calls until none is,
 * ten times at most. It holds a lock outside the container's, which pinning
 * takes, so our lock can't be taken here.
 */
void testdev_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	struct testdev_dma *dma = &to_testdev(vdev)->dma;

	WRITE_ONCE(dma->no_pin_before, jiffies + TESTDEV_DMA_NO_PIN);
	smp_mb();	/* see testdev_dma_write_pinned() */
	wait_event(dma->unmap, !atomic_read(&dma->pinning));
}

/* The log knows of it after it was done, so that no harvest comes in between. */
static int testdev_dma_write(struct testdev *dev)
{
	struct testdev_dma *dma = &dev->dma;
	u64 iova;
	int ret;

	lockdep_assert_held(&dma->lock);
	ret = testdev_dma_target(dma, &iova);
	if (ret)
		return ret;
	ret = testdev_log_prepare(dev, iova, dma->bytes);
	if (ret)
		return ret;
	testdev_dma_fill(dma, iova);
	if (dma->control & TESTDEV_DMA_PIN)
		ret = testdev_dma_write_pinned(dev, iova);
	else
		ret = vfio_dma_rw(&dev->vdev, iova, dma->buffer, dma->bytes, true);
	if (ret)
		return ret;
	testdev_log_record(dev, iova, dma->bytes);
	dma->written++;
	return 0;
}

/* Writes that ought to have been done by now, and were not. */
static u64 testdev_dma_due(struct testdev_dma *dma)
{
	u64 us = ktime_us_delta(ktime_get(), dma->start);
	u64 due;

	lockdep_assert_held(&dma->lock);
	if (us >= 2 * USEC_PER_SEC) {
		/* No attempt to catch up with more. */
		dma->start = ktime_get();
		dma->done = 0;
		return 1;
	}
	if (us >= USEC_PER_SEC) {
		us -= USEC_PER_SEC;
		dma->start = ktime_add_us(dma->start, USEC_PER_SEC);
		dma->done -= min_t(u64, dma->done, dma->rate);
	}
	due = div_u64(us * dma->rate, USEC_PER_SEC);
	return due > dma->done ? due - dma->done : 0;
}

static void testdev_dma_work(struct work_struct *work)
{
	struct testdev *dev = container_of(to_delayed_work(work), struct testdev, dma.work);
	struct testdev_dma *dma = &dev->dma;
	unsigned long delay = TESTDEV_DMA_PERIOD;
	u64 due, i;
	int ret;

	mutex_lock(&dma->lock);
	due = testdev_dma_wanted(dma) ? testdev_dma_due(dma) : 0;
	for (i = 0; i < min(due, TESTDEV_DMA_BATCH) && testdev_dma_wanted(dma); i++) {
		ret = testdev_dma_write(dev);
		if (ret == -EAGAIN)
			break;
		dma->done++;
		if (ret) {
			dma->errors++;
			break;
		}
		cond_resched();
	}
	if (i && i < due && i == TESTDEV_DMA_BATCH)
		delay = 0;
	if (testdev_dma_wanted(dma))
		queue_delayed_work(testdev_wq, &dma->work, delay);
	mutex_unlock(&dma->lock);
}

static u64 testdev_reg64(const struct testdev *dev, unsigned int reg)
{
	return dev->regs[reg / sizeof(u32)] | (u64)dev->regs[reg / sizeof(u32) + 1] << 32;
}

/*
 * The registers, the migration state or the config space have changed. When this
 * returns, and nothing may be written any more, nothing is.
 */
void testdev_dma_update(struct testdev *dev)
{
	struct testdev_dma *dma = &dev->dma;
	bool was_wanted;

	lockdep_assert_held(&dev->lock);
	mutex_lock(&dma->lock);
	was_wanted = testdev_dma_wanted(dma);
	dma->allowed = dev->open && testdev_state_writes(dev->state) &&
		       (dev->config[PCI_COMMAND] & PCI_COMMAND_MASTER);
	dma->control = dev->regs[TESTDEV_REG_DMA_CONTROL / sizeof(u32)];
	dma->rate = dev->regs[TESTDEV_REG_DMA_RATE / sizeof(u32)];
	dma->bytes = dev->regs[TESTDEV_REG_DMA_BYTES / sizeof(u32)];
	dma->limit = dev->regs[TESTDEV_REG_DMA_LIMIT / sizeof(u32)];
	dma->iova = testdev_reg64(dev, TESTDEV_REG_DMA_IOVA);
	dma->length = testdev_reg64(dev, TESTDEV_REG_DMA_LENGTH);
	if (testdev_dma_wanted(dma) && !was_wanted) {
		dma->start = ktime_get();
		dma->done = 0;
		queue_delayed_work(testdev_wq, &dma->work, 0);
	}
	mutex_unlock(&dma->lock);
}

/* Nothing is written until the next update. */
void testdev_dma_quiesce(struct testdev *dev)
{
	lockdep_assert_held(&dev->lock);
	mutex_lock(&dev->dma.lock);
	dev->dma.allowed = false;
	mutex_unlock(&dev->dma.lock);
	/* It takes only the lock that was put. */
	cancel_delayed_work_sync(&dev->dma.work);
}

int testdev_dma_init(struct testdev *dev)
{
	struct testdev_dma *dma = &dev->dma;

	dma->buffer = kzalloc(PAGE_SIZE, GFP_KERNEL);
	if (!dma->buffer)
		return -ENOMEM;
	mutex_init(&dma->lock);
	INIT_DELAYED_WORK(&dma->work, testdev_dma_work);
	init_waitqueue_head(&dma->unmap);
	atomic_set(&dma->pinning, 0);
	dma->no_pin_before = jiffies;
	xa_init(&dma->log.chunks);
	return 0;
}

void testdev_dma_destroy(struct testdev *dev)
{
	WARN_ON(dev->dma.log.active);
	mutex_destroy(&dev->dma.lock);
	kfree(dev->dma.buffer);
}
