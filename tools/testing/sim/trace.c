// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A recorded migration (migctl migrate -j) as a scenario. Each iteration tells how much was dirty after
 * how long: with the largest of these as the working set, that is a rate for its
 * time. The link is what was sent, where there was enough to tell.
 */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "scenario.h"

/* Less says nothing about a link. */
#define LINK_BYTES	(4.0 * (1 << 20))
#define LINK_TIME	0.1

struct iteration {
	double at, sent, remaining, dirty, downtime_limit;
};

static double number(const json_t *line, const char *key)
{
	return json_number_value(json_object_get(line, key));
}

/* @fixed: what the downtime had beside the last copy. */
static size_t iterations_read(FILE *file, struct iteration *iterations, double *fixed)
{
	char text[4096];
	double before = 0;
	size_t n = 0;

	while (n < STEPS_MAX && fgets(text, sizeof(text), file)) {
		json_t *line = json_loads(text, 0, NULL);
		const char *type = json_string_value(json_object_get(line, "type"));

		if (type && !strcmp(type, "iteration")) {
			struct iteration *it = &iterations[n++];

			it->at = number(line, "elapsed_ns") / 1e9;
			it->sent = number(line, "sent_bytes");
			it->remaining = number(line, "remaining_bytes");
			it->dirty = number(line, "dirty_bytes_per_second") *
				    (it->at - before);
			it->downtime_limit = number(line, "downtime_limit_ns") / 1e9;
			before = it->at;
		} else if (type && !strcmp(type, "summary")) {
			*fixed = (number(line, "downtime_ns") -
				  number(line, "downtime_copy_ns")) / 1e9;
		}
		json_decref(line);
	}
	return n;
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
	static struct iteration iterations[STEPS_MAX];
	const char *base = strrchr(path, '/');
	FILE *file = fopen(path, "r");
	size_t n;

	*scenario = (struct scenario){};
	snprintf(scenario->name, sizeof(scenario->name), "trace:%s",
		 base ? base + 1 : path);
	scenario->name[strcspn(scenario->name, ".")] = '\0';
	if (!file) {
		perror(path);
		return -1;
	}
	n = iterations_read(file, iterations, &scenario->world.fixed);
	fclose(file);
	if (n)
		derive(scenario, iterations, n);
	if (!n || !scenario->world.n_links) {
		fprintf(stderr, "%s: no iterations of a migration, or too short ones\n",
			path);
		return -1;
	}
	/* It was a limit for the last copy, where no fixed cost was told. */
	scenario->allowed.downtime = iterations[n - 1].downtime_limit +
				     scenario->world.fixed;
	return 0;
}
