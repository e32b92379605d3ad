// SPDX-License-Identifier: GPL-2.0-or-later

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host.h"
#include "vmm_device.h"

#define ANSWER_MS	"/sys/module/migtrack_vfio/parameters/answer_ms"

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
 * vmm_device_track() - make it a source of a session
 * @mt: opened
 * @session_fd: the session
 * @dev: the device
 * @name: of the source, or NULL
 * @id: out: its number
 *
 * The module gives a device half a second to say what it can do; on a busy machine it
 * may not even be asked by then.
 *
 * Return: as migtrack_source_add_vfio().
 */
int vmm_device_track(struct migtrack *mt, int session_fd, const struct vmm_device *dev,
		     const char *name, uint32_t *id)
{
	time_t end = time(NULL) + 60;
	int ret;

	do {
		ret = migtrack_source_add_vfio(mt, session_fd, dev->testdev.device, -1, name,
					       id);
	} while (ret == -ETIMEDOUT && time(NULL) < end);
	return ret;
}

/**
 * vmm_device_answers_within() - set how long a sync waits for devices
 * @ms: milliseconds
 *
 * Nothing is done if the module is not there, as where a test has removed it.
 */
void vmm_device_answers_within(unsigned int ms)
{
	if (!access(ANSWER_MS, F_OK))
		host_write_number(ANSWER_MS, ms);
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
