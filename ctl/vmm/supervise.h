/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a migration in supervise mode asks of a VMM: it moves everything itself,
 * migctl watches, decides and says when.
 */
#ifndef MIGCTL_VMM_SUPERVISE_H
#define MIGCTL_VMM_SUPERVISE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "vmm/migration.h"

#define VMM_UNKNOWN	UINT64_MAX

/**
 * struct vmm_progress - where the VMM's own migration stands
 * @phase: see there
 * @postcopy: the destination runs the guest, or is about to: no way back
 * @paused: a post-copy that has lost its connection
 * @name: the VMM's own name of the phase
 * @reason: why it failed, "" if it did not
 * @ram_bytes: of memory, what is left
 * @all_bytes: of all, devices included; VMM_UNKNOWN if this VMM does not tell
 * @sent_bytes: so far
 * @passes: times that it looked for dirty memory
 * @dirty_rate: bytes per second, as of the last pass; VMM_UNKNOWN before
 * @downtime_ns: that it measured, VMM_UNKNOWN before the end
 */
struct vmm_progress {
	enum vmm_phase phase;
	bool postcopy;
	bool paused;
	char name[32];
	char reason[256];
	uint64_t ram_bytes;
	uint64_t all_bytes;
	uint64_t sent_bytes;
	uint64_t passes;
	uint64_t dirty_rate;
	uint64_t downtime_ns;
};

/**
 * struct vmm_limits - by which the VMM decides
 * @downtime_ns: for what is left to be moved after the stop
 * @bandwidth: bytes per second that it moves it with; 0: not known, so nothing
 *	fits
 * @max_bandwidth: that it may use while the guest runs; 0: as it is set
 */
struct vmm_limits {
	uint64_t downtime_ns;
	uint64_t bandwidth;
	uint64_t max_bandwidth;
};

/**
 * struct vmm_supervise_options - what the user asked for
 * @to: where to, in the VMM's words; NULL: what runs already
 * @multifd: channels, 0: as it is set
 * @tls_creds: "" and NULL: as it is set
 * @tls_hostname: likewise
 * @postcopy: it may come to that
 * @switchover_ack: the destination is to agree, both sides were told
 * @force: also a VMM that somebody else manages
 */
struct vmm_supervise_options {
	const char *to;
	unsigned int multifd;
	const char *tls_creds;
	const char *tls_hostname;
	bool postcopy;
	bool switchover_ack;
	bool force;
};

/**
 * struct vmm_supervise_ops - a driver's part
 *
 * All return 0, or -1 with the error filled in.
 *
 * @guard: what a guard undoes with; its cancel never resumes a guest that has
 *	been moved
 * @check: refuse what can't be supervised, with the reason
 * @save: read what @prepare and @limit change, for @guard's restore
 * @prepare: capabilities and parameters as asked for
 * @start: begin
 * @attach: the migration runs already: it is somebody else's, and what undoes
 *	leaves it alone unless it waits to go on; or it is @ours now
 * @progress: see struct vmm_progress
 * @limit: see struct vmm_limits; with what @save read, not NULL, also what @limits
 *	leave as it is set is set as it was then
 * @postcopy: have the destination run the guest
 * @gone: the VMM has ended; one that does not answer may be busy
 * @news: take what has arrived by itself; *@changed if the phase may be another
 */
struct vmm_supervise_ops {
	const struct vmm_migration_ops *guard;
	int (*check)(struct vmm *vmm, const char *address,
		     const struct vmm_supervise_options *options,
		     struct error *err);
	int (*save)(struct vmm *vmm, json_t **saved, struct error *err);
	int (*prepare)(struct vmm *vmm,
		       const struct vmm_supervise_options *options,
		       struct error *err);
	int (*start)(struct vmm *vmm, const char *to, struct error *err);
	void (*attach)(struct vmm *vmm, bool ours);
	int (*progress)(struct vmm *vmm, struct vmm_progress *progress,
			struct error *err);
	int (*limit)(struct vmm *vmm, const struct vmm_limits *limits,
		     const json_t *saved, struct error *err);
	int (*postcopy)(struct vmm *vmm, struct error *err);
	bool (*gone)(struct vmm *vmm);
	int (*news)(struct vmm *vmm, bool *changed, struct error *err);
};

extern const struct vmm_supervise_ops vmm_qemu_supervise;

#endif /* MIGCTL_VMM_SUPERVISE_H */
