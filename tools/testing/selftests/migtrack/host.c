// SPDX-License-Identifier: GPL-2.0-or-later

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#include "host.h"

#define PAGE		4096
#define ZRAM		"/dev/zram0"
#define ZRAM_SYS	"/sys/block/zram0/"

/**
 * host_try_write() - write to a file of /proc or /sys
 * @path: the file
 * @text: what
 *
 * Return: 0 or a negative errno.
 */
int host_try_write(const char *path, const char *text)
{
	int ret, fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/**
 * host_write() - the same, and it must not fail
 * @path: the file
 * @text: what
 */
void host_write(const char *path, const char *text)
{
	errno = -host_try_write(path, text);
	if (errno)
		err(1, "writing %s to %s", text, path);
}

/**
 * host_write_number() - the same with a number
 * @path: the file
 * @number: what
 */
void host_write_number(const char *path, long number)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", number);
	host_write(path, text);
}

/**
 * host_read() - the first line of a file
 * @path: the file
 * @line: where to put it, without its end
 * @size: room there
 *
 * Return: @line.
 */
char *host_read(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "re");

	if (!f || !fgets(line, size, f))
		err(1, "reading %s", path);
	line[strcspn(line, "\n")] = 0;
	fclose(f);
	return line;
}

/**
 * host_number() - a number from a file such as /proc/vmstat
 * @path: the file
 * @key: what its line starts with, up to the number
 *
 * Return: the number, or -1.
 */
long host_number(const char *path, const char *key)
{
	char line[256];
	FILE *f = fopen(path, "re");
	long n = -1;

	while (f && n < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			sscanf(line + strlen(key) +
			       strspn(line + strlen(key), " \t:"), "%ld", &n);
	if (f)
		fclose(f);
	return n;
}

/**
 * host_resident() - how much of a mapping is in memory
 * @memory: the mapping
 * @length: of it
 *
 * Return: pages.
 */
size_t host_resident(const void *memory, size_t length)
{
	size_t i, n = 0, npages = length / PAGE;
	unsigned char *in = malloc(npages);

	if (!in || mincore((void *)memory, length, in))
		err(1, "mincore");
	for (i = 0; i < npages; i++)
		n += in[i] & 1;
	free(in);
	return n;
}

/* As mkswap does. */
static void swap_format(size_t size)
{
	struct {
		char boot[1024];
		unsigned int version, last_page, bad_pages;
		char rest[PAGE - 1024 - 12 - 10];
		char magic[10];
	} header = {
		.version = 1,
		.last_page = size / PAGE - 1,
	};
	int fd = open(ZRAM, O_WRONLY | O_CLOEXEC);

	memcpy(header.magic, "SWAPSPACE2", sizeof(header.magic));
	if (fd < 0 || write(fd, &header, sizeof(header)) != sizeof(header) ||
	    fsync(fd))
		err(1, ZRAM);
	close(fd);
}

/**
 * host_swap_on() - swap to compressed memory
 * @size: bytes
 */
void host_swap_on(size_t size)
{
	if (host_number("/proc/meminfo", "SwapTotal:") > 0)
		return;
	if (access(ZRAM, F_OK) && system("modprobe zram num_devices=1"))
		errx(1, "modprobe zram");
	host_write_number(ZRAM_SYS "disksize", size);
	swap_format(size);
	if (swapon(ZRAM, 0))
		err(1, "swapon " ZRAM);
}

/**
 * host_swap_off() - what is swapped out comes back, and there is no swap
 */
void host_swap_off(void)
{
	if (swapoff(ZRAM))
		err(1, "swapoff " ZRAM);
	host_write(ZRAM_SYS "reset", "1");
}

/**
 * host_group_enter() - put this process into a control group of its own
 */
void host_group_enter(void)
{
	host_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if (mkdir(HOST_GROUP, 0755) && errno != EEXIST)
		err(1, HOST_GROUP);
	host_write(HOST_GROUP "/cgroup.procs", "0");
}

/**
 * host_group_leave() - back to the first group; the other one goes
 */
void host_group_leave(void)
{
	host_write("/sys/fs/cgroup/cgroup.procs", "0");
	if (rmdir(HOST_GROUP))
		err(1, HOST_GROUP);
}
