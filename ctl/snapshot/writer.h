/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies the pages that are marked in bitmaps into a snapshot's files. */
#ifndef MIGCTL_SNAPSHOT_WRITER_H
#define MIGCTL_SNAPSHOT_WRITER_H

#include "snapshot/snapshot.h"

/**
 * struct writer_source - where a block's pages come from
 * @fd: the guest's memory
 * @offset: where the block starts there
 * @bitmap: of pages to copy: the kernel's, which it adds to in a sync
 * @left: pages that are marked there
 * @moved: bytes that were copied, or need not be; only grows
 */
struct writer_source {
	int fd;
	uint64_t offset;
	unsigned long *bitmap;
	uint64_t left;
	uint64_t moved;
};

/**
 * struct writer - a copy under way
 * @snapshot: to; source N is its block N
 * @sources: from
 * @max_bandwidth: bytes per second, 0 for no limit; may be changed between calls
 * @pages: copied, each time that they were
 * @zero_pages: of these, all zeros
 * @bytes: written to the files
 */
struct writer {
	struct snapshot *snapshot;
	struct writer_source *sources;
	uint64_t max_bandwidth;
	uint64_t pages;
	uint64_t zero_pages;
	uint64_t bytes;
	/* the rest is the writer's own */
	size_t current;
	uint64_t cursor;
	uint64_t paid_until;
	char *buffer;
};

int writer_open(struct writer *writer, struct snapshot *snapshot,
		struct writer_source *sources, struct error *err);
void writer_close(struct writer *writer);
/* Mark what has data, and only that. */
int writer_first_pass(struct writer *writer, struct error *err);
/* Count anew, after the kernel has added to the bitmaps. */
void writer_count(struct writer *writer);
/* Bytes that are marked. */
uint64_t writer_pending(const struct writer *writer);
/*
 * Copy about @bytes; 1 while more is marked, 0 when nothing is, or -1. Waits as the
 * bandwidth limit wants, 100 ms at most.
 */
int writer_copy(struct writer *writer, uint64_t bytes, struct error *err);

/* For who decides himself which pages are copied, and when: no bitmap is needed. */
int writer_data(const struct writer *writer, size_t block, uint64_t *first, uint64_t *end,
		struct error *err);
int writer_pages(struct writer *writer, size_t block, uint64_t first, uint64_t n,
		 char *buffer, struct error *err);

#endif /* MIGCTL_SNAPSHOT_WRITER_H */
