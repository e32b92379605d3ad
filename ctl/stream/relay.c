// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "stream/relay.h"

#define RELAY_CHUNK	(64u << 10)
/* A VMM that reads nothing of its state for so long hangs. */
#define RELAY_PATIENCE_S	60

/**
 * relay_open() - make the pair of sockets
 * @relay: filled; fd -1 on failure
 * @channel: to the other side
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int relay_open(struct relay *relay, struct channel *channel, struct error *err)
{
	const struct timeval patience = { .tv_sec = RELAY_PATIENCE_S };
	int pair[2];

	*relay = (struct relay) { .channel = channel, .vmm_fd = -1, .fd = -1 };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return error_set(err, EXIT_FAILED, "socketpair: %s",
				 strerror(errno));
	setsockopt(pair[1], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	relay->vmm_fd = pair[0];
	/* Another thread may break it. */
	__atomic_store_n(&relay->fd, pair[1], __ATOMIC_RELEASE);
	return 0;
}

static void *relay_thread(void *data)
{
	struct wire_frame frame = { .type = WIRE_VMM_DATA };
	struct relay *relay = data;
	char chunk[RELAY_CHUNK];
	struct error err;
	ssize_t n;

	for (;;) {
		n = read(relay->fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		frame.length = (uint32_t)n;
		if (channel_send(relay->channel, &frame, chunk, &err))
			return NULL;
		relay->bytes += (uint64_t)n;
	}
	frame = (struct wire_frame) { .type = WIRE_VMM_END };
	channel_send(relay->channel, &frame, NULL, &err);
	return NULL;
}

int relay_start(struct relay *relay, struct error *err)
{
	int ret;

	close(relay->vmm_fd);
	relay->vmm_fd = -1;
	ret = pthread_create(&relay->thread, NULL, relay_thread, relay);
	if (ret)
		return error_set(err, EXIT_FAILED, "can't make a thread: %s",
				 strerror(ret));
	relay->running = true;
	return 0;
}

int relay_deliver(struct relay *relay, const void *data, size_t length,
		  struct error *err)
{
	const char *at = data;
	ssize_t n;

	if (relay->fd < 0)
		return error_set(err, EXIT_PEER,
				 "the other side sends a VMM's stream that nobody asked for");
	if (!data) {
		shutdown(relay->fd, SHUT_WR);
		return 0;
	}
	while (length) {
		n = send(relay->fd, at, length, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return error_set(err, EXIT_VMM,
					 "the VMM does not go on reading its migration stream: it hangs, or was stopped");
		if (n < 0)
			return error_set(err, EXIT_VMM,
					 "the VMM closed its migration stream: %s",
					 strerror(errno));
		at += n;
		length -= (size_t)n;
	}
	return 0;
}

bool relay_has_ended(struct relay *relay, uint64_t ns)
{
	struct timespec end = timespec_of(now_ns() + ns);

	if (relay->running &&
	    !pthread_clockjoin_np(relay->thread, NULL, CLOCK_MONOTONIC, &end))
		relay->running = false;
	return !relay->running;
}

/**
 * relay_break() - nothing is carried any more
 * @relay: opened, or fd -1; by any thread, as long as it is not closed
 *
 * Who reads the VMM's stream sees its end, and who writes it an error: neither waits.
 */
void relay_break(struct relay *relay)
{
	int fd = __atomic_load_n(&relay->fd, __ATOMIC_ACQUIRE);

	if (fd >= 0)
		shutdown(fd, SHUT_RDWR);
}

/**
 * relay_close() - end it
 * @relay: opened; the thread is waited for
 */
void relay_close(struct relay *relay)
{
	relay_break(relay);
	if (relay->running)
		pthread_join(relay->thread, NULL);
	if (relay->vmm_fd >= 0)
		close(relay->vmm_fd);
	if (relay->fd >= 0)
		close(relay->fd);
	*relay = (struct relay) { .vmm_fd = -1, .fd = -1 };
}
