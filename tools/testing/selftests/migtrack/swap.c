// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tracking loses no data: while pages are swapped out as fast as the kernel can,
 * nothing is missed and no byte differs, whoever writes.
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "host.h"
#include "oracle.h"

#define MEMORY		(8UL << 20)
#define NPAGES		(MEMORY / GUEST_PAGE)
#define SYNCS		50
#define DELAY_US	5000
#define SWAP_SIZE	(256UL << 20)

static long swapped_out(void)
{
	return host_number("/proc/vmstat", "pswpout");
}

/* As much as is there to be had; less is not an error here. */
static void reclaim(int fd, const char *size)
{
	if (write(fd, size, strlen(size)) < 0 && errno != EAGAIN && errno != EINTR)
		err(1, "memory.reclaim");
}

struct reclaimer {
	pthread_t thread;
	volatile bool stop;
	int fd;
};

static void *reclaimer_thread(void *data)
{
	struct reclaimer *r = data;

	while (!r->stop)
		reclaim(r->fd, "2M swappiness=200");
	return NULL;
}

FIXTURE(swap) {
	struct oracle o;
	struct reclaimer reclaimer;
	long before;
};

FIXTURE_VARIANT(swap) {
	const struct writer_ops *ops;
};

#define SWAP(name, n, kind)							\
FIXTURE_VARIANT_ADD(swap, name) { .ops = kind };
WRITERS_HOST(SWAP)
WRITERS_IO(SWAP)
WRITERS_KVM(SWAP)
WRITERS_KVM_LOG(SWAP)
SWAP(back_ends, 0, &writer_back_ends)

FIXTURE_SETUP(swap)
{
	host_swap_on(SWAP_SIZE);
	host_group_enter();
	self->reclaimer.fd = open(HOST_GROUP "/memory.reclaim", O_WRONLY);
	ASSERT_LE(0, self->reclaimer.fd);
	self->before = swapped_out();
	oracle_create(&self->o, MEMORY);
	oracle_add(&self->o, variant->ops);
	oracle_start(&self->o);
	oracle_open(&self->o);
	ASSERT_EQ(0, pthread_create(&self->reclaimer.thread, NULL, reclaimer_thread,
				    &self->reclaimer));
}

FIXTURE_TEARDOWN(swap)
{
	oracle_destroy(&self->o);
	close(self->reclaimer.fd);
	host_group_leave();
}

TEST_F_TIMEOUT(swap, nothing_is_lost, 600)
{
	struct oracle *o = &self->o;

	oracle_syncs(o, SYNCS, DELAY_US);
	/* Reclaim spares pages that are in use. */
	while (!o->missed && o->syncs < 20 * SYNCS &&
	       swapped_out() - self->before < (long)NPAGES / 2)
		oracle_syncs(o, 1, DELAY_US);
	oracle_finish(o);
	self->reclaimer.stop = true;
	pthread_join(self->reclaimer.thread, NULL);
	TH_LOG("%zu syncs, %zu pages reported, %zu without need, %ld swapped out, %zu missed, %zu differ, %zu lost",
	       o->syncs, o->reported, o->excess, swapped_out() - self->before, o->missed,
	       o->differ, o->lost);
	EXPECT_EQ(0, o->missed);
	EXPECT_EQ(0, o->differ);
	EXPECT_EQ(0, o->lost);
	/* Else nothing could be. */
	EXPECT_LE((long)NPAGES / 2, swapped_out() - self->before);
}

FIXTURE(hole) {
};

FIXTURE_SETUP(hole)
{
}

FIXTURE_TEARDOWN(hole)
{
}

/*
 * A page that is read first is clean and writable; what is written then is seen
 * by nobody but the page table's dirty bit, which a sync must not take away.
 */
TEST_F_TIMEOUT(hole, read_and_then_written, 300)
{
	struct oracle o;
	unsigned long page;
	long before;
	volatile char sum = 0;		/* reads that are not left out */
	size_t wrong = 0;
	int fd;

	host_swap_on(SWAP_SIZE);
	host_group_enter();
	fd = open(HOST_GROUP "/memory.reclaim", O_WRONLY);
	ASSERT_LE(0, fd);
	oracle_create(&o, MEMORY);
	for (page = 0; page < NPAGES; page++)
		sum += o.memory[page * GUEST_PAGE];
	harvest_open(&o.harvest, getpid(), o.mem_fd);
	harvest_sync(&o.harvest, MIGTRACK_SYNC_KIND_SETUP);
	for (page = 0; page < NPAGES; page++)
		o.memory[page * GUEST_PAGE + page % GUEST_PAGE] = page % 255 + 1;
	harvest_take(&o.harvest);
	harvest_sync(&o.harvest, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_LE(NPAGES, harvest_take(&o.harvest));

	before = swapped_out();
	ASSERT_EQ(0, madvise(o.memory, MEMORY, MADV_PAGEOUT));
	reclaim(fd, "64M swappiness=200");
	EXPECT_LE((long)NPAGES, swapped_out() - before);
	for (page = 0; page < NPAGES; page++)
		wrong += (unsigned char)o.memory[page * GUEST_PAGE + page % GUEST_PAGE] !=
			 page % 255 + 1;
	EXPECT_EQ(0, wrong);
	oracle_destroy(&o);
	close(fd);
	host_group_leave();
}

TEST_HARNESS_MAIN
