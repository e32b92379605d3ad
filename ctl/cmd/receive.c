// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/privileges.h"
#include "cmd/reason.h"
#include "cmd/receive.h"

const char receive_usage[] =
	"migctl receive [OPTIONS] --listen ADDRESS --qmp|--vmm SOCKET\n"
	"\n"
	"Take over one guest from a migctl migrate. QEMU waits for it with -incoming\n"
	"defer -S, and the same machine and memory as at the source. If it fails before\n"
	"the guest is handed over, this VMM is ended: what it has is half a guest.\n"
	"\n"
	"  --listen ADDRESS     unix:PATH or HOST:PORT\n"
	"  --qmp SOCKET         the destination QEMU's QMP socket\n"
	"  --vmm SOCKET         that of a VMM which hands over its memory itself\n"
	SECURITY_USAGE
	"  -j, --json           one JSON object a line, in bytes and nanoseconds";

/* How long the watching thread outlives the connection. */
#define WATCH_MS	100

enum { OPTION_QMP = 256, OPTION_VMM, OPTION_LISTEN };

static int options_parse(struct receive_options *options, int argc, char **argv,
			 struct error *err)
{
	static const struct option longs[] = {
		{ "qmp", required_argument, NULL, OPTION_QMP },
		{ "vmm", required_argument, NULL, OPTION_VMM },
		{ "listen", required_argument, NULL, OPTION_LISTEN },
		SECURITY_OPTIONS,
		COMMON_OPTIONS
	};
	int option, ret;

	*options = (struct receive_options){};
	while ((option = option_next(argc, argv, ":j", longs, err))) {
		ret = option < 0 ? -1 : 0;
		if (option == OPTION_QMP)
			ret = choice_take(&options->guest, &vmm_driver_qemu, optarg, err);
		else if (option == OPTION_VMM)
			ret = choice_take(&options->guest, &vmm_driver_handover, optarg, err);
		else if (option == OPTION_LISTEN)
			options->listen = optarg;
		else if (!ret)
			ret = security_option(&options->security, option, optarg, err);
		if (ret)
			return -1;
	}
	if (option_end(argc, argv, err))
		return -1;
	if (options->guest.socket && options->listen)
		return 0;
	error_set(err, EXIT_USAGE, "receive: %s",
		  options->guest.socket ? "listen where?" : "into which VMM?");
	return error_advise(err, "give --listen ADDRESS, and --qmp SOCKET or --vmm SOCKET; see migctl receive --help");
}

void receive_break_off(struct reception *r, const struct error *err)
{
	if (__atomic_exchange_n(&r->broken, true, __ATOMIC_RELAXED))
		return;
	r->why = *err;
	if (!receive_is_lost(r, err))
		reason_send(&r->channel, WIRE_FAILED, err);
	channel_stop(&r->channel);
}

/* Ctrl-C, or the end of the VMM, end what waits for the source. */
static void *watch_thread(void *data)
{
	struct reception *r = data;
	struct pollfd fds[] = {
		{ .fd = r->signals, .events = POLLIN },
		{ .fd = r->vmm_fd, .events = POLLIN },
	};
	struct error err;

	do {
		if (channel_stopped(&r->channel))
			return NULL;
		/* Who lets it go now ends a guest that nobody else has. */
		fds[0].fd = __atomic_load_n(&r->bound, __ATOMIC_RELAXED) ? -1 : r->signals;
	} while (poll(fds, ARRAY_SIZE(fds), WATCH_MS) <= 0);
	if (fds[0].revents)
		error_set(&err, EXIT_CANCELLED, "interrupted at the destination");
	else
		error_set(&err, EXIT_GONE, "the destination's VMM has ended");
	receive_break_off(r, &err);
	return NULL;
}

static int open_vmm(struct reception *r, struct error *err)
{
	if (choice_open(&r->options->guest, &r->vmm, err))
		return -1;
	r->vmm_fd = (int)syscall(SYS_pidfd_open, r->vmm->pid, 0);
	if (r->vmm_fd < 0)
		return error_set(err, EXIT_VMM, "process %d: %s", r->vmm->pid,
				 strerror(errno));
	if (r->ops->check_destination(r->vmm, err))
		return -1;
	return r->vmm->ops->memory(r->vmm, &r->memory, &r->n_memory, err);
}

static int open_destination(struct reception *r, struct error *err)
{
	r->payload = malloc(WIRE_MAX_PAYLOAD + 1);
	if (!r->payload)
		return error_set(err, EXIT_FAILED, "out of memory");
	r->signals = signals_open(err);
	if (r->signals < 0 ||
	    security_open(&r->secured, &r->options->security, NULL, err) ||
	    open_vmm(r, err))
		return -1;
	if (receive_listen(r, err))
		return -1;
	/* All is open that needed a privilege; strangers come only now. */
	return privileges_drop(err);
}

enum { RESULT, TOTAL, PAGES, ZEROS, BYTES, MISSING, WAITS, WAITED, LONGEST, THREADS,
       HISTOGRAM, RECOVERIES, CHECKED };

static const struct out_field summary[] = {
	[RESULT] = { "result", "migration", 0, OUT_TEXT },
	[TOTAL] = { "total_ns", "total time", 0, OUT_TIME },
	[PAGES] = { "pages", "pages", 0, OUT_NUMBER },
	[ZEROS] = { "zero_pages", "zero pages", 0, OUT_NUMBER },
	[BYTES] = { "received_bytes", "received", 0, OUT_BYTES },
	[MISSING] = { "postcopy_bytes", "came after the guest ran", 0, OUT_BYTES },
	[WAITS] = { "blocktime_waits", "  waits for a page", 0, OUT_NUMBER },
	[WAITED] = { "blocktime_ns", "  of all threads", 0, OUT_TIME },
	[LONGEST] = { "blocktime_max_ns", "  the longest", 0, OUT_TIME },
	[THREADS] = { "blocktime_threads", NULL, 0, OUT_TEXT },
	[HISTOGRAM] = { "blocktime_us_log2", NULL, 0, OUT_TEXT },
	[RECOVERIES] = { "postcopy_recoveries", "  connected again", 0, OUT_NUMBER },
	[CHECKED] = { "source_done", NULL, 0, OUT_TEXT },
};

static json_t *threads_json(const struct blocktime *blocktime)
{
	const struct blocktime_thread *thread = blocktime->threads;
	json_t *threads = json_array();

	for (; thread < blocktime->threads + blocktime->n_threads; thread++)
		json_array_append_new(threads, json_pack("{s:i, s:I, s:I, s:I}",
			"tid", (int)thread->tid,
			"waits", (json_int_t)thread->sum.waits,
			"total_ns", (json_int_t)thread->sum.total_ns,
			"max_ns", (json_int_t)thread->sum.max_ns));
	return threads;
}

/* How many took less than 1, 2, 4... us. */
static json_t *histogram_json(const struct blocktime *blocktime)
{
	json_t *buckets = json_array();
	size_t i;

	for (i = 0; i < BLOCKTIME_BUCKETS; i++)
		json_array_append_new(buckets, json_integer((json_int_t)blocktime->buckets[i]));
	return buckets;
}

static void out_postcopy(struct reception *r)
{
	const struct blocktime *blocktime = &r->blocktime;
	struct output *out = r->out;

	out_uint(out, &summary[MISSING], r->missing);
	out_uint(out, &summary[WAITS], blocktime->sum.waits);
	out_uint(out, &summary[WAITED], blocktime->sum.total_ns);
	out_uint(out, &summary[LONGEST], blocktime->sum.max_ns);
	out_json(out, &summary[THREADS], threads_json(blocktime), NULL);
	out_json(out, &summary[HISTOGRAM], histogram_json(blocktime), NULL);
	out_uint(out, &summary[RECOVERIES], r->recoveries);
}

static void out_summary(struct reception *r)
{
	struct output *out = r->out;

	out_begin(out, OUT_RECORD, "summary");
	out_text(out, &summary[RESULT], r->resumed ? "completed" : "failed");
	out_uint(out, &summary[TOTAL], clock_ns(CLOCK_MONOTONIC) - r->started);
	out_uint(out, &summary[PAGES], r->receiver.pages);
	out_uint(out, &summary[ZEROS], r->receiver.zero_pages);
	out_uint(out, &summary[BYTES], r->received_before + r->intake.bytes);
	if (r->missing)
		out_postcopy(r);
	out_bool(out, &summary[CHECKED], r->done);
	out_end(out);
}

/* A connection, from what is agreed to its end. */
static int connection(struct reception *r,
		      int (*agree)(struct reception *r, struct error *err),
		      struct error *err)
{
	pthread_t thread;
	int ret;

	if (pthread_create(&thread, NULL, watch_thread, r))
		return error_set(err, EXIT_FAILED, "can't make a thread");
	ret = agree(r, err);
	if (ret) {
		reason_send(&r->channel, WIRE_REFUSE, err);
	} else {
		ret = receive_run(r, err);
		if (ret && !receive_is_lost(r, err))
			reason_send(&r->channel, WIRE_FAILED, err);
	}
	channel_stop(&r->channel);
	if (r->fetch.receiver && r->link.control)
		fetch_lost(&r->fetch, &r->link);
	link_close(&r->link);
	pthread_join(thread, NULL);
	if (ret && r->broken)
		*err = r->why;
	return ret;
}

static int receive(struct reception *r, struct error *err)
{
	int ret;

	out_say(r->out, "Process %d (%s %s) waits for a guest at %s.",
		r->vmm->pid, r->vmm->ops->name, r->vmm->version, r->options->listen);
	fflush(r->out->stream);
	if (receive_wait(r, err))
		return -1;
	r->started = clock_ns(CLOCK_MONOTONIC);
	out_say(r->out, "Receiving from %s.", r->channel.peer);
	ret = connection(r, receive_agree, err);
	while (ret && !receive_wait_again(r, err))
		ret = connection(r, receive_agree_again, err);
	out_summary(r);
	return ret;
}

/*
 * A guest that runs here is ours, whatever becomes of the connection. Half a
 * guest is nobody's: nobody shall let it run by mistake.
 */
static int settle(struct reception *r, int ret, struct error *err)
{
	struct error more;

	if (r->saved && r->resumed && r->ops->restore(r->vmm, r->saved, &more))
		out_error(r->out, &more);
	if (!ret)
		return 0;
	if (r->resumed && !receive_lacks(r))
		return error_advise(err, "the guest runs here; the source did not say whether its memory was compared");
	if (!r->started)
		return ret;
	/* Advice on the cause is worth more than this. */
	if (!r->ops->quit(r->vmm, &more) && !err->advice[0])
		error_advise(err, "the destination VMM was ended: start it again to try again");
	return ret;
}

static void reception_close(struct reception *r)
{
	receive_postcopy_close(r);
	relay_close(&r->relay);
	intake_free(&r->intake);
	receiver_close(&r->receiver);
	channel_close(&r->channel);
	door_close(&r->door);
	security_close(&r->secured);
	vmm_memory_free(r->memory, r->n_memory);
	json_decref(r->saved);
	if (r->vmm)
		r->vmm->ops->close(r->vmm);
	if (r->signals >= 0)
		close(r->signals);
	if (r->vmm_fd >= 0)
		close(r->vmm_fd);
	free(r->blocks);
	free(r->payload);
}

int cmd_receive(struct output *out, int argc, char **argv, struct error *err)
{
	struct receive_options options;
	struct reception r = {
		.out = out,
		.options = &options,
		.door.fd = -1,
		.offer.fd = -1,
		.channel.fd = -1,
		.relay.fd = -1,
		.relay.vmm_fd = -1,
		.signals = -1,
		.vmm_fd = -1,
	};
	int ret;

	if (options_parse(&options, argc, argv, err))
		return -1;
	r.ops = options.guest.driver->migration;
	ret = open_destination(&r, err);
	if (!ret)
		ret = receive(&r, err);
	ret = settle(&r, ret, err);
	reception_close(&r);
	return ret;
}
