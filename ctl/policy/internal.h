/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the policy's files share. */
#ifndef MIGCTL_POLICY_INTERNAL_H
#define MIGCTL_POLICY_INTERNAL_H

#include "policy/policy.h"

static inline uint64_t sat_add(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static inline uint64_t sat_sub(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* a * b / c, saturated; c is not 0. */
static inline uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c)
{
	unsigned __int128 result = (unsigned __int128)a * b / c;

	return result > UINT64_MAX ? UINT64_MAX : (uint64_t)result;
}

/* The same, rounded up. */
static inline uint64_t mul_div_up(uint64_t a, uint64_t b, uint64_t c)
{
	unsigned __int128 result = ((unsigned __int128)a * b + c - 1) / c;

	return result > UINT64_MAX ? UINT64_MAX : (uint64_t)result;
}

static inline uint64_t percent(uint64_t value, unsigned int percent)
{
	return mul_div(value, percent, 100);
}

/* The one comparison; and of all that is left, if all of it is known. */
bool policy_bytes_fit(const struct policy *policy, uint64_t bytes);
bool policy_fits(const struct policy *policy, const struct policy_pending *pending);

/* The downtime that so much takes, POLICY_UNKNOWN without a bandwidth. */
uint64_t policy_downtime_of(const struct policy *policy, uint64_t bytes);

struct policy_decision policy_decide(enum policy_verdict verdict,
				     enum policy_reason reason, uint64_t value,
				     uint64_t limit);

/* stall.c */
void stall_init(struct policy_stall *stall);
void stall_add(struct policy_stall *stall, const struct policy_limits *limits,
	       uint64_t now, uint64_t remaining);
/* Low enough to act? */
bool stall_is_minimum(const struct policy_stall *stall,
		      const struct policy_limits *limits, uint64_t remaining);

#endif /* MIGCTL_POLICY_INTERNAL_H */
