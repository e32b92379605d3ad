/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VFIO devices that a process has open, and their migration data. */
#ifndef MIGCTL_VFIO_H
#define MIGCTL_VFIO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"

#define VFIO_NAME_SIZE	64

/**
 * struct vfio_file - a descriptor of a process that is of interest
 * @number: of the descriptor there
 * @name: of the device, as sysfs has it; "fd:N" where that can't be told
 */
struct vfio_file {
	int number;
	char name[VFIO_NAME_SIZE];
};

/**
 * struct vfio_files - what a process has open
 * @devices: VFIO devices, each once
 * @n_devices: how many
 * @data: what may be migration data of devices, to be read
 * @n_data: how many
 */
struct vfio_files {
	struct vfio_file *devices;
	size_t n_devices;
	struct vfio_file *data;
	size_t n_data;
};

/* What /proc/PID/fd tells; no descriptor is taken. */
int vfio_files_find(struct vfio_files *files, pid_t pid, struct error *err);
void vfio_files_free(struct vfio_files *files);

/* A copy of a descriptor of @pid, or a negative errno. To be closed soon. */
int vfio_file_take(pid_t pid, int number);

/* Pure: is that what a link in /proc/PID/fd says of a VFIO device? */
bool vfio_link_is_device(const char *link);

/* Pure: can it be migration data, opened with these flags? */
bool vfio_link_may_be_data(const char *link, unsigned int flags);

#endif /* MIGCTL_VFIO_H */
