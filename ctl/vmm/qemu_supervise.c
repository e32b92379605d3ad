// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU's part in a migration that it does itself and migctl supervises. What
 * QEMUs differ in is found in what they answer and in their schema, not by
 * their version.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/units.h"
#include "vmm/qemu.h"
#include "vmm/supervise.h"

/* While it hands over, QEMU ends by itself: one way, or the other. */
#define END_TIMEOUT_MS		30000
#define SETUP_TIMEOUT_MS	2000
#define POLL_MS			5

/* QEMU's greatest, in ms: what is asked for beyond it is as good as no limit. */
#define DOWNTIME_MAX_MS		2000000

/* What is read before, and put back after. */
static const char * const capabilities[] = {
	"events", "pause-before-switchover", "return-path", "multifd",
	"postcopy-ram", "switchover-ack", NULL
};

static const char * const parameters[] = {
	"downtime-limit", "avail-switchover-bandwidth", "max-bandwidth",
	"multifd-channels", "tls-creds", "tls-hostname", NULL
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- refusing ---- */

static const char *libvirt_sign(const char *line, size_t size)
{
	static const char * const signs[] = {
		"/var/lib/libvirt/", "/run/libvirt/", "charmonitor",
	};
	const char *argument = line;
	size_t i;

	while (argument < line + size) {
		for (i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
			if (strstr(argument, signs[i]))
				return signs[i];
		}
		argument += strlen(argument) + 1;
	}
	return NULL;
}

/* Who manages it keeps books on it, which this would make wrong. */
static int check_owner(struct vmm *vmm, const char *address, struct error *err)
{
	const char *sign;
	char *line = NULL, text[64] = "";
	size_t size = 0;

	sign = libvirt_sign(address, strlen(address) + 1);
	if (!sign) {
		if (qemu_cmdline_read(vmm->pid, &line, &size, err))
			return -1;
		sign = libvirt_sign(line, size);
	}
	if (sign)
		snprintf(text, sizeof(text), "%s", sign);
	free(line);
	if (!text[0])
		return 0;
	error_set(err, EXIT_VMM,
		  "process %d is libvirt's (%s): it would not know of a migration that is not its own",
		  vmm->pid, text);
	return error_advise(err,
			    "migrate it by libvirt and watch it with migctl track; --force supervises it nevertheless");
}

static int check_attached(struct qemu *qemu, struct error *err)
{
	struct vmm_status status;

	if (qemu_status(&qemu->vmm, &status, err))
		return -1;
	if (!qemu_phase_over(status.phase))
		return 0;
	error_set(err, EXIT_VMM, "no migration of this guest is under way");
	return error_advise(err, "start one with --to ADDRESS, as QEMU's migrate takes it: tcp:HOST:PORT, unix:PATH");
}

static int supervise_check(struct vmm *vmm, const char *address,
			   const struct vmm_supervise_options *options,
			   struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);

	/* Hundreds in a second; query-migrate has their number. */
	qmp_skip_event(qemu->qmp, "\"MIGRATION_PASS\"");
	if (!options->force && check_owner(vmm, address, err))
		return -1;
	if (!options->to)
		return check_attached(qemu, err);
	if (qemu_check_state(qemu, err) || qemu_check_blocked(qemu, err))
		return -1;
	return 0;
}

/* ---- settings ---- */

static json_t *some_of(json_t *all, const char *kind, const char * const *names)
{
	json_t *some = json_object(), *value;

	for (; *names; names++) {
		value = json_object_get(json_object_get(all, kind), *names);
		if (value)
			json_object_set(some, *names, value);
	}
	return some;
}

static int supervise_save(struct vmm *vmm, json_t **saved, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);
	struct vmm_status status;
	json_t *all;

	if (qemu_status(vmm, &status, err) ||
	    qemu_settings_read(qemu, &all, err))
		return -1;
	*saved = json_object();
	json_object_set_new(*saved, "capabilities",
			    some_of(all, "capabilities", capabilities));
	json_object_set_new(*saved, "parameters",
			    some_of(all, "parameters", parameters));
	json_decref(all);
	return qemu_undo_make(qemu, qemu_alive(&status), err);
}

/* Only these can be answered to. */
static bool has_return_path(const char *to)
{
	return !strncmp(to, "tcp:", 4) || !strncmp(to, "unix:", 5) ||
	       !strncmp(to, "vsock:", 6);
}

/* Asking a QEMU for what it does not have is an error, not a wish. */
static int missing(const struct qemu *qemu, json_t *all, const char *kind,
		   json_t *wanted, struct error *err)
{
	json_t *value;
	const char *name;

	json_object_foreach(json_object_get(wanted, kind), name, value) {
		if (json_object_get(json_object_get(all, kind), name))
			continue;
		error_set(err, EXIT_VMM, "this QEMU (%s) has no %s in its migration %s",
			  qemu->vmm.version, name, kind);
		return error_advise(err,
				    "do without the option that needs it, or use a newer QEMU");
	}
	return 0;
}

static json_t *wanted_of(const struct vmm_supervise_options *options)
{
	json_t *wanted = json_pack("{s:{s:b}, s:{}}", "capabilities",
				   "pause-before-switchover", 1, "parameters");
	json_t *caps = json_object_get(wanted, "capabilities");
	json_t *params = json_object_get(wanted, "parameters");

	if (has_return_path(options->to))
		json_object_set_new(caps, "return-path", json_true());
	if (options->postcopy)
		json_object_set_new(caps, "postcopy-ram", json_true());
	if (options->switchover_ack)
		json_object_set_new(caps, "switchover-ack", json_true());
	if (options->multifd) {
		json_object_set_new(caps, "multifd", json_true());
		json_object_set_new(params, "multifd-channels",
				    json_integer(options->multifd));
	}
	if (options->tls_creds)
		json_object_set_new(params, "tls-creds",
				    json_string(options->tls_creds));
	if (options->tls_hostname)
		json_object_set_new(params, "tls-hostname",
				    json_string(options->tls_hostname));
	return wanted;
}

static int supervise_prepare(struct vmm *vmm,
			     const struct vmm_supervise_options *options,
			     struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);
	json_t *all, *wanted;
	int ret = -1;

	if (qemu_settings_read(qemu, &all, err))
		return -1;
	wanted = wanted_of(options);
	if (!missing(qemu, all, "capabilities", wanted, err) &&
	    !missing(qemu, all, "parameters", wanted, err)) {
		/* Without it we look often enough to see all that matters. */
		json_object_set_new(json_object_get(wanted, "capabilities"),
				    "events", json_true());
		ret = qemu_settings_apply(qemu, wanted, err);
	}
	json_decref(wanted);
	json_decref(all);
	return ret;
}

static uint64_t downtime_ms(const struct vmm_limits *limits)
{
	uint64_t ms = limits->downtime_ns / NS_PER_MS;

	if (!ms)
		return 1;
	return ms > DOWNTIME_MAX_MS ? DOWNTIME_MAX_MS : ms;
}

/*
 * QEMU reckons in whole bytes per ms and whole ms, and what is as large as the product
 * does not fit. With the limits' own threshold it does: so the smallest bandwidth whose
 * product is above that.
 */
static json_int_t bandwidth_above(const struct vmm_limits *limits, uint64_t ms)
{
	unsigned __int128 threshold, bandwidth;

	/* 0 would be what QEMU itself measures; with 1 byte a second nothing fits. */
	if (!limits->bandwidth)
		return 1;
	threshold = (unsigned __int128)limits->bandwidth * limits->downtime_ns / NS_PER_S;
	bandwidth = (threshold / ms + 1) * 1000;
	return bandwidth > INT64_MAX ? INT64_MAX : (json_int_t)bandwidth;
}

/* NULL: it is left as it is set. */
static json_t *max_bandwidth_of(const struct vmm_limits *limits, const json_t *saved)
{
	const json_t *params = json_object_get(saved, "parameters");

	if (limits->max_bandwidth)
		return json_integer((json_int_t)limits->max_bandwidth);
	return json_incref(json_object_get(params, "max-bandwidth"));
}

static int supervise_limit(struct vmm *vmm, const struct vmm_limits *limits,
			   const json_t *saved, struct error *err)
{
	json_t *wanted, *params, *max = max_bandwidth_of(limits, saved);
	uint64_t ms = downtime_ms(limits);
	int ret;

	params = json_pack("{s:I, s:I}", "downtime-limit", (json_int_t)ms,
			   "avail-switchover-bandwidth", bandwidth_above(limits, ms));
	if (max)
		json_object_set_new(params, "max-bandwidth", max);
	wanted = json_pack("{s:{}, s:o}", "capabilities", "parameters", params);
	ret = qemu_settings_apply(to_qemu(vmm), wanted, err);
	json_decref(wanted);
	return ret;
}

/* ---- the migration ---- */

static int supervise_start(struct vmm *vmm, const char *to, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);
	struct vmm_status status;

	if (qemu_status(vmm, &status, err))
		return -1;
	qemu->undo->ran = qemu_alive(&status);
	qemu->undo->started = true;
	return qmp_execute(qemu->qmp, "migrate", json_pack("{s:s}", "uri", to),
			   NULL, err);
}

static void supervise_attach(struct vmm *vmm, bool ours)
{
	struct qemu_undo *undo = to_qemu(vmm)->undo;

	/* At pre-switchover it does not, and is to. */
	undo->ran = true;
	undo->started = ours;
}

static uint64_t number_of(const json_t *object, const char *key, uint64_t none)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return none;
	return (uint64_t)json_integer_value(value);
}

static uint64_t times(uint64_t a, uint64_t b)
{
	uint64_t result;

	return __builtin_mul_overflow(a, b, &result) ? VMM_UNKNOWN - 1 : result;
}

static void state_take(struct vmm_progress *progress, const char *name)
{
	progress->phase = qemu_phase_of(name);
	snprintf(progress->name, sizeof(progress->name), "%s", name);
	progress->postcopy = !strncmp(progress->name, "postcopy-", 9);
	progress->paused = !strcmp(progress->name, "postcopy-paused");
}

static void progress_of(struct vmm_progress *progress, const json_t *migration)
{
	const json_t *ram = json_object_get(migration, "ram");
	const char *name = json_string_value(json_object_get(migration, "status"));
	const char *reason = json_string_value(json_object_get(migration,
							       "error-desc"));
	uint64_t ms = number_of(migration, "downtime", VMM_UNKNOWN);
	uint64_t pages = number_of(ram, "dirty-pages-rate", VMM_UNKNOWN);

	*progress = (struct vmm_progress) {
		.ram_bytes = number_of(ram, "remaining", 0),
		.all_bytes = number_of(migration, "remaining", VMM_UNKNOWN),
		.sent_bytes = number_of(ram, "transferred", 0) +
			      number_of(json_object_get(migration, "vfio"),
					"transferred", 0),
		.passes = number_of(ram, "dirty-sync-count", 0),
		.dirty_rate = VMM_UNKNOWN,
		.downtime_ns = VMM_UNKNOWN,
	};
	state_take(progress, name ? name : "none");
	snprintf(progress->reason, sizeof(progress->reason), "%s",
		 reason ? reason : "");
	if (pages != VMM_UNKNOWN)
		progress->dirty_rate = times(pages, number_of(ram, "page-size", 4096));
	if (ms != VMM_UNKNOWN)
		progress->downtime_ns = times(ms, NS_PER_MS);
}

/* Past the point where QEMU takes a cancel without doing harm. */
static bool is_handing_over(const struct vmm_progress *progress)
{
	return progress->phase == VMM_DEVICE || progress->postcopy;
}

/*
 * A QEMU that has ended can't be asked how far it was, but may have said so before: it
 * may be ended as soon as it has completed. 0 if that is what it said; what it was
 * doing is in @progress if there was no way back from that.
 */
static int last_word(struct qemu *qemu, struct vmm_progress *progress)
{
	struct vmm_progress last;
	struct error ignored;

	if (!qmp_gone(qemu->qmp))
		return -1;
	qmp_take_events(qemu->qmp, &ignored);
	last = *progress;
	state_take(&last, qemu->said);
	if (last.phase != VMM_COMPLETED && !is_handing_over(&last))
		return -1;
	*progress = last;
	return last.phase == VMM_COMPLETED ? 0 : -1;
}

static int supervise_progress(struct vmm *vmm, struct vmm_progress *progress,
			      struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);
	json_t *migration;

	/* What comes after the question may be news to its answer. */
	qemu->seen = qemu->migration_events;
	if (qemu_query(qemu, "query-migrate", NULL, JSON_OBJECT, &migration, err))
		return last_word(qemu, progress);
	progress_of(progress, migration);
	json_decref(migration);
	return 0;
}

static int supervise_postcopy(struct vmm *vmm, struct error *err)
{
	return qmp_execute(to_qemu(vmm)->qmp, "migrate-start-postcopy", NULL,
			   NULL, err);
}

static bool supervise_gone(struct vmm *vmm)
{
	return qmp_gone(to_qemu(vmm)->qmp);
}

static int supervise_news(struct vmm *vmm, bool *changed, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);

	if (qmp_take_events(qemu->qmp, err))
		return -1;
	/* Also what came with the reply to another command. */
	*changed = qemu->migration_events != qemu->seen;
	return 0;
}

/* ---- undoing ---- */

/* Wait until it has ended by itself. A post-copy may take long: not for that. */
static int end_await(struct vmm *vmm, struct vmm_progress *progress,
		     struct error *err)
{
	int64_t deadline = now_ms() + END_TIMEOUT_MS;

	while (!progress->postcopy && now_ms() <= deadline) {
		if (supervise_progress(vmm, progress, err))
			return -1;
		if (!is_handing_over(progress))
			return 0;
		poll(NULL, 0, POLL_MS);
	}
	return error_set(err, EXIT_VMM,
			 "QEMU hands the guest over: state %s", progress->name);
}

/*
 * A QEMU that is told to cancel while it connects several channels can wait for
 * itself for ever, with the guest stopped (seen with 10.0 and 11.1, 1 in 50). The
 * guest runs meanwhile: let it come to the end of that.
 */
static int setup_await(struct vmm *vmm, struct vmm_progress *progress,
		       struct error *err)
{
	int64_t deadline = now_ms() + SETUP_TIMEOUT_MS;

	while (progress->phase == VMM_SETUP && now_ms() <= deadline) {
		poll(NULL, 0, POLL_MS);
		if (supervise_progress(vmm, progress, err))
			return -1;
	}
	return 0;
}

/*
 * A migration that has completed has moved the guest: it is never resumed here.
 * One that is somebody else's is left alone, unless it waits for us to go on.
 */
static int supervised_cancel(struct vmm *vmm, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);
	struct vmm_progress progress = {};

	if (supervise_progress(vmm, &progress, err))
		return -1;
	if (!qemu->undo->started && progress.phase != VMM_PRE_SWITCHOVER)
		return 0;
	if (setup_await(vmm, &progress, err))
		return -1;
	if (is_handing_over(&progress) && end_await(vmm, &progress, err))
		return -1;
	if (progress.phase == VMM_COMPLETED || progress.phase == VMM_NONE)
		return 0;
	if (qemu_migration_end(qemu, err) ||
	    supervise_progress(vmm, &progress, err))
		return -1;
	if (progress.phase == VMM_COMPLETED)
		return 0;
	return qemu_ran(vmm) ? qemu_guest_resume(qemu, err) : 0;
}

static const struct vmm_migration_ops guard_ops = {
	.restore = qemu_restore,
	.status = qemu_status,
	.go_on = qemu_go_on,
	.cancel = supervised_cancel,
	.ran = qemu_ran,
	.connection = qemu_connection,
	.take_over = qemu_take_over,
};

const struct vmm_supervise_ops vmm_qemu_supervise = {
	.guard = &guard_ops,
	.check = supervise_check,
	.save = supervise_save,
	.prepare = supervise_prepare,
	.start = supervise_start,
	.attach = supervise_attach,
	.progress = supervise_progress,
	.limit = supervise_limit,
	.postcopy = supervise_postcopy,
	.gone = supervise_gone,
	.news = supervise_news,
};
