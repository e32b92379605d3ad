// SPDX-License-Identifier: GPL-2.0-or-later
/* May the guest go? */
#include "policy/internal.h"

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
