// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The last snapshot of each session and the last run, in the text format that
 * Prometheus reads: base units, and no work but reading what is there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/prometheus.h"
#include "cmd/runs.h"
#include "cmd/session.h"

/**
 * struct page - sessions, all of which each metric is told of
 * @sessions: the snapshots
 * @n: how many
 * @only: this one, 0 for all
 */
struct page {
	struct migtrack_session *sessions;
	size_t n;
	uint64_t only;
};

static int page_add(const struct migtrack_session *session, void *data)
{
	struct migtrack_session *more;
	struct page *page = data;

	if (page->only && session->id != page->only)
		return 0;
	more = reallocarray(page->sessions, page->n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	page->sessions = more;
	more[page->n++] = *session;
	return 0;
}

static void help(FILE *file, const char *name, const char *text)
{
	fprintf(file, "# HELP migtrack_%s %s\n# TYPE migtrack_%s gauge\n", name, text,
		name);
}

static void seconds(FILE *file, uint64_t ns)
{
	fprintf(file, "%" PRIu64 ".%09" PRIu64 "\n", (uint64_t)(ns / NS_PER_S),
		(uint64_t)(ns % NS_PER_S));
}

static bool is_unknown(const struct migtrack_session *s)
{
	return s->flags & MIGTRACK_COUNTER_FLAGS_UNKNOWN;
}

static void bytes_of(FILE *file, const struct migtrack_session *s)
{
	const struct {
		const char *kind;
		uint64_t bytes;
	} kinds[] = {
		{ "precopy", s->bytes.precopy },
		{ "postcopy", s->bytes.postcopy },
		{ "stopcopy", s->bytes.stopcopy },
	};
	size_t i;

	/* A size that is not known is left out, not made up. */
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (is_unknown(s) && i == 2)
			continue;
		fprintf(file,
			"migtrack_session_remaining_bytes{session=\"%" PRIu64 "\",kind=\"%s\"} %" PRIu64 "\n",
			s->id, kinds[i].kind, kinds[i].bytes);
	}
}

static void iteration_of(FILE *file, const struct migtrack_session *s)
{
	fprintf(file, "migtrack_session_iteration{session=\"%" PRIu64 "\"} %" PRIu64 "\n",
		s->id, s->iteration);
}

static void age_of(FILE *file, const struct migtrack_session *s)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	if (!s->syncs)
		return;
	fprintf(file, "migtrack_session_sync_age_seconds{session=\"%" PRIu64 "\"} ",
		s->id);
	seconds(file, now > s->sync_time_ns ? now - s->sync_time_ns : 0);
}

static void phase_of(FILE *file, const struct migtrack_session *s)
{
	if (s->phase)
		fprintf(file,
			"migtrack_session_phase{session=\"%" PRIu64 "\",phase=\"%s\",verdict=\"%s\",reason=\"%s\"} 1\n",
			s->id, phase_name(s->phase), verdict_name(s->verdict),
			reason_name(s->reason));
}

static void bandwidth_of(FILE *file, const struct migtrack_session *s)
{
	if (s->bandwidth)
		fprintf(file,
			"migtrack_session_bandwidth_bytes_per_second{session=\"%" PRIu64 "\",source=\"%s\"} %" PRIu64 "\n",
			s->id, bandwidth_source_name(s->bandwidth_source), s->bandwidth);
}

static void limit_of(FILE *file, const struct migtrack_session *s)
{
	if (!s->phase)
		return;
	fprintf(file, "migtrack_session_downtime_limit_seconds{session=\"%" PRIu64 "\"} ",
		s->id);
	seconds(file, s->downtime_limit_ns);
}

static void expected_of(FILE *file, const struct migtrack_session *s)
{
	if (!s->phase || s->expected_downtime_ns == UINT64_MAX)
		return;
	fprintf(file,
		"migtrack_session_expected_downtime_seconds{session=\"%" PRIu64 "\"} ",
		s->id);
	seconds(file, s->expected_downtime_ns);
}

static const struct {
	const char *name;
	const char *help;
	void (*out)(FILE *file, const struct migtrack_session *s);
} metrics[] = {
	{ "session_remaining_bytes", "What is still to be moved, as of the last sync.",
	  bytes_of },
	{ "session_iteration", "Number of the iteration, from 1.", iteration_of },
	{ "session_sync_age_seconds", "Time since the last sync ended.", age_of },
	{ "session_phase", "Where its migration stands, what was decided last, and why.",
	  phase_of },
	{ "session_bandwidth_bytes_per_second", "What is decided by.", bandwidth_of },
	{ "session_downtime_limit_seconds", "The guest may be stopped for so long.",
	  limit_of },
	{ "session_expected_downtime_seconds", "Of a switchover at the last sync.",
	  expected_of },
};

void prometheus_session_metrics(FILE *file, const struct migtrack_session *sessions,
				size_t n)
{
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(metrics); i++) {
		help(file, metrics[i].name, metrics[i].help);
		for (j = 0; j < n; j++)
			metrics[i].out(file, &sessions[j]);
	}
}

/* ---- the last run ---- */

static int run_keep(json_t *run, void *data)
{
	const char *command = json_string_value(json_object_get(run, "command"));
	json_t **last = data;

	/* To this host, not from it. */
	if (command && !strcmp(command, "receive"))
		return 0;
	json_decref(*last);
	*last = json_incref(run);
	return 0;
}

static void run_number(FILE *file, const json_t *run, const char *key,
		       const char *name, const char *text, bool time)
{
	const json_t *value = json_object_get(run, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return;
	help(file, name, text);
	fprintf(file, "migtrack_%s ", name);
	if (time)
		seconds(file, (uint64_t)json_integer_value(value));
	else
		fprintf(file, "%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
}

void prometheus_run_metrics(FILE *file, const json_t *run)
{
	const char *command = json_string_value(json_object_get(run, "command"));

	if (!run)
		return;
	help(file, "last_run_info", "How the last migration from this host ended.");
	fprintf(file, "migtrack_last_run_info{command=\"%s\",result=\"%s\"} 1\n",
		command ? command : "", run_result(run));
	run_number(file, run, "started_ns", "last_run_start_timestamp_seconds",
		   "When it began.", true);
	run_number(file, run, "total_ns", "last_run_duration_seconds",
		   "How long it took.", true);
	run_number(file, run, "downtime_ns", "last_run_downtime_seconds",
		   "How long the guest was stopped.", true);
	run_number(file, run, "sent_bytes", "last_run_sent_bytes",
		   "What was sent.", false);
	run_number(file, run, "iterations", "last_run_iterations",
		   "How many iterations it had.", false);
}

int show_prometheus(struct output *out, struct migtrack *mt, uint64_t id,
		    struct error *err)
{
	struct page page = { .only = id };
	json_t *run = NULL;
	int ret;

	ret = migtrack_session_dump(mt, page_add, &page);
	if (ret) {
		ret = kernel_error(mt, ret, "can't read the sessions", err);
	} else if (id && !page.n) {
		ret = error_set(err, EXIT_GONE, "session %" PRIu64 ": no such session", id);
		error_advise(err, "see migctl list for the sessions that exist");
	} else {
		prometheus_session_metrics(out->stream, page.sessions, page.n);
		runs_each(NULL, run_keep, &run);
		prometheus_run_metrics(out->stream, run);
		out->failed = fflush(out->stream) != 0;
	}
	json_decref(run);
	free(page.sessions);
	return ret;
}
