// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest is paused only while its memory is write-protected and its devices are
 * saved. Then it runs on: a page that it writes to is saved first, by the threads that
 * handle its faults, and all others meanwhile. So all is of the instant of the pause.
 */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/session.h"
#include "cmd/snapshot.h"
#include "stream/rate.h"
#include "vmm/handover.h"

#define THREADS		4
#define RUN_PAGES	64u
#define ROW_NS		NS_PER_S

/**
 * struct live - such a snapshot
 * @t: it
 * @regions: the memory, block by block
 * @n: how many
 * @uffd: handles the faults
 * @claims: of the pages
 * @channel: of this thread
 * @left: what is left, for listeners
 * @paid_until: for the limit of the bandwidth
 * @row_ns: when the last row was shown
 */
struct live {
	struct taking *t;
	const struct uffd_region *regions;
	size_t n;
	struct uffd *uffd;
	struct uffd_claims claims;
	struct uffd_channel channel;
	struct tracker_left left;
	uint64_t paid_until;
	uint64_t row_ns;
};

bool snapshot_is_live(const struct snapshot_options *options)
{
	return options->live && options->guest.driver == &vmm_driver_handover;
}

/* ---- what the user sees ---- */

enum { ELAPSED, COPIED, PASSED, FAULTS, FIELDS };

static const struct out_field fields[FIELDS] = {
	[ELAPSED] = { "elapsed_ns", "TIME", 8, OUT_TIME },
	[COPIED] = { "copied_bytes", "COPIED", 10, OUT_BYTES },
	[PASSED] = { "passed_bytes", "PASSED", 10, OUT_BYTES },
	[FAULTS] = { "write_faults", "WRITE FAULTS", 0, OUT_NUMBER },
};

static void note_numbers(struct taking *t)
{
	uint64_t copied = __atomic_load_n(&t->writer.pages, __ATOMIC_RELAXED) *
			  SNAPSHOT_PAGE_SIZE;

	run_note(&t->run, "phase", json_string(phase_name(t->phase)));
	run_note(&t->run, "sent_bytes", json_integer((json_int_t)copied));
	run_note(&t->run, "remaining_bytes",
		 json_integer((json_int_t)(snapshot_memory_size(t) - t->passed)));
	run_note(&t->run, "total_ns",
		 json_integer((json_int_t)(clock_ns(CLOCK_MONOTONIC) - t->times.started)));
	if (t->times.resumed && t->snapshot.ran)
		run_note(&t->run, "downtime_ns",
			 json_integer((json_int_t)(t->times.resumed - t->times.running)));
}

static void left_tell(struct live *live)
{
	const struct migtrack_counters left = {
		.precopy = snapshot_memory_size(live->t) - live->t->passed,
	};

	tracker_left_tell(&live->t->tracker, &live->left, &left);
}

static void out_row(struct live *live)
{
	struct taking *t = live->t;
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (now < live->row_ns + ROW_NS)
		return;
	live->row_ns = now;
	left_tell(live);
	t->write_faults = live->claims.stats->write_faults;
	note_numbers(t);
	run_write(&t->run, false);
	out_begin(t->out, OUT_ROW, "progress");
	out_uint(t->out, &fields[ELAPSED], now - t->times.started);
	out_uint(t->out, &fields[COPIED], __atomic_load_n(&t->writer.pages, __ATOMIC_RELAXED) *
		 SNAPSHOT_PAGE_SIZE);
	out_uint(t->out, &fields[PASSED], t->passed);
	out_uint(t->out, &fields[FAULTS], t->write_faults);
	out_end(t->out);
	fflush(t->out->stream);
}

enum {
	RESULT, METHOD, TOTAL, DOWNTIME, STOP, PROTECT, DEVICES, RESUME, WRITE_FAULTS, BYTES,
	PAGES, ZEROS, SIZE, DEVICE_BYTES, DISKS,
};

static const struct out_field summary[] = {
	[RESULT] = { "result", "snapshot", 0, OUT_TEXT },
	[METHOD] = { "method", "by", 0, OUT_TEXT },
	[TOTAL] = { "total_ns", "total time", 0, OUT_TIME },
	[DOWNTIME] = { "downtime_ns", "guest paused", 0, OUT_TIME },
	[STOP] = { "downtime_stop_ns", "  stop", 0, OUT_TIME },
	[PROTECT] = { "downtime_protect_ns", "  protection", 0, OUT_TIME },
	[DEVICES] = { "downtime_devices_ns", "  device state", 0, OUT_TIME },
	[RESUME] = { "downtime_resume_ns", "  resume", 0, OUT_TIME },
	[WRITE_FAULTS] = { "write_faults", "write faults", 0, OUT_NUMBER },
	[BYTES] = { "written_bytes", "written", 0, OUT_BYTES },
	[PAGES] = { "pages", "  pages", 0, OUT_NUMBER },
	[ZEROS] = { "zero_pages", "  of these zero", 0, OUT_NUMBER },
	[SIZE] = { "memory_bytes", "memory", 0, OUT_BYTES },
	[DEVICE_BYTES] = { "device_bytes", "device state", 0, OUT_BYTES },
	[DISKS] = { "disks", "disks", 0, OUT_TEXT },
};

static void out_pause(struct taking *t)
{
	const struct snapshot_times *times = &t->times;

	out_uint(t->out, &summary[DOWNTIME], times->resumed - times->running);
	out_uint(t->out, &summary[STOP], times->stopped - times->running);
	out_uint(t->out, &summary[PROTECT], times->synced - times->stopped);
	out_uint(t->out, &summary[DEVICES], times->saved - times->synced);
	out_uint(t->out, &summary[RESUME], times->resumed - times->saved);
}

/**
 * snapshot_live_summary() - what became of it
 * @t: the snapshot, perhaps on the disk
 */
void snapshot_live_summary(struct taking *t)
{
	struct output *out = t->out;

	note_numbers(t);
	out_say(out, "%s", "");
	out_begin(out, OUT_RECORD, "summary");
	out_text(out, &summary[RESULT], phase_name(t->phase));
	out_text(out, &summary[METHOD], "write faults");
	out_uint(out, &summary[TOTAL], clock_ns(CLOCK_MONOTONIC) - t->times.started);
	if (t->times.resumed && t->snapshot.ran)
		out_pause(t);
	out_uint(out, &summary[WRITE_FAULTS], t->write_faults);
	out_uint(out, &summary[BYTES], t->writer.bytes);
	out_uint(out, &summary[PAGES], t->writer.pages);
	out_uint(out, &summary[ZEROS], t->writer.zero_pages);
	out_uint(out, &summary[SIZE], snapshot_memory_size(t));
	out_uint(out, &summary[DEVICE_BYTES], t->snapshot.state_size);
	out_json(out, &summary[DISKS], json_false(), "not in it");
	out_end(out);
}

/* ---- the pages ---- */

/* A page that is about to be written, or some whose turn it is. */
static int written(void *data, uint64_t offset, size_t size, void *buffer,
		   struct error *err)
{
	struct live *live = data;
	size_t i;

	for (i = 0; i < live->n; i++) {
		const struct uffd_region *r = &live->regions[i];

		if (offset - r->offset < r->size)
			return writer_pages(&live->t->writer, i,
					    (offset - r->offset) / SNAPSHOT_PAGE_SIZE,
					    size / SNAPSHOT_PAGE_SIZE, buffer, err);
	}
	return error_set(err, EXIT_FAILED, "there is no such memory");
}

static const struct uffd_ops ops = { .written = written };

static size_t channel_size(const struct live *live)
{
	size_t size = RUN_PAGES * SNAPSHOT_PAGE_SIZE, i;

	for (i = 0; i < live->n; i++) {
		if (live->regions[i].page_size > size)
			size = live->regions[i].page_size;
	}
	return size;
}

/* All that takes time is done while the guest runs. */
static int live_open(struct live *live, struct uffd_offer *offer, struct error *err)
{
	struct uffd_config config = {
		.ops = &ops, .data = live, .threads = THREADS, .claims = &live->claims,
	};

	if (handover_userfaultfd(live->t->vmm, UFFD_WRITE, offer, err))
		return -1;
	live->regions = config.regions = offer->regions;
	live->n = config.n = offer->n;
	if (uffd_claims_open(&live->claims, uffd_regions_pages(offer->regions, offer->n),
			     false, err) ||
	    uffd_channel_open(&live->channel, channel_size(live), err))
		return -1;
	config.fd = offer->fd;
	offer->fd = -1;
	return uffd_setup(&live->uffd, &config, err);
}

static int pause_guest(struct live *live, struct error *err)
{
	struct taking *t = live->t;

	if (snapshot_pause(t, snapshot_wait, err) || uffd_protect(live->uffd, err))
		return -1;
	t->times.synced = clock_ns(CLOCK_MONOTONIC);
	if (snapshot_devices(t, err) || snapshot_resume(t, err))
		return -1;
	return snapshot_phase(t, MIGTRACK_PHASE_PRECOPY, err);
}

static int look(struct live *live, struct error *err)
{
	struct taking *t = live->t;
	char time[UNIT_TEXT_SIZE];
	uint64_t timeout;

	if (uffd_failed(live->uffd, err) || snapshot_check(t, err))
		return -1;
	out_row(live);
	timeout = t->policy.limits.timeout;
	if (!timeout || clock_ns(CLOCK_MONOTONIC) - t->times.started < timeout)
		return 0;
	error_set(err, EXIT_TIMEOUT, "not all was saved within %s",
		  format_time(time, timeout));
	return error_advise(err, "the guest runs on; give it more time, or use faster storage");
}

/* A run of pages of a block, which begins at @first in the claims. */
static int run_save(struct live *live, const struct uffd_region *region, uint64_t first,
		    uint64_t at, uint64_t n, struct error *err)
{
	uint64_t per = region->page_size / SNAPSHOT_PAGE_SIZE;
	uint64_t page = at / per, end = (at + n + per - 1) / per;

	if (uffd_save(live->uffd, &live->channel, first + page, end - page, err))
		return -1;
	rate_charge(&live->paid_until, live->t->writer.max_bandwidth, n * SNAPSHOT_PAGE_SIZE);
	return 0;
}

/*
 * What has no data now had none at the pause: if it gets some while we look elsewhere, it
 * is saved by the fault, as a page of zeros.
 */
static int block_save(struct live *live, size_t i, uint64_t first, struct error *err)
{
	struct taking *t = live->t;
	uint64_t at = 0, end, n, base = t->passed, patience;
	int ret;

	while ((ret = writer_data(&t->writer, i, &at, &end, err)) > 0) {
		while (at < end) {
			patience = 100 * NS_PER_MS;
			if (look(live, err))
				return -1;
			if (!rate_wait(live->paid_until, t->writer.max_bandwidth, &patience))
				continue;
			n = end - at < RUN_PAGES ? end - at : RUN_PAGES;
			if (run_save(live, &live->regions[i], first, at, n, err))
				return -1;
			at += n;
			t->passed = base + at * SNAPSHOT_PAGE_SIZE;
		}
	}
	t->passed = base + live->regions[i].size;
	return ret;
}

static int save_all(struct live *live, struct error *err)
{
	uint64_t first = 0;
	size_t i;

	for (i = 0; i < live->n; i++) {
		if (block_save(live, i, first, err))
			return -1;
		first += live->regions[i].size / live->regions[i].page_size;
	}
	left_tell(live);
	/* What a fault is just saving is awaited. */
	return uffd_release(live->uffd, err);
}

/* The guest's memory is its own again, however it went. */
static int live_close(struct live *live, int ret, struct error *err)
{
	struct error later;
	bool failed = live->uffd && uffd_failed(live->uffd, &later);
	struct error why_paused;

	/* A thread whose storage hangs is waited for: not with the guest paused. */
	if (ret && snapshot_resume(live->t, &why_paused) && live->t->guarded)
		out_error(live->t->out, &why_paused);
	uffd_stop(live->uffd);
	/* The guard has the connection then, whose end is as good. */
	if (!live->t->guarded && handover_release(live->t->vmm, ret ? &later : err))
		ret = -1;
	/* A page that is missing was written nevertheless. */
	if (failed && !ret) {
		*err = later;
		ret = -1;
	}
	if (live->claims.stats)
		live->t->write_faults = live->claims.stats->write_faults;
	uffd_channel_close(&live->channel);
	uffd_claims_close(&live->claims);
	return ret;
}

/*
 * Where the kernel module is there listeners see it as any other snapshot, and migctl
 * cancel and set find it. It needs none.
 */
static int session_open(struct live *live, struct error *err)
{
	struct taking *t = live->t;
	struct error ignored;

	policy_init(&t->policy, &t->options->limits, t->times.started);
	t->policy.limits.downtime = 0;
	if (!tracker_open(&t->tracker, &ignored)) {
		if (record_create(&t->record, t->tracker.id, &t->options->guest,
				  t->vmm->pid, t->options->to, err) ||
		    control_open(&t->control, t->tracker.id, err))
			return -1;
		tracker_left_open(&t->tracker, &live->left);
		left_tell(live);
		run_note(&t->run, "session_id", json_integer((json_int_t)t->tracker.id));
	}
	return snapshot_phase(t, MIGTRACK_PHASE_SETUP, err);
}

/**
 * snapshot_live() - take a snapshot with the guest paused for its device state only
 * @t: its directory is open
 * @err: why it failed
 *
 * On success all is in its files, and the guest runs. On failure it is perhaps still
 * paused, which snapshot_resume() ends; its memory is as it was, and not protected.
 *
 * Return: 0 or -1.
 */
int snapshot_live(struct taking *t, struct error *err)
{
	struct uffd_offer offer = { .fd = -1 };
	struct live live = { .t = t };
	char size[UNIT_TEXT_SIZE];
	int ret;

	out_say(t->out, "Process %d (%s %s): %s of memory in %zu block%s, to %s, by write faults.\nDisks are not in it.\n",
		t->vmm->pid, t->vmm->ops->name, t->vmm->version,
		format_bytes(size, snapshot_memory_size(t)), t->n_memory,
		t->n_memory == 1 ? "" : "s", t->options->to);
	out_header(t->out, fields, FIELDS);
	run_begin(&t->run, NULL, "snapshot", t->options->guest.socket, t->options->to);
	ret = session_open(&live, err) || live_open(&live, &offer, err) ||
	      pause_guest(&live, err) || save_all(&live, err) ? -1 : 0;
	ret = live_close(&live, ret, err);
	uffd_offer_free(&offer);
	return ret;
}
