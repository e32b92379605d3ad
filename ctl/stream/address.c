// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/units.h"
#include "stream/address.h"

/*
 * So much at most waits in the kernel to be sent: the policy takes it for moved, and on
 * a slow link it is downtime. Enough that the network does not wait for us.
 */
#define UNSENT_BYTES	(512 << 10)

#define ADDRESS_ADVICE	"an address is unix:PATH or HOST:PORT, with an IPv6 host in brackets"

const char *unix_path(const char *address)
{
	return strncmp(address, "unix:", 5) ? NULL : address + 5;
}

/**
 * unix_address() - the address of a unix socket
 * @name: filled
 * @path: the socket's file
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int unix_address(struct sockaddr_un *name, const char *path, struct error *err)
{
	*name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (!*path) {
		error_set(err, EXIT_USAGE, "unix: needs a path");
		return error_advise(err, ADDRESS_ADVICE);
	}
	if (strlen(path) >= sizeof(name->sun_path)) {
		error_set(err, EXIT_USAGE,
			  "%s: too long for the name of a socket", path);
		return error_advise(err,
				    "change to its directory and give a relative path");
	}
	memcpy(name->sun_path, path, strlen(path));
	return 0;
}

/*
 * Does a process have this socket? Asked with a datagram socket: a stream
 * socket refuses that for its type, without noticing; a name that is left over
 * refuses the connection.
 */
static bool unix_is_stale(const struct sockaddr_un *name)
{
	bool stale;
	int fd;

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)name, sizeof(*name)) &&
		errno == ECONNREFUSED;
	close(fd);
	return stale;
}

/* Make room for a socket of ours, or say why there is none. */
static int unix_replace(const struct sockaddr_un *name, struct error *err)
{
	const char *path = name->sun_path;
	struct stat st;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 :
		       error_set(err, EXIT_FAILED, "unix:%s: %s", path,
				 strerror(errno));
	if (!S_ISSOCK(st.st_mode)) {
		error_set(err, EXIT_USAGE, "%s exists and is not a socket",
			  path);
		return error_advise(err, "give a name that is free");
	}
	if (!unix_is_stale(name)) {
		error_set(err, EXIT_FAILED, "unix:%s: in use by another process",
			  path);
		return error_advise(err,
				    "another migctl receive may wait there: end it, or give another name");
	}
	if (unlink(path) && errno != ENOENT)
		return error_set(err, EXIT_PERMISSION,
				 "unix:%s: left over, and can't be removed: %s",
				 path, strerror(errno));
	return 0;
}

/**
 * unix_bind() - make a socket with a name
 * @fd: the socket, non-blocking
 * @path: its file, made with mode 0600; a socket there that no process has is
 *	replaced
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int unix_bind(int *fd, const char *path, struct error *err)
{
	struct sockaddr_un name;

	if (unix_address(&name, path, err) || unix_replace(&name, err))
		return -1;
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return error_set(err, EXIT_FAILED, "socket: %s",
				 strerror(errno));
	/* The file gets the mode of the socket: it is never open to others. */
	if (!fchmod(*fd, 0600) &&
	    !bind(*fd, (struct sockaddr *)&name, sizeof(name)))
		return 0;
	error_set(err, errno == EACCES ? EXIT_PERMISSION : EXIT_FAILED,
		  "unix:%s: %s", path, strerror(errno));
	close(*fd);
	*fd = -1;
	return -1;
}

/**
 * tcp_allowed() - is TCP without TLS what the user wants?
 * @address: for the message
 * @insecure: the user said so
 * @err: why not
 *
 * Return: 0 or -1.
 */
int tcp_allowed(const char *address, bool insecure, struct error *err)
{
	if (insecure)
		return 0;
	error_set(err, EXIT_USAGE,
		  "%s: TCP without TLS is neither encrypted nor authenticated: whoever is on the network can read and change the guest's memory",
		  address);
	return error_advise(err,
			    "give both sides --tls-dir DIR and --peer NAME, or --tls-psk FILE; or use unix:PATH, carried to the other host by ssh -L or -R; or give --insecure where the network is trusted");
}

/* HOST:PORT or [HOST]:PORT into its parts. */
static int tcp_split(const char *address, char *host, size_t size,
		     const char **port)
{
	const char *colon = strrchr(address, ':');
	uint64_t number;
	size_t len;

	if (!colon)
		return -EINVAL;
	*port = colon + 1;
	if (parse_number(*port, UINT16_MAX, &number))
		return -EINVAL;
	len = (size_t)(colon - address);
	if (len >= 2 && address[0] == '[' && colon[-1] == ']') {
		address++;
		len -= 2;
	} else if (memchr(address, ':', len)) {
		return -EINVAL;
	}
	if (len >= size)
		return -EINVAL;
	memcpy(host, address, len);
	host[len] = '\0';
	return 0;
}

int tcp_host(const char *address, char *host, size_t size)
{
	const char *port;

	if (unix_path(address) || tcp_split(address, host, size, &port) || !*host)
		return -EINVAL;
	return 0;
}

/**
 * tcp_resolve() - find a TCP address
 * @list: what was found, for freeaddrinfo()
 * @address: HOST:PORT
 * @listening: no HOST is all of this host's addresses, else it is an error
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int tcp_resolve(struct addrinfo **list, const char *address, bool listening,
		struct error *err)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | (listening ? AI_PASSIVE : 0),
	};
	const char *port;
	char host[256];
	int ret;

	if (tcp_split(address, host, sizeof(host), &port) ||
	    (!*host && !listening)) {
		error_set(err, EXIT_USAGE, "%s: not an address", address);
		return error_advise(err, ADDRESS_ADVICE);
	}
	ret = getaddrinfo(*host ? host : NULL, port, &hints, list);
	if (ret)
		return error_set(err, EXIT_USAGE, "%s: %s", address,
				 gai_strerror(ret));
	return 0;
}

/* A socket that is bound to @info; -1 and errno if it can't be. */
static int tcp_bind_one(const struct addrinfo *info)
{
	int on = 1, off = 0, errnum, fd;

	fd = socket(info->ai_family,
		    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* "All" is IPv4, too. */
	if (info->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (!bind(fd, info->ai_addr, info->ai_addrlen))
		return fd;
	errnum = errno;
	close(fd);
	errno = errnum;
	return -1;
}

/**
 * tcp_bind() - make a socket with a TCP address
 * @fd: the socket, non-blocking
 * @address: HOST:PORT, or :PORT for all addresses of this host
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int tcp_bind(int *fd, const char *address, struct error *err)
{
	static const int families[] = { AF_INET6, AF_INET };
	struct addrinfo *list, *info;
	size_t i;

	if (tcp_resolve(&list, address, true, err))
		return -1;
	/* A name's addresses in their order; of "all", IPv6's, which has both. */
	*fd = -1;
	for (i = 0; *fd < 0 && i < 2; i++) {
		for (info = list; *fd < 0 && info; info = info->ai_next) {
			if (*address != ':' || info->ai_family == families[i])
				*fd = tcp_bind_one(info);
		}
	}
	freeaddrinfo(list);
	if (*fd >= 0)
		return 0;
	return error_set(err, errno == EACCES ? EXIT_PERMISSION : EXIT_FAILED,
			 "%s: %s", address, strerror(errno));
}

/**
 * tcp_patience() - how long a peer may be silent
 * @fd: a connected TCP socket
 * @seconds: that it may take nothing that is sent, or not answer; about
 *
 * Return: 0, or -1 with errno.
 */
int tcp_patience(int fd, unsigned int seconds)
{
	const int milliseconds = seconds * 1000, idle = seconds / 3, interval = seconds / 6;

	return setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle)) ||
	       setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval)) ||
	       setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds,
			  sizeof(milliseconds)) ? -1 : 0;
}

/**
 * tcp_tune() - set up a connection
 * @fd: a connected TCP socket
 * @peer: for the message
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int tcp_tune(int fd, const char *peer, struct error *err)
{
	static const struct {
		int level, option, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES },
		{ IPPROTO_TCP, TCP_KEEPCNT, 4 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
	};
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (setsockopt(fd, options[i].level, options[i].option,
			       &options[i].value, sizeof(int)))
			goto fail;
	}
	if (!tcp_patience(fd, TCP_PATIENCE_S))
		return 0;
fail:
	return error_set(err, EXIT_FAILED, "%s: setsockopt: %s", peer, strerror(errno));
}

/* HOST:PORT of an address, in numbers. */
void tcp_name(const struct sockaddr_storage *address, char *name, size_t size)
{
	char host[INET6_ADDRSTRLEN + 32], port[8];
	bool ipv6 = address->ss_family == AF_INET6;

	if (getnameinfo((const struct sockaddr *)address, sizeof(*address),
			host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	snprintf(name, size, "%s%s%s:%s", ipv6 ? "[" : "", host,
		 ipv6 ? "]" : "", port);
}
