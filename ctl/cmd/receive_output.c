// SPDX-License-Identifier: GPL-2.0-or-later
/* What the user sees of a reception, and what is left of it for migctl history. */
#include <string.h>

#include "cmd/live.h"
#include "cmd/receive.h"

enum { ELAPSED, BYTES, PAGES, ZEROS, RATE, FIELDS };

static const struct out_field fields[FIELDS] = {
	[ELAPSED] = { "elapsed_ns", "TIME", 8, OUT_TIME },
	[BYTES] = { "received_bytes", "RECEIVED", 10, OUT_BYTES },
	[PAGES] = { "pages", "PAGES", 12, OUT_NUMBER },
	[ZEROS] = { "zero_pages", "ZERO PAGES", 12, OUT_NUMBER },
	[RATE] = { "received_bytes_per_second", "RATE", 12, OUT_RATE },
};

/* As of now: other threads count on. */
static struct reception_progress look(struct reception *r)
{
	return (struct reception_progress) {
		.time = clock_ns(CLOCK_MONOTONIC),
		.bytes = r->received_before +
			 __atomic_load_n(&r->intake.bytes, __ATOMIC_RELAXED),
		.pages = __atomic_load_n(&r->receiver.pages, __ATOMIC_RELAXED),
		.zero_pages = __atomic_load_n(&r->receiver.zero_pages, __ATOMIC_RELAXED),
	};
}

static void note_number(struct reception *r, const char *key, uint64_t number)
{
	run_note(&r->run, key, json_integer((json_int_t)number));
}

static void note_numbers(struct reception *r, const struct reception_progress *now)
{
	note_number(r, "total_ns", now->time - r->started);
	note_number(r, "received_bytes", now->bytes);
	note_number(r, "pages", now->pages);
	note_number(r, "zero_pages", now->zero_pages);
}

void receive_out_start(struct reception *r)
{
	run_begin(&r->run, NULL, "receive", r->options->guest.socket, r->options->listen);
	run_note(&r->run, "from", json_string(r->channel.peer));
	r->shown.time = r->started;
	out_say(r->out, "Receiving from %s.", r->channel.peer);
	if (r->lines < 0)
		out_header(r->out, fields, FIELDS);
}

static uint64_t rate(const struct reception_progress *before,
		     const struct reception_progress *now)
{
	return now->time > before->time ?
	       per_second(now->bytes - before->bytes, now->time - before->time) : 0;
}

static void out_line(struct reception *r, const struct reception_progress *now)
{
	struct output *out = r->out;

	out_begin(out, OUT_ROW, "progress");
	out_uint(out, &fields[ELAPSED], now->time - r->started);
	out_uint(out, &fields[BYTES], now->bytes);
	out_uint(out, &fields[PAGES], now->pages);
	out_uint(out, &fields[ZEROS], now->zero_pages);
	out_uint(out, &fields[RATE], rate(&r->shown, now));
	out_end(out);
}

/* What is drawn, and since when the rate is. */
struct drawing {
	const struct reception *r;
	const struct reception_progress *now;
};

static void draw(FILE *file, void *data)
{
	const struct drawing *drawing = data;
	const struct reception_progress *now = drawing->now;
	char time[UNIT_TEXT_SIZE], bytes[UNIT_TEXT_SIZE], speed[UNIT_TEXT_SIZE];

	fprintf(file, "received    %s in %s, %s\n", format_bytes(bytes, now->bytes),
		format_time(time, now->time - drawing->r->started),
		format_rate(speed, rate(&drawing->r->shown, now)));
	fprintf(file, "pages       %llu, and %llu that are zero\n",
		(unsigned long long)now->pages, (unsigned long long)now->zero_pages);
}

void receive_out_postcopy(struct reception *r, enum postcopy_event event, const char *why,
			  uint64_t left)
{
	const struct postcopy_news news = {
		.event = event,
		.why = why,
		.recoveries = r->recoveries,
		.left = left,
		.elapsed_ns = clock_ns(CLOCK_MONOTONIC) - r->started,
	};

	r->begun_told = true;
	out_postcopy_news(r->out, &r->run, &news);
}

void receive_out_look(struct reception *r)
{
	struct reception_progress now = look(r);
	struct drawing drawing = { .r = r, .now = &now };

	/* Here, as nobody else prints while there is a source. */
	if (!r->begun_told && __atomic_load_n(&r->bound, __ATOMIC_RELAXED))
		receive_out_postcopy(r, POSTCOPY_BEGUN, NULL, r->missing);
	if (now.time - r->shown.time < LIVE_LINE_INTERVAL)
		return;
	note_numbers(r, &now);
	run_write(&r->run, false);
	if (r->lines < 0)
		out_line(r, &now);
	else
		live_draw(r->out, &r->lines, draw, &drawing);
	r->shown = now;
}

enum { RESULT, TOTAL, ALL_PAGES, ALL_ZEROS, ALL_BYTES, MISSING, WAITS, WAITED, LONGEST,
       THREADS, HISTOGRAM, RECOVERIES, CHECKED };

static const struct out_field summary[] = {
	[RESULT] = { "result", "migration", 0, OUT_TEXT },
	[TOTAL] = { "total_ns", "total time", 0, OUT_TIME },
	[ALL_PAGES] = { "pages", "pages", 0, OUT_NUMBER },
	[ALL_ZEROS] = { "zero_pages", "zero pages", 0, OUT_NUMBER },
	[ALL_BYTES] = { "received_bytes", "received", 0, OUT_BYTES },
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

void receive_out_summary(struct reception *r, const struct error *err)
{
	const char *result = r->resumed && !(err && receive_lacks(r)) ? "completed" : "failed";
	struct reception_progress now = look(r);
	struct output *out = r->out;

	note_numbers(r, &now);
	run_note(&r->run, "source_done", json_boolean(r->done));
	run_end(&r->run, result, err);
	live_leave(&r->lines);
	out_begin(out, OUT_RECORD, "summary");
	out_text(out, &summary[RESULT], result);
	out_uint(out, &summary[TOTAL], now.time - r->started);
	out_uint(out, &summary[ALL_PAGES], now.pages);
	out_uint(out, &summary[ALL_ZEROS], now.zero_pages);
	out_uint(out, &summary[ALL_BYTES], now.bytes);
	if (r->missing)
		out_postcopy(r);
	out_bool(out, &summary[CHECKED], r->done);
	out_end(out);
}
