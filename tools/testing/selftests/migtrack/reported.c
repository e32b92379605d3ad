// SPDX-License-Identifier: GPL-2.0-or-later
/* Sources whose numbers their owner reports: clamped, summed, aged, told. */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kernel_log.h"
#include "kselftest_harness.h"
#include "migtrack.h"

#define MIB		(1ULL << 20)
#define NS_PER_MS	1000000ULL
#define NS_PER_S	1000000000ULL
#define LONG_AGE	(3600 * NS_PER_S)
#define UNSIZED		(MIGTRACK_COUNTER_FLAGS_UNKNOWN | MIGTRACK_COUNTER_FLAGS_STALE)

FIXTURE(reported) {
	struct migtrack *mt, *events;
	struct migtrack_map_header *header;
	uint64_t session;
	uint32_t id;
	int fd;
};

FIXTURE_SETUP(reported)
{
	ASSERT_EQ(0, migtrack_open(&self->mt));
	ASSERT_EQ(0, migtrack_open(&self->events));
	ASSERT_EQ(0, migtrack_session_new(self->mt, &self->session, &self->fd));
	ASSERT_EQ(0, migtrack_header_map(self->fd, &self->header));
	ASSERT_EQ(0, migtrack_source_add_reported(self->mt, self->fd, LONG_AGE,
						  &self->id));
	ASSERT_EQ(0, migtrack_subscribe(self->events));
}

FIXTURE_TEARDOWN(reported)
{
	migtrack_header_unmap(self->header);
	close(self->fd);
	migtrack_close(self->events);
	migtrack_close(self->mt);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static int report(FIXTURE_DATA(reported) *self, uint32_t id, uint64_t precopy,
		  uint64_t postcopy, uint64_t stopcopy, uint32_t flags)
{
	struct migtrack_report report = {
		.bytes = { .precopy = precopy, .postcopy = postcopy,
			   .stopcopy = stopcopy },
		.flags = flags,
		.dirty_rate = 100,
	};

	return migtrack_source_report(self->mt, self->fd, id, &report);
}

static struct migtrack_source source(FIXTURE_DATA(reported) *self)
{
	struct migtrack_source source;

	if (migtrack_source_get(self->mt, self->session, self->id, &source))
		memset(&source, 0xff, sizeof(source));
	return source;
}

static struct migtrack_session session(FIXTURE_DATA(reported) *self)
{
	struct migtrack_session session;

	if (migtrack_session_get(self->mt, self->session, &session))
		memset(&session, 0xff, sizeof(session));
	return session;
}

/* The next change of a source of ours. */
static int change(FIXTURE_DATA(reported) *self, struct migtrack_source *source,
		  int timeout_ms)
{
	struct pollfd pollfd = { migtrack_fd(self->events), POLLIN, 0 };
	struct migtrack_event event;
	int ret;

	for (;;) {
		ret = migtrack_event_read(self->events, &event);
		if (ret == -EAGAIN && poll(&pollfd, 1, timeout_ms) <= 0)
			return -ETIMEDOUT;
		if (ret == -EAGAIN)
			continue;
		if (ret)
			return ret;
		if (event.type != MIGTRACK_EVENT_SOURCE_CHANGE ||
		    event.source.session_id != self->session)
			continue;
		*source = event.source;
		return 0;
	}
}

TEST_F_TIMEOUT(reported, unknown_before_the_first, 60)
{
	struct migtrack_source s = source(self);

	EXPECT_EQ(MIGTRACK_SOURCE_TYPE_REPORTED, s.type);
	EXPECT_EQ(0, s.pid);
	EXPECT_EQ(0, s.time_ns);
	EXPECT_EQ(LONG_AGE, s.max_age_ns);
	EXPECT_EQ(UNSIZED, s.flags);
	/* So much that nobody switches over. */
	EXPECT_EQ(MIGTRACK_UNKNOWN_BYTES, s.bytes.total);
	EXPECT_EQ(MIGTRACK_UNKNOWN_BYTES, s.bytes.stopcopy);
	EXPECT_EQ(UNSIZED, session(self).flags);
	EXPECT_EQ(MIGTRACK_UNKNOWN_BYTES, session(self).bytes.total);
	EXPECT_EQ(MIGTRACK_UNKNOWN_BYTES, self->header->total_bytes);
}

TEST_F_TIMEOUT(reported, is_published_and_told, 60)
{
	uint64_t before = now_ns();
	struct migtrack_source s, told;

	ASSERT_EQ(0, report(self, self->id, 5 * MIB, 3 * MIB, 2 * MIB,
			    MIGTRACK_COUNTER_FLAGS_EXACT));
	s = source(self);
	EXPECT_EQ(5 * MIB, s.bytes.precopy);
	EXPECT_EQ(3 * MIB, s.bytes.postcopy);
	EXPECT_EQ(2 * MIB, s.bytes.stopcopy);
	EXPECT_EQ(10 * MIB, s.bytes.total);
	EXPECT_EQ(100, s.dirty_rate);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_EXACT, s.flags);
	EXPECT_GE(s.time_ns, before);
	EXPECT_LE(s.time_ns, now_ns());
	EXPECT_EQ(0, s.clamps);

	ASSERT_EQ(0, change(self, &told, 2000));
	EXPECT_NE(0, told.event_seq);
	told.event_seq = 0;
	EXPECT_EQ(0, memcmp(&s, &told, sizeof(s)));

	EXPECT_EQ(10 * MIB, session(self).bytes.total);
	EXPECT_EQ(100, session(self).dirty_rate);
	EXPECT_EQ(10 * MIB, self->header->total_bytes);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_EXACT, self->header->flags);

	/* What was moved is taken off already. */
	self->header->moved_bytes[self->id] = 4 * MIB;
	EXPECT_EQ(5 * MIB, source(self).bytes.precopy);

	/* Not said to be exact. */
	ASSERT_EQ(0, report(self, self->id, 1, 0, 0, 0));
	EXPECT_EQ(0, source(self).flags);
	EXPECT_EQ(1, session(self).bytes.total);
}

/* Anything up to 2^63 - 1 is believed, nothing above it. */
TEST_F_TIMEOUT(reported, impossible_sizes, 60)
{
	static const uint64_t bad[] = { 1ULL << 63, (1ULL << 63) + 1, ~0ULL - 4095, ~0ULL };
	struct migtrack_source s;
	unsigned int i;

	/* Before there is a good one. */
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, report(self, self->id, 0, 0, bad[i], 0));
		s = source(self);
		EXPECT_EQ(UNSIZED | MIGTRACK_COUNTER_FLAGS_CLAMPED, s.flags);
		EXPECT_EQ(MIGTRACK_UNKNOWN_BYTES, s.bytes.total);
		EXPECT_EQ(i + 1, s.clamps);
	}
	ASSERT_EQ(0, report(self, self->id, 7 * MIB, 6 * MIB, 5 * MIB, 0));
	EXPECT_EQ(0, source(self).flags);

	/* Each keeps its last good one; the others are taken. */
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, report(self, self->id, bad[i], i, 5 * MIB,
				    MIGTRACK_COUNTER_FLAGS_EXACT));
		s = source(self);
		EXPECT_TRUE(s.flags & MIGTRACK_COUNTER_FLAGS_CLAMPED);
		EXPECT_FALSE(s.flags & MIGTRACK_COUNTER_FLAGS_EXACT);
		EXPECT_EQ(7 * MIB, s.bytes.precopy);
		EXPECT_EQ(i, s.bytes.postcopy);
		EXPECT_EQ(12 * MIB + i, s.bytes.total);
		EXPECT_TRUE(session(self).flags & MIGTRACK_COUNTER_FLAGS_CLAMPED);
	}
	EXPECT_EQ(8, source(self).clamps);
	ASSERT_EQ(0, report(self, self->id, ~0ULL, ~0ULL, ~0ULL, 0));
	EXPECT_EQ(11, source(self).clamps);
	EXPECT_EQ(12 * MIB + 3, source(self).bytes.total);
	ASSERT_EQ(0, report(self, self->id, INT64_MAX, 0, 0, 0));
	EXPECT_EQ(0, source(self).flags);
	EXPECT_EQ(INT64_MAX, source(self).bytes.total);
}

/* The log says it, naming the source, but is not filled. */
TEST_F_TIMEOUT(reported, warns_with_a_limit, 60)
{
	unsigned int i, n;
	char text[64];

	snprintf(text, sizeof(text), "session %llu source %u: impossible size",
		 (unsigned long long)self->session, self->id);
	/* Others may have used up this interval's. */
	sleep(KERNEL_LOG_SECONDS + 1);
	for (i = 0; i < 500; i++)
		ASSERT_EQ(0, report(self, self->id, ~0ULL, 0, 0, 0));
	n = kernel_log_count(text);
	EXPECT_GE(n, 1);
	EXPECT_LE(n, 100);
	EXPECT_EQ(500, source(self).clamps);
}

TEST_F_TIMEOUT(reported, sums_saturate, 60)
{
	struct migtrack_session s;
	uint32_t id, i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, migtrack_source_add_reported(self->mt, self->fd, LONG_AGE,
							  &id));
		ASSERT_EQ(0, report(self, id, INT64_MAX, INT64_MAX, INT64_MAX, 0));
	}
	ASSERT_EQ(0, report(self, self->id, 1, 2, 3, 0));
	s = session(self);
	EXPECT_EQ(UINT64_MAX, s.bytes.precopy);
	EXPECT_EQ(UINT64_MAX, s.bytes.postcopy);
	EXPECT_EQ(UINT64_MAX, s.bytes.stopcopy);
	EXPECT_EQ(UINT64_MAX, s.bytes.total);
	EXPECT_EQ(6, source(self).bytes.total);
}

TEST_F_TIMEOUT(reported, ages, 120)
{
	const uint64_t age = 300 * NS_PER_MS;
	struct migtrack_source s;
	uint64_t reported_at;
	uint32_t id;
	int i;

	ASSERT_EQ(0, migtrack_source_del(self->mt, self->fd, self->id));
	ASSERT_EQ(0, migtrack_source_add_reported(self->mt, self->fd, age, &id));
	ASSERT_EQ(0, change(self, &s, 20000));
	ASSERT_EQ(0, change(self, &s, 20000));
	self->id = id;
	ASSERT_EQ(0, report(self, id, MIB, 0, 0, MIGTRACK_COUNTER_FLAGS_EXACT));
	ASSERT_EQ(0, change(self, &s, 20000));
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_EXACT, s.flags);

	/* Not before its time; the numbers stay, and listeners are told. */
	reported_at = s.time_ns;
	ASSERT_EQ(0, change(self, &s, 20000));
	EXPECT_GE(now_ns(), reported_at + age);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_STALE, s.flags);
	EXPECT_EQ(MIB, s.bytes.precopy);
	EXPECT_EQ(reported_at, s.time_ns);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_STALE, source(self).flags);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_STALE, session(self).flags);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_STALE, self->header->flags);

	/* A report ends that, and puts it off while reports come in time. */
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, report(self, id, i, 0, 0, 0));
		for (;;) {
			ASSERT_EQ(0, change(self, &s, 20000));
			if (!(s.flags & MIGTRACK_COUNTER_FLAGS_STALE))
				break;
			/* This machine was too busy for that. */
			EXPECT_GE(now_ns(), s.time_ns + age);
		}
		EXPECT_EQ(i, s.bytes.precopy);
		EXPECT_EQ(0, s.flags);
		usleep(age / 1000 / 10);
	}
	/* Once told, it is not told again. */
	ASSERT_EQ(0, change(self, &s, 20000));
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_STALE, s.flags);
	EXPECT_EQ(-ETIMEDOUT, change(self, &s, 1000));
}

TEST_F_TIMEOUT(reported, default_age, 60)
{
	uint32_t id;

	ASSERT_EQ(0, migtrack_source_add_reported(self->mt, self->fd, 0, &id));
	self->id = id;
	EXPECT_EQ(MIGTRACK_DEFAULT_MAX_AGE, source(self).max_age_ns);
	/* One that no clock reaches. */
	ASSERT_EQ(0, migtrack_source_add_reported(self->mt, self->fd, ~0ULL, &id));
	ASSERT_EQ(0, report(self, id, 1, 1, 1, 0));
	self->id = id;
	usleep(200000);
	EXPECT_EQ(0, source(self).flags);
}

/* Its owner could not ask, or it has gone: the last numbers stand. */
TEST_F_TIMEOUT(reported, without_sizes, 60)
{
	struct migtrack_source s;

	ASSERT_EQ(0, report(self, self->id, 9, 9, 9, MIGTRACK_COUNTER_FLAGS_STALE));
	EXPECT_EQ(UNSIZED, source(self).flags);

	ASSERT_EQ(0, report(self, self->id, MIB, 2, 3, MIGTRACK_COUNTER_FLAGS_EXACT));
	ASSERT_EQ(0, report(self, self->id, 9, 9, 9, MIGTRACK_COUNTER_FLAGS_STALE |
			    MIGTRACK_COUNTER_FLAGS_EXACT));
	s = source(self);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_STALE, s.flags);
	EXPECT_EQ(MIB + 5, s.bytes.total);
	ASSERT_EQ(0, report(self, self->id, 9, 9, 9, MIGTRACK_COUNTER_FLAGS_GONE));
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_GONE, source(self).flags);
	EXPECT_EQ(MIB + 5, source(self).bytes.total);
	ASSERT_EQ(0, report(self, self->id, 1, 0, 0, MIGTRACK_COUNTER_FLAGS_EXACT));
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_EXACT, source(self).flags);
}

/* An iteration shows what was reported by then. */
TEST_F_TIMEOUT(reported, in_iterations, 120)
{
	struct migtrack_session s;
	unsigned int i;

	ASSERT_EQ(0, migtrack_sync(self->mt, self->fd, MIGTRACK_SYNC_KIND_SETUP));
	ASSERT_EQ(0, migtrack_sync_wait(self->fd, 10000));
	for (i = 2; i < 200; i++) {
		ASSERT_EQ(0, report(self, self->id, i, 0, i, 0));
		ASSERT_EQ(0, migtrack_sync(self->mt, self->fd,
					   MIGTRACK_SYNC_KIND_ITERATION));
		/* It goes on while a sync runs, and is never undone by its end. */
		ASSERT_EQ(0, report(self, self->id, i, 1, i, 0));
		ASSERT_EQ(0, migtrack_sync_wait(self->fd, 10000));
		s = session(self);
		EXPECT_EQ(i, s.iteration);
		EXPECT_EQ(2 * i + 1, s.bytes.total);
		EXPECT_EQ(2 * i + 1, self->header->total_bytes);
	}
}

TEST_F_TIMEOUT(reported, has_no_bitmap, 60)
{
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED, self->fd,
				   (self->id + 1ULL) << 40));
}

TEST_F_TIMEOUT(reported, refused, 60)
{
	struct migtrack_source_map map;
	char *memory;
	int mem_fd;

#define EXPECT_REFUSED(error, text, ret) do {				\
	EXPECT_EQ(-(error), ret);					\
	EXPECT_STREQ(text, migtrack_message(self->mt));			\
} while (0)

	EXPECT_REFUSED(ENOENT, "no such source in this session",
		       report(self, self->id + 1, 1, 1, 1, 0));
	EXPECT_REFUSED(ENOENT, "no such source in this session",
		       report(self, ~0U, 1, 1, 1, 0));
	EXPECT_REFUSED(EINVAL, "only the flags exact, stale and gone can be reported",
		       report(self, self->id, 1, 1, 1, MIGTRACK_COUNTER_FLAGS_CLAMPED));
	EXPECT_EQ(-EINVAL, report(self, self->id, 1, 1, 1, 1U << 31));

	mem_fd = memfd_create("guest", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(mem_fd, 4096));
	memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, mem_fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, migtrack_source_add_ram(self->mt, self->fd, getpid(), mem_fd, 0, 0,
					     &map));
	EXPECT_REFUSED(EINVAL, "the kernel itself asks that source",
		       report(self, map.id, 1, 1, 1, 0));
	ASSERT_EQ(0, migtrack_source_del(self->mt, self->fd, map.id));

	ASSERT_EQ(0, migtrack_session_del(self->mt, self->fd));
	EXPECT_REFUSED(ENODEV, "the session has ended",
		       report(self, self->id, 1, 1, 1, 0));
	munmap(memory, 4096);
	close(mem_fd);
}

/* Reports until the session ends under them, with a source about to age. */
TEST_F_TIMEOUT(reported, until_the_end, 120)
{
	unsigned int i, j;
	uint64_t session;
	uint32_t id;
	int fd;

	for (i = 0; i < 200; i++) {
		ASSERT_EQ(0, migtrack_session_new(self->mt, &session, &fd));
		for (j = 0; j < 4; j++) {
			struct migtrack_report r = { .bytes.precopy = j };

			ASSERT_EQ(0, migtrack_source_add_reported(self->mt, fd,
								  NS_PER_MS, &id));
			ASSERT_EQ(0, migtrack_source_report(self->mt, fd, id, &r));
		}
		usleep(i * 50);
		if (i % 2)
			ASSERT_EQ(0, migtrack_source_del(self->mt, fd, id));
		close(fd);
	}
}

TEST_HARNESS_MAIN
