// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pages go to swap between a write and the sync, and come back: the entry that
 * tells of the write is gone, and when it comes back it is another one. And the
 * tracker must not make reclaim take a written page for a clean one.
 */

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "arena.h"
#include "host.h"

#define SWAP_SIZE	(64UL << 20)
#define WINDOW_PAGES	(ARENA_WINDOW_SIZE / GUEST_PAGE)
/* Some pages stay: they are on their way to a list, or were just touched. */
#define MOST(n)		((n) * 7 / 10)

FIXTURE(reclaim) {
	struct arena a;
};

FIXTURE_VARIANT(reclaim) {
	enum arena_writer who;
};

FIXTURE_VARIANT_ADD(reclaim, vmm) { .who = ARENA_VMM };
FIXTURE_VARIANT_ADD(reclaim, vcpu) { .who = ARENA_VCPU };
FIXTURE_VARIANT_ADD(reclaim, backend) { .who = ARENA_BACKEND };

FIXTURE_SETUP(reclaim)
{
	host_swap_on(SWAP_SIZE);
	host_group_enter();
	arena_open(&self->a, variant->who);
	ASSERT_EQ(0, arena_settle(&self->a));
}

FIXTURE_TEARDOWN(reclaim)
{
	arena_close(&self->a);
	host_group_leave();
	host_swap_off();
}

/* How much of the window is not in memory. */
static size_t swapped(const struct arena *a)
{
	return WINDOW_PAGES - host_resident(a->vm.memory + ARENA_WINDOW,
					    ARENA_WINDOW_SIZE);
}

/* Asks the group for all that it has. Not all can be had, which is an error. */
static void drive_out(void)
{
	host_try_write(HOST_GROUP "/memory.reclaim", "64M");
}

static int advise_pageout(struct arena *a, char *memory, size_t offset,
			  size_t length)
{
	(void)a;
	return madvise(memory + offset, length, MADV_PAGEOUT) ? errno : 0;
}

/* The contents come back right, here and at the mover, and all goes on. */
#define AFTERWARDS(a) do {							\
	arena_sync(a);								\
	EXPECT_EQ(0, arena_missed(a));						\
	EXPECT_EQ(0, arena_settle(a));						\
	EXPECT_EQ(0, arena_wrong(a));						\
	arena_write(a);								\
	arena_sync(a);								\
	EXPECT_EQ(0, arena_missed(a));						\
	EXPECT_EQ(0, arena_wrong(a));						\
} while (0)

/* Catches who reads page tables only: the entries are gone, and so is the page. */
TEST_F_TIMEOUT(reclaim, group, 240)
{
	struct arena *a = &self->a;

	arena_pick(a);
	arena_write(a);
	drive_out();
	EXPECT_LE(MOST(WINDOW_PAGES), swapped(a));
	AFTERWARDS(a);
}

/* Catches who counts on present entries at the next sync: a read made them, clean. */
TEST_F_TIMEOUT(reclaim, group_and_back, 240)
{
	struct arena *a = &self->a;
	size_t page;

	arena_pick(a);
	arena_write(a);
	drive_out();
	EXPECT_LE(MOST(WINDOW_PAGES), swapped(a));
	for (page = 0; page < ARENA_SIZE; page += GUEST_PAGE)
		(void)*(volatile char *)(a->vm.memory + page);
	EXPECT_EQ(0, swapped(a));
	AFTERWARDS(a);
}

/* Catches who clears or loses dirty bits when it protects: reclaim drops pages. */
TEST_F_TIMEOUT(reclaim, after_the_sync, 240)
{
	struct arena *a = &self->a;
	unsigned int round;

	for (round = 0; round < 2; round++) {
		arena_pick(a);
		arena_write(a);
		arena_sync(a);
		EXPECT_EQ(0, arena_missed(a));
		drive_out();
		EXPECT_LE(MOST(WINDOW_PAGES), swapped(a));
		EXPECT_EQ(0, arena_wrong(a));
	}
	EXPECT_EQ(0, arena_settle(a));
}

static int read_all(struct arena *a, char *memory, size_t offset, size_t length)
{
	size_t page;

	(void)a;
	for (page = 0; page < length; page += GUEST_PAGE)
		if (*(volatile char *)(memory + offset + page))
			return EIO;
	return 0;
}

/*
 * The same for pages whose only trace is in the entry: a hole that was read is
 * mapped clean and writable, so that a write to it tells nobody.
 */
TEST_F_TIMEOUT(reclaim, read_holes_after_the_sync, 240)
{
	struct arena *a = &self->a;

	ASSERT_EQ(0, madvise(a->vm.memory + ARENA_WINDOW, ARENA_WINDOW_SIZE,
			     MADV_REMOVE));
	arena_expect_hole(a, ARENA_WINDOW, ARENA_WINDOW_SIZE);
	ASSERT_EQ(0, arena_event(a, read_all));
	arena_pick(a);
	arena_write(a);
	arena_sync(a);
	EXPECT_EQ(0, arena_missed(a));
	drive_out();
	EXPECT_EQ(0, arena_wrong(a));
	EXPECT_EQ(0, arena_settle(a));
	EXPECT_EQ(0, arena_wrong(a));
}

/* Pages come back all at once, without anybody asking for them. */
TEST_F_TIMEOUT(reclaim, swapoff, 240)
{
	struct arena *a = &self->a;

	arena_pick(a);
	arena_write(a);
	drive_out();
	EXPECT_LE(MOST(WINDOW_PAGES), swapped(a));
	host_swap_off();
	EXPECT_EQ(0, swapped(a));
	host_swap_on(SWAP_SIZE);
	AFTERWARDS(a);
}

/* What is in swap is written, with no entry there before. */
TEST_F_TIMEOUT(reclaim, written_in_swap, 240)
{
	struct arena *a = &self->a;

	drive_out();
	EXPECT_LE(MOST(WINDOW_PAGES), swapped(a));
	arena_settle(a);
	drive_out();
	arena_pick(a);
	arena_write(a);
	AFTERWARDS(a);
}

/*
 * Asked for by the process itself. Pages that several processes map are left
 * alone by that, so the back end drops its entries first.
 */
TEST_F_TIMEOUT(reclaim, madv_pageout, 240)
{
	struct arena *a = &self->a;

	arena_pick(a);
	arena_write(a);
	if (variant->who == ARENA_BACKEND)
		ASSERT_EQ(0, madvise(a->vm.memory, ARENA_SIZE, MADV_DONTNEED));
	ASSERT_EQ(0, arena_event(a, advise_pageout));
	EXPECT_LE(MOST(WINDOW_PAGES), swapped(a));
	AFTERWARDS(a);
}

/* Asked for by somebody else. */
TEST_F_TIMEOUT(reclaim, process_madvise, 240)
{
	struct arena *a = &self->a;
	struct iovec range = {
		.iov_base = a->vm.memory + ARENA_WINDOW,
		.iov_len = ARENA_WINDOW_SIZE,
	};
	pid_t pid, vmm = getpid();
	int status;

	if (variant->who == ARENA_BACKEND)
		ASSERT_EQ(0, arena_event(a, advise_pageout));
	arena_pick(a);
	arena_write(a);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int fd;

		/* Its own entries would keep the pages. */
		munmap(a->vm.memory, ARENA_SIZE);
		fd = pidfd_open(vmm, 0);
		_exit(syscall(SYS_process_madvise, fd, &range, 1, MADV_PAGEOUT,
			      0) != ARENA_WINDOW_SIZE);
	}
	waitpid(pid, &status, 0);
	EXPECT_EQ(0, status);
	if (variant->who != ARENA_BACKEND)
		EXPECT_LE(MOST(WINDOW_PAGES), swapped(a));
	AFTERWARDS(a);
}

TEST_HARNESS_MAIN
