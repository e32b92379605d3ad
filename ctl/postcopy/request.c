// SPDX-License-Identifier: GPL-2.0-or-later
/* A page that somebody waits for is asked for, on an urgent channel of its own. */
#include <string.h>

#include "postcopy/internal.h"

/* Pages that are asked for. */
struct request {
	uint32_t block;
	uint64_t page;
	uint64_t n;
	uint8_t *buffer;
};

/* Where they are in the stream; they are of one block. */
static struct request request_make(const struct fetch *fetch, uint64_t offset, size_t size,
				   void *buffer)
{
	struct request request = { .n = size / WIRE_PAGE_SIZE, .buffer = buffer };

	while (request.block + 1 < fetch->receiver->nblocks &&
	       offset >= fetch->bases[request.block + 1])
		request.block++;
	request.page = (offset - fetch->bases[request.block]) / WIRE_PAGE_SIZE;
	return request;
}

static int unasked(const struct channel *channel, const struct wire_frame *frame,
		   struct error *err)
{
	return error_set(err, EXIT_PEER, "%s: %s: a frame of type %s, which is not what was asked for",
			 channel->peer, channel->label, wire_type_name(frame->type));
}

/* A part of the answer: pages from the @done-th on. Returns how many, or -1. */
static int64_t part_receive(struct channel *channel, const struct request *request,
			    uint64_t done, bool *zero, struct error *err)
{
	uint64_t room = (request->n - done) * WIRE_PAGE_SIZE, size;
	uint8_t *to = request->buffer + done * WIRE_PAGE_SIZE;
	struct wire_frame frame;

	if (channel_receive_header(channel, &frame, err))
		return -1;
	*zero = frame.type == WIRE_ZERO;
	if ((!*zero && frame.type != WIRE_PAGES) || frame.length > room)
		return unasked(channel, &frame, err);
	if (channel_receive_payload(channel, &frame, to, err))
		return -1;
	size = *zero ? frame.count : frame.length;
	if (frame.block != request->block || !size || size > room || size % WIRE_PAGE_SIZE ||
	    frame.offset != (request->page + done) * WIRE_PAGE_SIZE)
		return unasked(channel, &frame, err);
	if (*zero)
		memset(to, 0, size);
	return (int64_t)(size / WIRE_PAGE_SIZE);
}

static int ask(struct channel *channel, const struct request *request,
	       enum uffd_kind *kind, struct error *err)
{
	struct wire_frame frame = {
		.type = WIRE_REQUEST,
		.block = request->block,
		.offset = request->page * WIRE_PAGE_SIZE,
		.count = request->n * WIRE_PAGE_SIZE,
	};
	uint64_t done = 0;
	int64_t part;
	bool zero;

	*kind = UFFD_ZERO;
	if (channel_send(channel, &frame, NULL, err))
		return -1;
	while (done < request->n) {
		part = part_receive(channel, request, done, &zero, err);
		if (part < 0)
			return -1;
		if (!zero)
			*kind = UFFD_DATA;
		done += (uint64_t)part;
	}
	return 0;
}

/* Under the lock. There are as many threads as channels: one is free soon. */
static struct channel *channel_take(struct fetch *fetch, unsigned int *index)
{
	unsigned int free;

	for (;;) {
		if (fetch->stopped || !fetch->link)
			return NULL;
		free = ~fetch->busy & ((1u << fetch->link->urgent) - 1);
		if (free)
			break;
		pthread_cond_wait(&fetch->changed, &fetch->lock);
	}
	*index = (unsigned int)__builtin_ctz(free);
	fetch->busy |= 1u << *index;
	return fetch->link->channels[fetch->link->n + *index];
}

static void park(struct fetch *fetch, const struct request *request)
{
	uint64_t first, run, i, page = request->page, n = request->n;

	for (; n; n -= run, page += run) {
		run = fetch_run(fetch, request->block, page, n, &first);
		for (i = 0; i < run; i++)
			uffd_claim_park(&fetch->claims, first + i);
	}
}

/*
 * 0; 1 if there is no way to ask, or none any more: who waits does until there is
 * one. That is noted under the lock that a new link is told under: one is not
 * missed.
 */
static int request_run(struct fetch *fetch, const struct request *request,
		       enum uffd_kind *kind, struct error *err)
{
	struct channel *channel;
	unsigned int index;
	struct link *link;
	int ret = -1;

	pthread_mutex_lock(&fetch->lock);
	channel = channel_take(fetch, &index);
	link = fetch->link;
	if (!channel)
		goto out_unlock;
	pthread_mutex_unlock(&fetch->lock);
	ret = ask(channel, request, kind, err);
	if (ret)
		link_fail(link, err);
	pthread_mutex_lock(&fetch->lock);
	if (ret && fetch->link == link)
		fetch->link = NULL;
	fetch->busy &= ~(1u << index);
	pthread_cond_broadcast(&fetch->changed);

out_unlock:
	if (ret && !fetch->stopped) {
		park(fetch, request);
		ret = 1;
	}
	pthread_mutex_unlock(&fetch->lock);
	return ret;
}

int fetch_load(void *data, uint64_t offset, size_t size, void *buffer,
	       enum uffd_kind *kind, struct error *err)
{
	struct fetch *fetch = data;
	const struct request request = request_make(fetch, offset, size, buffer);
	int ret;

	ret = request_run(fetch, &request, kind, err);
	if (ret < 0)
		return error_set(err, EXIT_PEER, "the source is gone, and memory that has not come with it");
	if (!ret)
		receiver_note(fetch->receiver, request.block, request.page, request.n,
			      *kind == UFFD_DATA ? buffer : NULL);
	return ret;
}
