// SPDX-License-Identifier: GPL-2.0-or-later
/* What the kernel refuses: with which errno, and never without a word. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "migtrack.h"
#include "raw.h"

#define MEMORY	(4UL << 20)

FIXTURE(refuse) {
	struct migtrack *mt;
	struct migtrack_source_map map;
	uint64_t id;
	int fd, mem_fd;
	char *memory;
};

FIXTURE_SETUP(refuse)
{
	ASSERT_EQ(0, migtrack_open(&self->mt));
	ASSERT_EQ(0, migtrack_session_new(self->mt, &self->id, &self->fd));
	self->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
}

FIXTURE_TEARDOWN(refuse)
{
	struct migtrack_session session;

	/* Whatever was refused, the session is whole and has no source. */
	ASSERT_EQ(0, migtrack_session_get(self->mt, self->id, &session));
	EXPECT_EQ(0, session.sources);
	close(self->fd);
	migtrack_close(self->mt);
	munmap(self->memory, MEMORY);
	close(self->mem_fd);
}

/* source-add must fail with @error and the words @text. */
#define EXPECT_REFUSED(error, text, pid, mem_fd, offset, length) do {		\
	EXPECT_EQ(-(error), migtrack_source_add_ram(self->mt, self->fd, pid,	\
						    mem_fd, offset, length,	\
						    &self->map));		\
	EXPECT_NE(NULL, strstr(migtrack_message(self->mt), text))		\
		TH_LOG("said: %s", migtrack_message(self->mt));			\
} while (0)

TEST_F_TIMEOUT(refuse, processes, 120)
{
	siginfo_t info;
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(0);
	/* Exiting: a zombie has no memory. */
	ASSERT_EQ(0, waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
	EXPECT_REFUSED(ESRCH, "exiting", pid, self->mem_fd, 0, 0);
	waitpid(pid, &status, 0);
	EXPECT_REFUSED(ESRCH, "no such process", pid, self->mem_fd, 0, 0);
	EXPECT_REFUSED(ESRCH, "kernel thread", 2, self->mem_fd, 0, 0);
	EXPECT_REFUSED(ENXIO, "does not map", 1, self->mem_fd, 0, 0);
	EXPECT_EQ(-ERANGE, migtrack_source_add_ram(self->mt, self->fd, 0, self->mem_fd,
						   0, 0, &self->map));
}

TEST_F_TIMEOUT(refuse, ranges, 120)
{
	pid_t pid = getpid();

	EXPECT_REFUSED(EINVAL, "past the end", pid, self->mem_fd, MEMORY, 0);
	EXPECT_REFUSED(EINVAL, "past the end", pid, self->mem_fd, 1ULL << 62, 0);
	EXPECT_REFUSED(EINVAL, "past the end", pid, self->mem_fd, 4096, MEMORY);
	EXPECT_REFUSED(EINVAL, "past the end", pid, self->mem_fd, 4096, -4096ULL);
	EXPECT_REFUSED(EINVAL, "multiple of the page size", pid, self->mem_fd, 1, 0);
	EXPECT_REFUSED(EINVAL, "multiple of the page size", pid, self->mem_fd, 0, 100);

	/* The part that is asked for must be mapped. */
	ASSERT_EQ(0, munmap(self->memory, MEMORY / 2));
	EXPECT_REFUSED(ENXIO, "does not map", pid, self->mem_fd, 0, MEMORY / 2);
}

TEST_F_TIMEOUT(refuse, mappings, 120)
{
	pid_t pid = getpid();

	munmap(self->memory, MEMORY);
	EXPECT_REFUSED(ENXIO, "does not map", pid, self->mem_fd, 0, 0);
	self->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			    self->mem_fd, 0);
	EXPECT_REFUSED(EINVAL, "share=on", pid, self->mem_fd, 0, 0);
}

TEST_F_TIMEOUT(refuse, read_only, 120)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->mem_fd);
	fd = open(path, O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_REFUSED(EBADF, "reading and writing", getpid(), fd, 0, 0);

	munmap(self->memory, MEMORY);
	self->memory = mmap(NULL, MEMORY, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	EXPECT_REFUSED(EINVAL, "read-only", getpid(), self->mem_fd, 0, 0);
	close(fd);
}

TEST_F_TIMEOUT(refuse, files, 120)
{
	pid_t pid = getpid();
	int fd;

	fd = open("/tmp", O_RDONLY | O_DIRECTORY);
	EXPECT_REFUSED(EINVAL, "directory", pid, fd, 0, 0);
	close(fd);
	EXPECT_REFUSED(EBADF, "not an open file", pid, fd, 0, 0);

	fd = memfd_create("empty", 0);
	EXPECT_REFUSED(EINVAL, "empty", pid, fd, 0, 0);
	close(fd);

	fd = memfd_create("huge", MFD_HUGETLB);
	ASSERT_LE(0, fd);
	EXPECT_REFUSED(EOPNOTSUPP, "huge", pid, fd, 0, 0);
	close(fd);

	fd = open("/dev/null", O_RDWR);
	EXPECT_REFUSED(EINVAL, "tmpfs", pid, fd, 0, 0);
	close(fd);
	fd = open("/etc/hostname", O_RDONLY);
	EXPECT_REFUSED(EINVAL, "tmpfs", pid, fd, 0, 0);
	close(fd);
}

TEST_F_TIMEOUT(refuse, descriptors, 120)
{
	EXPECT_EQ(-EINVAL, migtrack_sync(self->mt, self->mem_fd,
					 MIGTRACK_SYNC_KIND_SETUP));
	EXPECT_NE(NULL, strstr(migtrack_message(self->mt), "migtrack session"));
	EXPECT_EQ(-EBADF, migtrack_sync(self->mt, 1000, MIGTRACK_SYNC_KIND_SETUP));
	EXPECT_EQ(-ERANGE, migtrack_sync(self->mt, -1, MIGTRACK_SYNC_KIND_SETUP));
	EXPECT_EQ(-ERANGE, migtrack_sync(self->mt, self->fd, 0));
	EXPECT_EQ(-ERANGE, migtrack_sync(self->mt, self->fd, 99));
	EXPECT_EQ(-EINVAL, migtrack_session_del(self->mt, self->mem_fd));
	EXPECT_EQ(-EINVAL, migtrack_source_del(self->mt, self->mem_fd, 0));
	EXPECT_EQ(-ENOENT, migtrack_source_del(self->mt, self->fd, 0));
	EXPECT_EQ(-ENOENT, migtrack_source_del(self->mt, self->fd, ~0U));
}

/* An attribute that a command can't do without: EINVAL, and its number. */
#define EXPECT_MISSES(attr, cmd, flags, ...) do {				\
	const struct raw_attr attrs[] = { __VA_ARGS__ };			\
	EXPECT_EQ(-EINVAL, raw_do(&raw, cmd, flags, attrs,			\
				  sizeof(attrs) / sizeof(attrs[0])));		\
	EXPECT_EQ(attr, raw.missing);						\
} while (0)

TEST_F_TIMEOUT(refuse, what_is_missing, 120)
{
	const struct raw_attr fd = RAW_U32(MIGTRACK_A_SESSION_FD, self->fd);
	const struct raw_attr session_fd = RAW_U32(MIGTRACK_A_SOURCE_SESSION_FD, self->fd);
	const struct raw_attr session_id = RAW_UINT(MIGTRACK_A_SOURCE_SESSION_ID, self->id);
	const struct raw_attr id = RAW_U32(MIGTRACK_A_SOURCE_ID, 0);
	const struct raw_attr type = RAW_U32(MIGTRACK_A_SOURCE_TYPE,
					     MIGTRACK_SOURCE_TYPE_RAM);
	const struct raw_attr vfio = RAW_U32(MIGTRACK_A_SOURCE_TYPE,
					     MIGTRACK_SOURCE_TYPE_VFIO);
	const struct raw_attr pid = RAW_U32(MIGTRACK_A_SOURCE_PID, getpid());
	const struct raw_attr dma_map = { .type = MIGTRACK_A_SOURCE_DMA_MAP | NLA_F_NESTED };
	struct raw raw;

	raw_open(&raw);
	EXPECT_MISSES(MIGTRACK_A_SESSION_FD, MIGTRACK_CMD_SESSION_DEL, 0);
	EXPECT_MISSES(MIGTRACK_A_SESSION_ID, MIGTRACK_CMD_SESSION_GET, 0);
	EXPECT_MISSES(MIGTRACK_A_SESSION_FD, MIGTRACK_CMD_SESSION_SET, 0);
	EXPECT_MISSES(MIGTRACK_A_SESSION_FD, MIGTRACK_CMD_SYNC, 0);
	EXPECT_MISSES(MIGTRACK_A_SESSION_SYNC_KIND, MIGTRACK_CMD_SYNC, 0, fd);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_SESSION_FD, MIGTRACK_CMD_SOURCE_ADD, 0, type);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_TYPE, MIGTRACK_CMD_SOURCE_ADD, 0, session_fd);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_PID, MIGTRACK_CMD_SOURCE_ADD, 0, session_fd, type);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_MEM_FD, MIGTRACK_CMD_SOURCE_ADD, 0, session_fd,
		      type, pid);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_SESSION_FD, MIGTRACK_CMD_SOURCE_DEL, 0, id);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_ID, MIGTRACK_CMD_SOURCE_DEL, 0, session_fd);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_SESSION_ID, MIGTRACK_CMD_SOURCE_GET, 0, id);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_ID, MIGTRACK_CMD_SOURCE_GET, 0, session_id);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_SESSION_ID, MIGTRACK_CMD_SOURCE_GET, NLM_F_DUMP);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_SESSION_FD, MIGTRACK_CMD_SOURCE_REPORT, 0, id);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_ID, MIGTRACK_CMD_SOURCE_REPORT, 0, session_fd);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_DEVICE_FD, MIGTRACK_CMD_SOURCE_ADD, 0, session_fd, vfio);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_SESSION_FD, MIGTRACK_CMD_SOURCE_SET, 0, id);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_ID, MIGTRACK_CMD_SOURCE_SET, 0, session_fd);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_DATA_FD, MIGTRACK_CMD_SOURCE_SET, 0, session_fd, id);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_SESSION_FD, MIGTRACK_CMD_DMA_LOG_START, 0, id);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_ID, MIGTRACK_CMD_DMA_LOG_START, 0, session_fd);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_DMA_MAP, MIGTRACK_CMD_DMA_LOG_START, 0, session_fd, id);
	EXPECT_MISSES(MIGTRACK_A_DMA_RANGE_IOVA, MIGTRACK_CMD_DMA_LOG_START, 0, session_fd, id,
		      dma_map);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_SESSION_FD, MIGTRACK_CMD_DMA_LOG_STOP, 0, id);
	EXPECT_MISSES(MIGTRACK_A_SOURCE_ID, MIGTRACK_CMD_DMA_LOG_STOP, 0, session_fd);
	raw_close(&raw);
}

TEST_F_TIMEOUT(refuse, too_many_dma_ranges, 120)
{
	struct raw_attr attrs[2 + MIGTRACK_MAX_DMA_RANGES + 1] = {
		RAW_U32(MIGTRACK_A_SOURCE_SESSION_FD, self->fd),
		RAW_U32(MIGTRACK_A_SOURCE_ID, 0),
	};
	struct raw raw;
	size_t i;

	for (i = 2; i < sizeof(attrs) / sizeof(attrs[0]); i++)
		attrs[i].type = MIGTRACK_A_SOURCE_DMA_MAP | NLA_F_NESTED;
	raw_open(&raw);
	EXPECT_EQ(-E2BIG, raw_do(&raw, MIGTRACK_CMD_DMA_LOG_START, 0, attrs, i));
	EXPECT_STREQ("too many ranges in the dma-map", raw.message);
	/* One less is looked at. */
	EXPECT_EQ(-EINVAL, raw_do(&raw, MIGTRACK_CMD_DMA_LOG_START, 0, attrs, i - 1));
	EXPECT_EQ(MIGTRACK_A_DMA_RANGE_IOVA, raw.missing);
	raw_close(&raw);
}

/* A request with these attributes must fail with @error and the words @text. */
#define EXPECT_RAW(error, text, cmd, flags, ...) do {				\
	const struct raw_attr attrs[] = { __VA_ARGS__ };			\
	EXPECT_EQ(-(error), raw_do(&raw, cmd, flags, attrs,			\
				   sizeof(attrs) / sizeof(attrs[0])));		\
	EXPECT_NE(NULL, strstr(raw.message, text))				\
		TH_LOG("said: %s", raw.message);				\
} while (0)

/* The ABI only grows because nobody could use what was not there yet. */
TEST_F_TIMEOUT(refuse, what_is_unknown, 120)
{
	const struct raw_attr fd = RAW_U32(MIGTRACK_A_SESSION_FD, self->fd);
	const struct raw_attr id = RAW_UINT(MIGTRACK_A_SESSION_ID, self->id);
	const struct raw_attr future = RAW_U32(MIGTRACK_A_SESSION_MAX + 1, 1);
	const struct raw_attr far = RAW_U32(1000, 1);
	const struct raw_attr other = RAW_U32(MIGTRACK_A_SESSION_PHASE, 1);
	struct raw raw;

	raw_open(&raw);
	EXPECT_RAW(EINVAL, "nknown attribute", MIGTRACK_CMD_SESSION_GET, 0, id, future);
	EXPECT_RAW(EINVAL, "nknown attribute", MIGTRACK_CMD_SESSION_GET, 0, id, far);
	/* One that is known elsewhere is not known here. */
	EXPECT_RAW(EINVAL, "", MIGTRACK_CMD_SESSION_GET, 0, id, other);
	EXPECT_RAW(EINVAL, "", MIGTRACK_CMD_SESSION_DEL, 0, fd, other);
	EXPECT_RAW(EINVAL, "", MIGTRACK_CMD_SESSION_GET, NLM_F_DUMP, id);
	EXPECT_RAW(EINVAL, "", MIGTRACK_CMD_SESSION_NEW, 0, id);
	EXPECT_RAW(EOPNOTSUPP, "", MIGTRACK_CMD_MAX + 1, 0, id);
	EXPECT_RAW(EOPNOTSUPP, "", MIGTRACK_CMD_SESSION_NEW_NTF, 0);
	EXPECT_RAW(EOPNOTSUPP, "", MIGTRACK_CMD_SYNC, NLM_F_DUMP, fd);
	/* Of the wrong size. */
	EXPECT_RAW(EINVAL, "", MIGTRACK_CMD_SESSION_GET, 0,
		   { MIGTRACK_A_SESSION_ID, 3, 1, NULL });
	EXPECT_RAW(EINVAL, "", MIGTRACK_CMD_SESSION_DEL, 0,
		   { MIGTRACK_A_SESSION_FD, 8, 1, NULL });
	raw_close(&raw);
}

TEST_F_TIMEOUT(refuse, what_does_not_belong, 120)
{
	const struct raw_attr session_fd = RAW_U32(MIGTRACK_A_SOURCE_SESSION_FD, self->fd);
	const struct raw_attr ram = RAW_U32(MIGTRACK_A_SOURCE_TYPE,
					    MIGTRACK_SOURCE_TYPE_RAM);
	const struct raw_attr reported = RAW_U32(MIGTRACK_A_SOURCE_TYPE,
						 MIGTRACK_SOURCE_TYPE_REPORTED);
	const struct raw_attr vfio = RAW_U32(MIGTRACK_A_SOURCE_TYPE,
					     MIGTRACK_SOURCE_TYPE_VFIO);
	const struct raw_attr device_fd = RAW_U32(MIGTRACK_A_SOURCE_DEVICE_FD, self->mem_fd);
	const char *long_name = "A name of 64 characters, which is one more than there is room fo";
	const struct raw_attr pid = RAW_U32(MIGTRACK_A_SOURCE_PID, getpid());
	const struct raw_attr mem_fd = RAW_U32(MIGTRACK_A_SOURCE_MEM_FD, self->mem_fd);
	const struct raw_attr no_length = RAW_UINT(MIGTRACK_A_SOURCE_LENGTH, 0);
	const struct raw_attr max_age = RAW_UINT(MIGTRACK_A_SOURCE_MAX_AGE, 1);
	const struct raw_attr offset = RAW_UINT(MIGTRACK_A_SOURCE_OFFSET, 0);
	struct raw_attr id = RAW_U32(MIGTRACK_A_SOURCE_ID, 0);
	struct raw raw;

	raw_open(&raw);
	EXPECT_RAW(EINVAL, "length is 0", MIGTRACK_CMD_SOURCE_ADD, 0, session_fd, ram,
		   pid, mem_fd, no_length);
	EXPECT_RAW(EINVAL, "only a reported source has a max-age",
		   MIGTRACK_CMD_SOURCE_ADD, 0, session_fd, ram, pid, mem_fd, max_age);
	EXPECT_RAW(EINVAL, "no process and no memory", MIGTRACK_CMD_SOURCE_ADD, 0,
		   session_fd, reported, pid);
	EXPECT_RAW(EINVAL, "no process and no memory", MIGTRACK_CMD_SOURCE_ADD, 0,
		   session_fd, reported, mem_fd);
	EXPECT_RAW(EINVAL, "no process and no memory", MIGTRACK_CMD_SOURCE_ADD, 0,
		   session_fd, reported, offset);
	EXPECT_RAW(EINVAL, "no process and no memory", MIGTRACK_CMD_SOURCE_ADD, 0,
		   session_fd, reported, no_length);
	EXPECT_RAW(EINVAL, "no process and no memory, and is no device",
		   MIGTRACK_CMD_SOURCE_ADD, 0, session_fd, reported, device_fd);
	EXPECT_RAW(ERANGE, "", MIGTRACK_CMD_SOURCE_ADD, 0, session_fd, reported,
		   RAW_UINT(MIGTRACK_A_SOURCE_MAX_AGE, 0));
	EXPECT_RAW(EINVAL, "only a VFIO device has a device-fd", MIGTRACK_CMD_SOURCE_ADD,
		   0, session_fd, ram, pid, mem_fd, device_fd);
	EXPECT_RAW(EINVAL, "no pid, no memory and no max-age", MIGTRACK_CMD_SOURCE_ADD, 0,
		   session_fd, vfio, device_fd, pid);
	EXPECT_RAW(EINVAL, "no pid, no memory and no max-age", MIGTRACK_CMD_SOURCE_ADD, 0,
		   session_fd, vfio, device_fd, max_age);
	EXPECT_RAW(ERANGE, "", MIGTRACK_CMD_SOURCE_ADD, 0, session_fd, vfio,
		   RAW_U32(MIGTRACK_A_SOURCE_DEVICE_FD, -1));
	EXPECT_RAW(EINVAL, "", MIGTRACK_CMD_SOURCE_ADD, 0, session_fd, vfio, device_fd,
		   { MIGTRACK_A_SOURCE_NAME, 0, 0, long_name });
	EXPECT_RAW(ERANGE, "", MIGTRACK_CMD_SOURCE_ADD, 0, session_fd,
		   RAW_U32(MIGTRACK_A_SOURCE_TYPE, MIGTRACK_SOURCE_TYPE_VFIO + 1));

	ASSERT_EQ(0, migtrack_source_add_reported(self->mt, self->fd, 0, &self->map.id));
	id.value = self->map.id;
	EXPECT_RAW(EINVAL, "a report needs precopy, postcopy or stopcopy",
		   MIGTRACK_CMD_SOURCE_REPORT, 0, session_fd, id);
	EXPECT_RAW(EINVAL, "a report needs precopy, postcopy or stopcopy",
		   MIGTRACK_CMD_SOURCE_REPORT, 0, session_fd, id,
		   RAW_U32(MIGTRACK_A_SOURCE_FLAGS, MIGTRACK_COUNTER_FLAGS_EXACT));
	ASSERT_EQ(0, migtrack_source_del(self->mt, self->fd, self->map.id));
	raw_close(&raw);
}

TEST_F_TIMEOUT(refuse, sessions_of_nobody, 120)
{
	const struct raw_attr nobody = RAW_UINT(MIGTRACK_A_SOURCE_SESSION_ID, ~0ULL);
	const struct raw_attr id = RAW_U32(MIGTRACK_A_SOURCE_ID, 0);
	struct raw raw;

	raw_open(&raw);
	EXPECT_RAW(ENOENT, "no such session in this network namespace",
		   MIGTRACK_CMD_SOURCE_GET, 0, nobody, id);
	EXPECT_RAW(ENOENT, "no such session in this network namespace",
		   MIGTRACK_CMD_SOURCE_GET, NLM_F_DUMP, nobody);
	EXPECT_RAW(ENOENT, "no such session in this network namespace",
		   MIGTRACK_CMD_SESSION_GET, 0, RAW_UINT(MIGTRACK_A_SESSION_ID, ~0ULL));
	EXPECT_RAW(ENOENT, "no such source in this session", MIGTRACK_CMD_SOURCE_GET, 0,
		   RAW_UINT(MIGTRACK_A_SOURCE_SESSION_ID, self->id), id);
	raw_close(&raw);
}

/* No process may have so many files, and one more is not left half made. */
TEST_F_TIMEOUT(refuse, no_descriptor_left, 120)
{
	struct rlimit limit, low;
	uint64_t id;
	int fd;

	fd = dup(0);
	close(fd);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	low = limit;
	low.rlim_cur = fd;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &low));
	EXPECT_EQ(-EMFILE, migtrack_session_new(self->mt, &id, &fd));
	EXPECT_NE(NULL, strstr(migtrack_message(self->mt), "no descriptor left"));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	ASSERT_EQ(0, migtrack_session_new(self->mt, &id, &fd));
	close(fd);
}

/* A file that grew: whoever tracks it has bitmaps for what it was. */
TEST_F_TIMEOUT(refuse, a_file_that_grew, 120)
{
	struct migtrack_source_map map;

	ASSERT_EQ(0, migtrack_source_add_ram(self->mt, self->fd, getpid(), self->mem_fd,
					     0, 0, &map));
	ASSERT_EQ(0, ftruncate(self->mem_fd, 2 * MEMORY));
	EXPECT_REFUSED(EFBIG, "others track that file since before it grew", getpid(),
		       self->mem_fd, 0, 0);
	ASSERT_EQ(0, migtrack_source_del(self->mt, self->fd, map.id));
}

/* A sparse file can have any size: no size brings the host down. */
TEST_F_TIMEOUT(refuse, absurd_sizes, 120)
{
	int fd = memfd_create("sparse", MFD_CLOEXEC);
	void *p;

	ASSERT_EQ(0, ftruncate(fd, 1ULL << 52));
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_REFUSED(EFBIG, "too large for this machine's memory", getpid(), fd, 0, 0);
	EXPECT_REFUSED(EFBIG, "too large for this machine's memory", getpid(), fd, 0, 4096);
	munmap(p, 4096);
	close(fd);
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	ret = fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

#define CGROUP	"/sys/fs/cgroup/migtrack-refuse"

/* Bitmaps are on the caller's account; without room there it is told, not killed. */
TEST_F_TIMEOUT(refuse, a_full_account, 120)
{
	int fd = memfd_create("sparse", MFD_CLOEXEC), status;
	int tracked = memfd_create("tracked", MFD_CLOEXEC);
	struct migtrack_source_map map;
	void *p, *q;
	pid_t pid;

	ASSERT_EQ(0, write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory"));
	mkdir(CGROUP, 0755);
	ASSERT_EQ(0, write_text(CGROUP "/memory.max", "16M"));

	/* Bitmaps of 16 MiB each. */
	ASSERT_EQ(0, ftruncate(fd, 1ULL << 39));
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	/* Of this one the tracker's bitmaps are there, on this account. */
	ASSERT_EQ(0, ftruncate(tracked, 1ULL << 39));
	q = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, tracked, 0);
	ASSERT_NE(MAP_FAILED, q);
	ASSERT_EQ(0, migtrack_source_add_ram(self->mt, self->fd, getpid(), tracked, 0, 4096,
					     &map));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (write_text(CGROUP "/cgroup.procs", "0"))
			_exit(100);
		EXPECT_REFUSED(ENOMEM, "no memory for the tracker's bitmaps", getppid(),
			       fd, 0, 4096);
		EXPECT_REFUSED(ENOMEM, "no memory for the bitmap", getppid(), tracked, 0, 0);
		_exit(_metadata->exit_code);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, rmdir(CGROUP));
	ASSERT_EQ(0, migtrack_source_del(self->mt, self->fd, map.id));
	munmap(q, 4096);
	munmap(p, 4096);
	close(tracked);
	close(fd);
}

static void drop_capability(int capability)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	syscall(SYS_capget, &header, data);
	data[capability / 32].effective &= ~(1U << capability % 32);
	syscall(SYS_capset, &header, data);
}

/* CAP_NET_ADMIN alone does not open other processes' memory. */
TEST_F_TIMEOUT(refuse, without_ptrace, 120)
{
	drop_capability(CAP_SYS_PTRACE);
	EXPECT_REFUSED(EPERM, "CAP_SYS_PTRACE", getpid(), self->mem_fd, 0, 0);
}

TEST_F_TIMEOUT(refuse, without_net_admin, 120)
{
	struct migtrack_session session;
	uint64_t id;
	int fd;

	drop_capability(CAP_NET_ADMIN);
	EXPECT_EQ(-EPERM, migtrack_session_new(self->mt, &id, &fd));
	EXPECT_EQ(-EPERM, migtrack_session_del(self->mt, self->fd));
	EXPECT_EQ(-EPERM, migtrack_sync(self->mt, self->fd, MIGTRACK_SYNC_KIND_SETUP));
	/* Reading needs no privilege. */
	EXPECT_EQ(0, migtrack_session_get(self->mt, self->id, &session));
}

TEST_HARNESS_MAIN
