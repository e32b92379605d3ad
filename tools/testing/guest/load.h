/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In a test guest: writes at a rate, and what they cost it, for benchmarks. */
#ifndef GUEST_LOAD_H
#define GUEST_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct load - what is written
 * @mem: the set, all zero
 * @pages: of it
 * @rate: bytes a second, a word for each page; 0: nothing
 * @random: any page of the set, not one after the other
 * @fill: the pages have data, half of which can't be compressed
 */
struct load {
	char *mem;
	size_t pages;
	uint64_t rate;
	bool random;
	bool fill;
};

/*
 * Never ends. Twice a second it says how long all writes and all probes so far took:
 * "load: N pages in NS ns, N probes in NS ns". A probe is a fixed piece of computing,
 * which writes nothing. How much longer they take during a migration is what that
 * costs the guest.
 */
void load_run(const struct load *load);

#endif
