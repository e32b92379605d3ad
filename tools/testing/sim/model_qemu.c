// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What QEMU 11.1 does by itself, with a downtime limit that stays as it is: and that
 * limit moved by the stall detector that KubeVirt has.
 *
 * QEMU measures the bandwidth every 100 ms by what it sent in them, also while it had
 * nothing to send; the threshold is that times the limit. It asks the sources anew
 * when what it believes to be left is not above the threshold, or nothing is left
 * that could be moved before the stop; and completes when what they say is not above
 * it. Sums are not clamped. What stop and resume take is not counted.
 */
#include <math.h>
#include <stdlib.h>

#include "model.h"

#define WINDOW		0.1

struct qemu {
	struct world *world;
	const struct allowed *allowed;
	double limit;
	double bandwidth;
	double since, sent_before;
	double threshold;
	unsigned int iterations;
	bool acknowledged;
	double iteration_began;
};

static void measure(struct qemu *qemu)
{
	double time = qemu->world->now - qemu->since;

	if (time < WINDOW - TICK / 2)
		return;
	qemu->bandwidth = qemu->allowed->bandwidth > 0 ? qemu->allowed->bandwidth :
			  (qemu->world->sent - qemu->sent_before) / time;
	qemu->threshold = qemu->bandwidth * qemu->limit;
	qemu->since = qemu->world->now;
	qemu->sent_before = qemu->world->sent;
}

/* A size near 2^64 makes the sum small. */
static uint64_t pending(const struct qemu *qemu)
{
	struct sizes sizes = world_sizes(qemu->world);

	return (uint64_t)(sizes.ram + sizes.device) + sizes.raw_stop;
}

static bool fits(const struct qemu *qemu)
{
	return (double)pending(qemu) <= qemu->threshold;
}

/* True when it completes. */
static bool step(struct qemu *qemu, bool *boundary)
{
	struct sizes sizes;

	*boundary = false;
	world_send(qemu->world, TICK);
	world_run(qemu->world, TICK);
	measure(qemu);
	sizes = world_sizes(qemu->world);
	/* Once acknowledged it stays so, whatever the device has to add. */
	qemu->acknowledged |= world_ready(qemu->world);
	if (!fits(qemu) && sizes.ram + sizes.device > 0)
		return false;
	world_sync(qemu->world);
	qemu->iterations++;
	*boundary = true;
	return fits(qemu) && qemu->acknowledged;
}

static struct result ended(struct qemu *qemu, struct result result)
{
	result.iterations = qemu->iterations;
	return result;
}

static bool late(const struct qemu *qemu)
{
	return qemu->allowed->timeout > 0 && qemu->world->now >= qemu->allowed->timeout;
}

static struct result run_qemu(struct world *world, const struct allowed *allowed,
			      double limit, FILE *plot)
{
	struct qemu qemu = { .world = world, .allowed = allowed, .limit = limit };
	bool boundary;

	for (;;) {
		plot_line(plot, world, &(struct view){ qemu.threshold, qemu.bandwidth });
		if (late(&qemu))
			return ended(&qemu, stay(world, "timeout"));
		if (world->now > FOR_EVER)
			return ended(&qemu, stay(world, "never"));
		if (step(&qemu, &boundary))
			return ended(&qemu, finish(world, allowed, "fits"));
	}
}

struct result model_qemu(struct world *world, const struct allowed *allowed, FILE *plot)
{
	return run_qemu(world, allowed, allowed->downtime, plot);
}

struct result model_fixed(struct world *world, const struct allowed *allowed, FILE *plot)
{
	return run_qemu(world, allowed, fmax(allowed->downtime, allowed->max_downtime),
			plot);
}

/* ---- the stall detector ---- */

#define STALL_WINDOW	40.0
#define STALL_MARGIN	0.04
#define POSSIBLE	1.5
#define POLL		0.4
#define LONGEST		2000.0
#define MIN_PATIENCE	1.0

struct record {
	double at, remaining;
};

struct detector {
	struct record *candidates;
	size_t first, n, room;
	double old_best;		/* outside the window; < 0: none */
	bool stalled;
	double best;
	double patience, deadline;
	double *history;
	size_t n_history, room_history;
	double bandwidth;		/* smoothed */
	double polled;
	bool acted;
};

static void remember(struct detector *detector, double at, double remaining)
{
	while (detector->first < detector->n &&
	       at - detector->candidates[detector->first].at >= STALL_WINDOW) {
		double old = detector->candidates[detector->first++].remaining;

		if (detector->old_best < 0 || old < detector->old_best)
			detector->old_best = old;
	}
	if (detector->old_best >= 0 && remaining > detector->old_best)
		return;
	if (detector->first < detector->n &&
	    remaining >= detector->candidates[detector->n - 1].remaining)
		return;
	if (detector->n == detector->room) {
		detector->room = detector->room * 2 + 64;
		detector->candidates = realloc(detector->candidates, detector->room *
					       sizeof(*detector->candidates));
	}
	detector->candidates[detector->n++] = (struct record) { at, remaining };
}

static void stall_begins(struct detector *detector, double at)
{
	size_t i;

	detector->stalled = true;
	detector->best = detector->old_best;
	for (i = detector->first; i < detector->n; i++)
		detector->best = fmin(detector->best, detector->candidates[i].remaining);
	detector->patience = STALL_WINDOW;
	detector->deadline = at + detector->patience;
}

/* The least of what came since takes the place of the best that does not come again. */
static void relax(struct detector *detector, double at, double remaining)
{
	size_t i, least = 0;

	if (detector->n_history == detector->room_history) {
		detector->room_history = detector->room_history * 2 + 64;
		detector->history = realloc(detector->history, detector->room_history *
					    sizeof(*detector->history));
	}
	detector->history[detector->n_history++] = remaining;
	if (at < detector->deadline)
		return;
	for (i = 1; i < detector->n_history; i++) {
		if (detector->history[i] < detector->history[least])
			least = i;
	}
	detector->best = detector->history[least];
	detector->history[least] = detector->history[--detector->n_history];
	detector->patience = fmax(detector->patience / 2, MIN_PATIENCE);
	detector->deadline = at + detector->patience;
}

/* 1: post-copy starts, 2: it is aborted, 0: it goes on, maybe with another limit. */
static int converge(struct detector *detector, struct qemu *qemu)
{
	double implied = detector->best / detector->bandwidth;
	double allowed = fmax(qemu->allowed->downtime, qemu->allowed->max_downtime);
	bool vfio = qemu->world->n_devices;

	detector->acted = true;
	if (qemu->allowed->actions & POLICY_ALLOW_POSTCOPY && qemu->allowed->postcopy &&
	    !vfio)
		return 1;
	if (qemu->allowed->actions & POLICY_ALLOW_STOP || vfio)
		qemu->limit = LONGEST;
	else if (implied <= allowed)
		qemu->limit = fmax(implied, 0.001);
	else if (allowed * POSSIBLE <= implied)
		return 2;
	else
		qemu->limit = allowed;
	return 0;
}

static int at_boundary(struct detector *detector, struct qemu *qemu)
{
	/* It knows RAM's remaining bytes only. */
	double at = qemu->world->now, remaining = world_sizes(qemu->world).ram;

	remember(detector, at, remaining);
	if (!detector->stalled && detector->old_best >= 0 &&
	    remaining >= detector->old_best * (1 - STALL_MARGIN))
		stall_begins(detector, at);
	if (!detector->stalled || detector->acted)
		return 0;
	relax(detector, at, remaining);
	if (detector->best == 0 || remaining > detector->best * (1 + STALL_MARGIN) ||
	    detector->bandwidth <= 0)
		return 0;
	return converge(detector, qemu);
}

static void poll_bandwidth(struct detector *detector, const struct qemu *qemu)
{
	if (qemu->world->now - detector->polled < POLL)
		return;
	detector->polled = qemu->world->now;
	detector->bandwidth = detector->bandwidth > 0 ?
		0.5 * qemu->bandwidth + 0.5 * detector->bandwidth : qemu->bandwidth;
}

static struct result run_kubevirt(struct detector *detector, struct qemu *qemu,
				  FILE *plot)
{
	struct world *world = qemu->world;
	bool boundary;
	int what;

	for (;;) {
		plot_line(plot, world, &(struct view){ qemu->threshold, qemu->bandwidth });
		if (late(qemu))
			return stay(world, "timeout");
		if (world->now > FOR_EVER)
			return stay(world, "never");
		if (step(qemu, &boundary))
			return finish(world, qemu->allowed,
				      detector->acted ? "raised" : "fits");
		poll_bandwidth(detector, qemu);
		what = boundary ? at_boundary(detector, qemu) : 0;
		if (what == 1)
			return finish_postcopy(world, qemu->allowed);
		if (what == 2)
			return stay(world, "aborted");
	}
}

struct result model_kubevirt(struct world *world, const struct allowed *allowed,
			     FILE *plot)
{
	struct qemu qemu = {
		.world = world, .allowed = allowed, .limit = allowed->downtime,
	};
	struct detector detector = { .old_best = -1 };
	struct result result;

	result = ended(&qemu, run_kubevirt(&detector, &qemu, plot));
	result.iterations = qemu.iterations;
	free(detector.candidates);
	free(detector.history);
	return result;
}
