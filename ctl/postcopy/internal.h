/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGCTL_POSTCOPY_INTERNAL_H
#define MIGCTL_POSTCOPY_INTERNAL_H

#include "postcopy/fetch.h"

/* fetch.c: how many pages are in one region, and where that has the first. */
uint64_t fetch_run(const struct fetch *fetch, uint32_t block, uint64_t page, uint64_t n,
		   uint64_t *first);

/* request.c: the load() of a userfaultfd: ask the source. */
int fetch_load(void *fetch, uint64_t offset, size_t size, void *buffer,
	       enum uffd_kind *kind, struct error *err);

#endif /* MIGCTL_POSTCOPY_INTERNAL_H */
