// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PID 1 of a test guest: writes its memory at known rates and says on the serial
 * console what it does. Kernel parameters that the kernel does not know arrive
 * as environment:
 *
 *	steps=RATE:SECONDS,...	MiB/s, one step after the other
 *	set=MIB			the working set, written round and round
 *
 * It says "workload: ready" before the first step, one line at the start and one
 * at the end of each, "workload: done" after the last, and then idles.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE	4096UL
#define MIB	(1UL << 20)
#define SLICE	20000000	/* ns */

struct set {
	char *mem;
	size_t pages;
	size_t next;
	uint64_t written;
};

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void sleep_until(uint64_t when)
{
	struct timespec t = { when / 1000000000, when % 1000000000 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void write_page(struct set *set)
{
	uint64_t stamp = ++set->written;

	memcpy(set->mem + set->next * PAGE, &stamp, sizeof(stamp));
	set->next = (set->next + 1) % set->pages;
}

static void run_step(struct set *set, unsigned int rate, unsigned int seconds)
{
	uint64_t start = now(), end = start + seconds * 1000000000ULL;
	uint64_t first = set->written, due, t;

	if (!rate) {
		sleep_until(end);
		return;
	}
	for (t = start; t < end; t += SLICE) {
		sleep_until(t);
		due = (t + SLICE - start) * rate / 1000 * MIB / 1000000 / PAGE;
		while (set->written - first < due)
			write_page(set);
	}
}

static void describe(unsigned int n, unsigned int rate, unsigned int seconds)
{
	if (rate)
		printf("workload: step %u: writes %u MiB/s for %u s\n", n, rate, seconds);
	else
		printf("workload: step %u: idle for %u s\n", n, seconds);
}

static void run_steps(struct set *set, const char *steps)
{
	unsigned int n, rate, seconds;
	uint64_t before;
	int used;

	for (n = 1; sscanf(steps, "%u:%u%n", &rate, &seconds, &used) == 2; n++) {
		describe(n, rate, seconds);
		before = set->written;
		run_step(set, rate, seconds);
		printf("workload: step %u wrote %ju pages\n", n,
		       (uintmax_t)(set->written - before));
		steps += used;
		if (*steps++ != ',')
			break;
	}
}

int main(void)
{
	const char *mib = getenv("set"), *steps = getenv("steps");
	struct set set = { .pages = (mib ? strtoul(mib, NULL, 10) : 64) * MIB / PAGE };

	setlinebuf(stdout);
	set.mem = mmap(NULL, set.pages * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (!set.pages || set.mem == MAP_FAILED) {
		printf("workload: no memory\n");
	} else {
		printf("workload: ready\n");
		run_steps(&set, steps ? steps : "");
		printf("workload: done\n");
	}
	for (;;)
		pause();
}
