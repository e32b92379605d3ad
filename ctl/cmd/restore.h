/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migctl restore: a guest from a snapshot. */
#ifndef MIGCTL_CMD_RESTORE_H
#define MIGCTL_CMD_RESTORE_H

#include "cmd/choice.h"
#include "cmd/cmd.h"
#include "snapshot/snapshot.h"
#include "snapshot/supply.h"
#include "uffd/protocol.h"
#include "uffd/uffd.h"

struct restore_options {
	const char *dir;
	struct vmm_choice guest;
	const char *listen;
	bool paused;
	bool verify;
	bool verify_after;
	bool lazy;
	bool keep;
	uint64_t record_ns;
};

/* restore_whole.c: into a VMM that waits for a guest. */
int restore_whole(struct output *out, const struct restore_options *options,
		 struct error *err);
/* restore_lazy.c: to a VMM that asks for its pages. */
int restore_lazy(struct output *out, const struct restore_options *options,
		 struct error *err);

/**
 * struct serving_result - what a handler leaves, also if it is killed
 * @started_ns: when the VMM's memory was handed over, CLOCK_MONOTONIC
 * @set_ns: when the working set was there; 0: not yet, or there is none
 * @loaded_ns: when all was there; 0: not yet
 * @failed: @err says why it ended, or what could not be loaded
 * @err: see there
 */
struct serving_result {
	uint64_t started_ns;
	uint64_t set_ns;
	uint64_t loaded_ns;
	bool failed;
	struct error err;
};

/**
 * struct serving - a VMM that gets its pages
 * @out: what the user sees
 * @options: what the user asked for
 * @supply: where they come from
 * @set: the working set, pages of @supply
 * @n_set: how many
 * @socket: to the VMM
 * @vmm_pid: the process that connected; 0 if it has no number here
 * @vmm_fd: readable when it has ended; -1 if it can't be known
 * @watch: held by all that serve it; -1 if there is no watch
 * @offer: its userfaultfd and its memory
 * @claims: of its pages, shared by all handlers
 * @result: likewise
 * @restarts: of the handler
 */
struct serving {
	struct output *out;
	const struct restore_options *options;
	const struct supply *supply;
	const uint64_t *set;
	size_t n_set;
	int socket;
	pid_t vmm_pid;
	int vmm_fd;
	int watch;
	struct uffd_offer offer;
	struct uffd_claims claims;
	struct serving_result *result;
	unsigned int restarts;
};

/* restore_watch.c: if all that serve it are gone, it is ended. */
void restore_watch(struct serving *s);
void restore_watch_end(const struct serving *s);
/* restore_handler.c: in a process of its own. */
int restore_handle(struct serving *s, struct error *err);

#endif /* MIGCTL_CMD_RESTORE_H */
