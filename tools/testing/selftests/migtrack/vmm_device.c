// SPDX-License-Identifier: GPL-2.0-or-later

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host.h"
#include "vmm_device.h"

#define TYPES	"/sys/class/mdev_bus/vfio_testdev/mdev_supported_types/vfio_testdev-"
#define MDEVS	"/sys/bus/mdev/devices/"

/**
 * vmm_device_load() - load the module of the devices
 *
 * Return: 0, or -ENOENT if it was not built or can't be loaded.
 */
int vmm_device_load(void)
{
	const char *modules = getenv("MIGTRACK_TEST_MODULES");
	char command[256];

	if (!access("/sys/class/mdev_bus/vfio_testdev", F_OK))
		return 0;
	if (!modules)
		return -ENOENT;
	snprintf(command, sizeof(command),
		 "modprobe -aq mdev vfio vfio_iommu_type1; insmod %s/vfio_testdev/vfio_testdev.ko",
		 modules);
	return system(command) ? -ENOENT : 0;
}

static void knob_path(const struct vmm_device *dev, const char *knob, char *path, size_t size)
{
	snprintf(path, size, MDEVS "%s/testdev/%s", dev->uuid, knob);
}

/**
 * vmm_device_set() - set a knob
 * @dev: the device
 * @knob: its name
 * @value: what to
 */
void vmm_device_set(const struct vmm_device *dev, const char *knob, const char *value)
{
	char path[256];

	knob_path(dev, knob, path, sizeof(path));
	host_write(path, value);
}

/**
 * vmm_device_set_number() - the same with a number
 * @dev: the device
 * @knob: its name
 * @value: what to
 */
void vmm_device_set_number(const struct vmm_device *dev, const char *knob, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	vmm_device_set(dev, knob, text);
}

/**
 * vmm_device_number() - read a knob
 * @dev: the device
 * @knob: its name
 *
 * Return: its first number.
 */
uint64_t vmm_device_number(const struct vmm_device *dev, const char *knob)
{
	char path[256], line[256];

	knob_path(dev, knob, path, sizeof(path));
	return strtoull(host_read(path, line, sizeof(line)), NULL, 0);
}

static int group_open(const struct vmm_device *dev)
{
	char path[256], target[256];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), MDEVS "%s/iommu_group", dev->uuid);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		err(1, "%s", path);
	target[len] = '\0';
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(target, '/') + 1);
	/* Who had the device closed it, and the kernel closes the group after it. */
	for (int i = 0; i < 100; i++) {
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		usleep(10000);
	}
	err(1, "%s", path);
}

/* On a kernel without groups: the device's own file, and iommufd. */
static void cdev_open(struct vmm_device *dev)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	glob_t found;
	char path[256];

	snprintf(path, sizeof(path), MDEVS "%s/vfio-dev/vfio*", dev->uuid);
	if (glob(path, 0, NULL, &found))
		errx(1, "%s: no file of the device", path);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s",
		 strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	dev->container = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	dev->fd = open(path, O_RDWR | O_CLOEXEC);
	bind.iommufd = dev->container;
	if (dev->fd < 0 || ioctl(dev->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		err(1, "%s", path);
}

/**
 * vmm_device_reopen() - open a device that was closed
 * @dev: the device
 */
void vmm_device_reopen(struct vmm_device *dev)
{
	if (access("/dev/vfio/vfio", F_OK)) {
		cdev_open(dev);
		return;
	}
	dev->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (dev->container < 0)
		err(1, "/dev/vfio/vfio");
	dev->group = group_open(dev);
	if (ioctl(dev->group, VFIO_GROUP_SET_CONTAINER, &dev->container) ||
	    ioctl(dev->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(1, "the group's container");
	dev->fd = ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, dev->uuid);
	if (dev->fd < 0)
		err(1, "device %s", dev->uuid);
	if (fcntl(dev->fd, F_SETFD, FD_CLOEXEC))
		err(1, "FD_CLOEXEC");
}

/**
 * vmm_device_open() - make a device and open it
 * @dev: filled
 * @type: what it can do: full, nolog, precopy, p2p, stopcopy or fixed
 */
void vmm_device_open(struct vmm_device *dev, const char *type)
{
	char path[256], line[64];

	*dev = (struct vmm_device){ .container = -1, .group = -1, .fd = -1, .data = -1 };
	host_read("/proc/sys/kernel/random/uuid", line, sizeof(line));
	snprintf(dev->uuid, sizeof(dev->uuid), "%.36s", line);
	snprintf(path, sizeof(path), TYPES "%s/create", type);
	host_write(path, dev->uuid);
	vmm_device_reopen(dev);
}

/**
 * vmm_device_state() - change its migration state
 * @dev: the device; its data descriptor changes
 * @state: the new one
 */
void vmm_device_state(struct vmm_device *dev, enum vfio_device_mig_state state)
{
	struct {
		struct vfio_device_feature head;
		struct vfio_device_feature_mig_state mig;
	} request = {
		.head.argsz = sizeof(request),
		.head.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
		.mig.device_state = state,
		.mig.data_fd = -1,
	};

	if (ioctl(dev->fd, VFIO_DEVICE_FEATURE, &request))
		err(1, "state %d", state);
	if (request.mig.data_fd < 0)
		return;
	if (dev->data >= 0)
		close(dev->data);
	dev->data = request.mig.data_fd;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void vmm_device_close(struct vmm_device *dev)
{
	close_fd(&dev->data);
	close_fd(&dev->fd);
	close_fd(&dev->group);
	close_fd(&dev->container);
}

/**
 * vmm_device_remove() - take the mdev away, open or not
 * @dev: the device
 */
void vmm_device_remove(struct vmm_device *dev)
{
	char path[256];

	snprintf(path, sizeof(path), MDEVS "%s/remove", dev->uuid);
	host_write(path, "1");
}
