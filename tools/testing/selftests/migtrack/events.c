// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What takes the trace of a write away: the page table that has it goes, or its
 * write bit. A second process, which maps a window of the memory as a back end
 * does, writes there and then lets it happen.
 */

#include <errno.h>
#include <signal.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "harvest.h"

#define MEMORY		(16UL << 20)
#define PAGE		4096UL
#define WINDOW		(4UL << 20)	/* where the window starts */
#define WINDOW_SIZE	(4UL << 20)
#define ELSEWHERE	(12UL << 20)	/* as large, not mapped by the back end at first */
#define WRITES		100UL

enum backend_command {
	BACKEND_MAP,
	BACKEND_WRITE,
	BACKEND_UNMAP,
	BACKEND_REMAP,		/* move the mapping */
	BACKEND_PROTECT,	/* and back */
	BACKEND_READ_ONLY,	/* from now on */
	BACKEND_DONTNEED,
	BACKEND_FORK_WRITE,	/* a child writes, and exits */
	BACKEND_WRITE_ELSEWHERE,	/* through a mapping more */
	BACKEND_WRITE_ELSEWHERE_DONTNEED,
	BACKEND_EXIT,
	BACKEND_EXEC,
};

struct shared {
	volatile unsigned int asked, done;
	volatile enum backend_command command;
	volatile bool ready;		/* it maps none of the memory */
};

FIXTURE(events) {
	struct harvest h;
	struct shared *shared;
	pid_t backend;
	int mem_fd;
	char *memory;
};

static void write_pages(char *window)
{
	unsigned long i;

	for (i = 0; i < WRITES; i++)
		window[7 * i * PAGE]++;
}

static void backend_do(enum backend_command command, int mem_fd, char **window)
{
	char *elsewhere;
	pid_t pid;

	switch (command) {
	case BACKEND_MAP:
		*window = mmap(NULL, WINDOW_SIZE, PROT_READ | PROT_WRITE,
			       MAP_SHARED, mem_fd, WINDOW);
		break;
	case BACKEND_WRITE:
		write_pages(*window);
		break;
	case BACKEND_UNMAP:
		munmap(*window, WINDOW_SIZE);
		break;
	case BACKEND_REMAP:
		*window = mremap(*window, WINDOW_SIZE, WINDOW_SIZE,
				 MREMAP_MAYMOVE | MREMAP_FIXED,
				 *window + (1UL << 30));
		break;
	case BACKEND_PROTECT:
		mprotect(*window, WINDOW_SIZE, PROT_READ);
		mprotect(*window, WINDOW_SIZE, PROT_READ | PROT_WRITE);
		break;
	case BACKEND_READ_ONLY:
		mprotect(*window, WINDOW_SIZE, PROT_READ);
		break;
	case BACKEND_DONTNEED:
		madvise(*window, WINDOW_SIZE, MADV_DONTNEED);
		break;
	case BACKEND_FORK_WRITE:
		pid = fork();
		if (!pid) {
			write_pages(*window);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		break;
	case BACKEND_WRITE_ELSEWHERE:
	case BACKEND_WRITE_ELSEWHERE_DONTNEED:
		elsewhere = mmap(NULL, WINDOW_SIZE, PROT_READ | PROT_WRITE,
				 MAP_SHARED, mem_fd, ELSEWHERE);
		write_pages(elsewhere);
		if (command == BACKEND_WRITE_ELSEWHERE_DONTNEED)
			madvise(elsewhere, WINDOW_SIZE, MADV_DONTNEED);
		break;
	case BACKEND_EXIT:
		_exit(0);
	case BACKEND_EXEC:
		execl("/bin/sleep", "sleep", "1000", NULL);
		_exit(1);
	}
}

static void backend_run(struct shared *shared, int mem_fd)
{
	unsigned int seen = 0;
	char *window = NULL;

	for (;;) {
		while (shared->asked == seen)
			sched_yield();
		seen = shared->asked;
		backend_do(shared->command, mem_fd, &window);
		shared->done = seen;
	}
}

/* It has this name since it has given up the memory that it had before. */
static bool runs(pid_t pid, const char *name)
{
	char path[64], comm[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "r");
	if (f && fscanf(f, "%31s", comm) != 1)
		comm[0] = '\0';
	if (f)
		fclose(f);
	return !strcmp(comm, name);
}

/* Returns when it is done; for those that end it, when it has ended. */
static void backend(struct shared *shared, pid_t pid, enum backend_command command)
{
	shared->command = command;
	shared->asked++;
	if (command == BACKEND_EXIT) {
		waitpid(pid, NULL, 0);
	} else if (command == BACKEND_EXEC) {
		while (!runs(pid, "sleep"))
			usleep(1000);
	} else {
		while (shared->done != shared->asked)
			sched_yield();
	}
}

FIXTURE_SETUP(events)
{
	self->mem_fd = memfd_create("guest", 0);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	memset(self->memory, 1, MEMORY);
	self->shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	self->backend = fork();
	if (!self->backend) {
		/* Else it maps all of the memory, and all of that is reported when it ends. */
		munmap(self->memory, MEMORY);
		self->shared->ready = true;
		backend_run(self->shared, self->mem_fd);
	}
	while (!self->shared->ready)
		sched_yield();

	harvest_open(&self->h, getpid(), self->mem_fd);
	harvest_settle(&self->h);
}

FIXTURE_TEARDOWN(events)
{
	kill(self->backend, SIGKILL);
	waitpid(self->backend, NULL, 0);
	harvest_close(&self->h);
	munmap(self->shared, PAGE);
	munmap(self->memory, MEMORY);
	close(self->mem_fd);
}

static size_t sync_take(struct harvest *h)
{
	harvest_sync(h, MIGTRACK_SYNC_KIND_ITERATION);
	return harvest_take(h);
}

static void settle(struct harvest *h)
{
	harvest_settles_at(h, MIGTRACK_SYNC_KIND_ITERATION, 0);
}

/* Pages of write_pages() that the last harvest did not take. */
static size_t missed_at(const struct harvest *h, unsigned long window)
{
	size_t i, n = 0;

	for (i = 0; i < WRITES; i++)
		n += !harvest_took(h, window / PAGE + 7 * i);
	return n;
}

static size_t missed(const struct harvest *h)
{
	return missed_at(h, WINDOW);
}

/* The back end maps its window, is adopted, and all is quiet. */
#define ADOPT() do {								\
	backend(self->shared, self->backend, BACKEND_MAP);			\
	backend(self->shared, self->backend, BACKEND_WRITE);			\
	sync_take(&self->h);							\
	EXPECT_EQ(0, missed(&self->h));						\
	sync_take(&self->h);							\
	settle(&self->h);							\
	ASSERT_EQ(0, sync_take(&self->h));					\
} while (0)

#define LOSES_NOTHING(name, event)						\
TEST_F_TIMEOUT(events, name, 120)								\
{										\
	ADOPT();								\
	backend(self->shared, self->backend, BACKEND_WRITE);			\
	backend(self->shared, self->backend, event);				\
	sync_take(&self->h);							\
	EXPECT_EQ(0, missed(&self->h));						\
	sync_take(&self->h);							\
	sync_take(&self->h);							\
	settle(&self->h);							\
	EXPECT_EQ(0, sync_take(&self->h));					\
}

LOSES_NOTHING(backend_exits, BACKEND_EXIT)
LOSES_NOTHING(backend_unmaps, BACKEND_UNMAP)
LOSES_NOTHING(backend_remaps, BACKEND_REMAP)
LOSES_NOTHING(backend_protects_and_back, BACKEND_PROTECT)
LOSES_NOTHING(backend_only_reads_now, BACKEND_READ_ONLY)
LOSES_NOTHING(backend_drops_its_entries, BACKEND_DONTNEED)
LOSES_NOTHING(backend_execs, BACKEND_EXEC)

TEST_F_TIMEOUT(events, child_writes_and_exits, 120)
{
	ADOPT();
	backend(self->shared, self->backend, BACKEND_FORK_WRITE);
	sync_take(&self->h);
	EXPECT_EQ(0, missed(&self->h));
	sync_take(&self->h);
	sync_take(&self->h);
	settle(&self->h);
	EXPECT_EQ(0, sync_take(&self->h));
}

/*
 * A mapping that no sync has seen, of a process that is watched: when that ends,
 * nothing but its last list of mappings tells what it may have written.
 */
#define ENDS_WITH_A_NEW_MAPPING(name, event)					\
TEST_F_TIMEOUT(events, name, 120)						\
{										\
	ADOPT();								\
	backend(self->shared, self->backend, BACKEND_WRITE_ELSEWHERE);		\
	backend(self->shared, self->backend, event);				\
	sync_take(&self->h);							\
	EXPECT_EQ(0, missed_at(&self->h, ELSEWHERE));				\
	sync_take(&self->h);							\
	sync_take(&self->h);							\
	settle(&self->h);							\
	EXPECT_EQ(0, sync_take(&self->h));					\
}

ENDS_WITH_A_NEW_MAPPING(backend_exits_from_a_new_mapping, BACKEND_EXIT)
ENDS_WITH_A_NEW_MAPPING(backend_execs_from_a_new_mapping, BACKEND_EXEC)

/* The notifier was told of addresses that it did not know. */
TEST_F_TIMEOUT(events, backend_drops_a_new_mappings_entries, 120)
{
	ADOPT();
	backend(self->shared, self->backend, BACKEND_WRITE_ELSEWHERE_DONTNEED);
	sync_take(&self->h);
	EXPECT_EQ(0, missed_at(&self->h, ELSEWHERE));
	sync_take(&self->h);
	settle(&self->h);
	EXPECT_EQ(0, sync_take(&self->h));
}

/* After a move the mapping is watched where it is. */
TEST_F_TIMEOUT(events, writes_after_a_move, 120)
{
	ADOPT();
	backend(self->shared, self->backend, BACKEND_REMAP);
	sync_take(&self->h);
	sync_take(&self->h);
	sync_take(&self->h);
	settle(&self->h);
	ASSERT_EQ(0, sync_take(&self->h));
	backend(self->shared, self->backend, BACKEND_WRITE);
	backend(self->shared, self->backend, BACKEND_UNMAP);
	EXPECT_LE(WRITES, sync_take(&self->h));
	EXPECT_EQ(0, missed(&self->h));
}

/* Our own mapping: the VMM punches a hole, and writes there again. */
TEST_F_TIMEOUT(events, hole_punched, 120)
{
	unsigned long i;

	sync_take(&self->h);
	ASSERT_EQ(0, sync_take(&self->h));
	write_pages(self->memory + WINDOW);
	ASSERT_EQ(0, madvise(self->memory + WINDOW, WINDOW_SIZE, MADV_REMOVE));
	sync_take(&self->h);
	EXPECT_EQ(0, missed(&self->h));
	sync_take(&self->h);
	sync_take(&self->h);
	for (i = 0; i < WRITES; i++)
		self->memory[WINDOW + 7 * i * PAGE] = 9;
	sync_take(&self->h);
	EXPECT_EQ(0, missed(&self->h));
	for (i = 0; i < WRITES; i++)
		EXPECT_EQ(9, self->memory[WINDOW + 7 * i * PAGE]);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

#define LARGE		(256UL << 20)
#define LARGE_WINDOW	(LARGE - WINDOW_SIZE)

/*
 * A mapping appears while a sync runs, is seen by its walk, written after that,
 * and goes before the next sync: nothing but the walk knows of it. The memory is
 * all dirty, so that the sync takes long, and the window is at its end.
 */
TEST_F_TIMEOUT(events, mapping_born_during_a_sync, 120)
{
	/* Not the back end's, which would answer as well. */
	struct shared *shared = (void *)((char *)self->shared + PAGE / 2);
	unsigned int round, valid = 0;
	volatile uint64_t *mapped_at;
	struct harvest h;
	char *memory;
	pid_t pid;
	int fd;

	fd = memfd_create("large", 0);
	ASSERT_EQ(0, ftruncate(fd, LARGE));
	memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	mapped_at = (void *)(shared + 1);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		unsigned int seen = 0;
		char *window;

		for (;;) {
			while (shared->asked == seen)
				sched_yield();
			usleep(1000);
			window = mmap(NULL, WINDOW_SIZE, PROT_READ | PROT_WRITE,
				      MAP_SHARED, fd, LARGE_WINDOW);
			*mapped_at = now_ns();
			while (shared->asked == seen + 1)
				sched_yield();
			write_pages(window);
			munmap(window, WINDOW_SIZE);
			seen += 2;
			shared->done = seen;
		}
	}
	harvest_open(&h, getpid(), fd);
	harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
	for (round = 0; round < 20 && valid < 3; round++) {
		unsigned long i, lost = 0;
		uint64_t half;

		memset(memory, round, LARGE);
		shared->asked++;
		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
		half = h.header->sync_time_ns - h.header->sync_duration_ns / 2;
		harvest_take(&h);
		while (!*mapped_at)
			sched_yield();
		shared->asked++;
		while (shared->done != shared->asked)
			sched_yield();
		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
		harvest_take(&h);
		for (i = 0; i < WRITES; i++)
			lost += !harvest_took(&h, LARGE_WINDOW / PAGE + 7 * i);
		/* Else it may have come too late: its chunks are the last. */
		if (*mapped_at < half) {
			valid++;
			EXPECT_EQ(0, lost);
		}
		*mapped_at = 0;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EXPECT_LT(0, valid);
	harvest_close(&h);
	munmap(memory, LARGE);
	close(fd);
}

/* Bits past the end of the range do not exist. */
TEST_F_TIMEOUT(events, range_of_three_pages, 120)
{
	struct migtrack_source_map map;
	unsigned long *bitmap;

	ASSERT_EQ(0, migtrack_source_add_ram(self->h.mt, self->h.fd, getpid(),
					     self->mem_fd, 0, 3 * PAGE, &map));
	ASSERT_EQ(0, migtrack_bitmap_map(self->h.fd, &map, &bitmap));
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	EXPECT_EQ(7, bitmap[0]);
	migtrack_bitmap_unmap(&map, bitmap);
}

/* A sparse file that its owner made absurdly large costs nothing. */
TEST_F_TIMEOUT(events, absurd_size, 120)
{
	struct migtrack_source_map map;
	int fd = memfd_create("absurd", 0);
	char *memory;

	ASSERT_EQ(0, ftruncate(fd, 1UL << 46));
	memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(-EFBIG, migtrack_source_add_ram(self->h.mt, self->h.fd, getpid(),
						  fd, 0, PAGE, &map));
	EXPECT_NE(0, strlen(migtrack_message(self->h.mt)));
	munmap(memory, PAGE);
	close(fd);
}

/* As many mappings as a process may have: slow, but it ends, and in order. */
TEST_F_TIMEOUT(events, many_mappings, 120)
{
	const unsigned long n = 20000;
	unsigned long i;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		for (i = 0; i < n; i++)
			if (mmap((void *)(1UL << 40) + 2 * i * PAGE, PAGE,
				 PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
				 self->mem_fd, (i % 512) * PAGE) == MAP_FAILED)
				_exit(1);
		self->shared->done = 1000;
		for (;;)
			pause();
	}
	while (self->shared->done != 1000 && !waitpid(pid, NULL, WNOHANG))
		usleep(10000);
	EXPECT_EQ(1000, self->shared->done);
	settle(&self->h);
	EXPECT_EQ(0, sync_take(&self->h));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	sync_take(&self->h);
	EXPECT_LE(512, self->h.header->dirty_pages);
	settle(&self->h);
	EXPECT_EQ(0, sync_take(&self->h));
}

TEST_HARNESS_MAIN
