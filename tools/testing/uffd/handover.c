// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The VMM's side of Documentation/handover.rst: it listens, and one client after the
 * other tells it what to do with its guest.
 */
#include <err.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "common/descriptors.h"
#include "lazy.h"

#define MAX_LINE	65536
/* So many numbers at least are written by a guest that runs when its VMM is told to end. */
#define GOES_ON		10

enum state { INCOMING, LOADING, PAUSED, RUNNING };

static const char * const state_names[] = {
	[INCOMING] = "incoming",
	[LOADING] = "incoming",
	[PAUSED] = "paused",
	[RUNNING] = "running",
};

/**
 * struct server - who is served
 * @machine: the guest
 * @state: its
 * @lazy: its userfaultfd, while it is handed over
 * @modes: that it is registered for
 * @ran: it ran when the client came
 * @given: its state was saved, and is nobody's copy
 * @ended: a client, or a signal, has ended it
 * @signals: SIGTERM
 * @fd: the client
 * @line: what has come of a command
 * @used: bytes
 * @fds: that came with it
 * @n_fds: how many
 */
static struct server {
	struct machine *machine;
	enum state state;
	struct lazy lazy;
	uint64_t modes;
	bool ran;
	bool given;
	bool ended;
	int signals;
	int fd;
	char line[MAX_LINE];
	size_t used;
	int fds[DESCRIPTORS_MAX];
	size_t n_fds;
} server = { .lazy.fd = -1, .fd = -1 };

/* A command returns NULL, or why it was refused. */
typedef const char *command_fn(struct server *s, const json_t *arguments, json_t *result);

static const char *command_query(struct server *s, const json_t *arguments, json_t *result)
{
	(void)arguments;
	json_object_set_new(result, "state", json_string(state_names[s->state]));
	return NULL;
}

static const char *command_pause(struct server *s, const json_t *arguments, json_t *result)
{
	(void)arguments;
	(void)result;
	if (s->state == RUNNING)
		machine_pause(s->machine);
	else if (s->state != PAUSED)
		return "there is no guest";
	s->state = PAUSED;
	return NULL;
}

static const char *command_run(struct server *s, const json_t *arguments, json_t *result)
{
	(void)arguments;
	(void)result;
	if (s->state == PAUSED)
		machine_run(s->machine);
	else if (s->state != RUNNING)
		return "there is no guest";
	s->state = RUNNING;
	s->given = false;
	return NULL;
}

static const char *command_save(struct server *s, const json_t *arguments, json_t *result)
{
	(void)result;
	if (s->state != PAUSED)
		return "the guest is not paused";
	if (s->n_fds != 1)
		return "where to?";
	if (machine_save(s->machine, s->fds[0]))
		return "the state can't be written";
	s->given = !json_is_true(json_object_get(arguments, "copy"));
	return NULL;
}

static const char *command_load(struct server *s, const json_t *arguments, json_t *result)
{
	(void)arguments;
	(void)result;
	if (s->state != INCOMING)
		return "there is a guest already";
	if (s->n_fds != 1)
		return "from where?";
	s->state = LOADING;
	if (machine_load(s->machine, s->fds[0]))
		return "the state can't be read, or is that of another guest";
	answer_begin(s->machine);
	s->state = PAUSED;
	return NULL;
}

static const char *command_userfaultfd(struct server *s, const json_t *arguments,
				       json_t *result)
{
	json_t *mode, *modes = json_object_get(arguments, "modes");
	const char *why;
	size_t i;

	if (s->lazy.fd >= 0)
		return "it is handed over already";
	s->modes = 0;
	json_array_foreach(modes, i, mode) {
		if (!strcmp(json_string_value(mode) ? : "", "missing"))
			s->modes |= UFFDIO_REGISTER_MODE_MISSING;
		else if (!strcmp(json_string_value(mode) ? : "", "write"))
			s->modes |= UFFDIO_REGISTER_MODE_WP;
		else
			return "a mode that is not known here";
	}
	why = lazy_register(&s->lazy, s->machine, s->modes);
	json_object_set_new(result, "features", json_integer((json_int_t)s->lazy.features));
	return why;
}

static const char *command_release(struct server *s, const json_t *arguments,
				   json_t *result)
{
	(void)arguments;
	(void)result;
	lazy_unregister(&s->lazy, s->machine);
	return NULL;
}

static const char *command_quit(struct server *s, const json_t *arguments, json_t *result)
{
	(void)arguments;
	(void)result;
	s->ended = true;
	return NULL;
}

static const struct command {
	const char *name;
	command_fn *fn;
} commands[] = {
	{ "query", command_query },
	{ "pause", command_pause },
	{ "run", command_run },
	{ "save", command_save },
	{ "load", command_load },
	{ "userfaultfd", command_userfaultfd },
	{ "release", command_release },
	{ "quit", command_quit },
};

static void message_send(struct server *s, json_t *message, const int *fds, size_t n)
{
	char *text = json_dumps(message, JSON_COMPACT);
	size_t size = strlen(text);

	text[size] = '\n';
	if (descriptors_send(s->fd, text, size + 1, fds, n) != (ssize_t)size + 1)
		shutdown(s->fd, SHUT_RDWR);
	free(text);
	json_decref(message);
}

static const char *request_run(struct server *s, const json_t *request, json_t *result)
{
	const char *name = json_string_value(json_object_get(request, "execute"));
	size_t i;

	for (i = 0; name && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(commands[i].name, name))
			return commands[i].fn(s, json_object_get(request, "arguments"), result);
	}
	return "a command that is not known here";
}

static void request_take(struct server *s, const char *text, size_t length)
{
	json_t *request = json_loadb(text, length, 0, NULL), *result = json_object();
	const char *why = request ? request_run(s, request, result) : "this is no JSON";
	json_t *reply, *id = json_object_get(request, "id");
	bool give = result && json_object_get(result, "features") && !why;

	reply = why ? json_pack("{s:{s:s, s:s}}", "error", "class", "GenericError", "desc", why) :
		      json_pack("{s:O}", "return", result);
	if (id)
		json_object_set(reply, "id", id);
	message_send(s, reply, &s->lazy.fd, give);
	json_decref(result);
	json_decref(request);
	while (s->n_fds)
		close(s->fds[--s->n_fds]);
}

static void greet(struct server *s)
{
	struct machine *m = s->machine;
	json_t *regions = json_array();
	uint64_t size = m->size / m->regions;
	int fds[DESCRIPTORS_MAX];
	char id[16];
	size_t i;

	for (i = 0; i < m->regions && i < DESCRIPTORS_MAX; i++) {
		snprintf(id, sizeof(id), "ram%zu", i);
		fds[i] = m->fd;
		json_array_append_new(regions,
			json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "id", id,
				  "base_host_virt_addr",
				  (json_int_t)(uintptr_t)(m->memory + i * size),
				  "size", (json_int_t)size, "offset", (json_int_t)(i * size),
				  "page_size", (json_int_t)SEQUENCE_PAGE, "file_offset",
				  (json_int_t)(i * size)));
	}
	message_send(s, json_pack("{s:{s:i, s:s, s:s, s:{s:s, s:s, s:{s:s, s:i, s:i}}, s:o}}",
		"handover", "version", 1, "vmm", "migtrack-test", "release", "1",
		"vm", "machine", machine_name, "uuid", "00000000-0000-0000-0000-000000000001",
		"cpu", "model", "writer", "present", (int)m->writers, "max", (int)m->writers,
		"regions", regions), fds, i);
}

/* 0 when the client has gone. */
static int client_read(struct server *s)
{
	ssize_t length;
	char *end;

	length = descriptors_receive(s->fd, s->line + s->used, sizeof(s->line) - s->used,
				     s->fds, &s->n_fds);
	if (length < 0)
		return errno == EAGAIN || errno == EINTR;
	if (!length)
		return 0;
	s->used += (size_t)length;
	while ((end = memchr(s->line, '\n', s->used)) && !s->ended) {
		request_take(s, s->line, (size_t)(end - s->line));
		s->used -= (size_t)(end + 1 - s->line);
		memmove(s->line, end + 1, s->used);
	}
	return s->used < sizeof(s->line);
}

/* Whoever told it what to do is gone: its guest goes on, if there is a whole one. */
static void client_lost(struct server *s)
{
	bool incomplete = s->lazy.fd >= 0 && (s->modes & UFFDIO_REGISTER_MODE_MISSING);

	close(s->fd);
	s->fd = -1;
	if (s->ended)
		return;
	if (s->state == LOADING || (incomplete && s->state != INCOMING))
		errx(4, "half a guest, and nobody who brings the rest");
	lazy_unregister(&s->lazy, s->machine);
	if (s->ran && s->state == PAUSED && !s->given)
		command_run(s, NULL, NULL);
}

static void client_serve(struct server *s)
{
	struct pollfd fds[] = {
		{ .fd = s->signals, .events = POLLIN },
		{ .fd = s->fd, .events = POLLIN },
	};

	s->used = 0;
	s->ran = s->state == RUNNING;
	greet(s);
	while (!s->ended) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents)
			s->ended = true;
		else if (!client_read(s))
			break;
	}
	client_lost(s);
}

static int socket_listen(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 4))
		err(3, "%s", path);
	return fd;
}

/* The guest that is said to run does: it comes further, if it is given time. */
static void guest_await(struct machine *m)
{
	uint64_t until = machine_writer(m, 0)->written + GOES_ON;
	int i;

	for (i = 0; i < 30000 && machine_writer(m, 0)->written < until; i++)
		usleep(1000);
}

void handover_serve(struct machine *m, const char *path, bool incoming)
{
	struct pollfd fds[2] = { { .events = POLLIN }, { .events = POLLIN } };
	struct server *s = &server;
	sigset_t set;

	s->machine = m;
	s->state = incoming ? INCOMING : RUNNING;
	/* Blocked before there were threads. */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	s->signals = fds[0].fd = signalfd(-1, &set, SFD_CLOEXEC);
	fds[1].fd = socket_listen(path);
	if (!incoming) {
		answer_begin(m);
		machine_run(m);
	}
	while (!s->ended) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents)
			break;
		s->fd = accept(fds[1].fd, NULL, NULL);
		if (s->fd >= 0)
			client_serve(s);
	}
	lazy_unregister(&s->lazy, m);
	if (s->state == RUNNING) {
		guest_await(m);
		machine_pause(m);
	}
	unlink(path);
}
