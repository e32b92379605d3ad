// SPDX-License-Identifier: GPL-2.0-only
/* What a session's last sync found, for readers that disturb nothing. */

#include <linux/overflow.h>
#include <linux/slab.h>

#include "session.h"
#include "snapshot.h"

static void migtrack_counters_add(struct migtrack_counters *sum,
				  const struct migtrack_counters *bytes)
{
	sum->precopy = size_add(sum->precopy, bytes->precopy);
	sum->postcopy = size_add(sum->postcopy, bytes->postcopy);
	sum->stopcopy = size_add(sum->stopcopy, bytes->stopcopy);
}

/**
 * migtrack_counters_total - all that is still to be moved
 * @bytes: the counters
 *
 * Return: their sum in bytes, saturated.
 */
u64 migtrack_counters_total(const struct migtrack_counters *bytes)
{
	return size_add(size_add(bytes->precopy, bytes->postcopy), bytes->stopcopy);
}

/**
 * migtrack_snapshot_new - allocate a snapshot
 * @nsources: for so many sources
 *
 * Return: zeroed, or NULL.
 */
struct migtrack_snapshot *migtrack_snapshot_new(unsigned int nsources)
{
	struct migtrack_snapshot *snap;

	snap = kzalloc(struct_size(snap, sources, nsources), GFP_KERNEL_ACCOUNT);
	if (snap)
		snap->nsources = nsources;
	return snap;
}

/**
 * migtrack_snapshot_free - free a snapshot that no reader can see
 * @snap: the snapshot; may be NULL
 */
void migtrack_snapshot_free(struct migtrack_snapshot *snap)
{
	unsigned int i;

	if (!snap)
		return;
	for (i = 0; i < snap->nsources; i++)
		put_pid(snap->sources[i].pid);
	kfree(snap);
}

static void migtrack_snapshot_rcu(struct rcu_head *rcu)
{
	migtrack_snapshot_free(container_of(rcu, struct migtrack_snapshot, rcu));
}

/**
 * migtrack_snapshot_free_rcu - free a snapshot when its readers have left
 * @snap: the snapshot; may be NULL
 */
void migtrack_snapshot_free_rcu(struct migtrack_snapshot *snap)
{
	if (snap)
		call_rcu(&snap->rcu, migtrack_snapshot_rcu);
}

/**
 * migtrack_snapshot_set - fill in a source
 * @dst: where; its pid is NULL
 * @source: the source
 * @stats: what a sync found
 * @moved: what the owner had moved by then, in bytes
 */
void migtrack_snapshot_set(struct migtrack_source_snapshot *dst,
			   const struct migtrack_source *source,
			   const struct migtrack_source_stats *stats, u64 moved)
{
	dst->source = source;
	dst->pid = get_pid(source->pid);
	dst->id = source->id;
	dst->type = source->type;
	dst->offset = source->offset;
	dst->length = source->length;
	dst->max_age = source->max_age;
	memcpy(dst->name, source->name, sizeof(dst->name));
	dst->features = source->features;
	dst->moved = moved;
	dst->stats = *stats;
}

/**
 * migtrack_snapshot_bytes - what is left now of what a sync found
 * @session: the session
 * @source: the source's part of a snapshot of it
 * @bytes: out
 *
 * What the owner says that it has moved since is taken off. Its word is not
 * trusted: the result is between 0 and what the sync found. It moves memory;
 * what others say of the rest has it taken off already.
 */
void migtrack_snapshot_bytes(const struct migtrack_session *session,
			     const struct migtrack_source_snapshot *source,
			     struct migtrack_counters *bytes)
{
	u64 moved = migtrack_session_moved(session, source->id) - source->moved;

	*bytes = source->stats.bytes;
	if (source->type != MIGTRACK_SOURCE_TYPE_RAM)
		return;
	bytes->precopy -= min(bytes->precopy, moved);
}

/**
 * migtrack_snapshot_totals - sum up a session
 * @session: the session
 * @snap: a snapshot of it
 * @totals: out
 */
void migtrack_snapshot_totals(const struct migtrack_session *session,
			      const struct migtrack_snapshot *snap,
			      struct migtrack_totals *totals)
{
	u32 exact = snap->nsources ? MIGTRACK_COUNTER_FLAGS_EXACT : 0;
	unsigned int i;

	memset(totals, 0, sizeof(*totals));
	for (i = 0; i < snap->nsources; i++) {
		const struct migtrack_source_stats *stats = &snap->sources[i].stats;
		struct migtrack_counters bytes;

		migtrack_snapshot_bytes(session, &snap->sources[i], &bytes);
		migtrack_counters_add(&totals->bytes, &bytes);
		totals->flags |= stats->flags;
		exact &= stats->flags;
		totals->dirty_pages = size_add(totals->dirty_pages, stats->dirty_pages);
		totals->dirty_rate = size_add(totals->dirty_rate, stats->dirty_rate);
		totals->memory = size_add(totals->memory, stats->memory);
	}
	totals->flags &= ~MIGTRACK_COUNTER_FLAGS_EXACT;
	totals->flags |= exact;
}
