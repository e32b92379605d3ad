// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/fault.h"

#ifdef MIGCTL_TEST_FAULTS
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FD	1024

static void cut(void)
{
	struct sockaddr_storage name;
	socklen_t len;
	int fd;

	for (fd = 0; fd < MAX_FD; fd++) {
		len = sizeof(name);
		if (!getpeername(fd, (struct sockaddr *)&name, &len) &&
		    name.ss_family != AF_UNIX)
			shutdown(fd, SHUT_RDWR);
	}
}

/**
 * fault() - fail here, if that is asked for
 * @point: where
 * @err: what failed
 *
 * Once, in whatever thread: a process that goes on after it is not disturbed again.
 *
 * Return: 0 or -1.
 */
int fault(const char *point, struct error *err)
{
	const char *asked = getenv("MIGCTL_FAULT"), *action;
	static bool over;

	action = asked ? strchr(asked, '=') : NULL;
	if (!action || strlen(point) != (size_t)(action - asked) ||
	    strncmp(asked, point, strlen(point)) ||
	    __atomic_exchange_n(&over, true, __ATOMIC_RELAXED))
		return 0;
	fprintf(stderr, "migctl: fault at %s\n", asked);
	action++;
	if (!strcmp(action, "kill"))
		raise(SIGKILL);
	else if (!strcmp(action, "stop"))
		raise(SIGSTOP);
	else if (!strcmp(action, "cut"))
		cut();
	else
		return error_set(err, EXIT_FAILED, "fault at %s", point);
	return 0;
}
#endif
