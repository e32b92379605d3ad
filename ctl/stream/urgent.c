// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "stream/link.h"
#include "stream/pending.h"
#include "stream/sender.h"
#include "stream/urgent.h"

/* It comes from outside: pages of a block, no more than there is room for. */
static int request_check(const struct sender *sender, const struct wire_frame *frame,
			 struct page_run *run, struct error *err)
{
	uint64_t size;

	if (frame->block >= sender->nblocks)
		return error_set(err, EXIT_PEER, "the destination asks for memory block %u, which there is not",
				 frame->block);
	size = sender->blocks[frame->block].size;
	if (!frame->count || frame->count > WIRE_CHUNK || frame->count % WIRE_PAGE_SIZE ||
	    frame->offset % WIRE_PAGE_SIZE || frame->offset > size ||
	    frame->count > size - frame->offset)
		return error_set(err, EXIT_PEER, "the destination asks for what is not pages of memory block %u",
				 frame->block);
	*run = (struct page_run) {
		.block = frame->block,
		.first = frame->offset / WIRE_PAGE_SIZE,
		.n = frame->count / WIRE_PAGE_SIZE,
	};
	return 0;
}

static int request_receive(struct channel *channel, struct wire_frame *frame,
			   struct error *err)
{
	if (channel_receive_header(channel, frame, err))
		return -1;
	if (frame->type != WIRE_REQUEST)
		return error_set(err, EXIT_PEER, "%s: %s: a frame of type %s, where pages are asked for",
				 channel->peer, channel->label, wire_type_name(frame->type));
	return channel_receive_payload(channel, frame, NULL, err);
}

static int answer(struct urgent *urgent, struct error *err)
{
	struct feed *feed = &urgent->feed;
	struct sender_stats sent = {};
	struct wire_frame frame;
	struct page_run run;

	if (request_receive(feed->channel, &frame, err) ||
	    request_check(feed->sender, &frame, &run, err) ||
	    feed_send(feed, &run, &sent, err))
		return -1;
	pending_answered(&feed->sender->blocks[run.block], &run);
	pthread_mutex_lock(&feed->sender->lock);
	sender_count(feed->sender, &sent);
	feed->sender->stats.requests++;
	pthread_mutex_unlock(&feed->sender->lock);
	return 0;
}

static void *urgent_thread(void *data)
{
	struct urgent *urgent = data;
	struct error err;

	while (!answer(urgent, &err))
		;
	link_fail(urgent->feed.sender->link, &err);
	return NULL;
}

/**
 * urgent_start() - answer what is asked for on a channel from now on
 * @urgent: filled; to be ended also after a failure
 * @sender: opened, its blocks do not change any more
 * @channel: it
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int urgent_start(struct urgent *urgent, struct sender *sender,
		 struct channel *channel, struct error *err)
{
	int ret;

	*urgent = (struct urgent){};
	/* As it is: who waits for one page has no use for a compressor's time. */
	if (feed_open(&urgent->feed, sender, channel, CODEC_NONE, err))
		return -1;
	ret = pthread_create(&urgent->thread, NULL, urgent_thread, urgent);
	if (ret)
		return error_set(err, EXIT_FAILED, "can't make a thread: %s",
				 strerror(ret));
	urgent->started = true;
	return 0;
}

/**
 * urgent_end() - end the thread
 * @urgent: started, or all 0
 */
void urgent_end(struct urgent *urgent)
{
	if (urgent->started)
		pthread_join(urgent->thread, NULL);
	feed_end(&urgent->feed);
	*urgent = (struct urgent){};
}
