/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In a test guest: pages that are written at a rate, a slice of time after the other. */
#ifndef GUEST_PACE_H
#define GUEST_PACE_H

#include <stdint.h>
#include <time.h>

#define PAGE	4096UL
#define MIB	(1UL << 20)
#define SLICE	20000000	/* ns */
#define LATE	1000000000	/* ns: no attempt to catch up with more */

static inline uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static inline void sleep_until(uint64_t when)
{
	struct timespec t = { when / 1000000000, when % 1000000000 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* What ought to have been written after a time at a rate in bytes a second. */
static inline uint64_t pages_due(uint64_t ns, uint64_t rate)
{
	return ns / 1000 * rate / 1000000 / PAGE;
}

#endif
