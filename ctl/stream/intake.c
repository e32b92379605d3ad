// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>

#include "stream/intake.h"

/**
 * intake_open() - get ready for data channels
 * @intake: filled
 * @link: theirs
 * @receiver: opened
 */
void intake_open(struct intake *intake, struct link *link,
		 struct receiver *receiver)
{
	unsigned int i;

	*intake = (struct intake) { .link = link, .receiver = receiver };
	pthread_mutex_init(&intake->lock, NULL);
	for (i = 0; i < WIRE_MAX_CHANNELS; i++)
		pthread_mutex_init(&intake->lanes[i].lock, NULL);
}

/**
 * intake_free() - the opposite
 * @intake: opened, and its link is closed, or all 0
 */
void intake_free(struct intake *intake)
{
	unsigned int i;

	if (!intake->link)
		return;
	pthread_mutex_destroy(&intake->lock);
	for (i = 0; i < WIRE_MAX_CHANNELS; i++)
		pthread_mutex_destroy(&intake->lanes[i].lock);
	*intake = (struct intake){};
}

static int refuse(unsigned int index, const char *what, struct error *err)
{
	error_set(err, EXIT_PEER, "data channel %u: %s", index, what);
	return error_advise(err,
			    "see whether migctl of the same version is at the other end");
}

/* Does this frame belong on this channel? See stream/link.h. */
static int check_place(const struct intake *intake, unsigned int index,
		       const struct wire_frame *frame, struct error *err)
{
	uint64_t count = frame->type == WIRE_ZERO ? frame->count : frame->length;

	if (!count || count > WIRE_CHUNK - frame->offset % WIRE_CHUNK)
		return refuse(index, "memory that is not of one chunk", err);
	if (link_channel_of(frame->block, frame->offset, intake->link->n) != index)
		return refuse(index, "memory that belongs on another channel", err);
	return 0;
}

static int take_memory(struct intake *intake, unsigned int index,
		       const struct wire_frame *frame, const void *payload,
		       struct error *err)
{
	struct intake_lane *lane = &intake->lanes[index];
	int ret;

	pthread_mutex_lock(&lane->lock);
	if (intake->closed) {
		ret = refuse(index, "memory after the handover", err);
	} else {
		lane->busy = true;
		ret = receiver_apply(intake->receiver, frame, payload, err);
	}
	pthread_mutex_unlock(&lane->lock);
	return ret;
}

/* The last channel that passes it says so. */
static int take_barrier(struct intake *intake, unsigned int index,
			uint64_t number, struct error *err)
{
	struct wire_frame frame = { .type = WIRE_BARRIER_DONE, .offset = number };
	struct intake_lane *lane = &intake->lanes[index];
	bool expected, last = false;

	pthread_mutex_lock(&intake->lock);
	expected = number == intake->barrier + 1 && lane->passed == intake->barrier;
	if (expected) {
		pthread_mutex_lock(&lane->lock);
		lane->passed = number;
		lane->busy = false;
		pthread_mutex_unlock(&lane->lock);
		last = ++intake->waiting == intake->link->n;
	}
	if (last) {
		intake->barrier = number;
		intake->waiting = 0;
	}
	pthread_mutex_unlock(&intake->lock);
	if (!expected)
		return refuse(index, "a barrier that is not the next", err);
	return last ? channel_send(intake->link->control, &frame, NULL, err) : 0;
}

static int take_frame(struct intake *intake, unsigned int index,
		      struct channel *channel, uint8_t *payload,
		      struct error *err)
{
	struct wire_frame frame;

	if (channel_receive_header(channel, &frame, err))
		return -1;
	switch (frame.type) {
	case WIRE_PAGES:
	case WIRE_ZERO:
		if (check_place(intake, index, &frame, err) ||
		    channel_receive_payload(channel, &frame, payload, err))
			return -1;
		return take_memory(intake, index, &frame, payload, err);
	case WIRE_BARRIER:
		if (channel_receive_payload(channel, &frame, payload, err))
			return -1;
		return take_barrier(intake, index, frame.offset, err);
	default:
		return refuse(index, "a frame of the control channel", err);
	}
}

/* After the handover the source goes when it likes. */
static bool is_closed(struct intake *intake, unsigned int index)
{
	bool closed;

	pthread_mutex_lock(&intake->lanes[index].lock);
	closed = intake->closed;
	pthread_mutex_unlock(&intake->lanes[index].lock);
	return closed;
}

int intake_serve(void *data, unsigned int index, struct channel *channel,
		 struct error *err)
{
	struct intake *intake = data;
	uint8_t *payload;
	int ret;

	payload = aligned_alloc(WIRE_PAGE_SIZE, WIRE_CHUNK);
	if (!payload)
		return error_set(err, EXIT_FAILED, "out of memory");
	do {
		ret = take_frame(intake, index, channel, payload, err);
	} while (!ret);
	free(payload);
	return is_closed(intake, index) && err->code == EXIT_PEER ? 0 : ret;
}

/* All of the lanes' locks are held, so that no frame is half applied. */
static int check_rest(const struct intake *intake, struct error *err)
{
	unsigned int i;

	for (i = 0; i < intake->link->n; i++) {
		if (intake->lanes[i].busy || !intake->lanes[i].passed ||
		    intake->lanes[i].passed != intake->lanes[0].passed)
			return refuse(i, "not all of its memory has come yet", err);
	}
	return 0;
}

static int lock_and_check(struct intake *intake, bool close, struct error *err)
{
	unsigned int i;
	int ret;

	for (i = 0; i < intake->link->n; i++)
		pthread_mutex_lock(&intake->lanes[i].lock);
	ret = check_rest(intake, err);
	if (!ret && close)
		intake->closed = true;
	for (i = 0; i < intake->link->n; i++)
		pthread_mutex_unlock(&intake->lanes[i].lock);
	return ret;
}

/**
 * intake_rests() - has all memory come that was sent?
 * @intake: all its channels have joined
 * @err: why not
 *
 * Return: 0, or -1 if not.
 */
int intake_rests(struct intake *intake, struct error *err)
{
	return lock_and_check(intake, false, err);
}

/**
 * intake_close() - the memory is somebody else's
 * @intake: all its channels have joined
 * @err: why it can't be yet
 *
 * From here on a frame of memory is refused.
 *
 * Return: 0 or -1.
 */
int intake_close(struct intake *intake, struct error *err)
{
	return lock_and_check(intake, true, err);
}
