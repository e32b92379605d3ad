// SPDX-License-Identifier: GPL-2.0-or-later
/* Past runs: what is left of one that ended, or was killed, and how many. */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#include "cmd/prometheus.h"
#include "cmd/runs.h"
#include "unit.h"

static char folder[] = "/tmp/migtrack-runs-XXXXXX";
static char runs[64];

static void begin(void)
{
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	CHECK(mkdtemp(folder));
	/* Made when it is needed. */
	snprintf(runs, sizeof(runs), "%s/a/b", folder);
}

static void end(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	CHECK_EQ(system(command), 0);
}

static int keep(json_t *run, void *data)
{
	json_t *list = data;

	json_array_append(list, run);
	return 0;
}

static json_t *all(void)
{
	json_t *list = json_array();

	runs_each(runs, keep, list);
	return list;
}

static const char *text(json_t *list, size_t i, const char *key)
{
	const char *value;

	value = json_string_value(json_object_get(json_array_get(list, i), key));
	return value ? value : "";
}

static mode_t mode(const char *path)
{
	struct stat st = {};

	CHECK_EQ(stat(path, &st), 0);
	return st.st_mode & 07777;
}

/* Nobody else could read it, if it went by the umask. */
TEST(run_is_for_everybody)
{
	mode_t mask = umask(077);
	struct run run;

	begin();
	run_begin(&run, runs, "migrate", "/q", "tcp:h:1");
	umask(mask);
	CHECK_EQ(mode(runs), 0755);
	CHECK_EQ(mode(run.path), 0644);
	run_end(&run, "completed", NULL);
	end();
}

TEST(run_that_ended)
{
	struct error err;
	struct run run;
	json_t *list;

	begin();
	run_begin(&run, runs, "supervise", "/q", "tcp:h:1");
	list = all();
	CHECK_EQ(json_array_size(list), 1);
	CHECK_STR(run_result(json_array_get(list, 0)), "running");
	json_decref(list);
	run_note(&run, "sent_bytes", json_integer(7));
	error_set(&err, EXIT_TIMEOUT, "not converged");
	run_end(&run, "cancelled", &err);
	list = all();
	CHECK_STR(text(list, 0, "why"), "not converged");
	CHECK_STR(run_result(json_array_get(list, 0)), "cancelled");
	CHECK_EQ(json_integer_value(json_object_get(json_array_get(list, 0),
						    "sent_bytes")), 7);
	json_decref(list);
	/* Twice does no harm. */
	run_end(&run, "completed", NULL);
	end();
}

TEST(run_that_was_killed)
{
	json_t *list;
	pid_t pid;

	begin();
	pid = fork();
	if (!pid) {
		struct run run;

		run_begin(&run, runs, "supervise", "/q", "tcp:h:1");
		run_note(&run, "phase", json_string("precopy"));
		run_write(&run, true);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	list = all();
	CHECK_EQ(json_array_size(list), 1);
	CHECK_STR(run_result(json_array_get(list, 0)), "killed");
	CHECK_STR(text(list, 0, "phase"), "precopy");
	json_decref(list);
	end();
}

static void file_make(const char *name, const char *content, time_t age)
{
	struct utimbuf times = { .actime = time(NULL) - age,
				 .modtime = time(NULL) - age };
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", runs, name);
	file = fopen(path, "w");
	CHECK(file);
	fputs(content, file);
	fclose(file);
	CHECK_EQ(utime(path, &times), 0);
}

TEST(runs_are_bounded_in_number_and_age)
{
	struct run run;
	char name[32];
	json_t *list;
	size_t i;

	begin();
	run_begin(&run, runs, "migrate", "/q", "u");
	run_end(&run, "completed", NULL);
	for (i = 0; i < RUNS_MAX + 5; i++) {
		snprintf(name, sizeof(name), "%020zu-1.json", i);
		file_make(name, "{\"result\": \"completed\"}", 0);
	}
	run_begin(&run, runs, "migrate", "/q", "u");
	run_end(&run, "failed", NULL);
	list = all();
	CHECK_EQ(json_array_size(list), RUNS_MAX);
	CHECK_STR(text(list, RUNS_MAX - 1, "result"), "failed");
	json_decref(list);
	end();

	begin();
	run_begin(&run, runs, "migrate", "/q", "u");
	run_end(&run, "completed", NULL);
	file_make("00000000000000000001-1.json", "{}", (time_t)RUNS_MAX_AGE_S + 60);
	file_make("00000000000000000002-1.json", "{}", (time_t)RUNS_MAX_AGE_S - 60);
	run_begin(&run, runs, "migrate", "/q", "u");
	run_end(&run, "completed", NULL);
	list = all();
	CHECK_EQ(json_array_size(list), 3);
	json_decref(list);
	end();
}

TEST(runs_that_are_no_json_are_skipped)
{
	struct run run;
	json_t *list;

	begin();
	run_begin(&run, runs, "migrate", "/q", "u");
	run_end(&run, "completed", NULL);
	file_make("00000000000000000001-1.json", "{\"result", 0);
	file_make("00000000000000000002-1.json", "[]", 0);
	list = all();
	CHECK_EQ(json_array_size(list), 1);
	json_decref(list);
	end();
}

/* Nothing fails where nothing can be written. */
TEST(run_without_a_place)
{
	struct run run;

	run_begin(&run, "/proc/nothing/runs", "migrate", "/q", "u");
	run_note(&run, "phase", json_string("setup"));
	run_write(&run, true);
	run_end(&run, "completed", NULL);
	/* Nor before it began. */
	run = (struct run){};
	run_note(&run, "phase", json_string("setup"));
	run_end(&run, "completed", NULL);
}

static char *metrics(const struct migtrack_session *sessions, size_t n,
		     const char *run)
{
	json_t *json = run ? json_loads(run, 0, NULL) : NULL;
	char *text = NULL;
	size_t size;
	FILE *file;

	file = open_memstream(&text, &size);
	prometheus_session_metrics(file, sessions, n);
	prometheus_run_metrics(file, json);
	fclose(file);
	json_decref(json);
	return text;
}

TEST(prometheus_has_base_units)
{
	struct migtrack_session sessions[2] = {
		{ .id = 3, .iteration = 4, .phase = MIGTRACK_PHASE_PRECOPY,
		  .verdict = MIGTRACK_VERDICT_MOVE,
		  .reason = MIGTRACK_REASON_STOP_ONLY, .bandwidth = 1000,
		  .bandwidth_source = MIGTRACK_BANDWIDTH_SOURCE_USER,
		  .downtime_limit_ns = 300 * NS_PER_MS,
		  .expected_downtime_ns = 1910 * NS_PER_MS,
		  .bytes = { .precopy = 5, .stopcopy = 7, .total = 12 } },
		{ .id = 4, .expected_downtime_ns = UINT64_MAX,
		  .flags = MIGTRACK_COUNTER_FLAGS_UNKNOWN,
		  .bytes = { .stopcopy = 100ull << 30 } },
	};
	char *text = metrics(sessions, 2, "{\"command\": \"supervise\", \"result\": \"completed\","
			     " \"downtime_ns\": 1910000000, \"sent_bytes\": 9}");

	CHECK_HAS(text, "migtrack_session_remaining_bytes{session=\"3\",kind=\"stopcopy\"} 7\n");
	CHECK_HAS(text, "migtrack_session_downtime_limit_seconds{session=\"3\"} 0.300000000\n");
	CHECK_HAS(text, "migtrack_session_expected_downtime_seconds{session=\"3\"} 1.910000000\n");
	CHECK_HAS(text, "migtrack_session_phase{session=\"3\",phase=\"precopy\",verdict=\"move\",reason=\"stop-only\"} 1\n");
	CHECK_HAS(text, "migtrack_last_run_downtime_seconds 1.910000000\n");
	CHECK_HAS(text, "migtrack_last_run_sent_bytes 9\n");
	/* What nobody knows is not told. */
	CHECK(!strstr(text, "{session=\"4\",kind=\"stopcopy\"}"));
	CHECK(!strstr(text, "expected_downtime_seconds{session=\"4\"}"));
	free(text);
	text = metrics(NULL, 0, NULL);
	CHECK(!strstr(text, "last_run"));
	free(text);
}
