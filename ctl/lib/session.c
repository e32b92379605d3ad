// SPDX-License-Identifier: LGPL-2.1-or-later
/* Commands on sessions. */
#include <errno.h>

#include "internal.h"

#define SESSION(member, attribute) \
	FIELD(struct migtrack_session, member, MIGTRACK_A_SESSION_##attribute)

static const struct field session_fields[] = {
	SESSION(id, ID),
	SESSION(iteration, ITERATION),
	SESSION(bytes.precopy, PRECOPY),
	SESSION(bytes.postcopy, POSTCOPY),
	SESSION(bytes.stopcopy, STOPCOPY),
	SESSION(bytes.total, TOTAL),
	SESSION(flags, FLAGS),
	SESSION(sources, SOURCES),
	SESSION(syncs, SYNCS),
	SESSION(sync_kind, SYNC_KIND),
	SESSION(sync_error, SYNC_ERROR),
	SESSION(sync_time_ns, SYNC_TIME),
	SESSION(sync_duration_ns, SYNC_DURATION),
	SESSION(dirty_pages, DIRTY_PAGES),
	SESSION(dirty_rate, DIRTY_RATE),
	SESSION(memory, MEMORY),
	SESSION(event_seq, EVENT_SEQ),
	SESSION(phase, PHASE),
	SESSION(downtime_limit_ns, DOWNTIME_LIMIT),
	SESSION(bandwidth, BANDWIDTH),
	SESSION(bandwidth_source, BANDWIDTH_SOURCE),
	SESSION(expected_downtime_ns, EXPECTED_DOWNTIME),
	SESSION(verdict, VERDICT),
	SESSION(reason, REASON),
};

static void session_init(void *object)
{
	struct migtrack_session *session = object;

	session->expected_downtime_ns = UINT64_MAX;
}

const struct layout migtrack_session_layout = {
	.size = sizeof(struct migtrack_session),
	.fields = session_fields,
	.n = sizeof(session_fields) / sizeof(session_fields[0]),
	.init = session_init,
};

struct session_new {
	uint64_t id;
	int32_t fd;
};

static const struct field session_new_fields[] = {
	FIELD(struct session_new, id, MIGTRACK_A_SESSION_ID),
	FIELD(struct session_new, fd, MIGTRACK_A_SESSION_FD),
};

static const struct layout session_new_layout = {
	.size = sizeof(struct session_new),
	.fields = session_new_fields,
	.n = sizeof(session_new_fields) / sizeof(session_new_fields[0]),
};

/**
 * migtrack_session_new() - make a session
 * @mt: the handle
 * @id: its number
 * @fd: its descriptor, close-on-exec; close(2) ends the session
 *
 * Return: 0 or a negative errno.
 */
int migtrack_session_new(struct migtrack *mt, uint64_t *id, int *fd)
{
	struct session_new reply;
	struct request req;
	int ret;

	request_init(mt, &req, MIGTRACK_CMD_SESSION_NEW, 0);
	ret = request_do(mt, &req, &session_new_layout, &reply);
	if (ret)
		return ret;
	if (!reply.id)
		return -EPROTO;
	*id = reply.id;
	*fd = reply.fd;
	return 0;
}

/**
 * migtrack_session_del() - end a session at once
 * @mt: the handle
 * @fd: the session's descriptor, which the caller still has to close
 *
 * Return: 0 or a negative errno.
 */
int migtrack_session_del(struct migtrack *mt, int fd)
{
	struct request req;

	request_init(mt, &req, MIGTRACK_CMD_SESSION_DEL, 0);
	request_put_u32(&req, MIGTRACK_A_SESSION_FD, (uint32_t)fd);
	return request_do(mt, &req, NULL, NULL);
}

/**
 * migtrack_session_set() - publish where a migration stands
 * @mt: the handle
 * @fd: the session's descriptor
 * @published: phase, bandwidth, bandwidth_source, downtime_limit_ns,
 *	expected_downtime_ns, verdict and reason are taken from here; the verdict
 *	stays as it was if it is 0, and so does the reason if both are
 *
 * Return: 0, -EINVAL if the phase can't follow the present one or the rest does
 * not go together, or another negative errno.
 */
int migtrack_session_set(struct migtrack *mt, int fd,
			 const struct migtrack_session *published)
{
	struct request req;

	request_init(mt, &req, MIGTRACK_CMD_SESSION_SET, 0);
	request_put_u32(&req, MIGTRACK_A_SESSION_FD, (uint32_t)fd);
	request_put_u32(&req, MIGTRACK_A_SESSION_PHASE, published->phase);
	request_put_uint(&req, MIGTRACK_A_SESSION_DOWNTIME_LIMIT,
			 published->downtime_limit_ns);
	request_put_uint(&req, MIGTRACK_A_SESSION_BANDWIDTH, published->bandwidth);
	request_put_u32(&req, MIGTRACK_A_SESSION_BANDWIDTH_SOURCE,
			published->bandwidth_source);
	if (published->expected_downtime_ns != UINT64_MAX)
		request_put_uint(&req, MIGTRACK_A_SESSION_EXPECTED_DOWNTIME,
				 published->expected_downtime_ns);
	if (published->verdict)
		request_put_u32(&req, MIGTRACK_A_SESSION_VERDICT, published->verdict);
	if (published->reason)
		request_put_u32(&req, MIGTRACK_A_SESSION_REASON, published->reason);
	return request_do(mt, &req, NULL, NULL);
}

/**
 * migtrack_session_get() - what the last sync of a session found
 * @mt: the handle
 * @id: number of the session
 * @session: filled on success
 *
 * Return: 0, -ENOENT if there is no such session, or another negative errno.
 */
int migtrack_session_get(struct migtrack *mt, uint64_t id,
			 struct migtrack_session *session)
{
	struct request req;

	request_init(mt, &req, MIGTRACK_CMD_SESSION_GET, 0);
	request_put_uint(&req, MIGTRACK_A_SESSION_ID, id);
	return request_do(mt, &req, &migtrack_session_layout, session);
}

struct session_visit {
	migtrack_session_fn *fn;
	void *data;
};

static int session_visit(const void *object, void *data)
{
	const struct session_visit *visit = data;

	return visit->fn(object, visit->data);
}

/**
 * migtrack_session_dump() - all sessions of this network namespace
 * @mt: the handle
 * @fn: called with each; nonzero ends the dump
 * @data: its argument
 *
 * What @fn sees belongs to one moment: a dump that changed underneath is taken
 * again before @fn is first called. @fn may use @mt.
 *
 * Return: 0, what @fn returned, -EAGAIN if sessions came and went all the
 * time, or another negative errno.
 */
int migtrack_session_dump(struct migtrack *mt, migtrack_session_fn *fn,
			  void *data)
{
	struct session_visit visit = { .fn = fn, .data = data };
	struct request req;

	request_init(mt, &req, MIGTRACK_CMD_SESSION_GET, 0);
	return request_dump(mt, &req, &migtrack_session_layout, session_visit,
			    &visit);
}

/**
 * migtrack_sync() - start a sync of all sources
 * @mt: the handle
 * @session_fd: the session's descriptor
 * @kind: what it is for
 *
 * Return: 0, -EBUSY if one runs already, or another negative errno.
 */
int migtrack_sync(struct migtrack *mt, int session_fd,
		  enum migtrack_sync_kind kind)
{
	struct request req;

	request_init(mt, &req, MIGTRACK_CMD_SYNC, 0);
	request_put_u32(&req, MIGTRACK_A_SESSION_FD, (uint32_t)session_fd);
	request_put_u32(&req, MIGTRACK_A_SESSION_SYNC_KIND, kind);
	return request_do(mt, &req, NULL, NULL);
}
