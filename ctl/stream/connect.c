// SPDX-License-Identifier: GPL-2.0-or-later
/* How a channel comes about: one side listens, the other connects. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream/address.h"
#include "stream/channel.h"

#define CONNECT_TIMEOUT_MS	10000

/* A migration's connections, and some that are none of it. */
#define BACKLOG			(2 * (int)WIRE_MAX_CHANNELS)

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
 * @insecure: TCP is allowed
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int channel_listen(int *fd, const char *address, bool insecure, struct error *err)
{
	const char *path = unix_path(address);

	*fd = -1;
	if (path)
		return listen_unix(fd, path, err);
	if (tcp_allowed(address, insecure, err))
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
static int unix_peer_check(const struct channel *channel, struct error *err)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(channel->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return error_set(err, EXIT_FAILED, "%s: SO_PEERCRED: %s",
				 channel->peer, strerror(errno));
	if (!peer.uid || peer.uid == geteuid())
		return 0;
	error_set(err, EXIT_PERMISSION,
		  "%s: refused: process %d of user %u is at the other end, this one is of user %u",
		  channel->peer, (int)peer.pid, (unsigned int)peer.uid,
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

/* Wait until there is a connection to accept, or an error. */
static int accept_wait(struct channel *channel, int listen_fd, int interrupt,
		       struct error *err)
{
	struct pollfd pfd[] = {
		{ .fd = listen_fd, .events = POLLIN },
		{ .fd = interrupt, .events = POLLIN },
	};

	do {
		if (poll(pfd, 2, CHANNEL_POLL_MS) < 0) {
			if (errno != EINTR)
				return error_set(err, EXIT_FAILED, "poll: %s",
						 strerror(errno));
			pfd[0].revents = 0;
			pfd[1].revents = 0;
		}
		if (channel_stopped(channel) || pfd[1].revents)
			return error_set(err, EXIT_FAILED,
					 "stopped before a peer connected");
	} while (!pfd[0].revents);
	return 0;
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
 * channel_accept() - wait for a peer
 * @channel: filled; after a failure there is nothing to close
 * @listen_fd: from channel_listen(); after a failure it still listens
 * @interrupt: a descriptor that ends the wait when readable, or -1
 * @err: why it failed; EXIT_PERMISSION if the peer was refused
 *
 * Return: 0 or -1.
 */
int channel_accept(struct channel *channel, int listen_fd, int interrupt,
		   struct error *err)
{
	struct sockaddr_storage address = { .ss_family = AF_UNIX };
	socklen_t len;

	channel_open(channel, -1, "the peer");
	do {
		if (accept_wait(channel, listen_fd, interrupt, err))
			return -1;
		len = sizeof(address);
		channel->fd = accept4(listen_fd, (struct sockaddr *)&address,
				      &len, SOCK_CLOEXEC);
	} while (channel->fd < 0 && (errno == EAGAIN || errno == EINTR ||
				     errno == ECONNABORTED));
	if (channel->fd < 0)
		return error_set(err, EXIT_FAILED, "accept: %s",
				 strerror(errno));
	accept_name(channel, &address, listen_fd);
	if (channel_setup(channel, address.ss_family, err)) {
		channel_close(channel);
		return -1;
	}
	return 0;
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
	close(channel->fd);
	channel->fd = -1;
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

/**
 * channel_connect() - connect to who listens
 * @channel: filled; after a failure there is nothing to close
 * @address: unix:PATH or HOST:PORT
 * @insecure: TCP is allowed
 * @err: why it failed; EXIT_PEER if nobody is there, EXIT_PERMISSION if it is
 *	the wrong one
 *
 * Return: 0 or -1.
 */
int channel_connect(struct channel *channel, const char *address, bool insecure,
		    struct error *err)
{
	const char *path = unix_path(address);
	struct sockaddr_un name;

	channel_open(channel, -1, address);
	if (!path) {
		if (tcp_allowed(address, insecure, err))
			return -1;
		return connect_tcp(channel, address, err);
	}
	if (unix_address(&name, path, err))
		return -1;
	return connect_to(channel, (struct sockaddr *)&name, sizeof(name), err);
}
