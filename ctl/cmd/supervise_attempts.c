// SPDX-License-Identifier: GPL-2.0-or-later
/* Attempts: how one ends, and what the next one begins with. */
#include <poll.h>
#include <string.h>
#include <time.h>

#include "cmd/session.h"
#include "cmd/supervise.h"

/* Between two attempts: the destination has to be made ready again. */
#define ATTEMPT_PAUSE_MS	1000

/* @why: of its end, NULL if it went well. */
static bool is_moved(const struct supervision *s, const struct error *why)
{
	return s->phase == MIGTRACK_PHASE_COMPLETED || !why || why->code == EXIT_MOVED;
}

/* No way back: what is under way is not ours to end. */
static bool is_left_alone(const struct supervision *s, const struct error *why)
{
	return s->progress.postcopy || (why && why->code == EXIT_IN_DOUBT);
}

/**
 * supervise_take_back() - the guest runs on here, unless it has been moved
 * @s: the migration
 * @why: it is to; filled anew if it was too late
 *
 * Return: 0, or -1 if there can't be another attempt.
 */
int supervise_take_back(struct supervision *s, struct error *why)
{
	bool failed;

	if (!s->touched || is_moved(s, why) || is_left_alone(s, why))
		return 0;
	/* Who took charge of a migration that runs ends it only if told to. */
	if (s->attached && (why->code == EXIT_CANCELLED || why->code == EXIT_TIMEOUT))
		s->ops->attach(s->vmm, true);
	failed = s->ops->guard->cancel(s->vmm, &s->undo_error);
	s->held = false;
	if (supervise_too_late(s, why))
		return -1;
	s->not_undone = failed;
	return failed ? -1 : 0;
}

/* That the guest runs on here is what the exit code would say. */
static void not_taken_back(const struct supervision *s, struct error *why)
{
	char text[sizeof(why->message)];

	/* A QEMU that has ended is no more to be said of than once. */
	if (!strcmp(why->message, s->undo_error.message))
		return;
	memcpy(text, why->message, sizeof(text));
	error_set(why, s->undo_error.code, "%.400s; that could not be undone: %.500s", text,
		  s->undo_error.message);
	error_advise(why, "%s", s->undo_error.advice);
}

/* One that has ended after it moved the guest has no settings any more. */
static bool restore_settings(struct supervision *s, const struct error *why)
{
	struct error later;

	return !s->ops->guard->restore(s->vmm, s->saved,
				       s->not_undone ? &later : &s->undo_error) ||
	       is_left_alone(s, why) ||
	       (is_moved(s, why) && s->ops->gone(s->vmm));
}

/**
 * supervise_restore() - the VMM's settings are as before, and the guard ends
 * @s: the migration
 * @why: of its end, NULL if the guest was moved; that it does not run on here is added
 */
void supervise_restore(struct supervision *s, struct error *why)
{
	bool stays = !is_moved(s, why) && !is_left_alone(s, why);
	bool lost = s->not_undone;

	if (!s->touched)
		return;
	if (!restore_settings(s, why))
		s->not_undone = true;
	/* The guard would have the guest run here. */
	if (guard_conclude(s->guard, s->vmm,
			   s->not_undone && stays ? &s->undo_error : NULL))
		lock_leave(&s->lock);
	if (lost)
		not_taken_back(s, why);
	else if (s->not_undone)
		out_error(s->out, &s->undo_error);
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

/**
 * supervise_end() - what the kernel and other terminals saw of it goes
 * @s: the migration
 */
void supervise_end(struct supervision *s)
{
	struct error ignored;

	control_close(&s->control);
	/* One that is in doubt leaves its record, and post-copy says more than that. */
	if (s->phase == MIGTRACK_PHASE_IN_DOUBT)
		supervise_write_down(s, s->progress.postcopy ? "postcopy" : "in-doubt",
				     &ignored);
	else
		record_remove(&s->record);
	track_devices_free(&s->devices);
	tracker_close(&s->tracker);
}

static void attempt_end(struct supervision *s, const struct error *err)
{
	enum migtrack_phase phase;
	struct error ignored;

	if (!err || s->phase == MIGTRACK_PHASE_NONE || is_moved(s, err))
		return;
	phase = end_phase(s, err);
	supervise_set_phase(s, phase, &ignored);
	/* What becomes of the record is no matter of who can be told. */
	s->phase = phase;
}

/*
 * Up to the last check all of the time was stopping the guest, whatever became of it
 * later: a part of what is fixed, and the next attempt has it to pay, too.
 */
static void learn(struct supervision *s)
{
	const struct supervise_times *t = &s->times;

	if (t->checked)
		policy_learn_fixed_cost(&s->policy, t->checked - t->running);
}

/* What the next one starts from. */
static void forget(struct supervision *s)
{
	uint64_t started = s->times.started;

	supervise_end(s);
	s->times = (struct supervise_times) { .started = started };
	s->phase = MIGTRACK_PHASE_NONE;
	s->verdict = MIGTRACK_VERDICT_NONE;
	s->published = (struct migtrack_session){};
	s->progress = (struct vmm_progress){};
	s->sync = (struct migtrack_map_header){};
	s->sample = (struct policy_sample){};
	s->decision = (struct policy_decision){};
	s->action = (struct policy_action){};
	s->reported = POLICY_UNKNOWN;
	/* What was little enough to be moved at once is not by now. */
	s->syncing = s->reinit = s->forced = false;
	policy_again(&s->policy, clock_ns(CLOCK_MONOTONIC));
}

/* The destination has to be made ready again. */
static void pause_between(const struct supervision *s)
{
	struct pollfd pollfd = { .fd = s->signals, .events = POLLIN };

	poll(&pollfd, 1, ATTEMPT_PAUSE_MS);
}

static bool may_again(const struct supervision *s)
{
	return s->reinit && !s->attached && s->attempt < s->options->attempts &&
	       !policy_timed_out(&s->policy, clock_ns(CLOCK_MONOTONIC));
}

/**
 * supervise_again() - an attempt has failed: another one?
 * @s: the migration; prepared for the next one, if there is to be one
 * @err: why it failed; or that it was called off meanwhile
 *
 * Return: true if so.
 */
bool supervise_again(struct supervision *s, struct error *err)
{
	struct error why = *err;

	if (!may_again(s))
		return false;
	if (s->called_off) {
		error_set(err, EXIT_CANCELLED, "cancelled; %.900s", why.message);
		error_advise(err, "the guest runs on here");
		return false;
	}
	out_say(s->out, "Attempt %u failed: %s", s->attempt, err->message);
	learn(s);
	attempt_end(s, err);
	pause_between(s);
	if (supervise_cancelled(s, err))
		return false;
	forget(s);
	s->attempt++;
	return true;
}

/**
 * supervise_attempts() - until the guest is moved, or is to stay
 * @s: the migration
 * @err: why it stays
 *
 * Return: 0 or -1.
 */
int supervise_attempts(struct supervision *s, struct error *err)
{
	int ret;

	s->attempt = 1;
	do {
		ret = supervise_run(s, err);
	} while (ret && !supervise_take_back(s, err) && supervise_again(s, err));
	supervise_restore(s, ret ? err : NULL);
	/* Who only watched goes; what was watched goes on. */
	if (ret && s->options->dry_run && err->code == EXIT_CANCELLED)
		return 0;
	attempt_end(s, ret ? err : NULL);
	return ret;
}
