// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The receiver's data channels. They come through the door that the control
 * channel came through; one that does not know the migration's id, or is not the
 * control channel's peer, is sent away and ends nothing.
 */
#include <gnutls/gnutls.h>
#include <string.h>

#include "common/clock.h"
#include "stream/link.h"

/* Is it the source's, made by who made the control channel? */
static int check_join(void *data, struct channel *channel,
		      const struct wire_frame *frame, const char *payload,
		      struct error *err)
{
	struct link *link = data;
	uint8_t tie[WIRE_TIE_SIZE];

	if (frame->type != WIRE_JOIN)
		return error_set(err, EXIT_PEER, "%s: a migration goes on here already",
				 channel->peer);
	if (gnutls_memcmp(payload, link->id, WIRE_ID_SIZE))
		return error_set(err, EXIT_PEER, "%s: not of this migration",
				 channel->peer);
	if (channel_same_peer(link->control, channel, err) ||
	    link_tie(link, channel, frame->block, tie, err))
		return -1;
	if (!gnutls_memcmp(payload + WIRE_ID_SIZE, tie, sizeof(tie)))
		return 0;
	return error_set(err, EXIT_PERMISSION, "%s: not made by who made the control channel",
			 channel->peer);
}

static void *serve_thread(void *data)
{
	struct link_server *server = data;
	struct link *link = server->link;
	struct error err;

	if (link->ops.serve(link->ops.data, server->index,
			    link->channels[server->index], &err))
		link_fail(link, &err);
	return NULL;
}

/*
 * It knows the id, so it is the source: what is wrong now is an error. 1 if the
 * link has ended meanwhile.
 */
static int let_in(struct link *link, struct channel *channel, unsigned int index,
		  struct error *err)
{
	int ret = 0;

	pthread_mutex_lock(&link->lock);
	if (link->stopped) {
		ret = 1;
	} else if (index >= link_channels(link)) {
		ret = error_set(err, EXIT_PEER,
				"data channel %u joins where there are %u",
				index, link_channels(link));
	} else if (link->channels[index]) {
		ret = error_set(err, EXIT_PEER,
				"data channel %u joins a second time", index);
	} else {
		channel_move(&link->own[index], channel);
		link_label(link, &link->own[index], index);
		link->channels[index] = &link->own[index];
		link->joined++;
	}
	pthread_mutex_unlock(&link->lock);
	if (ret)
		channel_close(channel);
	return ret;
}

static int serve(struct link *link, unsigned int index, struct error *err)
{
	struct link_server *server = &link->servers[index];
	int ret;

	server->link = link;
	server->index = index;
	ret = pthread_create(&server->thread, NULL, serve_thread, server);
	if (ret)
		return error_set(err, EXIT_FAILED, "can't make a thread: %s",
				 strerror(ret));
	server->running = true;
	return 0;
}

static int some_missing(const struct link *link, struct error *err)
{
	struct error why = *err;

	return error_set(err, why.code, "%u of %u data channels have joined: %.900s",
			 link->joined, link_channels(link), why.message);
}

/* One that was let in; 1 if there can be no more. */
static int greet(struct link *link, char *payload, struct error *err)
{
	struct wire_frame frame;
	struct channel channel;
	bool stopped;
	int ret;

	if (door_wait(link->door, &channel, &frame, payload, link->wake, err)) {
		pthread_mutex_lock(&link->lock);
		stopped = link->stopped;
		pthread_mutex_unlock(&link->lock);
		return stopped ? 1 : some_missing(link, err);
	}
	ret = let_in(link, &channel, frame.block, err);
	if (ret || frame.block >= link->n)
		return ret;
	return serve(link, frame.block, err);
}

static int greet_all(struct link *link, struct error *err)
{
	struct wire_frame frame = { .type = WIRE_JOINED };
	char payload[DOOR_MAX_FRAME + 1];
	int ret;

	while (link->joined < link_channels(link)) {
		ret = greet(link, payload, err);
		if (ret)
			return ret > 0 ? 0 : -1;
	}
	/* Nobody else is waited for: the name is free; but after a loss who had it comes back. */
	if (!link->urgent)
		door_close(link->door);
	return channel_send(link->control, &frame, NULL, err);
}

static void *greeter_thread(void *data)
{
	struct link *link = data;
	struct error err;

	if (greet_all(link, &err))
		link_fail(link, &err);
	return NULL;
}

/**
 * link_listen() - let the data channels in
 * @link: opened, with ops->serve
 * @door: where the control channel came from, too; open until link_close(), and
 *	the link's until then
 * @err: why it failed
 *
 * Returns at once. Connections that do not know the id are sent away. When all
 * data channels have joined, WIRE_JOINED is sent on the control channel; if they
 * do not within its time for that, or the source makes a mistake, the link
 * fails.
 *
 * Return: 0 or -1.
 */
int link_listen(struct link *link, struct door *door, struct error *err)
{
	int ret;

	door->ops.check = check_join;
	door->ops.check_data = link;
	door->until = now_ns() + link->join_timeout_ns;
	link->door = door;
	ret = pthread_create(&link->greeter, NULL, greeter_thread, link);
	if (ret)
		return error_set(err, EXIT_FAILED, "can't make a thread: %s",
				 strerror(ret));
	link->greeting = true;
	return 0;
}
