// SPDX-License-Identifier: GPL-2.0-or-later
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/peer.h"
#include "cmd/reason.h"
#include "common/clock.h"

/* How long a signal can wait while we wait for the peer. */
#define INTERRUPT_NS	(20 * NS_PER_MS)
/* How long what a peer said before it ended the connection can take to arrive. */
#define EXPLAIN_NS	NS_PER_S

static void peer_fail(struct peer *peer, const struct error *err)
{
	if (!peer->failed)
		peer->err = *err;
	peer->failed = true;
}

static void peer_said(struct peer *peer, const char *text, const char *what)
{
	struct error err;

	reason_take(text, what, &err);
	peer_fail(peer, &err);
}

static void peer_received(struct peer *peer, const struct wire_frame *frame,
			  const char *payload)
{
	struct error err;

	if (!peer->sender)
		error_set(&err, EXIT_PEER, "the destination says what it has, and was not asked");
	else if (!sender_received(peer->sender, frame, payload, &err))
		return;
	peer_fail(peer, &err);
}

static void peer_take(struct peer *peer, const struct wire_frame *frame,
		      const char *payload)
{
	struct error err;

	switch (frame->type) {
	case WIRE_ACCEPT:
		/* Others look at it, without the lock. */
		if (peer->accept) {
			peer_said(peer, "", "the destination accepted twice");
			break;
		}
		peer->accept = json_loads(payload, 0, NULL);
		if (!peer->accept)
			peer_said(peer, "", "the destination accepted with rubbish");
		break;
	case WIRE_REFUSE:
		peer_said(peer, payload, "the destination refuses");
		peer->explained = true;
		break;
	case WIRE_FAILED:
		peer_said(peer, payload, "the destination failed");
		peer->said = peer->explained = true;
		break;
	case WIRE_JOINED:
		peer->joined = true;
		break;
	case WIRE_BARRIER_DONE:
		peer->barrier = frame->offset;
		break;
	case WIRE_LOADED:
		peer->loaded = true;
		break;
	case WIRE_RUNNING:
		peer->running = true;
		break;
	case WIRE_NEVER:
		peer->never = true;
		peer_said(peer, payload, "the destination could not run the guest");
		break;
	case WIRE_READY:
		peer->ready = true;
		peer->sender = NULL;
		break;
	case WIRE_RECEIVED:
		peer_received(peer, frame, payload);
		break;
	case WIRE_HASHES:
		memcpy(peer->hashes, payload, frame->length);
		peer->n_hashes = frame->length / sizeof(*peer->hashes);
		break;
	default:
		error_set(&err, EXIT_PEER,
			  "the destination sent a frame of type %s, which only a source sends",
			  wire_type_name(frame->type));
		peer_fail(peer, &err);
	}
}

/* Not under the lock: it waits for the VMM. */
static int peer_vmm_frame(struct peer *peer, const struct wire_frame *frame,
			  const char *payload, struct error *err)
{
	return relay_deliver(peer->relay,
			     frame->type == WIRE_VMM_DATA ? payload : NULL,
			     frame->length, err);
}

static void *peer_thread(void *data)
{
	struct peer *peer = data;
	struct wire_frame frame;
	struct error err;
	char *payload;
	bool vmm;
	int ret;

	payload = malloc(WIRE_MAX_PAYLOAD + 1);
	do {
		if (!payload)
			ret = error_set(&err, EXIT_FAILED, "out of memory");
		else
			ret = channel_receive(peer->channel, &frame, payload, &err);
		vmm = !ret && (frame.type == WIRE_VMM_DATA ||
			       frame.type == WIRE_VMM_END);
		/* A VMM that closed its end says why by itself; what is cut has no end. */
		if (vmm && peer_vmm_frame(peer, &frame, payload, &err))
			relay_break(peer->relay);

		pthread_mutex_lock(&peer->lock);
		if (ret)
			peer_fail(peer, &err);
		else if (!vmm)
			peer_take(peer, &frame, payload);
		pthread_cond_broadcast(&peer->changed);
		pthread_mutex_unlock(&peer->lock);
	} while (!ret);
	free(payload);
	return NULL;
}

/**
 * peer_start() - begin to take in what the destination says
 * @peer: filled; to be ended also after a failure
 * @channel: connected
 * @relay: takes the VMM's stream once it is open
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int peer_start(struct peer *peer, struct channel *channel, struct relay *relay,
	       struct error *err)
{
	pthread_condattr_t attr;
	int ret;

	*peer = (struct peer) { .channel = channel, .relay = relay };
	pthread_mutex_init(&peer->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&peer->changed, &attr);
	pthread_condattr_destroy(&attr);

	peer->hashes = malloc(WIRE_MAX_PAYLOAD);
	if (!peer->hashes)
		return error_set(err, EXIT_FAILED, "out of memory");
	ret = pthread_create(&peer->thread, NULL, peer_thread, peer);
	if (ret)
		return error_set(err, EXIT_FAILED, "can't make a thread: %s",
				 strerror(ret));
	peer->started = true;
	return 0;
}

void peer_end(struct peer *peer)
{
	if (!peer->channel)
		return;
	channel_stop(peer->channel);
	if (peer->started)
		pthread_join(peer->thread, NULL);
	json_decref(peer->accept);
	free(peer->hashes);
	pthread_cond_destroy(&peer->changed);
	pthread_mutex_destroy(&peer->lock);
	*peer = (struct peer){};
}

int peer_barrier(struct peer *peer, struct sender *sender, struct error *err)
{
	uint64_t number;

	pthread_mutex_lock(&peer->lock);
	number = ++peer->wanted;
	pthread_mutex_unlock(&peer->lock);
	return sender_barrier(sender, number, err);
}

int peer_ask_hashes(struct peer *peer, uint32_t block, uint64_t offset,
		    uint64_t bytes, struct error *err)
{
	struct wire_frame frame = {
		.type = WIRE_HASH,
		.block = block,
		.offset = offset,
		.count = bytes,
	};

	pthread_mutex_lock(&peer->lock);
	peer->n_hashes = 0;
	pthread_mutex_unlock(&peer->lock);
	return channel_send(peer->channel, &frame, NULL, err);
}

static bool peer_has(const struct peer *peer, enum peer_news news)
{
	switch (news) {
	case PEER_ACCEPTED:	return peer->accept;
	case PEER_JOINED:	return peer->joined;
	case PEER_BARRIER:	return peer->barrier == peer->wanted;
	case PEER_LOADED:	return peer->loaded;
	case PEER_RUNNING:	return peer->running;
	case PEER_ANSWERED:	return peer->running || peer->never;
	case PEER_HASHES:	return peer->n_hashes;
	case PEER_READY:	return peer->ready;
	}
	return false;
}

/* Under the lock. What the peer said is worth more than that a channel broke. */
static int failure(struct peer *peer, struct error *err)
{
	if (!peer->failed)
		return peer->link ? link_check(peer->link, err) : 0;
	*err = peer->err;
	return -1;
}

static bool interrupted(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	return fd >= 0 && poll(&pollfd, 1, 0) > 0;
}

int peer_wait(struct peer *peer, enum peer_news news, uint64_t timeout_ns,
	      int interrupt, struct error *err)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), end = now + timeout_ns, until;
	struct timespec ts;
	int ret = 0;

	pthread_mutex_lock(&peer->lock);
	while (!peer_has(peer, news)) {
		ret = -1;
		if (failure(peer, err))
			break;
		if (interrupted(interrupt)) {
			error_set(err, EXIT_CANCELLED, "cancelled");
			break;
		}
		now = clock_ns(CLOCK_MONOTONIC);
		if (now >= end) {
			error_set(err, EXIT_PEER,
				  "%s: no answer from the destination within %llu s",
				  peer->channel->peer,
				  (unsigned long long)(timeout_ns / NS_PER_S));
			break;
		}
		until = now + INTERRUPT_NS < end ? now + INTERRUPT_NS : end;
		ts = timespec_of(until);
		pthread_cond_timedwait(&peer->changed, &peer->lock, &ts);
		ret = 0;
	}
	pthread_mutex_unlock(&peer->lock);
	return ret;
}

void peer_pause(struct peer *peer, enum peer_news news, uint64_t ns)
{
	struct timespec ts = timespec_of(clock_ns(CLOCK_MONOTONIC) + ns);

	pthread_mutex_lock(&peer->lock);
	while (!peer_has(peer, news) && !peer->failed &&
	       !pthread_cond_timedwait(&peer->changed, &peer->lock, &ts))
		;
	pthread_mutex_unlock(&peer->lock);
}

void peer_explain(struct peer *peer, struct error *err)
{
	struct timespec ts = timespec_of(clock_ns(CLOCK_MONOTONIC) + EXPLAIN_NS);

	if (!peer->started)
		return;
	pthread_mutex_lock(&peer->lock);
	while (!peer->failed &&
	       !pthread_cond_timedwait(&peer->changed, &peer->lock, &ts))
		;
	/* That it has gone once it was told to is no reason. */
	if (peer->failed && (peer->explained || !peer->called_off))
		*err = peer->err;
	pthread_mutex_unlock(&peer->lock);
}

void peer_call_off(struct peer *peer)
{
	pthread_mutex_lock(&peer->lock);
	peer->called_off = !peer->failed;
	pthread_mutex_unlock(&peer->lock);
}

int peer_check(struct peer *peer, struct error *err)
{
	int ret;

	pthread_mutex_lock(&peer->lock);
	ret = failure(peer, err);
	pthread_mutex_unlock(&peer->lock);
	return ret;
}
