// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Post-copy, seen from the source: its guest is stopped for good, and what the
 * destination has not got goes there while the guest runs there. A connection that is
 * lost is made again: there is no way back.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/live.h"
#include "cmd/migrate.h"
#include "common/fault.h"

#define SLICE_BYTES	(1ull << 20)
#define READY_TIMEOUT	(60 * NS_PER_S)
#define RUNNING_TIMEOUT	(30 * NS_PER_S)
#define ACCEPT_TIMEOUT	(10 * NS_PER_S)
/* Between two attempts to reach the destination. */
#define RETRY_MS	500

/**
 * migrate_postcopy_due() - is it time for it?
 * @m: a sync has ended, and what is left does not fit the downtime
 * @decision: filled if so
 *
 * Not before all memory was sent once: each page that the guest finds there it need not
 * wait for.
 */
bool migrate_postcopy_due(struct migration *m, struct policy_decision *decision)
{
	struct policy_decision postcopy = policy_postcopy(&m->policy);

	if (postcopy.verdict != POLICY_SWITCHOVER || !sender_stats(&m->sender).passes)
		return false;
	*decision = postcopy;
	m->postcopy = true;
	return true;
}

/**
 * migrate_left() - what the destination has not got
 * @m: the migration
 *
 * Return: bytes; while there is no connection, what it was when there was one.
 */
uint64_t migrate_left(const struct migration *m)
{
	return m->lost ? m->lost : sender_pending(&m->sender);
}

static int ask_ready(struct migration *m, struct error *err)
{
	struct wire_frame frame = { .type = WIRE_POSTCOPY };

	return channel_send(&m->channel, &frame, NULL, err) ||
	       peer_wait(&m->peer, PEER_READY, READY_TIMEOUT, m->handed_over ? -1 : m->signals,
			 err) ? -1 : 0;
}

/**
 * migrate_postcopy_begin() - instead of the last copy: say what is missing
 * @m: the guest is stopped, the last sync was harvested
 * @err: why it failed
 *
 * From the return on what the destination's VMM touches it gets.
 *
 * Return: 0 or -1.
 */
int migrate_postcopy_begin(struct migration *m, struct error *err)
{
	m->missing = sender_pending(&m->sender);
	if (peer_barrier(&m->peer, &m->sender, err) ||
	    peer_wait(&m->peer, PEER_BARRIER, READY_TIMEOUT, m->signals, err) ||
	    sender_postcopy(&m->sender, err) ||
	    sender_missing(&m->sender, &m->channel, err))
		return -1;
	return ask_ready(m, err);
}

/* ---- what listeners see ---- */

static void left_tell(struct migration *m)
{
	const struct migtrack_counters left = { .postcopy = sender_pending(&m->sender) };

	tracker_left_tell(&m->tracker, &m->left, &left);
}

/*
 * The kernel's numbers are of memory that is moved before the guest runs at the
 * destination. What is missing there is told by a source of its own from now on, and there
 * all of it counts as moved. A failure is none of the migration's.
 */
static void left_begin(struct migration *m)
{
	size_t i;

	tracker_left_open(&m->tracker, &m->left);
	if (!m->left.told)
		return;
	left_tell(m);
	for (i = 0; i < m->n_memory; i++)
		m->tracker.header->moved_bytes[m->tracker.sources[i].map.id] =
			m->blocks[i].moved + m->blocks[i].npending * WIRE_PAGE_SIZE;
}

static void out_news(struct migration *m, enum postcopy_event event, const char *why)
{
	const struct postcopy_news news = {
		.event = event,
		.why = why,
		.recoveries = m->recoveries,
		.left = migrate_left(m),
		.elapsed_ns = clock_ns(CLOCK_MONOTONIC) - m->times.started,
	};

	out_postcopy_news(m->out, &m->run, &news);
}

static void begin(struct migration *m)
{
	m->begun = true;
	left_begin(m);
	out_news(m, POSTCOPY_BEGUN, NULL);
}

/* ---- from the handover on ---- */

/* Who finds the record shall not have the guest run here; it is written when it can be. */
static void keep_record(struct migration *m)
{
	struct error ignored;

	if (!m->recorded)
		m->recorded = !record_set(&m->record, "postcopy", &ignored);
}

/* There is no way back from here on, whatever becomes of us. */
static void runs_there(struct migration *m)
{
	m->times.resumed = clock_ns(CLOCK_MONOTONIC);
	keep_record(m);
}

/* The destination is told until it has answered. */
static int go(struct migration *m, struct error *err)
{
	struct wire_frame frame = {
		.type = WIRE_GO,
		.count = m->ops->ran(m->vmm),
	};

	if (m->times.resumed)
		return 0;
	if (fault("handed-over", err) || channel_send(&m->channel, &frame, NULL, err) ||
	    fault("go", err) ||
	    peer_wait(&m->peer, PEER_RUNNING, RUNNING_TIMEOUT, -1, err))
		return -1;
	runs_there(m);
	return 0;
}

static int move_rest(struct migration *m, struct error *err)
{
	int left;

	if (!m->begun)
		begin(m);
	do {
		if (peer_check(&m->peer, err))
			return -1;
		keep_record(m);
		left = migrate_send(m, SLICE_BYTES, err);
		left_tell(m);
		migrate_out_look(m, false);
	} while (left > 0);
	if (left < 0 || peer_barrier(&m->peer, &m->sender, err))
		return -1;
	return peer_wait(&m->peer, PEER_BARRIER, READY_TIMEOUT, -1, err);
}

/* What was sent over the connections that are gone counts, too. */
static void disconnect(struct migration *m)
{
	m->sent_before += link_sent(&m->link);
	m->lost = migrate_left(m);
	peer_end(&m->peer);
	sender_close(&m->sender);
	link_close(&m->link);
	channel_close(&m->channel);
}

static int say_who(struct migration *m, struct error *err)
{
	char id[2 * WIRE_ID_SIZE + 1];
	json_t *json;
	char *text;
	int ret;

	link_format_id(m->id, id);
	json = json_pack("{s:s}", "id", id);
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!text)
		return error_set(err, EXIT_FAILED, "out of memory");
	ret = channel_send_text(&m->channel, WIRE_RECOVER, text, err);
	free(text);
	return ret;
}

/* What is counted goes on. */
static int open_sender(struct migration *m, struct error *err)
{
	const struct sender_stats stats = m->sender.stats;
	uint64_t *moved = calloc(m->n_memory, sizeof(*moved));
	size_t i;
	int ret;

	if (!moved)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (i = 0; i < m->n_memory; i++)
		moved[i] = m->blocks[i].moved;
	ret = migrate_open_sender(m, err);
	m->sender.stats = stats;
	if (!ret)
		m->lost = 0;
	for (i = 0; !ret && i < m->n_memory; i++) {
		m->blocks[i].moved = moved[i];
		m->blocks[i].empty = false;
	}
	free(moved);
	return ret;
}

/* All is pending again, but for what the destination says it has. */
static int resend(struct migration *m, struct error *err)
{
	if (open_sender(m, err))
		return -1;
	if (sender_first_pass(&m->sender, err) || sender_postcopy(&m->sender, err))
		return -1;
	m->peer.sender = &m->sender;
	return ask_ready(m, err);
}

static int reconnect(struct migration *m, struct error *err)
{
	if (channel_connect(&m->channel, m->options->to, &m->secured.security, err) ||
	    peer_start(&m->peer, &m->channel, &m->relay, err) || say_who(m, err) ||
	    peer_wait(&m->peer, PEER_ACCEPTED, ACCEPT_TIMEOUT, m->signals, err) ||
	    migrate_open_link(m, err))
		return -1;
	if (json_is_true(json_object_get(m->peer.accept, "running")) && !m->times.resumed)
		runs_there(m);
	return resend(m, err) || go(m, err) ? -1 : 0;
}

static int give_up(struct migration *m, struct error *err)
{
	struct error why = *err;

	migrate_tell_phase(m, MIGTRACK_PHASE_IN_DOUBT);
	error_set(err, EXIT_IN_DOUBT, "the guest is the destination's, and has not got all of its memory (%.800s)",
		  why.message);
	return error_advise(err, "it can't go on there, and what is here is what it was before: end both VMMs");
}

/* Ctrl-C, before the pause is over. */
static bool interrupted(const struct migration *m, int ms)
{
	struct pollfd pollfd = { .fd = m->signals, .events = POLLIN };

	return poll(&pollfd, 1, ms) > 0;
}

/*
 * As long as it is not known that the guest runs there it may never have, and may be ours
 * again: the destination is asked as without post-copy.
 */
static int ask_or_give_up(struct migration *m, struct error *err)
{
	if (m->times.resumed)
		return give_up(m, err);
	if (migrate_doubt(m, err))
		return -1;
	runs_there(m);
	error_set(err, EXIT_MOVED, "the guest runs at the destination, which does not say whether it has all of its memory");
	return error_advise(err, "see what migctl says there, and end the VMM here");
}

/*
 * Until it is there again, or says that it will not be, or the user has enough. Not for
 * ever where the guest runs nowhere yet.
 */
static int recover(struct migration *m, struct error *err)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + m->options->doubt_timeout;
	bool refused = m->peer.said;

	/* Ctrl-C is not taken while there is a connection. */
	signals_drain(m->signals);
	out_news(m, POSTCOPY_PAUSED, err->message);
	if (!refused)
		out_say(m->out, m->times.resumed ?
			"The connection is lost (%s). The guest waits at the destination for what it has not got: trying again, Ctrl-C gives it up." :
			"The connection is lost (%s) before the destination said that the guest runs there: trying again.",
			err->message);
	while (!refused && !interrupted(m, RETRY_MS) &&
	       (m->times.resumed || clock_ns(CLOCK_MONOTONIC) < until)) {
		disconnect(m);
		if (!reconnect(m, err)) {
			m->recoveries++;
			out_say(m->out, "Connected again.");
			out_news(m, POSTCOPY_RECOVERED, NULL);
			return 0;
		}
		refused = m->peer.said || err->code == EXIT_CANCELLED;
		/* Who waits to be asked refuses all else, and others may refuse for a while. */
		if (!m->times.resumed && m->peer.explained && migrate_never_ran(m, err))
			return -1;
	}
	return ask_or_give_up(m, err);
}

/**
 * migrate_postcopy_run() - have the destination run the guest, and move the rest
 * @m: handed over
 * @err: why it failed, EXIT_IN_DOUBT
 *
 * Return: 0 or -1.
 */
int migrate_postcopy_run(struct migration *m, struct error *err)
{
	int ret;

	ret = go(m, err);
	while (ret || move_rest(m, err)) {
		if (recover(m, err))
			return -1;
		ret = 0;
	}
	return 0;
}
