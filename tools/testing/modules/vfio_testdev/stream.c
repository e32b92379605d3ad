// SPDX-License-Identifier: GPL-2.0-only
/* A data transfer session: its lifetime, and what the device does to it. */

#include <linux/anon_inodes.h>
#include <linux/random.h>
#include <linux/slab.h>

#include "stream.h"

static const size_t testdev_window_size = sizeof(struct testdev_trailer) + TESTDEV_CHUNK;

u64 testdev_stream_check(const void *data, size_t len)
{
	const u64 *word = data;
	u64 check = len;
	size_t i;

	for (i = 0; i < len / sizeof(*word); i++)
		check = testdev_mix(check ^ word[i]) + i;
	return check;
}

static void testdev_stream_free(struct kref *ref)
{
	struct testdev_stream *stream = container_of(ref, struct testdev_stream, ref);

	mutex_destroy(&stream->lock);
	kfree(stream->chunk);
	kvfree(stream->window);
	vfio_put_device(&stream->dev->vdev);
	kfree(stream);
}

int testdev_stream_release(struct inode *inode, struct file *file)
{
	struct testdev_stream *stream = file->private_data;

	cancel_delayed_work_sync(&stream->wake);
	kref_put(&stream->ref, testdev_stream_free);
	return 0;
}

static void testdev_stream_wake(struct work_struct *work)
{
	struct testdev_stream *stream = container_of(to_delayed_work(work),
						     struct testdev_stream, wake);

	wake_up_interruptible(&stream->wait);
}

static struct testdev_stream *testdev_stream_alloc(struct testdev *dev)
{
	struct testdev_stream *stream;

	stream = kzalloc(sizeof(*stream), GFP_KERNEL_ACCOUNT);
	if (!stream)
		return NULL;
	stream->chunk = kmalloc(TESTDEV_CHUNK, GFP_KERNEL_ACCOUNT);
	if (!stream->chunk)
		goto err_stream;
	stream->window = kvmalloc(testdev_window_size, GFP_KERNEL_ACCOUNT);
	if (!stream->window)
		goto err_chunk;

	kref_init(&stream->ref);
	mutex_init(&stream->lock);
	init_waitqueue_head(&stream->wait);
	INIT_DELAYED_WORK(&stream->wake, testdev_stream_wake);
	get_device(&dev->vdev.device);
	stream->dev = dev;
	return stream;

err_chunk:
	kfree(stream->chunk);
err_stream:
	kfree(stream);
	return NULL;
}

/* Its file, which holds one reference, while the device holds the other. */
static struct file *testdev_stream_file(struct testdev_stream *stream,
					const struct file_operations *fops, int flags)
{
	struct testdev *dev = stream->dev;
	struct file *file;

	lockdep_assert_held(&dev->lock);
	file = anon_inode_getfile("[vfio-testdev-mig]", fops, stream, flags);
	if (IS_ERR(file)) {
		kref_put(&stream->ref, testdev_stream_free);
		return file;
	}
	stream_open(file->f_inode, file);
	kref_get(&stream->ref);
	dev->stream = stream;
	return file;
}

struct file *testdev_stream_save(struct testdev *dev)
{
	struct testdev_stream *stream;

	lockdep_assert_held(&dev->lock);
	stream = testdev_stream_alloc(dev);
	if (!stream)
		return ERR_PTR(-ENOMEM);
	/* A device that has stopped already becomes no dirtier. */
	stream->phase = testdev_state_runs(dev->state) ? TESTDEV_PRECOPY : TESTDEV_STOPCOPY;
	stream->seed = testdev_seed(dev);
	testdev_save_init(stream);
	return testdev_stream_file(stream, &testdev_save_fops, O_RDONLY);
}

struct file *testdev_stream_load(struct testdev *dev)
{
	struct testdev_stream *stream;

	lockdep_assert_held(&dev->lock);
	stream = testdev_stream_alloc(dev);
	if (!stream)
		return ERR_PTR(-ENOMEM);
	stream->phase = TESTDEV_LOAD;
	return testdev_stream_file(stream, &testdev_load_fops, O_WRONLY);
}

/* The device was stopped: what is left can be read now. */
void testdev_stream_stop(struct testdev *dev)
{
	struct testdev_stream *stream = dev->stream;

	lockdep_assert_held(&dev->lock);
	mutex_lock(&stream->lock);
	testdev_regs_save(dev, stream->trailer.regs);
	testdev_save_stop(stream);
	mutex_unlock(&stream->lock);
	wake_up_interruptible(&stream->wait);
}

/* All was delivered, it says: load it, or refuse and stay. */
int testdev_stream_finish(struct testdev *dev)
{
	struct testdev_stream *stream = dev->stream;
	int ret;

	lockdep_assert_held(&dev->lock);
	mutex_lock(&stream->lock);
	ret = testdev_load_finish(stream);
	mutex_unlock(&stream->lock);
	if (ret)
		return ret;
	testdev_regs_load(dev, stream->trailer.regs);
	testdev_stream_end(dev);
	return 0;
}

/* Whoever still has the file gets errors. */
void testdev_stream_end(struct testdev *dev)
{
	struct testdev_stream *stream = dev->stream;

	lockdep_assert_held(&dev->lock);
	if (!stream)
		return;
	mutex_lock(&stream->lock);
	stream->phase = TESTDEV_ENDED;
	mutex_unlock(&stream->lock);
	wake_up_interruptible(&stream->wait);
	dev->stream = NULL;
	kref_put(&stream->ref, testdev_stream_free);
}

/* What is to be read until the end if the device were stopped now. */
u64 testdev_stream_size(struct testdev *dev)
{
	struct testdev_sizes sizes = testdev_sizes(dev);
	struct testdev_stream *stream = dev->stream;
	u64 size;

	lockdep_assert_held(&dev->lock);
	if (!stream || dev->state == VFIO_DEVICE_STATE_RESUMING)
		return sizeof(struct testdev_header) + sizes.initial + sizes.stop +
		       sizeof(struct testdev_trailer);
	mutex_lock(&stream->lock);
	size = testdev_save_size(stream);
	mutex_unlock(&stream->lock);
	return size;
}

int testdev_stream_reinit(struct testdev *dev, u64 bytes)
{
	struct testdev_stream *stream = dev->stream;
	int ret;

	lockdep_assert_held(&dev->lock);
	if (!stream)
		return -EBUSY;
	mutex_lock(&stream->lock);
	ret = testdev_save_reinit(stream, bytes);
	mutex_unlock(&stream->lock);
	wake_up_interruptible(&stream->wait);
	return ret;
}
