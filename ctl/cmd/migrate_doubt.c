// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * GO was sent, or may have been, and no RUNNING came. The guest stays paused here. Who
 * knows is the destination, so it is asked, at the address that it listened on.
 */
#include <poll.h>
#include <string.h>

#include "cmd/doubt.h"
#include "cmd/migrate.h"

#define RETRY_MS	500
#define ANSWER_TIMEOUT	(10 * NS_PER_S)

static int stay_in_doubt(struct migration *m, const char *why, struct error *err)
{
	error_set(err, EXIT_IN_DOUBT,
		  "in doubt: the destination was told to run the guest and did not answer (%.800s)",
		  why);
	return error_advise(err,
			    "the guest stays paused here. See whether it runs at the destination, then: migctl resolve %llu --there, or, only if it does not and never will, --here",
			    (unsigned long long)m->tracker.id);
}

/* The old connection has nothing more to say. */
static void disconnect(struct migration *m)
{
	uint64_t sent = channel_sent(&m->channel);

	peer_end(&m->peer);
	m->device_bytes += m->relay.bytes;
	relay_close(&m->relay);
	channel_close(&m->channel);
	/* What was sent is not forgotten. */
	channel_open(&m->channel, -1, m->options->to);
	m->channel.sent = sent;
}

static int ask(struct migration *m, struct error *err)
{
	struct wire_frame frame = { .type = WIRE_ASK, .length = WIRE_ID_SIZE };
	uint64_t sent = channel_sent(&m->channel);

	if (channel_connect(&m->channel, m->options->to, &m->secured.security, err)) {
		channel_open(&m->channel, -1, m->options->to);
		m->channel.sent = sent;
		return -1;
	}
	m->channel.sent += sent;
	if (!channel_send(&m->channel, &frame, m->id, err) &&
	    !peer_start(&m->peer, &m->channel, &m->relay, err) &&
	    !peer_wait(&m->peer, PEER_ANSWERED, ANSWER_TIMEOUT, m->signals, err))
		return 0;
	disconnect(m);
	return -1;
}

/* Ctrl-C ends the asking, not the doubt. */
static bool wait_and_go_on(const struct migration *m, uint64_t until)
{
	struct pollfd pollfd = { .fd = m->signals, .events = POLLIN };

	return poll(&pollfd, 1, RETRY_MS) <= 0 && clock_ns(CLOCK_MONOTONIC) < until;
}

/* It never ran there and can't any more, so it is ours again. */
static int take_back(struct migration *m, struct error *err)
{
	m->handed_over = false;
	if (m->guard)
		guard_taken_back(m->guard);
	m->phase = MIGTRACK_PHASE_HANDOVER;
	*err = m->peer.err;
	return error_advise(err, "the guest runs on here; its VMM there has ended: start it again to try again");
}

/**
 * migrate_never_ran() - ask the destination once whether the guest never ran there
 * @m: handed over, the connection is lost
 * @err: filled if so, with why it did not
 *
 * Return: true if so, and it can't any more: the guest is ours again.
 */
bool migrate_never_ran(struct migration *m, struct error *err)
{
	struct error ignored;

	disconnect(m);
	if (ask(m, &ignored) || !m->peer.never)
		return false;
	take_back(m, err);
	return true;
}

int migrate_doubt(struct migration *m, struct error *err)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + m->options->doubt_timeout;
	char why[sizeof(err->message)];
	struct error ignored;
	bool answered;

	memcpy(why, err->message, sizeof(why));
	record_set(&m->record, "in-doubt", &ignored);
	migrate_tell_phase(m, MIGTRACK_PHASE_IN_DOUBT);
	migrate_out_action(m, "in doubt: asking the destination whether the guest runs there",
			   NULL);
	disconnect(m);
	/* A Ctrl-C that came too late to call it off is not meant for this. */
	signals_drain(m->signals);
	do {
		answered = !ask(m, &ignored);
	} while (!answered && wait_and_go_on(m, until));
	if (!answered)
		return stay_in_doubt(m, why, err);
	if (m->peer.never)
		return take_back(m, err);
	migrate_tell_phase(m, MIGTRACK_PHASE_HANDOVER);
	record_set(&m->record, "handed-over", &ignored);
	return 0;
}
