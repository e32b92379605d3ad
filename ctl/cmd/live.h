/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state of a migration, in one place of a terminal. */
#ifndef MIGCTL_LIVE_H
#define MIGCTL_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cmd/output.h"
#include "cmd/runs.h"
#include "common/units.h"
#include "policy/policy.h"

/* A screen is drawn, and a line printed, at most so often. */
#define LIVE_SCREEN_INTERVAL	(200 * NS_PER_MS)
#define LIVE_LINE_INTERVAL	NS_PER_S

/**
 * struct live_numbers - what both kinds of migration show
 * @phase: name of it
 * @iteration: number of it
 * @note: to the iteration, "" for none
 * @elapsed_ns: since the start
 * @memory: bytes left of memory
 * @remaining: in all, UINT64_MAX if that is not known
 * @before: at the sync before, UINT64_MAX likewise
 * @dirty_rate: bytes per second, UINT64_MAX likewise
 * @sent: bytes
 * @policy: decides
 */
struct live_numbers {
	const char *phase;
	uint64_t iteration;
	const char *note;
	uint64_t elapsed_ns;
	uint64_t memory;
	uint64_t remaining;
	uint64_t before;
	uint64_t dirty_rate;
	uint64_t sent;
	const struct policy *policy;
};

void live_numbers(FILE *file, const struct live_numbers *numbers);
/* The last words: @reason is a short one. */
void live_verdict(FILE *file, const char *reason, const struct policy_action *action);

/*
 * Draw over what was drawn before, line by line: what scrolled by above stays.
 * @lines: how many these were, and are now.
 */
void live_draw(struct output *out, int *lines, void (*draw)(FILE *file, void *data),
	       void *data);
/* A line of its own comes now: the next screen is drawn below it. */
void live_leave(int *lines);

/* What becomes of a post-copy: it has begun; its connection is lost, or there again. */
enum postcopy_event { POSTCOPY_BEGUN, POSTCOPY_PAUSED, POSTCOPY_RECOVERED };

/**
 * struct postcopy_news - one of these
 * @event: it
 * @why: it is paused, else NULL
 * @recoveries: so far
 * @left: bytes that are missing at the destination
 * @elapsed_ns: since the start of the migration
 */
struct postcopy_news {
	enum postcopy_event event;
	const char *why;
	unsigned int recoveries;
	uint64_t left;
	uint64_t elapsed_ns;
};

/* An object of the type postcopy, and for migctl history; people are told in words. */
void out_postcopy_news(struct output *out, struct run *run, const struct postcopy_news *news);

/* @lines at the start: 0 for a terminal that people look at, -1 for anything else. */
int live_open(const struct output *out);

#endif /* MIGCTL_LIVE_H */
