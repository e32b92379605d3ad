// SPDX-License-Identifier: GPL-2.0-or-later
#include <math.h>

#include "model.h"

void plot_line(FILE *plot, struct world *world, const struct view *view)
{
	struct sizes sizes;

	if (!plot || fmod(world->now + TICK / 2, 0.1) >= TICK)
		return;
	sizes = world_sizes(world);
	fprintf(plot, "%.2f %.0f %.0f %.0f %.0f %.0f\n", world->now,
		sizes.ram + sizes.device + sizes.stop, view->threshold,
		world_dirty_rate(world), view->bandwidth, world_bandwidth(world));
}

static double limit_of(const struct allowed *allowed)
{
	return fmax(allowed->downtime, allowed->max_downtime);
}

/* The clock is no better than a tick; nor is a last write before the stop. */
static enum outcome judge(const struct allowed *allowed, double downtime)
{
	return downtime <= limit_of(allowed) * 1.1 + 2 * TICK ||
	       allowed->actions & POLICY_ALLOW_STOP ? DONE : OVER;
}

/* A device that begins anew can't go back from there: its migration fails. */
struct result finish(struct world *world, const struct allowed *allowed,
		     const char *reason)
{
	if (!world_stop(world))
		return stay(world, "reinit");
	return finish_stopped(world, allowed, reason);
}

struct result finish_stopped(struct world *world, const struct allowed *allowed,
			     const char *reason)
{
	double rest = world_rest(world), link = world_bandwidth(world);
	double downtime = rest / fmax(link, 1) + world->fixed;

	return (struct result) {
		.outcome = judge(allowed, downtime),
		.reason = reason,
		.total = world->now + downtime,
		.downtime = downtime,
		.bytes = world->sent + rest,
	};
}

struct result finish_postcopy(struct world *world, const struct allowed *allowed)
{
	double rest = world_rest(world), link = fmax(world_bandwidth(world), 1);
	double downtime = world_rest_of_devices(world) / link + world->fixed;
	double after = (rest - world_rest_of_devices(world)) / link;

	return (struct result) {
		.outcome = judge(allowed, downtime),
		.reason = "post-copy",
		.total = world->now + downtime + after,
		.downtime = downtime,
		.bytes = world->sent + rest,
		.brownout = after,
	};
}

struct result stay(struct world *world, const char *reason)
{
	return (struct result) {
		.outcome = STAYS,
		.reason = reason,
		.total = world->now,
		.bytes = world->sent,
	};
}
