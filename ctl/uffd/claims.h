/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pages somebody loads, which are there, and which the VMM has given back.
 * In memory that survives the process that works with it.
 */
#ifndef MIGCTL_UFFD_CLAIMS_H
#define MIGCTL_UFFD_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* Numbers of a run, all processes together; atomic. */
struct uffd_stats {
	uint64_t faults;		/* that were handled */
	uint64_t waited;		/* of these, for a page that somebody else loads */
	uint64_t zero_faults;		/* for a page that was given back */
	uint64_t write_faults;
	uint64_t saved;			/* pages, by faults or not */
	uint64_t loaded;		/* pages */
	uint64_t removed;		/* pages that the VMM has given back */
	uint64_t poisoned;		/* pages that could not be loaded: SIGBUS */
	uint64_t stuck;			/* and that the kernel can't poison, or put in place */
	uint64_t recorded;		/* entries of the order */
	uint64_t released;		/* 1: the memory is the kernel's again */
};

/**
 * struct uffd_claims - the bitmaps
 * @pages: bits in each
 * @stats: see there
 * @claimed: somebody fetches it, or has
 * @done: it is there, or never will be
 * @removed: given back: a fault gets zeros
 * @parked: claimed, but it can't be had now; uffd_retry() frees it
 * @order: pages in the order of their first faults, @stats.recorded of them
 */
struct uffd_claims {
	uint64_t pages;
	struct uffd_stats *stats;
	unsigned long *claimed;
	unsigned long *done;
	unsigned long *removed;
	unsigned long *parked;
	uint64_t *order;
	/* the rest is their own */
	void *memory;
	size_t size;
};

int uffd_claims_open(struct uffd_claims *claims, uint64_t pages, bool record,
		     struct error *err);
void uffd_claims_close(struct uffd_claims *claims);

/* True for the one who gets the page. */
bool uffd_claim(struct uffd_claims *claims, uint64_t page);
/* How many of @n pages are the caller's: from @page on to the first that is not. */
uint64_t uffd_claim_run(struct uffd_claims *claims, uint64_t page, uint64_t n);
/* Of these nobody needs any more what nobody has. */
void uffd_claim_rest(struct uffd_claims *claims, uint64_t page, uint64_t n);
bool uffd_claim_is_taken(const struct uffd_claims *claims, uint64_t page);
void uffd_claim_done(struct uffd_claims *claims, uint64_t page);
bool uffd_claim_is_done(const struct uffd_claims *claims, uint64_t page);
void uffd_claim_remove(struct uffd_claims *claims, uint64_t page);
bool uffd_claim_is_removed(const struct uffd_claims *claims, uint64_t page);
void uffd_claim_record(struct uffd_claims *claims, uint64_t page);
/* It is claimed by who can't have it now. */
void uffd_claim_park(struct uffd_claims *claims, uint64_t page);
/* The first from @page on that is, or @claims->pages. */
uint64_t uffd_claim_parked(const struct uffd_claims *claims, uint64_t page);
/* Nobody has it, and it has to be asked for again. */
void uffd_claim_unpark(struct uffd_claims *claims, uint64_t page);
/* All pages are there, before anybody works with them; and then these are not. */
void uffd_claims_fill(struct uffd_claims *claims);
void uffd_claim_lack(struct uffd_claims *claims, uint64_t page);
/* Nobody works with them any more: what was claimed and is not there is free. */
void uffd_claims_recover(struct uffd_claims *claims);
/* Somebody is loading a page. */
bool uffd_claims_busy(const struct uffd_claims *claims);
uint64_t uffd_claims_left(const struct uffd_claims *claims);

static inline void uffd_count(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

#endif /* MIGCTL_UFFD_CLAIMS_H */
