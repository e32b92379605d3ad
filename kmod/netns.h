/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_NETNS_H
#define _MIGTRACK_NETNS_H

#include <linux/mutex.h>
#include <linux/xarray.h>
#include <net/net_namespace.h>

/**
 * struct migtrack_net - the sessions of a network namespace
 * @sessions: struct migtrack_session by id; read under RCU
 * @count: how many sessions there are, or are being made
 * @generation: changes when a session comes or goes, for consistent dumps
 * @event_lock: events leave in the order of their numbers
 * @event_seq: number of the last event, under @event_lock
 */
struct migtrack_net {
	struct xarray sessions;
	atomic_t count;
	atomic_t generation;
	struct mutex event_lock;	/* events leave in order */
	u64 event_seq;
};

struct migtrack_net *migtrack_net(const struct net *net);
int migtrack_netns_init(void);
void migtrack_netns_exit(void);

#endif /* _MIGTRACK_NETNS_H */
