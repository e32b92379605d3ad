// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <stdio.h>

#include "cmd/cmd.h"
#include "cmd/control.h"
#include "cmd/limits.h"

int limits_option(struct policy_limits *limits, int option, const char *value,
		  struct error *err)
{
	switch (option) {
	case OPTION_DOWNTIME:
		return option_time("--downtime", value, &limits->downtime, err);
	case OPTION_MAX_DOWNTIME:
		return option_time("--max-downtime", value, &limits->max_downtime, err);
	case OPTION_FIXED_COST:
		return option_time("--fixed-cost", value, &limits->fixed_cost, err);
	case OPTION_TIMEOUT:
		return option_time("--timeout", value, &limits->timeout, err);
	case OPTION_STALL_WINDOW:
		return option_time("--stall-window", value, &limits->stall_window, err);
	default:
		return 1;
	}
}

int limits_check(const char *command, const struct policy_limits *limits,
		 struct error *err)
{
	if (limits->fixed_cost >= limits->downtime) {
		error_set(err, EXIT_USAGE,
			  "%s: --fixed-cost leaves nothing of --downtime for the last copy",
			  command);
		return error_advise(err, "allow more downtime, or give the time that stop, devices and resume take: the summary of a migration has it");
	}
	if (limits->max_downtime && limits->max_downtime < limits->downtime) {
		error_set(err, EXIT_USAGE, "%s: --max-downtime is below --downtime",
			  command);
		return error_advise(err, "leave it out, and the limit stays where it is");
	}
	if (limits->on_timeout == POLICY_ON_TIMEOUT_CANCEL || limits->timeout)
		return 0;
	error_set(err, EXIT_USAGE, "%s: --on-timeout without --timeout", command);
	return error_advise(err, "say after how long");
}

int limits_set(struct policy *policy, uint64_t most, const json_t *request,
	       struct error *err)
{
	struct policy_limits limits = policy->limits;
	uint64_t bandwidth = limits.bandwidth;
	char text[UNIT_TEXT_SIZE];

	control_number(request, "downtime_ns", &limits.downtime);
	control_number(request, "max_downtime_ns", &limits.max_downtime);
	control_number(request, "timeout_ns", &limits.timeout);
	control_number(request, "bandwidth_bytes_per_second", &bandwidth);
	if (limits.downtime <= policy_fixed_cost(policy)) {
		error_set(err, EXIT_USAGE,
			  "that leaves nothing of the downtime for the last copy");
		return error_advise(err, "stop, devices and resume take %s of it: allow more",
				    format_time(text, policy_fixed_cost(policy)));
	}
	if (limits.downtime > most) {
		error_set(err, EXIT_USAGE, "that downtime limit is out of range");
		return error_advise(err, "QEMU allows no more than %s; migctl switchover takes any",
				    format_time(text, most));
	}
	policy->limits = limits;
	policy_set_bandwidth(policy, bandwidth);
	return 0;
}

int limits_give_up(const struct policy *policy, const struct policy_action *action,
		   struct error *err)
{
	char why[256], advice[256], left[UNIT_TEXT_SIZE], limit[UNIT_TEXT_SIZE];
	bool known = policy->exact_total != POLICY_UNKNOWN && !policy->exact.unknown;

	policy_explain(why, sizeof(why), action);
	policy_advise(advice, sizeof(advice), action);
	error_set(err, EXIT_TIMEOUT, "not converged: %s",
		  why[0] ? why : policy_reason_name(action->reason));
	if (policy_reason_is_time(action->reason) && known)
		error_set(err, EXIT_TIMEOUT,
			  "not converged: %s; %s left, %s fit into the downtime", why,
			  format_bytes(left, policy->exact_total),
			  format_bytes(limit, policy_threshold(policy)));
	return error_advise(err, "the guest runs on here%s%s", advice[0] ? "; " : "",
			    advice);
}

static const struct out_field fields[] = {
	[0] = { .key = "action" },
	[1] = { .key = "reason" },
	[2] = { .key = "explanation" },
	[3] = { .key = "downtime_limit_ns" },
	[4] = { .key = "elapsed_ns" },
};

void out_action(struct output *out, struct run *run, const char *done,
		const struct policy_action *why, const struct policy *policy,
		uint64_t elapsed_ns)
{
	char text[256] = "";

	if (why)
		policy_explain(text, sizeof(text), why);
	out_say(out, "%c%s%s%s.", toupper((unsigned char)done[0]), done + 1,
		text[0] ? ": " : "", text);
	run_note(run, "last_action", json_string(done));
	if (!out->json)
		return;
	out_begin(out, OUT_ROW, "action");
	out_text(out, &fields[0], done);
	out_text(out, &fields[1], why ? policy_reason_name(why->reason) : "asked");
	out_text(out, &fields[2], text);
	out_uint(out, &fields[3], policy->limits.downtime);
	out_uint(out, &fields[4], elapsed_ns);
	out_end(out);
}
