// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The VFIO test device: is it what tests of others can rely on? Its states, its
 * data stream, its numbers, its knobs, and how it ends.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "vfio_host.h"

#define MIB		(1UL << 20)
#define NS_PER_S	1000000000ULL
#define LONG_MS		30000
/* Cancelled, not waited for. */
#define SOON_NS		(10 * NS_PER_S * slow())

#define ERROR		VFIO_DEVICE_STATE_ERROR
#define STOP		VFIO_DEVICE_STATE_STOP
#define RUNNING		VFIO_DEVICE_STATE_RUNNING
#define STOP_COPY	VFIO_DEVICE_STATE_STOP_COPY
#define RESUMING	VFIO_DEVICE_STATE_RESUMING
#define RUNNING_P2P	VFIO_DEVICE_STATE_RUNNING_P2P
#define PRE_COPY	VFIO_DEVICE_STATE_PRE_COPY
#define PRE_COPY_P2P	VFIO_DEVICE_STATE_PRE_COPY_P2P

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static bool saves(uint32_t state)
{
	return state == STOP_COPY || state == PRE_COPY || state == PRE_COPY_P2P;
}

/* Whether a change ends where a new session begins. */
static bool gives_fd(uint32_t from, uint32_t to)
{
	if (from == to)
		return false;
	return to == RESUMING || (saves(to) && !saves(from));
}

FIXTURE(vfio) {
	struct testdev a, b;
};

FIXTURE_SETUP(vfio)
{
	ASSERT_EQ(0, testdev_load());
	ASSERT_EQ(0, testdev_create(&self->a, "full"));
	ASSERT_EQ(0, testdev_create(&self->b, "full"));
	ASSERT_EQ(0, vfio_open(&self->a));
	ASSERT_EQ(0, vfio_open(&self->b));
}

FIXTURE_TEARDOWN(vfio)
{
	EXPECT_EQ(0, testdev_remove(&self->a));
	EXPECT_EQ(0, testdev_remove(&self->b));
}

/* Up to the end of what there is: its length, or what the read gave that was none. */
static ssize_t read_all(int fd, uint8_t *buf, size_t size)
{
	size_t done = 0;
	ssize_t n;

	while (done < size) {
		n = read(fd, buf + done, size - done);
		if (n < 0)
			return done && errno == ENOMSG ? done : -errno;
		if (!n)
			break;
		done += n;
	}
	return done;
}

static int write_all(int fd, const uint8_t *buf, size_t size)
{
	size_t done;
	ssize_t n;

	for (done = 0; done < size; done += n) {
		n = write(fd, buf + done, size - done);
		if (n < 0)
			return -errno;
	}
	return 0;
}

/* All of a stopped device's state, at *data. */
static ssize_t save(const struct testdev *dev, uint8_t **data)
{
	uint64_t size;
	ssize_t n;
	int fd;

	*data = NULL;
	if (vfio_set_state(dev, STOP_COPY, &fd) || vfio_data_size(dev, &size))
		return -1;
	*data = malloc(size + 1);
	n = *data ? read_all(fd, *data, size + 1) : -1;
	close(fd);
	if (n >= 0 && n != size)
		return -2;
	return n;
}

/* A stream's fate: what the device says to it, at last. */
static int load(const struct testdev *dev, const uint8_t *data, size_t size)
{
	int fd, none, ret;

	ret = vfio_set_state(dev, RESUMING, &fd);
	if (ret)
		return ret;
	ret = write_all(fd, data, size);
	if (!ret)
		ret = vfio_set_state(dev, STOP, &none);
	close(fd);
	return ret;
}

TEST_F(vfio, regions)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_region_info region = { .argsz = sizeof(region) };
	uint16_t ids[2];
	uint32_t bar, size = ~0U;
	uint8_t byte = 0x5a, config[256];

	ASSERT_EQ(0, ioctl(self->a.device, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET, info.flags);
	EXPECT_EQ(VFIO_PCI_NUM_REGIONS, info.num_regions);
	ASSERT_EQ(0, ioctl(self->a.device, VFIO_DEVICE_GET_REGION_INFO, &region));
	EXPECT_EQ(TESTDEV_BAR_SIZE, region.size);
	region.index = VFIO_PCI_NUM_REGIONS;
	EXPECT_EQ(-1, ioctl(self->a.device, VFIO_DEVICE_GET_REGION_INFO, &region));

	/* As QEMU does it. */
	ASSERT_EQ(sizeof(config), vfio_region_read(&self->a, VFIO_PCI_CONFIG_REGION_INDEX, 0,
						   config, sizeof(config)));
	memcpy(ids, config, sizeof(ids));
	EXPECT_EQ(TESTDEV_VENDOR_ID, ids[0]);
	EXPECT_EQ(TESTDEV_DEVICE_ID, ids[1]);
	/* As firmware asks how large it is. */
	ASSERT_EQ(4, vfio_region_write(&self->a, VFIO_PCI_CONFIG_REGION_INDEX,
				       PCI_BASE_ADDRESS_0, &size, 4));
	ASSERT_EQ(4, vfio_region_read(&self->a, VFIO_PCI_CONFIG_REGION_INDEX,
				      PCI_BASE_ADDRESS_0, &bar, 4));
	EXPECT_EQ(TESTDEV_BAR_SIZE, ~bar + 1);

	EXPECT_EQ(TESTDEV_ID, reg_read(&self->a, TESTDEV_REG_ID));
	EXPECT_EQ(4, reg_write(&self->a, TESTDEV_REG_ID, 1));
	EXPECT_EQ(TESTDEV_ID, reg_read(&self->a, TESTDEV_REG_ID));
	EXPECT_EQ(4, reg_write(&self->a, TESTDEV_SCRATCH + 8, 0x01020304));
	EXPECT_EQ(1, vfio_region_write(&self->a, VFIO_PCI_BAR0_REGION_INDEX, TESTDEV_SCRATCH + 9,
				       &byte, 1));
	EXPECT_EQ(0x01025a04, reg_read(&self->a, TESTDEV_SCRATCH + 8));
	EXPECT_EQ(2, reg_read(&self->a, TESTDEV_REG_WRITES));
	/* At and beyond the end. */
	EXPECT_EQ(2, vfio_region_read(&self->a, VFIO_PCI_BAR0_REGION_INDEX, TESTDEV_BAR_SIZE - 2,
				      &size, 4));
	EXPECT_EQ(-EINVAL, vfio_region_read(&self->a, VFIO_PCI_BAR0_REGION_INDEX,
					    TESTDEV_BAR_SIZE, &size, 4));
	EXPECT_EQ(-EINVAL, vfio_region_write(&self->a, VFIO_PCI_ROM_REGION_INDEX, 0, &size, 4));

	ASSERT_EQ(0, vfio_reset(&self->a));
	EXPECT_EQ(0, reg_read(&self->a, TESTDEV_SCRATCH + 8));
}

/*
 * From each state to each one, as the interface has it: all but two from
 * STOP_COPY, and but to ERROR.
 */
TEST_F(vfio, arcs)
{
	static const char *const names[] = {
		"ERROR", "STOP", "RUNNING", "STOP_COPY", "RESUMING", "RUNNING_P2P", "PRE_COPY",
		"PRE_COPY_P2P",
	};
	uint32_t from, to, state;
	char name[32];
	uint8_t *data;
	ssize_t size;
	int fd, fd2;

	ASSERT_EQ(0, knob_set(&self->a, "initial_bytes", "100"));
	ASSERT_EQ(0, knob_set(&self->a, "stop_bytes", "100"));
	size = save(&self->a, &data);
	ASSERT_EQ(TESTDEV_HEADER + TESTDEV_TRAILER + 200, size);

	for (from = STOP; from < TESTDEV_STATES; from++) {
		for (to = ERROR; to <= TESTDEV_STATES; to++) {
			bool legal = to != ERROR && to < TESTDEV_STATES &&
				     !(from == STOP_COPY && (to == PRE_COPY || to == PRE_COPY_P2P));

			TH_LOG("%s to %s", names[from], to < TESTDEV_STATES ? names[to] : "8");
			ASSERT_EQ(0, vfio_reset(&self->a));
			ASSERT_EQ(0, vfio_set_state(&self->a, from, &fd));
			ASSERT_EQ(gives_fd(RUNNING, from), fd >= 0);
			if (from == RESUMING) {
				ASSERT_EQ(0, write_all(fd, data, size));
			}
			ASSERT_EQ(legal ? 0 : -EINVAL, vfio_set_state(&self->a, to, &fd2));
			EXPECT_EQ(legal && gives_fd(from, to), fd2 >= 0);
			ASSERT_EQ(0, vfio_get_state(&self->a, &state));
			/* Refused at once, or on the way. */
			EXPECT_EQ(legal ? to : from == RESUMING ? state : from, state);
			ASSERT_EQ(0, knob_get(&self->a, "state", name, sizeof(name)));
			name[strcspn(name, "\n")] = 0;
			EXPECT_STREQ(names[state], name);
			if (fd >= 0)
				close(fd);
			if (fd2 >= 0)
				close(fd2);
		}
	}
	free(data);
}

TEST_F(vfio, types)
{
	struct vfio_device_feature_migration mig = { 0 };
	struct testdev dev;
	uint64_t size;
	int fd;

	ASSERT_EQ(0, testdev_create(&dev, "fixed"));
	ASSERT_EQ(0, vfio_open(&dev));
	EXPECT_EQ(-ENOTTY, vfio_data_size(&dev, &size));
	EXPECT_EQ(-ENOTTY, vfio_set_state(&dev, STOP, &fd));
	ASSERT_EQ(0, testdev_remove(&dev));

	ASSERT_EQ(0, testdev_create(&dev, "stopcopy"));
	ASSERT_EQ(0, vfio_open(&dev));
	ASSERT_EQ(0, vfio_feature(&dev, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION,
				  &mig, sizeof(mig)));
	EXPECT_EQ(VFIO_MIGRATION_STOP_COPY, mig.flags);
	EXPECT_EQ(-EINVAL, vfio_set_state(&dev, PRE_COPY, &fd));
	EXPECT_EQ(-EINVAL, vfio_set_state(&dev, RUNNING_P2P, &fd));
	EXPECT_EQ(0, vfio_set_state(&dev, STOP_COPY, &fd));
	close(fd);
	ASSERT_EQ(0, testdev_remove(&dev));

	ASSERT_EQ(0, testdev_create(&dev, "precopy"));
	ASSERT_EQ(0, vfio_open(&dev));
	EXPECT_EQ(0, vfio_set_state(&dev, PRE_COPY, &fd));
	EXPECT_EQ(-EINVAL, vfio_set_state(&dev, PRE_COPY_P2P, &fd));
	EXPECT_EQ(0, vfio_set_state(&dev, STOP_COPY, &fd));
	ASSERT_EQ(0, testdev_remove(&dev));
}

/* Each byte that is announced comes, and none more. */
TEST_F(vfio, sizes)
{
	const size_t initial = 3 * MIB + 7, stop = 5 * MIB + 1;
	struct pollfd ready = { .events = POLLIN };
	struct vfio_precopy_info info;
	uint8_t *buf = malloc(16 * MIB);
	uint64_t size;
	int fd, none;

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, knob_set(&self->a, "initial_bytes", "%zu", initial));
	ASSERT_EQ(0, knob_set(&self->a, "stop_bytes", "%zu", stop));
	ASSERT_EQ(0, vfio_data_size(&self->a, &size));
	EXPECT_EQ(TESTDEV_HEADER + initial + stop + TESTDEV_TRAILER, size);

	ASSERT_EQ(0, vfio_set_state(&self->a, PRE_COPY, &fd));
	ASSERT_EQ(0, vfio_precopy_info(fd, &info));
	EXPECT_EQ(TESTDEV_HEADER + initial, info.initial_bytes);
	EXPECT_EQ(0, info.dirty_bytes);
	ASSERT_EQ(1000, read(fd, buf, 1000));
	ASSERT_EQ(0, vfio_precopy_info(fd, &info));
	EXPECT_EQ(TESTDEV_HEADER + initial - 1000, info.initial_bytes);
	EXPECT_EQ(TESTDEV_HEADER + initial - 1000, read_all(fd, buf, 16 * MIB));
	ASSERT_EQ(0, vfio_precopy_info(fd, &info));
	EXPECT_EQ(0, info.initial_bytes);
	EXPECT_EQ(-1, read(fd, buf, 1));
	EXPECT_EQ(ENOMSG, errno);
	ASSERT_EQ(0, vfio_data_size(&self->a, &size));
	EXPECT_EQ(stop + TESTDEV_TRAILER, size);

	/* Dirty bytes as many as the most, soon. */
	ASSERT_EQ(0, knob_set(&self->a, "dirty_max", "4096"));
	ASSERT_EQ(0, knob_set(&self->a, "dirty_rate", "%lu", 64 * MIB));
	ready.fd = fd;
	ASSERT_EQ(1, poll(&ready, 1, 10000));
	usleep(100000);
	ASSERT_EQ(0, vfio_precopy_info(fd, &info));
	EXPECT_EQ(0, info.initial_bytes);
	EXPECT_EQ(4096, info.dirty_bytes);
	ASSERT_EQ(0, knob_set(&self->a, "dirty_rate", "0"));
	EXPECT_EQ(4096, read_all(fd, buf, 4096));

	ASSERT_EQ(0, vfio_set_state(&self->a, STOP_COPY, &none));
	EXPECT_EQ(-EINVAL, vfio_precopy_info(fd, &info));
	ASSERT_EQ(0, vfio_data_size(&self->a, &size));
	EXPECT_GE(4096, size - (stop + TESTDEV_TRAILER));
	EXPECT_EQ(size, read_all(fd, buf, 16 * MIB));
	EXPECT_EQ(0, read(fd, buf, 1));
	ASSERT_EQ(0, vfio_data_size(&self->a, &size));
	EXPECT_EQ(0, size);

	ASSERT_EQ(0, vfio_set_state(&self->a, RUNNING, &none));
	EXPECT_EQ(-1, read(fd, buf, 1));
	EXPECT_EQ(ENODEV, errno);
	close(fd);
	free(buf);
}

/* A device that is stopped first has no time to become dirty, however fast it does. */
TEST_F(vfio, never_dirty)
{
	uint8_t *data;

	ASSERT_EQ(0, knob_set(&self->a, "initial_bytes", "0"));
	ASSERT_EQ(0, knob_set(&self->a, "stop_bytes", "0"));
	ASSERT_EQ(0, knob_set(&self->a, "dirty_rate", "%llu", 1ULL << 40));
	EXPECT_EQ(TESTDEV_HEADER + TESTDEV_TRAILER, save(&self->a, &data));
	free(data);
}

/* Sizes of which there is not as much memory. */
TEST_F(vfio, huge)
{
	struct vfio_precopy_info info;
	uint8_t *buf = malloc(MIB);
	uint64_t size;
	int fd;

	ASSERT_EQ(0, knob_set(&self->a, "initial_bytes", "%llu", 1ULL << 40));
	ASSERT_EQ(0, knob_set(&self->a, "stop_bytes", "%llu", 1ULL << 60));
	EXPECT_EQ(-ERANGE, knob_set(&self->a, "stop_bytes", "%llu", (1ULL << 60) + 1));
	ASSERT_EQ(0, vfio_set_state(&self->a, PRE_COPY, &fd));
	EXPECT_EQ(MIB, read_all(fd, buf, MIB));
	ASSERT_EQ(0, vfio_precopy_info(fd, &info));
	EXPECT_EQ((1ULL << 40) + TESTDEV_HEADER - MIB, info.initial_bytes);
	ASSERT_EQ(0, vfio_data_size(&self->a, &size));
	EXPECT_EQ(info.initial_bytes + (1ULL << 60) + TESTDEV_TRAILER, size);
	close(fd);
	free(buf);
}

/* The registers move, while precopy data comes and the device changes. */
TEST_F(vfio, round_trip)
{
	uint8_t *buf = malloc(8 * MIB);
	ssize_t n, done, part;
	unsigned int i;
	int from, to, none;

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, knob_set(&self->a, "dirty_rate", "%lu", MIB));
	ASSERT_EQ(0, vfio_set_state(&self->a, PRE_COPY, &from));
	ASSERT_EQ(0, vfio_set_state(&self->b, RESUMING, &to));
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(4, reg_write(&self->a, TESTDEV_SCRATCH + i * 4, 0x1000 + i));
		n = read_all(from, buf, i * 1111 + 1);
		ASSERT_LT(0, n);
		ASSERT_EQ(0, write_all(to, buf, n));
		usleep(10000);
	}
	ASSERT_EQ(0, vfio_set_state(&self->a, PRE_COPY_P2P, &none));
	ASSERT_EQ(4, reg_write(&self->a, TESTDEV_SCRATCH + 40, 0x100a));
	ASSERT_EQ(0, vfio_set_state(&self->a, STOP_COPY, &none));
	/* It does not change any more. */
	ASSERT_EQ(4, reg_write(&self->a, TESTDEV_SCRATCH, 0));
	n = read_all(from, buf, 8 * MIB);
	ASSERT_LT(MIB, n);
	for (done = 0, part = 1; done < n; done += part, part = part * 2 + 1) {
		if (part > n - done)
			part = n - done;
		ASSERT_EQ(0, write_all(to, buf + done, part));
	}
	ASSERT_EQ(0, vfio_set_state(&self->b, RUNNING, &none));
	for (i = 0; i <= 10; i++)
		EXPECT_EQ(0x1000 + i, reg_read(&self->b, TESTDEV_SCRATCH + i * 4));
	EXPECT_EQ(11, reg_read(&self->b, TESTDEV_REG_WRITES));
	EXPECT_EQ(1, reg_read(&self->b, TESTDEV_REG_LOADS));
	EXPECT_EQ(-1, write(to, buf, 1));
	EXPECT_EQ(ENODEV, errno);
	close(from);
	close(to);
	free(buf);
}

/* One wrong bit anywhere, and a byte too few or too many. */
TEST_F(vfio, corrupted)
{
	static const size_t where[] = {
		0, 8, 12, 16, 24, TESTDEV_HEADER, TESTDEV_HEADER + 1, TESTDEV_HEADER + 4999,
		TESTDEV_HEADER + 9999, TESTDEV_HEADER + 10000, TESTDEV_HEADER + 10008,
		TESTDEV_HEADER + 10016 + TESTDEV_SCRATCH,
		TESTDEV_HEADER + 10000 + TESTDEV_TRAILER - 1,
	};
	uint32_t state;
	uint8_t *data;
	ssize_t size;
	size_t i;
	int fd;

	ASSERT_EQ(0, knob_set(&self->a, "initial_bytes", "0"));
	ASSERT_EQ(0, knob_set(&self->a, "stop_bytes", "10000"));
	size = save(&self->a, &data);
	ASSERT_EQ(TESTDEV_HEADER + 10000 + TESTDEV_TRAILER, size);
	ASSERT_EQ(0, load(&self->b, data, size));

	for (i = 0; i < sizeof(where) / sizeof(*where); i++) {
		TH_LOG("byte %zu", where[i]);
		ASSERT_EQ(0, vfio_reset(&self->b));
		data[where[i]] ^= 0x10;
		EXPECT_EQ(-EINVAL, load(&self->b, data, size));
		data[where[i]] ^= 0x10;
		ASSERT_EQ(0, vfio_get_state(&self->b, &state));
		EXPECT_EQ(RESUMING, state);
	}
	for (i = 0; i < 3; i++) {
		static const size_t less[] = { 1, 8, 10000 };

		ASSERT_EQ(0, vfio_reset(&self->b));
		EXPECT_EQ(-EINVAL, load(&self->b, data, size - less[i]));
	}
	ASSERT_EQ(0, vfio_reset(&self->b));
	EXPECT_EQ(-EINVAL, load(&self->b, data, size + 1));
	ASSERT_EQ(0, vfio_reset(&self->b));
	EXPECT_EQ(-EINVAL, load(&self->b, data, 0));
	/* It can't be left but by a reset. */
	EXPECT_EQ(-EINVAL, vfio_set_state(&self->b, RUNNING, &fd));
	ASSERT_EQ(0, vfio_reset(&self->b));
	ASSERT_EQ(0, vfio_get_state(&self->b, &state));
	EXPECT_EQ(RUNNING, state);
	EXPECT_EQ(0, load(&self->b, data, size));
	free(data);
}

/* Numbers that are not true, in turn. */
TEST_F(vfio, reported)
{
	struct vfio_precopy_info info;
	uint64_t size, real, other;
	uint32_t state;
	char text[256];
	int fd;

	ASSERT_EQ(0, vfio_data_size(&self->a, &real));
	ASSERT_EQ(0, knob_set(&self->a, "report_data_size", "0 0xffffffffffffffff -4096 real"));
	ASSERT_EQ(0, vfio_data_size(&self->a, &size));
	EXPECT_EQ(0, size);
	ASSERT_EQ(0, vfio_data_size(&self->a, &size));
	EXPECT_EQ(UINT64_MAX, size);
	ASSERT_EQ(0, vfio_data_size(&self->a, &size));
	EXPECT_EQ(UINT64_MAX - 4095, size);
	ASSERT_EQ(0, vfio_data_size(&self->a, &size));
	EXPECT_EQ(real, size);
	ASSERT_EQ(0, vfio_data_size(&self->a, &size));
	EXPECT_EQ(0, size);
	ASSERT_EQ(0, knob_get(&self->a, "report_data_size", text, sizeof(text)));
	EXPECT_STREQ("0 18446744073709551615 18446744073709547520 real\n", text);
	ASSERT_EQ(0, knob_set(&self->a, "report_data_size", "random"));
	ASSERT_EQ(0, vfio_data_size(&self->a, &size));
	ASSERT_EQ(0, vfio_data_size(&self->a, &other));
	EXPECT_NE(size, other);
	ASSERT_EQ(0, knob_set(&self->a, "report_data_size", "real"));
	ASSERT_EQ(0, vfio_data_size(&self->a, &size));
	EXPECT_EQ(real, size);
	EXPECT_EQ(-EINVAL, knob_set(&self->a, "report_data_size", "nonsense"));
	EXPECT_EQ(-EINVAL, knob_set(&self->a, "report_data_size", " "));
	EXPECT_EQ(-E2BIG, knob_set(&self->a, "report_data_size",
				   "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"));

	ASSERT_EQ(0, knob_set(&self->a, "report_initial", "1"));
	ASSERT_EQ(0, knob_set(&self->a, "report_dirty", "-1"));
	ASSERT_EQ(0, vfio_set_state(&self->a, PRE_COPY, &fd));
	ASSERT_EQ(0, vfio_precopy_info(fd, &info));
	EXPECT_EQ(1, info.initial_bytes);
	EXPECT_EQ(UINT64_MAX, info.dirty_bytes);
	close(fd);

	ASSERT_EQ(0, knob_set(&self->a, "report_state", "77"));
	ASSERT_EQ(0, vfio_get_state(&self->a, &state));
	EXPECT_EQ(77, state);
}

TEST_F(vfio, errnos)
{
	struct vfio_precopy_info info;
	uint32_t state;
	uint64_t size, page = 4096;
	uint8_t byte;
	int fd, fd2, none;

	ASSERT_EQ(0, knob_set(&self->a, "errno_get_data_size", "%d 2", EIO));
	EXPECT_EQ(-EIO, vfio_data_size(&self->a, &size));
	EXPECT_EQ(-EIO, vfio_data_size(&self->a, &size));
	EXPECT_EQ(0, vfio_data_size(&self->a, &size));
	EXPECT_EQ(3, knob_number(&self->a, "count_get_data_size"));
	EXPECT_EQ(-ERANGE, knob_set(&self->a, "errno_get_data_size", "512"));
	EXPECT_EQ(-EINVAL, knob_set(&self->a, "errno_get_data_size", "x"));

	ASSERT_EQ(0, knob_set(&self->a, "errno_get_state", "%d", EBADE));
	EXPECT_EQ(-EBADE, vfio_get_state(&self->a, &state));
	EXPECT_EQ(-EBADE, vfio_get_state(&self->a, &state));
	ASSERT_EQ(0, knob_set(&self->a, "errno_get_state", "0"));

	ASSERT_EQ(0, knob_set(&self->a, "errno_log_start", "%d 1", ENOSPC));
	EXPECT_EQ(-ENOSPC, vfio_log_start(&self->a, 0, MIB, &page));
	ASSERT_EQ(0, vfio_log_start(&self->a, 0, MIB, &page));
	ASSERT_EQ(0, knob_set(&self->a, "errno_log_stop", "%d 1", EIO));
	EXPECT_EQ(-EIO, vfio_log_stop(&self->a));
	EXPECT_EQ(0, vfio_log_stop(&self->a));

	ASSERT_EQ(0, vfio_set_state(&self->a, PRE_COPY, &fd));
	ASSERT_EQ(0, knob_set(&self->a, "errno_precopy_info", "%d", ENODATA));
	EXPECT_EQ(-ENODATA, vfio_precopy_info(fd, &info));
	ASSERT_EQ(0, knob_set(&self->a, "errno_read", "%d 1", EIO));
	EXPECT_EQ(-1, read(fd, &byte, 1));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(1, read(fd, &byte, 1));
	ASSERT_EQ(0, vfio_set_state(&self->b, RESUMING, &fd2));
	ASSERT_EQ(0, knob_set(&self->b, "errno_write", "%d 1", ENOSPC));
	EXPECT_EQ(-1, write(fd2, &byte, 1));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(1, write(fd2, &byte, 1));
	close(fd2);

	ASSERT_EQ(0, knob_set(&self->a, "errno_set_state", "%d 2", EBUSY));
	EXPECT_EQ(-EBUSY, vfio_set_state(&self->a, STOP_COPY, &none));
	ASSERT_EQ(0, vfio_get_state(&self->a, &state));
	EXPECT_EQ(PRE_COPY, state);
	ASSERT_EQ(0, knob_set(&self->a, "error_state", "1"));
	EXPECT_EQ(-EBUSY, vfio_set_state(&self->a, STOP_COPY, &none));
	ASSERT_EQ(0, vfio_get_state(&self->a, &state));
	EXPECT_EQ(ERROR, state);
	EXPECT_EQ(~0U, reg_read(&self->a, TESTDEV_REG_ID));
	EXPECT_EQ(-1, read(fd, &byte, 1));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(-EINVAL, vfio_set_state(&self->a, RUNNING, &none));
	ASSERT_EQ(0, knob_set(&self->a, "errno_reset", "%d 1", EAGAIN));
	EXPECT_EQ(-EAGAIN, vfio_reset(&self->a));
	ASSERT_EQ(0, vfio_reset(&self->a));
	ASSERT_EQ(0, vfio_get_state(&self->a, &state));
	EXPECT_EQ(RUNNING, state);
	close(fd);
}

static void *ask_size(void *data)
{
	const struct testdev *dev = data;
	uint64_t size;

	return (void *)(long)vfio_data_size(dev, &size);
}

static void on_signal(int signal)
{
	(void)signal;
}

static bool until_called(const struct testdev *dev, const char *count, uint64_t times)
{
	unsigned int i;

	for (i = 0; i < 1000 && knob_number(dev, count) < times; i++)
		usleep(10000);
	return i < 1000;
}

/* Half a minute that only the caller waits, unless it or the knob ends it. */
TEST_F(vfio, delays)
{
	struct sigaction action = { .sa_handler = on_signal };
	uint64_t start = now_ns(), size;
	uint32_t state;
	pthread_t thread;
	void *ret;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	ASSERT_EQ(0, knob_set(&self->a, "delay_get_data_size", "200"));
	ASSERT_EQ(0, vfio_data_size(&self->a, &size));
	EXPECT_LE(200000000, now_ns() - start);

	ASSERT_EQ(0, knob_set(&self->a, "delay_get_data_size", "%d", LONG_MS));
	start = now_ns();
	ASSERT_EQ(0, pthread_create(&thread, NULL, ask_size, &self->a));
	ASSERT_EQ(true, until_called(&self->a, "count_get_data_size", 2));
	ASSERT_EQ(0, vfio_get_state(&self->a, &state));
	ASSERT_EQ(0, vfio_reset(&self->a));
	ASSERT_EQ(0, vfio_data_size(&self->b, &size));
	ASSERT_EQ(0, pthread_kill(thread, SIGUSR1));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(-EINTR, (long)ret);

	ASSERT_EQ(0, pthread_create(&thread, NULL, ask_size, &self->a));
	ASSERT_EQ(true, until_called(&self->a, "count_get_data_size", 3));
	ASSERT_EQ(0, knob_set(&self->a, "delay_get_data_size", "0"));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(0, (long)ret);
	EXPECT_GT(SOON_NS, now_ns() - start);
}

/* Where the kernel has it, new initial data is told of, once. Where not, it is dirty. */
TEST_F(vfio, reinit)
{
	struct vfio_precopy_info info;
	uint8_t *buf = malloc(2 * MIB);
	bool told;
	int fd;

	told = !vfio_feature(&self->a, VFIO_DEVICE_FEATURE_SET |
			     VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2, NULL, 0);
	EXPECT_EQ(-EBUSY, knob_set(&self->a, "reinit", "1000"));
	ASSERT_EQ(0, vfio_set_state(&self->a, PRE_COPY, &fd));
	ASSERT_LT(0, read_all(fd, buf, 2 * MIB));
	ASSERT_EQ(0, knob_set(&self->a, "reinit", "1000"));
	ASSERT_EQ(0, vfio_precopy_info(fd, &info));
	EXPECT_EQ(told ? 1000 : 0, info.initial_bytes);
	EXPECT_EQ(told ? 0 : 1000, info.dirty_bytes);
	EXPECT_EQ(told ? VFIO_PRECOPY_INFO_REINIT : 0, info.flags);
	ASSERT_EQ(0, vfio_precopy_info(fd, &info));
	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(1000, read_all(fd, buf, MIB));
	close(fd);

	/* Who did not ask for it is not told. */
	ASSERT_EQ(0, vfio_set_state(&self->b, PRE_COPY, &fd));
	ASSERT_EQ(0, knob_set(&self->b, "reinit", "1000"));
	ASSERT_EQ(0, vfio_precopy_info(fd, &info));
	EXPECT_EQ(1000, info.dirty_bytes);
	close(fd);
	free(buf);
}

/* The data fd may be the last that is left of a device. */
TEST_F(vfio, data_fd_outlives)
{
	struct vfio_precopy_info info;
	struct testdev dev;
	uint8_t byte;
	int fd;

	ASSERT_EQ(0, testdev_create(&dev, "full"));
	ASSERT_EQ(0, vfio_open(&dev));
	ASSERT_EQ(0, vfio_set_state(&dev, PRE_COPY, &fd));
	ASSERT_EQ(1, read(fd, &byte, 1));
	ASSERT_EQ(0, testdev_remove(&dev));
	EXPECT_EQ(-1, read(fd, &byte, 1));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(-ENODEV, vfio_precopy_info(fd, &info));
	EXPECT_EQ(0, close(fd));
}

static void *remove_mdev(void *data)
{
	struct testdev *dev = data;
	/* A copy: it is the VMM that closes it. */
	struct testdev other = *dev;

	other.container = -1;
	other.group = -1;
	other.device = -1;
	return (void *)(long)testdev_remove(&other);
}

/* Who removes an mdev that is open waits; the VMM is asked to close it. */
TEST_F(vfio, remove_while_open)
{
	struct {
		struct vfio_irq_set set;
		int fd;
	} irq = {
		.set.argsz = sizeof(irq),
		.set.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.set.index = VFIO_PCI_REQ_IRQ_INDEX,
		.set.count = 1,
	};
	struct testdev dev;
	pthread_t thread;
	uint64_t size, events;
	void *ret;

	ASSERT_EQ(0, testdev_create(&dev, "full"));
	ASSERT_EQ(0, vfio_open(&dev));
	irq.fd = eventfd(0, EFD_CLOEXEC);
	ASSERT_EQ(0, ioctl(dev.device, VFIO_DEVICE_SET_IRQS, &irq));
	/* A call that sleeps does not hold it up. */
	ASSERT_EQ(0, knob_set(&dev, "delay_get_data_size", "%d", LONG_MS));
	ASSERT_EQ(0, pthread_create(&thread, NULL, remove_mdev, &dev));
	ASSERT_EQ(sizeof(events), read(irq.fd, &events, sizeof(events)));
	ASSERT_EQ(0, vfio_data_size(&dev, &size));
	vfio_close(&dev);
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(0, (long)ret);
	EXPECT_EQ(-ENOENT, vfio_open(&dev));
	close(irq.fd);
}

static int unload(void)
{
	return syscall(SYS_delete_module, "vfio_testdev", O_NONBLOCK) ? -errno : 0;
}

/* An open device, and a data fd alone, hold the module; an mdev does not. */
TEST_F(vfio, unload_while_open)
{
	int fd;

	EXPECT_EQ(-EWOULDBLOCK, unload());
	ASSERT_EQ(0, vfio_set_state(&self->a, STOP_COPY, &fd));
	vfio_close(&self->a);
	vfio_close(&self->b);
	EXPECT_EQ(-EWOULDBLOCK, unload());
	close(fd);
	ASSERT_EQ(0, unload());
	ASSERT_EQ(0, testdev_load());
	/* For the teardown. */
	ASSERT_EQ(0, testdev_create(&self->a, "full"));
	ASSERT_EQ(0, testdev_create(&self->b, "full"));
}

/* A VMM that is killed, in the midst of all: nothing is left of it. */
TEST_F(vfio, killed)
{
	struct testdev dev;
	int status, ready[2], fd;
	uint8_t byte;
	pid_t pid;

	ASSERT_EQ(0, testdev_create(&dev, "full"));
	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (vfio_open(&dev) || vfio_set_state(&dev, PRE_COPY, &fd) ||
		    knob_set(&dev, "delay_read", "%d", LONG_MS) || write(ready[1], "", 1) != 1)
			_exit(1);
		_exit(read(fd, &byte, 1));
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	ASSERT_EQ(true, until_called(&dev, "count_read", 1));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(true, WIFSIGNALED(status));
	EXPECT_EQ(0, testdev_remove(&dev));
	close(ready[0]);
	close(ready[1]);
}

TEST_HARNESS_MAIN
