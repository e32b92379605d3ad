/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_VFIO_QUERY_H
#define _MIGTRACK_VFIO_QUERY_H

#include <linux/types.h>

#include "judge.h"

struct file;
struct mm_struct;

/**
 * struct migtrack_vfio_query - a question to a device
 * @device: its file
 * @data: the file of its migration data, or NULL
 * @mm: an address space to ask from; may have ended
 * @features: enum migtrack_device_features; asked for if @probe
 * @probe: ask what it can do
 * @sizes: ask what there is to move
 * @probe_err: out: why it can't say what it can do, or 0
 * @reply: out: what there is to move
 */
struct migtrack_vfio_query {
	struct file *device;
	struct file *data;
	struct mm_struct *mm;
	u32 features;
	bool probe;
	bool sizes;
	int probe_err;
	struct migtrack_vfio_reply reply;
};

bool migtrack_vfio_is_device(struct file *file);
bool migtrack_vfio_may_be_data(struct file *file);
void migtrack_vfio_query(struct migtrack_vfio_query *query);

#endif /* _MIGTRACK_VFIO_QUERY_H */
