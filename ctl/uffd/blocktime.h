/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long threads waited for pages: from the reading of the message about it, which is
 * a little after the thread began to wait, until the page was in place.
 */
#ifndef MIGCTL_UFFD_BLOCKTIME_H
#define MIGCTL_UFFD_BLOCKTIME_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* Threads that are told apart; the others are in the totals only. */
#define BLOCKTIME_THREADS	64u
/* Bucket N: less than 2^N us, and not less than the one before; the last has the rest. */
#define BLOCKTIME_BUCKETS	24u
/* Waits that go on at once: one for each thread of a VMM. */
#define BLOCKTIME_WAITS		1024u

/**
 * struct blocktime_sum - waits that have ended
 * @waits: how many
 * @total_ns: how long, together
 * @max_ns: the longest
 */
struct blocktime_sum {
	uint64_t waits;
	uint64_t total_ns;
	uint64_t max_ns;
};

/**
 * struct blocktime_thread - those of a thread
 * @tid: it, as its own process numbers it
 * @sum: see there
 */
struct blocktime_thread {
	uint32_t tid;
	struct blocktime_sum sum;
};

/**
 * struct blocktime - those of all threads
 * @sum: of all
 * @buckets: how many took how long
 * @threads: those that the kernel tells; none if the VMM's userfaultfd was made
 *	without UFFD_FEATURE_THREAD_ID
 * @n_threads: how many
 */
struct blocktime {
	struct blocktime_sum sum;
	uint64_t buckets[BLOCKTIME_BUCKETS];
	struct blocktime_thread threads[BLOCKTIME_THREADS];
	size_t n_threads;
};

/**
 * struct blocktime_wait - one that goes on
 * @page: what is waited for
 * @since: CLOCK_MONOTONIC in ns
 * @tid: who does; 0: unknown. Threads that are not known and wait for the same page
 *	count as one
 */
struct blocktime_wait {
	uint64_t page;
	uint64_t since;
	uint32_t tid;
};

/**
 * struct blocktime_clock - measures
 * @lock: guards what follows; @n is read without it, too
 * @waits: that go on
 * @n: how many
 * @result: so far
 */
struct blocktime_clock {
	pthread_mutex_t lock;
	struct blocktime_wait waits[BLOCKTIME_WAITS];
	unsigned int n;
	struct blocktime result;
};

void blocktime_open(struct blocktime_clock *clock);
void blocktime_close(struct blocktime_clock *clock);
/* A thread waits for a page. Again for the same one: it still does. */
void blocktime_begin(struct blocktime_clock *clock, uint64_t page, uint32_t tid,
		     uint64_t now);
/* Pages are in place, and noted as that before. */
void blocktime_end(struct blocktime_clock *clock, uint64_t page, uint64_t n,
		   uint64_t now);
void blocktime_get(struct blocktime_clock *clock, struct blocktime *result);

#endif /* MIGCTL_UFFD_BLOCKTIME_H */
