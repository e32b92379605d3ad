/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migctl migrate: the source's side of a migration. */
#ifndef MIGCTL_MIGRATE_H
#define MIGCTL_MIGRATE_H

#include "cmd/choice.h"
#include "cmd/cmd.h"
#include "cmd/control.h"
#include "cmd/lock.h"
#include "cmd/peer.h"
#include "cmd/record.h"
#include "cmd/runs.h"
#include "cmd/security.h"
#include "cmd/throttle.h"
#include "cmd/tracker.h"
#include "policy/policy.h"
#include "stream/channel.h"
#include "stream/link.h"
#include "stream/relay.h"
#include "stream/sender.h"
#include "vmm/migration.h"

enum verify {
	VERIFY_AFTER,
	VERIFY_BEFORE,
	VERIFY_OFF,
};

struct migrate_options {
	struct vmm_choice guest;
	const char *to;
	unsigned int channels;
	bool postcopy;
	unsigned int urgent;
	struct security_options security;
	struct policy_limits limits;
	struct sender_options sending;
	enum verify verify;
	bool disks_shared;
	uint64_t doubt_timeout;
};

/* When the parts of the downtime ended, CLOCK_MONOTONIC in ns; 0: not yet. */
struct migrate_times {
	uint64_t started;
	uint64_t shown;
	uint64_t first_pass;		/* ended */
	uint64_t prepared;		/* for the switchover */
	uint64_t running;		/* the guest last ran here: the VMM's word, or ours */
	uint64_t stopped;
	uint64_t synced;
	uint64_t copied;
	uint64_t loaded;
	uint64_t resumed;
};

/**
 * struct migration - a migration, seen from its source
 * @out: what the user sees
 * @options: what the user asked for
 * @vmm: the source VMM
 * @ops: its driver's part
 * @description: of the VM, as it was at the start
 * @memory: its memory back ends; block N of the stream is @memory[N]
 * @n_memory: how many
 * @tracker: the kernel's session, source N is block N
 * @secured: who may be the destination
 * @id: of the migration
 * @channel: to the destination, for control
 * @link: the channels for memory
 * @peer: what the destination says
 * @relay: the VMM's own stream
 * @sender: moves the pages
 * @blocks: of @sender
 * @policy: decides
 * @decision: its last word on the switchover
 * @action: and on what else to do
 * @forced: switch over at the next sync, however long the rest takes
 * @throttle: takes CPU time away from the guest
 * @saved: the VMM's settings as they were
 * @guard: undoes what we did if we die
 * @lock: no other controller has the VMM
 * @control: where migctl set and switchover reach us
 * @record: the run record
 * @run: what is left for migctl history
 * @signals: Ctrl-C and migctl cancel
 * @phase: published
 * @verdict: likewise
 * @handed_over: the destination may run the guest
 * @postcopy: it runs there before all of its memory is there
 * @missing: bytes that were not there
 * @begun: listeners were told of that
 * @left: what is left then
 * @recoveries: connections that were lost after that, and made again
 * @recorded: the record says that the guest runs there
 * @lost: bytes that were missing when the connection was lost, until it is there again
 * @sent_before: over these
 * @sample: what was sent since the last sample was taken
 * @sync: results of the last sync
 * @interval: between it and the one before
 * @times: see there
 * @device_bytes: of the VMM's own stream
 * @verified: the digests were compared and are equal
 * @progress: so many percent are done; never less than before
 * @lines: of the screen that is to be drawn anew, -1 if that is no terminal
 */
struct migration {
	struct output *out;
	const struct migrate_options *options;
	struct vmm *vmm;
	const struct vmm_migration_ops *ops;
	json_t *description;
	struct vmm_memory *memory;
	size_t n_memory;
	struct tracker tracker;
	struct secured secured;
	uint8_t id[WIRE_ID_SIZE];
	struct channel channel;
	struct link link;
	struct peer peer;
	struct relay relay;
	struct sender sender;
	struct sender_block *blocks;
	struct policy policy;
	struct policy_decision decision;
	struct policy_action action;
	bool forced;
	struct throttle throttle;
	json_t *saved;
	struct guard *guard;
	struct lock lock;
	struct control control;
	struct record record;
	struct run run;
	int signals;
	enum migtrack_phase phase;
	enum migtrack_verdict verdict;
	bool handed_over;
	bool postcopy;
	uint64_t missing;
	bool begun;
	struct tracker_left left;
	unsigned int recoveries;
	bool recorded;
	uint64_t lost;
	uint64_t sent_before;
	struct policy_sample sample;
	struct migtrack_map_header sync;
	uint64_t interval;
	struct migrate_times times;
	uint64_t device_bytes;
	bool verified;
	unsigned int progress;
	int lines;
};

/* migrate.c */
int migrate_options_parse(struct migrate_options *options, int argc, char **argv,
			  struct error *err);
/* The data and urgent channels, and who sends on them. */
int migrate_open_link(struct migration *m, struct error *err);
int migrate_open_sender(struct migration *m, struct error *err);

/* migrate_run.c: iterations. 0 to switch over, -1 with the reason. */
int migrate_precopy(struct migration *m, struct error *err);
/* Sync and harvest. */
int migrate_sync(struct migration *m, enum migtrack_sync_kind kind,
		 struct error *err);
/* Send about so many bytes; 1 if more is left, 0 if not, -1. */
int migrate_send(struct migration *m, uint64_t bytes, struct error *err);
/* Ctrl-C, migctl cancel, or the destination failed: -1. */
int migrate_check(struct migration *m, struct error *err);
int migrate_set_phase(struct migration *m, enum migtrack_phase phase,
		      struct error *err);
/* Listeners are told if the session still is there; no failure. */
void migrate_tell_phase(struct migration *m, enum migtrack_phase phase);

/* migrate_act.c: what the policy or the user wants done. -1: it is given up. */
int migrate_act(struct migration *m, struct error *err);
/* Asked for over the control socket. */
int migrate_asked(const char *command, const json_t *request, void *data,
		  struct error *err);
/* Before the first change of anything: have it undone if we die. */
int migrate_guard(struct migration *m, struct error *err);
int migrate_throttle_open(struct migration *m, struct error *err);
void migrate_throttle_close(struct migration *m);

/* migrate_switchover.c: what takes a while, and stops nothing: before the last decision. */
int migrate_prepare(struct migration *m, struct error *err);
/* From the decision to the running destination. */
int migrate_switchover(struct migration *m, struct error *err);
/* Undo what was done to the source VMM. Its guest runs on. */
void migrate_undo(struct migration *m, const struct error *why);

/* migrate_doubt.c: nobody heard whether the guest runs there, and @err says why. 0: it does. */
bool migrate_never_ran(struct migration *m, struct error *err);
int migrate_doubt(struct migration *m, struct error *err);

/* migrate_postcopy.c */
uint64_t migrate_left(const struct migration *m);
bool migrate_postcopy_due(struct migration *m, struct policy_decision *decision);
int migrate_postcopy_begin(struct migration *m, struct error *err);
int migrate_postcopy_run(struct migration *m, struct error *err);

/* migrate_verify.c: compare all pages with the destination's hashes. */
int migrate_verify(struct migration *m, struct error *err);

/* migrate_output.c: why it does what it does; and what the user sees. */
enum policy_reason migrate_reason(const struct migration *m);
void migrate_out_start(struct migration *m);
/* Now and then; with @iteration, one has ended. */
void migrate_out_look(struct migration *m, bool iteration);
/* @why: the policy's reason, NULL if the user asked for it. */
void migrate_out_action(struct migration *m, const char *done,
			const struct policy_action *why);
void migrate_out_summary(struct migration *m, const struct error *err);
/* One word on how it ended, if @err is not NULL with that. */
const char *migrate_result(const struct migration *m, const struct error *err);

#endif /* MIGCTL_MIGRATE_H */
