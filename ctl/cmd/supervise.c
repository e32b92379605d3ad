// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/live.h"
#include "cmd/session.h"
#include "cmd/supervise.h"

/* Between two attempts: the destination has to be made ready again. */
#define ATTEMPT_PAUSE_US	1000000

static bool is_moved(const struct supervision *s)
{
	return s->phase == MIGTRACK_PHASE_COMPLETED;
}

/* No way back: what is under way is not ours to end. */
static bool is_left_alone(const struct supervision *s, const struct error *err)
{
	return s->progress.postcopy || err->code == EXIT_IN_DOUBT;
}

/* The guest runs on here, unless it has been moved. */
static int take_back(struct supervision *s, const struct error *why)
{
	struct error err;

	if (!s->touched || is_moved(s) || is_left_alone(s, why))
		return 0;
	/* Who took charge of a migration that runs ends it only if told to. */
	if (s->attached && (why->code == EXIT_CANCELLED || why->code == EXIT_TIMEOUT))
		s->ops->attach(s->vmm, true);
	if (!s->ops->guard->cancel(s->vmm, &err))
		return 0;
	out_error(s->out, &err);
	return -1;
}

static void restore(struct supervision *s, const struct error *why)
{
	struct error err;

	if (!s->touched)
		return;
	if (s->ops->guard->restore(s->vmm, s->saved, &err) &&
	    !is_left_alone(s, why))
		out_error(s->out, &err);
	guard_stop(s->guard);
	s->guard = NULL;
	s->touched = false;
}

static enum migtrack_phase end_phase(const struct supervision *s,
				     const struct error *err)
{
	if (err->code == EXIT_IN_DOUBT)
		return MIGTRACK_PHASE_IN_DOUBT;
	if (err->code != EXIT_CANCELLED && err->code != EXIT_TIMEOUT)
		return MIGTRACK_PHASE_FAILED;
	return s->phase < MIGTRACK_PHASE_HANDOVER ? MIGTRACK_PHASE_CANCELLED :
						    MIGTRACK_PHASE_FAILED;
}

static void session_end(struct supervision *s)
{
	struct error ignored;

	control_close(&s->control);
	/* One that is in doubt leaves its record. */
	if (s->phase == MIGTRACK_PHASE_IN_DOUBT)
		record_set(&s->record, "in-doubt", &ignored);
	else
		record_remove(&s->record);
	track_devices_free(&s->devices);
	tracker_close(&s->tracker);
}

static void attempt_end(struct supervision *s, const struct error *err)
{
	struct error ignored;

	if (err && s->phase != MIGTRACK_PHASE_NONE)
		supervise_set_phase(s, end_phase(s, err), &ignored);
}

/* What the next one starts from. */
static void attempt_forget(struct supervision *s)
{
	uint64_t started = s->times.started;

	session_end(s);
	s->times = (struct supervise_times) { .started = started };
	s->phase = MIGTRACK_PHASE_NONE;
	s->verdict = MIGTRACK_VERDICT_NONE;
	s->published = (struct migtrack_session){};
	s->progress = (struct vmm_progress){};
	s->sync = (struct migtrack_map_header){};
	s->sample = (struct policy_sample){};
	s->reported = POLICY_UNKNOWN;
	s->syncing = s->reinit = false;
}

/* Again, if a device began anew when it was stopped. */
static int supervise(struct supervision *s, struct error *err)
{
	int ret;

	for (s->attempt = 1;; s->attempt++) {
		ret = supervise_run(s, err);
		if (ret && take_back(s, err))
			break;
		if (!ret || !s->reinit || s->attempt >= s->options->attempts ||
		    s->attached)
			break;
		out_say(s->out, "Attempt %u failed: %s", s->attempt, err->message);
		attempt_end(s, err);
		attempt_forget(s);
		usleep(ATTEMPT_PAUSE_US);
	}
	restore(s, err);
	/* Who only watched goes; what was watched goes on. */
	if (ret && s->options->dry_run && err->code == EXIT_CANCELLED)
		return 0;
	attempt_end(s, ret ? err : NULL);
	return ret;
}

static int open_vmm(struct supervision *s, struct error *err)
{
	s->signals = signals_open(err);
	if (s->signals < 0 || vmm_qemu.open(&s->vmm, s->options->qmp, 0, err) ||
	    (!s->options->dry_run && lock_take(&s->lock, s->vmm->pid, err)))
		return -1;
	return s->ops->check(s->vmm, s->options->qmp, &s->options->vmm, err);
}

static void supervision_close(struct supervision *s)
{
	session_end(s);
	lock_drop(&s->lock);
	json_decref(s->saved);
	if (s->vmm)
		s->vmm->ops->close(s->vmm);
	if (s->signals >= 0)
		close(s->signals);
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
	ret = open_vmm(&s, err);
	if (!ret) {
		run_begin(&s.run, NULL, options.dry_run ? "watch" : "supervise",
			  options.qmp, options.vmm.to ? options.vmm.to : "");
		ret = supervise(&s, err);
		supervise_out_summary(&s, ret ? err : NULL);
		run_end(&s.run, phase_name(s.phase), ret ? err : NULL);
	}
	supervision_close(&s);
	return ret;
}
