// SPDX-License-Identifier: GPL-2.0-or-later
/* What the kernel refuses: with which errno, and never without a word. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "migtrack.h"

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
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(0);
	/* Exiting: a zombie has no memory. */
	usleep(200000 * slow());
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
