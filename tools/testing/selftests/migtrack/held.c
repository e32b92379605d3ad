// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Some who do I/O into a page keep no pin, but a plain reference, over any number of
 * syncs, and write when it suits them. The test module "hold" is one of them.
 * MIGTRACK_TEST_MODULES is the folder of the module.
 */

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
#define MEMORY		(2UL << 20)
#define HELD		300UL
#define ROUNDS		200
/* More syncs than this in a row report nothing new on quiet memory. */
#define PARAMETERS	"/sys/module/hold/parameters/"

FIXTURE(held) {
	struct harvest h;
	int mem_fd;
	char *memory;
};

FIXTURE_SETUP(held)
{
	const char *modules = getenv("MIGTRACK_TEST_MODULES");
	char command[256];

	ASSERT_NE(NULL, modules);
	snprintf(command, sizeof(command), "insmod %s/hold/hold.ko", modules);
	ASSERT_EQ(0, system(command));
	self->mem_fd = memfd_create("held", 0);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	memset(self->memory, 1, MEMORY);
	harvest_open(&self->h, getpid(), self->mem_fd);
	harvest_settle(&self->h);
}

FIXTURE_TEARDOWN(held)
{
	harvest_close(&self->h);
	munmap(self->memory, MEMORY);
	close(self->mem_fd);
	if (system("rmmod hold"))
		abort();
}

static size_t sync_take(struct harvest *h)
{
	harvest_sync(h, MIGTRACK_SYNC_KIND_ITERATION);
	return harvest_take(h);
}

TEST_F_TIMEOUT(held, late_writes_are_found, 120)
{
	struct harvest *h = &self->h;
	unsigned long round, missed = 0;
	uint64_t copy = 0;

	host_write_number(PARAMETERS "address", (long)(self->memory + HELD * PAGE));
	sync_take(h);
	EXPECT_TRUE(harvest_took(h, HELD));
	EXPECT_TRUE(harvest_settles_at(h, MIGTRACK_SYNC_KIND_ITERATION, 1));

	for (round = 1; round <= ROUNDS; round++) {
		sync_take(h);
		host_write_number(PARAMETERS "write", (long)round);
		sync_take(h);
		if (harvest_took(h, HELD))
			ASSERT_EQ(sizeof(copy), pread(self->mem_fd, &copy, sizeof(copy),
						      HELD * PAGE));
		missed += copy != round;
	}
	EXPECT_EQ(0, missed);
	EXPECT_TRUE(harvest_source(h).flags & MIGTRACK_COUNTER_FLAGS_HELD);
	EXPECT_EQ(1, harvest_source(h).held_pages);

	/* Once nobody holds it any more it is a page like others. */
	host_write_number(PARAMETERS "address", 0);
	ASSERT_TRUE(harvest_settles_at(h, MIGTRACK_SYNC_KIND_ITERATION, 0));
	EXPECT_FALSE(harvest_source(h).flags & MIGTRACK_COUNTER_FLAGS_HELD);
	self->memory[HELD * PAGE]++;
	EXPECT_EQ(1, sync_take(h));
	EXPECT_TRUE(harvest_took(h, HELD));
}

TEST_HARNESS_MAIN
