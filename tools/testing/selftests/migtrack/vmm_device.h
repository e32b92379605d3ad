/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A test device in the hands of a VMM: vfio_host.h, where failing ends the test. */
#ifndef VMM_DEVICE_H
#define VMM_DEVICE_H

#include <stdint.h>

#include "migtrack.h"
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

/* Makes it a source of a session; as long as it takes, within reason. */
int vmm_device_track(struct migtrack *mt, int session_fd, const struct vmm_device *dev,
		     const char *name, uint32_t *id);

/*
 * For how long a sync waits for devices. The module's default is of use where a device is
 * to be late; others may be late only because the machine is busy.
 */
#define VMM_DEVICE_ANSWER_MS	500
#define VMM_DEVICE_PATIENT_MS	10000
void vmm_device_answers_within(unsigned int ms);

/* As a VMM that ends or unplugs it; the mdev stays. */
void vmm_device_close(struct vmm_device *dev);

void vmm_device_remove(struct vmm_device *dev);

#endif /* VMM_DEVICE_H */
