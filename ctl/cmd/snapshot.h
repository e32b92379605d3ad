/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migctl snapshot: a running guest, into a directory. */
#ifndef MIGCTL_CMD_SNAPSHOT_H
#define MIGCTL_CMD_SNAPSHOT_H

#include "cmd/choice.h"
#include "cmd/cmd.h"
#include "cmd/control.h"
#include "cmd/lock.h"
#include "cmd/record.h"
#include "cmd/runs.h"
#include "cmd/tracker.h"
#include "policy/policy.h"
#include "snapshot/snapshot.h"
#include "snapshot/writer.h"
#include "vmm/migration.h"

struct snapshot_options {
	struct vmm_choice guest;
	const char *to;
	struct policy_limits limits;
	uint64_t max_bandwidth;
	bool live;
};

/* When the parts of the pause ended, CLOCK_MONOTONIC in ns; 0: not yet. */
struct snapshot_times {
	uint64_t started;
	uint64_t prepared;		/* for the pause */
	uint64_t running;		/* the guest last ran: the VMM's word, or ours */
	uint64_t stopped;
	uint64_t synced;		/* of one that is live: the memory is protected */
	uint64_t copied;
	uint64_t saved;
	uint64_t resumed;
};

/**
 * struct taking - a snapshot that is being taken
 * @out: what the user sees
 * @options: what the user asked for
 * @vmm: the VMM
 * @ops: its driver's part
 * @memory: its memory back ends; block N of the snapshot is @memory[N]
 * @n_memory: how many
 * @tracker: the kernel's session, source N is block N
 * @dir: where the snapshot is made
 * @snapshot: it
 * @writer: copies the memory
 * @sources: of @writer
 * @state: the VMM's own stream
 * @policy: decides
 * @forced: pause after the next sync, however long the rest takes
 * @saved: the VMM's settings as they were
 * @guard: undoes what we did if we die
 * @guarded: it goes on with what we could not undo: the VMM is not ours any more
 * @lock: no other controller has the VMM
 * @control: where migctl set and switchover reach us
 * @record: the run record
 * @run: what is left for migctl history
 * @signals: Ctrl-C and migctl cancel
 * @phase: published
 * @verdict: likewise
 * @reason: of that
 * @sample: what was copied since the last sample was taken
 * @sync: results of the last sync
 * @interval: between it and the one before
 * @times: see there
 * @passed: of one that is live: bytes of memory that are done with
 * @write_faults: likewise, of the guest
 */
struct taking {
	struct output *out;
	const struct snapshot_options *options;
	struct vmm *vmm;
	const struct vmm_migration_ops *ops;
	struct vmm_memory *memory;
	size_t n_memory;
	struct tracker tracker;
	struct snapshot_dir dir;
	struct snapshot snapshot;
	struct writer writer;
	struct writer_source *sources;
	struct snapshot_state *state;
	struct policy policy;
	bool forced;
	json_t *saved;
	struct guard *guard;
	bool guarded;
	struct lock lock;
	struct control control;
	struct record record;
	struct run run;
	int signals;
	enum migtrack_phase phase;
	enum migtrack_verdict verdict;
	enum policy_reason reason;
	struct policy_sample sample;
	struct migtrack_map_header sync;
	uint64_t interval;
	struct snapshot_times times;
	uint64_t passed;
	uint64_t write_faults;
};

/* snapshot_run.c: iterations, then the last pass with the guest stopped. */
int snapshot_precopy(struct taking *t, struct error *err);
int snapshot_stop(struct taking *t, struct error *err);
/* The guest runs on, if it ran, and its VMM's settings are as before. */
int snapshot_resume(struct taking *t, struct error *err);
int snapshot_phase(struct taking *t, enum migtrack_phase phase, struct error *err);
int snapshot_pause(struct taking *t, int (*work)(struct taking *t, struct error *err),
		   struct error *err);
int snapshot_devices(struct taking *t, struct error *err);
/* Ctrl-C, migctl cancel: -1. */
int snapshot_check(struct taking *t, struct error *err);
/* Of migctl set and switchover. */
int snapshot_asked(const char *command, const json_t *request, void *data,
		   struct error *err);
/* For snapshot_pause(): nothing is to be done meanwhile. */
int snapshot_wait(struct taking *t, struct error *err);

/* snapshot_live.c: the guest is paused for its device state only. */
int snapshot_live(struct taking *t, struct error *err);
void snapshot_live_summary(struct taking *t);
/* Whether this one is taken so. */
bool snapshot_is_live(const struct snapshot_options *options);

/* snapshot_output.c */
uint64_t snapshot_memory_size(const struct taking *t);
void snapshot_out_start(struct taking *t);
void snapshot_out_iteration(struct taking *t, const struct policy_decision *decision);
void snapshot_out_asked(struct taking *t, const char *done);
void snapshot_out_summary(struct taking *t, const struct error *err);

#endif /* MIGCTL_CMD_SNAPSHOT_H */
