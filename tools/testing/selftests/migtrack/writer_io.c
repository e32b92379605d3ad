// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Direct I/O: pages are looked up, a sync may come, and then the data lands in
 * them. Each read is of the sector of a page that is the writer's slot.
 */

#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lateblk.h"
#include "oracle.h"
#include "uring.h"
#include "writer.h"

#define MAX_DELAY_US	30000		/* longer than a few syncs */
#define READERS		16		/* threads, each with one read at a time */
#define URING_READS	32
#define READ_FIRST	16		/* one in so many: fault-around maps others, too */
#define SECTORS		(GUEST_PAGE / STAMP_SECTOR)

struct io_writer {
	struct lateblk blk;
	pthread_t readers[READERS];
};

/* The stamp is made when the data is sent. */
static void io_fill(void *private, uint64_t sector, void *data)
{
	struct writer *w = private;
	uint64_t page = sector / SECTORS, stamp, *place;

	memset(data, 0, STAMP_SECTOR);
	place = (void *)((char *)data + STAMP_OFFSET);
	stamp = stamp_make(w->control->iteration, ++w->stampers[0]->count);
	w->last[0][page] = stamp;
	*place = stamp;
}

static struct io_writer *io_open(struct writer *w)
{
	struct io_writer *io = calloc(1, sizeof(*io));

	io->blk.max_delay_us = MAX_DELAY_US;
	io->blk.fill = io_fill;
	io->blk.private = w;
	w->private = io;
	lateblk_open(&io->blk, w->oracle->size);
	return io;
}

static int io_open_device(void)
{
	int fd = open(LATEBLK_PATH, O_RDONLY | O_DIRECT);

	if (fd < 0)
		err(1, LATEBLK_PATH);
	return fd;
}

/* A page for which nothing is to come yet. */
static uint64_t io_claim(struct writer *w, uint64_t *random, size_t npages)
{
	uint64_t page;

	do {
		page = stamp_random_page(random, npages);
	} while (!writer_claim(w, page));
	return page;
}

/* Nothing of this process maps the page, and then a read does, which may not write. */
static void io_only_read(struct writer *w, uint64_t page)
{
	char *at = w->memory + page * GUEST_PAGE;

	if (madvise(at, GUEST_PAGE, MADV_DONTNEED))
		err(1, "MADV_DONTNEED");
	(void)*(volatile char *)at;
}

static void *io_reader(void *data)
{
	struct writer *w = data;
	bool reads_first = w->ops == &writer_direct_process;
	uint64_t random = (uintptr_t)&random | 1;
	uint64_t page, place;
	int fd = io_open_device();

	while (!w->control->stop) {
		page = io_claim(w, &random, w->oracle->npages);
		place = page * GUEST_PAGE + w->slot * STAMP_SECTOR;
		if (reads_first && !(page % READ_FIRST))
			io_only_read(w, page);
		if (pread(fd, w->memory + place, STAMP_SECTOR, place) != STAMP_SECTOR)
			err(1, "O_DIRECT from %s", LATEBLK_PATH);
		writer_landed(w, page);
	}
	close(fd);
	return NULL;
}

static void io_readers_start(struct writer *w)
{
	struct io_writer *io = w->private;
	unsigned int i;

	for (i = 0; i < READERS; i++)
		if (pthread_create(&io->readers[i], NULL, io_reader, w))
			errx(1, "pthread_create");
}

static void io_readers_stop(struct writer *w)
{
	struct io_writer *io = w->private;
	unsigned int i;

	for (i = 0; i < READERS; i++)
		pthread_join(io->readers[i], NULL);
}

static void direct_start(struct writer *w)
{
	io_open(w);
	io_readers_start(w);
}

static void direct_stop(struct writer *w)
{
	struct io_writer *io = w->private;

	io_readers_stop(w);
	lateblk_close(&io->blk);
}

const struct writer_ops writer_direct = {
	.name	= "O_DIRECT",
	.slots	= 1,
	.late	= true,
	.pins	= true,
	.start	= direct_start,
	.stop	= direct_stop,
};

/* ---- by a second process, which only reads the pages before, again and again ---- */

static void direct_process_main(struct writer *w)
{
	volatile uint64_t sum = 0;
	size_t page;

	writer_map(w);
	for (page = 0; page < w->oracle->npages; page++)
		sum += w->memory[page * GUEST_PAGE];
	io_readers_start(w);
	io_readers_stop(w);
}

static void direct_process_start(struct writer *w)
{
	io_open(w);
	writer_start_process(w, direct_process_main);
}

static void direct_process_stop(struct writer *w)
{
	struct io_writer *io = w->private;

	writer_stop_process(w);
	lateblk_close(&io->blk);
}

const struct writer_ops writer_direct_process = {
	.name	= "O_DIRECT by a second process that reads first",
	.slots	= 1,
	.late	= true,
	.pins	= true,
	.start	= direct_process_start,
	.stop	= direct_process_stop,
};

/* ---- io_uring ---- */

static void uring_run_reads(struct writer *w, bool fixed)
{
	size_t npages = fixed ? w->oracle->npages / 8 : w->oracle->npages;
	uint64_t random = 0x9e3779b97f4a7c15ULL;
	unsigned int under_way = 0;
	struct uring ring;
	uint64_t page, place;
	int fd = io_open_device();

	uring_open(&ring, URING_READS);
	if (fixed) {
		uring_register_buffer(&ring, w->memory, npages * GUEST_PAGE);
		/* Nothing maps them any more; they are pinned all the same. */
		if (madvise(w->memory, npages * GUEST_PAGE, MADV_DONTNEED))
			err(1, "MADV_DONTNEED");
		w->stampers[0]->seen = 1;
	}
	while (!w->control->stop || under_way) {
		for (; !w->control->stop && under_way < URING_READS; under_way++) {
			page = io_claim(w, &random, npages);
			place = page * GUEST_PAGE + w->slot * STAMP_SECTOR;
			uring_read(&ring, fixed, fd, w->memory + place, STAMP_SECTOR,
				   place, page);
		}
		if (under_way) {
			writer_landed(w, uring_wait(&ring, STAMP_SECTOR));
			under_way--;
		}
	}
	close(fd);
	close(ring.fd);
}

static void uring_run(struct writer *w, unsigned int i)
{
	(void)i;
	uring_run_reads(w, false);
}

static void uring_start(struct writer *w)
{
	io_open(w);
	writer_start_threads(w);
}

static void uring_stop(struct writer *w)
{
	struct io_writer *io = w->private;

	writer_stop_threads(w);
	lateblk_close(&io->blk);
}

const struct writer_ops writer_uring = {
	.name	= "io_uring",
	.slots	= 1,
	.late	= true,
	.pins	= true,
	.start	= uring_start,
	.stop	= uring_stop,
	.run	= uring_run,
};

static void uring_fixed_run(struct writer *w, unsigned int i)
{
	(void)i;
	uring_run_reads(w, true);
}

/* They are registered, and then unmapped, before the tracking starts. */
static void uring_fixed_start(struct writer *w)
{
	uring_start(w);
	while (!w->stampers[0]->seen)
		usleep(1000);
}

const struct writer_ops writer_uring_fixed = {
	.name	= "io_uring with registered buffers",
	.slots	= 1,
	.late	= true,
	.pins	= true,
	.start	= uring_fixed_start,
	.stop	= uring_stop,
	.run	= uring_fixed_run,
};
