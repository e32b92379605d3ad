// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the kernel and its listeners are told: memory's numbers are the VMM's,
 * devices' are the kernel's own, and nothing is counted twice.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "cmd/session.h"
#include "cmd/supervise.h"

/* Without a report for so long, the memory's numbers are stale. */
#define REPORT_MAX_AGE	(5 * NS_PER_S)

int supervise_session(struct supervision *s, struct error *err)
{
	int ret;

	if (tracker_open(&s->tracker, err))
		return -1;
	ret = migtrack_source_add_reported(s->tracker.mt, s->tracker.fd,
					   REPORT_MAX_AGE, &s->ram);
	if (ret)
		return kernel_error(s->tracker.mt, ret,
				    "can't add the memory to the session", err);
	return track_devices_find(&s->devices, &s->tracker, s->vmm->pid, err);
}

/* ---- where it stands ---- */

static uint64_t difference(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* A change of less than a hundredth is none, to a listener. */
static bool differs(uint64_t a, uint64_t b)
{
	return difference(a, b) > a / 100;
}

static bool is_news(const struct migtrack_session *now,
		    const struct migtrack_session *before)
{
	return now->phase != before->phase || now->verdict != before->verdict ||
	       now->reason != before->reason ||
	       now->bandwidth_source != before->bandwidth_source ||
	       now->downtime_limit_ns != before->downtime_limit_ns ||
	       differs(now->bandwidth, before->bandwidth) ||
	       differs(now->expected_downtime_ns, before->expected_downtime_ns);
}

/* The action's reason says more, if there is one. */
enum policy_reason supervise_reason(const struct supervision *s)
{
	if (s->decision.verdict != POLICY_MOVE ||
	    s->action.reason == POLICY_REASON_PROGRESS ||
	    s->action.reason == POLICY_REASON_MORE_TO_MOVE)
		return s->decision.reason;
	return s->action.reason;
}

static void publishing(const struct supervision *s, enum migtrack_phase phase,
		       struct migtrack_session *now)
{
	static const enum migtrack_bandwidth_source sources[] = {
		[POLICY_BANDWIDTH_UNKNOWN] = MIGTRACK_BANDWIDTH_SOURCE_UNKNOWN,
		[POLICY_BANDWIDTH_MEASURED] = MIGTRACK_BANDWIDTH_SOURCE_MEASURED,
		[POLICY_BANDWIDTH_KEPT] = MIGTRACK_BANDWIDTH_SOURCE_KEPT,
		[POLICY_BANDWIDTH_USER] = MIGTRACK_BANDWIDTH_SOURCE_USER,
	};

	*now = (struct migtrack_session) {
		.phase = phase,
		.downtime_limit_ns = s->policy.limits.downtime,
		.bandwidth = s->policy.bandwidth,
		.bandwidth_source = s->policy.bandwidth ?
			sources[s->policy.bandwidth_source] :
			MIGTRACK_BANDWIDTH_SOURCE_UNKNOWN,
		.expected_downtime_ns = policy_expected_downtime(&s->policy),
		.verdict = s->verdict,
		.reason = s->verdict ? reason_published(supervise_reason(s)) :
				       MIGTRACK_REASON_NONE,
	};
}

int supervise_set_phase(struct supervision *s, enum migtrack_phase phase,
			struct error *err)
{
	struct migtrack_session now;
	int ret;

	publishing(s, phase, &now);
	if (!is_news(&now, &s->published))
		return 0;
	ret = migtrack_session_set(s->tracker.mt, s->tracker.fd, &now);
	if (ret)
		return kernel_error(s->tracker.mt, ret,
				    "can't publish the migration's phase", err);
	s->published = now;
	if (s->phase == phase)
		return 0;
	s->phase = phase;
	supervise_out_phase(s);
	return 0;
}

int supervise_publish(struct supervision *s, struct error *err)
{
	return supervise_set_phase(s, s->phase, err);
}

/* ---- what is left ---- */

/* Of devices that the kernel asks itself, as of the last sync. */
static uint64_t devices_left(struct supervision *s)
{
	struct migtrack_source source;
	uint64_t left = 0;
	size_t i;

	for (i = 0; i < s->devices.n; i++) {
		if (s->devices.devices[i].tracked &&
		    !migtrack_source_get(s->tracker.mt, s->tracker.id,
					 s->devices.devices[i].id, &source) &&
		    !(source.flags & MIGTRACK_COUNTER_FLAGS_UNKNOWN) &&
		    __builtin_add_overflow(left, source.bytes.total, &left))
			left = UINT64_MAX;
	}
	return left;
}

/* What the VMM counts beyond memory and the devices that the kernel counts. */
static uint64_t memory_left(struct supervision *s)
{
	const struct vmm_progress *progress = &s->progress;
	uint64_t devices, rest;

	if (progress->all_bytes == VMM_UNKNOWN ||
	    progress->all_bytes <= progress->ram_bytes)
		return progress->ram_bytes;
	devices = devices_left(s);
	rest = progress->all_bytes > devices ? progress->all_bytes - devices : 0;
	return rest > progress->ram_bytes ? rest : progress->ram_bytes;
}

int supervise_report(struct supervision *s, bool exact, struct error *err)
{
	uint64_t left = memory_left(s);
	struct migtrack_report report = {
		.flags = exact ? MIGTRACK_COUNTER_FLAGS_EXACT : 0,
		.dirty_rate = s->progress.dirty_rate == VMM_UNKNOWN ? 0 :
			      s->progress.dirty_rate / 4096,
	};
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	int ret;

	/* Said already, and not so long ago that it would be doubted. */
	if (left == s->reported && now - s->times.reported < REPORT_MAX_AGE / 3)
		return 0;
	if (s->options->limits.postcopy && !s->progress.postcopy)
		report.bytes.postcopy = left;
	else
		report.bytes.precopy = left;
	ret = migtrack_source_report(s->tracker.mt, s->tracker.fd, s->ram, &report);
	if (ret)
		return kernel_error(s->tracker.mt, ret,
				    "can't publish what is left of the memory", err);
	s->reported = left;
	s->times.reported = now;
	return 0;
}

/* Its end makes the session's descriptor readable. */
int supervise_sync(struct supervision *s, enum migtrack_sync_kind kind,
		   struct error *err)
{
	if (s->syncing)
		return 0;
	if (tracker_sync(&s->tracker, kind, err))
		return -1;
	s->syncing = true;
	return 0;
}

static bool has_initial(const struct migtrack_source *source)
{
	return source->precopy_initial && source->precopy_initial != UINT64_MAX;
}

void supervise_pending(struct supervision *s, struct policy_pending *pending,
		       bool *ready, bool *reinit)
{
	struct migtrack_source source;
	size_t i;

	*pending = (struct policy_pending) {
		.precopy = s->sync.precopy_bytes,
		.postcopy = s->sync.postcopy_bytes,
		.stopcopy = s->sync.stopcopy_bytes,
	};
	*ready = true;
	*reinit = false;
	for (i = 0; i < s->devices.n; i++) {
		const struct track_device *device = &s->devices.devices[i];

		pending->no_postcopy = device->name;
		if (!device->tracked ||
		    migtrack_source_get(s->tracker.mt, s->tracker.id, device->id,
					&source)) {
			/* Its bytes are in nobody's sum, unless in the VMM's. */
			if (s->progress.all_bytes == VMM_UNKNOWN)
				pending->unknown = device->name;
			continue;
		}
		if (source.flags & MIGTRACK_COUNTER_FLAGS_UNKNOWN)
			pending->unknown = device->name;
		if (source.flags & MIGTRACK_COUNTER_FLAGS_REINIT)
			*reinit = true;
		if (has_initial(&source))
			*ready = false;
	}
	*ready = *ready && !*reinit;
}
