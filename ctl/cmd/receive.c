// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/doubt.h"
#include "cmd/live.h"
#include "cmd/privileges.h"
#include "cmd/reason.h"
#include "cmd/receive.h"
#include "vmm/memfile.h"

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
	DOUBT_USAGE
	"  --allow-readable     also into memory files that other users can read\n"
	"  -j, --json           one JSON object a line, in bytes and nanoseconds";

/* How long the watching thread outlives the connection. */
#define WATCH_MS	100
/* To say why it ends, to a source that may not listen any more. */
#define BREAK_OFF_MS	500

enum { OPTION_QMP = 256, OPTION_VMM, OPTION_LISTEN, OPTION_ALLOW_READABLE, OPTION_DOUBT_TIMEOUT };

static int options_take(struct receive_options *options, int option,
			struct error *err)
{
	switch (option) {
	case OPTION_QMP:
		return choice_take(&options->guest, &vmm_driver_qemu, optarg, err);
	case OPTION_VMM:
		return choice_take(&options->guest, &vmm_driver_handover, optarg, err);
	case OPTION_LISTEN:
		options->listen = optarg;
		return 0;
	case OPTION_ALLOW_READABLE:
		options->allow_readable = true;
		return 0;
	case OPTION_DOUBT_TIMEOUT:
		return option_time("--doubt-timeout", optarg,
				   &options->doubt_timeout, err);
	default:
		return security_option(&options->security, option, optarg, err);
	}
}

static int options_parse(struct receive_options *options, int argc, char **argv,
			 struct error *err)
{
	static const struct option longs[] = {
		{ "qmp", required_argument, NULL, OPTION_QMP },
		{ "vmm", required_argument, NULL, OPTION_VMM },
		{ "listen", required_argument, NULL, OPTION_LISTEN },
		{ "allow-readable", no_argument, NULL, OPTION_ALLOW_READABLE },
		{ "doubt-timeout", required_argument, NULL, OPTION_DOUBT_TIMEOUT },
		SECURITY_OPTIONS,
		COMMON_OPTIONS
	};
	int option;

	*options = (struct receive_options) { .doubt_timeout = DOUBT_TIMEOUT };
	while ((option = option_next(argc, argv, ":j", longs, err))) {
		if (option < 0 || options_take(options, option, err))
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
	channel_hurry(&r->channel, BREAK_OFF_MS);
	if (!receive_is_lost(r, err))
		reason_send(&r->channel, WIRE_FAILED, err);
	/* The thread that delivers it may wait for a VMM that does not read. */
	relay_break(&r->relay);
	channel_stop(&r->channel);
}

/*
 * Ctrl-C, or the end of the VMM, end what waits for the source. Meanwhile this thread is
 * the one that shows how far it is.
 */
static void *watch_thread(void *data)
{
	struct reception *r = data;
	struct pollfd fds[] = {
		{ .fd = r->signals, .events = POLLIN },
		{ .fd = r->vmm_fd, .events = POLLIN },
	};
	struct error err;

	for (;;) {
		/* Who lets it go now ends a guest that nobody else has. */
		fds[0].fd = __atomic_load_n(&r->bound, __ATOMIC_RELAXED) ? -1 : r->signals;
		if (poll(fds, ARRAY_SIZE(fds), WATCH_MS) > 0)
			break;
		if (!__atomic_load_n(&r->talking, __ATOMIC_RELAXED) ||
		    channel_stopped(&r->channel))
			return NULL;
		receive_out_look(r);
	}
	if (fds[0].revents)
		error_set(&err, EXIT_CANCELLED, "interrupted at the destination");
	else
		receive_gone(r, &err);
	receive_break_off(r, &err);
	return NULL;
}

/* The guest's memory shall be there: who may read it? */
static int check_readers(const struct reception *r, struct error *err)
{
	const struct vmm_memory *memory;
	const char *readers;
	size_t i;

	for (i = 0; i < r->n_memory && !r->options->allow_readable; i++) {
		memory = &r->memory[i];
		readers = memory->fd < 0 ? NULL : memfile_readers(memory->fd);
		if (!readers)
			continue;
		error_set(err, EXIT_PERMISSION, "memory %s: %s can read its file %s, and so all that the guest has in its memory",
			  memory->id, readers, memory->path);
		return error_advise(err, "chmod 600 that file, or give --allow-readable");
	}
	return 0;
}

/* From here on nobody else gives it a guest, or moves it away before we are through. */
static int lock_vmm(struct reception *r, struct error *err)
{
	if (!lock_take(&r->lock, r->vmm->pid, err))
		return 0;
	/* One that has a VMM which waits for a guest has no session that could be cancelled. */
	if (err->code == EXIT_VMM)
		error_advise(err, "wait until that has ended, or start another VMM for this guest");
	return -1;
}

static int open_vmm(struct reception *r, struct error *err)
{
	if (choice_open(&r->options->guest, &r->vmm, err) || lock_vmm(r, err))
		return -1;
	r->vmm_fd = (int)syscall(SYS_pidfd_open, r->vmm->pid, 0);
	if (r->vmm_fd < 0)
		return error_set(err, EXIT_VMM, "process %d: %s", r->vmm->pid,
				 strerror(errno));
	if (r->ops->check_destination(r->vmm, err))
		return -1;
	if (r->vmm->ops->memory(r->vmm, &r->memory, &r->n_memory, err))
		return -1;
	return check_readers(r, err) ||
	       vmm_memory_alone(r->vmm, r->memory, r->n_memory, err) ? -1 : 0;
}

static int open_destination(struct reception *r, struct error *err)
{
	r->payload = malloc(WIRE_MAX_PAYLOAD + 1);
	if (!r->payload)
		return error_set(err, EXIT_FAILED, "out of memory");
	r->signals = signals_open_for_guest(err);
	if (r->signals < 0 ||
	    security_open(&r->secured, &r->options->security, NULL, err) ||
	    open_vmm(r, err))
		return -1;
	if (receive_listen(r, err))
		return -1;
	/* All is open that needed a privilege; strangers come only now. */
	return privileges_drop(err);
}

/* What was asked of a VMM that has ended failed, and says less than that. */
static void tell(struct reception *r, enum wire_type type, struct error *err)
{
	if (err->code == EXIT_VMM && receive_vmm_ended(r))
		receive_gone(r, err);
	reason_send(&r->channel, type, err);
}

static int run(struct reception *r, struct error *err)
{
	if (!receive_run(r, err))
		return 0;
	/* A source that has called it off knows why. */
	if (!r->cancelled && !receive_is_lost(r, err))
		tell(r, WIRE_FAILED, err);
	return -1;
}

static int agree_and_run(struct reception *r, struct error *err)
{
	if (!receive_agree(r, err))
		return run(r, err);
	tell(r, WIRE_REFUSE, err);
	return -1;
}

static int agree_again_and_run(struct reception *r, struct error *err)
{
	if (!receive_agree_again(r, err))
		return run(r, err);
	tell(r, WIRE_REFUSE, err);
	return -1;
}

/* Talk to the source, and watch the VMM meanwhile. */
static int attend(struct reception *r, int (*what)(struct reception *r, struct error *err),
		  struct error *err)
{
	pthread_t thread;
	int ret;

	r->broken = false;
	r->talking = true;
	if (pthread_create(&thread, NULL, watch_thread, r))
		return error_set(err, EXIT_FAILED, "can't make a thread");
	ret = what(r, err);
	if (ret)
		channel_stop(&r->channel);
	if (r->fetch.receiver && r->link.control)
		fetch_lost(&r->fetch, &r->link);
	link_end(&r->link);
	__atomic_store_n(&r->talking, false, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	if (ret && r->broken)
		*err = r->why;
	return ret;
}

/*
 * Each connection to the source: with post-copy it may come back for what is missing,
 * else to hear what became of its guest. With post-copy, too, if that never ran.
 */
static int talk(struct reception *r, struct error *err)
{
	int ret = attend(r, agree_and_run, err);

	while (ret) {
		bool postcopy = r->fetch.uffd;

		if (receive_is_lost(r, err)) {
			link_close(&r->link);
			if (!receive_wait_again(r, err)) {
				ret = attend(r, agree_again_and_run, err);
				continue;
			}
		}
		if ((postcopy && (r->told || r->resumed)) || receive_doubt(r, err))
			return -1;
		ret = attend(r, run, err);
	}
	return 0;
}

static int receive(struct reception *r, struct error *err)
{
	int ret;

	out_say(r->out, "Process %d (%s %s) waits for a guest at %s.",
		r->vmm->pid, r->vmm->ops->name, r->vmm->version, r->options->listen);
	fflush(r->out->stream);
	if (receive_meet(r, &r->channel, err))
		return -1;
	r->started = clock_ns(CLOCK_MONOTONIC);
	receive_out_start(r);
	ret = talk(r, err);
	channel_stop(&r->channel);
	link_close(&r->link);
	receive_out_summary(r, ret ? err : NULL);
	return ret;
}

/*
 * Nobody has use for a part of a guest, and where its memory has a name it would stay, with
 * all that is in it.
 */
static void forget(struct reception *r)
{
	struct pollfd pollfd = { .fd = r->vmm_fd, .events = POLLIN };
	struct error ignored;
	uint32_t i;

	if (r->vmm_fd < 0 || poll(&pollfd, 1, QUIT_TIMEOUT_MS) <= 0)
		return;
	for (i = 0; i < r->receiver.nblocks; i++)
		receiver_punch(&r->receiver, i, 0,
			       r->receiver.blocks[i].size / WIRE_PAGE_SIZE, &ignored);
}

/*
 * A guest that runs here is ours, whatever becomes of the connection. Half a
 * guest is nobody's: nobody shall let it run by mistake.
 */
static int settle(struct reception *r, int ret, struct error *err)
{
	struct error more;

	if (!ret)
		return 0;
	if (r->resumed && !receive_lacks(r) && receive_vmm_ended(r))
		return ret;
	if (r->resumed && !receive_lacks(r)) {
		/* All of its memory is here, and not ours to lose. */
		intake_free(&r->intake);
		if (receive_postcopy_end(r, &more))
			out_error(r->out, &more);
		return error_advise(err, "the guest runs here; the source did not say whether its memory was compared");
	}
	/* Nothing was done to it, or it is somebody else's by now. */
	if (!r->started || r->spared)
		return ret;
	/* It takes no order while it waits for more of its state. */
	relay_break(&r->relay);
	/* Advice on the cause is worth more than this. */
	if (r->ops->quit(r->vmm, &more) && !receive_vmm_ended(r)) {
		out_error(r->out, &more);
		return error_advise(err, "process %d has a part of a guest, and could not be told to end: end it, it must never run",
				    r->vmm->pid);
	}
	forget(r);
	if (!err->advice[0])
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
	/* Who waits for the VMM's socket is not to find it held. */
	lock_drop(&r->lock);
	if (r->vmm)
		r->vmm->ops->close(r->vmm);
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
		.lock = LOCK_NONE,
		.door.fd = -1,
		.offer.fd = -1,
		.channel.fd = -1,
		.relay.fd = -1,
		.relay.vmm_fd = -1,
		.signals = -1,
		.vmm_fd = -1,
		.lines = live_open(out),
	};
	int ret;

	if (options_parse(&options, argc, argv, err))
		return -1;
	r.ops = options.guest.driver->migration;
	out_never_wait(out);
	ret = open_destination(&r, err);
	if (!ret)
		ret = receive(&r, err);
	ret = settle(&r, ret, err);
	reception_close(&r);
	signals_end(out, r.signals);
	return ret;
}
