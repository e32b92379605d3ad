/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_VFIO_SOURCE_H
#define _MIGTRACK_VFIO_SOURCE_H

#include <linux/list.h>
#include <linux/workqueue.h>

#include "provider.h"
#include "source.h"

struct migtrack_vfio_device;

/**
 * struct migtrack_vfio_source - a VFIO device, in a session
 * @source: what all sources have; its stats are not used
 * @device: the device, referenced
 * @stopped: it does not want the device any more. source.lock
 * @clamps: of the device when the source was made
 * @data: for the device when the source is in a session; NULL: none, or it has it
 * @tell_work: tells that the device's answer changed; it has a reference while
 *	it is queued
 * @node: in the device's sources, under its lock
 * @asked: number of the last question, under the device's lock
 * @log_asked: the first question that was asked after the sync began; likewise
 * @deadline: jiffies until when a sync waits for it; likewise
 * @late: number of the last question that was not answered in time; likewise
 * @old: the sync asked nothing, and the answer is of a question before it; likewise
 * @log_in_use: it asked for the DMA log, which another source had; likewise
 */
struct migtrack_vfio_source {
	struct migtrack_source source;
	struct migtrack_vfio_device *device;
	bool stopped;
	u64 clamps;
	struct file *data;
	struct work_struct tell_work;
	struct list_head node;
	u64 asked;
	u64 log_asked;
	unsigned long deadline;
	u64 late;
	bool old;
	bool log_in_use;
};

extern const struct migtrack_source_provider migtrack_vfio_provider;

void migtrack_vfio_source_tell(struct migtrack_vfio_source *vfio);

#endif /* _MIGTRACK_VFIO_SOURCE_H */
