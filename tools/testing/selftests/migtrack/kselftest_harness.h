/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's harness, with limits of time for a slow machine: MIGTRACK_SLOW
 * says how many times longer they are. The lab sets it on its debug kernel.
 */
#ifndef MIGTRACK_KSELFTEST_HARNESS_H
#define MIGTRACK_KSELFTEST_HARNESS_H

#include <stdlib.h>
#include <unistd.h>

#include_next "kselftest_harness.h"

static inline unsigned int slow(void)
{
	const char *text = getenv("MIGTRACK_SLOW");
	int times = text ? atoi(text) : 1;

	return times > 0 ? times : 1;
}

/* What comes sooner or later has 30 s for that; false if it has not. */
#define EVENTUALLY(condition) ({						\
	int _i, _n = 3000 * slow();						\
	for (_i = 0; _i < _n && !(condition); _i++)				\
		usleep(10000);							\
	_i < _n;								\
})

/* A constant: a test without a limit of its own has its program's, in "settings". */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 3600

#undef TEST_F_TIMEOUT
#define TEST_F_TIMEOUT(fixture_name, test_name, seconds) \
	__TEST_F_IMPL(fixture_name, test_name, -1, (seconds) * slow())

#endif /* MIGTRACK_KSELFTEST_HARNESS_H */
