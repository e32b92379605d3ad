// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reclaim takes an entry away, says so, and flushes other CPUs' TLBs later:
 * until then they write through the entry that they remember. The test module
 * "delay" makes that time long enough for a sync, before the last such write.
 * MIGTRACK_TEST_MODULES is the folder of the module; it takes three CPUs.
 */

#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
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
#define DELAY_MS	100
#define PARAMETERS	"/sys/module/delay/parameters/"

enum { SYNC_CPU, RECLAIM_CPU, WRITER_CPU, CPUS };

/* The writer: how often it wrote, and what it is to do. */
enum { WRITE, WRITE_LAST, WRITTEN };

FIXTURE(late_flush) {
	struct harvest harvest;
	char *memory;
	int mem_fd;
	pthread_t writer, reclaimer;
	volatile int writing;
	volatile bool present, reclaimed;
};

static void run_on(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "CPU %u", cpu);
}

FIXTURE_SETUP(late_flush)
{
	const char *modules = getenv("MIGTRACK_TEST_MODULES");
	char command[256];

	if (!modules || sysconf(_SC_NPROCESSORS_ONLN) < CPUS)
		SKIP(return, "needs MIGTRACK_TEST_MODULES and %u CPUs", CPUS);

	snprintf(command, sizeof(command),
		 "insmod %s/delay/delay.ko symbol=try_to_unmap_flush_dirty ms=%u",
		 modules, DELAY_MS);
	ASSERT_EQ(0, system(command));
	host_swap_on(SWAP_SIZE);

	self->mem_fd = memfd_create("flush", 0);
	ASSERT_EQ(0, ftruncate(self->mem_fd, PAGE));
	self->memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	harvest_open(&self->harvest, getpid(), self->mem_fd);
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_SETUP);
	host_write_number(PARAMETERS "tgid", getpid());
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

static void *reclaim(void *data)
{
	FIXTURE_DATA(late_flush) *self = data;

	run_on(RECLAIM_CPU);
	/* A page that came to memory lately can be reclaimed by the CPU it came to. */
	if (madvise(self->memory, PAGE, MADV_POPULATE_WRITE))
		err(1, "MADV_POPULATE_WRITE");
	self->present = true;
	usleep(10000);
	if (madvise(self->memory, PAGE, MADV_PAGEOUT))
		err(1, "MADV_PAGEOUT");
	self->reclaimed = true;
	return NULL;
}

static bool sync_finds(FIXTURE_DATA(late_flush) *self)
{
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	return harvest_take(&self->harvest);
}

TEST_F_TIMEOUT(late_flush, a_write_before_it_is_found, 120)
{
	unsigned int round, held_up = 0, late = 0, missed = 0;

	run_on(SYNC_CPU);
	for (round = 0; round < ROUNDS; round++) {
		long inside = host_number(PARAMETERS "inside", "");
		bool found, is_late;

		self->writing = WRITE;
		self->present = false;
		self->reclaimed = false;
		ASSERT_EQ(0, pthread_create(&self->writer, NULL, write_always, self));
		ASSERT_EQ(0, pthread_create(&self->reclaimer, NULL, reclaim, self));
		while (host_number(PARAMETERS "inside", "") == inside &&
		       !self->reclaimed)
			;
		held_up += !self->reclaimed;
		/* Who reads the page now has not what is written next. */
		found = sync_finds(self);
		self->writing = WRITE_LAST;
		while (self->writing != WRITTEN && !self->reclaimed)
			;
		/* It did not have to wait for the page: the entry was an old one. */
		is_late = found && self->writing == WRITTEN && !self->reclaimed;
		pthread_join(self->reclaimer, NULL);
		pthread_join(self->writer, NULL);

		late += is_late;
		missed += !sync_finds(self) && is_late;
	}

	TH_LOG("%u rounds, %u of them held up, %u writes before the flush, %u missed",
	       ROUNDS, held_up, late, missed);
	EXPECT_EQ(0, missed);
	/* Else there was nothing to miss. */
	EXPECT_LT(ROUNDS / 4, late);
}

TEST_HARNESS_MAIN
