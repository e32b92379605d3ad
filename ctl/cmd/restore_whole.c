// SPDX-License-Identifier: GPL-2.0-or-later
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/live.h"
#include "cmd/lock.h"
#include "cmd/restore.h"
#include "cmd/runs.h"
#include "vmm/memfile.h"
#include "vmm/migration.h"

#define LOAD_TIMEOUT	(60 * NS_PER_S)
#define LOAD_WAIT_US	1000

/**
 * struct restoring - a guest on its way back
 * @out: what the user sees
 * @options: what the user asked for
 * @ops: the driver's part
 * @snapshot: where it comes from
 * @vmm: that gets it
 * @memory: its memory back ends
 * @n_memory: how many
 * @saved: the VMM's settings as they were
 * @state: the VMM's own stream
 * @lock: no other controller has the VMM
 * @run: what is left for migctl history
 * @signals: Ctrl-C
 * @reading: from the snapshot
 * @data_bytes: what it has but for zeros
 * @shown: as it was when the user saw it last
 * @started: CLOCK_MONOTONIC in ns
 * @filled: when the memory was there, or was compared
 * @loaded: when the VMM had its own state
 * @resumed: when the guest ran
 * @verified: when it was compared, if that was after @resumed
 * @mapped: the VMM has the snapshot's files as its memory: they are not copied
 * @touched: the VMM's guest is half a guest from here on
 */
struct restoring {
	struct output *out;
	const struct restore_options *options;
	const struct vmm_migration_ops *ops;
	struct snapshot snapshot;
	struct vmm *vmm;
	struct vmm_memory *memory;
	size_t n_memory;
	json_t *saved;
	struct snapshot_state *state;
	struct lock lock;
	struct run run;
	int signals;
	struct snapshot_reading reading;
	uint64_t data_bytes;
	struct {
		uint64_t time;
		uint64_t bytes;
		unsigned int rows;
	} shown;
	uint64_t started;
	uint64_t filled;
	uint64_t loaded;
	uint64_t resumed;
	uint64_t verified;
	bool mapped;
	bool touched;
};

static const char *method(const struct restoring *r)
{
	return r->mapped ? "mapped" : "copied";
}

static struct vmm_memory *memory_find(const struct restoring *r, const char *id)
{
	size_t i;

	for (i = 0; i < r->n_memory; i++) {
		if (!strcmp(r->memory[i].id, id))
			return &r->memory[i];
	}
	return NULL;
}

/* It is that file of several which its VMM says that it is. */
static bool mapping_named(const struct restoring *r, const struct vmm_memory *memory, int fd)
{
	struct stat named, file;

	/* The name is gone, or another VMM's view: of one only it does not matter. */
	if (!memfile_stat(r->vmm->pid, memory->path, &named))
		return r->n_memory == 1;
	return !fstat(fd, &file) && named.st_dev == file.st_dev &&
	       named.st_ino == file.st_ino;
}

/* It is to be the snapshot's own file, and nobody has written to it. */
static int mapping_match(const struct restoring *r, size_t n, struct error *err)
{
	const struct snapshot_block *block = &r->snapshot.blocks[n];
	const struct vmm_memory *memory = memory_find(r, block->id);
	uint64_t written;
	bool mapped;

	if (memfile_mapped(r->vmm->pid, block->fd, block->size, &mapped, &written, err))
		return -1;
	if (memory->offset || !mapped || !mapping_named(r, memory, block->fd)) {
		error_set(err, EXIT_VMM,
			  "memory %s is mapped privately, but is not %s/memory%zu",
			  block->id, r->options->dir, n);
		return error_advise(err, "give QEMU that file as mem-path, or memory of its own to which it is copied (share=on, on tmpfs)");
	}
	if (!written)
		return 0;
	error_set(err, EXIT_VMM,
		  "memory %s: the VMM has written to %llu KiB of it, which it would keep",
		  block->id, (unsigned long long)(written >> 10));
	return error_advise(err, "start it without prealloc=on, and without a loader for guest memory");
}

static bool memory_usable(const struct restoring *r, const struct vmm_memory *memory)
{
	return r->mapped ? memory->mapped : memory->fd >= 0;
}

/* All of the memory has a place here, before any of it is written. */
static int memory_match(const struct restoring *r, struct error *err)
{
	const struct vmm_memory *memory;
	size_t i;

	if (r->snapshot.n != r->n_memory)
		return error_set(err, EXIT_VMM,
				 "the snapshot has %zu memory blocks, and this VM %zu",
				 r->snapshot.n, r->n_memory);
	for (i = 0; i < r->snapshot.n; i++) {
		const struct snapshot_block *block = &r->snapshot.blocks[i];

		memory = memory_find(r, block->id);
		if (!memory)
			return error_set(err, EXIT_VMM, "there is no memory %s here",
					 block->id);
		if (!memory_usable(r, memory)) {
			error_set(err, EXIT_UNTRACKABLE,
				  "memory %s can't be filled: %s", block->id,
				  memory->reason[0] ? memory->reason :
				  "others here are mapped, this one is not");
			return error_advise(err, "%s", memory->advice);
		}
		if (memory->size != block->size)
			return error_set(err, EXIT_VMM,
					 "memory %s has %llu bytes here, and %llu in the snapshot",
					 block->id,
					 (unsigned long long)memory->size,
					 (unsigned long long)block->size);
		if (r->mapped && mapping_match(r, i, err))
			return -1;
	}
	return 0;
}

static int compare_vm(struct restoring *r, struct error *err)
{
	json_t *here, *memory;
	size_t i;
	int ret;

	if (r->ops->describe(r->vmm, &here, err))
		return -1;
	/* What was shared is private by intention. */
	json_array_foreach(json_object_get(here, "memory"), i, memory) {
		if (r->mapped)
			json_object_set_new(memory, "share", json_true());
	}
	/* It speaks of a source, which is the snapshot. */
	ret = vmm_compare(r->snapshot.vm, here, err);
	json_decref(here);
	return ret;
}

static int destination_check(struct restoring *r, struct error *err)
{
	size_t i;

	if (r->vmm->ops->memory(r->vmm, &r->memory, &r->n_memory, err))
		return -1;
	for (i = 0; i < r->n_memory; i++)
		r->mapped = r->mapped || r->memory[i].mapped;
	r->mapped = r->mapped && r->ops->check_mapped;
	if (r->mapped)
		return r->ops->check_mapped(r->vmm, err);
	if (r->ops->check_destination(r->vmm, err))
		return -1;
	if (!r->options->verify_after)
		return 0;
	error_set(err, EXIT_USAGE,
		  "restore: pages that are copied are compared on their way, --verify=after is of memory that is mapped");
	return error_advise(err, "leave it out, or start QEMU with the snapshot's files as memory; see migctl restore --help");
}

/* The last thing before the first write. */
static int alone_check(const struct restoring *r, struct error *err)
{
	return r->mapped ? 0 : vmm_memory_alone(r->vmm, r->memory, r->n_memory, err);
}

static int open_all(struct restoring *r, struct error *err)
{
	r->signals = signals_open_for_guest(err);
	if (r->signals < 0 ||
	    snapshot_open(&r->snapshot, r->options->dir, NULL, err) ||
	    choice_open(&r->options->guest, &r->vmm, err) ||
	    lock_take(&r->lock, r->vmm->pid, err) ||
	    destination_check(r, err) || compare_vm(r, err) || memory_match(r, err) ||
	    snapshot_digests(&r->snapshot, r->options->dir, err))
		return -1;
	return snapshot_state_load(&r->state, &r->snapshot, err) || alone_check(r, err) ?
	       -1 : 0;
}

enum { ROW_TIME, ROW_BYTES, ROW_ALL, ROW_RATE, ROW_FIELDS };

static const struct out_field row[ROW_FIELDS] = {
	[ROW_TIME] = { "elapsed_ns", "TIME", 8, OUT_TIME },
	[ROW_BYTES] = { "loaded_bytes", "LOADED", 10, OUT_BYTES },
	[ROW_ALL] = { "data_bytes", "OF", 10, OUT_BYTES },
	[ROW_RATE] = { "loaded_bytes_per_second", "RATE", 12, OUT_RATE },
};

static void out_progress(struct restoring *r, uint64_t now)
{
	struct output *out = r->out;

	if (!r->shown.rows++)
		out_header(out, row, ROW_FIELDS);
	out_begin(out, OUT_ROW, "progress");
	out_uint(out, &row[ROW_TIME], now - r->started);
	out_uint(out, &row[ROW_BYTES], r->reading.bytes);
	out_uint(out, &row[ROW_ALL], r->data_bytes);
	out_uint(out, &row[ROW_RATE],
		 per_second(r->reading.bytes - r->shown.bytes, now - r->shown.time));
	out_end(out);
	fflush(out->stream);
	r->shown.time = now;
	r->shown.bytes = r->reading.bytes;
}

static int check_signals(const struct restoring *r, struct error *err)
{
	struct pollfd pollfd = { .fd = r->signals, .events = POLLIN };

	return poll(&pollfd, 1, 0) > 0 ? error_set(err, EXIT_CANCELLED, "cancelled") : 0;
}

/* While memory is copied, or compared. */
static int look(void *data, struct error *err)
{
	struct restoring *r = data;
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (now - r->shown.time >= LIVE_LINE_INTERVAL) {
		out_progress(r, now);
		run_note(&r->run, "sent_bytes", json_integer((json_int_t)r->reading.bytes));
		run_write(&r->run, false);
	}
	return check_signals(r, err);
}

static uint64_t data_bytes(const struct snapshot *snapshot)
{
	uint64_t pages = 0, page;
	size_t i;

	for (i = 0; i < snapshot->n; i++) {
		for (page = 0; page < snapshot_pages(&snapshot->blocks[i]); page++)
			pages += !!snapshot->blocks[i].digests[page];
	}
	return pages * SNAPSHOT_PAGE_SIZE;
}

static int verify(struct restoring *r, struct error *err)
{
	size_t i;

	for (i = 0; i < r->snapshot.n; i++) {
		if (snapshot_verify(&r->snapshot.blocks[i], &r->reading, err))
			return -1;
	}
	return 0;
}

static int fill(struct restoring *r, struct error *err)
{
	const struct vmm_memory *memory;
	size_t i;

	if (r->mapped) {
		if (!r->options->verify_after && verify(r, err))
			return -1;
		r->filled = clock_ns(CLOCK_MONOTONIC);
		return 0;
	}
	r->touched = true;
	for (i = 0; i < r->snapshot.n; i++) {
		memory = memory_find(r, r->snapshot.blocks[i].id);
		if (snapshot_fill(&r->snapshot.blocks[i], memory->fd, memory->offset,
				  &r->reading, err))
			return -1;
	}
	r->filled = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

static int load_wait(struct restoring *r, struct error *err)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + LOAD_TIMEOUT;
	struct vmm_status status;

	for (;;) {
		if (r->ops->status(r->vmm, &status, err))
			return -1;
		if (status.phase == VMM_COMPLETED)
			return 0;
		if (status.phase == VMM_FAILED) {
			if (snapshot_state_failed(r->state, err))
				return -1;
			return error_set(err, EXIT_VMM,
					 "the VMM could not load the state: %s",
					 status.reason[0] ? status.reason :
					 "see its log");
		}
		if (check_signals(r, err))
			return -1;
		if (clock_ns(CLOCK_MONOTONIC) > end)
			return error_set(err, EXIT_VMM,
					 "the VMM did not load the state in time");
		usleep(LOAD_WAIT_US);
	}
}

static int load(struct restoring *r, struct error *err)
{
	r->touched = true;
	if (r->ops->save(r->vmm, &r->saved, err) ||
	    r->ops->prepare_load(r->vmm, err) ||
	    r->ops->incoming(r->vmm, snapshot_state_fd(r->state), err) ||
	    snapshot_state_start(r->state, err) || load_wait(r, err))
		return -1;
	r->loaded = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

/* A guest that was paused when it was saved stays so. */
static int go(struct restoring *r, struct error *err)
{
	if (r->ops->restore(r->vmm, r->saved, err))
		return -1;
	if (r->snapshot.ran && !r->options->paused && r->ops->run(r->vmm, err))
		return -1;
	r->touched = false;
	r->resumed = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

/* While the guest runs, which has the same pages as long as it has not written there. */
static int verify_after(struct restoring *r, struct error *err)
{
	if (!r->options->verify_after)
		return 0;
	out_say(r->out, "Its memory is compared now.");
	if (verify(r, err)) {
		/* Else nothing is known to be wrong with that guest. */
		r->touched = err->code == EXIT_DIFFERS || err->code == EXIT_SNAPSHOT;
		return -1;
	}
	r->verified = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

static int restore(struct restoring *r, struct error *err)
{
	if (open_all(r, err))
		return -1;
	r->data_bytes = data_bytes(&r->snapshot);
	r->started = r->shown.time = clock_ns(CLOCK_MONOTONIC);
	out_say(r->out, "Process %d (%s %s) gets the guest of %s.", r->vmm->pid,
		r->vmm->ops->name, r->vmm->version, r->options->dir);
	fflush(r->out->stream);
	run_begin(&r->run, NULL, "restore", r->options->guest.socket, r->options->guest.socket);
	run_note(&r->run, "from", json_string(r->options->dir));
	run_note(&r->run, "method", json_string(method(r)));
	return fill(r, err) || load(r, err) || go(r, err) ||
	       verify_after(r, err) ? -1 : 0;
}

/* Half a guest is nobody's: nobody shall let it run by mistake. */
static void settle(struct restoring *r, struct error *err)
{
	struct error ignored;

	if (!r->touched)
		return;
	if (r->ops->quit(r->vmm, &ignored)) {
		error_advise(err, "this VMM has half a guest, and could not be ended: kill process %d",
			     (int)r->vmm->pid);
		return;
	}
	/* Advice on the cause is worth more than this. */
	if (!err->advice[0])
		error_advise(err, "this VMM was ended: start it again to try again");
}

enum { RESULT, METHOD, TOTAL, MEMORY, DEVICES, RESUME, VERIFY, BYTES, GUEST, DISKS };

static const struct out_field summary[] = {
	[RESULT] = { "result", "restore", 0, OUT_TEXT },
	[METHOD] = { "method", "memory was", 0, OUT_TEXT },
	[TOTAL] = { "total_ns", "total time", 0, OUT_TIME },
	[MEMORY] = { "memory_ns", "  memory", 0, OUT_TIME },
	[DEVICES] = { "devices_ns", "  device state", 0, OUT_TIME },
	[RESUME] = { "resume_ns", "  resume", 0, OUT_TIME },
	[VERIFY] = { "verify_ns", "  compared after that", 0, OUT_TIME },
	[BYTES] = { "loaded_bytes", "loaded", 0, OUT_BYTES },
	[GUEST] = { "guest", "guest", 0, OUT_TEXT },
	[DISKS] = { "disks", "disks", 0, OUT_TEXT },
};

static void out_summary(const struct restoring *r, int ret)
{
	struct output *out = r->out;

	out_begin(out, OUT_RECORD, "summary");
	out_text(out, &summary[RESULT], ret ? "failed" : "completed");
	out_text(out, &summary[METHOD], method(r));
	out_uint(out, &summary[TOTAL], clock_ns(CLOCK_MONOTONIC) - r->started);
	if (r->resumed) {
		out_uint(out, &summary[MEMORY], r->filled - r->started);
		out_uint(out, &summary[DEVICES], r->loaded - r->filled);
		out_uint(out, &summary[RESUME], r->resumed - r->loaded);
	}
	if (r->verified)
		out_uint(out, &summary[VERIFY], r->verified - r->resumed);
	out_uint(out, &summary[BYTES], r->reading.bytes);
	if (r->resumed && !r->touched)
		out_text(out, &summary[GUEST], r->snapshot.ran && !r->options->paused ?
			 "running" : "paused");
	out_json(out, &summary[DISKS], json_false(), "not in it");
	out_end(out);
}

static void run_conclude(struct restoring *r, const struct error *err)
{
	run_note(&r->run, "total_ns",
		 json_integer((json_int_t)(clock_ns(CLOCK_MONOTONIC) - r->started)));
	run_note(&r->run, "sent_bytes", json_integer((json_int_t)r->reading.bytes));
	run_end(&r->run, err ? "failed" : "completed", err);
}

static void restoring_close(struct restoring *r)
{
	snapshot_state_close(r->state);
	lock_drop(&r->lock);
	vmm_memory_free(r->memory, r->n_memory);
	json_decref(r->saved);
	if (r->vmm)
		r->vmm->ops->close(r->vmm);
	snapshot_close(&r->snapshot);
}

/**
 * restore_whole() - fill a VMM's memory, load its state, run it
 * @out: for the user
 * @options: what the user asked for
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int restore_whole(struct output *out, const struct restore_options *options,
		  struct error *err)
{
	struct restoring r = {
		.out = out,
		.options = options,
		.ops = options->guest.driver->migration,
		.snapshot.state_fd = -1,
		.lock = LOCK_NONE,
		.signals = -1,
		.reading.look = look,
	};
	int ret;

	r.reading.data = &r;
	out_never_wait(out);
	ret = restore(&r, err);
	if (ret)
		settle(&r, err);
	if (r.started) {
		out_summary(&r, ret);
		run_conclude(&r, ret ? err : NULL);
	}
	restoring_close(&r);
	signals_end(out, r.signals);
	return ret;
}
