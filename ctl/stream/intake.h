/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The data channels of the receiver: each has a thread that takes its frames, and
 * the control channel's thread asks whether all have come to rest.
 */
#ifndef MIGCTL_INTAKE_H
#define MIGCTL_INTAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "stream/compress.h"
#include "stream/link.h"
#include "stream/receiver.h"

/**
 * struct intake - the data channels of the receiver
 * @link: they are its
 * @receiver: writes the memory
 * @codec: that frames may be compressed with
 * @bytes: that came, headers included; atomic
 * @lanes: one for each. Its thread holds the lock while it applies a frame; the
 *	lock guards @passed, the last barrier, and @busy: memory came after it
 * @closed: the memory is not written to any more; guarded by all of the lanes' locks:
 *	who sets it holds all, who reads it one
 * @lock: guards @barrier and @waiting
 * @barrier: the last one that all have passed
 * @waiting: how many have passed the next one
 */
struct intake {
	struct link *link;
	struct receiver *receiver;
	enum codec codec;
	uint64_t bytes;
	struct intake_lane {
		pthread_mutex_t lock;
		uint64_t passed;
		bool busy;
	} lanes[WIRE_MAX_CHANNELS];
	bool closed;
	pthread_mutex_t lock;
	uint64_t barrier;
	unsigned int waiting;
};

void intake_open(struct intake *intake, struct link *link,
		 struct receiver *receiver, enum codec codec);
void intake_free(struct intake *intake);

/*
 * Take what comes on data channel @index until the source closes it, which is an
 * error before intake_close(). Is the serve() of a link.
 */
int intake_serve(void *intake, unsigned int index, struct channel *channel,
		 struct error *err);

/* Has each channel passed the same barrier, and brought nothing since? EXIT_PEER. */
int intake_rests(struct intake *intake, struct error *err);

/* If so: from now on nothing is written. */
int intake_close(struct intake *intake, struct error *err);

#endif /* MIGCTL_INTAKE_H */
