// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Owns a session, from C++: says its number, waits for a line, and makes three
 * iterations that find 3, 2 and 10 pages written. For library.sh.
 */

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

#include <migtrack.h>

static const size_t page = 4096, pages = 64;

static void need(int ret, const char *what)
{
	if (!ret)
		return;
	std::fprintf(stderr, "%s: %s\n", what, std::strerror(-ret));
	std::exit(1);
}

static void publish(migtrack *mt, int fd, migtrack_phase phase)
{
	migtrack_session set = {};

	set.phase = phase;
	set.expected_downtime_ns = UINT64_MAX;
	need(migtrack_session_set(mt, fd, &set), "session-set");
}

int main()
{
	static const size_t writes[] = { 3, 2, 10 };
	migtrack_source_map map;
	unsigned long *bitmap;
	migtrack *mt;
	uint64_t id;
	char *memory;
	int fd, mem_fd;

	mem_fd = memfd_create("guest", MFD_CLOEXEC);
	need(ftruncate(mem_fd, pages * page), "ftruncate");
	memory = static_cast<char *>(mmap(nullptr, pages * page, PROT_READ | PROT_WRITE,
					  MAP_SHARED, mem_fd, 0));
	need(memory == MAP_FAILED ? -errno : 0, "mmap");
	std::memset(memory, 1, pages * page);

	need(migtrack_open(&mt), "open");
	need(migtrack_session_new(mt, &id, &fd), "session-new");
	need(migtrack_source_add_ram(mt, fd, getpid(), mem_fd, 0, 0, &map), "source-add");
	need(migtrack_bitmap_map(fd, &map, &bitmap), "bitmap");
	std::printf("session %llu\n", static_cast<unsigned long long>(id));
	std::fflush(stdout);
	std::getchar();

	publish(mt, fd, MIGTRACK_PHASE_PRECOPY);
	need(migtrack_sync(mt, fd, MIGTRACK_SYNC_KIND_SETUP), "sync");
	need(migtrack_sync_wait(fd, 60000), "wait");
	/* All of it is found until our address space is adopted. */
	do {
		__atomic_exchange_n(bitmap, 0, __ATOMIC_SEQ_CST);
		usleep(10000);
		need(migtrack_sync(mt, fd, MIGTRACK_SYNC_KIND_HELPER), "sync");
		need(migtrack_sync_wait(fd, 60000), "wait");
	} while (*bitmap);
	for (size_t n : writes) {
		__atomic_exchange_n(bitmap, 0, __ATOMIC_SEQ_CST);
		for (size_t i = 0; i < n; i++)
			memory[i * page]++;
		need(migtrack_sync(mt, fd, MIGTRACK_SYNC_KIND_ITERATION), "sync");
		need(migtrack_sync_wait(fd, 60000), "wait");
	}
	publish(mt, fd, MIGTRACK_PHASE_COMPLETED);

	migtrack_bitmap_unmap(&map, bitmap);
	close(fd);
	migtrack_close(mt);
	munmap(memory, pages * page);
	close(mem_fd);
	return 0;
}
