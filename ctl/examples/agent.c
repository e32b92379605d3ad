// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * An agent that follows one session: it says after each iteration whether the
 * guest's memory gets less, and ends with the session. C and C++.
 *
 *	cc agent.c -o agent $(pkg-config --cflags --libs libmigtrack)
 *	./agent 3
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <migtrack.h>

enum { /* exit codes */ ENDED = 0, MOVED = 1, FAILED = 2, TROUBLE = 3 };

static int trouble(const char *what, int error)
{
	fprintf(stderr, "agent: %s: %s\n", what, strerror(-error));
	return TROUBLE;
}

/* Returns an exit code, or -1 to go on. */
static int look(const struct migtrack_session *now, uint64_t *before)
{
	uint64_t left = now->bytes.total;

	if (now->phase == MIGTRACK_PHASE_COMPLETED)
		return MOVED;
	if (now->phase == MIGTRACK_PHASE_FAILED ||
	    now->phase == MIGTRACK_PHASE_CANCELLED)
		return FAILED;
	if (now->iteration > 1) {
		printf("iteration %llu: %llu bytes left, %s\n",
		       (unsigned long long)now->iteration, (unsigned long long)left,
		       left < *before ? "less than before" : "slow the guest down");
		fflush(stdout);
	}
	if (now->iteration)
		*before = left;
	return -1;
}

static int react(const struct migtrack_event *event, uint64_t id, uint64_t *before)
{
	if (event->type == MIGTRACK_EVENT_SOURCE_CHANGE || event->session.id != id)
		return -1;
	if (event->type == MIGTRACK_EVENT_SESSION_DEL)
		return ENDED;
	return look(&event->session, before);
}

/* Where it stands now: at the start, and when events were lost. */
static int catch_up(struct migtrack *ask, uint64_t id, uint64_t *before)
{
	struct migtrack_session session;
	int ret = migtrack_session_get(ask, id, &session);

	if (ret == -ENOENT)
		return ENDED;
	return ret ? trouble(migtrack_message(ask), ret) : look(&session, before);
}

int main(int argc, char **argv)
{
	struct migtrack *listen = NULL, *ask = NULL;
	uint64_t id = strtoull(argc > 1 ? argv[1] : "0", NULL, 10), before = UINT64_MAX;
	struct migtrack_event event;
	struct pollfd poll_fd;
	int ret, code;

	if (!id)
		return trouble("the number of a session, please", -EINVAL);
	ret = migtrack_open(&listen);
	if (!ret)
		ret = migtrack_open(&ask);
	if (!ret)
		ret = migtrack_subscribe(listen);
	/* First listen, then ask: nothing falls in between. */
	code = ret ? trouble("no migtrack", ret) : catch_up(ask, id, &before);
	fprintf(stderr, "agent: following session %llu\n", (unsigned long long)id);
	while (code < 0) {
		ret = migtrack_event_read(listen, &event);
		if (ret == -EAGAIN) {
			poll_fd.fd = migtrack_fd(listen);
			poll_fd.events = POLLIN;
			poll(&poll_fd, 1, -1);
		} else if (ret == -ENOBUFS) {
			code = catch_up(ask, id, &before);
		} else {
			code = ret ? trouble("events", ret) : react(&event, id, &before);
		}
	}
	migtrack_close(ask);
	migtrack_close(listen);
	return code;
}
