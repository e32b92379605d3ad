// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Is there no progress any more, and if so, is this a good moment to act?
 *
 * The least that was ever left is kept, but for the last window; that one is kept
 * in slots, so that a window of any length takes the same memory. What is in a
 * slot counts as old when all of the slot is: a little later than it could.
 */
#include "common/units.h"
#include "policy/internal.h"

#define MIN_PATIENCE	NS_PER_S

static void clear(struct policy_stall *stall)
{
	int i;

	for (i = 0; i < POLICY_STALL_SLOTS; i++)
		stall->slots[i] = POLICY_UNKNOWN;
}

void stall_init(struct policy_stall *stall)
{
	*stall = (struct policy_stall) { .best = POLICY_UNKNOWN };
	clear(stall);
}

/* A timeout leaves no time for a window as long as it. */
static uint64_t window_of(const struct policy_limits *limits)
{
	uint64_t window = limits->stall_window;

	if (limits->timeout && window > limits->timeout / 4)
		window = limits->timeout / 4;
	return window;
}

static uint64_t width_of(const struct policy_limits *limits)
{
	return window_of(limits) / (POLICY_STALL_SLOTS - 1) + 1;
}

/* What has left the window joins the best. */
static void age(struct policy_stall *stall, uint64_t slot)
{
	uint64_t *old;
	uint64_t n = sat_sub(slot, stall->slot);

	if (n > POLICY_STALL_SLOTS)
		n = POLICY_STALL_SLOTS;
	while (n--) {
		stall->slot++;
		old = &stall->slots[stall->slot % POLICY_STALL_SLOTS];
		if (*old < stall->best)
			stall->best = *old;
		*old = POLICY_UNKNOWN;
	}
	if (slot > stall->slot)
		stall->slot = slot;
}

static uint64_t least_in_window(const struct policy_stall *stall)
{
	uint64_t least = POLICY_UNKNOWN;
	int i;

	for (i = 0; i < POLICY_STALL_SLOTS; i++) {
		if (stall->slots[i] < least)
			least = stall->slots[i];
	}
	return least;
}

static uint64_t least_of_all(const struct policy_stall *stall)
{
	uint64_t least = least_in_window(stall);

	return least < stall->best ? least : stall->best;
}

/*
 * The numbers of slots of another width say nothing of these. What is in the window still
 * is taken for seen now: it leaves late rather than early.
 */
static void resize(struct policy_stall *stall, uint64_t now, uint64_t width)
{
	uint64_t least;

	if (stall->width)
		age(stall, now / stall->width);
	least = least_in_window(stall);
	clear(stall);
	stall->width = width;
	stall->slot = now / width;
	stall->slots[stall->slot % POLICY_STALL_SLOTS] = least;
}

static void wait_from(struct policy_stall *stall, uint64_t now, uint64_t patience)
{
	stall->patience = patience > MIN_PATIENCE ? patience : MIN_PATIENCE;
	stall->patience_start = now;
	stall->least = POLICY_UNKNOWN;
}

/* It did not get as low again: what it got down to has to do. */
static void lose_patience(struct policy_stall *stall, uint64_t now)
{
	if (sat_sub(now, stall->patience_start) < stall->patience)
		return;
	if (stall->least > stall->target)
		stall->target = stall->least;
	wait_from(stall, now, stall->patience / 2);
}

void stall_add(struct policy_stall *stall, const struct policy_limits *limits,
	       uint64_t now, uint64_t remaining)
{
	uint64_t width = width_of(limits);
	uint64_t *slot;

	if (width != stall->width)
		resize(stall, now, width);
	age(stall, now / width);
	slot = &stall->slots[stall->slot % POLICY_STALL_SLOTS];
	if (remaining < *slot)
		*slot = remaining;

	if (stall->best == POLICY_UNKNOWN ||
	    remaining < percent(stall->best, limits->stall_margin)) {
		stall->stalled = false;
		return;
	}
	if (!stall->stalled) {
		stall->stalled = true;
		stall->target = least_of_all(stall);
		wait_from(stall, now, window_of(limits));
	}
	if (remaining < stall->least)
		stall->least = remaining;
	lose_patience(stall, now);
}

bool stall_is_minimum(const struct policy_stall *stall,
		      const struct policy_limits *limits, uint64_t remaining)
{
	return remaining <= percent(stall->target, limits->local_minimum);
}
