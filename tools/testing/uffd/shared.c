// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ctl/uffd/ with memory that is a file, as a VMM shares it: what post-copy and live
 * snapshots rest on. Prints TAP.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "memory.h"
#include "uffd/uffd.h"

#define PAGES		512u
#define SIZE		((size_t)PAGES * PAGE)
#define HUGE_SIZE	((size_t)2 << 20)
#define WRITERS		4
#define ROUNDS		20
#define NO_PAGE		UINT64_MAX

#define WRITE_FEATURES	(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM | \
			 UFFD_FEATURE_EVENT_REMOVE)

static char *guest;
static int file;
static unsigned int loads[PAGES], saves[PAGES];
static uint64_t bad_page;
static char image[SIZE], saved[SIZE];

static int load(void *data, uint64_t offset, size_t size, void *buffer,
		enum uffd_kind *kind, struct error *err)
{
	uint64_t page = offset / PAGE, n = size / PAGE, i;

	(void)data;
	(void)err;
	for (i = 0; i < n; i++) {
		__atomic_fetch_add(&loads[page + i], 1, __ATOMIC_RELAXED);
		page_fill((char *)buffer + i * PAGE, page + i);
	}
	*kind = n == 1 && page_is_hole(page) ? UFFD_ZERO : UFFD_DATA;
	return 0;
}

/* Through the file, as it is done for a VMM. */
static int written(void *data, uint64_t offset, size_t size, void *buffer, struct error *err)
{
	uint64_t page = offset / PAGE, i;

	(void)data;
	if (page == bad_page)
		return error_set(err, EXIT_FAILED, "page %llu can't be saved",
				 (unsigned long long)page);
	if (pread(file, buffer, size, (off_t)offset) != (ssize_t)size)
		return error_set(err, EXIT_FAILED, "pread");
	for (i = 0; i < size / PAGE; i++)
		__atomic_fetch_add(&saves[page + i], 1, __ATOMIC_RELAXED);
	memcpy(saved + offset, buffer, size);
	return 0;
}

static const struct uffd_ops ops = { .load = load, .written = written };

static bool memory_open(int flags, size_t size)
{
	file = memfd_create("guest", MFD_CLOEXEC | (unsigned int)flags);
	if (file < 0 || ftruncate(file, (off_t)size))
		return false;
	guest = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	return guest != MAP_FAILED;
}

static void memory_close(size_t size)
{
	munmap(guest, size);
	close(file);
	memset(loads, 0, sizeof(loads));
	memset(saves, 0, sizeof(saves));
	memset(saved, 0, sizeof(saved));
	bad_page = NO_PAGE;
}

/* Of three pages one is written to, one is in the file only, one is not there. */
static void memory_fill(void)
{
	char page[PAGE] __attribute__((aligned(8)));
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		page_fill(page, i);
		if (i % 3 == 0)
			memcpy(guest + (size_t)i * PAGE, page, PAGE);
		else if (i % 3 == 1)
			CHECK(pwrite(file, page, PAGE, (off_t)i * PAGE) == PAGE);
	}
	CHECK(pread(file, image, SIZE, 0) == (ssize_t)SIZE);
}

static struct uffd *setup(unsigned int modes, uint64_t features, uint64_t page_size)
{
	struct uffd_region region = {
		.start = (uintptr_t)guest, .size = SIZE, .page_size = page_size, .modes = modes,
	};
	struct uffd_config config = {
		.fd = -1, .features = features, .regions = &region, .n = 1,
		.ops = &ops, .threads = 2,
	};
	struct uffd *uffd;

	OK(uffd_setup(&uffd, &config, &err));
	return uffd;
}

static void *writer(void *data)
{
	unsigned int i, seed = *(unsigned int *)data;

	/* Each page is written to by two of them. */
	for (i = 0; i < PAGES / 2; i++)
		memset(guest + (size_t)((i * 67 + seed * 128) % PAGES) * PAGE, 0x55, PAGE);
	return NULL;
}

static void save_all(struct uffd *uffd, uint64_t pages)
{
	struct uffd_channel channel;
	uint64_t page;

	OK(uffd_channel_open(&channel, pages == PAGES ? 16 * PAGE : HUGE_SIZE, &err));
	for (page = 0; page < pages; page += 16)
		OK(uffd_save(uffd, &channel, page, pages < 16 ? pages : 16, &err));
	uffd_channel_close(&channel);
}

static void write_and_save(struct uffd *uffd, uint64_t pages)
{
	static unsigned int seeds[WRITERS] = { 0, 1, 2, 3 };
	pthread_t threads[WRITERS];
	unsigned int i;

	OK(uffd_protect(uffd, &err));
	for (i = 0; i < WRITERS; i++)
		pthread_create(&threads[i], NULL, writer, &seeds[i]);
	save_all(uffd, pages);
	for (i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
}

static bool all_once(const unsigned int *counts)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		if (counts[i] != 1)
			return false;
	}
	return true;
}

static void test_saved(void)
{
	struct uffd *uffd;
	struct error err;

	CHECK(memory_open(0, SIZE));
	memory_fill();
	uffd = setup(UFFD_WRITE, WRITE_FEATURES, PAGE);
	write_and_save(uffd, PAGES);
	CHECK(all_once(saves));
	CHECK(!memcmp(saved, image, SIZE));
	OK(uffd_release(uffd, &err));
	CHECK(!uffd_failed(uffd, &err));
	memset(guest, 1, SIZE);
	uffd_stop(uffd);
	memory_close(SIZE);
	report_checks("shared memory is saved as it was, also where there was none, each page once");
}

static void test_saved_huge(void)
{
	struct uffd *uffd;

	_Static_assert(SIZE == HUGE_SIZE, "it is one huge page");
	if (!memory_open(MFD_HUGETLB, SIZE)) {
		printf("ok %d uffd: huge pages # SKIP optional: there are none\n", ++tests);
		return;
	}
	memset(guest, 0x11, SIZE);
	memcpy(image, guest, SIZE);
	uffd = setup(UFFD_WRITE, WRITE_FEATURES, HUGE_SIZE);
	write_and_save(uffd, 1);
	CHECK(all_once(saves));
	CHECK(!memcmp(saved, image, SIZE));
	uffd_stop(uffd);
	memory_close(SIZE);
	report_checks("huge pages: one is saved whole, before it changes");
}

/* What is read of is handled late, if it is to be. */
static bool read_late;
ssize_t __real_read(int fd, void *buffer, size_t size);
ssize_t __wrap_read(int fd, void *buffer, size_t size);

ssize_t __wrap_read(int fd, void *buffer, size_t size)
{
	ssize_t length = __real_read(fd, buffer, size);

	if (length > 0 && read_late)
		usleep(1000);
	return length;
}

/* Each page is written to, from one of them on. */
static void *hole_writer(void *data)
{
	unsigned int i, first = *(unsigned int *)data;

	for (i = 0; i < PAGES; i++)
		*(volatile char *)(guest + (size_t)((first + i) % PAGES) * PAGE) = 1;
	return NULL;
}

/* One waits where nothing was, and is just being read of; another one need not any more. */
static void test_saved_to_the_end(void)
{
	static unsigned int seeds[WRITERS] = { 0, 1, 2, 3 };
	pthread_t threads[WRITERS];
	unsigned int round, i;
	struct uffd *uffd;

	for (round = 0; round < ROUNDS && !failed; round++) {
		CHECK(memory_open(0, SIZE));
		uffd = setup(UFFD_WRITE, WRITE_FEATURES, PAGE);
		OK(uffd_protect(uffd, &err));
		read_late = true;
		for (i = 0; i < WRITERS; i++)
			pthread_create(&threads[i], NULL, hole_writer, &seeds[i]);
		usleep(round * 100);
		OK(uffd_release(uffd, &err));
		hole_writer(&seeds[0]);
		for (i = 0; i < WRITERS; i++)
			pthread_join(threads[i], NULL);
		read_late = false;
		uffd_stop(uffd);
		for (i = 0; i < PAGES; i++)
			CHECK(page_is_zeros(saved + (size_t)i * PAGE));
		memory_close(SIZE);
	}
	report_checks("what is written while all is released is not taken for what was there before");
}

/* What was precopied is in the file; what is newer at the source is punched. */
static void test_loaded(void)
{
	struct uffd *uffd;
	unsigned int i;

	CHECK(memory_open(0, SIZE));
	for (i = 0; i < PAGES; i++) {
		char page[PAGE] __attribute__((aligned(8)));

		page_fill(page, i);
		CHECK(pwrite(file, page, PAGE, (off_t)i * PAGE) == PAGE);
	}
	for (i = 0; i < PAGES; i += 2)
		CHECK(!fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)i * PAGE, PAGE));
	uffd = setup(UFFD_MISSING, UFFD_FEATURE_MISSING_SHMEM, PAGE);
	for (i = 0; i < PAGES; i++)
		CHECK(page_is_right(guest + (size_t)(i * 67 % PAGES) * PAGE, i * 67 % PAGES));
	for (i = 0; i < PAGES; i++)
		CHECK(loads[i] == !(i % 2));
	uffd_stop(uffd);
	memory_close(SIZE);
	report_checks("of shared memory only the pages that were punched out are loaded");
}

static void test_not_saved(void)
{
	struct uffd_channel channel;
	struct uffd *uffd;
	struct error err = {};

	CHECK(memory_open(0, SIZE));
	memory_fill();
	uffd = setup(UFFD_WRITE, WRITE_FEATURES, PAGE);
	OK(uffd_protect(uffd, &err));
	bad_page = 7;
	/* It waits neither for this one nor for ever. */
	memset(guest + bad_page * PAGE, 1, PAGE);
	CHECK(uffd_failed(uffd, &err) && strstr(err.message, "page 7"));
	OK(uffd_channel_open(&channel, PAGE, &err));
	bad_page = 8;
	CHECK(uffd_save(uffd, &channel, 8, 1, &err) && strstr(err.message, "page 8"));
	memset(guest, 1, SIZE);
	uffd_channel_close(&channel);
	CHECK(saves[6] == 1 && !saves[7] && !saves[8] && saves[9] == 1);
	uffd_stop(uffd);
	memory_close(SIZE);
	report_checks("a page that can't be saved is written nevertheless, and told of");
}

static void test_given_back(void)
{
	struct uffd_channel channel;
	struct uffd *uffd;
	struct error err = {};

	CHECK(memory_open(0, SIZE));
	memory_fill();
	uffd = setup(UFFD_WRITE, WRITE_FEATURES, PAGE);
	CHECK(!madvise(guest, PAGE, MADV_REMOVE));
	OK(uffd_protect(uffd, &err));
	OK(uffd_channel_open(&channel, PAGE, &err));
	OK(uffd_save(uffd, &channel, 3, 1, &err));
	CHECK(!madvise(guest + 3 * PAGE, PAGE, MADV_REMOVE));
	CHECK(!uffd_failed(uffd, &err));
	CHECK(!madvise(guest + 6 * PAGE, PAGE, MADV_REMOVE));
	CHECK(uffd_failed(uffd, &err) && strstr(err.message, "not saved yet"));
	/* Others are handled as before. */
	memset(guest + 9 * PAGE, 1, PAGE);
	CHECK(saves[9] == 1);
	uffd_channel_close(&channel);
	uffd_stop(uffd);
	memory_close(SIZE);
	report_checks("memory that is given back is told of if it was not saved yet");
}

/* Nothing is left of a set-up of which a later step fails. */
static void test_second_fails(void)
{
	int program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct uffd_region regions[2];
	struct uffd_config config = {
		.fd = -1, .features = UFFD_FEATURE_MISSING_SHMEM, .regions = regions, .n = 2,
		.ops = &ops, .threads = 2,
	};
	struct uffd *uffd;
	struct error err = {};

	CHECK(memory_open(0, SIZE));
	regions[0] = (struct uffd_region) {
		.start = (uintptr_t)guest, .size = SIZE, .page_size = PAGE, .modes = UFFD_MISSING,
	};
	regions[1] = regions[0];
	regions[1].offset = SIZE;
	/* No mapping; then one of a file that has no such faults. */
	regions[1].start = (uintptr_t)mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
					   -1, 0);
	munmap((void *)(uintptr_t)regions[1].start, SIZE);
	CHECK(uffd_setup(&uffd, &config, &err) && !uffd);
	CHECK(strstr(err.message, "can't be registered"));
	regions[1].start = (uintptr_t)mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, program, 0);
	CHECK(uffd_setup(&uffd, &config, &err) && !uffd);
	CHECK(strstr(err.message, "can't be registered") && err.advice[0]);
	/* Who touches the first one is not left to wait. */
	CHECK(page_is_zeros(guest) && !loads[0]);
	uffd = setup(UFFD_MISSING, UFFD_FEATURE_MISSING_SHMEM, PAGE);
	CHECK(page_is_right(guest + PAGE, 1));
	uffd_stop(uffd);
	munmap((void *)(uintptr_t)regions[1].start, SIZE);
	close(program);
	memory_close(SIZE);
	report_checks("if the second of two regions can't be had, the first is as before");
}

int main(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0) {
		printf("1..0 # SKIP no userfaultfd: %s\n", strerror(errno));
		return 4;
	}
	close(fd);
	printf("TAP version 13\n");
	bad_page = NO_PAGE;
	test_saved();
	test_saved_huge();
	test_saved_to_the_end();
	test_loaded();
	test_not_saved();
	test_given_back();
	test_second_fails();
	printf("1..%d\n", tests);
	return !!failures;
}
