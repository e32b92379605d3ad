/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_VFIO_QUERY_H
#define _MIGTRACK_VFIO_QUERY_H

#include <linux/types.h>

#include "judge.h"
#include "log.h"

struct file;
struct mm_struct;

/**
 * struct migtrack_vfio_query - a question to a device
 * @device: its file
 * @data: the file of its migration data, or NULL
 * @mm: an address space to ask from; may have ended
 * @vmm: another one, if it has; NULL if there is none
 * @features: enum migtrack_device_features; asked for if @probe
 * @probe: ask what it can do
 * @sizes: ask what there is to move
 * @probe_err: out: why it can't say what it can do, or 0
 * @reply: out: what there is to move
 * @log: what to ask of its DMA log; and the answers
 * @duration: out: ns
 */
struct migtrack_vfio_query {
	struct file *device;
	struct file *data;
	struct mm_struct *mm;
	struct mm_struct *vmm;
	u32 features;
	bool probe;
	bool sizes;
	int probe_err;
	struct migtrack_vfio_reply reply;
	struct migtrack_vfio_log_query log;
	u64 duration;
};

bool migtrack_vfio_is_device(struct file *file);
bool migtrack_vfio_may_be_data(struct file *file);
void migtrack_vfio_query(struct migtrack_vfio_query *query);

/* In an address space that is lent, with a page of it. */
int migtrack_vfio_feature(struct file *file, void __user *page, u32 flags, void *data,
			  size_t size);
int migtrack_vfio_get_state(struct file *file, void __user *page, u32 *state);

#endif /* _MIGTRACK_VFIO_QUERY_H */
