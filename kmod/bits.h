/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_BITS_H
#define _MIGTRACK_BITS_H

#include <linux/bitmap.h>
#include <linux/minmax.h>

/* bitmap_set() takes ints: 8 TiB of guest are past that. */
static inline void migtrack_bits_set(unsigned long *map, unsigned long first,
				     unsigned long n)
{
	const unsigned long max = 1UL << 30;
	unsigned long step;

	for (; n; first += step, n -= step) {
		step = min(n, max);
		bitmap_set(map + BIT_WORD(first), first % BITS_PER_LONG, step);
	}
}

#endif /* _MIGTRACK_BITS_H */
