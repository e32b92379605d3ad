// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whatever ends, at any point of a sync: the VMM, the controller, the file. And
 * many sessions, one after the other and side by side.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "harvest.h"
#include "host.h"
#include "kvm_vm.h"

#define PAGE		4096UL
#define MEMORY		(8UL << 20)
#define NPAGES		(MEMORY / PAGE)
#define TRACING		"/sys/kernel/tracing/"

static long module_refs(void)
{
	return host_number("/sys/module/migtrack/refcnt", "");
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

FIXTURE(endings) {
	long refs;
	int mem_fd;
	char *memory;
};

FIXTURE_SETUP(endings)
{
	self->refs = module_refs();
	self->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	memset(self->memory, 1, MEMORY);
}

FIXTURE_TEARDOWN(endings)
{
	munmap(self->memory, MEMORY);
	close(self->mem_fd);
	/* Whatever happened, nothing holds the module. */
	EXPECT_TRUE(EVENTUALLY(module_refs() == self->refs));
}

enum end {
	END_KILLED,
	END_EXITS,
	END_EXECS,
	NENDS,
};

/* Maps memory of its own, writes to it until told how to end. */
static void be_a_vmm(int mem_fd, volatile enum end *end, volatile bool *ready)
{
	char *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
			    mem_fd, 0);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(memory, 1, MEMORY);
	close_range(3, ~0U, 0);
	*ready = true;
	while (*end == NENDS)
		memory[(rand() % NPAGES) * PAGE]++;
	if (*end == END_EXECS)
		execl("/bin/sleep", "sleep", "1000", NULL);
	_exit(0);
}

/* The same with a vCPU, which writes to each page again and again. */
static void be_a_kvm_vmm(int mem_fd, volatile enum end *end, volatile bool *ready)
{
	struct vm vm;
	size_t page;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Nothing of the session's. */
	if (dup2(mem_fd, 3) != 3 || close_range(4, ~0U, 0))
		_exit(1);
	vm_prepare(&vm);
	vm_boot(&vm, 1, 3, MEMORY, 0);
	for (page = 0; page < NPAGES; page++)
		vm.control->list[page] = page;
	vm.control->vcpus[0].list_len = NPAGES;
	vm_run(&vm, 0, GUEST_WRITE_LIST);
	*ready = true;
	while (*end == NENDS)
		vm_run(&vm, 0, GUEST_WRITE_LIST);
	if (*end == END_EXECS)
		execl("/bin/sleep", "sleep", "1000", NULL);
	_exit(0);
}

/* How often listeners were told; the event may come a little after the flag. */
static unsigned int told_gone(struct migtrack *events, uint64_t session)
{
	struct migtrack_event event;
	unsigned int told = 0;

	while (poll(&(struct pollfd){ migtrack_fd(events), POLLIN, 0 }, 1,
		    told ? 100 : 20000) > 0)
		while (!migtrack_event_read(events, &event))
			told += event.type == MIGTRACK_EVENT_SOURCE_CHANGE &&
				event.source.session_id == session &&
				event.source.flags & MIGTRACK_COUNTER_FLAGS_GONE;
	return told;
}

/* Nothing was tracked yet, so that only the sync can find it. */
TEST_F_TIMEOUT(endings, vmm_before_the_setup, 120)
{
	volatile bool *ready = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	volatile enum end end = NENDS;
	struct migtrack *events;
	struct harvest h;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		be_a_vmm(self->mem_fd, &end, ready);
	while (!*ready)
		usleep(1000);
	ASSERT_EQ(0, migtrack_open(&events));
	ASSERT_EQ(0, migtrack_subscribe(events));
	harvest_open(&h, pid, self->mem_fd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
	EXPECT_TRUE(harvest_source(&h).flags & MIGTRACK_COUNTER_FLAGS_GONE);
	EXPECT_EQ(1, told_gone(events, h.id));
	harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_TRUE(harvest_source(&h).flags & MIGTRACK_COUNTER_FLAGS_GONE);
	migtrack_close(events);
	harvest_close(&h);
	munmap((void *)ready, PAGE);
}

FIXTURE(vmm) {
	long refs;
};

FIXTURE_VARIANT(vmm) {
	void (*main)(int mem_fd, volatile enum end *end, volatile bool *ready);
};

FIXTURE_VARIANT_ADD(vmm, threads) { .main = be_a_vmm };
FIXTURE_VARIANT_ADD(vmm, kvm) { .main = be_a_kvm_vmm };

FIXTURE_SETUP(vmm)
{
	self->refs = module_refs();
}

FIXTURE_TEARDOWN(vmm)
{
	EXPECT_TRUE(EVENTUALLY(module_refs() == self->refs));
}

/*
 * The source tells that it is gone, keeps its last numbers, and everything that
 * it held is free although the session lives on. Whoever ends is not kept.
 */
TEST_F_TIMEOUT(vmm, ends, 280)
{
	const unsigned int rounds = 24;
	double worst = 0, sync_time = 0.01;
	unsigned int round;
	struct shared {
		volatile enum end end;
		volatile bool ready;
	} *shared;

	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (round = 0; round < rounds; round++) {
		enum end how = round % NENDS;
		struct migtrack_source source;
		struct migtrack *events;
		struct harvest h;
		double start;
		pid_t pid;
		int fd;

		fd = memfd_create("vmm", MFD_CLOEXEC);
		ASSERT_EQ(0, ftruncate(fd, MEMORY));
		shared->end = NENDS;
		shared->ready = false;
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			variant->main(fd, &shared->end, &shared->ready);
		while (!shared->ready)
			usleep(1000);
		ASSERT_EQ(0, migtrack_open(&events));
		ASSERT_EQ(0, migtrack_subscribe(events));
		harvest_open(&h, pid, fd);
		close(fd);
		harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
		start = now();
		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
		sync_time = now() - start;

		ASSERT_EQ(0, migtrack_sync(h.mt, h.fd, MIGTRACK_SYNC_KIND_ITERATION));
		usleep(sync_time * 1e6 * round / rounds);
		start = now();
		shared->end = how;
		if (how == END_KILLED)
			kill(pid, SIGKILL);
		if (how != END_EXECS) {
			ASSERT_EQ(pid, waitpid(pid, NULL, 0));
			worst = now() - start > worst ? now() - start : worst;
		}
		ASSERT_EQ(0, migtrack_sync_wait(h.fd, 60000));
		EXPECT_EQ(0, h.header->sync_error);

		EXPECT_TRUE(EVENTUALLY(harvest_source(&h).flags &
				       MIGTRACK_COUNTER_FLAGS_GONE));
		source = harvest_source(&h);
		EXPECT_EQ(MEMORY, source.length);
		EXPECT_TRUE(source.flags & MIGTRACK_COUNTER_FLAGS_STALE);
		EXPECT_FALSE(source.flags & MIGTRACK_COUNTER_FLAGS_EXACT);
		EXPECT_LT(0, source.bytes.total);
		EXPECT_LE(2, h.header->iteration);

		EXPECT_EQ(1, told_gone(events, h.id));
		migtrack_close(events);

		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
		EXPECT_EQ(source.bytes.total, harvest_source(&h).bytes.total);
		if (how == END_EXECS) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
		harvest_close(&h);
	}
	TH_LOG("a sync takes %.1f ms; the longest exit took %.1f ms",
	       sync_time * 1e3, worst * 1e3);
	EXPECT_GT(10, worst);
	munmap(shared, PAGE);
}

static int session_is(const struct migtrack_session *session, void *data)
{
	return session->id == *(uint64_t *)data;
}

/* Killed at any point, of the setup's sync too; its session is gone with it. */
TEST_F_TIMEOUT(endings, controller, 280)
{
	volatile uint64_t *id;
	unsigned int round;
	struct migtrack *mt;

	ASSERT_EQ(0, migtrack_open(&mt));
	id = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		  -1, 0);
	for (round = 0; round < 20; round++) {
		pid_t pid, vmm = getpid();

		*id = 0;
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			struct harvest h;

			munmap(self->memory, MEMORY);
			harvest_open(&h, vmm, self->mem_fd);
			*id = h.id;
			harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
			for (;;)
				harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
		}
		while (!*id)
			sched_yield();
		usleep(rand() % 30000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		EXPECT_TRUE(EVENTUALLY(!migtrack_session_dump(mt, session_is,
							      (void *)id)));
	}
	migtrack_close(mt);
	munmap((void *)id, PAGE);
}

static long mm_structs(void)
{
	return host_number("/proc/slabinfo", "mm_struct");
}

static long trace_hits(const char *event)
{
	FILE *f = fopen(TRACING "trace", "re");
	char line[512];
	long n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += line[0] != '#' && strstr(line, event);
	if (f)
		fclose(f);
	return n;
}

/* What begins and what ends, of each kind of object. */
static const char *const born[] = {
	"migtrack_session_new", "migtrack_source_add", "migtrack_tracker_new",
	"migtrack_mm_watch",
};

static const char *const ended[ARRAY_SIZE(born)] = {
	"migtrack_session_del", "migtrack_source_free", "migtrack_tracker_free",
	"migtrack_mm_free",
};

static void trace_objects(const char *on)
{
	char path[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(born); i++) {
		snprintf(path, sizeof(path), TRACING "events/migtrack/%s/enable", born[i]);
		host_write(path, on);
		snprintf(path, sizeof(path), TRACING "events/migtrack/%s/enable", ended[i]);
		host_write(path, on);
	}
}

/* As many ended as began, and no address space is kept by one that has ended. */
TEST_F_TIMEOUT(endings, thousand_sessions, 280)
{
	const long sessions = 1000;
	long before, i, n;

	trace_objects("1");
	host_write(TRACING "trace", "");
	host_write(TRACING "buffer_size_kb", "4096");
	before = mm_structs();
	for (i = 0; i < sessions; i++) {
		pid_t pid = 0;
		struct harvest h;

		/* Each tenth tracks a process of its own, which ends. */
		if (i % 10 == 0) {
			pid = fork();
			ASSERT_LE(0, pid);
			if (!pid)
				for (;;)
					pause();
		}
		harvest_open(&h, pid ? pid : getpid(), self->mem_fd);
		harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
		if (pid)
			kill(pid, SIGKILL);
		self->memory[i % NPAGES * PAGE]++;
		harvest_take(&h);
		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
		harvest_take(&h);
		if (pid) {
			waitpid(pid, NULL, 0);
		} else {
			EXPECT_TRUE(harvest_took(&h, i % NPAGES));
		}
		harvest_close(&h);
	}
	EXPECT_TRUE(EVENTUALLY(module_refs() == self->refs));
	for (i = 0; i < ARRAY_SIZE(born); i++) {
		/* Its end may be a work item that has not run; to look takes a while. */
		for (n = 0; n < 10 && trace_hits(born[i]) != trace_hits(ended[i]); n++)
			sleep(1);
		EXPECT_EQ(trace_hits(born[i]), trace_hits(ended[i]));
		TH_LOG("%s: %ld, %s: %ld", born[i], trace_hits(born[i]), ended[i],
		       trace_hits(ended[i]));
		/* A session may find the tracker of the one before. */
		EXPECT_LE(i < 2 ? sessions : sessions / 2, trace_hits(born[i]));
	}
	EXPECT_EQ(sessions, trace_hits("migtrack_session_new"));
	trace_objects("0");
	TH_LOG("mm_structs: %ld before, %ld after", before, mm_structs());
	/* The allocator's own count is not exact; a leak would be of 100. */
	EXPECT_TRUE(EVENTUALLY(mm_structs() < before + 80));
}

struct syncer {
	struct harvest h;
	char *seen;
	pthread_t thread;
};

static void *sync_once(void *data)
{
	struct syncer *s = data;
	size_t page;

	harvest_sync(&s->h, MIGTRACK_SYNC_KIND_ITERATION);
	harvest_take(&s->h);
	for (page = 0; page < NPAGES; page++)
		s->seen[page] = harvest_took(&s->h, page);
	return NULL;
}

/* Two sessions that sync at the same time: what one finds, both are told. */
TEST_F_TIMEOUT(endings, two_sessions_at_once, 280)
{
	unsigned int round, missed = 0, i, s;
	struct syncer syncer[2];
	size_t page[64];

	for (s = 0; s < 2; s++) {
		harvest_open(&syncer[s].h, getpid(), self->mem_fd);
		syncer[s].seen = calloc(1, NPAGES);
		harvest_sync(&syncer[s].h, MIGTRACK_SYNC_KIND_SETUP);
		harvest_take(&syncer[s].h);
	}
	for (round = 0; round < 200; round++) {
		for (i = 0; i < 64; i++) {
			page[i] = rand() % NPAGES;
			self->memory[page[i] * PAGE]++;
		}
		for (s = 0; s < 2; s++)
			ASSERT_EQ(0, pthread_create(&syncer[s].thread, NULL,
						    sync_once, &syncer[s]));
		for (s = 0; s < 2; s++)
			pthread_join(syncer[s].thread, NULL);
		for (s = 0; s < 2; s++)
			for (i = 0; i < 64; i++)
				missed += !syncer[s].seen[page[i]];
	}
	EXPECT_EQ(0, missed);
	for (s = 0; s < 2; s++) {
		free(syncer[s].seen);
		harvest_close(&syncer[s].h);
	}
}

static int look_at_source(const struct migtrack_source *source, void *data)
{
	(void)source;
	(void)data;
	return 0;
}

static int look_at_session(const struct migtrack_session *session, void *data)
{
	struct migtrack_session again;

	migtrack_session_get(data, session->id, &again);
	migtrack_source_dump(data, session->id, look_at_source, NULL);
	return 0;
}

/* Looks at all that there is, without a pause, and never reads its events. */
static void watch(int ready)
{
	struct migtrack *mt, *events;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (migtrack_open(&mt) || migtrack_open(&events) ||
	    migtrack_subscribe(events) || write(ready, "", 1) != 1)
		_exit(1);
	for (;;)
		migtrack_session_dump(mt, look_at_session, mt);
}

/* A watcher changes nothing for the one who migrates: the counts are exact. */
TEST_F_TIMEOUT(endings, watchers, 280)
{
	unsigned int round, i;
	struct harvest h;
	pid_t pid[2];
	int ready[2];
	char byte;

	ASSERT_EQ(0, pipe(ready));
	munmap(self->memory + MEMORY / 2, MEMORY / 2);
	for (i = 0; i < 2; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			munmap(self->memory, MEMORY / 2);
			watch(ready[1]);
		}
	}
	/* They map the memory no more. */
	for (i = 0; i < 2; i++)
		ASSERT_EQ(1, read(ready[0], &byte, 1));
	harvest_open(&h, getpid(), self->mem_fd);
	harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
	for (i = 0; i < 10 && (!i || h.header->dirty_pages); i++)
		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
	harvest_take(&h);
	for (round = 0; round < 200; round++) {
		for (i = 0; i < 7; i++)
			self->memory[((round * 7 + i) % (NPAGES / 2)) * PAGE]++;
		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
		EXPECT_EQ(7, h.header->dirty_pages);
		EXPECT_EQ(7, harvest_take(&h));
	}
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, waitpid(pid[i], NULL, WNOHANG));
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	harvest_close(&h);
}

#define BACK_ENDS	200

/* Writes to a page of its own when told; every second one ends after that. */
static void be_a_back_end(char *memory, unsigned int i, int go, int ready)
{
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (memory[i * PAGE] && write(ready, "", 1) == 1 &&
	    read(go, &byte, 1) == 1) {
		memory[i * PAGE]++;
		if (write(ready, "", 1) == 1 && i % 2 == 0)
			pause();
	}
	_exit(0);
}

/* So many processes map the memory at the same time, and write, and end. */
static void back_ends_come_and_go(struct __test_metadata *_metadata, char *memory,
				  struct harvest *h)
{
	unsigned int i, missed = 0;
	char bytes[BACK_ENDS] = {};
	pid_t pid[BACK_ENDS];
	int ready[2], go[2];

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(go));
	for (i = 0; i < BACK_ENDS; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			be_a_back_end(memory, i, go[0], ready[1]);
	}
	for (i = 0; i < BACK_ENDS; i++)
		ASSERT_EQ(1, read(ready[0], bytes, 1));
	/* All are adopted, and nothing is left to tell of that. */
	for (i = 0; i < 20 && (!i || h->header->dirty_pages); i++)
		harvest_sync(h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_EQ(0, h->header->dirty_pages);
	EXPECT_EQ(1 + BACK_ENDS, harvest_source(h).processes);
	harvest_take(h);

	ASSERT_EQ(BACK_ENDS, write(go[1], bytes, BACK_ENDS));
	for (i = 0; i < BACK_ENDS; i++)
		ASSERT_EQ(1, read(ready[0], bytes, 1));
	harvest_sync(h, MIGTRACK_SYNC_KIND_ITERATION);
	harvest_take(h);
	for (i = 0; i < BACK_ENDS; i++)
		missed += !harvest_took(h, i);
	EXPECT_EQ(0, missed);

	for (i = 0; i < BACK_ENDS; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	for (i = 0; i < 20 && harvest_source(h).processes > 1; i++)
		harvest_sync(h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_EQ(1, harvest_source(h).processes);
	close(ready[0]);
	close(ready[1]);
	close(go[0]);
	close(go[1]);
}

/* And their address spaces go, while the tracking goes on. */
TEST_F_TIMEOUT(endings, many_back_ends, 280)
{
	struct harvest h;
	long before;

	harvest_open(&h, getpid(), self->mem_fd);
	harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
	/* The allocator keeps those of the first round for the next ones. */
	back_ends_come_and_go(_metadata, self->memory, &h);
	before = mm_structs();
	back_ends_come_and_go(_metadata, self->memory, &h);
	back_ends_come_and_go(_metadata, self->memory, &h);
	TH_LOG("mm_structs: %ld before, %ld after", before, mm_structs());
	EXPECT_TRUE(EVENTUALLY(mm_structs() < before + BACK_ENDS));
	harvest_close(&h);
}

/* In use by a session, even if only its mapping is left. */
TEST_F_TIMEOUT(endings, module_stays, 120)
{
	struct harvest h;

	harvest_open(&h, getpid(), self->mem_fd);
	EXPECT_EQ(-1, syscall(SYS_delete_module, "migtrack", O_NONBLOCK));
	EXPECT_EQ(EWOULDBLOCK, errno);
	harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
	close(h.fd);
	EXPECT_EQ(-1, syscall(SYS_delete_module, "migtrack", O_NONBLOCK));
	EXPECT_EQ(EWOULDBLOCK, errno);
	EXPECT_EQ(~0UL, h.bitmap[0]);
	h.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	harvest_close(&h);
}

static void *resize(void *data)
{
	int fd = *(int *)data;
	unsigned int i;

	for (i = 0; i < 300; i++) {
		if (ftruncate(fd, rand() % (2 * MEMORY)))
			return (void *)1;
		usleep(rand() % 2000);
	}
	return (void *)(long)!!ftruncate(fd, MEMORY);
}

/* The file's size changes all the time, and nobody touches what is not there. */
TEST_F_TIMEOUT(endings, file_changes_its_size, 280)
{
	unsigned int syncs = 0, i;
	struct harvest h;
	pthread_t thread;
	void *failed;

	harvest_open(&h, getpid(), self->mem_fd);
	harvest_sync(&h, MIGTRACK_SYNC_KIND_SETUP);
	harvest_take(&h);
	ASSERT_EQ(0, pthread_create(&thread, NULL, resize, &self->mem_fd));
	while (pthread_tryjoin_np(thread, &failed)) {
		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
		harvest_take(&h);
		syncs++;
	}
	EXPECT_EQ(NULL, failed);
	TH_LOG("%u syncs", syncs);
	for (i = 0; i < 10 && (!i || h.header->dirty_pages); i++)
		harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_EQ(0, h.header->dirty_pages);
	harvest_take(&h);
	memset(self->memory, 2, MEMORY);
	harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_EQ(NPAGES, harvest_take(&h));
	harvest_close(&h);
}

/* Memory is plugged in: a source more, all of which is new; the first goes on. */
TEST_F_TIMEOUT(endings, memory_is_added, 120)
{
	struct migtrack_source_map map;
	struct migtrack_source source;
	unsigned long *bitmap;
	struct harvest h;
	char *memory;
	size_t page, n;
	int fd;

	harvest_open(&h, getpid(), self->mem_fd);
	harvest_settle(&h);

	fd = memfd_create("dimm", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(fd, MEMORY));
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	memset(memory, 3, MEMORY);
	ASSERT_EQ(0, migtrack_source_add_ram(h.mt, h.fd, getpid(), fd, 0, 0, &map));
	ASSERT_EQ(0, migtrack_bitmap_map(h.fd, &map, &bitmap));
	self->memory[5 * PAGE]++;
	harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_EQ(1, harvest_take(&h));
	EXPECT_TRUE(harvest_took(&h, 5));
	for (page = 0, n = 0; page < NPAGES; page++)
		n += bitmap[page / 64] >> page % 64 & 1;
	EXPECT_EQ(NPAGES, n);

	memset(bitmap, 0, map.map_length);
	memory[7 * PAGE]++;
	harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_EQ(1UL << 7, bitmap[0]);
	EXPECT_EQ(0, harvest_take(&h));

	/* And taken out: its owner ends it, the other goes on. */
	ASSERT_EQ(0, migtrack_source_del(h.mt, h.fd, map.id));
	EXPECT_TRUE(EVENTUALLY(migtrack_source_get(h.mt, h.id, map.id, &source)));
	self->memory[6 * PAGE]++;
	harvest_sync(&h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_EQ(1, harvest_take(&h));
	migtrack_bitmap_unmap(&map, bitmap);
	munmap(memory, MEMORY);
	close(fd);
	harvest_close(&h);
}

TEST_HARNESS_MAIN
