/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the test programs of ctl/uffd/ print: TAP. */
#ifndef UFFD_TEST_CHECK_H
#define UFFD_TEST_CHECK_H

#include <stdbool.h>
#include <stdio.h>

#include "common/error.h"

static bool failed;
static int tests, failures;

#define CHECK(condition) do {						\
	if (!(condition)) {						\
		printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);	\
		failed = true;						\
	}								\
} while (0)

#define OK(call) do {							\
	struct error err = {};						\
	if ((call)) {							\
		printf("# %s:%d: %s: %s (%s)\n", __FILE__, __LINE__,	\
		       #call, err.message, err.advice);			\
		failed = true;						\
	}								\
} while (0)

/* What was checked since the last call. */
static inline void report_checks(const char *name)
{
	tests++;
	failures += failed;
	printf("%sok %d uffd: %s\n", failed ? "not " : "", tests, name);
	fflush(stdout);
	failed = false;
}

#endif /* UFFD_TEST_CHECK_H */
