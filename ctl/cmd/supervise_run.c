// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Following the VMM's migration: wait for what happens, look how far it is, ask
 * all sources once its pass has ended, decide, act.
 */
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "cmd/session.h"
#include "cmd/supervise.h"

/* Looks get rarer up to this while nothing changes. */
#define IDLE_INTERVAL	NS_PER_S
/* And are as frequent as this while the guest is stopped, or QEMU may do what failed. */
#define SHORT_INTERVAL	(20 * NS_PER_MS)

/* So small a part of what is left is no change. */
#define SAME		20

/*
 * A VMM in a hurry tells of each of its passes: they are read so often, and more
 * rarely while far more is left than fits.
 */
#define NAP_MS		5
#define NAP_FAR_MS	100

/* That long QEMU may refuse to go on, or be too busy with the handover to talk. */
#define GO_ON_TIMEOUT	(30 * NS_PER_S)
#define HANDOVER_TIMEOUT	(1800 * NS_PER_S)

/* Of the last sync, while the guest is stopped; devices are not asked by it. */
#define FINAL_TIMEOUT_MS	100

bool supervise_handing_over(const struct supervision *s)
{
	return s->times.continued || s->progress.postcopy ||
	       s->progress.phase == VMM_DEVICE;
}

static int check_guard(const struct supervision *s, struct error *err)
{
	return s->guard ? guard_check(s->guard, err) : 0;
}

/* ---- waiting ---- */

/**
 * supervise_cancelled() - did somebody call it off?
 * @s: the migration
 * @err: says so
 *
 * A guest that is being handed over can't be kept here. If that fails by itself,
 * whoever called it off does not want another attempt. Who only watches can go at any
 * time.
 *
 * Return: -1 if so, 0 if not, or if this attempt is past that.
 */
int supervise_cancelled(struct supervision *s, struct error *err)
{
	struct signalfd_siginfo signal;

	if (read(s->signals, &signal, sizeof(signal)) <= 0)
		return 0;
	if (s->options->dry_run || !supervise_handing_over(s))
		return error_set(err, EXIT_CANCELLED, "cancelled");
	s->called_off = true;
	out_say(s->out, "Too late to call it off: the guest is being handed over.");
	return 0;
}

static int sync_ended(struct supervision *s, struct error *err);

static int nap_ms(const struct supervision *s)
{
	uint64_t total = s->policy.exact_total;

	return s->forced || total == POLICY_UNKNOWN ||
	       total / 2 <= policy_threshold(&s->policy) ? NAP_MS : NAP_FAR_MS;
}

/* Waits for something to happen; returns 1 if it is worth a look. */
static int wait_once(struct supervision *s, int timeout_ms, struct error *err)
{
	struct pollfd fds[] = {
		{ .fd = s->signals, .events = POLLIN },
		{ .fd = s->control.fd, .events = POLLIN },
		{ .fd = s->syncing ? s->tracker.fd : -1, .events = POLLIN },
		{ .fd = s->ops->guard->connection(s->vmm), .events = POLLIN },
	};
	bool changed = false;

	/* What came with the reply to a command does not wake poll(2) any more. */
	if (s->ops->news(s->vmm, &changed, err))
		return -1;
	if (changed)
		return 1;
	if (poll(fds, ARRAY_SIZE(fds), timeout_ms) <= 0)
		return supervise_cancelled(s, err);
	if (fds[0].revents && supervise_cancelled(s, err))
		return -1;
	if (fds[1].revents)
		control_serve(&s->control, supervise_asked, s);
	if (fds[2].revents && sync_ended(s, err))
		return -1;
	if (!fds[3].revents)
		return 0;
	if (s->ops->news(s->vmm, &changed, err))
		return -1;
	/* For the user, and for the kernel, it wakes up. */
	if (!changed)
		poll(fds, 3, nap_ms(s));
	return changed;
}

/* What QEMU has to be told anew it is told after a look. */
static bool is_hurried(const struct supervision *s)
{
	return s->times.continued || s->progress.phase == VMM_DEVICE ||
	       (s->limits_unknown && !s->progress.postcopy);
}

static uint64_t next_look(const struct supervision *s)
{
	return s->times.looked + (is_hurried(s) ? SHORT_INTERVAL : s->interval);
}

static int wait_news(struct supervision *s, struct error *err)
{
	uint64_t now, next;
	int ret;

	do {
		now = clock_ns(CLOCK_MONOTONIC);
		/* What a user asks for in between may make it an earlier one. */
		next = next_look(s);
		ret = wait_once(s, now < next ?
				(int)((next - now + NS_PER_MS - 1) / NS_PER_MS) : 0,
				err);
	} while (!ret && now < next);
	return ret < 0 ? -1 : 0;
}

/* ---- looking ---- */

/* While there was more to send than was sent: an idle channel says nothing. */
static void sample(struct supervision *s, const struct vmm_progress *before,
		   uint64_t time)
{
	const struct vmm_progress *now = &s->progress;

	if (before->phase != VMM_ACTIVE || now->phase != VMM_ACTIVE ||
	    before->postcopy || now->postcopy || !before->ram_bytes ||
	    !now->ram_bytes || now->sent_bytes < before->sent_bytes)
		return;
	s->sample.bytes += now->sent_bytes - before->sent_bytes;
	s->sample.time += time;
}

static int look(struct supervision *s, struct error *err)
{
	struct vmm_progress before = s->progress;
	uint64_t now;

	if (s->ops->progress(s->vmm, &s->progress, err))
		return -1;
	now = clock_ns(CLOCK_MONOTONIC);
	sample(s, &before, now - s->times.looked);
	s->times.looked = now;
	if (s->progress.phase != before.phase)
		s->interval = s->policy.limits.min_interval;
	return 0;
}

/* ---- deciding ---- */

static void set_verdict(struct supervision *s)
{
	s->verdict = verdict_published(s->decision.verdict);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* All sources were asked: a new iteration begins. */
static int decide(struct supervision *s, uint64_t before, struct error *err)
{
	struct policy_pending pending;
	bool ready, reinit;
	uint64_t total, more;

	supervise_pending(s, &pending, &ready, &reinit);
	s->decision = policy_switchover(&s->policy, clock_ns(CLOCK_MONOTONIC),
					&pending, ready, &s->sample);
	if (s->policy.bandwidth_source == POLICY_BANDWIDTH_MEASURED)
		s->sample = (struct policy_sample){};
	/* The same again is looked at less often. */
	total = s->policy.exact_total;
	more = larger(total, before) - (total < before ? total : before);
	s->interval = more > before / SAME ? s->policy.limits.min_interval :
					     2 * s->interval;
	if (s->interval > IDLE_INTERVAL)
		s->interval = larger(IDLE_INTERVAL, s->policy.limits.min_interval);
	if (supervise_act(s, err))
		return -1;
	set_verdict(s);
	if (supervise_publish(s, err))
		return -1;
	supervise_out_look(s, true);
	return 0;
}

static int sync_ended(struct supervision *s, struct error *err)
{
	uint64_t before = s->sync.total_bytes;

	s->syncing = false;
	if (tracker_result(&s->tracker, &s->sync, err))
		return -1;
	s->times.iterated = clock_ns(CLOCK_MONOTONIC);
	if (s->sync.sync_kind == MIGTRACK_SYNC_KIND_ITERATION)
		return decide(s, before, err);
	return 0;
}

static int iterate(struct supervision *s, struct error *err)
{
	s->passes = s->progress.passes;
	if (check_guard(s, err) || supervise_report(s, true, err))
		return -1;
	return supervise_sync(s, MIGTRACK_SYNC_KIND_ITERATION, err);
}

/* Between two iterations: nothing is decided by these numbers. */
static int refresh(struct supervision *s, struct error *err)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (now - s->times.reported >= NS_PER_S && supervise_report(s, false, err))
		return -1;
	if (s->devices.n_tracked && now - s->times.iterated >= NS_PER_S &&
	    supervise_sync(s, MIGTRACK_SYNC_KIND_HELPER, err))
		return -1;
	supervise_out_look(s, false);
	return supervise_act(s, err);
}

static int first_look(struct supervision *s, struct error *err)
{
	s->first_pass = s->passes = s->progress.passes;
	if (supervise_report(s, true, err) ||
	    supervise_sync(s, MIGTRACK_SYNC_KIND_SETUP, err))
		return -1;
	return supervise_set_phase(s, MIGTRACK_PHASE_PRECOPY, err);
}

static int precopy(struct supervision *s, struct error *err)
{
	if (s->phase < MIGTRACK_PHASE_PRECOPY)
		return first_look(s, err);
	if (s->syncing || !s->sync.iteration)
		return supervise_act(s, err);
	if (s->progress.passes > s->passes &&
	    policy_pass(&s->policy, s->times.looked))
		return iterate(s, err);
	return refresh(s, err);
}

/* ---- the end ---- */

static void final_sync(struct supervision *s)
{
	struct pollfd pollfd = { .fd = s->tracker.fd, .events = POLLIN };
	struct error ignored;

	/* Numbers for listeners; what is late is no reason to keep the guest. */
	if (supervise_report(s, true, &ignored) ||
	    supervise_sync(s, MIGTRACK_SYNC_KIND_FINAL, &ignored))
		return;
	if (poll(&pollfd, 1, FINAL_TIMEOUT_MS) <= 0)
		return;
	s->syncing = false;
	tracker_result(&s->tracker, &s->sync, &ignored);
}

static int began_anew(struct supervision *s, struct error *err)
{
	s->reinit = true;
	error_set(err, EXIT_VMM,
		  "reinit: a device has new initial data now that the guest has stopped, and can't go back to move it");
	return error_advise(err,
			    "the guest runs on here; --attempts allows more than %u",
			    s->options->attempts);
}

/**
 * supervise_go_on() - have the VMM hand the guest over
 * @s: the migration
 * @err: why it does not
 *
 * QEMU may answer only after the last copy, and refuses to be told again what it is
 * doing: what has become of it is seen by its state.
 *
 * Return: 0, or -1 if it still waits after a long time.
 */
int supervise_go_on(struct supervision *s, struct error *err)
{
	struct error ignored;

	if (!s->ops->guard->go_on(s->vmm, err) ||
	    clock_ns(CLOCK_MONOTONIC) - s->times.continued <= GO_ON_TIMEOUT ||
	    s->ops->progress(s->vmm, &s->progress, &ignored))
		return 0;
	return s->progress.phase == VMM_PRE_SWITCHOVER ? -1 : 0;
}

int supervise_write_down(struct supervision *s, const char *state, struct error *err)
{
	if (!s->record.path[0])
		return 0;
	s->record.paused = !s->ops->guard->ran(s->vmm);
	return record_set(&s->record, state, err);
}

/* All that has to be known before; whoever reads of it can do so later. */
static int let_go(struct supervision *s, struct error *err)
{
	int ret;

	if (supervise_cancelled(s, err) || check_guard(s, err) ||
	    supervise_set_phase(s, MIGTRACK_PHASE_SWITCHOVER, err) ||
	    supervise_write_down(s, "handed-over", err))
		return -1;
	s->times.continued = clock_ns(CLOCK_MONOTONIC);
	ret = supervise_go_on(s, err);
	s->held = false;
	supervise_out_phase(s);
	return ret;
}

/* The guest has stopped, and the VMM waits for us. */
static int switch_over(struct supervision *s, struct error *err)
{
	struct policy_pending pending;
	bool ready, reinit;

	if (s->options->dry_run)
		return 0;
	if (s->times.continued)
		return supervise_go_on(s, err);
	s->held = true;
	s->times.stopped = clock_ns(CLOCK_MONOTONIC);
	s->times.running = s->vmm->stopped_ns ? s->vmm->stopped_ns :
						s->times.stopped;
	if (s->phase < MIGTRACK_PHASE_PRECOPY && first_look(s, err))
		return -1;
	final_sync(s);
	supervise_pending(s, &pending, &ready, &reinit);
	s->decision = policy_final(&s->policy, !reinit, false, s->attempt,
				   s->options->attempts);
	set_verdict(s);
	s->times.checked = clock_ns(CLOCK_MONOTONIC);
	if (s->decision.verdict != POLICY_SWITCHOVER)
		return began_anew(s, err);
	return let_go(s, err);
}

/* It hands over, and did not wait for us: nothing of that is ours to end. */
static void handed_over(struct supervision *s)
{
	struct error ignored;

	if (s->progress.phase != VMM_DEVICE || s->times.device)
		return;
	s->times.device = s->times.looked;
	if (!s->times.continued)
		supervise_write_down(s, "handed-over", &ignored);
}

static int postcopy(struct supervision *s, struct error *err)
{
	struct error ignored;

	if (strcmp(s->record.state, "postcopy"))
		supervise_write_down(s, "postcopy", &ignored);
	/* The blackout is over; what follows costs the guest time, but not that. */
	if (!s->times.over)
		s->times.over = s->times.looked;
	if (s->phase < MIGTRACK_PHASE_HANDOVER &&
	    supervise_set_phase(s, MIGTRACK_PHASE_HANDOVER, err))
		return -1;
	if (s->progress.paused) {
		error_set(err, EXIT_PEER,
			  "post-copy has lost its connection: the guest waits for the rest of its memory");
		return error_advise(err,
				    "do not resume it here. Let both QEMUs connect anew: QMP migrate-recover there, migrate with resume=true here");
	}
	if (s->sync.iteration && supervise_report(s, false, err))
		return -1;
	supervise_out_look(s, false);
	return 0;
}

static int not_moved(struct supervision *s, struct error *err)
{
	const struct vmm_progress *progress = &s->progress;

	/* It got as far as the devices, which is where they refuse. */
	s->reinit = s->times.continued && s->devices.n_tracked;
	s->times.continued = 0;
	error_set(err, EXIT_VMM, "QEMU's migration %s%s%s",
		  progress->phase == VMM_FAILED ? "failed" :
		  progress->phase == VMM_CANCELLED ? "was cancelled" : "is gone",
		  progress->reason[0] ? ": " : "", progress->reason);
	return error_advise(err, "the guest runs on here; see the log of the destination's QEMU");
}

static int moved(struct supervision *s, struct error *err)
{
	record_remove(&s->record);
	if (!s->times.over)
		s->times.over = s->times.looked;
	/* Of memory, nothing; of devices, the VMM knows. */
	s->progress.ram_bytes = s->progress.all_bytes = 0;
	return supervise_set_phase(s, MIGTRACK_PHASE_COMPLETED, err) ? -1 : 1;
}

/* Returns 1 once the guest has been moved. */
static int step(struct supervision *s, struct error *err)
{
	switch (s->progress.phase) {
	case VMM_ACTIVE:
		return s->progress.postcopy ? postcopy(s, err) : precopy(s, err);
	case VMM_PRE_SWITCHOVER:
		return switch_over(s, err);
	case VMM_COMPLETED:
		return moved(s, err);
	case VMM_NONE:
	case VMM_FAILED:
	case VMM_CANCELLED:
		return not_moved(s, err);
	default:
		/* It begins, or hands over: the time goes on. */
		handed_over(s);
		return supervise_handing_over(s) ? 0 : supervise_act(s, err);
	}
}

static int in_doubt(struct supervision *s, struct error *err)
{
	char why[sizeof(err->message)];

	memcpy(why, err->message, sizeof(why));
	error_set(err, EXIT_IN_DOUBT,
		  "in doubt: QEMU was handing the guest over (%.800s)", why);
	if (s->options->dry_run)
		return error_advise(err, "see whether the guest runs at the destination, and whether it does here: never may both");
	if (s->progress.postcopy)
		return error_advise(err,
				    "it has run at the destination, and never can here again. See whether all of its memory is there, then: migctl resolve %llu --there",
				    (unsigned long long)s->record.session);
	return error_advise(err,
			    "see whether the guest runs at the destination. If it does: migctl resolve %llu --there; only if it does not and never will: migctl resolve %llu --here",
			    (unsigned long long)s->record.session,
			    (unsigned long long)s->record.session);
}

/* ---- the beginning ---- */

/* The guard before the first command that changes the VMM. */
static int touch(struct supervision *s, struct error *err)
{
	if (s->options->dry_run)
		return 0;
	if (check_guard(s, err))
		return -1;
	if (!s->saved && s->ops->save(s->vmm, &s->saved, err))
		return -1;
	if (!s->guard &&
	    guard_start(&s->guard, s->vmm, s->ops->guard, s->saved,
			&(struct guard_duty) { .keep = s->lock.fd }, err))
		return -1;
	s->touched = true;
	return 0;
}

static int start(struct supervision *s, struct error *err)
{
	const struct vmm_supervise_options *options = &s->options->vmm;

	if (touch(s, err))
		return -1;
	/* Told anew, all of it, also what would be as at the very beginning. */
	s->limits = (struct vmm_limits) { .max_bandwidth = s->limits.max_bandwidth };
	s->limits_unknown = !s->options->dry_run;
	if (!options->to) {
		s->attached = true;
		if (s->touched)
			s->ops->attach(s->vmm, false);
		return supervise_limit(s, err);
	}
	if (s->ops->prepare(s->vmm, options, err) || supervise_limit(s, err) ||
	    check_guard(s, err))
		return -1;
	return s->ops->start(s->vmm, options->to, err);
}

/* A device's state is not there yet when the destination runs. */
static int check_postcopy(const struct supervision *s, struct error *err)
{
	if (!s->options->vmm.postcopy || !s->devices.n)
		return 0;
	error_set(err, EXIT_VMM, "VFIO device %s can't do post-copy",
		  s->devices.devices[0].name);
	return error_advise(err,
			    "leave post-copy out: --max-downtime or --on-timeout stop move such a guest");
}

static int begin(struct supervision *s, struct error *err)
{
	const struct supervise_options *options = s->options;
	const char *to = options->vmm.to ? options->vmm.to : "";
	const struct vmm_choice guest = { options->qmp, &vmm_driver_qemu };

	if (supervise_session(s, err) || check_postcopy(s, err))
		return -1;
	s->interval = options->limits.min_interval;
	if (!options->dry_run &&
	    (record_create(&s->record, s->tracker.id, &guest, s->vmm->pid, to, err) ||
	     control_open(&s->control, s->tracker.id, err)))
		return -1;
	run_note(&s->run, "session_id", json_integer((json_int_t)s->tracker.id));
	if (supervise_set_phase(s, MIGTRACK_PHASE_SETUP, err))
		return -1;
	supervise_out_start(s);
	return start(s, err);
}

/* Who only watches is in no doubt by that, whatever QEMU does. */
static bool stops_watching(const struct supervision *s, const struct error *err)
{
	return s->options->dry_run && err->code == EXIT_CANCELLED;
}

/**
 * supervise_news() - wait for what happens, and look
 * @s: the migration
 * @err: why it can't be told what has become of it
 *
 * What the VMM does not answer while it hands over, it may answer later. One that has
 * ended may have said before how far it was.
 *
 * Return: 0 or -1.
 */
int supervise_news(struct supervision *s, struct error *err)
{
	uint64_t since = larger(s->times.continued, s->times.device);
	struct error ignored;

	if (!wait_news(s, err) && !look(s, err))
		return 0;
	if (stops_watching(s, err))
		return -1;
	if (s->ops->gone(s->vmm) && !look(s, &ignored))
		return 0;
	if (!supervise_handing_over(s))
		return -1;
	if (s->ops->gone(s->vmm) || !since ||
	    clock_ns(CLOCK_MONOTONIC) - since > HANDOVER_TIMEOUT)
		return in_doubt(s, err);
	s->times.looked = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

static void moved_meanwhile(struct supervision *s, struct error *why)
{
	struct error err;
	char text[sizeof(err.message)];

	moved(s, &err);
	memcpy(text, why->message, sizeof(text));
	error_set(why, EXIT_MOVED, "too late: QEMU has moved the guest (%.800s)", text);
	error_advise(why, "the guest is at the destination; QEMU here can be ended: never let it run");
}

/**
 * supervise_too_late() - the guest was to be taken back: can it be?
 * @s: the migration
 * @why: it was to be; filled anew if it can't be
 *
 * Since the last look QEMU may have completed, or begun to hand over, which a cancel
 * does not end; or it has ended while it did.
 *
 * Return: true if the guest has been moved, or may have been.
 */
bool supervise_too_late(struct supervision *s, struct error *why)
{
	struct vmm_progress now = s->progress;
	struct error ignored;
	int ret;

	/* Never seen: what has completed is an earlier one. */
	if (!s->attached && s->progress.phase == VMM_NONE)
		return false;
	ret = s->ops->progress(s->vmm, &now, &ignored);
	if (ret && !s->ops->gone(s->vmm))
		return false;
	if (!ret && now.phase != VMM_COMPLETED && now.phase != VMM_DEVICE && !now.postcopy)
		return false;
	s->progress = now;
	if (!ret && now.phase == VMM_COMPLETED) {
		s->times.looked = clock_ns(CLOCK_MONOTONIC);
		moved_meanwhile(s, why);
		return true;
	}
	if (!supervise_handing_over(s))
		return false;
	in_doubt(s, why);
	return true;
}

int supervise_run(struct supervision *s, struct error *err)
{
	int ret;

	if (begin(s, err) || look(s, err))
		return -1;
	do {
		ret = step(s, err);
		if (!ret)
			ret = supervise_news(s, err);
	} while (!ret);
	return ret < 0 ? -1 : 0;
}
