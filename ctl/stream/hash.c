// SPDX-License-Identifier: GPL-2.0-or-later
#include <pthread.h>
#include <xxhash.h>
/* The library's own choice of AVX2 or AVX-512 where the CPU has it, twice as fast. */
#if __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#endif

#include "stream/hash.h"
#include "stream/wire.h"

static pthread_once_t zero_once = PTHREAD_ONCE_INIT;
static uint64_t zero_hash;

/**
 * hash_bytes() - the hash of anything
 * @data: may be NULL if there is nothing
 * @size: bytes
 * @seed: mixed in
 *
 * Return: the hash.
 */
uint64_t hash_bytes(const void *data, size_t size, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, size, seed);
}

/**
 * hash_page() - the hash of a page
 * @page: WIRE_PAGE_SIZE bytes
 *
 * Return: the hash.
 */
uint64_t hash_page(const void *page)
{
	return XXH3_64bits(page, WIRE_PAGE_SIZE);
}

static void zero_hash_set(void)
{
	static const uint8_t zeros[WIRE_PAGE_SIZE];

	zero_hash = hash_page(zeros);
}

/**
 * hash_zero_page() - the hash of a page of zeros
 *
 * Return: the hash, computed once.
 */
uint64_t hash_zero_page(void)
{
	pthread_once(&zero_once, zero_hash_set);
	return zero_hash;
}

/**
 * page_is_zero() - are all bytes of a page 0?
 * @page: WIRE_PAGE_SIZE bytes, aligned to 8
 *
 * Return: true if so.
 */
bool page_is_zero(const void *page)
{
	typedef uint64_t __attribute__((may_alias)) word;
	const word *w = page, *end = w + WIRE_PAGE_SIZE / sizeof(*w);

	for (; w < end; w += 8) {
		if (w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7])
			return false;
	}
	return true;
}
