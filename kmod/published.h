/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_PUBLISHED_H
#define _MIGTRACK_PUBLISHED_H

#include <linux/types.h>

struct netlink_ext_ack;

/**
 * struct migtrack_published - what a session's controller says
 * @phase: of the migration
 * @downtime_limit: ns; 0 for not said
 * @bandwidth: bytes per second; 0 for not said
 * @bandwidth_source: where it comes from
 * @expected_downtime: ns; U64_MAX for unknown
 * @verdict: what it decided last
 * @reason: why
 */
struct migtrack_published {
	u32 phase;
	u32 bandwidth_source;
	u32 verdict;
	u32 reason;
	u64 downtime_limit;
	u64 bandwidth;
	u64 expected_downtime;
};

int migtrack_published_check(const struct migtrack_published *old,
			     const struct migtrack_published *new,
			     struct netlink_ext_ack *extack);

#endif /* _MIGTRACK_PUBLISHED_H */
