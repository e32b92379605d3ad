/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When to start the next iteration, when to switch over, and what to do when it
 * does not converge. Pure: time and numbers come in, a decision and its reason go
 * out; no clock, no I/O, no allocation. All sizes are bytes, all times nanoseconds
 * of one monotonic clock. Documentation/policy.rst tells the rules.
 *
 * A controller does, in this order:
 *
 *	policy_init()			after the setup sync
 *	policy_next()			while it moves; ITERATE: sync, then
 *	policy_switchover()		with the exact numbers; MOVE: then
 *	policy_act()			at least after each of both; does what it says
 *	policy_sync_pays()		until they have stopped, with nothing to move
 *	policy_final()			after the vCPUs stopped
 *	policy_again()			before another attempt
 */
#ifndef MIGCTL_POLICY_H
#define MIGCTL_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_UNKNOWN	UINT64_MAX

enum policy_bandwidth {
	POLICY_BANDWIDTH_UNKNOWN,	/* nothing was measured yet */
	POLICY_BANDWIDTH_MEASURED,
	POLICY_BANDWIDTH_KEPT,		/* the last iteration gave no sample */
	POLICY_BANDWIDTH_USER,
};

enum policy_on_timeout {
	POLICY_ON_TIMEOUT_CANCEL,
	POLICY_ON_TIMEOUT_POSTCOPY,
	POLICY_ON_TIMEOUT_STOP,
};

/* What may be done against a stall; raising the limit has its own ceiling. */
#define POLICY_ALLOW_THROTTLE	(1u << 0)
#define POLICY_ALLOW_POSTCOPY	(1u << 1)
#define POLICY_ALLOW_STOP	(1u << 2)	/* whatever downtime that takes */
#define POLICY_ALLOW_GIVE_UP	(1u << 3)	/* before the timeout */

/**
 * struct policy_limits - what the user asked for
 * @downtime: the guest may be stopped for so long; policy_act() raises it
 * @max_downtime: and raises it no further than this; 0: never
 * @fixed_cost: of that, stop, device state and resume take so long; 0: as measured
 * @bandwidth: to decide by, in bytes per second; 0 to measure
 * @timeout: act after this time, 0 never
 * @on_timeout: how
 * @max_iteration: start the next iteration after this time at the latest
 * @min_interval: and not before this one
 * @allowed: POLICY_ALLOW_*
 * @postcopy: the session is set up for post-copy
 * @stall_window: no progress for so long is a stall
 * @stall_margin: in percent: progress is to get below so much of the best
 * @local_minimum: in percent of the best: low enough to act
 * @raise_margin: in percent: raise to so much more than what is needed
 * @raise_step: and up to a multiple of this
 * @cool_down: between two actions
 * @throttle_step: in percent of the guest's CPU time
 * @throttle_max: and no more than this
 */
struct policy_limits {
	uint64_t downtime;
	uint64_t max_downtime;
	uint64_t fixed_cost;
	uint64_t bandwidth;
	uint64_t timeout;
	enum policy_on_timeout on_timeout;
	uint64_t max_iteration;
	uint64_t min_interval;
	unsigned int allowed;
	bool postcopy;
	uint64_t stall_window;
	unsigned int stall_margin;
	unsigned int local_minimum;
	unsigned int raise_margin;
	uint64_t raise_step;
	uint64_t cool_down;
	unsigned int throttle_step;
	unsigned int throttle_max;
};

extern const struct policy_limits policy_default_limits;

/**
 * struct policy_pending - what is left, the sum of all sources
 * @precopy: can be moved while the guest runs
 * @postcopy: can be moved after the destination runs as well; then not in @precopy
 * @stopcopy: can be moved only while the guest is stopped; of a device whose size
 *	nobody knows, what the kernel lets stand for it (100 GiB)
 * @unknown: such a device's name, NULL if all sizes are known
 * @no_postcopy: a source that can't do post-copy, NULL for none
 */
struct policy_pending {
	uint64_t precopy;
	uint64_t postcopy;
	uint64_t stopcopy;
	const char *unknown;
	const char *no_postcopy;
};

/**
 * struct policy_sample - what was sent while there was more to send
 * @bytes: sent, of what is pending
 * @time: it took
 * @zeros: zero pages that were gone through meanwhile, in bytes; for who measures
 */
struct policy_sample {
	uint64_t bytes;
	uint64_t time;
	uint64_t zeros;
};

/**
 * struct policy_sync - the last sync, of whatever kind
 * @time: when it ended
 * @duration: it took so long
 * @interval: since the one before
 * @found: bytes that were written in that
 */
struct policy_sync {
	uint64_t time;
	uint64_t duration;
	uint64_t interval;
	uint64_t found;
};

enum policy_verdict {
	POLICY_MOVE,			/* go on moving what was found */
	POLICY_ITERATE,			/* sync, then ask policy_switchover() */
	POLICY_SWITCHOVER,
	POLICY_GIVE_UP,			/* the guest runs on at the source */
	POLICY_RETRY,			/* as GIVE_UP, then start again */
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
	POLICY_REASON_UNKNOWN_SIZE,	/* MOVE: a device's size is not known */
	POLICY_REASON_TIMEOUT,		/* all of it is over */
	POLICY_REASON_REINIT,		/* RETRY, GIVE_UP: a device began anew */
	/* Of policy_act() and policy_postcopy(). */
	POLICY_REASON_PROGRESS,		/* no stall */
	POLICY_REASON_WAIT_MINIMUM,	/* a stall, at a moment that is not the best */
	POLICY_REASON_COOL_DOWN,	/* what was done last has yet to show */
	POLICY_REASON_STALL,
	POLICY_REASON_STOP_ONLY,	/* what only moves when stopped is too much */
	POLICY_REASON_MAX_DOWNTIME,	/* it takes more than may be allowed */
	POLICY_REASON_NO_TIME,		/* it takes more than is left of the timeout */
	POLICY_REASON_POSTCOPY_OFF,	/* the session is not set up for it */
	POLICY_REASON_POSTCOPY_SOURCE,	/* a source can't */
};

/**
 * struct policy_decision - what to do, why, and the number that decided
 * @verdict: what to do
 * @reason: why
 * @value: what was compared: ns if policy_reason_is_time(), otherwise bytes
 * @limit: with what
 */
struct policy_decision {
	enum policy_verdict verdict;
	enum policy_reason reason;
	uint64_t value;
	uint64_t limit;
};

enum policy_act {
	POLICY_ACT_NONE,
	POLICY_ACT_RAISE,		/* the downtime limit; ask policy_recheck() */
	POLICY_ACT_THROTTLE,		/* the guest's CPUs */
	POLICY_ACT_POSTCOPY,		/* start it now */
	POLICY_ACT_STOP,		/* switch over, whatever downtime that takes */
	POLICY_ACT_GIVE_UP,		/* the guest runs on at the source */
};

enum policy_advice {
	POLICY_ADVICE_NONE,
	POLICY_ADVICE_DOWNTIME,		/* allow needed_downtime, or needed_bandwidth */
	POLICY_ADVICE_DEVICE,		/* a device has to say its size */
	POLICY_ADVICE_READY,		/* a source has to get ready */
	POLICY_ADVICE_BANDWIDTH,	/* say the bandwidth: none was measured */
	POLICY_ADVICE_TIME,		/* allow more time */
	POLICY_ADVICE_POSTCOPY,		/* set the session up for post-copy */
};

/**
 * struct policy_action - what to do against a stall or after the timeout
 * @act: what
 * @reason: why, or why nothing
 * @advice: what the user could do
 * @value: the offending number: ns if policy_reason_is_time(), otherwise bytes
 * @limit: what it was compared with
 * @source: the source that it is about, NULL for none
 * @downtime: RAISE: the new limit, already in force in the policy
 * @throttle: THROTTLE: take away so many percent, already noted in the policy
 * @needed_downtime: a limit at which what is left now would fit; POLICY_UNKNOWN
 * @needed_bandwidth: a bandwidth at which it would, within the limit as it is
 */
struct policy_action {
	enum policy_act act;
	enum policy_reason reason;
	enum policy_advice advice;
	uint64_t value;
	uint64_t limit;
	const char *source;
	uint64_t downtime;
	unsigned int throttle;
	uint64_t needed_downtime;
	uint64_t needed_bandwidth;
};

/* So many parts of the window are told apart. */
#define POLICY_STALL_SLOTS	64

/**
 * struct policy_stall - what the detector knows (stall.c)
 * @slots: the least seen in each part of the window, a ring
 * @width: of one; the window may become another one
 * @slot: number of the newest
 * @best: the least seen before the window, POLICY_UNKNOWN for nothing
 * @stalled: no progress for a window
 * @target: since then: low enough to act, before local_minimum is added
 * @patience: how long to wait for it
 * @patience_start: since when
 * @least: the least seen since then
 */
struct policy_stall {
	uint64_t slots[POLICY_STALL_SLOTS];
	uint64_t width;
	uint64_t slot;
	uint64_t best;
	bool stalled;
	uint64_t target;
	uint64_t patience;
	uint64_t patience_start;
	uint64_t least;
};

/**
 * struct policy - the state between decisions
 * @limits: see there; may be changed between two calls
 * @started: when the migration began
 * @iteration_started: when the last sync ended
 * @iteration: 1 in the first one
 * @passes: syncs of the VMM's own that came too soon for an iteration
 * @bandwidth: bytes per second, valid unless the source is unknown
 * @bandwidth_source: where it comes from
 * @measured_cost: fixed cost of an earlier attempt
 * @exact: what the last exact query said
 * @exact_total: its sum; POLICY_UNKNOWN before
 * @previous_live: what could be moved at the exact query before; POLICY_UNKNOWN
 * @ready: all sources were at the last exact query
 * @stall: the detector
 * @boundary: an iteration ended and was not acted upon yet
 * @acted: something was done
 * @acted_at: when, last
 * @throttle: in percent
 * @refused: acts that could not be done, as bits 1 << enum policy_act
 * @postcopy_started: nothing is decided any more
 */
struct policy {
	struct policy_limits limits;
	uint64_t started;
	uint64_t iteration_started;
	uint64_t iteration;
	uint64_t passes;
	uint64_t bandwidth;
	enum policy_bandwidth bandwidth_source;
	uint64_t measured_cost;
	struct policy_pending exact;
	uint64_t exact_total;
	uint64_t previous_live;
	bool ready;
	struct policy_stall stall;
	bool boundary;
	bool acted;
	uint64_t acted_at;
	unsigned int throttle;
	unsigned int refused;
	bool postcopy_started;
};

/* policy.c: bandwidth, threshold, iterations, switchover. */
void policy_init(struct policy *policy, const struct policy_limits *limits,
		 uint64_t now);
void policy_again(struct policy *policy, uint64_t now);
bool policy_timed_out(const struct policy *policy, uint64_t now);
void policy_set_bandwidth(struct policy *policy, uint64_t bandwidth);
void policy_learn_fixed_cost(struct policy *policy, uint64_t cost);
uint64_t policy_fixed_cost(const struct policy *policy);

/* The sum, saturated; and what of it can be moved while the guest runs. */
uint64_t policy_total(const struct policy_pending *pending);
uint64_t policy_live(const struct policy_pending *pending);
/* The sum to be shown: POLICY_UNKNOWN if a size is not known. */
uint64_t policy_remaining(const struct policy_pending *pending);

/* Bytes that can be moved within the downtime; 0 while the bandwidth is unknown. */
uint64_t policy_threshold(const struct policy *policy);

struct policy_decision policy_next(const struct policy *policy, uint64_t now,
				   const struct policy_pending *pending);
bool policy_pass(struct policy *policy, uint64_t now);
struct policy_decision policy_switchover(struct policy *policy, uint64_t now,
					 const struct policy_pending *pending,
					 bool ready,
					 const struct policy_sample *sample);
struct policy_decision policy_recheck(const struct policy *policy);

/* ns, or POLICY_UNKNOWN */
uint64_t policy_expected_downtime(const struct policy *policy);

/* ready.c: may the guest go? */
struct policy_decision policy_final(const struct policy *policy, bool ready,
				    bool can_go_back, unsigned int attempt,
				    unsigned int attempts);
struct policy_decision policy_postcopy(const struct policy *policy);
bool policy_sync_pays(const struct policy *policy, uint64_t now,
		      const struct policy_sync *last);

/* actions.c: when it does not converge. */
struct policy_action policy_act(struct policy *policy, uint64_t now);
void policy_refused(struct policy *policy, enum policy_act act);

/* text.c: names for programs, sentences for people. */
const char *policy_reason_name(enum policy_reason reason);
const char *policy_bandwidth_name(enum policy_bandwidth source);
const char *policy_act_name(enum policy_act act);
const char *policy_advice_name(enum policy_advice advice);
bool policy_reason_is_time(enum policy_reason reason);
/* What @value and @limit say, and the advice; "" for none. At most @size bytes. */
void policy_explain(char *text, size_t size, const struct policy_action *action);
void policy_advise(char *text, size_t size, const struct policy_action *action);
void policy_advise_limits(char *text, size_t size, uint64_t downtime,
			  uint64_t bandwidth);

#endif /* MIGCTL_POLICY_H */
