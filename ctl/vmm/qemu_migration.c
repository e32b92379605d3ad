// SPDX-License-Identifier: GPL-2.0-or-later
/* QEMU's own part in a migration: start, watch, cancel, go on. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vmm/migration.h"
#include "vmm/qemu.h"

/* The name under which QEMU keeps our socket until the migration takes it. */
#define FD_NAME			"migctl"

#define CANCEL_TIMEOUT_MS	10000
#define RUN_TIMEOUT_MS		10000
#define POLL_MS			5
#define CONT_RETRY_MS		100

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static const struct {
	const char *status;
	enum vmm_phase phase;
} phases[] = {
	{ "none", VMM_NONE },
	{ "setup", VMM_SETUP },
	{ "wait-unplug", VMM_SETUP },
	{ "active", VMM_ACTIVE },
	{ "colo", VMM_ACTIVE },
	{ "postcopy-device", VMM_ACTIVE },
	{ "postcopy-active", VMM_ACTIVE },
	{ "postcopy-paused", VMM_ACTIVE },
	{ "postcopy-recover-setup", VMM_ACTIVE },
	{ "postcopy-recover", VMM_ACTIVE },
	{ "pre-switchover", VMM_PRE_SWITCHOVER },
	{ "device", VMM_DEVICE },
	{ "completed", VMM_COMPLETED },
	{ "failed", VMM_FAILED },
	{ "failing", VMM_CANCELLING },
	{ "cancelling", VMM_CANCELLING },
	{ "cancelled", VMM_CANCELLED },
};

/* A status that a later QEMU has invented is taken for a migration under way. */
enum vmm_phase qemu_phase_of(const char *status)
{
	size_t i;

	for (i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		if (!strcmp(phases[i].status, status))
			return phases[i].phase;
	}
	return VMM_ACTIVE;
}

bool qemu_phase_over(enum vmm_phase phase)
{
	return phase == VMM_NONE || phase == VMM_COMPLETED ||
	       phase == VMM_FAILED || phase == VMM_CANCELLED;
}

/* A guest that sleeps (ACPI S3) is as alive as one that runs. */
bool qemu_alive(const struct vmm_status *status)
{
	return status->running || !strcmp(status->state, "suspended");
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

int qemu_status(struct vmm *vmm, struct vmm_status *status, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);
	json_t *migration, *guest;
	const char *name;

	if (qemu_query(qemu, "query-migrate", NULL, JSON_OBJECT, &migration,
		       err))
		return -1;
	if (qemu_query(qemu, "query-status", NULL, JSON_OBJECT, &guest, err)) {
		json_decref(migration);
		return -1;
	}
	*status = (struct vmm_status) {
		.running = json_is_true(json_object_get(guest, "running")),
	};
	name = text_of(migration, "status");
	if (name[0])
		status->phase = qemu_phase_of(name);
	snprintf(status->reason, sizeof(status->reason), "%s",
		 text_of(migration, "error-desc"));
	snprintf(status->state, sizeof(status->state), "%s",
		 text_of(guest, "status"));
	json_decref(migration);
	json_decref(guest);
	return 0;
}

/* The failure that is reported is the one that led here, not this one. */
static void fd_forget(struct qemu *qemu)
{
	struct error ignored;

	qmp_execute(qemu->qmp, "closefd", json_pack("{s:s}", "fdname", FD_NAME),
		    NULL, &ignored);
}

static int fd_give(struct qemu *qemu, int fd, struct error *err)
{
	return qmp_execute_fd(qemu->qmp, "getfd",
			      json_pack("{s:s}", "fdname", FD_NAME), fd, NULL,
			      err);
}

/* Nothing to cancel, if QEMU did not begin what it was told to. */
static void start_check(struct qemu *qemu)
{
	struct vmm_status status;
	struct error ignored;

	if (!qemu_status(&qemu->vmm, &status, &ignored) &&
	    qemu_phase_over(status.phase))
		qemu->undo->started = false;
}

static int qemu_start(struct vmm *vmm, int fd, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);
	struct vmm_status status;

	if (!qemu->undo)
		return error_set(err, EXIT_FAILED,
				 "a migration is started before its settings were saved");
	if (qemu_status(vmm, &status, err))
		return -1;
	/* QEMU would move that, too: it may be told to stay when its guest has ended. */
	if (!qemu_is_movable(&status)) {
		error_set(err, EXIT_VMM, "the guest has ended meanwhile: it is in state %s",
			  status.state);
		return error_advise(err, "it stays here as it is: see QEMU's log");
	}
	if (fd_give(qemu, fd, err))
		return -1;
	/* Somebody may have paused the guest since it was first asked. */
	qemu->undo->ran = qemu_alive(&status);
	qemu->undo->started = true;
	if (!qmp_execute(qemu->qmp, "migrate",
			 json_pack("{s:s}", "uri", "fd:" FD_NAME), NULL, err))
		return 0;
	fd_forget(qemu);
	start_check(qemu);
	return -1;
}

static int incoming_send(struct qemu *qemu, bool stay, struct error *err)
{
	json_t *arguments = json_pack("{s:s}", "uri", "fd:" FD_NAME);

	if (stay)
		json_object_set_new(arguments, "exit-on-error", json_false());
	return qmp_execute(qemu->qmp, "migrate-incoming", arguments, NULL, err);
}

/*
 * A QEMU that stays when it can't load the stream can be asked why. Before 9.1
 * it has no such option and ends.
 */
static int qemu_incoming(struct vmm *vmm, int fd, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);

	if (fd_give(qemu, fd, err))
		return -1;
	if (!incoming_send(qemu, true, err))
		return 0;
	if (strstr(err->message, "exit-on-error") &&
	    !incoming_send(qemu, false, err))
		return 0;
	fd_forget(qemu);
	return -1;
}

int qemu_go_on(struct vmm *vmm, struct error *err)
{
	return qmp_execute(to_qemu(vmm)->qmp, "migrate-continue",
			   json_pack("{s:s}", "state", "pre-switchover"), NULL,
			   err);
}

int qemu_migration_end(struct qemu *qemu, struct error *err)
{
	int64_t deadline = now_ms() + CANCEL_TIMEOUT_MS;
	struct vmm_status status;

	for (;;) {
		if (qemu_status(&qemu->vmm, &status, err))
			return -1;
		if (qemu_phase_over(status.phase))
			return 0;
		if (status.phase != VMM_CANCELLING &&
		    qmp_execute(qemu->qmp, "migrate_cancel", NULL, NULL, err))
			return -1;
		if (now_ms() > deadline)
			break;
		poll(NULL, 0, POLL_MS);
	}
	error_set(err, EXIT_VMM,
		  "QEMU did not end its migration within %d s of the cancel",
		  CANCEL_TIMEOUT_MS / 1000);
	return error_advise(err,
			    "a device may be stuck in I/O: see QEMU's log; query-migrate tells when it has ended, cont lets the guest run");
}

/* The states that a migration leaves a guest in, and cont ends. */
static bool state_is_ours(const char *state)
{
	return !strcmp(state, "postmigrate") || !strcmp(state, "finish-migrate");
}

/* The states that somebody put it in meanwhile, and that are to stay. */
static bool state_is_wanted(const struct vmm_status *status)
{
	return qemu_alive(status) || !strcmp(status->state, "paused");
}

static int state_refuse(const char *state, struct error *err)
{
	error_set(err, EXIT_FAILED, "the guest ran and is in state %s now",
		  state);
	return error_advise(err,
			    "that is not the migration's doing: see QEMU's log, and what cont says");
}

/*
 * Have a guest run again that ran before. QEMU does that by itself if the
 * migration was cancelled, not after it was completed. The cont may fail as
 * long as a destination that is about to end holds the disk images.
 */
int qemu_guest_resume(struct qemu *qemu, struct error *err)
{
	int64_t deadline = now_ms() + RUN_TIMEOUT_MS;
	struct vmm_status status;
	int ret = 0;

	do {
		poll(NULL, 0, ret ? CONT_RETRY_MS : 0);
		if (qmp_gone(qemu->qmp))
			return -1;
		if (qemu_status(&qemu->vmm, &status, err))
			return -1;
		if (state_is_wanted(&status))
			return 0;
		if (!state_is_ours(status.state))
			return state_refuse(status.state, err);
		ret = qmp_execute(qemu->qmp, "cont", NULL, NULL, err);
	} while (now_ms() <= deadline);
	if (!ret)
		state_refuse(status.state, err);
	return -1;
}

bool qemu_ran(struct vmm *vmm)
{
	struct qemu *qemu = to_qemu(vmm);

	return qemu->undo && qemu->undo->ran;
}

static int qemu_cancel(struct vmm *vmm, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);

	/* A migration that is not ours is left alone. */
	if (qemu->undo && !qemu->undo->started)
		return 0;
	if (qemu_migration_end(qemu, err))
		return -1;
	return qemu_ran(vmm) ? qemu_guest_resume(qemu, err) : 0;
}

static int run_refuse(const struct vmm_status *status, struct error *err)
{
	if (!strcmp(status->state, "inmigrate")) {
		error_set(err, EXIT_VMM,
			  "the guest can't run: QEMU has not loaded it%s%s",
			  status->reason[0] ? ": " : "", status->reason);
		return error_advise(err, "see QEMU's log");
	}
	error_set(err, EXIT_VMM, "the guest does not run after cont: state %s",
		  status->state);
	return error_advise(err, "see QEMU's log");
}

static int qemu_run(struct vmm *vmm, struct error *err)
{
	int64_t deadline = now_ms() + RUN_TIMEOUT_MS;
	struct qemu *qemu = to_qemu(vmm);
	struct vmm_status status;

	/* While it loads, cont would only be noted, and start the guest later. */
	if (qemu_status(vmm, &status, err))
		return -1;
	if (!strcmp(status.state, "inmigrate"))
		return run_refuse(&status, err);
	if (qmp_execute(qemu->qmp, "cont", NULL, NULL, err))
		return -1;
	do {
		if (qemu_status(vmm, &status, err))
			return -1;
		if (qemu_alive(&status))
			return 0;
		poll(NULL, 0, POLL_MS);
	} while (now_ms() <= deadline);
	return run_refuse(&status, err);
}

static int qemu_quit(struct vmm *vmm, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);

	/* It may be gone before it has answered. */
	if (!qmp_execute(qemu->qmp, "quit", NULL, NULL, err) ||
	    qmp_gone(qemu->qmp))
		return 0;
	return -1;
}

int qemu_connection(struct vmm *vmm)
{
	return qmp_fd(to_qemu(vmm)->qmp);
}

int qemu_take_over(struct vmm *vmm, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);

	if (!qmp_take_over(qemu->qmp, "query-version", err)) {
		fd_forget(qemu);
		return 0;
	}
	if (qmp_gone(qemu->qmp))
		err->code = EXIT_GONE;
	return -1;
}

const struct vmm_migration_ops vmm_qemu_migration = {
	.describe = qemu_describe,
	.memory_blocks = qemu_memory_blocks,
	.vcpus = qemu_vcpus,
	.check_source = qemu_check_source,
	.check_disks = qemu_check_disks,
	.check_destination = qemu_check_destination,
	.check_waiting = qemu_check_waiting,
	.check_mapped = qemu_check_mapped,
	.save = qemu_save,
	.prepare_source = qemu_prepare_source,
	.prepare_destination = qemu_prepare_destination,
	.prepare_save = qemu_prepare_save,
	.prepare_load = qemu_prepare_load,
	.restore = qemu_restore,
	.start = qemu_start,
	.incoming = qemu_incoming,
	.status = qemu_status,
	.go_on = qemu_go_on,
	.cancel = qemu_cancel,
	.ran = qemu_ran,
	.run = qemu_run,
	.quit = qemu_quit,
	.connection = qemu_connection,
	.take_over = qemu_take_over,
};
