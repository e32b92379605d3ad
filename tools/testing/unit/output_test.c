// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>

#include "cmd/cmd.h"
#include "unit.h"

static const struct out_field fields[] = {
	{ "pages", "PAGES", 6, OUT_NUMBER },
	{ "bytes", "BYTES", 8, OUT_BYTES },
	{ "name", "NAME", 5, OUT_TEXT },
	{ "hidden", NULL, 0, OUT_NUMBER },
	{ NULL, "LOCAL", 0, OUT_TEXT },
};

static char *print(bool json, enum out_layout layout)
{
	struct output out = { .json = json };
	size_t size;
	char *text;

	out.stream = open_memstream(&text, &size);
	out_header(&out, fields, ARRAY_SIZE(fields));
	out_begin(&out, layout, "thing");
	out_uint(&out, &fields[0], 1234);
	out_uint(&out, &fields[1], 8192);
	out_text(&out, &fields[2], "a");
	out_uint(&out, &fields[3], UINT64_MAX);
	out_text(&out, &fields[4], "here");
	out_end(&out);
	out_say(&out, "said %d", 1);
	CHECK(!out.failed);
	fclose(out.stream);
	return text;
}

TEST(one_call_prints_rows_records_and_json)
{
	char *text;

	text = print(false, OUT_ROW);
	CHECK_STR(text, " PAGES     BYTES  NAME   LOCAL\n"
			" 1,234   8.0 KiB  a      here\nsaid 1\n");
	free(text);
	text = print(false, OUT_RECORD);
	CHECK_HAS(text, "PAGES                1,234\nBYTES                8.0 KiB\n");
	free(text);
	text = print(true, OUT_ROW);
	CHECK_STR(text, "{\"type\":\"thing\",\"pages\":1234,\"bytes\":8192,\"name\":\"a\",\"hidden\":9223372036854775807}\n");
	free(text);
}

TEST(names_that_are_not_utf8_are_printed)
{
	static const struct out_field name = { "name", "NAME", 0, OUT_TEXT };
	struct output out = { .json = true };
	size_t size;
	char *text;

	out.stream = open_memstream(&text, &size);
	out_begin(&out, OUT_ROW, "x");
	out_text(&out, &name, "a\xff" "b");
	out_end(&out);
	fclose(out.stream);
	CHECK_STR(text, "{\"type\":\"x\",\"name\":\"a?b\"}\n");
	free(text);
}

TEST(output_that_fails_is_noticed)
{
	struct output out = { .stream = fopen("/dev/full", "w") };

	out_say(&out, "lost");
	CHECK(out.failed);
	fclose(out.stream);
}

/* What is typed again must look as it is typed. */
TEST(ids_have_no_separators)
{
	static const struct out_field columns[] = {
		{ "session_id", "SESSION", 0, OUT_ID },
		{ "pages", "PAGES", 0, OUT_NUMBER },
	};
	struct output out = {};
	size_t size;
	char *text;

	out.stream = open_memstream(&text, &size);
	out_begin(&out, OUT_ROW, "x");
	out_uint(&out, &columns[0], 12345);
	out_uint(&out, &columns[1], 12345);
	out_end(&out);
	fclose(out.stream);
	CHECK_STR(text, "12345  12,345\n");
	free(text);
}

TEST(flags_are_named)
{
	static const struct out_field field = { "flags", "FLAGS", 0, OUT_TEXT };
	struct output out = {};
	size_t size;
	char *text;

	out.stream = open_memstream(&text, &size);
	out_begin(&out, OUT_ROW, "x");
	out_flags(&out, &field, MIGTRACK_COUNTER_FLAGS_EXACT |
		  MIGTRACK_COUNTER_FLAGS_BARRIER | MIGTRACK_COUNTER_FLAGS_HELD);
	out_end(&out);
	out_begin(&out, OUT_ROW, "x");
	out_flags(&out, &field, MIGTRACK_COUNTER_FLAGS_EXACT);
	out_end(&out);
	out.json = true;
	out_begin(&out, OUT_ROW, "x");
	out_flags(&out, &field, 255 | 1u << 31);
	out_end(&out);
	fclose(out.stream);
	CHECK_STR(text, "barrier,held\n-\n{\"type\":\"x\",\"flags\":[\"exact\",\"clamped\",\"stale\",\"gone\",\"barrier\",\"huge\",\"held\",\"unknown\"]}\n");
	free(text);
}

TEST(errors_are_objects_too)
{
	struct output out = { .json = true };
	struct error err;
	size_t size;
	char *text;

	out.stream = open_memstream(&text, &size);
	CHECK(freopen("/dev/null", "w", stderr));
	error_set(&err, EXIT_GONE, "process %d has exited", 7);
	error_advise(&err, "see ps");
	out_error(&out, &err);
	fclose(out.stream);
	CHECK_STR(text, "{\"type\":\"error\",\"error\":{\"code\":\"gone\",\"exit\":5,\"message\":\"process 7 has exited\",\"advice\":\"see ps\"}}\n");
	free(text);
}
