/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files that make up QEMU's driver, and by nobody else. */
#ifndef MIGCTL_QEMU_H
#define MIGCTL_QEMU_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "vmm/migration.h"
#include "vmm/qmp.h"
#include "vmm/vmm.h"

/**
 * struct qemu_undo - what an undo must know
 * @ran: the guest ran when the migration began
 * @started: we told QEMU to migrate
 *
 * In memory that is shared with the guard, which is forked before the
 * migration begins.
 */
struct qemu_undo {
	bool ran;
	bool started;
};

/**
 * struct qemu - a QEMU that is connected
 * @vmm: what the rest of migctl sees
 * @qmp: the connection
 * @undo: NULL until what a migration changes was saved
 * @migration_events: how often its migration said that its state changed, or the guest
 *	that it stopped
 * @seen: how many of these there were when the migration's state was last asked for
 * @said: that state, as the last of them named it
 */
struct qemu {
	struct vmm vmm;
	struct qmp *qmp;
	struct qemu_undo *undo;
	unsigned int migration_events;
	unsigned int seen;
	char said[32];
};

static inline struct qemu *to_qemu(struct vmm *vmm)
{
	return (struct qemu *)vmm;
}

/* A reply that QEMU's schema rules out. */
int qemu_odd(struct error *err, const char *command);

/* Run a command whose result must be of type @type. */
int qemu_query(struct qemu *qemu, const char *command, json_t *arguments,
	       json_type type, json_t **result, struct error *err);

int qom_list(struct qemu *qemu, const char *path, json_t **list,
	     struct error *err);
bool qom_has(const json_t *list, const char *property);
/* Leaves @value NULL if the object of this QEMU has no such property. */
int qom_get(struct qemu *qemu, const json_t *list, const char *path,
	    const char *property, json_t **value, struct error *err);

/* The back ends as QEMU describes them: no file is looked for or opened. */
int qemu_backends(struct qemu *qemu, struct vmm_memory **memory, size_t *n,
		  struct error *err);

/* The parts of vmm_qemu_migration. */
int qemu_memory_blocks(struct vmm *vmm, json_t **blocks, struct error *err);
int qemu_describe(struct vmm *vmm, json_t **description, struct error *err);
int qemu_vcpus(struct vmm *vmm, pid_t **threads, size_t *n, struct error *err);
int qemu_check_source(struct vmm *vmm, struct error *err);
int qemu_check_disks(struct vmm *vmm, struct error *err);
int qemu_check_destination(struct vmm *vmm, struct error *err);
int qemu_check_waiting(struct vmm *vmm, struct error *err);
int qemu_check_mapped(struct vmm *vmm, struct error *err);
int qemu_save(struct vmm *vmm, json_t **saved, struct error *err);
int qemu_prepare_source(struct vmm *vmm, struct error *err);
int qemu_prepare_destination(struct vmm *vmm, struct error *err);
int qemu_prepare_save(struct vmm *vmm, struct error *err);
int qemu_prepare_load(struct vmm *vmm, struct error *err);
int qemu_restore(struct vmm *vmm, json_t *saved, struct error *err);

/*
 * All capabilities and all parameters: {"capabilities": {}, "parameters": {}}.
 * The same is what qemu_settings_apply() takes, and qemu_restore().
 */
int qemu_settings_read(struct qemu *qemu, json_t **all, struct error *err);
/* Sets what differs and what this QEMU knows. */
int qemu_settings_apply(struct qemu *qemu, json_t *wanted, struct error *err);
/* @undo, for the guard to see. */
int qemu_undo_make(struct qemu *qemu, bool ran, struct error *err);

/* Have a guest that ran run again, if a migration keeps it stopped. */
int qemu_guest_resume(struct qemu *qemu, struct error *err);
/* End the migration, whatever it is doing, and wait until it has ended. */
int qemu_migration_end(struct qemu *qemu, struct error *err);

/* Its arguments, each ended by a 0 byte. The caller frees @line. */
int qemu_cmdline_read(pid_t pid, char **line, size_t *size, struct error *err);

/* Whether its guest is one that runs, or can. */
bool qemu_is_movable(const struct vmm_status *status);
/* Refuse a guest in a state that can't be moved; a migration that QEMU refuses. */
int qemu_check_state(struct qemu *qemu, struct error *err);
int qemu_check_blocked(struct qemu *qemu, struct error *err);

int qemu_status(struct vmm *vmm, struct vmm_status *status, struct error *err);
/* QEMU's name of a migration's state, "" for none, as one of ours. */
enum vmm_phase qemu_phase_of(const char *status);
int qemu_take_over(struct vmm *vmm, struct error *err);
int qemu_connection(struct vmm *vmm);
int qemu_go_on(struct vmm *vmm, struct error *err);
bool qemu_ran(struct vmm *vmm);

/* Nothing is under way any more. */
bool qemu_phase_over(enum vmm_phase phase);
/* The guest runs, or would if it did not sleep. */
bool qemu_alive(const struct vmm_status *status);

#endif /* MIGCTL_QEMU_H */
