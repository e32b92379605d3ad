/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The migration data: a header, a payload of any size, a trailer with the
 * registers. The payload is made from the header's seed and its position, and
 * checked against them on arrival, so no size of it needs memory.
 */
#ifndef TESTDEV_STREAM_H
#define TESTDEV_STREAM_H

#include <linux/bits.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/module.h>
#include <linux/poll.h>

#include "testdev.h"

#define TESTDEV_STREAM_MAGIC	0x6d61657274736b74ULL
#define TESTDEV_STREAM_VERSION	1
#define TESTDEV_TRAILER_MAGIC	0x72656c6961727473ULL

/* How far up a size can be set, so that sums of them don't wrap. */
#define TESTDEV_SIZE_MAX	BIT_ULL(60)
#define TESTDEV_RATE_MAX	BIT_ULL(40)

struct testdev_header {
	u64 magic;
	u32 version;
	u32 length;		/* of the header */
	u64 seed;
	u64 check;		/* of what is before */
};

struct testdev_trailer {
	u64 magic;
	u64 payload;		/* how many bytes there were of it */
	u32 regs[TESTDEV_REGS];
	u64 check;		/* of what is before */
};

enum testdev_phase {
	TESTDEV_PRECOPY,
	TESTDEV_STOPCOPY,
	TESTDEV_LOAD,
	TESTDEV_ENDED,
};

/**
 * struct testdev_save - where a saving stream is
 * @header:	bytes of the header that are still to be read
 * @initial:	payload bytes that were there from the start, likewise
 * @dirty:	that became dirty since then, likewise
 * @stop:	that can be read only now that the device is stopped, likewise
 * @trailer:	bytes of the trailer, likewise
 * @aged:	until when @dirty is right
 * @reinit:	new initial bytes are there that nobody was told of
 */
struct testdev_save {
	u64 header;
	u64 initial;
	u64 dirty;
	u64 stop;
	u64 trailer;
	ktime_t aged;
	bool reinit;
};

/**
 * struct testdev_load - where a loading stream is
 * @header:	bytes of the header that have arrived
 * @tail:	bytes that may be the trailer
 * @wrong:	something was not as it has to be: no more is taken
 */
struct testdev_load {
	size_t header;
	size_t tail;
	bool wrong;
};

/**
 * struct testdev_stream - a data transfer session
 * @ref:	one for its file, one for testdev.stream
 * @dev:	with a reference
 * @lock:	guards the rest. Inside testdev.lock; held over copies from and to the
 *		user, as the order of bytes asks for it
 * @phase:	of the session; set with testdev.lock held too
 * @seed:	of the payload
 * @position:	how much of the payload is done with
 * @save:	if it saves
 * @load:	if it loads
 * @header:	to be sent, or received
 * @trailer:	likewise
 * @window:	of a loading stream: the last bytes that came, room for more
 * @chunk:	TESTDEV_CHUNK bytes of payload
 * @wait:	for poll
 * @wake:	looks for data that became dirty, for poll
 */
struct testdev_stream {
	struct kref ref;
	struct testdev *dev;
	struct mutex lock; /* see above */
	enum testdev_phase phase;
	u64 seed;
	u64 position;
	struct testdev_save save;
	struct testdev_load load;
	struct testdev_header header;
	struct testdev_trailer trailer;
	u8 *window;
	u8 *chunk;
	wait_queue_head_t wait;
	struct delayed_work wake;
};

/* stream.c */
u64 testdev_stream_check(const void *data, size_t len);

/* stream_save.c */
extern const struct file_operations testdev_save_fops;
void testdev_save_init(struct testdev_stream *stream);
void testdev_save_stop(struct testdev_stream *stream);
u64 testdev_save_size(struct testdev_stream *stream);
int testdev_save_reinit(struct testdev_stream *stream, u64 bytes);

/* stream_load.c */
extern const struct file_operations testdev_load_fops;
int testdev_load_finish(struct testdev_stream *stream);

/* for both */
int testdev_stream_release(struct inode *inode, struct file *file);

#endif
