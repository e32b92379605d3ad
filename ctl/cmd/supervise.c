// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cmd/live.h"
#include "cmd/session.h"
#include "cmd/supervise.h"
#include "cmd/throttle.h"

static int open_vmm(struct supervision *s, struct error *err)
{
	s->signals = signals_open_for_guest(err);
	if (s->signals < 0 || vmm_qemu.open(&s->vmm, s->options->qmp, 0, err) ||
	    (!s->options->dry_run && lock_take(&s->lock, s->vmm->pid, err)))
		return -1;
	if (s->ops->check(s->vmm, s->options->qmp, &s->options->vmm, err))
		return -1;
	if (!s->options->dry_run) {
		record_remove_older(s->vmm, &vmm_driver_qemu);
		throttle_sweep(&THROTTLE_NONE, s->vmm->pid);
	}
	return 0;
}

static void supervision_close(struct supervision *s)
{
	supervise_end(s);
	lock_drop(&s->lock);
	json_decref(s->saved);
	if (s->vmm)
		s->vmm->ops->close(s->vmm);
}

static const char *result_name(const struct supervision *s)
{
	return s->phase ? phase_name(s->phase) : "not-started";
}

int cmd_supervise(struct output *out, int argc, char **argv, struct error *err)
{
	struct supervise_options options;
	struct supervision s = {
		.out = out,
		.options = &options,
		.ops = &vmm_qemu_supervise,
		.lock = LOCK_NONE,
		.tracker.fd = -1,
		.control = CONTROL_NONE,
		.reported = POLICY_UNKNOWN,
		.signals = -1,
		.lines = live_open(out),
	};
	int ret;

	if (supervise_options_parse(&options, argc, argv, err))
		return -1;
	s.times.started = clock_ns(CLOCK_MONOTONIC);
	s.limits.max_bandwidth = options.max_bandwidth;
	policy_init(&s.policy, &options.limits, s.times.started);
	/* What is refused, or can't be reached, is a run that ended, too. */
	run_begin(&s.run, NULL, options.dry_run ? "watch" : "supervise",
		  options.qmp, options.vmm.to ? options.vmm.to : "");
	out_never_wait(out);
	ret = open_vmm(&s, err);
	if (!ret) {
		ret = supervise_attempts(&s, err);
		supervise_out_summary(&s, ret ? err : NULL);
	}
	run_end(&s.run, result_name(&s), ret ? err : NULL);
	supervision_close(&s);
	signals_end(out, s.signals);
	return ret;
}
