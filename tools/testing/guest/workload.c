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
 *
 *	verify=1		instead, never ends and knows each byte of the set
 *	rate=MIB		MiB/s that it writes
 *	device=1		it uses the VFIO test device too, and checks it at each tick
 *	dma=N			which writes memory so many times a second; it wants
 *				hugepages=1
 *
 *	virtio=1		it loads the drivers of virtio devices, and then, if asked to,
 *	disk=1			writes its disk and checks what comes back,
 *	net=A.B.C.D		has that address
 *
 *	touch=MIB		beside that, MiB/s that it writes a word per page of in
 *	touched=MIB		a set of its own, which nobody checks: that is quick
 *
 *	load=1			instead, never ends and says what its writes cost, see load.h
 *	kib=N			KiB/s that it writes, a word per page,
 *	random=1		of any page of the set, not one after the other
 *	fill=1			its pages have data, not zeros
 *
 * With verify, a thread per CPU writes whole pages of its part of the set, each
 * with a pattern of its number and its generation, every eighth with zeros, and
 * checks others against a table of what they must hold. Meanwhile it says
 * "tick N" every 100 ms, N being one more each time, and every 20 ticks how much
 * was written and checked, also of the disk. A page that is not as it was written ends that:
 * "WRONG page ...". All that it knows is in the guest's memory, so it goes on
 * wherever that is.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "load.h"
#include "pace.h"
#include "virtio.h"

#define WORDS	(PAGE / sizeof(uint64_t))
#define TICK	100000000	/* ns */
#define REPORT	20		/* ticks */

/* Checked in a slice, beside as many as were written. */
#define CHECKS	8
#define ZERO_EVERY	8
#define MAX_CPUS	8

struct set {
	char *mem;
	size_t pages;
	size_t next;
	uint64_t written;
};

/* A thread's pages, and what each of them must hold: 0 for zeros. */
struct part {
	struct set set;
	uint32_t *generation;
	size_t first;
	size_t check;
	unsigned int cpu;
	unsigned int rate;
	_Atomic uint64_t n_written;
	_Atomic uint64_t n_checked;
};

static atomic_bool wrong;

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
		due = pages_due(t + SLICE - start, rate * MIB);
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

/* The word at an index of a page that is not zero. */
static uint64_t word(uint64_t page, uint64_t generation, size_t i)
{
	uint64_t seed = page << 32 | generation;

	if (i == 0)
		return page;
	if (i == 1)
		return generation;
	return (seed + i) * 0x9e3779b97f4a7c15ULL ^ seed;
}

static void write_next(struct part *part)
{
	size_t i, n = part->set.next;
	uint64_t *words = (uint64_t *)(part->set.mem + n * PAGE);
	uint32_t generation = ++part->set.written;

	part->set.next = (n + 1) % part->set.pages;
	/* Not the same pages in every round: their number may divide the set's. */
	if ((generation + generation / part->set.pages) % ZERO_EVERY == 0)
		generation = 0;
	for (i = 0; i < WORDS; i++)
		words[i] = generation ? word(part->first + n, generation, i) : 0;
	part->generation[n] = generation;
	part->n_written++;
}

static void say_wrong(const struct part *part, size_t n, size_t i)
{
	const uint64_t *words = (const uint64_t *)(part->set.mem + n * PAGE);

	atomic_store(&wrong, true);
	printf("WRONG page %zu: word %zu is %#jx, not of generation %u; the page says %ju, generation %ju\n",
	       part->first + n, i, (uintmax_t)words[i], part->generation[n],
	       (uintmax_t)words[0], (uintmax_t)words[1]);
}

static void check_next(struct part *part)
{
	size_t i, n = part->check;
	const uint64_t *words = (const uint64_t *)(part->set.mem + n * PAGE);
	uint32_t generation = part->generation[n];

	part->check = (n + 1) % part->set.pages;
	for (i = 0; i < WORDS; i++) {
		if (words[i] == (generation ? word(part->first + n, generation, i) : 0))
			continue;
		say_wrong(part, n, i);
		return;
	}
	part->n_checked++;
}

static void *verify_part(void *data)
{
	struct part *part = data;
	uint64_t start = now(), first = part->set.written, due, checks, t;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(part->cpu, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	for (t = start; !wrong; t += SLICE) {
		sleep_until(t);
		if (now() > t + LATE) {
			t = start = now();
			first = part->set.written;
		}
		checks = CHECKS;
		due = pages_due(t + SLICE - start, part->rate * MIB);
		while (part->set.written - first < due) {
			write_next(part);
			checks++;
		}
		while (checks-- && !wrong)
			check_next(part);
	}
	return NULL;
}

static void report(const struct part *parts, unsigned int n)
{
	uint64_t written = 0, checked = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		written += parts[i].n_written;
		checked += parts[i].n_checked;
	}
	printf("workload: wrote %ju pages, checked %ju\n", (uintmax_t)written,
	       (uintmax_t)checked);
	if (disk_checked())
		printf("workload: checked %lu blocks of the disk\n", disk_checked());
}

static void tick(const struct part *parts, unsigned int n, bool device)
{
	uint64_t count, t = now();

	for (count = 1; !wrong; count++) {
		t += TICK;
		sleep_until(t);
		if (wrong)
			break;
		if ((device && !device_check()) || !disk_check()) {
			atomic_store(&wrong, true);
			break;
		}
		printf("tick %ju\n", (uintmax_t)count);
		if (count % REPORT == 0)
			report(parts, n);
		if (now() > t + LATE)
			t = now();
	}
}

static unsigned long number(const char *name, unsigned long missing)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 10) : missing;
}

static void *touch(void *data)
{
	struct set *set = data;
	unsigned int rate = number("touch", 0);

	for (;;)
		run_step(set, rate, 3600);
	return NULL;
}

static void start_touching(void)
{
	static struct set set;
	pthread_t thread;

	if (!number("touch", 0))
		return;
	set.pages = number("touched", 32) * MIB / PAGE;
	set.mem = mmap(NULL, set.pages * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (set.mem == MAP_FAILED || pthread_create(&thread, NULL, touch, &set))
		printf("workload: can't touch\n");
}

static bool start_virtio(void)
{
	const char *address = getenv("net");

	if (!number("virtio", 0))
		return true;
	return virtio_start() && (!number("disk", 0) || disk_start()) &&
	       (!address || net_start(address));
}

static void verify(struct set *set, unsigned int rate)
{
	static struct part parts[MAX_CPUS];
	unsigned int n = sysconf(_SC_NPROCESSORS_ONLN), i;
	bool device = number("device", 0);
	uint32_t *generation;
	pthread_t thread;
	size_t j;

	if ((device && !device_start(number("dma", 0))) || !start_virtio())
		return;
	if (n > MAX_CPUS)
		n = MAX_CPUS;
	generation = calloc(set->pages, sizeof(*generation));
	if (!generation) {
		printf("workload: no memory\n");
		return;
	}
	for (i = 0; i < n; i++) {
		struct part *part = &parts[i];

		part->first = set->pages * i / n;
		part->set.pages = set->pages * (i + 1) / n - part->first;
		part->set.mem = set->mem + part->first * PAGE;
		part->generation = generation + part->first;
		part->cpu = i;
		part->rate = rate * (i + 1) / n - rate * i / n;
		for (j = 0; j < part->set.pages; j++)
			write_next(part);
	}
	printf("workload: verifies %zu pages, %u CPUs, %u MiB/s\n", set->pages, n, rate);
	start_touching();
	for (i = 0; i < n; i++) {
		if (pthread_create(&thread, NULL, verify_part, &parts[i])) {
			printf("workload: no thread\n");
			return;
		}
	}
	tick(parts, n, device);
}

int main(void)
{
	struct set set = { .pages = number("set", 64) * MIB / PAGE };
	const char *steps = getenv("steps");

	setlinebuf(stdout);
	set.mem = mmap(NULL, set.pages * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (!set.pages || set.mem == MAP_FAILED) {
		printf("workload: no memory\n");
	} else {
		printf("workload: ready\n");
		if (number("verify", 0))
			verify(&set, number("rate", 0));
		else if (number("load", 0))
			load_run(&(struct load){
				.mem = set.mem,
				.pages = set.pages,
				.rate = number("kib", 0) * 1024,
				.random = number("random", 0),
				.fill = number("fill", 0),
			});
		else
			run_steps(&set, steps ? steps : "");
		printf("workload: done\n");
	}
	for (;;)
		pause();
}
