// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/migtrack.h>
#include <linux/vfio.h>

#include "vmm/vfio_host.h"

#define CLASS	"/sys/class/vfio-dev"

/* Newer than the headers that this may be built with. */
#define PRECOPY_INFO_V2	12

/* ---- what a device can do ---- */

static int feature(int fd, uint32_t flags, void *data, size_t size)
{
	char buffer[64] __attribute__((aligned(8))) = {};
	struct vfio_device_feature *head = (void *)buffer;

	head->argsz = (uint32_t)(sizeof(*head) + size);
	head->flags = flags;
	if (ioctl(fd, VFIO_DEVICE_FEATURE, head))
		return -errno;
	memcpy(data, head->data, size);
	return 0;
}

static bool has_feature(int fd, uint32_t flags)
{
	struct vfio_device_feature_dma_logging_control none;

	return !feature(fd, VFIO_DEVICE_FEATURE_PROBE |
			VFIO_DEVICE_FEATURE_SET | flags, &none, sizeof(none));
}

int vfio_features(int fd, uint32_t *features)
{
	struct vfio_device_feature_migration mig;
	int ret;

	*features = 0;
	ret = feature(fd, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION,
		      &mig, sizeof(mig));
	if (ret)
		return ret;
	if (mig.flags & VFIO_MIGRATION_STOP_COPY)
		*features |= MIGTRACK_DEVICE_FEATURES_STOP_COPY;
	if (mig.flags & VFIO_MIGRATION_P2P)
		*features |= MIGTRACK_DEVICE_FEATURES_P2P;
	if (mig.flags & VFIO_MIGRATION_PRE_COPY)
		*features |= MIGTRACK_DEVICE_FEATURES_PRE_COPY;
	if (has_feature(fd, VFIO_DEVICE_FEATURE_DMA_LOGGING_START))
		*features |= MIGTRACK_DEVICE_FEATURES_DIRTY_LOG;
	if (has_feature(fd, PRECOPY_INFO_V2))
		*features |= MIGTRACK_DEVICE_FEATURES_REINIT;
	return 0;
}

/**
 * struct visit - what a visit does
 * @fn: called with each device
 * @data: its argument
 * @n: devices so far
 */
struct visit {
	vfio_host_fn *fn;
	void *data;
	size_t n;
};

static void visit_fd(struct visit *visit, const char *name, pid_t pid, int fd)
{
	struct vfio_host_device device = { .pid = pid };
	int ret = fd;

	snprintf(device.name, sizeof(device.name), "%.*s",
		 VFIO_NAME_SIZE - 1, name);
	if (fd >= 0) {
		ret = vfio_features(fd, &device.features);
		close(fd);
	}
	/* That it can't migrate is an answer. */
	device.error = ret < 0 && ret != -ENOTTY ? -ret : 0;
	visit->n++;
	visit->fn(&device, visit->data);
}

/* ---- those in use ---- */

static void visit_process(struct visit *visit, pid_t pid)
{
	struct vfio_files files;
	struct error err;
	size_t i;

	if (!vfio_files_find(&files, pid, &err)) {
		for (i = 0; i < files.n_devices; i++)
			visit_fd(visit, files.devices[i].name, pid,
				 vfio_file_take(pid, files.devices[i].number));
	}
	vfio_files_free(&files);
}

static void visit_used(struct visit *visit)
{
	struct dirent *entry;
	DIR *dir;

	dir = opendir("/proc");
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (isdigit((unsigned char)entry->d_name[0]))
			visit_process(visit, (pid_t)atoi(entry->d_name));
	}
	closedir(dir);
}

/* ---- the others ---- */

/* The last part of what a link points to; false if there is none. */
static bool link_base(const char *path, char *base, size_t size)
{
	char target[PATH_MAX], *slash;
	ssize_t len;

	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	slash = strrchr(target, '/');
	return snprintf(base, size, "%s", slash ? slash + 1 : target) <
	       (int)size;
}

static int group_device(int group, int container, const char *name)
{
	int fd;

	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -errno;
	fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
	return fd < 0 ? -errno : fd;
}

/* By the device's group and a type 1 container. */
static int open_by_group(const char *group_name, const char *name)
{
	int group, container, ret;
	char path[64];

	snprintf(path, sizeof(path), "/dev/vfio/%.32s", group_name);
	group = open(path, O_RDWR | O_CLOEXEC);
	if (group < 0)
		return -errno;
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	ret = container < 0 ? -errno : group_device(group, container, name);
	if (container >= 0)
		close(container);
	close(group);
	return ret;
}

/*
 * By the device's own file, which can do nothing before it is bound to an iommufd.
 * One that somebody else has bound says -EINVAL.
 */
static int open_by_file(const char *entry)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	char path[64];
	int fd, ret = 0;

	snprintf(path, sizeof(path), "/dev/vfio/devices/%.32s", entry);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	bind.iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (bind.iommufd < 0 || ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		ret = bind.iommufd >= 0 && errno == EINVAL ? -EBUSY : -errno;
	if (bind.iommufd >= 0)
		close(bind.iommufd);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

/*
 * As a VMM opens it: by its group, or, where there is none or no container, by its
 * own file. A descriptor or a negative errno; -EBUSY: somebody has it.
 */
static int device_open(const char *entry, const char *name)
{
	char path[PATH_MAX], group[32];
	int fd = -ENOENT;

	snprintf(path, sizeof(path), CLASS "/%s/device/iommu_group", entry);
	if (link_base(path, group, sizeof(group)))
		fd = open_by_group(group, name);
	return fd == -ENOENT ? open_by_file(entry) : fd;
}

static void visit_class(struct visit *visit, const char *entry)
{
	char path[PATH_MAX], name[VFIO_NAME_SIZE];
	int fd;

	snprintf(path, sizeof(path), CLASS "/%s/device", entry);
	if (!link_base(path, name, sizeof(name)))
		return;
	fd = device_open(entry, name);
	if (fd != -EBUSY)
		visit_fd(visit, name, 0, fd);
}

static void visit_unused(struct visit *visit)
{
	struct dirent *entry;
	DIR *dir;

	dir = opendir(CLASS);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			visit_class(visit, entry->d_name);
	}
	closedir(dir);
}

size_t vfio_host_visit(vfio_host_fn *fn, void *data)
{
	struct visit visit = { .fn = fn, .data = data };

	/* Before the others are opened, which is in use for a moment. */
	visit_used(&visit);
	visit_unused(&visit);
	return visit.n;
}
