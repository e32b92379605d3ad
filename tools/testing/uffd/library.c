// SPDX-License-Identifier: GPL-2.0-or-later
/* ctl/uffd/ with this kernel's userfaultfd, and memory of this process. Prints TAP. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "memory.h"
#include "uffd/uffd.h"

#define PAGES		512u
#define SIZE		((size_t)PAGES * PAGE)
#define TOUCHERS	4

static unsigned int loads[PAGES], saves[PAGES];
static uint64_t bad_page = UINT64_MAX, slow_page = UINT64_MAX, n_slow = 1;
static size_t load_page = PAGE;
static char *saved;

static void report(const char *name)
{
	report_checks(name);
	memset(loads, 0, sizeof(loads));
	memset(saves, 0, sizeof(saves));
	bad_page = UINT64_MAX;
	load_page = PAGE;
}

static int load(void *data, uint64_t offset, size_t size, void *buffer,
		enum uffd_kind *kind, struct error *err)
{
	uint64_t page = offset / PAGE, n = size / PAGE, i;

	(void)data;
	__atomic_fetch_add(&loads[offset / load_page], 1, __ATOMIC_RELAXED);
	if (bad_page >= page && bad_page < page + n)
		return error_set(err, EXIT_DIFFERS, "page %llu is bad",
				 (unsigned long long)bad_page);
	if (page >= slow_page && page < slow_page + n_slow)
		usleep(300000);
	if (n == 1 && page_is_hole(page)) {
		*kind = UFFD_ZERO;
		return 0;
	}
	for (i = 0; i < n; i++)
		page_fill((char *)buffer + i * PAGE, page + i);
	*kind = UFFD_DATA;
	return 0;
}

static char *guest;

static int written(void *data, uint64_t offset, size_t size, void *buffer, struct error *err)
{
	(void)data;
	(void)buffer;
	(void)err;
	__atomic_fetch_add(&saves[offset / PAGE], 1, __ATOMIC_RELAXED);
	memcpy(saved + offset, guest + offset, size);
	return 0;
}

static const struct uffd_ops ops = { .load = load, .written = written };

static char *map(int flags, int fd, size_t size)
{
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (at == MAP_FAILED)
		return NULL;
	madvise(at, size, MADV_NOHUGEPAGE);
	return at;
}

static struct uffd *setup(char *at, unsigned int modes, char *alias, uint64_t features,
			  struct uffd_claims *claims)
{
	struct uffd_region region = {
		.start = (uintptr_t)at, .size = SIZE, .page_size = load_page,
		.modes = modes, .alias = alias,
	};
	struct uffd_config config = {
		.fd = -1, .features = features, .regions = &region, .n = 1,
		.ops = &ops, .threads = 2, .claims = claims,
	};
	struct uffd *uffd;

	OK(uffd_setup(&uffd, &config, &err));
	return uffd;
}

struct toucher {
	pthread_t thread;
	unsigned int seed;
	bool wrong;
};

static void *toucher(void *data)
{
	struct toucher *t = data;
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		unsigned int page = (i * 67 + t->seed * 31) % PAGES;

		if (!page_is_right(guest + (size_t)page * PAGE, page))
			t->wrong = true;
	}
	return NULL;
}

static void touch_all(void)
{
	struct toucher t[TOUCHERS] = {};
	int i;

	for (i = 0; i < TOUCHERS; i++) {
		t[i].seed = (unsigned int)i;
		pthread_create(&t[i].thread, NULL, toucher, &t[i]);
	}
	for (i = 0; i < TOUCHERS; i++) {
		pthread_join(t[i].thread, NULL);
		CHECK(!t[i].wrong);
	}
}

static bool all_once(const unsigned int *counts, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (counts[i] != 1)
			return false;
	}
	return true;
}

static void test_missing(void)
{
	struct uffd_channel channel;
	struct uffd *uffd;

	guest = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	uffd = setup(guest, UFFD_MISSING, NULL, 0, NULL);
	touch_all();
	CHECK(all_once(loads, PAGES));
	OK(uffd_channel_open(&channel, 64 * PAGE, &err));
	OK(uffd_load(uffd, &channel, 0, PAGES, &err));
	CHECK(all_once(loads, PAGES));
	OK(uffd_release(uffd, &err));
	uffd_channel_close(&channel);
	uffd_stop(uffd);
	munmap(guest, SIZE);
	report("missing faults of four threads: each page is loaded once");
}

static void *load_all(void *data)
{
	struct uffd_channel channel;

	OK(uffd_channel_open(&channel, PAGE, &err));
	OK(uffd_load(data, &channel, 0, PAGES, &err));
	uffd_channel_close(&channel);
	return NULL;
}

static void test_eager(void)
{
	pthread_t thread;
	struct uffd *uffd;

	guest = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	uffd = setup(guest, UFFD_MISSING, NULL, 0, NULL);
	pthread_create(&thread, NULL, load_all, uffd);
	touch_all();
	pthread_join(thread, NULL);
	CHECK(all_once(loads, PAGES));
	uffd_stop(uffd);
	munmap(guest, SIZE);
	report("faults beside a thread that loads all: each page is loaded once");
}

static void *touch_slow(void *data)
{
	struct toucher *t = data;

	t->wrong = !page_is_right(guest + slow_page * PAGE, slow_page);
	return NULL;
}

/* A page that a fault is just being answered with is not left out. */
static void test_released(void)
{
	struct uffd_channel channel;
	struct toucher t = {};
	struct uffd *uffd;
	unsigned int i;

	guest = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	slow_page = 8;
	uffd = setup(guest, UFFD_MISSING, NULL, 0, NULL);
	pthread_create(&t.thread, NULL, touch_slow, &t);
	usleep(100000);
	OK(uffd_channel_open(&channel, PAGE, &err));
	for (i = 0; i < PAGES; i++) {
		if (!page_is_hole(i))
			OK(uffd_load(uffd, &channel, i, 1, &err));
	}
	OK(uffd_release(uffd, &err));
	pthread_join(t.thread, NULL);
	CHECK(!t.wrong);
	CHECK(!loads[6]);
	slow_page = UINT64_MAX;
	touch_all();
	uffd_channel_close(&channel);
	uffd_stop(uffd);
	munmap(guest, SIZE);
	report("the release waits for what is being loaded; what is left is zeros");
}

static void test_minor(void)
{
	int fd = memfd_create("ram", 0);
	struct uffd *uffd;
	char *alias;

	CHECK(!ftruncate(fd, SIZE));
	guest = map(MAP_SHARED, fd, SIZE);
	alias = map(MAP_SHARED, fd, SIZE);
	uffd = setup(guest, UFFD_MISSING | UFFD_MINOR, alias,
		     UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM, NULL);
	touch_all();
	CHECK(all_once(loads, PAGES));
	/* Given back, it is still in the file. */
	madvise(guest, SIZE, MADV_DONTNEED);
	touch_all();
	CHECK(all_once(loads, PAGES));
	uffd_stop(uffd);
	munmap(guest, SIZE);
	munmap(alias, SIZE);
	close(fd);
	report("minor faults: a page is loaded into the file once, then mapped");
}

static void test_huge(void)
{
	struct uffd *uffd;
	char *at = map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 2 << 20);

	if (!at) {
		printf("ok %d uffd: huge pages # SKIP optional: there are none\n", ++tests);
		return;
	}
	guest = at;
	load_page = 2 << 20;
	uffd = setup(guest, UFFD_MISSING, NULL, UFFD_FEATURE_MISSING_HUGETLBFS, NULL);
	touch_all();
	CHECK(loads[0] == 1);
	uffd_stop(uffd);
	munmap(guest, SIZE);
	report("huge pages: each is loaded once");
}

static void *writer(void *data)
{
	unsigned int i;

	for (i = 0; i < PAGES; i += 2)
		memset(guest + (size_t)((i + *(unsigned int *)data) % PAGES) * PAGE, 0x55, PAGE);
	return NULL;
}

static void test_written(void)
{
	static unsigned int seeds[2] = { 0, 256 };
	pthread_t threads[2];
	struct uffd *uffd;
	unsigned int i;

	guest = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	saved = calloc(1, SIZE);
	for (i = 0; i < PAGES; i++)
		page_fill(guest + (size_t)i * PAGE, i);
	uffd = setup(guest, UFFD_WRITE, NULL, UFFD_FEATURE_PAGEFAULT_FLAG_WP, NULL);
	OK(uffd_protect(uffd, &err));
	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, writer, &seeds[i]);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < PAGES; i++) {
		CHECK(saves[i] == !(i % 2));
		if (i % 2)
			CHECK(page_is_right(guest + (size_t)i * PAGE, i));
		else
			CHECK(page_is_right(saved + (size_t)i * PAGE, i));
	}
	uffd_stop(uffd);
	munmap(guest, SIZE);
	free(saved);
	report("write-protect faults: a page is saved once, before it changes");
}

static void test_removed(void)
{
	struct uffd *uffd;
	unsigned int i;

	guest = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	uffd = setup(guest, UFFD_MISSING, NULL, UFFD_FEATURE_EVENT_REMOVE, NULL);
	for (i = 0; i < PAGES / 2; i++)
		CHECK(page_is_right(guest + (size_t)i * PAGE, i));
	/* Of those that were loaded, and of those that were not. */
	madvise(guest + SIZE / 4, SIZE / 2, MADV_DONTNEED);
	for (i = 0; i < PAGES; i++) {
		if (i >= PAGES / 4 && i < PAGES * 3 / 4)
			CHECK(page_is_zeros(guest + (size_t)i * PAGE));
		else
			CHECK(page_is_right(guest + (size_t)i * PAGE, i));
	}
	for (i = PAGES / 2; i < PAGES * 3 / 4; i++)
		CHECK(!loads[i]);
	uffd_stop(uffd);
	munmap(guest, SIZE);
	report("pages that are given back are zeros, and are not loaded");
}

static void *touch_page(void *data)
{
	return page_is_right(data, (uint64_t)((char *)data - guest) / PAGE) ? data : NULL;
}

/*
 * All threads that read are loading a page when memory is given back: none can put its
 * page in place before that event is read.
 */
static void test_removed_while_all_load(void)
{
	struct uffd *uffd;
	pthread_t threads[2];
	unsigned int i;
	void *right;

	guest = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	uffd = setup(guest, UFFD_MISSING, NULL, UFFD_FEATURE_EVENT_REMOVE, NULL);
	CHECK(page_is_right(guest + 8 * PAGE, 8));
	slow_page = 0;
	n_slow = 2;
	for (i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, touch_page, guest + i * PAGE));
	while (!__atomic_load_n(&loads[0], __ATOMIC_RELAXED) ||
	       !__atomic_load_n(&loads[1], __ATOMIC_RELAXED))
		usleep(1000);
	/* Nobody reads: it hangs, and all others with it. */
	alarm(60);
	CHECK(!madvise(guest + 8 * PAGE, 4 * PAGE, MADV_DONTNEED));
	for (i = 0; i < 2; i++) {
		pthread_join(threads[i], &right);
		CHECK(right);
	}
	alarm(0);
	CHECK(page_is_zeros(guest + 8 * PAGE));
	CHECK(page_is_right(guest + 12 * PAGE, 12));
	slow_page = UINT64_MAX;
	n_slow = 1;
	uffd_stop(uffd);
	munmap(guest, SIZE);
	report("memory is given back while all threads load pages");
}

static unsigned int all_loads(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < PAGES; i++)
		n += loads[i];
	return n;
}

/* One page of many can't be had, and one beside it is there already: all others are loaded. */
static void test_bad_among_loaded(void)
{
	struct uffd_channel channel;
	struct uffd *uffd;
	struct error err;
	unsigned int i, before;

	guest = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	uffd = setup(guest, UFFD_MISSING, NULL, 0, NULL);
	CHECK(page_is_right(guest + 10 * PAGE, 10));
	bad_page = 5;
	CHECK(!uffd_channel_open(&channel, 64 * PAGE, &err));
	CHECK(uffd_load(uffd, &channel, 0, 64, &err));
	CHECK(strstr(err.message, "page 5 is bad"));
	before = all_loads();
	for (i = 0; i < 64; i++)
		CHECK(i == 5 || page_is_right(guest + (size_t)i * PAGE, i));
	CHECK(all_loads() == before);
	uffd_channel_close(&channel);
	uffd_stop(uffd);
	munmap(guest, SIZE);
	report("beside a page that can't be had all others are loaded");
}

static void test_unmapped(void)
{
	struct uffd *uffd;
	struct error err;

	guest = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	uffd = setup(guest, UFFD_MISSING, NULL, UFFD_FEATURE_EVENT_UNMAP, NULL);
	CHECK(page_is_right(guest, 0));
	munmap(guest + SIZE / 2, SIZE / 2);
	CHECK(page_is_right(guest + PAGE, 1));
	CHECK(!uffd_failed(uffd, &err));
	uffd_stop(uffd);
	munmap(guest, SIZE / 2);
	report("memory that is unmapped is followed");
}

static bool failed_within(struct uffd *uffd, const char *what)
{
	struct error err;
	int i;

	for (i = 0; i < 3000; i++) {
		if (uffd_failed(uffd, &err))
			return strstr(err.message, what) && err.advice[0];
		usleep(10000);
	}
	return false;
}

static void test_refused_events(void)
{
	struct uffd *uffd;
	char *to;

	guest = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	uffd = setup(guest, UFFD_MISSING, NULL, UFFD_FEATURE_EVENT_REMAP, NULL);
	to = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	CHECK(mremap(guest, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	CHECK(failed_within(uffd, "mremap"));
	uffd_stop(uffd);
	munmap(to, SIZE);

	guest = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	uffd = setup(guest, UFFD_MISSING, NULL, UFFD_FEATURE_EVENT_FORK, NULL);
	if (!fork())
		_exit(0);
	wait(NULL);
	CHECK(failed_within(uffd, "forked"));
	uffd_stop(uffd);
	munmap(guest, SIZE);
	report("mremap and fork are refused by name");
}

static sigjmp_buf bus;

static void on_bus(int signal)
{
	(void)signal;
	siglongjmp(bus, 1);
}

static void test_poisoned(void)
{
	struct uffd_channel channel;
	struct error err = {};
	struct uffd *uffd;

	guest = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	bad_page = 17;
	uffd = setup(guest, UFFD_MISSING, NULL, UFFD_FEATURE_POISON, NULL);
	OK(uffd_channel_open(&channel, 64 * PAGE, &err));
	CHECK(uffd_load(uffd, &channel, 0, 64, &err) && err.code == EXIT_DIFFERS);
	uffd_channel_close(&channel);
	CHECK(page_is_right(guest + 16 * PAGE, 16) && page_is_right(guest + 18 * PAGE, 18));
	signal(SIGBUS, on_bus);
	if (!sigsetjmp(bus, 1)) {
		CHECK(!page_is_right(guest + 17 * PAGE, 17));
		CHECK(false);
	}
	bad_page = 100;
	if (!sigsetjmp(bus, 1)) {
		CHECK(!page_is_right(guest + 100 * PAGE, 100));
		CHECK(false);
	}
	CHECK(uffd_failed(uffd, &err) && strstr(err.message, "page 17 is bad"));
	CHECK(page_is_right(guest + 101 * PAGE, 101));
	signal(SIGBUS, SIG_DFL);
	uffd_stop(uffd);
	munmap(guest, SIZE);
	report("a page that can't be loaded is SIGBUS, and only that one");
}

/* Killed in the middle of a load, it goes on in another process. */
static void test_recovered(void)
{
	struct uffd_claims claims;
	struct uffd *uffd;
	unsigned int i;

	OK(uffd_claims_open(&claims, PAGES, true, &err));
	for (i = 0; i < 10; i++)
		CHECK(uffd_claim(&claims, i));
	for (i = 0; i < 5; i++)
		uffd_claim_done(&claims, i);
	uffd_claims_recover(&claims);
	for (i = 0; i < 10; i++)
		CHECK(uffd_claim_is_taken(&claims, i) == (i < 5));
	guest = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	for (i = 0; i < 5; i++)
		page_fill(guest + (size_t)i * PAGE, i);
	uffd = setup(guest, UFFD_MISSING, NULL, 0, &claims);
	touch_all();
	for (i = 0; i < PAGES; i++)
		CHECK(loads[i] == (i >= 5));
	/* Who waits for a page goes on a little before it is noted that it is there. */
	for (i = 0; i < 5000 && uffd_claims_left(&claims); i++)
		usleep(1000);
	CHECK(!uffd_claims_left(&claims));
	CHECK(claims.stats->recorded >= PAGES - 5);
	uffd_stop(uffd);
	uffd_claims_close(&claims);
	munmap(guest, SIZE);
	report("what was loaded before is not loaded again, what was claimed is");
}

static int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void refused(struct uffd_config config, struct uffd_region region,
		    const char *what)
{
	struct uffd *uffd = (void *)1;
	struct error err = {};

	config.regions = &region;
	config.n = 1;
	config.ops = &ops;
	CHECK(uffd_setup(&uffd, &config, &err));
	CHECK(!uffd);
	if (strstr(err.message, what))
		return;
	printf("# wanted %s: %s\n", what, err.message);
	failed = true;
}

static void test_refused(void)
{
	struct uffd_region good, region;
	struct uffd_config config = { .fd = -1 };
	int before = descriptors();
	struct uffd *other;

	guest = map(MAP_PRIVATE | MAP_ANONYMOUS, -1, SIZE);
	good = (struct uffd_region) { .start = (uintptr_t)guest, .size = SIZE,
				      .page_size = PAGE, .modes = UFFD_MISSING };
	other = setup(guest, UFFD_MISSING, NULL, 0, NULL);
	refused(config, good, "can't be registered");
	uffd_stop(other);
	region = good;
	region.page_size = 5000;
	refused(config, region, "page size");
	region = good;
	region.modes = UFFD_MISSING | UFFD_WRITE;
	refused(config, region, "at once");
	region = good;
	region.start = 0x1000;
	refused(config, region, "can't be registered");
	config.features = 1ull << 60;
	refused(config, good, "lacks the features");
	config.features = 0;
	config.fd = open("/dev/null", O_RDWR);
	refused(config, good, "no userfaultfd");
	munmap(guest, SIZE);
	CHECK(descriptors() == before);
	report("what can't be set up is refused by name, and closed");
}

static void test_unprivileged(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct error err = {};
		int fd;

		/* With the sysctl, or a device for all, it may. */
		if (setresuid(65534, 65534, 65534) || !uffd_open(0, &fd, &err))
			_exit(0);
		_exit(err.code == EXIT_PERMISSION && fd < 0 &&
		      strstr(err.advice, "CAP_SYS_PTRACE") &&
		      strstr(err.advice, "unprivileged_userfaultfd") ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	CHECK(status == 0);
	report("without the privilege the remedy is named");
}

int main(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0) {
		printf("1..0 # SKIP no userfaultfd: %s\n", strerror(errno));
		return 4;
	}
	close(fd);
	printf("TAP version 13\n");
	test_missing();
	test_eager();
	test_released();
	test_minor();
	test_huge();
	test_written();
	test_removed();
	test_removed_while_all_load();
	test_bad_among_loaded();
	test_unmapped();
	test_refused_events();
	test_poisoned();
	test_recovered();
	test_refused();
	test_unprivileged();
	printf("1..%d\n", tests);
	return !!failures;
}
