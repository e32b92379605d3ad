// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "stream/address.h"
#include "stream/link.h"

/**
 * link_draw_id() - draw a migration's id
 * @id: filled: nobody can guess it
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int link_draw_id(uint8_t id[WIRE_ID_SIZE], struct error *err)
{
	ssize_t n;

	do {
		n = getrandom(id, WIRE_ID_SIZE, 0);
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)WIRE_ID_SIZE)
		return 0;
	return error_set(err, EXIT_FAILED, "getrandom: %s", strerror(errno));
}

void link_format_id(const uint8_t id[WIRE_ID_SIZE], char text[2 * WIRE_ID_SIZE + 1])
{
	size_t i;

	for (i = 0; i < WIRE_ID_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int link_parse_id(const char *text, uint8_t id[WIRE_ID_SIZE])
{
	int high, low;
	size_t i;

	if (!text || strlen(text) != 2 * WIRE_ID_SIZE)
		return -EINVAL;
	for (i = 0; i < WIRE_ID_SIZE; i++) {
		high = digit(text[2 * i]);
		low = digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return -EINVAL;
		id[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

void link_label(const struct link *link, struct channel *channel, unsigned int index)
{
	if (index < link->n)
		snprintf(channel->label, sizeof(channel->label), "data channel %u", index);
	else
		snprintf(channel->label, sizeof(channel->label), "urgent channel %u",
			 index - link->n);
}

/**
 * link_open() - make the link, without data channels yet
 * @link: filled
 * @control: connected; the caller's
 * @n: how many data channels there will be
 * @id: of the migration
 * @ops: copied; NULL: none
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int link_open(struct link *link, struct channel *control, unsigned int n,
	      const uint8_t id[WIRE_ID_SIZE], const struct link_ops *ops,
	      struct error *err)
{
	*link = (struct link) {
		.control = control,
		.n = n,
		.join_timeout_ns = LINK_JOIN_TIMEOUT_NS,
	};
	if (ops)
		link->ops = *ops;
	memcpy(link->id, id, WIRE_ID_SIZE);
	pthread_mutex_init(&link->lock, NULL);
	link->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (link->wake < 0)
		return error_set(err, EXIT_FAILED, "eventfd: %s",
				 strerror(errno));
	return 0;
}

int link_tie(struct link *link, struct channel *channel, unsigned int index,
	     uint8_t tie[WIRE_TIE_SIZE], struct error *err)
{
	uint8_t said[WIRE_ID_SIZE + sizeof(uint32_t)];
	uint32_t number = htole32(index);

	memset(tie, 0, WIRE_TIE_SIZE);
	if (!link->control->tls || !channel->tls)
		return 0;
	memcpy(said, link->id, WIRE_ID_SIZE);
	memcpy(said + WIRE_ID_SIZE, &number, sizeof(number));
	return tls_tie(link->control->tls, channel->tls, said, sizeof(said), tie,
		       err);
}

static int join(struct link *link, struct channel *channel, struct error *err)
{
	struct wire_frame frame = {
		.type = WIRE_JOIN, .length = WIRE_JOIN_SIZE, .block = link->joined,
	};
	uint8_t said[WIRE_JOIN_SIZE];

	memcpy(said, link->id, WIRE_ID_SIZE);
	if (channel_same_peer(link->control, channel, err) ||
	    link_tie(link, channel, link->joined, said + WIRE_ID_SIZE, err))
		return -1;
	return channel_send(channel, &frame, said, err);
}

/**
 * link_connect() - make the data and the urgent channels
 * @link: opened; the destination has accepted
 * @address: where it listens
 * @security: what is allowed
 * @err: why it failed
 *
 * Each says the id and its number. The destination says WIRE_JOINED on the
 * control channel when it has all.
 *
 * Return: 0 or -1.
 */
int link_connect(struct link *link, const char *address,
		 const struct security *security, struct error *err)
{
	struct channel *channel;

	for (; link->joined < link_channels(link); link->joined++) {
		channel = &link->own[link->joined];
		if (channel_connect(channel, address, security, err))
			return -1;
		link_label(link, channel, link->joined);
		link->channels[link->joined] = channel;
		if (join(link, channel, err))
			return -1;
	}
	return 0;
}

/**
 * link_check() - has a thread failed?
 * @link: opened
 * @err: the first failure
 *
 * Return: 0, or -1 if so.
 */
int link_check(struct link *link, struct error *err)
{
	int ret = 0;

	pthread_mutex_lock(&link->lock);
	if (link->broken) {
		*err = link->err;
		ret = -1;
	}
	pthread_mutex_unlock(&link->lock);
	return ret;
}

/* Under the lock. */
static void stop_channels(struct link *link)
{
	static const uint64_t one = 1;
	unsigned int i;
	ssize_t n;

	link->stopped = true;
	for (i = 0; i < link_channels(link); i++) {
		if (link->channels[i])
			channel_stop(link->channels[i]);
	}
	n = write(link->wake, &one, sizeof(one));
	/* EAGAIN: it is readable, which is all that is wanted. */
	(void)n;
}

/**
 * link_fail() - a thread has failed
 * @link: opened
 * @err: why; only the first one counts, and none after link_stop(), which makes
 *	threads fail
 */
void link_fail(struct link *link, const struct error *err)
{
	bool first;

	pthread_mutex_lock(&link->lock);
	first = !link->broken && !link->stopped;
	if (first) {
		link->err = *err;
		link->broken = true;
		stop_channels(link);
	}
	pthread_mutex_unlock(&link->lock);
	if (first && link->ops.failed)
		link->ops.failed(link->ops.data, err);
}

/**
 * link_stop() - end all waiting on the data channels
 * @link: opened
 */
void link_stop(struct link *link)
{
	pthread_mutex_lock(&link->lock);
	stop_channels(link);
	pthread_mutex_unlock(&link->lock);
}

/**
 * link_patience() - how long the peer may be silent, from now on
 * @link: joined
 * @seconds: about; not on a unix socket, whose peer is no further away than this
 */
void link_patience(struct link *link, unsigned int seconds)
{
	unsigned int i;

	tcp_patience(link->control->fd, seconds);
	for (i = 0; i < link_channels(link); i++) {
		if (link->channels[i])
			tcp_patience(link->channels[i]->fd, seconds);
	}
}

/**
 * link_sent() - how much was sent
 * @link: opened, or all 0
 *
 * Return: bytes on all channels, headers included.
 */
uint64_t link_sent(struct link *link)
{
	uint64_t sent = link->control ? channel_sent(link->control) : 0;
	unsigned int i;

	for (i = 0; i < link_channels(link); i++) {
		if (link->channels[i])
			sent += channel_sent(link->channels[i]);
	}
	return sent;
}

/* The threads of the receiver. */
static void join_threads(struct link *link)
{
	unsigned int i;

	if (link->greeting)
		pthread_join(link->greeter, NULL);
	link->greeting = false;
	for (i = 0; i < link->n; i++) {
		if (link->servers[i].running)
			pthread_join(link->servers[i].thread, NULL);
		link->servers[i].running = false;
	}
}

/**
 * link_end() - link_stop(), and nothing of it goes on when it returns
 * @link: opened, or all 0
 */
void link_end(struct link *link)
{
	if (!link->control)
		return;
	link_stop(link);
	join_threads(link);
}

/**
 * link_close() - end the data channels
 * @link: opened, or all 0; its threads are waited for. The control channel stays
 */
void link_close(struct link *link)
{
	unsigned int i;

	if (!link->control)
		return;
	link_end(link);
	for (i = 0; i < link_channels(link); i++) {
		if (link->channels[i])
			channel_close(link->channels[i]);
	}
	if (link->wake >= 0)
		close(link->wake);
	pthread_mutex_destroy(&link->lock);
	*link = (struct link){};
}
