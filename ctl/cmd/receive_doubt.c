// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The connection died, and the source may have said GO. It can't know what became of
 * that, so this side listens again and says it: the guest runs here; or it never did,
 * and the VMM that could have run it has ended.
 */
#include <gnutls/gnutls.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cmd/reason.h"
#include "cmd/receive.h"
#include "common/clock.h"

#define RETRY_MS	500
#define ACK_TIMEOUT_MS	10000

/* Before the guest was loaded here no source says GO; and one that heard does not ask. */
static bool may_be_asked(const struct reception *r)
{
	return r->loaded && !r->known;
}

/* Told to run the guest, it may have, whatever it said. */
static bool never_ran(struct reception *r)
{
	struct pollfd pollfd = { .fd = r->vmm_fd, .events = POLLIN };
	struct error ignored;

	if (r->told)
		return false;
	r->ops->quit(r->vmm, &ignored);
	return poll(&pollfd, 1, QUIT_TIMEOUT_MS) > 0;
}

/* Nobody but the source, of this migration. */
static int check_ask(void *data, struct channel *channel,
		     const struct wire_frame *frame, const char *payload,
		     struct error *err)
{
	struct reception *r = data;

	if (frame->type != WIRE_ASK)
		return error_set(err, EXIT_PEER, "%s: this migration is in doubt, no other one begins here",
				 channel->peer);
	if (gnutls_memcmp(payload, r->id, WIRE_ID_SIZE))
		return error_set(err, EXIT_PEER, "%s: not of this migration",
				 channel->peer);
	return channel_same_peer(&r->channel, channel, err);
}

static bool interrupted(const struct reception *r, int timeout_ms)
{
	struct pollfd pollfd = { .fd = r->signals, .events = POLLIN };

	return poll(&pollfd, 1, timeout_ms) > 0;
}

/* The address may be another one's by now: until it is free again. */
static int listen_again(struct reception *r, uint64_t until)
{
	struct error ignored;

	/* With post-copy it is open still, for a source that comes back. */
	door_close(&r->door);
	while (receive_listen(r, &ignored)) {
		door_close(&r->door);
		if (now_ns() >= until || interrupted(r, RETRY_MS))
			return -1;
	}
	r->door.ops.check = check_ask;
	r->door.ops.check_data = r;
	r->door.until = until;
	return 0;
}

/* The source is there again: the connection is the one to it. */
static int meet(struct reception *r, uint64_t until)
{
	struct wire_frame frame;
	struct channel channel;
	struct error ignored;
	int ret;

	if (listen_again(r, until))
		return -1;
	ret = door_wait(&r->door, &channel, &frame, r->payload, r->signals, &ignored);
	door_close(&r->door);
	if (ret)
		return -1;
	channel_close(&r->channel);
	channel_move(&r->channel, &channel);
	return 0;
}

/* It runs its guest again when it has this, and says so; else it asks once more. */
static bool tell_never(struct reception *r, const struct error *why)
{
	struct wire_frame frame;
	struct error ignored;

	reason_send(&r->channel, WIRE_NEVER, why);
	channel_expect(&r->channel, ACK_TIMEOUT_MS);
	return !channel_receive(&r->channel, &frame, r->payload, &ignored);
}

int receive_doubt(struct reception *r, const struct error *why)
{
	uint64_t until = now_ns() + r->options->doubt_timeout;
	struct wire_frame frame = { .type = WIRE_RUNNING };
	struct error ignored;

	if (!may_be_asked(r) || (!r->resumed && !never_ran(r)))
		return -1;
	out_say(r->out, "In doubt: the handover was interrupted (%s). The guest %s here; the source is waited for.",
		why->message, r->resumed ? "is" : "never ran");
	fflush(r->out->stream);
	/* What broke it off was an interrupt, maybe; the next one ends this. */
	signals_drain(r->signals);
	while (!meet(r, until)) {
		if (r->resumed && !channel_send(&r->channel, &frame, NULL, &ignored))
			return 0;
		if (!r->resumed && tell_never(r, why))
			return -1;
	}
	return -1;
}
