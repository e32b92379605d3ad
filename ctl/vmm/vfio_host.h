/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VFIO devices of this host, in use or not, and what they can do. */
#ifndef MIGCTL_VFIO_HOST_H
#define MIGCTL_VFIO_HOST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/vfio.h"

/**
 * struct vfio_host_device - one of them
 * @name: of the device
 * @pid: who has it open, 0 if nobody
 * @error: why it can't be asked, 0 if it was
 * @features: enum migtrack_device_features; 0 if it can't migrate
 */
struct vfio_host_device {
	char name[VFIO_NAME_SIZE];
	pid_t pid;
	int error;
	uint32_t features;
};

typedef void vfio_host_fn(const struct vfio_host_device *device, void *data);

/*
 * Those in use are asked by a copy of their user's descriptor, the others are
 * opened for that, as a VMM opens them. Returns how many there are.
 */
size_t vfio_host_visit(vfio_host_fn *fn, void *data);

/* What an open device can do: 0 or a negative errno; -ENOTTY: it can't migrate. */
int vfio_features(int fd, uint32_t *features);

#endif /* MIGCTL_VFIO_HOST_H */
