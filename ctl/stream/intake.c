// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>

#include "stream/intake.h"

/**
 * intake_open() - get ready for data channels
 * @intake: filled
 * @link: theirs
 * @receiver: opened
 * @codec: frames may be compressed with this one
 */
void intake_open(struct intake *intake, struct link *link,
		 struct receiver *receiver, enum codec codec)
{
	unsigned int i;

	*intake = (struct intake) {
		.link = link,
		.receiver = receiver,
		.codec = codec,
	};
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

/* Bytes of memory that a frame is of. */
static uint64_t memory_of(const struct wire_frame *frame)
{
	return frame->type == WIRE_PAGES ? frame->length : frame->count;
}

/* Does this frame belong on this channel? See stream/link.h. */
static int check_place(const struct intake *intake, unsigned int index,
		       const struct wire_frame *frame, struct error *err)
{
	uint64_t count = memory_of(frame);

	if (!count || count % WIRE_PAGE_SIZE || count > WIRE_CHUNK - frame->offset % WIRE_CHUNK)
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
		ret = intake->ops ? intake->ops->place(intake->data, frame, payload, err) :
		      receiver_apply(intake->receiver, frame, payload, err);
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
	const struct intake_ops *ops = NULL;
	bool expected, last = false;
	void *data = NULL;

	pthread_mutex_lock(&intake->lock);
	expected = number == intake->barrier + 1 && lane->passed == intake->barrier;
	if (expected) {
		pthread_mutex_lock(&lane->lock);
		lane->passed = number;
		lane->busy = false;
		ops = intake->ops;
		data = intake->data;
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
	if (last && ops && ops->settle(data, err))
		return -1;
	return last ? channel_send(intake->link->control, &frame, NULL, err) : 0;
}

/* Plain pages again, in the decompressor's buffer. */
static int take_compressed(struct intake *intake, unsigned int index,
			   struct wire_frame *frame, const void *payload,
			   struct decompressor *d, struct error *err)
{
	if (frame->type != codec_type(intake->codec))
		return refuse(index, "a compression that was not agreed on", err);
	if (decompressor_run(d, payload, frame->length, frame->count))
		return refuse(index, "compressed memory that is none", err);
	frame->type = WIRE_PAGES;
	frame->length = (uint32_t)frame->count;
	return take_memory(intake, index, frame, d->buffer, err);
}

/* What a thread takes its frames with; @silent: no more of them come. */
struct intake_tools {
	struct channel *channel;
	struct decompressor decompressor;
	uint8_t *payload;
	bool silent;
};

static int take_frame(struct intake *intake, unsigned int index,
		      struct intake_tools *tools, struct error *err)
{
	struct wire_frame frame;
	bool memory;

	tools->silent = channel_receive_header(tools->channel, &frame, err);
	if (tools->silent)
		return -1;
	memory = frame.type >= WIRE_PAGES && frame.type <= WIRE_ZERO;
	if (!memory && frame.type != WIRE_BARRIER)
		return refuse(index, "a frame of the control channel", err);
	/* What it brings has room in a chunk, and what it says is true. */
	if (channel_receive_payload(tools->channel, &frame, tools->payload, err) ||
	    (memory && check_place(intake, index, &frame, err)))
		return -1;
	__atomic_fetch_add(&intake->bytes, WIRE_HEADER_SIZE + frame.length,
			   __ATOMIC_RELAXED);
	if (!memory)
		return take_barrier(intake, index, frame.offset, err);
	if (frame.type == WIRE_PAGES || frame.type == WIRE_ZERO)
		return take_memory(intake, index, &frame, tools->payload, err);
	return take_compressed(intake, index, &frame, tools->payload,
			       &tools->decompressor, err);
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
	struct intake_tools tools = { .channel = channel };
	struct intake *intake = data;
	int ret;

	tools.payload = aligned_alloc(WIRE_PAGE_SIZE, WIRE_CHUNK);
	if (tools.payload)
		ret = decompressor_open(&tools.decompressor, intake->codec, err);
	else
		ret = error_set(err, EXIT_FAILED, "out of memory");
	while (!ret)
		ret = take_frame(intake, index, &tools, err);
	decompressor_close(&tools.decompressor);
	free(tools.payload);
	return tools.silent && is_closed(intake, index) ? 0 : ret;
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

static void lock_all(struct intake *intake)
{
	unsigned int i;

	for (i = 0; i < intake->link->n; i++)
		pthread_mutex_lock(&intake->lanes[i].lock);
}

static void unlock_all(struct intake *intake)
{
	unsigned int i;

	for (i = 0; i < intake->link->n; i++)
		pthread_mutex_unlock(&intake->lanes[i].lock);
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
	int ret;

	lock_all(intake);
	ret = check_rest(intake, err);
	unlock_all(intake);
	return ret;
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
	int ret;

	lock_all(intake);
	ret = check_rest(intake, err);
	intake->closed = !ret;
	unlock_all(intake);
	return ret;
}

void intake_divert(struct intake *intake, const struct intake_ops *ops, void *data)
{
	intake->ops = ops;
	intake->data = data;
}

/**
 * intake_redirect() - somebody else takes the memory that comes from now on
 * @intake: all its channels have joined
 * @ops: see there
 * @data: for them
 * @err: why it can't be yet
 *
 * Return: 0 or -1.
 */
int intake_redirect(struct intake *intake, const struct intake_ops *ops, void *data,
		    struct error *err)
{
	int ret;

	lock_all(intake);
	ret = check_rest(intake, err);
	if (!ret)
		intake_divert(intake, ops, data);
	unlock_all(intake);
	return ret;
}
