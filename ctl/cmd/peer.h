/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the destination says, taken in by a thread. */
#ifndef MIGCTL_PEER_H
#define MIGCTL_PEER_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "stream/channel.h"
#include "stream/link.h"
#include "stream/relay.h"
#include "stream/sender.h"

enum peer_news {
	PEER_ACCEPTED,		/* the description */
	PEER_JOINED,		/* all data channels are there */
	PEER_BARRIER,		/* the barrier that was asked for is passed */
	PEER_LOADED,		/* the VMM's own stream */
	PEER_RUNNING,		/* the guest */
	PEER_ANSWERED,		/* what became of the guest: it runs, or never did */
	PEER_HASHES,		/* those that were asked for */
	PEER_READY,		/* whoever touches what is missing waits for it */
};

/**
 * struct peer - the destination
 * @channel: to it
 * @relay: takes the VMM's stream
 * @link: the data channels to it, NULL until there are any
 * @thread: receives
 * @started: @thread is there
 * @lock: guards what follows
 * @changed: something of it did
 * @accept: what it accepted, NULL before
 * @joined: it has all data channels
 * @barrier: number of the last barrier that it passed
 * @wanted: number of the last one that was sent
 * @loaded: its VMM has loaded the stream
 * @running: its guest runs
 * @never: it never did, and can't any more: @err says why
 * @ready: what is missing there is asked for
 * @sender: takes what it says that it has, while PEER_READY is waited for
 * @hashes: that it sent, room for WIRE_MAX_PAYLOAD bytes
 * @n_hashes: how many
 * @failed: @err says why
 * @said: it has: by its own word, and not because a connection was lost
 * @explained: it said why it failed, or refused
 * @called_off: we have, before it failed
 * @err: see there
 */
struct peer {
	struct channel *channel;
	struct relay *relay;
	struct link *link;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	json_t *accept;
	bool joined;
	uint64_t barrier;
	uint64_t wanted;
	bool loaded;
	bool running;
	bool never;
	bool ready;
	struct sender *sender;
	uint64_t *hashes;
	size_t n_hashes;
	bool failed;
	bool said;
	bool explained;
	bool called_off;
	struct error err;
};

int peer_start(struct peer *peer, struct channel *channel, struct relay *relay,
	       struct error *err);
/* It is about to be told so. */
void peer_call_off(struct peer *peer);
void peer_end(struct peer *peer);

/* Send a barrier; peer_wait(PEER_BARRIER) waits until it is passed. */
int peer_barrier(struct peer *peer, struct sender *sender, struct error *err);
/* Ask for hashes of @bytes bytes; peer_wait(PEER_HASHES) waits for them. */
int peer_ask_hashes(struct peer *peer, uint32_t block, uint64_t offset,
		    uint64_t bytes, struct error *err);

/*
 * Wait for news, or until the peer or a data channel fails, the time is over, or @interrupt (a
 * descriptor, -1 for none) is readable: EXIT_CANCELLED.
 */
int peer_wait(struct peer *peer, enum peer_news news, uint64_t timeout_ns,
	      int interrupt, struct error *err);
/* The same for at most @ns; whether it has come, or failed, is for who looks next. */
void peer_pause(struct peer *peer, enum peer_news news, uint64_t ns);
/* Has it failed meanwhile, or a data channel to it? -1 with the reason. */
int peer_check(struct peer *peer, struct error *err);
/*
 * A connection that broke says less than what the peer said before it ended it:
 * if that comes within a while, it replaces @err.
 */
void peer_explain(struct peer *peer, struct error *err);

#endif /* MIGCTL_PEER_H */
