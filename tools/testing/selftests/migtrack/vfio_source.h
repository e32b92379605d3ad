/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of VFIO devices as sources share: a session with one of a VMM's. */
#ifndef MIGTRACK_TEST_VFIO_SOURCE_H
#define MIGTRACK_TEST_VFIO_SOURCE_H

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "migtrack.h"
#include "vmm_device.h"

#define NS_PER_MS	1000000ULL
#define UNKNOWN		(MIGTRACK_COUNTER_FLAGS_UNKNOWN | MIGTRACK_COUNTER_FLAGS_STALE)
#define GOOD		MIGTRACK_COUNTER_FLAGS_EXACT
#define NAME		"0000:3b:00.1"

FIXTURE(vfio) {
	struct migtrack *mt, *events;
	struct vmm_device dev;
	uint64_t session;
	uint32_t id;
	int fd;
};

FIXTURE_SETUP(vfio)
{
	if (testdev_load())
		SKIP(return, "the tests' VFIO device can't be loaded");
	ASSERT_EQ(0, system("modprobe -q migtrack_vfio"));
	vmm_device_answers_within(VMM_DEVICE_PATIENT_MS);
	ASSERT_EQ(0, migtrack_open(&self->mt));
	ASSERT_EQ(0, migtrack_open(&self->events));
	ASSERT_EQ(0, migtrack_session_new(self->mt, &self->session, &self->fd));
	vmm_device_open(&self->dev, "full");
	ASSERT_EQ(0, vmm_device_track(self->mt, self->fd, &self->dev, NAME, &self->id))
		TH_LOG("%s", migtrack_message(self->mt));
	ASSERT_EQ(0, migtrack_subscribe(self->events));
}

FIXTURE_TEARDOWN(vfio)
{
	vmm_device_answers_within(VMM_DEVICE_ANSWER_MS);
	vmm_device_close(&self->dev);
	close(self->fd);
	vmm_device_remove(&self->dev);
	migtrack_close(self->events);
	migtrack_close(self->mt);
}

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* Milliseconds; the debug kernel is slow. */
static inline int ms(int n)
{
	const char *slow = getenv("MIGTRACK_SLOW");

	return slow ? n * atoi(slow) : n;
}

static inline int sync_kind(FIXTURE_DATA(vfio) *self, enum migtrack_sync_kind kind)
{
	int ret = migtrack_sync(self->mt, self->fd, kind);

	return ret ? ret : migtrack_sync_wait(self->fd, ms(30000));
}

static inline struct migtrack_source get(FIXTURE_DATA(vfio) *self)
{
	struct migtrack_source source;

	if (migtrack_source_get(self->mt, self->session, self->id, &source))
		memset(&source, 0xff, sizeof(source));
	return source;
}

/* Asked now. */
static inline struct migtrack_source exact(FIXTURE_DATA(vfio) *self)
{
	struct migtrack_source source;

	if (sync_kind(self, MIGTRACK_SYNC_KIND_HELPER)) {
		memset(&source, 0xff, sizeof(source));
		return source;
	}
	return get(self);
}

/* The next change of our source that has these flags. */
static inline int change(FIXTURE_DATA(vfio) *self, uint32_t flags, struct migtrack_source *source,
		  int timeout_ms)
{
	struct pollfd pollfd = { migtrack_fd(self->events), POLLIN, 0 };
	uint64_t end = now_ns() + timeout_ms * NS_PER_MS;
	struct migtrack_event event;
	int ret;

	while (now_ns() < end) {
		ret = migtrack_event_read(self->events, &event);
		if (ret == -EAGAIN) {
			poll(&pollfd, 1, 100);
			continue;
		}
		if (ret)
			return ret;
		if (event.type != MIGTRACK_EVENT_SOURCE_CHANGE ||
		    event.source.session_id != self->session ||
		    (event.source.flags & flags) != flags)
			continue;
		*source = event.source;
		return 0;
	}
	return -ETIMEDOUT;
}

static inline void pre_copy(FIXTURE_DATA(vfio) *self)
{
	vmm_device_state(&self->dev, VFIO_DEVICE_STATE_PRE_COPY);
}

#define EXPECT_REFUSED(error, text, call) do {				\
	EXPECT_EQ(-(error), call);					\
	EXPECT_NE(NULL, strstr(migtrack_message(self->mt), text))	\
		TH_LOG("said: %s", migtrack_message(self->mt));		\
} while (0)

#endif /* MIGTRACK_TEST_VFIO_SOURCE_H */
