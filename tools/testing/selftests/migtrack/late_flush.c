// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who takes an entry away, or its write bit, says so, and may flush other CPUs' TLBs
 * later: until then they write through the entry that they remember. The test module
 * "delay" makes that time long enough for some syncs, before the last such write.
 * MIGTRACK_TEST_MODULES is the folder of the module; it takes three CPUs.
 */

#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "harvest.h"
#include "host.h"

#define PAGE		4096UL
#define SWAP_SIZE	(64UL << 20)
#define ROUNDS		20
#define MAX_ROUNDS	40	/* while there was not enough to miss */
#define DELAY_MS	200
/* The writer has a CPU for itself for not quite a second. */
#define MAX_DELAY_MS	600
/* Where nothing else is, and one of so many pages. */
#define MEMORY_AT	(1UL << 40)
#define PLACES		4096
#define PARAMETERS	"/sys/module/delay/parameters/"

enum { SYNC_CPU, EVENT_CPU, WRITER_CPU, CPUS };

/* The writer: how often it wrote, and what it is to do. */
enum { WRITE, WRITE_LAST, WRITTEN };

FIXTURE(late_flush) {
	struct harvest harvest;
	char *memory;
	int mem_fd;
	pthread_t writer, eventful;
	int (*event)(char *memory);
	long inside;
	volatile int writing;
	volatile bool present, begun, ended, looked;
};

/*
 * @event: takes the entry away
 * @symbol: what it calls to flush
 * @syncs: between the event and the last write
 * @keeps: mappings of earlier rounds stay, so that no event of theirs marks the page
 */
FIXTURE_VARIANT(late_flush) {
	int (*event)(char *memory);
	const char *symbol;
	unsigned int syncs;
	bool keeps;
};

static int page_out(char *memory)
{
	return madvise(memory, PAGE, MADV_PAGEOUT);
}

static int read_only(char *memory)
{
	return mprotect(memory, PAGE, PROT_READ);
}

FIXTURE_VARIANT_ADD(late_flush, reclaim) {
	.event = page_out, .symbol = "try_to_unmap_flush_dirty", .syncs = 1,
};
FIXTURE_VARIANT_ADD(late_flush, reclaim_over_some_syncs) {
	.event = page_out, .symbol = "try_to_unmap_flush_dirty", .syncs = 3,
};
FIXTURE_VARIANT_ADD(late_flush, mprotect_over_some_syncs) {
	.event = read_only, .symbol = "tlb_finish_mmu", .syncs = 3,
};

/* No sync has seen the mapping before the event: the notifier does not know where it is. */
FIXTURE_VARIANT_ADD(late_flush, mprotect_of_a_new_mapping) {
	.event = read_only, .symbol = "tlb_finish_mmu", .syncs = 3, .keeps = true,
};

static void run_on(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "CPU %u", cpu);
}

/* Written to too late: again, until it may be. */
static void wait_and_retry(int signal)
{
	(void)signal;
	sched_yield();
}

/*
 * An emulated CPU's TLB has one place for all pages that have the same low bits in their
 * number: where another one is used often, by the timer's interrupt for instance, the
 * entry is not kept.
 */
static void map_somewhere(FIXTURE_DATA(late_flush) *self, bool keeps)
{
	void *where = (void *)(MEMORY_AT + random() % PLACES * PAGE);

	if (self->memory && !keeps)
		munmap(self->memory, PAGE);
	self->memory = mmap(where, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			    self->mem_fd, 0);
	if (self->memory == MAP_FAILED)
		err(1, "mmap");
}

FIXTURE_SETUP(late_flush)
{
	const struct sigaction action = { .sa_handler = wait_and_retry };
	const char *modules = getenv("MIGTRACK_TEST_MODULES");
	char command[256];

	if (!modules || sysconf(_SC_NPROCESSORS_ONLN) < CPUS)
		SKIP(return, "needs MIGTRACK_TEST_MODULES and %u CPUs", CPUS);

	snprintf(command, sizeof(command), "insmod %s/delay/delay.ko symbol=%s ms=%u",
		 modules, variant->symbol, DELAY_MS);
	ASSERT_EQ(0, system(command));
	host_swap_on(SWAP_SIZE);
	ASSERT_EQ(0, sigaction(SIGSEGV, &action, NULL));

	self->event = variant->event;
	self->mem_fd = memfd_create("flush", 0);
	ASSERT_EQ(0, ftruncate(self->mem_fd, PAGE));
	map_somewhere(self, false);
	harvest_open(&self->harvest, getpid(), self->mem_fd);
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_SETUP);
}

FIXTURE_TEARDOWN(late_flush)
{
	harvest_close(&self->harvest);
	munmap(self->memory, PAGE);
	close(self->mem_fd);
	host_swap_off();
	if (system("rmmod delay"))
		err(1, "rmmod delay");
}

/*
 * All the time, so that its CPU remembers the entry; and once more when told. A
 * kernel thread in between would make it forget.
 */
static void *write_always(void *data)
{
	const struct sched_param priority = { .sched_priority = 1 };
	FIXTURE_DATA(late_flush) *self = data;
	volatile unsigned long *word = (void *)self->memory;

	run_on(WRITER_CPU);
	errno = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
	if (errno)
		err(1, "SCHED_FIFO");
	while (!self->present)
		;
	while (self->writing == WRITE)
		++*word;
	*word = ~*word;
	self->writing = WRITTEN;
	return NULL;
}

static void *let_it_happen(void *data)
{
	FIXTURE_DATA(late_flush) *self = data;

	run_on(EVENT_CPU);
	/* A page that came to memory lately can be reclaimed by the CPU it came to. */
	if (madvise(self->memory, PAGE, MADV_POPULATE_WRITE))
		err(1, "MADV_POPULATE_WRITE");
	self->present = true;
	usleep(10000);
	host_write_number(PARAMETERS "tgid", getpid());
	self->inside = host_number(PARAMETERS "inside", "");
	self->begun = true;
	if (self->event(self->memory))
		err(1, "the event");
	self->ended = true;
	host_write_number(PARAMETERS "tgid", 0);
	/* What makes it writable again is an event, too: only after the last sync. */
	while (!self->looked)
		sched_yield();
	if (mprotect(self->memory, PAGE, PROT_READ | PROT_WRITE))
		err(1, "mprotect");
	return NULL;
}

static bool sync_finds(FIXTURE_DATA(late_flush) *self)
{
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	return harvest_take(&self->harvest);
}

/* Its tests tell something. */
static bool is_enough(unsigned int late)
{
	return late > ROUNDS / 4;
}

TEST_F_TIMEOUT(late_flush, a_write_before_it_is_found, 240)
{
	unsigned int round, sync, held_up = 0, late = 0, missed = 0, delay = DELAY_MS;

	run_on(SYNC_CPU);
	for (round = 0; round < ROUNDS || (round < MAX_ROUNDS && !is_enough(late)); round++) {
		bool is_late;

		/* Nothing is left to protect, which would flush, too. */
		if (variant->keeps)
			while (sync_finds(self))
				;
		map_somewhere(self, variant->keeps);
		self->writing = WRITE;
		self->present = self->begun = self->ended = self->looked = false;
		ASSERT_EQ(0, pthread_create(&self->writer, NULL, write_always, self));
		ASSERT_EQ(0, pthread_create(&self->eventful, NULL, let_it_happen, self));
		while (!self->begun || (!self->ended &&
		       host_number(PARAMETERS "inside", "") == self->inside))
			;
		held_up += !self->ended;
		/* Who reads the page now has not what is written next. */
		for (sync = 0; sync < variant->syncs; sync++)
			sync_finds(self);
		self->writing = WRITE_LAST;
		while (self->writing != WRITTEN && !self->ended)
			;
		/* It did not have to wait for the page: the entry was an old one. */
		is_late = self->writing == WRITTEN && !self->ended;
		while (!self->ended)
			sched_yield();
		missed += is_late && !sync_finds(self);
		self->looked = true;
		pthread_join(self->eventful, NULL);
		pthread_join(self->writer, NULL);
		late += is_late;
		/* A busy machine takes longer for its syncs. */
		if (!is_late && delay < MAX_DELAY_MS) {
			delay += delay / 4;
			host_write_number(PARAMETERS "ms", delay);
		}
	}

	TH_LOG("%u rounds, %u of them held up, %u writes before the flush, %u missed",
	       round, held_up, late, missed);
	EXPECT_EQ(0, missed);
	if (!missed && !is_enough(late))
		SKIP(return, "too few writes to tell");
}

TEST_HARNESS_MAIN
