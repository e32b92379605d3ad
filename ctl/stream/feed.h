/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A data channel of the source: a queue of runs, and a thread that reads them and
 * sends them in that order.
 */
#ifndef MIGCTL_FEED_H
#define MIGCTL_FEED_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "stream/channel.h"
#include "stream/compress.h"

/* Enough that a thread finds work while the others get theirs. */
#define FEED_RUNS	4u

struct sender;
struct sender_stats;

/* Adjacent pages of a block. */
struct page_run {
	size_t block;
	uint64_t first;
	uint64_t n;
};

/**
 * struct feed_job - what a thread has to do
 * @barrier: not 0: send this barrier
 * @run: else these pages
 */
struct feed_job {
	uint64_t barrier;
	struct page_run run;
};

/**
 * struct feed - a data channel of the source
 * @sender: whose lock guards @jobs, @first, @n and @quit
 * @channel: where to
 * @thread: sends
 * @started: it is there
 * @work: there are jobs, or it is to end
 * @jobs: a ring; one place is kept for a barrier. A job leaves it when it is done
 * @first: the oldest
 * @n: how many
 * @quit: end without doing the rest
 * @compressor: its own
 * @buffer: of a chunk
 */
struct feed {
	struct sender *sender;
	struct channel *channel;
	pthread_t thread;
	bool started;
	pthread_cond_t work;
	struct feed_job jobs[FEED_RUNS + 1];
	unsigned int first;
	unsigned int n;
	bool quit;
	struct compressor compressor;
	uint8_t *buffer;
};

/* Without a thread. */
int feed_open(struct feed *feed, struct sender *sender, struct channel *channel,
	      enum codec codec, struct error *err);
int feed_send(struct feed *feed, const struct page_run *run,
	      struct sender_stats *sent, struct error *err);
int feed_start(struct feed *feed, struct sender *sender,
	       struct channel *channel, struct error *err);
/* Under the sender's lock: is there a place for a run? */
bool feed_has_place(const struct feed *feed);
/* Under the sender's lock; there is a place. */
void feed_push(struct feed *feed, const struct feed_job *job);
/* Its channel has been stopped. */
void feed_end(struct feed *feed);

#endif /* MIGCTL_FEED_H */
