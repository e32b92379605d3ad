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
/* These of a word are not, any more. */
void pending_drop(struct sender_block *block, size_t word, unsigned long bits);
/* Post-copy: which pages were asked for, and sent; -ENOMEM. */
int pending_open_answered(struct sender_block *block);
/* These were, in any thread. */
void pending_answered(struct sender_block *block, const struct page_run *run);
/* So they are not pending any more. */
void pending_drop_answered(struct sender_block *block);
/* What was found is going to be read and sent. */
void pending_take(struct sender_block *block, const struct page_run *run);

#endif /* MIGCTL_PENDING_H */
