/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The test device of tools/testing/modules/vfio_testdev, opened through VFIO by
 * container and group as a VMM does it, or by iommufd where there are no groups. What returns int returns 0 or a file
 * descriptor, or -errno.
 */
#ifndef VFIO_HOST_H
#define VFIO_HOST_H

#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../modules/vfio_testdev/vfio_testdev_regs.h"

#define TESTDEV_STATES		8
/* What a stream has beside its payload. */
#define TESTDEV_HEADER		32
#define TESTDEV_TRAILER		(16 + TESTDEV_SCRATCH_END + 8)

/* Newer than the headers that programs are built with. */
#ifndef VFIO_PRECOPY_INFO_REINIT
#define VFIO_PRECOPY_INFO_REINIT	(1 << 0)
#define VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2	12
#endif

struct testdev {
	char uuid[37];
	int container;
	int group;
	int device;
};

/* Does the kernel have what a device's DMA log is reported by? */
bool vfio_reports_dma(void);

/* The module, and mdevs. */
int testdev_load(void);
int testdev_create(struct testdev *dev, const char *type);
int testdev_remove(struct testdev *dev);
/* Open or not. */
int testdev_unplug(const struct testdev *dev);

/* Knobs: files in sysfs. */
int knob_set(const struct testdev *dev, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int knob_get(const struct testdev *dev, const char *name, char *buf, size_t size);
uint64_t knob_number(const struct testdev *dev, const char *name);

/* The device file. */
int vfio_open(struct testdev *dev);
void vfio_close(struct testdev *dev);
int vfio_reset(const struct testdev *dev);
int vfio_region_read(const struct testdev *dev, unsigned int index, size_t offset, void *buf,
		     size_t size);
int vfio_region_write(const struct testdev *dev, unsigned int index, size_t offset,
		      const void *buf, size_t size);
uint32_t reg_read(const struct testdev *dev, unsigned int reg);
uint64_t reg_read64(const struct testdev *dev, unsigned int reg);
int reg_write(const struct testdev *dev, unsigned int reg, uint32_t value);
int reg_write64(const struct testdev *dev, unsigned int reg, uint64_t value);
int vfio_bus_master(const struct testdev *dev, bool on);

/* Features. vfio_feature() has size bytes of data in and out. */
int vfio_feature(const struct testdev *dev, uint32_t flags, void *data, size_t size);
int vfio_get_state(const struct testdev *dev, uint32_t *state);
/* *data_fd is -1 if the state has none. */
int vfio_set_state(const struct testdev *dev, uint32_t state, int *data_fd);
int vfio_data_size(const struct testdev *dev, uint64_t *size);
int vfio_precopy_info(int data_fd, struct vfio_precopy_info *info);

/* The container's memory map and dirty log. */
int vfio_map(const struct testdev *dev, void *memory, uint64_t iova, uint64_t size);
int vfio_unmap(const struct testdev *dev, uint64_t iova, uint64_t size);
int vfio_dirty(const struct testdev *dev, uint32_t flag);
int vfio_dirty_bitmap(const struct testdev *dev, uint64_t iova, uint64_t size, uint64_t *bitmap);

/* The device's own log. */
int vfio_log_start(const struct testdev *dev, uint64_t iova, uint64_t size, uint64_t *page_size);
int vfio_log_stop(const struct testdev *dev);
int vfio_log_report(const struct testdev *dev, uint64_t iova, uint64_t size, uint64_t page_size,
		    uint64_t *bitmap);

#endif
