/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the source's connections come in, and those of strangers. Until it has said
 * who it is, a connection has 10 s, 64 KiB and a place among 16; it ends nothing.
 */
#ifndef MIGCTL_DOOR_H
#define MIGCTL_DOOR_H

#include <stddef.h>
#include <stdint.h>

#include "stream/channel.h"

#define DOOR_VISITORS		16
#define DOOR_TIMEOUT_NS		(10 * 1000000000ull)
#define DOOR_MAX_BYTES		(64u << 10)
/* What of that a first frame can be, so that certificates have room, too. */
#define DOOR_MAX_FRAME		(40u << 10)

/**
 * struct visitor - a connection that has not said yet who it is
 * @channel: it
 * @from: its address
 * @since: when it came, CLOCK_MONOTONIC in ns
 * @secure: TLS is there, or is not wanted
 * @refused: it is, and is closed when it has read that
 * @events: what it waits for
 * @got: bytes of @frame
 * @bytes: its first frame
 */
struct visitor {
	struct channel channel;
	struct sockaddr_storage from;
	uint64_t since;
	bool secure;
	bool refused;
	short events;
	size_t got;
	uint8_t bytes[WIRE_HEADER_SIZE + DOOR_MAX_FRAME];
};

/**
 * struct door_ops - what the owner of a door does
 * @check: is this first frame of a connection what is waited for? @payload has a
 *	0 after it. -1 with the reason: it is refused
 * @check_data: for it
 * @refused: a visitor is; tells it, and the user. @channel is NULL if there is none
 * @refused_data: for it
 */
struct door_ops {
	int (*check)(void *data, struct channel *channel,
		     const struct wire_frame *frame, const char *payload,
		     struct error *err);
	void *check_data;
	void (*refused)(void *data, struct channel *channel, const struct error *err);
	void *refused_data;
};

/**
 * struct door - listens
 * @fd: the listening socket
 * @security: what connections are allowed
 * @ops: see there
 * @timeout_ns: DOOR_TIMEOUT_NS
 * @until: door_wait() fails then, CLOCK_MONOTONIC in ns; 0: it waits
 * @visitors: room for DOOR_VISITORS
 * @n: how many there are
 */
struct door {
	int fd;
	const struct security *security;
	struct door_ops ops;
	uint64_t timeout_ns;
	uint64_t until;
	struct visitor **visitors;
	size_t n;
};

/* To be closed also after a failure. @security stays the caller's. */
int door_open(struct door *door, const char *address,
	      const struct security *security, const struct door_ops *ops,
	      struct error *err);
/*
 * Wait until a connection has said what ops->check likes: @channel is it, and
 * @payload, with room for DOOR_MAX_FRAME bytes and a 0, what it said. Ends when
 * @interrupt, a descriptor or -1, is readable.
 */
int door_wait(struct door *door, struct channel *channel, struct wire_frame *frame,
	      char *payload, int interrupt, struct error *err);
void door_close(struct door *door);

#endif /* MIGCTL_DOOR_H */
