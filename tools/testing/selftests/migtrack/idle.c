// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A sync costs the guest nothing for what it did not write: it reads its
 * memory as fast after an idle sync as before, and takes no fault.
 */

#include <string.h>

#include "kselftest_harness.h"
#include "harvest.h"
#include "kvm_vm.h"

#define MEMORY		(64UL << 20)
#define NPAGES		(MEMORY / GUEST_PAGE)
#define PASSES		7
#define ROUNDS		4

FIXTURE(idle) {
	struct vm vm;
	struct harvest harvest;
};

/* Ticks of a pass over all of the guest's memory. */
static uint64_t read_once(struct vm *vm)
{
	vm_run(vm, 0, GUEST_READ_ALL);
	return vm->control->vcpus[0].result;
}

static uint64_t faults(struct vm *vm)
{
	return vm_stat(vm, 0, "pf_taken");
}

FIXTURE_SETUP(idle)
{
	vm_create(&self->vm, 1, MEMORY);
	memset(self->vm.memory, 1, MEMORY);
	harvest_open(&self->harvest, getpid(), self->vm.mem_fd);
	harvest_settle(&self->harvest);
	read_once(&self->vm);
}

FIXTURE_TEARDOWN(idle)
{
	harvest_close(&self->harvest);
	vm_destroy(&self->vm);
}

TEST_F_TIMEOUT(idle, costs_nothing, 120)
{
	uint64_t before = ~0ULL, after = ~0ULL, ticks, taken = 0, start;
	unsigned int i;

	/*
	 * In turns, and the best of each, more often if that does not do: the
	 * machine is shared. The faults are counted over all of them.
	 */
	for (i = 0; i < PASSES ||
	     (i < ROUNDS * PASSES && after * 10 > before * 11); i++) {
		ticks = read_once(&self->vm);
		before = ticks < before ? ticks : before;

		harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_ITERATION);
		EXPECT_EQ(0, self->harvest.header->dirty_pages);
		EXPECT_EQ(0, harvest_source(&self->harvest).protect_calls);

		start = faults(&self->vm);
		ticks = read_once(&self->vm);
		taken += faults(&self->vm) - start;
		after = ticks < after ? ticks : after;
	}
	TH_LOG("ticks to read %zu pages, best of %u: %llu before, %llu after (%.2f), %llu faults",
	       (size_t)NPAGES, i, (unsigned long long)before, (unsigned long long)after,
	       (double)after / before, (unsigned long long)taken);
	EXPECT_EQ(0, taken);
	EXPECT_LE(after * 10, before * 12);
}

/* One page written: the guest faults for that one at most. */
TEST_F_TIMEOUT(idle, one_page_costs_one_fault, 120)
{
	uint64_t start;

	self->vm.control->list[0] = 1234;
	self->vm.control->vcpus[0].list_len = 1;
	vm_run(&self->vm, 0, GUEST_WRITE_LIST);
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	ASSERT_EQ(1, self->harvest.header->dirty_pages);

	start = faults(&self->vm);
	read_once(&self->vm);
	EXPECT_LE(faults(&self->vm) - start, 1);
}

/* Scattered ones: the guest faults for these, not for what lies between. */
TEST_F_TIMEOUT(idle, scattered_pages_cost_their_faults, 120)
{
	const size_t stride = 50;
	struct migtrack_source source;
	uint64_t start, taken;
	size_t i, n = 0;

	for (i = 0; i < NPAGES; i += stride)
		self->vm.control->list[n++] = i;
	self->vm.control->vcpus[0].list_len = n;
	vm_run(&self->vm, 0, GUEST_WRITE_LIST);
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	ASSERT_EQ(n, self->harvest.header->dirty_pages);

	source = harvest_source(&self->harvest);
	start = faults(&self->vm);
	read_once(&self->vm);
	taken = faults(&self->vm) - start;
	TH_LOG("%zu pages, %llu calls, %llu faults", n,
	       (unsigned long long)source.protect_calls, (unsigned long long)taken);
	EXPECT_LE(taken, n);
}

/* The measure is worth something: a pass over the whole file shows. */
TEST_F_TIMEOUT(idle, whole_range_would_show, 120)
{
	uint64_t before, after, start;

	before = read_once(&self->vm);
	ASSERT_EQ(0, mprotect(self->vm.memory, MEMORY, PROT_READ));
	ASSERT_EQ(0, mprotect(self->vm.memory, MEMORY, PROT_READ | PROT_WRITE));
	start = faults(&self->vm);
	after = read_once(&self->vm);
	TH_LOG("after a pass over the whole range: ratio %.1f, %llu faults",
	       (double)after / before, (unsigned long long)(faults(&self->vm) - start));
	EXPECT_GE(faults(&self->vm) - start, NPAGES);
	EXPECT_GE(after, 2 * before);
}

TEST_HARNESS_MAIN
