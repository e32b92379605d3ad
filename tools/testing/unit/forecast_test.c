// SPDX-License-Identifier: GPL-2.0-or-later
/* What migctl forecast measures by, and what of its command line it refuses. */
#include "cmd/cmd.h"
#include "cmd/forecast_windows.h"
#include "unit.h"

#define PAGE	4096
#define WORDS	4

struct fixture {
	unsigned long seen[WORDS];
	struct tracker_source source;
	struct tracker tracker;
	struct windows windows;
};

static void begin(struct fixture *f, uint64_t intervals)
{
	struct error err;

	*f = (struct fixture) {
		.source.map = { .page_size = PAGE, .map_length = sizeof(f->seen) },
		.tracker.n = 1,
	};
	f->source.seen = f->seen;
	f->tracker.sources = &f->source;
	CHECK_EQ(windows_open(&f->windows, &f->tracker, intervals, 1000, &err), 0);
}

/* An interval of 10 ns in which these pages were written. */
static void interval(struct fixture *f, uint64_t now, unsigned long pages)
{
	f->seen[0] = pages;
	windows_add(&f->windows, now);
	CHECK_EQ(f->seen[0], 0);
}

TEST(forecast_windows_count_a_page_once)
{
	struct forecast_point points[FORECAST_LEVELS];
	struct fixture f;

	begin(&f, 4);
	interval(&f, 1010, 0x3);
	interval(&f, 1020, 0x6);
	interval(&f, 1030, 0x3);
	interval(&f, 1040, 0x3);
	CHECK_EQ(windows_points(&f.windows, points), 3);
	CHECK_EQ(points[0].window, 10);
	CHECK_EQ(points[0].bytes, 2 * PAGE);
	/* 3 pages in the first two intervals, 2 in the others. */
	CHECK_EQ(points[1].window, 20);
	CHECK_EQ(points[1].bytes, 5 * PAGE / 2);
	CHECK_EQ(points[2].window, 40);
	CHECK_EQ(points[2].bytes, 3 * PAGE);
	windows_close(&f.windows);
}

TEST(forecast_windows_that_are_not_complete_do_not_count)
{
	struct forecast_point points[FORECAST_LEVELS];
	struct fixture f;

	begin(&f, 100);
	CHECK_EQ(f.windows.n, 7);
	CHECK_EQ(windows_points(&f.windows, points), 0);
	interval(&f, 1010, 1);
	interval(&f, 1025, 2);
	interval(&f, 1030, 4);
	CHECK_EQ(windows_points(&f.windows, points), 2);
	CHECK_EQ(points[1].window, 25);
	CHECK_EQ(points[1].bytes, 2 * PAGE);
	windows_close(&f.windows);
}

/* Averages of different windows can say otherwise; a guest can not. */
TEST(forecast_windows_that_are_longer_have_no_less)
{
	struct forecast_point points[FORECAST_LEVELS];
	struct fixture f;

	begin(&f, 2);
	interval(&f, 1010, 0);
	interval(&f, 1020, 0);
	interval(&f, 1030, 0xff);
	CHECK_EQ(windows_points(&f.windows, points), 2);
	CHECK(points[1].bytes >= points[0].bytes);
	windows_close(&f.windows);
}

static int refused(const char *const *words, struct error *err)
{
	struct output out = { .stream = stdout };
	char *argv[16] = { (char *)"forecast" };
	int argc = 1;

	/* getopt begins anew. */
	optind = 0;
	while (*words)
		argv[argc++] = (char *)*words++;
	return cmd_forecast(&out, argc, argv, err) ? err->code : 0;
}

#define REFUSED(text, ...) do {						\
	const char *words_[] = { __VA_ARGS__, NULL };			\
	struct error err_;						\
									\
	CHECK_EQ(refused(words_, &err_), EXIT_USAGE);			\
	CHECK_HAS(err_.message, text);					\
	CHECK(err_.advice[0]);						\
} while (0)

TEST(forecast_refuses_bad_command_lines)
{
	REFUSED("which guest", "--bandwidth", "1G");
	REFUSED("bandwidth", "--qmp", "/run/x");
	REFUSED("no rate", "--qmp", "/run/x", "--bandwidth", "0");
	REFUSED("no rate", "--qmp", "/run/x", "--bandwidth", "fast");
	REFUSED("exclude", "--qmp", "/run/x", "--ram", "/x", "--bandwidth", "1G");
	REFUSED("which memory", "--pid", "1", "--bandwidth", "1G");
	REFUSED("shorter", "--qmp", "/run/x", "--bandwidth", "1G", "-d", "100ms");
	REFUSED("--downtime", "--qmp", "/run/x", "--downtime", "soon");
}
