/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A session of the kernel with its memory sources and what was seen in them. */
#ifndef MIGCTL_TRACKER_H
#define MIGCTL_TRACKER_H

#include "common/error.h"
#include "lib/migtrack.h"
#include "vmm/vmm.h"

/**
 * struct tracker_source - memory that is tracked
 * @memory: what it is in the VMM; the caller's
 * @map: what the kernel replied
 * @bitmap: the kernel's bitmap, mapped
 * @seen: pages that were written in any interval: the working set
 */
struct tracker_source {
	const struct vmm_memory *memory;
	struct migtrack_source_map map;
	unsigned long *bitmap;
	unsigned long *seen;
};

/**
 * struct tracker - a session
 * @mt: the connection to the kernel
 * @id: number of the session
 * @fd: its descriptor
 * @header: its header page
 * @sources: what is tracked
 * @n: how many
 */
struct tracker {
	struct migtrack *mt;
	uint64_t id;
	int fd;
	struct migtrack_map_header *header;
	struct tracker_source *sources;
	size_t n;
};

/**
 * struct tracker_left - what is left, of what the kernel does not track
 * @id: the session's source for it
 * @told: when it was told, 0: there is none
 */
struct tracker_left {
	uint32_t id;
	uint64_t told;
};

int tracker_open(struct tracker *tracker, struct error *err);
void tracker_close(struct tracker *tracker);

/*
 * Track @mem of @pid. EXIT_UNTRACKABLE is about this memory, any other error
 * about the whole.
 */
int tracker_add(struct tracker *tracker, pid_t pid,
		const struct vmm_memory *mem, struct error *err);

int tracker_sync(struct tracker *tracker, enum migtrack_sync_kind kind,
		 struct error *err);

/* The descriptor was readable: take the end of the sync, read its results. */
int tracker_result(struct tracker *tracker, struct migtrack_map_header *result,
		   struct error *err);

/*
 * A sync, from its start to its results; EXIT_GONE if @pid, whose memory it is, has
 * exited.
 */
int tracker_sync_whole(struct tracker *tracker, enum migtrack_sync_kind kind, pid_t pid,
		       struct migtrack_map_header *result, struct error *err);

/*
 * Have listeners told what is left, about once a second and when nothing is; if that can't
 * be, nobody is worse off.
 */
void tracker_left_open(struct tracker *tracker, struct tracker_left *left);
void tracker_left_tell(struct tracker *tracker, struct tracker_left *left,
		       const struct migtrack_counters *bytes);

/* Takes all bits. Returns the bytes that they stand for. */
uint64_t tracker_take(struct tracker *tracker);

/* Forgets what was seen. */
void tracker_forget(struct tracker *tracker);

uint64_t tracker_working_set(const struct tracker *tracker);
uint64_t tracker_length(const struct tracker *tracker);

#endif /* MIGCTL_TRACKER_H */
