/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 64-bit hash of a page (XXH3, seed 0), for verification. */
#ifndef MIGCTL_HASH_H
#define MIGCTL_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t hash_page(const void *page);
uint64_t hash_zero_page(void);
bool page_is_zero(const void *page);

#endif /* MIGCTL_HASH_H */
