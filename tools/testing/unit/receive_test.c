// SPDX-License-Identifier: GPL-2.0-or-later
/* migctl receive: what it shows while it receives. */
#include <stdlib.h>

#include "cmd/receive.h"
#include "unit.h"

static char *text;
static size_t size;

static struct reception begin(struct output *out, bool json)
{
	*out = (struct output) { .stream = open_memstream(&text, &size), .json = json };
	return (struct reception) { .out = out, .lines = -1, .started = 1, .shown.time = 1 };
}

/* A second ago, as far as it knows. */
static void let_pass(struct reception *r)
{
	r->shown.time -= NS_PER_S;
}

TEST(receive_shows_what_has_come)
{
	struct output out;
	struct reception r = begin(&out, false);

	r.intake.bytes = 2 << 20;
	r.receiver.pages = 512;
	receive_out_look(&r);
	CHECK_HAS(text, "2.0 MiB");
	CHECK_HAS(text, "512");
	/* Once a second is enough. */
	size = 0;
	rewind(out.stream);
	receive_out_look(&r);
	fflush(out.stream);
	CHECK_EQ(size, 0);
	fclose(out.stream);
	free(text);
}

static json_int_t number(json_t *json, const char *key)
{
	return json_integer_value(json_object_get(json, key));
}

TEST(receive_shows_it_as_json)
{
	struct output out;
	struct reception r = begin(&out, true);
	json_t *json;
	json_int_t rate;

	r.shown.time = r.started = clock_ns(CLOCK_MONOTONIC);
	let_pass(&r);
	r.intake.bytes = 4096;
	r.receiver.pages = 1;
	r.receiver.zero_pages = 5;
	receive_out_look(&r);
	json = json_loads(text, 0, NULL);
	CHECK_STR(json_string_value(json_object_get(json, "type")), "progress");
	CHECK_EQ(number(json, "received_bytes"), 4096);
	CHECK_EQ(number(json, "pages"), 1);
	CHECK_EQ(number(json, "zero_pages"), 5);
	rate = number(json, "received_bytes_per_second");
	CHECK(rate > 0 && rate <= 4096);
	json_decref(json);
	fclose(out.stream);
	free(text);
}

TEST(receive_sums_up)
{
	struct output out;
	struct reception r = begin(&out, false);

	r.resumed = true;
	receive_out_summary(&r, NULL);
	CHECK_HAS(text, "completed");
	fclose(out.stream);
	free(text);
}
