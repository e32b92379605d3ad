/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_REPORTED_H
#define _MIGTRACK_REPORTED_H

#include <linux/workqueue.h>

#include "source.h"

struct migtrack_session;
struct netlink_ext_ack;

/**
 * struct migtrack_reported - a source whose owner publishes its numbers
 * @source: what all sources have; its stats are not used
 * @now: as reported last. The session's lock
 * @known: there was a report that was possible. The session's lock
 * @age_work: makes it stale; queued by each report
 */
struct migtrack_reported {
	struct migtrack_source source;
	struct migtrack_source_stats now;
	bool known;
	struct delayed_work age_work;
};

/**
 * struct migtrack_report - what an owner says about a source
 * @bytes: still to be moved; anything
 * @sized: @bytes were given
 * @flags: enum migtrack_counter_flags
 * @dirty_rate: pages per second
 */
struct migtrack_report {
	struct migtrack_counters bytes;
	bool sized;
	u32 flags;
	u64 dirty_rate;
};

struct migtrack_source *migtrack_reported_new(u64 max_age);
int migtrack_reported_report(struct migtrack_session *session, u32 id,
			     const struct migtrack_report *report,
			     struct netlink_ext_ack *extack);

#endif /* _MIGTRACK_REPORTED_H */
