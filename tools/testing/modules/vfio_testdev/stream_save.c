// SPDX-License-Identifier: GPL-2.0-only
/* A saving stream: what there is to read, and when. */

#include <linux/math64.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "stream.h"

/* How soon poll looks again. */
#define TESTDEV_WAKE_MS	10

void testdev_save_init(struct testdev_stream *stream)
{
	struct testdev_header *header = &stream->header;

	header->magic = TESTDEV_STREAM_MAGIC;
	header->version = TESTDEV_STREAM_VERSION;
	header->length = sizeof(*header);
	header->seed = stream->seed;
	header->check = testdev_stream_check(header, offsetof(struct testdev_header, check));

	stream->save.header = sizeof(*header);
	stream->save.initial = testdev_sizes(stream->dev).initial;
	stream->save.trailer = sizeof(stream->trailer);
	stream->save.aged = ktime_get();
}

/* What became dirty since the last time. */
static void testdev_save_age(struct testdev_stream *stream)
{
	struct testdev_sizes sizes = testdev_sizes(stream->dev);
	struct testdev_save *save = &stream->save;
	ktime_t now = ktime_get();
	u64 seconds, grown;
	u32 us;

	lockdep_assert_held(&stream->lock);
	if (stream->phase != TESTDEV_PRECOPY)
		return;
	seconds = div_u64_rem(ktime_us_delta(now, save->aged), USEC_PER_SEC, &us);
	/* The rate is at most TESTDEV_RATE_MAX. */
	seconds = min(seconds, TESTDEV_SIZE_MAX / TESTDEV_RATE_MAX);
	grown = sizes.dirty_rate * seconds + div_u64(sizes.dirty_rate * us, USEC_PER_SEC);
	/* Asked often, a slow rate must not be rounded down each time. */
	if (!grown && sizes.dirty_rate)
		return;
	save->aged = now;
	if (sizes.dirty_max)
		grown = min(grown, sizes.dirty_max - min(save->dirty, sizes.dirty_max));
	save->dirty = min(save->dirty + grown, TESTDEV_SIZE_MAX);
}

void testdev_save_stop(struct testdev_stream *stream)
{
	struct testdev_trailer *trailer = &stream->trailer;
	struct testdev_save *save = &stream->save;

	lockdep_assert_held(&stream->lock);
	testdev_save_age(stream);
	save->stop = testdev_sizes(stream->dev).stop;
	stream->phase = TESTDEV_STOPCOPY;

	trailer->magic = TESTDEV_TRAILER_MAGIC;
	trailer->payload = stream->position + save->initial + save->dirty + save->stop;
	trailer->check = testdev_stream_check(trailer, offsetof(struct testdev_trailer, check));
}

u64 testdev_save_size(struct testdev_stream *stream)
{
	struct testdev_save *save = &stream->save;
	u64 stop = save->stop;

	lockdep_assert_held(&stream->lock);
	testdev_save_age(stream);
	if (stream->phase == TESTDEV_PRECOPY)
		stop = testdev_sizes(stream->dev).stop;
	return save->header + save->initial + save->dirty + stop + save->trailer;
}

/*
 * The device was set up anew, so to speak: what is there is initial data, and
 * there is more of it. Who did not ask to be told finds it dirty.
 */
int testdev_save_reinit(struct testdev_stream *stream, u64 bytes)
{
	struct testdev_save *save = &stream->save;

	lockdep_assert_held(&stream->lock);
	if (stream->phase != TESTDEV_PRECOPY)
		return -EBUSY;
	testdev_save_age(stream);
#ifdef VFIO_PRECOPY_INFO_REINIT
	if (stream->dev->vdev.precopy_info_v2) {
		save->initial = min(save->initial + save->dirty + bytes, TESTDEV_SIZE_MAX);
		save->dirty = 0;
		save->reinit = true;
		return 0;
	}
#endif
	save->dirty = min(save->dirty + bytes, TESTDEV_SIZE_MAX);
	return 0;
}

/* Payload that can be read now. */
static u64 testdev_save_payload(const struct testdev_stream *stream)
{
	return stream->save.initial + stream->save.dirty + stream->save.stop;
}

static u64 testdev_save_readable(const struct testdev_stream *stream)
{
	u64 trailer = stream->phase == TESTDEV_STOPCOPY ? stream->save.trailer : 0;

	return stream->save.header + testdev_save_payload(stream) + trailer;
}

/* What comes next: at most len bytes of it, at *data. */
static size_t testdev_save_peek(struct testdev_stream *stream, size_t len, const void **data)
{
	const struct testdev_save *save = &stream->save;
	u64 payload = testdev_save_payload(stream);

	lockdep_assert_held(&stream->lock);
	if (save->header) {
		*data = (const void *)(&stream->header + 1) - save->header;
		return min_t(u64, len, save->header);
	}
	if (payload) {
		len = min_t(u64, min_t(u64, len, payload), TESTDEV_CHUNK);
		testdev_prng(stream->seed, stream->position, stream->chunk, len);
		*data = stream->chunk;
		return len;
	}
	if (stream->phase == TESTDEV_STOPCOPY) {
		*data = (const void *)(&stream->trailer + 1) - save->trailer;
		return min_t(u64, len, save->trailer);
	}
	return 0;
}

static size_t testdev_take(u64 *from, size_t len)
{
	size_t n = min_t(u64, *from, len);

	*from -= n;
	return len - n;
}

/* It was read. */
static void testdev_save_advance(struct testdev_stream *stream, size_t len)
{
	struct testdev_save *save = &stream->save;

	lockdep_assert_held(&stream->lock);
	if (save->header) {
		save->header -= len;
	} else if (testdev_save_payload(stream)) {
		stream->position += len;
		len = testdev_take(&save->initial, len);
		len = testdev_take(&save->dirty, len);
		testdev_take(&save->stop, len);
	} else {
		save->trailer -= len;
	}
}

static ssize_t testdev_save_copy(struct testdev_stream *stream, char __user *buf, size_t len)
{
	const void *data;
	size_t done, n;

	lockdep_assert_held(&stream->lock);
	if (stream->phase == TESTDEV_ENDED)
		return -ENODEV;
	testdev_save_age(stream);
	for (done = 0; done < len; done += n) {
		if (done && signal_pending(current))
			break;
		n = testdev_save_peek(stream, len - done, &data);
		if (!n)
			break;
		if (copy_to_user(buf + done, data, n))
			return done ?: -EFAULT;
		testdev_save_advance(stream, n);
		cond_resched();
	}
	if (!done && len && stream->phase == TESTDEV_PRECOPY)
		return -ENOMSG;
	return done;
}

static ssize_t testdev_save_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	struct testdev_stream *stream = file->private_data;
	ssize_t ret;

	ret = testdev_call(stream->dev, TESTDEV_READ);
	if (ret)
		return ret;
	if (mutex_lock_interruptible(&stream->lock))
		return -EINTR;
	ret = testdev_save_copy(stream, buf, len);
	mutex_unlock(&stream->lock);
	return ret;
}

/* The truth; that it was set up anew is told once. */
static int testdev_save_info(struct testdev_stream *stream, struct vfio_precopy_info *info)
{
	struct testdev_save *save = &stream->save;

	lockdep_assert_held(&stream->lock);
	if (stream->phase != TESTDEV_PRECOPY)
		return stream->phase == TESTDEV_ENDED ? -ENODEV : -EINVAL;
	testdev_save_age(stream);
	info->initial_bytes = save->header + save->initial;
	info->dirty_bytes = save->dirty;
#ifdef VFIO_PRECOPY_INFO_REINIT
	if (stream->dev->vdev.precopy_info_v2) {
		info->flags = save->reinit ? VFIO_PRECOPY_INFO_REINIT : 0;
		save->reinit = false;
	}
#endif
	return 0;
}

static long testdev_save_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct testdev_stream *stream = file->private_data;
	unsigned long minsz = offsetofend(struct vfio_precopy_info, dirty_bytes);
	struct testdev *dev = stream->dev;
	struct vfio_precopy_info info;
	int ret;

	if (cmd != VFIO_MIG_GET_PRECOPY_INFO)
		return -ENOTTY;
	if (copy_from_user(&info, (void __user *)arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	ret = testdev_call(dev, TESTDEV_PRECOPY_INFO);
	if (ret)
		return ret;

	mutex_lock(&stream->lock);
	ret = testdev_save_info(stream, &info);
	mutex_unlock(&stream->lock);
	if (ret)
		return ret;

	info.initial_bytes = testdev_reported(dev, TESTDEV_REPORT_INITIAL, info.initial_bytes);
	info.dirty_bytes = testdev_reported(dev, TESTDEV_REPORT_DIRTY, info.dirty_bytes);
	return copy_to_user((void __user *)arg, &info, minsz) ? -EFAULT : 0;
}

static __poll_t testdev_save_poll(struct file *file, poll_table *table)
{
	struct testdev_stream *stream = file->private_data;
	__poll_t events = 0;

	poll_wait(file, &stream->wait, table);
	mutex_lock(&stream->lock);
	testdev_save_age(stream);
	if (stream->phase == TESTDEV_ENDED)
		events = EPOLLERR | EPOLLHUP;
	else if (stream->phase == TESTDEV_STOPCOPY || testdev_save_readable(stream))
		events = EPOLLIN | EPOLLRDNORM;
	else
		mod_delayed_work(testdev_wq, &stream->wake, msecs_to_jiffies(TESTDEV_WAKE_MS));
	mutex_unlock(&stream->lock);
	return events;
}

const struct file_operations testdev_save_fops = {
	.owner		= THIS_MODULE,
	.read		= testdev_save_read,
	.unlocked_ioctl	= testdev_save_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.poll		= testdev_save_poll,
	.release	= testdev_stream_release,
};
