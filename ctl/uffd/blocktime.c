// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/units.h"
#include "uffd/blocktime.h"

void blocktime_open(struct blocktime_clock *clock)
{
	pthread_mutex_init(&clock->lock, NULL);
	clock->n = 0;
	clock->result = (struct blocktime){};
}

void blocktime_close(struct blocktime_clock *clock)
{
	pthread_mutex_destroy(&clock->lock);
}

static void sum_add(struct blocktime_sum *sum, uint64_t time)
{
	sum->waits++;
	sum->total_ns += time;
	if (time > sum->max_ns)
		sum->max_ns = time;
}

/* NULL if there are too many of them. */
static struct blocktime_sum *sum_of(struct blocktime *result, uint32_t tid)
{
	struct blocktime_thread *thread = result->threads;
	struct blocktime_thread *end = thread + result->n_threads;

	while (thread < end && thread->tid != tid)
		thread++;
	if (thread == &result->threads[BLOCKTIME_THREADS])
		return NULL;
	if (thread == end) {
		result->n_threads++;
		*thread = (struct blocktime_thread) { .tid = tid };
	}
	return &thread->sum;
}

static unsigned int bucket_of(uint64_t time)
{
	uint64_t us = time / NS_PER_US;
	unsigned int bucket = us ? 64 - (unsigned int)__builtin_clzll(us) : 0;

	return bucket < BLOCKTIME_BUCKETS ? bucket : BLOCKTIME_BUCKETS - 1;
}

static void wait_count(struct blocktime *result, const struct blocktime_wait *wait,
		       uint64_t now)
{
	uint64_t time = now > wait->since ? now - wait->since : 0;
	struct blocktime_sum *sum = wait->tid ? sum_of(result, wait->tid) : NULL;

	sum_add(&result->sum, time);
	result->buckets[bucket_of(time)]++;
	if (sum)
		sum_add(sum, time);
}

/* A thread waits for one page at a time: a wait for another one was broken off. */
static struct blocktime_wait *wait_find(struct blocktime_clock *clock, uint64_t page,
					uint32_t tid)
{
	unsigned int i;

	for (i = 0; i < clock->n; i++) {
		if (clock->waits[i].tid == tid && (tid || clock->waits[i].page == page))
			return &clock->waits[i];
	}
	if (clock->n == BLOCKTIME_WAITS)
		return NULL;
	clock->waits[clock->n] = (struct blocktime_wait) { .tid = tid, .page = UINT64_MAX };
	return &clock->waits[__atomic_fetch_add(&clock->n, 1, __ATOMIC_SEQ_CST)];
}

void blocktime_begin(struct blocktime_clock *clock, uint64_t page, uint32_t tid,
		     uint64_t now)
{
	struct blocktime_wait *wait;

	pthread_mutex_lock(&clock->lock);
	wait = wait_find(clock, page, tid);
	if (wait && wait->page != page) {
		wait->page = page;
		wait->since = now;
	}
	pthread_mutex_unlock(&clock->lock);
}

void blocktime_end(struct blocktime_clock *clock, uint64_t page, uint64_t n,
		   uint64_t now)
{
	unsigned int i;

	/* Most pages nobody waits for. */
	if (!__atomic_load_n(&clock->n, __ATOMIC_SEQ_CST))
		return;
	pthread_mutex_lock(&clock->lock);
	for (i = clock->n; i-- > 0;) {
		if (clock->waits[i].page - page >= n)
			continue;
		wait_count(&clock->result, &clock->waits[i], now);
		clock->waits[i] = clock->waits[clock->n - 1];
		__atomic_fetch_sub(&clock->n, 1, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(&clock->lock);
}

void blocktime_get(struct blocktime_clock *clock, struct blocktime *result)
{
	pthread_mutex_lock(&clock->lock);
	*result = clock->result;
	pthread_mutex_unlock(&clock->lock);
}
