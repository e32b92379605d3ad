// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>

#include "load.h"
#include "pace.h"

#define WORDS	(PAGE / sizeof(uint64_t))
#define PROBE	20000	/* steps */
#define REPORT	25	/* slices */

/* What was done so far, and how long it took. */
struct cost {
	uint64_t n;
	uint64_t ns;
};

static uint64_t next_random(uint64_t x)
{
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void fill(const struct load *load)
{
	uint64_t *words = (uint64_t *)load->mem, x = 88172645463325252;
	size_t i;

	for (i = 0; i < load->pages * WORDS; i++) {
		x = next_random(x);
		words[i] = i % WORDS < WORDS / 2 ? x : i;
	}
}

static void probe(struct cost *cost)
{
	uint64_t x = 88172645463325252, start = now();
	unsigned int i;

	for (i = 0; i < PROBE; i++)
		x = next_random(x);
	/* The compiler must not leave it out. */
	__asm__ volatile("" : : "r" (x));
	cost->ns += now() - start;
	cost->n++;
}

/* Until so many were written since the beginning. */
static void write_pages(const struct load *load, uint64_t until, struct cost *cost)
{
	static uint64_t x = 88172645463325252;
	uint64_t start = now(), page, stamp;

	while (cost->n < until) {
		x = next_random(x);
		page = (load->random ? x : cost->n) % load->pages;
		stamp = ++cost->n;
		memcpy(load->mem + page * PAGE, &stamp, sizeof(stamp));
	}
	cost->ns += now() - start;
}

void load_run(const struct load *load)
{
	uint64_t start = now(), first = 0, slice, t;
	struct cost writes = {}, probes = {};

	if (load->fill)
		fill(load);
	for (slice = 1, t = start; ; slice++, t += SLICE) {
		sleep_until(t);
		if (now() > t + LATE) {
			t = start = now();
			first = writes.n;
		}
		probe(&probes);
		write_pages(load, first + pages_due(t + SLICE - start, load->rate), &writes);
		if (slice % REPORT == 0)
			printf("load: %ju pages in %ju ns, %ju probes in %ju ns\n",
			       (uintmax_t)writes.n, (uintmax_t)writes.ns,
			       (uintmax_t)probes.n, (uintmax_t)probes.ns);
	}
}
