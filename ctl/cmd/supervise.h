/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migctl supervise: the VMM moves the guest, migctl decides. */
#ifndef MIGCTL_SUPERVISE_H
#define MIGCTL_SUPERVISE_H

#include "cmd/cmd.h"
#include "cmd/control.h"
#include "cmd/lock.h"
#include "cmd/record.h"
#include "cmd/runs.h"
#include "cmd/track_devices.h"
#include "cmd/tracker.h"
#include "policy/policy.h"
#include "vmm/supervise.h"

/* QEMU's own limit, and more than any guest is stopped for. */
#define DOWNTIME_ANY	(2000 * NS_PER_S)

/**
 * struct supervise_options - what the user asked for
 * @qmp: the VMM's socket
 * @vmm: see there
 * @limits: of the policy
 * @max_bandwidth: the VMM's while the guest runs, 0: as it is set
 * @attempts: so many may be made
 * @dry_run: say what would be done
 */
struct supervise_options {
	const char *qmp;
	struct vmm_supervise_options vmm;
	struct policy_limits limits;
	uint64_t max_bandwidth;
	unsigned int attempts;
	bool dry_run;
};

/* CLOCK_MONOTONIC in ns; 0: not yet. */
struct supervise_times {
	uint64_t started;
	uint64_t looked;
	uint64_t iterated;
	uint64_t reported;
	uint64_t shown;
	uint64_t running;	/* the guest last ran here, by the VMM's word */
	uint64_t stopped;	/* it was seen to have stopped */
	uint64_t checked;	/* and then looked at once more */
	uint64_t continued;	/* the VMM was told to go on */
	uint64_t device;	/* it was seen to hand over, told or not */
	uint64_t over;		/* the VMM has completed */
};

/**
 * struct supervision - a migration that is supervised
 * @out: what the user sees
 * @options: what the user asked for
 * @vmm: the VMM
 * @ops: its driver's part
 * @lock: no other controller has it
 * @saved: the VMM's settings as they were
 * @guard: undoes what we did if we die
 * @tracker: the kernel's session
 * @ram: its source for what the VMM reports
 * @devices: its VFIO devices
 * @policy: decides
 * @decision: its last word on the switchover
 * @action: and on what else to do
 * @limits: what the VMM was told last
 * @limits_unknown: it was told others since, and may have them or get them yet
 * @progress: what the VMM said last
 * @reported: bytes of memory, as published last
 * @first_pass: the VMM's number of it, when we began
 * @passes: the VMM's number of the last one that was looked at
 * @interval: between looks; grows while nothing changes
 * @syncing: a sync of the kernel is under way
 * @sync: results of the last one that ended
 * @sample: what was sent since the last sample was taken
 * @control: where migctl set and switchover reach us
 * @record: so that they and migctl cancel find us
 * @run: what is left for migctl history
 * @signals: Ctrl-C
 * @phase: published
 * @verdict: likewise
 * @published: all that was
 * @attempt: number of this one, from 1
 * @reinit: a device had new initial data after the stop
 * @forced: switch over, however long that takes
 * @held: the VMM waits for us with the guest stopped: nothing is said or written down
 * @called_off: too late for this attempt, but there is to be no other
 * @attached: the migration was under way already
 * @touched: the VMM was changed
 * @not_undone: and could not be put back as it was: @undo_error
 * @lines: of the screen that is to be drawn anew, -1 if that is no terminal
 */
struct supervision {
	struct output *out;
	const struct supervise_options *options;
	struct vmm *vmm;
	const struct vmm_supervise_ops *ops;
	struct lock lock;
	json_t *saved;
	struct guard *guard;
	struct tracker tracker;
	uint32_t ram;
	struct track_devices devices;
	struct policy policy;
	struct policy_decision decision;
	struct policy_action action;
	struct vmm_limits limits;
	bool limits_unknown;
	struct vmm_progress progress;
	uint64_t reported;
	uint64_t first_pass;
	uint64_t passes;
	uint64_t interval;
	bool syncing;
	struct migtrack_map_header sync;
	struct policy_sample sample;
	struct control control;
	struct record record;
	struct run run;
	int signals;
	enum migtrack_phase phase;
	enum migtrack_verdict verdict;
	struct migtrack_session published;
	struct supervise_times times;
	unsigned int attempt;
	bool reinit;
	bool forced;
	bool held;
	bool called_off;
	bool attached;
	bool touched;
	bool not_undone;
	struct error undo_error;
	int lines;
};

/* supervise_options.c */
int supervise_options_parse(struct supervise_options *options, int argc,
			    char **argv, struct error *err);

/* supervise_run.c: from the start to the end of an attempt. 0: moved. */
int supervise_run(struct supervision *s, struct error *err);
/* There is no way back: the VMM ends it, one way or the other. */
bool supervise_handing_over(const struct supervision *s);
/* By a signal, and in time; what comes too late is noted. */
int supervise_cancelled(struct supervision *s, struct error *err);
int supervise_go_on(struct supervision *s, struct error *err);
/* Waits for what happens, and looks. */
int supervise_news(struct supervision *s, struct error *err);
/* In the run record: for who comes after a crash. Who only watches has none. */
int supervise_write_down(struct supervision *s, const char *state, struct error *err);
/* The guest was to be taken back. True if it can't be: @why says so then. */
bool supervise_too_late(struct supervision *s, struct error *why);

/* supervise_attempts.c: all of them. 0: moved. */
int supervise_attempts(struct supervision *s, struct error *err);
/* The guest runs on here, or is to: -1 if it does not, or may not. */
int supervise_take_back(struct supervision *s, struct error *why);
/* The VMM's settings are as before, whatever has become of the guest; NULL: moved. */
void supervise_restore(struct supervision *s, struct error *why);
/* One has failed: true if another is to be made, which is prepared. */
bool supervise_again(struct supervision *s, struct error *err);
void supervise_end(struct supervision *s);

/* supervise_report.c: what the kernel and its listeners are told. */
int supervise_session(struct supervision *s, struct error *err);
int supervise_set_phase(struct supervision *s, enum migtrack_phase phase,
			struct error *err);
int supervise_publish(struct supervision *s, struct error *err);
/* Of memory; @exact: the VMM has just looked. */
int supervise_report(struct supervision *s, bool exact, struct error *err);
int supervise_sync(struct supervision *s, enum migtrack_sync_kind kind,
		   struct error *err);
/* Why the last decision was what it was. */
enum policy_reason supervise_reason(const struct supervision *s);
/* What is left, as of the last sync; @reinit: a device began anew. */
void supervise_pending(struct supervision *s, struct policy_pending *pending,
		       bool *ready, bool *reinit);

/* supervise_act.c: what the VMM is told. */
int supervise_limit(struct supervision *s, struct error *err);
int supervise_act(struct supervision *s, struct error *err);
/* Asked for over the control socket. */
int supervise_asked(const char *command, const json_t *request, void *data,
		    struct error *err);

/* supervise_output.c */
void supervise_out_start(struct supervision *s);
void supervise_out_phase(struct supervision *s);
void supervise_out_look(struct supervision *s, bool iteration);
/* @why: the policy's reason, NULL if the user asked for it. */
void supervise_out_action(struct supervision *s, const char *done,
			  const struct policy_action *why);
void supervise_out_summary(struct supervision *s, const struct error *err);

#endif /* MIGCTL_SUPERVISE_H */
