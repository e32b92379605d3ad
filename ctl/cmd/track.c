// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/track.h"
#include "cmd/tracker.h"
#include "vmm/memfile.h"

const char track_usage[] =
	"migctl track [OPTIONS] --qmp SOCKET\n"
	"       migctl track [OPTIONS] --pid PID --ram MEMORY [--ram MEMORY]...\n"
	"\n"
	"Show how much memory a running guest writes: a line per interval, and a summary\n"
	"at the end or at Ctrl-C. The guest runs on, nothing is moved. With --qmp also what\n"
	"its VFIO devices have to move, a line for each.\n"
	"\n"
	"  --qmp SOCKET        QEMU's QMP socket: finds the process and its memory\n"
	"  --pid PID           the process; with --qmp, instead of the socket's owner\n"
	"  --ram PATH|fd:N[,offset=BYTES][,length=BYTES]\n"
	"                      memory of the process: a file that it maps shared, or its\n"
	"                      descriptor N of one\n"
	"  --dma-log           with --qmp: also what its VFIO devices write by DMA, where\n"
	"                      they and the kernel can tell; not while QEMU migrates\n"
	"  -i, --interval T    between lines: 100ms, 1s (default), 2.5s, or seconds\n"
	"  -n, --count N       end after N lines\n"
	"  -d, --duration T    end after this time\n"
	"  -j, --json          one JSON object a line, in bytes and nanoseconds";

static int options_add_ram(struct track_options *options, const char *text,
			   struct error *err)
{
	struct ram_spec *rams;

	rams = reallocarray(options->rams, options->n_rams + 1, sizeof(*rams));
	if (!rams)
		return error_set(err, EXIT_FAILED, "out of memory");
	options->rams = rams;
	if (ram_parse(&rams[options->n_rams], text, err))
		return -1;
	options->n_rams++;
	return 0;
}

int track_options_take(struct track_options *options, int option,
		       struct error *err)
{
	uint64_t pid;

	switch (option) {
	case TRACK_OPTION_QMP:
		options->qmp = optarg;
		return 0;
	case TRACK_OPTION_PID:
		if (option_number("--pid", optarg, 1, INT32_MAX, &pid, err))
			return -1;
		options->pid = (pid_t)pid;
		return 0;
	case TRACK_OPTION_RAM:
		return options_add_ram(options, optarg, err);
	case TRACK_OPTION_DMA_LOG:
		options->dma_log = true;
		return 0;
	case 'i':
		return option_time("--interval", optarg, &options->interval_ns,
				   err);
	case 'n':
		return option_number("--count", optarg, 1, UINT64_MAX,
				     &options->count, err);
	case 'd':
		return option_time("--duration", optarg, &options->duration_ns,
				   err);
	default:
		return 0;
	}
}

int track_options_check(const struct track_options *options, const char *command,
			struct error *err)
{
	if (options->qmp && options->n_rams)
		error_set(err, EXIT_USAGE, "%s: --qmp and --ram exclude each other",
			  command);
	else if (!options->qmp && !options->pid)
		error_set(err, EXIT_USAGE, "%s: which guest?", command);
	else if (!options->qmp && !options->n_rams)
		error_set(err, EXIT_USAGE, "%s: which memory of process %d?",
			  command, options->pid);
	else if (options->dma_log && !options->qmp)
		error_set(err, EXIT_USAGE,
			  "%s: --dma-log needs --qmp, to find devices and memory",
			  command);
	else
		return 0;
	return error_advise(err,
			    "give --qmp SOCKET, or --pid PID with --ram MEMORY; see migctl %s --help",
			    command);
}

/**
 * track_options_parse() - understand the command line
 * @options: filled; to be freed also after a failure
 * @argc: of the command
 * @argv: of the command
 * @err: why it is refused
 *
 * Return: 0 or -1.
 */
int track_options_parse(struct track_options *options, int argc, char **argv,
			struct error *err)
{
	static const struct option longs[] = {
		TRACK_TARGET_OPTIONS,
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'n' },
		{ "duration", required_argument, NULL, 'd' },
		COMMON_OPTIONS
	};
	int option;

	*options = (struct track_options) { .interval_ns = NS_PER_S };
	while ((option = option_next(argc, argv, ":ji:n:d:", longs, err))) {
		if (option < 0 || track_options_take(options, option, err))
			return -1;
	}
	if (option_end(argc, argv, err))
		return -1;
	return track_options_check(options, "track", err);
}

void track_options_free(struct track_options *options)
{
	free(options->rams);
}

/* The kernel refused one of several back ends: the others are tracked. */
static int add_refused(const struct track_options *options,
		       struct vmm_memory *mem, const struct error *err)
{
	if (err->code != EXIT_UNTRACKABLE || !options->qmp)
		return -1;
	vmm_memory_refuse(mem, err->message, err->advice);
	return 0;
}

static int target_add(const struct track_options *options,
		      struct track_target *target, struct tracker *tracker,
		      struct error *err)
{
	struct vmm_memory *mem;
	size_t i;

	for (i = 0; i < target->n; i++) {
		mem = &target->memory[i];
		if (mem->reason[0])
			continue;
		if (tracker_add(tracker, target->pid, mem, err) &&
		    add_refused(options, mem, err))
			return -1;
	}
	return 0;
}

static int nothing_tracked(const struct track_target *target,
			   struct error *err)
{
	error_set(err, EXIT_UNTRACKABLE,
		  "no memory of process %d can be tracked: %s",
		  target->pid, target->memory[0].reason);
	return error_advise(err, "%s", target->memory[0].advice);
}

enum { SESSION, PID, COMMAND, INTERVAL };

static const struct out_field fields[] = {
	[SESSION] = { .key = "session_id" },
	[PID] = { .key = "pid" },
	[COMMAND] = { .key = "command" },
	[INTERVAL] = { .key = "interval_ns" },
};

static void out_track_start(struct output *out,
			    const struct track_options *options,
			    const struct track_target *target,
			    const struct tracker *tracker)
{
	char name[32], interval[UNIT_TEXT_SIZE];

	process_name(target->pid, name, sizeof(name));
	format_time(interval, options->interval_ns);
	out_say(out, "Process %d (%s), session %llu, interval %s.\n",
		target->pid, name, (unsigned long long)tracker->id, interval);
	if (!out->json)
		return;
	out_begin(out, OUT_ROW, "track");
	out_uint(out, &fields[SESSION], tracker->id);
	out_uint(out, &fields[PID], (uint64_t)target->pid);
	out_text(out, &fields[COMMAND], name);
	out_uint(out, &fields[INTERVAL], options->interval_ns);
	out_end(out);
}

static int track(struct output *out, const struct track_options *options,
		 struct tracker *tracker, struct track_target *target,
		 struct track_devices *devices, struct error *err)
{
	if (target_add(options, target, tracker, err))
		return -1;
	if (options->qmp &&
	    track_devices_find(devices, tracker, target->pid, err))
		return -1;
	out_track_start(out, options, target, tracker);
	out_track_target(out, target);
	out_track_devices(out, devices);
	if (options->dma_log)
		track_dma_start(out, devices, tracker, target->ranges,
				target->n_ranges);
	if (!tracker->n && !devices->n_tracked)
		return nothing_tracked(target, err);
	return track_run(out, options, tracker, devices, target->pid, err);
}

int cmd_track(struct output *out, int argc, char **argv, struct error *err)
{
	struct track_devices devices = {};
	struct track_options options;
	struct track_target target;
	struct tracker tracker;
	int ret = -1;

	if (track_options_parse(&options, argc, argv, err))
		goto out_options;
	if (tracker_open(&tracker, err))
		goto out_options;
	ret = track_target_find(&target, &options, err);
	if (!ret)
		ret = track(out, &options, &tracker, &target, &devices, err);
	track_devices_free(&devices);
	track_target_free(&target);
	tracker_close(&tracker);
out_options:
	track_options_free(&options);
	return ret;
}
