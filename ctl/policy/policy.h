/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When to start the next iteration, and when to switch over. Pure: time and
 * numbers come in, a decision and its reason go out. All sizes are bytes, all
 * times nanoseconds of one monotonic clock.
 */
#ifndef MIGCTL_POLICY_H
#define MIGCTL_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#define POLICY_UNKNOWN	UINT64_MAX

enum policy_bandwidth {
	POLICY_BANDWIDTH_UNKNOWN,	/* nothing was measured yet */
	POLICY_BANDWIDTH_MEASURED,
	POLICY_BANDWIDTH_KEPT,		/* the last iteration gave no sample */
	POLICY_BANDWIDTH_USER,
};

/**
 * struct policy_limits - what the user asked for
 * @downtime: the guest may be stopped for so long
 * @fixed_cost: of that, stop, device state and resume take so long
 * @bandwidth: to decide by, in bytes per second; 0 to measure
 * @timeout: give up after this time, 0 never
 * @max_iteration: start the next iteration after this time at the latest
 * @min_interval: and not before this one
 */
struct policy_limits {
	uint64_t downtime;
	uint64_t fixed_cost;
	uint64_t bandwidth;
	uint64_t timeout;
	uint64_t max_iteration;
	uint64_t min_interval;
};

extern const struct policy_limits policy_default_limits;

/**
 * struct policy_sample - what was sent while there was more to send
 * @bytes: sent
 * @time: it took
 */
struct policy_sample {
	uint64_t bytes;
	uint64_t time;
};

/**
 * struct policy - the state between decisions
 * @limits: see there
 * @started: when the migration began
 * @iteration_started: when the last sync ended
 * @bandwidth: bytes per second, valid unless the source is unknown
 * @bandwidth_source: where it comes from
 * @exact_total: what the last exact query said, POLICY_UNKNOWN before
 */
struct policy {
	struct policy_limits limits;
	uint64_t started;
	uint64_t iteration_started;
	uint64_t bandwidth;
	enum policy_bandwidth bandwidth_source;
	uint64_t exact_total;
};

enum policy_verdict {
	POLICY_MOVE,			/* go on moving what was found */
	POLICY_ITERATE,			/* sync, then ask policy_switchover() */
	POLICY_SWITCHOVER,
	POLICY_GIVE_UP,			/* the guest runs on at the source */
};

enum policy_reason {
	POLICY_REASON_MORE_TO_MOVE,	/* MOVE */
	POLICY_REASON_TOO_SOON,		/* MOVE: min_interval */
	POLICY_REASON_ESTIMATE_FITS,	/* ITERATE: the fast total is small enough */
	POLICY_REASON_ALL_MOVED,	/* ITERATE: nothing live is left */
	POLICY_REASON_MAX_ITERATION,	/* ITERATE: it took too long */
	POLICY_REASON_FITS,		/* SWITCHOVER: the exact total is */
	POLICY_REASON_NOT_READY,	/* MOVE: a source is not ready */
	POLICY_REASON_TOO_MUCH,		/* MOVE: more is left than the limit allows */
	POLICY_REASON_NO_BANDWIDTH,	/* MOVE: nothing to decide by yet */
	POLICY_REASON_TIMEOUT,		/* GIVE_UP */
};

/**
 * struct policy_decision - what to do, why, and the number that decided
 * @verdict: what to do
 * @reason: why
 * @value: what was compared: bytes, or ns for the reasons about time
 * @limit: with what
 */
struct policy_decision {
	enum policy_verdict verdict;
	enum policy_reason reason;
	uint64_t value;
	uint64_t limit;
};

void policy_init(struct policy *policy, const struct policy_limits *limits,
		 uint64_t now);

/* Bytes that can be moved within the downtime; 0 while the bandwidth is unknown. */
uint64_t policy_threshold(const struct policy *policy);

/*
 * While moving. @total and @live are fast numbers: what is left of all
 * sources, and of that what can be moved while the guest runs.
 */
struct policy_decision policy_next(const struct policy *policy, uint64_t now,
				   uint64_t total, uint64_t live);

/*
 * A sync ended: @total is exact, @ready is false if a source is not ready,
 * @sample is what the iteration before it sent, NULL if nothing of use.
 */
struct policy_decision policy_switchover(struct policy *policy, uint64_t now,
					 uint64_t total, bool ready,
					 const struct policy_sample *sample);

/* ns, or POLICY_UNKNOWN */
uint64_t policy_expected_downtime(const struct policy *policy);

const char *policy_reason_name(enum policy_reason reason);
const char *policy_bandwidth_name(enum policy_bandwidth source);

#endif /* MIGCTL_POLICY_H */
