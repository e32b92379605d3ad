// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "stream/door.h"

/* How long who is refused may take to read that. */
#define LINGER_NS	NS_PER_S
/* Pause when this process can't take connections at all. */
#define EXHAUSTED_US	100000

int door_open(struct door *door, const char *address,
	      const struct security *security, const struct door_ops *ops,
	      struct error *err)
{
	size_t i;

	*door = (struct door){
		.fd = -1, .security = security, .ops = *ops,
		.timeout_ns = DOOR_TIMEOUT_NS,
	};
	/* All that strangers can ever have, so that they can't ask for more. */
	door->visitors = calloc(DOOR_VISITORS, sizeof(*door->visitors));
	for (i = 0; door->visitors && i < DOOR_VISITORS; i++) {
		door->visitors[i] = calloc(1, sizeof(**door->visitors));
		if (!door->visitors[i])
			break;
	}
	if (i < DOOR_VISITORS)
		return error_set(err, EXIT_FAILED, "out of memory");
	return channel_listen(&door->fd, address, security, err);
}

/* Its place is the first that is free. */
static void visitor_remove(struct door *door, size_t index)
{
	struct visitor *gone = door->visitors[index];

	door->n--;
	door->visitors[index] = door->visitors[door->n];
	door->visitors[door->n] = gone;
	channel_close(&gone->channel);
}

void door_close(struct door *door)
{
	size_t i;

	while (door->n)
		visitor_remove(door, door->n - 1);
	for (i = 0; door->visitors && i < DOOR_VISITORS; i++)
		free(door->visitors[i]);
	free(door->visitors);
	channel_unlisten(door->fd);
	*door = (struct door){ .fd = -1 };
}

/* It is told why, and has a while to read that before the connection is gone. */
static void visitor_refuse(struct door *door, struct visitor *visitor,
			   const struct error *why)
{
	door->ops.refused(door->ops.refused_data, &visitor->channel, why);
	tls_session_close(visitor->channel.tls, false);
	visitor->channel.tls = NULL;
	shutdown(visitor->channel.fd, SHUT_WR);
	visitor->refused = true;
	visitor->events = POLLIN;
	visitor->since = now_ns();
}

static bool same_host(const struct sockaddr_storage *a,
		      const struct sockaddr_storage *b)
{
	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET)
		return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
		       ((const struct sockaddr_in *)b)->sin_addr.s_addr;
	if (a->ss_family == AF_INET6)
		return !memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
			       &((const struct sockaddr_in6 *)b)->sin6_addr,
			       sizeof(struct in6_addr));
	return true;
}

static size_t visitors_of(const struct door *door, const struct visitor *visitor)
{
	size_t i, n = 0;

	for (i = 0; i < door->n; i++)
		n += same_host(&door->visitors[i]->from, &visitor->from);
	return n;
}

static uint64_t visitor_said(const struct visitor *visitor)
{
	return visitor->channel.tls ? visitor->channel.tls->received : visitor->got;
}

/* Who of two has to leave first? */
static bool less_welcome(const struct door *door, const struct visitor *a,
			 const struct visitor *b)
{
	size_t of_a = visitors_of(door, a), of_b = visitors_of(door, b);

	if (a->refused != b->refused)
		return a->refused;
	if (of_a != of_b)
		return of_a > of_b;
	if (!visitor_said(a) != !visitor_said(b))
		return !visitor_said(a);
	return a->since < b->since;
}

/*
 * The door is full: of the host with most connections, one that said nothing, and
 * of these the oldest, leaves. So who stalls goes before who comes.
 */
static void make_room(struct door *door)
{
	struct error why;
	size_t i, last = 0;

	for (i = 1; i < door->n; i++) {
		if (less_welcome(door, door->visitors[i], door->visitors[last]))
			last = i;
	}
	if (!door->visitors[last]->refused) {
		error_set(&why, EXIT_PEER, "%s: too many connections, and this one did not say who it is",
			  door->visitors[last]->channel.peer);
		door->ops.refused(door->ops.refused_data, &door->visitors[last]->channel, &why);
	}
	door->visitors[last]->channel.cut = true;
	visitor_remove(door, last);
}

/* One at a time, so that those who are in get on. */
static void let_in(struct door *door)
{
	struct visitor *visitor;
	struct error err;
	int ret;

	if (door->n == DOOR_VISITORS)
		make_room(door);
	visitor = door->visitors[door->n];
	ret = channel_accept(&visitor->channel, door->fd, &visitor->from, &err);
	if (!ret)
		return;
	if (ret < 0) {
		door->ops.refused(door->ops.refused_data, NULL, &err);
		/* Out of descriptors or memory: it may pass. */
		if (err.code != EXIT_PERMISSION)
			usleep(EXHAUSTED_US);
		return;
	}
	visitor->since = now_ns();
	visitor->refused = false;
	visitor->got = 0;
	memset(visitor->bytes, 0, WIRE_HEADER_SIZE);
	visitor->events = POLLIN;
	visitor->secure = !door->security->tls;
	door->n++;
	if (visitor->secure)
		return;
	if (tls_session_open(&visitor->channel.tls, door->security->tls,
			     visitor->channel.fd, true, &err)) {
		visitor_refuse(door, visitor, &err);
		return;
	}
	visitor->channel.tls->limit = DOOR_MAX_BYTES;
}

/* 1 when its first frame is there, 0: not yet, -1. */
static int visitor_read(struct visitor *visitor, struct wire_frame *frame,
			struct error *err)
{
	size_t want = WIRE_HEADER_SIZE;
	ssize_t len;

	for (;;) {
		if (visitor->got >= WIRE_HEADER_SIZE) {
			if (wire_decode(visitor->bytes, frame))
				return channel_nonsense(&visitor->channel,
							visitor->bytes, err);
			if (frame->length > DOOR_MAX_FRAME)
				return error_set(err, EXIT_PEER, "%s: the first frame is too long",
						 visitor->channel.peer);
			want = WIRE_HEADER_SIZE + frame->length;
			if (visitor->got == want)
				return 1;
		}
		len = channel_receive_some(&visitor->channel,
					   visitor->bytes + visitor->got,
					   want - visitor->got, visitor->got, err);
		if (len <= 0)
			return (int)len;
		visitor->got += (size_t)len;
		if (!wire_begins(visitor->bytes, visitor->got))
			return channel_nonsense(&visitor->channel, visitor->bytes, err);
	}
}

static int visitor_secure(struct visitor *visitor, struct error *err)
{
	int ret = tls_handshake(visitor->channel.tls, &visitor->events);

	if (ret == -EAGAIN)
		return 0;
	if (ret == -EPROTO)
		return tls_explain(visitor->channel.tls, visitor->channel.peer, err);
	if (ret)
		return error_set(err, EXIT_PEER, "%s: the peer closed the connection before it said who it is",
				 visitor->channel.peer);
	visitor->secure = true;
	visitor->events = POLLIN;
	return 0;
}

/* 1 if this is who is waited for. */
static int visitor_serve(struct door *door, struct visitor *visitor,
			 struct wire_frame *frame, char *payload,
			 struct error *err)
{
	int ret;

	if (!visitor->secure && visitor_secure(visitor, err))
		return -1;
	if (!visitor->secure)
		return 0;
	ret = visitor_read(visitor, frame, err);
	if (ret <= 0)
		return ret;
	memcpy(payload, visitor->bytes + WIRE_HEADER_SIZE, frame->length);
	payload[frame->length] = '\0';
	if (channel_check(&visitor->channel, frame, payload, err) ||
	    door->ops.check(door->ops.check_data, &visitor->channel, frame, payload, err))
		return -1;
	if (visitor->channel.tls)
		visitor->channel.tls->limit = 0;
	return 1;
}

/* What it still says is of no interest; true when it can be closed. */
static bool visitor_gone(struct visitor *visitor)
{
	ssize_t len;

	len = recv(visitor->channel.fd, visitor->bytes, sizeof(visitor->bytes),
		   MSG_DONTWAIT);
	return !len || (len < 0 && errno != EAGAIN && errno != EINTR);
}

static void late_ones_leave(struct door *door)
{
	struct visitor *visitor;
	uint64_t now = now_ns();
	struct error why;
	size_t i;

	for (i = door->n; i-- > 0;) {
		visitor = door->visitors[i];
		if (visitor->refused) {
			if (now - visitor->since > LINGER_NS)
				visitor_remove(door, i);
		} else if (now - visitor->since > door->timeout_ns) {
			error_set(&why, EXIT_PEER, "%s: did not say who it is within %llu s",
				  visitor->channel.peer,
				  (unsigned long long)(door->timeout_ns / NS_PER_S));
			visitor_refuse(door, visitor, &why);
		}
	}
}

/* One that waits until it is ready; 1 if this is who is waited for. */
static int visitor_turn(struct door *door, size_t index, struct channel *channel,
			struct wire_frame *frame, char *payload)
{
	struct visitor *visitor = door->visitors[index];
	struct error why;
	int ret;

	if (visitor->refused) {
		if (visitor_gone(visitor))
			visitor_remove(door, index);
		return 0;
	}
	ret = visitor_serve(door, visitor, frame, payload, &why);
	if (ret < 0)
		visitor_refuse(door, visitor, &why);
	if (ret <= 0)
		return 0;
	channel_move(channel, &visitor->channel);
	visitor_remove(door, index);
	return 1;
}

/* Wait for something to happen; @pfd says to whom. */
static int wait_for_visitors(struct door *door, struct pollfd *pfd, int interrupt,
			     struct error *err)
{
	size_t i;

	pfd[0] = (struct pollfd){ .fd = door->fd, .events = POLLIN };
	pfd[1] = (struct pollfd){ .fd = interrupt, .events = POLLIN };
	for (i = 0; i < door->n; i++)
		pfd[2 + i] = (struct pollfd){
			.fd = door->visitors[i]->channel.fd,
			.events = door->visitors[i]->events,
		};
	if (poll(pfd, 2 + door->n, CHANNEL_POLL_MS) < 0) {
		if (errno != EINTR)
			return error_set(err, EXIT_FAILED, "poll: %s", strerror(errno));
		for (i = 0; i < 2 + door->n; i++)
			pfd[i].revents = 0;
	}
	if (door->until && now_ns() >= door->until)
		return error_set(err, EXIT_PEER, "the other connections of the source did not come in time");
	if (pfd[1].revents)
		return error_set(err, EXIT_CANCELLED, "stopped before a peer connected");
	return 0;
}

/**
 * door_wait() - wait for one of the source's connections
 * @door: open
 * @channel: filled
 * @frame: its first frame
 * @payload: and what that says
 * @interrupt: ends the wait when readable, or -1
 * @err: why it failed; never for what a visitor does
 *
 * Return: 0 or -1.
 */
int door_wait(struct door *door, struct channel *channel, struct wire_frame *frame,
	      char *payload, int interrupt, struct error *err)
{
	struct pollfd pfd[2 + DOOR_VISITORS];
	size_t i;

	for (;;) {
		if (wait_for_visitors(door, pfd, interrupt, err))
			return -1;
		/* From the last on: who is removed makes room for one that was served. */
		for (i = door->n; i-- > 0;) {
			if (pfd[2 + i].revents &&
			    visitor_turn(door, i, channel, frame, payload))
				return 0;
		}
		late_ones_leave(door);
		if (pfd[0].revents)
			let_in(door);
	}
}
