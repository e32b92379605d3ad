/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest in a directory: its memory, a file for each block with every page at
 * its own offset, the VMM's own stream, and a manifest. Documentation/snapshot.rst
 * has the format.
 */
#ifndef MIGCTL_SNAPSHOT_H
#define MIGCTL_SNAPSHOT_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define SNAPSHOT_VERSION	1
#define SNAPSHOT_PAGE_SIZE	4096u
#define SNAPSHOT_MANIFEST	"manifest.json"
#define SNAPSHOT_STATE		"state"
#define SNAPSHOT_WORKING_SET	"working-set"

/* More than any VMM has; what has more is no snapshot of ours. */
#define SNAPSHOT_MAX_BLOCKS	256
#define SNAPSHOT_MAX_SIZE	(1ull << 46)
#define SNAPSHOT_MAX_MANIFEST	(1u << 20)

/**
 * struct snapshot_block - a block of the guest's memory
 * @id: the VMM's name of it
 * @size: bytes, a multiple of the page size
 * @digest: of all of @digests, as they are in their file
 * @fd: its file
 * @digests_fd: the file of its digests
 * @digests: one for each page, see snapshot_digest(); of one that was opened, once
 *	snapshot_digests() has read them
 */
struct snapshot_block {
	char id[NAME_MAX + 1];
	uint64_t size;
	uint64_t digest;
	int fd;
	int digests_fd;
	uint64_t *digests;
};

/**
 * struct snapshot - a guest in a directory
 * @created_ns: when its guest was stopped, CLOCK_REALTIME
 * @ran: the guest ran then
 * @vm: its description, see vmm_compare()
 * @blocks: its memory
 * @n: how many
 * @state_size: bytes of the VMM's own stream
 * @state_digest: of it
 * @state_fd: its file
 */
struct snapshot {
	uint64_t created_ns;
	bool ran;
	json_t *vm;
	struct snapshot_block *blocks;
	size_t n;
	uint64_t state_size;
	uint64_t state_digest;
	int state_fd;
};

static inline uint64_t snapshot_pages(const struct snapshot_block *block)
{
	return block->size / SNAPSHOT_PAGE_SIZE;
}

/* manifest.c: pure. */
json_t *snapshot_to_json(const struct snapshot *snapshot);
int snapshot_from_json(struct snapshot *snapshot, const json_t *manifest,
		       struct error *err);
int snapshot_alloc(struct snapshot *snapshot, size_t n, struct error *err);
void snapshot_close(struct snapshot *snapshot);
uint64_t snapshot_digest(const void *page);
uint64_t snapshot_digest_all(const void *data, size_t size);

/**
 * struct snapshot_dir - a directory that becomes a snapshot
 * @parent_fd: of the directory that it is in, -1 if there is none to be made
 * @fd: of it, locked
 * @name: that it gets in the end
 * @partial: that it has until then
 * @path: as the user named it
 */
struct snapshot_dir {
	int parent_fd;
	int fd;
	char name[NAME_MAX + 1];
	char partial[NAME_MAX + 16];
	char path[PATH_MAX];
};

#define SNAPSHOT_DIR_NONE ((struct snapshot_dir) { .parent_fd = -1, .fd = -1 })

/* directory.c: make one. */
int snapshot_dir_create(struct snapshot_dir *dir, const char *path,
			struct error *err);
int snapshot_dir_files(const struct snapshot_dir *dir, struct snapshot *snapshot,
		       struct error *err);
int snapshot_dir_commit(struct snapshot_dir *dir, struct snapshot *snapshot,
			struct error *err);
void snapshot_dir_discard(struct snapshot_dir *dir);

/* open.c: read one that somebody else may have made. */
int snapshot_open(struct snapshot *snapshot, const char *path, int *dir_fd,
		  struct error *err);
int snapshot_digests(struct snapshot *snapshot, const char *path, struct error *err);

/* state.c: the VMM's own stream, to its file and back. */
struct snapshot_state;
int snapshot_state_save(struct snapshot_state **state, int file, struct error *err);
int snapshot_state_load(struct snapshot_state **state, const struct snapshot *snapshot,
			struct error *err);
int snapshot_state_fd(const struct snapshot_state *state);
int snapshot_state_start(struct snapshot_state *state, struct error *err);
bool snapshot_state_failed(const struct snapshot_state *state, struct error *err);
int snapshot_state_end(struct snapshot_state *state, uint64_t *size,
		       uint64_t *digest, struct error *err);
void snapshot_state_break(struct snapshot_state *state);
void snapshot_state_close(struct snapshot_state *state);

/**
 * struct snapshot_reading - what blocks are read for, and who looks at it meanwhile
 * @look: called after each MiB, and before the first; if it is not 0, that ends with
 *	the error which it has set. NULL: nobody looks
 * @data: for it
 * @bytes: read so far, of all blocks
 */
struct snapshot_reading {
	int (*look)(void *data, struct error *err);
	void *data;
	uint64_t bytes;
};

/* fill.c: a guest's memory, from a snapshot. */
int snapshot_fill(const struct snapshot_block *block, int fd, uint64_t offset,
		  struct snapshot_reading *reading, struct error *err);
/* For a block that a VMM has mapped itself: compare all of it. */
int snapshot_verify(const struct snapshot_block *block, struct snapshot_reading *reading,
		    struct error *err);
/* Read pages and compare them with their digests; @path for messages. */
int snapshot_read(const struct snapshot_block *block, uint64_t page, size_t n,
		  void *buffer, struct error *err);

#endif /* MIGCTL_SNAPSHOT_H */
