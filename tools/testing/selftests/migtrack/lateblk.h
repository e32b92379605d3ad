/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A block device whose reads end when it pleases us: the test is its server. */
#ifndef LATEBLK_H
#define LATEBLK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define LATEBLK_PATH		"/dev/nbd0"
#define LATEBLK_REQUESTS	256

struct lateblk_request {
	uint64_t cookie, offset, due_ns;
	uint32_t length;
};

struct lateblk {
	int dev, kernel, server;	/* the device; the ends of the connection */
	pthread_t serve_thread, device_thread;
	struct lateblk_request requests[LATEBLK_REQUESTS];
	unsigned int nrequests;
	unsigned int max_delay_us;
	/* Called when a read's data is about to be sent. */
	void (*fill)(void *private, uint64_t sector, void *data);
	void *private;
};

/* Both end the test program with a message if they can't. */
void lateblk_open(struct lateblk *b, uint64_t size);
void lateblk_close(struct lateblk *b);

#endif /* LATEBLK_H */
