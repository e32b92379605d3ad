// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who owns a session, who may do what, and from where: descriptors that are
 * closed, inherited and handed over, namespaces, privileges, full sockets.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "harvest.h"
#include "raw.h"

#define MEMORY	(4UL << 20)
#define NOBODY	65534

FIXTURE(owner) {
	struct harvest h;
	int mem_fd;
	char *memory;
};

FIXTURE_SETUP(owner)
{
	self->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	harvest_open(&self->h, getpid(), self->mem_fd);
}

FIXTURE_TEARDOWN(owner)
{
	harvest_close(&self->h);
	munmap(self->memory, MEMORY);
	close(self->mem_fd);
}

static bool exists(struct migtrack *mt, uint64_t id)
{
	struct migtrack_session session;

	return migtrack_session_get(mt, id, &session) == 0;
}

static int count_sessions(const struct migtrack_session *session, void *data)
{
	(void)session;
	++*(unsigned int *)data;
	return 0;
}

static unsigned int sessions(struct migtrack *mt)
{
	unsigned int n = 0;

	return migtrack_session_dump(mt, count_sessions, &n) ? ~0U : n;
}

/* In a child of its own, so that what it does to itself ends with it. */
#define EXPECT_CHILD(call) do {							\
	pid_t _pid = fork();							\
	int _status;								\
										\
	ASSERT_LE(0, _pid);							\
	if (!_pid) {								\
		call;								\
		_exit(_metadata->exit_code);					\
	}									\
	ASSERT_EQ(_pid, waitpid(_pid, &_status, 0));				\
	EXPECT_EQ(0, _status);							\
} while (0)

/* ---- the descriptor ---- */

/* A mapping is a reference, too: who has it still has the session. */
TEST_F_TIMEOUT(owner, mapping_outlives_the_descriptor, 60)
{
	struct migtrack_map_header *header;
	uint64_t id;
	int fd;

	ASSERT_EQ(0, migtrack_session_new(self->h.mt, &id, &fd));
	ASSERT_EQ(0, migtrack_header_map(fd, &header));
	close(fd);
	EXPECT_TRUE(exists(self->h.mt, id));
	EXPECT_EQ(MIGTRACK_MAP_VERSION, header->version);
	header->moved_bytes[0] = 1;
	EXPECT_EQ(1, header->moved_bytes[0]);
	migtrack_header_unmap(header);
	EXPECT_TRUE(EVENTUALLY(!exists(self->h.mt, id)));
}

TEST_F_TIMEOUT(owner, inherited_by_a_child, 60)
{
	int fd, pipefd[2], status;
	uint64_t id;
	pid_t pid;
	char c;

	ASSERT_EQ(0, migtrack_session_new(self->h.mt, &id, &fd));
	ASSERT_EQ(0, pipe(pipefd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct migtrack *mt;

		close(pipefd[1]);
		if (read(pipefd[0], &c, 1) != 0 || migtrack_open(&mt) ||
		    migtrack_sync(mt, fd, MIGTRACK_SYNC_KIND_SETUP) ||
		    migtrack_sync_wait(fd, 10000))
			_exit(1);
		_exit(exists(mt, id) ? 0 : 2);
	}
	close(fd);
	close(pipefd[0]);
	EXPECT_TRUE(exists(self->h.mt, id));
	close(pipefd[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(EVENTUALLY(!exists(self->h.mt, id)));
}

static int send_fd(int to, int fd)
{
	char control[CMSG_SPACE(sizeof(fd))] = {}, c = 0;
	struct iovec iov = { &c, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(to, &msg, 0) == 1 ? 0 : -errno;
}

static int receive_fd(int from)
{
	char control[CMSG_SPACE(sizeof(int))] = {}, c;
	struct iovec iov = { &c, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(from, &msg, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&msg))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/* Whoever gets the descriptor owns the session; its maker's end ends nothing. */
TEST_F_TIMEOUT(owner, handed_over, 60)
{
	struct migtrack_source_map map;
	struct migtrack_session s;
	int pair[2], fd, status;
	uint64_t id = 0;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct migtrack *mt;

		if (migtrack_open(&mt) || migtrack_session_new(mt, &id, &fd) ||
		    send_fd(pair[1], fd) || write(pair[1], &id, sizeof(id)) != sizeof(id))
			_exit(1);
		_exit(0);
	}
	fd = receive_fd(pair[0]);
	ASSERT_LE(0, fd);
	ASSERT_EQ(sizeof(id), read(pair[0], &id, sizeof(id)));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);

	ASSERT_EQ(0, migtrack_source_add_ram(self->h.mt, fd, getpid(), self->mem_fd, 0, 0,
					     &map));
	EXPECT_EQ(id, map.session_id);
	ASSERT_EQ(0, migtrack_sync(self->h.mt, fd, MIGTRACK_SYNC_KIND_SETUP));
	ASSERT_EQ(0, migtrack_sync_wait(fd, 10000));
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, id, &s));
	EXPECT_EQ(MEMORY, s.bytes.total);
	close(fd);
	EXPECT_TRUE(EVENTUALLY(!exists(self->h.mt, id)));
	close(pair[0]);
	close(pair[1]);
}

/* The number alone is good for looking, and for nothing else. */
TEST_F_TIMEOUT(owner, a_number_owns_nothing, 60)
{
	const struct raw_attr id = RAW_UINT(MIGTRACK_A_SESSION_ID, self->h.id);
	const struct raw_attr kind = RAW_U32(MIGTRACK_A_SESSION_SYNC_KIND, 1);
	const struct raw_attr attrs[] = { id, kind };
	struct raw raw;

	raw_open(&raw);
	EXPECT_EQ(-EINVAL, raw_do(&raw, MIGTRACK_CMD_SESSION_DEL, 0, attrs, 1));
	EXPECT_EQ(-EINVAL, raw_do(&raw, MIGTRACK_CMD_SYNC, 0, attrs, 2));
	EXPECT_EQ(-EINVAL, raw_do(&raw, MIGTRACK_CMD_SESSION_SET, 0, attrs, 1));
	EXPECT_EQ(0, raw_do(&raw, MIGTRACK_CMD_SESSION_GET, 0, attrs, 1));
	EXPECT_EQ(1, raw.replies);
	raw_close(&raw);
}

/* ---- sockets that are full ---- */

static unsigned int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* So many answers that are not read that no other can be queued. */
static void fill(struct raw *raw, uint64_t id)
{
	const struct raw_attr attr = RAW_UINT(MIGTRACK_A_SESSION_ID, id);
	int small = 4096, i;

	setsockopt(raw->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (i = 0; i < 100; i++)
		raw_send(raw, MIGTRACK_CMD_SESSION_GET, 0, &attr, 1);
}

TEST_F_TIMEOUT(owner, a_reply_that_cannot_be_queued, 60)
{
	const struct raw_attr add[] = {
		RAW_U32(MIGTRACK_A_SOURCE_SESSION_FD, self->h.fd),
		RAW_U32(MIGTRACK_A_SOURCE_TYPE, MIGTRACK_SOURCE_TYPE_REPORTED),
	};
	unsigned int files, n = sessions(self->h.mt);
	struct migtrack_session s;
	struct raw raw;

	raw_open(&raw);
	fill(&raw, self->h.id);
	files = open_files();
	raw_send(&raw, MIGTRACK_CMD_SESSION_NEW, 0, NULL, 0);
	EXPECT_EQ(files, open_files());
	EXPECT_TRUE(EVENTUALLY(sessions(self->h.mt) == n));

	raw_send(&raw, MIGTRACK_CMD_SOURCE_ADD, 0, add, 2);
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, self->h.id, &s));
	EXPECT_EQ(1, s.sources);
	raw_close(&raw);

	/* With room for the answer, both are there. */
	raw_open(&raw);
	raw_send(&raw, MIGTRACK_CMD_SESSION_NEW, 0, NULL, 0);
	EXPECT_EQ(files + 1, open_files());
	EXPECT_EQ(n + 1, sessions(self->h.mt));
	raw_send(&raw, MIGTRACK_CMD_SOURCE_ADD, 0, add, 2);
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, self->h.id, &s));
	EXPECT_EQ(2, s.sources);
	raw_close(&raw);
}

/* A listener that does not read is told what it lost, and goes on after it. */
TEST_F_TIMEOUT(owner, a_listener_that_overran, 60)
{
	struct migtrack_session set = {
		.expected_downtime_ns = UINT64_MAX, .phase = MIGTRACK_PHASE_SETUP,
	};
	struct migtrack_event event;
	uint64_t seq = 0, read = 0;
	struct migtrack *events;
	unsigned int lost = 0, i;
	int ret;

	ASSERT_EQ(0, migtrack_open(&events));
	ASSERT_EQ(0, migtrack_subscribe(events));
	for (i = 0; i < 3000; i++)
		ASSERT_EQ(0, migtrack_session_set(self->h.mt, self->h.fd, &set));
	while ((ret = migtrack_event_read(events, &event)) != -EAGAIN) {
		if (ret == -ENOBUFS) {
			lost++;
			continue;
		}
		ASSERT_EQ(0, ret);
		read++;
		/* What it still has are the oldest, without a gap. */
		EXPECT_EQ(seq ? seq + 1 : event.session.event_seq, event.session.event_seq);
		seq = event.session.event_seq;
	}
	EXPECT_EQ(1, lost);
	EXPECT_LT(read, 3000);

	ASSERT_EQ(0, migtrack_session_set(self->h.mt, self->h.fd, &set));
	ASSERT_EQ(0, migtrack_event_read(events, &event));
	EXPECT_EQ(seq + 3000 - read + 1, event.session.event_seq);
	migtrack_close(events);
}

/* ---- network namespaces ---- */

struct other_net {
	int home;
	int fd;
	uint64_t id;
	struct migtrack_source_map map;
	struct migtrack_map_header *header;
	unsigned long *bitmap;
};

/* A session in a namespace of its own, which ends when its socket is closed. */
static int other_net_session(struct other_net *other, struct migtrack **mt, int mem_fd)
{
	other->home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (other->home < 0 || unshare(CLONE_NEWNET) || migtrack_open(mt) ||
	    migtrack_session_new(*mt, &other->id, &other->fd) ||
	    migtrack_source_add_ram(*mt, other->fd, getpid(), mem_fd, 0, 0, &other->map) ||
	    migtrack_header_map(other->fd, &other->header) ||
	    migtrack_bitmap_map(other->fd, &other->map, &other->bitmap) ||
	    migtrack_sync(*mt, other->fd, MIGTRACK_SYNC_KIND_SETUP) ||
	    migtrack_sync_wait(other->fd, 10000))
		return -1;
	return setns(other->home, CLONE_NEWNET);
}

TEST_F_TIMEOUT(owner, a_namespace_that_dies, 60)
{
	struct pollfd pollfd;
	struct other_net other;
	struct migtrack *mt;
	uint64_t count;

	ASSERT_EQ(0, other_net_session(&other, &mt, self->mem_fd));
	EXPECT_EQ(~0UL, other.bitmap[0]);
	pollfd = (struct pollfd){ other.fd, 0, 0 };
	EXPECT_EQ(0, poll(&pollfd, 1, 0));
	/* Owned by who holds it, wherever he is. */
	EXPECT_EQ(0, migtrack_sync(self->h.mt, other.fd, MIGTRACK_SYNC_KIND_HELPER));
	EXPECT_EQ(0, migtrack_sync_wait(other.fd, 10000));

	migtrack_close(mt);
	EXPECT_EQ(1, poll(&pollfd, 1, 30000));
	EXPECT_TRUE(pollfd.revents & POLLHUP);
	EXPECT_EQ(-ENODEV, migtrack_sync(self->h.mt, other.fd, MIGTRACK_SYNC_KIND_HELPER));
	EXPECT_STREQ("the session has ended", migtrack_message(self->h.mt));
	EXPECT_EQ(-ENODEV, migtrack_session_del(self->h.mt, other.fd));
	EXPECT_EQ(-1, read(other.fd, &count, sizeof(count)));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED, other.fd, 0));
	EXPECT_EQ(ENODEV, errno);
	/* The mapping is valid, and cleared. */
	EXPECT_TRUE(EVENTUALLY(!*(volatile unsigned long *)other.bitmap));
	EXPECT_EQ(1, other.header->iteration);
	other.bitmap[0] = 1;
	EXPECT_EQ(1, other.bitmap[0]);
	migtrack_bitmap_unmap(&other.map, other.bitmap);
	migtrack_header_unmap(other.header);
	close(other.fd);
	close(other.home);
}

/* Each namespace has its own sessions, events, numbers of events, and limit. */
TEST_F_TIMEOUT(owner, namespaces_do_not_meet, 60)
{
	struct migtrack *here = self->h.mt, *there, *events;
	struct migtrack_source source;
	struct migtrack_event event;
	struct other_net other;
	int fds[256], n = 0, fd;
	uint64_t id;

	ASSERT_EQ(0, migtrack_open(&events));
	ASSERT_EQ(0, migtrack_subscribe(events));
	ASSERT_EQ(0, other_net_session(&other, &there, self->mem_fd));
	EXPECT_EQ(-EAGAIN, migtrack_event_read(events, &event));
	EXPECT_FALSE(exists(here, other.id));
	EXPECT_EQ(-ENOENT, migtrack_source_get(here, other.id, 0, &source));
	EXPECT_FALSE(exists(there, self->h.id));
	EXPECT_TRUE(exists(there, other.id));
	EXPECT_EQ(1, sessions(there));

	while (n < 256 && !migtrack_session_new(here, &id, &fds[n]))
		n++;
	ASSERT_LT(n, 256);
	EXPECT_EQ(0, migtrack_session_new(there, &id, &fd));
	close(fd);
	/* One that ended makes room for one. */
	close(fds[--n]);
	EXPECT_EQ(0, migtrack_session_new(here, &id, &fds[n]));
	EXPECT_EQ(-ENOSPC, migtrack_session_new(here, &id, &fd));
	while (n >= 0)
		close(fds[n--]);

	migtrack_close(events);
	migtrack_bitmap_unmap(&other.map, other.bitmap);
	migtrack_header_unmap(other.header);
	close(other.fd);
	close(other.home);
	migtrack_close(there);
}

/* A new namespace counts its events from 1 on, whatever happens elsewhere. */
TEST_F_TIMEOUT(owner, event_numbers, 60)
{
	int fd, i, home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct migtrack *there, *events;
	struct migtrack_event event;
	uint64_t id;

	ASSERT_LE(0, home);
	ASSERT_EQ(0, unshare(CLONE_NEWNET));
	ASSERT_EQ(0, migtrack_open(&there));
	ASSERT_EQ(0, migtrack_open(&events));
	ASSERT_EQ(0, migtrack_subscribe(events));
	ASSERT_EQ(0, setns(home, CLONE_NEWNET));
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, migtrack_session_new(self->h.mt, &id, &fd));
		close(fd);
		ASSERT_EQ(0, migtrack_session_new(there, &id, &fd));
		close(fd);
		ASSERT_EQ(0, migtrack_event_read(events, &event));
		EXPECT_EQ(MIGTRACK_EVENT_SESSION_NEW, event.type);
		EXPECT_EQ(2 * i + 1, event.session.event_seq);
		ASSERT_EQ(0, migtrack_event_read(events, &event));
		EXPECT_EQ(MIGTRACK_EVENT_SESSION_DEL, event.type);
		EXPECT_EQ(2 * i + 2, event.session.event_seq);
	}
	migtrack_close(events);
	migtrack_close(there);
	close(home);
}

/* ---- privileges ---- */

static void drop_effective(int capability)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	syscall(SYS_capget, &header, data);
	data[capability / 32].effective &= ~(1U << capability % 32);
	syscall(SYS_capset, &header, data);
}

/* Root of a user namespace is nobody's root here, even in its own network. */
static void in_a_user_namespace(struct __test_metadata *_metadata,
				FIXTURE_DATA(owner) *self)
{
	struct migtrack_source_map map;
	struct migtrack *mt;
	uint64_t id;
	int fd;

	ASSERT_EQ(0, unshare(CLONE_NEWUSER | CLONE_NEWNET));
	ASSERT_EQ(0, migtrack_open(&mt));
	EXPECT_EQ(-EPERM, migtrack_session_new(mt, &id, &fd));
	EXPECT_EQ(-EPERM, migtrack_session_del(mt, self->h.fd));
	EXPECT_EQ(-EPERM, migtrack_sync(mt, self->h.fd, MIGTRACK_SYNC_KIND_SETUP));
	EXPECT_EQ(-EPERM, migtrack_source_add_ram(mt, self->h.fd, getpid(), self->mem_fd,
						  0, 0, &map));
	EXPECT_EQ(-EPERM, migtrack_source_add_reported(mt, self->h.fd, 0, &map.id));
	EXPECT_EQ(-EPERM, migtrack_source_del(mt, self->h.fd, 0));
	EXPECT_EQ(0, sessions(mt));
	migtrack_close(mt);
}

TEST_F_TIMEOUT(owner, user_namespaces, 60)
{
	struct migtrack_session s;

	EXPECT_CHILD(in_a_user_namespace(_metadata, self));
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, self->h.id, &s));
	EXPECT_EQ(1, s.sources);
	EXPECT_EQ(0, s.syncs);
}

/* The host's root may track a guest that lives in a user namespace. */
TEST_F_TIMEOUT(owner, a_guest_in_a_user_namespace, 60)
{
	struct migtrack_source_map map;
	int pipefd[2];
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(pipefd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (unshare(CLONE_NEWUSER) || write(pipefd[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	ASSERT_EQ(1, read(pipefd[0], &c, 1));
	EXPECT_EQ(0, migtrack_source_add_ram(self->h.mt, self->h.fd, pid, self->mem_fd, 0,
					     0, &map));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(pipefd[0]);
	close(pipefd[1]);
}

/* A netlink socket opened by a process with fewer rights, which got it from us. */
static int socket_of_the_less_privileged(void (*drop)(void))
{
	struct raw raw;
	int pair[2], fd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -1;
	pid = fork();
	if (!pid) {
		drop();
		raw_open(&raw);
		_exit(send_fd(pair[1], raw.fd) ? 1 : 0);
	}
	fd = receive_fd(pair[0]);
	waitpid(pid, NULL, 0);
	close(pair[0]);
	close(pair[1]);
	return fd;
}

static void become_nobody(void)
{
	if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
		_exit(1);
}

static void drop_ptrace(void)
{
	drop_effective(CAP_SYS_PTRACE);
}

/*
 * A program with more rights that writes to a socket it was handed (as a setuid
 * program's output) does with it what the socket's opener may do, and no more.
 */
TEST_F_TIMEOUT(owner, a_deputy_is_not_confused, 60)
{
	const struct raw_attr fd = RAW_U32(MIGTRACK_A_SESSION_FD, self->h.fd);
	const struct raw_attr add[] = {
		RAW_U32(MIGTRACK_A_SOURCE_SESSION_FD, self->h.fd),
		RAW_U32(MIGTRACK_A_SOURCE_TYPE, MIGTRACK_SOURCE_TYPE_RAM),
		RAW_U32(MIGTRACK_A_SOURCE_PID, getpid()),
		RAW_U32(MIGTRACK_A_SOURCE_MEM_FD, self->mem_fd),
	};
	const struct raw_attr id = RAW_UINT(MIGTRACK_A_SESSION_ID, self->h.id);
	struct raw raw;

	raw_open(&raw);
	close(raw.fd);
	raw.fd = socket_of_the_less_privileged(become_nobody);
	ASSERT_LE(0, raw.fd);
	EXPECT_EQ(-EPERM, raw_do(&raw, MIGTRACK_CMD_SESSION_NEW, 0, NULL, 0));
	EXPECT_EQ(-EPERM, raw_do(&raw, MIGTRACK_CMD_SESSION_DEL, 0, &fd, 1));
	EXPECT_EQ(-EPERM, raw_do(&raw, MIGTRACK_CMD_SOURCE_ADD, 0, add, 4));
	EXPECT_EQ(0, raw_do(&raw, MIGTRACK_CMD_SESSION_GET, 0, &id, 1));
	close(raw.fd);

	raw.fd = socket_of_the_less_privileged(drop_ptrace);
	ASSERT_LE(0, raw.fd);
	EXPECT_EQ(-EPERM, raw_do(&raw, MIGTRACK_CMD_SOURCE_ADD, 0, add, 4));
	EXPECT_STREQ("CAP_SYS_PTRACE over that process is required", raw.message);
	close(raw.fd);

	/* The other way: a privileged socket in the hands of one who is not. */
	raw_open(&raw);
	EXPECT_EQ(0, raw_do(&raw, MIGTRACK_CMD_SOURCE_ADD, 0, add, 4));
	drop_ptrace();
	EXPECT_EQ(-EPERM, raw_do(&raw, MIGTRACK_CMD_SOURCE_ADD, 0, add, 4));
	drop_effective(CAP_NET_ADMIN);
	EXPECT_EQ(-EPERM, raw_do(&raw, MIGTRACK_CMD_SESSION_DEL, 0, &fd, 1));
	raw_close(&raw);
}

/* ---- pid namespaces ---- */

struct from_within {
	uint64_t id;
	pid_t own;		/* as its own reader sees it */
	pid_t outer;		/* a process of the outer namespace, seen from within */
	int by_outer_number;
};

static void within(FIXTURE_DATA(owner) *self, int out, pid_t outer)
{
	struct from_within say = {};
	struct migtrack_source_map map;
	struct migtrack_source source;
	struct migtrack *mt;
	int fd;

	if (getpid() != 1 || migtrack_open(&mt) || migtrack_session_new(mt, &say.id, &fd) ||
	    migtrack_source_add_ram(mt, fd, 1, self->mem_fd, 0, 0, &map) ||
	    migtrack_source_get(mt, say.id, map.id, &source))
		_exit(1);
	say.own = source.pid;
	if (migtrack_source_get(mt, self->h.id, 0, &source))
		_exit(2);
	say.outer = source.pid;
	say.by_outer_number = migtrack_source_add_ram(mt, fd, outer, self->mem_fd, 0, 0,
						      &map);
	if (write(out, &say, sizeof(say)) != sizeof(say))
		_exit(3);
	for (;;)
		pause();
}

TEST_F_TIMEOUT(owner, pid_namespaces, 60)
{
	struct from_within said;
	struct migtrack_source source;
	int pipefd[2], home = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	pid_t pid, outer = getpid();

	ASSERT_LE(0, home);
	ASSERT_EQ(0, pipe(pipefd));
	ASSERT_EQ(0, unshare(CLONE_NEWPID));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		within(self, pipefd[1], outer);
	ASSERT_EQ(0, setns(home, CLONE_NEWPID));
	close(pipefd[1]);
	ASSERT_EQ(sizeof(said), read(pipefd[0], &said, sizeof(said)));
	EXPECT_EQ(1, said.own);
	EXPECT_EQ(0, said.outer);
	EXPECT_EQ(-ESRCH, said.by_outer_number);
	/* From here it has the number that it has here. */
	ASSERT_EQ(0, migtrack_source_get(self->h.mt, said.id, 0, &source));
	EXPECT_EQ(pid, source.pid);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(pipefd[0]);
	close(home);
}

/* ---- dumps ---- */

/* Read a dump in pieces; after the first, do something. */
static int dump(struct raw *raw, uint8_t cmd, const struct raw_attr *attr,
		void (*meanwhile)(FIXTURE_DATA(owner) *self), FIXTURE_DATA(owner) *self)
{
	int ret;

	raw_send(raw, cmd, NLM_F_DUMP, attr, !!attr);
	ret = raw_recv(raw, RAW_SMALL);
	if (ret)
		return -EPROTO;		/* all in one piece: nothing was shown */
	meanwhile(self);
	while (!ret)
		ret = raw_recv(raw, RAW_SMALL);
	return ret < 0 ? ret : 0;
}

static void do_nothing(FIXTURE_DATA(owner) *self)
{
	(void)self;
}

static void make_a_session(FIXTURE_DATA(owner) *self)
{
	uint64_t id;
	int fd;

	migtrack_session_new(self->h.mt, &id, &fd);
	close(fd);
}

static void report_anew(FIXTURE_DATA(owner) *self)
{
	const struct migtrack_report report = { .bytes = { .precopy = 5 } };

	migtrack_source_report(self->h.mt, self->h.fd, 1, &report);
}

TEST_F_TIMEOUT(owner, dumps_tell_that_they_changed, 60)
{
	const struct raw_attr session = RAW_UINT(MIGTRACK_A_SOURCE_SESSION_ID, self->h.id);
	int fds[60], i;
	struct raw raw;
	uint32_t source;
	uint64_t id;

	for (i = 0; i < 60; i++)
		ASSERT_EQ(0, migtrack_session_new(self->h.mt, &id, &fds[i]));
	for (i = 0; i < 30; i++)
		ASSERT_EQ(0, migtrack_source_add_reported(self->h.mt, self->h.fd, ~0ULL,
							  &source));
	raw_open(&raw);
	EXPECT_EQ(0, dump(&raw, MIGTRACK_CMD_SESSION_GET, NULL, do_nothing, self));
	EXPECT_EQ(61, raw.replies);
	EXPECT_FALSE(raw.interrupted);
	EXPECT_EQ(0, dump(&raw, MIGTRACK_CMD_SESSION_GET, NULL, make_a_session, self));
	EXPECT_TRUE(raw.interrupted);
	EXPECT_EQ(0, dump(&raw, MIGTRACK_CMD_SOURCE_GET, &session, do_nothing, self));
	EXPECT_EQ(31, raw.replies);
	EXPECT_FALSE(raw.interrupted);
	EXPECT_EQ(0, dump(&raw, MIGTRACK_CMD_SOURCE_GET, &session, report_anew, self));
	EXPECT_TRUE(raw.interrupted);
	raw_close(&raw);
	while (i)
		close(fds[--i]);
	for (i = 30; i < 60; i++)
		close(fds[i]);
}

TEST_HARNESS_MAIN
