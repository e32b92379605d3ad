/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_NETLINK_H
#define _MIGTRACK_NETLINK_H

#include <linux/types.h>

struct migtrack_session;
struct migtrack_source_snapshot;

/* With the session's lock held, before it has ended. */
void migtrack_netlink_notify_session(struct migtrack_session *session, u8 cmd);
void migtrack_netlink_notify_source(struct migtrack_session *session,
				    const struct migtrack_source_snapshot *source,
				    u32 flags);

#endif /* _MIGTRACK_NETLINK_H */
