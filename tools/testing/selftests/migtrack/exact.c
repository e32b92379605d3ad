// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * On quiet memory the counts are exact: what the guest wrote is what a sync
 * reports, no page less or more, and what KVM's own dirty log says of the same
 * rounds.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kselftest_harness.h"
#include "harvest.h"
#include "kvm_vm.h"

#define MEMORY		(32UL << 20)
#define NPAGES		(MEMORY / GUEST_PAGE)
#define VCPUS		2
#define WORD_BITS	(8 * sizeof(unsigned long))

FIXTURE(exact) {
	struct vm vm;
	struct harvest harvest;
	unsigned long *expected, *kvm;
};

/* The first @n of a random order of all pages, half of them for each vCPU. */
static void guest_write(struct vm *vm, size_t n)
{
	struct guest_control *control = vm->control;
	size_t i, j;
	uint32_t tmp;

	for (i = 0; i < n; i++) {
		j = i + rand() % (NPAGES - i);
		tmp = control->list[i];
		control->list[i] = control->list[j];
		control->list[j] = tmp;
	}
	control->vcpus[0].list_first = 0;
	control->vcpus[0].list_len = n / 2;
	control->vcpus[1].list_first = n / 2;
	control->vcpus[1].list_len = n - n / 2;
	vm_start(vm, 0, GUEST_WRITE_LIST);
	vm_start(vm, 1, GUEST_WRITE_LIST);
	vm_wait(vm, 0);
	vm_wait(vm, 1);
}

FIXTURE_SETUP(exact)
{
	size_t i;

	vm_create(&self->vm, VCPUS, MEMORY);
	self->expected = calloc(NPAGES / WORD_BITS, sizeof(long));
	self->kvm = calloc(NPAGES / WORD_BITS, sizeof(long));
	for (i = 0; i < NPAGES; i++)
		self->vm.control->list[i] = i;
	guest_write(&self->vm, NPAGES);

	harvest_open(&self->harvest, getpid(), self->vm.mem_fd);
	harvest_settle(&self->harvest);
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_SETUP);
	ASSERT_EQ(NPAGES, harvest_take(&self->harvest));
	ASSERT_EQ(MEMORY, self->harvest.header->total_bytes);
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	ASSERT_EQ(0, harvest_take(&self->harvest));
}

FIXTURE_TEARDOWN(exact)
{
	harvest_close(&self->harvest);
	free(self->expected);
	free(self->kvm);
	vm_destroy(&self->vm);
}

TEST_F_TIMEOUT(exact, equals_kvms_dirty_log, 120)
{
	static const size_t counts[] = {
		0, 1, 2, 63, 64, 511, 512, 513, 1000, 4096, 8191, NPAGES, 0, 1,
	};
	size_t round, i;

	vm_dirty_log(&self->vm, true);
	vm_get_dirty_log(&self->vm, self->kvm);

	for (round = 0; round < ARRAY_SIZE(counts); round++) {
		guest_write(&self->vm, counts[round]);
		harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_ITERATION);
		vm_get_dirty_log(&self->vm, self->kvm);

		memset(self->expected, 0, NPAGES / 8);
		for (i = 0; i < counts[round]; i++) {
			uint32_t page = self->vm.control->list[i];

			self->expected[page / WORD_BITS] |= 1UL << page % WORD_BITS;
		}
		EXPECT_EQ(counts[round], self->harvest.header->dirty_pages);
		EXPECT_EQ(counts[round] * GUEST_PAGE, self->harvest.header->total_bytes);
		EXPECT_EQ(counts[round], harvest_take(&self->harvest));
		EXPECT_EQ(0, memcmp(self->expected, self->kvm, NPAGES / 8));
		EXPECT_EQ(0, memcmp(self->expected, self->harvest.taken, NPAGES / 8));
		EXPECT_EQ(0, harvest_source(&self->harvest).whole_chunks);
	}
	vm_dirty_log(&self->vm, false);
}

/* Two sessions: each is told everything, whoever syncs. */
TEST_F_TIMEOUT(exact, sessions_share, 120)
{
	struct harvest other;

	harvest_open(&other, getpid(), self->vm.mem_fd);
	harvest_sync(&other, MIGTRACK_SYNC_KIND_SETUP);
	ASSERT_EQ(NPAGES, harvest_take(&other));

	guest_write(&self->vm, 100);
	harvest_sync(&other, MIGTRACK_SYNC_KIND_ITERATION);
	guest_write(&self->vm, 0);
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_EQ(100, harvest_take(&other));
	EXPECT_EQ(100, harvest_take(&self->harvest));
	EXPECT_EQ(100, self->harvest.header->dirty_pages);
	EXPECT_EQ(0, memcmp(other.taken, self->harvest.taken, NPAGES / 8));
	harvest_close(&other);

	guest_write(&self->vm, 7);
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_EQ(7, harvest_take(&self->harvest));
}

/* A range that starts and ends anywhere: bit 0 is its first page. */
TEST_F_TIMEOUT(exact, unaligned_range, 120)
{
	const size_t first = 700, count = 1333;
	struct migtrack_source_map map;
	unsigned long *bitmap;
	size_t i, inside = 0, n = 0;

	ASSERT_EQ(0, migtrack_source_add_ram(self->harvest.mt, self->harvest.fd,
					     getpid(), self->vm.mem_fd,
					     first * GUEST_PAGE, count * GUEST_PAGE,
					     &map));
	ASSERT_EQ(1, map.id);
	ASSERT_EQ(0, migtrack_bitmap_map(self->harvest.fd, &map, &bitmap));
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	harvest_take(&self->harvest);
	for (i = 0; i < count; i++)
		n += bitmap[i / WORD_BITS] >> i % WORD_BITS & 1;
	ASSERT_EQ(count, n);
	memset(bitmap, 0, map.map_length);

	guest_write(&self->vm, 4000);
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	ASSERT_EQ(4000, harvest_take(&self->harvest));
	for (i = 0; i < count; i++) {
		bool bit = bitmap[i / WORD_BITS] >> i % WORD_BITS & 1;

		ASSERT_EQ(harvest_took(&self->harvest, first + i), bit);
		inside += bit;
	}
	EXPECT_EQ((4000 + inside) * GUEST_PAGE, self->harvest.header->total_bytes);
	migtrack_bitmap_unmap(&map, bitmap);
}

struct taker {
	unsigned long *bitmap;
	size_t nwords, taken;
	volatile bool stop;
};

static void *take_always(void *data)
{
	struct taker *taker = data;
	bool stop;
	size_t i;

	do {
		stop = taker->stop;
		for (i = 0; i < taker->nwords; i++)
			taker->taken += __builtin_popcountl(
				__atomic_exchange_n(&taker->bitmap[i], 0,
						    __ATOMIC_SEQ_CST));
	} while (!stop);
	return NULL;
}

/*
 * A bitmap that is emptied while syncs fill it: each page is taken once. Its
 * range is not aligned, so that the kernel sets bits of each word twice.
 */
TEST_F_TIMEOUT(exact, taken_while_it_syncs, 240)
{
	const size_t first = 700, count = 1333, rounds = 200;
	struct taker taker = {};
	struct harvest part;
	pthread_t thread;
	size_t i, round;

	harvest_open_range(&part, getpid(), self->vm.mem_fd, first * GUEST_PAGE,
			   count * GUEST_PAGE);
	harvest_sync(&part, MIGTRACK_SYNC_KIND_SETUP);
	harvest_take(&part);

	taker.bitmap = part.bitmap;
	taker.nwords = (count + WORD_BITS - 1) / WORD_BITS;
	ASSERT_EQ(0, pthread_create(&thread, NULL, take_always, &taker));
	for (round = 0; round < rounds; round++) {
		for (i = first; i < first + count; i++)
			self->vm.memory[i * GUEST_PAGE]++;
		harvest_sync(&part, MIGTRACK_SYNC_KIND_ITERATION);
	}
	taker.stop = true;
	pthread_join(thread, NULL);
	EXPECT_EQ(rounds * count, taker.taken);
	harvest_close(&part);
}

TEST_HARNESS_MAIN
