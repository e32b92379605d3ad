/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Less CPU time for a guest: each of its vCPU threads goes to a threaded child of the
 * cgroup (v2) that it is in, and has a cpu.max there. What its owner has set goes on to
 * hold; all of it is taken back by throttle_undo(), by the guard's, too.
 */
#ifndef MIGCTL_THROTTLE_H
#define MIGCTL_THROTTLE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"

/* Of one CPU, in percent; the kernel gives no less than 1 ms of what is a period here. */
#define THROTTLE_MAX	95u

/**
 * struct throttle_cpu - a vCPU
 * @thread: its thread
 * @group: directory of the cgroup that it is in
 * @child: of that one, ours
 * @stale: that was there before: a killed one has left it
 * @enabled: the cpu controller was enabled for children of @group before
 * @moved: it is in @child
 */
struct throttle_cpu {
	pid_t thread;
	char group[PATH_MAX];
	char child[PATH_MAX];
	bool stale;
	bool enabled;
	bool moved;
};

/**
 * struct throttle - the vCPUs of a guest
 * @proc: where proc is mounted
 * @cgroups: and cgroup v2
 * @cpus: see there
 * @n: how many
 */
struct throttle {
	const char *proc;
	const char *cgroups;
	struct throttle_cpu *cpus;
	size_t n;
};

#define THROTTLE_NONE	((struct throttle) { .proc = "/proc", .cgroups = "/sys/fs/cgroup" })

/* Find out whether it can be done; nothing is changed. */
int throttle_find(struct throttle *throttle, pid_t process, const pid_t *threads,
		  size_t n, struct error *err);
/* Make the cgroups; the guest does not notice. To be undone also after a failure. */
int throttle_make(struct throttle *throttle, struct error *err);
/* Take away so many percent of each vCPU's time. */
int throttle_set(struct throttle *throttle, unsigned int percent, struct error *err);
/* -1 if something of it is left. */
int throttle_undo(struct throttle *throttle, struct error *err);
/*
 * Without throttling: a killed one, whose guard was killed, too, may have left threads
 * that have less time for ever. Nobody else has the VMM.
 */
void throttle_sweep(const struct throttle *throttle, pid_t process);
void throttle_free(struct throttle *throttle);

#endif /* MIGCTL_THROTTLE_H */
