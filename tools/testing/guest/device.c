// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The VFIO test device as a guest uses it, from user space: its registers keep
 * what is written to them, and it writes memory in an order that is known. What
 * they must hold is in the guest's memory, so it is known wherever the guest runs.
 */
#include "device.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../modules/vfio_testdev/vfio_testdev_regs.h"

#define PAGE		4096UL
#define HUGE_PAGE	(2UL << 20)
#define DEVICES		"/sys/bus/pci/devices/"
#define SCRATCH_WORDS	((TESTDEV_SCRATCH_END - TESTDEV_SCRATCH) / sizeof(uint32_t))
/* Registers that are written in a check. */
#define CHANGES		3
/* Pages that the device writes, one after the other, round and round. */
#define TARGETS		64

struct device {
	volatile uint32_t *bar;
	uint32_t scratch[SCRATCH_WORDS];
	uint32_t writes;
	uint32_t loads;
	uint32_t next;
	uint64_t written;
	bool dma;
	const volatile uint64_t *target;
};

static struct device device;

static uint32_t get(unsigned int reg)
{
	return device.bar[reg / sizeof(uint32_t)];
}

static uint64_t get64(unsigned int reg)
{
	return get(reg) | (uint64_t)get(reg + 4) << 32;
}

static void set(unsigned int reg, uint32_t value)
{
	device.bar[reg / sizeof(uint32_t)] = value;
}

static void set64(unsigned int reg, uint64_t value)
{
	set(reg, value);
	set(reg + 4, value >> 32);
}

static bool wrong(const char *what, uint64_t is, uint64_t must)
{
	printf("WRONG device %s: %#jx, not %#jx\n", what, (uintmax_t)is, (uintmax_t)must);
	return false;
}

static bool missing(const char *what)
{
	printf("device: %s: %m\n", what);
	return false;
}

static unsigned long number_in(const char *dir, const char *name)
{
	char path[300], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	if (fd >= 0) {
		if (read(fd, text, sizeof(text) - 1) < 0)
			text[0] = 0;
		close(fd);
	}
	return strtoul(text, NULL, 0);
}

static bool find(char *dir, size_t size)
{
	struct dirent *entry;
	DIR *list;

	mkdir("/sys", 0755);
	mkdir("/proc", 0755);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	list = opendir(DEVICES);
	while (list && (entry = readdir(list))) {
		snprintf(dir, size, DEVICES "%s", entry->d_name);
		if (number_in(dir, "vendor") == TESTDEV_VENDOR_ID &&
		    number_in(dir, "device") == TESTDEV_DEVICE_ID)
			return true;
	}
	return false;
}

static bool map_bar(const char *dir)
{
	char path[300];
	void *bar;
	int fd;

	snprintf(path, sizeof(path), "%s/enable", dir);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1)
		return missing(path);
	close(fd);
	snprintf(path, sizeof(path), "%s/resource0", dir);
	fd = open(path, O_RDWR | O_SYNC);
	if (fd < 0)
		return missing(path);
	bar = mmap(NULL, TESTDEV_BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (bar == MAP_FAILED)
		return missing("mmap of BAR 0");
	device.bar = bar;
	return true;
}

static bool make_master(const char *dir)
{
	uint16_t command;
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/config", dir);
	fd = open(path, O_RDWR);
	if (fd < 0 || pread(fd, &command, 2, PCI_COMMAND) != 2)
		return missing(path);
	command |= PCI_COMMAND_MASTER;
	if (pwrite(fd, &command, 2, PCI_COMMAND) != 2)
		return missing(path);
	close(fd);
	return true;
}

/* Where a page lies in the guest's physical memory, 0 if that is not told. */
static uint64_t physical(const volatile void *page)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || pread(fd, &entry, 8, (uintptr_t)page / PAGE * 8) != 8)
		entry = 0;
	if (fd >= 0)
		close(fd);
	return (entry & ((1ULL << 55) - 1)) * PAGE;
}

/* A huge page stays where it is, in one piece. */
static bool start_dma(const char *dir, unsigned int rate)
{
	volatile uint64_t *target;
	uint64_t iova;

	target = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (target == MAP_FAILED)
		return missing("a huge page (hugepages=1)");
	target[0] = 0;
	iova = physical(target);
	if (!iova)
		return missing("/proc/self/pagemap");
	if (!make_master(dir))
		return false;
	set64(TESTDEV_REG_DMA_IOVA, iova);
	set64(TESTDEV_REG_DMA_LENGTH, TARGETS * PAGE);
	set(TESTDEV_REG_DMA_RATE, rate);
	device.target = target;
	device.dma = true;
	return true;
}

bool device_start(unsigned int dma_rate)
{
	char dir[280];

	if (!find(dir, sizeof(dir))) {
		printf("device: none with its ids\n");
		return false;
	}
	if (!map_bar(dir))
		return false;
	if (get(TESTDEV_REG_ID) != TESTDEV_ID)
		return wrong("id", get(TESTDEV_REG_ID), TESTDEV_ID);
	if (dma_rate && !start_dma(dir, dma_rate))
		return false;
	printf("device: found at %s\n", dir);
	return true;
}

static bool check_registers(void)
{
	uint32_t value;
	size_t i;

	for (i = 0; i < SCRATCH_WORDS; i++) {
		value = get(TESTDEV_SCRATCH + i * sizeof(value));
		if (value != device.scratch[i])
			return wrong("register", value, device.scratch[i]);
	}
	value = get(TESTDEV_REG_WRITES);
	if (value != device.writes)
		return wrong("count of writes", value, device.writes);
	return true;
}

static void change_registers(void)
{
	size_t i, n;

	for (i = 0; i < CHANGES; i++) {
		n = device.next++ * 7 % SCRATCH_WORDS;
		device.scratch[n] = ++device.writes * 2654435761U;
		set(TESTDEV_SCRATCH + n * sizeof(uint32_t), device.scratch[n]);
	}
}

/* The number of the last write to a page, of those up to n: 0 for none. */
static uint64_t last_write(uint64_t n, size_t page)
{
	if (n <= page)
		return 0;
	return (n - 1 - page) / TARGETS * TARGETS + page + 1;
}

static bool check_target(size_t page, uint64_t n)
{
	const volatile uint64_t *word = device.target + page * PAGE / sizeof(*word);
	size_t i;

	if (word[0] != n)
		return wrong("write", word[0], n);
	for (i = 2; n && i < PAGE / sizeof(*word); i++) {
		if (word[i] != TESTDEV_DMA_WORD(n, i))
			return wrong("written word", word[i], TESTDEV_DMA_WORD(n, i));
	}
	return true;
}

/* The device pauses meanwhile. */
static bool check_dma(void)
{
	size_t page;

	set(TESTDEV_REG_DMA_CONTROL, 0);
	device.written = get64(TESTDEV_REG_DMA_WRITTEN);
	if (get(TESTDEV_REG_DMA_ERRORS))
		return wrong("DMA errors", get(TESTDEV_REG_DMA_ERRORS), 0);
	for (page = 0; page < TARGETS; page++) {
		if (!check_target(page, last_write(device.written, page)))
			return false;
	}
	set(TESTDEV_REG_DMA_CONTROL, TESTDEV_DMA_ENABLE);
	return true;
}

bool device_check(void)
{
	uint32_t loads;

	if (!check_registers() || (device.dma && !check_dma()))
		return false;
	loads = get(TESTDEV_REG_LOADS);
	if (loads != device.loads) {
		printf("device: loaded %u times, written %u, has written %ju\n", loads,
		       device.writes, (uintmax_t)device.written);
		device.loads = loads;
	}
	change_registers();
	return true;
}
