// SPDX-License-Identifier: GPL-2.0-only
/* Sessions: their life, their syncs. */

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <net/netlink.h>

#include "main.h"
#include "map.h"
#include "netlink.h"
#include "published.h"
#include "session.h"
#include "source.h"
#include "trace.h"

static atomic64_t migtrack_last_id = ATOMIC64_INIT(0);

static struct migtrack_map_header *migtrack_session_header(const struct migtrack_session *session)
{
	return session->header->addr;
}

/**
 * migtrack_session_moved - what the owner says that it has moved
 * @session: the session
 * @id: of one of its sources
 *
 * Return: bytes; anything, as the owner can write there.
 */
u64 migtrack_session_moved(const struct migtrack_session *session, u32 id)
{
	return READ_ONCE(migtrack_session_header(session)->moved_bytes[id]);
}

/* ---- publishing ---- */

static struct migtrack_snapshot *migtrack_session_snap(struct migtrack_session *session)
{
	return rcu_dereference_protected(session->snap, lockdep_is_held(&session->lock));
}

static unsigned int migtrack_session_count(const struct migtrack_session *session)
{
	unsigned int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(session->sources); i++)
		n += !!session->sources[i];
	return n;
}

static void migtrack_session_write_header(struct migtrack_session *session,
					  const struct migtrack_snapshot *snap)
{
	struct migtrack_map_header *header = migtrack_session_header(session);
	struct migtrack_totals totals;
	u32 seq = READ_ONCE(header->seq);

	migtrack_snapshot_totals(session, snap, &totals);

	WRITE_ONCE(header->seq, seq | 1);
	smp_wmb();	/* odd before the rest; pairs with the reader's acquire */
	WRITE_ONCE(header->version, MIGTRACK_MAP_VERSION);
	WRITE_ONCE(header->syncs, snap->syncs);
	WRITE_ONCE(header->iteration, snap->iteration);
	WRITE_ONCE(header->sync_time_ns, snap->time);
	WRITE_ONCE(header->sync_duration_ns, snap->duration);
	WRITE_ONCE(header->sync_kind, snap->kind);
	WRITE_ONCE(header->sync_error, snap->error);
	WRITE_ONCE(header->flags, totals.flags);
	WRITE_ONCE(header->sources, snap->nsources);
	WRITE_ONCE(header->precopy_bytes, totals.bytes.precopy);
	WRITE_ONCE(header->postcopy_bytes, totals.bytes.postcopy);
	WRITE_ONCE(header->stopcopy_bytes, totals.bytes.stopcopy);
	WRITE_ONCE(header->total_bytes, migtrack_counters_total(&totals.bytes));
	WRITE_ONCE(header->dirty_pages, totals.dirty_pages);
	smp_wmb();	/* the rest before even; pairs with the reader's fence */
	WRITE_ONCE(header->seq, (seq | 1) + 1);
}

static void migtrack_session_publish(struct migtrack_session *session,
				     struct migtrack_snapshot *snap)
{
	struct migtrack_snapshot *old = migtrack_session_snap(session);

	lockdep_assert_held(&session->lock);

	snap->generation = old->generation + 1 ?: 1;
	rcu_assign_pointer(session->snap, snap);
	migtrack_session_write_header(session, snap);
	migtrack_snapshot_free_rcu(old);
}

static const struct migtrack_source_snapshot *
migtrack_snapshot_find(const struct migtrack_snapshot *snap,
		       const struct migtrack_source *source)
{
	unsigned int i;

	for (i = 0; i < snap->nsources; i++)
		if (snap->sources[i].source == source)
			return &snap->sources[i];
	return NULL;
}

/* Reports go on while a sync runs: what it collected may be old by its end. */
static void migtrack_session_latest(struct migtrack_session *session,
				    struct migtrack_snapshot *snap)
{
	unsigned int i;

	lockdep_assert_held(&session->lock);

	for (i = 0; i < snap->nsources; i++) {
		struct migtrack_source_snapshot *dst = &snap->sources[i];
		struct migtrack_source *source = session->sources[dst->id];

		if (source->ops->latest)
			source->ops->latest(source, &dst->stats);
	}
}

/*
 * A source that failed, or whose memory is gone, kept its numbers: what was moved since
 * they were made has still been moved.
 */
static void migtrack_session_keep_moved(const struct migtrack_snapshot *old,
					struct migtrack_snapshot *snap)
{
	const struct migtrack_source_snapshot *was;
	unsigned int i;

	for (i = 0; i < snap->nsources; i++) {
		struct migtrack_source_snapshot *dst = &snap->sources[i];

		was = migtrack_snapshot_find(old, dst->source);
		if (was && dst->type == MIGTRACK_SOURCE_TYPE_RAM &&
		    dst->stats.time == was->stats.time)
			dst->moved = was->moved;
	}
}

/*
 * No sync, but something else has changed: the sources, and of these the stats
 * of @changed, which are stable, or what the controller says, if not NULL.
 */
static int migtrack_session_republish(struct migtrack_session *session,
				      const struct migtrack_source *changed,
				      const struct migtrack_published *published)
{
	struct migtrack_snapshot *old = migtrack_session_snap(session), *snap;
	const struct migtrack_source_snapshot *was;
	const struct migtrack_source_stats *stats;
	unsigned int i, n = 0;

	lockdep_assert_held(&session->lock);

	snap = migtrack_snapshot_new(migtrack_session_count(session));
	if (!snap)
		return -ENOMEM;

	snap->iteration = old->iteration;
	snap->syncs = old->syncs;
	snap->time = old->time;
	snap->duration = old->duration;
	snap->kind = old->kind;
	snap->error = old->error;
	snap->published = published ? *published : old->published;
	for (i = 0; i < ARRAY_SIZE(session->sources); i++) {
		const struct migtrack_source *source = session->sources[i];

		if (!source)
			continue;
		was = migtrack_snapshot_find(old, source);
		stats = source == changed || !was ? &source->stats : &was->stats;
		/* What was moved before these were taken is not to be taken off twice. */
		migtrack_snapshot_set(&snap->sources[n++], source, stats,
				      was && stats->time == was->stats.time ?
				      was->moved : migtrack_session_moved(session, i));
	}
	migtrack_session_latest(session, snap);
	migtrack_session_publish(session, snap);
	return 0;
}

/* ---- syncs ---- */

static int migtrack_session_alive(const struct migtrack_session *session,
				  struct netlink_ext_ack *extack)
{
	lockdep_assert_held(&session->lock);

	if (session->net)
		return 0;
	NL_SET_ERR_MSG(extack, "the session has ended");
	return -ENODEV;
}

static int migtrack_session_may_change(struct migtrack_session *session,
				       struct netlink_ext_ack *extack)
{
	int err = migtrack_session_alive(session, extack);

	if (err)
		return err;
	if (session->syncing) {
		NL_SET_ERR_MSG(extack, "a sync of this session runs already; wait for its end");
		return -EBUSY;
	}
	return 0;
}

/* After a sync of all sources: collect what they say. */
static void migtrack_session_fill(struct migtrack_session *session,
				  struct migtrack_snapshot *snap)
{
	unsigned int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(session->sources); i++) {
		struct migtrack_source *source = session->sources[i];

		if (!source)
			continue;
		mutex_lock(&source->lock);
		migtrack_snapshot_set(&snap->sources[n++], source, &source->stats,
				      migtrack_session_moved(session, i));
		mutex_unlock(&source->lock);
	}
}

static void migtrack_session_finish(struct migtrack_session *session,
				    struct migtrack_snapshot *snap, int err)
{
	struct migtrack_snapshot *old;
	u64 now = ktime_get_ns();

	mutex_lock(&session->lock);
	old = migtrack_session_snap(session);
	snap->iteration = old->iteration;
	snap->syncs = old->syncs + 1;
	snap->time = now;
	snap->duration = now - session->sync_started;
	snap->kind = session->sync_kind;
	snap->error = -err;
	snap->published = old->published;
	if (!err && session->sync_kind == MIGTRACK_SYNC_KIND_SETUP)
		snap->iteration = 1;
	else if (!err && session->sync_kind == MIGTRACK_SYNC_KIND_ITERATION)
		snap->iteration++;

	migtrack_session_keep_moved(old, snap);
	migtrack_session_latest(session, snap);
	trace_migtrack_sync_end(session, snap);
	migtrack_session_publish(session, snap);
	session->syncing = false;
	if (!err && session->sync_kind == MIGTRACK_SYNC_KIND_ITERATION && session->net)
		migtrack_netlink_notify_session(session, MIGTRACK_CMD_SESSION_ITERATION_NTF);
	mutex_unlock(&session->lock);

	atomic64_inc(&session->unread);
	wake_up_interruptible_poll(&session->wait, EPOLLIN | EPOLLRDNORM);
}

static void migtrack_session_sync_work(struct work_struct *work)
{
	struct migtrack_session *session =
		container_of(work, struct migtrack_session, sync_work);
	unsigned int i;
	int err = 0, ret;

	trace_migtrack_sync_start(session);

	/* What devices wrote is counted by the sources whose memory it is. */
	for (i = 0; i < ARRAY_SIZE(session->sources); i++)
		if (session->sources[i])
			migtrack_source_harvest(session->sources[i], &session->cancel);
	/* A source that fails keeps its numbers, and the others go on. */
	for (i = 0; i < ARRAY_SIZE(session->sources); i++) {
		if (!session->sources[i])
			continue;
		ret = migtrack_source_sync(session->sources[i], session->sync_kind,
					   &session->cancel);
		if (ret && !err)
			err = ret;
	}
	migtrack_session_fill(session, session->sync_snap);
	migtrack_session_finish(session, session->sync_snap, err);
	migtrack_session_put(session);
}

/**
 * migtrack_session_sync - start a sync of all sources
 * @session: the session
 * @kind: what for
 * @extack: says why not
 *
 * Return: 0 when it is started; -EBUSY, -EINVAL or -ENODEV.
 */
int migtrack_session_sync(struct migtrack_session *session,
			  enum migtrack_sync_kind kind,
			  struct netlink_ext_ack *extack)
{
	unsigned int i;
	int err;

	mutex_lock(&session->lock);
	err = migtrack_session_may_change(session, extack);
	if (err)
		goto out;

	if (kind == MIGTRACK_SYNC_KIND_ITERATION &&
	    !migtrack_session_snap(session)->iteration) {
		NL_SET_ERR_MSG(extack, "an iteration needs a setup sync before it");
		err = -EINVAL;
		goto out;
	}

	session->sync_snap = migtrack_snapshot_new(migtrack_session_count(session));
	if (!session->sync_snap) {
		err = -ENOMEM;
		goto out;
	}
	session->syncing = true;
	session->sync_kind = kind;
	session->sync_started = ktime_get_ns();
	for (i = 0; i < ARRAY_SIZE(session->sources); i++)
		if (session->sources[i] && session->sources[i]->ops->begin)
			session->sources[i]->ops->begin(session->sources[i], kind);
	refcount_inc(&session->refs);
	queue_work(migtrack_wq, &session->sync_work);
out:
	mutex_unlock(&session->lock);
	return err;
}

/* ---- sources ---- */

static void migtrack_session_tell(struct migtrack_session *session,
				  const struct migtrack_source *source, u32 flags)
{
	migtrack_netlink_notify_source(session,
				       migtrack_snapshot_find(migtrack_session_snap(session),
							      source), flags);
}

/**
 * migtrack_session_add - add a source
 * @session: the session
 * @source: the source; the session takes the caller's reference if it succeeds
 * @extack: says why not
 * @id: out: its slot
 *
 * Return: 0, or -ENODEV, -EBUSY, -ENOSPC or -ENOMEM.
 */
int migtrack_session_add(struct migtrack_session *session,
			 struct migtrack_source *source,
			 struct netlink_ext_ack *extack, u32 *id)
{
	unsigned int max = min(READ_ONCE(migtrack_max_sources),
			       ARRAY_SIZE(session->sources));
	unsigned int slot;
	int err;

	mutex_lock(&session->lock);
	err = migtrack_session_may_change(session, extack);
	if (err)
		goto out;

	for (slot = 0; slot < max && session->sources[slot]; slot++)
		;
	if (slot == max) {
		NL_SET_ERR_MSG(extack, "too many sources; see the module parameter max_sources");
		err = -ENOSPC;
		goto out;
	}

	source->id = slot;
	session->sources[slot] = source;
	err = migtrack_session_republish(session, source, NULL);
	if (err) {
		session->sources[slot] = NULL;
		goto out;
	}
	refcount_inc(&session->refs);
	source->session = session;
	if (source->ops->attach)
		source->ops->attach(source);
	trace_migtrack_source_add(session, source);
	migtrack_session_tell(session, source, 0);
	*id = slot;
out:
	mutex_unlock(&session->lock);
	return err;
}

/**
 * migtrack_session_source - a source of a session
 * @session: the session, locked
 * @id: of the source
 * @extack: says why not
 *
 * Return: the source, or an ERR_PTR: -ENODEV or -ENOENT.
 */
struct migtrack_source *migtrack_session_source(struct migtrack_session *session,
						u32 id, struct netlink_ext_ack *extack)
{
	int err = migtrack_session_alive(session, extack);

	if (err)
		return ERR_PTR(err);
	if (id < ARRAY_SIZE(session->sources) && session->sources[id])
		return session->sources[id];
	NL_SET_ERR_MSG(extack, "no such source in this session");
	return ERR_PTR(-ENOENT);
}

/**
 * migtrack_session_changed - publish and tell what a source says without a sync
 * @session: the session, locked; has not ended
 * @source: one of its sources
 *
 * Return: 0 or -ENOMEM.
 */
int migtrack_session_changed(struct migtrack_session *session,
			     const struct migtrack_source *source)
{
	int err = migtrack_session_republish(session, NULL, NULL);

	if (!err)
		migtrack_session_tell(session, source, 0);
	return err;
}

/**
 * migtrack_session_del - take a source out
 * @session: the session
 * @id: of the source
 * @extack: says why not
 *
 * Tracking is stopped by a work item, as that may wait for another's sync.
 *
 * Return: 0; -ENODEV, -EBUSY, -ENOENT or -ENOMEM.
 */
int migtrack_session_del(struct migtrack_session *session, u32 id,
			 struct netlink_ext_ack *extack)
{
	struct migtrack_source_snapshot was;
	struct migtrack_source *source;
	int err;

	mutex_lock(&session->lock);
	err = migtrack_session_may_change(session, extack);
	if (err)
		goto out;

	source = migtrack_session_source(session, id, extack);
	if (IS_ERR(source)) {
		err = PTR_ERR(source);
		goto out;
	}

	was = *migtrack_snapshot_find(migtrack_session_snap(session), source);
	session->sources[id] = NULL;
	err = migtrack_session_republish(session, NULL, NULL);
	if (err) {
		session->sources[id] = source;
		goto out;
	}
	migtrack_netlink_notify_source(session, &was, MIGTRACK_COUNTER_FLAGS_GONE);
	migtrack_source_retire(source);
	migtrack_source_put(source);
out:
	mutex_unlock(&session->lock);
	return err;
}

/**
 * migtrack_session_source_gone - tell that what a source tracked is gone
 * @session: the session
 * @source: the source; stopped. May have left the session
 */
void migtrack_session_source_gone(struct migtrack_session *session,
				  const struct migtrack_source *source)
{
	mutex_lock(&session->lock);
	if (session->net && session->sources[source->id] == source) {
		/* Without memory the next sync publishes it. */
		migtrack_session_republish(session, source, NULL);
		migtrack_session_tell(session, source, MIGTRACK_COUNTER_FLAGS_GONE);
	}
	mutex_unlock(&session->lock);
}

/* ---- what the controller publishes ---- */

/**
 * migtrack_session_published - what the controller has published
 * @session: the session, locked
 * @published: out
 */
void migtrack_session_published(struct migtrack_session *session,
				struct migtrack_published *published)
{
	*published = migtrack_session_snap(session)->published;
}

/**
 * migtrack_session_set - publish what the controller says
 * @session: the session, locked
 * @published: all of it
 * @extack: says why not
 *
 * Return: 0; -EINVAL if it does not go together or can't follow what was
 * published before, -ENODEV or -ENOMEM.
 */
int migtrack_session_set(struct migtrack_session *session,
			 const struct migtrack_published *published,
			 struct netlink_ext_ack *extack)
{
	int err;

	err = migtrack_session_alive(session, extack);
	if (err)
		return err;
	err = migtrack_published_check(&migtrack_session_snap(session)->published,
				       published, extack);
	if (err)
		return err;
	err = migtrack_session_republish(session, NULL, published);
	if (!err)
		migtrack_netlink_notify_session(session, MIGTRACK_CMD_SESSION_CHANGE_NTF);
	return err;
}

/* ---- life ---- */

static void migtrack_session_free(struct work_struct *work)
{
	struct migtrack_session *session =
		container_of(to_rcu_work(work), struct migtrack_session, free_work);

	migtrack_snapshot_free(rcu_dereference_protected(session->snap, true));
	migtrack_map_put(session->header);
	kfree(session);
}

/**
 * migtrack_session_put - drop a reference
 * @session: the session
 */
void migtrack_session_put(struct migtrack_session *session)
{
	if (refcount_dec_and_test(&session->refs))
		queue_rcu_work(migtrack_wq, &session->free_work);
}

static void migtrack_session_end_work(struct work_struct *work)
{
	struct migtrack_session *session =
		container_of(work, struct migtrack_session, end_work);
	unsigned int i;

	flush_work(&session->sync_work);
	for (i = 0; i < ARRAY_SIZE(session->sources); i++) {
		struct migtrack_source *source = session->sources[i];

		if (!source)
			continue;
		migtrack_source_stop(source);
		if (source->map)
			memset(source->map->addr, 0, source->map->size);

		mutex_lock(&session->lock);
		session->sources[i] = NULL;
		mutex_unlock(&session->lock);
		migtrack_source_put(source);
	}
	migtrack_session_put(session);
}

/**
 * migtrack_session_end - end a session
 * @session: the session; the caller has a reference
 *
 * A sync that runs is cancelled. Does nothing if it has ended already. Does not
 * wait: the sources are stopped by a work item.
 */
void migtrack_session_end(struct migtrack_session *session)
{
	struct migtrack_net *mnet;

	mutex_lock(&session->lock);
	if (!session->net) {
		mutex_unlock(&session->lock);
		return;
	}
	mnet = migtrack_net(session->net);
	WRITE_ONCE(session->cancel, true);
	/* Whoever begins to listen too late for the event does not find it either. */
	smp_mb();
	if (session->announced)
		migtrack_netlink_notify_session(session, MIGTRACK_CMD_SESSION_DEL_NTF);
	trace_migtrack_session_del(session);
	atomic_dec(&mnet->count);
	/*
	 * Last: a namespace that ends waits for the sessions it can find. A dump
	 * sees both or none.
	 */
	xa_lock(&mnet->sessions);
	__xa_erase(&mnet->sessions, session->id);
	atomic_inc(&mnet->generation);
	xa_unlock(&mnet->sessions);
	WRITE_ONCE(session->net, NULL);
	mutex_unlock(&session->lock);

	wake_up_poll(&session->wait, EPOLLHUP | EPOLLIN | EPOLLRDNORM);
	refcount_inc(&session->refs);
	queue_work(migtrack_wq, &session->end_work);
}

/**
 * migtrack_session_announce - tell listeners that there is a new session
 * @session: the session
 */
void migtrack_session_announce(struct migtrack_session *session)
{
	mutex_lock(&session->lock);
	if (session->net) {
		migtrack_netlink_notify_session(session, MIGTRACK_CMD_SESSION_NEW_NTF);
		session->announced = true;
	}
	mutex_unlock(&session->lock);
}

/**
 * migtrack_session_ended - has a session ended?
 * @session: the session
 *
 * Return: true if so; that does not change again.
 */
bool migtrack_session_ended(const struct migtrack_session *session)
{
	return !READ_ONCE(session->net);
}

/**
 * migtrack_session_find - a session of a network namespace
 * @mnet: of the namespace
 * @id: the session's number
 *
 * Called under RCU. One whose end was told is not found.
 *
 * Return: the session or NULL.
 */
struct migtrack_session *migtrack_session_find(struct migtrack_net *mnet, u64 id)
{
	struct migtrack_session *session = xa_load(&mnet->sessions, id);

	return session && !READ_ONCE(session->cancel) ? session : NULL;
}

/**
 * migtrack_session_next - iterate over the sessions of a network namespace
 * @mnet: of the namespace
 * @id: in: the first id to look at; out: that of the session
 *
 * Return: a session with a reference, or NULL.
 */
struct migtrack_session *migtrack_session_next(struct migtrack_net *mnet,
					       unsigned long *id)
{
	struct migtrack_session *session;

	rcu_read_lock();
	do {
		session = xa_find(&mnet->sessions, id, ULONG_MAX, XA_PRESENT);
	} while (session && !refcount_inc_not_zero(&session->refs));
	rcu_read_unlock();
	return session;
}

/* ---- making one ---- */

static struct migtrack_session *migtrack_session_alloc(struct net *net)
{
	struct migtrack_session *session;
	struct migtrack_snapshot *snap;

	session = kzalloc(sizeof(*session), GFP_KERNEL_ACCOUNT);
	if (!session)
		return NULL;
	session->header = migtrack_map_alloc(sizeof(struct migtrack_map_header));
	if (!session->header)
		goto err_free;
	snap = migtrack_snapshot_new(0);
	if (!snap)
		goto err_put_header;
	snap->published.expected_downtime = U64_MAX;
	snap->generation = 1;

	refcount_set(&session->refs, 1);
	session->id = atomic64_inc_return(&migtrack_last_id);
	session->net = net;
	mutex_init(&session->lock);
	init_waitqueue_head(&session->wait);
	INIT_WORK(&session->sync_work, migtrack_session_sync_work);
	INIT_WORK(&session->end_work, migtrack_session_end_work);
	INIT_RCU_WORK(&session->free_work, migtrack_session_free);
	RCU_INIT_POINTER(session->snap, snap);
	migtrack_session_write_header(session, snap);
	return session;

err_put_header:
	migtrack_map_put(session->header);
err_free:
	kfree(session);
	return NULL;
}

/**
 * migtrack_session_new - make a session
 * @net: in this network namespace
 * @extack: says why not
 *
 * Nobody is told yet; fput() undoes it.
 *
 * Return: its file, or an ERR_PTR: -ENOSPC, -ENOMEM, -ENFILE.
 */
struct file *migtrack_session_new(struct net *net, struct netlink_ext_ack *extack)
{
	struct migtrack_net *mnet = migtrack_net(net);
	struct migtrack_session *session;
	struct file *file;
	int err;

	if (atomic_inc_return(&mnet->count) > READ_ONCE(migtrack_max_sessions)) {
		NL_SET_ERR_MSG(extack, "too many sessions; see the module parameter max_sessions");
		err = -ENOSPC;
		goto err_count;
	}

	err = -ENOMEM;
	session = migtrack_session_alloc(net);
	if (!session)
		goto err_count;

	err = xa_insert(&mnet->sessions, session->id, session, GFP_KERNEL_ACCOUNT);
	if (err)
		goto err_put;
	atomic_inc(&mnet->generation);

	file = anon_inode_getfile("[migtrack-session]", &migtrack_session_fops,
				  session, O_RDWR | O_CLOEXEC);
	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		goto err_erase;
	}
	trace_migtrack_session_new(session);
	return file;

err_erase:
	xa_erase(&mnet->sessions, session->id);
	atomic_inc(&mnet->generation);
err_put:
	migtrack_session_put(session);
err_count:
	atomic_dec(&mnet->count);
	return ERR_PTR(err);
}
