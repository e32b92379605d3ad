// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loaded into migctl (LD_PRELOAD): a storage that hangs as long as the file HANG_WHILE is
 * there. The first that has to wait makes HANG_WHILE.met.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void mark(const char *path)
{
	char name[256];
	int fd;

	snprintf(name, sizeof(name), "%s.met", path);
	fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	const char *path = getenv("HANG_WHILE");

	while (path && !access(path, F_OK)) {
		mark(path);
		usleep(10000);
	}
	return syscall(SYS_pwrite64, fd, data, size, at);
}
