/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A test device in the hands of a VMM: vfio_host.h, where failing ends the test. */
#ifndef VMM_DEVICE_H
#define VMM_DEVICE_H

#include <stdint.h>

#include "vfio_host.h"

struct vmm_device {
	struct testdev testdev;
	int data;		/* of its migration data, -1 if there is none */
};

/* These end the program with a message if they can't. */
void vmm_device_open(struct vmm_device *dev, const char *type);
void vmm_device_reopen(struct vmm_device *dev);
void vmm_device_set(const struct vmm_device *dev, const char *knob, const char *value);
void vmm_device_set_number(const struct vmm_device *dev, const char *knob, uint64_t value);
uint64_t vmm_device_number(const struct vmm_device *dev, const char *knob);
void vmm_device_state(struct vmm_device *dev, enum vfio_device_mig_state state);

/* As a VMM that ends or unplugs it; the mdev stays. */
void vmm_device_close(struct vmm_device *dev);

void vmm_device_remove(struct vmm_device *dev);

#endif /* VMM_DEVICE_H */
