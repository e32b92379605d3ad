// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pages change their place in the host's memory between a write and the sync:
 * each entry is taken away, and another one put there that leads to a copy. Or
 * NUMA balancing makes entries inaccessible, and a fault makes them writable
 * again without a word. The lab's VM has two nodes.
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/mempolicy.h>

#include "kselftest_harness.h"
#include "arena.h"
#include "host.h"

#define WINDOW_PAGES	(ARENA_WINDOW_SIZE / GUEST_PAGE)
#define MOST(n)		((n) * 7 / 10)
#define BALANCING	"/sys/kernel/debug/sched/numa_balancing/"

FIXTURE(migrate) {
	struct arena a;
	long scan_delay, scan_period_min, scan_period_max;
};

FIXTURE_VARIANT(migrate) {
	enum arena_writer who;
};

FIXTURE_VARIANT_ADD(migrate, vmm) { .who = ARENA_VMM };
FIXTURE_VARIANT_ADD(migrate, vcpu) { .who = ARENA_VCPU };
FIXTURE_VARIANT_ADD(migrate, backend) { .who = ARENA_BACKEND };

FIXTURE_SETUP(migrate)
{
	/* Read when a process is made, or soon after. */
	self->scan_delay = host_number(BALANCING "scan_delay_ms", "");
	self->scan_period_min = host_number(BALANCING "scan_period_min_ms", "");
	self->scan_period_max = host_number(BALANCING "scan_period_max_ms", "");
	host_write(BALANCING "scan_delay_ms", "10");
	host_write(BALANCING "scan_period_min_ms", "10");
	host_write(BALANCING "scan_period_max_ms", "10");

	arena_open(&self->a, variant->who);
	ASSERT_EQ(0, arena_settle(&self->a));
}

FIXTURE_TEARDOWN(migrate)
{
	host_write("/proc/sys/kernel/numa_balancing", "0");
	host_write_number(BALANCING "scan_delay_ms", self->scan_delay);
	host_write_number(BALANCING "scan_period_max_ms", self->scan_period_max);
	host_write_number(BALANCING "scan_period_min_ms", self->scan_period_min);
	arena_close(&self->a);
}

/* Where the window's pages are. */
struct places {
	void *address[WINDOW_PAGES];
	int node[WINDOW_PAGES];
	int wanted[WINDOW_PAGES];
};

static void places_get(const struct arena *a, struct places *p)
{
	size_t i;

	for (i = 0; i < WINDOW_PAGES; i++)
		p->address[i] = a->vm.memory + ARENA_WINDOW + i * GUEST_PAGE;
	if (syscall(SYS_move_pages, 0, WINDOW_PAGES, p->address, NULL, p->node, 0))
		err(1, "move_pages");
}

static size_t places_on(const struct arena *a, int node)
{
	static struct places p;
	size_t i, n = 0;

	places_get(a, &p);
	for (i = 0; i < WINDOW_PAGES; i++)
		n += p.node[i] == node;
	return n;
}

/* Each page goes to the other node. */
static int move_pages(struct arena *a)
{
	static struct places p;
	size_t i;

	places_get(a, &p);
	for (i = 0; i < WINDOW_PAGES; i++)
		p.wanted[i] = !p.node[i];
	if (syscall(SYS_move_pages, 0, WINDOW_PAGES, p.address, p.wanted, p.node,
		    MPOL_MF_MOVE_ALL) < 0)
		return errno;
	return 0;
}

static size_t moved(const struct places *before, const struct places *after)
{
	size_t i, n = 0;

	for (i = 0; i < WINDOW_PAGES; i++)
		n += before->node[i] != after->node[i];
	return n;
}

/* The sync that is to find the writes, and what comes after it. */
#define AFTERWARDS(a) do {							\
	arena_sync(a);								\
	EXPECT_EQ(0, arena_missed(a));						\
	LATER(a);								\
} while (0)

#define LATER(a) do {								\
	EXPECT_EQ(0, arena_settle(a));						\
	EXPECT_EQ(0, arena_wrong(a));						\
	arena_write(a);								\
	arena_sync(a);								\
	EXPECT_EQ(0, arena_missed(a));						\
	EXPECT_EQ(0, arena_wrong(a));						\
} while (0)

/* Catches who remembers what is dirty by the host's page, and not the file's. */
TEST_F_TIMEOUT(migrate, move_pages, 240)
{
	static struct places before, after;
	struct arena *a = &self->a;

	arena_pick(a);
	arena_write(a);
	places_get(a, &before);
	ASSERT_EQ(0, move_pages(a));
	places_get(a, &after);
	EXPECT_LE(MOST(WINDOW_PAGES), moved(&before, &after));
	AFTERWARDS(a);
}

/* There and back: each page looks as before. */
TEST_F_TIMEOUT(migrate, move_pages_and_back, 240)
{
	static struct places before, away, back;
	struct arena *a = &self->a;

	arena_pick(a);
	arena_write(a);
	places_get(a, &before);
	ASSERT_EQ(0, move_pages(a));
	places_get(a, &away);
	ASSERT_EQ(0, move_pages(a));
	places_get(a, &back);
	EXPECT_LE(MOST(WINDOW_PAGES), moved(&before, &away));
	EXPECT_GE(WINDOW_PAGES - MOST(WINDOW_PAGES), moved(&before, &back));
	AFTERWARDS(a);
}

/* Catches who protects the entries that it found, and not those that are there. */
TEST_F_TIMEOUT(migrate, written_after_the_move, 240)
{
	struct arena *a = &self->a;

	arena_pick(a);
	ASSERT_EQ(0, move_pages(a));
	arena_write(a);
	ASSERT_EQ(0, move_pages(a));
	AFTERWARDS(a);
}

static int bind_to(char *memory, size_t offset, size_t length, int node)
{
	unsigned long nodes = 1UL << node;

	if (syscall(SYS_mbind, memory + offset, length, MPOL_BIND, &nodes, 64,
		    MPOL_MF_MOVE | MPOL_MF_MOVE_ALL))
		return errno;
	return 0;
}

static int bind_to_0(struct arena *a, char *memory, size_t offset, size_t length)
{
	(void)a;
	return bind_to(memory, offset, length, 0);
}

static int bind_to_1(struct arena *a, char *memory, size_t offset, size_t length)
{
	(void)a;
	return bind_to(memory, offset, length, 1);
}

/* As a VMM's owner does who places a guest: a policy, which splits mappings. */
TEST_F_TIMEOUT(migrate, mbind, 240)
{
	struct arena *a = &self->a;

	ASSERT_EQ(0, arena_event(a, bind_to_0));
	EXPECT_LE(MOST(WINDOW_PAGES), places_on(a, 0));
	arena_settle(a);
	arena_pick(a);
	arena_write(a);
	ASSERT_EQ(0, arena_event(a, bind_to_1));
	EXPECT_LE(MOST(WINDOW_PAGES), places_on(a, 1));
	AFTERWARDS(a);
}

/* As an administrator does: all of a process's memory. */
TEST_F_TIMEOUT(migrate, migrate_pages, 240)
{
	unsigned long node[2] = { 1, 2 };
	struct arena *a = &self->a;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		arena_pick(a);
		arena_write(a);
		ASSERT_LE(0, syscall(SYS_migrate_pages, arena_pid(a), 64,
				     &node[i], &node[!i]));
		EXPECT_LE(MOST(WINDOW_PAGES), places_on(a, !i));
		AFTERWARDS(a);
	}
}

/* The host's page behind each page of the window. */
static void frames_get(const struct arena *a, uint64_t *frame)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	off_t offset = ((uintptr_t)a->vm.memory + ARENA_WINDOW) / GUEST_PAGE * 8;
	size_t i;

	for (i = 0; i < ARENA_WINDOW_SIZE; i += GUEST_PAGE)
		(void)*(volatile char *)(a->vm.memory + ARENA_WINDOW + i);
	if (fd < 0 || pread(fd, frame, WINDOW_PAGES * 8, offset) != WINDOW_PAGES * 8)
		err(1, "/proc/self/pagemap");
	close(fd);
}

/*
 * Compaction packs pages together. For it to have something to do, the guest's
 * pages lie between others, which are freed.
 */
static void scatter(struct arena *a)
{
	char *others = mmap(NULL, 4 * ARENA_WINDOW_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *memory = a->vm.memory + ARENA_WINDOW;
	size_t i;

	if (others == MAP_FAILED ||
	    madvise(others, 4 * ARENA_WINDOW_SIZE, MADV_NOHUGEPAGE) ||
	    madvise(memory, ARENA_WINDOW_SIZE, MADV_REMOVE))
		err(1, "scattering the memory");
	for (i = 0; i < ARENA_WINDOW_SIZE; i += GUEST_PAGE) {
		memset(others + 4 * i, 1, 3 * GUEST_PAGE);
		*(volatile char *)(memory + i) = 0;
		memset(others + 4 * i + 3 * GUEST_PAGE, 1, GUEST_PAGE);
	}
	munmap(others, 4 * ARENA_WINDOW_SIZE);
	arena_expect_hole(a, ARENA_WINDOW, ARENA_WINDOW_SIZE);
}

/* Nobody asks for it: the kernel moves what it likes. */
TEST_F_TIMEOUT(migrate, compaction, 240)
{
	static uint64_t before[WINDOW_PAGES], after[WINDOW_PAGES];
	struct arena *a = &self->a;
	unsigned int try;
	size_t i, n = 0;

	for (try = 0; try < 20 && !n; try++) {
		scatter(a);
		frames_get(a, before);
		arena_settle(a);
		arena_pick(a);
		arena_write(a);
		host_write("/proc/sys/vm/compact_memory", "1");
		arena_sync(a);
		EXPECT_EQ(0, arena_missed(a));
		frames_get(a, after);
		for (i = 0; i < WINDOW_PAGES; i++)
			n += before[i] != after[i];
	}
	TH_LOG("compaction moved %zu of %zu pages", n, (size_t)WINDOW_PAGES);
	/* None at all, where memory was in order: the tests by name move them. */
	LATER(a);
}

static int read_all(struct arena *a, char *memory, size_t offset, size_t length)
{
	size_t page;

	(void)a;
	(void)offset;
	(void)length;
	for (page = 0; page < ARENA_SIZE; page += GUEST_PAGE)
		(void)*(volatile char *)(memory + page);
	return 0;
}

/* Memory in files is left alone but for those who ask for it. */
static int allow_balancing(struct arena *a, char *memory, size_t offset,
			   size_t length)
{
	unsigned long nodes = 3;

	(void)a;
	if (syscall(SYS_mbind, memory + offset, length,
		    MPOL_BIND | MPOL_F_NUMA_BALANCING, &nodes, 64, 0))
		return errno;
	return 0;
}

static void *sleeper(void *data)
{
	for (;;)
		pause();
	return data;
}

/*
 * Works until the scanner has been at all of the memory twice. It does not touch
 * it. In a process of one thread the pages of its own node would be left out.
 */
static int be_scanned(struct arena *a, char *memory, size_t offset, size_t length)
{
	const char *seq = "mm->numa_scan_seq";
	long start = host_number("/proc/self/sched", seq);
	time_t end = time(NULL) + 60;
	volatile unsigned int i;
	pthread_t thread;

	(void)a;
	(void)memory;
	(void)offset;
	(void)length;
	if (start < 0 || pthread_create(&thread, NULL, sleeper, NULL))
		return EINVAL;
	pthread_detach(thread);
	do {
		for (i = 0; i < 1000000; i++)
			;
	} while (host_number("/proc/self/sched", seq) < start + 2 &&
		 time(NULL) < end);
	return host_number("/proc/self/sched", seq) < start + 2 ? ETIME : 0;
}

/* Catches who goes by the write bit: entries are inaccessible, not read-only. */
TEST_F_TIMEOUT(migrate, numa_scan, 240)
{
	struct arena *a = &self->a;
	long before, faults;

	ASSERT_EQ(0, arena_event(a, allow_balancing));
	arena_settle(a);
	arena_pick(a);
	arena_write(a);
	host_write("/proc/sys/kernel/numa_balancing", "1");
	ASSERT_EQ(0, arena_event(a, be_scanned));
	host_write("/proc/sys/kernel/numa_balancing", "0");
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));

	/* Each entry that it took costs a fault. */
	before = host_number("/proc/vmstat", "numa_hint_faults ");
	ASSERT_EQ(0, arena_event(a, read_all));
	faults = host_number("/proc/vmstat", "numa_hint_faults ") - before;
	TH_LOG("%ld of %zu entries were inaccessible", faults, (size_t)WINDOW_PAGES);
	EXPECT_LE(MOST(WINDOW_PAGES), faults);
	ASSERT_EQ(0, read_all(a, a->vm.memory, 0, 0));
	LATER(a);
}

/*
 * As long as an entry is inaccessible it is reported: a read makes it what it
 * was, so all of them are read before it is to be quiet again.
 *
 * Catches who skips such entries: after a sync, a read makes them accessible
 * again and may make them writable, and nobody is told.
 */
TEST_F_TIMEOUT(migrate, numa_hint_faults, 240)
{
	struct arena *a = &self->a;

	ASSERT_EQ(0, arena_event(a, allow_balancing));
	arena_settle(a);
	arena_pick(a);
	arena_write(a);
	host_write("/proc/sys/kernel/numa_balancing", "1");
	ASSERT_EQ(0, arena_event(a, be_scanned));
	host_write("/proc/sys/kernel/numa_balancing", "0");
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	arena_sync(a);
	arena_sync(a);
	ASSERT_EQ(0, arena_event(a, read_all));
	ASSERT_EQ(0, read_all(a, a->vm.memory, 0, 0));
	arena_write(a);
	AFTERWARDS(a);
}

TEST_HARNESS_MAIN
