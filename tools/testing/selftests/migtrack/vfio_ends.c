// SPDX-License-Identifier: GPL-2.0-or-later
/* VFIO devices as sources: those that answer late, or go, and those who ask them. */

#include <stdio.h>
#include <sys/wait.h>

#include "host.h"
#include "vfio_source.h"

/* A device that takes 30 s keeps its own numbers only waiting. */
TEST_F_TIMEOUT(vfio, slow, 120)
{
	struct migtrack_source s, other;
	struct vmm_device dev;
	uint64_t start, session;
	uint32_t id, other_id;
	int fd;

	vmm_device_open(&dev, "full");
	vmm_device_set(&dev, "report_data_size", "5000");
	vmm_device_set(&self->dev, "report_data_size", "1000");
	ASSERT_EQ(0, vmm_device_track(self->mt, self->fd, &dev, "other", &id));
	ASSERT_EQ(0, migtrack_session_new(self->mt, &session, &fd));
	ASSERT_EQ(0, vmm_device_track(self->mt, fd, &dev, "other", &other_id));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));

	vmm_device_answers_within(VMM_DEVICE_ANSWER_MS);
	vmm_device_set_number(&self->dev, "delay_get_data_size", ms(30000));
	vmm_device_set(&self->dev, "report_data_size", "1001");
	vmm_device_set(&dev, "report_data_size", "6000");
	start = now_ns();
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
	EXPECT_LT(now_ns() - start, ms(15000) * NS_PER_MS);
	s = get(self);
	EXPECT_EQ(1000, s.bytes.total);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_STALE, s.flags);
	ASSERT_EQ(0, migtrack_source_get(self->mt, self->session, id, &other));
	EXPECT_EQ(6000, other.bytes.total);
	EXPECT_EQ(GOOD, other.flags);

	/* It is not waited for again, here or elsewhere. */
	start = now_ns();
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
		ASSERT_EQ(0, migtrack_sync(self->mt, fd, MIGTRACK_SYNC_KIND_SETUP));
		ASSERT_EQ(0, migtrack_sync_wait(fd, 30000));
	}
	/* Half a second for each of twenty, if it were. */
	EXPECT_LT(now_ns() - start, ms(8000) * NS_PER_MS);

	/* Listeners are told when it answers. */
	vmm_device_set(&self->dev, "delay_get_data_size", "0");
	ASSERT_EQ(0, change(self, GOOD, &s, ms(30000)));
	EXPECT_EQ(self->id, s.id);
	EXPECT_EQ(1001, s.bytes.total);
	EXPECT_EQ(GOOD, get(self).flags);

	vmm_device_close(&dev);
	vmm_device_remove(&dev);
	close(fd);
}

/*
 * A device that takes longer than it is waited for, and a session that syncs more
 * often than it answers: each answer is told, and is of a question that was asked
 * after the one before.
 */
TEST_F_TIMEOUT(vfio, slower_than_syncs, 120)
{
	struct migtrack_source s;
	uint64_t last = 1000;
	int told = 0;

	vmm_device_set(&self->dev, "report_data_size", "1000");
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));
	vmm_device_answers_within(VMM_DEVICE_ANSWER_MS);
	vmm_device_set_number(&self->dev, "delay_get_data_size", 700);
	for (int i = 0; i < 200; i++) {
		vmm_device_set_number(&self->dev, "report_data_size", 2000 + i);
		ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_ITERATION));
		while (!change(self, GOOD, &s, 1)) {
			told++;
			/* Asked twice since the number changed, if that was long ago. */
			if (s.bytes.total != 2000 + i)
				EXPECT_LT(last, s.bytes.total);
			EXPECT_LE(last, s.bytes.total);
			last = s.bytes.total;
		}
		usleep(20000);
	}
	TH_LOG("told %d times in 200 syncs", told);
	EXPECT_LE(3, told);
	vmm_device_set(&self->dev, "delay_get_data_size", "0");
}

/* Its session can end meanwhile, and the device with it. */
TEST_F_TIMEOUT(vfio, ends_while_slow, 120)
{
	struct migtrack_session session;
	uint64_t start = now_ns();

	vmm_device_set_number(&self->dev, "delay_get_data_size", ms(30000));
	ASSERT_EQ(0, migtrack_sync(self->mt, self->fd, MIGTRACK_SYNC_KIND_SETUP));
	ASSERT_EQ(0, migtrack_session_del(self->mt, self->fd));
	EXPECT_EQ(-ENOENT, migtrack_session_get(self->mt, self->session, &session));
	/* Unplugging wakes up who is in the device. */
	vmm_device_close(&self->dev);
	vmm_device_remove(&self->dev);
	EXPECT_LT(now_ns() - start, ms(15000) * NS_PER_MS);
	vmm_device_open(&self->dev, "full");
}

/* The VMM closes it, as it does to unplug it or when it is killed. */
TEST_F_TIMEOUT(vfio, closed, 60)
{
	struct migtrack_source s;
	uint64_t start;

	vmm_device_set(&self->dev, "report_data_size", "1000");
	vmm_device_set(&self->dev, "report_initial", "20");
	pre_copy(self);
	ASSERT_EQ(0, migtrack_source_set_data(self->mt, self->fd, self->id, self->dev.data));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));
	start = now_ns();
	vmm_device_close(&self->dev);
	ASSERT_EQ(0, change(self, MIGTRACK_COUNTER_FLAGS_GONE, &s, ms(10000)));
	TH_LOG("told after %llu ms", (unsigned long long)((now_ns() - start) / NS_PER_MS));
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_GONE | MIGTRACK_COUNTER_FLAGS_STALE, s.flags);
	EXPECT_EQ(1000, s.bytes.total);
	/* It can be opened again, while the session still has it. */
	vmm_device_reopen(&self->dev);
	s = exact(self);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_GONE | MIGTRACK_COUNTER_FLAGS_STALE, s.flags);
	EXPECT_EQ(0, migtrack_source_del(self->mt, self->fd, self->id));
}

static long mm_structs(void)
{
	return host_number("/proc/slabinfo", "mm_struct");
}

/* Who syncs a session whose device is gone is not remembered as one to ask it by. */
TEST_F_TIMEOUT(vfio, asked_for_when_gone, 280)
{
	const long askers = 100;
	long before = 0;
	pid_t pid;
	int status;

	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));
	for (long i = 0; i < askers; i++) {
		vmm_device_close(&self->dev);
		while (!(get(self).flags & MIGTRACK_COUNTER_FLAGS_GONE))
			usleep(1000);
		if (!i)
			before = mm_structs();
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			struct migtrack *mt;

			_exit(migtrack_open(&mt) ||
			      migtrack_sync(mt, self->fd, MIGTRACK_SYNC_KIND_HELPER) ||
			      migtrack_sync_wait(self->fd, ms(5000)));
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status);
		ASSERT_EQ(0, migtrack_source_del(self->mt, self->fd, self->id));
		vmm_device_reopen(&self->dev);
		ASSERT_EQ(0, vmm_device_track(self->mt, self->fd, &self->dev, NAME, &self->id));
	}
	TH_LOG("mm_structs: %ld before, %ld after", before, mm_structs());
	/* The debug kernel keeps what was freed for a while, and tells of leaks itself. */
	if (!access("/sys/kernel/debug/kmemleak", F_OK))
		return;
	/* The allocator's own count is not exact; a leak would be of all. */
	EXPECT_GT(before + askers / 2, mm_structs());
}

/* Two sessions have it, and neither keeps it from going. */
TEST_F_TIMEOUT(vfio, removed, 60)
{
	struct migtrack_source s;
	uint64_t session, start;
	uint32_t id;
	int fd;

	ASSERT_EQ(0, migtrack_session_new(self->mt, &session, &fd));
	ASSERT_EQ(0, vmm_device_track(self->mt, fd, &self->dev, NULL, &id));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));
	vmm_device_close(&self->dev);
	start = now_ns();
	vmm_device_remove(&self->dev);
	EXPECT_LT(now_ns() - start, ms(3000) * NS_PER_MS);
	/* Both are told, one after the other, once the file is closed. */
	do {
		ASSERT_EQ(0, migtrack_source_get(self->mt, session, id, &s));
	} while (!(s.flags & MIGTRACK_COUNTER_FLAGS_GONE) && !usleep(1000) &&
		 now_ns() - start < ms(30000) * NS_PER_MS);
	EXPECT_NE(0, s.flags & MIGTRACK_COUNTER_FLAGS_GONE);
	close(fd);
	vmm_device_open(&self->dev, "full");
}

/* The module can't be removed while there is a source, and can right after. */
TEST_F_TIMEOUT(vfio, module, 60)
{
	uint64_t end;

	EXPECT_NE(0, system("rmmod migtrack_vfio 2>/dev/null"));
	ASSERT_EQ(0, sync_kind(self, MIGTRACK_SYNC_KIND_SETUP));
	EXPECT_NE(0, system("rmmod migtrack_vfio 2>/dev/null"));
	ASSERT_EQ(0, migtrack_source_del(self->mt, self->fd, self->id));
	end = now_ns() + ms(30000) * NS_PER_MS;
	while (system("rmmod migtrack_vfio 2>/dev/null") && now_ns() < end)
		usleep(50000);
	EXPECT_NE(0, access("/sys/module/migtrack_vfio", F_OK));
}

/* Who asks from now on is another process; the first one has ended. */
TEST_F_TIMEOUT(vfio, handed_over, 60)
{
	struct migtrack_source s;
	int status;
	pid_t pid;

	vmm_device_set(&self->dev, "report_data_size", "1000");
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct migtrack *mt;

		_exit(migtrack_open(&mt) ||
		      migtrack_sync(mt, self->fd, MIGTRACK_SYNC_KIND_SETUP) ||
		      migtrack_sync_wait(self->fd, 5000));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(1000, get(self).bytes.total);
	vmm_device_set(&self->dev, "report_data_size", "1001");
	s = exact(self);
	EXPECT_EQ(1001, s.bytes.total);
	EXPECT_EQ(GOOD, s.flags);
}

/* It ends before it was answered: the sync goes on without the device. */
TEST_F_TIMEOUT(vfio, asker_killed, 60)
{
	struct migtrack_source s;
	int status;
	pid_t pid;

	vmm_device_set(&self->dev, "report_data_size", "1000");
	vmm_device_answers_within(VMM_DEVICE_ANSWER_MS);
	vmm_device_set(&self->dev, "delay_get_data_size", "1500");
	for (int i = 0; i < 3; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			struct migtrack *mt;

			if (!migtrack_open(&mt))
				migtrack_sync(mt, self->fd, MIGTRACK_SYNC_KIND_SETUP);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, migtrack_sync_wait(self->fd, ms(5000)));
	}
	/* The device is done with what it was asked before, sooner or later. */
	vmm_device_set(&self->dev, "delay_get_data_size", "0");
	for (int i = 0; i < 100 && (s = exact(self)).flags != GOOD; i++)
		usleep(100000);
	EXPECT_EQ(1000, s.bytes.total);
	EXPECT_EQ(GOOD, s.flags);
}

TEST_HARNESS_MAIN
