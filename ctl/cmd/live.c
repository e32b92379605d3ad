// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/live.h"

static const char *trend(uint64_t now, uint64_t before)
{
	if (!before || before == UINT64_MAX || now == UINT64_MAX)
		return "";
	if (now + now / 50 < before)
		return "falling";
	return now > before + before / 50 ? "rising" : "steady";
}

void live_numbers(FILE *file, const struct live_numbers *n)
{
	char a[UNIT_TEXT_SIZE], b[UNIT_TEXT_SIZE], c[UNIT_TEXT_SIZE];
	const struct policy *policy = n->policy;
	uint64_t expected = policy_expected_downtime(policy);

	fprintf(file, "phase       %s, iteration %llu%s, %s\n", n->phase,
		(unsigned long long)n->iteration, n->note,
		format_time(a, n->elapsed_ns));
	fprintf(file, "remaining   %s of memory, %s in all  %s\n",
		format_bytes(a, n->memory), n->remaining == UINT64_MAX ? "unknown" :
		format_bytes(b, n->remaining), trend(n->remaining, n->before));
	fprintf(file, "dirty rate  %s\n", n->dirty_rate == UINT64_MAX ?
		"unknown" : format_rate(a, n->dirty_rate));
	fprintf(file, "bandwidth   %s (%s); %s sent\n",
		policy->bandwidth_source == POLICY_BANDWIDTH_UNKNOWN ? "unknown" :
		format_rate(a, policy->bandwidth),
		policy_bandwidth_name(policy->bandwidth_source),
		format_bytes(b, n->sent));
	fprintf(file, "downtime    %s expected, %s allowed\n",
		expected == POLICY_UNKNOWN ? "unknown" : format_time(b, expected),
		format_time(c, policy->limits.downtime));
}

void live_verdict(FILE *file, const char *reason, const struct policy_action *action)
{
	char why[256], advice[256];

	policy_explain(why, sizeof(why), action);
	policy_advise(advice, sizeof(advice), action);
	fprintf(file, "verdict     %s%s%s\n", reason, why[0] ? ": " : "", why);
	fprintf(file, "advice      %s\n", advice[0] ? advice : "-");
}

static void draw_over(FILE *stream, int *drawn, char *text)
{
	char *line, *next;
	int lines = 0;

	if (*drawn)
		fprintf(stream, "\033[%dA", *drawn);
	for (line = text; *line; line = next, lines++) {
		next = strchr(line, '\n');
		if (!next)
			break;
		*next++ = '\0';
		/* Cut off at the right margin: a longer one would take two lines. */
		fprintf(stream, "\033[?7l%s\033[K\033[?7h\n", line);
	}
	fprintf(stream, "\033[J");
	fflush(stream);
	*drawn = lines;
}

void live_draw(struct output *out, int *lines, void (*draw)(FILE *file, void *data),
	       void *data)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		return;
	draw(file, data);
	fclose(file);
	draw_over(out->stream, lines, text);
	free(text);
}

void live_leave(int *lines)
{
	if (*lines > 0)
		*lines = 0;
}

int live_open(const struct output *out)
{
	return !out->json && isatty(STDOUT_FILENO) ? 0 : -1;
}

void out_postcopy_news(struct output *out, struct run *run, const struct postcopy_news *news)
{
	static const char * const names[] = {
		[POSTCOPY_BEGUN] = "begun",
		[POSTCOPY_PAUSED] = "paused",
		[POSTCOPY_RECOVERED] = "recovered",
	};
	static const struct out_field fields[] = {
		{ .key = "state" }, { .key = "why" }, { .key = "recoveries" },
		{ .key = "left_bytes" }, { .key = "elapsed_ns" },
	};

	run_note(run, "postcopy", json_string(names[news->event]));
	run_note(run, "postcopy_recoveries", json_integer((json_int_t)news->recoveries));
	run_write(run, true);
	if (!out->json)
		return;
	out_begin(out, OUT_ROW, "postcopy");
	out_text(out, &fields[0], names[news->event]);
	if (news->why)
		out_text(out, &fields[1], news->why);
	out_uint(out, &fields[2], news->recoveries);
	out_uint(out, &fields[3], news->left);
	out_uint(out, &fields[4], news->elapsed_ns);
	out_end(out);
	fflush(out->stream);
}
