// SPDX-License-Identifier: GPL-2.0-only
/* Sources: what all types have in common. */

#include <linux/module.h>
#include <linux/slab.h>

#include "main.h"
#include "map.h"
#include "session.h"
#include "source.h"
#include "trace.h"

static void migtrack_source_retire_work(struct work_struct *work)
{
	struct migtrack_source *source =
		container_of(work, struct migtrack_source, retire_work);

	migtrack_source_stop(source);
	migtrack_session_source_gone(source->session, source);
	migtrack_source_put(source);
}

/**
 * migtrack_source_init - initialise what all sources have
 * @source: zeroed
 * @ops: of its type
 * @type: for userspace
 */
void migtrack_source_init(struct migtrack_source *source,
			  const struct migtrack_source_ops *ops,
			  enum migtrack_source_type type)
{
	refcount_set(&source->refs, 1);
	source->ops = ops;
	source->type = type;
	mutex_init(&source->lock);
	INIT_WORK(&source->retire_work, migtrack_source_retire_work);
}
EXPORT_SYMBOL_GPL(migtrack_source_init);

/**
 * migtrack_source_put - drop a reference
 * @source: the source; stopped before the last one is dropped, if it was synced
 */
void migtrack_source_put(struct migtrack_source *source)
{
	struct migtrack_session *session = source->session;
	struct module *owner = source->ops->owner;

	if (!refcount_dec_and_test(&source->refs))
		return;

	if (session)
		trace_migtrack_source_free(source);
	migtrack_map_put(source->map);
	put_pid(source->pid);
	source->ops->free(source);
	if (session)
		migtrack_session_put(session);
	module_put(owner);
}
EXPORT_SYMBOL_GPL(migtrack_source_put);

/**
 * migtrack_source_harvest - set what a source knows of other sources' pages
 * @source: the source
 * @cancel: set by another task to give up early
 */
void migtrack_source_harvest(struct migtrack_source *source, const bool *cancel)
{
	if (!source->ops->harvest)
		return;
	mutex_lock(&source->lock);
	source->ops->harvest(source, cancel);
	mutex_unlock(&source->lock);
}

/**
 * migtrack_source_sync - ask a source
 * @source: the source
 * @kind: what for
 * @cancel: set by another task to give up early
 *
 * Return: 0, or a negative errno; the stats are then those of the sync before.
 */
int migtrack_source_sync(struct migtrack_source *source,
			 enum migtrack_sync_kind kind, const bool *cancel)
{
	int err;

	mutex_lock(&source->lock);
	err = source->ops->sync(source, kind, cancel);
	mutex_unlock(&source->lock);
	return err;
}

/**
 * migtrack_source_stop - let a source go of what it tracks
 * @source: the source
 *
 * Waits for a sync of it that runs.
 */
void migtrack_source_stop(struct migtrack_source *source)
{
	mutex_lock(&source->lock);
	source->ops->stop(source);
	mutex_unlock(&source->lock);
}

/**
 * migtrack_source_retire - stop a source in the background
 * @source: the source
 *
 * For where one may not wait: what it tracked is gone, or it was taken out. If
 * it is still in its session, listeners are told.
 */
void migtrack_source_retire(struct migtrack_source *source)
{
	refcount_inc(&source->refs);
	if (!queue_work(migtrack_wq, &source->retire_work))
		refcount_dec(&source->refs);
}

/**
 * migtrack_source_gone - what a source tracked is gone
 * @source: the source, in a session
 *
 * It is stopped in the background, and listeners are told. Does not sleep.
 */
void migtrack_source_gone(struct migtrack_source *source)
{
	trace_migtrack_source_gone(source);
	migtrack_source_retire(source);
}
EXPORT_SYMBOL_GPL(migtrack_source_gone);

/**
 * migtrack_source_changed - publish and tell what a source says without a sync
 * @source: the source, which was in a session; does nothing if it has left it
 */
void migtrack_source_changed(struct migtrack_source *source)
{
	struct migtrack_session *session = source->session;

	mutex_lock(&session->lock);
	/* Without memory the next sync publishes it. */
	if (session->net && session->sources[source->id] == source)
		migtrack_session_changed(session, source);
	mutex_unlock(&session->lock);
}
EXPORT_SYMBOL_GPL(migtrack_source_changed);

/**
 * migtrack_source_session_id - number of the session of a source
 * @source: the source, in a session
 *
 * Return: the number.
 */
u64 migtrack_source_session_id(const struct migtrack_source *source)
{
	return source->session->id;
}
EXPORT_SYMBOL_GPL(migtrack_source_session_id);
