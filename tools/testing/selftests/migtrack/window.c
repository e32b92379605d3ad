// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Syncs in the midst of an event: an invalidation has begun, and told so, but
 * has not yet come to the page. What a sync clears then, and what is written
 * then, is lost on a tracker that takes the news for the deed. And content that
 * comes without any event.
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "harvest.h"

#define PAGE		4096UL
#define CHUNK		(2UL << 20)
/* Long enough for several syncs of its last chunk while it is dropped. */
#define MEMORY		(64UL << 20)
#define DROPS		150
#define HOLES		20

/*
 * A chunk with many runs, as each is protected by a call, and pages with a gap between
 * them in the last one.
 */
#define RUN_STRIDE	8
#define BEFORE_GAP	508
#define GAP		509
#define AFTER_GAP	510
#define BETWEENS	400

/* For the time limits. */
FIXTURE(window) {
	char none;
};

FIXTURE_SETUP(window)
{
}

FIXTURE_TEARDOWN(window)
{
}

struct dropper {
	char *memory;
	volatile unsigned int drops;
	volatile bool stop;
};

struct puncher {
	int mem_fd;
	int err;
	volatile bool done;
};

static void *drop_always(void *data)
{
	struct dropper *dropper = data;

	while (!dropper->stop) {
		madvise(dropper->memory, MEMORY, MADV_POPULATE_READ);
		madvise(dropper->memory, MEMORY, MADV_DONTNEED);
		dropper->drops++;
	}
	return NULL;
}

TEST_F_TIMEOUT(window, an_invalidation_outlives_syncs, 240)
{
	int mem_fd = memfd_create("window", 0);
	unsigned long page, missed = 0, syncs = 0;
	struct dropper dropper = {};
	struct harvest h;
	pthread_t thread;
	char *chunk;

	ASSERT_EQ(0, ftruncate(mem_fd, MEMORY));
	dropper.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
			      mem_fd, 0);
	ASSERT_NE(MAP_FAILED, dropper.memory);
	ASSERT_EQ(0, madvise(dropper.memory, MEMORY, MADV_POPULATE_WRITE));
	chunk = dropper.memory + MEMORY - CHUNK;

	harvest_open_range(&h, getpid(), mem_fd, MEMORY - CHUNK, CHUNK);
	harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
	harvest_take(&h);

	ASSERT_EQ(0, pthread_create(&thread, NULL, drop_always, &dropper));
	while (dropper.drops < DROPS) {
		page = rand() % (CHUNK / PAGE);
		chunk[page * PAGE]++;
		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
		harvest_take(&h);
		missed += !harvest_took(&h, page);
		syncs++;
	}
	dropper.stop = true;
	pthread_join(thread, NULL);

	TH_LOG("%d drops, %lu syncs, %lu pages missed", DROPS, syncs, missed);
	EXPECT_EQ(0, missed);
	/* Else no sync was in the midst of anything. */
	EXPECT_LT(3 * DROPS, syncs);
	harvest_close(&h);
	munmap(dropper.memory, MEMORY);
	close(mem_fd);
}

static void *punch(void *data)
{
	struct puncher *puncher = data;

	puncher->err = fallocate(puncher->mem_fd,
				 FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				 MEMORY) ? errno : 0;
	puncher->done = true;
	return NULL;
}

/* Take what a sync found, and read it from the file, which leaves no trace. */
static void copy_found(struct harvest *h, int mem_fd, char *copy)
{
	size_t page;

	harvest_sync(h, MIGTRACK_SYNC_KIND_ITERATION);
	harvest_take(h);
	for (page = 0; page < CHUNK / PAGE; page++)
		if (harvest_took(h, page) &&
		    pread(mem_fd, copy + page * PAGE, PAGE,
			  MEMORY - CHUNK + page * PAGE) != PAGE)
			err(1, "pread");
}

/*
 * A hole tells of all its pages at once, and then takes them away one by one:
 * what is copied in between is out of date without another word.
 */
TEST_F_TIMEOUT(window, a_hole_outlives_syncs, 240)
{
	int mem_fd = memfd_create("window", 0);
	char *memory, *chunk, *copy = malloc(CHUNK);
	unsigned long round, page, missed = 0, syncs = 0;
	static const char hole[PAGE];
	struct harvest h;

	ASSERT_EQ(0, ftruncate(mem_fd, MEMORY));
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, mem_fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	chunk = memory + MEMORY - CHUNK;
	harvest_open_range(&h, getpid(), mem_fd, MEMORY - CHUNK, CHUNK);
	harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);

	for (round = 0; round < HOLES; round++) {
		struct puncher puncher = { .mem_fd = mem_fd };
		pthread_t thread;

		ASSERT_EQ(0, madvise(memory, MEMORY, MADV_POPULATE_WRITE));
		memset(chunk, 'x', CHUNK);
		copy_found(&h, mem_fd, copy);
		ASSERT_EQ(0, memcmp(copy, chunk, CHUNK));

		ASSERT_EQ(0, pthread_create(&thread, NULL, punch, &puncher));
		for (; !puncher.done; syncs++)
			copy_found(&h, mem_fd, copy);
		pthread_join(thread, NULL);
		ASSERT_EQ(0, puncher.err);
		copy_found(&h, mem_fd, copy);
		for (page = 0; page < CHUNK / PAGE; page++)
			missed += memcmp(copy + page * PAGE, hole, PAGE) != 0;
	}

	TH_LOG("%u holes, %lu syncs, %lu pages missed", HOLES, syncs, missed);
	EXPECT_EQ(0, missed);
	/* Else no sync was in the midst of anything. */
	EXPECT_LT(3 * HOLES, syncs);
	harvest_close(&h);
	munmap(memory, MEMORY);
	close(mem_fd);
	free(copy);
}

struct between {
	struct harvest *h;
	char *chunk;
	volatile uint64_t syncs;	/* when it was told to */
	volatile uint64_t go_ns;	/* at this time; 0 is not now */
	volatile bool in_time, stop;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* One entry goes, one comes: as many can be written as before. */
static void *one_goes_one_comes(void *data)
{
	struct between *b = data;

	while (!b->stop) {
		if (!b->go_ns || now_ns() < b->go_ns) {
			sched_yield();
			continue;
		}
		if (madvise(b->chunk + BEFORE_GAP * PAGE, PAGE, MADV_DONTNEED))
			err(1, "MADV_DONTNEED");
		b->chunk[GAP * PAGE]++;
		b->in_time = b->h->header->syncs == b->syncs;
		b->go_ns = 0;
	}
	return NULL;
}

/*
 * Between a sync's walk and its protection of a run one of the run's pages goes, and
 * the one in the gap is written: the count fits, and only the event tells that it
 * proves nothing.
 */
TEST_F_TIMEOUT(window, an_event_between_walk_and_protection, 240)
{
	unsigned long round, page, in_time = 0, missed = 0;
	int mem_fd = memfd_create("between", 0);
	struct between b = {};
	struct harvest h;
	pthread_t thread;
	char *memory;
	bool found;

	ASSERT_EQ(0, ftruncate(mem_fd, MEMORY));
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, mem_fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, madvise(memory, MEMORY, MADV_POPULATE_WRITE));
	harvest_open(&h, getpid(), mem_fd);
	harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
	harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
	b.h = &h;
	ASSERT_EQ(0, pthread_create(&thread, NULL, one_goes_one_comes, &b));

	/* On a busy machine few hit the sync. */
	for (round = 0; round < BETWEENS ||
	     (in_time <= BETWEENS / 8 && round < 4 * BETWEENS); round++) {
		/* No gap is protected where a count did not fit lately: elsewhere. */
		b.chunk = memory + round * CHUNK % MEMORY;
		for (page = 0; page < BEFORE_GAP - RUN_STRIDE; page += RUN_STRIDE)
			b.chunk[page * PAGE]++;
		b.chunk[BEFORE_GAP * PAGE]++;
		b.chunk[AFTER_GAP * PAGE]++;

		b.syncs = h.header->syncs;
		b.go_ns = now_ns() + rand() % (2 * h.header->sync_duration_ns);
		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
		harvest_take(&h);
		found = harvest_took(&h, (b.chunk - memory) / PAGE + GAP);
		while (b.go_ns)
			sched_yield();
		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
		harvest_take(&h);
		found |= harvest_took(&h, (b.chunk - memory) / PAGE + GAP);
		missed += !found;
		in_time += b.in_time;
	}
	b.stop = true;
	pthread_join(thread, NULL);

	TH_LOG("%lu rounds, %lu before the sync had ended, %lu pages missed", round,
	       in_time, missed);
	EXPECT_EQ(0, missed);
	/* Else there was nothing to miss. */
	EXPECT_LT(BETWEENS / 8, in_time);
	harvest_close(&h);
	munmap(memory, MEMORY);
	close(mem_fd);
}

/*
 * Content comes without a write: userfaultfd puts a page in place, not writable,
 * and nothing but its presence tells.
 */
TEST_F_TIMEOUT(window, a_page_is_put_there_protected, 120)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_MISSING_SHMEM,
	};
	struct uffdio_register reg = {
		.mode = UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_copy copy = { .len = PAGE, .mode = UFFDIO_COPY_MODE_WP };
	int mem_fd = memfd_create("put", 0), uffd;
	const size_t page = 5;
	struct harvest h;
	char *memory;

	ASSERT_EQ(0, ftruncate(mem_fd, 2 * CHUNK));
	memory = mmap(NULL, 2 * CHUNK, PROT_READ | PROT_WRITE, MAP_SHARED, mem_fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	/* One is there: what is copied. */
	memset(memory + CHUNK, 1, PAGE);
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	reg.range.start = (uintptr_t)memory;
	reg.range.len = CHUNK;
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_REGISTER, &reg));

	harvest_open(&h, getpid(), mem_fd);
	harvest_settle(&h);

	copy.dst = (uintptr_t)memory + page * PAGE;
	copy.src = (uintptr_t)memory + CHUNK;
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_COPY, &copy));
	harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_EQ(1, harvest_take(&h));
	EXPECT_EQ(true, harvest_took(&h, page));
	EXPECT_EQ(1, memory[page * PAGE]);

	harvest_close(&h);
	close(uffd);
	munmap(memory, 2 * CHUNK);
	close(mem_fd);
}

TEST_HARNESS_MAIN
