// SPDX-License-Identifier: GPL-2.0-or-later
/* Whoever dies, and however: nothing is left behind. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "harvest.h"

#define MEMORY	(32UL << 20)
#define SYNCS	20
#define BACK_ENDS	2
#define REMOVALS	10
#define SHRINKS		3000
#define REMOVE		"rmmod migtrack_vfio 2>/dev/null; rmmod migtrack 2>/dev/null"

/* A VMM for our purposes: maps the memory and writes to it until killed. */
static pid_t fake_vmm(int mem_fd)
{
	int pipefd[2];
	pid_t pid;
	char c;

	if (pipe(pipefd))
		return -1;
	pid = fork();
	if (!pid) {
		char *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
				    MAP_SHARED, mem_fd, 0);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(mem_fd);
		memset(memory, 1, MEMORY);
		if (write(pipefd[1], "", 1) != 1)
			_exit(1);
		for (;;)
			memory[(rand() % (MEMORY / 4096)) * 4096]++;
	}
	close(pipefd[1]);
	if (read(pipefd[0], &c, 1) != 1)
		pid = -1;
	close(pipefd[0]);
	return pid;
}

static void kill_wait(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A number from a file such as /proc/meminfo, in its unit; -1: not there. */
static long file_number(const char *path, const char *key)
{
	char line[256];
	long n = -1;
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			sscanf(line + strlen(key), "%ld", &n);
	if (f)
		fclose(f);
	return n;
}

/* It is loaded when somebody asks for its family: nobody has it before that. */
static long module_refs(void)
{
	long refs = file_number("/sys/module/migtrack/refcnt", "");

	return refs < 0 ? 0 : refs;
}

FIXTURE(lifetime) {
	struct harvest h;
	pid_t vmm;
	long refs, shmem_kib;
};

FIXTURE_SETUP(lifetime)
{
	int mem_fd = memfd_create("guest", MFD_CLOEXEC);

	ASSERT_EQ(0, ftruncate(mem_fd, MEMORY));
	self->refs = module_refs();
	self->shmem_kib = file_number("/proc/meminfo", "Shmem:");
	self->vmm = fake_vmm(mem_fd);
	ASSERT_LT(0, self->vmm);
	harvest_open(&self->h, self->vmm, mem_fd);
	close(mem_fd);
}

FIXTURE_TEARDOWN(lifetime)
{
	kill_wait(self->vmm);
	harvest_close(&self->h);
	EXPECT_TRUE(EVENTUALLY(module_refs() == self->refs));
	/* The guest's memory is gone: within 4 MiB of where it was. */
	EXPECT_TRUE(EVENTUALLY(file_number("/proc/meminfo", "Shmem:") <
			       self->shmem_kib + 4096));
}

/* Without a sync, the owner and all listeners are told; memory is let go of. */
TEST_F_TIMEOUT(lifetime, vmm_killed_while_tracked, 120)
{
	struct migtrack_session s;
	struct migtrack_event event;
	struct migtrack *events;
	int ret;

	ASSERT_EQ(0, migtrack_open(&events));
	ASSERT_EQ(0, migtrack_subscribe(events));
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
	self->h.header->moved_bytes[0] += MEMORY / 2;
	kill_wait(self->vmm);

	do {
		poll(&(struct pollfd){ migtrack_fd(events), POLLIN, 0 }, 1, 30000);
		ret = migtrack_event_read(events, &event);
		ASSERT_EQ(0, ret);
	} while (event.type != MIGTRACK_EVENT_SOURCE_CHANGE);
	EXPECT_EQ(self->h.id, event.source.session_id);
	EXPECT_TRUE(event.source.flags & MIGTRACK_COUNTER_FLAGS_GONE);
	EXPECT_FALSE(event.source.flags & MIGTRACK_COUNTER_FLAGS_EXACT);
	migtrack_close(events);

	EXPECT_TRUE(EVENTUALLY(file_number("/proc/meminfo", "Shmem:") <
			       self->shmem_kib + 4096));
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_TRUE(self->h.header->flags & MIGTRACK_COUNTER_FLAGS_GONE);
	/* What is left is as it was: the half that was moved has been. */
	ASSERT_EQ(0, migtrack_session_get(self->h.mt, self->h.id, &s));
	EXPECT_EQ(MEMORY / 2, s.bytes.precopy);
}

TEST_F_TIMEOUT(lifetime, vmm_killed_before_the_setup, 120)
{
	kill_wait(self->vmm);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	EXPECT_TRUE(self->h.header->flags & MIGTRACK_COUNTER_FLAGS_GONE);
}

TEST_F_TIMEOUT(lifetime, vmm_killed_during_syncs, 120)
{
	unsigned int i;

	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	for (i = 0; i < SYNCS; i++) {
		ASSERT_EQ(0, migtrack_sync(self->h.mt, self->h.fd,
					   MIGTRACK_SYNC_KIND_ITERATION));
		if (i == SYNCS / 2)
			kill(self->vmm, SIGKILL);
		ASSERT_EQ(0, migtrack_sync_wait(self->h.fd, 60000));
	}
	waitpid(self->vmm, NULL, 0);
	EXPECT_TRUE(EVENTUALLY(self->h.header->flags & MIGTRACK_COUNTER_FLAGS_GONE));
}

static int session_is(const struct migtrack_session *session, void *data)
{
	return session->id == *(uint64_t *)data;
}

/* A controller that is killed, in the middle of a sync. */
TEST_F_TIMEOUT(lifetime, controller_killed, 120)
{
	uint64_t id, *shared;
	pid_t pid;

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int mem_fd = memfd_create("own", 0);
		struct harvest h;

		if (ftruncate(mem_fd, MEMORY) ||
		    mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
			 mem_fd, 0) == MAP_FAILED)
			_exit(1);
		harvest_open(&h, getpid(), mem_fd);
		harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
		__atomic_store_n(shared, h.id, __ATOMIC_SEQ_CST);
		for (;;)
			harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
	}
	ASSERT_TRUE(EVENTUALLY(__atomic_load_n(shared, __ATOMIC_SEQ_CST)));
	id = *shared;
	EXPECT_EQ(1, migtrack_session_dump(self->h.mt, session_is, &id));
	usleep(50000);
	kill_wait(pid);
	EXPECT_TRUE(EVENTUALLY(!migtrack_session_dump(self->h.mt, session_is, &id)));
	munmap(shared, 4096);
}

/* session-del while a sync runs: cancelled, and all is let go of. */
TEST_F_TIMEOUT(lifetime, deleted_during_a_sync, 120)
{
	unsigned int i;

	for (i = 0; i < SYNCS; i++) {
		ASSERT_EQ(0, migtrack_sync(self->h.mt, self->h.fd,
					   i ? MIGTRACK_SYNC_KIND_ITERATION :
					       MIGTRACK_SYNC_KIND_SETUP));
		if (i == SYNCS - 1)
			break;
		ASSERT_EQ(0, migtrack_sync_wait(self->h.fd, 60000));
	}
	ASSERT_EQ(0, migtrack_session_del(self->h.mt, self->h.fd));
	EXPECT_EQ(-ENODEV, migtrack_sync(self->h.mt, self->h.fd,
					 MIGTRACK_SYNC_KIND_ITERATION));
}

/* Unmaps and maps, and is told of to the notifiers that it has, all the time. */
static pid_t back_end(int mem_fd, volatile bool *mapped)
{
	pid_t pid = fork();
	char *memory;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, mem_fd, 0);
	*memory = 1;
	*mapped = true;
	for (;;) {
		size_t first = rand() % (MEMORY / 2);

		memory[first] = 1;
		madvise(memory + first / 4096 * 4096, MEMORY / 2, MADV_DONTNEED);
	}
}

/* For the time limit. */
FIXTURE(module) {
	char none;
};

FIXTURE_SETUP(module)
{
}

FIXTURE_TEARDOWN(module)
{
}

/* It goes while processes that it had notifiers in go on. */
TEST_F_TIMEOUT(module, removed_while_others_zap, 240)
{
	pid_t others[BACK_ENDS];
	unsigned int i, round;
	int mem_fd = memfd_create("guest", MFD_CLOEXEC);
	volatile bool *mapped;
	struct harvest h;
	pid_t vmm;

	ASSERT_EQ(0, ftruncate(mem_fd, MEMORY));
	vmm = fake_vmm(mem_fd);
	ASSERT_LT(0, vmm);
	mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mapped);
	for (i = 0; i < BACK_ENDS; i++) {
		others[i] = back_end(mem_fd, &mapped[i]);
		while (!mapped[i])
			usleep(1000);
	}

	for (round = 0; round < REMOVALS; round++) {
		harvest_open(&h, vmm, mem_fd);
		harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
		EXPECT_EQ(1 + BACK_ENDS, harvest_source(&h).processes);
		harvest_close(&h);
		/* Its end lets go of the module, before all of it is over. */
		EXPECT_TRUE(EVENTUALLY(!system(REMOVE)));
		ASSERT_EQ(0, system("modprobe migtrack"));
	}
	for (i = 0; i < BACK_ENDS; i++)
		kill_wait(others[i]);
	kill_wait(vmm);
	munmap((void *)mapped, 4096);
	close(mem_fd);
}

struct shrinker {
	int mem_fd;
	volatile bool stop;
};

static void *shrink_and_grow(void *data)
{
	struct shrinker *shrinker = data;

	while (!shrinker->stop) {
		if (ftruncate(shrinker->mem_fd, MEMORY / 2) || ftruncate(shrinker->mem_fd, MEMORY))
			return data;
	}
	return NULL;
}

/* Catches who asks for the size twice: a source of no page at all. */
TEST_F_TIMEOUT(module, file_shrinks_while_it_is_added, 240)
{
	struct shrinker shrinker = { .mem_fd = memfd_create("guest", MFD_CLOEXEC) };
	unsigned int round, added = 0, refused = 0;
	struct migtrack_source_map map;
	struct migtrack *mt;
	pthread_t thread;
	uint64_t id;
	void *result;
	int fd, ret;

	ASSERT_EQ(0, ftruncate(shrinker.mem_fd, MEMORY));
	ASSERT_NE(MAP_FAILED, mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
				   shrinker.mem_fd, 0));
	ASSERT_EQ(0, migtrack_open(&mt));
	ASSERT_EQ(0, migtrack_session_new(mt, &id, &fd));
	ASSERT_EQ(0, pthread_create(&thread, NULL, shrink_and_grow, &shrinker));
	for (round = 0; round < SHRINKS; round++) {
		ret = migtrack_source_add_ram(mt, fd, getpid(), shrinker.mem_fd, MEMORY / 2, 0,
					      &map);
		if (ret) {
			/* Past its end when asked, or when its tracker was made. */
			ASSERT_TRUE(ret == -EINVAL || ret == -EFBIG);
			refused++;
			continue;
		}
		ASSERT_LT(0, map.length);
		ASSERT_EQ(0, migtrack_source_del(mt, fd, map.id));
		added++;
	}
	shrinker.stop = true;
	pthread_join(thread, &result);
	ASSERT_EQ(NULL, result);
	TH_LOG("%u added, %u refused", added, refused);
	EXPECT_LT(0, added);
	EXPECT_LT(0, refused);
	close(fd);
	migtrack_close(mt);
	close(shrinker.mem_fd);
}

TEST_HARNESS_MAIN
