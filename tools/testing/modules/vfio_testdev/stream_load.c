// SPDX-License-Identifier: GPL-2.0-only
/*
 * A loading stream: each byte is checked. Nothing tells in advance how long the
 * payload is, so the last bytes that came, as many as a trailer has, are kept;
 * what they push out was payload.
 */

#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "stream.h"

static int testdev_load_header(struct testdev_stream *stream)
{
	const struct testdev_header *header = &stream->header;

	if (header->magic != TESTDEV_STREAM_MAGIC || header->version != TESTDEV_STREAM_VERSION ||
	    header->length != sizeof(*header) ||
	    header->check != testdev_stream_check(header, offsetof(struct testdev_header, check)))
		return -EINVAL;
	stream->seed = header->seed;
	return 0;
}

/* Some of the header: how many bytes were taken. */
static ssize_t testdev_load_head(struct testdev_stream *stream, const char __user *buf, size_t len)
{
	struct testdev_load *load = &stream->load;

	len = min(len, sizeof(stream->header) - load->header);
	if (copy_from_user((u8 *)&stream->header + load->header, buf, len))
		return -EFAULT;
	load->header += len;
	if (load->header == sizeof(stream->header) && testdev_load_header(stream))
		return -EINVAL;
	return len;
}

/* What comes after the header: how many bytes were taken. */
static ssize_t testdev_load_body(struct testdev_stream *stream, const char __user *buf, size_t len)
{
	struct testdev_load *load = &stream->load;
	size_t all, out;

	len = min_t(size_t, len, TESTDEV_CHUNK);
	if (copy_from_user(stream->window + load->tail, buf, len))
		return -EFAULT;
	all = load->tail + len;
	load->tail = min(all, sizeof(stream->trailer));
	out = all - load->tail;
	if (!out)
		return len;

	testdev_prng(stream->seed, stream->position, stream->chunk, out);
	if (memcmp(stream->window, stream->chunk, out))
		return -EINVAL;
	stream->position += out;
	memmove(stream->window, stream->window + out, load->tail);
	return len;
}

static ssize_t testdev_load_take(struct testdev_stream *stream, const char __user *buf, size_t len)
{
	struct testdev_load *load = &stream->load;
	size_t done;
	ssize_t n;

	lockdep_assert_held(&stream->lock);
	if (stream->phase == TESTDEV_ENDED)
		return -ENODEV;
	if (load->wrong)
		return -EINVAL;
	for (done = 0; done < len; done += n) {
		if (done && signal_pending(current))
			break;
		if (load->header < sizeof(stream->header))
			n = testdev_load_head(stream, buf + done, len - done);
		else
			n = testdev_load_body(stream, buf + done, len - done);
		if (n == -EFAULT)
			return done ?: n;
		if (n < 0) {
			load->wrong = true;
			return n;
		}
		cond_resched();
	}
	return done;
}

static ssize_t testdev_load_write(struct file *file, const char __user *buf, size_t len,
				  loff_t *pos)
{
	struct testdev_stream *stream = file->private_data;
	ssize_t ret;

	ret = testdev_call(stream->dev, TESTDEV_WRITE);
	if (ret)
		return ret;
	if (mutex_lock_interruptible(&stream->lock))
		return -EINTR;
	ret = testdev_load_take(stream, buf, len);
	mutex_unlock(&stream->lock);
	return ret;
}

static __poll_t testdev_load_poll(struct file *file, poll_table *table)
{
	struct testdev_stream *stream = file->private_data;
	__poll_t events;

	poll_wait(file, &stream->wait, table);
	mutex_lock(&stream->lock);
	events = stream->phase == TESTDEV_ENDED ? EPOLLERR | EPOLLHUP : EPOLLOUT | EPOLLWRNORM;
	mutex_unlock(&stream->lock);
	return events;
}

/* Is it whole? Then the trailer is where the registers come from. */
int testdev_load_finish(struct testdev_stream *stream)
{
	struct testdev_trailer *trailer = &stream->trailer;
	struct testdev_load *load = &stream->load;

	lockdep_assert_held(&stream->lock);
	if (load->wrong || load->tail != sizeof(*trailer))
		return -EINVAL;
	memcpy(trailer, stream->window, sizeof(*trailer));
	if (trailer->magic != TESTDEV_TRAILER_MAGIC || trailer->payload != stream->position ||
	    trailer->check != testdev_stream_check(trailer, offsetof(struct testdev_trailer,
								      check)))
		return -EINVAL;
	return 0;
}

const struct file_operations testdev_load_fops = {
	.owner		= THIS_MODULE,
	.write		= testdev_load_write,
	.poll		= testdev_load_poll,
	.release	= testdev_stream_release,
};
