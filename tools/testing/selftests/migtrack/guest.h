/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host and our own KVM guest share. */
#ifndef GUEST_H
#define GUEST_H

#include <stdint.h>

#define GUEST_MAX_VCPUS		4
#define GUEST_PAGE		4096
#define GUEST_LIST		8192

/*
 * Each writer has a slot of its own in each page, so that writers do not
 * overwrite each other's stamps.
 */
#define STAMP_SLOTS		8
#define STAMP_STRIDE		64

/* A stamp is unique: the iteration it was made in, and a count. */
static inline uint64_t stamp_make(uint64_t iteration, uint64_t count)
{
	return iteration << 40 | (count & ((1ULL << 40) - 1));
}

static inline uint64_t stamp_iteration(uint64_t stamp)
{
	return stamp >> 40;
}

/*
 * Writers stamp random pages. One that has @seen an iteration has finished all
 * its writes with older stamps.
 */
struct stamper {
	volatile uint64_t seen;
	uint64_t count;
	uint64_t random;
};

struct stamp_control {
	volatile uint64_t iteration;
	volatile uint64_t stop;
};

static inline __attribute__((always_inline)) uint64_t stamp_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

/* Stamp pages of @memory until told to stop. @npages is a power of two. */
static inline __attribute__((always_inline))
void stamp_run(const struct stamp_control *control, struct stamper *stamper,
	       unsigned int slot, void *memory, uint64_t npages)
{
	while (!control->stop) {
		uint64_t iteration = control->iteration, page;

		__atomic_store_n(&stamper->seen, iteration, __ATOMIC_SEQ_CST);
		page = stamp_random(&stamper->random) & (npages - 1);
		*(volatile uint64_t *)((char *)memory + page * GUEST_PAGE +
				       slot * STAMP_STRIDE) =
			stamp_make(iteration, ++stamper->count);
	}
}

enum guest_command {
	GUEST_STAMP,		/* stamp_run() */
	GUEST_WRITE_LIST,	/* write to each page of the list, once */
	GUEST_READ_ALL,		/* read each page; ticks in result */
};

struct guest_vcpu {
	uint64_t command;
	uint64_t result;
	uint64_t list_first;
	uint64_t list_len;
	struct stamper stamper;
};

/* In guest memory that is not tracked. */
struct guest_control {
	struct stamp_control stamp;
	uint64_t memory;
	uint64_t npages;
	struct guest_vcpu vcpus[GUEST_MAX_VCPUS];
	uint32_t list[GUEST_LIST];
};

/* The code of the guest; see guest.c. */
extern const char *const guest_image[2];	/* start and end */
void guest_main(struct guest_control *control, unsigned int vcpu);

#endif /* GUEST_H */
