/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What migctl set and switchover tell a running migration: one request and its
 * answer, a line of JSON each, over a UNIX socket beside its run record.
 */
#ifndef MIGCTL_CONTROL_H
#define MIGCTL_CONTROL_H

#include <jansson.h>
#include <stdint.h>
#include <sys/un.h>

#include "common/error.h"
#include "common/units.h"

/* Who has come and not said all yet; one more, and the oldest of them has to go. */
#define CONTROL_CLIENTS	8
#define CONTROL_LINE	4096

/**
 * struct control_client - one that has come
 * @fd: connected
 * @used: bytes of @line
 * @line: its request, as far as it came
 */
struct control_client {
	int fd;
	size_t used;
	char line[CONTROL_LINE];
};

/**
 * struct control - where it listens
 * @fd: readable when there is something to serve (an epoll descriptor), -1 if there
 *	is no socket
 * @listener: the socket
 * @path: of it
 * @clients: the oldest first
 * @n: how many
 */
struct control {
	int fd;
	int listener;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct control_client clients[CONTROL_CLIENTS];
	size_t n;
};

#define CONTROL_NONE	((struct control) { .fd = -1, .listener = -1 })

/* Does what is asked, or refuses it with the reason. */
typedef int control_fn(const char *command, const json_t *request, void *data,
		       struct error *err);

int control_open(struct control *control, uint64_t session, struct error *err);
/* Answers whose request has come, unless they have left; waits for nobody. */
void control_serve(struct control *control, control_fn *fn, void *data);
void control_close(struct control *control);

/* A number of a request, if it has one. */
void control_number(const json_t *request, const char *key, uint64_t *value);

/* The other side: @request is used up. */
int control_ask(uint64_t session, json_t *request, struct error *err);

#endif /* MIGCTL_CONTROL_H */
