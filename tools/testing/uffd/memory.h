/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the memory of the tests holds: every page tells which one it is. */
#ifndef UFFD_TEST_MEMORY_H
#define UFFD_TEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PAGE	4096u

/* A quarter are zeros, in runs of two. */
static inline bool page_is_hole(uint64_t page)
{
	return page % 8 >= 6;
}

static inline uint64_t page_word(uint64_t page, size_t word)
{
	return page_is_hole(page) ? 0 : (page + 1) * 0x9e3779b97f4a7c15ull + word;
}

static inline void page_fill(void *at, uint64_t page)
{
	uint64_t *words = at;
	size_t i;

	for (i = 0; i < PAGE / sizeof(*words); i++)
		words[i] = page_word(page, i);
}

static inline bool page_is_right(const void *at, uint64_t page)
{
	const volatile uint64_t *words = at;
	size_t i;

	for (i = 0; i < PAGE / sizeof(*words); i++) {
		if (words[i] != page_word(page, i))
			return false;
	}
	return true;
}

static inline bool page_is_zeros(const void *at)
{
	const volatile uint64_t *words = at;
	size_t i;

	for (i = 0; i < PAGE / sizeof(*words); i++) {
		if (words[i])
			return false;
	}
	return true;
}

#endif /* UFFD_TEST_MEMORY_H */
