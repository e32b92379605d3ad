// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What any mover has to do, and no more: pread and send here, recv and pwrite there.
 * And without the copy at the source, as if nobody wrote the memory meanwhile: by
 * sendfile, and by MSG_ZEROCOPY from a mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mover.h"

/**
 * struct lane - a connection
 * @job: what is moved
 * @send: how a chunk is given to it
 * @index: its number
 * @fd: the socket
 * @thread: its end's
 * @buffer: a chunk, if that is copied
 * @map: the source's memory, where it is sent from itself
 * @pending: MSG_ZEROCOPY sends that the kernel has not done with
 * @done: and those that it has
 * @copied: of these, those that it has copied after all
 */
struct lane {
	struct job *job;
	void (*send)(struct lane *lane, uint64_t at, size_t size);
	unsigned int index;
	int fd;
	pthread_t thread;
	char *buffer;
	const char *map;
	uint64_t pending;
	uint64_t done;
	uint64_t copied;
};

static void send_all(struct lane *lane, const char *data, size_t size, int flags)
{
	ssize_t sent;

	while (size) {
		sent = send(lane->fd, data, size, flags);
		if (sent < 0)
			die("send");
		data += sent;
		size -= (size_t)sent;
	}
}

static void send_copy(struct lane *lane, uint64_t at, size_t size)
{
	if (pread(lane->job->from, lane->buffer, size, (off_t)at) != (ssize_t)size)
		die("pread");
	send_all(lane, lane->buffer, size, 0);
}

static void send_file(struct lane *lane, uint64_t at, size_t size)
{
	off_t offset = (off_t)at, end = (off_t)(at + size);

	while (offset < end) {
		if (sendfile(lane->fd, lane->job->from, &offset,
			     (size_t)(end - offset)) <= 0)
			die("sendfile");
	}
}

/* What the kernel says of the sends that it has done with. */
static void zerocopy_reap(struct lane *lane)
{
	char control[128];
	struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof(control) };
	const struct sock_extended_err *said;
	uint32_t n;

	if (recvmsg(lane->fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
		if (errno != EAGAIN)
			die("recvmsg");
		return;
	}
	said = (const struct sock_extended_err *)CMSG_DATA(CMSG_FIRSTHDR(&msg));
	n = said->ee_data - said->ee_info + 1;
	lane->pending -= n;
	lane->done += n;
	if (said->ee_code & SO_EE_CODE_ZEROCOPY_COPIED)
		lane->copied += n;
}

static void send_zerocopy(struct lane *lane, uint64_t at, size_t size)
{
	struct pollfd pfd = { .fd = lane->fd };
	ssize_t sent;

	while (size) {
		sent = send(lane->fd, lane->map + at, size, MSG_ZEROCOPY);
		if (sent >= 0) {
			lane->pending++;
			at += (uint64_t)sent;
			size -= (size_t)sent;
		} else if (errno == ENOBUFS) {
			poll(&pfd, 1, -1);
		} else {
			die("send");
		}
		zerocopy_reap(lane);
	}
}

static void *floor_send(void *data)
{
	struct lane *lane = data;
	const struct job *job = lane->job;
	struct pollfd pfd = { .fd = lane->fd };
	uint64_t at, size;
	char ack;

	for (at = lane->index * (uint64_t)CHUNK; at < job->size;
	     at += job->n * (uint64_t)CHUNK) {
		size = job->size - at < CHUNK ? job->size - at : CHUNK;
		lane->send(lane, at, size);
	}
	shutdown(lane->fd, SHUT_WR);
	/* All of it is written. */
	if (recv(lane->fd, &ack, 1, 0) != 1)
		die("recv");
	while (lane->pending) {
		poll(&pfd, 1, -1);
		zerocopy_reap(lane);
	}
	return NULL;
}

static void *floor_receive(void *data)
{
	struct lane *lane = data;
	const struct job *job = lane->job;
	char *buffer = aligned_alloc(4096, CHUNK);
	ssize_t n;
	uint64_t at;

	for (at = lane->index * (uint64_t)CHUNK; at < job->size;
	     at += job->n * (uint64_t)CHUNK) {
		n = recv(lane->fd, buffer, CHUNK, MSG_WAITALL);
		if (n <= 0 || pwrite(job->to, buffer, (size_t)n, (off_t)at) != n)
			die("pwrite");
	}
	if (send(lane->fd, "", 1, 0) != 1)
		die("send");
	free(buffer);
	return NULL;
}

static void floor_run(struct job *job, struct lane *lanes,
		      void *(*thread)(void *data))
{
	unsigned int i;

	for (i = 0; i < job->n; i++) {
		if (pthread_create(&lanes[i].thread, NULL, thread, &lanes[i]))
			die("pthread_create");
	}
	for (i = 0; i < job->n; i++)
		pthread_join(lanes[i].thread, NULL);
}

void floor_destination(struct job *job)
{
	struct lane lanes[WIRE_MAX_CHANNELS];
	unsigned int i;

	fcntl(job->door.fd, F_SETFL, 0);
	for (i = 0; i < job->n; i++) {
		lanes[i] = (struct lane){ .job = job, .index = i };
		lanes[i].fd = accept(job->door.fd, NULL, NULL);
		if (lanes[i].fd < 0)
			die("accept");
	}
	floor_run(job, lanes, floor_receive);
	_exit(0);
}

static void lane_open(struct lane *lane, const struct sockaddr_in *name)
{
	const int one = 1;

	lane->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(lane->fd, (const struct sockaddr *)name, sizeof(*name)))
		die("connect");
	lane->buffer = aligned_alloc(4096, CHUNK);
	if (!lane->map)
		return;
	if (setsockopt(lane->fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)))
		die("SO_ZEROCOPY");
}

static double source(struct job *job, const char *map,
		     void (*send)(struct lane *lane, uint64_t at, size_t size))
{
	struct lane lanes[WIRE_MAX_CHANNELS];
	struct sockaddr_in name;
	socklen_t len = sizeof(name);
	uint64_t done = 0, copied = 0;
	double start;
	unsigned int i;

	if (getsockname(job->door.fd, (struct sockaddr *)&name, &len))
		die("getsockname");
	for (i = 0; i < job->n; i++) {
		lanes[i] = (struct lane){ .job = job, .index = i, .send = send, .map = map };
		lane_open(&lanes[i], &name);
	}
	start = now();
	floor_run(job, lanes, floor_send);
	start = now() - start;
	for (i = 0; i < job->n; i++) {
		done += lanes[i].done;
		copied += lanes[i].copied;
		free(lanes[i].buffer);
	}
	job->copied = done ? (double)copied / (double)done : 0;
	return start;
}

double floor_source(struct job *job)
{
	return source(job, NULL, send_copy);
}

double sendfile_source(struct job *job)
{
	return source(job, NULL, send_file);
}

double zerocopy_source(struct job *job)
{
	const char *map = mmap(NULL, job->size, PROT_READ, MAP_SHARED, job->from, 0);

	if (map == MAP_FAILED)
		die("mmap");
	return source(job, map, send_zerocopy);
}
