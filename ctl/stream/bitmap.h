/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bitmaps of a block's pages as frames: WIRE_MISSING and WIRE_RECEIVED. */
#ifndef MIGCTL_BITMAP_H
#define MIGCTL_BITMAP_H

#include <stddef.h>
#include <stdint.h>

#include "stream/channel.h"

/* Bits of a word, in a frame and in memory. */
#define BITMAP_BITS	64u

/* All of a block's @pages bits, in as many frames as that takes. */
int bitmap_send(struct channel *channel, enum wire_type type, uint32_t block,
		const unsigned long *map, uint64_t pages, struct error *err);
/*
 * Is what came about pages of a block that has so many, and about no others? -1,
 * EXIT_PEER if not.
 */
int bitmap_check(const struct wire_frame *frame, uint64_t pages, const void *payload,
		 struct error *err);
uint64_t bitmap_word(const void *payload, size_t index);

#endif /* MIGCTL_BITMAP_H */
