// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Some syncs between the moment when an event is told and that when it comes to the
 * page, and a write after them, through the entry that is still there. And a process
 * that is adopted, or ends, in that time. The test module "sleeper" makes it long
 * enough. MIGTRACK_TEST_MODULES is its folder.
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "harvest.h"
#include "host.h"

#define PAGE		4096UL
#define MEMORY		(4UL << 20)
/* Where nothing else is mapped while an event has taken the memory away. */
#define MEMORY_AT	((char *)(1UL << 40))
#define TARGET		(777 * PAGE)	/* the page that is written */
#define SWAP_SIZE	(64UL << 20)
#define ROUNDS		10
#define SYNCS		3
#define SLEEP_MS	300
#define MAX_SLEEP_MS	5000
#define TRIES		20
#define BACK_ENDS	5
#define LONG_SLEEP_MS	1500	/* longer than a sync waits for an adoption */
#define SHORT_MS	100
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
	long ms;		/* how long the sleeper sleeps */
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

static void load_sleeper(unsigned int ms)
{
	const char *modules = getenv("MIGTRACK_TEST_MODULES");
	char command[256];

	if (!modules)
		errx(1, "MIGTRACK_TEST_MODULES is not set");
	snprintf(command, sizeof(command), "insmod %s/sleeper/sleeper.ko ms=%u", modules, ms);
	if (system(command))
		errx(1, "%s", command);
}

static void unload_sleeper(void)
{
	host_write_number(PARAMETERS "watch", 0);
	if (system("rmmod sleeper"))
		err(1, "rmmod sleeper");
}

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

	self->ms = SLEEP_MS;
	load_sleeper(self->ms);
	ASSERT_EQ(0, sigaction(SIGSEGV, &action, NULL));
	host_swap_on(SWAP_SIZE);
	/* Before the tracker's: it is told last. */
	host_write_number(PARAMETERS "watch", 1);

	self->event = variant->event;
	self->mem_fd = memfd_create("slow", 0);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = map_memory(self->mem_fd, MEMORY_AT);
	memset(self->memory, 1, MEMORY);
	harvest_open(&self->h, getpid(), self->mem_fd);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
}

FIXTURE_TEARDOWN(slow_event)
{
	harvest_close(&self->h);
	munmap(self->memory, MEMORY);
	close(self->mem_fd);
	unload_sleeper();
	host_swap_off();
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

/* Of another process, or thread. */
static void wait_for(const volatile bool *flag)
{
	while (!*flag)
		sched_yield();
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

	self->begun = self->ended = false;
	errno = pthread_create(&thread, NULL, let_it_happen, self);
	if (errno)
		err(1, "pthread_create");
	while (!self->begun || (!self->ended &&
	       host_number(PARAMETERS "inside", "") == self->inside))
		;
	return thread;
}

/* A busy machine takes longer for what is to be done meanwhile. */
static void sleep_longer(FIXTURE_DATA(slow_event) *self)
{
	if (self->ms >= MAX_SLEEP_MS)
		return;
	self->ms += self->ms / 4;
	host_write_number(PARAMETERS "ms", self->ms);
}

TEST_F_TIMEOUT(slow_event, outlives_syncs, 240)
{
	unsigned int round, sync, in_time = 0, missed = 0;
	struct harvest *h = &self->h;

	for (round = 1; round <= ROUNDS; round++) {
		uint64_t value = round, there = 0;
		pthread_t thread;
		bool is_in_time;

		/* A mapping that a sync has seen. */
		map_memory(self->mem_fd, self->memory);
		sync_take(h);
		thread = begin(self);
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
		if (!is_in_time && !variant->seldom)
			sleep_longer(self);
	}

	TH_LOG("%u rounds, %u writes in between, %u missed", ROUNDS, in_time, missed);
	EXPECT_EQ(0, missed);
	/* Else there was nothing to miss. */
	if (!variant->seldom)
		EXPECT_LT(ROUNDS / 4, in_time);
}

/* What a VMM of its own process and the test share. */
struct vmm_shared {
	volatile bool mapped, go, begun, write, over, in_time;
	volatile uint64_t value;
};

/* Has it happen, once the test has seen the mapping, and writes when it is told to. */
static void be_a_vmm(FIXTURE_DATA(slow_event) *self, struct vmm_shared *shared)
{
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Whoever tracks us is told later. */
	host_write_number(PARAMETERS "watch", 1);
	for (;;) {
		map_memory(self->mem_fd, self->memory);
		shared->mapped = true;
		wait_for(&shared->go);
		shared->go = false;
		thread = begin(self);
		shared->begun = true;
		wait_for(&shared->write);
		shared->write = false;
		shared->in_time = write_in_between(self, shared->value);
		pthread_join(thread, NULL);
		shared->over = true;
	}
}

static void told(volatile bool *flag)
{
	wait_for(flag);
	*flag = false;
}

/*
 * One that ends in an event was told that it begins, and is not told that it ends. What
 * begins meanwhile may see both or none of it. The VMM is another process: to map a
 * session's header here would wait for the event.
 */
TEST_F_TIMEOUT(slow_event, sessions_end_and_begin_in_it, 240)
{
	unsigned int round, in_time = 0, missed = 0;
	struct harvest *h = &self->h;
	struct vmm_shared *shared;
	long inside;
	pid_t vmm;

	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, shared);
	/*
	 * Mapped here as well, as a session wants memory that is, also after munmap; but
	 * without a page, as reclaim leaves those alone that several have.
	 */
	ASSERT_EQ(0, madvise(self->memory, MEMORY, MADV_DONTNEED));
	inside = host_number(PARAMETERS "inside", "");
	vmm = fork();
	ASSERT_LE(0, vmm);
	if (!vmm)
		be_a_vmm(self, shared);

	for (round = 1; round <= ROUNDS; round++) {
		told(&shared->mapped);
		sync_take(h);
		shared->go = true;
		told(&shared->begun);

		harvest_close(h);
		harvest_open(h, getpid(), self->mem_fd);
		harvest_sync(h, MIGTRACK_SYNC_KIND_SETUP);
		harvest_take(h);
		sync_take(h);
		shared->value = round;
		shared->write = true;
		told(&shared->over);

		sync_take(h);
		in_time += shared->in_time;
		missed += shared->in_time && !harvest_took(h, TARGET / PAGE);
		if (!shared->in_time && !variant->seldom)
			sleep_longer(self);
	}
	kill(vmm, SIGKILL);
	waitpid(vmm, NULL, 0);
	inside = host_number(PARAMETERS "inside", "") - inside;

	TH_LOG("%u rounds, %ld times in the event, %u writes in between, %u missed", ROUNDS,
	       inside, in_time, missed);
	EXPECT_LE(ROUNDS, inside);
	EXPECT_EQ(0, missed);
	/* Else there was nothing to miss. */
	if (!variant->seldom)
		EXPECT_LT(ROUNDS / 4, in_time);
	munmap(shared, PAGE);
}

/* ---- back ends ---- */

/* What the back end and the test share. */
struct shared {
	volatile bool mapped, go, written, in_time, end;
	volatile pid_t tid;
	volatile uint64_t value;
};

FIXTURE(back_end) {
	struct harvest h;
	int mem_fd;
	char *memory;
	struct shared *shared;
};

FIXTURE_SETUP(back_end)
{
	load_sleeper(LONG_SLEEP_MS);
	self->mem_fd = memfd_create("slow", 0);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = map_memory(self->mem_fd, NULL);
	ASSERT_EQ(0, madvise(self->memory, MEMORY, MADV_DONTFORK));
	memset(self->memory, 1, MEMORY);
	self->shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);
	ASSERT_NE(MAP_FAILED, self->shared);
	harvest_open(&self->h, getpid(), self->mem_fd);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
}

FIXTURE_TEARDOWN(back_end)
{
	harvest_close(&self->h);
	munmap(self->memory, MEMORY);
	munmap(self->shared, PAGE);
	close(self->mem_fd);
	unload_sleeper();
}

static pid_t back_end_start(FIXTURE_DATA(back_end) *self,
			    void (*main)(FIXTURE_DATA(back_end) *self))
{
	pid_t pid;

	memset(self->shared, 0, sizeof(*self->shared));
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	host_write_number(PARAMETERS "watch", 1);
	main(self);
	_exit(0);
}

/* Until nobody but us maps the memory, and nothing is reported. */
static bool settles(struct harvest *h)
{
	return harvest_settles_at(h, MIGTRACK_SYNC_KIND_ITERATION, 0);
}

static char *unmapped_later;
static volatile bool held, may_unmap;

/* Holds the mmap_lock, and nobody else's pages, while it sleeps in the notifier. */
static void *hold_mmap_lock(void *data)
{
	struct shared *shared = data;
	char *other = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (other == MAP_FAILED)
		err(1, "mmap");
	*other = 1;
	shared->tid = gettid();
	wait_for(&held);
	munmap(other, PAGE);
	held = false;
	return NULL;
}

static void *unmap_later(void *data)
{
	(void)data;
	wait_for(&may_unmap);
	munmap(unmapped_later, MEMORY);
	return NULL;
}

/*
 * Has a munmap() in front of its adoption in the queue for its mmap_lock, and writes
 * before that, as a fault does without the lock.
 */
static void write_and_unmap(FIXTURE_DATA(back_end) *self)
{
	struct shared *shared = self->shared;
	pthread_t holder, unmapper;
	long inside;

	unmapped_later = map_memory(self->mem_fd, NULL);
	*(volatile uint64_t *)(unmapped_later + TARGET) = 0;
	if (pthread_create(&holder, NULL, hold_mmap_lock, shared) ||
	    pthread_create(&unmapper, NULL, unmap_later, NULL))
		errx(1, "pthread_create");
	while (!shared->tid)
		sched_yield();
	inside = host_number(PARAMETERS "inside", "");
	host_write_number(PARAMETERS "tid", shared->tid);
	held = true;
	while (host_number(PARAMETERS "inside", "") == inside)
		;
	may_unmap = true;
	usleep(SHORT_MS * 1000);
	shared->mapped = true;
	wait_for(&shared->go);
	*(volatile uint64_t *)(unmapped_later + TARGET) = shared->value;
	shared->in_time = held;
	shared->written = true;
	pthread_join(holder, NULL);
	host_write_number(PARAMETERS "tid", 0);
	pthread_join(unmapper, NULL);
	wait_for(&shared->end);
}

/*
 * A sync sees its mapping, and waits in vain for its notifier. After that sync it
 * writes, and when the notifier is there at last the mapping is gone.
 */
TEST_F_TIMEOUT(back_end, writes_before_it_is_adopted, 240)
{
	unsigned int round, in_time = 0, missed = 0;
	struct shared *shared = self->shared;
	uint64_t there;
	pid_t pid;

	for (round = 1; round <= BACK_ENDS; round++) {
		bool found;

		ASSERT_TRUE(settles(&self->h));
		pid = back_end_start(self, write_and_unmap);
		wait_for(&shared->mapped);
		sync_take(&self->h);
		shared->value = round;
		shared->go = true;
		wait_for(&shared->written);
		/* Till its mapping is gone, and its notifier there. */
		usleep(2 * LONG_SLEEP_MS * 1000);
		sync_take(&self->h);
		found = harvest_took(&self->h, TARGET / PAGE);
		shared->end = true;
		waitpid(pid, NULL, 0);
		ASSERT_EQ(sizeof(there),
			  pread(self->mem_fd, &there, sizeof(there), TARGET));
		EXPECT_EQ(round, there);
		in_time += shared->in_time;
		missed += shared->in_time && !found;
	}
	TH_LOG("%u back ends, %u wrote before, %u missed", BACK_ENDS, in_time, missed);
	EXPECT_EQ(0, missed);
	/* Else there was nothing to miss. */
	EXPECT_LT(1, in_time);
}

static void write_and_wait(FIXTURE_DATA(back_end) *self)
{
	char *memory = map_memory(self->mem_fd, NULL);

	self->shared->mapped = true;
	wait_for(&self->shared->go);
	*(volatile uint64_t *)(memory + TARGET) = self->shared->value;
	self->shared->written = true;
	for (;;)
		pause();
}

/* A page of nobody but the group, so that reclaim there takes that and no other. */
static void give_target_to_group(FIXTURE_DATA(back_end) *self)
{
	const uint64_t zero = 0;
	pid_t pid;
	int status;

	if (fallocate(self->mem_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, TARGET, PAGE))
		err(1, "fallocate");
	pid = fork();
	if (!pid) {
		host_group_enter();
		_exit(pwrite(self->mem_fd, &zero, sizeof(zero), TARGET) != sizeof(zero));
	}
	if (waitpid(pid, &status, 0) != pid || status)
		errx(1, "the page could not be written");
}

static volatile bool reclaimed;

static void *reclaim_group(void *data)
{
	(void)data;
	host_write_number(PARAMETERS "tid", gettid());
	host_try_write(HOST_GROUP "/memory.reclaim", "4096");
	reclaimed = true;
	host_write_number(PARAMETERS "tid", 0);
	return NULL;
}

/* It has let go of its memory, or is about to wait for those in the notifiers. */
static bool is_ending(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	return !host_number(path, "");
}

/*
 * Reclaim has told that it will take a page of the back end's, which ends before that
 * is done: nobody tells of the end. What it wrote is found, and that event is over.
 */
TEST_F_TIMEOUT(back_end, ends_during_an_event, 240)
{
	unsigned int round, in_time = 0, missed = 0, unsettled = 0;
	struct shared *shared = self->shared;
	pthread_t reclaimer;
	uint64_t there;
	long inside;
	pid_t pid;

	host_swap_on(SWAP_SIZE);
	/* What does not settle once never does, and to find that takes long. */
	for (round = 1; round <= BACK_ENDS && !unsettled; round++) {
		bool found, is_in_time;

		give_target_to_group(self);
		pid = back_end_start(self, write_and_wait);
		wait_for(&shared->mapped);
		unsettled += !settles(&self->h);
		shared->value = round;
		shared->go = true;
		wait_for(&shared->written);

		inside = host_number(PARAMETERS "inside", "");
		reclaimed = false;
		ASSERT_EQ(0, pthread_create(&reclaimer, NULL, reclaim_group, NULL));
		while (!reclaimed && host_number(PARAMETERS "inside", "") == inside)
			;
		kill(pid, SIGKILL);
		while (!reclaimed && !is_ending(pid))
			;
		usleep(SHORT_MS * 1000);
		is_in_time = !reclaimed;
		sync_take(&self->h);
		found = harvest_took(&self->h, TARGET / PAGE);
		pthread_join(reclaimer, NULL);
		waitpid(pid, NULL, 0);

		ASSERT_EQ(sizeof(there),
			  pread(self->mem_fd, &there, sizeof(there), TARGET));
		EXPECT_EQ(round, there);
		in_time += is_in_time;
		missed += !found;
		unsettled += !settles(&self->h);
	}
	TH_LOG("%u back ends, %u ended during an event, %u missed, %u times unsettled",
	       BACK_ENDS, in_time, missed, unsettled);
	EXPECT_EQ(0, missed);
	EXPECT_EQ(0, unsettled);
	/* Else there was no event to be in. */
	if (!unsettled)
		EXPECT_LT(1, in_time);
	host_group_leave();
	host_swap_off();
}

TEST_HARNESS_MAIN
