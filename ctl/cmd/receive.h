/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migctl receive: the destination's side of a migration. */
#ifndef MIGCTL_RECEIVE_H
#define MIGCTL_RECEIVE_H

#include "cmd/choice.h"
#include "cmd/cmd.h"
#include "cmd/security.h"
#include "stream/channel.h"
#include "stream/door.h"
#include "stream/intake.h"
#include "stream/link.h"
#include "stream/receiver.h"
#include "stream/relay.h"
#include "vmm/migration.h"

struct receive_options {
	struct vmm_choice guest;
	const char *listen;
	struct security_options security;
};

/**
 * struct reception - a migration, seen from its destination
 * @out: what the user sees
 * @options: what the user asked for
 * @vmm: the destination VMM
 * @ops: its driver's part
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
 * @payload: of the frame that is being taken
 * @relay: the VMM's own stream
 * @receiver: writes the memory
 * @blocks: of @receiver, in the source's order
 * @signals: Ctrl-C
 * @vmm_fd: readable when the VMM has ended
 * @broken: another thread ended the connection
 * @why: and why, once that thread has ended
 * @started: when the source connected
 * @loaded: the VMM has its state
 * @resumed: the guest runs here
 * @done: the source has said that all is well
 */
struct reception {
	struct output *out;
	const struct receive_options *options;
	struct vmm *vmm;
	const struct vmm_migration_ops *ops;
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
	char *payload;
	struct relay relay;
	struct receiver receiver;
	struct receiver_block *blocks;
	int signals;
	int vmm_fd;
	bool broken;
	struct error why;
	uint64_t started;
	bool loaded;
	bool resumed;
	bool done;
};

/* Of another thread: end the connection, and say why. Only the first one counts. */
void receive_break_off(struct reception *r, const struct error *err);
/* receive_door.c: wait for the source, whatever strangers do. */
int receive_listen(struct reception *r, struct error *err);
int receive_wait(struct reception *r, struct error *err);

/* receive_run.c: agree with the source, then take its frames to the end. */
int receive_agree(struct reception *r, struct error *err);
int receive_run(struct reception *r, struct error *err);

#endif /* MIGCTL_RECEIVE_H */
