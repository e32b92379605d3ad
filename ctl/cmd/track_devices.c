// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <linux/vfio.h>

#include "cmd/session.h"
#include "cmd/track_devices.h"
#include "cmd/tracker.h"

enum {
	SOURCE, NAME, STATE, PRECOPY, INITIAL, DIRTY, STOPCOPY, AGE, FLAGS, ERROR,
	FIELDS
};

static const struct out_field fields[FIELDS] = {
	[SOURCE] = { "source_id", NULL, 0, OUT_ID },
	[NAME] = { "name", "  DEVICE", 38, OUT_TEXT },
	[STATE] = { "state", "STATE", 12, OUT_TEXT },
	[PRECOPY] = { "precopy_bytes", "PRECOPY", 10, OUT_BYTES },
	[INITIAL] = { "precopy_initial_bytes", NULL, 0, OUT_BYTES },
	[DIRTY] = { "precopy_dirty_bytes", NULL, 0, OUT_BYTES },
	[STOPCOPY] = { "stopcopy_bytes", "STOP-COPY", 10, OUT_BYTES },
	[AGE] = { "age_ns", "AGE", 9, OUT_TIME },
	[FLAGS] = { "flags", "FLAGS", 0, OUT_TEXT },
	[ERROR] = { "error", NULL, 0, OUT_ID },
};

/* ---- finding them ---- */

static int device_add(struct track_devices *all, struct tracker *tracker,
		      const struct vfio_file *file)
{
	struct track_device *device = &all->devices[all->n++];
	const char *message;
	int fd, ret;

	*device = (struct track_device){};
	snprintf(device->name, sizeof(device->name), "%s", file->name);
	fd = vfio_file_take(all->pid, file->number);
	if (fd < 0) {
		snprintf(device->reason, sizeof(device->reason),
			 "its descriptor can't be taken: %s", strerror(-fd));
		return 0;
	}
	ret = migtrack_source_add_vfio(tracker->mt, tracker->fd, fd, -1,
				       device->name, &device->id);
	close(fd);
	if (!ret) {
		device->tracked = true;
		all->n_tracked++;
		return 0;
	}
	message = migtrack_message(tracker->mt);
	snprintf(device->reason, sizeof(device->reason), "%s",
		 *message ? message : strerror(-ret));
	return ret;
}

enum module_state {
	MODULE_ABSENT,
	MODULE_COMING,		/* there, but its init has not ended: no devices yet */
	MODULE_LIVE,
};

static enum module_state module_state(void)
{
	char state[16] = "";
	FILE *file = fopen("/sys/module/migtrack_vfio/initstate", "re");

	if (!file)
		return MODULE_ABSENT;
	if (!fgets(state, sizeof(state), file))
		state[0] = '\0';
	fclose(file);
	return strcmp(state, "live\n") ? MODULE_COMING : MODULE_LIVE;
}

/* What is waited for a module: 5 s until it is seen, 60 s until it is ready. */
#define MODULE_PATIENCE		600
#define MODULE_ABSENT_COST	12
#define MODULE_COMING_COST	1
#define MODULE_WAIT_NS		(100 * 1000 * 1000)

/* The kernel starts to load the module of that type when it misses it. */
static void device_add_patiently(struct track_devices *all,
				 struct tracker *tracker,
				 const struct vfio_file *file, int *patience)
{
	const struct timespec moment = { .tv_nsec = MODULE_WAIT_NS };
	enum module_state state;

	for (;;) {
		state = module_state();
		if (device_add(all, tracker, file) != -EOPNOTSUPP ||
		    state == MODULE_LIVE || *patience <= 0)
			return;
		*patience -= state == MODULE_COMING ? MODULE_COMING_COST :
						      MODULE_ABSENT_COST;
		nanosleep(&moment, NULL);
		all->n--;
	}
}

int track_devices_find(struct track_devices *all, struct tracker *tracker,
		       pid_t pid, struct error *err)
{
	int patience = MODULE_PATIENCE;
	struct vfio_files files;
	size_t i;

	*all = (struct track_devices) { .pid = pid };
	if (vfio_files_find(&files, pid, err)) {
		vfio_files_free(&files);
		return -1;
	}
	all->devices = calloc(files.n_devices + 1, sizeof(*all->devices));
	if (!all->devices) {
		vfio_files_free(&files);
		return error_set(err, EXIT_FAILED, "out of memory");
	}
	for (i = 0; i < files.n_devices; i++)
		device_add_patiently(all, tracker, &files.devices[i], &patience);
	vfio_files_free(&files);
	return 0;
}

void track_devices_free(struct track_devices *all)
{
	free(all->devices);
	*all = (struct track_devices){};
}

static const struct out_field found[] = {
	[0] = { .key = "name" },
	[1] = { .key = "tracked" },
	[2] = { .key = "source_id" },
	[3] = { .key = "reason" },
};

void out_track_devices(struct output *out, const struct track_devices *all)
{
	const struct track_device *device;
	size_t i;

	for (i = 0; i < all->n; i++) {
		device = &all->devices[i];
		if (device->tracked)
			out_say(out, "VFIO device %s is asked what it has to move.",
				device->name);
		else
			out_say(out, "VFIO device %s is not tracked: %s",
				device->name, device->reason);
		if (!out->json)
			continue;
		out_begin(out, OUT_ROW, "vfio");
		out_text(out, &found[0], device->name);
		out_bool(out, &found[1], device->tracked);
		if (device->tracked)
			out_uint(out, &found[2], device->id);
		else
			out_text(out, &found[3], device->reason);
		out_end(out);
	}
	if (all->n)
		out_say(out, "%s", "");
}

/* ---- their migration data ---- */

static bool is_saved(const struct migtrack_source *source)
{
	return source->device_state == MIGTRACK_DEVICE_STATE_PRE_COPY ||
	       source->device_state == MIGTRACK_DEVICE_STATE_PRE_COPY_P2P;
}

/* Nothing else answers that. */
static bool is_data(int fd)
{
	struct vfio_precopy_info info = { .argsz = sizeof(info) };

	return !ioctl(fd, VFIO_MIG_GET_PRECOPY_INFO, &info);
}

/* Descriptors of migration data, to be closed. Returns how many. */
static size_t data_take(pid_t pid, int *fds, size_t room)
{
	struct vfio_files files;
	struct error err;
	size_t i, n = 0;
	int fd;

	if (vfio_files_find(&files, pid, &err)) {
		vfio_files_free(&files);
		return 0;
	}
	for (i = 0; i < files.n_data && n < room; i++) {
		fd = vfio_file_take(pid, files.data[i].number);
		if (fd < 0)
			continue;
		if (is_data(fd))
			fds[n++] = fd;
		else
			close(fd);
	}
	vfio_files_free(&files);
	return n;
}

static const struct out_field apart[] = {
	[0] = { .key = "descriptors" },
	[1] = { .key = "devices" },
};

static void out_unattributed(struct output *out, size_t data, size_t devices)
{
	out_say(out, "unattributed: %zu descriptors of migration data can't be told apart by %zu devices; what precopy could move is in STOP-COPY",
		data, devices);
	if (!out->json)
		return;
	out_begin(out, OUT_ROW, "unattributed");
	out_uint(out, &apart[0], data);
	out_uint(out, &apart[1], devices);
	out_end(out);
}

#define DATA_MAX	64

/*
 * Nothing says which device a descriptor belongs to. With one of each there is
 * nothing to be told apart; else they are left alone.
 */
static void data_attribute(struct output *out, struct track_devices *all,
			   struct tracker *tracker, uint32_t id)
{
	int fds[DATA_MAX];
	size_t i, n;

	n = data_take(all->pid, fds, DATA_MAX);
	if (n == 1 && all->n == 1)
		migtrack_source_set_data(tracker->mt, tracker->fd, id, fds[0]);
	else if (n && n != all->told)
		out_unattributed(out, n, all->n);
	if (n)
		all->told = n;
	for (i = 0; i < n; i++)
		close(fds[i]);
}

/* ---- their rows ---- */

static void out_device(struct output *out, const struct track_device *device,
		       const struct migtrack_source *source)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	char name[VFIO_NAME_SIZE + 2];

	snprintf(name, sizeof(name), "%s%s", out->json ? "" : "  ",
		 device->name);
	out_begin(out, OUT_ROW, "device");
	out_uint(out, &fields[SOURCE], source->id);
	out_text(out, &fields[NAME], name);
	out_text(out, &fields[STATE], device_state_name(source->device_state));
	out_remaining(out, &fields[PRECOPY], source->bytes.precopy,
		      source->flags);
	out_known(out, &fields[INITIAL], source->precopy_initial);
	out_known(out, &fields[DIRTY], source->precopy_dirty);
	out_remaining(out, &fields[STOPCOPY], source->bytes.stopcopy,
		      source->flags);
	if (source->time_ns)
		out_uint(out, &fields[AGE], now - source->time_ns);
	else
		out_none(out, &fields[AGE]);
	out_flags(out, &fields[FLAGS], source->flags);
	out_uint(out, &fields[ERROR], source->error);
	out_end(out);
}

void track_devices_show(struct output *out, struct track_devices *all,
			struct tracker *tracker)
{
	struct migtrack_source source;
	bool missing = false;
	uint32_t id = 0;
	size_t i;

	if (!all->n_tracked)
		return;
	out_header(out, fields, FIELDS);
	for (i = 0; i < all->n; i++) {
		if (!all->devices[i].tracked ||
		    migtrack_source_get(tracker->mt, tracker->id,
					all->devices[i].id, &source))
			continue;
		out_device(out, &all->devices[i], &source);
		if (is_saved(&source) && source.precopy_initial == UINT64_MAX) {
			missing = true;
			id = source.id;
		}
	}
	track_dma_show(out, all, tracker);
	if (missing)
		data_attribute(out, all, tracker, id);
}
