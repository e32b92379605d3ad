// SPDX-License-Identifier: GPL-2.0-or-later
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd/forecast.h"
#include "cmd/session.h"

const char forecast_usage[] =
	"migctl forecast [OPTIONS] --bandwidth RATE --qmp SOCKET\n"
	"       migctl forecast [OPTIONS] --bandwidth RATE --pid PID --ram MEMORY...\n"
	"\n"
	"Say whether a migration of a running guest would converge, how long it would\n"
	"take, and what would make it converge. The guest is tracked for a while, and\n"
	"nothing of it is moved or changed. Exit code 0: it would converge, 10: not.\n"
	"\n"
	"  --bandwidth RATE    bytes a second that it could be moved with (100M)\n"
	"  --downtime T        the guest may be stopped for so long (300ms)\n"
	"  --fixed-cost T      of that, stop, devices and resume take so much (0ms)\n"
	"  --timeout T         it may take so long (no limit)\n"
	"  --qmp SOCKET        QEMU's QMP socket: finds the process and its memory\n"
	"  --pid PID           the process; with --qmp, instead of the socket's owner\n"
	"  --ram PATH|fd:N[,offset=BYTES][,length=BYTES]\n"
	"                      memory of the process: a file that it maps shared, or its\n"
	"                      descriptor N of one\n"
	"  --dma-log           also what its VFIO devices write by DMA, with --qmp\n"
	"  -d, --duration T    look at it for so long (10s); Ctrl-C ends that\n"
	"  -i, --interval T    and so often (250ms)\n"
	"  -j, --json          one JSON object a line, in bytes and nanoseconds";

enum { OPTION_BANDWIDTH = 256, OPTION_DOWNTIME, OPTION_FIXED_COST, OPTION_TIMEOUT };

#define INTERVAL	(250 * NS_PER_MS)
#define DURATION	(10 * NS_PER_S)

static int option_bandwidth(const char *value, uint64_t *rate, struct error *err)
{
	if (!parse_size(value, rate) && *rate)
		return 0;
	error_set(err, EXIT_USAGE, "--bandwidth %s is no rate", value);
	return error_advise(err, "give bytes per second: 100M, 1G, 125000000");
}

static int options_take(struct forecast_options *options, int option,
			struct error *err)
{
	switch (option) {
	case OPTION_BANDWIDTH:
		return option_bandwidth(optarg, &options->limits.bandwidth, err);
	case OPTION_DOWNTIME:
		return option_time("--downtime", optarg, &options->limits.downtime, err);
	case OPTION_FIXED_COST:
		return option_time("--fixed-cost", optarg,
				   &options->limits.fixed_cost, err);
	case OPTION_TIMEOUT:
		return option_time("--timeout", optarg, &options->limits.timeout, err);
	default:
		return track_options_take(&options->target, option, err);
	}
}

static int options_check(const struct forecast_options *options, struct error *err)
{
	if (track_options_check(&options->target, "forecast", err))
		return -1;
	if (!options->limits.bandwidth) {
		error_set(err, EXIT_USAGE, "forecast: with which bandwidth?");
		return error_advise(err,
				    "give --bandwidth RATE: what the network between the hosts leaves for it, in bytes per second");
	}
	if (options->target.duration_ns < options->target.interval_ns) {
		error_set(err, EXIT_USAGE,
			  "forecast: --duration is shorter than --interval");
		return error_advise(err,
				    "look at it for some seconds: what a guest writes in a window is what counts");
	}
	return 0;
}

static int options_parse(struct forecast_options *options, int argc, char **argv,
			 struct error *err)
{
	static const struct option longs[] = {
		TRACK_TARGET_OPTIONS,
		{ "bandwidth", required_argument, NULL, OPTION_BANDWIDTH },
		{ "downtime", required_argument, NULL, OPTION_DOWNTIME },
		{ "fixed-cost", required_argument, NULL, OPTION_FIXED_COST },
		{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
		{ "interval", required_argument, NULL, 'i' },
		{ "duration", required_argument, NULL, 'd' },
		COMMON_OPTIONS
	};
	int option;

	*options = (struct forecast_options) {
		.target = { .interval_ns = INTERVAL, .duration_ns = DURATION },
		.limits = policy_default_limits,
	};
	while ((option = option_next(argc, argv, ":ji:d:", longs, err))) {
		if (option < 0 || options_take(options, option, err))
			return -1;
	}
	if (option_end(argc, argv, err))
		return -1;
	return options_check(options, err);
}

/* All of it or nothing: a part says nothing about a migration of the whole. */
static int add_memory(struct tracker *tracker, const struct track_target *target,
		      struct error *err)
{
	size_t i;

	for (i = 0; i < target->n; i++) {
		if (!target->memory[i].reason[0]) {
			if (tracker_add(tracker, target->pid, &target->memory[i], err))
				return -1;
			continue;
		}
		error_set(err, EXIT_UNTRACKABLE, "memory %s can't be tracked: %s",
			  target->memory[i].id, target->memory[i].reason);
		return error_advise(err, "%s", target->memory[i].advice);
	}
	return 0;
}

/* What the devices said at the last sync. */
static void add_devices(struct forecast_guest *guest, const struct tracker *tracker,
			const struct track_devices *devices)
{
	struct migtrack_source source;
	size_t i;

	for (i = 0; i < devices->n; i++) {
		if (!devices->devices[i].tracked ||
		    migtrack_source_get(tracker->mt, tracker->id,
					devices->devices[i].id, &source) ||
		    source.flags & MIGTRACK_COUNTER_FLAGS_UNKNOWN) {
			guest->unknown = devices->devices[i].name;
			continue;
		}
		guest->precopy += source.bytes.precopy;
		guest->stopcopy += source.bytes.stopcopy;
	}
}

enum { WINDOW, WRITTEN, WINDOW_FIELDS };

static const struct out_field windows[WINDOW_FIELDS] = {
	[WINDOW] = { "window_ns", "IN ANY", 9, OUT_TIME },
	[WRITTEN] = { "written_bytes", "IT WRITES", 10, OUT_BYTES },
};

static void out_windows(struct output *out, const struct measurement *measured)
{
	size_t i;

	out_header(out, windows, WINDOW_FIELDS);
	for (i = 0; i < measured->n; i++) {
		out_begin(out, OUT_ROW, "window");
		out_uint(out, &windows[WINDOW], measured->points[i].window);
		out_uint(out, &windows[WRITTEN], measured->points[i].bytes);
		out_end(out);
	}
	out_say(out, "%s", "");
}

enum {
	CONVERGES, REASON, MEMORY, ZERO, RATE, PRECOPY, STOPCOPY, BANDWIDTH, LIMIT,
	ITERATIONS, TOTAL, BYTES, DOWNTIME, BROWNOUT, LEFT, NEEDED_DOWNTIME,
	NEEDED_BANDWIDTH, DEVICE, FLAGS,
};

static const struct out_field fields[] = {
	[CONVERGES] = { "converges", "converges", 0, OUT_TEXT },
	[REASON] = { "reason", "  reason", 0, OUT_TEXT },
	[MEMORY] = { "memory_bytes", "memory with data", 0, OUT_BYTES },
	[ZERO] = { "zero_bytes", "  of it zero", 0, OUT_BYTES },
	[RATE] = { "dirty_bytes_per_second", "dirty rate", 0, OUT_RATE },
	[PRECOPY] = { "device_precopy_bytes", "devices, running", 0, OUT_BYTES },
	[STOPCOPY] = { "device_stopcopy_bytes", "devices, stopped", 0, OUT_BYTES },
	[BANDWIDTH] = { "bandwidth_bytes_per_second", "bandwidth", 0, OUT_RATE },
	[LIMIT] = { "downtime_limit_ns", "downtime limit", 0, OUT_TIME },
	[ITERATIONS] = { "iterations", "iterations", 0, OUT_NUMBER },
	[TOTAL] = { "total_ns", "total time", 0, OUT_TIME },
	[BYTES] = { "sent_bytes", "sent", 0, OUT_BYTES },
	[DOWNTIME] = { "downtime_ns", "downtime", 0, OUT_TIME },
	[BROWNOUT] = { "brownout_ns", "brownout", 0, OUT_TIME },
	[LEFT] = { "left_bytes", "left at the end", 0, OUT_BYTES },
	[NEEDED_DOWNTIME] = { "needed_downtime_ns", "least downtime limit", 0, OUT_TIME },
	[NEEDED_BANDWIDTH] = { "needed_bytes_per_second", "least bandwidth", 0, OUT_RATE },
	[DEVICE] = { "device", "  of unknown size", 0, OUT_TEXT },
	[FLAGS] = { "flags", "flags", 0, OUT_TEXT },
};

static void out_forecast(struct output *out, const struct measurement *measured,
			 const struct forecast_guest *guest,
			 const struct policy_limits *limits,
			 const struct forecast *forecast)
{
	const struct flag_text *text;

	out_begin(out, OUT_RECORD, "forecast");
	out_bool(out, &fields[CONVERGES], forecast->converges);
	out_text(out, &fields[REASON], policy_reason_name(forecast->reason));
	out_uint(out, &fields[MEMORY], measured->data);
	out_uint(out, &fields[ZERO], measured->zero);
	out_uint(out, &fields[RATE], per_second(measured->dirty, measured->elapsed));
	out_uint(out, &fields[PRECOPY], guest->precopy);
	out_uint(out, &fields[STOPCOPY], guest->stopcopy);
	if (guest->unknown)
		out_text(out, &fields[DEVICE], guest->unknown);
	out_uint(out, &fields[BANDWIDTH], limits->bandwidth);
	out_uint(out, &fields[LIMIT], limits->downtime);
	out_uint(out, &fields[ITERATIONS], forecast->iterations);
	out_known(out, &fields[TOTAL], forecast->total);
	out_uint(out, &fields[BYTES], forecast->bytes);
	out_known(out, &fields[DOWNTIME], forecast->downtime);
	out_uint(out, &fields[BROWNOUT], forecast->brownout);
	out_known(out, &fields[LEFT], forecast->left);
	out_known(out, &fields[NEEDED_DOWNTIME], forecast->needed_downtime);
	out_known(out, &fields[NEEDED_BANDWIDTH], forecast->needed_bandwidth);
	out_flags(out, &fields[FLAGS], measured->flags);
	out_end(out);
	for (text = flag_texts; text->flag; text++) {
		if (text->meaning && measured->flags & text->flag)
			out_say(out, "%s: %s", text->name, text->meaning);
	}
}

static int refuse(const struct forecast_guest *guest, const struct forecast *forecast,
		  struct error *err)
{
	struct policy_action why = {
		.reason = forecast->reason,
		.advice = guest->unknown ? POLICY_ADVICE_DEVICE : POLICY_ADVICE_NONE,
		.source = guest->unknown,
	};
	char text[200];

	error_set(err, EXIT_TIMEOUT, "a migration would not converge: %s",
		  policy_reason_name(forecast->reason));
	if (guest->unknown) {
		policy_advise(text, sizeof(text), &why);
		return error_advise(err, "%s", text);
	}
	if (forecast->needed_downtime == POLICY_UNKNOWN)
		return error_advise(err, "allow more time, or move it when it writes less");
	policy_advise_limits(text, sizeof(text), forecast->needed_downtime,
			     forecast->needed_bandwidth);
	return error_advise(err, "%s", text);
}

static void say_start(struct output *out, const struct forecast_options *options,
		      const struct track_target *target)
{
	char duration[UNIT_TEXT_SIZE];

	out_say(out, "Looking at process %d for %s.\n", target->pid,
		format_time(duration, options->target.duration_ns));
}

static int forecast(struct output *out, const struct forecast_options *options,
		    struct tracker *tracker, struct track_target *target,
		    struct track_devices *devices, struct error *err)
{
	struct measurement measured = {};
	struct forecast_guest guest;
	struct forecast result;

	if (add_memory(tracker, target, err) ||
	    (options->target.qmp &&
	     track_devices_find(devices, tracker, target->pid, err)))
		return -1;
	say_start(out, options, target);
	out_track_devices(out, devices);
	if (options->target.dma_log)
		track_dma_start(out, devices, tracker, target->ranges,
				target->n_ranges);
	if (forecast_measure(&measured, tracker, target->pid, &options->target, err) ||
	    forecast_data(&measured, target, err))
		return -1;
	guest = (struct forecast_guest) {
		.memory = measured.data - measured.zero,
		.points = measured.points,
		.n = measured.n,
	};
	add_devices(&guest, tracker, devices);
	forecast_make(&result, &guest, &options->limits);
	out_windows(out, &measured);
	out_forecast(out, &measured, &guest, &options->limits, &result);
	return result.converges ? 0 : refuse(&guest, &result, err);
}

int cmd_forecast(struct output *out, int argc, char **argv, struct error *err)
{
	struct track_devices devices = {};
	struct forecast_options options;
	struct track_target target;
	struct tracker tracker;
	int ret = -1;

	if (options_parse(&options, argc, argv, err))
		goto out_options;
	if (tracker_open(&tracker, err))
		goto out_options;
	ret = track_target_find(&target, &options.target, err);
	if (!ret)
		ret = forecast(out, &options, &tracker, &target, &devices, err);
	track_devices_free(&devices);
	track_target_free(&target);
	tracker_close(&tracker);
out_options:
	track_options_free(&options.target);
	return ret;
}
