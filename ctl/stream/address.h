/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses of channels, and the sockets that have them. */
#ifndef MIGCTL_ADDRESS_H
#define MIGCTL_ADDRESS_H

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/error.h"

/* PATH of unix:PATH, NULL if this is another kind of address. */
const char *unix_path(const char *address);
int unix_address(struct sockaddr_un *name, const char *path, struct error *err);
/* A socket with that name and mode 0600, if nobody else has the name. */
int unix_bind(int *fd, const char *path, struct error *err);

/* TCP without TLS is refused unless @insecure. */
int tcp_allowed(const char *address, bool insecure, struct error *err);
/* To be freed by freeaddrinfo(); without a host all, for who listens. */
int tcp_resolve(struct addrinfo **list, const char *address, bool listening,
		struct error *err);
/* The HOST of a TCP address; -EINVAL if it is none, or has none. */
int tcp_host(const char *address, char *host, size_t size);
int tcp_bind(int *fd, const char *address, struct error *err);
/* How long a peer may be silent, in seconds; and while the guest stands still for it. */
#define TCP_PATIENCE_S		30
#define TCP_PATIENCE_STOPPED_S	10
int tcp_patience(int fd, unsigned int seconds);
/* Send at once, and notice within TCP_PATIENCE_S that the peer is gone. */
int tcp_tune(int fd, const char *peer, struct error *err);
void tcp_name(const struct sockaddr_storage *address, char *name, size_t size);

#endif /* MIGCTL_ADDRESS_H */
