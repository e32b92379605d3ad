// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Others who protect the same entries: userfaultfd's write protection, alone or
 * as the base of another dirty tracker (PAGEMAP_SCAN), and pages that it puts
 * in place by itself.
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "arena.h"

#define WINDOW_PAGES	(ARENA_WINDOW_SIZE / GUEST_PAGE)

FIXTURE(uffd) {
	struct arena a;
};

FIXTURE_VARIANT(uffd) {
	enum arena_writer who;
};

FIXTURE_VARIANT_ADD(uffd, vmm) { .who = ARENA_VMM };
FIXTURE_VARIANT_ADD(uffd, vcpu) { .who = ARENA_VCPU };
FIXTURE_VARIANT_ADD(uffd, backend) { .who = ARENA_BACKEND };

FIXTURE_SETUP(uffd)
{
	arena_open(&self->a, variant->who);
	ASSERT_EQ(0, arena_settle(&self->a));
}

FIXTURE_TEARDOWN(uffd)
{
	arena_close(&self->a);
}

/* Of the calling process; each has one at a time. -1: errno. */
static int uffd = -1;

static int uffd_register(char *start, size_t length, uint64_t features, uint64_t mode)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct uffdio_register reg = {
		.range = { (uintptr_t)start, length },
		.mode = mode,
	};

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) ||
	    ioctl(uffd, UFFDIO_REGISTER, &reg))
		return errno;
	return 0;
}

static int uffd_protect(char *start, size_t length, bool protect)
{
	struct uffdio_writeprotect wp = {
		.range = { (uintptr_t)start, length },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &wp) ? errno : 0;
}

/* A write, the event, a sync: reported. Later writes as well. */
#define LOSES_NOTHING(name, event)						\
TEST_F_TIMEOUT(uffd, name, 240)							\
{										\
	struct arena *a = &self->a;						\
										\
	arena_pick(a);								\
	arena_write(a);								\
	ASSERT_EQ(0, arena_event(a, event));					\
	arena_sync(a);								\
	EXPECT_EQ(0, arena_missed(a));						\
	EXPECT_EQ(0, arena_settle(a));						\
	EXPECT_EQ(0, arena_wrong(a));						\
	arena_write(a);								\
	arena_sync(a);								\
	EXPECT_EQ(0, arena_missed(a));						\
	EXPECT_EQ(0, arena_wrong(a));						\
}

/* Catches who goes by the write bit: all are taken, and given back at the end. */
static int protect_and_back(struct arena *a, char *memory, size_t offset,
			    size_t length)
{
	char *start = memory + offset;
	int ret;

	(void)a;
	ret = uffd_register(start, length, UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
			    UFFDIO_REGISTER_MODE_WP);
	if (!ret)
		ret = uffd_protect(start, length, true);
	if (!ret)
		ret = uffd_protect(start, length, false);
	close(uffd);
	return ret;
}

LOSES_NOTHING(protect_and_back, protect_and_back)

/* Closing it unprotects all: entries are not writable, but no longer marked. */
static int protect_and_close(struct arena *a, char *memory, size_t offset,
			     size_t length)
{
	char *start = memory + offset;
	int ret;

	(void)a;
	ret = uffd_register(start, length, UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
			    UFFDIO_REGISTER_MODE_WP);
	if (!ret)
		ret = uffd_protect(start, length, true);
	close(uffd);
	return ret;
}

LOSES_NOTHING(protect_and_close, protect_and_close)

/*
 * Catches who shares its trace with another tracker, which takes it first. It
 * stays at work: later writes are resolved by the kernel.
 */
static int other_tracker(struct arena *a, char *memory, size_t offset, size_t length)
{
	char *start = memory + offset;
	struct page_region regions[WINDOW_PAGES];
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)start,
		.end = (uintptr_t)start + length,
		.vec = (uintptr_t)regions,
		.vec_len = WINDOW_PAGES,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int fd, ret;

	(void)a;
	ret = uffd_register(start, length, UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
			    UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC,
			    UFFDIO_REGISTER_MODE_WP);
	if (ret)
		return ret;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, PAGEMAP_SCAN, &scan) <= 0)
		ret = errno ? errno : ENOENT;
	close(fd);
	return ret;
}

LOSES_NOTHING(pagemap_scan, other_tracker)

/* The handler of a VMM that tracks or snapshots by write protection. */
static void *uffd_handler(void *data)
{
	struct uffd_msg msg;

	(void)data;
	while (read(uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		char *page = (char *)(uintptr_t)(msg.arg.pagefault.address &
						 ~(GUEST_PAGE - 1ULL));

		if (msg.event != UFFD_EVENT_PAGEFAULT ||
		    uffd_protect(page, GUEST_PAGE, false))
			errx(1, "userfaultfd: unexpected event %u", msg.event);
	}
	return NULL;
}

static int protect_and_handle(struct arena *a, char *memory, size_t offset,
			      size_t length)
{
	char *start = memory + offset;
	pthread_t thread;
	int ret;

	(void)a;
	if (uffd < 0) {
		ret = uffd_register(start, length,
				    UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
				    UFFD_FEATURE_WP_UNPOPULATED,
				    UFFDIO_REGISTER_MODE_WP);
		if (ret)
			return ret;
		ret = pthread_create(&thread, NULL, uffd_handler, NULL);
		if (ret)
			return ret;
		pthread_detach(thread);
	}
	return uffd_protect(start, length, true);
}

LOSES_NOTHING(protect_and_handle, protect_and_handle)

/* Catches who takes a write that waited for its handler for an old one. */
TEST_F_TIMEOUT(uffd, written_through_a_handler, 240)
{
	struct arena *a = &self->a;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, arena_event(a, protect_and_handle));
		arena_pick(a);
		arena_write(a);
		arena_sync(a);
		EXPECT_EQ(0, arena_missed(a));
		EXPECT_EQ(0, arena_settle(a));
		EXPECT_EQ(0, arena_wrong(a));
		arena_write(a);
		ASSERT_EQ(0, arena_event(a, protect_and_handle));
		arena_sync(a);
		EXPECT_EQ(0, arena_missed(a));
		EXPECT_EQ(0, arena_settle(a));
		EXPECT_EQ(0, arena_wrong(a));
	}
}

/* The window without pages, and the tracker knows. */
static int make_hole(struct arena *a, char *memory, size_t offset, size_t length)
{
	(void)a;
	return madvise(memory + offset, length, MADV_REMOVE) ? errno : 0;
}

/* As if it had been written once. */
static int put_page(char *where, uint64_t mode)
{
	static char page[GUEST_PAGE] __attribute__((aligned(GUEST_PAGE)));
	struct uffdio_copy copy = {
		.dst = (uintptr_t)where,
		.src = (uintptr_t)page,
		.len = GUEST_PAGE,
		.mode = mode,
	};

	*(uint64_t *)page = 1;
	return ioctl(uffd, UFFDIO_COPY, &copy) ? errno : 0;
}

static int put_pages(struct arena *a, char *memory, uint64_t mode)
{
	int ret = 0;
	size_t i;

	for (i = 0; i < ARENA_WRITES && !ret; i++)
		ret = put_page(memory + (size_t)a->vm.control->list[i] * GUEST_PAGE, mode);
	return ret;
}

static int put_with(struct arena *a, char *memory, size_t offset, size_t length,
		    uint64_t mode)
{
	int ret = uffd_register(memory + offset, length,
				UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
				UFFD_FEATURE_MISSING_SHMEM,
				UFFDIO_REGISTER_MODE_WP |
				UFFDIO_REGISTER_MODE_MISSING);

	return ret ? ret : put_pages(a, memory, mode);
}

/* Not before the sync: this takes the protection away, which tells of the pages. */
static int close_uffd(struct arena *a, char *memory, size_t offset, size_t length)
{
	(void)a;
	(void)memory;
	(void)offset;
	(void)length;
	return close(uffd) ? errno : 0;
}

static int put_writable(struct arena *a, char *memory, size_t offset, size_t length)
{
	return put_with(a, memory, offset, length, 0);
}

static int put_protected(struct arena *a, char *memory, size_t offset, size_t length)
{
	return put_with(a, memory, offset, length, UFFDIO_COPY_MODE_WP);
}

#define PUTS(name, event)							\
TEST_F_TIMEOUT(uffd, name, 240)							\
{										\
	struct arena *a = &self->a;						\
	size_t i;								\
										\
	ASSERT_EQ(0, arena_event(a, make_hole));				\
	arena_expect_hole(a, ARENA_WINDOW, ARENA_WINDOW_SIZE);			\
	EXPECT_EQ(0, arena_settle(a));						\
	EXPECT_EQ(0, arena_wrong(a));						\
	arena_pick(a);								\
	ASSERT_EQ(0, arena_event(a, event));					\
	for (i = 0; i < ARENA_WRITES; i++)					\
		a->expected[a->vm.control->list[i]].writes = 1;			\
	arena_sync(a);								\
	EXPECT_EQ(0, arena_missed(a));						\
	EXPECT_EQ(0, arena_settle(a));						\
	EXPECT_EQ(0, arena_wrong(a));						\
	ASSERT_EQ(0, arena_event(a, close_uffd));				\
	arena_write(a);								\
	arena_sync(a);								\
	EXPECT_EQ(0, arena_missed(a));						\
	EXPECT_EQ(0, arena_wrong(a));						\
}

/* Who waits for the first page, which is outside of the window: nobody else writes it. */
static pthread_t waiting;

static void *write_what_is_missing(void *data)
{
	struct arena_page *page = data;

	__atomic_fetch_add(&page->writes, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static int leave_a_fault(struct arena *a, char *memory, size_t offset, size_t length)
{
	struct uffd_msg msg;
	int ret;

	(void)a;
	(void)offset;
	(void)length;
	if (madvise(memory, GUEST_PAGE, MADV_REMOVE))
		return errno;
	ret = uffd_register(memory, GUEST_PAGE, UFFD_FEATURE_MISSING_SHMEM,
			    UFFDIO_REGISTER_MODE_MISSING);
	if (!ret)
		ret = pthread_create(&waiting, NULL, write_what_is_missing, memory);
	if (ret)
		return ret;
	return read(uffd, &msg, sizeof(msg)) == sizeof(msg) ? 0 : errno;
}

static int answer_the_fault(struct arena *a, char *memory, size_t offset, size_t length)
{
	int ret = put_page(memory, 0);

	(void)a;
	(void)offset;
	(void)length;
	return ret ? ret : pthread_join(waiting, NULL);
}

/* A fault that nobody answers for long holds up no sync, and is not lost. */
TEST_F_TIMEOUT(uffd, syncs_beside_a_fault_that_waits, 240)
{
	struct arena *a = &self->a;
	unsigned int i;

	ASSERT_EQ(0, arena_event(a, leave_a_fault));
	arena_expect_hole(a, 0, GUEST_PAGE);
	for (i = 0; i < 3; i++) {
		arena_pick(a);
		arena_write(a);
		arena_sync(a);
		EXPECT_EQ(0, arena_missed(a));
		EXPECT_EQ(0, arena_settle(a));
		EXPECT_EQ(0, arena_wrong(a));
	}
	ASSERT_EQ(0, arena_event(a, answer_the_fault));
	a->expected[0].writes = 2;
	arena_sync(a);
	EXPECT_EQ(0, arena_settle(a));
	EXPECT_EQ(0, arena_wrong(a));
	ASSERT_EQ(0, arena_event(a, close_uffd));
}

/* Catches who waits for a fault: there was none. */
PUTS(copied_in, put_writable)

/* Catches who goes by the write bit: content came, and it never was writable. */
PUTS(copied_in_protected, put_protected)

TEST_HARNESS_MAIN
