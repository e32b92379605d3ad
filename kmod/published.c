// SPDX-License-Identifier: GPL-2.0-only
/* What a session's controller may publish. */

#include <linux/netlink.h>

#include <linux/migtrack.h>

#include "published.h"

/* A migration moves forward, and does not leave its end. */
static bool migtrack_phase_may_follow(u32 old, u32 new)
{
	if (new == old)
		return true;
	if (old >= MIGTRACK_PHASE_COMPLETED)
		return false;
	/* Once the destination was told, it can't be called off. */
	if (new == MIGTRACK_PHASE_CANCELLED)
		return old < MIGTRACK_PHASE_HANDOVER;
	return new > old;
}

/**
 * migtrack_published_check - may a controller publish that?
 * @old: what it published before
 * @new: all of what it publishes now
 * @extack: says why not
 *
 * Return: 0 or -EINVAL.
 */
int migtrack_published_check(const struct migtrack_published *old,
			     const struct migtrack_published *new,
			     struct netlink_ext_ack *extack)
{
	bool measured = new->bandwidth_source != MIGTRACK_BANDWIDTH_SOURCE_UNKNOWN;

	if (!migtrack_phase_may_follow(old->phase, new->phase))
		NL_SET_ERR_MSG(extack, "that phase can't follow the present one");
	else if (measured != !!new->bandwidth)
		NL_SET_ERR_MSG(extack, "a bandwidth and where it comes from go together");
	else if (new->expected_downtime != U64_MAX && !measured)
		NL_SET_ERR_MSG(extack, "an expected downtime needs a bandwidth");
	else if (new->verdict && !new->phase)
		NL_SET_ERR_MSG(extack, "a verdict needs the phase of a migration");
	else if (new->reason && !new->verdict)
		NL_SET_ERR_MSG(extack, "a reason needs a verdict");
	else
		return 0;
	return -EINVAL;
}
