// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "cmd/snapshot.h"
#include "cmd/session.h"
#include "cmd/throttle.h"

const char snapshot_usage[] =
	"migctl snapshot [OPTIONS] --qmp|--vmm SOCKET --to DIRECTORY\n"
	"\n"
	"Save a running guest to a directory, from which migctl restore has it go\n"
	"on. The guest runs while its memory is copied, is paused for the rest, and runs\n"
	"on. Disks are not in it: to have them, too, pause the guest (QMP stop), save it,\n"
	"copy its disks and resume it (QMP cont). After a failure, Ctrl-C or migctl\n"
	"cancel the guest runs on and there is no directory.\n"
	"\n"
	"  --qmp SOCKET         the QEMU's QMP socket\n"
	"  --vmm SOCKET         that of a VMM which hands over its memory itself\n"
	"  --to DIRECTORY       the snapshot; nothing may be there\n"
	"  --downtime T         the guest may be paused for so long (300ms)\n"
	"  --fixed-cost T       of that, keep so much for the stop, the devices and the\n"
	"                       resume (0ms); the rest is for the last copy\n"
	"  --bandwidth RATE     decide by this many bytes a second (100M), not by what\n"
	"                       is measured\n"
	"  --max-bandwidth RATE copy no more than that while the guest runs\n"
	"  --timeout T          give up after this time; the guest runs on\n"
	"  --live               pause the guest for the device state only: pages are saved\n"
	"                       before it writes to them. With --vmm; QEMU does not hand over\n"
	"                       its memory, and is saved as without\n"
	"  -j, --json           one JSON object a line, in bytes and nanoseconds";

enum {
	OPTION_QMP = 256, OPTION_VMM, OPTION_TO, OPTION_DOWNTIME, OPTION_FIXED_COST,
	OPTION_BANDWIDTH, OPTION_MAX_BANDWIDTH, OPTION_TIMEOUT, OPTION_LIVE,
};

static int options_take(struct snapshot_options *options, int option,
			struct error *err)
{
	switch (option) {
	case OPTION_QMP:
		return choice_take(&options->guest, &vmm_driver_qemu, optarg, err);
	case OPTION_VMM:
		return choice_take(&options->guest, &vmm_driver_handover, optarg, err);
	case OPTION_TO:
		options->to = optarg;
		return 0;
	case OPTION_DOWNTIME:
		return option_time("--downtime", optarg,
				   &options->limits.downtime, err);
	case OPTION_FIXED_COST:
		return option_time("--fixed-cost", optarg,
				   &options->limits.fixed_cost, err);
	case OPTION_BANDWIDTH:
		return option_rate("--bandwidth", optarg,
				   &options->limits.bandwidth, err);
	case OPTION_MAX_BANDWIDTH:
		return option_rate("--max-bandwidth", optarg,
				   &options->max_bandwidth, err);
	case OPTION_TIMEOUT:
		return option_time("--timeout", optarg, &options->limits.timeout,
				   err);
	case OPTION_LIVE:
		options->live = true;
		return 0;
	default:
		return 0;
	}
}

/* There is nothing to be decided. */
static int live_check(const struct snapshot_options *options, struct error *err)
{
	const struct policy_limits *limits = &options->limits;

	if (limits->downtime == policy_default_limits.downtime &&
	    limits->fixed_cost == policy_default_limits.fixed_cost &&
	    limits->bandwidth == policy_default_limits.bandwidth)
		return 0;
	error_set(err, EXIT_USAGE,
		  "snapshot: --downtime, --fixed-cost and --bandwidth are not of --live");
	return error_advise(err, "it pauses the guest for the device state only; --max-bandwidth and --timeout are of it");
}

static int options_parse(struct snapshot_options *options, int argc, char **argv,
			 struct error *err)
{
	static const struct option longs[] = {
		{ "qmp", required_argument, NULL, OPTION_QMP },
		{ "vmm", required_argument, NULL, OPTION_VMM },
		{ "to", required_argument, NULL, OPTION_TO },
		{ "downtime", required_argument, NULL, OPTION_DOWNTIME },
		{ "fixed-cost", required_argument, NULL, OPTION_FIXED_COST },
		{ "bandwidth", required_argument, NULL, OPTION_BANDWIDTH },
		{ "max-bandwidth", required_argument, NULL, OPTION_MAX_BANDWIDTH },
		{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
		{ "live", no_argument, NULL, OPTION_LIVE },
		COMMON_OPTIONS
	};
	int option;

	*options = (struct snapshot_options) { .limits = policy_default_limits };
	while ((option = option_next(argc, argv, ":j", longs, err))) {
		if (option < 0 || options_take(options, option, err))
			return -1;
	}
	if (option_end(argc, argv, err))
		return -1;
	if (!options->guest.socket || !options->to) {
		error_set(err, EXIT_USAGE, "snapshot: %s",
			  options->guest.socket ? "where to?" : "of which guest?");
		return error_advise(err, "give --qmp SOCKET or --vmm SOCKET, and --to DIRECTORY; see migctl snapshot --help");
	}
	if (snapshot_is_live(options))
		return live_check(options, err);
	if (options->limits.fixed_cost < options->limits.downtime)
		return 0;
	error_set(err, EXIT_USAGE,
		  "snapshot: --fixed-cost leaves nothing of --downtime for the last copy");
	return error_advise(err, "allow more downtime");
}

static int memory_check(const struct taking *t, struct error *err)
{
	size_t i;

	if (!t->n_memory)
		return error_set(err, EXIT_UNTRACKABLE,
				 "%s: the VMM has no memory back ends",
				 t->options->guest.socket);
	for (i = 0; i < t->n_memory; i++) {
		/* What can't be tracked may still be handed over. */
		if (!t->memory[i].reason[0] ||
		    (snapshot_is_live(t->options) && t->memory[i].fd >= 0))
			continue;
		error_set(err, EXIT_UNTRACKABLE, "memory %s can't be saved: %s",
			  t->memory[i].id, t->memory[i].reason);
		return error_advise(err, "%s", t->memory[i].advice);
	}
	return 0;
}

static int open_guest(struct taking *t, struct error *err)
{
	if (choice_open(&t->options->guest, &t->vmm, err) ||
	    lock_take(&t->lock, t->vmm->pid, err) ||
	    t->ops->check_source(t->vmm, err) ||
	    t->vmm->ops->memory(t->vmm, &t->memory, &t->n_memory, err) ||
	    memory_check(t, err) ||
	    snapshot_alloc(&t->snapshot, t->n_memory, err))
		return -1;
	record_remove_older(t->vmm, t->options->guest.driver);
	throttle_sweep(&THROTTLE_NONE, t->vmm->pid);
	return t->ops->describe(t->vmm, &t->snapshot.vm, err);
}

/* What the guest has now is the least that the directory must take. */
static int room_check(const struct taking *t, struct error *err)
{
	char wanted[UNIT_TEXT_SIZE], there[UNIT_TEXT_SIZE];
	uint64_t need = 0, room;
	struct statvfs fs;
	struct stat st;
	size_t i;

	for (i = 0; i < t->n_memory; i++) {
		if (!fstat(t->memory[i].fd, &st))
			need += (uint64_t)st.st_blocks * 512;
	}
	if (fstatvfs(t->dir.fd, &fs))
		return 0;
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (room >= need)
		return 0;
	error_set(err, EXIT_FAILED, "%s: the guest has %s of memory, and %s are free there",
		  t->options->to, format_bytes(wanted, need),
		  format_bytes(there, room));
	return error_advise(err, "free some, or choose another file system");
}

static int open_directory(struct taking *t, struct error *err)
{
	size_t i;

	for (i = 0; i < t->n_memory; i++) {
		snprintf(t->snapshot.blocks[i].id, sizeof(t->snapshot.blocks[i].id),
			 "%s", t->memory[i].id);
		t->snapshot.blocks[i].size = t->memory[i].size;
	}
	if (snapshot_dir_create(&t->dir, t->options->to, err) ||
	    room_check(t, err))
		return -1;
	return snapshot_dir_files(&t->dir, &t->snapshot, err);
}

static int open_sources(struct taking *t, struct error *err)
{
	size_t i;

	t->sources = calloc(t->n_memory, sizeof(*t->sources));
	if (!t->sources)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (i = 0; i < t->n_memory; i++) {
		t->sources[i].fd = t->memory[i].fd;
		t->sources[i].offset = t->memory[i].offset;
	}
	if (writer_open(&t->writer, &t->snapshot, t->sources, err))
		return -1;
	t->writer.max_bandwidth = t->options->max_bandwidth;
	return 0;
}

static int open_tracker(struct taking *t, struct error *err)
{
	size_t i;

	if (tracker_open(&t->tracker, err))
		return -1;
	for (i = 0; i < t->n_memory; i++) {
		if (tracker_add(&t->tracker, t->vmm->pid, &t->memory[i], err))
			return -1;
		t->sources[i].bitmap = t->tracker.sources[i].bitmap;
	}
	if (record_create(&t->record, t->tracker.id, &t->options->guest,
			  t->vmm->pid, t->options->to, err))
		return -1;
	return control_open(&t->control, t->tracker.id, err);
}

static int take(struct taking *t, struct error *err)
{
	t->times.started = clock_ns(CLOCK_MONOTONIC);
	t->signals = signals_open_for_guest(err);
	if (t->signals < 0 || open_guest(t, err) || open_directory(t, err) ||
	    open_sources(t, err))
		return -1;
	if (snapshot_is_live(t->options))
		return snapshot_live(t, err);
	if (open_tracker(t, err))
		return -1;
	policy_init(&t->policy, &t->options->limits, t->times.started);
	if (snapshot_phase(t, MIGTRACK_PHASE_SETUP, err))
		return -1;
	snapshot_out_start(t);
	run_begin(&t->run, NULL, "snapshot", t->options->guest.socket, t->options->to);
	run_note(&t->run, "session_id", json_integer((json_int_t)t->tracker.id));
	if (snapshot_precopy(t, err))
		return -1;
	return snapshot_stop(t, err);
}

/* The guest runs on: what is left disturbs it no more. */
static int finish(struct taking *t, struct error *err)
{
	if (snapshot_dir_commit(&t->dir, &t->snapshot, err))
		return -1;
	return snapshot_phase(t, MIGTRACK_PHASE_COMPLETED, err);
}

static void conclude(struct taking *t, const struct error *err)
{
	struct error ignored;

	if (err && t->phase != MIGTRACK_PHASE_NONE)
		snapshot_phase(t, err->code == EXIT_CANCELLED ?
			       MIGTRACK_PHASE_CANCELLED : MIGTRACK_PHASE_FAILED,
			       &ignored);
	record_remove(&t->record);
	if (snapshot_is_live(t->options) && t->times.stopped)
		snapshot_live_summary(t);
	if (t->sync.syncs)
		snapshot_out_summary(t, err);
	run_end(&t->run, phase_name(t->phase), err);
}

static void taking_close(struct taking *t)
{
	control_close(&t->control);
	snapshot_dir_discard(&t->dir);
	lock_drop(&t->lock);
	writer_close(&t->writer);
	tracker_close(&t->tracker);
	snapshot_close(&t->snapshot);
	vmm_memory_free(t->memory, t->n_memory);
	json_decref(t->saved);
	if (t->vmm)
		t->vmm->ops->close(t->vmm);
	free(t->sources);
}

int cmd_snapshot(struct output *out, int argc, char **argv, struct error *err)
{
	struct snapshot_options options;
	struct taking t = {
		.out = out,
		.options = &options,
		.lock = LOCK_NONE,
		.control = CONTROL_NONE,
		.tracker.fd = -1,
		.dir = SNAPSHOT_DIR_NONE,
		.snapshot.state_fd = -1,
		.signals = -1,
	};
	struct error later;
	int ret;

	if (options_parse(&options, argc, argv, err))
		return -1;
	t.ops = options.guest.driver->migration;
	out_never_wait(out);
	ret = take(&t, err);
	/* A guest that does not run on is worse than no snapshot. */
	if (snapshot_resume(&t, ret ? &later : err)) {
		if (ret)
			out_error(out, &later);
		ret = -1;
	}
	if (!ret)
		ret = finish(&t, err);
	conclude(&t, ret ? err : NULL);
	taking_close(&t);
	signals_end(out, t.signals);
	return ret;
}
