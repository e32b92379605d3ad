/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host and our own KVM guest share. */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sequence.h"

#define GUEST_MAX_VCPUS		4
#define GUEST_PAGE		4096
#define GUEST_LIST		65536

/*
 * Each writer has a slot of its own in each page, so that writers do not
 * overwrite each other's stamps: a sector, as direct I/O writes no less, with
 * the stamp at its end. The one of slot 2 is where a VMCB has its RAX.
 */
#define STAMP_SLOTS		8
#define STAMP_SECTOR		512
#define STAMP_OFFSET		(STAMP_SECTOR - sizeof(uint64_t))
#define STAMP_VMCB_SLOT		2
#define VMCB_EXIT_VMMCALL	0x81

/*
 * A stamp is unique: the iteration it was made in, and a count. Its check tells
 * it from one that is half written: copies are made by the byte.
 */
#define STAMP_COUNT_BITS	30
#define STAMP_CHECK_BITS	16

static inline __attribute__((always_inline)) uint64_t stamp_check(uint64_t value)
{
	return value * 0x9e3779b97f4a7c15ULL >> (64 - STAMP_CHECK_BITS);
}

static inline __attribute__((always_inline))
uint64_t stamp_make(uint64_t iteration, uint64_t count)
{
	uint64_t value = iteration << STAMP_COUNT_BITS |
			 (count & ((1ULL << STAMP_COUNT_BITS) - 1));

	return value << STAMP_CHECK_BITS | stamp_check(value);
}

static inline bool stamp_is_torn(uint64_t stamp)
{
	return (stamp & ((1ULL << STAMP_CHECK_BITS) - 1)) !=
	       stamp_check(stamp >> STAMP_CHECK_BITS);
}

static inline uint64_t stamp_iteration(uint64_t stamp)
{
	return stamp >> (STAMP_CHECK_BITS + STAMP_COUNT_BITS);
}

/* Was it made before an iteration? Not known yet of one that is half written. */
static inline bool stamp_is_older(uint64_t stamp, uint64_t iteration)
{
	return stamp_iteration(stamp) < iteration && !stamp_is_torn(stamp);
}

/* Where in the memory a stamp is. */
static inline __attribute__((always_inline))
uint64_t stamp_place(uint64_t page, unsigned int slot)
{
	return page * GUEST_PAGE + slot * STAMP_SECTOR + STAMP_OFFSET;
}

/*
 * Writers stamp random pages. One that has @seen an iteration has finished all
 * its writes with older stamps; @page is the one that it writes to now.
 */
struct stamper {
	volatile uint64_t seen;
	volatile uint64_t page;
	uint64_t count;
	uint64_t random;
};

struct stamp_control {
	volatile uint64_t iteration;
	volatile uint64_t stop;
	uint64_t burst;			/* stamps of stamp_burst() */
};

static inline __attribute__((always_inline)) uint64_t stamp_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

/*
 * A random page; @npages is a power of two. The fewer bits of its number are
 * set, the more often it comes: some at all times, some hardly ever.
 */
static inline __attribute__((always_inline))
uint64_t stamp_random_page(uint64_t *state, uint64_t npages)
{
	uint64_t random = stamp_random(state);

	return random & random >> 32 & (npages - 1);
}

/* The next stamp, and for which page. */
static inline __attribute__((always_inline))
uint64_t stamp_next(const struct stamp_control *control, struct stamper *stamper,
		    uint64_t npages, uint64_t *page)
{
	uint64_t iteration = control->iteration;

	__atomic_store_n(&stamper->seen, iteration, __ATOMIC_SEQ_CST);
	*page = stamp_random_page(&stamper->random, npages);
	stamper->page = *page;
	return stamp_make(iteration, ++stamper->count);
}

/* Stamp a random page of @memory; @last, if not NULL, is what each has now. */
static inline __attribute__((always_inline))
void stamp_once(const struct stamp_control *control, struct stamper *stamper,
		unsigned int slot, void *memory, uint64_t npages, uint64_t *last)
{
	uint64_t page, stamp = stamp_next(control, stamper, npages, &page);

	*(volatile uint64_t *)((char *)memory + stamp_place(page, slot)) = stamp;
	if (last)
		last[page] = stamp;
}

/* Until told to stop. */
static inline __attribute__((always_inline))
void stamp_run(const struct stamp_control *control, struct stamper *stamper,
	       unsigned int slot, void *memory, uint64_t npages, uint64_t *last)
{
	while (!control->stop)
		stamp_once(control, stamper, slot, memory, npages, last);
}

/* Some of them. */
static inline __attribute__((always_inline))
void stamp_burst(const struct stamp_control *control, struct stamper *stamper,
		 unsigned int slot, void *memory, uint64_t npages, uint64_t *last)
{
	uint64_t i;

	for (i = 0; i < control->burst; i++)
		stamp_once(control, stamper, slot, memory, npages, last);
}

enum guest_command {
	GUEST_STAMP,		/* stamp_run() */
	GUEST_STAMP_BURST,	/* stamp_burst() */
	GUEST_NEST,		/* the same in a guest of its own */
	GUEST_WRITE_LIST,	/* write to each page of the list, once */
	GUEST_READ_ALL,		/* read each page; ticks in result */
	GUEST_SEQUENCE,		/* sequence_next(), until told to stop */
};

struct guest_vcpu {
	uint64_t command;
	uint64_t result;
	uint64_t list_first;
	uint64_t list_len;
	struct stamper stamper;
	struct sequencer sequencer;
};

/* In guest memory that is not tracked. */
struct guest_control {
	struct stamp_control stamp;
	uint64_t memory;
	uint64_t npages;
	struct guest_vcpu vcpus[GUEST_MAX_VCPUS];
	uint64_t page_tables;
	uint64_t stacks;		/* of the nested guests, a page for each */
	uint32_t list[GUEST_LIST];
	uint64_t last[GUEST_MAX_VCPUS][GUEST_LIST];
	uint64_t last_exit[GUEST_MAX_VCPUS];
};

/* The code of the guest; see guest.c. */
extern const char *const guest_image[2];	/* start and end */
void guest_main(struct guest_control *control, unsigned int vcpu);

#endif /* GUEST_H */
