// SPDX-License-Identifier: GPL-2.0-or-later
/*
 *	sim [--plot DIR] [--tap] SCENARIO|TRACE...
 *
 * Runs each with all models and prints a table; --plot leaves the numbers over time
 * in DIR, --tap says instead whether each came out as its scenario expects. A trace
 * is a file that ends in .jsonl.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scenario.h"

static model_fn *const models[MODELS] = {
	model_policy, model_qemu, model_kubevirt, model_fixed,
};

/* What is no difference: 5 %, and what a tick or an iteration makes. */
#define SHARE		1.05
#define SAME_TIME	0.3
#define SAME_DOWNTIME	(4 * TICK)

/* -1: a is less, 1: b is. */
static int less(double a, double b, double same)
{
	if (a > b * SHARE + same)
		return 1;
	return b > a * SHARE + same ? -1 : 0;
}

/*
 * A downtime within the first limit is as good as any other; a migration beyond what
 * was allowed is worse than none.
 */
static enum versus compare(const struct allowed *allowed, const struct result *policy,
			   const struct result *model)
{
	double limit = allowed->downtime * 1.1 + 2 * TICK;
	int time, downtime, slow;

	if (policy->outcome != model->outcome)
		return policy->outcome < model->outcome ? BETTER : WORSE;
	time = less(policy->total, model->total, SAME_TIME);
	downtime = less(fmax(policy->downtime, limit), fmax(model->downtime, limit),
			SAME_DOWNTIME);
	slow = less(policy->brownout, model->brownout, SAME_TIME);
	if (time > 0 || downtime > 0 || slow > 0)
		return time < 0 || downtime < 0 || slow < 0 ? TRADE : WORSE;
	return time < 0 || downtime < 0 || slow < 0 ? BETTER : EQUAL;
}

static struct result run(const struct scenario *scenario, size_t model,
			 const char *plot_dir)
{
	struct world world = scenario->world;
	struct result result;
	char path[512];
	FILE *plot = NULL;

	if (plot_dir) {
		snprintf(path, sizeof(path), "%s/%s.%s.dat", plot_dir, scenario->name,
			 model_names[model]);
		plot = fopen(path, "w");
		if (!plot)
			perror(path);
	}
	world_start(&world);
	result = models[model](&world, &scenario->allowed, plot);
	if (plot)
		fclose(plot);
	return result;
}

static void print_ratio(double value, double of)
{
	if (of > 0 && value > 0)
		printf(" %6.2f", value / of);
	else
		printf("      -");
}

static void print_row(const struct scenario *scenario, size_t model,
		      const struct result *result, const struct result *policy)
{
	const struct expected *expected = &scenario->versus[model];
	enum versus versus = compare(&scenario->allowed, policy, result);
	bool done = result->outcome != STAYS && policy->outcome != STAYS;

	printf("%-22s %-9s %-6s %-13s %8.1f %8.0f %9.2f %7.1f", model ? "" : scenario->name,
	       model_names[model], outcome_names[result->outcome], result->reason,
	       result->total, result->downtime * 1e3, result->bytes / (1 << 30),
	       result->brownout);
	if (!model) {
		printf("\n");
		return;
	}
	print_ratio(done ? result->total : 0, policy->total);
	print_ratio(done ? result->downtime : 0, policy->downtime);
	printf("  %s%s%s\n", versus_names[versus], expected->why[0] ? ":" : "",
	       expected->why);
}

static void table(const struct scenario *scenario, const struct result *results)
{
	size_t i;

	for (i = 0; i < MODELS; i++)
		print_row(scenario, i, &results[i], &results[0]);
}

/* 1 for a test that failed. */
static int tap(const struct scenario *scenario, const struct result *results, int *n)
{
	int failed = 0;
	size_t i;
	bool ok = !scenario->expect_set || results[0].outcome == scenario->expect;

	failed |= !ok;
	printf("%sok %d %s: policy: %s\n", ok ? "" : "not ", ++*n, scenario->name,
	       outcome_names[results[0].outcome]);
	for (i = 1; i < MODELS; i++) {
		enum versus versus = compare(&scenario->allowed, &results[0], &results[i]);

		ok = scenario->versus[i].set ? versus == scenario->versus[i].versus :
					       versus <= EQUAL;
		failed |= !ok;
		printf("%sok %d %s: %s than %s\n", ok ? "" : "not ", ++*n,
		       scenario->name, versus_names[versus], model_names[i]);
	}
	return failed;
}

static int read_one(struct scenario *scenario, const char *path)
{
	const char *end = strrchr(path, '.');

	return end && !strcmp(end, ".jsonl") ? trace_read(scenario, path) :
					       scenario_read(scenario, path);
}

static int usage(void)
{
	fprintf(stderr, "Usage: sim [--plot DIR] [--tap] SCENARIO|TRACE...\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct scenario scenario;
	struct result results[MODELS];
	const char *plot = NULL;
	int i, n = 0, failed = 0;
	bool as_tap = false;
	size_t m;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--tap"))
			as_tap = true;
		else if (!strcmp(argv[i], "--plot") && i + 1 < argc)
			plot = argv[++i];
		else
			return usage();
	}
	if (i == argc)
		return usage();
	if (as_tap)
		printf("TAP version 13\n1..%d\n", (argc - i) * MODELS);
	else
		printf("%-22s %-9s %-6s %-13s %8s %8s %9s %7s %6s %6s  %s\n", "SCENARIO",
		       "MODEL", "END", "BY", "TIME s", "DOWN ms", "SENT GiB", "SLOW s",
		       "TIME x", "DOWN x", "POLICY IS");
	for (; i < argc; i++) {
		if (read_one(&scenario, argv[i]))
			return 1;
		for (m = 0; m < MODELS; m++)
			results[m] = run(&scenario, m, plot);
		if (as_tap)
			failed |= tap(&scenario, results, &n);
		else
			table(&scenario, results);
	}
	return failed;
}
