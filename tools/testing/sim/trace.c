// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A recorded migration (migctl migrate -j, or migctl monitor -j) as a scenario. Each
 * iteration tells how much was dirty after how long: with the largest of these as the
 * working set, that is a rate for its time. The link is what was sent, where there was
 * enough to tell.
 */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "scenario.h"

/* Less says nothing about a link. */
#define LINK_BYTES	(4.0 * (1 << 20))
#define LINK_TIME	0.1
#define PAGE		4096

struct iteration {
	double at, sent, remaining, dirty, downtime_limit;
};

static double number(const json_t *line, const char *key)
{
	return json_number_value(json_object_get(line, key));
}

static const char *text(const json_t *line, const char *key)
{
	const char *value = json_string_value(json_object_get(line, key));

	return value ? value : "";
}

/**
 * struct trace - what was read of it
 * @its: the iterations
 * @n: how many
 * @fixed: what the downtime had beside the last copy
 * @began: monitor: when it began to move, in its clock; 0 before
 * @iteration: monitor: the last
 */
struct trace {
	struct iteration its[STEPS_MAX];
	size_t n;
	double fixed, began, iteration;
};

/* A line of migctl migrate. */
static void add_iteration(struct trace *trace, const json_t *line)
{
	double before = trace->n ? trace->its[trace->n - 1].at : 0;
	double at = number(line, "elapsed_ns") / 1e9;

	trace->its[trace->n++] = (struct iteration) {
		.at = at,
		.sent = number(line, "sent_bytes"),
		.remaining = number(line, "remaining_bytes"),
		.dirty = number(line, "dirty_bytes_per_second") * (at - before),
		.downtime_limit = number(line, "downtime_limit_ns") / 1e9,
	};
}

/*
 * One of migctl monitor: after each iteration the controller publishes by which
 * bandwidth it decides and which downtime it expects, and so what is left.
 */
static void add_event(struct trace *trace, const json_t *line)
{
	const struct iteration *last = trace->n ? &trace->its[trace->n - 1] : NULL;
	double bandwidth = number(line, "bandwidth_bytes_per_second");
	double at = number(line, "time_ns") / 1e9 - trace->began;

	if (strcmp(text(line, "event"), "session-change") ||
	    strcmp(text(line, "phase"), "precopy"))
		return;
	if (!trace->began)
		trace->began = at;
	if (number(line, "iteration") <= trace->iteration || !bandwidth)
		return;
	trace->iteration = number(line, "iteration");
	trace->its[trace->n++] = (struct iteration) {
		.at = at,
		.sent = (last ? last->sent : 0) + bandwidth * (at - (last ? last->at : 0)),
		.remaining = number(line, "expected_downtime_ns") / 1e9 * bandwidth,
		.dirty = number(line, "dirty_pages") * PAGE,
		.downtime_limit = number(line, "downtime_limit_ns") / 1e9,
	};
}

static void trace_parse(struct trace *trace, FILE *file)
{
	char buffer[4096];

	while (trace->n < STEPS_MAX && fgets(buffer, sizeof(buffer), file)) {
		json_t *line = json_loads(buffer, 0, NULL);
		const char *type = text(line, "type");

		if (!strcmp(type, "iteration"))
			add_iteration(trace, line);
		else if (!strcmp(type, "event"))
			add_event(trace, line);
		else if (!strcmp(type, "summary"))
			trace->fixed = (number(line, "downtime_ns") -
					number(line, "downtime_copy_ns")) / 1e9;
		json_decref(line);
	}
}

static void link_from(struct world *world, double at, double bytes, double time)
{
	if (bytes < LINK_BYTES || time < LINK_TIME)
		return;
	world->links[world->n_links++] = (struct step) { at, bytes / time };
}

static void derive(struct scenario *scenario, const struct iteration *it, size_t n)
{
	struct world *world = &scenario->world;
	struct writer *writer = &world->writers[world->n_writers++];
	struct iteration before = {};
	double share;
	size_t i;

	/* Pages of zeros remain, and are not sent: it was no more than was sent at last. */
	world->memory = fmin(it[0].sent + it[0].remaining,
			     it[n - 1].sent + it[n - 1].remaining);
	for (i = 0; i < n; i++)
		writer->set = fmax(writer->set, it[i].dirty * 1.05);
	writer->set = fmin(writer->set, world->memory);
	for (i = 0; i < n; i++) {
		link_from(world, before.at, it[i].sent - before.sent,
			  it[i].at - before.at);
		share = writer->set > 0 ? fmin(it[i].dirty / writer->set, 0.999) : 0;
		writer->rates[writer->n_rates++] = (struct step) {
			before.at, -writer->set / (it[i].at - before.at) * log(1 - share),
		};
		before = it[i];
	}
}

int trace_read(struct scenario *scenario, const char *path)
{
	struct trace trace = {};
	const char *base = strrchr(path, '/');
	FILE *file = fopen(path, "r");

	*scenario = (struct scenario){};
	snprintf(scenario->name, sizeof(scenario->name), "trace:%s",
		 base ? base + 1 : path);
	scenario->name[strcspn(scenario->name, ".")] = '\0';
	if (!file) {
		perror(path);
		return -1;
	}
	trace_parse(&trace, file);
	fclose(file);
	scenario->world.fixed = trace.fixed;
	if (trace.n)
		derive(scenario, trace.its, trace.n);
	if (!trace.n || !scenario->world.n_links) {
		fprintf(stderr, "%s: no iterations of a migration, or too short ones\n",
			path);
		return -1;
	}
	/* It was a limit for the last copy, where no fixed cost was told. */
	scenario->allowed.downtime = trace.its[trace.n - 1].downtime_limit +
				     scenario->world.fixed;
	return 0;
}
