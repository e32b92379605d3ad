/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The destination's half of moving memory: frames become pages of files. */
#ifndef MIGCTL_RECEIVER_H
#define MIGCTL_RECEIVER_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "stream/wire.h"

/**
 * struct receiver_block - a block of guest memory
 * @name: for messages, or NULL
 * @fd: its file, open for reading and writing
 * @offset: where it starts there, a multiple of the page size
 * @size: bytes, a multiple of the page size
 * @hashes: one per page, of what was last written there; at the start the hash
 *	of a zero page, which is true if the block was empty, else all of it is
 *	sent in the first pass
 */
struct receiver_block {
	const char *name;
	int fd;
	uint64_t offset;
	uint64_t size;
	uint64_t *hashes;
};

/**
 * struct receiver - writes the pages of some blocks
 *
 * The threads of several channels may use it, each for pages of its own. The
 * counters are atomic.
 *
 * @blocks: in the order of the description
 * @nblocks: how many
 * @pages: written with their data
 * @zero_pages: made zero
 */
struct receiver {
	struct receiver_block *blocks;
	size_t nblocks;
	uint64_t pages;
	uint64_t zero_pages;
};

/*
 * Takes the blocks' name, fd, offset and size; allocates the hashes. The files
 * stay the caller's.
 */
int receiver_open(struct receiver *receiver, struct receiver_block *blocks,
		  size_t nblocks, struct error *err);
void receiver_close(struct receiver *receiver);

/* Has the block's range no data (SEEK_DATA)? If in doubt it has. */
int receiver_is_empty(const struct receiver_block *block);

/*
 * Apply a WIRE_PAGES or WIRE_ZERO frame. pwrite in large runs; zero runs are
 * punched (FALLOC_FL_PUNCH_HOLE). A frame that reaches outside of its block, is
 * not page-aligned or names no block is refused: -1, EXIT_PEER.
 */
int receiver_apply(struct receiver *receiver, const struct wire_frame *frame,
		   const void *payload, struct error *err);

/* Its two parts, for who puts the memory elsewhere: is it memory of a block? */
int receiver_check(const struct receiver *receiver, const struct wire_frame *frame,
		   struct error *err);
/* These pages were written: @data, or zeros if that is NULL. */
void receiver_note(struct receiver *receiver, uint32_t block, uint64_t page, uint64_t n,
		   const uint8_t *data);

/* Have no page there; -1 also where the file can't do that. */
int receiver_punch(const struct receiver *receiver, uint32_t block, uint64_t page,
		   uint64_t n, struct error *err);

#endif /* MIGCTL_RECEIVER_H */
