/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XXH3, 64 bits: of a page (seed 0) for verification, of frames for their
 * checksum.
 */
#ifndef MIGCTL_HASH_H
#define MIGCTL_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *data, size_t size, uint64_t seed);
uint64_t hash_page(const void *page);
uint64_t hash_zero_page(void);
bool page_is_zero(const void *page);

#endif /* MIGCTL_HASH_H */
