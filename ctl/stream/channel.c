// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "stream/channel.h"

/**
 * channel_open() - make a channel of a connected stream socket
 * @channel: filled; what it held before is forgotten
 * @fd: the socket, the channel's from now on; -1 if there is none yet
 * @peer: the other side's name, for messages
 */
void channel_open(struct channel *channel, int fd, const char *peer)
{
	*channel = (struct channel){ .fd = fd };
	snprintf(channel->peer, sizeof(channel->peer), "%s", peer);
	snprintf(channel->label, sizeof(channel->label), "control channel");
	pthread_mutex_init(&channel->lock, NULL);
}

void channel_move(struct channel *to, struct channel *from)
{
	pthread_mutex_destroy(&from->lock);
	*to = *from;
	pthread_mutex_init(&to->lock, NULL);
	from->fd = -1;
	from->tls = NULL;
}

/**
 * channel_stop() - end all waiting, from any thread or a signal handler
 * @channel: nothing can be sent or received on it any more
 */
void channel_stop(struct channel *channel)
{
	__atomic_store_n(&channel->stop, true, __ATOMIC_RELAXED);
}

/**
 * channel_hurry() - end sending soon, from any thread
 * @channel: what comes of it can still be received
 * @milliseconds: that are left, to whoever is sending now, too
 */
void channel_hurry(struct channel *channel, unsigned int milliseconds)
{
	__atomic_store_n(&channel->send_until, now_ns() + milliseconds * NS_PER_MS,
			 __ATOMIC_RELAXED);
}

/**
 * channel_expect() - limit how long what is received is waited for
 * @channel: the connection; its receiving thread calls this
 * @milliseconds: from now on, all frames together
 */
void channel_expect(struct channel *channel, unsigned int milliseconds)
{
	channel->receive_until = now_ns() + milliseconds * NS_PER_MS;
}

static bool is_late(uint64_t until)
{
	return until && now_ns() > until;
}

/**
 * channel_stopped() - was channel_stop() called?
 * @channel: the connection
 *
 * Return: true if so.
 */
bool channel_stopped(const struct channel *channel)
{
	return __atomic_load_n(&channel->stop, __ATOMIC_RELAXED);
}

/**
 * channel_close() - close the connection
 * @channel: opened, or what a failed connect or accept has left; no thread
 *	uses it any more
 */
void channel_close(struct channel *channel)
{
	if (channel->fd < 0)
		return;
	tls_session_close(channel->tls, !channel->cut);
	channel->tls = NULL;
	close(channel->fd);
	channel->fd = -1;
	pthread_mutex_destroy(&channel->lock);
}

static int stop_error(const struct channel *channel, struct error *err)
{
	return error_set(err, EXIT_FAILED, "%s: the connection was stopped",
			 channel->peer);
}

static int hung_up(const struct channel *channel, bool in_frame,
		   struct error *err)
{
	error_set(err, EXIT_PEER, "%s: the peer closed the connection%s",
		  channel->peer, in_frame ? " in the middle of a frame" : "");
	return error_advise(err, "see what migctl says on the other host");
}

/* @errnum is from a send or a receive. */
static int broken(const struct channel *channel, int errnum, bool in_frame,
		  struct error *err)
{
	switch (errnum) {
	case EPROTO:
		if (channel->tls)
			return tls_explain(channel->tls, channel->peer, err);
		/* fall through */
	case EPIPE:
	case ECONNRESET:
		return hung_up(channel, in_frame, err);
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
		error_set(err, EXIT_PEER, "%s: the peer does not answer: %s",
			  channel->peer, strerror(errnum));
		return error_advise(err,
				    "see whether the other host runs and the network between is up");
	default:
		return error_set(err, EXIT_PEER, "%s: %s", channel->peer,
				 strerror(errnum));
	}
}

/* Wait a while for @events; what came is for the next send or receive to see. */
static int wait_ready(struct channel *channel, short events, struct error *err)
{
	struct pollfd pfd = { .fd = channel->fd, .events = events };

	if (poll(&pfd, 1, CHANNEL_POLL_MS) < 0 && errno != EINTR)
		return error_set(err, EXIT_FAILED, "poll: %s", strerror(errno));
	return 0;
}

/* What is left of @msg after @sent bytes; false if nothing is. */
static bool iov_advance(struct msghdr *msg, size_t sent)
{
	while (msg->msg_iovlen && sent >= msg->msg_iov->iov_len) {
		sent -= msg->msg_iov->iov_len;
		msg->msg_iov++;
		msg->msg_iovlen--;
	}
	if (!msg->msg_iovlen)
		return false;
	msg->msg_iov->iov_base = (char *)msg->msg_iov->iov_base + sent;
	msg->msg_iov->iov_len -= sent;
	return true;
}

/* Bytes, or an errno. */
static ssize_t transport_send(struct channel *channel, struct msghdr *msg)
{
	ssize_t len;

	if (channel->tls)
		return tls_send(channel->tls, msg->msg_iov, msg->msg_iovlen);
	len = sendmsg(channel->fd, msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	return len < 0 ? -errno : len;
}

/* The same; 0: the peer has closed. */
static ssize_t transport_receive(struct channel *channel, void *data, size_t size)
{
	ssize_t len;

	if (channel->tls)
		return tls_receive(channel->tls, data, size);
	len = recv(channel->fd, data, size, MSG_DONTWAIT);
	return len < 0 ? -errno : len;
}

/* Never blocks in the kernel: a peer that trickles must not delay a stop. */
static int send_all(struct channel *channel, struct msghdr *msg,
		    struct error *err)
{
	bool more = true;
	ssize_t len;

	while (more) {
		if (channel_stopped(channel))
			return stop_error(channel, err);
		len = transport_send(channel, msg);
		if (len >= 0) {
			__atomic_fetch_add(&channel->sent, (uint64_t)len,
					   __ATOMIC_RELAXED);
			more = iov_advance(msg, (size_t)len);
		} else if (len == -EAGAIN) {
			if (is_late(__atomic_load_n(&channel->send_until, __ATOMIC_RELAXED)))
				return broken(channel, ETIMEDOUT, false, err);
			if (wait_ready(channel, POLLOUT, err))
				return -1;
		} else if (len != -EINTR) {
			return broken(channel, (int)-len, false, err);
		}
	}
	return 0;
}

/* In a test build, what no sender says that means well. */
static void be_hostile(struct wire_frame *frame)
{
	if (frame->type != WIRE_PAGES)
		return;
	if (fault_is("pages", "outside"))
		frame->offset += 1ull << 40;
	if (fault_is("pages", "unaligned"))
		frame->offset++;
	if (fault_is("pages", "block"))
		frame->block = UINT32_MAX;
}

/**
 * channel_send() - send a frame
 * @channel: where to
 * @frame: its header
 * @payload: frame->length bytes
 * @err: why it failed
 *
 * After a failure the peer may have a part of a frame, so nothing more can be
 * sent; what the peer still had to say can be received.
 *
 * Return: 0 or -1.
 */
int channel_send(struct channel *channel, const struct wire_frame *frame,
		 const void *payload, struct error *err)
{
	struct wire_frame sealed = *frame;
	uint8_t header[WIRE_HEADER_SIZE];
	struct iovec iov[] = {
		{ .iov_base = header, .iov_len = sizeof(header) },
		{ .iov_base = (void *)payload, .iov_len = frame->length },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	int ret;

	if (wire_check(frame))
		return error_set(err, EXIT_FAILED,
				 "%s: a frame of type %u can't have %u bytes",
				 channel->peer, frame->type, frame->length);
	be_hostile(&sealed);
	sealed.checksum = wire_checksum(&sealed, payload);
	if (frame->type == WIRE_PAGES && fault("pages", err))
		sealed.checksum++;
	wire_encode(header, &sealed);
	pthread_mutex_lock(&channel->lock);
	if (channel->cut && !channel_stopped(channel)) {
		ret = hung_up(channel, false, err);
	} else {
		ret = send_all(channel, &msg, err);
		channel->cut = ret;
	}
	pthread_mutex_unlock(&channel->lock);
	return ret;
}

/**
 * channel_send_text() - send a frame whose payload is text
 * @channel: where to
 * @type: of the frame
 * @text: not empty, sent without its final 0
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int channel_send_text(struct channel *channel, enum wire_type type,
		      const char *text, struct error *err)
{
	struct wire_frame frame = { .type = type };
	size_t length = strlen(text);

	if (length > WIRE_MAX_PAYLOAD)
		return error_set(err, EXIT_FAILED,
				 "%s: a text of %zu bytes is too long to send",
				 channel->peer, length);
	frame.length = (uint32_t)length;
	return channel_send(channel, &frame, text, err);
}

ssize_t channel_receive_some(struct channel *channel, void *data, size_t size,
			     bool in_frame, struct error *err)
{
	ssize_t len = transport_receive(channel, data, size);

	if (len > 0)
		return len;
	if (!len)
		return hung_up(channel, in_frame, err);
	if (len == -EAGAIN || len == -EINTR)
		return 0;
	return broken(channel, (int)-len, in_frame, err);
}

/* @in_frame: a part of it has come before. */
static int receive_all(struct channel *channel, void *data, size_t size,
		       bool in_frame, struct error *err)
{
	size_t done = 0;
	ssize_t len;

	while (done < size) {
		if (channel_stopped(channel))
			return stop_error(channel, err);
		len = channel_receive_some(channel, (char *)data + done,
					   size - done, in_frame || done, err);
		if (len < 0)
			return -1;
		if (!len && is_late(channel->receive_until))
			return broken(channel, ETIMEDOUT, in_frame || done, err);
		if (!len && wait_ready(channel, POLLIN, err))
			return -1;
		done += (size_t)len;
	}
	return 0;
}

int channel_check(const struct channel *channel, const struct wire_frame *frame,
		  const void *payload, struct error *err)
{
	if (wire_checksum(frame, payload) == frame->checksum)
		return 0;
	error_set(err, EXIT_PEER,
		  "%s: %s: a frame of type %s has a wrong checksum: it was changed on its way",
		  channel->peer, channel->label, wire_type_name(frame->type));
	return error_advise(err,
			    "look for faulty memory or network hardware on the two hosts and between them");
}

/**
 * channel_nonsense() - say what came instead of a header
 * @channel: where from
 * @header: what came
 * @err: filled
 *
 * Return: -1.
 */
int channel_nonsense(const struct channel *channel,
		     const uint8_t header[WIRE_HEADER_SIZE], struct error *err)
{
	unsigned int version;

	if (!channel->tls && tls_is_tls(header)) {
		error_set(err, EXIT_PEER,
			  "%s: the peer speaks TLS, and this side does not",
			  channel->peer);
		return error_advise(err,
				    "give both sides --tls-dir or --tls-psk, or both --insecure where the network is trusted");
	}
	version = wire_version(header);
	if (version && version != WIRE_VERSION)
		error_set(err, EXIT_PEER,
			  "%s: the peer speaks version %u of the migration stream, this side version %u",
			  channel->peer, version, WIRE_VERSION);
	else
		error_set(err, EXIT_PEER,
			  "%s: what the peer sends is not a migration stream",
			  channel->peer);
	return error_advise(err,
			    "see whether migctl of the same version is at the other end");
}

/**
 * channel_receive_header() - wait for a frame
 * @channel: where from
 * @frame: its header
 * @err: why it failed; EXIT_PEER if the peer is gone or talks nonsense
 *
 * Return: 0 or -1.
 */
int channel_receive_header(struct channel *channel, struct wire_frame *frame,
			   struct error *err)
{
	uint8_t header[WIRE_HEADER_SIZE] = {};

	if (receive_all(channel, header, sizeof(header), false, err)) {
		/* An alert is shorter than a header. */
		if (!channel->tls && tls_is_tls(header))
			channel_nonsense(channel, header, err);
		return -1;
	}
	return wire_decode(header, frame) ? channel_nonsense(channel, header, err) : 0;
}

/**
 * channel_receive_payload() - wait for the rest of a frame
 * @channel: where from
 * @frame: its header
 * @payload: filled with frame->length bytes; may be NULL if that is 0
 * @err: why it failed
 *
 * The frame's header is not to be believed before this.
 *
 * Return: 0 or -1.
 */
int channel_receive_payload(struct channel *channel,
			    const struct wire_frame *frame, void *payload,
			    struct error *err)
{
	if (receive_all(channel, payload, frame->length, true, err))
		return -1;
	return channel_check(channel, frame, payload, err);
}

/**
 * channel_receive() - wait for a frame
 * @channel: where from
 * @frame: its header
 * @payload: filled with frame->length bytes and a 0; has room for
 *	WIRE_MAX_PAYLOAD + 1
 * @err: why it failed; EXIT_PEER if the peer is gone or talks nonsense
 *
 * Return: 0 or -1.
 */
int channel_receive(struct channel *channel, struct wire_frame *frame,
		    void *payload, struct error *err)
{
	if (channel_receive_header(channel, frame, err) ||
	    channel_receive_payload(channel, frame, payload, err))
		return -1;
	((char *)payload)[frame->length] = '\0';
	return 0;
}

/**
 * channel_sent() - how much was sent
 * @channel: the connection; waits for no frame that is on its way
 *
 * Return: bytes, headers included.
 */
uint64_t channel_sent(const struct channel *channel)
{
	return __atomic_load_n(&channel->sent, __ATOMIC_RELAXED);
}
