// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uffd/uffd.h"

static const struct feature {
	uint64_t bit;
	const char *name;
	const char *since;
} features[] = {
	{ UFFD_FEATURE_PAGEFAULT_FLAG_WP, "write-protect faults",
	  "Linux 5.7 with CONFIG_HAVE_ARCH_USERFAULTFD_WP" },
	{ UFFD_FEATURE_EVENT_FORK, "fork events", "Linux 4.11" },
	{ UFFD_FEATURE_EVENT_REMAP, "remap events", "Linux 4.11" },
	{ UFFD_FEATURE_EVENT_REMOVE, "remove events", "Linux 4.11" },
	{ UFFD_FEATURE_EVENT_UNMAP, "unmap events", "Linux 4.11" },
	{ UFFD_FEATURE_MISSING_HUGETLBFS, "missing faults in hugetlbfs", "Linux 4.11" },
	{ UFFD_FEATURE_MISSING_SHMEM, "missing faults in tmpfs", "Linux 4.11" },
	{ UFFD_FEATURE_THREAD_ID, "the thread of a fault", "Linux 4.14" },
	{ UFFD_FEATURE_MINOR_HUGETLBFS, "minor faults in hugetlbfs",
	  "Linux 5.13 with CONFIG_HAVE_ARCH_USERFAULTFD_MINOR" },
	{ UFFD_FEATURE_MINOR_SHMEM, "minor faults in tmpfs",
	  "Linux 5.14 with CONFIG_HAVE_ARCH_USERFAULTFD_MINOR" },
	{ UFFD_FEATURE_WP_HUGETLBFS_SHMEM, "write-protect faults in tmpfs and hugetlbfs",
	  "Linux 5.19 with CONFIG_PTE_MARKER_UFFD_WP" },
	{ UFFD_FEATURE_WP_UNPOPULATED, "write-protect faults where there is no page",
	  "Linux 6.4" },
	{ UFFD_FEATURE_POISON, "poisoned pages", "Linux 6.6" },
};

/**
 * uffd_features_explain() - name what a kernel does not have
 * @missing: UFFD_FEATURE_*, at least one
 * @err: filled
 *
 * Return: -1.
 */
int uffd_features_explain(uint64_t missing, struct error *err)
{
	size_t i;

	for (i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		if (!(missing & features[i].bit))
			continue;
		error_set(err, EXIT_UNUSABLE, "this kernel's userfaultfd has no %s",
			  features[i].name);
		return error_advise(err, "it needs %s", features[i].since);
	}
	return error_set(err, EXIT_UNUSABLE,
			 "this kernel's userfaultfd lacks the features 0x%llx",
			 (unsigned long long)missing);
}

/**
 * uffd_open_explain() - why no userfaultfd could be made
 * @syscall_errno: what userfaultfd(2) said
 * @device_errno: what /dev/userfaultfd said
 * @err: filled, with the remedy
 *
 * Return: -1.
 */
int uffd_open_explain(int syscall_errno, int device_errno, struct error *err)
{
	if (syscall_errno == ENOSYS) {
		error_set(err, EXIT_UNUSABLE, "this kernel has no userfaultfd");
		return error_advise(err, "use one that is built with CONFIG_USERFAULTFD; in a container, see whether its seccomp filter allows the call");
	}
	if (syscall_errno != EPERM && syscall_errno != EACCES)
		return error_set(err, EXIT_FAILED, "userfaultfd: %s",
				 strerror(syscall_errno));
	error_set(err, EXIT_PERMISSION,
		  "no userfaultfd that sees the kernel's own faults: %s; /dev/userfaultfd: %s",
		  strerror(syscall_errno), strerror(device_errno));
	if (device_errno == EACCES || device_errno == EPERM)
		return error_advise(err, "run it with CAP_SYS_PTRACE, or allow this user to open /dev/userfaultfd, or set vm.unprivileged_userfaultfd=1");
	return error_advise(err, "run it with CAP_SYS_PTRACE, or set vm.unprivileged_userfaultfd=1 (sysctl)");
}

static int device_open(void)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd;

	if (device < 0)
		return -1;
	fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	close(device);
	return fd;
}

static int raw_open(int *fd, struct error *err)
{
	int error;

	*fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (*fd >= 0)
		return 0;
	error = errno;
	*fd = device_open();
	return *fd >= 0 ? 0 : uffd_open_explain(error, errno, err);
}

/* With features that it has not, the kernel refuses the handshake without a word. */
static int features_ask(uint64_t *has, struct error *err)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd, ret = 0;

	if (raw_open(&fd, err))
		return -1;
	if (ioctl(fd, UFFDIO_API, &api))
		ret = error_set(err, EXIT_FAILED, "userfaultfd's handshake: %s",
				strerror(errno));
	*has = api.features;
	close(fd);
	return ret;
}

/**
 * uffd_open() - make a userfaultfd, for memory of this process
 * @wanted: UFFD_FEATURE_* that it needs
 * @fd: it, does not block; -1 after a failure
 * @err: what is missing, and the remedy
 *
 * Return: 0 or -1.
 */
int uffd_open(uint64_t wanted, int *fd, struct error *err)
{
	struct uffdio_api api = { .api = UFFD_API, .features = wanted };
	uint64_t has;

	*fd = -1;
	if (features_ask(&has, err))
		return -1;
	if (wanted & ~has)
		return uffd_features_explain(wanted & ~has, err);
	if (raw_open(fd, err))
		return -1;
	if (!ioctl(*fd, UFFDIO_API, &api))
		return 0;
	error_set(err, EXIT_FAILED, "userfaultfd's handshake: %s", strerror(errno));
	if (errno == EPERM)
		error_advise(err, "fork events need CAP_SYS_PTRACE");
	close(*fd);
	*fd = -1;
	return -1;
}

/**
 * uffd_adopt() - see that a descriptor is a userfaultfd, and make it not block
 * @fd: that somebody sent
 * @err: why it is refused
 *
 * Its owner has done the handshake and registered its memory.
 *
 * Return: 0 or -1.
 */
int uffd_adopt(int fd, struct error *err)
{
	char link[64], target[64];
	ssize_t length;
	int flags;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, target, sizeof(target) - 1);
	if (length < 0)
		return error_set(err, EXIT_FAILED, "%s: %s", link, strerror(errno));
	target[length] = '\0';
	if (strcmp(target, "anon_inode:[userfaultfd]"))
		return error_set(err, EXIT_PEER, "the VMM sent a descriptor that is no userfaultfd");
	/* Poll has nothing to say of one that blocks. */
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return error_set(err, EXIT_FAILED, "userfaultfd: %s", strerror(errno));
	return 0;
}
