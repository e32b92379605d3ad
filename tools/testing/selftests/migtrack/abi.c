// SPDX-License-Identifier: GPL-2.0-or-later
/* Sessions, syncs, snapshots and events, as the netlink specification has them. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "harvest.h"

#define MEMORY	(8UL << 20)
#define NPAGES	(MEMORY / 4096)

FIXTURE(abi) {
	struct harvest h;
	int mem_fd;
	char *memory;
};

FIXTURE_SETUP(abi)
{
	self->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	memset(self->memory, 1, MEMORY);
	harvest_open(&self->h, getpid(), self->mem_fd);
}

FIXTURE_TEARDOWN(abi)
{
	harvest_close(&self->h);
	munmap(self->memory, MEMORY);
	close(self->mem_fd);
}

static int count_session(const struct migtrack_session *session, void *data)
{
	uint64_t *id = data;

	return session->id == *id;
}

TEST_F_TIMEOUT(abi, session_life, 120)
{
	struct migtrack_session session;
	uint64_t id, id2;
	int fd, fd2;

	ASSERT_EQ(0, migtrack_session_new(self->h.mt, &id, &fd));
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(0, migtrack_session_get(self->h.mt, id, &session));
	EXPECT_EQ(id, session.id);
	EXPECT_EQ(0, session.iteration);
	EXPECT_EQ(0, session.sources);
	EXPECT_EQ(1, migtrack_session_dump(self->h.mt, count_session, &id));

	EXPECT_EQ(0, migtrack_session_del(self->h.mt, fd));
	EXPECT_EQ(-ENODEV, migtrack_session_del(self->h.mt, fd));
	EXPECT_NE(0, strlen(migtrack_message(self->h.mt)));
	EXPECT_EQ(-ENOENT, migtrack_session_get(self->h.mt, id, &session));
	EXPECT_EQ(0, migtrack_session_dump(self->h.mt, count_session, &id));
	EXPECT_EQ(-ENODEV, migtrack_sync(self->h.mt, fd, MIGTRACK_SYNC_KIND_SETUP));
	EXPECT_EQ(-ENODEV, migtrack_sync_wait(fd, 1000));
	close(fd);

	ASSERT_EQ(0, migtrack_session_new(self->h.mt, &id2, &fd2));
	EXPECT_GT(id2, id);
	close(fd2);
}

TEST_F_TIMEOUT(abi, iterations, 120)
{
	struct migtrack_session s;

	EXPECT_EQ(-EINVAL, migtrack_sync(self->h.mt, self->h.fd,
					 MIGTRACK_SYNC_KIND_ITERATION));
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, self->h.id, &s));
	EXPECT_EQ(1, s.iteration);
	EXPECT_EQ(MEMORY, s.bytes.precopy);
	EXPECT_EQ(MEMORY, s.bytes.total);
	EXPECT_EQ(0, s.bytes.stopcopy);
	EXPECT_EQ(0, s.bytes.postcopy);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_EXACT, s.flags);
	EXPECT_EQ(MIGTRACK_SYNC_KIND_SETUP, s.sync_kind);
	EXPECT_GT(s.sync_duration_ns, 0);
	EXPECT_GT(s.memory, 0);

	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_HELPER);
	EXPECT_EQ(1, self->h.header->iteration);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_EQ(2, self->h.header->iteration);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_FINAL);
	EXPECT_EQ(2, self->h.header->iteration);
	EXPECT_EQ(4, self->h.header->syncs);
}

/* Nothing was written since the setup, and nothing was taken: all is left. */
TEST_F_TIMEOUT(abi, owner_progress_is_clamped, 120)
{
	struct migtrack_session s;
	volatile __u64 *moved = &self->h.header->moved_bytes[0];

	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	*moved = 4096;
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, self->h.id, &s));
	EXPECT_EQ(MEMORY - 4096, s.bytes.precopy);
	*moved = ~0ULL;
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, self->h.id, &s));
	EXPECT_EQ(0, s.bytes.precopy);
	EXPECT_EQ(0, s.bytes.total);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, self->h.id, &s));
	EXPECT_EQ(MEMORY, s.bytes.precopy);
	*moved = 5;
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, self->h.id, &s));
	EXPECT_LE(s.bytes.precopy, MEMORY);

	/* Nor do bits that the owner sets, or a header full of rubbish. */
	memset(self->h.header, 0xff, 4096);
	memset(self->h.bitmap, 0xff, self->h.map.map_length);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, self->h.id, &s));
	EXPECT_EQ(MEMORY, s.bytes.total);
	EXPECT_EQ(3, s.iteration);
}

TEST_F_TIMEOUT(abi, one_sync_at_a_time, 120)
{
	unsigned int busy = 0, i;
	int ret;

	for (i = 0; i < 1000 && !busy; i++) {
		ASSERT_EQ(0, migtrack_sync(self->h.mt, self->h.fd,
					   MIGTRACK_SYNC_KIND_SETUP));
		ret = migtrack_sync(self->h.mt, self->h.fd, MIGTRACK_SYNC_KIND_SETUP);
		if (ret == -EBUSY) {
			busy++;
			EXPECT_NE(NULL, strstr(migtrack_message(self->h.mt),
					       "a sync of this session runs already"));
		} else {
			ASSERT_EQ(0, ret);
		}
		while (poll(&(struct pollfd){ self->h.fd, POLLIN, 0 }, 1, 200) > 0)
			migtrack_sync_wait(self->h.fd, 0);
	}
	EXPECT_EQ(1, busy);
}

TEST_F_TIMEOUT(abi, mapping_outlives_the_session, 120)
{
	unsigned long *bitmap = self->h.bitmap;

	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	EXPECT_EQ(~0UL, bitmap[0]);
	ASSERT_EQ(0, migtrack_session_del(self->h.mt, self->h.fd));
	for (int i = 0; i < 30000 && bitmap[0]; i++)
		usleep(1000);
	EXPECT_EQ(0, bitmap[0]);
	EXPECT_EQ(0, bitmap[NPAGES / 64 - 1]);
	bitmap[0] = 1;
	EXPECT_EQ(1, self->h.header->iteration);
}

TEST_F_TIMEOUT(abi, fork_gets_no_mapping, 120)
{
	pid_t pid = fork();
	int status;

	ASSERT_LE(0, pid);
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit((int)*(volatile unsigned long *)self->h.bitmap);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGSEGV, WTERMSIG(status));
}

TEST_F_TIMEOUT(abi, mapping_limits, 120)
{
	size_t len = self->h.map.map_length;
	int fd = self->h.fd;

	EXPECT_EQ(MAP_FAILED, mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd,
				   self->h.map.map_offset));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * len, PROT_READ, MAP_SHARED, fd,
				   self->h.map.map_offset));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd,
				   self->h.map.map_offset + len));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd,
				   2 * self->h.map.map_offset));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd,
				   1ULL << 62));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0));
}

TEST_F_TIMEOUT(abi, sources_come_and_go, 120)
{
	struct migtrack_source_map map;
	struct migtrack_source source;
	unsigned int i;

	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, migtrack_source_add_ram(self->h.mt, self->h.fd, getpid(),
						     self->mem_fd, 4096, 8192, &map));
		ASSERT_EQ(1, map.id);
		ASSERT_EQ(8192, map.length);
		harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
		ASSERT_EQ(0, migtrack_source_get(self->h.mt, self->h.id, 1, &source));
		ASSERT_EQ(8192, source.bytes.precopy);
		ASSERT_EQ(getpid(), source.pid);
		ASSERT_EQ(0, migtrack_source_del(self->h.mt, self->h.fd, 1));
	}
	EXPECT_EQ(-ENOENT, migtrack_source_del(self->h.mt, self->h.fd, 1));
	EXPECT_EQ(-ENOENT, migtrack_source_get(self->h.mt, self->h.id, 1, &source));
}

TEST_F_TIMEOUT(abi, limits, 120)
{
	struct migtrack_source_map map;
	int fds[256], n = 0, ret = 0;
	uint64_t id;

	while (n < 256 && !(ret = migtrack_session_new(self->h.mt, &id, &fds[n])))
		n++;
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_NE(NULL, strstr(migtrack_message(self->h.mt), "max_sessions"));
	while (n)
		close(fds[--n]);

	while (n++ < 256 && !(ret = migtrack_source_add_ram(self->h.mt, self->h.fd,
							    getpid(), self->mem_fd,
							    0, 4096, &map)))
		;
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_NE(NULL, strstr(migtrack_message(self->h.mt), "max_sources"));
}

/* A migration's phases go forward, and its end is the end. */
TEST_F_TIMEOUT(abi, published, 120)
{
	struct migtrack_session set = { .expected_downtime_ns = UINT64_MAX }, get;
	uint64_t id = self->h.id;

	set.verdict = MIGTRACK_VERDICT_MOVE;
	EXPECT_EQ(-EINVAL, migtrack_session_set(self->h.mt, self->h.fd, &set));
	EXPECT_STREQ("a verdict needs the phase of a migration",
		     migtrack_message(self->h.mt));
	set.verdict = 0;
	set.reason = MIGTRACK_REASON_STALL;
	EXPECT_EQ(-EINVAL, migtrack_session_set(self->h.mt, self->h.fd, &set));
	EXPECT_STREQ("a reason needs a verdict", migtrack_message(self->h.mt));
	set.reason = 0;

	ASSERT_EQ(0, migtrack_session_get(self->h.mt, id, &get));
	EXPECT_EQ(MIGTRACK_PHASE_NONE, get.phase);
	EXPECT_EQ(UINT64_MAX, get.expected_downtime_ns);

	set.phase = MIGTRACK_PHASE_PRECOPY;
	set.bandwidth = 1ULL << 40;
	set.bandwidth_source = MIGTRACK_BANDWIDTH_SOURCE_MEASURED;
	set.downtime_limit_ns = 300000000;
	set.expected_downtime_ns = 0;
	ASSERT_EQ(0, migtrack_session_set(self->h.mt, self->h.fd, &set));
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, id, &get));
	EXPECT_EQ(MIGTRACK_PHASE_PRECOPY, get.phase);
	EXPECT_EQ(1ULL << 40, get.bandwidth);
	EXPECT_EQ(MIGTRACK_BANDWIDTH_SOURCE_MEASURED, get.bandwidth_source);
	EXPECT_EQ(300000000, get.downtime_limit_ns);
	EXPECT_EQ(0, get.expected_downtime_ns);
	EXPECT_EQ(MEMORY, get.bytes.total);

	/* What goes together. */
	set.verdict = MIGTRACK_VERDICT_ITERATE;
	set.reason = MIGTRACK_REASON_ALL_MOVED;
	ASSERT_EQ(0, migtrack_session_set(self->h.mt, self->h.fd, &set));
	set.verdict = 0;
	set.reason = 0;
	set.bandwidth = 0;
	EXPECT_EQ(-EINVAL, migtrack_session_set(self->h.mt, self->h.fd, &set));
	EXPECT_STREQ("a bandwidth and where it comes from go together",
		     migtrack_message(self->h.mt));
	set.bandwidth_source = MIGTRACK_BANDWIDTH_SOURCE_UNKNOWN;
	EXPECT_EQ(-EINVAL, migtrack_session_set(self->h.mt, self->h.fd, &set));
	EXPECT_STREQ("an expected downtime needs a bandwidth",
		     migtrack_message(self->h.mt));
	set.expected_downtime_ns = UINT64_MAX;
	EXPECT_EQ(0, migtrack_session_set(self->h.mt, self->h.fd, &set));
	set.bandwidth = 5;
	EXPECT_EQ(-EINVAL, migtrack_session_set(self->h.mt, self->h.fd, &set));
	set.bandwidth_source = MIGTRACK_BANDWIDTH_SOURCE_USER;
	EXPECT_EQ(0, migtrack_session_set(self->h.mt, self->h.fd, &set));
	set.verdict = MIGTRACK_VERDICT_GIVE_UP + 1;
	EXPECT_EQ(-ERANGE, migtrack_session_set(self->h.mt, self->h.fd, &set));
	set.verdict = 0;
	set.reason = MIGTRACK_REASON_POSTCOPY_SOURCE + 1;
	EXPECT_EQ(-ERANGE, migtrack_session_set(self->h.mt, self->h.fd, &set));
	set.reason = 0;
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, id, &get));
	EXPECT_EQ(MIGTRACK_VERDICT_ITERATE, get.verdict);
	EXPECT_EQ(MIGTRACK_REASON_ALL_MOVED, get.reason);
	EXPECT_EQ(5, get.bandwidth);
	EXPECT_EQ(MIGTRACK_BANDWIDTH_SOURCE_USER, get.bandwidth_source);
	EXPECT_EQ(UINT64_MAX, get.expected_downtime_ns);

	/* Another verdict has a reason of its own, or none. */
	set.reason = MIGTRACK_REASON_STOP_ONLY;
	ASSERT_EQ(0, migtrack_session_set(self->h.mt, self->h.fd, &set));
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, id, &get));
	EXPECT_EQ(MIGTRACK_REASON_STOP_ONLY, get.reason);
	set.verdict = MIGTRACK_VERDICT_MOVE;
	set.reason = 0;
	ASSERT_EQ(0, migtrack_session_set(self->h.mt, self->h.fd, &set));
	set.verdict = 0;
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, id, &get));
	EXPECT_EQ(MIGTRACK_VERDICT_MOVE, get.verdict);
	EXPECT_EQ(MIGTRACK_REASON_NONE, get.reason);

	set.phase = MIGTRACK_PHASE_SETUP;
	EXPECT_EQ(-EINVAL, migtrack_session_set(self->h.mt, self->h.fd, &set));
	EXPECT_NE(0, strlen(migtrack_message(self->h.mt)));
	set.phase = MIGTRACK_PHASE_HANDOVER;
	EXPECT_EQ(0, migtrack_session_set(self->h.mt, self->h.fd, &set));
	set.phase = MIGTRACK_PHASE_CANCELLED;
	EXPECT_EQ(-EINVAL, migtrack_session_set(self->h.mt, self->h.fd, &set));
	set.phase = MIGTRACK_PHASE_COMPLETED;
	EXPECT_EQ(0, migtrack_session_set(self->h.mt, self->h.fd, &set));
	set.phase = MIGTRACK_PHASE_FAILED;
	EXPECT_EQ(-EINVAL, migtrack_session_set(self->h.mt, self->h.fd, &set));
	set.phase = 99;
	EXPECT_EQ(-ERANGE, migtrack_session_set(self->h.mt, self->h.fd, &set));
}

struct events {
	struct migtrack *mt;
	uint64_t last_seq;
};

/* The next event of a session, which comes soon. Numbers have no gap. */
static int next_event(struct events *events, uint64_t id, struct migtrack_event *event)
{
	struct pollfd pollfd = { migtrack_fd(events->mt), POLLIN, 0 };
	uint64_t seq;
	int ret;

	for (;;) {
		ret = migtrack_event_read(events->mt, event);
		if (ret == -EAGAIN) {
			if (poll(&pollfd, 1, 30000) <= 0)
				return -ETIMEDOUT;
			continue;
		}
		if (ret)
			return ret;
		seq = event->type == MIGTRACK_EVENT_SOURCE_CHANGE ?
			      event->source.event_seq : event->session.event_seq;
		if (events->last_seq && seq != events->last_seq + 1)
			return -ERANGE;
		events->last_seq = seq;
		if ((event->type == MIGTRACK_EVENT_SOURCE_CHANGE ?
			     event->source.session_id : event->session.id) == id)
			return 0;
	}
}

TEST_F_TIMEOUT(abi, events, 120)
{
	struct migtrack_source_map map;
	struct migtrack_event event;
	struct events events = {};
	uint64_t id, i;
	int fd;

	/* Whoever maps the memory is adopted: the counts are exact. */
	harvest_settle(&self->h);
	ASSERT_EQ(0, migtrack_open(&events.mt));
	ASSERT_EQ(0, migtrack_subscribe(events.mt));

	ASSERT_EQ(0, migtrack_session_new(self->h.mt, &id, &fd));
	ASSERT_EQ(0, next_event(&events, id, &event));
	EXPECT_EQ(MIGTRACK_EVENT_SESSION_NEW, event.type);

	ASSERT_EQ(0, migtrack_source_add_ram(self->h.mt, fd, getpid(), self->mem_fd,
					     0, 0, &map));
	ASSERT_EQ(0, next_event(&events, id, &event));
	EXPECT_EQ(MIGTRACK_EVENT_SOURCE_CHANGE, event.type);
	EXPECT_EQ(MEMORY, event.source.length);
	EXPECT_EQ(0, event.source.pid);

	/* Setup, helper and final are silent; iterations are not. */
	ASSERT_EQ(0, migtrack_sync(self->h.mt, fd, MIGTRACK_SYNC_KIND_SETUP));
	ASSERT_EQ(0, migtrack_sync_wait(fd, 10000));
	for (i = 2; i < 5; i++) {
		memset(self->memory, i, i * 4096);
		ASSERT_EQ(0, migtrack_sync(self->h.mt, fd, MIGTRACK_SYNC_KIND_HELPER));
		ASSERT_EQ(0, migtrack_sync_wait(fd, 10000));
		memset(self->memory, i, i * 4096);
		ASSERT_EQ(0, migtrack_sync(self->h.mt, fd,
					   MIGTRACK_SYNC_KIND_ITERATION));
		ASSERT_EQ(0, next_event(&events, id, &event));
		EXPECT_EQ(MIGTRACK_EVENT_SESSION_ITERATION, event.type);
		EXPECT_EQ(i, event.session.iteration);
		EXPECT_EQ(i, event.session.dirty_pages);
		EXPECT_EQ(2 * i - 1, event.session.syncs);
		ASSERT_EQ(0, migtrack_sync_wait(fd, 10000));
	}

	ASSERT_EQ(0, migtrack_source_del(self->h.mt, fd, map.id));
	ASSERT_EQ(0, next_event(&events, id, &event));
	EXPECT_EQ(MIGTRACK_EVENT_SOURCE_CHANGE, event.type);
	EXPECT_TRUE(event.source.flags & MIGTRACK_COUNTER_FLAGS_GONE);

	close(fd);
	ASSERT_EQ(0, next_event(&events, id, &event));
	EXPECT_EQ(MIGTRACK_EVENT_SESSION_DEL, event.type);
	EXPECT_EQ(4, event.session.iteration);
	migtrack_close(events.mt);
}

#define ROUNDS	300

/* Moves on as fast as it can: the bytes that it reports are the round's number. */
static int run_ahead(int fd, int id)
{
	struct migtrack_report report = {};
	struct migtrack *mt;
	unsigned int i;

	if (migtrack_open(&mt) || migtrack_sync(mt, fd, MIGTRACK_SYNC_KIND_SETUP) ||
	    migtrack_sync_wait(fd, 10000))
		return 1;
	for (i = 2; i <= ROUNDS; i++) {
		report.bytes.precopy = i;
		if (migtrack_source_report(mt, fd, id, &report) ||
		    migtrack_sync(mt, fd, MIGTRACK_SYNC_KIND_ITERATION) ||
		    migtrack_sync_wait(fd, 10000))
			return 1;
	}
	return 0;
}

/* Who asks on each event is told of what the event was about, or of later. */
TEST_F_TIMEOUT(abi, get_on_each_event, 120)
{
	struct migtrack_session session;
	struct migtrack_source source;
	struct migtrack_event event;
	struct events events = {};
	uint64_t id, iteration = 1, reported = 0;
	/* Room for all of them: the other may be far ahead. */
	const int room = 8 << 20;
	uint32_t reported_id;
	int fd, status;
	pid_t pid;

	ASSERT_EQ(0, migtrack_session_new(self->h.mt, &id, &fd));
	ASSERT_EQ(0, migtrack_source_add_reported(self->h.mt, fd, 0, &reported_id));
	ASSERT_EQ(0, migtrack_open(&events.mt));
	ASSERT_EQ(0, setsockopt(migtrack_fd(events.mt), SOL_SOCKET, SO_RCVBUFFORCE,
				&room, sizeof(room)));
	ASSERT_EQ(0, migtrack_subscribe(events.mt));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(run_ahead(fd, reported_id));

	while (iteration < ROUNDS) {
		ASSERT_EQ(0, next_event(&events, id, &event));
		ASSERT_EQ(0, migtrack_session_get(self->h.mt, id, &session));
		ASSERT_EQ(0, migtrack_source_get(self->h.mt, id, reported_id, &source));
		if (event.type == MIGTRACK_EVENT_SOURCE_CHANGE) {
			/* One for each report, in order. */
			EXPECT_EQ(reported ? reported + 1 : 2, event.source.bytes.precopy);
			reported = event.source.bytes.precopy;
			EXPECT_LE(reported, source.bytes.precopy);
			EXPECT_LE(event.source.time_ns, source.time_ns);
			EXPECT_LE(reported, session.bytes.precopy);
			continue;
		}
		ASSERT_EQ(MIGTRACK_EVENT_SESSION_ITERATION, event.type);
		EXPECT_EQ(iteration + 1, event.session.iteration);
		iteration = event.session.iteration;
		/* The report of its round is in it, and was told before. */
		EXPECT_EQ(iteration, event.session.bytes.precopy);
		EXPECT_EQ(iteration, reported);
		EXPECT_LE(iteration, session.iteration);
		EXPECT_LE(event.session.syncs, session.syncs);
		EXPECT_LE(event.session.sync_time_ns, session.sync_time_ns);
		EXPECT_LE(iteration, session.bytes.precopy);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	close(fd);
	migtrack_close(events.mt);
}

TEST_HARNESS_MAIN
