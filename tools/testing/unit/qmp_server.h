/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A QMP server that plays a script. */
#ifndef MIGTRACK_QMP_SERVER_H
#define MIGTRACK_QMP_SERVER_H

#include <pthread.h>

#include "vmm/vmm.h"

#define GREETING \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 3, \"minor\": 1, \"major\": 11}, \"package\": \"\"}, \"capabilities\": []}}\r\n"
#define OK	"{\"return\": {}}\r\n"

/**
 * struct server - plays one connection
 * @script: what it sends: the greeting, then an answer to each line; NULL ends
 *	it. An empty string hangs for good.
 * @path: of the socket
 * @fd: the listening socket
 * @requests: what it was sent
 */
struct server {
	const char * const *script;
	char path[64];
	int fd;
	char requests[4096];
	int peer;
	pthread_t thread;
};

#define SCRIPT(...)	((const char * const []) { __VA_ARGS__, NULL })
#define RETURN(text)	"{\"return\": " text "}\n"
#define FAIL(text)	"{\"error\": {\"class\": \"GenericError\", \"desc\": \"" text "\"}}\n"

/* In a script: the id of the request that it answers. */
#define ID		"%ID%"

void server_start(struct server *server, const char * const *script);
void server_stop(struct server *server);

/* With the QEMU driver at the other end. */
struct vmm *connect_to(struct server *server, const char * const *script);
void disconnect(struct vmm *vmm, struct server *server);

#endif /* MIGTRACK_QMP_SERVER_H */
