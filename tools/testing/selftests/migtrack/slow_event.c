// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Some syncs between the moment when an event is told and that when it comes to the
 * page, and a write after them, through the entry that is still there. The test
 * module "sleeper" makes that time long enough. MIGTRACK_TEST_MODULES is its folder.
 */

#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "harvest.h"
#include "host.h"

#define PAGE		4096UL
#define MEMORY		(4UL << 20)
#define TARGET		(777 * PAGE)	/* the page that is written */
#define SWAP_SIZE	(64UL << 20)
#define ROUNDS		10
#define SYNCS		3
#define SLEEP_MS	300
#define TRIES		20
#define PARAMETERS	"/sys/module/sleeper/parameters/"

/* Of all of the memory, so that no mapping is split first, which is an event, too. */
typedef int event_fn(char *memory);

static int drop(char *memory)
{
	return madvise(memory, MEMORY, MADV_DONTNEED);
}

/* Reclaim tells of each page by itself; one on its way to the LRU it leaves alone. */
static int page_out(char *memory)
{
	unsigned int try;

	for (try = 0; try < TRIES && host_resident(memory + TARGET, PAGE); try++)
		if (madvise(memory + TARGET, PAGE, MADV_PAGEOUT))
			return -1;
	return 0;
}

static int make_a_hole(char *memory)
{
	return madvise(memory, MEMORY, MADV_REMOVE);
}

static int forbid(char *memory)
{
	return mprotect(memory, MEMORY, PROT_READ);
}

static int move_away(char *memory)
{
	char *there = mmap(NULL, MEMORY, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (there == MAP_FAILED)
		return -1;
	return mremap(memory, MEMORY, MEMORY, MREMAP_MAYMOVE | MREMAP_FIXED,
		      there) == MAP_FAILED ? -1 : 0;
}

static int unmap(char *memory)
{
	return munmap(memory, MEMORY);
}

static sigjmp_buf too_late;

static void is_too_late(int signal)
{
	siglongjmp(too_late, signal);
}

FIXTURE(slow_event) {
	struct harvest h;
	int mem_fd;
	char *memory;
	event_fn *event;
	volatile bool begun, ended;
	long inside;
};

/*
 * @event: what happens
 * @hole: the page is empty after it
 * @seldom: newer kernels' reclaim is mostly done before the write, so that there may be
 *	nothing to miss; late_flush holds it up in another place
 */
FIXTURE_VARIANT(slow_event) {
	event_fn *event;
	bool hole;
	bool seldom;
};

FIXTURE_VARIANT_ADD(slow_event, dontneed) { .event = drop };
FIXTURE_VARIANT_ADD(slow_event, pageout) { .event = page_out, .seldom = true };
FIXTURE_VARIANT_ADD(slow_event, remove) { .event = make_a_hole, .hole = true };
FIXTURE_VARIANT_ADD(slow_event, mprotect) { .event = forbid };
FIXTURE_VARIANT_ADD(slow_event, mremap) { .event = move_away };
FIXTURE_VARIANT_ADD(slow_event, munmap) { .event = unmap };

static char *map_memory(int mem_fd, char *where)
{
	char *memory = mmap(where, MEMORY, PROT_READ | PROT_WRITE,
			    MAP_SHARED | (where ? MAP_FIXED : 0), mem_fd, 0);

	if (memory == MAP_FAILED)
		err(1, "mmap");
	return memory;
}

FIXTURE_SETUP(slow_event)
{
	const struct sigaction action = { .sa_handler = is_too_late };
	const char *modules = getenv("MIGTRACK_TEST_MODULES");
	char command[256];

	ASSERT_NE(NULL, modules);
	snprintf(command, sizeof(command), "insmod %s/sleeper/sleeper.ko ms=%u", modules,
		 SLEEP_MS);
	ASSERT_EQ(0, system(command));
	ASSERT_EQ(0, sigaction(SIGSEGV, &action, NULL));
	host_swap_on(SWAP_SIZE);
	/* Before the tracker's: it is told last. */
	host_write_number(PARAMETERS "watch", 1);

	self->event = variant->event;
	self->mem_fd = memfd_create("slow", 0);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = map_memory(self->mem_fd, NULL);
	memset(self->memory, 1, MEMORY);
	harvest_open(&self->h, getpid(), self->mem_fd);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
}

FIXTURE_TEARDOWN(slow_event)
{
	harvest_close(&self->h);
	munmap(self->memory, MEMORY);
	close(self->mem_fd);
	host_write_number(PARAMETERS "watch", 0);
	host_swap_off();
	if (system("rmmod sleeper"))
		err(1, "rmmod sleeper");
}

static size_t sync_take(struct harvest *h)
{
	harvest_sync(h, MIGTRACK_SYNC_KIND_ITERATION);
	return harvest_take(h);
}

static void run_on_one_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "sched_setaffinity");
}

static void *let_it_happen(void *data)
{
	FIXTURE_DATA(slow_event) *self = data;

	/* Writable, and to be reclaimed by the CPU that it came to. */
	run_on_one_cpu();
	memset(self->memory, 1, MEMORY);
	self->inside = host_number(PARAMETERS "inside", "");
	host_write_number(PARAMETERS "tid", gettid());
	self->begun = true;
	if (self->event(self->memory))
		err(1, "the event");
	self->ended = true;
	host_write_number(PARAMETERS "tid", 0);
	return NULL;
}

/* False if the event was faster. */
static bool write_in_between(FIXTURE_DATA(slow_event) *self, uint64_t value)
{
	if (sigsetjmp(too_late, 1))
		return false;
	if (self->ended)
		return false;
	*(volatile uint64_t *)(self->memory + TARGET) = value;
	return !self->ended;
}

/* It has begun, and not come to the page. */
static pthread_t begin(FIXTURE_DATA(slow_event) *self)
{
	pthread_t thread;

	/* A mapping that a sync has seen. */
	map_memory(self->mem_fd, self->memory);
	sync_take(&self->h);
	self->begun = self->ended = false;
	errno = pthread_create(&thread, NULL, let_it_happen, self);
	if (errno)
		err(1, "pthread_create");
	while (!self->begun || (!self->ended &&
	       host_number(PARAMETERS "inside", "") == self->inside))
		;
	return thread;
}

TEST_F_TIMEOUT(slow_event, outlives_syncs, 240)
{
	unsigned int round, sync, in_time = 0, missed = 0;
	struct harvest *h = &self->h;

	for (round = 1; round <= ROUNDS; round++) {
		uint64_t value = round, there = 0;
		pthread_t thread = begin(self);
		bool is_in_time;

		for (sync = 0; sync < SYNCS; sync++)
			sync_take(h);
		is_in_time = write_in_between(self, value);
		pthread_join(thread, NULL);

		sync_take(h);
		ASSERT_EQ(sizeof(there), pread(self->mem_fd, &there, sizeof(there), TARGET));
		in_time += is_in_time;
		missed += is_in_time && !harvest_took(h, TARGET / PAGE);
		if (is_in_time && !variant->hole)
			EXPECT_EQ(value, there);
	}

	TH_LOG("%u rounds, %u writes in between, %u missed", ROUNDS, in_time, missed);
	EXPECT_EQ(0, missed);
	/* Else there was nothing to miss. */
	if (!variant->seldom)
		EXPECT_LT(ROUNDS / 4, in_time);
}

/*
 * One that ends in an event was told that it begins, and is not told that it ends. What
 * begins meanwhile may see both or none of it.
 */
TEST_F_TIMEOUT(slow_event, sessions_end_and_begin_in_it, 240)
{
	unsigned int round, in_time = 0, missed = 0;
	struct harvest *h = &self->h;
	/* A session wants memory that is mapped, also after munmap. */
	char *other = map_memory(self->mem_fd, NULL);

	for (round = 1; round <= ROUNDS; round++) {
		pthread_t thread = begin(self);
		bool is_in_time;

		harvest_close(h);
		harvest_open(h, getpid(), self->mem_fd);
		harvest_sync(h, MIGTRACK_SYNC_KIND_SETUP);
		harvest_take(h);
		sync_take(h);
		is_in_time = write_in_between(self, round);
		pthread_join(thread, NULL);

		sync_take(h);
		in_time += is_in_time;
		missed += is_in_time && !harvest_took(h, TARGET / PAGE);
	}

	TH_LOG("%u rounds, %u writes in between, %u missed", ROUNDS, in_time, missed);
	EXPECT_EQ(0, missed);
	munmap(other, MEMORY);
}

TEST_HARNESS_MAIN
