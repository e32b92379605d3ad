// SPDX-License-Identifier: GPL-2.0-only
/* The stream's payload: bytes that depend on a seed and their position only. */

#include "testdev.h"

/* Each bit of the result depends on each one of x: the finalizer of splitmix64. */
u64 testdev_mix(u64 x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

void testdev_prng(u64 seed, u64 position, u8 *buf, size_t len)
{
	u64 word;
	size_t n;

	while (len) {
		unsigned int in = position % sizeof(word);

		word = testdev_mix(seed + position / sizeof(word) * 0x9e3779b97f4a7c15ULL);
		n = min(len, sizeof(word) - in);
		if (n == sizeof(word))
			memcpy(buf, &word, sizeof(word));
		else
			memcpy(buf, (u8 *)&word + in, n);
		buf += n;
		position += n;
		len -= n;
	}
}
