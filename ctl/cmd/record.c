// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/output.h"
#include "cmd/record.h"
#include "vmm/memfile.h"
#include "vmm/migration.h"

static int record_error(const char *path, struct error *err)
{
	bool forbidden = errno == EACCES;

	error_set(err, forbidden ? EXIT_PERMISSION : EXIT_FAILED, "%s: %s", path,
		  strerror(errno));
	return forbidden ? error_advise(err, "run migctl as root") : -1;
}

static int sync_directory(struct error *err)
{
	int fd = open(RECORD_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;

	if (fd < 0)
		return record_error(RECORD_DIR, err);
	ret = fsync(fd);
	close(fd);
	return ret ? record_error(RECORD_DIR, err) : 0;
}

static int record_put(const char *path, const char *text, struct error *err)
{
	size_t length = strlen(text);
	int fd, ret = 0;

	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return record_error(path, err);
	if (write(fd, text, length) != (ssize_t)length || fsync(fd))
		ret = record_error(path, err);
	close(fd);
	return ret;
}

/* A reader sees the old record or the new one, whole. */
static int record_write(const struct record *record, struct error *err)
{
	char next[PATH_MAX + 8];
	json_t *json;
	char *text;
	int ret;

	json = json_pack("{s:I, s:i, s:I, s:i, s:I, s:s, s:o, s:o, s:s, s:b}", "session_id",
			 (json_int_t)record->session, "pid", (int)record->pid,
			 "pid_start", (json_int_t)record->pid_start,
			 "vmm", (int)record->vmm,
			 "vmm_start", (json_int_t)record->vmm_start,
			 "driver", record->driver->option,
			 "qmp", json_text(record->qmp), "to", json_text(record->to),
			 "state", record->state, "paused", record->paused);
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!text)
		return error_set(err, EXIT_FAILED, "out of memory");

	snprintf(next, sizeof(next), "%s.new", record->path);
	ret = record_put(next, text, err);
	free(text);
	if (!ret && rename(next, record->path))
		ret = record_error(record->path, err);
	if (ret)
		unlink(next);
	return ret ? ret : sync_directory(err);
}

static void record_name(struct record *record, uint64_t session)
{
	record->session = session;
	snprintf(record->path, sizeof(record->path), RECORD_DIR "/%llu.json",
		 (unsigned long long)session);
}

static bool is_handed_over(const struct record *record)
{
	return strcmp(record->state, "migrating");
}

/*
 * Who reads it may be in another directory. Links stay what they are: one of another
 * root, /proc/PID/root/..., leads somewhere else from here. A name that is too long for
 * a socket with its directory can be used where it was given.
 */
static void record_socket(struct record *record, const char *socket)
{
	char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	const char *slash;

	snprintf(record->qmp, sizeof(record->qmp), "%s", socket);
	if (socket[0] == '/' || !getcwd(dir, sizeof(dir)) || dir[0] != '/')
		return;
	slash = dir[1] ? "/" : "";
	if (strlen(dir) + strlen(slash) + strlen(socket) < sizeof(dir))
		snprintf(record->qmp, sizeof(record->qmp), "%s%s%s", dir, slash, socket);
}

/**
 * record_create() - a migration begins
 * @record: filled; its path is "" on failure
 * @session: number of the kernel's session
 * @guest: the source VMM
 * @vmm: its process
 * @to: the destination's address
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int record_create(struct record *record, uint64_t session,
		  const struct vmm_choice *guest, pid_t vmm, const char *to,
		  struct error *err)
{
	struct record old;

	*record = (struct record) {
		.pid = getpid(),
		.pid_start = process_start(getpid()),
		.vmm = vmm,
		.vmm_start = process_start(vmm),
		.driver = guest->driver,
		.state = "migrating",
	};
	record_socket(record, guest->socket);
	snprintf(record->to, sizeof(record->to), "%s", to);
	if (mkdir(RECORD_DIR, 0755) && errno != EEXIST)
		return record_error(RECORD_DIR, err);
	record_name(record, session);
	if (!record_read(&old, session, err) && is_handed_over(&old)) {
		record->path[0] = '\0';
		error_set(err, EXIT_FAILED,
			  "the record of an earlier migration, %s, is still there, and it had the same session number",
			  old.path);
		return error_advise(err, "end that one with migctl resolve, or start again: the next one has another number");
	}
	if (record_write(record, err)) {
		record->path[0] = '\0';
		return -1;
	}
	return 0;
}

int record_set(struct record *record, const char *state, struct error *err)
{
	snprintf(record->state, sizeof(record->state), "%s", state);
	return record_write(record, err);
}

void record_leave(struct record *record)
{
	struct error ignored;

	record->pid = 0;
	record->pid_start = 0;
	if (record->path[0])
		record_write(record, &ignored);
}

void record_remove(struct record *record)
{
	if (record->path[0])
		unlink(record->path);
	record->path[0] = '\0';
}

int record_read(struct record *record, uint64_t session, struct error *err)
{
	const char *qmp = "", *to = "", *state = "", *driver = "";
	json_int_t pid_start = 0, vmm_start = 0;
	int pid = 0, vmm = 0, paused = 0;
	json_t *json;
	FILE *file;

	*record = (struct record){};
	record_name(record, session);
	file = fopen(record->path, "re");
	if (!file) {
		if (errno != ENOENT)
			return record_error(record->path, err);
		error_set(err, EXIT_GONE, "session %llu is no migration that is under way",
			  (unsigned long long)session);
		return error_advise(err, "see migctl list, column MIGRATION");
	}
	json = json_loadf(file, 0, NULL);
	fclose(file);
	if (!json || json_unpack(json, "{s:i, s?I, s?i, s?I, s?s, s:s, s:s, s:s, s?b}",
				 "pid", &pid, "pid_start", &pid_start, "vmm", &vmm,
				 "vmm_start", &vmm_start, "driver", &driver, "qmp", &qmp,
				 "to", &to, "state", &state, "paused", &paused)) {
		json_decref(json);
		return error_set(err, EXIT_FAILED, "%s can't be read", record->path);
	}
	record->pid = pid;
	record->pid_start = (uint64_t)pid_start;
	record->vmm = vmm;
	record->vmm_start = (uint64_t)vmm_start;
	record->paused = paused;
	record->driver = !strcmp(driver, vmm_driver_handover.option) ?
			 &vmm_driver_handover : &vmm_driver_qemu;
	snprintf(record->qmp, sizeof(record->qmp), "%s", qmp);
	snprintf(record->to, sizeof(record->to), "%s", to);
	snprintf(record->state, sizeof(record->state), "%s", state);
	json_decref(json);
	return 0;
}

bool record_owner_lives(const struct record *record)
{
	char name[32];

	if (record->pid <= 0 || (kill(record->pid, 0) && errno == ESRCH) ||
	    (record->pid_start && process_start(record->pid) != record->pid_start))
		return false;
	if (record->pid_start)
		return true;
	process_name(record->pid, name, sizeof(name));
	return !strcmp(name, "migctl");
}

bool record_is_of(const struct record *record, pid_t vmm)
{
	return record->vmm == vmm && record->vmm_start == process_start(vmm);
}

bool record_vmm_is_there(const struct record *record)
{
	/* Of a process that has ended nobody knows when it began. */
	return record->vmm && record->vmm_start && record_is_of(record, record->vmm);
}

static void remove_older(const struct record *record, void *data)
{
	const struct vmm *vmm = data;

	if (record_is_of(record, vmm->pid) && !record_owner_lives(record))
		unlink(record->path);
}

void record_remove_older(struct vmm *vmm, const struct vmm_driver *driver)
{
	struct vmm_status status;
	struct error ignored;

	if (!driver->migration->status(vmm, &status, &ignored) && status.running)
		record_each(remove_older, vmm, &ignored);
}

int record_each(void (*fn)(const struct record *record, void *data), void *data,
		struct error *err)
{
	struct dirent *entry;
	DIR *dir = opendir(RECORD_DIR);
	int ret = 0;

	if (!dir)
		return errno == ENOENT ? 0 : record_error(RECORD_DIR, err);
	while ((entry = readdir(dir))) {
		struct record record;
		struct error other;
		unsigned long long session;
		int used = 0;

		if (sscanf(entry->d_name, "%llu.json%n", &session, &used) != 1 ||
		    !used || entry->d_name[used])
			continue;
		if (!record_read(&record, session, &other)) {
			fn(&record, data);
		} else if (other.code != EXIT_GONE) {
			*err = other;
			ret = -1;
		}
	}
	closedir(dir);
	return ret;
}

/* ---- what was left behind ---- */

static void sweep_record(const struct record *record, void *data)
{
	(void)data;
	if (!is_handed_over(record) && !record_owner_lives(record))
		unlink(record->path);
}

/* A migration writes its record before it makes its socket. */
static void sweep_socket(const char *path, uint64_t session)
{
	struct record record;
	struct error ignored;

	if (record_read(&record, session, &ignored) || !record_owner_lives(&record))
		unlink(path);
}

/*
 * Of a VMM that has ended: of one that lives, who takes it next must not find it held,
 * and takes this one. A guard that has not finished holds it.
 */
static void sweep_lock(const char *path, pid_t vmm)
{
	int fd;

	if (!kill(vmm, 0) || errno != ESRCH)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (!flock(fd, LOCK_EX | LOCK_NB))
		unlink(path);
	close(fd);
}

static void sweep_entry(const char *name)
{
	char path[PATH_MAX];
	unsigned long long number;
	int socket = 0, lock = 0;

	snprintf(path, sizeof(path), RECORD_DIR "/%s", name);
	sscanf(name, "%llu.sock%n", &number, &socket);
	if (socket && !name[socket]) {
		sweep_socket(path, number);
		return;
	}
	sscanf(name, "vmm-%llu.lock%n", &number, &lock);
	if (lock && !name[lock])
		sweep_lock(path, (pid_t)number);
}

void record_sweep(void)
{
	struct error ignored;
	struct dirent *entry;
	DIR *dir;

	record_each(sweep_record, NULL, &ignored);
	dir = opendir(RECORD_DIR);
	if (!dir)
		return;
	while ((entry = readdir(dir)))
		sweep_entry(entry->d_name);
	closedir(dir);
}
