// SPDX-License-Identifier: GPL-2.0-only
/* The file of a session: what its owner reads, polls and maps. */

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "map.h"
#include "session.h"
#include "source.h"

static int migtrack_session_release(struct inode *inode, struct file *file)
{
	struct migtrack_session *session = file->private_data;

	migtrack_session_end(session);
	migtrack_session_put(session);
	return 0;
}

static __poll_t migtrack_session_poll(struct file *file, poll_table *wait)
{
	struct migtrack_session *session = file->private_data;
	__poll_t mask = 0;

	poll_wait(file, &session->wait, wait);
	if (atomic64_read(&session->unread))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (migtrack_session_ended(session))
		mask |= EPOLLHUP;
	return mask;
}

/* As an eventfd: the number of syncs that ended since the last read. */
static ssize_t migtrack_session_read(struct file *file, char __user *buf,
				     size_t count, loff_t *pos)
{
	struct migtrack_session *session = file->private_data;
	u64 n;
	int err;

	if (count < sizeof(n))
		return -EINVAL;

	while (!(n = atomic64_xchg(&session->unread, 0))) {
		if (migtrack_session_ended(session))
			return -ENODEV;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(session->wait,
					       atomic64_read(&session->unread) ||
					       migtrack_session_ended(session));
		if (err)
			return err;
	}
	return copy_to_user(buf, &n, sizeof(n)) ? -EFAULT : (ssize_t)sizeof(n);
}

static int migtrack_session_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct migtrack_session *session = file->private_data;
	unsigned long slot = vma->vm_pgoff >> (MIGTRACK_SLOT_SHIFT - PAGE_SHIFT);
	struct migtrack_source *source;
	int err = -ENODEV;

	mutex_lock(&session->lock);
	if (!session->net)
		goto out;

	err = -EINVAL;
	if (!slot) {
		err = migtrack_map_mmap(session->header, vma);
	} else if (slot <= ARRAY_SIZE(session->sources)) {
		source = session->sources[slot - 1];
		if (source && source->map)
			err = migtrack_map_mmap(source->map, vma);
	}
out:
	mutex_unlock(&session->lock);
	return err;
}

static void migtrack_session_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct migtrack_session *session = file->private_data;
	const struct migtrack_snapshot *snap;
	struct migtrack_totals totals;

	rcu_read_lock();
	snap = rcu_dereference(session->snap);
	migtrack_snapshot_totals(session, snap, &totals);
	seq_printf(m, "migtrack-id:\t%llu\n", session->id);
	seq_printf(m, "migtrack-ended:\t%d\n", migtrack_session_ended(session));
	seq_printf(m, "iteration:\t%llu\n", snap->iteration);
	seq_printf(m, "syncs:\t%llu\n", snap->syncs);
	seq_printf(m, "sources:\t%u\n", snap->nsources);
	seq_printf(m, "precopy:\t%llu\n", totals.bytes.precopy);
	seq_printf(m, "postcopy:\t%llu\n", totals.bytes.postcopy);
	seq_printf(m, "stopcopy:\t%llu\n", totals.bytes.stopcopy);
	seq_printf(m, "total:\t%llu\n", migtrack_counters_total(&totals.bytes));
	seq_printf(m, "flags:\t0x%x\n", totals.flags);
	rcu_read_unlock();
}

const struct file_operations migtrack_session_fops = {
	.owner		= THIS_MODULE,
	.release	= migtrack_session_release,
	.poll		= migtrack_session_poll,
	.read		= migtrack_session_read,
	.mmap		= migtrack_session_mmap,
	.show_fdinfo	= migtrack_session_show_fdinfo,
};

/**
 * migtrack_session_from_file - the session that a file stands for
 * @file: any file
 *
 * Return: the session, which lives as long as @file; NULL if it is no session.
 */
struct migtrack_session *migtrack_session_from_file(struct file *file)
{
	return file->f_op == &migtrack_session_fops ? file->private_data : NULL;
}
