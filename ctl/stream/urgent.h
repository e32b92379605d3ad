/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An urgent channel of the source: what the destination's guest waits for is asked for
 * on it, and is read and sent at once, whatever the data channels have to do.
 */
#ifndef MIGCTL_URGENT_H
#define MIGCTL_URGENT_H

#include <pthread.h>
#include <stdbool.h>

#include "stream/feed.h"

/**
 * struct urgent - an urgent channel
 * @feed: reads and sends; its thread is not there
 * @thread: answers
 * @started: it is there
 */
struct urgent {
	struct feed feed;
	pthread_t thread;
	bool started;
};

int urgent_start(struct urgent *urgent, struct sender *sender,
		 struct channel *channel, struct error *err);
/* Its channel has been stopped. */
void urgent_end(struct urgent *urgent);

#endif /* MIGCTL_URGENT_H */
