// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/descriptors.h"
#include "vmm/qmp.h"

#define GREETING_TIMEOUT_MS	3000
#define REPLY_TIMEOUT_MS	10000

/* query-qmp-schema, the longest reply, takes some 300 KiB. */
#define LINE_MAX_BYTES		(8u << 20)

/* How each event begins, and how long one that is skipped can be. */
#define EVENT_START		"{\"timestamp\""
#define SKIPPED_MAX_BYTES	256

/**
 * struct qmp - a connection
 * @fd: the socket
 * @dialect: what is spoken there
 * @path: its name, for messages
 * @version: of the QEMU behind it
 * @buffer: bytes received, not yet taken as messages
 * @used: how many
 * @room: allocated
 * @fds: descriptors that came with them
 * @n_fds: how many
 * @commands: how many were sent, for their ids
 * @id: of the command that is under way
 * @gone: the other side has closed it
 * @resync: skip what is no message and all that is not the awaited reply
 * @skipped: the quoted name of an event that qmp_take_events() leaves out, or NULL
 * @on_event: takes events, NULL to skip them
 * @event_data: its argument
 */
struct qmp {
	int fd;
	const struct qmp_dialect *dialect;
	char *path;
	char version[64];
	char *buffer;
	size_t used;
	size_t room;
	int fds[DESCRIPTORS_MAX];
	size_t n_fds;
	unsigned int commands;
	char id[32];
	bool gone;
	bool resync;
	const char *skipped;
	qmp_event_fn *on_event;
	void *event_data;
};

static const struct qmp_dialect dialect_qmp = {
	.who = "QEMU",
	.greeting = "QMP greeting",
	.not_a_message = "what it sends is not QMP",
	.not_a_greeting = "what it sends is not a QMP greeting",
	.not_a_reply = "what it sends is not a QMP reply",
	.socket = "give the path of QEMU's -qmp unix: socket as this host names it",
	.wrong = "give the socket of QEMU's -qmp option, not a human monitor, serial port or guest agent",
	.busy = "QMP takes one client at a time: libvirt, another migctl or a shell may hold this socket; end that one, give QEMU a second -qmp socket, or use --pid with --ram",
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int not_qmp(const struct qmp *qmp, struct error *err, const char *what)
{
	error_set(err, EXIT_VMM, "%s: %s", qmp->path, what);
	return error_advise(err, "%s", qmp->dialect->wrong);
}

static int hung_up(struct qmp *qmp, struct error *err)
{
	qmp->gone = true;
	error_set(err, EXIT_VMM, "%s: the VMM closed the connection%s",
		  qmp->path, qmp->used ? " in the middle of a message" : "");
	return error_advise(err, "see whether %s still runs, and its log",
			    qmp->dialect->who);
}

static int timed_out(const struct qmp *qmp, struct error *err,
		     const char *command)
{
	if (command) {
		error_set(err, EXIT_VMM,
			  "%s: no reply to %s within %d s", qmp->path, command,
			  REPLY_TIMEOUT_MS / 1000);
		return error_advise(err, "%s may be stopped or stuck in I/O: see its process state and log",
				    qmp->dialect->who);
	}
	error_set(err, EXIT_VMM, "%s: no %s within %d s", qmp->path,
		  qmp->dialect->greeting, GREETING_TIMEOUT_MS / 1000);
	return error_advise(err, "%s", qmp->dialect->busy);
}

/* Says why before connect(2) does, which has one errno for several cases. */
static int socket_check(const struct qmp *qmp, struct error *err)
{
	const char *path = qmp->path;
	struct stat st;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		error_set(err, EXIT_USAGE,
			  "%s: too long for the name of a socket", path);
		return error_advise(err,
				    "change to its directory and give a relative path");
	}
	if (stat(path, &st)) {
		enum exit_code code = errno == EACCES ? EXIT_PERMISSION :
							EXIT_VMM;

		error_set(err, code, "%s: %s", path, strerror(errno));
		return error_advise(err, "%s", qmp->dialect->socket);
	}
	if (!S_ISSOCK(st.st_mode)) {
		error_set(err, EXIT_VMM, "%s is not a socket", path);
		return error_advise(err, "%s", qmp->dialect->socket);
	}
	return 0;
}

static int connect_error(const struct qmp *qmp, struct error *err)
{
	switch (errno) {
	case EAGAIN:
		return timed_out(qmp, err, NULL);
	case ECONNREFUSED:
		error_set(err, EXIT_VMM, "%s: nobody listens there", qmp->path);
		return error_advise(err,
				    "who made this socket has ended, or it is not a stream socket");
	case EACCES:
	case EPERM:
		error_set(err, EXIT_PERMISSION, "%s: %s", qmp->path,
			  strerror(errno));
		return error_advise(err,
				    "run migctl as root or as the VMM's user");
	default:
		return error_set(err, EXIT_VMM, "%s: %s", qmp->path,
				 strerror(errno));
	}
}

static int socket_connect(struct qmp *qmp, struct error *err)
{
	struct timeval timeout = { .tv_sec = GREETING_TIMEOUT_MS / 1000 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (socket_check(qmp, err))
		return -1;
	qmp->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (qmp->fd < 0)
		return error_set(err, EXIT_FAILED, "socket: %s",
				 strerror(errno));
	/* A full backlog makes connect(2) wait as long as a send may. */
	setsockopt(qmp->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout,
		   sizeof(timeout));
	memcpy(address.sun_path, qmp->path, strlen(qmp->path));
	if (connect(qmp->fd, (struct sockaddr *)&address, sizeof(address)))
		return connect_error(qmp, err);
	return 0;
}

static int buffer_grow(struct qmp *qmp, struct error *err)
{
	size_t room = qmp->room ? 2 * qmp->room : 4096;
	char *buffer;

	if (room > LINE_MAX_BYTES)
		return not_qmp(qmp, err, "a message without end");
	buffer = realloc(qmp->buffer, room);
	if (!buffer)
		return error_set(err, EXIT_FAILED, "out of memory");
	qmp->buffer = buffer;
	qmp->room = room;
	return 0;
}

/* Wait for more bytes until @deadline. */
static int buffer_fill(struct qmp *qmp, int64_t deadline, const char *command,
		       struct error *err)
{
	struct pollfd pfd = { .fd = qmp->fd, .events = POLLIN };
	int64_t left = deadline - now_ms();
	ssize_t len;
	int ret;

	if (qmp->used == qmp->room && buffer_grow(qmp, err))
		return -1;
	ret = poll(&pfd, 1, left > 0 ? (int)left : 0);
	if (!ret)
		return timed_out(qmp, err, command);
	if (ret < 0)
		return errno == EINTR ? 0 :
		       error_set(err, EXIT_FAILED, "poll: %s", strerror(errno));
	len = descriptors_receive(qmp->fd, qmp->buffer + qmp->used, qmp->room - qmp->used,
				  qmp->fds, &qmp->n_fds);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (len < 0 && errno == E2BIG)
		return not_qmp(qmp, err, "more descriptors with a message than there can be");
	if (len <= 0)
		return hung_up(qmp, err);
	qmp->used += (size_t)len;
	return 0;
}

/*
 * Take a message out of the first @length bytes of the buffer, which end with
 * a line. Returns 1 with it, 0 if it goes on in the next line (QEMU's
 * pretty=on), or -1 if this is no JSON object.
 */
static int message_take(struct qmp *qmp, size_t length, json_t **message)
{
	json_error_t error;

	*message = json_loadb(qmp->buffer, length, 0, &error);
	if (!*message && json_error_code(&error) ==
			 json_error_premature_end_of_input)
		return 0;
	qmp->used -= length;
	memmove(qmp->buffer, qmp->buffer + length, qmp->used);
	if (json_is_object(*message))
		return 1;
	json_decref(*message);
	return -1;
}

static int message_read(struct qmp *qmp, int64_t deadline, const char *command,
			json_t **message, struct error *err)
{
	size_t scanned = 0;
	bool again = false;
	char *end;
	int ret;

	for (;; again = true) {
		/* However much comes that is no message. */
		if (again && now_ms() > deadline)
			return timed_out(qmp, err, command);
		end = NULL;
		if (qmp->used > scanned)
			end = memchr(qmp->buffer + scanned, '\n',
				     qmp->used - scanned);
		scanned = end ? (size_t)(end + 1 - qmp->buffer) : qmp->used;
		if (!end) {
			if (buffer_fill(qmp, deadline, command, err))
				return -1;
			continue;
		}
		ret = message_take(qmp, scanned, message);
		if (ret > 0)
			return 0;
		if (ret < 0 && !qmp->resync)
			return not_qmp(qmp, err, qmp->dialect->not_a_message);
		/* What is no message was removed from the buffer. */
		if (ret < 0)
			scanned = 0;
	}
}

static int greeting_read(struct qmp *qmp, struct error *err)
{
	int major = 0, minor = 0, micro = 0, ret;
	json_t *greeting;

	ret = message_read(qmp, now_ms() + GREETING_TIMEOUT_MS, NULL,
			   &greeting, err);
	if (ret)
		return ret;
	ret = json_unpack(greeting,
			  "{s:{s:{s:{s:i, s:i, s:i}}}}", "QMP", "version",
			  "qemu", "major", &major, "minor", &minor, "micro",
			  &micro);
	json_decref(greeting);
	if (ret)
		return not_qmp(qmp, err, qmp->dialect->not_a_greeting);
	snprintf(qmp->version, sizeof(qmp->version), "%d.%d.%d", major, minor,
		 micro);
	return 0;
}

static int text_send(struct qmp *qmp, const char *text, const char *command,
		     int fd, struct error *err)
{
	size_t size = strlen(text);
	ssize_t sent;

	/* Commands are shorter than the socket's buffer: one send is all. */
	sent = descriptors_send(qmp->fd, text, size, &fd, fd >= 0);
	if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
		return hung_up(qmp, err);
	if (sent != (ssize_t)size)
		return timed_out(qmp, err, command);
	return 0;
}

static int command_send(struct qmp *qmp, const char *command, json_t *arguments,
			const char *id, int fd, struct error *err)
{
	char *text, *line = NULL;
	json_t *request;
	int ret;

	request = json_pack("{s:s, s:o*, s:s}", "execute", command, "arguments",
			    arguments, "id", id);
	text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	json_decref(request);
	if (!text || asprintf(&line, "%s\n", text) < 0)
		ret = error_set(err, EXIT_FAILED, "out of memory");
	else
		ret = text_send(qmp, line, command, fd, err);
	free(line);
	free(text);
	return ret;
}

/*
 * Whether a message answers our command. A reply with another id is the late
 * one of a command that was given up, or of another process. One without is
 * QEMU's when it could not parse what it got.
 */
static bool reply_is_mine(const struct qmp *qmp, const json_t *message,
			  const char *id)
{
	const json_t *theirs = json_object_get(message, "id");

	if (!theirs)
		return !qmp->resync;
	return json_is_string(theirs) && !strcmp(json_string_value(theirs), id);
}

static int reply_take(struct qmp *qmp, const char *command, json_t *message,
		      json_t **result, struct error *err)
{
	const char *text = "no reason given";
	json_t *value;

	value = json_object_get(message, "return");
	if (value) {
		if (result)
			*result = json_incref(value);
		return 0;
	}
	value = json_object_get(message, "error");
	if (!value)
		return not_qmp(qmp, err, qmp->dialect->not_a_reply);
	if (json_is_string(json_object_get(value, "desc")))
		text = json_string_value(json_object_get(value, "desc"));
	return error_set(err, EXIT_VMM, "%s: %s refused %s: %s", qmp->path,
			 qmp->dialect->who, command, text);
}

static bool event_take(struct qmp *qmp, json_t *message)
{
	json_t *name = json_object_get(message, "event");

	if (!json_is_string(name))
		return false;
	if (qmp->on_event)
		qmp->on_event(json_string_value(name), message,
			      qmp->event_data);
	return true;
}

/* Wait for the reply to @id and take what comes before it. */
static int reply_read(struct qmp *qmp, const char *command, const char *id,
		      json_t **reply, struct error *err)
{
	int64_t deadline = now_ms() + REPLY_TIMEOUT_MS;
	json_t *message;

	do {
		if (message_read(qmp, deadline, command, &message, err))
			return -1;
		if (!event_take(qmp, message) &&
		    reply_is_mine(qmp, message, id)) {
			*reply = message;
			return 0;
		}
		json_decref(message);
	} while (now_ms() <= deadline);
	return timed_out(qmp, err, command);
}

/**
 * qmp_begin() - send a command, and do not wait for its reply
 * @qmp: the connection; no other command is under way
 * @command: its name
 * @arguments: used up, may be NULL
 * @fd: that goes with it, or -1
 * @err: why it can't be sent
 *
 * Return: 0 or -1.
 */
int qmp_begin(struct qmp *qmp, const char *command, json_t *arguments, int fd,
	      struct error *err)
{
	/* With the pid, so that a process forked from this one has its own. */
	snprintf(qmp->id, sizeof(qmp->id), "%d.%u", getpid(), ++qmp->commands);
	return command_send(qmp, command, arguments, qmp->id, fd, err);
}

/**
 * qmp_end() - wait for the reply to the command that was sent last
 * @qmp: the connection
 * @command: its name
 * @result: what it returned, the caller's; may be NULL
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int qmp_end(struct qmp *qmp, const char *command, json_t **result, struct error *err)
{
	json_t *reply = NULL;
	int ret;

	if (reply_read(qmp, command, qmp->id, &reply, err))
		return -1;
	ret = reply_take(qmp, command, reply, result, err);
	json_decref(reply);
	return ret;
}

int qmp_execute_fd(struct qmp *qmp, const char *command, json_t *arguments,
		   int fd, json_t **result, struct error *err)
{
	return qmp_begin(qmp, command, arguments, fd, err) ||
	       qmp_end(qmp, command, result, err) ? -1 : 0;
}

int qmp_execute(struct qmp *qmp, const char *command, json_t *arguments,
		json_t **result, struct error *err)
{
	return qmp_execute_fd(qmp, command, arguments, -1, result, err);
}

/**
 * qmp_take_over() - go on with a connection that another process has left
 * @qmp: the connection, as it was when this process was forked
 * @command: that the other side knows
 * @err: why it can't be used
 *
 * QEMU may hold the first part of a command, and may have sent replies of which
 * nobody has read the end. A byte that JSON doesn't have makes its parser start
 * anew (docs/interop/qmp-spec); what it sends is dropped up to the reply to a
 * @command, which changes nothing.
 *
 * Return: 0 or -1.
 */
int qmp_take_over(struct qmp *qmp, const char *command, struct error *err)
{
	int ret;

	qmp->used = 0;
	if (text_send(qmp, "\xff\n", command, -1, err))
		return -1;
	qmp->resync = true;
	ret = qmp_execute(qmp, command, NULL, NULL, err);
	qmp->resync = false;
	return ret;
}

static const char *line_end(const struct qmp *qmp, size_t from)
{
	return qmp->used > from ?
	       memchr(qmp->buffer + from, '\n', qmp->used - from) : NULL;
}

/* An event of the name that nobody wants: told by a look, as QEMU writes them. */
static bool line_is_skipped(const struct qmp *qmp, const char *line, size_t length)
{
	return qmp->skipped && length <= SKIPPED_MAX_BYTES &&
	       !strncmp(line, EVENT_START, strlen(EVENT_START)) &&
	       memmem(line, length, qmp->skipped, strlen(qmp->skipped));
}

static void lines_skip(struct qmp *qmp)
{
	size_t from = 0;
	const char *end;

	while ((end = line_end(qmp, from)) &&
	       line_is_skipped(qmp, qmp->buffer + from,
			       (size_t)(end + 1 - qmp->buffer) - from))
		from = (size_t)(end + 1 - qmp->buffer);
	if (!from)
		return;
	qmp->used -= from;
	memmove(qmp->buffer, qmp->buffer + from, qmp->used);
}

void qmp_skip_event(struct qmp *qmp, const char *quoted)
{
	qmp->skipped = quoted;
}

/**
 * qmp_take_events() - hand on the events that have arrived
 * @qmp: the connection; no reply is awaited
 * @err: why it can't be read any more
 *
 * Return: 0 or -1.
 */
int qmp_take_events(struct qmp *qmp, struct error *err)
{
	struct pollfd pfd = { .fd = qmp->fd, .events = POLLIN };
	int64_t deadline = now_ms() + REPLY_TIMEOUT_MS;
	json_t *message;

	/* The rest is for the next time, if they come faster than they are taken. */
	while (now_ms() <= deadline) {
		lines_skip(qmp);
		if (!line_end(qmp, 0)) {
			if (poll(&pfd, 1, 0) <= 0)
				return 0;
			if (buffer_fill(qmp, deadline, "an event", err))
				return -1;
			continue;
		}
		if (message_read(qmp, deadline, "an event", &message, err))
			return -1;
		/* What else comes is the late reply to a command given up. */
		event_take(qmp, message);
		json_decref(message);
	}
	return 0;
}

/* Whether something has come that nobody has read. */
bool qmp_readable(const struct qmp *qmp)
{
	struct pollfd pfd = { .fd = qmp->fd, .events = POLLIN };

	return line_end(qmp, 0) || poll(&pfd, 1, 0) > 0;
}

/**
 * qmp_take_fds() - the descriptors that came since the last call
 * @qmp: the connection
 * @fds: the caller's; there is room for DESCRIPTORS_MAX
 *
 * Return: how many.
 */
size_t qmp_take_fds(struct qmp *qmp, int *fds)
{
	size_t n = qmp->n_fds;

	memcpy(fds, qmp->fds, n * sizeof(*fds));
	qmp->n_fds = 0;
	return n;
}

/**
 * qmp_connect() - connect to what speaks in the same way, and read its first line
 * @qmp: the connection, NULL on failure
 * @path: of the UNIX socket
 * @dialect: what is to be spoken
 * @greeting: the line; NULL: it is QEMU's, and is taken
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int qmp_connect(struct qmp **qmp, const char *path, const struct qmp_dialect *dialect,
		json_t **greeting, struct error *err)
{
	struct qmp *new;

	*qmp = NULL;
	new = calloc(1, sizeof(*new));
	if (!new)
		return error_set(err, EXIT_FAILED, "out of memory");
	new->fd = -1;
	new->dialect = dialect;
	new->path = strdup(path);
	if (!new->path) {
		error_set(err, EXIT_FAILED, "out of memory");
		goto err_close;
	}
	if (socket_connect(new, err) ||
	    (greeting ? message_read(new, now_ms() + GREETING_TIMEOUT_MS, NULL, greeting,
				     err) : greeting_read(new, err)))
		goto err_close;
	*qmp = new;
	return 0;

err_close:
	qmp_close(new);
	return -1;
}

/**
 * qmp_open() - connect and negotiate
 * @qmp: the connection, NULL on failure
 * @path: of the UNIX socket
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int qmp_open(struct qmp **qmp, const char *path, struct error *err)
{
	if (qmp_connect(qmp, path, &dialect_qmp, NULL, err))
		return -1;
	if (!qmp_execute(*qmp, "qmp_capabilities", NULL, NULL, err))
		return 0;
	qmp_close(*qmp);
	*qmp = NULL;
	return -1;
}

void qmp_close(struct qmp *qmp)
{
	if (!qmp)
		return;
	if (qmp->fd >= 0)
		close(qmp->fd);
	while (qmp->n_fds)
		close(qmp->fds[--qmp->n_fds]);
	free(qmp->buffer);
	free(qmp->path);
	free(qmp);
}

void qmp_on_event(struct qmp *qmp, qmp_event_fn *fn, void *data)
{
	qmp->on_event = fn;
	qmp->event_data = data;
}

pid_t qmp_peer(const struct qmp *qmp)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(qmp->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return 0;
	return peer.pid;
}

int qmp_fd(const struct qmp *qmp)
{
	return qmp->fd;
}

bool qmp_gone(const struct qmp *qmp)
{
	return qmp->gone;
}

const char *qmp_version(const struct qmp *qmp)
{
	return qmp->version;
}
