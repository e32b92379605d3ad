// SPDX-License-Identifier: GPL-2.0-or-later
#include <math.h>

#include "world.h"

static double step_at(const struct step *steps, size_t n, double now)
{
	double value = 0;
	size_t i;

	for (i = 0; i < n && steps[i].from <= now; i++)
		value = steps[i].value;
	return value;
}

double world_bandwidth(const struct world *world)
{
	return step_at(world->links, world->n_links, world->now);
}

static double rate_now(const struct world *world, const struct writer *writer)
{
	double now = world->now;

	if (now < writer->from || (writer->to > 0 && now >= writer->to) ||
	    (writer->period > 0 && fmod(now, writer->period) >= writer->on))
		return 0;
	return step_at(writer->rates, writer->n_rates, now) * (1 - world->throttle);
}

/* How much more is dirty after a while; a page that is dirty stays it. */
static double dirtied(double fresh, double set, double rate, bool sweep, double dt)
{
	if (set <= 0)
		return 0;
	if (sweep)
		return fmin(set, fresh + rate * dt) - fresh;
	return (set - fresh) * (1 - exp(-rate * dt / set));
}

void world_start(struct world *world)
{
	double sets = 0;
	size_t i;

	for (i = 0; i < world->n_writers; i++) {
		world->writers[i].unsent = world->writers[i].set;
		sets += world->writers[i].set;
	}
	world->cold = fmax(0, world->memory - sets);
	for (i = 0; i < world->n_devices; i++)
		world->devices[i].unsent = world->devices[i].set;
}

void world_run(struct world *world, double dt)
{
	size_t i;

	for (i = 0; i < world->n_writers; i++) {
		struct writer *writer = &world->writers[i];

		writer->fresh += dirtied(writer->fresh, writer->set,
					 rate_now(world, writer), writer->sweep, dt);
		/* What it grows into is written first. */
		writer->set += writer->grow * dt;
		writer->fresh += writer->grow * dt;
	}
	for (i = 0; i < world->n_devices; i++) {
		struct device *device = &world->devices[i];

		device->fresh += dirtied(device->fresh, device->set, device->rate,
					 false, dt);
		if (device->reinit_at > 0 && world->now >= device->reinit_at) {
			device->initial += device->reinit;
			device->reinit_at = 0;
		}
	}
	world->now += dt;
}

static double *parts(struct world *world, size_t i)
{
	struct device *device;

	if (!i--)
		return &world->cold;
	if (i < world->n_writers)
		return &world->writers[i].unsent;
	i -= world->n_writers;
	device = &world->devices[i / 2];
	return i % 2 ? &device->unsent : &device->initial;
}

static size_t n_parts(const struct world *world)
{
	return 1 + world->n_writers + 2 * world->n_devices;
}

double world_send(struct world *world, double dt)
{
	double bytes = world_bandwidth(world) * dt, all = 0, share;
	size_t i, n = n_parts(world);

	for (i = 0; i < n; i++)
		all += *parts(world, i);
	bytes = fmin(bytes, all);
	if (all <= 0)
		return 0;
	share = 1 - bytes / all;
	for (i = 0; i < n; i++)
		*parts(world, i) *= share < 1e-12 ? 0 : share;
	world->sent += bytes;
	return bytes;
}

/* It hits what is left as often as the rest of its set. */
static double joined(double unsent, double fresh, double set)
{
	return set > 0 ? unsent + fresh - unsent * fresh / set : 0;
}

void world_sync(struct world *world)
{
	size_t i;

	for (i = 0; i < world->n_writers; i++) {
		struct writer *writer = &world->writers[i];

		writer->unsent = joined(writer->unsent, writer->fresh, writer->set);
		writer->fresh = 0;
	}
	for (i = 0; i < world->n_devices; i++) {
		struct device *device = &world->devices[i];

		device->unsent = joined(device->unsent, device->fresh, device->set);
		device->fresh = 0;
	}
}

static bool bad_report(const struct world *world, const struct device *device)
{
	return device->report && world->now >= device->report_from &&
	       world->now < device->report_to;
}

struct sizes world_sizes(struct world *world)
{
	struct sizes sizes = { .ram = world->cold };
	size_t i;

	for (i = 0; i < world->n_writers; i++)
		sizes.ram += world->writers[i].unsent;
	for (i = 0; i < world->n_devices; i++) {
		struct device *device = &world->devices[i];

		sizes.device += device->initial + device->unsent;
		if (bad_report(world, device)) {
			sizes.raw_stop += device->report;
			sizes.raw_bad = true;
			/* The last good one stands for it; else nobody knows. */
			sizes.stop += device->good;
			if (!device->good)
				sizes.unknown = device->name;
		} else {
			device->good = (uint64_t)device->stop;
			sizes.raw_stop += (uint64_t)device->stop;
			sizes.stop += device->stop;
		}
	}
	return sizes;
}

bool world_ready(const struct world *world)
{
	size_t i;

	for (i = 0; i < world->n_devices; i++) {
		if (world->devices[i].initial > 0)
			return false;
	}
	return true;
}

bool world_stop(struct world *world)
{
	bool ready = world_ready(world);
	size_t i;

	for (i = 0; i < world->n_devices; i++) {
		ready &= world->devices[i].at_stop <= 0;
		world->devices[i].at_stop = 0;
	}
	return ready;
}

double world_dirty_rate(const struct world *world)
{
	double rate = 0;
	size_t i;

	for (i = 0; i < world->n_writers; i++)
		rate += dirtied(0, world->writers[i].set,
				rate_now(world, &world->writers[i]),
				world->writers[i].sweep, 1) + world->writers[i].grow;
	return rate;
}

double world_rest_of_devices(const struct world *world)
{
	double rest = 0;
	size_t i;

	for (i = 0; i < world->n_devices; i++) {
		const struct device *device = &world->devices[i];

		rest += device->initial + device->stop +
			joined(device->unsent, device->fresh, device->set);
	}
	return rest;
}

double world_rest(const struct world *world)
{
	double rest = world->cold + world_rest_of_devices(world);
	size_t i;

	for (i = 0; i < world->n_writers; i++)
		rest += joined(world->writers[i].unsent, world->writers[i].fresh,
			       world->writers[i].set);
	return rest;
}
