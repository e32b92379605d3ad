/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of migctl supervise share. */
#ifndef MIGTRACK_SUPERVISE_STATE_H
#define MIGTRACK_SUPERVISE_STATE_H

#include <time.h>

#include "cmd/supervise.h"
#include "unit.h"
#include "vmm/supervise.h"

static const struct vmm_supervise_ops * const ops = &vmm_qemu_supervise;

static const struct supervise_options some_options = { .attempts = 3 };

/* One that runs, as far as attempts and signals see it. */
static inline void running(struct supervision *s, struct output *out)
{
	struct error err = {};

	*s = (struct supervision) {
		.out = out,
		.options = &some_options,
		.ops = ops,
		.tracker.fd = -1,
		.control = CONTROL_NONE,
		.attempt = 1,
		.reinit = true,
		.limits.max_bandwidth = 7,
	};
	out->stream = fopen("/dev/null", "w");
	s->signals = signals_open(&err);
	CHECK(s->signals >= 0);
	policy_init(&s->policy, &policy_default_limits, clock_ns(CLOCK_MONOTONIC));
}

#endif /* MIGTRACK_SUPERVISE_STATE_H */
