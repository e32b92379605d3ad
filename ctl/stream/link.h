/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connections of one migration: a control channel, data channels that memory
 * goes over, and, with post-copy, urgent channels for what the guest waits for: so
 * that is never behind other memory.
 *
 * Which data channel a page goes over is fixed: chunks of WIRE_CHUNK bytes go
 * round the channels. So the copies of one page are sent on one connection, in
 * the order in which the source took them, and one thread of the receiver writes
 * them in that order: the last copy that was taken is the last that is written,
 * whatever the other channels do meanwhile. As no frame crosses a chunk, the
 * receiver checks this for each frame; thus no two of its threads ever write the
 * same page or the same hash, even if the source lies.
 */
#ifndef MIGCTL_LINK_H
#define MIGCTL_LINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "stream/channel.h"
#include "stream/door.h"

/* For all channels. */
#define LINK_JOIN_TIMEOUT_NS	(10 * 1000000000ull)
#define LINK_MAX		(WIRE_MAX_CHANNELS + WIRE_MAX_URGENT)

struct link;

/**
 * struct link_ops - what the owner of a link does
 * @serve: receiver, in a thread of its own: takes all that comes on a data channel
 *	that has joined. 0 if it ended as it should, or -1
 * @failed: in any thread, once: the first failure. It ends what waits elsewhere
 * @data: for both
 */
struct link_ops {
	int (*serve)(void *data, unsigned int index, struct channel *channel,
		     struct error *err);
	void (*failed)(void *data, const struct error *err);
	void *data;
};

/**
 * struct link_server - the receiver's thread of a data channel
 * @link: whose
 * @index: of the channel
 * @thread: serves it
 * @running: @thread is there
 */
struct link_server {
	struct link *link;
	unsigned int index;
	pthread_t thread;
	bool running;
};

/**
 * struct link - the connections of a migration
 * @control: the control channel, the caller's
 * @ops: see there
 * @id: known to nobody but the two sides
 * @n: data channels
 * @urgent: urgent channels, whose numbers follow; set by the owner before any channel
 *	is made, 0 without post-copy. They have no thread here
 * @channels: all of these, NULL where one has not joined yet; on the receiver
 *	guarded by @lock
 * @own: these
 * @servers: the receiver's
 * @greeter: lets them in
 * @greeting: @greeter is there
 * @door: where they come in; the caller's
 * @join_timeout_ns: how long that may take
 * @wake: readable when @greeter shall end
 * @lock: guards what follows
 * @joined: how many channels have
 * @stopped: link_stop() was called
 * @broken: the first failure is in @err
 * @err: see there
 */
struct link {
	struct channel *control;
	struct link_ops ops;
	uint8_t id[WIRE_ID_SIZE];
	unsigned int n;
	unsigned int urgent;
	struct channel *channels[LINK_MAX];
	struct channel own[LINK_MAX];
	struct link_server servers[WIRE_MAX_CHANNELS];
	pthread_t greeter;
	bool greeting;
	struct door *door;
	uint64_t join_timeout_ns;
	int wake;
	pthread_mutex_t lock;
	unsigned int joined;
	bool stopped;
	bool broken;
	struct error err;
};

/* Draw a migration's id. */
int link_draw_id(uint8_t id[WIRE_ID_SIZE], struct error *err);
/* As 32 hexadecimal digits, and back: -EINVAL if they are none. */
void link_format_id(const uint8_t id[WIRE_ID_SIZE], char text[2 * WIRE_ID_SIZE + 1]);
int link_parse_id(const char *text, uint8_t id[WIRE_ID_SIZE]);

/* Which data channel of @n the page at @offset of a block goes over. */
static inline unsigned int link_channel_of(uint32_t block, uint64_t offset,
					   unsigned int n)
{
	return (unsigned int)((block + offset / WIRE_CHUNK) % n);
}

static inline unsigned int link_channels(const struct link *link)
{
	return link->n + link->urgent;
}

/* @ops may be NULL on the source. To be closed also after a failure. */
int link_open(struct link *link, struct channel *control, unsigned int n,
	      const uint8_t id[WIRE_ID_SIZE], const struct link_ops *ops,
	      struct error *err);
/* Source: make the channels and let them join. */
int link_connect(struct link *link, const char *address,
		 const struct security *security, struct error *err);
/* Receiver: let the channels in, in threads; WIRE_JOINED tells when all are. */
int link_listen(struct link *link, struct door *door, struct error *err);
/* Name it, for messages. */
void link_label(const struct link *link, struct channel *channel, unsigned int index);
/*
 * What channel @index has to say after the id; 0 without TLS. Only who has
 * made it and the control channel knows it.
 */
int link_tie(struct link *link, struct channel *channel, unsigned int index,
	     uint8_t tie[WIRE_TIE_SIZE], struct error *err);
/* The first failure of any of its threads: -1 with the reason. */
int link_check(struct link *link, struct error *err);
/* A thread has failed: the channels end, and ops->failed() is told. */
void link_fail(struct link *link, const struct error *err);
/* End all waiting on the channels, but for the control channel. */
void link_stop(struct link *link);
/* And wait for its threads. */
void link_end(struct link *link);
/* How long the peer may be silent on a channel; without TCP there is no such limit. */
void link_patience(struct link *link, unsigned int seconds);
/* Bytes sent on all channels, headers included. */
uint64_t link_sent(struct link *link);
void link_close(struct link *link);

#endif /* MIGCTL_LINK_H */
