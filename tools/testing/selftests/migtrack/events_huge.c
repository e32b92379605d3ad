// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Huge pages turn up under a tracker that works on small ones: pages become one
 * between a write and the sync, or after it, and come apart again. Also folios
 * of several pages that are mapped page by page.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "arena.h"
#include "harvest.h"
#include "host.h"

#define THP		"/sys/kernel/mm/transparent_hugepage/"
#define HUGE		(2UL << 20)
#define HUGE_PAGES	(HUGE / GUEST_PAGE)

FIXTURE(huge) {
	struct arena a;
	long sleep;
};

FIXTURE_VARIANT(huge) {
	enum arena_writer who;
	const char *folios;	/* allow folios of that size from the start */
};

FIXTURE_VARIANT_ADD(huge, vmm) { .who = ARENA_VMM };
FIXTURE_VARIANT_ADD(huge, vcpu) { .who = ARENA_VCPU };
FIXTURE_VARIANT_ADD(huge, backend) { .who = ARENA_BACKEND };
FIXTURE_VARIANT_ADD(huge, vcpu_folios) {
	.who = ARENA_VCPU,
	.folios = THP "hugepages-64kB/shmem_enabled",
};

/* KiB of this machine's shared memory in huge pages. */
static long huge_kib(void)
{
	return host_number("/proc/meminfo", "ShmemHugePages:");
}

FIXTURE_SETUP(huge)
{
	unsigned int i;

	/* The last test's memory goes when its session has ended. */
	for (i = 0; i < 1000 && huge_kib(); i++)
		usleep(10000);
	ASSERT_EQ(0, huge_kib());
	self->sleep = host_number(THP "khugepaged/scan_sleep_millisecs", "");
	if (variant->folios)
		host_write(variant->folios, "always");
	arena_open(&self->a, variant->who);
	ASSERT_EQ(0, arena_settle(&self->a));
	host_write(THP "shmem_enabled", "advise");
}

FIXTURE_TEARDOWN(huge)
{
	arena_close(&self->a);
	host_write(THP "shmem_enabled", "never");
	if (variant->folios)
		host_write(variant->folios, "never");
	host_write_number(THP "khugepaged/scan_sleep_millisecs", self->sleep);
}

/* Tried again: pages that are on their way to a list can't be moved. */
static int collapse(struct arena *a, char *memory, size_t offset, size_t length)
{
	unsigned int i;

	(void)a;
	(void)offset;
	(void)length;
	if (madvise(memory, ARENA_SIZE, MADV_HUGEPAGE))
		return errno;
	for (i = 0; i < 20; i++) {
		if (!madvise(memory, ARENA_SIZE, MADV_COLLAPSE))
			return 0;
		usleep(50000);
	}
	return errno;
}

/* Waits until khugepaged has found the memory; touches nothing. */
static int be_collapsed(struct arena *a, char *memory, size_t offset, size_t length)
{
	long before = huge_kib();
	time_t end = time(NULL) + 60;

	(void)a;
	(void)offset;
	(void)length;
	/* Twice: 6.12 asks the mapping's flags whether to look before it sets them. */
	if (madvise(memory, ARENA_SIZE, MADV_HUGEPAGE) ||
	    madvise(memory, ARENA_SIZE, MADV_HUGEPAGE))
		return errno;
	host_write(THP "khugepaged/scan_sleep_millisecs", "1");
	while (huge_kib() < before + (long)(ARENA_SIZE >> 10) && time(NULL) < end)
		usleep(10000);
	return huge_kib() > before ? 0 : ETIME;
}

static bool flag_huge(struct arena *a)
{
	return harvest_source(&a->harvest).flags & MIGTRACK_COUNTER_FLAGS_HUGE;
}

/* Catches who goes by what it saw at the start: small pages only. */
TEST_F_TIMEOUT(huge, collapsed_before_the_sync, 240)
{
	struct arena *a = &self->a;
	unsigned int i;

	arena_pick(a);
	arena_write(a);
	ASSERT_EQ(0, arena_event(a, collapse));
	EXPECT_LE(ARENA_SIZE >> 10, huge_kib());
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_TRUE(flag_huge(a));
	EXPECT_EQ(0, arena_wrong(a));
	for (i = 0; i < 3; i++) {
		arena_pick(a);
		arena_write(a);
		arena_sync(a);
		EXPECT_EQ(0, arena_missed(a));
		EXPECT_EQ(0, arena_wrong(a));
	}
}

/* Catches who protected small entries: the huge one is writable, and is written. */
TEST_F_TIMEOUT(huge, written_after_the_collapse, 240)
{
	struct arena *a = &self->a;

	ASSERT_EQ(0, arena_event(a, collapse));
	arena_pick(a);
	arena_write(a);
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_EQ(0, arena_wrong(a));
}

/* Catches who sees calls of the process only: the kernel does it by itself. */
TEST_F_TIMEOUT(huge, khugepaged, 240)
{
	struct arena *a = &self->a;

	arena_pick(a);
	arena_write(a);
	ASSERT_EQ(0, arena_event(a, be_collapsed));
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_EQ(0, arena_wrong(a));
	arena_write(a);
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_EQ(0, arena_wrong(a));
}

static int drop_parts(struct arena *a, char *memory, size_t offset, size_t length)
{
	size_t i;

	(void)a;
	(void)offset;
	(void)length;
	for (i = GUEST_PAGE; i < ARENA_SIZE; i += HUGE)
		if (madvise(memory + i, GUEST_PAGE, MADV_DONTNEED))
			return errno;
	return 0;
}

/* Catches who tracks the huge page: its entry falls apart, the write with it. */
TEST_F_TIMEOUT(huge, entry_splits, 240)
{
	struct arena *a = &self->a;

	ASSERT_EQ(0, arena_event(a, collapse));
	arena_sync(a);
	arena_pick(a);
	arena_write(a);
	ASSERT_EQ(0, arena_event(a, drop_parts));
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_EQ(0, arena_wrong(a));
	arena_write(a);
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_EQ(0, arena_wrong(a));
}

/*
 * A hole in each huge page: they are small again, and are tracked as such; not
 * reported for ever. Catches who never comes back from huge pages.
 */
TEST_F_TIMEOUT(huge, pages_split, 240)
{
	struct arena *a = &self->a;
	size_t i;

	ASSERT_EQ(0, arena_event(a, collapse));
	arena_sync(a);
	arena_pick(a);
	arena_write(a);
	host_write(THP "shmem_enabled", "never");
	for (i = 0; i < ARENA_SIZE; i += HUGE) {
		ASSERT_EQ(0, madvise(a->vm.memory + i, GUEST_PAGE, MADV_REMOVE));
		arena_expect_hole(a, i, GUEST_PAGE);
	}
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_EQ(0, arena_settle(a));
	EXPECT_FALSE(flag_huge(a));
	EXPECT_EQ(0, arena_wrong(a));
	arena_write(a);
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_EQ(0, arena_wrong(a));
}

/*
 * Catches who counts references by the page: a folio of several has more of
 * them, and its pages would be taken for held, or held ones not be seen.
 */
TEST_F_TIMEOUT(huge, small_writes_are_reported_alone, 240)
{
	struct arena *a = &self->a;
	unsigned int i;

	/* The kernel may move a page meanwhile, so that more are reported. */
	for (i = 0; i < 5; i++) {
		size_t n;

		arena_pick(a);
		arena_write(a);
		n = arena_sync(a);
		EXPECT_EQ(0, arena_missed(a));
		if (n == ARENA_WRITES && !harvest_source(&a->harvest).held_pages)
			break;
		EXPECT_EQ(0, arena_settle(a));
	}
	EXPECT_LT(i, 5);
	EXPECT_EQ(0, arena_sync(a));
	EXPECT_EQ(0, arena_wrong(a));
}

FIXTURE(before) {
	struct harvest h;
	char *memory;
	int mem_fd;
};

FIXTURE_SETUP(before)
{
	host_write(THP "shmem_enabled", "advise");
	self->mem_fd = memfd_create("guest", 0);
	ASSERT_EQ(0, ftruncate(self->mem_fd, ARENA_SIZE));
	self->memory = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	memset(self->memory, 1, ARENA_SIZE);
	harvest_open(&self->h, getpid(), self->mem_fd);
}

FIXTURE_TEARDOWN(before)
{
	harvest_close(&self->h);
	munmap(self->memory, ARENA_SIZE);
	close(self->mem_fd);
	host_write(THP "shmem_enabled", "never");
}

/* Memory that is huge from the start would be reported whole for ever: it is refused. */
TEST_F_TIMEOUT(before, the_first_sync_refuses, 240)
{
	ASSERT_EQ(0, collapse(NULL, self->memory, 0, 0));
	ASSERT_EQ(0, migtrack_sync(self->h.mt, self->h.fd, MIGTRACK_SYNC_KIND_SETUP));
	ASSERT_EQ(0, migtrack_sync_wait(self->h.fd, 60000));
	EXPECT_EQ(EOPNOTSUPP, self->h.header->sync_error);
	EXPECT_EQ(0, self->h.header->iteration);

	/* And it is not once the pages are small, in the same session. */
	host_write(THP "shmem_enabled", "never");
	ASSERT_EQ(0, madvise(self->memory, ARENA_SIZE, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, madvise(self->memory, ARENA_SIZE, MADV_REMOVE));
	memset(self->memory, 2, ARENA_SIZE);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	EXPECT_EQ(ARENA_PAGES, harvest_take(&self->h));
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
	harvest_take(&self->h);
	self->memory[7 * GUEST_PAGE]++;
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_LE(1, harvest_take(&self->h));
	EXPECT_TRUE(harvest_took(&self->h, 7));
}

/* A guest's memory that nobody has touched yet turns up huge, by one fault. */
FIXTURE(fault) {
	struct harvest h;
	char *memory;
	int mem_fd;
};

FIXTURE_VARIANT(fault) {
	const char *policy;
};

FIXTURE_VARIANT_ADD(fault, always) { .policy = "always" };
FIXTURE_VARIANT_ADD(fault, within_size) { .policy = "within_size" };

/* The first huge page of it is small, and the others are a hole. */
FIXTURE_SETUP(fault)
{
	unsigned int i;

	for (i = 0; i < 1000 && huge_kib(); i++)
		usleep(10000);
	ASSERT_EQ(0, huge_kib());
	self->mem_fd = memfd_create("guest", 0);
	ASSERT_EQ(0, ftruncate(self->mem_fd, ARENA_SIZE));
	host_write(THP "shmem_enabled", "advise");
	self->memory = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	memset(self->memory, 1, HUGE);
	harvest_open(&self->h, getpid(), self->mem_fd);
	harvest_settle(&self->h);
	host_write(THP "shmem_enabled", variant->policy);
}

FIXTURE_TEARDOWN(fault)
{
	harvest_close(&self->h);
	munmap(self->memory, ARENA_SIZE);
	close(self->mem_fd);
	host_write(THP "shmem_enabled", "never");
}

#define EXPECT_TOOK(at) do {							\
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);			\
	harvest_take(&self->h);							\
	EXPECT_TRUE(harvest_took(&self->h, (at) / GUEST_PAGE));			\
} while (0)

/* Catches who looks for huge pages at the start only, or protects them as small ones. */
TEST_F_TIMEOUT(fault, a_hole_becomes_huge, 240)
{
	const size_t hole = 2 * HUGE, at = hole + 5 * GUEST_PAGE;
	unsigned int i;

	self->memory[at] = 1;
	ASSERT_LT(0, huge_kib());
	EXPECT_TOOK(at);
	EXPECT_TRUE(harvest_source(&self->h).flags & MIGTRACK_COUNTER_FLAGS_HUGE);
	/* Each time, as its entry is writable all the time. */
	for (i = 0; i < 3; i++) {
		self->memory[at + i * GUEST_PAGE]++;
		EXPECT_TOOK(at + i * GUEST_PAGE);
	}
	self->memory[7 * GUEST_PAGE]++;
	EXPECT_TOOK(7 * GUEST_PAGE);

	/* All given back, and small from now on: not reported for ever. */
	host_write(THP "shmem_enabled", "never");
	ASSERT_EQ(0, madvise(self->memory, ARENA_SIZE, MADV_REMOVE));
	EXPECT_TOOK(at);
	EXPECT_TRUE(harvest_settles_at(&self->h, MIGTRACK_SYNC_KIND_ITERATION, 0));
	self->memory[at]++;
	EXPECT_TOOK(at);
	EXPECT_FALSE(harvest_source(&self->h).flags & MIGTRACK_COUNTER_FLAGS_HUGE);
}

TEST_HARNESS_MAIN
