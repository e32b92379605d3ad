// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "qmp_server.h"
#include "unit.h"

/*
 * Reads a request: all up to a closing brace of the outermost. A 0xff makes it
 * start anew, as in QEMU.
 */
static bool read_request(int fd, char *requests, size_t size)
{
	size_t used = strlen(requests);
	bool begun = false;
	int depth = 0;
	char c;

	do {
		if (read(fd, &c, 1) != 1 || used + 2 > size)
			return false;
		if (c == '\xff')
			depth = begun = 0;
		begun |= c == '{';
		depth += (c == '{') - (c == '}');
		requests[used++] = c;
		requests[used] = '\0';
	} while (depth || !begun);
	return true;
}

/* The line with the last request's id in the place of ID. The caller frees it. */
static char *fill_id(const char *line, const char *requests)
{
	const char *at = strstr(line, ID), *id = NULL, *next = requests;
	char *text;

	if (!at)
		return strdup(line);
	while ((next = strstr(next, "\"id\":\"")))
		id = next += strlen("\"id\":\"");
	if (asprintf(&text, "%.*s%.*s%s", (int)(at - line), line,
		     id ? (int)strcspn(id, "\"") : 0, id ? id : "",
		     at + strlen(ID)) < 0)
		abort();
	return text;
}

/* In two pieces: a message need not come at once. */
static bool send_line(int fd, const char *line)
{
	if (send(fd, line, 1, MSG_NOSIGNAL) != 1)
		return false;
	usleep(1000);
	return send(fd, line + 1, strlen(line + 1), MSG_NOSIGNAL) >= 0;
}

/* Says nothing any more, until the client gives up or the test ends. */
static void hang(int fd)
{
	char c;

	while (recv(fd, &c, 1, 0) > 0)
		;
}

static void *serve(void *data)
{
	struct server *server = data;
	const char * const *line;
	bool sent = true;
	char *text;
	int fd;

	fd = accept(server->fd, NULL, NULL);
	__atomic_store_n(&server->peer, fd, __ATOMIC_SEQ_CST);
	for (line = server->script; *line && sent; line++) {
		if (line != server->script &&
		    !read_request(fd, server->requests,
				  sizeof(server->requests)))
			break;
		if (!**line) {
			hang(fd);
			break;
		}
		text = fill_id(*line, server->requests);
		sent = send_line(fd, text);
		free(text);
	}
	shutdown(fd, SHUT_RDWR);
	return NULL;
}

void server_start(struct server *server, const char * const *script)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	*server = (struct server) { .script = script, .peer = -1 };
	snprintf(server->path, sizeof(server->path), "/tmp/migtrack-unit-%d",
		 getpid());
	strcpy(address.sun_path, server->path);
	server->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_EQ(bind(server->fd, (void *)&address, sizeof(address)), 0);
	CHECK_EQ(listen(server->fd, 1), 0);
	if (script)
		CHECK_EQ(pthread_create(&server->thread, NULL, serve, server),
			 0);
}

void server_stop(struct server *server)
{
	shutdown(server->fd, SHUT_RDWR);
	if (server->script) {
		shutdown(__atomic_load_n(&server->peer, __ATOMIC_SEQ_CST), SHUT_RDWR);
		pthread_join(server->thread, NULL);
		close(server->peer);
	}
	close(server->fd);
	unlink(server->path);
}

struct vmm *connect_to(struct server *server, const char * const *script)
{
	struct error err = {};
	struct vmm *vmm = NULL;

	server_start(server, script);
	CHECK_EQ(vmm_qemu.open(&vmm, server->path, 0, &err), 0);
	return vmm;
}

void disconnect(struct vmm *vmm, struct server *server)
{
	vmm->ops->close(vmm);
	server_stop(server);
}
