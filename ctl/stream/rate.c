// SPDX-License-Identifier: GPL-2.0-or-later
#include <time.h>

#include "common/clock.h"
#include "stream/rate.h"

/* What was not used for this long may be used at once. */
#define BURST_NS	(50 * NS_PER_MS)

/* Chunks of this time. */
#define CHUNKS_PER_S	20

void rate_charge(uint64_t *paid_until, uint64_t rate, uint64_t bytes)
{
	uint64_t now;

	if (!rate)
		return;
	now = now_ns();
	if (*paid_until + BURST_NS < now)
		*paid_until = now - BURST_NS;
	*paid_until += bytes * NS_PER_S / rate;
}

bool rate_wait(uint64_t paid_until, uint64_t rate, uint64_t *patience)
{
	uint64_t now = now_ns(), wait;
	struct timespec ts;

	if (!rate || paid_until <= now)
		return true;
	wait = paid_until - now;
	if (wait > *patience)
		wait = *patience;
	*patience -= wait;
	ts.tv_sec = (time_t)(wait / NS_PER_S);
	ts.tv_nsec = (long)(wait % NS_PER_S);
	/* A signal ends it early: the caller may have to stop. */
	return !nanosleep(&ts, NULL) && paid_until <= now_ns();
}

uint64_t rate_chunk(uint64_t rate)
{
	return rate ? rate / CHUNKS_PER_S : UINT64_MAX;
}
