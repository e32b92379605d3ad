/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGCTL_CLOCK_H
#define MIGCTL_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "common/units.h"

/* CLOCK_MONOTONIC, in ns. */
static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static inline struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / NS_PER_S),
		.tv_nsec = (long)(ns % NS_PER_S),
	};
}

#endif /* MIGCTL_CLOCK_H */
