// SPDX-License-Identifier: GPL-2.0-only
/*
 * What to make of what a device says: it may report any size, other ones from
 * call to call, or an error. Pure; the unit tests have a table of it.
 */

#include <linux/errno.h>
#include <linux/migtrack.h>

#include "judge.h"

/* No size: so much that nobody switches over. */
static void migtrack_vfio_set_unknown(struct migtrack_vfio_answer *answer)
{
	answer->sized = false;
	answer->flags |= MIGTRACK_COUNTER_FLAGS_UNKNOWN | MIGTRACK_COUNTER_FLAGS_STALE;
	answer->bytes = (struct migtrack_counters) {
		.stopcopy = MIGTRACK_UNKNOWN_BYTES,
	};
}

/**
 * migtrack_vfio_answer_init - nothing was asked yet
 * @answer: zeroed
 */
void migtrack_vfio_answer_init(struct migtrack_vfio_answer *answer)
{
	migtrack_vfio_set_unknown(answer);
}

/**
 * migtrack_vfio_data_ended - is there nothing more to ask a data descriptor for?
 * @reply: what was said
 *
 * The device left the states in which it is saved and will open another one, or
 * its driver has no precopy.
 *
 * Return: true if so.
 */
bool migtrack_vfio_data_ended(const struct migtrack_vfio_reply *reply)
{
	return !reply->err && reply->asked_precopy &&
	       (reply->precopy_err == -ENODEV || reply->precopy_err == -ENOTTY);
}

static void migtrack_vfio_judge_state(struct migtrack_vfio_answer *answer,
				      const struct migtrack_vfio_reply *reply)
{
	answer->has_state = !reply->state_err &&
			    reply->state <= MIGTRACK_DEVICE_STATE_PRE_COPY_P2P;
	answer->state = answer->has_state ? reply->state : 0;
	if (reply->state_err)
		answer->error = -reply->state_err;
}

static unsigned int migtrack_vfio_judge_size(struct migtrack_vfio_answer *answer,
					     const struct migtrack_vfio_reply *reply)
{
	if (reply->size_err) {
		answer->sized = false;
		answer->error = -reply->size_err;
		return 0;
	}
	if (migtrack_size_take(&answer->size, reply->size)) {
		answer->known = true;
		answer->sized = true;
		return 0;
	}
	answer->sized = answer->known;
	return 1;
}

/* Without precopy all of the stop-copy size is left: nothing is forgotten. */
static unsigned int migtrack_vfio_judge_precopy(struct migtrack_vfio_answer *answer,
						const struct migtrack_vfio_reply *reply)
{
	bool before = answer->has_precopy;
	u64 initial, dirty;

	answer->has_precopy = reply->asked_precopy && !reply->precopy_err;
	if (!answer->has_precopy) {
		answer->initial = 0;
		answer->dirty = 0;
		/* Out of the states in which it is saved that is normal. */
		if (reply->asked_precopy && reply->precopy_err != -EINVAL &&
		    !migtrack_vfio_data_ended(reply)) {
			answer->error = -reply->precopy_err;
			answer->flags |= MIGTRACK_COUNTER_FLAGS_STALE;
		}
		return 0;
	}

	if (reply->reinit)
		answer->flags |= MIGTRACK_COUNTER_FLAGS_REINIT;
	if (!migtrack_size_take(&initial, reply->initial) ||
	    !migtrack_size_take(&dirty, reply->dirty) || initial + dirty > S64_MAX) {
		/* Without a good one before, an initial size of 0 would look ready. */
		answer->has_precopy = before;
		if (!before)
			answer->flags |= MIGTRACK_COUNTER_FLAGS_STALE;
		return 1;
	}
	answer->initial = initial;
	answer->dirty = dirty;
	return 0;
}

/**
 * migtrack_vfio_judge - make something of what a device said
 * @answer: of the queries before; becomes that of this one
 * @reply: what it said
 *
 * Return: how many of the sizes are impossible; @answer has the last good ones.
 */
unsigned int migtrack_vfio_judge(struct migtrack_vfio_answer *answer,
				 const struct migtrack_vfio_reply *reply)
{
	unsigned int bad;
	u64 precopy;

	answer->error = 0;
	if (reply->err) {
		answer->error = -reply->err;
		answer->flags &= ~MIGTRACK_COUNTER_FLAGS_EXACT;
		answer->flags |= MIGTRACK_COUNTER_FLAGS_STALE;
		return 0;
	}

	answer->flags = 0;
	migtrack_vfio_judge_state(answer, reply);
	bad = migtrack_vfio_judge_precopy(answer, reply);
	bad += migtrack_vfio_judge_size(answer, reply);
	if (bad) {
		answer->clamps += bad;
		answer->flags |= MIGTRACK_COUNTER_FLAGS_CLAMPED;
	}
	if (!answer->sized) {
		migtrack_vfio_set_unknown(answer);
		return bad;
	}

	precopy = answer->initial + answer->dirty;
	answer->bytes = (struct migtrack_counters) {
		.precopy = precopy,
		.stopcopy = answer->size > precopy ? answer->size - precopy : 0,
	};
	/* An old size that stands for a bad one is nothing to decide by. */
	if (!(answer->flags & (MIGTRACK_COUNTER_FLAGS_STALE | MIGTRACK_COUNTER_FLAGS_CLAMPED)))
		answer->flags |= MIGTRACK_COUNTER_FLAGS_EXACT;
	return bad;
}
