// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A device's DMA log: what it wrote is in the bitmap of the right source, nothing is
 * lost whatever the device says, and its VMM can have the log as soon as nobody else
 * wants it. A kernel that can't report a log says so by name, in each of these tests.
 *
 * The device writes to another memory than the one that is tracked, so that nothing
 * but the log can know of it.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "migtrack.h"
#include "vmm_device.h"
#include "writer_dma.h"

#define PAGE		4096UL
#define PAGES		256UL
#define IOVA		0x40000000UL
/* Its other memory: so far that it is watched apart. */
#define HIGH		0x4000000000UL
#define RAMS		2
#define WRITES		100UL

struct ram {
	int fd;
	void *memory;
	struct migtrack_source_map map;
	unsigned long *bitmap;
};

FIXTURE(log) {
	struct migtrack *mt;
	struct vmm_device dev;
	struct ram rams[RAMS];
	struct migtrack_dma_range ranges[RAMS];
	uint64_t *target;
	uint64_t session;
	uint32_t id;
	int fd;
	bool can;
};

static int ram_add(struct migtrack *mt, int session_fd, struct ram *ram)
{
	int ret;

	ram->fd = memfd_create("guest", MFD_CLOEXEC);
	if (ram->fd < 0 || ftruncate(ram->fd, PAGES * PAGE))
		return -errno;
	ram->memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ram->fd, 0);
	ret = migtrack_source_add_ram(mt, session_fd, getpid(), ram->fd, 0, 0, &ram->map);
	return ret ? ret : migtrack_bitmap_map(session_fd, &ram->map, &ram->bitmap);
}

FIXTURE_SETUP(log)
{
	const struct testdev *dev = &self->dev.testdev;

	self->can = vfio_reports_dma();
	ASSERT_EQ(0, testdev_load());
	ASSERT_EQ(0, system("modprobe -q migtrack_vfio"));
	vmm_device_answers_within(VMM_DEVICE_PATIENT_MS);
	ASSERT_EQ(0, migtrack_open(&self->mt));
	ASSERT_EQ(0, migtrack_session_new(self->mt, &self->session, &self->fd));
	for (size_t i = 0; i < RAMS; i++)
		ASSERT_EQ(0, ram_add(self->mt, self->fd, &self->rams[i]));
	/* The memory of the second source comes first for the device. */
	self->ranges[0] = (struct migtrack_dma_range) {
		.iova = HIGH, .length = PAGES * PAGE, .source_id = self->rams[0].map.id,
	};
	self->ranges[1] = (struct migtrack_dma_range) {
		.iova = IOVA, .length = PAGES / 2 * PAGE, .offset = PAGES / 2 * PAGE,
		.source_id = self->rams[1].map.id,
	};
	vmm_device_open(&self->dev, "full");
	self->target = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);
	ASSERT_NE(MAP_FAILED, self->target);
	ASSERT_EQ(0, vfio_map(dev, self->target, IOVA, PAGES * PAGE));
	ASSERT_EQ(0, vfio_map(dev, self->target, HIGH, PAGES * PAGE));
	ASSERT_EQ(2, vfio_bus_master(dev, true));
	ASSERT_EQ(0, vmm_device_track(self->mt, self->fd, &self->dev, "device", &self->id));
}

FIXTURE_TEARDOWN(log)
{
	vmm_device_answers_within(VMM_DEVICE_ANSWER_MS);
	migtrack_session_del(self->mt, self->fd);
	close(self->fd);
	vmm_device_close(&self->dev);
	vmm_device_remove(&self->dev);
	for (size_t i = 0; i < RAMS; i++) {
		migtrack_bitmap_unmap(&self->rams[i].map, self->rams[i].bitmap);
		munmap(self->rams[i].memory, PAGES * PAGE);
		close(self->rams[i].fd);
	}
	munmap(self->target, PAGES * PAGE);
	migtrack_close(self->mt);
}

static int sync_kind(FIXTURE_DATA(log) *self, enum migtrack_sync_kind kind)
{
	int ret = migtrack_sync(self->mt, self->fd, kind);

	return ret ? ret : migtrack_sync_wait(self->fd, 30000 * slow());
}

static struct migtrack_source get(FIXTURE_DATA(log) *self, uint32_t id)
{
	struct migtrack_source source;

	if (migtrack_source_get(self->mt, self->session, id, &source))
		memset(&source, 0xff, sizeof(source));
	return source;
}

static struct migtrack_source device(FIXTURE_DATA(log) *self)
{
	return get(self, self->id);
}

/* Until the device has answered. */
static uint32_t settled(FIXTURE_DATA(log) *self)
{
	(void)EVENTUALLY(device(self).dma_log != MIGTRACK_DMA_LOG_STARTING);
	return device(self).dma_log;
}

static bool taken(const struct ram *ram, size_t page)
{
	return ram->bitmap[page / 64] >> page % 64 & 1;
}

static size_t take(struct ram *ram)
{
	size_t i, n = 0;

	for (i = 0; i < PAGES / 64; i++)
		n += __builtin_popcountl(__atomic_exchange_n(&ram->bitmap[i], 0, __ATOMIC_SEQ_CST));
	return n;
}

static size_t take_all(FIXTURE_DATA(log) *self)
{
	return take(&self->rams[0]) + take(&self->rams[1]);
}

/* What can be lost of both. */
#define FINAL_TRIES	20
#define START_MS	1000
#define COVERED	(PAGES + PAGES / 2)

/* Pages in a row, from there on; returns when all is written. */
static bool dma(FIXTURE_DATA(log) *self, uint64_t iova, unsigned int pages)
{
	const struct testdev *dev = &self->dev.testdev;
	unsigned int i;

	reg_write(dev, TESTDEV_REG_DMA_CONTROL, 0);
	reg_write64(dev, TESTDEV_REG_DMA_IOVA, iova);
	reg_write64(dev, TESTDEV_REG_DMA_LENGTH, pages * PAGE);
	reg_write(dev, TESTDEV_REG_DMA_RATE, 100000);
	reg_write(dev, TESTDEV_REG_DMA_LIMIT,
		  reg_read64(dev, TESTDEV_REG_DMA_WRITTEN) + pages);
	reg_write(dev, TESTDEV_REG_DMA_CONTROL, TESTDEV_DMA_ENABLE);
	for (i = 0; i < 2000; i++) {
		if (reg_read64(dev, TESTDEV_REG_DMA_WRITTEN) == reg_read(dev, TESTDEV_REG_DMA_LIMIT))
			return true;
		usleep(5000);
	}
	return false;
}

/* On a kernel that can't it says why, the device is not asked and nothing is wanted. */
#define ASSERT_NAMED_REFUSAL(self) do {							\
	ASSERT_EQ(-EOPNOTSUPP, migtrack_dma_log_start((self)->mt, (self)->fd,		\
						      (self)->id, (self)->ranges, RAMS));	\
	ASSERT_NE(NULL, strstr(migtrack_message((self)->mt),				\
			       "without CONFIG_IOMMUFD and CONFIG_IOMMUFD_DRIVER"))	\
		TH_LOG("said: %s", migtrack_message((self)->mt));			\
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));			\
	ASSERT_EQ(0, device(self).dma_log);						\
	ASSERT_EQ(0, vmm_device_number(&(self)->dev, "count_log_start"));		\
} while (0)

#define START_OR_RETURN(self) do {							\
	if (!(self)->can) {								\
		ASSERT_NAMED_REFUSAL(self);						\
		return;									\
	}										\
	ASSERT_EQ(0, migtrack_dma_log_start((self)->mt, (self)->fd, (self)->id,		\
					    (self)->ranges, RAMS))			\
		TH_LOG("%s", migtrack_message((self)->mt));				\
} while (0)

/* Started, and all that was set for that is taken. */
#define SETUP_OR_RETURN(self) do {							\
	START_OR_RETURN(self);								\
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));			\
	ASSERT_EQ(MIGTRACK_DMA_LOG_ON, settled(self));					\
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));			\
	take_all(self);									\
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));			\
	take_all(self);									\
} while (0)

/* Each page is in the right source, counted by it and by the device, and only once. */
TEST_F_TIMEOUT(log, right_source, 120)
{
	struct migtrack_source s;
	size_t i;

	SETUP_OR_RETURN(self);
	ASSERT_EQ(true, dma(self, HIGH + 10 * PAGE, 20));
	ASSERT_EQ(true, dma(self, IOVA + 3 * PAGE, 5));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	for (i = 0; i < PAGES; i++) {
		EXPECT_EQ(i >= 10 && i < 30, taken(&self->rams[0], i));
		/* Its range begins in its middle. */
		EXPECT_EQ(i >= PAGES / 2 + 3 && i < PAGES / 2 + 8, taken(&self->rams[1], i));
	}
	EXPECT_EQ(20 * PAGE, get(self, self->rams[0].map.id).bytes.precopy);
	EXPECT_EQ(5 * PAGE, get(self, self->rams[1].map.id).bytes.precopy);
	s = device(self);
	EXPECT_EQ(MIGTRACK_DMA_LOG_ON, s.dma_log);
	EXPECT_EQ(25, s.dirty_pages);
	EXPECT_LT(0, s.dirty_rate);
	EXPECT_EQ(0, s.dma_untracked);
	EXPECT_EQ(0, s.dma_log_error);
	take_all(self);
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	EXPECT_EQ(0, take_all(self));
	EXPECT_EQ(0, device(self).dirty_pages);
}

/*
 * The last one, which asks a device for nothing else. It waits for a short time only; a
 * slow machine may need several tries.
 */
TEST_F_TIMEOUT(log, final, 120)
{
	unsigned int try = 0;
	uint64_t sizes;
	size_t pages;

	SETUP_OR_RETURN(self);
	sizes = vmm_device_number(&self->dev, "count_get_data_size");
	do {
		ASSERT_EQ(true, dma(self, HIGH, 7));
		ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_FINAL));
		pages = take_all(self);
		if (device(self).dma_log == MIGTRACK_DMA_LOG_ON)
			break;
		EXPECT_EQ(COVERED, pages);
	} while (++try < FINAL_TRIES);
	EXPECT_EQ(7, pages);
	EXPECT_EQ(sizes, vmm_device_number(&self->dev, "count_get_data_size"));
}

/* What was written before it was started is not known: it is all. */
TEST_F_TIMEOUT(log, start_reports_all, 120)
{
	if (!self->can) {
		ASSERT_NAMED_REFUSAL(self);
		return;
	}
	/* The first two report what an adoption that takes long may have missed. */
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	take_all(self);
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	EXPECT_EQ(0, take_all(self));
	START_OR_RETURN(self);
	ASSERT_EQ(MIGTRACK_DMA_LOG_ON, settled(self));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	EXPECT_EQ(MIGTRACK_DMA_LOG_ON, device(self).dma_log);
	EXPECT_EQ(COVERED, device(self).dirty_pages);
	EXPECT_EQ(COVERED, take_all(self));
	/* The second one's first half is in no range. */
	EXPECT_EQ(false, taken(&self->rams[1], 0));
}

/* Addresses that are watched, as they are between two ranges, and are nobody's. */
TEST_F_TIMEOUT(log, untracked, 120)
{
	struct migtrack_source s;
	uint64_t untracked;
	time_t end;

	self->ranges[0].iova = IOVA + 200 * PAGE;
	self->ranges[0].length = 10 * PAGE;
	SETUP_OR_RETURN(self);
	/* The other one ends at 128. */
	ASSERT_EQ(true, dma(self, IOVA + 120 * PAGE, 90));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	s = device(self);
	EXPECT_EQ(72, s.dma_untracked);
	EXPECT_EQ(18, s.dirty_pages);
	EXPECT_EQ(10, take(&self->rams[0]));
	EXPECT_EQ(8, take(&self->rams[1]));
	/* A source that is taken out has no memory any more. */
	ASSERT_EQ(0, migtrack_source_del(self->mt, self->fd, self->rams[0].map.id));
	/* Once a work item has let go of it. */
	end = time(NULL) + 60;
	do {
		untracked = device(self).dma_untracked;
		ASSERT_EQ(true, dma(self, IOVA + 200 * PAGE, 4));
		ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
		s = device(self);
	} while (s.dirty_pages && time(NULL) < end);
	EXPECT_EQ(untracked + 4, s.dma_untracked);
	EXPECT_EQ(0, s.dirty_pages);
	EXPECT_EQ(0, take_all(self));
}

/* A report that fails loses nothing: all is reported, then only what is new. */
TEST_F_TIMEOUT(log, report_fails, 120)
{
	static const int errnos[] = { EIO, EINVAL, EOPNOTSUPP, 511 };
	struct migtrack_source s;

	SETUP_OR_RETURN(self);
	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
		vmm_device_set_number(&self->dev, "errno_log_report", errnos[i]);
		ASSERT_EQ(true, dma(self, HIGH, 3));
		ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
		s = device(self);
		EXPECT_EQ(MIGTRACK_DMA_LOG_UNREAD, s.dma_log);
		EXPECT_EQ(errnos[i], s.dma_log_error);
		EXPECT_EQ(COVERED, s.dirty_pages);
		EXPECT_EQ(COVERED, take_all(self));
		EXPECT_EQ(true, dma(self, HIGH + 100 * PAGE, 2));
		vmm_device_set_number(&self->dev, "errno_log_report", 0);
		ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
		s = device(self);
		EXPECT_EQ(MIGTRACK_DMA_LOG_ON, s.dma_log);
		EXPECT_EQ(0, s.dma_log_error);
		EXPECT_EQ(5, take_all(self));
	}
}

/* One that takes long is waited for a moment; what it says later is not lost. */
TEST_F_TIMEOUT(log, report_takes_long, 120)
{
	struct migtrack_source s;

	SETUP_OR_RETURN(self);
	vmm_device_answers_within(VMM_DEVICE_ANSWER_MS);
	vmm_device_set_number(&self->dev, "delay_log_report", 60000 * slow());
	ASSERT_EQ(true, dma(self, HIGH, 3));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	s = device(self);
	EXPECT_EQ(MIGTRACK_DMA_LOG_UNREAD, s.dma_log);
	EXPECT_NE(0, s.flags & MIGTRACK_COUNTER_FLAGS_STALE);
	EXPECT_EQ(COVERED, take_all(self));
	/* It is not asked anew, and what it will say is not of this sync. */
	ASSERT_EQ(true, dma(self, HIGH + 50 * PAGE, 4));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	EXPECT_EQ(MIGTRACK_DMA_LOG_UNREAD, device(self).dma_log);
	EXPECT_EQ(COVERED, take_all(self));
	vmm_device_set_number(&self->dev, "delay_log_report", 0);
	EXPECT_TRUE(EVENTUALLY(!(device(self).flags & MIGTRACK_COUNTER_FLAGS_STALE)));
	/* It has answered, by now: without a sync. */
	EXPECT_EQ(7, take_all(self));
	ASSERT_EQ(true, dma(self, HIGH + 70 * PAGE, 1));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	EXPECT_EQ(MIGTRACK_DMA_LOG_ON, device(self).dma_log);
	EXPECT_EQ(1, take_all(self));
}

static int vmm_starts(FIXTURE_DATA(log) *self)
{
	uint64_t page_size = PAGE;

	return vfio_log_start(&self->dev.testdev, IOVA, PAGES * PAGE, &page_size);
}

/* When it is let go of; the device is asked by a work item. */
static bool vmm_can_start(FIXTURE_DATA(log) *self)
{
	return EVENTUALLY(!vmm_starts(self));
}

/* The VMM's stays the VMM's, and nothing is said to be written. */
TEST_F_TIMEOUT(log, in_use_by_the_vmm, 120)
{
	ASSERT_EQ(0, vmm_starts(self));
	if (self->can) {
		START_OR_RETURN(self);
		EXPECT_EQ(MIGTRACK_DMA_LOG_IN_USE, settled(self));
		ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));
		ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
		take_all(self);
		ASSERT_EQ(true, dma(self, HIGH, 3));
		ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
		EXPECT_EQ(MIGTRACK_DMA_LOG_IN_USE, device(self).dma_log);
		EXPECT_EQ(0, take_all(self));
		EXPECT_EQ(0, vmm_device_number(&self->dev, "count_log_report"));
		EXPECT_EQ(0, migtrack_dma_log_stop(self->mt, self->fd, self->id));
		EXPECT_EQ(0, device(self).dma_log);
		ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
		EXPECT_EQ(0, vmm_device_number(&self->dev, "count_log_stop"));
	} else {
		uint64_t starts = vmm_device_number(&self->dev, "count_log_start");

		EXPECT_EQ(-EOPNOTSUPP, migtrack_dma_log_start(self->mt, self->fd, self->id,
							      self->ranges, RAMS));
		EXPECT_EQ(starts, vmm_device_number(&self->dev, "count_log_start"));
	}
	EXPECT_EQ(0, vfio_log_stop(&self->dev.testdev));
}

/* What it has when it is given back nobody reads any more. */
TEST_F_TIMEOUT(log, stop_reports_all, 120)
{
	SETUP_OR_RETURN(self);
	ASSERT_EQ(true, dma(self, HIGH, 7));
	EXPECT_EQ(0, migtrack_dma_log_stop(self->mt, self->fd, self->id));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	EXPECT_EQ(COVERED, take_all(self));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	EXPECT_EQ(0, take_all(self));
}

/* While it is ours it is not the VMM's; then it is. */
TEST_F_TIMEOUT(log, free_for_the_vmm_after_stop, 120)
{
	SETUP_OR_RETURN(self);
	EXPECT_EQ(-EINVAL, vmm_starts(self));
	EXPECT_EQ(-EBUSY, migtrack_dma_log_start(self->mt, self->fd, self->id, self->ranges, RAMS));
	EXPECT_EQ(0, migtrack_dma_log_stop(self->mt, self->fd, self->id));
	EXPECT_EQ(0, device(self).dma_log);
	EXPECT_EQ(true, vmm_can_start(self));
	EXPECT_EQ(0, vfio_log_stop(&self->dev.testdev));
	EXPECT_EQ(-ENOENT, migtrack_dma_log_stop(self->mt, self->fd, self->id));
	/* And again, with another map. */
	self->ranges[0].length = PAGE;
	START_OR_RETURN(self);
	EXPECT_EQ(MIGTRACK_DMA_LOG_ON, settled(self));
	ASSERT_EQ(0, migtrack_source_del(self->mt, self->fd, self->id));
	EXPECT_EQ(true, vmm_can_start(self));
}

/* Another session of the same device sees that somebody has its log. */
TEST_F_TIMEOUT(log, one_session_has_it, 120)
{
	struct migtrack_source s;
	struct ram ram = { 0 };
	uint64_t session;
	uint32_t id;
	int fd;

	SETUP_OR_RETURN(self);
	ASSERT_EQ(0, migtrack_session_new(self->mt, &session, &fd));
	ASSERT_EQ(0, ram_add(self->mt, fd, &ram));
	ASSERT_EQ(0, vmm_device_track(self->mt, fd, &self->dev, NULL, &id));
	self->ranges[0].source_id = ram.map.id;
	ASSERT_EQ(0, migtrack_dma_log_start(self->mt, fd, id, self->ranges, 1));
	ASSERT_EQ(0, migtrack_source_get(self->mt, session, id, &s));
	EXPECT_EQ(MIGTRACK_DMA_LOG_IN_USE, s.dma_log);
	EXPECT_EQ(-EBUSY, migtrack_dma_log_start(self->mt, fd, id, self->ranges, 1));
	EXPECT_EQ(0, migtrack_dma_log_stop(self->mt, fd, id));
	EXPECT_EQ(-ENOENT, migtrack_dma_log_stop(self->mt, fd, id));
	close(fd);
	migtrack_bitmap_unmap(&ram.map, ram.bitmap);
	munmap(ram.memory, PAGES * PAGE);
	close(ram.fd);
	/* Ours goes on. */
	ASSERT_EQ(true, dma(self, HIGH, 3));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	EXPECT_EQ(3, take_all(self));
}

/* A device that is migrated has a VMM that has its log, or will want it. */
TEST_F_TIMEOUT(log, migrating, 120)
{
	if (!self->can) {
		ASSERT_NAMED_REFUSAL(self);
		return;
	}
	vmm_device_state(&self->dev, VFIO_DEVICE_STATE_PRE_COPY);
	START_OR_RETURN(self);
	EXPECT_EQ(MIGTRACK_DMA_LOG_IN_USE, settled(self));
	EXPECT_EQ(0, vmm_device_number(&self->dev, "count_log_start"));
}

/* What a device says when it is to start. */
TEST_F_TIMEOUT(log, start_fails, 120)
{
	static const struct {
		int error;
		uint32_t state;
	} table[] = {
		{ EIO, MIGTRACK_DMA_LOG_FAILED },
		{ ENOMEM, MIGTRACK_DMA_LOG_FAILED },
		{ EBUSY, MIGTRACK_DMA_LOG_IN_USE },
		{ EINVAL, MIGTRACK_DMA_LOG_IN_USE },
	};

	if (!self->can) {
		ASSERT_NAMED_REFUSAL(self);
		return;
	}
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));
	take_all(self);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		vmm_device_set_number(&self->dev, "errno_log_start", table[i].error);
		START_OR_RETURN(self);
		EXPECT_EQ(table[i].state, settled(self));
		if (table[i].state == MIGTRACK_DMA_LOG_FAILED)
			EXPECT_EQ(table[i].error, device(self).dma_log_error);
		ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
		EXPECT_EQ(0, take_all(self));
		EXPECT_EQ(0, migtrack_dma_log_stop(self->mt, self->fd, self->id));
	}
}

/* Who asked is killed: its address space can't be borrowed any more, the VMM's can. */
TEST_F_TIMEOUT(log, controller_killed, 120)
{
	int status, ready[2];
	char c;
	pid_t pid;

	if (!self->can) {
		ASSERT_NAMED_REFUSAL(self);
		return;
	}
	ASSERT_EQ(0, pipe2(ready, O_CLOEXEC));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint64_t session;
		uint32_t id, ram_id;
		struct migtrack_source_map map;
		struct migtrack_dma_range range = self->ranges[0];
		struct migtrack_source s;
		int fd;

		if (migtrack_session_new(self->mt, &session, &fd) ||
		    migtrack_source_add_ram(self->mt, fd, getppid(), self->rams[0].fd, 0, 0, &map) ||
		    vmm_device_track(self->mt, fd, &self->dev, NULL, &id))
			_exit(1);
		ram_id = map.id;
		range.source_id = ram_id;
		if (migtrack_dma_log_start(self->mt, fd, id, &range, 1))
			_exit(2);
		do {
			usleep(10000);
			migtrack_source_get(self->mt, session, id, &s);
		} while (s.dma_log == MIGTRACK_DMA_LOG_STARTING);
		if (s.dma_log != MIGTRACK_DMA_LOG_ON || write(ready[1], "", 1) != 1)
			_exit(3);
		pause();
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &c, 1));
	EXPECT_EQ(-EINVAL, vmm_starts(self));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(true, vmm_can_start(self));
	close(ready[0]);
}

static int start(FIXTURE_DATA(log) *self)
{
	return migtrack_dma_log_start(self->mt, self->fd, self->id, self->ranges, RAMS);
}

/* The device goes while it logs: what it wrote last may be anything. */
TEST_F_TIMEOUT(log, device_gone, 120)
{
	int ret = 0;

	SETUP_OR_RETURN(self);
	ASSERT_EQ(true, dma(self, HIGH, 3));
	vmm_device_close(&self->dev);
	EXPECT_TRUE(EVENTUALLY(device(self).flags & MIGTRACK_COUNTER_FLAGS_GONE));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	EXPECT_EQ(COVERED, take_all(self));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	EXPECT_EQ(0, take_all(self));
	/* Its source is stopped by a work item. */
	EXPECT_TRUE(EVENTUALLY((ret = start(self)) != -EBUSY));
	EXPECT_EQ(-ENODEV, ret);
	EXPECT_NE(NULL, strstr(migtrack_message(self->mt), "the device is gone"));
}

/* Nonsense is refused before anybody is asked, on all kernels. */
TEST_F_TIMEOUT(log, refused, 120)
{
	struct migtrack_dma_range many[MIGTRACK_MAX_DMA_RANGES + 1] = { 0 }, range = self->ranges[0];
	struct vmm_device nolog;
	uint32_t id;

#define EXPECT_REFUSED(error, text, source, ranges, n) do {				\
	EXPECT_EQ(-(error), migtrack_dma_log_start(self->mt, self->fd, source, ranges, n));	\
	EXPECT_NE(NULL, strstr(migtrack_message(self->mt), text))			\
		TH_LOG("said: %s", migtrack_message(self->mt));				\
} while (0)
	range.iova++;
	EXPECT_REFUSED(EINVAL, "multiples of the page size", self->id, &range, 1);
	range = self->ranges[0];
	range.length = 0;
	EXPECT_REFUSED(EINVAL, "the length not 0", self->id, &range, 1);
	range = self->ranges[0];
	range.iova = -PAGE;
	EXPECT_REFUSED(EINVAL, "the end of all addresses", self->id, &range, 1);
	range = self->ranges[0];
	range.offset = PAGE;
	EXPECT_REFUSED(EINVAL, "past the end of its source", self->id, &range, 1);
	range.offset = -PAGE;
	EXPECT_REFUSED(EINVAL, "past the end of its source", self->id, &range, 1);
	range = self->ranges[0];
	range.source_id = self->id;
	EXPECT_REFUSED(EINVAL, "of memory, sources of type ram", self->id, &range, 1);
	range.source_id = 77;
	EXPECT_REFUSED(ENOENT, "no such source", self->id, &range, 1);
	self->ranges[1].iova = self->ranges[0].iova + PAGE;
	EXPECT_REFUSED(EINVAL, "overlap", self->id, self->ranges, RAMS);
	self->ranges[1].iova = IOVA;
	EXPECT_REFUSED(EINVAL, "only a VFIO device has a DMA log", self->rams[0].map.id,
		       self->ranges, RAMS);
	EXPECT_REFUSED(ENOENT, "no such source", 77, self->ranges, RAMS);
	EXPECT_REFUSED(EINVAL, "", self->id, NULL, 0);
	EXPECT_EQ(-E2BIG, migtrack_dma_log_start(self->mt, self->fd, self->id, many,
						 MIGTRACK_MAX_DMA_RANGES + 1));
	EXPECT_EQ(-ENOENT, migtrack_dma_log_stop(self->mt, self->fd, self->id));
	EXPECT_NE(NULL, strstr(migtrack_message(self->mt), "did not ask for the DMA log"));
	EXPECT_EQ(-EINVAL, migtrack_dma_log_stop(self->mt, self->fd, self->rams[0].map.id));

	vmm_device_open(&nolog, "nolog");
	ASSERT_EQ(0, vmm_device_track(self->mt, self->fd, &nolog, NULL, &id));
	EXPECT_REFUSED(EOPNOTSUPP, "the device has no DMA log", id, self->ranges, RAMS);
	vmm_device_close(&nolog);
	vmm_device_remove(&nolog);
	EXPECT_EQ(0, device(self).dma_log);
	EXPECT_EQ(0, vmm_device_number(&self->dev, "count_log_start"));
}

/* As many ranges as there can be, each of another page. */
TEST_F_TIMEOUT(log, many_ranges, 120)
{
	struct migtrack_dma_range ranges[MIGTRACK_MAX_DMA_RANGES];
	size_t i;

	for (i = 0; i < MIGTRACK_MAX_DMA_RANGES; i++)
		ranges[i] = (struct migtrack_dma_range) {
			.iova = HIGH + 2 * i * PAGE, .length = PAGE, .offset = i * PAGE,
			.source_id = self->rams[0].map.id,
		};
	if (!self->can) {
		ASSERT_NAMED_REFUSAL(self);
		ASSERT_EQ(-EOPNOTSUPP, migtrack_dma_log_start(self->mt, self->fd, self->id, ranges,
							      MIGTRACK_MAX_DMA_RANGES));
		return;
	}
	ASSERT_EQ(0, migtrack_dma_log_start(self->mt, self->fd, self->id, ranges,
					    MIGTRACK_MAX_DMA_RANGES))
		TH_LOG("%s", migtrack_message(self->mt));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));
	ASSERT_EQ(MIGTRACK_DMA_LOG_ON, settled(self));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	take_all(self);
	ASSERT_EQ(true, dma(self, HIGH, 20));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	EXPECT_EQ(10, device(self).dirty_pages);
	EXPECT_EQ(10, device(self).dma_untracked);
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(i < 10, taken(&self->rams[0], i));
}

/* Its session ends while the device starts: nobody else would tell it to stop. */
TEST_F_TIMEOUT(log, given_back_while_it_starts, 120)
{
	vmm_device_set_number(&self->dev, "delay_log_start", START_MS);
	START_OR_RETURN(self);
	/* It has been asked, and has not answered. */
	ASSERT_EQ(true, EVENTUALLY(vmm_device_number(&self->dev, "count_log_start") == 1));
	ASSERT_EQ(MIGTRACK_DMA_LOG_STARTING, device(self).dma_log);
	ASSERT_EQ(0, migtrack_session_del(self->mt, self->fd));
	EXPECT_EQ(true, EVENTUALLY(vmm_device_number(&self->dev, "count_log_stop") == 1));
	vmm_device_set_number(&self->dev, "delay_log_start", 0);
	EXPECT_EQ(true, vmm_can_start(self));
}

TEST_HARNESS_MAIN
