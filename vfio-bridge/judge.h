/* SPDX-License-Identifier: GPL-2.0-only */
/* What to make of what a device says. Pure: no clock, no locks, no device. */
#ifndef _MIGTRACK_VFIO_JUDGE_H
#define _MIGTRACK_VFIO_JUDGE_H

#include <linux/types.h>

#include "sizes.h"

/**
 * struct migtrack_vfio_reply - what a device said
 * @err: why it could not be asked at all, or 0; the rest is then not set
 * @state_err: of the query of its state
 * @state: anything
 * @size_err: of the query of its stop-copy size
 * @size: anything
 * @asked_precopy: the following are set
 * @precopy_err: of the query of its precopy info
 * @initial: anything
 * @dirty: anything
 * @reinit: it has new initial data
 */
struct migtrack_vfio_reply {
	int err;
	int state_err;
	u32 state;
	int size_err;
	u64 size;
	bool asked_precopy;
	int precopy_err;
	u64 initial;
	u64 dirty;
	bool reinit;
};

/**
 * struct migtrack_vfio_answer - what is believed of it, and of those before it
 * @known: there was a possible stop-copy size
 * @sized: the last query had one, or a last good one stands for it
 * @has_state: @state is known
 * @has_precopy: @initial and @dirty were asked for, and answered with possible ones
 *	now or the last time
 * @state: enum migtrack_device_state
 * @size: the last good one
 * @initial: the last good one, 0 where there can't be any
 * @dirty: likewise
 * @bytes: what is to be moved
 * @flags: enum migtrack_counter_flags
 * @error: errno of the last query that failed, or 0
 * @clamps: impossible sizes so far
 */
struct migtrack_vfio_answer {
	bool known;
	bool sized;
	bool has_state;
	bool has_precopy;
	u32 state;
	u64 size;
	u64 initial;
	u64 dirty;
	struct migtrack_counters bytes;
	u32 flags;
	u32 error;
	u64 clamps;
};

void migtrack_vfio_answer_init(struct migtrack_vfio_answer *answer);
unsigned int migtrack_vfio_judge(struct migtrack_vfio_answer *answer,
				 const struct migtrack_vfio_reply *reply);
bool migtrack_vfio_data_ended(const struct migtrack_vfio_reply *reply);

#endif /* _MIGTRACK_VFIO_JUDGE_H */
