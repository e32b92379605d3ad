/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client of QEMU's machine protocol, on one UNIX socket. */
#ifndef MIGCTL_QMP_H
#define MIGCTL_QMP_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/error.h"

struct qmp;

/* Called with each event that arrives while a reply is awaited. */
typedef void qmp_event_fn(const char *name, json_t *event, void *data);

/**
 * struct qmp_dialect - what is spoken at a socket, in the way of QMP
 * @who: is behind it
 * @greeting: what it says first
 * @not_a_message: what to say of something else
 * @not_a_greeting: likewise
 * @not_a_reply: likewise
 * @socket: which socket to give
 * @wrong: the same, if what is there speaks otherwise
 * @busy: what to do if nobody answers
 */
struct qmp_dialect {
	const char *who;
	const char *greeting;
	const char *not_a_message;
	const char *not_a_greeting;
	const char *not_a_reply;
	const char *socket;
	const char *wrong;
	const char *busy;
};

int qmp_open(struct qmp **qmp, const char *path, struct error *err);
int qmp_connect(struct qmp **qmp, const char *path, const struct qmp_dialect *dialect,
		json_t **greeting, struct error *err);
void qmp_close(struct qmp *qmp);

void qmp_on_event(struct qmp *qmp, qmp_event_fn *fn, void *data);

/*
 * Run a command and wait for its reply, 10 s at most. @arguments is used up
 * and may be NULL; so may @result, else the caller owns what it gets.
 */
int qmp_execute(struct qmp *qmp, const char *command, json_t *arguments,
		json_t **result, struct error *err);

/*
 * The same, and pass a duplicate of @fd with it: QEMU keeps it under the name
 * that getfd gives it.
 */
int qmp_execute_fd(struct qmp *qmp, const char *command, json_t *arguments,
		   int fd, json_t **result, struct error *err);

/* The two halves of it, for a command that takes its time. */
int qmp_begin(struct qmp *qmp, const char *command, json_t *arguments, int fd,
	      struct error *err);
int qmp_end(struct qmp *qmp, const char *command, json_t **result, struct error *err);
bool qmp_readable(const struct qmp *qmp);

/* The other side may send some with its messages. */
size_t qmp_take_fds(struct qmp *qmp, int *fds);

/*
 * Go on with a connection that a process left which this one was forked from.
 * It may have ended in the middle of a command, and of reading a reply.
 */
int qmp_take_over(struct qmp *qmp, const char *command, struct error *err);

/*
 * An event that qmp_take_events() need not hand on, by its name in quotes: one that
 * comes so often that parsing it costs.
 */
void qmp_skip_event(struct qmp *qmp, const char *quoted);

/* Take the events that have arrived; does not wait for any. */
int qmp_take_events(struct qmp *qmp, struct error *err);

/* Its socket. */
int qmp_fd(const struct qmp *qmp);

/* The other side has closed it: nothing will come any more. */
bool qmp_gone(const struct qmp *qmp);

/* The process that listens on the socket, 0 if it has no number here. */
pid_t qmp_peer(const struct qmp *qmp);

/* "7.2.22" */
const char *qmp_version(const struct qmp *qmp);

#endif /* MIGCTL_QMP_H */
