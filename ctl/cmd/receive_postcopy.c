// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Post-copy, seen from the destination: its VMM's userfaultfd tells what is touched, and
 * a source whose connection is lost may come back.
 */
#include <gnutls/gnutls.h>
#include <string.h>
#include <unistd.h>

#include "cmd/receive.h"
#include "common/clock.h"

/* Of a source that may have its guest again, or has all been taken from. */
#define RETURN_TIMEOUT	(20 * NS_PER_S)

/* Block N of the stream is some back end of the VMM, whose regions are in their order. */
static int regions_place(struct reception *r, struct error *err)
{
	uint64_t base = 0;
	size_t i, j;

	if (r->offer.n != r->n_memory)
		return error_set(err, EXIT_VMM, "the VMM registered %zu regions, and has %zu",
				 r->offer.n, r->n_memory);
	for (i = 0; i < r->receiver.nblocks; i++) {
		for (j = 0; j < r->n_memory; j++) {
			if (!strcmp(r->memory[j].id, r->blocks[i].name))
				r->offer.regions[j].offset = base;
		}
		base += r->blocks[i].size;
	}
	return 0;
}

/**
 * receive_postcopy_prepare() - have the VMM's userfaultfd, in case it comes to that
 * @r: agreed
 * @err: why it failed
 *
 * Before the VMM loads its state: it does nothing else meanwhile.
 *
 * Return: 0 or -1.
 */
int receive_postcopy_prepare(struct reception *r, struct error *err)
{
	return r->urgent ? r->ops->userfaultfd(r->vmm, UFFD_MISSING, &r->offer, err) : 0;
}

/* It has not come to that: the guest has all of its memory. */
int receive_postcopy_forgo(struct reception *r, struct error *err)
{
	if (!r->urgent)
		return 0;
	uffd_offer_free(&r->offer);
	return r->ops->release(r->vmm, err);
}

static int fetch_prepare(struct reception *r, struct error *err)
{
	if (intake_rests(&r->intake, err) ||
	    regions_place(r, err) ||
	    fetch_open(&r->fetch, &r->receiver, r->offer.regions, r->offer.n, err))
		return -1;
	return intake_redirect(&r->intake, &fetch_intake, &r->fetch, err);
}

int receive_missing(struct reception *r, const struct wire_frame *frame,
		    struct error *err)
{
	if (!r->fetch.receiver && fetch_prepare(r, err))
		return -1;
	return fetch_missing(&r->fetch, frame, r->payload, err);
}

static int say_ready(struct reception *r, struct error *err)
{
	const struct wire_frame frame = { .type = WIRE_READY };

	return channel_send(&r->channel, &frame, NULL, err);
}

/**
 * receive_postcopy() - all that is missing was said, or the source has come back
 * @r: WIRE_POSTCOPY came
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int receive_postcopy(struct reception *r, struct error *err)
{
	int fd = r->offer.fd;

	/* What was awaited is asked for first: what comes unasked would be dropped till then. */
	if (r->fetch.uffd)
		return fetch_received(&r->fetch, &r->channel, err) ||
		       fetch_resume(&r->fetch, &r->link, err) || say_ready(r, err) ? -1 : 0;
	r->offer.fd = -1;
	r->missing = r->fetch.missing * WIRE_PAGE_SIZE;
	if (fetch_start(&r->fetch, fd, &r->link, err))
		return -1;
	return say_ready(r, err);
}

bool receive_lacks(const struct reception *r)
{
	return r->resumed && r->fetch.uffd && fetch_left(&r->fetch);
}

bool receive_is_lost(struct reception *r, const struct error *err)
{
	return r->fetch.uffd && r->loaded && !r->cancelled && err->code == EXIT_PEER;
}

/* Is it the source again? It knows the id, and is who it was. */
static int check_recover(void *data, struct channel *channel,
			 const struct wire_frame *frame, const char *payload,
			 struct error *err)
{
	struct reception *r = data;
	uint8_t id[WIRE_ID_SIZE];
	struct error ignored;
	json_t *text;
	int ret;

	if (frame->type != WIRE_RECOVER)
		return error_set(err, EXIT_PEER, "%s: a migration goes on here already",
				 channel->peer);
	text = json_loads(payload, 0, NULL);
	ret = link_parse_id(json_string_value(json_object_get(text, "id")), id) ||
	      gnutls_memcmp(id, r->id, sizeof(id));
	json_decref(text);
	if (ret)
		return error_set(err, EXIT_PEER, "%s: not of this migration", channel->peer);
	if (!channel_same_peer(&r->channel, channel, &ignored))
		return 0;
	return error_set(err, EXIT_PERMISSION, "%s: another peer than the source", channel->peer);
}

/* Then it is told that its guest never ran: there has to be time for that, too. */
static uint64_t return_timeout(const struct reception *r)
{
	uint64_t half = r->options->doubt_timeout / 2;

	return r->resumed || half > RETURN_TIMEOUT ? RETURN_TIMEOUT : half;
}

static int door_wait_again(struct reception *r, struct error *err)
{
	struct channel channel;

	r->door.ops.check = check_recover;
	r->door.ops.check_data = r;
	r->door.until = receive_lacks(r) ? 0 : now_ns() + return_timeout(r);
	if (receive_meet(r, &channel, err))
		return -1;
	channel_close(&r->channel);
	channel_move(&r->channel, &channel);
	return 0;
}

/**
 * receive_wait_again() - wait for a source whose connection is lost
 * @r: a connection has ended
 * @err: why; and why the source does not come
 *
 * As long as it takes if the guest runs here and lacks memory: nobody else has it. Else
 * the source may have all it wants, or its guest again.
 *
 * Return: 0 if it is there, or -1.
 */
int receive_wait_again(struct reception *r, struct error *err)
{
	struct error later;

	if (!receive_is_lost(r, err))
		return -1;
	/* Ctrl-C was not taken while there was a source. */
	signals_drain(r->signals);
	out_say(r->out, "The connection is lost (%s): waiting for the source.", err->message);
	receive_out_postcopy(r, POSTCOPY_PAUSED, err->message, fetch_left(&r->fetch));
	fflush(r->out->stream);
	r->received_before += r->intake.bytes;
	intake_free(&r->intake);
	r->broken = false;
	if (!door_wait_again(r, &later)) {
		r->recoveries++;
		out_say(r->out, "The source is back.");
		receive_out_postcopy(r, POSTCOPY_RECOVERED, NULL, fetch_left(&r->fetch));
		fflush(r->out->stream);
		return 0;
	}
	if (later.code == EXIT_GONE) {
		*err = later;
		return -1;
	}
	/* It is not missed: all that it has is here. */
	if (r->resumed && !receive_lacks(r))
		receive_postcopy_end(r, &later);
	return -1;
}

int receive_agree_again(struct reception *r, struct error *err)
{
	if (receive_open_link(r, err))
		return -1;
	intake_divert(&r->intake, &fetch_intake, &r->fetch);
	if (receive_accept(r, err))
		return -1;
	return link_listen(&r->link, &r->door, err);
}

/**
 * receive_postcopy_end() - all memory is here: the VMM's memory is its own
 * @r: the last barrier was passed, or there was no post-copy
 * @err: why it is not
 *
 * Return: 0 or -1.
 */
int receive_postcopy_end(struct reception *r, struct error *err)
{
	if (!r->fetch.uffd)
		return 0;
	if (r->intake.link && intake_close(&r->intake, err))
		return -1;
	if (fetch_finish(&r->fetch, err) || r->ops->release(r->vmm, err))
		return -1;
	__atomic_store_n(&r->bound, false, __ATOMIC_RELAXED);
	uffd_blocktime(r->fetch.uffd, &r->blocktime);
	fetch_close(&r->fetch);
	return 0;
}

void receive_postcopy_close(struct reception *r)
{
	fetch_close(&r->fetch);
	uffd_offer_free(&r->offer);
}
