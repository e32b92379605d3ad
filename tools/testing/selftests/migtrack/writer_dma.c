// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A device as a writer, by DMA. Its memory is another one than the oracle's, of the
 * same size, which the session is told to be the oracle's: so nothing but the
 * device's log can know what it wrote.
 */

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "oracle.h"
#include "vmm_device.h"
#include "writer_dma.h"

#define IOVA	0x40000000UL
#define RATE	20000
#define BYTES	128

/**
 * struct dma - the private part of the writer
 * @dev: the device
 * @memory: that it writes to
 * @copy: what a mover would have sent
 * @written: writes that were made before the sync; they have numbers
 * @before: and before the one before it
 * @syncs: so far
 * @read: the device told of them in time, for the last sync
 * @excess: pages that were reported and not written
 * @id: its source
 */
struct dma {
	struct vmm_device dev;
	uint64_t *memory, *copy;
	uint64_t written, before;
	size_t syncs, excess;
	bool read;
	uint32_t id;
};

static void *dma_map(size_t size)
{
	void *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (addr == MAP_FAILED)
		err(1, "mmap");
	return addr;
}

static void must(bool good, const char *what)
{
	if (!good)
		errx(1, "the device as a writer: %s", what);
}

static void dma_start(struct writer *w)
{
	struct dma *dma = calloc(1, sizeof(*dma));
	const struct testdev *dev = &dma->dev.testdev;

	w->private = dma;
	dma->memory = dma_map(w->oracle->size);
	dma->copy = dma_map(w->oracle->size);
	vmm_device_open(&dma->dev, "full");
	must(!vfio_map(dev, dma->memory, IOVA, w->oracle->size), "its memory");
	must(reg_write64(dev, TESTDEV_REG_DMA_IOVA, IOVA) == 8 &&
	     reg_write64(dev, TESTDEV_REG_DMA_LENGTH, w->oracle->size) == 8 &&
	     reg_write(dev, TESTDEV_REG_DMA_RATE, RATE) == 4 &&
	     reg_write(dev, TESTDEV_REG_DMA_BYTES, BYTES) == 4 &&
	     vfio_bus_master(dev, true) == 2 &&
	     reg_write(dev, TESTDEV_REG_DMA_CONTROL,
		       TESTDEV_DMA_ENABLE | TESTDEV_DMA_RANDOM) == 4, "its registers");
}

static void dma_count(struct writer *w)
{
	struct dma *dma = w->private;

	dma->before = dma->written;
	dma->written = reg_read64(&dma->dev.testdev, TESTDEV_REG_DMA_WRITTEN);
}

static void dma_add(struct writer *w)
{
	struct harvest *h = &w->oracle->harvest;
	struct dma *dma = w->private;
	struct migtrack_dma_range range = {
		.iova = IOVA,
		.length = w->oracle->size,
		.source_id = h->map.id,
	};

	if (vmm_device_track(h->mt, h->fd, &dma->dev, "writer", &dma->id) ||
	    migtrack_dma_log_start(h->mt, h->fd, dma->id, &range, 1))
		errx(1, "the device's log: %s", migtrack_message(h->mt));
	while (writer_dma_source(w).dma_log == MIGTRACK_DMA_LOG_STARTING)
		usleep(1000);
}

/* Before the setup the session is made, and nothing was asked for. */
static void dma_next(struct writer *w)
{
	struct dma *dma = w->private;

	if (!dma->id)
		dma_add(w);
	dma_count(w);
}

/* What was written while the last sync ran may be reported by this one, too. */
static bool dma_is_excess(const struct dma *dma, uint64_t now, uint64_t copy)
{
	return dma->syncs > 1 && now == copy && now <= dma->before;
}

/* A page that was not taken has what was copied last, or what was written since. */
static size_t dma_check(struct writer *w)
{
	struct oracle *o = w->oracle;
	struct dma *dma = w->private;
	bool read = writer_dma_source(w).dma_log == MIGTRACK_DMA_LOG_ON;
	/* What is told too late for one sync is found by the next. */
	bool exact = read && dma->read, taken;
	size_t page, missed = 0;

	dma->syncs++;
	dma->read = read;

	for (page = 0; page < o->npages; page++) {
		uint64_t *now = dma->memory + page * GUEST_PAGE / sizeof(*now);
		uint64_t *copy = dma->copy + page * GUEST_PAGE / sizeof(*copy);
		uint64_t number = __atomic_load_n(now, __ATOMIC_SEQ_CST);

		taken = harvest_took(&o->harvest, page);
		dma->excess += taken && exact && dma_is_excess(dma, number, *copy);
		if (o->drop && taken && !(rand() % o->drop))
			taken = false;
		if (taken)
			memcpy(copy, now, GUEST_PAGE);
		else
			missed += number != *copy && number <= dma->written;
		/* In the end all is at rest. */
		if (o->iteration == ~0ULL)
			missed += memcmp(copy, now, GUEST_PAGE) != 0;
	}
	return missed;
}

static void dma_stop(struct writer *w)
{
	struct dma *dma = w->private;

	must(reg_write(&dma->dev.testdev, TESTDEV_REG_DMA_CONTROL, 0) == 4, "its registers");
	dma_count(w);
	must(dma->written, "it wrote nothing");
}

/**
 * writer_dma_source() - what the kernel says of the device
 * @w: the writer, in an oracle that was opened
 */
struct migtrack_source writer_dma_source(const struct writer *w)
{
	const struct harvest *h = &w->oracle->harvest;
	const struct dma *dma = w->private;
	struct migtrack_source source;

	if (migtrack_source_get(h->mt, h->id, dma->id, &source))
		errx(1, "source-get: %s", migtrack_message(h->mt));
	return source;
}

/**
 * writer_dma_excess() - how many pages were reported that it did not write
 * @w: the writer, the only one
 */
size_t writer_dma_excess(const struct writer *w)
{
	const struct dma *dma = w->private;

	return dma->excess;
}

/**
 * writer_dma_destroy() - take the device away
 * @w: the writer, stopped
 */
void writer_dma_destroy(struct writer *w)
{
	struct dma *dma = w->private;

	vmm_device_close(&dma->dev);
	vmm_device_remove(&dma->dev);
	munmap(dma->memory, w->oracle->size);
	munmap(dma->copy, w->oracle->size);
	free(dma);
}

const struct writer_ops writer_dma = {
	.name = "device",
	.pins = true,
	.start = dma_start,
	.stop = dma_stop,
	.next = dma_next,
	.check = dma_check,
};
