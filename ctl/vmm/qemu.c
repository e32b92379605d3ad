// SPDX-License-Identifier: GPL-2.0-or-later
/* The driver for QEMU: what /objects tells over QMP, matched with /proc. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/units.h"
#include "vmm/memfile.h"
#include "vmm/qemu.h"
#include "vmm/qemu_layout.h"

#define BACKEND_PREFIX	"child<memory-backend-"

/* What a back end's properties say beyond struct vmm_memory. */
struct backend_traits {
	bool hugetlb;
	bool readonly;
	char rom[8];
};

static void qemu_close(struct vmm *vmm)
{
	struct qemu *qemu = to_qemu(vmm);

	qmp_close(qemu->qmp);
	if (qemu->undo)
		munmap(qemu->undo, sizeof(*qemu->undo));
	free(qemu);
}

static uint64_t clock_now(int clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* An event that is older was not: the clock has been set since. */
#define EVENT_AGE_MAX	(2 * NS_PER_S)

/* The state is kept: QEMU may be gone before it can be asked for it. */
static void migration_event(struct qemu *qemu, const json_t *event)
{
	const json_t *data = json_object_get(event, "data");
	const char *status = json_string_value(json_object_get(data, "status"));

	qemu->migration_events++;
	snprintf(qemu->said, sizeof(qemu->said), "%s", status ? status : "");
}

/* Events carry the time of day; how long ago that was counts. */
static void qemu_event(const char *name, json_t *event, void *data)
{
	uint64_t now = clock_now(CLOCK_REALTIME), when;
	json_int_t seconds = 0, us = 0;
	struct qemu *qemu = data;

	if (!strcmp(name, "RESUME"))
		qemu->vmm.stopped_ns = 0;
	if (!strcmp(name, "MIGRATION"))
		migration_event(qemu, event);
	if (strcmp(name, "STOP"))
		return;
	/* A migration that stopped it comes to its next state at once. */
	qemu->migration_events++;
	if (json_unpack(event, "{s:{s:I, s:I}}", "timestamp", "seconds", &seconds,
			"microseconds", &us))
		return;
	when = (uint64_t)seconds * NS_PER_S + (uint64_t)us * NS_PER_US;
	qemu->vmm.stopped_ns = clock_now(CLOCK_MONOTONIC);
	if (now > when && now - when <= EVENT_AGE_MAX)
		qemu->vmm.stopped_ns -= now - when;
}

static int qemu_open(struct vmm **vmm, const char *address, pid_t pid,
		     struct error *err)
{
	struct qemu *qemu;

	*vmm = NULL;
	qemu = calloc(1, sizeof(*qemu));
	if (!qemu)
		return error_set(err, EXIT_FAILED, "out of memory");
	qemu->vmm.ops = &vmm_qemu;
	if (qmp_open(&qemu->qmp, address, err))
		goto err_close;
	qmp_on_event(qemu->qmp, qemu_event, qemu);
	qemu->vmm.pid = pid ? pid : qmp_peer(qemu->qmp);
	if (qemu->vmm.pid <= 0) {
		error_set(err, EXIT_VMM,
			  "%s: QEMU's process has no number in this pid namespace",
			  address);
		error_advise(err,
			     "run migctl in the host's pid namespace, or name the process with --pid");
		goto err_close;
	}
	snprintf(qemu->vmm.version, sizeof(qemu->vmm.version), "%s",
		 qmp_version(qemu->qmp));
	*vmm = &qemu->vmm;
	return 0;

err_close:
	qemu_close(&qemu->vmm);
	return -1;
}

int qemu_odd(struct error *err, const char *command)
{
	error_set(err, EXIT_VMM, "QEMU's reply to %s is not understood",
		  command);
	return error_advise(err, "see whether this is a QEMU that migctl(8) supports");
}

int qemu_query(struct qemu *qemu, const char *command, json_t *arguments,
	       json_type type, json_t **result, struct error *err)
{
	json_t *json;

	*result = NULL;
	if (qmp_execute(qemu->qmp, command, arguments, &json, err))
		return -1;
	if (json_typeof(json) != type) {
		json_decref(json);
		return qemu_odd(err, command);
	}
	*result = json;
	return 0;
}

int qom_list(struct qemu *qemu, const char *path, json_t **list,
	     struct error *err)
{
	return qemu_query(qemu, "qom-list", json_pack("{s:s}", "path", path),
			  JSON_ARRAY, list, err);
}

bool qom_has(const json_t *list, const char *property)
{
	json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry) {
		const char *name;

		name = json_string_value(json_object_get(entry, "name"));
		if (name && !strcmp(name, property))
			return true;
	}
	return false;
}

int qom_get(struct qemu *qemu, const json_t *list, const char *path,
	    const char *property, json_t **value, struct error *err)
{
	*value = NULL;
	if (!qom_has(list, property))
		return 0;
	return qmp_execute(qemu->qmp, "qom-get",
			   json_pack("{s:s, s:s}", "path", path, "property",
				     property), value, err);
}

static int qom_get_bool(struct qemu *qemu, const json_t *list,
			const char *path, const char *property, bool *value,
			struct error *err)
{
	json_t *json;

	if (qom_get(qemu, list, path, property, &json, err))
		return -1;
	*value = json_is_true(json);
	json_decref(json);
	return 0;
}

static int qom_get_size(struct qemu *qemu, const json_t *list,
			const char *path, const char *property,
			uint64_t *value, struct error *err)
{
	json_t *json;

	if (qom_get(qemu, list, path, property, &json, err))
		return -1;
	*value = (uint64_t)json_integer_value(json);
	json_decref(json);
	return 0;
}

static int qom_get_text(struct qemu *qemu, const json_t *list,
			const char *path, const char *property, char *text,
			size_t size, struct error *err)
{
	json_t *json;

	if (qom_get(qemu, list, path, property, &json, err))
		return -1;
	snprintf(text, size, "%s",
		 json_is_string(json) ? json_string_value(json) : "");
	json_decref(json);
	return 0;
}

static int backend_ask(struct qemu *qemu, struct vmm_memory *mem,
		       struct backend_traits *traits, struct error *err)
{
	char object[sizeof(mem->id) + sizeof("/objects/")];
	json_t *list;
	int ret = -1;

	snprintf(object, sizeof(object), "/objects/%s", mem->id);
	if (qom_list(qemu, object, &list, err))
		return -1;
	if (qom_get_size(qemu, list, object, "size", &mem->size, err) ||
	    qom_get_size(qemu, list, object, "offset", &mem->offset, err) ||
	    qom_get_bool(qemu, list, object, "share", &mem->share, err) ||
	    qom_get_text(qemu, list, object, "mem-path", mem->path,
			 sizeof(mem->path), err) ||
	    qom_get_bool(qemu, list, object, "hugetlb", &traits->hugetlb,
			 err) ||
	    qom_get_bool(qemu, list, object, "readonly", &traits->readonly,
			 err) ||
	    qom_get_text(qemu, list, object, "rom", traits->rom,
			 sizeof(traits->rom), err))
		goto out;
	ret = 0;
out:
	json_decref(list);
	return ret;
}

static bool path_contains(const struct memfile *file, const char *before,
			  const char *name, const char *after)
{
	char text[PATH_MAX + NAME_MAX];

	snprintf(text, sizeof(text), "%s%s%s", before, name, after);
	return strstr(file->path, text);
}

/* Which of QEMU's mapped files a back end without a living path can be. */
static bool file_matches(const struct memfile *file,
			 const struct vmm_memory *mem)
{
	if (file->taken || file->bytes < mem->size)
		return false;
	if (!strcmp(mem->kind, "memory-backend-file"))
		return path_contains(file, "", mem->path, " (deleted)") ||
		       path_contains(file, "/qemu_back_mem.", mem->id, ".");
	if (file->bytes != mem->size)
		return false;
	return strstr(file->path, " (deleted)") &&
	       !strstr(file->path, "/qemu_back_mem.");
}

static struct memfile *file_find(struct memfiles *all,
				 const struct vmm_memory *mem, pid_t pid)
{
	struct stat st;
	size_t i;

	if (mem->path[0] && memfile_stat(pid, mem->path, &st)) {
		for (i = 0; i < all->n; i++) {
			if (all->files[i].dev == st.st_dev &&
			    all->files[i].ino == st.st_ino)
				return &all->files[i];
		}
	}
	for (i = 0; i < all->n; i++) {
		if (file_matches(&all->files[i], mem))
			return &all->files[i];
	}
	return NULL;
}

/* Nonzero if what QEMU says is enough to refuse it. */
static int backend_refuse(struct vmm_memory *mem,
			  const struct backend_traits *traits)
{
	if (traits->hugetlb)
		return vmm_memory_refuse(mem,
			"huge pages (hugetlb=on) are not supported yet",
			"set hugetlb=off");
	mem->mapped = traits->readonly && !mem->share && mem->path[0] &&
		      !strcmp(traits->rom, "off");
	if (mem->mapped)
		return vmm_memory_refuse(mem,
			"mapped privately (share=off,readonly=on,rom=off): the guest's writes do not reach the file",
			"such a guest is for migctl supervise; set share=on for all else");
	if (traits->readonly)
		return vmm_memory_refuse(mem,
			"read-only memory: the guest can't change it", "");
	if (mem->share)
		return 0;
	if (mem->path[0])
		return vmm_memory_refuse(mem,
			"private (share=off): the guest's writes do not reach the file",
			"set share=on");
	return vmm_memory_refuse(mem,
		"anonymous, private memory (share=off)", MEMFILE_ADVICE);
}

static int backend_open(struct vmm_memory *mem, struct memfiles *all,
			pid_t pid, struct error *err)
{
	struct memfile_verdict verdict;
	struct memfile *file;

	file = file_find(all, mem, pid);
	if (!file) {
		vmm_memory_refuse(mem,
				  "its mapping was not found in QEMU's process",
				  "see /proc/PID/maps; if --qmp finds the wrong process, name it with --pid");
		return 0;
	}
	file->taken = true;
	if (!mem->path[0])
		snprintf(mem->path, sizeof(mem->path), "%s", file->path);
	mem->fd = memfile_open(file, pid, err);
	if (mem->fd < 0)
		return -1;
	verdict = memfile_check(mem->fd);
	if (verdict.reason) {
		vmm_memory_refuse(mem, verdict.reason, verdict.advice);
		close(mem->fd);
		mem->fd = -1;
	}
	return 0;
}

/* File back ends first: they are found by name, the others by size. */
static int backends_open(struct vmm_memory *memory, size_t n, pid_t pid,
			 struct error *err)
{
	struct memfiles all;
	int pass, ret = 0;
	size_t i;

	if (memfiles_read(&all, pid, err))
		return -1;
	for (pass = 0; pass < 2; pass++) {
		for (i = 0; i < n && !ret; i++) {
			bool by_name = !strcmp(memory[i].kind,
					       "memory-backend-file");

			if (memory[i].reason[0] || by_name != (pass == 0))
				continue;
			ret = backend_open(&memory[i], &all, pid, err);
		}
	}
	memfiles_free(&all);
	return ret;
}

/* Whether an entry of /objects is a memory back end; names it in @mem. */
static bool backend_name(json_t *entry, struct vmm_memory *mem)
{
	const char *name, *type;

	name = json_string_value(json_object_get(entry, "name"));
	type = json_string_value(json_object_get(entry, "type"));
	if (!name || !type ||
	    strncmp(type, BACKEND_PREFIX, strlen(BACKEND_PREFIX)))
		return false;
	*mem = (struct vmm_memory) { .fd = -1 };
	snprintf(mem->id, sizeof(mem->id), "%s", name);
	snprintf(mem->kind, sizeof(mem->kind), "%s", type + strlen("child<"));
	mem->kind[strcspn(mem->kind, ">")] = '\0';
	return true;
}

int qemu_backends(struct qemu *qemu, struct vmm_memory **memory, size_t *n,
		  struct error *err)
{
	struct backend_traits traits;
	struct vmm_memory *all;
	json_t *list, *entry;
	size_t i, found = 0;

	if (qom_list(qemu, "/objects", &list, err))
		return -1;
	all = calloc(json_array_size(list) + 1, sizeof(*all));
	if (!all) {
		json_decref(list);
		return error_set(err, EXIT_FAILED, "out of memory");
	}
	json_array_foreach(list, i, entry) {
		traits = (struct backend_traits){};
		if (!backend_name(entry, &all[found]))
			continue;
		found++;
		if (backend_ask(qemu, &all[found - 1], &traits, err))
			goto err_free;
		backend_refuse(&all[found - 1], &traits);
	}
	json_decref(list);
	*memory = all;
	*n = found;
	return 0;

err_free:
	json_decref(list);
	vmm_memory_free(all, found);
	return -1;
}

static int qemu_memory(struct vmm *vmm, struct vmm_memory **memory, size_t *n,
		       struct error *err)
{
	if (qemu_backends(to_qemu(vmm), memory, n, err))
		return -1;
	if (!backends_open(*memory, *n, vmm->pid, err))
		return 0;
	vmm_memory_free(*memory, *n);
	return -1;
}

const struct vmm_ops vmm_qemu = {
	.name = "QEMU",
	.open = qemu_open,
	.memory = qemu_memory,
	.layout = qemu_layout,
	.close = qemu_close,
};
