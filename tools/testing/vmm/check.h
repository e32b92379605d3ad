/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks within a test; each prints what is wrong and goes on. */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/error.h"

extern bool failed;		/* the test that runs */

/* The test has ended: its result, as TAP. */
void report(const char *name);

#define CHECK(condition) do {						\
	if (!(condition)) {						\
		printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);	\
		failed = true;						\
	}								\
} while (0)

/* A call that takes a struct error. */
#define OK(call) do {							\
	struct error err = {};						\
	if ((call)) {							\
		printf("# %s:%d: %s: %s (%s)\n", __FILE__, __LINE__,	\
		       #call, err.message, err.advice);			\
		failed = true;						\
	}								\
} while (0)

#define REFUSED(call, text) do {					\
	struct error err = {};						\
	if (!(call)) {							\
		printf("# %s:%d: %s was not refused\n", __FILE__,	\
		       __LINE__, #call);				\
		failed = true;						\
	} else if (!strstr(err.message, text) || !err.advice[0]) {	\
		printf("# %s:%d: %s: %s (%s)\n", __FILE__, __LINE__,	\
		       #call, err.message, err.advice);			\
		failed = true;						\
	}								\
} while (0)

#endif /* CHECK_H */
