/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A test is TEST(name) { ... CHECK(...) ... }; each runs in its own process. */
#ifndef MIGTRACK_UNIT_H
#define MIGTRACK_UNIT_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit_test {
	const char *name;
	void (*run)(void);
	struct unit_test *next;
};

void unit_register(struct unit_test *test);

/*
 * A command line, its words separated by blanks, for a parser that uses getopt: how
 * many they are, the command included. Valid until the next call.
 */
#define UNIT_WORDS	32
int unit_words(const char *command, const char *line, char *argv[UNIT_WORDS]);

/* Something was not as expected: the test goes on, and has failed. */
extern bool unit_failed;

#define TEST(id)							\
	static void test_##id(void);					\
	static struct unit_test unit_##id = {				\
		.name = #id, .run = test_##id,				\
	};								\
	__attribute__((constructor)) static void register_##id(void)	\
	{								\
		unit_register(&unit_##id);				\
	}								\
	static void test_##id(void)

#define CHECK(condition) do {						\
	if (!(condition)) {						\
		printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);	\
		unit_failed = true;					\
	}								\
} while (0)

#define CHECK_EQ(a, b) do {						\
	long long a_ = (long long)(a), b_ = (long long)(b);		\
	if (a_ != b_) {							\
		printf("# %s:%d: %s is %lld, not %lld\n", __FILE__,	\
		       __LINE__, #a, a_, b_);				\
		unit_failed = true;					\
	}								\
} while (0)

#define CHECK_STR(a, b) do {						\
	const char *a_ = (a), *b_ = (b);				\
	if (strcmp(a_, b_)) {						\
		printf("# %s:%d: %s is \"%s\", not \"%s\"\n", __FILE__,	\
		       __LINE__, #a, a_, b_);				\
		unit_failed = true;					\
	}								\
} while (0)

/* The text has this in it. */
#define CHECK_HAS(a, b) do {						\
	const char *a_ = (a), *b_ = (b);				\
	if (!strstr(a_, b_)) {						\
		printf("# %s:%d: %s is \"%s\", without \"%s\"\n", __FILE__,	\
		       __LINE__, #a, a_, b_);				\
		unit_failed = true;					\
	}								\
} while (0)

#endif /* MIGTRACK_UNIT_H */
