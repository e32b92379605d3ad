// SPDX-License-Identifier: GPL-2.0-only
/* Source type vfio: a VFIO device, asked for what it has to move. */

#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <net/netlink.h>

#include "device.h"
#include "dma.h"
#include "main.h"
#include "vfio_source.h"

/* How long it may take to see that a sync is to end. */
#define MIGTRACK_VFIO_CANCEL_MS	50

static struct migtrack_vfio_source *to_vfio(struct migtrack_source *source)
{
	return container_of(source, struct migtrack_vfio_source, source);
}

/* ---- telling ---- */

static void migtrack_vfio_tell_work(struct work_struct *work)
{
	struct migtrack_vfio_source *vfio =
		container_of(work, struct migtrack_vfio_source, tell_work);

	migtrack_source_changed(&vfio->source);
	migtrack_source_put(&vfio->source);
}

/**
 * migtrack_vfio_source_tell - publish and tell what the device answered
 * @vfio: the source, in a session; its device is locked
 */
void migtrack_vfio_source_tell(struct migtrack_vfio_source *vfio)
{
	refcount_inc(&vfio->source.refs);
	if (!queue_work(migtrack_vfio_wq, &vfio->tell_work))
		refcount_dec(&vfio->source.refs);
}

/* ---- the source's ops ---- */

static void migtrack_vfio_attach(struct migtrack_source *source)
{
	struct migtrack_vfio_source *vfio = to_vfio(source);

	migtrack_vfio_device_attach(vfio->device, vfio);
	/* Not before: the device may be in other sessions, which a refusal must not touch. */
	if (!vfio->data)
		return;
	migtrack_vfio_device_set_data(vfio->device, vfio->data);
	fput(vfio->data);
	vfio->data = NULL;
}

static bool migtrack_vfio_has_log(struct migtrack_vfio_source *vfio)
{
	bool has;

	spin_lock(&vfio->device->lock);
	has = vfio->device->log.owner == vfio;
	spin_unlock(&vfio->device->lock);
	return has;
}

/*
 * A device that did not answer in time before does not get time again, nor another
 * question: it is waited for once, not in each sync, and when it answers, that is of
 * the question that it was late with.
 */
static void migtrack_vfio_begin(struct migtrack_source *source,
				enum migtrack_sync_kind kind)
{
	struct migtrack_vfio_source *vfio = to_vfio(source);
	struct migtrack_vfio_device *device = vfio->device;
	unsigned long wait = msecs_to_jiffies(READ_ONCE(migtrack_vfio_answer_ms));
	bool final = kind == MIGTRACK_SYNC_KIND_FINAL;
	bool late;
	u64 number;

	/* The guest is stopped: what was found before is what is left to move. */
	if (final && !migtrack_vfio_has_log(vfio))
		return;

	spin_lock(&device->lock);
	late = device->done < vfio->late;
	vfio->old = late;
	if (late) {
		vfio->asked = vfio->late;
		/* What that one reads of its log may have been read before now. */
		vfio->log_asked = device->wanted + 1;
		vfio->deadline = jiffies;
	}
	spin_unlock(&device->lock);
	if (late)
		return;

	number = migtrack_vfio_device_ask(device, !final);
	spin_lock(&device->lock);
	vfio->asked = number;
	vfio->log_asked = number;
	vfio->deadline = (device->busy ? device->busy_since : jiffies) + wait;
	spin_unlock(&device->lock);
}

static bool migtrack_vfio_wait(struct migtrack_vfio_source *vfio, long slice)
{
	return wait_event_timeout(vfio->device->answered,
				  migtrack_vfio_device_answered(vfio->device, vfio->asked),
				  slice);
}

/* Until the deadline. Returns -ETIMEDOUT after that. */
static int migtrack_vfio_await(struct migtrack_vfio_source *vfio, const bool *cancel)
{
	long slice = msecs_to_jiffies(MIGTRACK_VFIO_CANCEL_MS), left;

	do {
		if (READ_ONCE(*cancel))
			return -EINTR;
		left = (long)(vfio->deadline - jiffies);
		if (migtrack_vfio_wait(vfio, clamp(left, 0, slice)))
			return 0;
	} while (left > 0);
	return -ETIMEDOUT;
}

/* What the device wrote; of all that it could if it does not answer. */
static void migtrack_vfio_harvest(struct migtrack_source *source, const bool *cancel)
{
	struct migtrack_vfio_source *vfio = to_vfio(source);
	struct migtrack_vfio_device *device = vfio->device;
	struct migtrack_dma_map *all = NULL;

	lockdep_assert_held(&source->lock);

	if (!migtrack_vfio_has_log(vfio) || migtrack_vfio_await(vfio, cancel) == -EINTR)
		return;

	spin_lock(&device->lock);
	if (device->log.owner == vfio)
		all = migtrack_vfio_log_harvest(&device->log, vfio->log_asked,
						ktime_get_ns());
	spin_unlock(&device->lock);
	if (all)
		migtrack_dma_mark_all(all);
	migtrack_dma_map_put(all);
}

/* A device that does not answer keeps its numbers, and others do not wait. */
static int migtrack_vfio_sync(struct migtrack_source *source,
			      enum migtrack_sync_kind kind, const bool *cancel)
{
	struct migtrack_vfio_source *vfio = to_vfio(source);
	struct migtrack_vfio_device *device = vfio->device;
	int err;

	lockdep_assert_held(&source->lock);

	if (kind == MIGTRACK_SYNC_KIND_FINAL)
		return 0;

	err = migtrack_vfio_await(vfio, cancel);
	if (err != -ETIMEDOUT)
		return err;

	spin_lock(&device->lock);
	if (device->done < vfio->asked) {
		vfio->late = vfio->asked;
		vfio->old = false;
	}
	spin_unlock(&device->lock);
	return 0;
}

static void migtrack_vfio_log_stats(const struct migtrack_vfio_source *vfio,
				    struct migtrack_source_stats *stats)
{
	const struct migtrack_vfio_log *log = &vfio->device->log;

	lockdep_assert_held(&vfio->device->lock);

	if (log->owner != vfio) {
		stats->log = vfio->log_in_use ? MIGTRACK_DMA_LOG_IN_USE : 0;
		return;
	}
	stats->log = migtrack_vfio_log_state(log);
	stats->log_error = -log->error;
	stats->untracked_pages = log->untracked;
	stats->dirty_pages = log->dirty_pages;
	stats->dirty_rate = log->dirty_rate;
}

static void migtrack_vfio_latest(struct migtrack_source *source,
				 struct migtrack_source_stats *stats)
{
	struct migtrack_vfio_source *vfio = to_vfio(source);
	struct migtrack_vfio_device *device = vfio->device;
	const struct migtrack_vfio_answer *answer = &device->answer;

	*stats = (struct migtrack_source_stats){ .memory = sizeof(*vfio) + sizeof(*device) };

	spin_lock(&device->lock);
	stats->bytes = answer->bytes;
	stats->flags = answer->flags;
	stats->time = device->time;
	stats->error = answer->error;
	stats->clamps = answer->clamps - vfio->clamps;
	stats->device.state = answer->state;
	stats->device.initial = answer->initial;
	stats->device.dirty = answer->dirty;
	stats->device.size = answer->size;
	if (answer->has_state)
		stats->device.known |= MIGTRACK_DEVICE_STATE_KNOWN;
	if (answer->has_precopy)
		stats->device.known |= MIGTRACK_DEVICE_PRECOPY_KNOWN;
	if (answer->sized)
		stats->device.known |= MIGTRACK_DEVICE_SIZE_KNOWN;
	if (device->gone)
		stats->flags |= MIGTRACK_COUNTER_FLAGS_GONE;
	migtrack_vfio_log_stats(vfio, stats);
	if (device->gone || vfio->old || device->done < vfio->late) {
		stats->flags &= ~MIGTRACK_COUNTER_FLAGS_EXACT;
		stats->flags |= MIGTRACK_COUNTER_FLAGS_STALE;
	}
	spin_unlock(&device->lock);
}

static int migtrack_vfio_check_data(struct file *data, struct netlink_ext_ack *extack)
{
	if (migtrack_vfio_may_be_data(data))
		return 0;
	NL_SET_ERR_MSG(extack, "data-fd is not the migration data of a device that is saved");
	return -EINVAL;
}

static int migtrack_vfio_set(struct migtrack_source *source,
			     const struct migtrack_device_args *args,
			     struct netlink_ext_ack *extack)
{
	int err = migtrack_vfio_check_data(args->data, extack);

	if (err)
		return err;
	err = migtrack_vfio_device_set_data(to_vfio(source)->device, args->data);
	if (err)
		NL_SET_ERR_MSG(extack, "the device is gone");
	return err;
}

/* VFIO's report is there, and says EOPNOTSUPP: better said before the start. */
static int migtrack_vfio_check_log(const struct migtrack_source *source,
				   struct netlink_ext_ack *extack)
{
	if (!(source->features & MIGTRACK_DEVICE_FEATURES_DIRTY_LOG)) {
		NL_SET_ERR_MSG(extack, "the device has no DMA log");
		return -EOPNOTSUPP;
	}
	if (!IS_ENABLED(CONFIG_IOMMUFD_DRIVER)) {
		NL_SET_ERR_MSG(extack,
			       "this kernel can't report a device's DMA log: it was built without CONFIG_IOMMUFD and CONFIG_IOMMUFD_DRIVER");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int migtrack_vfio_start_log(struct migtrack_source *source,
				   struct migtrack_dma_map *map,
				   struct netlink_ext_ack *extack)
{
	struct migtrack_vfio_source *vfio = to_vfio(source);
	struct migtrack_vfio_device *device = vfio->device;
	bool before;
	int err;

	err = migtrack_vfio_check_log(source, extack);
	if (err)
		return err;

	/* The session's lock keeps others from asking for this source. */
	spin_lock(&device->lock);
	before = device->log.owner == vfio || vfio->log_in_use;
	spin_unlock(&device->lock);
	if (before) {
		NL_SET_ERR_MSG(extack, "the source asked for the DMA log before; stop it first");
		return -EBUSY;
	}
	err = migtrack_vfio_device_set_log(device, vfio, map);
	if (err)
		NL_SET_ERR_MSG(extack, "the device is gone");
	return err;
}

static int migtrack_vfio_stop_log(struct migtrack_source *source,
				  struct netlink_ext_ack *extack)
{
	struct migtrack_vfio_source *vfio = to_vfio(source);
	struct migtrack_vfio_device *device = vfio->device;
	bool before;

	spin_lock(&device->lock);
	before = device->log.owner == vfio || vfio->log_in_use;
	spin_unlock(&device->lock);
	if (!before) {
		NL_SET_ERR_MSG(extack, "the source did not ask for the DMA log");
		return -ENOENT;
	}
	migtrack_vfio_device_set_log(device, vfio, NULL);
	return 0;
}

static void migtrack_vfio_stop(struct migtrack_source *source)
{
	struct migtrack_vfio_source *vfio = to_vfio(source);

	if (vfio->stopped)
		return;
	vfio->stopped = true;
	migtrack_vfio_device_leave(vfio->device, vfio);
}

static void migtrack_vfio_free(struct migtrack_source *source)
{
	struct migtrack_vfio_source *vfio = to_vfio(source);

	/* One that was never in a session. */
	migtrack_vfio_stop(source);
	if (vfio->data)
		fput(vfio->data);
	migtrack_vfio_device_put(vfio->device);
	kfree(vfio);
}

static const struct migtrack_source_ops migtrack_vfio_ops = {
	.owner	= THIS_MODULE,
	.attach	= migtrack_vfio_attach,
	.begin	= migtrack_vfio_begin,
	.set	= migtrack_vfio_set,
	.log_start = migtrack_vfio_start_log,
	.log_stop = migtrack_vfio_stop_log,
	.harvest = migtrack_vfio_harvest,
	.sync	= migtrack_vfio_sync,
	.latest	= migtrack_vfio_latest,
	.stop	= migtrack_vfio_stop,
	.free	= migtrack_vfio_free,
};

/* ---- making one ---- */

static struct migtrack_source *migtrack_vfio_new(const struct migtrack_device_args *args,
						 struct netlink_ext_ack *extack)
{
	struct migtrack_vfio_source *vfio;
	int err;

	if (!migtrack_vfio_is_device(args->device)) {
		NL_SET_ERR_MSG(extack, "device-fd is not the descriptor of a VFIO device");
		return ERR_PTR(-EINVAL);
	}
	if (args->data) {
		err = migtrack_vfio_check_data(args->data, extack);
		if (err)
			return ERR_PTR(err);
	}

	vfio = kzalloc(sizeof(*vfio), GFP_KERNEL_ACCOUNT);
	if (!vfio)
		return ERR_PTR(-ENOMEM);
	migtrack_source_init(&vfio->source, &migtrack_vfio_ops, MIGTRACK_SOURCE_TYPE_VFIO);
	INIT_LIST_HEAD(&vfio->node);
	INIT_WORK(&vfio->tell_work, migtrack_vfio_tell_work);
	if (args->name)
		strscpy(vfio->source.name, args->name, sizeof(vfio->source.name));

	err = -ENOMEM;
	vfio->device = migtrack_vfio_device_get(args->device);
	if (!vfio->device)
		goto err_free;
	err = migtrack_vfio_device_probe(vfio->device, &vfio->source.features, extack);
	if (err)
		goto err_leave;

	if (args->data)
		vfio->data = get_file(args->data);
	spin_lock(&vfio->device->lock);
	vfio->clamps = vfio->device->answer.clamps;
	spin_unlock(&vfio->device->lock);
	return &vfio->source;

err_leave:
	migtrack_vfio_device_leave(vfio->device, vfio);
	migtrack_vfio_device_put(vfio->device);
err_free:
	kfree(vfio);
	return ERR_PTR(err);
}

const struct migtrack_source_provider migtrack_vfio_provider = {
	.type	= MIGTRACK_SOURCE_TYPE_VFIO,
	.owner	= THIS_MODULE,
	.new	= migtrack_vfio_new,
};
