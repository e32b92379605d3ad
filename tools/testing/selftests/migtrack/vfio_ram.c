// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A guest that is nearly moved, but for its device: a real 2 GiB vGPU has 1.91 GiB
 * that can move only after the stop, while almost nothing of the memory is left.
 */

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harvest.h"
#include "kselftest_harness.h"
#include "vmm_device.h"

#define MIB		(1ULL << 20)
#define MEMORY		(64 * MIB)
#define PAGE		4096ULL
#define STOP		(1911 * MIB)
#define INITIAL		(8 * MIB)
/* With its stream's own bytes. */
#define STOP_BYTES	(STOP + TESTDEV_TRAILER)
#define INITIAL_BYTES	(INITIAL + TESTDEV_HEADER)

FIXTURE(guest) {
	struct harvest h;
	struct vmm_device dev;
	char *memory;
	uint64_t moved;
	uint32_t id;
	int mem_fd;
	pid_t vmm;
};

FIXTURE_SETUP(guest)
{
	ASSERT_EQ(0, testdev_load());
	ASSERT_EQ(0, system("modprobe -q migtrack_vfio"));
	self->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	/* Whose memory it is; we write to it as a back end would. */
	self->vmm = fork();
	if (!self->vmm) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	harvest_open(&self->h, self->vmm, self->mem_fd);
	harvest_settle(&self->h);
	vmm_device_open(&self->dev, "full");
	vmm_device_set_number(&self->dev, "initial_bytes", INITIAL);
	vmm_device_set_number(&self->dev, "stop_bytes", STOP);
	ASSERT_EQ(0, vmm_device_track(self->h.mt, self->h.fd, &self->dev, "0000:3b:00.1",
				      &self->id))
		TH_LOG("%s", migtrack_message(self->h.mt));
}

static void kill_vmm(FIXTURE_DATA(guest) *self)
{
	if (self->vmm > 0) {
		kill(self->vmm, SIGKILL);
		waitpid(self->vmm, NULL, 0);
	}
	self->vmm = 0;
}

FIXTURE_TEARDOWN(guest)
{
	vmm_device_answers_within(VMM_DEVICE_ANSWER_MS);
	harvest_close(&self->h);
	kill_vmm(self);
	vmm_device_close(&self->dev);
	vmm_device_remove(&self->dev);
	munmap(self->memory, MEMORY);
	close(self->mem_fd);
}

static struct migtrack_session session(FIXTURE_DATA(guest) *self)
{
	struct migtrack_session s;

	if (migtrack_session_get(self->h.mt, self->h.id, &s))
		memset(&s, 0xff, sizeof(s));
	return s;
}

static struct migtrack_source device(FIXTURE_DATA(guest) *self)
{
	struct migtrack_source s;

	if (migtrack_source_get(self->h.mt, self->h.id, self->id, &s))
		memset(&s, 0xff, sizeof(s));
	return s;
}

/* Takes all that was found and says that it has moved it, as a mover does. */
static size_t move_memory(FIXTURE_DATA(guest) *self)
{
	size_t pages = harvest_take(&self->h);

	self->moved += pages * PAGE;
	__atomic_store_n(&self->h.header->moved_bytes[self->h.map.id], self->moved,
			 __ATOMIC_SEQ_CST);
	return pages;
}

/* So much of what the device can move while it runs. */
static uint64_t move_device(FIXTURE_DATA(guest) *self, uint64_t bytes)
{
	static char buffer[MIB];
	uint64_t done = 0;
	ssize_t n;

	while (done < bytes) {
		n = read(self->dev.data, buffer,
			 bytes - done < sizeof(buffer) ? bytes - done : sizeof(buffer));
		if (n <= 0)
			break;
		done += n;
	}
	return done;
}

TEST_F_TIMEOUT(guest, remaining_counts_what_only_moves_stopped, 120)
{
	struct migtrack_session s;
	uint64_t left = INITIAL_BYTES;
	unsigned int i;

	vmm_device_state(&self->dev, VFIO_DEVICE_STATE_PRE_COPY);
	ASSERT_EQ(0, migtrack_source_set_data(self->h.mt, self->h.fd, self->id, self->dev.data));
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	s = session(self);
	EXPECT_EQ(MEMORY + INITIAL_BYTES, s.bytes.precopy);
	EXPECT_EQ(STOP_BYTES, s.bytes.stopcopy);
	EXPECT_EQ(MEMORY + INITIAL_BYTES + STOP_BYTES, s.bytes.total);
	EXPECT_EQ(MEMORY / PAGE, move_memory(self));
	/* Without another sync: the memory has moved, the device has not. */
	s = session(self);
	EXPECT_EQ(INITIAL_BYTES, s.bytes.precopy);
	EXPECT_EQ(STOP_BYTES, s.bytes.stopcopy);

	for (i = 0; i < 5; i++) {
		memset(self->memory + i * PAGE, 1, 1);
		ASSERT_EQ(INITIAL / 5, move_device(self, INITIAL / 5));
		left -= INITIAL / 5;
		harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
		s = session(self);
		EXPECT_EQ(i + 2, s.iteration);
		/* The page, and what of the device moves while it runs, which falls. */
		EXPECT_EQ(PAGE, harvest_source(&self->h).bytes.total);
		EXPECT_EQ(left, device(self).bytes.precopy);
		EXPECT_EQ(STOP_BYTES, device(self).bytes.stopcopy);
		EXPECT_EQ(PAGE + left, s.bytes.precopy);
		/* What does not does not. */
		EXPECT_EQ(STOP_BYTES, s.bytes.stopcopy);
		EXPECT_EQ(PAGE + left + STOP_BYTES, s.bytes.total);
		EXPECT_EQ(s.bytes.total, self->h.header->total_bytes);
		EXPECT_EQ(1, move_memory(self));
	}
	/* The rest of the initial data, and then nothing that moves is left. */
	ASSERT_EQ(left, move_device(self, left));
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_EQ(0, move_memory(self));
	s = session(self);
	EXPECT_EQ(0, s.bytes.precopy);
	EXPECT_EQ(STOP_BYTES, s.bytes.stopcopy);
	EXPECT_EQ(STOP_BYTES, s.bytes.total);
	EXPECT_EQ(0, device(self).precopy_initial);
	EXPECT_EQ(MIGTRACK_COUNTER_FLAGS_EXACT, s.flags);
}

/* Without the data descriptor the same is left, all of it for the stop. */
TEST_F_TIMEOUT(guest, remaining_is_the_same_without_the_data, 120)
{
	struct migtrack_session s;

	vmm_device_state(&self->dev, VFIO_DEVICE_STATE_PRE_COPY);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	EXPECT_EQ(MEMORY / PAGE, move_memory(self));
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
	s = session(self);
	EXPECT_EQ(0, s.bytes.precopy);
	EXPECT_EQ(INITIAL_BYTES + STOP_BYTES, s.bytes.stopcopy);
	EXPECT_EQ(INITIAL_BYTES + STOP_BYTES, s.bytes.total);
}

/*
 * Its part of the sync is done, the device's is not: what was moved before that sync is
 * not taken off what it found.
 */
TEST_F_TIMEOUT(guest, memory_goes_while_the_device_is_asked, 120)
{
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_SETUP);
	move_memory(self);
	memset(self->memory, 1, 8 * PAGE);
	harvest_sync(&self->h, MIGTRACK_SYNC_KIND_ITERATION);
	EXPECT_LE(8, move_memory(self));
	memset(self->memory, 2, 5 * PAGE);

	vmm_device_answers_within(VMM_DEVICE_ANSWER_MS);
	vmm_device_set_number(&self->dev, "delay_get_data_size", 5000);
	ASSERT_EQ(0, migtrack_sync(self->h.mt, self->h.fd, MIGTRACK_SYNC_KIND_ITERATION));
	usleep(VMM_DEVICE_ANSWER_MS * 1000 / 4);
	kill_vmm(self);
	ASSERT_EQ(0, migtrack_sync_wait(self->h.fd, 30000));
	EXPECT_TRUE(EVENTUALLY(harvest_source(&self->h).flags & MIGTRACK_COUNTER_FLAGS_GONE));
	EXPECT_EQ(5 * PAGE, harvest_source(&self->h).bytes.precopy);
	EXPECT_EQ(5 * PAGE, session(self).bytes.precopy - device(self).bytes.precopy);
	vmm_device_set(&self->dev, "delay_get_data_size", "0");
}

TEST_HARNESS_MAIN
