// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Processes that a sync comes across at a bad moment: a fork that fails half-way, and
 * one that does not give its mmap_lock back while others come and go. The test modules
 * "delay" and "sleeper" make these moments long. MIGTRACK_TEST_MODULES is their folder.
 */

#include <err.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "harvest.h"
#include "host.h"

#define PAGE		4096UL
#define MEMORY		(4UL << 20)
#define LOW		(1UL << 20)	/* below all else that a process has */
#define MAPPINGS	400UL		/* that a fork has to copy */
#define COPIES		5
#define ROUNDS		3
/* It waits 250 ms for all of them, not for each; the rest is a machine that is slow. */
#define MAX_SYNC_NS	1000000000ULL

FIXTURE(adoption) {
	struct harvest h;
	char *memory;
	int mem_fd;
	const char *module;		/* that was inserted */
	long before;			/* so many were held up */
};

static void command(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (system(text))
		errx(1, "%s", text);
}

FIXTURE_SETUP(adoption)
{
	self->mem_fd = memfd_create("guest", 0);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	ASSERT_EQ(0, madvise(self->memory, MEMORY, MADV_DONTFORK));
	harvest_open(&self->h, getpid(), self->mem_fd);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
}

FIXTURE_TEARDOWN(adoption)
{
	harvest_close(&self->h);
	munmap(self->memory, MEMORY);
	close(self->mem_fd);
	if (self->module)
		command("rmmod %s", self->module);
}

/* Who asks for it is held up, by one of the test modules. */
static bool insert(FIXTURE_DATA(adoption) *self, const char *module, const char *parameters)
{
	const char *modules = getenv("MIGTRACK_TEST_MODULES");

	if (!modules)
		return false;
	command("insmod %s/%s/%s.ko %s", modules, module, module, parameters);
	self->module = module;
	return true;
}

static const char *parameter(FIXTURE_DATA(adoption) *self, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", self->module, name);
	return path;
}

static long held_up(FIXTURE_DATA(adoption) *self)
{
	return host_number(parameter(self, "inside"), "");
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static char *map(FIXTURE_DATA(adoption) *self, unsigned long where)
{
	char *memory = mmap((void *)where, MEMORY, PROT_READ | PROT_WRITE,
			    MAP_SHARED | (where ? MAP_FIXED : 0), self->mem_fd, 0);

	if (memory == MAP_FAILED)
		err(1, "mmap");
	return memory;
}

/* A sync after it finds what is written, in a kernel that goes on as before. */
#define EXPECT_FOUND(page) do {							\
	self->memory[(page) * PAGE]++;						\
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);			\
	harvest_take(&self->h);							\
	EXPECT_TRUE(harvest_took(&self->h, page));				\
} while (0)

/* It maps the memory where a fork comes to it first, and forks. */
static void fork_slowly(FIXTURE_DATA(adoption) *self)
{
	unsigned long i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	map(self, LOW);
	/* With gaps, or they would be one. */
	for (i = 0; i < MAPPINGS; i++)
		if (mmap((void *)(LOW + 2 * MEMORY + 2 * i * PAGE), PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			err(1, "mmap");
	host_write_number(parameter(self, "tgid"), getpid());
	if (!fork())
		_exit(0);
	for (;;)
		pause();
}

/*
 * Catches who takes any address space for a whole one: what a fork leaves that was
 * killed ends, at some address, in a mark that is no mapping.
 */
TEST_F_TIMEOUT(adoption, of_a_child_whose_fork_fails, 240)
{
	unsigned int round;
	pid_t pid;

	/* Called for each mapping that a child gets. */
	if (!insert(self, "delay", "symbol=copy_page_range ms=20"))
		SKIP(return, "needs MIGTRACK_TEST_MODULES");
	for (round = 0; round < ROUNDS; round++) {
		self->before = held_up(self);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			fork_slowly(self);
		ASSERT_TRUE(EVENTUALLY(held_up(self) >= self->before + COPIES));
		ASSERT_EQ(0, migtrack_sync(self->h.mt, self->h.fd, MIGTRACK_SYNC_KIND_ITERATION));
		/* It has found the child, and waits for its mmap_lock. */
		usleep(50000);
		end(pid);
		ASSERT_EQ(0, migtrack_sync_wait(self->h.fd, 60000));
		EXPECT_EQ(0, self->h.header->sync_error);
		EXPECT_FOUND(round);
	}
}

/* New ones all the time, each of which could be waited for. */
static void come_and_go(FIXTURE_DATA(adoption) *self)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		if (!fork()) {
			*map(self, 0) = 1;
			usleep(100000);
			_exit(0);
		}
		usleep(20000);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

/* It ends when it has its lock back. */
static void without_its_lock(FIXTURE_DATA(adoption) *self)
{
	char *memory = map(self, 0);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	*memory = 1;
	host_write_number(parameter(self, "lock"), 1);
	while (held_up(self) == self->before)
		usleep(1000);
	mprotect(memory, PAGE, PROT_READ);
	_exit(0);
}

/* Catches who waits for each that turns up: one that is stuck makes all of them long. */
TEST_F_TIMEOUT(adoption, of_one_that_keeps_its_lock, 240)
{
	unsigned int round, syncs = 0;
	uint64_t longest = 0;
	pid_t pid, others;

	if (!insert(self, "sleeper", "ms=3000"))
		SKIP(return, "needs MIGTRACK_TEST_MODULES");
	for (round = 0; round < ROUNDS; round++) {
		self->before = held_up(self);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			without_its_lock(self);
		}
		ASSERT_TRUE(EVENTUALLY(held_up(self) > self->before));
		others = fork();
		ASSERT_LE(0, others);
		if (!others)
			come_and_go(self);
		do {
			harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
			if (self->h.header->sync_duration_ns > longest)
				longest = self->h.header->sync_duration_ns;
			syncs++;
		} while (!waitpid(pid, NULL, WNOHANG));
		end(others);
		EXPECT_FOUND(round);
	}
	TH_LOG("%u syncs, the longest took %llu ms", syncs, (unsigned long long)longest / 1000000);
	EXPECT_GT(MAX_SYNC_NS * slow(), longest);
	/* Else it had given its lock back. */
	EXPECT_LT(ROUNDS, syncs);
}

TEST_HARNESS_MAIN
