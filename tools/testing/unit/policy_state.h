/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the policy's tests share. */
#ifndef MIGTRACK_POLICY_STATE_H
#define MIGTRACK_POLICY_STATE_H

#include "common/units.h"
#include "policy/policy.h"
#include "unit.h"

#define KIB	(1ull << 10)
#define MIB	(1ull << 20)
#define GIB	(1ull << 30)

static inline struct policy start(uint64_t downtime_ms, uint64_t fixed_ms,
				  uint64_t bandwidth)
{
	struct policy_limits limits = policy_default_limits;
	struct policy policy;

	limits.downtime = downtime_ms * NS_PER_MS;
	limits.fixed_cost = fixed_ms * NS_PER_MS;
	limits.bandwidth = bandwidth;
	policy_init(&policy, &limits, 0);
	return policy;
}

/* A fast query. */
static inline struct policy_decision estimate(const struct policy *policy,
					      uint64_t now, uint64_t precopy,
					      uint64_t stopcopy)
{
	struct policy_pending pending = { .precopy = precopy, .stopcopy = stopcopy };

	return policy_next(policy, now, &pending);
}

/* An exact one, all sources ready. */
static inline struct policy_decision exact(struct policy *policy, uint64_t now,
					   uint64_t precopy, uint64_t stopcopy)
{
	struct policy_pending pending = { .precopy = precopy, .stopcopy = stopcopy };

	return policy_switchover(policy, now, &pending, true, NULL);
}

static inline struct policy_decision sampled(struct policy *policy, uint64_t bytes,
					     uint64_t time)
{
	struct policy_sample sample = { .bytes = bytes, .time = time };
	struct policy_pending pending = { .precopy = 1000 * GIB };

	return policy_switchover(policy, policy->iteration_started + NS_PER_S,
				 &pending, true, &sample);
}

#endif /* MIGTRACK_POLICY_STATE_H */
