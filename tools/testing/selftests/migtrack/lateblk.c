// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A network block device with both ends in the test. The server answers each
 * read after a random time, and makes up the data only then, so that it comes
 * while the pages are held for it.
 */

#include <endian.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/nbd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lateblk.h"

#define SECTOR	512U

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void send_all(int fd, const void *data, size_t size)
{
	ssize_t n;

	for (; size; data = (char *)data + n, size -= n) {
		n = send(fd, data, size, MSG_NOSIGNAL);
		if (n < 0)
			err(1, "answering the block device");
	}
}

static void answer(struct lateblk *b, const struct lateblk_request *r)
{
	struct nbd_reply reply = { .magic = htobe32(NBD_REPLY_MAGIC) };
	char data[SECTOR];
	uint32_t done;

	memcpy(&reply.cookie, &r->cookie, sizeof(reply.cookie));
	send_all(b->server, &reply, sizeof(reply));
	for (done = 0; done < r->length; done += SECTOR) {
		b->fill(b->private, (r->offset + done) / SECTOR, data);
		send_all(b->server, data, sizeof(data));
	}
}

/* False: the device was closed. */
static bool receive(struct lateblk *b)
{
	struct lateblk_request *r = &b->requests[b->nrequests];
	struct nbd_request request;
	ssize_t n;

	n = recv(b->server, &request, sizeof(request), MSG_WAITALL);
	if (n != sizeof(request) || request.type == htobe32(NBD_CMD_DISC))
		return false;
	if (request.type != htobe32(NBD_CMD_READ) || b->nrequests == LATEBLK_REQUESTS - 1)
		errx(1, "the block device asks for what it should not");
	memcpy(&r->cookie, &request.cookie, sizeof(r->cookie));
	r->offset = be64toh(request.from);
	r->length = be32toh(request.len);
	r->due_ns = now_ns() + rand() % (b->max_delay_us + 1) * 1000ULL;
	b->nrequests++;
	return true;
}

static void *serve_thread(void *data)
{
	struct pollfd pfd = { .events = POLLIN };
	struct lateblk *b = data;
	unsigned int i;
	uint64_t now;

	pfd.fd = b->server;
	for (;;) {
		if (poll(&pfd, 1, b->nrequests ? 1 : -1) > 0 && !receive(b))
			break;
		now = now_ns();
		for (i = 0; i < b->nrequests; i++) {
			if (b->requests[i].due_ns > now)
				continue;
			answer(b, &b->requests[i]);
			b->requests[i--] = b->requests[--b->nrequests];
		}
	}
	/* The device waits for us to hang up. */
	shutdown(b->server, SHUT_RDWR);
	return NULL;
}

static void *device_thread(void *data)
{
	struct lateblk *b = data;

	if (ioctl(b->dev, NBD_DO_IT) && errno != EPIPE)
		warn("NBD_DO_IT");
	return NULL;
}

static void start(pthread_t *thread, void *(*run)(void *), struct lateblk *b)
{
	errno = pthread_create(thread, NULL, run, b);
	if (errno)
		err(1, "pthread_create");
}

/**
 * lateblk_open() - make the device LATEBLK_PATH
 * @b: zeroed, but for @max_delay_us, @fill and @private
 * @size: of the device
 */
void lateblk_open(struct lateblk *b, uint64_t size)
{
	uint64_t now = 0;
	int fds[2];

	if (system("modprobe nbd max_part=0"))
		errx(1, "no module nbd");
	b->dev = open(LATEBLK_PATH, O_RDWR | O_CLOEXEC);
	if (b->dev < 0)
		err(1, LATEBLK_PATH);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		err(1, "socketpair");
	b->kernel = fds[0];
	b->server = fds[1];
	if (ioctl(b->dev, NBD_SET_SOCK, b->kernel) ||
	    ioctl(b->dev, NBD_SET_BLKSIZE, (unsigned long)SECTOR) ||
	    ioctl(b->dev, NBD_SET_SIZE_BLOCKS, size / SECTOR))
		err(1, "setting up %s", LATEBLK_PATH);
	start(&b->serve_thread, serve_thread, b);
	start(&b->device_thread, device_thread, b);
	/* The device has its size once the thread's ioctl runs. */
	while (!now && !ioctl(b->dev, BLKGETSIZE64, &now))
		usleep(1000);
}

/**
 * lateblk_close() - end the device
 * @b: opened; nobody reads any more
 */
void lateblk_close(struct lateblk *b)
{
	ioctl(b->dev, NBD_DISCONNECT);
	pthread_join(b->device_thread, NULL);
	pthread_join(b->serve_thread, NULL);
	ioctl(b->dev, NBD_CLEAR_SOCK);
	close(b->dev);
	close(b->kernel);
	close(b->server);
}
