// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Each thread has a part of the disk and a table of what its blocks hold, which is
 * in the guest's memory: wherever the guest runs, the disk has to agree with it.
 */
#include "virtio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define THREADS		4
#define BLOCK		(64UL << 10)
#define BLOCK_WORDS	(BLOCK / sizeof(uint64_t))
#define PAUSE_US	20000

struct part {
	int fd;
	uint64_t first;
	uint64_t n;
	uint32_t *generation;
	uint64_t *buffer;
};

static struct part parts[THREADS];
static atomic_bool wrong;
static atomic_ulong checked;

static uint64_t word(uint64_t block, uint64_t generation, size_t i)
{
	return ((block << 32 | generation) + i) * 0x9e3779b97f4a7c15ULL;
}

static bool failed(const char *what, uint64_t block)
{
	printf("WRONG disk block %ju: %s: %m\n", (uintmax_t)block, what);
	return false;
}

static bool block_write(struct part *part, uint64_t i)
{
	uint64_t block = part->first + i;
	size_t w;

	part->generation[i]++;
	for (w = 0; w < BLOCK_WORDS; w++)
		part->buffer[w] = word(block, part->generation[i], w);
	return pwrite(part->fd, part->buffer, BLOCK, block * BLOCK) == (ssize_t)BLOCK ||
	       failed("write", block);
}

static bool block_check(struct part *part, uint64_t i)
{
	uint64_t block = part->first + i;
	size_t w;

	/* Not what was there before, if nothing arrives. */
	for (w = 0; w < BLOCK_WORDS; w++)
		part->buffer[w] = ~0ULL;
	if (pread(part->fd, part->buffer, BLOCK, block * BLOCK) != (ssize_t)BLOCK)
		return failed("read", block);
	for (w = 0; w < BLOCK_WORDS; w++) {
		if (part->buffer[w] == word(block, part->generation[i], w))
			continue;
		printf("WRONG disk block %ju: word %zu is %#jx, not of generation %u\n",
		       (uintmax_t)block, w, (uintmax_t)part->buffer[w],
		       part->generation[i]);
		return false;
	}
	checked++;
	return true;
}

static void *use_part(void *data)
{
	struct part *part = data;
	uint64_t i;

	for (i = 0; !wrong; i++) {
		/* What was just written, and what was written a while ago. */
		if (!block_write(part, i % part->n) ||
		    !block_check(part, i % part->n) ||
		    (i >= part->n && !block_check(part, (i + part->n / 2) % part->n)))
			wrong = true;
		usleep(PAUSE_US);
	}
	return NULL;
}

static bool part_open(struct part *part, unsigned int i)
{
	uint64_t bytes;

	part->fd = open("/dev/vda", O_RDWR | O_DIRECT | O_CLOEXEC);
	if (part->fd < 0 || ioctl(part->fd, BLKGETSIZE64, &bytes))
		return false;
	part->n = bytes / BLOCK / THREADS;
	part->first = part->n * i;
	part->generation = calloc(part->n, sizeof(*part->generation));
	return part->n && part->generation &&
	       !posix_memalign((void **)&part->buffer, 4096, BLOCK);
}

bool disk_start(void)
{
	pthread_t thread;
	unsigned int i;

	for (i = 0; i < THREADS; i++) {
		if (!part_open(&parts[i], i) ||
		    pthread_create(&thread, NULL, use_part, &parts[i])) {
			printf("disk: /dev/vda: %m\n");
			return false;
		}
	}
	return true;
}

bool disk_check(void)
{
	return !wrong;
}

unsigned long disk_checked(void)
{
	return checked;
}
