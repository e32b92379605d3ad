/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory of a snapshot as one range of bytes, block after block; or a file that
 * is a guest's memory and nothing else, which has no digests.
 */
#ifndef MIGCTL_SNAPSHOT_SUPPLY_H
#define MIGCTL_SNAPSHOT_SUPPLY_H

#include "snapshot/snapshot.h"

/**
 * struct supply - where pages come from
 * @snapshot: its blocks are open; one, with no digests, for a plain file
 * @size: bytes, all blocks together
 * @dir_fd: where the working set is
 * @working_set: name of its file there
 */
struct supply {
	struct snapshot snapshot;
	uint64_t size;
	int dir_fd;
	char working_set[NAME_MAX + 1];
};

#define SUPPLY_NONE ((struct supply) { .snapshot.state_fd = -1, .dir_fd = -1 })

int supply_open(struct supply *supply, const char *path, struct error *err);
void supply_close(struct supply *supply);

/*
 * Read whole pages and compare them with their digests; @zero: all are of zeros, and
 * the buffer was not filled.
 */
int supply_read(const struct supply *supply, uint64_t offset, size_t size,
		void *buffer, bool *zero, struct error *err);
/* A page that is read soon, from the disk. */
void supply_will_need(const struct supply *supply, uint64_t offset);
/* How many bytes from @offset on, @size at most, are known to be zeros, or not to be. */
size_t supply_run(const struct supply *supply, uint64_t offset, size_t size, bool *zero);

/* Page numbers in the order of their use; NULL and 0 if there is no such file. */
int supply_working_set(const struct supply *supply, uint64_t **pages, size_t *n,
		       struct error *err);
int supply_working_set_write(const struct supply *supply, const uint64_t *pages,
			     size_t n, struct error *err);

#endif /* MIGCTL_SNAPSHOT_SUPPLY_H */
