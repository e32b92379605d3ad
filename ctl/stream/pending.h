/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which pages of a block are to be sent. */
#ifndef MIGCTL_PENDING_H
#define MIGCTL_PENDING_H

#include <stdbool.h>
#include <stdint.h>

#include "stream/sender.h"

static inline uint64_t block_pages(const struct sender_block *block)
{
	return block->size / WIRE_PAGE_SIZE;
}

/* Returns -ENOMEM if so. */
int pending_open(struct sender_block *block);
void pending_close(struct sender_block *block);
/* All, but for holes if the destination is empty; 0 or a negative errno. */
int pending_first_pass(struct sender_block *block);
/* Take the bits of the kernel's bitmap, and clear them there. */
void pending_harvest(struct sender_block *block, unsigned long *bitmap);
/* The other way round. */
void pending_give_back(struct sender_block *block, unsigned long *bitmap);
/* The next run of a chunk from the block's cursor on; false if there is none. */
bool pending_find(struct sender_block *block, uint64_t max, struct page_run *run);
/* What was found is going to be read and sent. */
void pending_take(struct sender_block *block, const struct page_run *run);

#endif /* MIGCTL_PENDING_H */
