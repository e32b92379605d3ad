/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VFIO devices of a guest that is tracked. */
#ifndef MIGCTL_TRACK_DEVICES_H
#define MIGCTL_TRACK_DEVICES_H

#include "cmd/cmd.h"
#include "vmm/vfio.h"

struct tracker;
struct vmm_range;

/**
 * struct track_device - one of them
 * @name: of the device
 * @id: its source, if it is tracked
 * @tracked: it is
 * @reason: why not, "" if it is
 */
struct track_device {
	char name[VFIO_NAME_SIZE];
	uint32_t id;
	bool tracked;
	char reason[256];
};

/**
 * struct track_devices - all of them
 * @pid: the process that has them
 * @devices: each
 * @n: how many
 * @n_tracked: how many of them are
 * @told: so many descriptors of migration data could not be told apart
 */
struct track_devices {
	pid_t pid;
	struct track_device *devices;
	size_t n;
	size_t n_tracked;
	size_t told;
};

/* Those that @pid has become sources of the session; says which can't and why. */
int track_devices_find(struct track_devices *all, struct tracker *tracker,
		       pid_t pid, struct error *err);
void track_devices_free(struct track_devices *all);
void out_track_devices(struct output *out, const struct track_devices *all);

/* After a sync: a row for each; looks for migration data of those that have none. */
void track_devices_show(struct output *out, struct track_devices *all,
			struct tracker *tracker);

/* Have them log what they write to the memory that is tracked; says which can't. */
void track_dma_start(struct output *out, const struct track_devices *all,
		     struct tracker *tracker, const struct vmm_range *ranges,
		     size_t n_ranges);

/* After a sync: a row for each that was asked for its log. */
void track_dma_show(struct output *out, const struct track_devices *all,
		    struct tracker *tracker);

#endif /* MIGCTL_TRACK_DEVICES_H */
