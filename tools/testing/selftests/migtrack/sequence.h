/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writers that write increasing numbers everywhere: number N goes to one page, round
 * by round to each. How far a writer is says what each page holds, exactly.
 */
#ifndef SEQUENCE_H
#define SEQUENCE_H

#include <stdint.h>

#define SEQUENCE_PAGE	4096
#define SEQUENCE_SLOT	512		/* of a page; each writer has one */
#define SEQUENCE_STRIDE	0x9e3779b1u	/* odd: a round is each page once */

/**
 * struct sequencer - a writer
 * @written: its last number
 * @wrong: how often a page did not hold the number of one round before
 * @pace: what it does between two numbers, in pauses of the CPU
 */
struct sequencer {
	volatile uint64_t written;
	volatile uint64_t wrong;
	volatile uint64_t pace;
};

/* @npages is a power of two. */
static inline __attribute__((always_inline))
uint64_t sequence_page(uint64_t number, uint64_t npages)
{
	return number * SEQUENCE_STRIDE & (npages - 1);
}

static inline __attribute__((always_inline))
void sequence_next(struct sequencer *s, unsigned int slot, void *memory, uint64_t npages)
{
	uint64_t next = s->written + 1, i;
	volatile uint64_t *at = (void *)((char *)memory + sequence_page(next, npages) *
					 SEQUENCE_PAGE + slot * SEQUENCE_SLOT);

	if (*at != (next > npages ? next - npages : 0))
		s->wrong = s->wrong + 1;
	*at = next;
	s->written = next;
	for (i = 0; i < s->pace; i++)
		asm volatile("pause");
}

/* What the page holds when a writer has come to a number. */
static inline uint64_t sequence_expected(uint64_t page, uint64_t npages, uint64_t written)
{
	uint64_t inverse = SEQUENCE_STRIDE, first, back;
	int i;

	/* Newton: each step doubles the bits that are right. */
	for (i = 0; i < 6; i++)
		inverse *= 2 - SEQUENCE_STRIDE * inverse;
	first = page * inverse & (npages - 1);
	back = (written - first) & (npages - 1);
	return back < written ? written - back : 0;
}

#endif /* SEQUENCE_H */
