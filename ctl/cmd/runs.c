// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/runs.h"
#include "vmm/memfile.h"

#define SUFFIX	".json"

/* Everybody may read the history, whatever the umask of who migrates. */
static int make_dir(const char *path)
{
	if (!mkdir(path, 0755))
		return chmod(path, 0755);
	return errno == EEXIST ? 0 : -1;
}

static int make_dirs(const char *dir)
{
	char path[PATH_MAX], *slash;

	snprintf(path, sizeof(path), "%s", dir);
	for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (make_dir(path))
			return -1;
		*slash = '/';
	}
	return make_dir(path);
}

static int is_run(const struct dirent *entry)
{
	const char *end = strrchr(entry->d_name, '.');

	return end && !strcmp(end, SUFFIX);
}

static bool is_too_old(const char *path)
{
	struct stat st;
	time_t now = time(NULL);

	return !stat(path, &st) && now > st.st_mtime &&
	       (uint64_t)(now - st.st_mtime) > RUNS_MAX_AGE_S;
}

/* Room for one more. The names sort as the times do. */
static void runs_prune(const char *dir)
{
	struct dirent **entries;
	int i, n = scandir(dir, &entries, is_run, alphasort);

	for (i = 0; i < n; i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
		if (n - i >= RUNS_MAX || is_too_old(path))
			unlink(path);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

static json_t *now_json(void)
{
	return json_integer((json_int_t)clock_ns(CLOCK_REALTIME));
}

void run_begin(struct run *run, const char *dir, const char *command,
	       const char *qmp, const char *to)
{
	uint64_t now = clock_ns(CLOCK_REALTIME);

	if (!dir)
		dir = RUNS_DIR;
	*run = (struct run){};
	run->json = json_pack("{s:s, s:I, s:i, s:I, s:o, s:o, s:s}", "command",
			      command, "started_ns", (json_int_t)now, "pid",
			      getpid(), "pid_start",
			      (json_int_t)process_start(getpid()), "qmp",
			      json_text(qmp), "to", json_text(to), "result", "running");
	if (make_dirs(dir))
		return;
	runs_prune(dir);
	snprintf(run->path, sizeof(run->path), "%s/%020llu-%d" SUFFIX, dir,
		 (unsigned long long)now, getpid());
	run_write(run, true);
}

void run_note(struct run *run, const char *key, json_t *value)
{
	if (run->json)
		json_object_set_new(run->json, key, value);
	else
		json_decref(value);
}

/* Whole, or as it was before. */
void run_write(struct run *run, bool important)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	char next[PATH_MAX + 8];

	if (!run->path[0] || (!important && now - run->written_ns < NS_PER_S))
		return;
	run->written_ns = now;
	run_note(run, "updated_ns", now_json());
	snprintf(next, sizeof(next), "%s.new", run->path);
	if (json_dump_file(run->json, next, JSON_COMPACT) || chmod(next, 0644) ||
	    rename(next, run->path))
		unlink(next);
}

void run_end(struct run *run, const char *result, const struct error *err)
{
	if (!run->json)
		return;
	run_note(run, "result", json_string(result));
	if (err) {
		run_note(run, "exit", json_integer(err->code));
		run_note(run, "why", json_text(err->message));
		run_note(run, "advice", json_text(err->advice));
	}
	run_note(run, "ended_ns", now_json());
	run_write(run, true);
	json_decref(run->json);
	*run = (struct run){};
}

int runs_each(const char *dir, run_fn *fn, void *data)
{
	struct dirent **entries;
	int i, n, ret = 0;

	if (!dir)
		dir = RUNS_DIR;
	n = scandir(dir, &entries, is_run, alphasort);
	for (i = 0; i < n; i++) {
		char path[PATH_MAX];
		json_t *run = NULL;

		snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
		if (!ret)
			run = json_load_file(path, 0, NULL);
		if (json_is_object(run))
			ret = fn(run, data);
		json_decref(run);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return ret;
}

const char *run_result(const json_t *run)
{
	const char *result = json_string_value(json_object_get(run, "result"));
	pid_t pid = (pid_t)json_integer_value(json_object_get(run, "pid"));
	uint64_t start = (uint64_t)json_integer_value(json_object_get(run, "pid_start"));

	if (!result)
		return "unknown";
	if (strcmp(result, "running") || (pid && process_start(pid) == start))
		return result;
	return "killed";
}
