// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The VFIO test device as a writer: what it writes arrives, whole and nowhere
 * else, while its migration state allows it, and both dirty logs know of it.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "vfio_host.h"

#define PAGE		4096UL
#define PAGES		256UL
#define MEMORY		(PAGES * PAGE)
#define IOVA		0x40000000UL
/* What it may write to: with room on both sides. */
#define FIRST		32UL
#define TARGETS		100UL
#define WRITES		300
#define WORDS		(PAGES / 64)

FIXTURE(dma) {
	struct testdev dev;
	uint64_t *memory;
};

FIXTURE_VARIANT(dma) {
	uint32_t control;
};

FIXTURE_VARIANT_ADD(dma, rw) {
	.control = TESTDEV_DMA_ENABLE,
};

FIXTURE_VARIANT_ADD(dma, rw_random) {
	.control = TESTDEV_DMA_ENABLE | TESTDEV_DMA_RANDOM,
};

FIXTURE_VARIANT_ADD(dma, pinned) {
	.control = TESTDEV_DMA_ENABLE | TESTDEV_DMA_PIN,
};

FIXTURE_VARIANT_ADD(dma, pinned_random) {
	.control = TESTDEV_DMA_ENABLE | TESTDEV_DMA_PIN | TESTDEV_DMA_RANDOM,
};

FIXTURE_SETUP(dma)
{
	self->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	ASSERT_EQ(0, testdev_load());
	ASSERT_EQ(0, testdev_create(&self->dev, "full"));
	ASSERT_EQ(0, vfio_open(&self->dev));
	ASSERT_EQ(0, vfio_map(&self->dev, self->memory, IOVA, MEMORY));
	ASSERT_EQ(8, reg_write64(&self->dev, TESTDEV_REG_DMA_IOVA, IOVA + FIRST * PAGE));
	ASSERT_EQ(8, reg_write64(&self->dev, TESTDEV_REG_DMA_LENGTH, TARGETS * PAGE));
	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_RATE, 20000));
	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_LIMIT, WRITES));
	ASSERT_EQ(2, vfio_bus_master(&self->dev, true));
}

FIXTURE_TEARDOWN(dma)
{
	EXPECT_EQ(0, testdev_remove(&self->dev));
	munmap(self->memory, MEMORY);
}

static uint64_t written(const struct testdev *dev)
{
	return reg_read64(dev, TESTDEV_REG_DMA_WRITTEN);
}

static bool until_written(const struct testdev *dev, uint64_t n)
{
	unsigned int i;

	for (i = 0; i < 2000 && written(dev) < n; i++)
		usleep(5000);
	return i < 2000;
}

/* Nothing more within a while. */
static bool silent(const struct testdev *dev)
{
	uint64_t before = written(dev);

	usleep(100000);
	return written(dev) == before;
}

/* The number of the write that a page holds: 0 for none, -1 for a page that is wrong. */
static long page_write(const uint64_t *memory, size_t page, size_t bytes)
{
	const uint64_t *word = memory + page * PAGE / sizeof(*word);
	size_t i;

	if (!word[0]) {
		for (i = 0; i < PAGE / sizeof(*word); i++) {
			if (word[i])
				return -1;
		}
		return 0;
	}
	if (word[1] != IOVA + page * PAGE)
		return -1;
	for (i = 2; i < PAGE / sizeof(*word); i++) {
		if (word[i] != (i < bytes / sizeof(*word) ? TESTDEV_DMA_WORD(word[0], i) : 0))
			return -1;
	}
	return word[0];
}

static bool bit(const uint64_t *bitmap, size_t i)
{
	return bitmap[i / 64] >> i % 64 & 1;
}

/* Whole pages, the last write is there, none outside. How many hold something. */
static long check_pages(const uint64_t *memory, size_t bytes, uint64_t last)
{
	bool last_found = !last;
	long n, count = 0;
	size_t page;

	for (page = 0; page < PAGES; page++) {
		n = page_write(memory, page, bytes);
		if (n < 0 || n > last || (n && (page < FIRST || page >= FIRST + TARGETS)))
			return -1;
		count += n > 0;
		last_found |= n == last;
	}
	return last_found ? count : -1;
}

/* Exactly those pages are in the log that hold something. */
static bool same_pages(const uint64_t *memory, const uint64_t *bitmap)
{
	size_t page;

	for (page = 0; page < PAGES; page++) {
		if (bit(bitmap, page) != !!memory[page * PAGE / sizeof(*memory)])
			return false;
	}
	return true;
}

TEST_F(dma, writes)
{
	long n;

	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_BYTES, 128));
	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_CONTROL, variant->control));
	ASSERT_EQ(true, until_written(&self->dev, WRITES));
	EXPECT_EQ(true, silent(&self->dev));
	EXPECT_EQ(WRITES, written(&self->dev));
	EXPECT_EQ(0, reg_read(&self->dev, TESTDEV_REG_DMA_ERRORS));
	n = check_pages(self->memory, 128, WRITES);
	EXPECT_LT(TARGETS / 2, n);
	if (!(variant->control & TESTDEV_DMA_RANDOM))
		EXPECT_EQ(TARGETS, n);
}

/* The rate is kept: half a second's worth after half a second, not all at once. */
TEST_F(dma, rate)
{
	uint64_t n;

	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_LIMIT, 0));
	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_RATE, 400));
	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_CONTROL, variant->control));
	usleep(500000);
	n = written(&self->dev);
	EXPECT_GE(2000 * slow(), n);
	/* It may have slept longer. */
	EXPECT_EQ(true, until_written(&self->dev, 100));
	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_CONTROL, 0));
	EXPECT_EQ(true, silent(&self->dev));
}

/* It writes in RUNNING and PRE_COPY, as a bus master. */
TEST_F(dma, states)
{
	static const struct {
		uint32_t state;
		bool writes;
	} states[] = {
		{ VFIO_DEVICE_STATE_RUNNING, true },
		{ VFIO_DEVICE_STATE_RUNNING_P2P, false },
		{ VFIO_DEVICE_STATE_RUNNING, true },
		{ VFIO_DEVICE_STATE_PRE_COPY, true },
		{ VFIO_DEVICE_STATE_PRE_COPY_P2P, false },
		{ VFIO_DEVICE_STATE_PRE_COPY, true },
		{ VFIO_DEVICE_STATE_STOP_COPY, false },
		{ VFIO_DEVICE_STATE_STOP, false },
		{ VFIO_DEVICE_STATE_RUNNING, true },
	};
	unsigned int i;
	int fd;

	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_LIMIT, 0));
	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_CONTROL, variant->control));
	for (i = 0; i < sizeof(states) / sizeof(*states); i++) {
		TH_LOG("state %u", states[i].state);
		ASSERT_EQ(0, vfio_set_state(&self->dev, states[i].state, &fd));
		if (fd >= 0)
			close(fd);
		EXPECT_EQ(true, states[i].writes ? until_written(&self->dev, written(&self->dev) + 10) :
			  silent(&self->dev));
	}
	ASSERT_EQ(2, vfio_bus_master(&self->dev, false));
	EXPECT_EQ(true, silent(&self->dev));
	ASSERT_EQ(2, vfio_bus_master(&self->dev, true));
	EXPECT_EQ(true, until_written(&self->dev, written(&self->dev) + 10));
	ASSERT_EQ(0, vfio_reset(&self->dev));
	EXPECT_EQ(0, written(&self->dev));
	EXPECT_EQ(true, silent(&self->dev));
}

/* Where nothing is mapped it fails, and counts that. */
TEST_F(dma, unmapped)
{
	unsigned int i;

	ASSERT_EQ(8, reg_write64(&self->dev, TESTDEV_REG_DMA_IOVA, IOVA + MEMORY));
	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_CONTROL, variant->control));
	for (i = 0; i < 2000 && !reg_read(&self->dev, TESTDEV_REG_DMA_ERRORS); i++)
		usleep(5000);
	EXPECT_EQ(0, written(&self->dev));
	EXPECT_LT(0, reg_read(&self->dev, TESTDEV_REG_DMA_ERRORS));
	/* And at the end of all addresses. */
	ASSERT_EQ(8, reg_write64(&self->dev, TESTDEV_REG_DMA_IOVA, -PAGE));
	ASSERT_EQ(8, reg_write64(&self->dev, TESTDEV_REG_DMA_LENGTH, UINT64_MAX));
	usleep(100000);
	EXPECT_EQ(0, written(&self->dev));
}

/* Memory comes and goes while it writes. */
TEST_F(dma, unmap)
{
	unsigned int i;

	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_LIMIT, 0));
	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_RATE, 1000000));
	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_CONTROL, variant->control));
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(true, until_written(&self->dev, written(&self->dev) + 10));
		ASSERT_EQ(0, vfio_unmap(&self->dev, IOVA, MEMORY));
		ASSERT_EQ(true, silent(&self->dev));
		ASSERT_EQ(0, vfio_map(&self->dev, self->memory, IOVA, MEMORY));
	}
}

/* The container's log. */
TEST_F(dma, container_log)
{
	uint64_t bitmap[WORDS] = { 0 };

	/* IOMMUFD's stand-in for a container has none. */
	if (access("/sys/module/vfio_iommu_type1", F_OK)) {
		EXPECT_EQ(-ENOTTY, vfio_dirty(&self->dev, VFIO_IOMMU_DIRTY_PAGES_FLAG_START));
		return;
	}
	ASSERT_EQ(0, vfio_dirty(&self->dev, VFIO_IOMMU_DIRTY_PAGES_FLAG_START));
	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_CONTROL, variant->control));
	ASSERT_EQ(true, until_written(&self->dev, WRITES));
	ASSERT_EQ(0, vfio_dirty_bitmap(&self->dev, IOVA, MEMORY, bitmap));
	/* Until a group has pinned a page, all that is mapped for a device could be dirty. */
	EXPECT_EQ(true, same_pages(self->memory, bitmap));
	ASSERT_EQ(0, vfio_dirty(&self->dev, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP));
}

/* The device's own: what sysfs shows of it, which clears nothing. */
static bool shown_pages(const struct testdev *dev, uint64_t *bitmap)
{
	char text[4096], *line = text, *rest;
	uint64_t iova, size;

	if (knob_get(dev, "log", text, sizeof(text)))
		return false;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (sscanf(line, "0x%lx 0x%lx", &iova, &size) != 2)
			continue;
		for (; size; iova += PAGE, size -= PAGE) {
			if (iova < IOVA || iova >= IOVA + MEMORY)
				return false;
			bitmap[(iova - IOVA) / PAGE / 64] |= 1UL << (iova - IOVA) / PAGE % 64;
		}
	}
	return true;
}

/*
 * The report goes through the kernel's iova_bitmap, which a kernel without IOMMUFD
 * drivers lacks; the device's log is there all the same.
 */
TEST_F(dma, device_log)
{
	uint64_t bitmap[WORDS] = { 0 }, page_size = 1, again[WORDS] = { 0 };
	int ret;

	ASSERT_EQ(0, vfio_log_start(&self->dev, IOVA, MEMORY, &page_size));
	EXPECT_EQ(PAGE, page_size);
	EXPECT_EQ(-EINVAL, vfio_log_start(&self->dev, IOVA, MEMORY, &page_size));
	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_CONTROL, variant->control));
	ASSERT_EQ(true, until_written(&self->dev, WRITES));
	ASSERT_EQ(true, shown_pages(&self->dev, bitmap));
	EXPECT_EQ(true, same_pages(self->memory, bitmap));

	memset(bitmap, 0, sizeof(bitmap));
	ret = vfio_log_report(&self->dev, IOVA, MEMORY, PAGE, bitmap);
	if (ret == -EOPNOTSUPP) {
		TH_LOG("this kernel reports no device's log");
		EXPECT_EQ(0, knob_number(&self->dev, "count_log_report"));
	} else {
		ASSERT_EQ(0, ret);
		EXPECT_EQ(true, same_pages(self->memory, bitmap));
		ASSERT_EQ(0, vfio_log_report(&self->dev, IOVA, MEMORY, PAGE, again));
		memset(bitmap, 0, sizeof(bitmap));
		EXPECT_EQ(0, memcmp(bitmap, again, sizeof(bitmap)));
	}
	ASSERT_EQ(0, vfio_log_stop(&self->dev));
	EXPECT_EQ(-EINVAL, vfio_log_stop(&self->dev));
}

/* A part of the memory is watched, in pages that are larger. */
TEST_F(dma, device_log_range)
{
	uint64_t page_size = 16 * PAGE, bitmap[WORDS] = { 0 };
	size_t page;

	ASSERT_EQ(0, vfio_log_start(&self->dev, IOVA + 48 * PAGE, 32 * PAGE, &page_size));
	EXPECT_EQ(16 * PAGE, page_size);
	ASSERT_EQ(4, reg_write(&self->dev, TESTDEV_REG_DMA_CONTROL, variant->control));
	ASSERT_EQ(true, until_written(&self->dev, WRITES));
	ASSERT_EQ(true, shown_pages(&self->dev, bitmap));
	for (page = 0; page < PAGES; page++)
		EXPECT_EQ(page >= 48 && page < 80, bit(bitmap, page));
	ASSERT_EQ(0, vfio_log_stop(&self->dev));
}

/* What a user can ask for and nobody can do. */
TEST_F(dma, device_log_nonsense)
{
	static const uint64_t page_sizes[] = { 0, 3, 4097, UINT64_MAX };
	uint64_t page_size;
	unsigned int i;

	for (i = 0; i < sizeof(page_sizes) / sizeof(*page_sizes); i++) {
		page_size = page_sizes[i];
		EXPECT_EQ(-EINVAL, vfio_log_start(&self->dev, 0, 3 * 4097 * PAGE, &page_size));
	}
	page_size = PAGE;
	EXPECT_EQ(-EINVAL, vfio_log_start(&self->dev, 0, 0, &page_size));
	EXPECT_EQ(-EINVAL, vfio_log_start(&self->dev, PAGE, 0, &page_size));
	EXPECT_EQ(-EOVERFLOW, vfio_log_start(&self->dev, -PAGE, MEMORY, &page_size));
	page_size = 1UL << 40;
	EXPECT_EQ(0, vfio_log_start(&self->dev, 0, 1UL << 40, &page_size));
	EXPECT_EQ(2UL << 20, page_size);
}

TEST_HARNESS_MAIN
