// SPDX-License-Identifier: GPL-2.0-or-later
/* See vfio_host.h. */

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vfio_host.h"

#define TYPES	"/sys/class/vfio_testdev/vfio_testdev/mdev_supported_types/vfio_testdev-"
#define MDEVS	"/sys/bus/mdev/devices/"
#define PAGE	4096UL

static int or_errno(int ret)
{
	return ret < 0 ? -errno : ret;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

bool vfio_reports_dma(void)
{
	char line[256];
	bool found = false;
	FILE *symbols = fopen("/proc/kallsyms", "re");

	while (symbols && !found && fgets(line, sizeof(line), symbols))
		found = strstr(line, " iova_bitmap_set\n") || strstr(line, " iova_bitmap_set\t");
	if (symbols)
		fclose(symbols);
	return found;
}

int testdev_load(void)
{
	const char *modules = getenv("MIGTRACK_TEST_MODULES");
	char command[PATH_MAX + 100];

	if (!access(TYPES "full", F_OK))
		return 0;
	/* Where they are built in, modprobe has nothing to do. */
	snprintf(command, sizeof(command),
		 "modprobe -aq mdev vfio_iommu_type1; insmod %s/vfio_testdev/vfio_testdev.ko",
		 modules ? modules : ".");
	return system(command) ? -ENOENT : 0;
}

int testdev_create(struct testdev *dev, const char *type)
{
	char path[PATH_MAX];
	FILE *uuid;

	dev->container = -1;
	dev->group = -1;
	dev->device = -1;
	uuid = fopen("/proc/sys/kernel/random/uuid", "re");
	if (!uuid)
		return -errno;
	if (!fgets(dev->uuid, sizeof(dev->uuid), uuid))
		dev->uuid[0] = 0;
	fclose(uuid);
	snprintf(path, sizeof(path), TYPES "%s/create", type);
	return write_file(path, dev->uuid);
}

int testdev_unplug(const struct testdev *dev)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), MDEVS "%s/remove", dev->uuid);
	return write_file(path, "1");
}

int testdev_remove(struct testdev *dev)
{
	vfio_close(dev);
	return testdev_unplug(dev);
}

int knob_set(const struct testdev *dev, const char *name, const char *format, ...)
{
	char path[PATH_MAX], text[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	snprintf(path, sizeof(path), MDEVS "%s/testdev/%s", dev->uuid, name);
	return write_file(path, text);
}

int knob_get(const struct testdev *dev, const char *name, char *buf, size_t size)
{
	char path[PATH_MAX];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), MDEVS "%s/testdev/%s", dev->uuid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	buf[n] = 0;
	return 0;
}

uint64_t knob_number(const struct testdev *dev, const char *name)
{
	char text[256];

	return knob_get(dev, name, text, sizeof(text)) ? UINT64_MAX : strtoull(text, NULL, 0);
}

static int open_group(const struct testdev *dev)
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), MDEVS "%s/iommu_group", dev->uuid);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%d", atoi(strrchr(target, '/') + 1));
	return or_errno(open(path, O_RDWR | O_CLOEXEC));
}

/* Its memory map is then iommufd's own one, which answers a container's calls. */
static int attach_cdev(const struct testdev *dev)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct iommu_vfio_ioas compat = { .size = sizeof(compat), .op = IOMMU_VFIO_IOAS_SET };
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };

	if (ioctl(dev->container, IOMMU_IOAS_ALLOC, &alloc))
		return -errno;
	compat.ioas_id = alloc.out_ioas_id;
	attach.pt_id = alloc.out_ioas_id;
	if (ioctl(dev->container, IOMMU_VFIO_IOAS, &compat))
		return -errno;
	return or_errno(ioctl(dev->device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach));
}

/* On a kernel without groups: the device's own file, and iommufd. */
static int open_cdev(struct testdev *dev)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	char path[PATH_MAX];
	glob_t found;

	snprintf(path, sizeof(path), MDEVS "%s/vfio-dev/vfio*", dev->uuid);
	if (glob(path, 0, NULL, &found))
		return -ENOENT;
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s",
		 strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	dev->container = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (dev->container < 0)
		return -errno;
	dev->device = open(path, O_RDWR | O_CLOEXEC);
	if (dev->device < 0)
		return -errno;
	bind.iommufd = dev->container;
	if (ioctl(dev->device, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		return -errno;
	return attach_cdev(dev);
}

static int open_device(struct testdev *dev)
{
	if (access("/dev/vfio/vfio", F_OK))
		return open_cdev(dev);
	dev->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (dev->container < 0)
		return -errno;
	dev->group = open_group(dev);
	if (dev->group < 0)
		return dev->group;
	if (ioctl(dev->group, VFIO_GROUP_SET_CONTAINER, &dev->container) ||
	    ioctl(dev->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -errno;
	dev->device = or_errno(ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, dev->uuid));
	return dev->device < 0 ? dev->device : 0;
}

int vfio_open(struct testdev *dev)
{
	int ret = open_device(dev);

	if (ret)
		vfio_close(dev);
	return ret;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void vfio_close(struct testdev *dev)
{
	close_fd(&dev->device);
	close_fd(&dev->group);
	close_fd(&dev->container);
}

int vfio_reset(const struct testdev *dev)
{
	return or_errno(ioctl(dev->device, VFIO_DEVICE_RESET));
}

static int region_offset(const struct testdev *dev, unsigned int index, uint64_t *offset)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

	if (ioctl(dev->device, VFIO_DEVICE_GET_REGION_INFO, &info))
		return -errno;
	*offset = info.offset;
	return 0;
}

int vfio_region_read(const struct testdev *dev, unsigned int index, size_t offset, void *buf,
		     size_t size)
{
	uint64_t base = 0;
	int ret = region_offset(dev, index, &base);

	return ret ? ret : or_errno(pread(dev->device, buf, size, base + offset));
}

int vfio_region_write(const struct testdev *dev, unsigned int index, size_t offset,
		      const void *buf, size_t size)
{
	uint64_t base = 0;
	int ret = region_offset(dev, index, &base);

	return ret ? ret : or_errno(pwrite(dev->device, buf, size, base + offset));
}

uint32_t reg_read(const struct testdev *dev, unsigned int reg)
{
	uint32_t value = 0;

	vfio_region_read(dev, VFIO_PCI_BAR0_REGION_INDEX, reg, &value, sizeof(value));
	return value;
}

uint64_t reg_read64(const struct testdev *dev, unsigned int reg)
{
	uint64_t value = 0;

	vfio_region_read(dev, VFIO_PCI_BAR0_REGION_INDEX, reg, &value, sizeof(value));
	return value;
}

int reg_write(const struct testdev *dev, unsigned int reg, uint32_t value)
{
	return vfio_region_write(dev, VFIO_PCI_BAR0_REGION_INDEX, reg, &value, sizeof(value));
}

int reg_write64(const struct testdev *dev, unsigned int reg, uint64_t value)
{
	return vfio_region_write(dev, VFIO_PCI_BAR0_REGION_INDEX, reg, &value, sizeof(value));
}

int vfio_bus_master(const struct testdev *dev, bool on)
{
	uint16_t command = PCI_COMMAND_MEMORY | (on ? PCI_COMMAND_MASTER : 0);

	return vfio_region_write(dev, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, &command,
				 sizeof(command));
}

int vfio_feature(const struct testdev *dev, uint32_t flags, void *data, size_t size)
{
	struct vfio_device_feature *feature;
	int ret;

	feature = calloc(1, sizeof(*feature) + size);
	if (!feature)
		return -ENOMEM;
	feature->argsz = sizeof(*feature) + size;
	feature->flags = flags;
	if (size)
		memcpy(feature->data, data, size);
	ret = or_errno(ioctl(dev->device, VFIO_DEVICE_FEATURE, feature));
	if (size)
		memcpy(data, feature->data, size);
	free(feature);
	return ret;
}

int vfio_get_state(const struct testdev *dev, uint32_t *state)
{
	struct vfio_device_feature_mig_state mig = { 0 };
	int ret = vfio_feature(dev, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
			       &mig, sizeof(mig));

	*state = mig.device_state;
	return ret;
}

int vfio_set_state(const struct testdev *dev, uint32_t state, int *data_fd)
{
	struct vfio_device_feature_mig_state mig = { .device_state = state, .data_fd = -1 };
	int ret = vfio_feature(dev, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
			       &mig, sizeof(mig));

	*data_fd = ret ? -1 : mig.data_fd;
	return ret;
}

int vfio_data_size(const struct testdev *dev, uint64_t *size)
{
	struct vfio_device_feature_mig_data_size data = { 0 };
	int ret = vfio_feature(dev, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
			       &data, sizeof(data));

	*size = data.stop_copy_length;
	return ret;
}

int vfio_precopy_info(int data_fd, struct vfio_precopy_info *info)
{
	memset(info, 0, sizeof(*info));
	info->argsz = sizeof(*info);
	return or_errno(ioctl(data_fd, VFIO_MIG_GET_PRECOPY_INFO, info));
}

int vfio_map(const struct testdev *dev, void *memory, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory,
		.iova = iova,
		.size = size,
	};

	return or_errno(ioctl(dev->container, VFIO_IOMMU_MAP_DMA, &map));
}

int vfio_unmap(const struct testdev *dev, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = size,
	};

	return or_errno(ioctl(dev->container, VFIO_IOMMU_UNMAP_DMA, &unmap));
}

int vfio_dirty(const struct testdev *dev, uint32_t flag)
{
	struct vfio_iommu_type1_dirty_bitmap dirty = { .argsz = sizeof(dirty), .flags = flag };

	return or_errno(ioctl(dev->container, VFIO_IOMMU_DIRTY_PAGES, &dirty));
}

int vfio_dirty_bitmap(const struct testdev *dev, uint64_t iova, uint64_t size, uint64_t *bitmap)
{
	struct {
		struct vfio_iommu_type1_dirty_bitmap dirty;
		struct vfio_iommu_type1_dirty_bitmap_get get;
	} arg = {
		.dirty.argsz = sizeof(arg),
		.dirty.flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
		.get.iova = iova,
		.get.size = size,
		.get.bitmap.pgsize = PAGE,
		.get.bitmap.size = (size / PAGE + 63) / 64 * 8,
		.get.bitmap.data = (void *)bitmap,
	};

	return or_errno(ioctl(dev->container, VFIO_IOMMU_DIRTY_PAGES, &arg));
}

int vfio_log_start(const struct testdev *dev, uint64_t iova, uint64_t size, uint64_t *page_size)
{
	struct vfio_device_feature_dma_logging_range range = { iova, size };
	struct vfio_device_feature_dma_logging_control control = {
		.page_size = *page_size,
		.num_ranges = 1,
		.ranges = (uintptr_t)&range,
	};
	int ret = vfio_feature(dev, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
			       &control, sizeof(control));

	*page_size = control.page_size;
	return ret;
}

int vfio_log_stop(const struct testdev *dev)
{
	return vfio_feature(dev, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
			    NULL, 0);
}

int vfio_log_report(const struct testdev *dev, uint64_t iova, uint64_t size, uint64_t page_size,
		    uint64_t *bitmap)
{
	struct vfio_device_feature_dma_logging_report report = {
		.iova = iova,
		.length = size,
		.page_size = page_size,
		.bitmap = (uintptr_t)bitmap,
	};

	return vfio_feature(dev, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
			    &report, sizeof(report));
}
