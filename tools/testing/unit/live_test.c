// SPDX-License-Identifier: GPL-2.0-or-later
/* The state of a migration in one place of a terminal. */
#include <stdlib.h>

#include "cmd/live.h"
#include "unit.h"

static void draw(FILE *file, void *data)
{
	fputs(data, file);
}

static const char *drawn(int *lines, char *what)
{
	static char text[512];
	struct output out = { .stream = fmemopen(text, sizeof(text), "w") };

	live_draw(&out, lines, draw, what);
	fclose(out.stream);
	return text;
}

TEST(live_draws_over_what_was_there)
{
	int lines = 0;

	/* Nothing to go back over yet. */
	CHECK_STR(drawn(&lines, "one\ntwo\n"),
		  "\033[?7lone\033[K\033[?7h\n\033[?7ltwo\033[K\033[?7h\n\033[J");
	CHECK_EQ(lines, 2);
	CHECK_STR(drawn(&lines, "three\n"), "\033[2A\033[?7lthree\033[K\033[?7h\n\033[J");
	CHECK_EQ(lines, 1);
	/* Below a line of its own. */
	live_leave(&lines);
	CHECK_EQ(lines, 0);
	lines = -1;
	live_leave(&lines);
	CHECK_EQ(lines, -1);
}

TEST(live_numbers_say_what_is_not_known)
{
	struct policy policy;
	struct live_numbers numbers = {
		.phase = "precopy", .iteration = 2, .note = " (and more)", .memory = 1 << 20,
		.remaining = UINT64_MAX, .before = UINT64_MAX, .dirty_rate = UINT64_MAX,
		.policy = &policy,
	};
	char text[1024];
	FILE *file = fmemopen(text, sizeof(text), "w");

	policy_init(&policy, &policy_default_limits, 1);
	live_numbers(file, &numbers);
	fclose(file);
	CHECK_HAS(text, "precopy, iteration 2 (and more)");
	CHECK_HAS(text, "1.0 MiB of memory, unknown in all");
	CHECK_HAS(text, "dirty rate  unknown");
	CHECK_HAS(text, "bandwidth   unknown");
	CHECK_HAS(text, "unknown expected, 300.0 ms allowed");

	numbers.remaining = 1 << 20;
	numbers.before = 2 << 20;
	file = fmemopen(text, sizeof(text), "w");
	live_numbers(file, &numbers);
	fclose(file);
	CHECK_HAS(text, "1.0 MiB in all  falling");
}
