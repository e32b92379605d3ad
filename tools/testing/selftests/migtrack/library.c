// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libmigtrack as programs use it: the installed header and shared library. Each
 * call is made once at least; library.sh does it again under valgrind.
 */

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <migtrack.h>

#include "kselftest_harness.h"

#define MEMORY	(64UL * 4096)

FIXTURE(library) {
	struct migtrack *mt;
	struct migtrack_source_map map;
	uint64_t id;
	int fd, mem_fd, fds;
	char *memory;
};

static int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

FIXTURE_SETUP(library)
{
	self->fds = open_fds();
	ASSERT_EQ(0, migtrack_open(&self->mt));
	EXPECT_STREQ("", migtrack_message(self->mt));
	ASSERT_EQ(0, migtrack_session_new(self->mt, &self->id, &self->fd));
	self->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	memset(self->memory, 1, MEMORY);
	ASSERT_EQ(0, migtrack_source_add_ram(self->mt, self->fd, getpid(), self->mem_fd,
					     0, 0, &self->map));
}

FIXTURE_TEARDOWN(library)
{
	munmap(self->memory, MEMORY);
	close(self->mem_fd);
	close(self->fd);
	migtrack_close(self->mt);
	EXPECT_EQ(self->fds, open_fds());
}

TEST_F_TIMEOUT(library, sessions_and_sources, 120)
{
	struct migtrack_session set = {}, get;
	struct migtrack_source source;

	EXPECT_EQ(self->id, self->map.session_id);
	EXPECT_EQ(MEMORY, self->map.length);
	ASSERT_EQ(0, migtrack_source_get(self->mt, self->id, self->map.id, &source));
	EXPECT_EQ(getpid(), source.pid);
	EXPECT_EQ(MEMORY, source.length);
	EXPECT_EQ(0, source.reserved[0]);

	set.phase = MIGTRACK_PHASE_PRECOPY;
	set.bandwidth = 1 << 30;
	set.bandwidth_source = MIGTRACK_BANDWIDTH_SOURCE_USER;
	set.expected_downtime_ns = 12345;
	ASSERT_EQ(0, migtrack_session_set(self->mt, self->fd, &set));
	ASSERT_EQ(0, migtrack_session_get(self->mt, self->id, &get));
	EXPECT_EQ(1, get.sources);
	EXPECT_EQ(MIGTRACK_PHASE_PRECOPY, get.phase);
	EXPECT_EQ(12345, get.expected_downtime_ns);

	ASSERT_EQ(0, migtrack_source_del(self->mt, self->fd, self->map.id));
	EXPECT_EQ(-ENOENT, migtrack_source_get(self->mt, self->id, self->map.id, &source));
	EXPECT_STRNE("", migtrack_message(self->mt));
	ASSERT_EQ(0, migtrack_session_del(self->mt, self->fd));
	EXPECT_EQ(-ENODEV, migtrack_sync_wait(self->fd, 1000));
	EXPECT_EQ(-ENOENT, migtrack_session_get(self->mt, self->id, &get));
}

TEST_F_TIMEOUT(library, reports, 120)
{
	struct migtrack_report report = { .flags = MIGTRACK_COUNTER_FLAGS_EXACT };
	struct migtrack_source source;
	uint32_t id;

	ASSERT_EQ(0, migtrack_source_add_reported(self->mt, self->fd, 1ULL << 40, &id));
	report.bytes.stopcopy = 5000;
	report.dirty_rate = 7;
	ASSERT_EQ(0, migtrack_source_report(self->mt, self->fd, id, &report));
	ASSERT_EQ(0, migtrack_source_get(self->mt, self->id, id, &source));
	EXPECT_EQ(MIGTRACK_SOURCE_TYPE_REPORTED, source.type);
	EXPECT_EQ(5000, source.bytes.stopcopy);
	EXPECT_EQ(5000, source.bytes.total);
	EXPECT_EQ(7, source.dirty_rate);
	EXPECT_EQ(1ULL << 40, source.max_age_ns);
	EXPECT_EQ(-EINVAL, migtrack_source_report(self->mt, self->fd, self->map.id, &report));
}

/* Of real devices: the test vfio. */
TEST_F_TIMEOUT(library, devices, 120)
{
	static const char long_name[] =
		"A name of 64 characters, which is one more than there is room fo";
	struct migtrack_source source;
	uint32_t id;
	int ret;

	ret = migtrack_source_add_vfio(self->mt, self->fd, self->mem_fd, -1, "name", &id);
	/* The module of these may not be loaded. */
	EXPECT_TRUE(ret == -EINVAL || ret == -EOPNOTSUPP);
	EXPECT_STRNE("", migtrack_message(self->mt));
	EXPECT_EQ(MIGTRACK_NAME_SIZE, sizeof(long_name) - 1);
	EXPECT_EQ(-EINVAL, migtrack_source_add_vfio(self->mt, self->fd, self->mem_fd, -1,
						    long_name, &id));
	EXPECT_EQ(-EINVAL, migtrack_source_set_data(self->mt, self->fd, self->map.id,
						    self->mem_fd));
	ASSERT_EQ(0, migtrack_source_get(self->mt, self->id, self->map.id, &source));
	EXPECT_STREQ("", source.name);
	EXPECT_EQ(UINT32_MAX, source.device_state);
	EXPECT_EQ(UINT64_MAX, source.precopy_initial);
	EXPECT_EQ(UINT64_MAX, source.stopcopy_size);
}

struct seen {
	struct migtrack *mt;
	uint64_t id;
	unsigned int sessions;
	unsigned int sources;
	uint64_t pages;
};

static int see_source(const struct migtrack_source *source, void *data)
{
	struct seen *seen = data;

	seen->sources++;
	seen->pages += source->length / source->page_size;
	return 0;
}

/* A callback may use the handle that calls it. */
static int see_session(const struct migtrack_session *session, void *data)
{
	struct seen *seen = data;

	if (session->id != seen->id)
		return 0;
	seen->sessions++;
	return migtrack_source_dump(seen->mt, session->id, see_source, seen);
}

static int stop_at_once(const struct migtrack_session *session, void *data)
{
	return 77;
}

TEST_F_TIMEOUT(library, dumps, 120)
{
	struct seen seen = { .mt = self->mt, .id = self->id };
	struct migtrack_source_map map;
	unsigned int i;

	/* More than one message's worth. */
	for (i = 0; i < 20; i++)
		ASSERT_EQ(0, migtrack_source_add_ram(self->mt, self->fd, getpid(),
						     self->mem_fd, 4096, 8192, &map));
	ASSERT_EQ(0, migtrack_session_dump(self->mt, see_session, &seen));
	EXPECT_EQ(1, seen.sessions);
	EXPECT_EQ(21, seen.sources);
	EXPECT_EQ(MEMORY / 4096 + 20 * 2, seen.pages);
	EXPECT_EQ(77, migtrack_session_dump(self->mt, stop_at_once, NULL));
	EXPECT_EQ(-ENOENT, migtrack_source_dump(self->mt, self->id + 1000, see_source,
						&seen));
}

TEST_F_TIMEOUT(library, syncs, 120)
{
	struct migtrack_map_header *header, copy;
	unsigned long *bitmap;

	ASSERT_EQ(0, migtrack_header_map(self->fd, &header));
	ASSERT_EQ(0, migtrack_bitmap_map(self->fd, &self->map, &bitmap));
	EXPECT_EQ(-ETIMEDOUT, migtrack_sync_wait(self->fd, 0));
	ASSERT_EQ(0, migtrack_sync(self->mt, self->fd, MIGTRACK_SYNC_KIND_SETUP));
	ASSERT_EQ(0, migtrack_sync_wait(self->fd, 30000));
	EXPECT_EQ(~0UL, __atomic_exchange_n(bitmap, 0, __ATOMIC_SEQ_CST));
	/* All of it is found until our address space is adopted. */
	do {
		usleep(10000);
		ASSERT_EQ(0, migtrack_sync(self->mt, self->fd, MIGTRACK_SYNC_KIND_HELPER));
		ASSERT_EQ(0, migtrack_sync_wait(self->fd, 30000));
	} while (__atomic_exchange_n(bitmap, 0, __ATOMIC_SEQ_CST));

	self->memory[3 * 4096] = 2;
	ASSERT_EQ(0, migtrack_sync(self->mt, self->fd, MIGTRACK_SYNC_KIND_ITERATION));
	ASSERT_EQ(0, migtrack_sync_wait(self->fd, 30000));
	migtrack_header_read(header, &copy);
	EXPECT_EQ(MIGTRACK_MAP_VERSION, copy.version);
	EXPECT_EQ(2, copy.iteration);
	EXPECT_EQ(0, copy.sync_error);
	EXPECT_EQ(1UL << 3, *bitmap);

	migtrack_bitmap_unmap(&self->map, bitmap);
	migtrack_header_unmap(header);
	EXPECT_EQ(-EBADF, migtrack_sync_wait(1000, 0));
	EXPECT_EQ(-EBADF, migtrack_header_map(1000, &header));
	EXPECT_EQ(NULL, header);
}

TEST_F_TIMEOUT(library, events, 120)
{
	struct migtrack_session set = { .expected_downtime_ns = UINT64_MAX };
	struct migtrack_event event = {};
	struct migtrack *listener;
	struct pollfd pollfd;
	int ret;

	ASSERT_EQ(0, migtrack_open(&listener));
	ASSERT_EQ(0, migtrack_subscribe(listener));
	EXPECT_EQ(-EAGAIN, migtrack_event_read(listener, &event));
	ASSERT_EQ(0, migtrack_session_set(self->mt, self->fd, &set));

	pollfd = (struct pollfd){ migtrack_fd(listener), POLLIN, 0 };
	do {
		ret = migtrack_event_read(listener, &event);
		if (ret == -EAGAIN)
			ASSERT_EQ(1, poll(&pollfd, 1, 10000));
	} while (ret == -EAGAIN || event.session.id != self->id);
	EXPECT_EQ(0, ret);
	EXPECT_EQ(MIGTRACK_EVENT_SESSION_CHANGE, event.type);
	EXPECT_NE(0, event.session.event_seq);
	migtrack_close(listener);
	migtrack_close(NULL);
}

TEST_HARNESS_MAIN
