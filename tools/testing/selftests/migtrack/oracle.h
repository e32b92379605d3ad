/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The oracle: no sync misses a page, and no byte is lost.
 *
 * Writers stamp pages of the memory with the iteration they see. Before a sync
 * is called, all of them have finished what they write with older stamps. After
 * it, a page that was not reported must hold what it held when it was reported
 * last, or a stamp of this iteration, or be one whose data was still to come.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <pthread.h>
#include <stdbool.h>

#include "harvest.h"
#include "writer.h"

struct oracle {
	int mem_fd;			/* the memory */
	char *memory;			/* as the VMM maps it */
	const char *view;		/* as the oracle does: reading leaves no trace */
	size_t size, npages;
	char *copy;			/* what a mover would have sent */
	struct writer writers[STAMP_SLOTS];
	unsigned int nwriters, nslots;
	struct harvest harvest;
	uint64_t iteration;
	unsigned int drop;		/* 1 in so many reports is ignored */

	size_t syncs, reported;
	size_t excess;			/* reported, but nobody wrote to them */
	size_t early;			/* somebody was about to */
	size_t gone;			/* a process that had them mapped has ended */
	bool process_ended;		/* one that wrote */
	size_t missed;			/* stamps, or what a writer checks itself */
	size_t torn;			/* stamps that were being written */
	size_t late;			/* pages whose data came after a sync */
	size_t differ;			/* in the end: pages unlike their copy */
	size_t lost;			/* in the end: stamps that are gone */
	unsigned int processes;		/* the most that were watched */
	size_t adopted_at;		/* the sync that first did not report all */
	size_t held;			/* of the last sync */
};

void oracle_create(struct oracle *o, size_t size);
void oracle_add(struct oracle *o, const struct writer_ops *ops);
void oracle_start(struct oracle *o);
void oracle_open(struct oracle *o);
void oracle_sync(struct oracle *o);
void oracle_syncs(struct oracle *o, unsigned int n, unsigned int max_delay_us);
void oracle_finish(struct oracle *o);
/* Another session over the same memory and writers, which has a mover of its own. */
void oracle_open_other(struct oracle *other, const struct oracle *o);
void oracle_sync_other(struct oracle *other, const struct oracle *o,
		       enum migtrack_sync_kind kind);
void oracle_close_other(struct oracle *other);
void oracle_destroy(struct oracle *o);

#endif /* ORACLE_H */
