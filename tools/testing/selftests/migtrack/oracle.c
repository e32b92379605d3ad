// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * No sync misses a page. vCPUs, threads of the VMM and another process stamp
 * random pages with the iteration they see. Before a sync is called, all of
 * them have finished what they write with older stamps; after it, a page that
 * was not reported must hold what it held when it was reported last, or a stamp
 * of this iteration.
 */

#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "harvest.h"
#include "kvm_vm.h"

#define MEMORY		(32UL << 20)
#define NPAGES		(MEMORY / GUEST_PAGE)
#define VCPUS		2
#define THREADS		2
#define SLOT_THREADS	VCPUS
#define SLOT_PROCESS	(VCPUS + THREADS)
#define SYNCS		60

typedef uint64_t stamps[STAMP_SLOTS];

struct writer {
	struct oracle *oracle;
	struct stamper stamper;
	unsigned int slot;
	pthread_t thread;
};

struct oracle {
	struct vm vm;
	struct harvest harvest;
	struct stamp_control *control;
	struct writer *writers;		/* shared with the other process */
	pid_t process;
	stamps *copy;			/* what a mover would have sent */
	unsigned int drop;		/* 1 in so many reports is ignored */
	size_t reported, missed;
	unsigned int processes;		/* the most that were watched */
};

static void *writer_thread(void *data)
{
	struct writer *w = data;

	stamp_run(w->oracle->control, &w->stamper, w->slot, w->oracle->vm.memory,
		  NPAGES);
	return NULL;
}

/* Maps the memory for itself, as a vhost-user back end does. */
static pid_t writer_process(struct oracle *o, struct writer *w)
{
	pid_t pid = fork();
	char *memory;

	if (pid < 0)
		err(1, "fork");
	if (pid)
		return pid;

	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
		      o->vm.mem_fd, 0);
	if (memory == MAP_FAILED)
		_exit(1);
	stamp_run(o->control, &w->stamper, w->slot, memory, NPAGES);
	_exit(0);
}

static void oracle_start(struct oracle *o)
{
	unsigned int i;

	o->control = &o->vm.control->stamp;
	o->control->iteration = 1;
	o->control->stop = 0;
	o->writers = mmap(NULL, GUEST_PAGE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	o->copy = calloc(NPAGES, sizeof(*o->copy));

	for (i = 0; i < THREADS + 1; i++) {
		o->writers[i].oracle = o;
		o->writers[i].slot = SLOT_THREADS + i;
		o->writers[i].stamper.random = 0x2545f4914f6cdd1dULL * (i + 1);
	}
	o->process = writer_process(o, &o->writers[THREADS]);
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&o->writers[i].thread, NULL, writer_thread,
				   &o->writers[i]))
			errx(1, "pthread_create");
	for (i = 0; i < VCPUS; i++)
		vm_start(&o->vm, i, GUEST_STAMP);
}

static void oracle_stop(struct oracle *o)
{
	unsigned int i;

	o->control->stop = 1;
	for (i = 0; i < VCPUS; i++)
		vm_wait(&o->vm, i);
	for (i = 0; i < THREADS; i++)
		pthread_join(o->writers[i].thread, NULL);
	waitpid(o->process, NULL, 0);
}

/* All writes that are not of this iteration have been made. */
static void oracle_next_iteration(struct oracle *o, uint64_t iteration)
{
	unsigned int i;

	__atomic_store_n(&o->control->iteration, iteration, __ATOMIC_SEQ_CST);
	for (i = 0; i < VCPUS; i++)
		while (o->vm.control->vcpus[i].stamper.seen < iteration)
			sched_yield();
	for (i = 0; i < THREADS + 1; i++)
		while (o->writers[i].stamper.seen < iteration)
			sched_yield();
}

static const uint64_t *oracle_slot(const struct oracle *o, size_t page,
				   unsigned int slot)
{
	return (void *)(o->vm.memory + page * GUEST_PAGE + slot * STAMP_STRIDE);
}

static void oracle_check(struct oracle *o, uint64_t iteration)
{
	unsigned int slot;
	size_t page;

	harvest_take(&o->harvest);
	for (page = 0; page < NPAGES; page++) {
		bool taken = harvest_took(&o->harvest, page);

		o->reported += taken;
		if (o->drop && taken && !(rand() % o->drop))
			taken = false;

		for (slot = 0; slot < STAMP_SLOTS; slot++) {
			uint64_t now = __atomic_load_n(oracle_slot(o, page, slot),
						       __ATOMIC_SEQ_CST);

			if (taken)
				o->copy[page][slot] = now;
			else if (now != o->copy[page][slot] &&
				 stamp_iteration(now) < iteration)
				o->missed++;
		}
	}
}

static void oracle_run(struct oracle *o, unsigned int syncs, unsigned int max_delay_us)
{
	struct migtrack_source source;
	uint64_t iteration;

	harvest_open(&o->harvest, getpid(), o->vm.mem_fd);
	oracle_start(o);
	harvest_sync(&o->harvest, MIGTRACK_SYNC_KIND_SETUP);
	oracle_check(o, 1);

	for (iteration = 2; iteration < syncs + 2; iteration++) {
		usleep(rand() % max_delay_us);
		oracle_next_iteration(o, iteration);
		harvest_sync(&o->harvest, MIGTRACK_SYNC_KIND_ITERATION);
		oracle_check(o, iteration);
		source = harvest_source(&o->harvest);
		if (source.processes > o->processes)
			o->processes = source.processes;
	}

	oracle_stop(o);
	harvest_sync(&o->harvest, MIGTRACK_SYNC_KIND_FINAL);
	oracle_check(o, ~0ULL);
}

FIXTURE(oracle) {
	struct oracle o;
};

FIXTURE_SETUP(oracle)
{
	memset(self, 0, sizeof(*self));
	vm_create(&self->o.vm, VCPUS, MEMORY);
}

FIXTURE_TEARDOWN(oracle)
{
	harvest_close(&self->o.harvest);
	free(self->o.copy);
	vm_destroy(&self->o.vm);
}

TEST_F_TIMEOUT(oracle, misses_nothing, 240)
{
	oracle_run(&self->o, SYNCS, 20000);
	TH_LOG("%d syncs, %zu pages reported, %zu stamps missed, %u processes",
	       SYNCS + 2, self->o.reported, self->o.missed, self->o.processes);
	EXPECT_EQ(0, self->o.missed);
	EXPECT_EQ(2, self->o.processes);
}

/* The oracle is worth something: a mover that drops pages is caught. */
TEST_F_TIMEOUT(oracle, notices_a_lost_page, 120)
{
	self->o.drop = 1000;
	oracle_run(&self->o, SYNCS / 4, 20000);
	TH_LOG("1 of 1000 reports dropped: %zu stamps missed", self->o.missed);
	EXPECT_NE(0, self->o.missed);
}

TEST_HARNESS_MAIN
