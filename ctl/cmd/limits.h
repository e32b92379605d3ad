/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all migrations have in common: limits as asked for, and what is done about them. */
#ifndef MIGCTL_LIMITS_H
#define MIGCTL_LIMITS_H

#include <jansson.h>
#include <stdint.h>

#include "cmd/output.h"
#include "cmd/runs.h"
#include "common/error.h"
#include "policy/policy.h"

enum {
	OPTION_DOWNTIME = 640, OPTION_MAX_DOWNTIME, OPTION_FIXED_COST, OPTION_TIMEOUT,
	OPTION_STALL_WINDOW,
};

#define LIMITS_OPTIONS \
	{ "downtime", required_argument, NULL, OPTION_DOWNTIME }, \
	{ "max-downtime", required_argument, NULL, OPTION_MAX_DOWNTIME }, \
	{ "fixed-cost", required_argument, NULL, OPTION_FIXED_COST }, \
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT }, \
	{ "stall-window", required_argument, NULL, OPTION_STALL_WINDOW }

/* Takes a value of option_next(); 1 if it is none of ours. */
int limits_option(struct policy_limits *limits, int option, const char *value,
		  struct error *err);

/* Options that contradict each other; @command is named. */
int limits_check(const char *command, const struct policy_limits *limits,
		 struct error *err);

/* Of migctl set: the policy goes on with what it asks for, a downtime up to @most. */
int limits_set(struct policy *policy, uint64_t most, const json_t *request,
	       struct error *err);

/* The error of who gives up, by the policy's word. */
int limits_give_up(const struct policy *policy, const struct policy_action *action,
		   struct error *err);

/*
 * Tell, and note in the run, that something was @done. @why: the policy's reason, NULL
 * if the user asked for it.
 */
void out_action(struct output *out, struct run *run, const char *done,
		const struct policy_action *why, const struct policy *policy,
		uint64_t elapsed_ns);

#endif /* MIGCTL_LIMITS_H */
