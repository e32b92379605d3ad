/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A way to decide, run over a world. */
#ifndef MIGTRACK_SIM_MODEL_H
#define MIGTRACK_SIM_MODEL_H

#include <stdio.h>

#include "policy/policy.h"
#include "world.h"

#define TICK	0.01

/**
 * struct allowed - what the user allows, the same for all models
 * @downtime: at first
 * @max_downtime: if need be; 0: no more than @downtime
 * @timeout: 0: none
 * @bandwidth: to decide by, 0: to be measured
 * @actions: POLICY_ALLOW_*
 * @postcopy: set up for it
 */
struct allowed {
	double downtime;
	double max_downtime;
	double timeout;
	double bandwidth;
	unsigned int actions;
	bool postcopy;
};

enum outcome {
	DONE,			/* within what was allowed */
	STAYS,			/* the guest runs on at the source */
	OVER,			/* with a downtime beyond it */
};

/**
 * struct result - what came of it
 * @outcome: see there
 * @reason: what ended it
 * @total: time, downtime and post-copy included
 * @downtime: that the guest had
 * @bytes: that were sent
 * @brownout: time that the guest was slow for: throttled, by its part, and after
 *	post-copy started
 * @iterations: syncs that counted
 */
struct result {
	enum outcome outcome;
	const char *reason;
	double total;
	double downtime;
	double bytes;
	double brownout;
	unsigned int iterations;
};

/* What is plotted: a line for every tenth of a second, NULL for none. */
struct view {
	double threshold;
	double bandwidth;
};

void plot_line(FILE *plot, struct world *world, const struct view *view);

/* The guest stops for the last copy. */
struct result finish(struct world *world, const struct allowed *allowed,
		     const char *reason);
struct result finish_stopped(struct world *world, const struct allowed *allowed,
			     const char *reason);
struct result finish_postcopy(struct world *world, const struct allowed *allowed);
struct result stay(struct world *world, const char *reason);

typedef struct result model_fn(struct world *world, const struct allowed *allowed,
			       FILE *plot);

model_fn model_policy;
model_fn model_qemu;
model_fn model_kubevirt;
model_fn model_fixed;

/* Nothing takes longer. */
#define FOR_EVER	7200.0

#endif /* MIGTRACK_SIM_MODEL_H */
