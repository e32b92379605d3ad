// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/throttle.h"

/*
 * Short, so that a guest that is to stop does so soon; 5 % of it are the millisecond
 * that the kernel gives at least.
 */
#define PERIOD_US	20000u

#define CHILD_NAME	"migtrack-vcpu-"

/* ---- files of cgroups ---- */

static int file_open(const char *dir, const char *name, int flags)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, flags | O_CLOEXEC);
}

static int file_read(const char *dir, const char *name, char *text, size_t size)
{
	int fd = file_open(dir, name, O_RDONLY);
	ssize_t length;

	text[0] = '\0';
	if (fd < 0)
		return -1;
	length = read(fd, text, size - 1);
	close(fd);
	if (length < 0)
		return -1;
	text[length] = '\0';
	return 0;
}

/* Returns 0 or an errno. */
static int file_write(const char *dir, const char *name, const char *text)
{
	int fd = file_open(dir, name, O_WRONLY), ret = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = errno;
	close(fd);
	return ret;
}

static bool has_word(const char *text, const char *word)
{
	size_t length = strlen(word), n;

	for (; *text; text += n + strspn(text + n, " \n")) {
		n = strcspn(text, " \n");
		if (n == length && !strncmp(text, word, n))
			return true;
	}
	return false;
}

static int refuse(const char *what, const char *dir, int errnum, struct error *err)
{
	error_set(err, errnum == EACCES || errnum == EPERM ? EXIT_PERMISSION : EXIT_VMM,
		  "the guest's CPUs can't be throttled: %s: %s: %s", dir, what,
		  strerror(errnum));
	return error_advise(err,
			    "leave --throttle out, or have QEMU in a cgroup of its own (v2) that has no children and no memory or io controller enabled for them");
}

/* ---- before anything is changed ---- */

/* "0::/machine/vm1": the line of version 2. */
static int group_of(const struct throttle *throttle, pid_t process, pid_t thread,
		    char *group, struct error *err)
{
	char dir[64], text[PATH_MAX], *line, *end;

	snprintf(dir, sizeof(dir), "%s/%d/task/%d", throttle->proc, process, thread);
	if (file_read(dir, "cgroup", text, sizeof(text))) {
		error_set(err, EXIT_VMM,
			  "the guest's CPUs can't be throttled: process %d has no thread %d",
			  process, thread);
		return error_advise(err, "QEMU may be in another pid namespace: run migctl there");
	}
	line = !strncmp(text, "0::/", 4) ? text : strstr(text, "\n0::/");
	if (line) {
		line = strstr(line, "0::") + 3;
		end = strchr(line, '\n');
		if (end)
			*end = '\0';
		snprintf(group, PATH_MAX, "%s%s", throttle->cgroups,
			 strcmp(line, "/") ? line : "");
		if (!strstr(line, "/.."))
			return 0;
		error_set(err, EXIT_VMM,
			  "the guest's CPUs can't be throttled: QEMU's cgroup is outside of this cgroup namespace");
		return error_advise(err, "run migctl in the host's namespaces, or leave --throttle out");
	}
	error_set(err, EXIT_VMM,
		  "the guest's CPUs can't be throttled: this host has no cgroup v2");
	return error_advise(err, "leave --throttle out, or boot with systemd.unified_cgroup_hierarchy=1");
}

/* It is in a cgroup that is named for it: one was killed, and its guard, too. */
static bool cut_child(char *group, pid_t thread)
{
	char *slash = strrchr(group, '/'), name[32];

	snprintf(name, sizeof(name), CHILD_NAME "%d", thread);
	if (!slash || strcmp(slash + 1, name))
		return false;
	*slash = '\0';
	return true;
}

/* Where the thread belongs; and ours of that, which a killed one may have left. */
static int locate(const struct throttle *throttle, struct throttle_cpu *cpu, pid_t process,
		  pid_t thread, struct error *err)
{
	*cpu = (struct throttle_cpu) { .thread = thread };
	if (group_of(throttle, process, thread, cpu->group, err))
		return -1;
	cpu->moved = cut_child(cpu->group, thread);
	snprintf(cpu->child, sizeof(cpu->child), "%.*s/" CHILD_NAME "%d",
		 PATH_MAX - 64, cpu->group, thread);
	cpu->stale = !access(cpu->child, F_OK);
	return 0;
}

static int find_one(struct throttle *throttle, struct throttle_cpu *cpu, pid_t process,
		    pid_t thread, struct error *err)
{
	char text[1024];

	if (locate(throttle, cpu, process, thread, err))
		return -1;
	if (file_read(cpu->group, "cgroup.controllers", text, sizeof(text)))
		return refuse("cgroup.controllers", cpu->group, errno, err);
	if (!has_word(text, "cpu")) {
		error_set(err, EXIT_VMM,
			  "the guest's CPUs can't be throttled: %s has no cpu controller",
			  cpu->group);
		return error_advise(err,
				    "write +cpu to cgroup.subtree_control of the cgroups above it (systemd: CPUWeight= of the unit), or leave --throttle out");
	}
	file_read(cpu->group, "cgroup.subtree_control", text, sizeof(text));
	cpu->enabled = has_word(text, "cpu");
	return 0;
}

int throttle_find(struct throttle *throttle, pid_t process, const pid_t *threads,
		  size_t n, struct error *err)
{
	throttle->cpus = calloc(n, sizeof(*throttle->cpus));
	if (!throttle->cpus)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (; throttle->n < n; throttle->n++) {
		if (find_one(throttle, &throttle->cpus[throttle->n], process,
			     threads[throttle->n], err))
			return -1;
	}
	return 0;
}

/* ---- doing it ---- */

/* First threaded, then the controller: a cgroup with processes has it only for threads. */
static int make_one(const struct throttle_cpu *cpu, struct error *err)
{
	int ret;

	if (mkdir(cpu->child, 0755) && errno != EEXIST)
		return refuse("mkdir", cpu->child, errno, err);
	ret = file_write(cpu->child, "cgroup.type", "threaded");
	if (ret)
		return refuse("cgroup.type", cpu->child, ret, err);
	ret = cpu->enabled ? 0 : file_write(cpu->group, "cgroup.subtree_control", "+cpu");
	if (ret)
		return refuse("cgroup.subtree_control", cpu->group, ret, err);
	/* The policy begins with all of the time, whatever a killed one has left. */
	ret = file_write(cpu->child, "cpu.max", "max");
	return ret ? refuse("cpu.max", cpu->child, ret, err) : 0;
}

int throttle_make(struct throttle *throttle, struct error *err)
{
	size_t i;

	for (i = 0; i < throttle->n; i++) {
		if (make_one(&throttle->cpus[i], err))
			return -1;
	}
	return 0;
}

static int move(const char *group, pid_t thread)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", thread);
	return file_write(group, "cgroup.threads", text);
}

static int set_one(struct throttle_cpu *cpu, const char *max, struct error *err)
{
	int ret = file_write(cpu->child, "cpu.max", max);

	if (ret)
		return refuse("cpu.max", cpu->child, ret, err);
	if (cpu->moved)
		return 0;
	ret = move(cpu->child, cpu->thread);
	/* A vCPU that was unplugged needs none. */
	if (ret && ret != ESRCH)
		return refuse("cgroup.threads", cpu->child, ret, err);
	cpu->moved = true;
	return 0;
}

int throttle_set(struct throttle *throttle, unsigned int percent, struct error *err)
{
	char max[32];
	size_t i;

	snprintf(max, sizeof(max), "%u %u", PERIOD_US / 100 * (100 - percent), PERIOD_US);
	for (i = 0; i < throttle->n; i++) {
		if (set_one(&throttle->cpus[i], max, err))
			return -1;
	}
	return 0;
}

/* ---- and taking it back ---- */

/* Also the threads that a vCPU's thread has made: they are where it is. */
static void move_back(const struct throttle_cpu *cpu)
{
	char text[4096], *next = text, *end;
	long thread;

	if (file_read(cpu->child, "cgroup.threads", text, sizeof(text)))
		return;
	for (;; next = end) {
		thread = strtol(next, &end, 10);
		if (end == next)
			break;
		move(cpu->group, (pid_t)thread);
	}
}

static int undo_one(const struct throttle_cpu *cpu)
{
	if (access(cpu->child, F_OK))
		return 0;
	/* Whatever stays in it has its time again. */
	file_write(cpu->child, "cpu.max", "max");
	move_back(cpu);
	return rmdir(cpu->child);
}

static bool has_children(const char *group)
{
	char text[1024];

	return file_read(group, "cgroup.stat", text, sizeof(text)) ||
	       !strstr(text, "nr_descendants 0\n");
}

/* A killed one's was enabled by it, as far as one can tell: without children it is of no use. */
static void disable(const struct throttle_cpu *cpu)
{
	if (!cpu->enabled || (cpu->stale && !has_children(cpu->group)))
		file_write(cpu->group, "cgroup.subtree_control", "-cpu");
}

int throttle_undo(struct throttle *throttle, struct error *err)
{
	const struct throttle_cpu *cpu;
	int ret = 0;
	size_t i;

	for (i = 0; i < throttle->n; i++) {
		cpu = &throttle->cpus[i];
		if (!undo_one(cpu))
			continue;
		ret = error_set(err, EXIT_FAILED, "the cgroup %s can't be removed: %s",
				cpu->child, strerror(errno));
		error_advise(err, "it has no limit any more; remove it once QEMU has ended");
	}
	for (i = 0; i < throttle->n; i++)
		disable(&throttle->cpus[i]);
	return ret;
}

static void sweep_one(const struct throttle *throttle, pid_t process, pid_t thread)
{
	struct throttle_cpu cpu;
	struct error ignored;

	if (locate(throttle, &cpu, process, thread, &ignored) || !cpu.moved)
		return;
	cpu.enabled = true;
	undo_one(&cpu);
	disable(&cpu);
}

void throttle_sweep(const struct throttle *throttle, pid_t process)
{
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%d/task", throttle->proc, process);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (atoi(entry->d_name) > 0)
			sweep_one(throttle, process, atoi(entry->d_name));
	}
	closedir(dir);
}

void throttle_free(struct throttle *throttle)
{
	free(throttle->cpus);
	*throttle = THROTTLE_NONE;
}
