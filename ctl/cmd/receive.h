/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migctl receive: the destination's side of a migration. */
#ifndef MIGCTL_RECEIVE_H
#define MIGCTL_RECEIVE_H

#include "cmd/choice.h"
#include "cmd/cmd.h"
#include "cmd/live.h"
#include "cmd/lock.h"
#include "cmd/runs.h"
#include "cmd/security.h"
#include "postcopy/fetch.h"
#include "stream/channel.h"
#include "stream/door.h"
#include "stream/intake.h"
#include "stream/link.h"
#include "stream/receiver.h"
#include "stream/relay.h"
#include "uffd/protocol.h"
#include "vmm/migration.h"

/* How long a VMM that is told to end may take. */
#define QUIT_TIMEOUT_MS	10000

struct receive_options {
	struct vmm_choice guest;
	const char *listen;
	struct security_options security;
	bool allow_readable;
	uint64_t doubt_timeout;
};

/**
 * struct reception_progress - what has come
 * @time: when, CLOCK_MONOTONIC in ns
 * @bytes: on the data channels
 * @pages: with their data
 * @zero_pages: without
 */
struct reception_progress {
	uint64_t time;
	uint64_t bytes;
	uint64_t pages;
	uint64_t zero_pages;
};

/**
 * struct reception - a migration, seen from its destination
 * @out: what the user sees
 * @options: what the user asked for
 * @vmm: the destination VMM
 * @ops: its driver's part
 * @lock: no other controller has the VMM
 * @memory: its memory back ends
 * @n_memory: how many
 * @saved: the VMM's settings as they were
 * @secured: who may be at the other end
 * @door: where the source connects
 * @refused: visitors of it
 * @channel: to the source, for control
 * @hello: its first frame
 * @link: the channels for memory
 * @intake: takes what comes on them
 * @id: of the migration
 * @channels: data channels
 * @urgent: urgent channels; 0: no post-copy
 * @codec: that memory may be compressed with
 * @offer: the VMM's userfaultfd, with post-copy
 * @fetch: the memory that is missing, with post-copy
 * @missing: bytes that were missing when the guest was handed over
 * @blocktime: how long was waited for it
 * @received_before: bytes over the connections that are gone
 * @recoveries: connections that were lost after that, and made again
 * @payload: of the frame that is being taken
 * @relay: the VMM's own stream
 * @receiver: writes the memory
 * @blocks: of @receiver, in the source's order
 * @signals: Ctrl-C
 * @vmm_fd: readable when the VMM has ended
 * @talking: with the source; the watching thread goes on
 * @broken: another thread ended the connection
 * @why: and why, once that thread has ended
 * @started: when the source connected
 * @spared: the VMM, or its memory, had become somebody else's by then: it is not ended
 * @loaded: the VMM has its state
 * @told: the VMM was told to run the guest
 * @resumed: the guest runs here
 * @known: the source has heard of that, or will never say GO
 * @cancelled: the source has called it off
 * @bound: the guest runs here and lacks memory: Ctrl-C is not taken; atomic
 * @begun_told: and the user was told of that
 * @done: the source has said that all is well
 * @shown: what was shown last
 * @lines: of the screen that is to be drawn anew, -1 if that is no terminal
 * @run: what is left for migctl history
 */
struct reception {
	struct output *out;
	const struct receive_options *options;
	struct vmm *vmm;
	const struct vmm_migration_ops *ops;
	struct lock lock;
	struct vmm_memory *memory;
	size_t n_memory;
	json_t *saved;
	struct secured secured;
	struct door door;
	unsigned int refused;
	struct channel channel;
	struct wire_frame hello;
	struct link link;
	struct intake intake;
	uint8_t id[WIRE_ID_SIZE];
	unsigned int channels;
	unsigned int urgent;
	enum codec codec;
	struct uffd_offer offer;
	struct fetch fetch;
	uint64_t missing;
	struct blocktime blocktime;
	uint64_t received_before;
	unsigned int recoveries;
	char *payload;
	struct relay relay;
	struct receiver receiver;
	struct receiver_block *blocks;
	int signals;
	int vmm_fd;
	bool talking;
	bool broken;
	struct error why;
	uint64_t started;
	bool spared;
	bool loaded;
	bool told;
	bool resumed;
	bool known;
	bool cancelled;
	bool bound;
	bool begun_told;
	bool done;
	struct reception_progress shown;
	int lines;
	struct run run;
};

/* Of another thread: end the connection, and say why. Only the first one counts. */
void receive_break_off(struct reception *r, const struct error *err);
/* receive_door.c: wait for the source, whatever strangers do, as long as there is a VMM. */
int receive_listen(struct reception *r, struct error *err);
int receive_meet(struct reception *r, struct channel *channel, struct error *err);
/* It has ended, or is about to; and to say so. */
bool receive_vmm_ended(const struct reception *r);
int receive_gone(const struct reception *r, struct error *err);

/* receive_run.c: agree with the source, then take its frames to the end. */
int receive_agree(struct reception *r, struct error *err);
int receive_run(struct reception *r, struct error *err);
/* The data and urgent channels that the source will make, then tell it so. */
int receive_open_link(struct reception *r, struct error *err);
int receive_accept(struct reception *r, struct error *err);

/* receive_postcopy.c: before the VMM loads its state; and before it runs without. */
int receive_postcopy_prepare(struct reception *r, struct error *err);
int receive_postcopy_forgo(struct reception *r, struct error *err);
/* What of it the source sends on the control channel. */
int receive_missing(struct reception *r, const struct wire_frame *frame,
		    struct error *err);
int receive_postcopy(struct reception *r, struct error *err);
/* The guest runs here, and lacks memory. */
bool receive_lacks(const struct reception *r);
/* A connection ended with @err: does the source come back? */
bool receive_is_lost(struct reception *r, const struct error *err);
/* If so, wait for it; -1: it does not, with the reason. */
int receive_wait_again(struct reception *r, struct error *err);
int receive_agree_again(struct reception *r, struct error *err);
/* All memory is here. */
int receive_postcopy_end(struct reception *r, struct error *err);
void receive_postcopy_close(struct reception *r);

/*
 * receive_doubt.c: it failed, @why. If the source may have said GO: wait until it asks,
 * and tell it. 0: it has been told that the guest runs here, and is there again.
 */
int receive_doubt(struct reception *r, const struct error *why);

/* receive_output.c */
void receive_out_start(struct reception *r);
/* Now and then, by one thread. */
/* The watcher prints while there is a source, else who waits for one. */
void receive_out_postcopy(struct reception *r, enum postcopy_event event, const char *why,
			  uint64_t left);
void receive_out_look(struct reception *r);
void receive_out_summary(struct reception *r, const struct error *err);

#endif /* MIGCTL_RECEIVE_H */
