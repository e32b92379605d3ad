// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the kernel makes of what a device says. The file of the module is built as
 * it is, with the kernel's names for types.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

typedef uint32_t u32;
typedef uint64_t u64;

#define S64_MAX	INT64_MAX

#include "../../../vfio-bridge/judge.c"

#include "unit.h"

#define EXACT	MIGTRACK_COUNTER_FLAGS_EXACT
#define CLAMPED	MIGTRACK_COUNTER_FLAGS_CLAMPED
#define STALE	MIGTRACK_COUNTER_FLAGS_STALE
#define UNKNOWN	(MIGTRACK_COUNTER_FLAGS_UNKNOWN | STALE)
#define MAX	((u64)INT64_MAX)
#define RUNNING	MIGTRACK_DEVICE_STATE_RUNNING
#define NOT_KNOWN	MIGTRACK_UNKNOWN_BYTES

static struct migtrack_vfio_answer fresh(void)
{
	struct migtrack_vfio_answer answer = {};

	migtrack_vfio_answer_init(&answer);
	return answer;
}

/* One that said 1000, of these 20 and 3 in precopy. */
static struct migtrack_vfio_answer good(void)
{
	struct migtrack_vfio_answer answer = fresh();
	struct migtrack_vfio_reply reply = {
		.state = RUNNING, .size = 1000, .asked_precopy = true,
		.initial = 20, .dirty = 3,
	};

	CHECK_EQ(migtrack_vfio_judge(&answer, &reply), 0);
	CHECK_EQ(answer.bytes.precopy, 23);
	CHECK_EQ(answer.bytes.stopcopy, 977);
	CHECK_EQ(answer.flags, EXACT);
	return answer;
}

TEST(vfio_sizes)
{
	const struct {
		u64 size, initial, dirty, precopy, stopcopy;
		u32 flags;
		unsigned int bad;
	} table[] = {
		{ 0, 0, 0, 0, 0, EXACT, 0 },
		{ 1, 0, 0, 0, 1, EXACT, 0 },
		{ 1, 1, 0, 1, 0, EXACT, 0 },
		{ 0, 20, 3, 23, 0, EXACT, 0 },
		{ 100, 90, 20, 110, 0, EXACT, 0 },
		{ MAX, 0, 0, 0, MAX, EXACT, 0 },
		{ MAX, 1, 1, 2, MAX - 2, EXACT, 0 },
		{ MAX, MAX, 0, MAX, 0, EXACT, 0 },
		{ MAX + 1, 20, 3, 23, 977, CLAMPED, 1 },
		{ UINT64_MAX, 20, 3, 23, 977, CLAMPED, 1 },
		{ UINT64_MAX - 4095, 20, 3, 23, 977, CLAMPED, 1 },
		{ 1000, MAX + 1, 3, 23, 977, CLAMPED, 1 },
		{ 1000, 20, UINT64_MAX, 23, 977, CLAMPED, 1 },
		{ 1000, MAX, 1, 23, 977, CLAMPED, 1 },
		{ 1000, MAX, MAX, 23, 977, CLAMPED, 1 },
		{ 1000, UINT64_MAX, UINT64_MAX, 23, 977, CLAMPED, 1 },
		{ 500, UINT64_MAX, 0, 23, 477, CLAMPED, 1 },
		{ UINT64_MAX, UINT64_MAX, UINT64_MAX, 23, 977, CLAMPED, 2 },
	};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct migtrack_vfio_answer answer = good();
		struct migtrack_vfio_reply reply = {
			.state = RUNNING, .size = table[i].size, .asked_precopy = true,
			.initial = table[i].initial, .dirty = table[i].dirty,
		};

		CHECK_EQ(migtrack_vfio_judge(&answer, &reply), table[i].bad);
		CHECK_EQ(answer.bytes.precopy, table[i].precopy);
		CHECK_EQ(answer.bytes.stopcopy, table[i].stopcopy);
		CHECK_EQ(answer.bytes.postcopy, 0);
		CHECK_EQ(answer.flags, table[i].flags);
		CHECK_EQ(answer.clamps, table[i].bad);
		/* The total is one that fits. */
		CHECK(answer.bytes.precopy <= MAX && answer.bytes.stopcopy <= MAX);
	}
}

TEST(vfio_no_good_size_yet)
{
	struct migtrack_vfio_answer answer = fresh();
	struct migtrack_vfio_reply reply = { .state = RUNNING, .size = UINT64_MAX };

	CHECK_EQ(answer.bytes.stopcopy, NOT_KNOWN);
	CHECK_EQ(answer.flags, UNKNOWN);
	CHECK_EQ(migtrack_vfio_judge(&answer, &reply), 1);
	CHECK_EQ(answer.bytes.stopcopy, NOT_KNOWN);
	CHECK_EQ(answer.bytes.precopy, 0);
	CHECK_EQ(answer.flags, UNKNOWN | CLAMPED);
	CHECK(!answer.sized);
	/* Precopy alone is no size. */
	reply.asked_precopy = true;
	reply.initial = 5;
	CHECK_EQ(migtrack_vfio_judge(&answer, &reply), 1);
	CHECK_EQ(answer.bytes.precopy, 0);
	CHECK_EQ(answer.bytes.stopcopy, NOT_KNOWN);
	reply.size = 7;
	CHECK_EQ(migtrack_vfio_judge(&answer, &reply), 0);
	CHECK_EQ(answer.bytes.precopy, 5);
	CHECK_EQ(answer.bytes.stopcopy, 2);
	CHECK_EQ(answer.flags, EXACT);
}

/* An initial size of 0 would say that the device is ready. */
TEST(vfio_no_good_precopy_yet)
{
	struct migtrack_vfio_answer answer = fresh();
	struct migtrack_vfio_reply reply = {
		.state = RUNNING, .size = 1000, .asked_precopy = true, .initial = UINT64_MAX,
	};

	CHECK_EQ(migtrack_vfio_judge(&answer, &reply), 1);
	CHECK(!answer.has_precopy);
	CHECK_EQ(answer.bytes.precopy, 0);
	CHECK_EQ(answer.bytes.stopcopy, 1000);
	CHECK_EQ(answer.flags, STALE | CLAMPED);
	reply.initial = 5;
	CHECK_EQ(migtrack_vfio_judge(&answer, &reply), 0);
	CHECK(answer.has_precopy);
	CHECK_EQ(answer.bytes.precopy, 5);
	CHECK_EQ(answer.flags, EXACT);
}

static const int errnos[] = {
	EPERM, EINTR, EIO, ENXIO, EAGAIN, ENOMEM, EFAULT, EBUSY, ENODEV, EINVAL, ENOTTY,
	ENOSPC, EOVERFLOW, EOPNOTSUPP, ETIMEDOUT, 4095,
};

#define N_ERRNOS	(sizeof(errnos) / sizeof(errnos[0]))

/* A size of a moment ago is not one of now. */
TEST(vfio_size_fails)
{
	size_t i;

	for (i = 0; i < N_ERRNOS; i++) {
		struct migtrack_vfio_answer answer = good();
		struct migtrack_vfio_reply reply = {
			.state = RUNNING, .size_err = -errnos[i], .asked_precopy = true,
			.initial = 30,
		};

		CHECK_EQ(migtrack_vfio_judge(&answer, &reply), 0);
		CHECK_EQ(answer.bytes.precopy, 0);
		CHECK_EQ(answer.bytes.stopcopy, NOT_KNOWN);
		CHECK_EQ(answer.flags, UNKNOWN);
		CHECK_EQ(answer.error, errnos[i]);
		/* A bad one then has the last good one to stand for it again. */
		reply.size_err = 0;
		reply.size = UINT64_MAX;
		CHECK_EQ(migtrack_vfio_judge(&answer, &reply), 1);
		CHECK_EQ(answer.bytes.precopy + answer.bytes.stopcopy, 1000);
		CHECK_EQ(answer.flags, CLAMPED);
	}
}

TEST(vfio_precopy_fails)
{
	size_t i;

	for (i = 0; i < N_ERRNOS; i++) {
		bool ended = errnos[i] == ENODEV || errnos[i] == ENOTTY;
		bool normal = ended || errnos[i] == EINVAL;
		struct migtrack_vfio_answer answer = good();
		struct migtrack_vfio_reply reply = {
			.state = RUNNING, .size = 1000, .asked_precopy = true,
			.precopy_err = -errnos[i], .initial = 99, .dirty = 99,
		};

		CHECK_EQ(migtrack_vfio_judge(&answer, &reply), 0);
		CHECK_EQ(answer.bytes.precopy, 0);
		CHECK_EQ(answer.bytes.stopcopy, 1000);
		CHECK_EQ(answer.flags, normal ? EXACT : STALE);
		CHECK_EQ(answer.error, normal ? 0 : errnos[i]);
		CHECK(!answer.has_precopy);
		CHECK_EQ(migtrack_vfio_data_ended(&reply), ended);
	}
}

TEST(vfio_state_fails)
{
	size_t i;

	for (i = 0; i < N_ERRNOS; i++) {
		struct migtrack_vfio_answer answer = good();
		struct migtrack_vfio_reply reply = {
			.state_err = -errnos[i], .state = RUNNING, .size = 1000,
		};

		CHECK_EQ(migtrack_vfio_judge(&answer, &reply), 0);
		CHECK(!answer.has_state);
		CHECK_EQ(answer.bytes.stopcopy, 1000);
		CHECK_EQ(answer.flags, EXACT);
		CHECK_EQ(answer.error, errnos[i]);
	}
}

TEST(vfio_states)
{
	const u32 none[] = { 8, 9, 200, UINT32_MAX };
	struct migtrack_vfio_answer answer = good();
	struct migtrack_vfio_reply reply = { .size = 1 };
	size_t i;

	for (i = 0; i < 8; i++) {
		reply.state = (u32)i;
		migtrack_vfio_judge(&answer, &reply);
		CHECK(answer.has_state);
		CHECK_EQ(answer.state, i);
	}
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		reply.state = none[i];
		migtrack_vfio_judge(&answer, &reply);
		CHECK(!answer.has_state);
	}
}

/* Nobody could ask: the numbers stay, but they are old. */
TEST(vfio_could_not_be_asked)
{
	struct migtrack_vfio_answer answer = good();
	struct migtrack_vfio_reply reply = { .err = -ESRCH, .size = 5 };

	CHECK_EQ(migtrack_vfio_judge(&answer, &reply), 0);
	CHECK_EQ(answer.bytes.precopy, 23);
	CHECK_EQ(answer.bytes.stopcopy, 977);
	CHECK_EQ(answer.flags, STALE);
	CHECK_EQ(answer.error, ESRCH);
	CHECK(!migtrack_vfio_data_ended(&reply));

	answer = fresh();
	migtrack_vfio_judge(&answer, &reply);
	CHECK_EQ(answer.bytes.stopcopy, NOT_KNOWN);
	CHECK_EQ(answer.flags, UNKNOWN);
}

TEST(vfio_reinit)
{
	struct migtrack_vfio_answer answer = good();
	struct migtrack_vfio_reply reply = {
		.state = RUNNING, .size = 10, .asked_precopy = true, .reinit = true,
	};

	migtrack_vfio_judge(&answer, &reply);
	CHECK_EQ(answer.flags, EXACT | MIGTRACK_COUNTER_FLAGS_REINIT);
	reply.reinit = false;
	migtrack_vfio_judge(&answer, &reply);
	CHECK_EQ(answer.flags, EXACT);
}
