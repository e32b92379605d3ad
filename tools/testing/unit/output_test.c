// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

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
	CHECK_EQ(out.error, ENOSPC);
	fclose(out.stream);
}

#define FILLED	'.'

/* A pipe that nobody reads: full. */
static void pipe_open(struct output *out, int *reader)
{
	int fds[2], flags;

	CHECK_EQ(pipe(fds), 0);
	flags = fcntl(fds[1], F_GETFL);
	fcntl(fds[1], F_SETFL, flags | O_NONBLOCK);
	while (write(fds[1], &(char) { FILLED }, 1) == 1)
		;
	fcntl(fds[1], F_SETFL, flags);
	*reader = fds[0];
	*out = (struct output) { .stream = fdopen(fds[1], "w") };
}

/* What comes after what it was filled with. */
static size_t pipe_read(int reader, char *text, size_t size)
{
	size_t used = 0;
	char c;

	fcntl(reader, F_SETFL, O_NONBLOCK);
	while (used + 1 < size && read(reader, &c, 1) == 1)
		if (c != FILLED)
			text[used++] = c;
	text[used] = '\0';
	return used;
}

/* With a guest in hand: it does not wait for a reader that has stopped to read. */
TEST(output_that_nobody_reads_is_kept)
{
	struct output out;
	char text[64];
	int reader;

	pipe_open(&out, &reader);
	out_never_wait(&out);
	out_say(&out, "one");
	out_say(&out, "two");
	CHECK_EQ(pipe_read(reader, text, sizeof(text)), 0);
	out_catch_up(&out);
	CHECK_EQ(pipe_read(reader, text, sizeof(text)), 8);
	CHECK_STR(text, "one\ntwo\n");
	out_say(&out, "three");
	out_may_wait(&out, -1);
	out_say(&out, "four");
	pipe_read(reader, text, sizeof(text));
	CHECK_STR(text, "three\nfour\n");
	CHECK(!out.failed);
	fclose(out.stream);
	close(reader);
}

/* Not for ever: the oldest lines are lost then, and none of them in part. */
TEST(output_that_nobody_reads_has_a_bound)
{
	static char text[1 << 20], line[100];
	struct output out;
	size_t i, used;
	int reader;

	memset(line, 'x', sizeof(line) - 1);
	pipe_open(&out, &reader);
	out_never_wait(&out);
	for (i = 0; i < sizeof(text) / sizeof(line); i++)
		out_say(&out, "%s", line);
	memset(line, 'y', sizeof(line) - 1);
	out_say(&out, "%s", line);
	used = 0;
	do {
		i = pipe_read(reader, text + used, sizeof(text) - used);
		used += i;
		out_catch_up(&out);
	} while (i || !used);
	CHECK(freopen("/dev/null", "w", stderr));
	out_may_wait(&out, -1);
	CHECK(used > sizeof(text) / 8 && used < sizeof(text) / 2);
	CHECK_EQ(used % sizeof(line), 0);
	/* How it ended is there. */
	CHECK(used > 2 && text[0] == 'x' && text[used - 2] == 'y');
	fclose(out.stream);
	close(reader);
}

/* Nobody will read it: that is known, and nothing waits. */
TEST(output_whose_reader_has_ended)
{
	struct output out;
	int reader;

	signal(SIGPIPE, SIG_IGN);
	pipe_open(&out, &reader);
	out_never_wait(&out);
	close(reader);
	out_say(&out, "lost");
	out_say(&out, "lost");
	out_may_wait(&out, -1);
	CHECK(out.failed);
	CHECK_EQ(out.error, EPIPE);
	fclose(out.stream);
}

/* Until who started us has enough of it: also what comes later is lost then. */
TEST(output_that_nobody_reads_is_not_waited_for_for_ever)
{
	struct output out;
	struct error err = {};
	char text[128];
	int reader, signals = signals_open(&err), fds[2];

	pipe_open(&out, &reader);
	CHECK_EQ(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	out_never_wait(&out);
	out_say(&out, "lost");
	if (!fork()) {
		usleep(300000);
		_exit(kill(getppid(), SIGTERM));
	}
	out_may_wait(&out, signals);
	CHECK(!out.failed);
	pipe_read(fds[0], text, sizeof(text));
	CHECK_HAS(text, "some of the output was lost");
	error_set(&err, EXIT_CANCELLED, "cancelled");
	out_error(&out, &err);
	out_say(&out, "later");
	CHECK_EQ(pipe_read(reader, text, sizeof(text)), 0);
	out_may_wait(&out, -1);
	pipe_read(reader, text, sizeof(text));
	CHECK_STR(text, "later\n");
	CHECK(!out.failed);
	fclose(out.stream);
	close(reader);
}

/* What is read is not lost by a signal. */
TEST(output_that_is_read_is_not_lost)
{
	struct output out;
	struct error err = {};
	char text[64];
	int reader, signals = signals_open(&err);

	pipe_open(&out, &reader);
	out_never_wait(&out);
	out_say(&out, "one");
	pipe_read(reader, text, sizeof(text));
	raise(SIGTERM);
	out_may_wait(&out, signals);
	pipe_read(reader, text, sizeof(text));
	CHECK_STR(text, "one\n");
	fclose(out.stream);
	close(reader);
}

/* stderr is that pipe, too. */
TEST(output_and_errors_that_nobody_reads)
{
	struct output out;
	struct error err = {};
	char text[64];
	int reader, signals = signals_open(&err);

	pipe_open(&out, &reader);
	dup2(fileno(out.stream), STDERR_FILENO);
	out_never_wait(&out);
	out_say(&out, "lost");
	raise(SIGTERM);
	out_may_wait(&out, signals);
	error_set(&err, EXIT_CANCELLED, "cancelled");
	out_error(&out, &err);
	pipe_read(reader, text, sizeof(text));
	CHECK_STR(text, "");
	out_may_wait(&out, -1);
	fclose(out.stream);
	close(reader);
}

/* A file is written on where it ends. */
TEST(output_to_a_file_goes_on)
{
	struct output out = { .stream = tmpfile() };
	char text[32] = "";

	out_say(&out, "one");
	out_never_wait(&out);
	out_say(&out, "two");
	out_may_wait(&out, -1);
	out_say(&out, "three");
	rewind(out.stream);
	CHECK_EQ(fread(text, 1, sizeof(text) - 1, out.stream), 14);
	CHECK_STR(text, "one\ntwo\nthree\n");
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
