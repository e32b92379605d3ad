// SPDX-License-Identifier: GPL-2.0-or-later

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "vmm_device.h"

static void must(int ret, const struct vmm_device *dev, const char *what)
{
	if (ret)
		errx(1, "device %s: %s: %s", dev->testdev.uuid, what, strerror(-ret));
}

/**
 * vmm_device_set() - set a knob
 * @dev: the device
 * @knob: its name
 * @value: what to
 */
void vmm_device_set(const struct vmm_device *dev, const char *knob, const char *value)
{
	must(knob_set(&dev->testdev, knob, "%s", value), dev, knob);
}

/**
 * vmm_device_set_number() - the same with a number
 * @dev: the device
 * @knob: its name
 * @value: what to
 */
void vmm_device_set_number(const struct vmm_device *dev, const char *knob, uint64_t value)
{
	must(knob_set(&dev->testdev, knob, "%" PRIu64, value), dev, knob);
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
	uint64_t number = knob_number(&dev->testdev, knob);

	must(number == UINT64_MAX ? -EIO : 0, dev, knob);
	return number;
}

/**
 * vmm_device_reopen() - open a device that was closed
 * @dev: the device
 *
 * Who had it closed it, and the kernel closes its group a moment after that.
 */
void vmm_device_reopen(struct vmm_device *dev)
{
	int ret, tries;

	for (tries = 0; (ret = vfio_open(&dev->testdev)) && tries < 3000; tries++)
		usleep(10000);
	must(ret, dev, "opening it");
}

/**
 * vmm_device_open() - make a device and open it
 * @dev: filled
 * @type: what it can do: full, nolog, precopy, p2p, stopcopy or fixed
 */
void vmm_device_open(struct vmm_device *dev, const char *type)
{
	dev->data = -1;
	must(testdev_create(&dev->testdev, type), dev, "making it");
	vmm_device_reopen(dev);
}

static void data_close(struct vmm_device *dev)
{
	if (dev->data >= 0)
		close(dev->data);
	dev->data = -1;
}

/**
 * vmm_device_state() - change its migration state
 * @dev: the device; its data descriptor changes
 * @state: the new one
 */
void vmm_device_state(struct vmm_device *dev, enum vfio_device_mig_state state)
{
	int data;

	must(vfio_set_state(&dev->testdev, state, &data), dev, "changing its state");
	if (data < 0)
		return;
	data_close(dev);
	dev->data = data;
}

void vmm_device_close(struct vmm_device *dev)
{
	data_close(dev);
	vfio_close(&dev->testdev);
}

/**
 * vmm_device_remove() - take the mdev away, open or not
 * @dev: the device
 */
void vmm_device_remove(struct vmm_device *dev)
{
	must(testdev_unplug(&dev->testdev), dev, "removing it");
}
