// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The family, driven by another netlink library than libmigtrack's: each command
 * once, each event once, with nothing of ours but the uapi header.
 */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/migtrack.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>

#include "kselftest_harness.h"

#define MEMORY	(16UL * 4096)
#define ATTRS	64

/* The attributes of one message, copied. */
struct reply {
	int cmd;
	struct nlattr *attrs[ATTRS];
	char data[4096];
};

/* What came, and how it ended: 1 while it has not. */
struct answer {
	struct reply replies[32];
	unsigned int n;
	int end;
	int interrupted;
};

static uint64_t value(const struct reply *reply, int attr)
{
	const struct nlattr *nla = reply->attrs[attr];

	if (!nla)
		return UINT64_MAX;
	return nla_len(nla) == 8 ? nla_get_u64(nla) : nla_get_u32(nla);
}

static int take(struct nl_msg *msg, void *data)
{
	struct nlmsghdr *nlh = nlmsg_hdr(msg);
	struct answer *answer = data;
	struct reply *reply = &answer->replies[answer->n];
	int len = genlmsg_attrlen(genlmsg_hdr(nlh), 0);

	if (answer->n == sizeof(answer->replies) / sizeof(answer->replies[0]) ||
	    len > (int)sizeof(reply->data))
		return -NLE_NOMEM;
	if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
		answer->interrupted = 1;
	reply->cmd = genlmsg_hdr(nlh)->cmd;
	memcpy(reply->data, genlmsg_attrdata(genlmsg_hdr(nlh), 0), len);
	nla_parse(reply->attrs, ATTRS - 1, (struct nlattr *)reply->data, len, NULL);
	answer->n++;
	return NL_OK;
}

static int end(struct nl_msg *msg, void *data)
{
	((struct answer *)data)->end = 0;
	return NL_STOP;
}

static int fail(struct sockaddr_nl *from, struct nlmsgerr *err, void *data)
{
	((struct answer *)data)->end = err->error;
	return NL_STOP;
}

FIXTURE(libnl) {
	struct nl_sock *sock, *events;
	struct answer answer;
	struct answer event;
	int family, fd, mem_fd;
	uint64_t id, source;
	char *memory;
};

static struct nl_sock *connect_to(struct answer *answer)
{
	struct nl_sock *sock = nl_socket_alloc();

	if (!sock || genl_connect(sock))
		return NULL;
	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, take, answer);
	nl_socket_modify_cb(sock, NL_CB_ACK, NL_CB_CUSTOM, end, answer);
	nl_socket_modify_cb(sock, NL_CB_FINISH, NL_CB_CUSTOM, end, answer);
	nl_socket_modify_err_cb(sock, NL_CB_CUSTOM, fail, answer);
	return sock;
}

static struct nl_msg *request(int family, int cmd, int flags)
{
	struct nl_msg *msg = nlmsg_alloc();

	genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags, cmd,
		    MIGTRACK_FAMILY_VERSION);
	return msg;
}

/* Sends, frees, waits for the end. Returns 0 or what the kernel refused with. */
static int ask(struct nl_sock *sock, struct nl_msg *msg, struct answer *answer)
{
	int ret;

	memset(answer, 0, sizeof(*answer));
	answer->end = 1;
	ret = nl_send_auto(sock, msg);
	nlmsg_free(msg);
	while (ret >= 0 && answer->end == 1)
		ret = nl_recvmsgs_default(sock);
	return answer->end == 1 ? -EIO : answer->end;
}

#define ASK(msg) ask(self->sock, msg, &self->answer)

static struct nl_msg *session_get(FIXTURE_DATA(libnl) *self, int flags)
{
	struct nl_msg *msg = request(self->family, MIGTRACK_CMD_SESSION_GET, flags);

	if (!(flags & NLM_F_DUMP))
		nla_put_u64(msg, MIGTRACK_A_SESSION_ID, self->id);
	return msg;
}

static struct nl_msg *on_session(FIXTURE_DATA(libnl) *self, int cmd)
{
	struct nl_msg *msg = request(self->family, cmd, NLM_F_ACK);

	nla_put_s32(msg, MIGTRACK_A_SESSION_FD, self->fd);
	return msg;
}

static struct nl_msg *sync_of(FIXTURE_DATA(libnl) *self, uint32_t kind)
{
	struct nl_msg *msg = on_session(self, MIGTRACK_CMD_SYNC);

	nla_put_u32(msg, MIGTRACK_A_SESSION_SYNC_KIND, kind);
	return msg;
}

static struct nl_msg *source_add(FIXTURE_DATA(libnl) *self)
{
	struct nl_msg *msg = request(self->family, MIGTRACK_CMD_SOURCE_ADD, NLM_F_ACK);

	nla_put_s32(msg, MIGTRACK_A_SOURCE_SESSION_FD, self->fd);
	nla_put_u32(msg, MIGTRACK_A_SOURCE_TYPE, MIGTRACK_SOURCE_TYPE_RAM);
	nla_put_s32(msg, MIGTRACK_A_SOURCE_PID, getpid());
	nla_put_s32(msg, MIGTRACK_A_SOURCE_MEM_FD, self->mem_fd);
	/* An attribute of type uint may be long though its value is small. */
	nla_put_u64(msg, MIGTRACK_A_SOURCE_OFFSET, 4096);
	nla_put_u32(msg, MIGTRACK_A_SOURCE_LENGTH, 8 * 4096);
	return msg;
}

/* The next event of the session, within ten seconds; NULL if there is none. */
static const struct reply *next_event(FIXTURE_DATA(libnl) *self)
{
	struct pollfd pollfd = { nl_socket_get_fd(self->events), POLLIN, 0 };
	int attr;

	for (;;) {
		memset(&self->event, 0, sizeof(self->event));
		if (poll(&pollfd, 1, 10000 * slow()) != 1 ||
		    nl_recvmsgs_default(self->events) || self->event.n != 1)
			return NULL;
		attr = self->event.replies[0].cmd == MIGTRACK_CMD_SOURCE_CHANGE_NTF ?
			       MIGTRACK_A_SOURCE_SESSION_ID : MIGTRACK_A_SESSION_ID;
		if (value(&self->event.replies[0], attr) == self->id)
			return &self->event.replies[0];
	}
}

#define EXPECT_EVENT(event, name) do {					\
	(event) = next_event(self);					\
	ASSERT_NE(NULL, event);						\
	EXPECT_EQ(MIGTRACK_CMD_##name##_NTF, (event)->cmd);		\
} while (0)

FIXTURE_SETUP(libnl)
{
	const struct reply *event;
	int group;

	self->sock = connect_to(&self->answer);
	self->events = connect_to(&self->event);
	ASSERT_NE(NULL, self->sock);
	ASSERT_NE(NULL, self->events);
	self->family = genl_ctrl_resolve(self->sock, MIGTRACK_FAMILY_NAME);
	ASSERT_LT(0, self->family);
	group = genl_ctrl_resolve_grp(self->sock, MIGTRACK_FAMILY_NAME,
				      MIGTRACK_MCGRP_EVENTS);
	ASSERT_LT(0, group);
	nl_socket_disable_seq_check(self->events);
	ASSERT_EQ(0, nl_socket_add_membership(self->events, group));

	ASSERT_EQ(0, ASK(request(self->family, MIGTRACK_CMD_SESSION_NEW, NLM_F_ACK)));
	ASSERT_EQ(1, self->answer.n);
	self->id = value(&self->answer.replies[0], MIGTRACK_A_SESSION_ID);
	self->fd = value(&self->answer.replies[0], MIGTRACK_A_SESSION_FD);
	EXPECT_EVENT(event, SESSION_NEW);

	self->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	memset(self->memory, 1, MEMORY);

	ASSERT_EQ(0, ASK(source_add(self)));
	ASSERT_EQ(1, self->answer.n);
	self->source = value(&self->answer.replies[0], MIGTRACK_A_SOURCE_ID);
	EXPECT_EQ(self->id, value(&self->answer.replies[0], MIGTRACK_A_SOURCE_SESSION_ID));
	EXPECT_EQ(8 * 4096, value(&self->answer.replies[0], MIGTRACK_A_SOURCE_LENGTH));
	EXPECT_EVENT(event, SOURCE_CHANGE);
	EXPECT_EQ(4096, value(event, MIGTRACK_A_SOURCE_OFFSET));
}

FIXTURE_TEARDOWN(libnl)
{
	close(self->fd);
	munmap(self->memory, MEMORY);
	close(self->mem_fd);
	nl_socket_free(self->events);
	nl_socket_free(self->sock);
}

TEST_F_TIMEOUT(libnl, session_get, 120)
{
	/* What each reply has to a session of which nothing was published. */
	static const int always[] = {
		MIGTRACK_A_SESSION_ID, MIGTRACK_A_SESSION_ITERATION,
		MIGTRACK_A_SESSION_PRECOPY, MIGTRACK_A_SESSION_POSTCOPY,
		MIGTRACK_A_SESSION_STOPCOPY, MIGTRACK_A_SESSION_TOTAL,
		MIGTRACK_A_SESSION_FLAGS, MIGTRACK_A_SESSION_SOURCES,
		MIGTRACK_A_SESSION_SYNCS, MIGTRACK_A_SESSION_MEMORY,
	};
	unsigned int i;

	ASSERT_EQ(0, ASK(session_get(self, NLM_F_ACK)));
	ASSERT_EQ(1, self->answer.n);
	EXPECT_EQ(MIGTRACK_CMD_SESSION_GET, self->answer.replies[0].cmd);
	for (i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		EXPECT_NE(NULL, self->answer.replies[0].attrs[always[i]])
			TH_LOG("attribute %d is missing", always[i]);
	EXPECT_EQ(self->id, value(&self->answer.replies[0], MIGTRACK_A_SESSION_ID));
	EXPECT_EQ(1, value(&self->answer.replies[0], MIGTRACK_A_SESSION_SOURCES));
	/* A descriptor is for the one who made the session. */
	EXPECT_EQ(NULL, self->answer.replies[0].attrs[MIGTRACK_A_SESSION_FD]);
}

TEST_F_TIMEOUT(libnl, session_dump, 120)
{
	unsigned int i, found = 0;

	do {
		ASSERT_EQ(0, ASK(session_get(self, NLM_F_DUMP)));
	} while (self->answer.interrupted);
	for (i = 0; i < self->answer.n; i++)
		found += value(&self->answer.replies[i], MIGTRACK_A_SESSION_ID) == self->id;
	EXPECT_EQ(1, found);
}

TEST_F_TIMEOUT(libnl, session_set, 120)
{
	struct nl_msg *msg = on_session(self, MIGTRACK_CMD_SESSION_SET);
	const struct reply *event;

	nla_put_u32(msg, MIGTRACK_A_SESSION_PHASE, MIGTRACK_PHASE_PRECOPY);
	nla_put_u64(msg, MIGTRACK_A_SESSION_BANDWIDTH, 1ULL << 40);
	nla_put_u32(msg, MIGTRACK_A_SESSION_BANDWIDTH_SOURCE,
		    MIGTRACK_BANDWIDTH_SOURCE_USER);
	nla_put_u32(msg, MIGTRACK_A_SESSION_DOWNTIME_LIMIT, 300000000);
	nla_put_u64(msg, MIGTRACK_A_SESSION_EXPECTED_DOWNTIME, 7);
	ASSERT_EQ(0, ASK(msg));
	EXPECT_EQ(0, self->answer.n);
	EXPECT_EVENT(event, SESSION_CHANGE);
	EXPECT_EQ(MIGTRACK_PHASE_PRECOPY, value(event, MIGTRACK_A_SESSION_PHASE));
	EXPECT_EQ(1ULL << 40, value(event, MIGTRACK_A_SESSION_BANDWIDTH));
	EXPECT_EQ(MIGTRACK_BANDWIDTH_SOURCE_USER,
		  value(event, MIGTRACK_A_SESSION_BANDWIDTH_SOURCE));
	EXPECT_EQ(300000000, value(event, MIGTRACK_A_SESSION_DOWNTIME_LIMIT));
	EXPECT_EQ(7, value(event, MIGTRACK_A_SESSION_EXPECTED_DOWNTIME));
}

/* Syncs that have ended since, 0 if none does. */
static uint64_t wait_sync(FIXTURE_DATA(libnl) *self)
{
	struct pollfd pollfd = { self->fd, POLLIN, 0 };
	uint64_t syncs;

	if (poll(&pollfd, 1, 30000 * slow()) != 1 ||
	    read(self->fd, &syncs, sizeof(syncs)) != sizeof(syncs))
		return 0;
	return syncs;
}

TEST_F_TIMEOUT(libnl, sync, 120)
{
	const struct reply *event;

	ASSERT_EQ(0, ASK(sync_of(self, MIGTRACK_SYNC_KIND_SETUP)));
	EXPECT_EQ(0, self->answer.n);
	EXPECT_EQ(1, wait_sync(self));
	/* All of it is found until our address space is adopted. */
	do {
		usleep(10000);
		ASSERT_EQ(0, ASK(sync_of(self, MIGTRACK_SYNC_KIND_HELPER)));
		ASSERT_EQ(1, wait_sync(self));
		ASSERT_EQ(0, ASK(session_get(self, NLM_F_ACK)));
	} while (value(&self->answer.replies[0], MIGTRACK_A_SESSION_DIRTY_PAGES));

	memset(self->memory, 2, 3 * 4096);
	ASSERT_EQ(0, ASK(sync_of(self, MIGTRACK_SYNC_KIND_ITERATION)));
	EXPECT_EVENT(event, SESSION_ITERATION);
	EXPECT_EQ(2, value(event, MIGTRACK_A_SESSION_ITERATION));
	/* The source begins at the second page. */
	EXPECT_EQ(2, value(event, MIGTRACK_A_SESSION_DIRTY_PAGES));
	EXPECT_EQ(MIGTRACK_SYNC_KIND_ITERATION, value(event, MIGTRACK_A_SESSION_SYNC_KIND));
}

TEST_F_TIMEOUT(libnl, source_get, 120)
{
	struct nl_msg *msg = request(self->family, MIGTRACK_CMD_SOURCE_GET, NLM_F_ACK);
	const struct reply *reply = &self->answer.replies[0];

	nla_put_u64(msg, MIGTRACK_A_SOURCE_SESSION_ID, self->id);
	nla_put_u32(msg, MIGTRACK_A_SOURCE_ID, self->source);
	ASSERT_EQ(0, ASK(msg));
	ASSERT_EQ(1, self->answer.n);
	EXPECT_EQ(getpid(), value(reply, MIGTRACK_A_SOURCE_PID));
	EXPECT_EQ(MIGTRACK_SOURCE_TYPE_RAM, value(reply, MIGTRACK_A_SOURCE_TYPE));
	EXPECT_EQ(4096, value(reply, MIGTRACK_A_SOURCE_OFFSET));
}

TEST_F_TIMEOUT(libnl, source_report, 120)
{
	struct nl_msg *msg = request(self->family, MIGTRACK_CMD_SOURCE_ADD, NLM_F_ACK);
	const struct reply *event;
	uint64_t id;

	nla_put_s32(msg, MIGTRACK_A_SOURCE_SESSION_FD, self->fd);
	nla_put_u32(msg, MIGTRACK_A_SOURCE_TYPE, MIGTRACK_SOURCE_TYPE_REPORTED);
	ASSERT_EQ(0, ASK(msg));
	id = value(&self->answer.replies[0], MIGTRACK_A_SOURCE_ID);
	EXPECT_EVENT(event, SOURCE_CHANGE);
	EXPECT_EQ(id, value(event, MIGTRACK_A_SOURCE_ID));

	msg = request(self->family, MIGTRACK_CMD_SOURCE_REPORT, NLM_F_ACK);
	nla_put_s32(msg, MIGTRACK_A_SOURCE_SESSION_FD, self->fd);
	nla_put_u32(msg, MIGTRACK_A_SOURCE_ID, id);
	nla_put_u64(msg, MIGTRACK_A_SOURCE_STOPCOPY, 1ULL << 40);
	ASSERT_EQ(0, ASK(msg));
	EXPECT_EQ(0, self->answer.n);
	EXPECT_EVENT(event, SOURCE_CHANGE);
	EXPECT_EQ(id, value(event, MIGTRACK_A_SOURCE_ID));
	EXPECT_EQ(1ULL << 40, value(event, MIGTRACK_A_SOURCE_STOPCOPY));
}

TEST_F_TIMEOUT(libnl, source_dump, 120)
{
	struct nl_msg *msg;

	ASSERT_EQ(0, ASK(source_add(self)));
	msg = request(self->family, MIGTRACK_CMD_SOURCE_GET, NLM_F_DUMP);
	nla_put_u64(msg, MIGTRACK_A_SOURCE_SESSION_ID, self->id);
	ASSERT_EQ(0, ASK(msg));
	ASSERT_EQ(2, self->answer.n);
	EXPECT_NE(value(&self->answer.replies[0], MIGTRACK_A_SOURCE_ID),
		  value(&self->answer.replies[1], MIGTRACK_A_SOURCE_ID));
	EXPECT_EQ(NULL, self->answer.replies[0].attrs[MIGTRACK_A_SOURCE_PID]);
}

TEST_F_TIMEOUT(libnl, source_del, 120)
{
	struct nl_msg *msg = request(self->family, MIGTRACK_CMD_SOURCE_DEL, NLM_F_ACK);
	const struct reply *event;

	nla_put_s32(msg, MIGTRACK_A_SOURCE_SESSION_FD, self->fd);
	nla_put_u32(msg, MIGTRACK_A_SOURCE_ID, self->source);
	ASSERT_EQ(0, ASK(msg));
	EXPECT_EVENT(event, SOURCE_CHANGE);
	EXPECT_TRUE(value(event, MIGTRACK_A_SOURCE_FLAGS) & MIGTRACK_COUNTER_FLAGS_GONE);
	ASSERT_EQ(0, ASK(session_get(self, NLM_F_ACK)));
	EXPECT_EQ(0, value(&self->answer.replies[0], MIGTRACK_A_SESSION_SOURCES));
}

TEST_F_TIMEOUT(libnl, session_del, 120)
{
	const struct reply *event;

	ASSERT_EQ(0, ASK(on_session(self, MIGTRACK_CMD_SESSION_DEL)));
	EXPECT_EVENT(event, SESSION_DEL);
	EXPECT_EQ(-ENODEV, ASK(on_session(self, MIGTRACK_CMD_SESSION_DEL)));
	EXPECT_EQ(-ENOENT, ASK(session_get(self, NLM_F_ACK)));
}

/* What a newer client may send is refused, never ignored. */
TEST_F_TIMEOUT(libnl, unknown, 120)
{
	struct nl_msg *msg = session_get(self, NLM_F_ACK);

	nla_put_u32(msg, MIGTRACK_A_SESSION_MAX + 1, 1);
	EXPECT_EQ(-EINVAL, ASK(msg));
	msg = session_get(self, NLM_F_ACK);
	nla_put_u32(msg, MIGTRACK_A_SESSION_FLAGS, 1);
	EXPECT_EQ(-EINVAL, ASK(msg));
	EXPECT_EQ(-EOPNOTSUPP, ASK(request(self->family, MIGTRACK_CMD_MAX + 1, NLM_F_ACK)));
	/* The commands' numbers of notifications can't be asked for. */
	EXPECT_EQ(-EOPNOTSUPP, ASK(request(self->family, MIGTRACK_CMD_SESSION_NEW_NTF,
					   NLM_F_ACK)));
}

TEST_HARNESS_MAIN
