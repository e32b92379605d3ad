// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Devices whose knobs are turned all the time, a VMM that changes their states and
 * closes them, and sessions that come and go. MIGTRACK_SOAK is how many seconds (60).
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host.h"
#include "kselftest_harness.h"
#include "migtrack.h"
#include "vmm_device.h"

#define DEVICES		3
#define TRACKERS	2
#define PAGE		4096UL
#define MEMORY		(64 * PAGE)
/* Where the VMM has its descriptors, so that others find them. */
#define DEVICE_FD	100
#define DATA_FD		200

/* What all processes see. */
struct shared {
	volatile int stop;
	unsigned long syncs, adds, refused, gone, stale, clamped, unknown, turns, states;
	unsigned long logs, log_states[MIGTRACK_DMA_LOG_FAILED + 1];
};

FIXTURE(soak) {
	struct vmm_device devices[DEVICES];
	struct shared *shared;
	pid_t vmm, knobs, trackers[TRACKERS];
	unsigned int seed;
	void *memory;
	int mem_fd;
};

static unsigned int below(FIXTURE_DATA(soak) *self, unsigned int n)
{
	return rand_r(&self->seed) % n;
}

static pid_t start(FIXTURE_DATA(soak) *self, void (*run)(FIXTURE_DATA(soak) *self))
{
	pid_t pid;

	self->seed++;
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	run(self);
	_exit(0);
}

/* ---- knobs ---- */

static void turn_one(FIXTURE_DATA(soak) *self, const struct vmm_device *dev)
{
	static const char *const reports[] = {
		"report_data_size", "report_initial", "report_dirty", "report_state",
	};
	static const char *const values[] = {
		"real", "real", "random", "0", "1", "-1", "-4096", "9223372036854775807",
		"9223372036854775808", "1000 real -1 5",
	};
	static const char *const calls[] = {
		"get_data_size", "precopy_info", "get_state",
		"log_start", "log_report", "log_stop",
	};
	static const unsigned int errnos[] = { 0, 0, 0, EIO, EINVAL, ENOTTY, ENODEV, 511 };
	static const unsigned int delays[] = { 0, 0, 0, 1, 20, 100, 700 };
	char knob[64];

	switch (below(self, 3)) {
	case 0:
		vmm_device_set(dev, reports[below(self, 4)], values[below(self, 10)]);
		break;
	case 1:
		snprintf(knob, sizeof(knob), "errno_%s", calls[below(self, 6)]);
		vmm_device_set_number(dev, knob, errnos[below(self, 8)]);
		break;
	default:
		snprintf(knob, sizeof(knob), "delay_%s", calls[below(self, 6)]);
		vmm_device_set_number(dev, knob, delays[below(self, 7)]);
	}
}

static void turn_knobs(FIXTURE_DATA(soak) *self)
{
	while (!self->shared->stop) {
		turn_one(self, &self->devices[below(self, DEVICES)]);
		self->shared->turns++;
		usleep(below(self, 10000));
	}
}

/* ---- the VMM ---- */

static void change_state(FIXTURE_DATA(soak) *self, unsigned int i)
{
	struct {
		struct vfio_device_feature head;
		struct vfio_device_feature_mig_state mig;
	} request = {
		.head.argsz = sizeof(request),
		.head.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
		.mig.device_state = (int[]){ VFIO_DEVICE_STATE_RUNNING, VFIO_DEVICE_STATE_PRE_COPY,
					     VFIO_DEVICE_STATE_PRE_COPY_P2P,
					     VFIO_DEVICE_STATE_STOP_COPY,
					     VFIO_DEVICE_STATE_STOP }[below(self, 5)],
		.mig.data_fd = -1,
	};

	if (ioctl(DEVICE_FD + i, VFIO_DEVICE_FEATURE, &request))
		return;
	self->shared->states++;
	if (request.mig.data_fd < 0)
		return;
	dup2(request.mig.data_fd, DATA_FD + i);
	close(request.mig.data_fd);
}

static void vmm_open(FIXTURE_DATA(soak) *self, unsigned int i)
{
	vmm_device_reopen(&self->devices[i]);
	dup2(self->devices[i].testdev.device, DEVICE_FD + i);
	close(self->devices[i].testdev.device);
	self->devices[i].testdev.device = -1;
}

static void vmm_close(FIXTURE_DATA(soak) *self, unsigned int i)
{
	close(DATA_FD + i);
	close(DEVICE_FD + i);
	vmm_device_close(&self->devices[i]);
}

static void vmm(FIXTURE_DATA(soak) *self)
{
	unsigned int i;

	for (i = 0; i < DEVICES; i++)
		vmm_open(self, i);
	while (!self->shared->stop) {
		i = below(self, DEVICES);
		if (below(self, 20)) {
			change_state(self, i);
		} else {
			vmm_close(self, i);
			/* As long as a question takes at the most. */
			usleep(2500000);
			vmm_open(self, i);
		}
		usleep(below(self, 50000));
	}
	for (i = 0; i < DEVICES; i++)
		vmm_close(self, i);
}

/* ---- sessions ---- */

static int take(FIXTURE_DATA(soak) *self, int number)
{
	int pidfd = syscall(SYS_pidfd_open, self->vmm, 0);
	int fd = syscall(SYS_pidfd_getfd, pidfd, number, 0);

	close(pidfd);
	return fd;
}

static void check_source(FIXTURE_DATA(soak) *self, const struct migtrack_source *s)
{
	const struct migtrack_counters *b = &s->bytes;
	bool unknown = s->flags & MIGTRACK_COUNTER_FLAGS_UNKNOWN;
	bool good;

	self->shared->gone += !!(s->flags & MIGTRACK_COUNTER_FLAGS_GONE);
	self->shared->stale += !!(s->flags & MIGTRACK_COUNTER_FLAGS_STALE);
	self->shared->clamped += !!(s->flags & MIGTRACK_COUNTER_FLAGS_CLAMPED);
	self->shared->unknown += unknown;
	if (s->dma_log <= MIGTRACK_DMA_LOG_FAILED)
		self->shared->log_states[s->dma_log]++;
	good = s->dma_log <= MIGTRACK_DMA_LOG_FAILED && s->dirty_pages <= MEMORY / PAGE &&
	       b->total == b->precopy + b->stopcopy && !b->postcopy &&
	       b->precopy <= INT64_MAX && b->stopcopy <= INT64_MAX &&
	       (!unknown || b->total == MIGTRACK_UNKNOWN_BYTES) &&
	       (!unknown || s->flags & MIGTRACK_COUNTER_FLAGS_STALE) &&
	       !((s->flags & MIGTRACK_COUNTER_FLAGS_EXACT) &&
		 (s->flags & (MIGTRACK_COUNTER_FLAGS_STALE | MIGTRACK_COUNTER_FLAGS_CLAMPED |
			      MIGTRACK_COUNTER_FLAGS_GONE)));
	if (good)
		return;
	printf("# precopy %llu stopcopy %llu total %llu flags 0x%x\n",
	       (unsigned long long)b->precopy, (unsigned long long)b->stopcopy,
	       (unsigned long long)b->total, s->flags);
	_exit(1);
}

/* What a device writes; a kernel that can't report it refuses that. */
static void one_log(FIXTURE_DATA(soak) *self, struct migtrack *mt, int fd, uint32_t id,
		    uint32_t ram)
{
	struct migtrack_dma_range range = {
		.iova = 0x10000000, .length = MEMORY, .source_id = ram,
	};

	if (below(self, 3))
		self->shared->logs += !migtrack_dma_log_start(mt, fd, id, &range, 1);
	else
		migtrack_dma_log_stop(mt, fd, id);
}

static void one_sync(FIXTURE_DATA(soak) *self, struct migtrack *mt, int fd, uint64_t session)
{
	struct migtrack_source source;
	int ret;

	ret = migtrack_sync(mt, fd, below(self, 3) ? MIGTRACK_SYNC_KIND_SETUP :
			    MIGTRACK_SYNC_KIND_FINAL);
	if (!ret && below(self, 10))
		ret = migtrack_sync_wait(fd, 30000 * slow());
	else if (!ret || ret == -EBUSY)
		return;
	if (ret) {
		printf("# a sync: %s\n", strerror(-ret));
		_exit(1);
	}
	self->shared->syncs++;
	for (uint32_t id = 0; id < DEVICES; id++)
		if (!migtrack_source_get(mt, session, id, &source))
			check_source(self, &source);
}

static void one_session(FIXTURE_DATA(soak) *self, struct migtrack *mt)
{
	unsigned int n = 1 + below(self, DEVICES), syncs = below(self, 20);
	struct migtrack_source_map ram;
	uint64_t session;
	uint32_t id;
	int fd, device, data;

	if (migtrack_session_new(mt, &session, &fd))
		_exit(1);
	for (unsigned int i = 0; i < n; i++) {
		unsigned int which = below(self, DEVICES);

		device = take(self, DEVICE_FD + which);
		data = below(self, 2) ? take(self, DATA_FD + which) : -1;
		if (device < 0 ||
		    migtrack_source_add_vfio(mt, fd, device, data, "soak", &id))
			self->shared->refused++;
		else
			self->shared->adds++;
		if (device >= 0)
			close(device);
		if (data >= 0)
			close(data);
	}
	if (migtrack_source_add_ram(mt, fd, getpid(), self->mem_fd, 0, 0, &ram))
		_exit(1);
	while (syncs--) {
		if (below(self, 2))
			one_log(self, mt, fd, below(self, n), ram.id);
		one_sync(self, mt, fd, session);
	}
	if (below(self, 2))
		migtrack_session_del(mt, fd);
	close(fd);
}

static void track(FIXTURE_DATA(soak) *self)
{
	struct migtrack *mt;

	if (migtrack_open(&mt))
		_exit(1);
	while (!self->shared->stop) {
		one_session(self, mt);
		/* Some end in the middle of it. */
		if (!below(self, 20)) {
			pid_t pid = fork();

			if (!pid) {
				one_session(self, mt);
				_exit(0);
			}
			usleep(below(self, 300000));
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			migtrack_close(mt);
			if (migtrack_open(&mt))
				_exit(1);
		}
	}
	migtrack_close(mt);
}

/* ---- all of it ---- */

FIXTURE_SETUP(soak)
{
	if (testdev_load())
		SKIP(return, "the tests' VFIO device can't be loaded");
	ASSERT_EQ(0, system("modprobe -q migtrack_vfio"));
	self->shared = mmap(NULL, sizeof(*self->shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->shared);
	self->mem_fd = memfd_create("guest", 0);
	ASSERT_EQ(0, ftruncate(self->mem_fd, MEMORY));
	self->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, self->mem_fd, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	self->seed = time(NULL);
	for (unsigned int i = 0; i < DEVICES; i++) {
		vmm_device_open(&self->devices[i], "full");
		vmm_device_close(&self->devices[i]);
	}
}

FIXTURE_TEARDOWN(soak)
{
	for (unsigned int i = 0; i < DEVICES; i++)
		vmm_device_remove(&self->devices[i]);
	munmap(self->memory, MEMORY);
	close(self->mem_fd);
	munmap(self->shared, sizeof(*self->shared));
}

static int ended(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid ? status : -1;
}

TEST_F_TIMEOUT(soak, soak, 900)
{
	const char *seconds = getenv("MIGTRACK_SOAK");
	time_t end = time(NULL) + (seconds ? atoi(seconds) : 60);
	struct shared *s = self->shared;

	TH_LOG("seed %u", self->seed);
	self->vmm = start(self, vmm);
	ASSERT_LT(0, self->vmm);
	self->knobs = start(self, turn_knobs);
	for (int i = 0; i < TRACKERS; i++)
		self->trackers[i] = start(self, track);
	while (time(NULL) < end)
		sleep(1);
	s->stop = 1;
	for (int i = 0; i < TRACKERS; i++)
		EXPECT_EQ(0, ended(self->trackers[i]));
	EXPECT_EQ(0, ended(self->knobs));
	EXPECT_EQ(0, ended(self->vmm));
	TH_LOG("%lu syncs, %lu sources (%lu refused), %lu turns of knobs, %lu states", s->syncs,
	       s->adds, s->refused, s->turns, s->states);
	TH_LOG("%lu logs asked for; seen: %lu starting, %lu on, %lu unread, %lu in use, %lu failed",
	       s->logs, s->log_states[MIGTRACK_DMA_LOG_STARTING],
	       s->log_states[MIGTRACK_DMA_LOG_ON], s->log_states[MIGTRACK_DMA_LOG_UNREAD],
	       s->log_states[MIGTRACK_DMA_LOG_IN_USE], s->log_states[MIGTRACK_DMA_LOG_FAILED]);
	TH_LOG("seen: %lu gone, %lu stale, %lu clamped, %lu unknown", s->gone, s->stale,
	       s->clamped, s->unknown);
	EXPECT_NE(0, s->syncs);
	EXPECT_NE(0, s->adds);
	EXPECT_NE(0, s->stale);
	EXPECT_NE(0, s->clamped);
	EXPECT_NE(0, s->gone);

	/* Nothing is left that holds a device or the module. */
	for (int i = 0; i < 300 && system("rmmod migtrack_vfio 2>/dev/null"); i++)
		usleep(100 * slow() * 1000);
	EXPECT_NE(0, access("/sys/module/migtrack_vfio", F_OK));
}

TEST_HARNESS_MAIN
