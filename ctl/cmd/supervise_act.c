// SPDX-License-Identifier: GPL-2.0-or-later
/* What the VMM is told, by the policy's word or by the user's. */
#include <string.h>
#include <time.h>

#include "cmd/limits.h"
#include "cmd/supervise.h"

/* Any that is larger than what a guest has: all fits. */
#define BANDWIDTH_ANY	(1ull << 40)

/**
 * supervise_limit() - have the VMM decide as the policy does
 * @s: the migration
 * @err: why not
 *
 * The VMM compares what is left, exactly and at once, with its threshold: that is
 * made the policy's, whenever that has changed. What it did not take in time it may
 * take later: until it has taken all there is no telling what it has.
 *
 * Return: 0 or -1.
 */
int supervise_limit(struct supervision *s, struct error *err)
{
	uint64_t cost = policy_fixed_cost(&s->policy);
	uint64_t downtime = s->policy.limits.downtime;
	struct vmm_limits now = {
		.downtime_ns = downtime > cost ? downtime - cost : 0,
		.bandwidth = s->policy.bandwidth_source == POLICY_BANDWIDTH_UNKNOWN ?
			     0 : s->policy.bandwidth,
		.max_bandwidth = s->limits.max_bandwidth,
	};

	if (s->forced)
		now = (struct vmm_limits) {
			.downtime_ns = DOWNTIME_ANY,
			.bandwidth = BANDWIDTH_ANY,
			.max_bandwidth = s->limits.max_bandwidth,
		};
	if (s->options->dry_run ||
	    (!s->limits_unknown && !memcmp(&now, &s->limits, sizeof(now))))
		return 0;
	if (s->ops->limit(s->vmm, &now, s->limits_unknown ? s->saved : NULL, err)) {
		s->limits_unknown = true;
		return -1;
	}
	s->limits_unknown = false;
	s->limits = now;
	return 0;
}

static int give_up(struct supervision *s, struct error *err)
{
	s->verdict = MIGTRACK_VERDICT_GIVE_UP;
	return limits_give_up(&s->policy, &s->action, err);
}

static int start_postcopy(struct supervision *s, struct error *err)
{
	struct error why;

	if (!s->ops->postcopy(s->vmm, &why)) {
		supervise_out_action(s, "post-copy started", &s->action);
		return 0;
	}
	/* Nothing has happened: the policy looks for something else. */
	if (why.code != EXIT_VMM)
		return error_set(err, why.code, "%s", why.message);
	policy_refused(&s->policy, POLICY_ACT_POSTCOPY);
	supervise_out_action(s, why.message, &s->action);
	return 0;
}

static int act(struct supervision *s, struct error *err)
{
	char text[96], limit[UNIT_TEXT_SIZE];

	switch (s->action.act) {
	case POLICY_ACT_NONE:
		return 0;
	case POLICY_ACT_RAISE:
		snprintf(text, sizeof(text), "downtime limit raised to %s",
			 format_time(limit, s->action.downtime));
		supervise_out_action(s, text, &s->action);
		s->decision = policy_recheck(&s->policy);
		return 0;
	case POLICY_ACT_POSTCOPY:
		return start_postcopy(s, err);
	case POLICY_ACT_STOP:
		s->forced = true;
		supervise_out_action(s, "switching over with what is left", &s->action);
		return 0;
	case POLICY_ACT_GIVE_UP:
		return give_up(s, err);
	case POLICY_ACT_THROTTLE:
		/* The VMM's CPUs are the VMM's: see its auto-converge. */
		policy_refused(&s->policy, POLICY_ACT_THROTTLE);
		return 0;
	}
	return 0;
}

static const char *intention(enum policy_act act)
{
	switch (act) {
	case POLICY_ACT_RAISE:		return "would raise the downtime limit";
	case POLICY_ACT_POSTCOPY:	return "would start post-copy";
	case POLICY_ACT_STOP:		return "would switch over with what is left";
	case POLICY_ACT_GIVE_UP:	return "would give up";
	default:			return "would do nothing";
	}
}

/* Forced by the timeout itself it has no other end. */
static bool is_over_time(const struct supervision *s)
{
	return s->policy.limits.on_timeout != POLICY_ON_TIMEOUT_STOP &&
	       policy_timed_out(&s->policy, clock_ns(CLOCK_MONOTONIC));
}

int supervise_act(struct supervision *s, struct error *err)
{
	enum policy_act before = s->action.act;
	bool boundary = s->policy.boundary;
	struct policy_action action;

	if (s->progress.postcopy || (s->forced && !is_over_time(s)))
		return supervise_limit(s, err);
	action = policy_act(&s->policy, clock_ns(CLOCK_MONOTONIC));
	/* Between two iterations there is mostly nothing to say. */
	if (boundary || action.act || action.reason != POLICY_REASON_PROGRESS ||
	    s->decision.verdict == POLICY_SWITCHOVER)
		s->action = action;
	if (s->options->dry_run) {
		if (action.act && action.act != before)
			supervise_out_action(s, intention(action.act), &action);
		return 0;
	}
	if (act(s, err))
		return -1;
	return supervise_limit(s, err);
}

/* ---- asked for by the user, from elsewhere ---- */

static int set(struct supervision *s, const json_t *request, struct error *err)
{
	struct vmm_limits told = s->limits;
	struct policy policy = s->policy;

	if (limits_set(&s->policy, DOWNTIME_ANY, request, err))
		return -1;
	control_number(request, "max_bandwidth_bytes_per_second", &s->limits.max_bandwidth);
	/* Told anew, all of it. */
	s->limits.downtime_ns = 0;
	if (supervise_limit(s, err)) {
		/* Whoever asked hears of it, and QEMU is soon told what was before. */
		s->policy = policy;
		s->limits = told;
		return -1;
	}
	supervise_out_action(s, "limits set as asked for", NULL);
	s->decision = policy_recheck(&s->policy);
	return supervise_publish(s, err);
}

static int switch_over(struct supervision *s, struct error *err)
{
	bool before = s->forced;

	s->forced = true;
	if (supervise_limit(s, err)) {
		s->forced = before;
		return -1;
	}
	supervise_out_action(s, "switching over as asked for", NULL);
	return 0;
}

int supervise_asked(const char *command, const json_t *request, void *data,
		    struct error *err)
{
	struct supervision *s = data;

	if (s->options->dry_run)
		return error_set(err, EXIT_FAILED, "that one only watches (--dry-run)");
	if (supervise_handing_over(s))
		return error_set(err, EXIT_FAILED, "too late: the guest is being handed over");
	if (!strcmp(command, "set"))
		return set(s, request, err);
	if (strcmp(command, "switchover"))
		return error_set(err, EXIT_USAGE, "%s is not known here", command);
	return switch_over(s, err);
}
