// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The frequency of this machine's time-stamp counter in kHz. An emulated CPU
 * shows the host's counter; a kernel that measures it while the host is busy
 * gets it wrong, and its clock then runs several times too fast.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define TRIES	50

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

struct sample {
	uint64_t ns;
	uint64_t ticks;
};

/* The pair of readings that had least between them. */
static struct sample sample(void)
{
	struct sample best = {};
	uint64_t least = UINT64_MAX, before, ns, after;
	int i;

	for (i = 0; i < TRIES; i++) {
		before = __rdtsc();
		ns = now_ns();
		after = __rdtsc();
		if (after - before < least) {
			least = after - before;
			best = (struct sample){ ns, before + (after - before) / 2 };
		}
	}
	return best;
}

int main(void)
{
	struct sample first = sample(), last;

	usleep(100000);
	last = sample();
	printf("%llu\n", (unsigned long long)((last.ticks - first.ticks) * 1000000 /
					      (last.ns - first.ns)));
	return 0;
}
