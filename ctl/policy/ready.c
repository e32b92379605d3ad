// SPDX-License-Identifier: GPL-2.0-or-later
/* May the guest go? */
#include "common/units.h"
#include "policy/internal.h"

/* In percent of the downtime limit: so much later may the last sync begin. */
#define LATER_SHARE	5

/**
 * policy_final() - the vCPUs have stopped: go?
 * @policy: the state
 * @ready: every source is, asked again after the stop
 * @can_go_back: the guest can run on from here and be moved on
 * @attempt: number of this one, from 1
 * @attempts: so many may be made
 *
 * A device that has something new to say when it is stopped: where it can't go back
 * from there, this attempt has failed and the next one begins.
 */
struct policy_decision policy_final(const struct policy *policy, bool ready,
				    bool can_go_back, unsigned int attempt,
				    unsigned int attempts)
{
	enum policy_verdict verdict = POLICY_GIVE_UP;

	if (ready)
		return policy_decide(POLICY_SWITCHOVER, POLICY_REASON_FITS,
				     policy->exact_total, policy_threshold(policy));
	if (can_go_back)
		verdict = POLICY_MOVE;
	else if (attempt < attempts)
		verdict = POLICY_RETRY;
	return policy_decide(verdict, POLICY_REASON_REINIT, policy->exact_total,
			     policy_threshold(policy));
}

/**
 * policy_postcopy() - may post-copy start, by the last exact numbers?
 * @policy: the state
 *
 * The blackout of its start pays for what is neither moved before nor after it.
 *
 * Return: SWITCHOVER if so, MOVE with the reason if not.
 */
struct policy_decision policy_postcopy(const struct policy *policy)
{
	const struct policy_pending *exact = &policy->exact;
	uint64_t threshold = policy_threshold(policy);
	uint64_t blackout = sat_add(exact->precopy, exact->stopcopy);
	enum policy_reason reason = POLICY_REASON_FITS;

	if (!policy->limits.postcopy)
		reason = POLICY_REASON_POSTCOPY_OFF;
	else if (exact->no_postcopy)
		reason = POLICY_REASON_POSTCOPY_SOURCE;
	else if (exact->unknown)
		reason = POLICY_REASON_UNKNOWN_SIZE;
	else if (policy->exact_total == POLICY_UNKNOWN)
		reason = POLICY_REASON_MORE_TO_MOVE;
	else if (!policy->ready)
		reason = POLICY_REASON_NOT_READY;
	else if (!policy_bytes_fit(policy, blackout))
		reason = POLICY_REASON_TOO_MUCH;
	return policy_decide(reason == POLICY_REASON_FITS ? POLICY_SWITCHOVER :
			     POLICY_MOVE, reason, blackout, threshold);
}

/**
 * policy_sync_pays() - the guest is about to be stopped: look once more what it wrote?
 * @policy: the state; it was decided by that, and this changes nothing of it
 * @now: the time
 * @last: the last sync
 *
 * What it writes until then and no sync has found is moved in the downtime. But the stop
 * may come while a sync is under way, and the last one waits for its end. So it has to be
 * short, or to take no longer than what it will find takes to move; and no more than half
 * of the time is for syncs, as each has the guest write slower.
 */
bool policy_sync_pays(const struct policy *policy, uint64_t now,
		      const struct policy_sync *last)
{
	uint64_t age = sat_sub(now, last->time), written = 0, movable = 0;

	if (age < last->duration)
		return false;
	if (last->duration <= percent(policy->limits.downtime, LATER_SHARE))
		return true;
	if (last->interval)
		written = mul_div(last->found, age, last->interval);
	if (policy->bandwidth_source != POLICY_BANDWIDTH_UNKNOWN)
		movable = mul_div(policy->bandwidth, last->duration, NS_PER_S);
	return movable && written >= movable;
}
