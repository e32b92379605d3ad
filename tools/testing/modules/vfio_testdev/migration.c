// SPDX-License-Identifier: GPL-2.0-only
/*
 * The migration states. What a state means is in a table; an arc does what the
 * difference between two states asks for.
 */

#include <linux/file.h>

#include "testdev.h"

/**
 * struct testdev_state - what the device does in a migration state
 * @name:	of the state
 * @runs:	its own state changes
 * @writes:	it writes memory. It can't tell other devices' memory from RAM, so
 *		in the P2P states it writes none
 * @session:	which data transfer session the state belongs to
 */
struct testdev_state {
	const char *name;
	bool runs;
	bool writes;
	enum { NO_SESSION, SAVING, RESUMING } session;
};

static const struct testdev_state testdev_states[VFIO_DEVICE_STATE_NR] = {
	[VFIO_DEVICE_STATE_ERROR]	 = { "ERROR",	     false, false, NO_SESSION },
	[VFIO_DEVICE_STATE_STOP]	 = { "STOP",	     false, false, NO_SESSION },
	[VFIO_DEVICE_STATE_RUNNING]	 = { "RUNNING",	     true,  true,  NO_SESSION },
	[VFIO_DEVICE_STATE_STOP_COPY]	 = { "STOP_COPY",    false, false, SAVING },
	[VFIO_DEVICE_STATE_RESUMING]	 = { "RESUMING",     false, false, RESUMING },
	[VFIO_DEVICE_STATE_RUNNING_P2P]	 = { "RUNNING_P2P",  true,  false, NO_SESSION },
	[VFIO_DEVICE_STATE_PRE_COPY]	 = { "PRE_COPY",     true,  true,  SAVING },
	[VFIO_DEVICE_STATE_PRE_COPY_P2P] = { "PRE_COPY_P2P", true,  false, SAVING },
};

bool testdev_state_runs(enum vfio_device_mig_state state)
{
	return testdev_states[state].runs;
}

bool testdev_state_writes(enum vfio_device_mig_state state)
{
	return testdev_states[state].writes;
}

const char *testdev_state_name(enum vfio_device_mig_state state)
{
	return testdev_states[state].name;
}

/*
 * One arc. On failure the device is where it was, but for what it no longer
 * writes: testdev_dma_update() puts that right.
 */
static struct file *testdev_arc(struct testdev *dev, enum vfio_device_mig_state next)
{
	const struct testdev_state *from = &testdev_states[dev->state];
	const struct testdev_state *to = &testdev_states[next];
	struct file *file = NULL;
	int ret;

	lockdep_assert_held(&dev->lock);
	/* What is written ends before what is saved does. */
	if (!to->writes)
		testdev_dma_quiesce(dev);

	if (from->session == RESUMING) {
		ret = testdev_stream_finish(dev);
		if (ret)
			return ERR_PTR(ret);
	} else if (from->session == SAVING && to->session != SAVING) {
		testdev_stream_end(dev);
	}

	if (to->session == RESUMING)
		file = testdev_stream_load(dev);
	else if (to->session == SAVING && from->session != SAVING)
		file = testdev_stream_save(dev);
	if (IS_ERR(file))
		return file;
	if (next == VFIO_DEVICE_STATE_STOP_COPY)
		testdev_stream_stop(dev);

	dev->state = next;
	return file;
}

static struct file *testdev_change_state(struct testdev *dev, enum vfio_device_mig_state target)
{
	enum vfio_device_mig_state next;
	struct file *file = NULL;
	int ret;

	lockdep_assert_held(&dev->lock);
	/* There is a way out by a reset only; the core must not even be asked. */
	if (dev->state == VFIO_DEVICE_STATE_ERROR)
		return ERR_PTR(-EINVAL);
	while (dev->state != target) {
		ret = vfio_mig_get_next_state(&dev->vdev, dev->state, target, &next);
		if (ret) {
			file = ERR_PTR(ret);
			break;
		}
		file = testdev_arc(dev, next);
		if (IS_ERR(file))
			break;
		/* A session begins with the last arc only. */
		if (WARN_ON(file && dev->state != target)) {
			fput(file);
			file = ERR_PTR(-EINVAL);
			break;
		}
	}
	testdev_dma_update(dev);
	return file;
}

/* A change that fails because a knob says so may leave it broken. */
static void testdev_break(struct testdev *dev)
{
	bool broken;

	lockdep_assert_held(&dev->lock);
	spin_lock(&dev->knobs.lock);
	broken = dev->knobs.error_state;
	spin_unlock(&dev->knobs.lock);
	if (!broken)
		return;
	testdev_stream_end(dev);
	dev->state = VFIO_DEVICE_STATE_ERROR;
	testdev_dma_update(dev);
}

static struct file *testdev_set_state(struct vfio_device *vdev, enum vfio_device_mig_state state)
{
	struct testdev *dev = to_testdev(vdev);
	struct file *file;
	int ret;

	ret = testdev_call(dev, TESTDEV_SET_STATE);
	mutex_lock(&dev->lock);
	if (!ret) {
		file = testdev_change_state(dev, state);
	} else {
		testdev_break(dev);
		file = ERR_PTR(ret);
	}
	mutex_unlock(&dev->lock);
	return file;
}

static int testdev_get_state(struct vfio_device *vdev, enum vfio_device_mig_state *state)
{
	struct testdev *dev = to_testdev(vdev);
	int ret = testdev_call(dev, TESTDEV_GET_STATE);

	if (ret)
		return ret;
	mutex_lock(&dev->lock);
	*state = dev->state;
	mutex_unlock(&dev->lock);
	*state = testdev_reported(dev, TESTDEV_REPORT_STATE, *state);
	return 0;
}

static int testdev_get_data_size(struct vfio_device *vdev, unsigned long *size)
{
	struct testdev *dev = to_testdev(vdev);
	int ret = testdev_call(dev, TESTDEV_GET_DATA_SIZE);

	if (ret)
		return ret;
	mutex_lock(&dev->lock);
	*size = testdev_stream_size(dev);
	mutex_unlock(&dev->lock);
	*size = testdev_reported(dev, TESTDEV_REPORT_DATA_SIZE, *size);
	return 0;
}

const struct vfio_migration_ops testdev_migration_ops = {
	.migration_set_state	 = testdev_set_state,
	.migration_get_state	 = testdev_get_state,
	.migration_get_data_size = testdev_get_data_size,
};
