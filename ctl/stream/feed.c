// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>

#include "stream/feed.h"
#include "stream/hash.h"
#include "stream/link.h"
#include "stream/sender.h"

#define PLACES	(FEED_RUNS + 1)

/* Pages of the buffer from its @skip-th on, all zero or none. */
static int frame_send(struct feed *feed, const struct page_run *run, uint64_t skip,
		      uint64_t n, bool zero, struct sender_stats *sent,
		      struct error *err)
{
	const uint8_t *data = feed->buffer + skip * WIRE_PAGE_SIZE;
	struct compressor *c = &feed->compressor;
	struct wire_frame frame = {
		.type = zero ? WIRE_ZERO : WIRE_PAGES,
		.block = (uint32_t)run->block,
		.offset = (run->first + skip) * WIRE_PAGE_SIZE,
		.count = n * WIRE_PAGE_SIZE,
	};

	if (!zero)
		frame.length = (uint32_t)compressor_run(c, data, frame.count);
	if (frame.length) {
		frame.type = codec_type(c->codec);
		data = c->buffer;
	} else if (!zero) {
		frame.length = (uint32_t)frame.count;
	}
	if (channel_send(feed->channel, &frame, data, err))
		return -1;
	if (zero)
		sent->zero_pages += n;
	else
		sent->pages += n;
	sent->bytes += WIRE_HEADER_SIZE + frame.length;
	return 0;
}

/**
 * feed_send() - read pages as they are now, and send them
 * @feed: open
 * @run: of a chunk at most
 * @sent: what was sent is added
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int feed_send(struct feed *feed, const struct page_run *run,
	      struct sender_stats *sent, struct error *err)
{
	uint64_t start = 0, end;
	bool zero, next;

	if (sender_read(feed->sender, run, feed->buffer, err))
		return -1;
	next = page_is_zero(feed->buffer);
	while (start < run->n) {
		zero = next;
		for (end = start + 1; end < run->n; end++) {
			next = page_is_zero(feed->buffer +
					    end * WIRE_PAGE_SIZE);
			if (next != zero)
				break;
		}
		if (frame_send(feed, run, start, end - start, zero, sent, err))
			return -1;
		start = end;
	}
	return 0;
}

#ifdef MIGCTL_TEST_SWAP
/*
 * A mover that is broken on purpose, for the verification to find out: of one page
 * in so many the copy that was sent first is sent again after a newer one.
 */
struct old_copy {
	struct old_copy *next;
	size_t block;
	uint64_t page;
	uint8_t data[WIRE_PAGE_SIZE];
};

static pthread_mutex_t old_lock = PTHREAD_MUTEX_INITIALIZER;
static struct old_copy *old_copies;

/* Under the lock. */
static const struct old_copy *old_find(size_t block, uint64_t page)
{
	const struct old_copy *old;

	for (old = old_copies; old; old = old->next) {
		if (old->block == block && old->page == page)
			return old;
	}
	return NULL;
}

static void old_keep(size_t block, uint64_t page, const uint8_t *data)
{
	struct old_copy *old = malloc(sizeof(*old));

	if (!old)
		return;
	old->next = old_copies;
	old->block = block;
	old->page = page;
	memcpy(old->data, data, WIRE_PAGE_SIZE);
	old_copies = old;
}

static int old_send(struct feed *feed, size_t block, uint64_t page,
		    const uint8_t *data, struct error *err)
{
	struct wire_frame frame = {
		.type = WIRE_PAGES,
		.length = WIRE_PAGE_SIZE,
		.block = (uint32_t)block,
		.offset = page * WIRE_PAGE_SIZE,
	};
	const struct old_copy *old;
	int ret = 0;

	pthread_mutex_lock(&old_lock);
	old = old_find(block, page);
	if (!old)
		old_keep(block, page, data);
	else if (memcmp(old->data, data, WIRE_PAGE_SIZE))
		ret = channel_send(feed->channel, &frame, old->data, err);
	pthread_mutex_unlock(&old_lock);
	return ret;
}

static int test_swap(struct feed *feed, const struct page_run *run,
		     struct error *err)
{
	uint64_t i, page;

	for (i = 0; i < run->n; i++) {
		page = run->first + i;
		if (page % MIGCTL_TEST_SWAP == MIGCTL_TEST_SWAP / 2 &&
		    old_send(feed, run->block, page,
			     feed->buffer + i * WIRE_PAGE_SIZE, err))
			return -1;
	}
	return 0;
}

static void test_swap_end(void)
{
	struct old_copy *old;

	pthread_mutex_lock(&old_lock);
	while ((old = old_copies)) {
		old_copies = old->next;
		free(old);
	}
	pthread_mutex_unlock(&old_lock);
}
#else
static int test_swap(struct feed *feed, const struct page_run *run,
		     struct error *err)
{
	(void)feed;
	(void)run;
	(void)err;
	return 0;
}

static void test_swap_end(void)
{
}
#endif

static int barrier_send(struct feed *feed, uint64_t number, struct error *err)
{
	struct wire_frame frame = { .type = WIRE_BARRIER, .offset = number };

	return channel_send(feed->channel, &frame, NULL, err);
}

/* Under the lock: wait for something to do; false if there won't be any. */
static bool job_wait(struct feed *feed)
{
	while (!feed->n && !feed->quit)
		pthread_cond_wait(&feed->work, &feed->sender->lock);
	return !feed->quit;
}

/*
 * Does the caller wait for this? Not for the first place of a queue that is full: being
 * woken for each costs more than it brings.
 */
static bool is_awaited(const struct feed *feed)
{
	const struct sender *sender = feed->sender;

	return sender->options.max_bandwidth ||
	       (sender->awaited == feed && feed->n <= FEED_RUNS / 2);
}

/* Under the lock. */
static void job_done(struct feed *feed, const struct sender_stats *sent)
{
	struct sender *sender = feed->sender;

	sender->queued -= feed->jobs[feed->first].run.n * WIRE_PAGE_SIZE;
	feed->first = (feed->first + 1) % PLACES;
	feed->n--;
	sender_count(sender, sent);
	if (is_awaited(feed))
		pthread_cond_signal(&sender->progress);
}

static void *feed_thread(void *data)
{
	struct feed *feed = data;
	struct sender *sender = feed->sender;
	struct feed_job job;
	struct error err;
	int ret = 0;

	pthread_mutex_lock(&sender->lock);
	while (!ret && job_wait(feed)) {
		struct sender_stats sent = {};

		job = feed->jobs[feed->first];
		pthread_mutex_unlock(&sender->lock);
		if (job.barrier)
			ret = barrier_send(feed, job.barrier, &err);
		else
			ret = feed_send(feed, &job.run, &sent, &err) ||
			      test_swap(feed, &job.run, &err);
		pthread_mutex_lock(&sender->lock);
		job_done(feed, &sent);
	}
	pthread_mutex_unlock(&sender->lock);
	if (ret)
		link_fail(sender->link, &err);
	return NULL;
}

/**
 * feed_open() - get ready to send, by who calls feed_send()
 * @feed: filled; to be ended also after a failure
 * @sender: opened so far that memory can be read
 * @channel: where to
 * @codec: compress with
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int feed_open(struct feed *feed, struct sender *sender, struct channel *channel,
	      enum codec codec, struct error *err)
{
	*feed = (struct feed) { .sender = sender, .channel = channel };
	feed->buffer = aligned_alloc(WIRE_PAGE_SIZE, WIRE_CHUNK);
	if (!feed->buffer)
		return error_set(err, EXIT_FAILED, "out of memory");
	return compressor_open(&feed->compressor, codec, sender->options.level, err);
}

/**
 * feed_start() - begin to send
 * @feed: filled; to be ended also after a failure
 * @sender: opened so far that memory can be read
 * @channel: where to
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int feed_start(struct feed *feed, struct sender *sender,
	       struct channel *channel, struct error *err)
{
	int ret;

	if (feed_open(feed, sender, channel, sender->options.codec, err))
		return -1;
	pthread_cond_init(&feed->work, NULL);
	ret = pthread_create(&feed->thread, NULL, feed_thread, feed);
	if (ret)
		return error_set(err, EXIT_FAILED, "can't make a thread: %s",
				 strerror(ret));
	feed->started = true;
	return 0;
}

bool feed_has_place(const struct feed *feed)
{
	return feed->n < FEED_RUNS;
}

void feed_push(struct feed *feed, const struct feed_job *job)
{
	feed->jobs[(feed->first + feed->n) % PLACES] = *job;
	feed->n++;
	feed->sender->queued += job->run.n * WIRE_PAGE_SIZE;
	pthread_cond_signal(&feed->work);
}

/**
 * feed_end() - end the thread
 * @feed: started, or all 0
 */
void feed_end(struct feed *feed)
{
	if (feed->started) {
		pthread_mutex_lock(&feed->sender->lock);
		feed->quit = true;
		pthread_cond_signal(&feed->work);
		pthread_mutex_unlock(&feed->sender->lock);
		pthread_join(feed->thread, NULL);
		pthread_cond_destroy(&feed->work);
	}
	test_swap_end();
	compressor_close(&feed->compressor);
	free(feed->buffer);
	*feed = (struct feed){};
}
