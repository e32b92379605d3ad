/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Post-copy at the destination: the guest runs, and memory that it has not got comes
 * in the background, or when it is touched, on the urgent channels.
 *
 * Every page is claimed before it is put in place, so it is put there once, whoever
 * brings it. What is in place survives a lost connection: then whoever waits for a
 * page waits on, and asks again over the next one.
 */
#ifndef MIGCTL_FETCH_H
#define MIGCTL_FETCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "stream/intake.h"
#include "stream/link.h"
#include "stream/receiver.h"
#include "uffd/uffd.h"

/**
 * struct fetch - the memory that is missing
 * @receiver: whose memory it is; has the hashes
 * @bases: of each of its blocks: where it starts in all memory, in bytes
 * @regions: where the VMM has it; their offset is in all memory
 * @n: how many
 * @claims: which pages are there, or on their way
 * @missing: pages that were missing at the start
 * @uffd: NULL before fetch_start()
 * @lock: guards what follows
 * @changed: something of it did
 * @link: to the source; NULL while there is none
 * @busy: a bit for each of its urgent channels that somebody uses
 * @stopped: nothing will come any more
 * @failed: a page can't be put in place: @err says why
 * @err: see there
 */
struct fetch {
	struct receiver *receiver;
	uint64_t *bases;
	struct uffd_region *regions;
	size_t n;
	struct uffd_claims claims;
	uint64_t missing;
	struct uffd *uffd;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct link *link;
	unsigned int busy;
	bool stopped;
	bool failed;
	struct error err;
};

/* The intake's, with a struct fetch. */
extern const struct intake_ops fetch_intake;

/* All pages are there. @regions are copied; they are all memory, in base pages. */
int fetch_open(struct fetch *fetch, struct receiver *receiver,
	       const struct uffd_region *regions, size_t n, struct error *err);
/* But for these: WIRE_MISSING, as it came. Nobody has touched them yet. */
int fetch_missing(struct fetch *fetch, const struct wire_frame *frame,
		  const void *payload, struct error *err);
/* From now on who touches one of them waits for it. */
int fetch_start(struct fetch *fetch, int uffd_fd, struct link *link,
		struct error *err);
/* The link is to be closed: nobody uses it any more on return. */
void fetch_lost(struct fetch *fetch, struct link *link);
/* Over the new one: say what is there, then ask for what is awaited. */
int fetch_received(struct fetch *fetch, struct channel *control, struct error *err);
int fetch_resume(struct fetch *fetch, struct link *link, struct error *err);
/* Bytes that are not there. */
uint64_t fetch_left(const struct fetch *fetch);
/* All is: the memory is the VMM's alone. */
int fetch_finish(struct fetch *fetch, struct error *err);
/* Whoever still waits for a page gets SIGBUS. */
void fetch_close(struct fetch *fetch);

#endif /* MIGCTL_FETCH_H */
