/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The run record: a file for each migration that is under way, so that migctl
 * cancel finds it, and so that who comes after a crash knows whether the guest
 * was handed over.
 */
#ifndef MIGCTL_RECORD_H
#define MIGCTL_RECORD_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cmd/choice.h"
#include "common/error.h"

#define RECORD_DIR	"/run/migtrack"

/**
 * struct record - a run record
 * @path: "" while there is none
 * @session: number of the kernel's session
 * @pid: the migctl that migrates
 * @pid_start: when it began, see process_start()
 * @qmp: the source VMM's socket as it was named, from the root if that fits
 * @vmm: the process of that VMM; 0 if nobody knows
 * @vmm_start: when it began
 * @driver: of that VMM
 * @to: the destination
 * @state: "migrating", "handed-over", "in-doubt"; "postcopy": the guest runs at the
 *	destination, and nowhere else ever again
 * @paused: the guest was paused when it was handed over
 */
struct record {
	char path[PATH_MAX];
	uint64_t session;
	pid_t pid;
	uint64_t pid_start;
	char qmp[PATH_MAX];
	pid_t vmm;
	uint64_t vmm_start;
	const struct vmm_driver *driver;
	char to[PATH_MAX];
	char state[32];
	bool paused;
};

/* The guest is one that its VMM, process @vmm, has. */
int record_create(struct record *record, uint64_t session,
		  const struct vmm_choice *guest, pid_t vmm, const char *to,
		  struct error *err);
/* Whoever reads it then reads that, or what is set later. */
int record_set(struct record *record, const char *state, struct error *err);
void record_remove(struct record *record);
/* It stays, and is nobody's any more. */
void record_leave(struct record *record);
/* Does the migctl that wrote it live? */
bool record_owner_lives(const struct record *record);
/* Is process @vmm the VMM that it is about? */
bool record_is_of(const struct record *record, pid_t vmm);
/* Has that one not ended? False if nobody knows which it is. */
bool record_vmm_is_there(const struct record *record);
/*
 * The lock of @vmm's guest is ours. If it runs, what others that ended have left of it
 * says nothing any more.
 */
void record_remove_older(struct vmm *vmm, const struct vmm_driver *driver);
/*
 * Remove what killed migctls have left; a record that says more than "migrating" may be
 * all that is known of a guest, and stays.
 */
void record_sweep(void);
/* Those that can be read, in no order; -1 if there are others, and @err says why one is. */
int record_each(void (*fn)(const struct record *record, void *data), void *data,
		struct error *err);
int record_read(struct record *record, uint64_t session, struct error *err);

#endif /* MIGCTL_RECORD_H */
