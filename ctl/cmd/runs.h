/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Past runs, and those under way: a file of JSON each, written as they go, so
 * that one that was killed has left what was known by then.
 */
#ifndef MIGCTL_RUNS_H
#define MIGCTL_RUNS_H

#include <jansson.h>
#include <limits.h>
#include <stdint.h>

#include "common/error.h"

#define RUNS_DIR	"/var/lib/migtrack/runs"

/* The oldest go beyond that. */
#define RUNS_MAX	200
#define RUNS_MAX_AGE_S	(90ull * 24 * 3600)

/**
 * struct run - one that is being written
 * @path: of its file, "" if it can't be written
 * @json: what it says
 * @written_ns: when it was written last, CLOCK_MONOTONIC
 */
struct run {
	char path[PATH_MAX];
	json_t *json;
	uint64_t written_ns;
};

/*
 * A run begins. One that can't be written down is no less a run: nothing here
 * fails. @dir NULL: RUNS_DIR.
 */
void run_begin(struct run *run, const char *dir, const char *command,
	       const char *qmp, const char *to);
/* @value is used up. */
void run_note(struct run *run, const char *key, json_t *value);
/* Once a second at most, unless it is @important. */
void run_write(struct run *run, bool important);
/* How it ended: @result, and why if @err is not NULL. */
void run_end(struct run *run, const char *result, const struct error *err);

/* Called with each run, the oldest first; nonzero ends it. */
typedef int run_fn(json_t *run, void *data);
int runs_each(const char *dir, run_fn *fn, void *data);

/* "killed" where the process of a run that has not ended is gone. */
const char *run_result(const json_t *run);

#endif /* MIGCTL_RUNS_H */
