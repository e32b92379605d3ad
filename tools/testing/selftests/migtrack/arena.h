/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that is tracked, three kinds of writers, and a mover that copies what
 * is reported: for tests of what may happen between a write and a sync.
 */
#ifndef ARENA_H
#define ARENA_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "harvest.h"
#include "kvm_vm.h"

#define ARENA_SIZE	(8UL << 20)
#define ARENA_PAGES	(ARENA_SIZE / GUEST_PAGE)

/* Where things happen. It starts and ends in the middle of a chunk. */
#define ARENA_WINDOW	(1UL << 20)
#define ARENA_WINDOW_SIZE (9UL << 19)
/* How many pages of it are written. */
#define ARENA_WRITES	200

/* Quiet memory is reported no longer than for so long, and is looked at so often. */
#define ARENA_SETTLE_S	60
#define ARENA_SETTLE_US	20000

enum arena_writer {
	ARENA_VMM,		/* the process whose memory is tracked */
	ARENA_VCPU,		/* its guest, through KVM */
	ARENA_BACKEND,		/* another process that maps the same file */
};

/* The first words of each page; the rest is never written. */
struct arena_page {
	uint64_t writes;
	uint64_t tag;		/* the page's number + 1; 0 in a hole */
};

struct arena;

/*
 * What happens to a range of the memory, which the caller maps at @memory.
 * Returns 0, or an errno.
 */
typedef int arena_event_fn(struct arena *a, char *memory, size_t offset,
			   size_t length);

struct arena_shared;

struct arena {
	struct vm vm;
	struct harvest harvest;
	enum arena_writer who;
	struct arena_shared *shared;
	pid_t backend;
	char *mirror;			/* what the mover has sent */
	struct arena_page *expected;	/* what was written */
};

/* All end the test program with a message if they can't. */
void arena_open(struct arena *a, enum arena_writer who);
void arena_close(struct arena *a);
size_t arena_sync(struct arena *a);
size_t arena_settle(struct arena *a);
void arena_pick(struct arena *a);
void arena_write(struct arena *a);
int arena_event(struct arena *a, arena_event_fn *event);
size_t arena_missed(const struct arena *a);
size_t arena_wrong(struct arena *a);
void arena_expect_hole(struct arena *a, size_t offset, size_t length);
pid_t arena_pid(const struct arena *a);

/* By the caller itself, through its mapping. */
void arena_write_list(struct arena *a, char *memory);

#endif /* ARENA_H */
