// SPDX-License-Identifier: GPL-2.0-or-later
/* What is done when it does not converge: by the policy's word, or by the user's. */
#include <stdlib.h>
#include <string.h>

#include "cmd/limits.h"
#include "cmd/migrate.h"
#include "cmd/session.h"

/* In the guard: nobody is left to be told. */
static void undo_throttle(void *data)
{
	struct error ignored;

	throttle_undo(data, &ignored);
}

int migrate_guard(struct migration *m, struct error *err)
{
	const struct guard_duty duty = {
		.keep = m->lock.fd,
		.undo = undo_throttle,
		.data = &m->throttle,
	};

	if (m->guard)
		return guard_check(m->guard, err);
	return m->ops->save(m->vmm, &m->saved, err) ||
	       guard_start(&m->guard, m->vmm, m->ops, m->saved, &duty, err) ? -1 : 0;
}

int migrate_throttle_open(struct migration *m, struct error *err)
{
	pid_t *threads = NULL;
	size_t n;
	int ret;

	if (!(m->options->limits.allowed & POLICY_ALLOW_THROTTLE))
		return 0;
	if (!m->ops->vcpus) {
		error_set(err, EXIT_VMM, "this VMM does not say which threads run its guest's CPUs, so that they can't be throttled");
		return error_advise(err, "leave out --throttle");
	}
	ret = m->ops->vcpus(m->vmm, &threads, &n, err) ||
	      throttle_find(&m->throttle, m->vmm->pid, threads, n, err) ||
	      migrate_guard(m, err) || throttle_make(&m->throttle, err) ? -1 : 0;
	free(threads);
	return ret;
}

void migrate_throttle_close(struct migration *m)
{
	struct error err;

	if (throttle_undo(&m->throttle, &err))
		out_error(m->out, &err);
	throttle_free(&m->throttle);
}

static void throttle(struct migration *m)
{
	struct error why;
	char text[96];

	if (throttle_set(&m->throttle, m->action.throttle, &why)) {
		policy_refused(&m->policy, POLICY_ACT_THROTTLE);
		migrate_out_action(m, why.message, &m->action);
		return;
	}
	snprintf(text, sizeof(text), "the guest's CPUs have %u %% less time",
		 m->action.throttle);
	migrate_out_action(m, text, &m->action);
}

static int act(struct migration *m, struct error *err)
{
	char text[96], limit[UNIT_TEXT_SIZE];

	switch (m->action.act) {
	case POLICY_ACT_RAISE:
		snprintf(text, sizeof(text), "downtime limit raised to %s",
			 format_time(limit, m->action.downtime));
		migrate_out_action(m, text, &m->action);
		m->decision = policy_recheck(&m->policy);
		return 0;
	case POLICY_ACT_THROTTLE:
		throttle(m);
		return 0;
	case POLICY_ACT_STOP:
		m->forced = true;
		migrate_out_action(m, "switching over with what is left", &m->action);
		return 0;
	case POLICY_ACT_GIVE_UP:
		m->verdict = MIGTRACK_VERDICT_GIVE_UP;
		return limits_give_up(&m->policy, &m->action, err);
	default:
		return 0;
	}
}

int migrate_act(struct migration *m, struct error *err)
{
	bool boundary = m->policy.boundary;
	struct policy_action action;

	if (m->forced)
		return 0;
	action = policy_act(&m->policy, clock_ns(CLOCK_MONOTONIC));
	/* Between two iterations there is mostly nothing to say. */
	if (!boundary && !action.act && action.reason == POLICY_REASON_PROGRESS)
		return 0;
	m->action = action;
	return act(m, err);
}

/* ---- asked for by the user, from elsewhere ---- */

static int set(struct migration *m, const json_t *request, struct error *err)
{
	uint64_t max_bandwidth = m->sender.options.max_bandwidth;

	if (limits_set(&m->policy, UINT64_MAX, request, err))
		return -1;
	control_number(request, "max_bandwidth_bytes_per_second", &max_bandwidth);
	sender_limit(&m->sender, max_bandwidth);
	migrate_out_action(m, "limits set as asked for", NULL);
	return migrate_set_phase(m, m->phase, err);
}

int migrate_asked(const char *command, const json_t *request, void *data,
		  struct error *err)
{
	struct migration *m = data;

	if (m->phase >= MIGTRACK_PHASE_SWITCHOVER)
		return error_set(err, EXIT_FAILED, "too late: the guest is being handed over");
	if (!strcmp(command, "set"))
		return set(m, request, err);
	if (strcmp(command, "switchover"))
		return error_set(err, EXIT_USAGE, "%s is not known here", command);
	m->forced = true;
	migrate_out_action(m, "switching over as asked for", NULL);
	return 0;
}
