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

#include "common/clock.h"

#define MAX_FD	1024
#define LATE_NS	NS_PER_S

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

/* What is asked for at this point, NULL if nothing. */
static const char *asked_for(const char *point)
{
	const char *asked = getenv("MIGCTL_FAULT");
	size_t length = strlen(point);

	return asked && !strncmp(asked, point, length) && asked[length] == '=' ?
	       asked + length + 1 : NULL;
}

static bool over;

/* Once, in whatever thread. */
static bool happens(const char *point, const char *action)
{
	if (__atomic_exchange_n(&over, true, __ATOMIC_RELAXED))
		return false;
	fprintf(stderr, "migctl: fault at %s=%s\n", point, action);
	return true;
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
	const char *action = asked_for(point);

	if (!action || !strcmp(action, "late") || !happens(point, action))
		return 0;
	if (!strcmp(action, "kill"))
		raise(SIGKILL);
	else if (!strcmp(action, "stop"))
		raise(SIGSTOP);
	else if (!strcmp(action, "int"))
		kill(getpid(), SIGINT);
	else if (!strcmp(action, "cut"))
		cut();
	else
		return error_set(err, EXIT_FAILED, "fault at %s", point);
	return 0;
}

/**
 * fault_is() - is that what is asked for?
 * @point: where
 * @action: what
 *
 * Return: true, once.
 */
bool fault_is(const char *point, const char *action)
{
	const char *asked = asked_for(point);

	return asked && !strcmp(asked, action) && happens(point, action);
}

/**
 * fault_late() - is what comes next late, as that is asked for?
 * @point: where
 *
 * One thread asks, again and again.
 *
 * Return: true for a second, if it is asked for here.
 */
bool fault_late(const char *point)
{
	const char *action = asked_for(point);
	static uint64_t until;

	if (!action || strcmp(action, "late"))
		return false;
	if (!until) {
		fprintf(stderr, "migctl: fault at %s=%s\n", point, action);
		until = now_ns() + LATE_NS;
	}
	return now_ns() < until;
}
#endif
