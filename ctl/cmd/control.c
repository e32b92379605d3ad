// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/control.h"
#include "cmd/output.h"
#include "cmd/record.h"

/* A migration does not wait for a slow client; a client does for a migration. */
#define ANSWER_TIMEOUT_MS	10000

static void control_name(struct control *control, uint64_t session)
{
	snprintf(control->path, sizeof(control->path), RECORD_DIR "/%llu.sock",
		 (unsigned long long)session);
}

static void control_address(const struct control *control,
			    struct sockaddr_un *address)
{
	*address = (struct sockaddr_un) { .sun_family = AF_UNIX };
	snprintf(address->sun_path, sizeof(address->sun_path), "%s", control->path);
}

/* Nobody else may even connect: it is made with these permissions. */
static int control_bind(struct control *control)
{
	struct sockaddr_un address;
	mode_t mask = umask(0177);
	int ret;

	control_address(control, &address);
	unlink(control->path);
	ret = bind(control->listener, (struct sockaddr *)&address, sizeof(address));
	umask(mask);
	return ret ? ret : listen(control->listener, 8);
}

static int control_watch(struct control *control, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(control->fd, EPOLL_CTL_ADD, fd, &event);
}

int control_open(struct control *control, uint64_t session, struct error *err)
{
	*control = CONTROL_NONE;
	control_name(control, session);
	control->fd = epoll_create1(EPOLL_CLOEXEC);
	control->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd >= 0 && control->listener >= 0 && !control_bind(control) &&
	    !control_watch(control, control->listener))
		return 0;
	error_set(err, errno == EACCES ? EXIT_PERMISSION : EXIT_FAILED, "%s: %s",
		  control->path, strerror(errno));
	control_close(control);
	return -1;
}

static void client_remove(struct control *control, size_t index)
{
	close(control->clients[index].fd);
	control->n--;
	memmove(&control->clients[index], &control->clients[index + 1],
		(control->n - index) * sizeof(control->clients[0]));
}

void control_close(struct control *control)
{
	while (control->n)
		client_remove(control, control->n - 1);
	if (control->listener >= 0) {
		unlink(control->path);
		close(control->listener);
	}
	if (control->fd >= 0)
		close(control->fd);
	*control = CONTROL_NONE;
}

/* 1 when the line is whole, 0: not yet, -1: it is too long, or nobody is there. */
static int line_take(int fd, char line[CONTROL_LINE], size_t *used)
{
	ssize_t length;

	while (*used < CONTROL_LINE - 1) {
		length = recv(fd, line + *used, CONTROL_LINE - 1 - *used, MSG_DONTWAIT);
		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (length <= 0)
			return -1;
		*used += (size_t)length;
		line[*used] = '\0';
		if (line[*used - 1] == '\n')
			return 1;
	}
	return -1;
}

/* One line; -1 if it does not come in time, or is too long. */
static int line_read(int fd, char line[CONTROL_LINE], int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	size_t used = 0;
	int ret = 0;

	while (!ret && poll(&pfd, 1, timeout_ms) > 0)
		ret = line_take(fd, line, &used);
	return ret > 0 ? 0 : -1;
}

static int line_send(int fd, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL, *line = NULL;
	int ret = -1;

	if (text && asprintf(&line, "%s\n", text) >= 0)
		ret = send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 ? -1 : 0;
	free(line);
	free(text);
	json_decref(json);
	return ret;
}

static json_t *answer_of(int ret, const struct error *err)
{
	if (!ret)
		return json_pack("{s:b}", "done", 1);
	return json_pack("{s:i, s:o, s:o}", "code", err->code, "message",
			 json_text(err->message), "advice", json_text(err->advice));
}

static void answer(int fd, const char *line, control_fn *fn, void *data)
{
	struct error err = {};
	const char *command;
	json_t *request;
	int ret = -1;

	request = json_loads(line, 0, NULL);
	command = json_string_value(json_object_get(request, "command"));
	if (command)
		ret = fn(command, request, data, &err);
	else
		error_set(&err, EXIT_USAGE, "that is no request");
	json_decref(request);
	line_send(fd, answer_of(ret, &err));
}

/*
 * Who waited in vain has said so to its user: nothing is done for it later. One that only
 * has nothing more to say still waits.
 */
static bool has_left(int fd)
{
	struct pollfd pfd = { .fd = fd };

	return poll(&pfd, 1, 0) > 0 && pfd.revents & (POLLHUP | POLLERR);
}

static void let_in(struct control *control)
{
	int fd, n;

	/* No more than have room, however many come. */
	for (n = 0; n < CONTROL_CLIENTS; n++) {
		fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		if (control->n == CONTROL_CLIENTS)
			client_remove(control, 0);
		if (control_watch(control, fd)) {
			close(fd);
			continue;
		}
		control->clients[control->n].fd = fd;
		control->clients[control->n++].used = 0;
	}
}

void control_serve(struct control *control, control_fn *fn, void *data)
{
	struct control_client *client;
	struct epoll_event event;
	size_t i;
	int ret;

	if (control->fd < 0 || epoll_wait(control->fd, &event, 1, 0) <= 0)
		return;
	let_in(control);
	for (i = control->n; i-- > 0;) {
		client = &control->clients[i];
		ret = line_take(client->fd, client->line, &client->used);
		if (ret > 0 && !has_left(client->fd))
			answer(client->fd, client->line, fn, data);
		if (ret)
			client_remove(control, i);
	}
}

void control_number(const json_t *request, const char *key, uint64_t *value)
{
	const json_t *number = json_object_get(request, key);

	if (json_is_integer(number) && json_integer_value(number) >= 0)
		*value = (uint64_t)json_integer_value(number);
}

/* ---- the other side ---- */

static int no_answer(uint64_t session, struct error *err)
{
	error_set(err, EXIT_GONE, "the migration of session %llu does not answer",
		  (unsigned long long)session);
	return error_advise(err, "see migctl list whether it has ended");
}

static int ask_error(uint64_t session, struct error *err)
{
	if (errno == EAGAIN)
		return no_answer(session, err);
	if (errno != ENOENT && errno != ECONNREFUSED)
		return error_set(err, errno == EACCES ? EXIT_PERMISSION : EXIT_FAILED,
				 "session %llu: %s", (unsigned long long)session,
				 strerror(errno));
	error_set(err, EXIT_GONE, "session %llu is no migration that is under way",
		  (unsigned long long)session);
	return error_advise(err, "see migctl list, column MIGRATION");
}

static int answer_take(const char *line, struct error *err)
{
	const char *message = NULL, *advice = "";
	json_t *answer = json_loads(line, 0, NULL);
	int code = EXIT_FAILED, ret = 0;

	if (!json_is_true(json_object_get(answer, "done"))) {
		json_unpack(answer, "{s:i, s:s, s:s}", "code", &code, "message",
			    &message, "advice", &advice);
		ret = error_set(err, (enum exit_code)code, "%s",
				message ? message : "the migration did not answer");
		error_advise(err, "%s", advice);
	}
	json_decref(answer);
	return ret;
}

/* One that hangs lets nobody in, and its queue gets full: that is not waited for, either. */
static int ask_connect(int fd, uint64_t session)
{
	const struct timeval patience = { .tv_sec = ANSWER_TIMEOUT_MS / 1000 };
	struct control control = CONTROL_NONE;
	struct sockaddr_un address;

	control_name(&control, session);
	control_address(&control, &address);
	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) ||
	       connect(fd, (struct sockaddr *)&address, sizeof(address)) ? -1 : 0;
}

int control_ask(uint64_t session, json_t *request, struct error *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret = -1;
	char line[CONTROL_LINE];

	if (fd < 0 || ask_connect(fd, session)) {
		ask_error(session, err);
		json_decref(request);
	} else if (line_send(fd, request) ||
		   line_read(fd, line, ANSWER_TIMEOUT_MS)) {
		no_answer(session, err);
	} else {
		ret = answer_take(line, err);
	}
	if (fd >= 0)
		close(fd);
	return ret;
}
