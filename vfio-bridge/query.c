// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asks a device, as its VMM does: by ioctls of its file. VFIO has no other
 * interface for that, and its drivers copy to and from user memory, so the thread
 * that asks borrows an address space, and a page in it for as long as it asks.
 *
 * Whose address space that is could change the page meanwhile. It gets an answer
 * to another question then, about a device whose descriptor it has anyway; what
 * comes back is believed as little as the device is.
 */

#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

#include <linux/migtrack.h>

#include "compat.h"
#include "query.h"
#include "vfio_trace.h"

/**
 * migtrack_vfio_is_device - is that the file of a VFIO device?
 * @file: any file
 *
 * VFIO itself says so: its own files are those of groups and of devices.
 *
 * Return: true if so.
 */
bool migtrack_vfio_is_device(struct file *file)
{
	return vfio_file_is_valid(file) && !vfio_file_is_group(file);
}

/**
 * migtrack_vfio_may_be_data - can that be a device's migration data, to be read?
 * @file: any file
 *
 * Each driver has files of its own for these, and none says so. What they have
 * in common: no inode of their own, a stream, open for reading only, with ioctls.
 * Few others have all of that, and these refuse the one ioctl that is tried.
 *
 * Return: false if it is certainly something else.
 */
bool migtrack_vfio_may_be_data(struct file *file)
{
	return file_inode(file)->i_sb->s_magic == ANON_INODE_FS_MAGIC &&
	       (file->f_mode & (FMODE_READ | FMODE_WRITE | FMODE_STREAM)) ==
		       (FMODE_READ | FMODE_STREAM) &&
	       file->f_op->unlocked_ioctl;
}

static int migtrack_vfio_ioctl(struct file *file, unsigned int cmd, void __user *page)
{
	long ret = file->f_op->unlocked_ioctl(file, cmd, (unsigned long)page);

	/* A driver may return anything. */
	if (ret >= 0)
		return 0;
	return ret < -MAX_ERRNO ? -EIO : ret;
}

/**
 * migtrack_vfio_feature - VFIO_DEVICE_FEATURE
 * @file: the device's
 * @page: to ask with
 * @flags: what to do, and with which feature
 * @data: in and out; may be NULL if @size is 0
 * @size: bytes
 *
 * Return: 0 or what the device says.
 */
int migtrack_vfio_feature(struct file *file, void __user *page, u32 flags, void *data,
			  size_t size)
{
	struct vfio_device_feature head = {
		.argsz = sizeof(head) + size,
		.flags = flags,
	};
	int err;

	if (copy_to_user(page, &head, sizeof(head)) ||
	    (size && copy_to_user(page + sizeof(head), data, size)))
		return -EFAULT;
	err = migtrack_vfio_ioctl(file, VFIO_DEVICE_FEATURE, page);
	if (err || !size)
		return err;
	return copy_from_user(data, page + sizeof(head), size) ? -EFAULT : 0;
}

static bool migtrack_vfio_has(struct file *file, void __user *page, u32 feature)
{
	struct vfio_device_feature_dma_logging_control none = {};

	return !migtrack_vfio_feature(file, page, feature | VFIO_DEVICE_FEATURE_PROBE,
				      &none, sizeof(none));
}

/*
 * What a device can do. All of that is answered by VFIO itself, without the
 * device's driver.
 */
static int migtrack_vfio_probe(struct file *file, void __user *page, u32 *features)
{
	struct vfio_device_feature_migration mig = {};
	int err;

	err = migtrack_vfio_feature(file, page, VFIO_DEVICE_FEATURE_GET |
				    VFIO_DEVICE_FEATURE_MIGRATION, &mig, sizeof(mig));
	if (err)
		return err;

	*features = 0;
	if (mig.flags & VFIO_MIGRATION_STOP_COPY)
		*features |= MIGTRACK_DEVICE_FEATURES_STOP_COPY;
	if (mig.flags & VFIO_MIGRATION_P2P)
		*features |= MIGTRACK_DEVICE_FEATURES_P2P;
	if (mig.flags & VFIO_MIGRATION_PRE_COPY)
		*features |= MIGTRACK_DEVICE_FEATURES_PRE_COPY;
	if (migtrack_vfio_has(file, page, VFIO_DEVICE_FEATURE_SET |
			      VFIO_DEVICE_FEATURE_DMA_LOGGING_START))
		*features |= MIGTRACK_DEVICE_FEATURES_DIRTY_LOG;
	/*
	 * Only asked whether it could: to switch it on is up to the VMM, whose own
	 * queries it changes.
	 */
	if (MIGTRACK_VFIO_PRECOPY_INFO_V2 &&
	    migtrack_vfio_has(file, page, VFIO_DEVICE_FEATURE_SET |
			      MIGTRACK_VFIO_PRECOPY_INFO_V2))
		*features |= MIGTRACK_DEVICE_FEATURES_REINIT;
	return 0;
}

/**
 * migtrack_vfio_get_state - a device's migration state
 * @file: the device's
 * @page: to ask with
 * @state: out: anything
 *
 * Return: 0 or what the device says.
 */
int migtrack_vfio_get_state(struct file *file, void __user *page, u32 *state)
{
	struct vfio_device_feature_mig_state mig = { .data_fd = -1 };
	int err;

	err = migtrack_vfio_feature(file, page, VFIO_DEVICE_FEATURE_GET |
				    VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
				    &mig, sizeof(mig));
	*state = mig.device_state;
	return err;
}

static int migtrack_vfio_get_size(struct file *file, void __user *page, u64 *size)
{
	struct vfio_device_feature_mig_data_size data = {};
	int err;

	err = migtrack_vfio_feature(file, page, VFIO_DEVICE_FEATURE_GET |
				    VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
				    &data, sizeof(data));
	*size = data.stop_copy_length;
	return err;
}

static int migtrack_vfio_get_precopy(struct migtrack_vfio_query *query, void __user *page)
{
	struct vfio_precopy_info info = { .argsz = sizeof(info) };
	struct migtrack_vfio_reply *reply = &query->reply;
	int err;

	if (copy_to_user(page, &info, sizeof(info)))
		return -EFAULT;
	err = migtrack_vfio_ioctl(query->data, VFIO_MIG_GET_PRECOPY_INFO, page);
	if (err)
		return err;
	if (copy_from_user(&info, page, sizeof(info)))
		return -EFAULT;
	reply->initial = info.initial_bytes;
	reply->dirty = info.dirty_bytes;
	/* Of others the flags mean nothing. */
	reply->reinit = (query->features & MIGTRACK_DEVICE_FEATURES_REINIT) &&
			(info.flags & MIGTRACK_VFIO_REINIT);
	return 0;
}

static void migtrack_vfio_ask_sizes(struct migtrack_vfio_query *query, void __user *page)
{
	struct migtrack_vfio_reply *reply = &query->reply;

	reply->state_err = migtrack_vfio_get_state(query->device, page, &reply->state);
	/*
	 * The parts before the whole: what becomes dirty between the two is then
	 * in the stop-copy part, and not in none.
	 */
	reply->asked_precopy = query->data &&
		(reply->state_err || reply->state == VFIO_DEVICE_STATE_PRE_COPY ||
		 reply->state == VFIO_DEVICE_STATE_PRE_COPY_P2P);
	if (reply->asked_precopy)
		reply->precopy_err = migtrack_vfio_get_precopy(query, page);
	reply->size_err = migtrack_vfio_get_size(query->device, page, &reply->size);
}

static int migtrack_vfio_ask(struct migtrack_vfio_query *query)
{
	unsigned long addr;
	void __user *page;

	addr = vm_mmap(NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	if (IS_ERR_VALUE(addr))
		return (int)addr;
	page = (void __user *)addr;

	if (query->probe)
		query->probe_err = migtrack_vfio_probe(query->device, page,
						       &query->features);
	/* Before the sizes, so that what is written meanwhile is soon known. */
	migtrack_vfio_log_ask(query->device, page, &query->log);
	if (query->sizes)
		migtrack_vfio_ask_sizes(query, page);
	vm_munmap(addr, PAGE_SIZE);
	return 0;
}

/* Who asked may have ended since: with its memory. Until the answer it stays. */
static struct mm_struct *migtrack_vfio_query_mm(const struct migtrack_vfio_query *query)
{
	if (mmget_not_zero(query->mm))
		return query->mm;
	return query->vmm && mmget_not_zero(query->vmm) ? query->vmm : NULL;
}

/**
 * migtrack_vfio_query - ask a device
 * @query: what; and the answers
 *
 * From a kernel thread. Takes as long as the device's driver does, which may be
 * for ever.
 */
void migtrack_vfio_query(struct migtrack_vfio_query *query)
{
	struct mm_struct *mm = migtrack_vfio_query_mm(query);
	u64 start = ktime_get_ns();
	int err = -ESRCH;

	trace_migtrack_vfio_ask(query);
	if (mm) {
		kthread_use_mm(mm);
		err = migtrack_vfio_ask(query);
		kthread_unuse_mm(mm);
		mmput(mm);
	}
	if (err) {
		query->probe_err = err;
		query->reply.err = err;
		migtrack_vfio_log_not_asked(&query->log, err);
	}
	query->duration = ktime_get_ns() - start;
	trace_migtrack_vfio_answer(query);
}
