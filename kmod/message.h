/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_MESSAGE_H
#define _MIGTRACK_MESSAGE_H

#include <linux/types.h>

struct migtrack_session;
struct migtrack_snapshot;
struct migtrack_source_snapshot;
struct sk_buff;

int migtrack_fill_session(struct sk_buff *msg, const struct migtrack_session *session,
			  const struct migtrack_snapshot *snap);
int migtrack_fill_source(struct sk_buff *msg, const struct migtrack_session *session,
			 const struct migtrack_source_snapshot *source, u32 flags);

#endif /* _MIGTRACK_MESSAGE_H */
