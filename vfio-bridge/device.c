// SPDX-License-Identifier: GPL-2.0-only
/* Devices: who holds their files, who asks them, when they are let go. */

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/ratelimit.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <net/netlink.h>

#include "device.h"
#include "dma.h"
#include "main.h"
#include "vfio_source.h"

/*
 * How often a device is looked at whether somebody else still has it: until then
 * VFIO takes it for open, and who wants to open it again is refused.
 */
#define MIGTRACK_VFIO_WATCH_MS	20

/*
 * How long who adds a device waits at most for it to say what it can do, however large
 * answer_ms is: all of generic netlink may wait meanwhile.
 */
#define MIGTRACK_VFIO_PROBE_MS	500

/* Guards the list below. */
static DEFINE_MUTEX(migtrack_vfio_devices_lock);
static LIST_HEAD(migtrack_vfio_devices);

/**
 * migtrack_vfio_device_put - drop a reference
 * @device: the device
 */
void migtrack_vfio_device_put(struct migtrack_vfio_device *device)
{
	if (refcount_dec_and_test(&device->refs))
		kfree(device);
}

/* ---- letting go ---- */

/* Look at it in a while, or sooner if that is planned already. */
static void migtrack_vfio_watch(struct migtrack_vfio_device *device, unsigned int ms)
{
	bool queued = true;

	refcount_inc(&device->refs);
	spin_lock(&device->lock);
	if (device->file)
		queued = !queue_delayed_work(migtrack_vfio_wq, &device->watch_work,
					     msecs_to_jiffies(ms));
	spin_unlock(&device->lock);
	if (queued)
		migtrack_vfio_device_put(device);
}

/* The file has one reference, ours: nobody can come by another one. */
static bool migtrack_vfio_is_last(struct file *file)
{
	return file_count(file) == 1;
}

/**
 * struct migtrack_vfio_held - what a device held
 * @file: or NULL
 * @data: or NULL
 * @mm: or NULL
 * @log: what it logged for a source that wants to know; or NULL
 * @unwanted: what it logged for nobody; or NULL
 */
struct migtrack_vfio_held {
	struct file *file;
	struct file *data;
	struct mm_struct *mm;
	struct migtrack_dma_map *log;
	struct migtrack_dma_map *unwanted;
};

/* Take out of the device what it need not hold any more. */
static void migtrack_vfio_take_held(struct migtrack_vfio_device *device,
				    struct migtrack_vfio_held *held)
{
	lockdep_assert_held(&migtrack_vfio_devices_lock);

	spin_lock(&device->lock);
	if (migtrack_vfio_is_last(device->file))
		device->gone = true;
	if (device->busy)
		goto out;
	/* One that logs for us has to be told to stop, as its VMM goes on. */
	if (device->gone || (!device->users && !device->log.active)) {
		migtrack_vfio_log_lost(&device->log, &held->log, &held->unwanted);
		swap(held->file, device->file);
		swap(held->data, device->data);
		swap(held->mm, device->mm);
		list_del(&device->node);
	} else if (device->data && migtrack_vfio_is_last(device->data)) {
		swap(held->data, device->data);
	}
out:
	spin_unlock(&device->lock);
}

/*
 * Closed here and now, not by the kernel's common work item for that: a driver
 * that takes long to close its device would keep all that others close waiting.
 */
static void migtrack_vfio_release(const struct migtrack_vfio_held *held)
{
	if (held->data)
		__fput_sync(held->data);
	if (held->file)
		__fput_sync(held->file);
	if (held->mm)
		mmdrop(held->mm);
	/* What it wrote before it was closed nobody has read. */
	if (held->log)
		migtrack_dma_mark_all(held->log);
	migtrack_dma_map_put(held->log);
	migtrack_dma_map_put(held->unwanted);
}

/* After the file was closed, unless the device hangs. */
static void migtrack_vfio_tell_gone(struct migtrack_vfio_device *device)
{
	struct migtrack_vfio_source *vfio;

	spin_lock(&device->lock);
	if (device->gone && !device->told) {
		device->told = true;
		list_for_each_entry(vfio, &device->sources, node)
			migtrack_source_gone(&vfio->source);
	}
	spin_unlock(&device->lock);
}

/* ---- asking ---- */

/* With references, which the end drops. */
static bool migtrack_vfio_ask_begin(struct migtrack_vfio_device *device,
				    struct migtrack_vfio_query *query, u64 *number)
{
	bool ask, log = false;

	spin_lock(&device->lock);
	*number = device->wanted;
	query->probe = !device->probed;
	query->sizes = device->done != device->wanted && device->sizes;
	ask = device->file && !device->gone && device->mm;
	if (ask)
		log = migtrack_vfio_log_begin(&device->log, &query->log,
					      device->done != device->wanted);
	ask = ask && (query->probe || query->sizes || log);
	device->sizes = false;
	if (ask) {
		query->vmm = migtrack_vfio_log_mm(&query->log);
		if (query->vmm)
			mmgrab(query->vmm);
		query->device = device->file;
		query->data = device->data ? get_file(device->data) : NULL;
		query->mm = device->mm;
		mmgrab(query->mm);
		query->features = device->features;
		device->busy = true;
		device->busy_since = jiffies;
	} else {
		device->done = device->wanted;
	}
	spin_unlock(&device->lock);
	return ask;
}

static void migtrack_vfio_warn(struct migtrack_vfio_device *device,
			       const struct migtrack_vfio_reply *reply)
{
	const struct migtrack_vfio_source *vfio;

	lockdep_assert_held(&device->lock);

	list_for_each_entry(vfio, &device->sources, node)
		pr_warn_ratelimited("migtrack_vfio: session %llu source %u: device %s: impossible size (stop-copy %llu initial %llu dirty %llu)\n",
				    migtrack_source_session_id(&vfio->source),
				    vfio->source.id,
				    vfio->source.name[0] ? vfio->source.name : "without name",
				    reply->size, reply->initial, reply->dirty);
}

/* Is there something that listeners are not told by a sync? */
static bool migtrack_vfio_is_news(const struct migtrack_vfio_answer *old,
				  const struct migtrack_vfio_answer *new)
{
	return old->has_state && new->has_state && old->state != new->state;
}

/* Returns whether it is news. */
static bool migtrack_vfio_take_answer(struct migtrack_vfio_device *device,
				      const struct migtrack_vfio_query *query)
{
	struct migtrack_vfio_answer old = device->answer;

	lockdep_assert_held(&device->lock);

	if (migtrack_vfio_judge(&device->answer, &query->reply))
		migtrack_vfio_warn(device, &query->reply);
	if (!query->reply.err)
		device->time = ktime_get_ns();
	return migtrack_vfio_is_news(&old, &device->answer);
}

static void migtrack_vfio_tell_answer(struct migtrack_vfio_device *device, u64 number,
				      bool news)
{
	struct migtrack_vfio_source *vfio;

	lockdep_assert_held(&device->lock);

	list_for_each_entry(vfio, &device->sources, node) {
		if (!news && !(vfio->late && vfio->late <= number))
			continue;
		vfio->late = 0;
		migtrack_vfio_source_tell(vfio);
	}
}

static void migtrack_vfio_ask_end(struct migtrack_vfio_device *device,
				  struct migtrack_vfio_query *query, u64 number)
{
	struct file *ended = NULL;
	bool news;

	spin_lock(&device->lock);
	device->busy = false;
	if (query->probe) {
		WRITE_ONCE(device->probed, true);
		device->probe_err = query->probe_err;
		device->features = query->features;
	}
	device->done = number;
	news = migtrack_vfio_log_end(&device->log, &query->log, number);
	if (query->sizes)
		news |= migtrack_vfio_take_answer(device, query);
	migtrack_vfio_tell_answer(device, number, news);
	if (migtrack_vfio_data_ended(&query->reply) && device->data == query->data)
		swap(ended, device->data);
	spin_unlock(&device->lock);

	wake_up_all(&device->answered);
	if (ended)
		__fput_sync(ended);
	if (query->data)
		__fput_sync(query->data);
	mmdrop(query->mm);
	if (query->vmm)
		mmdrop(query->vmm);
	migtrack_vfio_log_query_put(&query->log);
}

static void migtrack_vfio_ask_work(struct work_struct *work)
{
	struct migtrack_vfio_device *device =
		container_of(work, struct migtrack_vfio_device, ask_work);
	struct migtrack_vfio_query query = {};
	u64 number;

	if (migtrack_vfio_ask_begin(device, &query, &number)) {
		migtrack_vfio_query(&query);
		migtrack_vfio_ask_end(device, &query, number);
	} else {
		wake_up_all(&device->answered);
	}
	migtrack_vfio_device_put(device);
}

/* From now on it is asked from the address space of who calls. */
static void migtrack_vfio_device_queue(struct migtrack_vfio_device *device, u64 *number,
				       bool sizes)
{
	struct mm_struct *mm = current->mm;

	if (mm)
		mmgrab(mm);
	spin_lock(&device->lock);
	/* One that was let go of is not asked any more, and would keep it. */
	if (mm && device->file)
		swap(device->mm, mm);
	if (number)
		*number = ++device->wanted;
	device->sizes |= sizes;
	spin_unlock(&device->lock);
	if (mm)
		mmdrop(mm);

	refcount_inc(&device->refs);
	if (!queue_work(migtrack_vfio_wq, &device->ask_work))
		migtrack_vfio_device_put(device);
}

/**
 * migtrack_vfio_device_ask - have a device asked
 * @device: the device
 * @sizes: also what there is to move, not only what its log has
 *
 * In the context of who wants to know; does not wait.
 *
 * Return: number of the question.
 */
u64 migtrack_vfio_device_ask(struct migtrack_vfio_device *device, bool sizes)
{
	u64 number;

	migtrack_vfio_device_queue(device, &number, sizes);
	return number;
}

/**
 * migtrack_vfio_device_answered - did a device answer?
 * @device: the device
 * @number: a question
 *
 * Return: true if it, or a later one, was answered.
 */
bool migtrack_vfio_device_answered(struct migtrack_vfio_device *device, u64 number)
{
	bool answered;

	spin_lock(&device->lock);
	answered = device->done >= number;
	spin_unlock(&device->lock);
	return answered;
}

static int migtrack_vfio_probe_result(struct migtrack_vfio_device *device, u32 *features,
				      struct netlink_ext_ack *extack)
{
	int err;

	spin_lock(&device->lock);
	err = device->probe_err;
	*features = device->features;
	spin_unlock(&device->lock);

	if (err == -ENOTTY || (!err && !(*features & MIGTRACK_DEVICE_FEATURES_STOP_COPY))) {
		NL_SET_ERR_MSG(extack,
			       "the device can't migrate: its driver has no support for that");
		return -EOPNOTSUPP;
	}
	if (err)
		NL_SET_ERR_MSG(extack,
			       "the device does not say what it can do; is it bound to a guest?");
	return err;
}

/**
 * migtrack_vfio_device_probe - what can a device do?
 * @device: the device
 * @features: out: enum migtrack_device_features
 * @extack: says why not
 *
 * Return: 0; -EOPNOTSUPP if it can't migrate, -ETIMEDOUT, -EINTR, or what the
 * device says.
 */
int migtrack_vfio_device_probe(struct migtrack_vfio_device *device, u32 *features,
			       struct netlink_ext_ack *extack)
{
	unsigned int ms = min(READ_ONCE(migtrack_vfio_answer_ms), MIGTRACK_VFIO_PROBE_MS);
	bool probed;
	long left;

	/* It may have been bound to a guest since it was asked in vain. */
	spin_lock(&device->lock);
	probed = device->probed && !device->probe_err;
	device->probed = probed;
	spin_unlock(&device->lock);
	if (!probed)
		migtrack_vfio_device_queue(device, NULL, false);
	left = wait_event_killable_timeout(device->answered, READ_ONCE(device->probed),
					   msecs_to_jiffies(ms));
	if (left < 0)
		return -EINTR;
	if (!left) {
		NL_SET_ERR_MSG(extack, "the device does not answer");
		return -ETIMEDOUT;
	}
	return migtrack_vfio_probe_result(device, features, extack);
}

/* ---- watching ---- */

/* It could not be told to stop logging; it may be by now. */
static void migtrack_vfio_stop_again(struct migtrack_vfio_device *device)
{
	bool again;

	spin_lock(&device->lock);
	again = device->file && !device->busy && device->log.active && !device->log.map;
	spin_unlock(&device->lock);
	if (again)
		migtrack_vfio_device_queue(device, NULL, false);
}

static void migtrack_vfio_watch_work(struct work_struct *work)
{
	struct migtrack_vfio_device *device =
		container_of(to_delayed_work(work), struct migtrack_vfio_device, watch_work);
	struct migtrack_vfio_held held = {};

	mutex_lock(&migtrack_vfio_devices_lock);
	if (device->file)
		migtrack_vfio_take_held(device, &held);
	mutex_unlock(&migtrack_vfio_devices_lock);

	migtrack_vfio_release(&held);
	migtrack_vfio_tell_gone(device);
	/* The module's end waits for this work item's. */
	if (held.file)
		module_put(THIS_MODULE);
	migtrack_vfio_stop_again(device);
	migtrack_vfio_watch(device, MIGTRACK_VFIO_WATCH_MS);
	migtrack_vfio_device_put(device);
}

/* ---- sources ---- */

/**
 * migtrack_vfio_device_attach - a source of a device is in a session
 * @device: the device
 * @source: the source
 */
void migtrack_vfio_device_attach(struct migtrack_vfio_device *device,
				 struct migtrack_vfio_source *source)
{
	spin_lock(&device->lock);
	list_add_tail(&source->node, &device->sources);
	if (device->told)
		migtrack_source_gone(&source->source);
	spin_unlock(&device->lock);
}

/**
 * migtrack_vfio_device_leave - a source does not want its device any more
 * @device: the device
 * @source: the source
 *
 * Does not wait: the watch lets go of it. Once per source.
 */
void migtrack_vfio_device_leave(struct migtrack_vfio_device *device,
				struct migtrack_vfio_source *source)
{
	struct migtrack_dma_map *old = NULL;
	bool stop, logged = false;

	spin_lock(&device->lock);
	list_del_init(&source->node);
	device->users--;
	if (device->log.owner == source)
		old = migtrack_vfio_log_set(&device->log, NULL, NULL, &logged);
	/* One that is being started just now has to be stopped after that. */
	stop = !device->log.map && (device->log.active || device->busy);
	spin_unlock(&device->lock);
	if (stop)
		migtrack_vfio_device_queue(device, NULL, false);
	if (logged)
		migtrack_dma_mark_all(old);
	migtrack_dma_map_put(old);
}

/**
 * migtrack_vfio_device_set_log - have a device log what it writes, or not
 * @device: the device
 * @source: a source of it; if another one has the log it is told so
 * @map: what to log; NULL: nothing
 *
 * Does not wait.
 *
 * Return: 0, or -ENODEV if the source has left the device, and wants it no more.
 */
int migtrack_vfio_device_set_log(struct migtrack_vfio_device *device,
				 struct migtrack_vfio_source *source,
				 struct migtrack_dma_map *map)
{
	struct migtrack_dma_map *old = NULL;
	bool left, ours, logged = false;

	spin_lock(&device->lock);
	left = list_empty(&source->node);
	ours = !left && (!device->log.owner || device->log.owner == source);
	source->log_in_use = map && !left && !ours;
	if (ours)
		old = migtrack_vfio_log_set(&device->log, map ? source : NULL, map,
					    &logged);
	spin_unlock(&device->lock);
	if (ours)
		migtrack_vfio_device_queue(device, NULL, false);
	if (logged)
		migtrack_dma_mark_all(old);
	migtrack_dma_map_put(old);
	return left ? -ENODEV : 0;
}

/**
 * migtrack_vfio_device_set_data - the device's migration data
 * @device: the device
 * @data: its file; looked at whether it may be one
 *
 * Return: 0, or -ENODEV if the device is gone.
 */
int migtrack_vfio_device_set_data(struct migtrack_vfio_device *device, struct file *data)
{
	bool there;

	get_file(data);
	spin_lock(&device->lock);
	there = device->file && !device->gone;
	if (there)
		swap(device->data, data);
	spin_unlock(&device->lock);
	if (data)
		fput(data);
	return there ? 0 : -ENODEV;
}

static struct migtrack_vfio_device *migtrack_vfio_device_new(struct file *file)
{
	struct migtrack_vfio_device *device;

	device = kzalloc(sizeof(*device), GFP_KERNEL_ACCOUNT);
	if (!device)
		return NULL;

	refcount_set(&device->refs, 1);
	init_waitqueue_head(&device->answered);
	INIT_WORK(&device->ask_work, migtrack_vfio_ask_work);
	INIT_DELAYED_WORK(&device->watch_work, migtrack_vfio_watch_work);
	spin_lock_init(&device->lock);
	INIT_LIST_HEAD(&device->sources);
	migtrack_vfio_answer_init(&device->answer);
	device->users = 1;
	device->file = get_file(file);
	__module_get(THIS_MODULE);
	list_add(&device->node, &migtrack_vfio_devices);
	migtrack_vfio_watch(device, MIGTRACK_VFIO_WATCH_MS);
	return device;
}

/**
 * migtrack_vfio_device_get - the device of a file, for a source
 * @file: of a VFIO device
 *
 * Return: the device, which migtrack_vfio_device_leave() and
 * migtrack_vfio_device_put() let go of; NULL without memory.
 */
struct migtrack_vfio_device *migtrack_vfio_device_get(struct file *file)
{
	struct migtrack_vfio_device *device;

	mutex_lock(&migtrack_vfio_devices_lock);
	list_for_each_entry(device, &migtrack_vfio_devices, node) {
		if (device->file != file)
			continue;
		spin_lock(&device->lock);
		device->users++;
		spin_unlock(&device->lock);
		refcount_inc(&device->refs);
		goto out;
	}
	device = migtrack_vfio_device_new(file);
out:
	mutex_unlock(&migtrack_vfio_devices_lock);
	return device;
}
