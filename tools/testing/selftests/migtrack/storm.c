// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The events of events_*.c over and over, at random places, by the VMM and by a
 * back end, while the guest, the VMM and the back end stamp pages and syncs
 * follow each other as fast as they can. No write is missed, and none is lost.
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "harvest.h"
#include "host.h"
#include "kvm_vm.h"

#define MEMORY		(4UL << 20)
#define NPAGES		(MEMORY / GUEST_PAGE)
#define CHUNK		(2UL << 20)
#define VCPUS		1
#define SLOT_VMM	VCPUS
#define SLOT_BACKEND	(VCPUS + 1)
#define SYNCS		200
/*
 * Stamps that a writer makes in an iteration, and pages that an event takes: few
 * enough that most pages are not reported, as a page that is can't be missed.
 */
#define BURST		20
#define EVENT_PAGES	12
#define EVENTS_AT_ONCE	3
#define EVENT_PAUSE_US	3000
#define PROTECT_PAUSES	8		/* for a writer to come across it */
#define RARE		24		/* one event in so many */
#define THP		"/sys/kernel/mm/transparent_hugepage/"
#define BALANCING	"/sys/kernel/debug/sched/numa_balancing/"

typedef uint64_t stamps[STAMP_SLOTS];

/* Where an event happens: the caller's mapping, and a random range of it. */
struct place {
	char *memory;
	char *start;
	size_t offset, length;
	int mem_fd;
	int uffd;
};

typedef void event_fn(struct place *p);

/* In memory that the back end shares. */
struct shared {
	struct stamper vmm, backend;
	volatile unsigned long events;
	volatile unsigned long waits;	/* of writers, for memory that was read-only */
	uint64_t vmm_last[NPAGES], backend_last[NPAGES];	/* stamps */
};

static struct shared *storm_shared;

FIXTURE(storm) {
	struct vm vm;
	struct harvest harvest;
	struct stamp_control *control;
	struct shared *shared;
	stamps *copy;			/* what a mover would have sent */
	bool *zeroed;			/* slots seen empty at the last sync */
	pthread_t writer, eventer;
	pid_t backend;
	size_t reported, missed, holes;
	long before[3];			/* of the variant's grows */
};

/* ---- events ---- */

static void advise(struct place *p, int advice)
{
	if (madvise(p->start, p->length, advice))
		err(1, "madvise %d", advice);
}

static void drop(struct place *p)
{
	advise(p, MADV_DONTNEED);
}

/* Whoever writes meanwhile tries again: storm_wait(), and KVM_RUN. */
static void protect(struct place *p)
{
	unsigned long before = storm_shared->waits;
	unsigned int i;

	if (mprotect(p->start, p->length, PROT_READ))
		err(1, "mprotect");
	for (i = 0; i < PROTECT_PAUSES && storm_shared->waits == before; i++)
		usleep(rand() % EVENT_PAUSE_US);
	if (mprotect(p->start, p->length, PROT_READ | PROT_WRITE))
		err(1, "mprotect");
}

static void storm_wait(int signal)
{
	(void)signal;
	__atomic_add_fetch(&storm_shared->waits, 1, __ATOMIC_RELAXED);
	sched_yield();
}

static void clear_refs(struct place *p)
{
	(void)p;
	host_write("/proc/self/clear_refs", "4");
}

static void map_over(struct place *p)
{
	if (mmap(p->start, p->length, PROT_READ | PROT_WRITE, MAP_SHARED |
		 MAP_FIXED, p->mem_fd, p->offset) != p->start)
		err(1, "mmap");
}

static void fork_child(struct place *p)
{
	pid_t pid = fork();

	if (!pid)
		_exit(madvise(p->start, p->length, MADV_DONTNEED));
	waitpid(pid, NULL, 0);
}

/* A mapping more, which is written in the same words, and goes. */
static void map_twice(struct place *p)
{
	char *again = mmap(NULL, p->length, PROT_READ | PROT_WRITE, MAP_SHARED,
			   p->mem_fd, p->offset);
	size_t i;

	if (again == MAP_FAILED)
		err(1, "mmap");
	for (i = 0; i < p->length; i += GUEST_PAGE)
		(void)*(volatile char *)(again + i);
	mremap(again, p->length, p->length, MREMAP_MAYMOVE);
	if (munmap(again, p->length))
		err(1, "munmap");
}

static void punch(struct place *p)
{
	advise(p, MADV_REMOVE);
}

static void page_out(struct place *p)
{
	advise(p, MADV_PAGEOUT);
}

static void drive_out(struct place *p)
{
	(void)p;
	host_try_write(HOST_GROUP "/memory.reclaim", "4M");
}

static void change_node(struct place *p)
{
	static __thread void *address[NPAGES];
	static __thread int node[NPAGES], status[NPAGES];
	size_t i, n = p->length / GUEST_PAGE;
	int to = rand() % 2;

	for (i = 0; i < n; i++) {
		address[i] = p->start + i * GUEST_PAGE;
		node[i] = to;
	}
	syscall(SYS_move_pages, 0, n, address, node, status, MPOL_MF_MOVE_ALL);
}

static void compact(struct place *p)
{
	(void)p;
	host_write("/proc/sys/vm/compact_memory", "1");
}

static void scan_numa(struct place *p)
{
	unsigned long nodes = 3;

	syscall(SYS_mbind, p->memory, MEMORY, MPOL_BIND | MPOL_F_NUMA_BALANCING,
		&nodes, 64, 0);
}

static void uffd_start(struct place *p)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
			    UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC,
	};
	struct uffdio_register reg = {
		.range = { (uintptr_t)p->memory, MEMORY },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	p->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (p->uffd < 0 || ioctl(p->uffd, UFFDIO_API, &api) ||
	    ioctl(p->uffd, UFFDIO_REGISTER, &reg))
		err(1, "userfaultfd");
}

static void uffd_protect(struct place *p)
{
	struct uffdio_writeprotect wp = {
		.range = { (uintptr_t)p->start, p->length },
		.mode = rand() % 2 ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	if (p->uffd < 0)
		uffd_start(p);
	if (ioctl(p->uffd, UFFDIO_WRITEPROTECT, &wp) && errno != EAGAIN)
		err(1, "UFFDIO_WRITEPROTECT");
}

/* Another tracker, which protects what was written. */
static void uffd_scan(struct place *p)
{
	struct page_region regions[64];
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)p->start,
		.end = (uintptr_t)p->start + p->length,
		.vec = (uintptr_t)regions,
		.vec_len = 64,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (p->uffd < 0)
		uffd_start(p);
	if (fd < 0 || ioctl(fd, PAGEMAP_SCAN, &scan) < 0)
		err(1, "PAGEMAP_SCAN");
	close(fd);
}

static void collapse(struct place *p)
{
	char *start = p->memory + p->offset / CHUNK * CHUNK;

	madvise(start, CHUNK, MADV_HUGEPAGE);
	madvise(start, CHUNK, MADV_COLLAPSE);
}

static void split(struct place *p)
{
	host_write(THP "shmem_enabled", "never");
	madvise(p->memory + p->offset / CHUNK * CHUNK, GUEST_PAGE, MADV_PAGEOUT);
	host_write(THP "shmem_enabled", "advise");
}

/* ---- what has to be set for them ---- */

static void setup_reclaim(void)
{
	host_swap_on(64UL << 20);
	host_group_enter();
}

static void teardown_reclaim(void)
{
	host_group_leave();
	host_swap_off();
}

static void setup_numa(void)
{
	host_write(BALANCING "scan_period_min_ms", "10");
	host_write(BALANCING "scan_period_max_ms", "20");
	host_write(BALANCING "scan_delay_ms", "10");
	host_write("/proc/sys/kernel/numa_balancing", "1");
}

static void teardown_numa(void)
{
	host_write("/proc/sys/kernel/numa_balancing", "0");
	host_write(BALANCING "scan_period_max_ms", "60000");
	host_write(BALANCING "scan_period_min_ms", "1000");
	host_write(BALANCING "scan_delay_ms", "1000");
}

static void setup_folios(void)
{
	host_swap_on(64UL << 20);
	host_write(THP "hugepages-64kB/shmem_enabled", "always");
}

static void teardown_folios(void)
{
	host_write(THP "hugepages-64kB/shmem_enabled", "never");
	host_swap_off();
}

static void teardown_huge(void)
{
	host_write(THP "shmem_enabled", "never");
}

FIXTURE_VARIANT(storm) {
	event_fn *events[8];
	event_fn *rare[4];		/* those that take all of the memory */
	void (*setup)(void);
	void (*teardown)(void);
	bool waits;			/* writers meet memory that is read-only */
	bool punches;			/* some of what was written is gone */
	const char *grows[3];		/* in /proc/vmstat, or they did nothing */
};

/* Catches who looks at entries and marks in two steps that do not fit together. */
FIXTURE_VARIANT_ADD(storm, mappings) {
	.events = { drop, protect, map_over, map_twice },
	.rare = { fork_child, clear_refs },
	.waits = true,
};

/* Catches who takes a mark while the pages are still going. */
FIXTURE_VARIANT_ADD(storm, holes) {
	.events = { punch, drop },
	.punches = true,
};

FIXTURE_VARIANT_ADD(storm, swap) {
	.events = { page_out, drop },
	.rare = { drive_out },
	.grows = { "pswpout ", "pswpin " },
	.setup = setup_reclaim,
	.teardown = teardown_reclaim,
};

FIXTURE_VARIANT_ADD(storm, nodes) {
	.events = { change_node, drop },
	.rare = { compact, scan_numa },
	.grows = { "pgmigrate_success ", "numa_pte_updates " },
	.setup = setup_numa,
	.teardown = teardown_numa,
};

FIXTURE_VARIANT_ADD(storm, userfaultfd) {
	.events = { uffd_protect, uffd_scan, drop },
};

/* A hole in a huge one splits it, whoever else maps it; to be swapped out may not. */
FIXTURE_VARIANT_ADD(storm, huge_pages) {
	.events = { drop, split, punch },
	.rare = { collapse },
	.punches = true,
	.grows = { "thp_collapse_alloc ", "thp_split_page " },
	.teardown = teardown_huge,
};

FIXTURE_VARIANT_ADD(storm, folios_of_many_pages) {
	.events = { page_out, punch, drop, change_node },
	.punches = true,
	.grows = { "pswpout ", "pgmigrate_success " },
	.setup = setup_folios,
	.teardown = teardown_folios,
};

/* ---- the storm ---- */

struct eventer {
	struct place place;
	event_fn *const *events, *const *rare;
	const struct stamp_control *control;
	struct shared *shared;
};

static void one_event(struct eventer *e)
{
	event_fn *const *events;
	struct place *p = &e->place;
	size_t page = rand() % NPAGES;
	size_t length = 1 + rand() % EVENT_PAGES;
	unsigned int n;

	if (length > NPAGES - page)
		length = NPAGES - page;
	p->offset = page * GUEST_PAGE;
	p->start = p->memory + p->offset;
	p->length = length * GUEST_PAGE;
	events = e->rare[0] && !(rand() % RARE) ? e->rare : e->events;
	for (n = 0; events[n]; n++)
		;
	events[rand() % n](p);
	__atomic_add_fetch(&e->shared->events, 1, __ATOMIC_RELAXED);
}

/* Some in each iteration, at any time of its sync. */
static void *event_loop(void *data)
{
	struct eventer *e = data;
	uint64_t seen = 1;
	unsigned int i;

	while (!e->control->stop) {
		if (e->control->iteration == seen) {
			usleep(500);
			continue;
		}
		seen = e->control->iteration;
		for (i = rand() % (EVENTS_AT_ONCE + 1); i; i--) {
			usleep(rand() % EVENT_PAUSE_US);
			one_event(e);
		}
	}
	return NULL;
}

struct writer {
	const struct stamp_control *control;
	struct stamper *stamper;
	unsigned int slot;
	char *memory;
	uint64_t *last;
};

/* A burst in each iteration, and sleeps in between: there are few processors. */
static void *write_loop(void *data)
{
	struct writer *w = data;

	while (!w->control->stop) {
		if (w->stamper->seen == w->control->iteration)
			usleep(500);
		else
			stamp_burst(w->control, w->stamper, w->slot, w->memory,
				    NPAGES, w->last);
	}
	return NULL;
}

static void start_process(struct shared *shared, struct stamp_control *control,
			  event_fn *const *events,
			  event_fn *const *rare, char *memory,
			  int mem_fd, bool backend, pthread_t *writer, pthread_t *eventer)
{
	static struct eventer e;
	static struct writer w;

	w = (struct writer) {
		.control	= control,
		.stamper	= backend ? &shared->backend : &shared->vmm,
		.slot		= backend ? SLOT_BACKEND : SLOT_VMM,
		.memory		= memory,
		.last		= backend ? shared->backend_last : shared->vmm_last,
	};
	w.stamper->random = 0x2545f4914f6cdd1dULL * (backend + 1);
	e = (struct eventer) {
		.place		= { .memory = memory, .mem_fd = mem_fd, .uffd = -1 },
		.events		= events,
		.rare		= rare,
		.control	= control,
		.shared		= shared,
	};
	if (pthread_create(writer, NULL, write_loop, &w) ||
	    pthread_create(eventer, NULL, event_loop, &e))
		errx(1, "pthread_create");
}

FIXTURE_SETUP(storm)
{
	event_fn *const *events = variant->events;
	const struct sigaction wait = { .sa_handler = storm_wait };
	unsigned int i;

	if (variant->setup)
		variant->setup();
	for (i = 0; i < ARRAY_SIZE(variant->grows) && variant->grows[i]; i++)
		self->before[i] = host_number("/proc/vmstat", variant->grows[i]);
	vm_create(&self->vm, VCPUS, MEMORY);
	self->control = &self->vm.control->stamp;
	self->control->iteration = 1;
	self->control->burst = BURST;
	self->shared = mmap(NULL, sizeof(*self->shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->shared);
	storm_shared = self->shared;
	self->vm.faults = &self->shared->waits;
	ASSERT_EQ(0, sigaction(SIGSEGV, &wait, NULL));
	self->copy = calloc(NPAGES, sizeof(*self->copy));
	self->zeroed = calloc(NPAGES * STAMP_SLOTS, sizeof(bool));

	self->backend = fork();
	ASSERT_LE(0, self->backend);
	if (!self->backend) {
		char *memory = vm_map_memory(self->vm.mem_fd, MEMORY);
		pthread_t writer, eventer;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		munmap(self->vm.memory, MEMORY);
		start_process(self->shared, self->control, events,
			      variant->rare, memory, self->vm.mem_fd, true, &writer, &eventer);
		pthread_join(writer, NULL);
		pthread_join(eventer, NULL);
		_exit(0);
	}
	start_process(self->shared, self->control, events, variant->rare,
		      self->vm.memory, self->vm.mem_fd, false, &self->writer, &self->eventer);
	harvest_open(&self->harvest, getpid(), self->vm.mem_fd);
}

FIXTURE_TEARDOWN(storm)
{
	harvest_close(&self->harvest);
	vm_destroy(&self->vm);
	signal(SIGSEGV, SIG_DFL);
	munmap(self->shared, sizeof(*self->shared));
	free(self->copy);
	free(self->zeroed);
	if (variant->teardown)
		variant->teardown();
}

static void storm_stop(FIXTURE_DATA(storm) *self)
{
	int status;
	unsigned int i;

	self->control->stop = 1;
	for (i = 0; i < VCPUS; i++)
		vm_wait(&self->vm, i);
	pthread_join(self->writer, NULL);
	pthread_join(self->eventer, NULL);
	if (waitpid(self->backend, &status, 0) != self->backend || status)
		errx(1, "the back end ended with status %x", status);
}

/* All writes that are not of this iteration have been made. */
static void next_iteration(FIXTURE_DATA(storm) *self, uint64_t iteration)
{
	unsigned int i;

	for (i = 0; i < VCPUS; i++)
		vm_wait(&self->vm, i);
	__atomic_store_n(&self->control->iteration, iteration, __ATOMIC_SEQ_CST);
	for (i = 0; i < VCPUS; i++)
		vm_start(&self->vm, i, GUEST_STAMP_BURST);
	for (i = 0; i < VCPUS; i++)
		while (self->vm.control->vcpus[i].stamper.seen < iteration)
			sched_yield();
	while (self->shared->vmm.seen < iteration ||
	       self->shared->backend.seen < iteration)
		sched_yield();
}

/*
 * A page that was not reported holds what it held when it was, or a stamp of
 * this iteration. A hole has no stamp: if it was there at the last sync, this
 * one had to report it. The memory is read by pread(), which maps nothing.
 */
static void check(FIXTURE_DATA(storm) *self, uint64_t iteration)
{
	static char buffer[64 * GUEST_PAGE];
	size_t page, slot;

	self->reported += harvest_take(&self->harvest);
	for (page = 0; page < NPAGES; page++) {
		char *now = buffer + page % 64 * GUEST_PAGE;
		bool taken = harvest_took(&self->harvest, page);

		if (page % 64 == 0 &&
		    pread(self->vm.mem_fd, buffer, sizeof(buffer),
			  page * GUEST_PAGE) != sizeof(buffer))
			err(1, "reading the memory");
		for (slot = 0; slot < STAMP_SLOTS; slot++) {
			uint64_t stamp = *(uint64_t *)(now + stamp_place(0, slot));
			bool *zeroed = &self->zeroed[page * STAMP_SLOTS + slot];
			uint64_t *copy = &self->copy[page][slot];

			if (taken) {
				*copy = stamp;
				*zeroed = false;
			} else if (stamp == *copy) {
				*zeroed = false;
			} else if (!stamp) {
				self->holes += *zeroed;
				*zeroed = true;
			} else if (stamp_is_older(stamp, iteration)) {
				self->missed++;
			}
		}
	}
}

/* How many stamps are not there any more, after all have ended: in no hole. */
static size_t lost(FIXTURE_DATA(storm) *self)
{
	static char page[GUEST_PAGE];
	const uint64_t *last[STAMP_SLOTS] = {};
	size_t n = 0, i, slot;

	for (i = 0; i < VCPUS; i++)
		last[i] = self->vm.control->last[i];
	last[SLOT_VMM] = self->shared->vmm_last;
	last[SLOT_BACKEND] = self->shared->backend_last;
	for (i = 0; i < NPAGES; i++) {
		if (pread(self->vm.mem_fd, page, sizeof(page), i * GUEST_PAGE) != sizeof(page))
			err(1, "reading the memory");
		for (slot = 0; slot < STAMP_SLOTS; slot++)
			n += last[slot] &&
			     *(uint64_t *)(page + stamp_place(0, slot)) != last[slot][i];
	}
	return n;
}

TEST_F_TIMEOUT(storm, misses_nothing, 290)
{
	uint64_t iteration;
	unsigned int i;

	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_SETUP);
	check(self, 1);
	for (iteration = 2; iteration < SYNCS + 2; iteration++) {
		next_iteration(self, iteration);
		harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_ITERATION);
		check(self, iteration);
	}
	storm_stop(self);
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_FINAL);
	check(self, ~0ULL);
	/* Once more: what is a hole now was to be reported by that one. */
	harvest_sync(&self->harvest, MIGTRACK_SYNC_KIND_FINAL);
	check(self, ~0ULL);

	TH_LOG("%u syncs, %lu events, %lu waits, %zu pages reported, %zu stamps and %zu holes missed",
	       SYNCS, self->shared->events, self->shared->waits, self->reported,
	       self->missed, self->holes);
	EXPECT_EQ(0, self->missed);
	EXPECT_EQ(0, self->holes);
	EXPECT_EQ(variant->punches, lost(self) > 0);
	EXPECT_LE(SYNCS / 4, self->shared->events);
	EXPECT_EQ(variant->waits, self->shared->waits > 0);
	for (i = 0; i < ARRAY_SIZE(variant->grows) && variant->grows[i]; i++) {
		long grown = host_number("/proc/vmstat", variant->grows[i]) - self->before[i];

		TH_LOG("%s: %ld", variant->grows[i], grown);
		EXPECT_LT(0, grown);
	}
	/* Else it could not miss any. Huge entries are reported at each sync. */
	EXPECT_GE(SYNCS * NPAGES * 9 / 10, self->reported);
}

TEST_HARNESS_MAIN
