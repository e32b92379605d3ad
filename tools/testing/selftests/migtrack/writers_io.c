// SPDX-License-Identifier: GPL-2.0-or-later
/* Direct I/O, io_uring and vhost. */

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lateblk.h"
#include "uring.h"
#include "writer.h"

#define WRITERS		WRITERS_IO
#include "writers.h"

FIXTURE(pinned) {
};

FIXTURE_SETUP(pinned)
{
}

FIXTURE_TEARDOWN(pinned)
{
}

/*
 * Pages that are pinned for writing when the tracking starts, and that nobody
 * maps any more: no page table tells of them. The mover reads by pread().
 */
TEST_F_TIMEOUT(pinned, is_reported_when_not_mapped, 300)
{
	const size_t npages = 1024, first = 300, n = 16;
	char *memory, data = 1;
	struct harvest h;
	struct uring ring;
	size_t i, sync;
	int fd, fds[2];

	fd = memfd_create("guest", 0);
	ASSERT_EQ(0, ftruncate(fd, npages * GUEST_PAGE));
	memory = mmap(NULL, npages * GUEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
		      fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, pipe(fds));
	uring_open(&ring, 1);
	uring_register_buffer(&ring, memory + first * GUEST_PAGE, n * GUEST_PAGE);
	ASSERT_EQ(0, madvise(memory, npages * GUEST_PAGE, MADV_DONTNEED));

	harvest_open(&h, getpid(), fd);
	harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
	EXPECT_EQ(npages, harvest_take(&h));
	ASSERT_TRUE(harvest_settles_at(&h, MIGTRACK_SYNC_KIND_ITERATION, n));
	for (sync = 0; sync < 3; sync++) {
		for (i = first; i < first + n; i++) {
			ASSERT_EQ(1, write(fds[1], &data, 1));
			uring_read(&ring, true, fds[0], memory + i * GUEST_PAGE, 1, 0, i);
			ASSERT_EQ(i, uring_wait(&ring, 1));
		}
		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
		EXPECT_EQ(n, harvest_take(&h));
		for (i = first; i < first + n; i++)
			EXPECT_TRUE(harvest_took(&h, i));
		EXPECT_EQ(n, harvest_source(&h).held_pages);
	}
	close(ring.fd);
	harvest_close(&h);
	munmap(memory, npages * GUEST_PAGE);
	close(fd);
}

#define KILLED_PAGES	1024
#define KILLED_ROUNDS	20
#define KILLED_DELAY_US	200000

FIXTURE(killed) {
	struct lateblk blk;
	struct harvest h;
	char *memory;			/* as the VMM maps it */
	char *copy;			/* what a mover would have sent */
	int mem_fd;
	char value;			/* of all the data that comes */
};

static void killed_fill(void *private, uint64_t sector, void *data)
{
	(void)sector;
	memset(data, *(char *)private, STAMP_SECTOR);
}

FIXTURE_SETUP(killed)
{
	const size_t size = KILLED_PAGES * GUEST_PAGE;

	self->mem_fd = memfd_create("guest", 0);
	ASSERT_EQ(0, ftruncate(self->mem_fd, size));
	self->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	ASSERT_EQ(0, madvise(self->memory, size, MADV_DONTFORK));
	memset(self->memory, 'a', size);
	self->copy = malloc(size);
	self->blk.max_delay_us = KILLED_DELAY_US;
	self->blk.fill = killed_fill;
	self->blk.private = &self->value;
	lateblk_open(&self->blk, size);
	harvest_open(&self->h, getpid(), self->mem_fd);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
}

FIXTURE_TEARDOWN(killed)
{
	harvest_close(&self->h);
	lateblk_close(&self->blk);
	munmap(self->memory, KILLED_PAGES * GUEST_PAGE);
	free(self->copy);
	close(self->mem_fd);
}

/* A sync, and the page is moved if it says so. Returns if it did. */
static bool killed_sync(FIXTURE_DATA(killed) *self, size_t page)
{
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
	harvest_take(&self->h);
	if (!harvest_took(&self->h, page))
		return false;
	if (pread(self->mem_fd, self->copy, GUEST_PAGE, page * GUEST_PAGE) != GUEST_PAGE)
		exit(1);
	return true;
}

/* Reads the page, no more; then from the device into it, and is killed meanwhile. */
static void killed_child(FIXTURE_DATA(killed) *self, size_t page)
{
	char *memory = mmap(NULL, KILLED_PAGES * GUEST_PAGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED, self->mem_fd, 0);
	int fd = open(LATEBLK_PATH, O_RDONLY | O_DIRECT);

	(void)*(volatile char *)(memory + page * GUEST_PAGE);
	pread(fd, memory + page * GUEST_PAGE, GUEST_PAGE, 0);
	_exit(0);
}

/*
 * Catches who forgets what a process that dies has under way: its data comes when
 * everybody has heard of its end, or when its mapping was looked at for the last time.
 */
TEST_F_TIMEOUT(killed, during_direct_io, 300)
{
	volatile unsigned int *under_way = &self->blk.nrequests;
	unsigned int round, syncs = 0, wrong = 0;
	char now[GUEST_PAGE];
	pid_t pid;

	for (round = 0; round < KILLED_ROUNDS; round++) {
		size_t page = rand() % KILLED_PAGES;

		self->value = 'b' + round;
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			killed_child(self, page);
		while (!*under_way)
			usleep(100);
		usleep(rand() % 10000);
		kill(pid, SIGKILL);
		do {
			killed_sync(self, page);
			syncs++;
		} while (waitpid(pid, NULL, WNOHANG) != pid);
		killed_sync(self, page);
		ASSERT_EQ(GUEST_PAGE, pread(self->mem_fd, now, GUEST_PAGE, page * GUEST_PAGE));
		ASSERT_EQ(self->value, now[0]);
		wrong += memcmp(now, self->copy, GUEST_PAGE) != 0;
	}
	TH_LOG("%u rounds, %u syncs while they ended, %u pages wrong", round, syncs, wrong);
	EXPECT_EQ(0, wrong);
	/* Else there was nothing to forget. */
	EXPECT_LT(KILLED_ROUNDS, syncs);
}

TEST_HARNESS_MAIN
