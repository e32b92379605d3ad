// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A device writes, and an oracle knows what: by its DMA log nothing is missed and nothing
 * is reported without need, also beside threads; a report that is dropped is noticed. A
 * kernel that can't report a log says so by name, in each of these tests.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "migtrack.h"
#include "oracle.h"
#include "vmm_device.h"
#include "writer_dma.h"

#define MEMORY		(8UL << 20)
#define IOVA		0x40000000UL
#define SYNCS		200
#define DELAY_US	5000

FIXTURE(oracle) {
	struct oracle o;
	bool can;
};

FIXTURE_SETUP(oracle)
{
	self->can = vfio_reports_dma();
	ASSERT_EQ(0, testdev_load());
	ASSERT_EQ(0, system("modprobe -q migtrack_vfio"));
	oracle_create(&self->o, MEMORY);
}

FIXTURE_TEARDOWN(oracle)
{
}

/* Without a log there is no oracle to ask. */
static bool refuses(void)
{
	struct migtrack_dma_range range = { .iova = IOVA, .length = MEMORY };
	struct vmm_device dev;
	struct harvest h;
	uint32_t id;
	int mem_fd, ret;
	void *memory;

	mem_fd = memfd_create("guest", MFD_CLOEXEC);
	ret = ftruncate(mem_fd, MEMORY);
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, mem_fd, 0);
	harvest_open(&h, getpid(), mem_fd);
	vmm_device_open(&dev, "full");
	range.source_id = h.map.id;
	ret |= vmm_device_track(h.mt, h.fd, &dev, NULL, &id);
	if (!ret)
		ret = migtrack_dma_log_start(h.mt, h.fd, id, &range, 1);
	harvest_close(&h);
	vmm_device_close(&dev);
	vmm_device_remove(&dev);
	munmap(memory, MEMORY);
	close(mem_fd);
	return ret == -EOPNOTSUPP;
}

static void sync_and_finish(struct __test_metadata *_metadata, struct oracle *o)
{
	struct migtrack_source s;

	oracle_start(o);
	oracle_open(o);
	oracle_syncs(o, SYNCS, DELAY_US);
	oracle_syncs(o, SYNCS / 2, 0);
	s = writer_dma_source(&o->writers[0]);
	oracle_finish(o);
	TH_LOG("%zu syncs, %zu pages reported, %zu missed, %zu differ, %zu lost", o->syncs,
	       o->reported, o->missed, o->differ, o->lost);
	EXPECT_NE(MIGTRACK_DMA_LOG_FAILED, s.dma_log);
	EXPECT_EQ(0, s.dma_untracked);
	EXPECT_EQ(0, o->missed);
	EXPECT_EQ(0, o->differ);
	EXPECT_EQ(0, o->lost);
	EXPECT_LT(SYNCS, o->reported);
}

/* Nobody else writes: what is reported is what it wrote. */
TEST_F_TIMEOUT(oracle, none_is_missed, 600)
{
	struct oracle *o = &self->o;
	size_t excess;

	if (!self->can) {
		ASSERT_EQ(true, refuses());
		return;
	}
	oracle_add(o, &writer_dma);
	sync_and_finish(_metadata, o);
	excess = writer_dma_excess(&o->writers[0]);
	TH_LOG("%zu reported without need", excess);
	EXPECT_EQ(0, excess);
	writer_dma_destroy(&o->writers[0]);
	oracle_destroy(o);
}

/* Threads find their way into the same bitmap. */
TEST_F_TIMEOUT(oracle, none_is_missed_beside_threads, 600)
{
	struct oracle *o = &self->o;

	if (!self->can) {
		ASSERT_EQ(true, refuses());
		return;
	}
	oracle_add(o, &writer_dma);
	oracle_add(o, &writer_threads);
	sync_and_finish(_metadata, o);
	writer_dma_destroy(&o->writers[0]);
	oracle_destroy(o);
}

TEST_F_TIMEOUT(oracle, dropped_are_noticed, 600)
{
	struct oracle *o = &self->o;

	if (!self->can) {
		ASSERT_EQ(true, refuses());
		return;
	}
	oracle_add(o, &writer_dma);
	oracle_start(o);
	oracle_open(o);
	o->drop = 20;
	while (!o->missed && o->syncs < 2 * SYNCS)
		oracle_syncs(o, 1, DELAY_US);
	TH_LOG("1 of %u reports dropped: noticed after %zu syncs", o->drop, o->syncs);
	EXPECT_NE(0, o->missed);
	oracle_finish(o);
	writer_dma_destroy(&o->writers[0]);
	oracle_destroy(o);
}

TEST_HARNESS_MAIN
