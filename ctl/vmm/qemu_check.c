// SPDX-License-Identifier: GPL-2.0-or-later
/* Which QEMUs can be moved, and which can take a guest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/memfile.h"
#include "vmm/migration.h"
#include "vmm/qemu.h"

#define DEVICE_PREFIX	"child<"

/* Called with each device; nonzero ends the search. */
typedef int device_fn(struct qemu *qemu, const char *path, const char *name,
		      const char *type, struct error *err);

static int devices_of(struct qemu *qemu, const char *folder, device_fn *fn,
		      struct error *err)
{
	json_t *list, *entry;
	char *path;
	int ret = 0;
	size_t i;

	if (qom_list(qemu, folder, &list, err))
		return -1;
	json_array_foreach(list, i, entry) {
		const char *name, *type;

		name = json_string_value(json_object_get(entry, "name"));
		type = json_string_value(json_object_get(entry, "type"));
		if (!name || !type || strncmp(type, DEVICE_PREFIX,
					      strlen(DEVICE_PREFIX)))
			continue;
		if (asprintf(&path, "%s/%s", folder, name) < 0) {
			ret = error_set(err, EXIT_FAILED, "out of memory");
			break;
		}
		ret = fn(qemu, path, name, type + strlen(DEVICE_PREFIX), err);
		free(path);
		if (ret)
			break;
	}
	json_decref(list);
	return ret;
}

/* All that -device and device_add made, with a name of its own and without. */
static int devices_each(struct qemu *qemu, device_fn *fn, struct error *err)
{
	return devices_of(qemu, "/machine/peripheral", fn, err) ||
	       devices_of(qemu, "/machine/peripheral-anon", fn, err) ? -1 : 0;
}

static int length_of(const char *type)
{
	return (int)strcspn(type, ">");
}

static int vfio_refuse(struct qemu *qemu, const char *path, const char *name,
		       const char *type, struct error *err)
{
	(void)qemu;
	(void)path;
	if (strncmp(type, "vfio-", strlen("vfio-")))
		return 0;
	error_set(err, EXIT_UNTRACKABLE,
		  "the guest has a VFIO device, %s (%.*s): it writes to memory unseen, and its state needs the VMM's own migration",
		  name, length_of(type), type);
	return error_advise(err,
			    "unplug it (device_del), or let QEMU migrate this guest itself");
}

/* QEMU 11.1 then uses a bitmap that memory which it skips does not have. */
static int balloon_refuse(struct qemu *qemu, const char *path, const char *name,
			  const char *type, struct error *err)
{
	json_t *list, *value;
	bool hint;

	if (strncmp(type, "virtio-balloon", strlen("virtio-balloon")))
		return 0;
	if (qom_list(qemu, path, &list, err))
		return -1;
	if (qom_get(qemu, list, path, "free-page-hint", &value, err)) {
		json_decref(list);
		return -1;
	}
	hint = json_is_true(value);
	json_decref(value);
	json_decref(list);
	if (!hint)
		return 0;
	error_set(err, EXIT_VMM,
		  "the balloon %s (%.*s) has free-page-hint=on, which can crash a QEMU that does not move the memory itself",
		  name, length_of(type), type);
	return error_advise(err,
			    "start the guest with free-page-hint=off, or unplug the balloon (device_del)");
}

#define BACKEND_ADVICE \
	"start QEMU with -object memory-backend-file,id=ID,size=SIZE,share=on,mem-path=/dev/shm/NAME and -machine memory-backend=ID"

/* Why QEMU would not leave this back end to us; NULL if it does. */
static const char *backend_reason(const struct vmm_memory *memory)
{
	bool file = !strcmp(memory->kind, "memory-backend-file");

	if (memory->reason[0])
		return memory->reason;
	if (!file)
		return "QEMU moves memory of this kind itself: it leaves only shared memory-backend-file to others";
	return NULL;
}

static int backend_check(const struct vmm_memory *memory, const char *who,
			 struct error *err)
{
	const char *reason = backend_reason(memory);

	if (!reason)
		return 0;
	error_set(err, EXIT_UNTRACKABLE, "%s memory back end %s (%s): %s", who,
		  memory->id, memory->kind, reason);
	return error_advise(err, "%s", BACKEND_ADVICE);
}

static int backends_check(struct qemu *qemu, const char *who,
			  struct error *err)
{
	struct vmm_memory *memory;
	size_t i, n;
	int ret = 0;

	if (qemu_backends(qemu, &memory, &n, err))
		return -1;
	if (!n) {
		error_set(err, EXIT_UNTRACKABLE,
			  "%s guest's memory has no back end, it is anonymous",
			  who);
		ret = error_advise(err, "%s", BACKEND_ADVICE);
	}
	for (i = 0; i < n && !ret; i++)
		ret = backend_check(&memory[i], who, err);
	vmm_memory_free(memory, n);
	return ret;
}

bool qemu_is_movable(const struct vmm_status *status)
{
	static const char * const movable[] = { "running", "paused",
						"suspended", "prelaunch" };
	size_t i;

	for (i = 0; i < sizeof(movable) / sizeof(movable[0]); i++) {
		if (!strcmp(status->state, movable[i]))
			return true;
	}
	return false;
}

int qemu_check_state(struct qemu *qemu, struct error *err)
{
	struct vmm_status status;

	if (qemu_status(&qemu->vmm, &status, err))
		return -1;
	if (!qemu_phase_over(status.phase)) {
		error_set(err, EXIT_VMM,
			  "a migration of this guest is under way already");
		return error_advise(err,
				    "wait until it has ended, or end it (QMP: migrate_cancel)");
	}
	if (qemu_is_movable(&status))
		return 0;
	error_set(err, EXIT_VMM, "a guest in state %s can't be moved",
		  status.state);
	if (!strcmp(status.state, "inmigrate"))
		return error_advise(err,
				    "it waits for its own arrival: is this the destination's socket?");
	if (!strcmp(status.state, "postmigrate"))
		return error_advise(err,
				    "it has been moved already; if it runs nowhere else, cont lets it run here");
	return error_advise(err, "see QEMU's log, and have the guest run first");
}

/* QEMU's devices that can't be migrated, in its own words. */
int qemu_check_blocked(struct qemu *qemu, struct error *err)
{
	json_t *migration, *reasons, *reason;
	size_t i, used = 0;
	char text[512] = "";

	if (qemu_query(qemu, "query-migrate", NULL, JSON_OBJECT, &migration,
		       err))
		return -1;
	reasons = json_object_get(migration, "blocked-reasons");
	json_array_foreach(reasons, i, reason) {
		if (!json_is_string(reason) || used >= sizeof(text))
			continue;
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "%s%s", used ? "; " : "",
					 json_string_value(reason));
	}
	json_decref(migration);
	if (!used)
		return 0;
	error_set(err, EXIT_VMM, "QEMU can't migrate this guest: %s", text);
	return error_advise(err, "remove the device or option that it names");
}

/* Reached the same way from everywhere. */
static bool is_remote(const char *file)
{
	static const char * const protocols[] = {
		"nbd", "rbd", "iscsi", "nfs", "ssh", "http", "https", "gluster",
	};
	size_t i, length = strcspn(file, ":+");

	for (i = 0; file[length] && i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		if (strlen(protocols[i]) == length &&
		    !strncmp(file, protocols[i], length))
			return true;
	}
	return false;
}

/* The file of a disk that the guest can write, if it is of this host; else NULL. */
static const char *local_disk(json_t *drive)
{
	json_t *inserted = json_object_get(drive, "inserted");
	const char *file = json_string_value(json_object_get(inserted, "file"));

	if (!file || json_is_true(json_object_get(inserted, "ro")) || is_remote(file))
		return NULL;
	return file;
}

/**
 * qemu_check_disks() - refuse a guest whose disks stay behind
 * @vmm: the QEMU that runs it
 * @err: which disk, and what to do
 *
 * Return: 0 or -1.
 */
int qemu_check_disks(struct vmm *vmm, struct error *err)
{
	json_t *drives, *drive;
	int ret = 0;
	size_t i;

	if (qemu_query(to_qemu(vmm), "query-block", NULL, JSON_ARRAY, &drives, err))
		return -1;
	json_array_foreach(drives, i, drive) {
		const char *file = local_disk(drive);

		if (!file)
			continue;
		error_set(err, EXIT_VMM,
			  "the guest writes to a disk, %.300s, which is not moved",
			  file);
		ret = error_advise(err,
				   "if the destination's QEMU has the same disk by shared storage, say so with --disks-shared");
		break;
	}
	json_decref(drives);
	return ret;
}

/**
 * qemu_check_source() - refuse a guest that can't be moved
 * @vmm: the QEMU that runs it
 * @err: why not, and what to change
 *
 * Return: 0 or -1.
 */
int qemu_check_source(struct vmm *vmm, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);

	if (qemu_check_state(qemu, err) ||
	    devices_each(qemu, vfio_refuse, err) ||
	    devices_each(qemu, balloon_refuse, err) ||
	    backends_check(qemu, "the", err) ||
	    qemu_check_blocked(qemu, err))
		return -1;
	return 0;
}

static int elsewhere_refuse(struct error *err)
{
	error_set(err, EXIT_VMM,
		  "the destination's QEMU takes a migration from elsewhere already");
	return error_advise(err,
			    "start it with -incoming defer, not with an address");
}

int qemu_cmdline_read(pid_t pid, char **line, size_t *size, struct error *err)
{
	char path[64];
	size_t room = 0;
	ssize_t len;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	file = fopen(path, "r");
	if (!file) {
		error_set(err, errno == EACCES ? EXIT_PERMISSION : EXIT_GONE,
			  "%s: %s", path, strerror(errno));
		return error_advise(err,
				    "see whether QEMU still runs; if --qmp finds the wrong process, name it with --pid");
	}
	/* Up to the end: no argument has the delimiter in it. */
	*line = NULL;
	len = getdelim(line, &room, EOF, file);
	fclose(file);
	if (len <= 0) {
		free(*line);
		return error_set(err, EXIT_GONE, "%s is empty: QEMU has ended",
				 path);
	}
	*size = (size_t)len;
	return 0;
}

/* What follows an option, given with one dash or two; NULL without it. */
static const char *cmdline_option(const char *line, size_t size,
				  const char *option)
{
	const char *argument = line;

	while (argument < line + size) {
		const char *next = argument + strlen(argument) + 1;

		if (!strcmp(argument, option) ||
		    (argument[0] == '-' && !strcmp(argument + 1, option)))
			return next < line + size ? next : "";
		argument = next;
	}
	return NULL;
}

/*
 * With -S the loaded guest waits for cont. QEMU does not tell: a guest that is
 * awaited is in state inmigrate with and without it, and QMP has no query for
 * what becomes of it then. Old QEMUs do not tell either that they listen for a
 * migration. So the command line is asked.
 */
static int cmdline_check(pid_t pid, struct error *err)
{
	const char *incoming;
	char *line = NULL;
	size_t size = 0;
	int ret = 0;

	if (qemu_cmdline_read(pid, &line, &size, err))
		return -1;
	incoming = cmdline_option(line, size, "-incoming");
	if (!cmdline_option(line, size, "-S")) {
		error_set(err, EXIT_VMM,
			  "the destination's QEMU was started without -S: it would run the guest before the source has given it up");
		ret = error_advise(err, "add -S to its command line");
	} else if (incoming && strcmp(incoming, "defer")) {
		ret = elsewhere_refuse(err);
	}
	free(line);
	return ret;
}

/**
 * qemu_check_waiting() - refuse a QEMU that does not wait for a guest
 * @vmm: the QEMU
 * @err: what it does instead, and what to change
 *
 * Return: 0 or -1.
 */
int qemu_check_waiting(struct vmm *vmm, struct error *err)
{
	struct vmm_status status;

	if (qemu_status(vmm, &status, err))
		return -1;
	if (strcmp(status.state, "inmigrate")) {
		error_set(err, EXIT_VMM,
			  "the destination's QEMU does not wait for a guest: its own is in state %s",
			  status.state);
		return error_advise(err,
				    "start it with -incoming defer -S; is this the source's socket?");
	}
	if (status.phase == VMM_NONE)
		return 0;
	return elsewhere_refuse(err);
}

static int destination_check(struct qemu *qemu, struct error *err)
{
	return qemu_check_waiting(&qemu->vmm, err) || cmdline_check(qemu->vmm.pid, err) ||
	       devices_each(qemu, vfio_refuse, err) ? -1 : 0;
}

/**
 * qemu_check_destination() - refuse a QEMU that can't take a guest
 * @vmm: the QEMU
 * @err: why not, and what to change
 *
 * Return: 0 or -1.
 */
int qemu_check_destination(struct vmm *vmm, struct error *err)
{
	struct qemu *qemu = to_qemu(vmm);

	return destination_check(qemu, err) ||
	       backends_check(qemu, "the destination's", err) ? -1 : 0;
}

/**
 * qemu_check_mapped() - refuse a QEMU that can't take a guest whose memory it has mapped
 * @vmm: the QEMU
 * @err: why not, and what to change
 *
 * Which files these are is not looked at.
 *
 * Return: 0 or -1.
 */
int qemu_check_mapped(struct vmm *vmm, struct error *err)
{
	return destination_check(to_qemu(vmm), err);
}
