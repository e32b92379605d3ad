// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The receiver's data channels. Whoever connects is a guest until it has said
 * the migration's id, in a thread of its own: one that says nothing, or
 * something else, keeps nobody waiting, and is sent away.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/units.h"
#include "stream/link.h"

#define GUESTS	(sizeof(((struct link *)NULL)->guests) / sizeof(struct link_guest))

/* How soon a place is found that a guest has left. */
#define CROWDED_MS	20

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* In the same time, wherever they differ. */
static bool id_is_equal(const uint8_t *a, const uint8_t *b)
{
	volatile uint8_t differ = 0;
	size_t i;

	for (i = 0; i < WIRE_ID_SIZE; i++)
		differ |= a[i] ^ b[i];
	return !differ;
}

/* A migctl migrate that comes too late is told so. */
static int turn_away(struct channel *channel, struct error *err)
{
	static const char text[] =
		"{\"message\":\"a migration goes on here already\",\"advice\":\"\"}";
	struct error ignored;

	channel_send_text(channel, WIRE_REFUSE, text, &ignored);
	return error_set(err, EXIT_PEER, "%s: not a data channel",
			 channel->peer);
}

/* Who is it? Nothing is taken but what a data channel says first. */
static int ask(struct link *link, struct channel *channel, unsigned int *index,
	       struct error *err)
{
	uint8_t id[WIRE_ID_SIZE];
	struct wire_frame frame;

	channel->deadline = now_ns() + LINK_JOIN_TIMEOUT_S * NS_PER_S;
	if (channel_receive_header(channel, &frame, err))
		return -1;
	if (frame.type != WIRE_JOIN)
		return turn_away(channel, err);
	if (channel_receive_payload(channel, &frame, id, err))
		return -1;
	if (!id_is_equal(id, link->id))
		return error_set(err, EXIT_PEER, "%s: not of this migration",
				 channel->peer);
	channel->deadline = 0;
	link_label(channel, frame.block);
	*index = frame.block;
	return 0;
}

/*
 * It knows the id, so it is the source: what is wrong now is an error. 1 if the
 * link has ended meanwhile.
 */
static int let_in(struct link_guest *guest, unsigned int index, bool *all,
		  struct error *err)
{
	struct link *link = guest->link;
	int ret = 0;

	pthread_mutex_lock(&link->lock);
	if (link->stopped) {
		ret = 1;
	} else if (index >= link->n) {
		ret = error_set(err, EXIT_PEER,
				"data channel %u joins where there are %u",
				index, link->n);
	} else if (link->channels[index]) {
		ret = error_set(err, EXIT_PEER,
				"data channel %u joins a second time", index);
	} else {
		link->channels[index] = &guest->channel;
		guest->state = GUEST_JOINED;
		link->joined++;
	}
	*all = !ret && link->joined == link->n;
	pthread_mutex_unlock(&link->lock);
	return ret;
}

static int say_joined(struct link *link, struct error *err)
{
	struct wire_frame frame = { .type = WIRE_JOINED };

	channel_hide(link->listen_fd);
	return channel_send(link->control, &frame, NULL, err);
}

/* 1: it was none of ours. */
static int serve_guest(struct link_guest *guest, struct error *err)
{
	struct link *link = guest->link;
	unsigned int index = 0;
	bool all;
	int ret;

	if (ask(link, &guest->channel, &index, err))
		return 1;
	ret = let_in(guest, index, &all, err);
	if (ret)
		return ret;
	if (all && say_joined(link, err))
		return -1;
	return link->ops.serve(link->ops.data, index, &guest->channel, err);
}

static void *guest_thread(void *data)
{
	struct link_guest *guest = data;
	struct link *link = guest->link;
	struct error err;
	int ret;

	ret = serve_guest(guest, &err);
	if (ret < 0)
		link_fail(link, &err);
	pthread_mutex_lock(&link->lock);
	if (guest->state == GUEST_ASKED)
		guest->state = GUEST_GONE;
	pthread_mutex_unlock(&link->lock);
	/* It shall know at once; the place is cleaned up later. */
	if (ret > 0)
		shutdown(guest->channel.fd, SHUT_RDWR);
	return NULL;
}

/* A place for one more, or NULL. Only the door makes and cleans up places. */
static struct link_guest *find_place(struct link *link)
{
	struct link_guest *guest, *place = NULL;
	unsigned int asked = 0;
	bool gone;
	size_t i;

	for (i = 0; i < GUESTS; i++) {
		guest = &link->guests[i];
		pthread_mutex_lock(&link->lock);
		gone = guest->state == GUEST_GONE;
		asked += guest->state == GUEST_ASKED;
		pthread_mutex_unlock(&link->lock);
		if (gone) {
			pthread_join(guest->thread, NULL);
			channel_close(&guest->channel);
			guest->state = GUEST_NONE;
		}
		if (guest->state == GUEST_NONE)
			place = guest;
	}
	return asked < LINK_MAX_GUESTS ? place : NULL;
}

/* Take one in, if one is there after all. Others that can't be are their own fault. */
static int take_guest(struct link *link, struct link_guest *guest,
		      struct error *err)
{
	struct error ignored;
	int ret;

	if (channel_accept(&guest->channel, link->listen_fd, link->wake, &ignored))
		return 0;
	guest->link = link;
	pthread_mutex_lock(&link->lock);
	guest->state = GUEST_ASKED;
	if (link->stopped)
		channel_stop(&guest->channel);
	pthread_mutex_unlock(&link->lock);
	ret = pthread_create(&guest->thread, NULL, guest_thread, guest);
	if (!ret)
		return 0;
	guest->state = GUEST_NONE;
	channel_close(&guest->channel);
	return error_set(err, EXIT_FAILED, "can't make a thread: %s",
			 strerror(ret));
}

/* All have joined, or the link has ended. */
static bool door_closed(struct link *link, unsigned int *joined)
{
	bool closed;

	pthread_mutex_lock(&link->lock);
	*joined = link->joined;
	closed = link->stopped || link->joined == link->n;
	pthread_mutex_unlock(&link->lock);
	return closed;
}

static int keep_door(struct link *link, struct error *err)
{
	uint64_t end = now_ns() + LINK_JOIN_TIMEOUT_S * NS_PER_S;
	struct pollfd pfd[] = {
		{ .fd = link->wake, .events = POLLIN },
		{ .fd = link->listen_fd, .events = POLLIN },
	};
	struct link_guest *place;
	unsigned int joined;

	while (!door_closed(link, &joined)) {
		if (now_ns() >= end)
			return error_set(err, EXIT_PEER,
					 "%u of %u data channels have joined within %u s",
					 joined, link->n, LINK_JOIN_TIMEOUT_S);
		place = find_place(link);
		if (poll(pfd, place ? 2 : 1, CROWDED_MS) > 0 && place &&
		    pfd[1].revents && take_guest(link, place, err))
			return -1;
	}
	return 0;
}

static void *door_thread(void *data)
{
	struct link *link = data;
	struct error err;

	if (keep_door(link, &err))
		link_fail(link, &err);
	return NULL;
}

/**
 * link_listen() - let the data channels in
 * @link: opened, with ops->serve
 * @listen_fd: where the control channel came from, too; the caller's, and open
 *	until link_close()
 * @err: why it failed
 *
 * Returns at once. Connections that do not know the id are sent away. When all
 * data channels have joined, WIRE_JOINED is sent on the control channel; if they
 * do not within LINK_JOIN_TIMEOUT_S, or the source makes a mistake, the link
 * fails.
 *
 * Return: 0 or -1.
 */
int link_listen(struct link *link, int listen_fd, struct error *err)
{
	int ret;

	link->listen_fd = listen_fd;
	ret = pthread_create(&link->door, NULL, door_thread, link);
	if (ret)
		return error_set(err, EXIT_FAILED, "can't make a thread: %s",
				 strerror(ret));
	link->listening = true;
	return 0;
}
