// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ctl/uffd/ with memory that is a file, as a VMM shares it: what post-copy and live
 * snapshots rest on. Prints TAP.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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

/* The storage hangs at some pages, until it is let go on. */
static int storage[2];
static uint64_t hangs_from, hangs_to;
static unsigned int hanging;

static void storage_open(uint64_t from, uint64_t to)
{
	CHECK(!pipe(storage));
	hanging = 0;
	hangs_from = from;
	hangs_to = to;
}

static void storage_goes_on(void)
{
	hangs_to = 0;
	close(storage[1]);
}

static void storage_use(uint64_t page, uint64_t n)
{
	char byte;

	if (page >= hangs_to || page + n <= hangs_from)
		return;
	__atomic_fetch_add(&hanging, 1, __ATOMIC_SEQ_CST);
	CHECK(!read(storage[0], &byte, 1));
}

/* Through the file, as it is done for a VMM. */
static int written(void *data, uint64_t offset, size_t size, void *buffer, struct error *err)
{
	uint64_t page = offset / PAGE, i;

	(void)data;
	if (page == bad_page)
		return error_set(err, EXIT_FAILED, "page %llu can't be saved",
				 (unsigned long long)page);
	storage_use(page, size / PAGE);
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

static void *page_writer(void *data)
{
	memset(data, 0x55, PAGE);
	return NULL;
}

static void *page_remover(void *data)
{
	return madvise(data, PAGE, MADV_REMOVE) ? data : NULL;
}

static pthread_t at_page(void *(*what)(void *data), uint64_t page)
{
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, what, guest + page * PAGE));
	return thread;
}

/* It does not wait for the storage. */
static bool ends(pthread_t thread)
{
	struct timespec until;
	void *failure;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 20;
	return !pthread_clockjoin_np(thread, &failure, CLOCK_MONOTONIC, &until) && !failure;
}

/* One that does not is waited for once the storage goes on. */
static void all_end(pthread_t *threads, unsigned int n)
{
	bool end[8];
	unsigned int i;

	for (i = 0; i < n; i++) {
		end[i] = ends(threads[i]);
		CHECK(end[i]);
	}
	storage_goes_on();
	for (i = 0; i < n; i++) {
		if (!end[i])
			pthread_join(threads[i], NULL);
	}
}

/* All threads that handle faults hang: who writes to a page is not even read of. */
static void test_storage_hangs(void)
{
	pthread_t threads[5];
	struct uffd *uffd;
	struct error err = {};
	unsigned int i;

	CHECK(memory_open(0, SIZE));
	memory_fill();
	uffd = setup(UFFD_WRITE, WRITE_FEATURES, PAGE);
	OK(uffd_protect(uffd, &err));
	storage_open(3, 5);
	threads[0] = at_page(page_writer, 3);
	threads[1] = at_page(page_writer, 4);
	while (__atomic_load_n(&hanging, __ATOMIC_SEQ_CST) < 2)
		usleep(1000);
	threads[2] = at_page(page_writer, 9);
	threads[3] = at_page(page_writer, 3);
	threads[4] = at_page(page_remover, 12);
	all_end(threads, 5);
	CHECK(uffd_failed(uffd, &err) && strstr(err.message, "storage hangs") && err.advice[0]);
	/* Nor is anything protected once those threads go on. */
	for (i = 0; i < PAGES; i++)
		page_writer(guest + (size_t)i * PAGE);
	CHECK(!saves[9] && !saves[100]);
	uffd_stop(uffd);
	close(storage[0]);
	memory_close(SIZE);
	report_checks("storage that hangs: all may write within a second, and what is saved has failed");
}

static void *save_some(void *data)
{
	struct uffd_channel channel;

	OK(uffd_channel_open(&channel, 16 * PAGE, &err));
	OK(uffd_save(data, &channel, 32, 16, &err));
	uffd_channel_close(&channel);
	return NULL;
}

/* Who saves pages by itself may take as long as it likes, until somebody wants to write. */
static void test_storage_hangs_for_nobody(void)
{
	pthread_t saver, thread;
	struct error err = {};
	struct uffd *uffd;

	CHECK(memory_open(0, SIZE));
	memory_fill();
	uffd = setup(UFFD_WRITE, WRITE_FEATURES, PAGE);
	OK(uffd_protect(uffd, &err));
	storage_open(40, 41);
	CHECK(!pthread_create(&saver, NULL, save_some, uffd));
	while (!__atomic_load_n(&hanging, __ATOMIC_SEQ_CST))
		usleep(1000);
	usleep(1500000);
	/* Others are as fast as ever. */
	page_writer(guest + 9 * PAGE);
	CHECK(saves[9] == 1);
	CHECK(!uffd_failed(uffd, &err));
	thread = at_page(page_writer, 47);
	all_end(&thread, 1);
	CHECK(uffd_failed(uffd, &err) && strstr(err.message, "storage hangs"));
	pthread_join(saver, NULL);
	uffd_stop(uffd);
	close(storage[0]);
	memory_close(SIZE);
	report_checks("storage that hangs while nobody waits for it is waited for");
}

/* The best of some: how long it takes to stop what has nothing to do. */
static long stop_ms(unsigned int modes, uint64_t features)
{
	struct timespec begin, end;
	long ms, best = LONG_MAX;
	struct uffd *uffd;
	int i;

	for (i = 0; i < 5; i++) {
		uffd = setup(modes, features, PAGE);
		clock_gettime(CLOCK_MONOTONIC, &begin);
		uffd_stop(uffd);
		clock_gettime(CLOCK_MONOTONIC, &end);
		ms = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
		best = ms < best ? ms : best;
	}
	return best;
}

/* The one that looks after the storage now and then does not end only then. */
static void test_stopped_at_once(void)
{
	long ms, without;
	int tries = 5;

	CHECK(memory_open(0, SIZE));
	/* A machine can be too busy now and then: once is enough. */
	do {
		without = stop_ms(UFFD_MISSING, UFFD_FEATURE_MISSING_SHMEM);
		ms = stop_ms(UFFD_WRITE, WRITE_FEATURES);
	} while (ms >= without + 50 && --tries);
	CHECK(tries);
	printf("# %ld ms, %ld ms where nothing is saved\n", ms, without);
	memory_close(SIZE);
	report_checks("nothing is waited for when nothing is being saved");
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
	test_storage_hangs();
	test_storage_hangs_for_nobody();
	test_stopped_at_once();
	test_given_back();
	test_second_fails();
	printf("1..%d\n", tests);
	return !!failures;
}
