// SPDX-License-Identifier: GPL-2.0-or-later
/* Direct I/O, io_uring and vhost. */

#include <sys/mman.h>
#include <unistd.h>

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

TEST_HARNESS_MAIN
