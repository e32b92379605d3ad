/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What list, show and monitor have in common. */
#ifndef MIGCTL_SESSION_H
#define MIGCTL_SESSION_H

#include "cmd/cmd.h"
#include "cmd/tracker.h"
#include "policy/policy.h"

#define SESSION_PIDS	16

/**
 * struct session_view - a session with what its sources add to it
 * @session: as the kernel tells it
 * @pids: the processes of its sources, each once
 * @n_pids: how many
 * @length: bytes that its sources cover
 * @dirty_rate: bytes per second, found by the last sync
 */
struct session_view {
	struct migtrack_session session;
	pid_t pids[SESSION_PIDS];
	size_t n_pids;
	uint64_t length;
	uint64_t dirty_rate;
};

/* Returns 0, -ENOENT if the session ended meanwhile, or another errno. */
int session_view(struct migtrack *mt, const struct migtrack_session *session,
		 struct session_view *view);

/* "1234 qemu-system-x86"; in JSON the pids alone. */
void out_pids(struct output *out, const struct out_field *field,
	      const struct session_view *view);

/* How long ago the last sync ended; unknown before the first. */
void out_age(struct output *out, const struct out_field *field,
	     const struct migtrack_session *session);

/* Where its migration stands; unknown if it is none. */
void out_phase(struct output *out, const struct out_field *field,
	       const struct migtrack_session *session);

/* What remains; unknown if the size of a source is. */
void out_remaining(struct output *out, const struct out_field *field,
		   uint64_t bytes, uint32_t flags);

/* What the kernel publishes of a policy's verdict, and why. */
enum migtrack_verdict verdict_published(enum policy_verdict verdict);
enum migtrack_reason reason_published(enum policy_reason reason);

/* Tells listeners where the migration of @tracker's session stands. @reason is @verdict's. */
int tracker_publish(const struct tracker *tracker, const struct policy *policy,
		    enum migtrack_phase phase, enum migtrack_verdict verdict,
		    enum policy_reason reason, const char *failed, struct error *err);
/* What the policy wants to know of a sync, @interval after the one before. */
struct policy_sync sync_measured(const struct migtrack_map_header *sync, uint64_t interval,
				 uint64_t page_size);
const char *verdict_name(uint32_t verdict);
const char *reason_name(uint32_t reason);
const char *phase_name(uint32_t phase);
const char *bandwidth_source_name(uint32_t source);
const char *sync_kind_name(uint32_t kind);
const char *source_type_name(uint32_t type);
const char *device_state_name(uint32_t state);

/* A number that is UINT64_MAX while it is not known. */
void out_known(struct output *out, const struct out_field *field,
		     uint64_t value);

#endif /* MIGCTL_SESSION_H */
