/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_VFIO_DEVICE_H
#define _MIGTRACK_VFIO_DEVICE_H

#include <linux/list.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "judge.h"
#include "log.h"
#include "query.h"

struct migtrack_vfio_source;
struct netlink_ext_ack;

/**
 * struct migtrack_vfio_device - a device that is held open
 *
 * One for each file, however many sources there are of it: VFIO waits for the
 * last reference to the file before a device can be unplugged or unbound, and so
 * there must be one of ours, of which can be told that it is the last.
 *
 * Referenced by each source and by each of its work items while that is queued.
 * It holds the module for as long as it holds the file. The file is let go of by
 * @watch_work only: when nobody else has it any more (@gone), or when no source
 * wants it; in both cases not before the device answers, if it is being asked.
 *
 * @refs: references
 * @node: in the list of devices, for as long as @file is held; under its mutex
 * @answered: woken up when the device has answered
 * @ask_work: asks it; alone, as work items do not run twice at a time
 * @watch_work: looks whether to let go of it; queued for as long as @file is held
 * @lock: short; guards what follows. Taken inside of that mutex, and of the lock
 *	of a session
 * @file: the device's, referenced; NULL once let go of. Does not change while
 *	@busy
 * @data: of its migration data, referenced; may be NULL
 * @mm: who asked last; keeps no memory. May be NULL
 * @sources: that are in a session and were not stopped
 * @users: sources that were not stopped
 * @gone: nobody else has the file
 * @told: its sources were told so
 * @probed: it was asked what it can do, with result @probe_err and @features
 * @probe_err: or 0
 * @features: enum migtrack_device_features
 * @wanted: number of the last question
 * @done: number of the last question that was answered
 * @sizes: the last question is of what there is to move, too
 * @busy: it is being asked, since @busy_since
 * @busy_since: jiffies
 * @answer: of the last question
 * @time: of @answer, CLOCK_MONOTONIC in ns; 0 before the first
 * @log: of what it writes by DMA
 */
struct migtrack_vfio_device {
	refcount_t refs;
	struct list_head node;
	wait_queue_head_t answered;
	struct work_struct ask_work;
	struct delayed_work watch_work;

	spinlock_t lock;		/* short */
	struct file *file;
	struct file *data;
	struct mm_struct *mm;
	struct list_head sources;
	unsigned int users;
	bool gone;
	bool told;
	bool probed;
	int probe_err;
	u32 features;
	u64 wanted;
	u64 done;
	bool sizes;
	bool busy;
	unsigned long busy_since;
	struct migtrack_vfio_answer answer;
	u64 time;
	struct migtrack_vfio_log log;
};

struct migtrack_vfio_device *migtrack_vfio_device_get(struct file *file);
void migtrack_vfio_device_put(struct migtrack_vfio_device *device);
int migtrack_vfio_device_probe(struct migtrack_vfio_device *device, u32 *features,
			       struct netlink_ext_ack *extack);
void migtrack_vfio_device_leave(struct migtrack_vfio_device *device,
				struct migtrack_vfio_source *source);
void migtrack_vfio_device_attach(struct migtrack_vfio_device *device,
				 struct migtrack_vfio_source *source);
int migtrack_vfio_device_set_data(struct migtrack_vfio_device *device,
				  struct file *data);
int migtrack_vfio_device_set_log(struct migtrack_vfio_device *device,
				 struct migtrack_vfio_source *source,
				 struct migtrack_dma_map *map);
u64 migtrack_vfio_device_ask(struct migtrack_vfio_device *device, bool sizes);
bool migtrack_vfio_device_answered(struct migtrack_vfio_device *device, u64 number);

#endif /* _MIGTRACK_VFIO_DEVICE_H */
