/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A scenario: a world, what is allowed, and what is to come of it. README tells the format. */
#ifndef MIGTRACK_SIM_SCENARIO_H
#define MIGTRACK_SIM_SCENARIO_H

#include "model.h"

enum versus {
	BETTER, EQUAL, TRADE, WORSE,
};

#define MODELS	4

/**
 * struct expected - against one model
 * @set: the scenario says
 * @versus: what
 * @why: the reason, where it is no better
 */
struct expected {
	bool set;
	enum versus versus;
	char why[160];
};

struct scenario {
	char name[64];
	struct world world;
	struct allowed allowed;
	bool expect_set;
	enum outcome expect;
	struct expected versus[MODELS];
};

extern const char *const versus_names[];
extern const char *const model_names[MODELS];
extern const char *const outcome_names[];

/* 0, or -1 after saying what is wrong with it. */
int scenario_read(struct scenario *scenario, const char *path);
/* A recorded migration: JSON lines of migctl migrate -j or monitor -j. */
int trace_read(struct scenario *scenario, const char *path);

#endif /* MIGTRACK_SIM_SCENARIO_H */
