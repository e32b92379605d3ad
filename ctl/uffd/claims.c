// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#include "uffd/claims.h"

#define WORD_BITS	(CHAR_BIT * sizeof(unsigned long))

/**
 * uffd_claims_open() - make bitmaps in shared memory
 * @claims: filled; nothing is claimed
 * @pages: how many bits
 * @record: there is an order, too
 * @err: why it failed
 *
 * What is forked from this process works with the same.
 *
 * Return: 0 or -1.
 */
int uffd_claims_open(struct uffd_claims *claims, uint64_t pages, bool record,
		     struct error *err)
{
	size_t words = (pages + WORD_BITS - 1) / WORD_BITS;
	size_t map = words * sizeof(unsigned long);

	*claims = (struct uffd_claims) { .pages = pages };
	claims->size = sizeof(*claims->stats) + 4 * map +
		       (record ? pages * sizeof(*claims->order) : 0);
	claims->memory = mmap(NULL, claims->size, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (claims->memory == MAP_FAILED) {
		claims->memory = NULL;
		return error_set(err, EXIT_FAILED, "can't make the claim bitmap: %s",
				 strerror(errno));
	}
	claims->stats = claims->memory;
	claims->claimed = (void *)(claims->stats + 1);
	claims->done = claims->claimed + words;
	claims->removed = claims->done + words;
	claims->parked = claims->removed + words;
	if (record)
		claims->order = (void *)(claims->parked + words);
	return 0;
}

/**
 * uffd_claims_close() - give the memory back
 * @claims: opened, or all 0
 */
void uffd_claims_close(struct uffd_claims *claims)
{
	if (claims->memory)
		munmap(claims->memory, claims->size);
	*claims = (struct uffd_claims){};
}

static unsigned long bit_set(unsigned long *map, uint64_t page)
{
	unsigned long bit = 1ul << page % WORD_BITS;

	return __atomic_fetch_or(&map[page / WORD_BITS], bit, __ATOMIC_SEQ_CST) & bit;
}

static unsigned long bit_clear(unsigned long *map, uint64_t page)
{
	unsigned long bit = 1ul << page % WORD_BITS;

	return __atomic_fetch_and(&map[page / WORD_BITS], ~bit, __ATOMIC_SEQ_CST) & bit;
}

static bool bit_test(const unsigned long *map, uint64_t page)
{
	return __atomic_load_n(&map[page / WORD_BITS], __ATOMIC_SEQ_CST) >>
	       page % WORD_BITS & 1;
}

bool uffd_claim(struct uffd_claims *claims, uint64_t page)
{
	return !bit_set(claims->claimed, page);
}

uint64_t uffd_claim_run(struct uffd_claims *claims, uint64_t page, uint64_t n)
{
	uint64_t run = 0;

	while (run < n && uffd_claim(claims, page + run))
		run++;
	return run;
}

void uffd_claim_rest(struct uffd_claims *claims, uint64_t page, uint64_t n)
{
	for (; n; page++, n--) {
		if (uffd_claim(claims, page))
			uffd_claim_done(claims, page);
	}
}

bool uffd_claim_is_taken(const struct uffd_claims *claims, uint64_t page)
{
	return bit_test(claims->claimed, page);
}

void uffd_claim_done(struct uffd_claims *claims, uint64_t page)
{
	bit_set(claims->done, page);
}

bool uffd_claim_is_done(const struct uffd_claims *claims, uint64_t page)
{
	return bit_test(claims->done, page);
}

/* Whoever fetches it sees that before it is given to the VMM. */
void uffd_claim_remove(struct uffd_claims *claims, uint64_t page)
{
	if (bit_set(claims->removed, page))
		return;
	uffd_count(&claims->stats->removed, 1);
	if (!bit_set(claims->claimed, page))
		bit_set(claims->done, page);
}

bool uffd_claim_is_removed(const struct uffd_claims *claims, uint64_t page)
{
	return bit_test(claims->removed, page);
}

void uffd_claim_record(struct uffd_claims *claims, uint64_t page)
{
	uint64_t at;

	if (!claims->order)
		return;
	at = __atomic_fetch_add(&claims->stats->recorded, 1, __ATOMIC_RELAXED);
	if (at < claims->pages)
		claims->order[at] = page;
}

void uffd_claim_park(struct uffd_claims *claims, uint64_t page)
{
	bit_set(claims->parked, page);
}

uint64_t uffd_claim_parked(const struct uffd_claims *claims, uint64_t page)
{
	unsigned long word;

	while (page < claims->pages) {
		word = __atomic_load_n(&claims->parked[page / WORD_BITS], __ATOMIC_SEQ_CST);
		word >>= page % WORD_BITS;
		if (word)
			return page + (uint64_t)__builtin_ctzl(word);
		page += WORD_BITS - page % WORD_BITS;
	}
	return claims->pages;
}

void uffd_claim_unpark(struct uffd_claims *claims, uint64_t page)
{
	bit_clear(claims->parked, page);
	/* Given back meanwhile: it is one of zeros, and stays claimed. */
	if (bit_test(claims->removed, page))
		bit_set(claims->done, page);
	else
		bit_clear(claims->claimed, page);
}

void uffd_claims_fill(struct uffd_claims *claims)
{
	uint64_t page;

	for (page = 0; page < claims->pages; page++) {
		claims->claimed[page / WORD_BITS] |= 1ul << page % WORD_BITS;
		claims->done[page / WORD_BITS] |= 1ul << page % WORD_BITS;
	}
}

void uffd_claim_lack(struct uffd_claims *claims, uint64_t page)
{
	bit_clear(claims->claimed, page);
	bit_clear(claims->done, page);
}

void uffd_claims_recover(struct uffd_claims *claims)
{
	size_t i, words = (claims->pages + WORD_BITS - 1) / WORD_BITS;

	for (i = 0; i < words; i++)
		claims->claimed[i] = claims->done[i];
}

bool uffd_claims_busy(const struct uffd_claims *claims)
{
	size_t i, words = (claims->pages + WORD_BITS - 1) / WORD_BITS;

	for (i = 0; i < words; i++) {
		/* In this order: one that is claimed in between is not missed. */
		unsigned long done = __atomic_load_n(&claims->done[i], __ATOMIC_SEQ_CST);

		if (__atomic_load_n(&claims->claimed[i], __ATOMIC_SEQ_CST) & ~done)
			return true;
	}
	return false;
}

uint64_t uffd_claims_left(const struct uffd_claims *claims)
{
	size_t i, words = (claims->pages + WORD_BITS - 1) / WORD_BITS;
	uint64_t done = 0;

	for (i = 0; i < words; i++)
		done += (uint64_t)__builtin_popcountl(
			__atomic_load_n(&claims->done[i], __ATOMIC_RELAXED));
	return claims->pages - done;
}
