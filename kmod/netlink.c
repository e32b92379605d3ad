// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hand-written half of the netlink family; policies and ops are generated
 * from Documentation/netlink/specs/migtrack.yaml. Nothing here walks page
 * tables, asks a device or waits for a sync: generic netlink holds a lock
 * across a doit.
 */

#include <linux/file.h>
#include <linux/pid_namespace.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "compat.h"
#include "dma.h"
#include "map.h"
#include "message.h"
#include "netlink.h"
#include "netlink-gen.h"
#include "provider.h"
#include "ram.h"
#include "reported.h"
#include "session.h"
#include "trace.h"

/* ---- the session that a command names by its descriptor ---- */

static int migtrack_nl_get_file(struct genl_info *info, int attr)
{
	struct file *file;

	if (GENL_REQ_ATTR_CHECK(info, attr))
		return -EINVAL;

	file = fget(nla_get_s32(info->attrs[attr]));
	if (!file) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[attr],
				    "not an open descriptor");
		return -EBADF;
	}
	if (!migtrack_session_from_file(file)) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[attr],
				    "not the descriptor of a migtrack session");
		fput(file);
		return -EINVAL;
	}
	info->user_ptr[0] = file;
	return 0;
}

/* Generic netlink then calls neither doit nor post_doit. */
static int migtrack_nl_get_file_traced(struct genl_info *info, int attr)
{
	int err = migtrack_nl_get_file(info, attr);

	if (err)
		trace_migtrack_nl_pre_doit(info->genlhdr->cmd, err, info->extack);
	return err;
}

int migtrack_nl_session_pre_doit(const struct genl_split_ops *ops,
				 struct sk_buff *skb, struct genl_info *info)
{
	return migtrack_nl_get_file_traced(info, MIGTRACK_A_SESSION_FD);
}

int migtrack_nl_source_pre_doit(const struct genl_split_ops *ops,
				struct sk_buff *skb, struct genl_info *info)
{
	return migtrack_nl_get_file_traced(info, MIGTRACK_A_SOURCE_SESSION_FD);
}

void migtrack_nl_session_post_doit(const struct genl_split_ops *ops,
				   struct sk_buff *skb, struct genl_info *info)
{
	fput(info->user_ptr[0]);
}

static struct migtrack_session *migtrack_nl_session(struct genl_info *info)
{
	return migtrack_session_from_file(info->user_ptr[0]);
}

/* ---- commands ---- */

static struct sk_buff *migtrack_nl_reply_new(struct genl_info *info, void **hdr)
{
	struct sk_buff *msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);

	if (!msg)
		return NULL;
	*hdr = genlmsg_iput(msg, info);
	if (!*hdr) {
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

static int migtrack_nl_session_new(struct sk_buff *skb, struct genl_info *info)
{
	struct migtrack_session *session;
	struct sk_buff *msg;
	struct file *file;
	void *hdr;
	int fd, err;

	err = migtrack_refuse_attrs(info->nlhdr, info->extack);
	if (err)
		return err;

	file = migtrack_session_new(genl_info_net(info), info->extack);
	if (IS_ERR(file))
		return PTR_ERR(file);
	session = migtrack_session_from_file(file);

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		NL_SET_ERR_MSG(info->extack, "no descriptor left for the session");
		err = fd;
		goto err_fput;
	}

	err = -ENOMEM;
	msg = migtrack_nl_reply_new(info, &hdr);
	if (!msg)
		goto err_put_fd;
	if (nla_put_uint(msg, MIGTRACK_A_SESSION_ID, session->id) ||
	    nla_put_s32(msg, MIGTRACK_A_SESSION_FD, fd)) {
		nlmsg_free(msg);
		goto err_put_fd;
	}
	genlmsg_end(msg, hdr);

	migtrack_session_announce(session);
	err = genlmsg_reply(msg, info);
	if (err)
		goto err_put_fd;
	fd_install(fd, file);
	return 0;

err_put_fd:
	put_unused_fd(fd);
err_fput:
	fput(file);
	return err;
}

static int migtrack_nl_session_del(struct sk_buff *skb, struct genl_info *info)
{
	struct migtrack_session *session = migtrack_nl_session(info);

	if (migtrack_session_ended(session)) {
		NL_SET_ERR_MSG(info->extack, "the session has ended");
		return -ENODEV;
	}
	migtrack_session_end(session);
	return 0;
}

static int migtrack_nl_session_get(struct sk_buff *skb, struct genl_info *info)
{
	struct migtrack_net *mnet = migtrack_net(genl_info_net(info));
	struct migtrack_session *session;
	struct sk_buff *msg;
	void *hdr;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SESSION_ID))
		return -EINVAL;

	msg = migtrack_nl_reply_new(info, &hdr);
	if (!msg)
		return -ENOMEM;

	rcu_read_lock();
	session = migtrack_session_find(mnet, nla_get_uint(info->attrs[MIGTRACK_A_SESSION_ID]));
	if (session) {
		err = migtrack_fill_session(msg, session, rcu_dereference(session->snap));
	} else {
		NL_SET_ERR_MSG(info->extack, "no such session in this network namespace");
		err = -ENOENT;
	}
	rcu_read_unlock();
	if (err) {
		nlmsg_free(msg);
		return err;
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}

static int migtrack_nl_session_get_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct migtrack_net *mnet = migtrack_net(sock_net(skb->sk));
	struct migtrack_session *session;
	unsigned long id;
	void *hdr;
	int err;

	err = migtrack_refuse_attrs(cb->nlh, cb->extack);
	if (err)
		return err;

	cb->seq = atomic_read(&mnet->generation);

	rcu_read_lock();
	xa_for_each_start(&mnet->sessions, id, session, cb->args[0]) {
		if (READ_ONCE(session->cancel))
			continue;
		err = -EMSGSIZE;
		hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
				  &migtrack_nl_family, NLM_F_MULTI,
				  MIGTRACK_CMD_SESSION_GET);
		if (!hdr)
			break;
		genl_dump_check_consistent(cb, hdr);
		if (migtrack_fill_session(skb, session, rcu_dereference(session->snap))) {
			genlmsg_cancel(skb, hdr);
			break;
		}
		genlmsg_end(skb, hdr);
		cb->args[0] = id + 1;
		err = 0;
	}
	rcu_read_unlock();
	return err && !skb->len ? err : skb->len;
}

/* What only one type of source has. */
static const int migtrack_nl_of_ram[] = {
	MIGTRACK_A_SOURCE_PID, MIGTRACK_A_SOURCE_MEM_FD,
	MIGTRACK_A_SOURCE_OFFSET, MIGTRACK_A_SOURCE_LENGTH,
};

static const int migtrack_nl_of_device[] = {
	MIGTRACK_A_SOURCE_DEVICE_FD, MIGTRACK_A_SOURCE_DATA_FD,
	MIGTRACK_A_SOURCE_NAME,
};

/* The first of some attributes that a request has, or NULL. */
static struct nlattr *migtrack_nl_first(const struct genl_info *info, const int *attrs,
					unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (info->attrs[attrs[i]])
			return info->attrs[attrs[i]];
	return NULL;
}

static int migtrack_nl_source_add_ram(struct sk_buff *skb, struct genl_info *info,
				      struct migtrack_source **source)
{
	struct nlattr **attrs = info->attrs;
	struct migtrack_ram_args args = {};
	struct nlattr *of_device;

	of_device = migtrack_nl_first(info, migtrack_nl_of_device,
				      ARRAY_SIZE(migtrack_nl_of_device));
	if (of_device) {
		NL_SET_ERR_MSG_ATTR(info->extack, of_device,
				    "only a VFIO device has a device-fd, a data-fd and a name");
		return -EINVAL;
	}
	if (attrs[MIGTRACK_A_SOURCE_MAX_AGE]) {
		NL_SET_ERR_MSG_ATTR(info->extack, attrs[MIGTRACK_A_SOURCE_MAX_AGE],
				    "only a reported source has a max-age");
		return -EINVAL;
	}
	if (GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_PID) ||
	    GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_MEM_FD))
		return -EINVAL;

	args.pid = nla_get_s32(attrs[MIGTRACK_A_SOURCE_PID]);
	args.fd = nla_get_s32(attrs[MIGTRACK_A_SOURCE_MEM_FD]);
	if (attrs[MIGTRACK_A_SOURCE_OFFSET])
		args.offset = nla_get_uint(attrs[MIGTRACK_A_SOURCE_OFFSET]);
	if (attrs[MIGTRACK_A_SOURCE_LENGTH]) {
		args.length = nla_get_uint(attrs[MIGTRACK_A_SOURCE_LENGTH]);
		if (!args.length) {
			NL_SET_ERR_MSG_ATTR(info->extack, attrs[MIGTRACK_A_SOURCE_LENGTH],
					    "length is 0; leave it out for up to the end");
			return -EINVAL;
		}
	}

	*source = migtrack_ram_new(&args, skb, info->extack);
	return PTR_ERR_OR_ZERO(*source);
}

static int migtrack_nl_source_add_reported(struct genl_info *info,
					   struct migtrack_source **source)
{
	struct nlattr **attrs = info->attrs, *wrong;
	u64 max_age = MIGTRACK_DEFAULT_MAX_AGE;

	wrong = migtrack_nl_first(info, migtrack_nl_of_ram, ARRAY_SIZE(migtrack_nl_of_ram));
	if (!wrong)
		wrong = migtrack_nl_first(info, migtrack_nl_of_device,
					  ARRAY_SIZE(migtrack_nl_of_device));
	if (wrong) {
		NL_SET_ERR_MSG_ATTR(info->extack, wrong,
				    "a reported source has no process and no memory, and is no device");
		return -EINVAL;
	}
	if (attrs[MIGTRACK_A_SOURCE_MAX_AGE])
		max_age = nla_get_uint(attrs[MIGTRACK_A_SOURCE_MAX_AGE]);

	*source = migtrack_reported_new(max_age);
	return PTR_ERR_OR_ZERO(*source);
}

static int migtrack_nl_source_add_vfio(struct genl_info *info,
				       struct migtrack_source **source)
{
	struct nlattr *wrong;

	wrong = migtrack_nl_first(info, migtrack_nl_of_ram, ARRAY_SIZE(migtrack_nl_of_ram));
	if (!wrong)
		wrong = info->attrs[MIGTRACK_A_SOURCE_MAX_AGE];
	if (wrong) {
		NL_SET_ERR_MSG_ATTR(info->extack, wrong,
				    "a VFIO device has no pid, no memory and no max-age");
		return -EINVAL;
	}

	*source = migtrack_provider_new(MIGTRACK_SOURCE_TYPE_VFIO, info);
	return PTR_ERR_OR_ZERO(*source);
}

static int migtrack_nl_source_add(struct sk_buff *skb, struct genl_info *info)
{
	struct migtrack_session *session = migtrack_nl_session(info);
	struct migtrack_source *source;
	u64 length, map_length = 0;
	struct sk_buff *msg;
	u32 type, id;
	void *hdr;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_TYPE))
		return -EINVAL;

	/* The policy lets no other type through. */
	type = nla_get_u32(info->attrs[MIGTRACK_A_SOURCE_TYPE]);
	if (type == MIGTRACK_SOURCE_TYPE_RAM)
		err = migtrack_nl_source_add_ram(skb, info, &source);
	else if (type == MIGTRACK_SOURCE_TYPE_REPORTED)
		err = migtrack_nl_source_add_reported(info, &source);
	else
		err = migtrack_nl_source_add_vfio(info, &source);
	if (err)
		return err;

	err = -ENOMEM;
	msg = migtrack_nl_reply_new(info, &hdr);
	if (!msg)
		goto err_put;

	/* Once it is in the session, another thread can take it out. */
	length = source->length;
	if (source->map)
		map_length = source->map->size;
	err = migtrack_session_add(session, source, info->extack, &id);
	if (err)
		goto err_free;

	/* The message has room for these. */
	nla_put_uint(msg, MIGTRACK_A_SOURCE_SESSION_ID, session->id);
	nla_put_u32(msg, MIGTRACK_A_SOURCE_ID, id);
	if (map_length) {
		nla_put_uint(msg, MIGTRACK_A_SOURCE_LENGTH, length);
		nla_put_uint(msg, MIGTRACK_A_SOURCE_MAP_OFFSET,
			     (id + 1) * MIGTRACK_SLOT_SIZE);
		nla_put_uint(msg, MIGTRACK_A_SOURCE_MAP_LENGTH, map_length);
		nla_put_u32(msg, MIGTRACK_A_SOURCE_PAGE_SIZE, PAGE_SIZE);
	}
	genlmsg_end(msg, hdr);

	err = genlmsg_reply(msg, info);
	if (err)
		migtrack_session_del(session, id, info->extack);
	return err;

err_free:
	nlmsg_free(msg);
err_put:
	migtrack_source_put(source);
	return err;
}

static int migtrack_nl_source_del(struct sk_buff *skb, struct genl_info *info)
{
	if (GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_ID))
		return -EINVAL;

	return migtrack_session_del(migtrack_nl_session(info),
				    nla_get_u32(info->attrs[MIGTRACK_A_SOURCE_ID]),
				    info->extack);
}

/*
 * In the reader's pid namespace; 0 if the process has no number there, or none any more:
 * it may be another's by now.
 */
static pid_t migtrack_source_pid(const struct migtrack_source_snapshot *source)
{
	if (!pid_task(source->pid, PIDTYPE_TGID))
		return 0;
	return pid_nr_ns(source->pid, task_active_pid_ns(current));
}

static int migtrack_nl_source_get(struct sk_buff *skb, struct genl_info *info)
{
	struct migtrack_net *mnet = migtrack_net(genl_info_net(info));
	const struct migtrack_source_snapshot *source = NULL;
	const struct migtrack_snapshot *snap;
	struct migtrack_session *session;
	struct sk_buff *msg;
	unsigned int i;
	void *hdr;
	int err;
	pid_t pid;
	u32 id;

	if (GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_SESSION_ID) ||
	    GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_ID))
		return -EINVAL;
	id = nla_get_u32(info->attrs[MIGTRACK_A_SOURCE_ID]);

	msg = migtrack_nl_reply_new(info, &hdr);
	if (!msg)
		return -ENOMEM;

	err = -ENOENT;
	rcu_read_lock();
	session = migtrack_session_find(mnet,
					nla_get_uint(info->attrs[MIGTRACK_A_SOURCE_SESSION_ID]));
	if (!session) {
		NL_SET_ERR_MSG(info->extack, "no such session in this network namespace");
		goto out;
	}
	snap = rcu_dereference(session->snap);
	for (i = 0; i < snap->nsources; i++)
		if (snap->sources[i].id == id)
			source = &snap->sources[i];
	if (!source) {
		NL_SET_ERR_MSG(info->extack, "no such source in this session");
		goto out;
	}
	err = migtrack_fill_source(msg, session, source, 0);
	pid = migtrack_source_pid(source);
	if (!err && pid)
		err = nla_put_s32(msg, MIGTRACK_A_SOURCE_PID, pid);
out:
	rcu_read_unlock();
	if (err) {
		nlmsg_free(msg);
		return err;
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}

static int migtrack_nl_source_get_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	const struct genl_info *info = genl_info_dump(cb);
	struct migtrack_net *mnet = migtrack_net(sock_net(skb->sk));
	const struct migtrack_snapshot *snap;
	struct migtrack_session *session;
	void *hdr;
	int err = 0;
	unsigned int i;

	if (GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_SESSION_ID))
		return -EINVAL;

	rcu_read_lock();
	session = migtrack_session_find(mnet,
					nla_get_uint(info->attrs[MIGTRACK_A_SOURCE_SESSION_ID]));
	if (!session) {
		NL_SET_ERR_MSG(cb->extack, "no such session in this network namespace");
		err = -ENOENT;
		goto out;
	}

	snap = rcu_dereference(session->snap);
	/* All of one snapshot: a new one makes the dump inconsistent. */
	cb->seq = snap->generation;
	for (i = 0; i < snap->nsources; i++) {
		if (snap->sources[i].id < cb->args[0])
			continue;
		err = -EMSGSIZE;
		hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
				  &migtrack_nl_family, NLM_F_MULTI,
				  MIGTRACK_CMD_SOURCE_GET);
		if (!hdr)
			break;
		genl_dump_check_consistent(cb, hdr);
		if (migtrack_fill_source(skb, session, &snap->sources[i], 0)) {
			genlmsg_cancel(skb, hdr);
			break;
		}
		genlmsg_end(skb, hdr);
		cb->args[0] = snap->sources[i].id + 1;
		err = 0;
	}
out:
	rcu_read_unlock();
	return err && !skb->len ? err : skb->len;
}

static int migtrack_nl_sync(struct sk_buff *skb, struct genl_info *info)
{
	if (GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SESSION_SYNC_KIND))
		return -EINVAL;

	return migtrack_session_sync(migtrack_nl_session(info),
				     nla_get_u32(info->attrs[MIGTRACK_A_SESSION_SYNC_KIND]),
				     info->extack);
}

static int migtrack_nl_session_set(struct sk_buff *skb, struct genl_info *info)
{
	struct migtrack_session *session = migtrack_nl_session(info);
	struct nlattr **attrs = info->attrs;
	struct migtrack_published published;
	int err;

	mutex_lock(&session->lock);
	migtrack_session_published(session, &published);
	if (attrs[MIGTRACK_A_SESSION_PHASE])
		published.phase = nla_get_u32(attrs[MIGTRACK_A_SESSION_PHASE]);
	if (attrs[MIGTRACK_A_SESSION_DOWNTIME_LIMIT])
		published.downtime_limit =
			nla_get_uint(attrs[MIGTRACK_A_SESSION_DOWNTIME_LIMIT]);
	if (attrs[MIGTRACK_A_SESSION_BANDWIDTH])
		published.bandwidth = nla_get_uint(attrs[MIGTRACK_A_SESSION_BANDWIDTH]);
	if (attrs[MIGTRACK_A_SESSION_BANDWIDTH_SOURCE])
		published.bandwidth_source =
			nla_get_u32(attrs[MIGTRACK_A_SESSION_BANDWIDTH_SOURCE]);
	/* The reason of one verdict is not that of the next. */
	if (attrs[MIGTRACK_A_SESSION_VERDICT]) {
		published.verdict = nla_get_u32(attrs[MIGTRACK_A_SESSION_VERDICT]);
		published.reason = MIGTRACK_REASON_NONE;
	}
	if (attrs[MIGTRACK_A_SESSION_REASON])
		published.reason = nla_get_u32(attrs[MIGTRACK_A_SESSION_REASON]);
	published.expected_downtime = U64_MAX;
	if (attrs[MIGTRACK_A_SESSION_EXPECTED_DOWNTIME])
		published.expected_downtime =
			nla_get_uint(attrs[MIGTRACK_A_SESSION_EXPECTED_DOWNTIME]);

	err = migtrack_session_set(session, &published, info->extack);
	mutex_unlock(&session->lock);
	return err;
}

static bool migtrack_nl_report_size(const struct genl_info *info, int attr, u64 *bytes)
{
	if (info->attrs[attr])
		*bytes = nla_get_uint(info->attrs[attr]);
	return info->attrs[attr];
}

static int migtrack_nl_source_report(struct sk_buff *skb, struct genl_info *info)
{
	struct migtrack_report report = {};
	struct nlattr **attrs = info->attrs;

	if (GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_ID))
		return -EINVAL;

	report.sized |= migtrack_nl_report_size(info, MIGTRACK_A_SOURCE_PRECOPY,
						&report.bytes.precopy);
	report.sized |= migtrack_nl_report_size(info, MIGTRACK_A_SOURCE_POSTCOPY,
						&report.bytes.postcopy);
	report.sized |= migtrack_nl_report_size(info, MIGTRACK_A_SOURCE_STOPCOPY,
						&report.bytes.stopcopy);
	if (attrs[MIGTRACK_A_SOURCE_FLAGS])
		report.flags = nla_get_u32(attrs[MIGTRACK_A_SOURCE_FLAGS]);
	if (attrs[MIGTRACK_A_SOURCE_DIRTY_RATE])
		report.dirty_rate = nla_get_uint(attrs[MIGTRACK_A_SOURCE_DIRTY_RATE]);

	return migtrack_reported_report(migtrack_nl_session(info),
					nla_get_u32(attrs[MIGTRACK_A_SOURCE_ID]),
					&report, info->extack);
}

static int migtrack_nl_source_set(struct sk_buff *skb, struct genl_info *info)
{
	return migtrack_provider_set(migtrack_nl_session(info), info);
}

static int migtrack_nl_dma_log_start(struct sk_buff *skb, struct genl_info *info)
{
	return migtrack_dma_log_start(migtrack_nl_session(info), info);
}

static int migtrack_nl_dma_log_stop(struct sk_buff *skb, struct genl_info *info)
{
	return migtrack_dma_log_stop(migtrack_nl_session(info), info);
}

/* ---- what generic netlink calls: the same, traced ---- */

#define MIGTRACK_NL_DOIT(name)							\
int migtrack_nl_##name##_doit(struct sk_buff *skb, struct genl_info *info)	\
{										\
	int err = migtrack_nl_##name(skb, info);				\
										\
	trace_migtrack_nl_doit(info->genlhdr->cmd, err, info->extack);		\
	return err;								\
}

#define MIGTRACK_NL_DUMPIT(name)						\
int migtrack_nl_##name##_dumpit(struct sk_buff *skb, struct netlink_callback *cb) \
{										\
	int len = migtrack_nl_##name##_dump(skb, cb);				\
										\
	trace_migtrack_nl_dumpit(genl_info_dump(cb)->genlhdr->cmd,		\
				 min(len, 0), cb->extack);			\
	return len;								\
}

MIGTRACK_NL_DOIT(session_new)
MIGTRACK_NL_DOIT(session_del)
MIGTRACK_NL_DOIT(session_get)
MIGTRACK_NL_DUMPIT(session_get)
MIGTRACK_NL_DOIT(source_add)
MIGTRACK_NL_DOIT(source_del)
MIGTRACK_NL_DOIT(source_get)
MIGTRACK_NL_DUMPIT(source_get)
MIGTRACK_NL_DOIT(sync)
MIGTRACK_NL_DOIT(session_set)
MIGTRACK_NL_DOIT(source_report)
MIGTRACK_NL_DOIT(source_set)
MIGTRACK_NL_DOIT(dma_log_start)
MIGTRACK_NL_DOIT(dma_log_stop)
