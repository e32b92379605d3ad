// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A sync that takes most of a minute: memory as large as a host's, mapped often and
 * with many sources. Nobody waits for it, and its owner can call it off.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "migtrack.h"
#include "raw.h"

#define MEMORY		(256UL << 30)
#define MAX_SOURCES	32
#define BUSY_ROUNDS	3
#define MAX_MAPPINGS	256
#define NS_PER_S	1000000000ULL
#define AIM_NS		(45 * NS_PER_S)
/* A doit that waits for the sync takes longer; one on a busy machine does not. */
#define SHORT_NS	(15 * NS_PER_S)
#define LONG_NS		(20 * NS_PER_S)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

FIXTURE(slow) {
	struct migtrack *mt;
	struct migtrack_map_header *header;
	uint64_t id, sources;
	int fd, mem_fd;
};

static void map_memory(int mem_fd)
{
	if (mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
		 mem_fd, 0) == MAP_FAILED)
		exit(1);
}

static int session_open(struct migtrack *mt, pid_t pid, int mem_fd, unsigned int sources,
			uint64_t *id, struct migtrack_map_header **header)
{
	struct migtrack_source_map map;
	int fd, ret;

	ret = migtrack_session_new(mt, id, &fd);
	if (ret)
		return ret;
	while (sources-- && !ret)
		ret = migtrack_source_add_ram(mt, fd, pid, mem_fd, 0, 0, &map);
	if (!ret)
		ret = migtrack_header_map(fd, header);
	return ret ? ret : fd;
}

static uint64_t one_sync(struct migtrack *mt, int mem_fd)
{
	struct migtrack_map_header *header;
	uint64_t id, took = 0;
	int fd;

	fd = session_open(mt, getpid(), mem_fd, 1, &id, &header);
	if (fd >= 0 && !migtrack_sync(mt, fd, MIGTRACK_SYNC_KIND_SETUP) &&
	    !migtrack_sync_wait(fd, 60000))
		took = header->sync_duration_ns;
	migtrack_header_unmap(header);
	close(fd);
	return took;
}

/* With one source; what else the machine does only makes it longer. */
static uint64_t quick_sync(struct migtrack *mt, int mem_fd)
{
	uint64_t a = one_sync(mt, mem_fd), b = one_sync(mt, mem_fd);

	return a < b ? a : b;
}

/* What the first test has measured; each is a process of its own. */
static struct scale {
	uint64_t mappings;
	uint64_t took;
} *scale;

__attribute__((constructor)) static void scale_share(void)
{
	scale = mmap(NULL, sizeof(*scale), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (scale == MAP_FAILED)
		exit(1);
}

/* As many mappings as it takes on this machine; 0 if a sync fails. */
static uint64_t scale_up(struct migtrack *mt, int mem_fd)
{
	uint64_t took, mappings = 1, i;

	for (;;) {
		took = quick_sync(mt, mem_fd);
		if (took * MAX_SOURCES >= AIM_NS || mappings >= MAX_MAPPINGS || !took)
			break;
		for (i = mappings; i; i--, mappings++)
			map_memory(mem_fd);
	}
	scale->mappings = mappings;
	return took;
}

/* Long enough on this machine: each source and each mapping add to it. */
FIXTURE_SETUP(slow)
{
	uint64_t i;

	ASSERT_EQ(0, migtrack_open(&self->mt));
	self->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	map_memory(self->mem_fd);
	if (!scale->took)
		scale->took = scale_up(self->mt, self->mem_fd);
	else
		for (i = 1; i < scale->mappings; i++)
			map_memory(self->mem_fd);
	ASSERT_LT(0, scale->took);
	self->sources = AIM_NS / scale->took + 1;
	if (self->sources > MAX_SOURCES)
		self->sources = MAX_SOURCES;
	TH_LOG("one source takes %llu ms; %llu sources, %llu mappings",
	       (unsigned long long)scale->took / 1000000,
	       (unsigned long long)self->sources, (unsigned long long)scale->mappings);
	self->fd = session_open(self->mt, getpid(), self->mem_fd, self->sources, &self->id,
				&self->header);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(slow)
{
	if (self->header)
		migtrack_header_unmap(self->header);
	close(self->fd);
	close(self->mem_fd);
	migtrack_close(self->mt);
}

#define EXPECT_SHORT(call) do {							\
	uint64_t _start = now_ns();						\
										\
	EXPECT_EQ(0, call);							\
	EXPECT_LT(now_ns() - _start, SHORT_NS);					\
} while (0)

static int get_family(void)
{
	struct raw raw;

	raw_open(&raw);
	raw_close(&raw);
	return 0;
}

/* As when any other module with one is loaded and unloaded. */
static int family_comes_and_goes(void)
{
	return system("insmod \"$MIGTRACK_TEST_MODULES/family/family.ko\" && rmmod family");
}

static int another_session(struct migtrack *mt)
{
	uint64_t id;
	int fd, ret;

	ret = migtrack_session_new(mt, &id, &fd);
	if (!ret)
		ret = migtrack_session_del(mt, fd);
	close(fd);
	return ret;
}

TEST_F_TIMEOUT(slow, nobody_waits_for_a_sync, 600)
{
	struct migtrack_session s, set = {
		.phase = MIGTRACK_PHASE_SETUP, .expected_downtime_ns = UINT64_MAX,
	};
	uint32_t source;
	unsigned int rounds = 0;

	EXPECT_SHORT(migtrack_sync(self->mt, self->fd, MIGTRACK_SYNC_KIND_SETUP));
	while (!self->header->syncs) {
		EXPECT_SHORT(get_family());
		EXPECT_SHORT(family_comes_and_goes());
		EXPECT_SHORT(another_session(self->mt));
		EXPECT_SHORT(migtrack_session_get(self->mt, self->id, &s));
		EXPECT_SHORT(migtrack_session_set(self->mt, self->fd, &set));
		/* Later on it may end between the two. */
		if (rounds++ < BUSY_ROUNDS) {
			EXPECT_EQ(-EBUSY, migtrack_sync(self->mt, self->fd,
							MIGTRACK_SYNC_KIND_HELPER));
			EXPECT_STREQ("a sync of this session runs already; wait for its end",
				     migtrack_message(self->mt));
			EXPECT_EQ(-EBUSY, migtrack_source_del(self->mt, self->fd, 0));
			EXPECT_EQ(-EBUSY, migtrack_source_add_reported(self->mt, self->fd,
								       0, &source));
		}
		if (_metadata->exit_code)
			break;
		usleep(500000);
	}
	ASSERT_EQ(0, migtrack_sync_wait(self->fd, 600000));
	EXPECT_EQ(0, self->header->sync_error);
	EXPECT_GE(self->header->sync_duration_ns, LONG_NS);
	EXPECT_GE(rounds, BUSY_ROUNDS);
	TH_LOG("%u rounds in %llu ms", rounds,
	       (unsigned long long)self->header->sync_duration_ns / 1000000);
}

/* Wait for the end of the sync, but not for as long as it would take. */
static int ended_early(const struct migtrack_map_header *header)
{
	uint64_t start = now_ns();

	while (!__atomic_load_n(&header->syncs, __ATOMIC_ACQUIRE)) {
		if (now_ns() - start > SHORT_NS)
			return 0;
		usleep(10000);
	}
	return 1;
}

TEST_F_TIMEOUT(slow, deleted, 300)
{
	ASSERT_EQ(0, migtrack_sync(self->mt, self->fd, MIGTRACK_SYNC_KIND_SETUP));
	usleep(500000);
	ASSERT_EQ(0, self->header->syncs);
	EXPECT_SHORT(migtrack_session_del(self->mt, self->fd));
	EXPECT_TRUE(ended_early(self->header));
	EXPECT_EQ(EINTR, self->header->sync_error);
	EXPECT_EQ(0, self->header->iteration);
}

/* KiB of the kernel's memory that bitmaps are made of. */
static long bitmaps_kib(void)
{
	char line[256];
	long n = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "VmallocUsed: %ld", &n);
	if (f)
		fclose(f);
	return n;
}

/* They are freed once the sync has ended. */
static int freed_early(long before_kib, uint64_t sources)
{
	const long own_kib = sources * (MEMORY >> 15) / 1024;
	uint64_t start = now_ns();

	while (bitmaps_kib() > before_kib - own_kib / 2) {
		if (now_ns() - start > SHORT_NS)
			return 0;
		usleep(10000);
	}
	return 1;
}

TEST_F_TIMEOUT(slow, closed, 300)
{
	long kib;

	ASSERT_EQ(0, migtrack_sync(self->mt, self->fd, MIGTRACK_SYNC_KIND_SETUP));
	usleep(500000);
	ASSERT_EQ(0, self->header->syncs);
	kib = bitmaps_kib();
	migtrack_header_unmap(self->header);
	self->header = NULL;
	EXPECT_SHORT(close(self->fd));
	EXPECT_TRUE(freed_early(kib, self->sources));
	self->fd = -1;
}

TEST_F_TIMEOUT(slow, owner_killed, 300)
{
	int pipefd[2], status;
	pid_t pid;
	long kib;
	char c;

	ASSERT_EQ(0, pipe(pipefd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (migtrack_sync(self->mt, self->fd, MIGTRACK_SYNC_KIND_SETUP) ||
		    write(pipefd[1], "", 1) != 1)
			_exit(1);
		migtrack_sync_wait(self->fd, -1);
		_exit(2);
	}
	migtrack_header_unmap(self->header);
	self->header = NULL;
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(1, read(pipefd[0], &c, 1));
	usleep(500000);
	kib = bitmaps_kib();
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_TRUE(freed_early(kib, self->sources));
	close(pipefd[0]);
	close(pipefd[1]);
}

/* In the midst of the setup sync, and with all that memory to be looked at still. */
TEST_F_TIMEOUT(slow, vmm_killed, 300)
{
	struct migtrack_map_header *header = NULL;
	uint64_t id, start;
	pid_t pid;
	int fd;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		for (;;)
			pause();
	fd = session_open(self->mt, pid, self->mem_fd, self->sources, &id, &header);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, migtrack_sync(self->mt, fd, MIGTRACK_SYNC_KIND_SETUP));
	usleep(500000);
	ASSERT_EQ(0, header->syncs);
	start = now_ns();
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_LT(now_ns() - start, SHORT_NS);
	EXPECT_TRUE(ended_early(header));
	EXPECT_EQ(0, header->sync_error);
	EXPECT_TRUE(header->flags & MIGTRACK_COUNTER_FLAGS_GONE);
	migtrack_header_unmap(header);
	close(fd);
}

TEST_HARNESS_MAIN
