// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a process does to its own mapping between a write and the sync: each
 * event takes away the page table entries that tell of the write, or their write
 * or dirty bits. Each is tried on writes by the VMM, by its guest through KVM,
 * and by a back end that has a mapping of its own.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "arena.h"

FIXTURE(map) {
	struct arena a;
};

FIXTURE_VARIANT(map) {
	enum arena_writer who;
};

FIXTURE_VARIANT_ADD(map, vmm) { .who = ARENA_VMM };
FIXTURE_VARIANT_ADD(map, vcpu) { .who = ARENA_VCPU };
FIXTURE_VARIANT_ADD(map, backend) { .who = ARENA_BACKEND };

FIXTURE_SETUP(map)
{
	arena_open(&self->a, variant->who);
	ASSERT_EQ(0, arena_settle(&self->a));
}

FIXTURE_TEARDOWN(map)
{
	arena_close(&self->a);
}

/*
 * A write, the event, a sync: reported. Then quiet, all contents right here and
 * at the mover; and a write after it is found as well.
 */
#define LOSES_NOTHING(name, event, hole)					\
TEST_F_TIMEOUT(map, name, 240)							\
{										\
	struct arena *a = &self->a;						\
										\
	arena_pick(a);								\
	arena_write(a);								\
	ASSERT_EQ(0, arena_event(a, event));					\
	if (hole)								\
		arena_expect_hole(a, ARENA_WINDOW, ARENA_WINDOW_SIZE);		\
	arena_sync(a);								\
	EXPECT_EQ(0, arena_missed(a));						\
	EXPECT_EQ(0, arena_settle(a));						\
	EXPECT_EQ(0, arena_wrong(a));						\
	arena_write(a);								\
	arena_sync(a);								\
	EXPECT_EQ(0, arena_missed(a));						\
	EXPECT_EQ(0, arena_wrong(a));						\
}

/* Catches who reads page tables only: the entries are gone. */
static int drop_entries(struct arena *a, char *memory, size_t offset, size_t length)
{
	(void)a;
	return madvise(memory + offset, length, MADV_DONTNEED) ? errno : 0;
}

LOSES_NOTHING(madv_dontneed, drop_entries, false)

/* The same; and one of the pages is being written through when it comes back. */
static int drop_and_read(struct arena *a, char *memory, size_t offset, size_t length)
{
	size_t page;
	int ret = drop_entries(a, memory, offset, length);

	/* Fault-around maps them all, clean. */
	for (page = 0; page < length; page += GUEST_PAGE)
		(void)*(volatile char *)(memory + offset + page);
	return ret;
}

LOSES_NOTHING(madv_dontneed_and_read, drop_and_read, false)

/* Catches who goes by the write bit alone: it is gone. */
static int read_only_and_back(struct arena *a, char *memory, size_t offset,
			      size_t length)
{
	(void)a;
	if (mprotect(memory + offset, length, PROT_READ) ||
	    mprotect(memory + offset, length, PROT_READ | PROT_WRITE))
		return errno;
	return 0;
}

LOSES_NOTHING(mprotect_and_back, read_only_and_back, false)

/* Catches who skips entries that are not accessible. */
static int none_and_back(struct arena *a, char *memory, size_t offset, size_t length)
{
	(void)a;
	if (mprotect(memory + offset, length, PROT_NONE) ||
	    mprotect(memory + offset, length, PROT_READ | PROT_WRITE))
		return errno;
	return 0;
}

LOSES_NOTHING(mprotect_none_and_back, none_and_back, false)

static int clear_refs(const char *what)
{
	int ret, fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return errno;
	ret = write(fd, what, strlen(what)) < 0 ? errno : 0;
	close(fd);
	return ret;
}

/* Catches who goes by soft-dirty, dirty or write bits: somebody else resets them. */
static int clear_soft_dirty(struct arena *a, char *memory, size_t offset,
			    size_t length)
{
	(void)a;
	(void)memory;
	(void)offset;
	(void)length;
	return clear_refs("4");
}

LOSES_NOTHING(clear_refs_soft_dirty, clear_soft_dirty, false)

/* Catches who goes by accessed bits, of all mappings or of the file's. */
static int clear_accessed(struct arena *a, char *memory, size_t offset,
			  size_t length)
{
	int ret = clear_refs("1");

	(void)a;
	(void)memory;
	(void)offset;
	(void)length;
	return ret ? ret : clear_refs("3");
}

LOSES_NOTHING(clear_refs_accessed, clear_accessed, false)

/* Catches who follows addresses: what was at one is at another, and back. */
static int move_and_back(struct arena *a, char *memory, size_t offset, size_t length)
{
	char *room, *moved;

	(void)a;
	room = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED)
		return errno;
	moved = mremap(memory + offset, length, length,
		       MREMAP_MAYMOVE | MREMAP_FIXED, room);
	if (moved != room)
		return errno;
	moved = mremap(room, length, length, MREMAP_MAYMOVE | MREMAP_FIXED,
		       memory + offset);
	return moved == memory + offset ? 0 : errno;
}

LOSES_NOTHING(mremap_and_back, move_and_back, false)

/* Catches who thinks that a mapping which stays where it is keeps its entries. */
static int move_entries_away(struct arena *a, char *memory, size_t offset,
			     size_t length)
{
	char *moved;

	(void)a;
	moved = mremap(memory + offset, length, length,
		       MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	if (moved == MAP_FAILED)
		return errno;
	return munmap(moved, length) ? errno : 0;
}

LOSES_NOTHING(mremap_dontunmap, move_entries_away, false)

/* Catches who walks the mappings that are there, and not those that were. */
static int unmap_and_map(struct arena *a, char *memory, size_t offset, size_t length)
{
	char *again;

	if (munmap(memory + offset, length))
		return errno;
	again = mmap(memory + offset, length, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_FIXED_NOREPLACE, a->vm.mem_fd, offset);
	return again == memory + offset ? 0 : errno;
}

LOSES_NOTHING(munmap_and_mmap, unmap_and_map, false)

/* The same in one call, as QEMU does for memory that it discards. */
static int map_over(struct arena *a, char *memory, size_t offset, size_t length)
{
	char *again = mmap(memory + offset, length, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_FIXED, a->vm.mem_fd, offset);

	return again == memory + offset ? 0 : errno;
}

LOSES_NOTHING(mmap_over, map_over, false)

/* Catches who forgets that a hole is a change too: stale data would be moved. */
static int madv_remove(struct arena *a, char *memory, size_t offset, size_t length)
{
	(void)a;
	return madvise(memory + offset, length, MADV_REMOVE) ? errno : 0;
}

LOSES_NOTHING(madv_remove, madv_remove, true)

static int punch(struct arena *a, char *memory, size_t offset, size_t length)
{
	(void)memory;
	return fallocate(a->vm.mem_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 offset, length) ? errno : 0;
}

LOSES_NOTHING(fallocate_punch_hole, punch, true)

/* A hole that is read, and so filled, before the sync. */
static int punch_and_read(struct arena *a, char *memory, size_t offset, size_t length)
{
	int ret = punch(a, memory, offset, length);
	size_t page;

	for (page = 0; page < length; page += GUEST_PAGE)
		(void)*(volatile char *)(memory + offset + page);
	return ret;
}

LOSES_NOTHING(fallocate_punch_hole_and_read, punch_and_read, true)

/* The child's entries are a copy, and the copy is written, dropped, and gone. */
static int fork_drops(struct arena *a, char *memory, size_t offset, size_t length)
{
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		return errno;
	if (!pid)
		_exit(drop_entries(a, memory, offset, length) ||
		      read_only_and_back(a, memory, offset, length));
	if (waitpid(pid, &status, 0) != pid)
		return errno;
	return status;
}

LOSES_NOTHING(fork, fork_drops, false)

/* A VMM keeps its memory from its children; it is still tracked. */
static int fork_without(struct arena *a, char *memory, size_t offset, size_t length)
{
	int status;
	pid_t pid;

	(void)a;
	if (madvise(memory + offset, length, MADV_DONTFORK))
		return errno;
	pid = fork();
	if (pid < 0)
		return errno;
	if (!pid)
		_exit(!madvise(memory + offset, length, MADV_DONTNEED));
	if (waitpid(pid, &status, 0) != pid)
		return errno;
	if (status || madvise(memory + offset, length, MADV_DOFORK))
		return errno ? errno : ECHILD;
	return 0;
}

LOSES_NOTHING(fork_dontfork, fork_without, false)

/* No entry goes away here, but each call splits or touches the mapping. */
static int advise(struct arena *a, char *memory, size_t offset, size_t length)
{
	static const int advices[] = {
		MADV_COLD, MADV_WILLNEED, MADV_SEQUENTIAL, MADV_NORMAL,
		MADV_DONTDUMP, MADV_DODUMP, MADV_POPULATE_READ,
		MADV_POPULATE_WRITE,
	};
	cpu_set_t all, one;
	size_t i;

	(void)a;
	for (i = 0; i < ARRAY_SIZE(advices); i++)
		if (madvise(memory + offset, length, advices[i]))
			return errno;
	/* A CPU that is left has references for later, and they are taken for I/O. */
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	if (sched_getaffinity(0, sizeof(all), &all) ||
	    sched_setaffinity(0, sizeof(one), &one) ||
	    mlock(memory + offset, length) || munlock(memory + offset, length) ||
	    msync(memory + offset, length, MS_SYNC) ||
	    sched_setaffinity(0, sizeof(all), &all))
		return errno;
	return 0;
}

LOSES_NOTHING(madvise_mlock_msync, advise, false)

/* The half of the window that was dropped last is behind a mapping of the other. */
static int swap_halves(struct arena *a, char *memory, size_t offset, size_t length)
{
	size_t half = length / 2;
	char *low, *high;

	low = mmap(memory + offset, half, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED, a->vm.mem_fd, offset + half);
	high = mmap(memory + offset + half, half, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED, a->vm.mem_fd, offset);
	return low == memory + offset && high == low + half ? 0 : errno;
}

/*
 * Catches who follows addresses: the halves of the window change places. A
 * write at one address is a write to a page elsewhere in the file.
 */
TEST_F_TIMEOUT(map, halves_change_places, 240)
{
	struct arena *a = &self->a;
	size_t first = ARENA_WINDOW / GUEST_PAGE, i;
	size_t npages = ARENA_WINDOW_SIZE / GUEST_PAGE;
	uint32_t *list = a->vm.control->list;

	arena_pick(a);
	arena_write(a);
	ASSERT_EQ(0, arena_event(a, swap_halves));
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	ASSERT_EQ(0, arena_settle(a));

	arena_write(a);
	for (i = 0; i < ARENA_WRITES; i++)
		a->expected[list[i]].writes--;
	ASSERT_EQ(0, arena_event(a, map_over));
	for (i = 0; i < ARENA_WRITES; i++) {
		list[i] = first + (list[i] - first + npages / 2) % npages;
		a->expected[list[i]].writes++;
	}
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_EQ(0, arena_wrong(a));
	ASSERT_EQ(0, arena_settle(a));
}

/* The file loses its end, and gets it back: zeros, which are to be moved too. */
TEST_F_TIMEOUT(map, truncate_and_grow, 240)
{
	struct arena *a = &self->a;

	arena_pick(a);
	arena_write(a);
	ASSERT_EQ(0, ftruncate(a->vm.mem_fd, ARENA_WINDOW));
	ASSERT_EQ(0, ftruncate(a->vm.mem_fd, ARENA_SIZE));
	arena_expect_hole(a, ARENA_WINDOW, ARENA_SIZE - ARENA_WINDOW);
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_EQ(0, arena_wrong(a));
	EXPECT_EQ(0, arena_settle(a));
	arena_write(a);
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_EQ(0, arena_wrong(a));
}

/* Syncs while the file is short; it grows beyond what is tracked, too. */
TEST_F_TIMEOUT(map, syncs_while_short, 240)
{
	struct arena *a = &self->a;

	arena_pick(a);
	arena_write(a);
	ASSERT_EQ(0, ftruncate(a->vm.mem_fd, ARENA_WINDOW + 1));
	harvest_sync(&a->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	harvest_take(&a->harvest);
	EXPECT_EQ(0, arena_missed(a));
	harvest_sync(&a->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	harvest_sync(&a->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	ASSERT_EQ(0, ftruncate(a->vm.mem_fd, 2 * ARENA_SIZE));
	arena_expect_hole(a, ARENA_WINDOW, ARENA_SIZE - ARENA_WINDOW);
	memset(a->mirror + ARENA_WINDOW, 0, ARENA_SIZE - ARENA_WINDOW);
	a->expected[ARENA_WINDOW / GUEST_PAGE].tag = 0;
	arena_settle(a);
	arena_write(a);
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_EQ(0, arena_wrong(a));
	ASSERT_EQ(0, arena_settle(a));
}

/* Catches who follows the process that is tracked, and not the file. */
TEST_F_TIMEOUT(map, child_writes_and_exits, 240)
{
	struct arena *a = &self->a;
	int status;
	size_t i;
	pid_t pid;

	arena_pick(a);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		arena_write_list(a, a->vm.memory);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	for (i = 0; i < ARENA_WRITES; i++)
		a->expected[a->vm.control->list[i]].writes++;
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_EQ(0, arena_wrong(a));
	EXPECT_EQ(0, arena_settle(a));
}

/* Catches who goes by what a child would have got at the last sync. */
TEST_F_TIMEOUT(map, child_that_was_allowed_for_a_moment, 240)
{
	struct arena *a = &self->a;
	size_t i;
	pid_t pid;

	ASSERT_EQ(0, madvise(a->vm.memory, ARENA_SIZE, MADV_DONTFORK));
	ASSERT_EQ(0, arena_settle(a));
	arena_pick(a);
	ASSERT_EQ(0, madvise(a->vm.memory, ARENA_SIZE, MADV_DOFORK));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		arena_write_list(a, a->vm.memory);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	ASSERT_EQ(0, madvise(a->vm.memory, ARENA_SIZE, MADV_DONTFORK));
	for (i = 0; i < ARENA_WRITES; i++)
		a->expected[a->vm.control->list[i]].writes++;
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	EXPECT_EQ(0, arena_wrong(a));
	EXPECT_EQ(0, arena_settle(a));
	ASSERT_EQ(0, madvise(a->vm.memory, ARENA_SIZE, MADV_DOFORK));
}

TEST_HARNESS_MAIN
