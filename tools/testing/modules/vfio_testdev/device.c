// SPDX-License-Identifier: GPL-2.0-only
/* The device file: what it has, its regions, its one interrupt, its lifetime. */

#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "testdev.h"

#define TESTDEV_REGION_SHIFT	40
#define TESTDEV_REGION_MASK	((1ULL << TESTDEV_REGION_SHIFT) - 1)

/* As VFIO_DEVICE_RESET leaves it. */
void testdev_reset(struct testdev *dev)
{
	lockdep_assert_held(&dev->lock);
	testdev_stream_end(dev);
	dev->state = VFIO_DEVICE_STATE_RUNNING;
	testdev_config_reset(dev);
	testdev_regs_reset(dev);
}

static int testdev_init_device(struct vfio_device *vdev)
{
	struct testdev *dev = to_testdev(vdev);
	int ret;

	mutex_init(&dev->lock);
	init_waitqueue_head(&dev->delays);
	testdev_knobs_init(dev);
	ret = testdev_dma_init(dev);
	if (ret)
		goto err_mutex;

	mutex_lock(&dev->lock);
	testdev_reset(dev);
	mutex_unlock(&dev->lock);
	return 0;

err_mutex:
	mutex_destroy(&dev->lock);
	return ret;
}

static void testdev_release_device(struct vfio_device *vdev)
{
	struct testdev *dev = to_testdev(vdev);

	testdev_dma_destroy(dev);
	mutex_destroy(&dev->lock);
}

static int testdev_open(struct vfio_device *vdev)
{
	struct testdev *dev = to_testdev(vdev);

	mutex_lock(&dev->lock);
	dev->open = true;
	testdev_reset(dev);
	mutex_unlock(&dev->lock);
	return 0;
}

static void testdev_set_irq(struct testdev *dev, struct eventfd_ctx *irq)
{
	lockdep_assert_held(&dev->lock);
	swap(dev->irq, irq);
	if (irq)
		eventfd_ctx_put(irq);
}

static void testdev_close(struct vfio_device *vdev)
{
	struct testdev *dev = to_testdev(vdev);

	mutex_lock(&dev->lock);
	dev->open = false;
	testdev_reset(dev);
	testdev_dma_quiesce(dev);
	testdev_log_end(dev);
	testdev_set_irq(dev, NULL);
	mutex_unlock(&dev->lock);
}

/* Somebody removes the mdev: the VMM is asked to give it back. */
static void testdev_request(struct vfio_device *vdev, unsigned int count)
{
	struct testdev *dev = to_testdev(vdev);

	mutex_lock(&dev->lock);
	if (dev->irq)
		eventfd_signal(dev->irq);
	mutex_unlock(&dev->lock);
}

static ssize_t testdev_region_size(unsigned int index)
{
	switch (index) {
	case VFIO_PCI_BAR0_REGION_INDEX:
		return TESTDEV_BAR_SIZE;
	case VFIO_PCI_CONFIG_REGION_INDEX:
		return TESTDEV_CONFIG_SIZE;
	default:
		return index < VFIO_PCI_NUM_REGIONS ? 0 : -EINVAL;
	}
}

/* The part of an access that lies in a region: its length, or an error. */
static ssize_t testdev_region_clip(loff_t pos, size_t count)
{
	u64 offset = pos & TESTDEV_REGION_MASK;
	ssize_t size = testdev_region_size(pos >> TESTDEV_REGION_SHIFT);

	if (size < 0)
		return size;
	if (offset >= size)
		return -EINVAL;
	return min_t(u64, count, size - offset);
}

static ssize_t testdev_read(struct vfio_device *vdev, char __user *buf, size_t count,
			    loff_t *ppos)
{
	struct testdev *dev = to_testdev(vdev);
	unsigned int offset = *ppos & TESTDEV_REGION_MASK;
	ssize_t len = testdev_region_clip(*ppos, count);
	u8 data[TESTDEV_CONFIG_SIZE];	/* QEMU reads all of it at once */

	if (len <= 0)
		return len;
	len = min_t(size_t, len, sizeof(data));

	mutex_lock(&dev->lock);
	if (*ppos >> TESTDEV_REGION_SHIFT == VFIO_PCI_CONFIG_REGION_INDEX)
		testdev_config_read(dev, offset, data, len);
	else
		testdev_regs_read(dev, offset, data, len);
	mutex_unlock(&dev->lock);

	if (copy_to_user(buf, data, len))
		return -EFAULT;
	*ppos += len;
	return len;
}

static ssize_t testdev_write(struct vfio_device *vdev, const char __user *buf, size_t count,
			     loff_t *ppos)
{
	struct testdev *dev = to_testdev(vdev);
	unsigned int offset = *ppos & TESTDEV_REGION_MASK;
	ssize_t len = testdev_region_clip(*ppos, count);
	u8 data[TESTDEV_CONFIG_SIZE];

	if (len <= 0)
		return len;
	len = min_t(size_t, len, sizeof(data));
	if (copy_from_user(data, buf, len))
		return -EFAULT;

	mutex_lock(&dev->lock);
	if (*ppos >> TESTDEV_REGION_SHIFT == VFIO_PCI_CONFIG_REGION_INDEX)
		testdev_config_write(dev, offset, data, len);
	else
		testdev_regs_write(dev, offset, data, len);
	mutex_unlock(&dev->lock);

	*ppos += len;
	return len;
}

static int testdev_get_info(void __user *arg)
{
	unsigned long minsz = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;

	info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	info.num_regions = VFIO_PCI_NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static int testdev_region_info(struct vfio_region_info *info)
{
	ssize_t size = testdev_region_size(info->index);

	if (size < 0)
		return size;
	info->offset = (u64)info->index << TESTDEV_REGION_SHIFT;
	info->size = size;
	info->flags = size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
	info->cap_offset = 0;
	return 0;
}

#ifdef TESTDEV_HAVE_REGION_INFO_CAPS
static int testdev_get_region_info_caps(struct vfio_device *vdev, struct vfio_region_info *info,
					struct vfio_info_cap *caps)
{
	return testdev_region_info(info);
}
#else
static int testdev_get_region_info(void __user *arg)
{
	unsigned long minsz = offsetofend(struct vfio_region_info, offset);
	struct vfio_region_info info;
	int ret;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	ret = testdev_region_info(&info);
	if (ret)
		return ret;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}
#endif

static int testdev_get_irq_info(void __user *arg)
{
	unsigned long minsz = offsetofend(struct vfio_irq_info, count);
	struct vfio_irq_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;

	info.flags = VFIO_IRQ_INFO_EVENTFD;
	info.count = info.index == VFIO_PCI_REQ_IRQ_INDEX;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

/* Of VFIO_PCI_REQ_IRQ_INDEX, the only one. */
static int testdev_trigger(struct testdev *dev, const struct vfio_irq_set *hdr, const u8 *data)
{
	struct eventfd_ctx *irq = NULL;
	s32 fd;

	lockdep_assert_held(&dev->lock);
	if ((hdr->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) != VFIO_IRQ_SET_ACTION_TRIGGER)
		return -ENOTTY;

	switch (hdr->flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
	case VFIO_IRQ_SET_DATA_NONE:
		if (!hdr->count)
			testdev_set_irq(dev, NULL);
		else if (dev->irq)
			eventfd_signal(dev->irq);
		return 0;
	case VFIO_IRQ_SET_DATA_BOOL:
		if (hdr->count && *data && dev->irq)
			eventfd_signal(dev->irq);
		return 0;
	case VFIO_IRQ_SET_DATA_EVENTFD:
		if (!hdr->count)
			return -EINVAL;
		memcpy(&fd, data, sizeof(fd));
		if (fd >= 0) {
			irq = eventfd_ctx_fdget(fd);
			if (IS_ERR(irq))
				return PTR_ERR(irq);
		}
		testdev_set_irq(dev, irq);
		return 0;
	default:
		return -ENOTTY;
	}
}

static int testdev_set_irqs(struct testdev *dev, void __user *arg)
{
	unsigned long minsz = offsetofend(struct vfio_irq_set, count);
	struct vfio_irq_set hdr;
	size_t size = 0;
	u8 *data = NULL;
	int ret;

	if (copy_from_user(&hdr, arg, minsz))
		return -EFAULT;
	ret = vfio_set_irqs_validate_and_prepare(&hdr, hdr.index == VFIO_PCI_REQ_IRQ_INDEX,
						 VFIO_PCI_NUM_IRQS, &size);
	if (ret)
		return ret;
	if (size) {
		data = memdup_user(arg + minsz, size);
		if (IS_ERR(data))
			return PTR_ERR(data);
	}

	mutex_lock(&dev->lock);
	ret = testdev_trigger(dev, &hdr, data);
	mutex_unlock(&dev->lock);
	kfree(data);
	return ret;
}

static int testdev_ioctl_reset(struct testdev *dev)
{
	int ret = testdev_call(dev, TESTDEV_RESET);

	if (ret)
		return ret;
	mutex_lock(&dev->lock);
	testdev_reset(dev);
	mutex_unlock(&dev->lock);
	return 0;
}

static long testdev_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
	struct testdev *dev = to_testdev(vdev);
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return testdev_get_info(uarg);
#ifndef TESTDEV_HAVE_REGION_INFO_CAPS
	case VFIO_DEVICE_GET_REGION_INFO:
		return testdev_get_region_info(uarg);
#endif
	case VFIO_DEVICE_GET_IRQ_INFO:
		return testdev_get_irq_info(uarg);
	case VFIO_DEVICE_SET_IRQS:
		return testdev_set_irqs(dev, uarg);
	case VFIO_DEVICE_RESET:
		return testdev_ioctl_reset(dev);
	default:
		return -ENOTTY;
	}
}

const struct vfio_device_ops testdev_ops = {
	.name		= "vfio-testdev",
	.init		= testdev_init_device,
	.release	= testdev_release_device,
	.open_device	= testdev_open,
	.close_device	= testdev_close,
	.read		= testdev_read,
	.write		= testdev_write,
	.ioctl		= testdev_ioctl,
#ifdef TESTDEV_HAVE_REGION_INFO_CAPS
	.get_region_info_caps = testdev_get_region_info_caps,
#endif
	.request	= testdev_request,
	.dma_unmap	= testdev_dma_unmap,
	.bind_iommufd	= vfio_iommufd_emulated_bind,
	.unbind_iommufd	= vfio_iommufd_emulated_unbind,
	.attach_ioas	= vfio_iommufd_emulated_attach_ioas,
	.detach_ioas	= vfio_iommufd_emulated_detach_ioas,
};
