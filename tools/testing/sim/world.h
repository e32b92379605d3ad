/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that is moved: memory that is written again, devices, a link. It knows
 * nothing of policies. Sizes are bytes, times seconds; they are model quantities, so
 * they are doubles.
 */
#ifndef MIGTRACK_SIM_WORLD_H
#define MIGTRACK_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_MAX	16
#define STEPS_MAX	256

/* From a time on: a bandwidth, or a rate. */
struct step {
	double from;
	double value;
};

/**
 * struct writer - a part of memory that is written
 * @set: its size; grows by @grow in a second
 * @rate: bytes written in a second, the same page as often as it is hit; by steps
 * @sweep: page after page, not at random
 * @from: it writes from then,
 * @to: until then,
 * @period: of this time only
 * @on: so long, at its start
 * @unsent: found by a sync, not sent yet
 * @fresh: written since the sync
 */
struct writer {
	double set, grow;
	struct step rates[STEPS_MAX];
	size_t n_rates;
	bool sweep;
	double from, to, period, on;
	double unsent, fresh;
};

/**
 * struct device - what a VFIO device has
 * @name: of it
 * @initial: not sent yet; until then it is not ready
 * @set: can be moved while it runs, and gets dirty again,
 * @rate: so fast
 * @unsent: of @set, found
 * @fresh: of @set, written since
 * @stop: moves only when stopped
 * @report: its size is reported as this instead, 0: no
 * @report_from: from then
 * @report_to: until then
 * @reinit: new initial data
 * @reinit_at: at that time, 0: never
 * @at_stop: new initial data once, when it is stopped
 * @good: the last size that was possible, 0: none yet
 */
struct device {
	char name[32];
	double initial, set, rate, unsent, fresh, stop;
	uint64_t report;
	double report_from, report_to;
	double reinit, reinit_at, at_stop;
	uint64_t good;
};

/**
 * struct world - all of it
 * @now: the time
 * @cold: memory that nobody writes, not sent yet
 * @throttle: the part of the guest's CPU time that is taken away
 * @fixed: what stop, device state and resume take
 * @sent: bytes
 */
struct world {
	double now;
	double memory;
	double cold;
	double throttle;
	double fixed;
	double sent;
	struct writer writers[WORLD_MAX];
	size_t n_writers;
	struct device devices[WORLD_MAX];
	size_t n_devices;
	struct step links[STEPS_MAX];
	size_t n_links;
};

/* What the sources say: the last sync's numbers, less what was sent. */
struct sizes {
	double ram;
	double device;
	double stop;
	uint64_t raw_stop;		/* as the devices report it, added up as it comes */
	bool raw_bad;
	const char *unknown;
};

void world_start(struct world *world);
void world_run(struct world *world, double dt);
/* Sends what was found, for so long. Returns the bytes. */
double world_send(struct world *world, double dt);
void world_sync(struct world *world);
struct sizes world_sizes(struct world *world);
bool world_ready(const struct world *world);
double world_bandwidth(const struct world *world);
/* Bytes written in a second, the same page once in that time. */
double world_dirty_rate(const struct world *world);
/* The guest stops: false if a device has more to say, and can't say it any more. */
bool world_stop(struct world *world);
/* All that is left when it stops now. */
double world_rest(const struct world *world);
double world_rest_of_devices(const struct world *world);

#endif /* MIGTRACK_SIM_WORLD_H */
