/* SPDX-License-Identifier: GPL-2.0-or-later */
/* track: its options, what it tracks, and the run itself. */
#ifndef MIGCTL_TRACK_H
#define MIGCTL_TRACK_H

#include "cmd/cmd.h"
#include "cmd/ram.h"
#include "cmd/track_devices.h"

/**
 * struct track_options - the command line of migctl track
 * @qmp: QEMU's socket, NULL if --ram names the memory
 * @pid: the process, 0 if QEMU's socket tells
 * @rams: the memory that --ram names
 * @n_rams: how many
 * @interval_ns: between two syncs
 * @count: intervals to show, 0 for no limit
 * @duration_ns: how long, 0 for no limit
 * @dma_log: also what devices write by DMA
 */
struct track_options {
	const char *qmp;
	pid_t pid;
	struct ram_spec *rams;
	size_t n_rams;
	uint64_t interval_ns;
	uint64_t count;
	uint64_t duration_ns;
	bool dma_log;
};

/* Those that name the guest; other commands have them, too. */
enum {
	TRACK_OPTION_QMP = 512, TRACK_OPTION_PID, TRACK_OPTION_RAM,
	TRACK_OPTION_DMA_LOG,
};

#define TRACK_TARGET_OPTIONS \
	{ "qmp", required_argument, NULL, TRACK_OPTION_QMP }, \
	{ "pid", required_argument, NULL, TRACK_OPTION_PID }, \
	{ "ram", required_argument, NULL, TRACK_OPTION_RAM }, \
	{ "dma-log", no_argument, NULL, TRACK_OPTION_DMA_LOG }

/* Takes an option of the command line; those that are none of its own are ignored. */
int track_options_take(struct track_options *options, int option,
		       struct error *err);
/* Do they name a guest? @command is to be named if not. */
int track_options_check(const struct track_options *options, const char *command,
			struct error *err);
int track_options_parse(struct track_options *options, int argc, char **argv,
			struct error *err);
void track_options_free(struct track_options *options);

/**
 * struct track_target - the memory of one process
 * @pid: the process
 * @memory: its back ends
 * @n: how many
 * @ranges: where devices find it, if that is asked for
 * @n_ranges: how many
 */
struct track_target {
	pid_t pid;
	struct vmm_memory *memory;
	size_t n;
	struct vmm_range *ranges;
	size_t n_ranges;
};

/* Asks the VMM, or opens what --ram names. */
int track_target_find(struct track_target *target,
		      const struct track_options *options, struct error *err);
void track_target_free(struct track_target *target);

/* Which back ends are tracked, which not and why. */
void out_track_target(struct output *out, const struct track_target *target);

struct tracker;

/* Sync every interval and print, until the end that @options name. */
int track_run(struct output *out, const struct track_options *options,
	      struct tracker *tracker, struct track_devices *devices, pid_t pid,
	      struct error *err);

#endif /* MIGCTL_TRACK_H */
