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
 * struct intake_ops - who takes the memory instead of the receiver
 * @place: what receiver_apply() does
 * @settle: all channels have passed a barrier: wait until what came is in place, and
 *	what is not is nobody's
 */
struct intake_ops {
	int (*place)(void *data, const struct wire_frame *frame, const void *payload,
		     struct error *err);
	int (*settle)(void *data, struct error *err);
};

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
 * @ops: who takes the memory; likewise. NULL: @receiver
 * @data: for them; likewise
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
	const struct intake_ops *ops;
	void *data;
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

/* If so: from now on @ops take it. @ops and @data stay until intake_free(). */
int intake_redirect(struct intake *intake, const struct intake_ops *ops, void *data,
		    struct error *err);
/* Before any channel has joined: they take it from the start. */
void intake_divert(struct intake *intake, const struct intake_ops *ops, void *data);

#endif /* MIGCTL_INTAKE_H */
