// SPDX-License-Identifier: GPL-2.0-or-later
/* VFIO devices as sources: their numbers, whatever they say. */

#include <limits.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "host.h"
#include "kernel_log.h"
#include "vfio_source.h"

#define KIB		1024ULL
#define MIB		(1024 * KIB)

TEST_F_TIMEOUT(vfio, unknown_before_the_first, 60)
{
	struct migtrack_source s = get(self);

	EXPECT_EQ(MIGTRACK_SOURCE_TYPE_VFIO, s.type);
	EXPECT_STREQ(NAME, s.name);
	EXPECT_EQ(0, s.time_ns);
	EXPECT_EQ(UNKNOWN, s.flags);
	EXPECT_EQ(MIGTRACK_UNKNOWN_BYTES, s.bytes.total);
	EXPECT_EQ(UINT32_MAX, s.device_state);
	EXPECT_EQ(UINT64_MAX, s.stopcopy_size);
	EXPECT_EQ(UINT64_MAX, s.precopy_initial);
	/* Nobody asked the driver for that. */
	EXPECT_EQ(0, vmm_device_number(&self->dev, "count_get_data_size"));
	EXPECT_EQ(0, vmm_device_number(&self->dev, "count_get_state"));
}

TEST_F_TIMEOUT(vfio, features, 60)
{
	const struct {
		const char *type;
		uint32_t features;
	} table[] = {
		{ "full", MIGTRACK_DEVICE_FEATURES_STOP_COPY | MIGTRACK_DEVICE_FEATURES_P2P |
			  MIGTRACK_DEVICE_FEATURES_PRE_COPY |
			  MIGTRACK_DEVICE_FEATURES_DIRTY_LOG },
		{ "nolog", MIGTRACK_DEVICE_FEATURES_STOP_COPY | MIGTRACK_DEVICE_FEATURES_P2P |
			   MIGTRACK_DEVICE_FEATURES_PRE_COPY },
		{ "precopy", MIGTRACK_DEVICE_FEATURES_STOP_COPY |
			     MIGTRACK_DEVICE_FEATURES_PRE_COPY },
		{ "p2p", MIGTRACK_DEVICE_FEATURES_STOP_COPY | MIGTRACK_DEVICE_FEATURES_P2P },
		{ "stopcopy", MIGTRACK_DEVICE_FEATURES_STOP_COPY },
	};
	struct migtrack_source s;
	struct vmm_device dev;
	uint32_t id;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		vmm_device_open(&dev, table[i].type);
		ASSERT_EQ(0, vmm_device_track(self->mt, self->fd, &dev, NULL, &id));
		ASSERT_EQ(0, migtrack_source_get(self->mt, self->session, id, &s));
		EXPECT_EQ(table[i].features,
			  s.device_features & ~MIGTRACK_DEVICE_FEATURES_REINIT)
			TH_LOG("%s", table[i].type);
		EXPECT_STREQ("", s.name);
		vmm_device_close(&dev);
		vmm_device_remove(&dev);
	}
}

/* What the precopy part is, is not in the stop-copy part. */
TEST_F_TIMEOUT(vfio, sizes, 60)
{
	struct migtrack_source s;
	struct migtrack_session session;

	vmm_device_set(&self->dev, "report_data_size", "1000000");
	vmm_device_set(&self->dev, "report_initial", "3000");
	vmm_device_set(&self->dev, "report_dirty", "500");
	s = exact(self);
	EXPECT_EQ(MIGTRACK_DEVICE_STATE_RUNNING, s.device_state);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_EXACT, s.flags);
	EXPECT_EQ(0, s.bytes.precopy);
	EXPECT_EQ(1000000, s.bytes.stopcopy);
	EXPECT_EQ(0, s.error);
	EXPECT_LT(now_ns() - s.time_ns, 5000 * NS_PER_MS);

	/* Without the data all that could be moved before is in the stop-copy part. */
	pre_copy(self);
	s = exact(self);
	EXPECT_EQ(MIGTRACK_DEVICE_STATE_PRE_COPY, s.device_state);
	EXPECT_EQ(0, s.bytes.precopy);
	EXPECT_EQ(1000000, s.bytes.stopcopy);
	EXPECT_EQ(UINT64_MAX, s.precopy_initial);

	ASSERT_EQ(0, migtrack_source_set_data(self->mt, self->fd, self->id, self->dev.data))
		TH_LOG("%s", migtrack_message(self->mt));
	s = exact(self);
	EXPECT_EQ(3500, s.bytes.precopy);
	EXPECT_EQ(996500, s.bytes.stopcopy);
	EXPECT_EQ(1000000, s.bytes.total);
	EXPECT_EQ(3000, s.precopy_initial);
	EXPECT_EQ(500, s.precopy_dirty);
	EXPECT_EQ(1000000, s.stopcopy_size);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_EXACT, s.flags);
	ASSERT_EQ(0, migtrack_session_get(self->mt, self->session, &session));
	EXPECT_EQ(1000000, session.bytes.total);
	EXPECT_EQ(3500, session.bytes.precopy);

	/* Stopped, nothing can be moved before the stop any more. */
	vmm_device_state(&self->dev, VFIO_DEVICE_STATE_STOP_COPY);
	s = exact(self);
	EXPECT_EQ(MIGTRACK_DEVICE_STATE_STOP_COPY, s.device_state);
	EXPECT_EQ(0, s.bytes.precopy);
	EXPECT_EQ(1000000, s.bytes.stopcopy);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_EXACT, s.flags);
}

/* 1.91 GiB that can be moved only while the guest is stopped. */
TEST_F_TIMEOUT(vfio, stop_only_state_stays, 60)
{
	const uint64_t stop = 1911 * MIB, initial = 8 * MIB;
	struct migtrack_source s;
	uint64_t before, small;
	char buffer[65536];
	ssize_t n;

	vmm_device_set_number(&self->dev, "initial_bytes", initial);
	vmm_device_set_number(&self->dev, "stop_bytes", stop);
	pre_copy(self);
	ASSERT_EQ(0, migtrack_source_set_data(self->mt, self->fd, self->id, self->dev.data));
	s = exact(self);
	EXPECT_GE(s.bytes.precopy, initial);
	EXPECT_GE(s.bytes.stopcopy, stop);
	EXPECT_LT(s.bytes.stopcopy, stop + 16 * KIB);
	before = s.bytes.precopy;
	small = s.bytes.stopcopy;

	for (uint64_t done = 0; done < initial; done += n) {
		n = read(self->dev.data, buffer, sizeof(buffer));
		ASSERT_GT(n, 0);
	}
	s = exact(self);
	EXPECT_LE(s.bytes.precopy, before - initial);
	EXPECT_EQ(small, s.bytes.stopcopy);
	EXPECT_GE(s.bytes.total, stop);
}

struct hostile {
	const char *size, *initial, *dirty;
	uint64_t precopy, stopcopy;
	uint32_t flags;
	unsigned int clamps;
};

#define CLAMPED	MIGTRACK_COUNTER_FLAGS_CLAMPED
#define MAX	"9223372036854775807"
#define OVER	"9223372036854775808"

/* Each follows a device that said 1000, 20, 3. */
static const struct hostile hostile[] = {
	{ "0", "0", "0", 0, 0, GOOD, 0 },
	{ "1", "0", "0", 0, 1, GOOD, 0 },
	{ "0", "20", "3", 23, 0, GOOD, 0 },
	{ "1000", "5000", "6000", 11000, 0, GOOD, 0 },
	{ MAX, "0", "0", 0, INT64_MAX, GOOD, 0 },
	{ MAX, "1", "0", 1, INT64_MAX - 1, GOOD, 0 },
	{ MAX, MAX, "0", INT64_MAX, 0, GOOD, 0 },
	{ OVER, "20", "3", 23, 977, CLAMPED, 1 },
	{ "-1", "20", "3", 23, 977, CLAMPED, 1 },
	{ "-4096", "20", "3", 23, 977, CLAMPED, 1 },
	{ "1000", "-1", "3", 23, 977, CLAMPED, 1 },
	{ "1000", "20", OVER, 23, 977, CLAMPED, 1 },
	{ "1000", MAX, MAX, 23, 977, CLAMPED, 1 },
	{ "1000", MAX, "1", 23, 977, CLAMPED, 1 },
	{ "-1", "-1", "-1", 23, 977, CLAMPED, 2 },
	{ "2000", "-1", "-1", 23, 1977, CLAMPED, 1 },
	{ "-1", "30", "4", 34, 966, CLAMPED, 1 },
};

TEST_F_TIMEOUT(vfio, hostile_sizes, 120)
{
	struct migtrack_source s;
	uint64_t clamps;

	pre_copy(self);
	ASSERT_EQ(0, migtrack_source_set_data(self->mt, self->fd, self->id, self->dev.data));
	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		const struct hostile *h = &hostile[i];

		vmm_device_set(&self->dev, "report_data_size", "1000");
		vmm_device_set(&self->dev, "report_initial", "20");
		vmm_device_set(&self->dev, "report_dirty", "3");
		s = exact(self);
		ASSERT_EQ(1000, s.bytes.total);
		clamps = s.clamps;

		vmm_device_set(&self->dev, "report_data_size", h->size);
		vmm_device_set(&self->dev, "report_initial", h->initial);
		vmm_device_set(&self->dev, "report_dirty", h->dirty);
		s = exact(self);
		EXPECT_EQ(h->precopy, s.bytes.precopy) TH_LOG("row %zu", i);
		EXPECT_EQ(h->stopcopy, s.bytes.stopcopy) TH_LOG("row %zu", i);
		EXPECT_EQ(h->precopy + h->stopcopy, s.bytes.total) TH_LOG("row %zu", i);
		EXPECT_EQ(h->flags, s.flags) TH_LOG("row %zu", i);
		EXPECT_EQ(clamps + h->clamps, s.clamps) TH_LOG("row %zu", i);
	}
}

/* The log says which device it is, but is not filled by it. */
TEST_F_TIMEOUT(vfio, the_warning_names_the_device, 60)
{
	unsigned int i, n;
	char text[128];

	snprintf(text, sizeof(text), "session %llu source %u: device " NAME ": impossible size",
		 (unsigned long long)self->session, self->id);
	vmm_device_set(&self->dev, "report_data_size", "-1");
	/* Others may have used up this interval's. */
	sleep(KERNEL_LOG_SECONDS + 1);
	for (i = 0; i < 10 * KERNEL_LOG_BURST; i++)
		EXPECT_EQ(i + 1, exact(self).clamps);
	n = kernel_log_count(text);
	EXPECT_GE(n, 1);
	EXPECT_LT(n, i);
}

/* Two of them: no sum of theirs wraps. */
TEST_F_TIMEOUT(vfio, totals_do_not_wrap, 60)
{
	struct migtrack_session session;
	struct vmm_device dev;
	uint32_t id;

	vmm_device_open(&dev, "full");
	ASSERT_EQ(0, vmm_device_track(self->mt, self->fd, &dev, "second", &id));
	vmm_device_set(&self->dev, "report_data_size", MAX);
	vmm_device_set(&dev, "report_data_size", MAX);
	ASSERT_EQ(0, migtrack_source_add_reported(self->mt, self->fd, 0, &id));
	ASSERT_EQ(0, migtrack_source_report(self->mt, self->fd, id, &(struct migtrack_report){
					    .bytes.stopcopy = INT64_MAX }));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));
	ASSERT_EQ(0, migtrack_session_get(self->mt, self->session, &session));
	EXPECT_EQ(UINT64_MAX, session.bytes.total);
	vmm_device_close(&dev);
	vmm_device_remove(&dev);
}

/* No good size yet: so much that nobody switches over. */
TEST_F_TIMEOUT(vfio, hostile_from_the_start, 60)
{
	struct migtrack_source s;

	vmm_device_set(&self->dev, "report_data_size", "-1");
	s = exact(self);
	EXPECT_EQ(MIGTRACK_UNKNOWN_BYTES, s.bytes.total);
	EXPECT_EQ(UNKNOWN | CLAMPED, s.flags);
	EXPECT_EQ(1, s.clamps);
	vmm_device_set(&self->dev, "report_data_size", "77");
	s = exact(self);
	EXPECT_EQ(77, s.bytes.total);
	EXPECT_EQ(GOOD, s.flags);
}

TEST_F_TIMEOUT(vfio, numbers_that_change, 60)
{
	struct migtrack_source s;

	vmm_device_set(&self->dev, "report_data_size", "random");
	for (int i = 0; i < 50; i++) {
		s = exact(self);
		EXPECT_EQ(0, s.bytes.precopy);
		EXPECT_EQ(s.bytes.total, s.bytes.stopcopy);
		EXPECT_LE(s.bytes.total, INT64_MAX);
		EXPECT_NE(0, s.flags & (GOOD | CLAMPED));
	}
	vmm_device_set(&self->dev, "report_state", "200");
	EXPECT_EQ(UINT32_MAX, exact(self).device_state);
}

static const int errnos[] = {
	EPERM, ENOENT, EINTR, EIO, ENXIO, EAGAIN, ENOMEM, EFAULT, EBUSY, ENODEV, EINVAL,
	ENOTTY, ENOSPC, EOVERFLOW, EOPNOTSUPP, ETIMEDOUT, ESHUTDOWN, ECANCELED, 511,
};

TEST_F_TIMEOUT(vfio, size_fails, 60)
{
	struct migtrack_source s;

	vmm_device_set(&self->dev, "report_data_size", "1000");
	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
		vmm_device_set_number(&self->dev, "errno_get_data_size", errnos[i]);
		s = exact(self);
		EXPECT_EQ(MIGTRACK_UNKNOWN_BYTES, s.bytes.total) TH_LOG("errno %d", errnos[i]);
		EXPECT_EQ(UNKNOWN, s.flags) TH_LOG("errno %d", errnos[i]);
		EXPECT_EQ(errnos[i], s.error);
		EXPECT_EQ(UINT64_MAX, s.stopcopy_size);
		vmm_device_set(&self->dev, "errno_get_data_size", "0");
		s = exact(self);
		EXPECT_EQ(1000, s.bytes.total);
		EXPECT_EQ(GOOD, s.flags);
		EXPECT_EQ(0, s.error);
	}
}

TEST_F_TIMEOUT(vfio, state_fails, 60)
{
	struct migtrack_source s;

	vmm_device_set(&self->dev, "report_data_size", "1000");
	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
		vmm_device_set_number(&self->dev, "errno_get_state", errnos[i]);
		s = exact(self);
		EXPECT_EQ(1000, s.bytes.total) TH_LOG("errno %d", errnos[i]);
		EXPECT_EQ(GOOD, s.flags) TH_LOG("errno %d", errnos[i]);
		EXPECT_EQ(errnos[i], s.error);
		EXPECT_EQ(UINT32_MAX, s.device_state);
	}
}

TEST_F_TIMEOUT(vfio, precopy_fails, 60)
{
	struct migtrack_source s;

	vmm_device_set(&self->dev, "report_data_size", "1000");
	vmm_device_set(&self->dev, "report_initial", "20");
	pre_copy(self);
	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
		bool normal = errnos[i] == EINVAL || errnos[i] == ENODEV || errnos[i] == ENOTTY;

		ASSERT_EQ(0, migtrack_source_set_data(self->mt, self->fd, self->id,
						      self->dev.data));
		vmm_device_set_number(&self->dev, "errno_precopy_info", errnos[i]);
		s = exact(self);
		EXPECT_EQ(0, s.bytes.precopy) TH_LOG("errno %d", errnos[i]);
		EXPECT_EQ(1000, s.bytes.stopcopy) TH_LOG("errno %d", errnos[i]);
		EXPECT_EQ(UINT64_MAX, s.precopy_initial);
		EXPECT_EQ(normal ? GOOD : MIGTRACK_COUNTER_FLAGS_STALE, s.flags)
			TH_LOG("errno %d", errnos[i]);
		EXPECT_EQ(normal ? 0 : errnos[i], s.error);
		vmm_device_set(&self->dev, "errno_precopy_info", "0");
	}
	/* It says that it has no precopy: it is not asked again by that descriptor. */
	ASSERT_EQ(0, migtrack_source_set_data(self->mt, self->fd, self->id, self->dev.data));
	EXPECT_EQ(20, exact(self).precopy_initial);
	vmm_device_set_number(&self->dev, "errno_precopy_info", ENOTTY);
	exact(self);
	vmm_device_set(&self->dev, "errno_precopy_info", "0");
	EXPECT_EQ(UINT64_MAX, exact(self).precopy_initial);
}

/* Who reads does not ask, nor does the last sync. */
TEST_F_TIMEOUT(vfio, reads_do_not_ask, 60)
{
	struct migtrack_source s;
	uint64_t count, time;

	vmm_device_set(&self->dev, "report_data_size", "1000");
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	count = vmm_device_number(&self->dev, "count_get_data_size");
	EXPECT_EQ(2, count);
	time = get(self).time_ns;
	vmm_device_set(&self->dev, "report_data_size", "2000");
	for (int i = 0; i < 100; i++)
		get(self);
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_FINAL));
	s = get(self);
	EXPECT_EQ(1000, s.bytes.total);
	EXPECT_EQ(time, s.time_ns);
	EXPECT_EQ(count, vmm_device_number(&self->dev, "count_get_data_size"));
	EXPECT_EQ(2000, exact(self).bytes.total);
}

/* Newer than the headers of some who build this. */
#define PRECOPY_INFO_V2	12

/* New initial data: the device is not ready again. Once its VMM asked to be told. */
TEST_F_TIMEOUT(vfio, reinit, 60)
{
	struct vfio_device_feature head = {
		.argsz = sizeof(head),
		.flags = VFIO_DEVICE_FEATURE_SET | PRECOPY_INFO_V2,
	};
	struct migtrack_source s;

	pre_copy(self);
	ASSERT_EQ(0, migtrack_source_set_data(self->mt, self->fd, self->id, self->dev.data));
	vmm_device_set(&self->dev, "reinit", "8192");
	EXPECT_EQ(GOOD, exact(self).flags);

	/* A kernel that does not have that can't have a device that tells. */
	if (!(get(self).device_features & MIGTRACK_DEVICE_FEATURES_REINIT)) {
		EXPECT_NE(0, ioctl(self->dev.testdev.device, VFIO_DEVICE_FEATURE, &head));
		return;
	}
	ASSERT_EQ(0, ioctl(self->dev.testdev.device, VFIO_DEVICE_FEATURE, &head));
	vmm_device_set(&self->dev, "reinit", "4096");
	s = exact(self);
	EXPECT_EQ(GOOD | MIGTRACK_COUNTER_FLAGS_REINIT, s.flags);
	EXPECT_GE(s.precopy_initial, 4096);
	EXPECT_EQ(s.stopcopy_size, s.bytes.total);
}

TEST_F_TIMEOUT(vfio, state_changes_are_told, 60)
{
	struct migtrack_source s;

	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));
	pre_copy(self);
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	ASSERT_EQ(0, change(self, GOOD, &s, ms(30000)));
	EXPECT_EQ(MIGTRACK_DEVICE_STATE_PRE_COPY, s.device_state);
}

TEST_F_TIMEOUT(vfio, refused_devices, 60)
{
	int pipes[2], event = eventfd(0, EFD_CLOEXEC);
	struct vmm_device fixed;
	uint32_t id;

	ASSERT_EQ(0, pipe(pipes));
	EXPECT_REFUSED(EBADF, "descriptor is not open",
		       migtrack_source_add_vfio(self->mt, self->fd, 1000, -1, NULL, &id));
	for (int i = 0; i < 5; i++) {
		int fd = (int[]){ pipes[0], event, self->dev.testdev.group, self->dev.testdev.container,
				  self->fd }[i];

		if (fd < 0)
			continue;
		EXPECT_REFUSED(EINVAL, "not the descriptor of a VFIO device",
			       migtrack_source_add_vfio(self->mt, self->fd, fd, -1, NULL, &id));
	}
	vmm_device_open(&fixed, "fixed");
	EXPECT_REFUSED(EOPNOTSUPP, "can't migrate",
		       migtrack_source_add_vfio(self->mt, self->fd, fixed.testdev.device, -1, NULL, &id));
	vmm_device_close(&fixed);
	vmm_device_remove(&fixed);
	EXPECT_REFUSED(EINVAL, "printable",
		       migtrack_source_add_vfio(self->mt, self->fd, self->dev.testdev.device, -1, "a\nb", &id));
	close(pipes[0]);
	close(pipes[1]);
	close(event);
}

TEST_F_TIMEOUT(vfio, refused_data, 60)
{
	int pipes[2], event = eventfd(0, EFD_CLOEXEC);
	struct migtrack_report report = { .bytes.stopcopy = 1 };
	struct vmm_device to;
	uint32_t id;

	ASSERT_EQ(0, pipe(pipes));
	EXPECT_REFUSED(EBADF, "descriptor is not open",
		       migtrack_source_set_data(self->mt, self->fd, self->id, 1000));
	for (int i = 0; i < 4; i++) {
		int fd = (int[]){ pipes[0], event, self->dev.testdev.device, self->fd }[i];

		EXPECT_REFUSED(EINVAL, "not the migration data",
			       migtrack_source_set_data(self->mt, self->fd, self->id, fd));
		EXPECT_REFUSED(EINVAL, "not the migration data",
			       migtrack_source_add_vfio(self->mt, self->fd, self->dev.testdev.device, fd,
							NULL, &id));
	}
	/* That of a device that is loaded. */
	vmm_device_open(&to, "full");
	vmm_device_state(&to, VFIO_DEVICE_STATE_RESUMING);
	EXPECT_REFUSED(EINVAL, "not the migration data",
		       migtrack_source_set_data(self->mt, self->fd, self->id, to.data));
	vmm_device_close(&to);
	vmm_device_remove(&to);

	pre_copy(self);
	EXPECT_REFUSED(ENOENT, "no such source",
		       migtrack_source_set_data(self->mt, self->fd, 99, self->dev.data));
	ASSERT_EQ(0, migtrack_source_add_reported(self->mt, self->fd, 0, &id));
	EXPECT_REFUSED(EINVAL, "only a VFIO device has migration data",
		       migtrack_source_set_data(self->mt, self->fd, id, self->dev.data));
	EXPECT_REFUSED(EINVAL, "the kernel itself asks",
		       migtrack_source_report(self->mt, self->fd, self->id, &report));
	close(pipes[0]);
	close(pipes[1]);
	close(event);
}

/* A device gets no time to say what it can do. */
TEST_F_TIMEOUT(vfio, does_not_answer, 60)
{
	struct vmm_device dev;
	uint32_t id;
	int ret = 0;

	vmm_device_answers_within(0);
	for (int i = 0; i < 50 && !ret; i++) {
		vmm_device_open(&dev, "full");
		ret = migtrack_source_add_vfio(self->mt, self->fd, dev.testdev.device, -1, NULL, &id);
		vmm_device_close(&dev);
		vmm_device_remove(&dev);
		if (!ret)
			migtrack_source_del(self->mt, self->fd, id);
	}
	vmm_device_answers_within(VMM_DEVICE_PATIENT_MS);
	EXPECT_EQ(-ETIMEDOUT, ret);
	EXPECT_NE(NULL, strstr(migtrack_message(self->mt), "does not answer"));
}

/* No room for the page that the device is asked by. */
TEST_F_TIMEOUT(vfio, no_room, 120)
{
	char line[64], *area;
	struct vmm_device dev;
	uint32_t id = 0;
	long most;
	int ret;

	most = strtol(host_read("/proc/sys/vm/max_map_count", line, sizeof(line)), NULL, 0);
	host_write("/proc/sys/vm/max_map_count", "4096");
	vmm_device_open(&dev, "full");
	area = mmap(NULL, 16384UL * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, area);
	for (long i = 0; i < 16384; i += 2)
		if (mprotect(area + i * 4096, 4096, PROT_READ))
			break;
	/* One more than a split may make. */
	for (int i = 0; i < 16; i++)
		if (mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_NONE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			break;
	ret = vmm_device_track(self->mt, self->fd, &dev, NULL, &id);
	munmap(area, 16384UL * 4096);
	host_write_number("/proc/sys/vm/max_map_count", most);
	EXPECT_EQ(-ENOMEM, ret);
	EXPECT_NE(NULL, strstr(migtrack_message(self->mt), "is it bound"));
	/* The same device, with room. */
	EXPECT_EQ(0, vmm_device_track(self->mt, self->fd, &dev, NULL, &id));
	vmm_device_close(&dev);
	vmm_device_remove(&dev);
}

/* The core says what it misses. */
TEST_F_TIMEOUT(vfio, without_the_module, 120)
{
	char line[256];
	int ret = -1, i;
	uint32_t id;

	ASSERT_EQ(0, migtrack_source_del(self->mt, self->fd, self->id));
	for (i = 0; i < 300 && (ret = system("rmmod migtrack_vfio 2>/dev/null")); i++)
		usleep(100000);
	ASSERT_EQ(0, ret);
	host_read("/proc/sys/kernel/modprobe", line, sizeof(line));
	host_write("/proc/sys/kernel/modprobe", "/bin/false");
	EXPECT_REFUSED(EOPNOTSUPP, "migtrack_vfio is not loaded",
		       migtrack_source_add_vfio(self->mt, self->fd, self->dev.testdev.device, -1, NULL, &id));
	host_write("/proc/sys/kernel/modprobe", strtok(line, "\n"));
	/* And loads it, but nobody waits for that; nor while it still is at the last try. */
	for (i = 0; i < 60; i++) {
		ret = migtrack_source_add_vfio(self->mt, self->fd, self->dev.testdev.device, -1,
					       NULL, &id);
		if (ret != -EOPNOTSUPP)
			break;
		sleep(1);
	}
	EXPECT_EQ(0, ret)
		TH_LOG("%s", migtrack_message(self->mt));
}

TEST_HARNESS_MAIN
