// SPDX-License-Identifier: GPL-2.0-or-later
/* How a channel comes about: one side listens, the other connects. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "stream/address.h"
#include "stream/channel.h"

#define CONNECT_TIMEOUT_MS	10000
/* Connections that wait to be taken: strangers' are taken, and dropped, too. */
#define BACKLOG			128

/* A unix socket's buffer: enough that both sides work at the same time. */
#define UNIX_BUFFER		(4 << 20)

static int listen_unix(int *fd, const char *path, struct error *err)
{
	int ret;

	ret = unix_bind(fd, path, err);
	if (ret)
		return ret;
	if (!listen(*fd, BACKLOG))
		return 0;
	error_set(err, EXIT_FAILED, "unix:%s: %s", path, strerror(errno));
	unlink(path);
	close(*fd);
	return -1;
}

static int listen_tcp(int *fd, const char *address, struct error *err)
{
	int ret;

	ret = tcp_bind(fd, address, err);
	if (ret)
		return ret;
	if (!listen(*fd, BACKLOG))
		return 0;
	error_set(err, EXIT_FAILED, "%s: %s", address, strerror(errno));
	close(*fd);
	return -1;
}

/**
 * channel_listen() - wait for connections from now on
 * @fd: the listening socket; end it with channel_unlisten()
 * @address: unix:PATH or HOST:PORT; a socket's file that nobody listens on is
 *	replaced
 * @security: what is allowed
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int channel_listen(int *fd, const char *address, const struct security *security,
		   struct error *err)
{
	const char *path = unix_path(address);

	*fd = -1;
	if (path)
		return listen_unix(fd, path, err);
	if (!security->tls && tcp_allowed(address, security->insecure, err))
		return -1;
	return listen_tcp(fd, address, err);
}

/**
 * channel_hide() - no more peers are wanted
 * @listen_fd: from channel_listen()
 *
 * Of a unix socket, whose name goes with it: nobody can connect any more, and
 * what has the name later is not ours. TCP goes on listening.
 */
void channel_hide(int listen_fd)
{
	struct pollfd pfd = { .fd = listen_fd, .events = POLLRDHUP };
	struct sockaddr_un address;
	socklen_t len = sizeof(address);

	if (getsockname(listen_fd, (struct sockaddr *)&address, &len) ||
	    address.sun_family != AF_UNIX)
		return;
	if (poll(&pfd, 1, 0) > 0 && pfd.revents & POLLRDHUP)
		return;
	unlink(address.sun_path);
	shutdown(listen_fd, SHUT_RDWR);
}

/**
 * channel_unlisten() - close a listening socket
 * @listen_fd: from channel_listen(), or -1
 */
void channel_unlisten(int listen_fd)
{
	if (listen_fd < 0)
		return;
	channel_hide(listen_fd);
	close(listen_fd);
}

/* One of our own user, or root: who else could read or forge a guest's memory. */
static int unix_peer_check(struct channel *channel, struct error *err)
{
	struct ucred *peer = &channel->process;
	socklen_t len = sizeof(*peer);

	if (getsockopt(channel->fd, SOL_SOCKET, SO_PEERCRED, peer, &len))
		return error_set(err, EXIT_FAILED, "%s: SO_PEERCRED: %s",
				 channel->peer, strerror(errno));
	if (!peer->uid || peer->uid == geteuid())
		return 0;
	error_set(err, EXIT_PERMISSION,
		  "%s: refused: process %d of user %u is at the other end, this one is of user %u",
		  channel->peer, (int)peer->pid, (unsigned int)peer->uid,
		  (unsigned int)geteuid());
	return error_advise(err, "run both sides as the same user, or the other as root");
}

static void unix_tune(int fd)
{
	int size = UNIX_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* The rest of what makes a connected socket a channel. */
static int channel_setup(struct channel *channel, int family, struct error *err)
{
	if (family == AF_UNIX) {
		unix_tune(channel->fd);
		return unix_peer_check(channel, err);
	}
	return tcp_tune(channel->fd, channel->peer, err);
}

static void accept_name(struct channel *channel,
			const struct sockaddr_storage *address, int listen_fd)
{
	struct sockaddr_un own;
	socklen_t len = sizeof(own);

	if (address->ss_family != AF_UNIX) {
		tcp_name(address, channel->peer, sizeof(channel->peer));
		return;
	}
	memset(&own, 0, sizeof(own));
	if (!getsockname(listen_fd, (struct sockaddr *)&own, &len))
		snprintf(channel->peer, sizeof(channel->peer), "unix:%s",
			 own.sun_path);
}

/**
 * channel_accept() - take a connection
 * @channel: filled, if there is one
 * @listen_fd: from channel_listen(); it goes on listening
 * @from: the address it came from
 * @err: why it failed; EXIT_PERMISSION if the peer was refused
 *
 * Return: 1, 0 if there is none, or -1.
 */
int channel_accept(struct channel *channel, int listen_fd,
		   struct sockaddr_storage *from, struct error *err)
{
	socklen_t len = sizeof(*from);

	channel_open(channel, -1, "the peer");
	*from = (struct sockaddr_storage){ .ss_family = AF_UNIX };
	channel->fd = accept4(listen_fd, (struct sockaddr *)from, &len, SOCK_CLOEXEC);
	if (channel->fd < 0 && (errno == EAGAIN || errno == EINTR ||
				errno == ECONNABORTED))
		return 0;
	if (channel->fd < 0)
		return error_set(err, EXIT_FAILED, "accept: %s", strerror(errno));
	accept_name(channel, from, listen_fd);
	if (!channel_setup(channel, from->ss_family, err))
		return 1;
	channel_close(channel);
	return -1;
}

int channel_same_peer(const struct channel *control, const struct channel *data,
		      struct error *err)
{
	if (control->tls || data->tls) {
		if (control->tls && data->tls && tls_same_peer(control->tls, data->tls))
			return 0;
	} else if (control->process.uid == data->process.uid &&
		   control->process.pid == data->process.pid) {
		return 0;
	}
	return error_set(err, EXIT_PERMISSION,
			 "%s: a data channel of another peer than the control channel's",
			 data->peer);
}

static int connect_failed(const struct channel *channel, int errnum,
			  struct error *err)
{
	switch (errnum) {
	case EACCES:
	case EPERM:
		error_set(err, EXIT_PERMISSION, "%s: %s", channel->peer,
			  strerror(errnum));
		return error_advise(err,
				    "run migctl as the user of the other side, or as root");
	case EAGAIN:
		return error_set(err, EXIT_PEER,
				 "%s: the receiver there is busy with another connection",
				 channel->peer);
	case ENOENT:
	case ECONNREFUSED:
		error_set(err, EXIT_PEER, "%s: nobody listens there",
			  channel->peer);
		return error_advise(err, "start migctl receive there first");
	default:
		return error_set(err, EXIT_PEER, "%s: %s", channel->peer,
				 strerror(errnum));
	}
}

/* Wait for a connect that goes on; its errno, or 0. */
static int connect_wait(struct channel *channel)
{
	struct pollfd pfd = { .fd = channel->fd, .events = POLLOUT };
	int waited, ret, errnum;
	socklen_t len = sizeof(errnum);

	for (waited = 0; waited < CONNECT_TIMEOUT_MS; waited += CHANNEL_POLL_MS) {
		if (channel_stopped(channel))
			return EINTR;
		ret = poll(&pfd, 1, CHANNEL_POLL_MS);
		if (ret < 0 && errno != EINTR)
			return errno;
		if (ret <= 0)
			continue;
		if (getsockopt(channel->fd, SOL_SOCKET, SO_ERROR, &errnum, &len))
			return errno;
		return errnum;
	}
	return ETIMEDOUT;
}

static int connect_to(struct channel *channel, const struct sockaddr *address,
		      socklen_t len, struct error *err)
{
	int errnum = 0;

	channel->fd = socket(address->sa_family,
			     SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (channel->fd < 0)
		return error_set(err, EXIT_FAILED, "socket: %s",
				 strerror(errno));
	if (connect(channel->fd, address, len))
		errnum = errno;
	if (errnum == EINPROGRESS || errnum == EINTR)
		errnum = connect_wait(channel);
	if (errnum)
		connect_failed(channel, errnum, err);
	else if (!channel_setup(channel, address->sa_family, err))
		return 0;
	/* Not all of the channel: a name's next address is tried with it. */
	close(channel->fd);
	channel->fd = -1;
	return -1;
}

static time_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* TLS, from the side that connected. */
static int connect_tls(struct channel *channel, const struct tls *tls,
		       struct error *err)
{
	struct pollfd pfd = { .fd = channel->fd };
	time_t end = now_s() + CONNECT_TIMEOUT_MS / 1000;
	int ret;

	if (tls_session_open(&channel->tls, tls, channel->fd, false, err))
		goto err_close;
	while ((ret = tls_handshake(channel->tls, &pfd.events)) == -EAGAIN) {
		if (channel_stopped(channel) || now_s() > end) {
			error_set(err, EXIT_PEER, "%s: the peer does not answer with TLS",
				  channel->peer);
			error_advise(err, "see whether migctl receive is at the other end, and has --tls-dir or --tls-psk");
			goto err_close;
		}
		poll(&pfd, 1, CHANNEL_POLL_MS);
	}
	if (!ret)
		return 0;
	if (ret == -EPROTO) {
		tls_explain(channel->tls, channel->peer, err);
	} else {
		error_set(err, EXIT_PEER, "%s: the peer closed the connection instead of answering with TLS",
			  channel->peer);
		error_advise(err, "see what migctl says on the other host");
	}

err_close:
	channel->cut = true;
	channel_close(channel);
	return -1;
}

/* The first of a name's addresses that works. */
static int connect_tcp(struct channel *channel, const char *address,
		       struct error *err)
{
	struct addrinfo *list, *info;
	int ret;

	ret = tcp_resolve(&list, address, false, err);
	if (ret)
		return ret;
	for (info = list; info; info = info->ai_next) {
		ret = connect_to(channel, info->ai_addr, info->ai_addrlen, err);
		if (!ret || channel_stopped(channel))
			break;
	}
	freeaddrinfo(list);
	return ret;
}

static int connect_address(struct channel *channel, const char *address,
			   const struct security *security, struct error *err)
{
	const char *path = unix_path(address);
	struct sockaddr_un name;

	if (!path) {
		if (!security->tls && tcp_allowed(address, security->insecure, err))
			return -1;
		return connect_tcp(channel, address, err);
	}
	if (unix_address(&name, path, err))
		return -1;
	return connect_to(channel, (struct sockaddr *)&name, sizeof(name), err);
}

/**
 * channel_connect() - connect to who listens
 * @channel: filled; after a failure there is nothing to close
 * @address: unix:PATH or HOST:PORT
 * @security: what is allowed
 * @err: why it failed; EXIT_PEER if nobody is there, EXIT_PERMISSION if it is
 *	the wrong one
 *
 * Return: 0 or -1.
 */
int channel_connect(struct channel *channel, const char *address,
		    const struct security *security, struct error *err)
{
	channel_open(channel, -1, address);
	if (connect_address(channel, address, security, err))
		return -1;
	return security->tls ? connect_tls(channel, security->tls, err) : 0;
}
