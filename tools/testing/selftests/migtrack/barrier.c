// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mappings of the memory that can't be write-protected: private ones, and those of a
 * descriptor that can only be read. The kernel's walk stops at the first of them, in
 * the order of the file's pages, so that those behind it stay as they were. Nothing
 * may be missed, the source says so (flag barrier), and all is as before once the
 * mapping is gone.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "harvest.h"

#define PAGE		4096UL
#define MEMORY		(8UL << 20)
#define HALF		(MEMORY / 2)
#define WRITES		100UL
/* Pages between two that are written: each chunk has some. */
#define STEP		(MEMORY / PAGE / WRITES)

FIXTURE(barrier) {
	struct harvest h;
	int mem_fd;
	char *halves[2];
	pid_t other;
};

/*
 * @flags: of the open file
 * @map: of the mapping
 * @first: it is there before those of the VMM, and comes first in the walk
 */
FIXTURE_VARIANT(barrier) {
	int flags;
	int map;
	bool first;
};

FIXTURE_VARIANT_ADD(barrier, read_only_before) {
	.flags = O_RDONLY, .map = MAP_SHARED, .first = true,
};
FIXTURE_VARIANT_ADD(barrier, read_only_after) {
	.flags = O_RDONLY, .map = MAP_SHARED,
};
FIXTURE_VARIANT_ADD(barrier, private_before) {
	.flags = O_RDWR, .map = MAP_PRIVATE, .first = true,
};
FIXTURE_VARIANT_ADD(barrier, private_after) {
	.flags = O_RDWR, .map = MAP_PRIVATE,
};

/* Another process maps all of the memory, or a part that starts later. */
static pid_t map_elsewhere(int mem_fd, int flags, int map, size_t offset)
{
	char path[64], byte = 0;
	int pair[2], fd;
	pid_t pid;

	if (pipe(pair))
		return -1;
	pid = fork();
	if (!pid) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", mem_fd);
		fd = open(path, flags);
		if (fd < 0 || mmap(NULL, MEMORY - offset, PROT_READ, map, fd,
				   (off_t)offset) == MAP_FAILED)
			_exit(1);
		close(fd);
		if (write(pair[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	close(pair[1]);
	if (read(pair[0], &byte, 1) != 1)
		pid = -1;
	close(pair[0]);
	return pid;
}

static char *page_at(FIXTURE_DATA(barrier) *self, size_t page)
{
	return self->halves[page * PAGE / HALF] + page * PAGE % HALF;
}

FIXTURE_SETUP(barrier)
{
	size_t page;

	self->mem_fd = memfd_create("barrier", 0);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	if (variant->first)
		self->other = map_elsewhere(self->mem_fd, variant->flags, variant->map, 0);
	/* Backwards: two mappings, whatever address they get. */
	self->halves[1] = mmap(NULL, HALF, PROT_READ | PROT_WRITE, MAP_SHARED,
			       self->mem_fd, HALF);
	self->halves[0] = mmap(NULL, HALF, PROT_READ | PROT_WRITE, MAP_SHARED,
			       self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->halves[0]);
	ASSERT_NE(MAP_FAILED, self->halves[1]);
	/* Pages of the second half only are behind it. */
	if (!variant->first)
		self->other = map_elsewhere(self->mem_fd, variant->flags, variant->map,
					    HALF / 2);
	ASSERT_LT(0, self->other);
	for (page = 0; page < MEMORY / PAGE; page++)
		*page_at(self, page) = 1;
	harvest_open(&self->h, getpid(), self->mem_fd);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	harvest_take(&self->h);
}

FIXTURE_TEARDOWN(barrier)
{
	if (self->other > 0) {
		kill(self->other, SIGKILL);
		waitpid(self->other, NULL, 0);
	}
	harvest_close(&self->h);
	munmap(self->halves[0], HALF);
	munmap(self->halves[1], HALF);
	close(self->mem_fd);
}

static size_t sync_take(struct harvest *h)
{
	harvest_sync(h, MIGTRACK_SYNC_KIND_ITERATION);
	return harvest_take(h);
}

/* Write, sync: how many of them are not reported? */
static size_t missed(FIXTURE_DATA(barrier) *self, char value)
{
	size_t i, n = 0;

	for (i = 0; i < WRITES; i++)
		*page_at(self, i * STEP) = value;
	sync_take(&self->h);
	for (i = 0; i < WRITES; i++)
		n += !harvest_took(&self->h, i * STEP);
	return n;
}

static size_t wrong(FIXTURE_DATA(barrier) *self, char value)
{
	size_t i, n = 0;
	char byte;

	for (i = 0; i < WRITES; i++) {
		if (pread(self->mem_fd, &byte, 1, (off_t)(i * STEP * PAGE)) != 1 ||
		    byte != value)
			n++;
	}
	return n;
}

TEST_F_TIMEOUT(barrier, misses_nothing, 120)
{
	char value;

	for (value = 2; value < 8; value++) {
		ASSERT_EQ(0, missed(self, value));
		ASSERT_EQ(0, wrong(self, value));
		ASSERT_NE(0, harvest_source(&self->h).flags &
			     MIGTRACK_COUNTER_FLAGS_BARRIER);
	}

	kill(self->other, SIGKILL);
	waitpid(self->other, NULL, 0);
	self->other = 0;
	ASSERT_EQ(0, missed(self, value));
	EXPECT_EQ(0, harvest_source(&self->h).flags & MIGTRACK_COUNTER_FLAGS_BARRIER);
	/* All can be protected again: only what is written is reported. */
	ASSERT_TRUE(harvest_settles_at(&self->h, MIGTRACK_SYNC_KIND_ITERATION, 0));
	*page_at(self, 5) = value;
	EXPECT_EQ(1, sync_take(&self->h));
}

TEST_HARNESS_MAIN
