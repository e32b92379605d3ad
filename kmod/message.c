// SPDX-License-Identifier: GPL-2.0-only
/* Sessions and sources as netlink messages, and the notifications of them. */

#include <net/genetlink.h>

#include "message.h"
#include "netlink.h"
#include "netlink-gen.h"
#include "session.h"
#include "source.h"

static int migtrack_put_bytes(struct sk_buff *msg, int precopy, int postcopy,
			      int stopcopy, int total,
			      const struct migtrack_counters *bytes)
{
	return nla_put_uint(msg, precopy, bytes->precopy) ||
	       nla_put_uint(msg, postcopy, bytes->postcopy) ||
	       nla_put_uint(msg, stopcopy, bytes->stopcopy) ||
	       nla_put_uint(msg, total, migtrack_counters_total(bytes)) ?
		       -EMSGSIZE : 0;
}

static int migtrack_fill_published(struct sk_buff *msg,
				   const struct migtrack_published *published)
{
	if (published->phase &&
	    nla_put_u32(msg, MIGTRACK_A_SESSION_PHASE, published->phase))
		return -EMSGSIZE;
	if (published->downtime_limit &&
	    nla_put_uint(msg, MIGTRACK_A_SESSION_DOWNTIME_LIMIT,
			 published->downtime_limit))
		return -EMSGSIZE;
	if (published->bandwidth &&
	    (nla_put_uint(msg, MIGTRACK_A_SESSION_BANDWIDTH, published->bandwidth) ||
	     nla_put_u32(msg, MIGTRACK_A_SESSION_BANDWIDTH_SOURCE,
			 published->bandwidth_source)))
		return -EMSGSIZE;
	if (published->verdict &&
	    nla_put_u32(msg, MIGTRACK_A_SESSION_VERDICT, published->verdict))
		return -EMSGSIZE;
	if (published->reason &&
	    nla_put_u32(msg, MIGTRACK_A_SESSION_REASON, published->reason))
		return -EMSGSIZE;
	if (published->expected_downtime != U64_MAX &&
	    nla_put_uint(msg, MIGTRACK_A_SESSION_EXPECTED_DOWNTIME,
			 published->expected_downtime))
		return -EMSGSIZE;
	return 0;
}

/**
 * migtrack_fill_session - put a session into a message
 * @msg: the message
 * @session: the session
 * @snap: as published
 *
 * Return: 0 or -EMSGSIZE.
 */
int migtrack_fill_session(struct sk_buff *msg, const struct migtrack_session *session,
			  const struct migtrack_snapshot *snap)
{
	struct migtrack_totals totals;

	migtrack_snapshot_totals(session, snap, &totals);

	if (nla_put_uint(msg, MIGTRACK_A_SESSION_ID, session->id) ||
	    nla_put_uint(msg, MIGTRACK_A_SESSION_ITERATION, snap->iteration) ||
	    migtrack_put_bytes(msg, MIGTRACK_A_SESSION_PRECOPY,
			       MIGTRACK_A_SESSION_POSTCOPY,
			       MIGTRACK_A_SESSION_STOPCOPY,
			       MIGTRACK_A_SESSION_TOTAL, &totals.bytes) ||
	    nla_put_u32(msg, MIGTRACK_A_SESSION_FLAGS, totals.flags) ||
	    nla_put_u32(msg, MIGTRACK_A_SESSION_SOURCES, snap->nsources) ||
	    nla_put_uint(msg, MIGTRACK_A_SESSION_SYNCS, snap->syncs) ||
	    nla_put_uint(msg, MIGTRACK_A_SESSION_DIRTY_PAGES, totals.dirty_pages) ||
	    nla_put_uint(msg, MIGTRACK_A_SESSION_DIRTY_RATE, totals.dirty_rate) ||
	    nla_put_uint(msg, MIGTRACK_A_SESSION_MEMORY, totals.memory))
		return -EMSGSIZE;

	if (snap->syncs &&
	    (nla_put_u32(msg, MIGTRACK_A_SESSION_SYNC_KIND, snap->kind) ||
	     nla_put_uint(msg, MIGTRACK_A_SESSION_SYNC_TIME, snap->time) ||
	     nla_put_uint(msg, MIGTRACK_A_SESSION_SYNC_DURATION, snap->duration)))
		return -EMSGSIZE;
	if (snap->error &&
	    nla_put_u32(msg, MIGTRACK_A_SESSION_SYNC_ERROR, snap->error))
		return -EMSGSIZE;
	return migtrack_fill_published(msg, &snap->published);
}

static int migtrack_fill_device(struct sk_buff *msg,
				const struct migtrack_source_snapshot *source)
{
	const struct migtrack_device_stats *device = &source->stats.device;

	if (source->name[0] && nla_put_string(msg, MIGTRACK_A_SOURCE_NAME, source->name))
		return -EMSGSIZE;
	if (source->features &&
	    nla_put_u32(msg, MIGTRACK_A_SOURCE_DEVICE_FEATURES, source->features))
		return -EMSGSIZE;
	if (source->stats.error &&
	    nla_put_u32(msg, MIGTRACK_A_SOURCE_ERROR, source->stats.error))
		return -EMSGSIZE;
	if ((device->known & MIGTRACK_DEVICE_STATE_KNOWN) &&
	    nla_put_u32(msg, MIGTRACK_A_SOURCE_DEVICE_STATE, device->state))
		return -EMSGSIZE;
	if ((device->known & MIGTRACK_DEVICE_PRECOPY_KNOWN) &&
	    (nla_put_uint(msg, MIGTRACK_A_SOURCE_PRECOPY_INITIAL, device->initial) ||
	     nla_put_uint(msg, MIGTRACK_A_SOURCE_PRECOPY_DIRTY, device->dirty)))
		return -EMSGSIZE;
	if ((device->known & MIGTRACK_DEVICE_SIZE_KNOWN) &&
	    nla_put_uint(msg, MIGTRACK_A_SOURCE_STOPCOPY_SIZE, device->size))
		return -EMSGSIZE;
	return 0;
}

static int migtrack_fill_dma(struct sk_buff *msg, const struct migtrack_source_stats *stats)
{
	if (stats->log && nla_put_u32(msg, MIGTRACK_A_SOURCE_DMA_LOG, stats->log))
		return -EMSGSIZE;
	if (stats->log_error &&
	    nla_put_u32(msg, MIGTRACK_A_SOURCE_DMA_LOG_ERROR, stats->log_error))
		return -EMSGSIZE;
	if (stats->untracked_pages &&
	    nla_put_uint(msg, MIGTRACK_A_SOURCE_DMA_UNTRACKED, stats->untracked_pages))
		return -EMSGSIZE;
	return 0;
}

/**
 * migtrack_fill_source - put a source into a message
 * @msg: the message
 * @session: its session
 * @source: as published
 * @flags: to add to the source's
 *
 * Return: 0 or -EMSGSIZE.
 */
int migtrack_fill_source(struct sk_buff *msg, const struct migtrack_session *session,
			 const struct migtrack_source_snapshot *source, u32 flags)
{
	const struct migtrack_source_stats *stats = &source->stats;
	struct migtrack_counters bytes;

	migtrack_snapshot_bytes(session, source, &bytes);

	if (nla_put_uint(msg, MIGTRACK_A_SOURCE_SESSION_ID, session->id) ||
	    nla_put_u32(msg, MIGTRACK_A_SOURCE_ID, source->id) ||
	    nla_put_u32(msg, MIGTRACK_A_SOURCE_TYPE, source->type) ||
	    nla_put_uint(msg, MIGTRACK_A_SOURCE_OFFSET, source->offset) ||
	    nla_put_uint(msg, MIGTRACK_A_SOURCE_LENGTH, source->length) ||
	    nla_put_u32(msg, MIGTRACK_A_SOURCE_PAGE_SIZE, PAGE_SIZE) ||
	    migtrack_put_bytes(msg, MIGTRACK_A_SOURCE_PRECOPY,
			       MIGTRACK_A_SOURCE_POSTCOPY,
			       MIGTRACK_A_SOURCE_STOPCOPY,
			       MIGTRACK_A_SOURCE_TOTAL, &bytes) ||
	    nla_put_u32(msg, MIGTRACK_A_SOURCE_FLAGS, stats->flags | flags) ||
	    nla_put_uint(msg, MIGTRACK_A_SOURCE_DIRTY_PAGES, stats->dirty_pages) ||
	    nla_put_uint(msg, MIGTRACK_A_SOURCE_DIRTY_RATE, stats->dirty_rate) ||
	    nla_put_uint(msg, MIGTRACK_A_SOURCE_HELD_PAGES, stats->held_pages) ||
	    nla_put_uint(msg, MIGTRACK_A_SOURCE_WHOLE_CHUNKS, stats->whole_chunks) ||
	    nla_put_uint(msg, MIGTRACK_A_SOURCE_PROTECTED_PAGES, stats->protected_pages) ||
	    nla_put_uint(msg, MIGTRACK_A_SOURCE_PROTECT_CALLS, stats->protect_calls) ||
	    nla_put_u32(msg, MIGTRACK_A_SOURCE_PROCESSES, stats->processes) ||
	    nla_put_uint(msg, MIGTRACK_A_SOURCE_MEMORY, stats->memory))
		return -EMSGSIZE;
	if (stats->time && nla_put_uint(msg, MIGTRACK_A_SOURCE_TIME, stats->time))
		return -EMSGSIZE;
	if (stats->clamps && nla_put_uint(msg, MIGTRACK_A_SOURCE_CLAMPS, stats->clamps))
		return -EMSGSIZE;
	if (source->max_age && nla_put_uint(msg, MIGTRACK_A_SOURCE_MAX_AGE, source->max_age))
		return -EMSGSIZE;
	if (migtrack_fill_dma(msg, stats))
		return -EMSGSIZE;
	return migtrack_fill_device(msg, source);
}

/* ---- notifications ---- */

static void migtrack_notify(struct migtrack_session *session, u8 cmd, int seq_attr,
			    const struct migtrack_source_snapshot *source,
			    const struct migtrack_snapshot *snap, u32 flags)
{
	struct migtrack_net *mnet = migtrack_net(session->net);
	struct sk_buff *msg;
	void *hdr;
	int err;

	lockdep_assert_held(&session->lock);

	mutex_lock(&mnet->event_lock);
	/* One that can't be sent leaves a gap, which listeners see at the next one. */
	mnet->event_seq++;

	if (!genl_has_listeners(&migtrack_nl_family, session->net, MIGTRACK_NLGRP_EVENTS))
		goto out;
	msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!msg)
		goto err_tell;
	hdr = genlmsg_put(msg, 0, 0, &migtrack_nl_family, 0, cmd);
	if (!hdr)
		goto err_free;
	err = source ? migtrack_fill_source(msg, session, source, flags) :
		       migtrack_fill_session(msg, session, snap);
	if (err || nla_put_uint(msg, seq_attr, mnet->event_seq))
		goto err_free;
	genlmsg_end(msg, hdr);
	genlmsg_multicast_netns(&migtrack_nl_family, session->net, msg, 0,
				MIGTRACK_NLGRP_EVENTS, GFP_KERNEL);
	goto out;

err_free:
	nlmsg_free(msg);
err_tell:
	/* There may be no next one. */
	genl_set_err(&migtrack_nl_family, session->net, 0, MIGTRACK_NLGRP_EVENTS, -ENOBUFS);
out:
	mutex_unlock(&mnet->event_lock);
}

/**
 * migtrack_netlink_notify_session - tell listeners about a session
 * @session: locked, and has not ended
 * @cmd: enum of the notification
 */
void migtrack_netlink_notify_session(struct migtrack_session *session, u8 cmd)
{
	migtrack_notify(session, cmd, MIGTRACK_A_SESSION_EVENT_SEQ, NULL,
			rcu_dereference_protected(session->snap,
						  lockdep_is_held(&session->lock)), 0);
}

/**
 * migtrack_netlink_notify_source - tell listeners about a source
 * @session: locked, and has not ended
 * @source: as published; may have been taken out since
 * @flags: to add to the source's
 */
void migtrack_netlink_notify_source(struct migtrack_session *session,
				    const struct migtrack_source_snapshot *source,
				    u32 flags)
{
	migtrack_notify(session, MIGTRACK_CMD_SOURCE_CHANGE_NTF,
			MIGTRACK_A_SOURCE_EVENT_SEQ, source, NULL, flags);
}
