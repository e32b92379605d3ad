// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The part in a migration of a VMM that hands over its memory. It knows of none: it is
 * told to pause, to save or load its state, and to run, and the phases are ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/handover.h"

static int state_ask(struct handover *h, char *state, size_t size, struct error *err)
{
	const char *text;
	json_t *reply;

	if (qmp_execute(h->qmp, "query", NULL, &reply, err))
		return -1;
	text = json_string_value(json_object_get(reply, "state"));
	snprintf(state, size, "%s", text ? text : "");
	json_decref(reply);
	return 0;
}

static int handover_describe(struct vmm *vmm, json_t **description, struct error *err)
{
	*description = json_deep_copy(to_handover(vmm)->vm);
	return *description ? 0 : error_set(err, EXIT_FAILED, "out of memory");
}

/* While we are connected it is what it was when we connected. */
static int handover_memory_blocks(struct vmm *vmm, json_t **blocks, struct error *err)
{
	(void)err;
	*blocks = json_incref(json_object_get(to_handover(vmm)->vm, "blocks"));
	return 0;
}

static int state_check(struct vmm *vmm, const char *one, const char *other,
		       const char *advice, struct error *err)
{
	char state[32];

	if (state_ask(to_handover(vmm), state, sizeof(state), err))
		return -1;
	if (!strcmp(state, one) || !strcmp(state, other))
		return 0;
	error_set(err, EXIT_VMM, "the guest is in state %s", state[0] ? state : "unknown");
	return error_advise(err, "%s", advice);
}

static int handover_check_source(struct vmm *vmm, struct error *err)
{
	return state_check(vmm, "running", "paused", "only one that runs, or is paused, can be moved or saved", err);
}

static int handover_check_disks(struct vmm *vmm, struct error *err)
{
	json_t *disks = json_object_get(to_handover(vmm)->vm, "disks");

	if (!json_array_size(disks))
		return 0;
	error_set(err, EXIT_VMM, "the guest writes to %zu disk%s, and nobody moves them",
		  json_array_size(disks), json_array_size(disks) == 1 ? "" : "s");
	return error_advise(err, "if the destination has them by shared storage, say so: --disks-shared");
}

static int handover_check_destination(struct vmm *vmm, struct error *err)
{
	return state_check(vmm, "incoming", "incoming", "start a VMM that waits for a guest", err);
}

/* It has no settings; this is for the guard to know. */
static int handover_save(struct vmm *vmm, json_t **saved, struct error *err)
{
	struct handover *h = to_handover(vmm);
	void *page = h->undo;

	if (!page)
		page = mmap(NULL, sizeof(*h->undo), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return error_set(err, EXIT_FAILED, "mmap: %s", strerror(errno));
	h->undo = page;
	*h->undo = (struct handover_undo){};
	*saved = json_object();
	return *saved ? 0 : error_set(err, EXIT_FAILED, "out of memory");
}

static int handover_prepare_source(struct vmm *vmm, struct error *err)
{
	(void)err;
	to_handover(vmm)->copy = false;
	return 0;
}

static int handover_prepare_save(struct vmm *vmm, struct error *err)
{
	(void)err;
	to_handover(vmm)->copy = true;
	return 0;
}

static int handover_prepare_load(struct vmm *vmm, struct error *err)
{
	(void)vmm;
	(void)err;
	return 0;
}

static int handover_restore(struct vmm *vmm, json_t *saved, struct error *err)
{
	(void)vmm;
	(void)saved;
	(void)err;
	return 0;
}

/* What follows of a migration that is ours alone: the guest is paused. */
static int handover_start(struct vmm *vmm, int fd, struct error *err)
{
	struct handover *h = to_handover(vmm);
	char state[32];

	if (!h->undo)
		return error_set(err, EXIT_FAILED,
				 "a migration is started before its settings were saved");
	if (state_ask(h, state, sizeof(state), err))
		return -1;
	h->stream = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (h->stream < 0)
		return error_set(err, EXIT_FAILED, "too many open files");
	h->undo->ran = !strcmp(state, "running");
	h->undo->started = true;
	if (qmp_execute(h->qmp, "pause", NULL, NULL, err))
		return -1;
	h->phase = VMM_PRE_SWITCHOVER;
	return 0;
}

static void stream_close(struct handover *h)
{
	if (h->stream >= 0)
		close(h->stream);
	h->stream = -1;
}

static int handover_go_on(struct vmm *vmm, struct error *err)
{
	struct handover *h = to_handover(vmm);
	int ret;

	ret = qmp_begin(h->qmp, "save", json_pack("{s:b}", "copy", h->copy), h->stream, err);
	/* The end of the stream is the VMM's: ours would hide it. */
	stream_close(h);
	if (!ret)
		h->phase = VMM_DEVICE;
	return ret;
}

static int handover_incoming(struct vmm *vmm, int fd, struct error *err)
{
	struct handover *h = to_handover(vmm);

	if (qmp_begin(h->qmp, "load", NULL, fd, err))
		return -1;
	h->phase = VMM_ACTIVE;
	return 0;
}

static bool is_busy(const struct handover *h)
{
	return h->phase == VMM_DEVICE || h->phase == VMM_ACTIVE;
}

/* The reply to save or load, which take their time. */
static void busy_end(struct handover *h)
{
	const char *command = h->phase == VMM_DEVICE ? "save" : "load";
	struct error err;

	h->phase = VMM_COMPLETED;
	if (!qmp_end(h->qmp, command, NULL, &err))
		return;
	h->phase = VMM_FAILED;
	snprintf(h->reason, sizeof(h->reason), "%.255s", err.message);
}

void handover_settle(struct handover *h)
{
	stream_close(h);
	if (is_busy(h))
		busy_end(h);
}

static int handover_status(struct vmm *vmm, struct vmm_status *status, struct error *err)
{
	struct handover *h = to_handover(vmm);

	if (is_busy(h) && qmp_readable(h->qmp))
		busy_end(h);
	*status = (struct vmm_status) { .phase = h->phase };
	snprintf(status->reason, sizeof(status->reason), "%s", h->reason);
	if (is_busy(h))
		return 0;
	if (state_ask(h, status->state, sizeof(status->state), err))
		return -1;
	status->running = !strcmp(status->state, "running");
	return 0;
}

static bool handover_ran(struct vmm *vmm)
{
	struct handover *h = to_handover(vmm);

	return h->undo && h->undo->ran;
}

static int handover_run(struct vmm *vmm, struct error *err)
{
	return qmp_execute(to_handover(vmm)->qmp, "run", NULL, NULL, err);
}

static int handover_cancel(struct vmm *vmm, struct error *err)
{
	struct handover *h = to_handover(vmm);

	if (h->undo && !h->undo->started)
		return 0;
	handover_settle(h);
	if (handover_ran(vmm) && handover_run(vmm, err))
		return -1;
	h->phase = VMM_NONE;
	return 0;
}

static int handover_quit(struct vmm *vmm, struct error *err)
{
	struct handover *h = to_handover(vmm);

	/* It may be gone before it has answered. */
	return qmp_execute(h->qmp, "quit", NULL, NULL, err) && !qmp_gone(h->qmp) ? -1 : 0;
}

static int handover_connection(struct vmm *vmm)
{
	return qmp_fd(to_handover(vmm)->qmp);
}

static int handover_take_over(struct vmm *vmm, struct error *err)
{
	struct handover *h = to_handover(vmm);

	if (!qmp_take_over(h->qmp, "query", err))
		return 0;
	if (qmp_gone(h->qmp))
		err->code = EXIT_GONE;
	return -1;
}

const struct vmm_migration_ops vmm_handover_migration = {
	.describe = handover_describe,
	.memory_blocks = handover_memory_blocks,
	.check_source = handover_check_source,
	.check_disks = handover_check_disks,
	.check_destination = handover_check_destination,
	.check_waiting = handover_check_destination,
	.save = handover_save,
	.prepare_source = handover_prepare_source,
	.prepare_destination = handover_prepare_load,
	.prepare_save = handover_prepare_save,
	.prepare_load = handover_prepare_load,
	.restore = handover_restore,
	.start = handover_start,
	.incoming = handover_incoming,
	.status = handover_status,
	.go_on = handover_go_on,
	.cancel = handover_cancel,
	.ran = handover_ran,
	.run = handover_run,
	.quit = handover_quit,
	.userfaultfd = handover_userfaultfd,
	.release = handover_release,
	.connection = handover_connection,
	.take_over = handover_take_over,
};
