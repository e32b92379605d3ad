// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <time.h>

#include "cmd/cmd.h"
#include "cmd/runs.h"

const char history_usage[] =
	"migctl history [-j] [--count N]\n"
	"\n"
	"Past migrations from this host and to it, the last one last, and why they ended;\n"
	"also those under way.\n"
	"\n"
	"  -n, --count N   only the last N (20)";

enum { STARTED, COMMAND, RESULT, TOTAL, DOWNTIME, SENT, RECEIVED, TO, FIELDS };

static const struct out_field fields[FIELDS] = {
	[STARTED] = { "started_ns", "STARTED", 19, OUT_TEXT },
	[COMMAND] = { "command", "COMMAND", 9, OUT_TEXT },
	[RESULT] = { "result", "RESULT", 11, OUT_TEXT },
	[TOTAL] = { "total_ns", "TOTAL", 8, OUT_TIME },
	[DOWNTIME] = { "downtime_ns", "DOWNTIME", 8, OUT_TIME },
	[SENT] = { "sent_bytes", "MOVED", 10, OUT_BYTES },
	[RECEIVED] = { "received_bytes", NULL, 10, OUT_BYTES },
	[TO] = { "to", "TO, AND WHY IT ENDED", 0, OUT_TEXT },
};

/**
 * struct history - the last runs
 * @out: where to
 * @skip: so many of the older ones
 */
struct history {
	struct output *out;
	uint64_t skip;
};

static int count(json_t *run, void *data)
{
	uint64_t *runs = data;

	(void)run;
	(*runs)++;
	return 0;
}

static const char *text_of(const json_t *run, const char *key)
{
	const char *text = json_string_value(json_object_get(run, key));

	return text ? text : "";
}

static void out_number(struct output *out, const struct out_field *field,
		       const json_t *run)
{
	const json_t *number = json_object_get(run, field->key);

	if (json_is_integer(number) && json_integer_value(number) >= 0)
		out_uint(out, field, (uint64_t)json_integer_value(number));
	else
		out_none(out, field);
}

/* Sent by a source, or received by a destination. */
static void out_moved(struct output *out, const json_t *run)
{
	struct out_field field = fields[json_object_get(run, "received_bytes") ?
					RECEIVED : SENT];

	field.label = fields[SENT].label;
	out_number(out, &field, run);
}

static void out_row(struct output *out, const json_t *run)
{
	json_int_t started = json_integer_value(json_object_get(run, "started_ns"));
	time_t seconds = (time_t)(started / (json_int_t)NS_PER_S);
	char when[32] = "-", where[1200];
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(where, sizeof(where), "%s%s%s", text_of(run, "to"),
		 text_of(run, "why")[0] ? ": " : "", text_of(run, "why"));
	out_begin(out, OUT_ROW, "run");
	out_text(out, &fields[STARTED], when);
	out_text(out, &fields[COMMAND], text_of(run, "command"));
	out_text(out, &fields[RESULT], run_result(run));
	out_number(out, &fields[TOTAL], run);
	out_number(out, &fields[DOWNTIME], run);
	out_moved(out, run);
	out_text(out, &fields[TO], where);
	out_end(out);
}

/* All that is known, as it was written; but for what has become of it. */
static void out_all(struct output *out, json_t *run)
{
	json_object_set_new(run, "result", json_string(run_result(run)));
	json_object_del(run, "pid_start");
	out_begin(out, OUT_ROW, "run");
	json_object_update(out->object, run);
	out_end(out);
}

static int show(json_t *run, void *data)
{
	struct history *history = data;

	if (history->skip)
		history->skip--;
	else if (history->out->json)
		out_all(history->out, run);
	else
		out_row(history->out, run);
	return 0;
}

int cmd_history(struct output *out, int argc, char **argv, struct error *err)
{
	static const struct option longs[] = {
		{ "count", required_argument, NULL, 'n' },
		COMMON_OPTIONS
	};
	struct history history = { .out = out };
	uint64_t last = 20, runs = 0;
	int option;

	while ((option = option_next(argc, argv, ":jn:", longs, err))) {
		if (option < 0)
			return -1;
		if (option == 'n' && option_number("--count", optarg, 1, RUNS_MAX,
						   &last, err))
			return -1;
	}
	if (option_end(argc, argv, err))
		return -1;
	runs_each(NULL, count, &runs);
	history.skip = runs > last ? runs - last : 0;
	out_header(out, fields, FIELDS);
	runs_each(NULL, show, &history);
	return 0;
}
