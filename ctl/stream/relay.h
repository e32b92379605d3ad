/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VMM's own stream, carried by the connection between the two migctls. */
#ifndef MIGCTL_RELAY_H
#define MIGCTL_RELAY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "stream/channel.h"

/**
 * struct relay - one VMM's end of the stream
 * @channel: to the other side
 * @vmm_fd: for the VMM, which gets a duplicate
 * @fd: our end
 * @thread: sends what the VMM writes
 * @running: @thread is there
 * @bytes: sent
 */
struct relay {
	struct channel *channel;
	int vmm_fd;
	int fd;
	pthread_t thread;
	bool running;
	uint64_t bytes;
};

int relay_open(struct relay *relay, struct channel *channel, struct error *err);
/* The VMM has its end: close ours of it, and begin to send. */
int relay_start(struct relay *relay, struct error *err);
/* What came from the other side, for the VMM; NULL: its stream has ended. */
int relay_deliver(struct relay *relay, const void *data, size_t length,
		  struct error *err);
/* Wait at most @ns: has the VMM closed its end? */
bool relay_has_ended(struct relay *relay, uint64_t ns);
/* The VMM waits for its stream no more. */
void relay_break(struct relay *relay);
void relay_close(struct relay *relay);

#endif /* MIGCTL_RELAY_H */
