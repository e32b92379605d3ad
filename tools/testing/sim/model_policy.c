// SPDX-License-Identifier: GPL-2.0-or-later
/* ctl/policy itself. */
#include "common/units.h"
#include "model.h"

static uint64_t ns(double seconds)
{
	return (uint64_t)(seconds * NS_PER_S + 0.5);
}

static struct policy_limits limits_of(const struct allowed *allowed)
{
	struct policy_limits limits = policy_default_limits;

	limits.downtime = ns(allowed->downtime);
	limits.max_downtime = ns(allowed->max_downtime);
	limits.timeout = ns(allowed->timeout);
	limits.bandwidth = (uint64_t)allowed->bandwidth;
	limits.allowed = allowed->actions;
	limits.postcopy = allowed->postcopy;
	return limits;
}

static struct policy_pending pending_of(const struct sizes *sizes, bool postcopy)
{
	return (struct policy_pending) {
		.precopy = (uint64_t)(sizes->device + (postcopy ? 0 : sizes->ram)),
		.postcopy = postcopy ? (uint64_t)sizes->ram : 0,
		.stopcopy = (uint64_t)sizes->stop + (sizes->unknown ? 100ull << 30 : 0),
		.unknown = sizes->unknown,
	};
}

struct run {
	struct world *world;
	const struct allowed *allowed;
	struct policy policy;
	struct policy_sample sample;
	double slow;
	unsigned int attempt;
};

#define ATTEMPTS	3

static void begin(struct run *run)
{
	struct policy_limits limits = limits_of(run->allowed);

	run->attempt++;
	run->sample = (struct policy_sample){};
	policy_init(&run->policy, &limits, ns(run->world->now));
	policy_learn_fixed_cost(&run->policy, ns(run->world->fixed));
}

/* Stopped, and asked once more; true if that was the end. */
static bool stop(struct run *run, const char *reason, struct result *result)
{
	struct policy_decision decision;

	decision = policy_final(&run->policy, world_stop(run->world), false,
				run->attempt, ATTEMPTS);
	if (decision.verdict == POLICY_SWITCHOVER) {
		*result = finish_stopped(run->world, run->allowed, reason);
		return true;
	}
	if (decision.verdict == POLICY_RETRY) {
		/* The guest runs on; everything is moved again. */
		world_start(run->world);
		begin(run);
		return false;
	}
	*result = stay(run->world, policy_reason_name(decision.reason));
	return true;
}

/* An action; true with the result if it ends the migration. */
static bool acted(struct run *run, struct result *result)
{
	struct policy_action action = policy_act(&run->policy, ns(run->world->now));

	switch (action.act) {
	case POLICY_ACT_THROTTLE:
		run->world->throttle = action.throttle / 100.0;
		return false;
	case POLICY_ACT_RAISE:
		if (policy_recheck(&run->policy).verdict != POLICY_SWITCHOVER)
			return false;
		return stop(run, "raised", result);
	case POLICY_ACT_POSTCOPY:
		*result = finish_postcopy(run->world, run->allowed);
		return true;
	case POLICY_ACT_STOP:
		return stop(run, "stop-and-copy", result);
	case POLICY_ACT_GIVE_UP:
		*result = stay(run->world, policy_reason_name(action.reason));
		return true;
	case POLICY_ACT_NONE:
		break;
	}
	return false;
}

static bool iterated(struct run *run, struct result *result)
{
	struct policy_pending pending;
	struct policy_decision decision;
	struct sizes sizes;
	bool whole = run->sample.time >= 100 * NS_PER_MS &&
		     run->sample.bytes >= 4ull << 20;

	world_sync(run->world);
	sizes = world_sizes(run->world);
	pending = pending_of(&sizes, run->allowed->postcopy);
	decision = policy_switchover(&run->policy, ns(run->world->now), &pending,
				     world_ready(run->world),
				     whole ? &run->sample : NULL);
	if (whole)
		run->sample = (struct policy_sample){};
	if (decision.verdict == POLICY_GIVE_UP) {
		*result = stay(run->world, "timeout");
		return true;
	}
	if (decision.verdict != POLICY_SWITCHOVER)
		return false;
	return stop(run, "fits", result);
}

static bool step(struct run *run, struct result *result)
{
	struct policy_decision decision;
	struct policy_pending pending;
	struct sizes sizes;
	double sent;

	sent = world_send(run->world, TICK);
	sizes = world_sizes(run->world);
	/* Only while there is more. */
	if (sizes.ram + sizes.device > 0) {
		run->sample.bytes += (uint64_t)sent;
		run->sample.time += ns(TICK);
	}
	world_run(run->world, TICK);
	run->slow += run->world->throttle * TICK;
	pending = pending_of(&sizes, run->allowed->postcopy);
	decision = policy_next(&run->policy, ns(run->world->now), &pending);
	if (decision.verdict == POLICY_GIVE_UP) {
		*result = stay(run->world, "timeout");
		return true;
	}
	if (decision.verdict == POLICY_ITERATE && iterated(run, result))
		return true;
	return acted(run, result);
}

struct result model_policy(struct world *world, const struct allowed *allowed,
			   FILE *plot)
{
	struct run run = { .world = world, .allowed = allowed };
	struct result result;
	struct view view;

	begin(&run);
	do {
		view.threshold = policy_threshold(&run.policy);
		view.bandwidth = run.policy.bandwidth;
		plot_line(plot, world, &view);
		if (world->now > FOR_EVER) {
			result = stay(world, "never");
			break;
		}
	} while (!step(&run, &result));
	result.brownout += run.slow;
	result.iterations = (unsigned int)run.policy.iteration - 1;
	return result;
}
