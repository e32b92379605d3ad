/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_SESSION_H
#define _MIGTRACK_SESSION_H

#include <linux/fs.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <linux/migtrack.h>
#include <linux/migtrack_map.h>

#include "netns.h"
#include "snapshot.h"

struct migtrack_map;
struct netlink_ext_ack;

/**
 * struct migtrack_session - what an owner tracks
 *
 * Referenced by its file, by each of its sources, and by its work items while
 * they are queued. It ends with its file (release), by session-del or with its
 * network namespace, whatever comes first: it is then no longer found, its
 * sources are stopped by @end_work, and the memory goes with the last reference
 * and an RCU grace period.
 *
 * @refs: references
 * @id: never reused
 * @header: the page that the owner maps
 * @snap: what readers see; swapped under @lock, read under RCU
 * @wait: poll and read of the file
 * @unread: syncs that ended and were not read yet
 * @cancel: it ends: the sync that runs has to, and nobody finds it any more; set
 *	under @lock
 * @sync_work: the sync, as a work item, so that no doit waits for it
 * @sync_kind: what for; written before @sync_work is queued
 * @sync_started: when it was asked for, CLOCK_MONOTONIC in ns; likewise
 * @sync_snap: what it will publish; likewise
 * @end_work: stops the sources of a session that has ended
 * @free_work: frees it
 * @lock: short; guards what follows. Taken inside the mmap_lock of an owner
 * @net: its network namespace, NULL once it has ended
 * @announced: listeners know of it
 * @syncing: @sync_work is queued or runs; @sources does not change then
 * @sources: by slot; emptied by @end_work
 */
struct migtrack_session {
	refcount_t refs;
	u64 id;
	struct migtrack_map *header;
	struct migtrack_snapshot __rcu *snap;
	wait_queue_head_t wait;
	atomic64_t unread;
	bool cancel;
	struct work_struct sync_work;
	enum migtrack_sync_kind sync_kind;
	u64 sync_started;
	struct migtrack_snapshot *sync_snap;
	struct work_struct end_work;
	struct rcu_work free_work;

	struct mutex lock;		/* short; never across a sync */
	struct net *net;
	bool announced;
	bool syncing;
	struct migtrack_source *sources[MIGTRACK_MAP_SOURCES];
};

extern const struct file_operations migtrack_session_fops;

void migtrack_session_announce(struct migtrack_session *session);
struct file *migtrack_session_new(struct net *net, struct netlink_ext_ack *extack);
void migtrack_session_end(struct migtrack_session *session);
void migtrack_session_put(struct migtrack_session *session);
bool migtrack_session_ended(const struct migtrack_session *session);
struct migtrack_session *migtrack_session_from_file(struct file *file);
struct migtrack_session *migtrack_session_find(struct migtrack_net *mnet, u64 id);
struct migtrack_session *migtrack_session_next(struct migtrack_net *mnet,
					       unsigned long *id);

int migtrack_session_add(struct migtrack_session *session,
			 struct migtrack_source *source,
			 struct netlink_ext_ack *extack, u32 *id);
int migtrack_session_del(struct migtrack_session *session, u32 id,
			 struct netlink_ext_ack *extack);
struct migtrack_source *migtrack_session_source(struct migtrack_session *session,
						u32 id, struct netlink_ext_ack *extack);
int migtrack_session_changed(struct migtrack_session *session,
			     const struct migtrack_source *source);
void migtrack_session_source_gone(struct migtrack_session *session,
				  const struct migtrack_source *source);
int migtrack_session_sync(struct migtrack_session *session,
			  enum migtrack_sync_kind kind,
			  struct netlink_ext_ack *extack);
int migtrack_session_set(struct migtrack_session *session,
			 const struct migtrack_published *published,
			 struct netlink_ext_ack *extack);
void migtrack_session_published(struct migtrack_session *session,
				struct migtrack_published *published);
u64 migtrack_session_moved(const struct migtrack_session *session, u32 id);

#endif /* _MIGTRACK_SESSION_H */
