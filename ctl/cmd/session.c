// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd/session.h"
#include "vmm/memfile.h"

struct visit {
	struct migtrack *mt;
	struct session_view *view;
};

static void view_add_pid(struct session_view *view, pid_t pid)
{
	size_t i;

	for (i = 0; i < view->n_pids; i++) {
		if (view->pids[i] == pid)
			return;
	}
	if (pid && view->n_pids < SESSION_PIDS)
		view->pids[view->n_pids++] = pid;
}

/* The dump has no pids, so each source is asked for. */
static int view_add_source(const struct migtrack_source *entry, void *data)
{
	struct migtrack_source source;
	struct visit *visit = data;
	int ret;

	ret = migtrack_source_get(visit->mt, entry->session_id, entry->id,
				  &source);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	view_add_pid(visit->view, source.pid);
	visit->view->length += source.length;
	visit->view->dirty_rate += source.dirty_rate * source.page_size;
	return 0;
}

int session_view(struct migtrack *mt, const struct migtrack_session *session,
		 struct session_view *view)
{
	struct visit visit = { .mt = mt, .view = view };

	*view = (struct session_view) { .session = *session };
	return migtrack_source_dump(mt, session->id, view_add_source, &visit);
}

void out_pids(struct output *out, const struct out_field *field,
	      const struct session_view *view)
{
	json_t *pids = json_array();
	char text[256] = "-", name[32];
	size_t i, used = 0;

	for (i = 0; i < view->n_pids; i++) {
		json_array_append_new(pids, json_integer(view->pids[i]));
		process_name(view->pids[i], name, sizeof(name));
		if (used < sizeof(text))
			used += (size_t)snprintf(text + used,
						 sizeof(text) - used,
						 "%s%d %s", i ? ", " : "",
						 view->pids[i], name);
	}
	out_json(out, field, pids, text);
}

void out_age(struct output *out, const struct out_field *field,
	     const struct migtrack_session *session)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (!session->syncs)
		out_none(out, field);
	else
		out_uint(out, field, now > session->sync_time_ns ?
				     now - session->sync_time_ns : 0);
}

void out_remaining(struct output *out, const struct out_field *field,
		   uint64_t bytes, uint32_t flags)
{
	if (flags & MIGTRACK_COUNTER_FLAGS_UNKNOWN)
		out_none(out, field);
	else
		out_uint(out, field, bytes);
}

const char *sync_kind_name(uint32_t kind)
{
	static const char * const names[] = {
		[MIGTRACK_SYNC_KIND_SETUP] = "setup",
		[MIGTRACK_SYNC_KIND_ITERATION] = "iteration",
		[MIGTRACK_SYNC_KIND_HELPER] = "helper",
		[MIGTRACK_SYNC_KIND_FINAL] = "final",
	};

	return kind < ARRAY_SIZE(names) && names[kind] ? names[kind] : "";
}

const char *phase_name(uint32_t phase)
{
	static const char * const names[] = {
		[MIGTRACK_PHASE_NONE] = "none",
		[MIGTRACK_PHASE_SETUP] = "setup",
		[MIGTRACK_PHASE_PRECOPY] = "precopy",
		[MIGTRACK_PHASE_SWITCHOVER] = "switchover",
		[MIGTRACK_PHASE_HANDOVER] = "handover",
		[MIGTRACK_PHASE_IN_DOUBT] = "in-doubt",
		[MIGTRACK_PHASE_VERIFY] = "verify",
		[MIGTRACK_PHASE_COMPLETED] = "completed",
		[MIGTRACK_PHASE_CANCELLED] = "cancelled",
		[MIGTRACK_PHASE_FAILED] = "failed",
	};

	return phase < ARRAY_SIZE(names) ? names[phase] : "unknown";
}

void out_phase(struct output *out, const struct out_field *field,
	       const struct migtrack_session *session)
{
	if (session->phase)
		out_text(out, field, phase_name(session->phase));
	else
		out_none(out, field);
}

const char *bandwidth_source_name(uint32_t source)
{
	static const char * const names[] = {
		[MIGTRACK_BANDWIDTH_SOURCE_UNKNOWN] = "unknown",
		[MIGTRACK_BANDWIDTH_SOURCE_MEASURED] = "measured",
		[MIGTRACK_BANDWIDTH_SOURCE_KEPT] = "kept",
		[MIGTRACK_BANDWIDTH_SOURCE_USER] = "user",
	};

	return source < ARRAY_SIZE(names) ? names[source] : "unknown";
}

enum migtrack_verdict verdict_published(enum policy_verdict verdict)
{
	static const enum migtrack_verdict verdicts[] = {
		[POLICY_MOVE] = MIGTRACK_VERDICT_MOVE,
		[POLICY_ITERATE] = MIGTRACK_VERDICT_ITERATE,
		[POLICY_SWITCHOVER] = MIGTRACK_VERDICT_SWITCHOVER,
		[POLICY_GIVE_UP] = MIGTRACK_VERDICT_GIVE_UP,
		[POLICY_RETRY] = MIGTRACK_VERDICT_GIVE_UP,
	};

	return verdicts[verdict];
}

const char *verdict_name(uint32_t verdict)
{
	static const char * const names[] = {
		[MIGTRACK_VERDICT_NONE] = "none",
		[MIGTRACK_VERDICT_MOVE] = "move",
		[MIGTRACK_VERDICT_ITERATE] = "iterate",
		[MIGTRACK_VERDICT_SWITCHOVER] = "switchover",
		[MIGTRACK_VERDICT_GIVE_UP] = "give-up",
	};

	return verdict < ARRAY_SIZE(names) ? names[verdict] : "unknown";
}

/* The kernel's are the policy's, in their order, after none. */
_Static_assert(MIGTRACK_REASON_MORE_TO_MOVE == POLICY_REASON_MORE_TO_MOVE + 1 &&
	       MIGTRACK_REASON_STALL == POLICY_REASON_STALL + 1 &&
	       MIGTRACK_REASON_POSTCOPY_SOURCE == POLICY_REASON_POSTCOPY_SOURCE + 1,
	       "reasons that are not the policy's");

enum migtrack_reason reason_published(enum policy_reason reason)
{
	return (enum migtrack_reason)(reason + 1);
}

const char *reason_name(uint32_t reason)
{
	return reason ? policy_reason_name((enum policy_reason)(reason - 1)) : "none";
}

const char *source_type_name(uint32_t type)
{
	static const char * const names[] = {
		[MIGTRACK_SOURCE_TYPE_RAM] = "ram",
		[MIGTRACK_SOURCE_TYPE_REPORTED] = "reported",
		[MIGTRACK_SOURCE_TYPE_VFIO] = "vfio",
	};

	return type < ARRAY_SIZE(names) && names[type] ? names[type] : "unknown";
}

const char *device_state_name(uint32_t state)
{
	static const char * const names[] = {
		[MIGTRACK_DEVICE_STATE_ERROR] = "error",
		[MIGTRACK_DEVICE_STATE_STOP] = "stop",
		[MIGTRACK_DEVICE_STATE_RUNNING] = "running",
		[MIGTRACK_DEVICE_STATE_STOP_COPY] = "stop-copy",
		[MIGTRACK_DEVICE_STATE_RESUMING] = "resuming",
		[MIGTRACK_DEVICE_STATE_RUNNING_P2P] = "running-p2p",
		[MIGTRACK_DEVICE_STATE_PRE_COPY] = "pre-copy",
		[MIGTRACK_DEVICE_STATE_PRE_COPY_P2P] = "pre-copy-p2p",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "-";
}

void out_known(struct output *out, const struct out_field *field,
		     uint64_t value)
{
	if (value == UINT64_MAX)
		out_none(out, field);
	else
		out_uint(out, field, value);
}

int tracker_publish(const struct tracker *tracker, const struct policy *policy,
		    enum migtrack_phase phase, enum migtrack_verdict verdict,
		    enum policy_reason reason, const char *failed, struct error *err)
{
	struct migtrack_session published = {
		.phase = phase,
		.downtime_limit_ns = policy->limits.downtime,
		.bandwidth = policy->bandwidth,
		.bandwidth_source = policy->bandwidth_source,
		.expected_downtime_ns = policy_expected_downtime(policy),
		.verdict = verdict,
		.reason = verdict ? reason_published(reason) : MIGTRACK_REASON_NONE,
	};
	int ret = migtrack_session_set(tracker->mt, tracker->fd, &published);

	return ret ? kernel_error(tracker->mt, ret, failed, err) : 0;
}

struct policy_sync sync_measured(const struct migtrack_map_header *sync, uint64_t interval,
				 uint64_t page_size)
{
	return (struct policy_sync) {
		.time = sync->sync_time_ns,
		.duration = sync->sync_duration_ns,
		.interval = interval,
		.found = sync->dirty_pages * page_size,
	};
}
