/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A session over one memory, and what a mover does with its bitmap. */
#ifndef HARVEST_H
#define HARVEST_H

#include <stdbool.h>
#include <stddef.h>

#include "migtrack.h"

struct harvest {
	struct migtrack *mt;
	uint64_t id;
	int fd;
	struct migtrack_source_map map;
	struct migtrack_map_header *header;
	unsigned long *bitmap;		/* shared with the kernel */
	unsigned long *taken;		/* what the last harvest took */
	size_t npages;
};

/* These end the test program with a message if they can't. */
void harvest_open_range(struct harvest *h, pid_t pid, int mem_fd, uint64_t offset,
			uint64_t length);
void harvest_open(struct harvest *h, pid_t pid, int mem_fd);
void harvest_close(struct harvest *h);
void harvest_sync(struct harvest *h, enum migtrack_sync_kind kind);
size_t harvest_take(struct harvest *h);
bool harvest_settles_at(struct harvest *h, enum migtrack_sync_kind kind, size_t pages);
void harvest_settle(struct harvest *h);
bool harvest_took(const struct harvest *h, size_t page);
struct migtrack_source harvest_source(struct harvest *h);

#endif /* HARVEST_H */
