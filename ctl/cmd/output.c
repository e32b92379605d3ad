// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/output.h"
#include "common/units.h"

#define LABEL_WIDTH	20

/* The first reason is the one that counts. */
static void out_fail(struct output *out)
{
	if (!out->failed)
		out->error = errno;
	out->failed = true;
}

static void out_flush(struct output *out)
{
	if (fflush(out->stream) || ferror(out->stream))
		out_fail(out);
}

/* Text is set flush left in its column, numbers flush right. */
static void out_cell(struct output *out, const struct out_field *field,
		     const char *text)
{
	int width = field->unit == OUT_TEXT ? -field->width : field->width;

	fprintf(out->stream, "%s%*s", out->first ? "" : "  ", width, text);
	out->first = false;
}

void out_header(struct output *out, const struct out_field *fields, size_t n)
{
	size_t i;

	if (out->json)
		return;
	out->first = true;
	for (i = 0; i < n; i++) {
		if (fields[i].label)
			out_cell(out, &fields[i], fields[i].label);
	}
	fputc('\n', out->stream);
	out_flush(out);
}

void out_begin(struct output *out, enum out_layout layout, const char *type)
{
	out->layout = layout;
	out->first = true;
	if (out->json)
		out->object = json_pack("{s:s}", "type", type);
}

void out_end(struct output *out)
{
	if (out->json) {
		if (json_dumpf(out->object, out->stream, JSON_COMPACT))
			out_fail(out);
		json_decref(out->object);
		out->object = NULL;
	}
	if (out->json || out->layout == OUT_ROW)
		fputc('\n', out->stream);
	out_flush(out);
}

/* Names of processes and files come from others: no control characters. */
static void out_value(struct output *out, const struct out_field *field,
		      const char *text)
{
	char *copy, *c;

	if (!field->label)
		return;
	copy = strdup(text);
	if (!copy) {
		out_fail(out);
		return;
	}
	for (c = copy; *c; c++) {
		if (iscntrl((unsigned char)*c))
			*c = '?';
	}
	if (out->layout == OUT_ROW)
		out_cell(out, field, copy);
	else
		fprintf(out->stream, "%-*s %s\n", LABEL_WIDTH, field->label,
			copy);
	free(copy);
}

void out_json(struct output *out, const struct out_field *field, json_t *json,
	      const char *text)
{
	if (!out->json)
		out_value(out, field, text);
	else if (field->key)
		json_object_set(out->object, field->key, json);
	json_decref(json);
}

static char *format_value(char text[UNIT_TEXT_SIZE], enum out_unit unit,
			  uint64_t value)
{
	switch (unit) {
	case OUT_ID:
		snprintf(text, UNIT_TEXT_SIZE, "%llu", (unsigned long long)value);
		return text;
	case OUT_BYTES:
		return format_bytes(text, value);
	case OUT_RATE:
		return format_rate(text, value);
	case OUT_TIME:
		return format_time(text, value);
	default:
		return format_number(text, value);
	}
}

/* JSON's integers end at 2^63 - 1 in most readers, jansson included. */
void out_uint(struct output *out, const struct out_field *field, uint64_t value)
{
	char text[UNIT_TEXT_SIZE];

	out_json(out, field,
		 json_integer(value > INT64_MAX ? INT64_MAX : (int64_t)value),
		 format_value(text, field->unit, value));
}

json_t *json_text(const char *text)
{
	json_t *json = json_string(text);
	char *copy, *c;

	if (json)
		return json;
	copy = strdup(text);
	if (!copy)
		return json_null();
	for (c = copy; *c; c++) {
		if (*c & 0x80)
			*c = '?';
	}
	json = json_string(copy);
	free(copy);
	return json;
}

void out_text(struct output *out, const struct out_field *field,
	      const char *value)
{
	out_json(out, field, json_text(value), *value ? value : "-");
}

void out_bool(struct output *out, const struct out_field *field, bool value)
{
	out_json(out, field, json_boolean(value), value ? "yes" : "no");
}

void out_none(struct output *out, const struct out_field *field)
{
	out_json(out, field, json_null(), "-");
}

void out_say(struct output *out, const char *format, ...)
{
	va_list args;

	if (out->json)
		return;
	va_start(args, format);
	vfprintf(out->stream, format, args);
	va_end(args);
	fputc('\n', out->stream);
	out_flush(out);
}

/**
 * out_error() - the one place where errors are printed
 * @out: with @json set, it gets the error as an object too
 * @err: the error
 */
void out_error(struct output *out, const struct error *err)
{
	static const struct out_field field = { .key = "error" };

	fflush(out->stream);
	fprintf(stderr, "migctl: %s\n", err->message);
	if (err->advice[0])
		fprintf(stderr, "migctl: advice: %s\n", err->advice);
	if (!out->json)
		return;
	out_begin(out, OUT_ROW, "error");
	out_json(out, &field,
		 json_pack("{s:s, s:i, s:o, s:o}", "code",
			   exit_code_name(err->code), "exit", err->code,
			   "message", json_text(err->message),
			   "advice", json_text(err->advice)), "");
	out_end(out);
}

/* ---- without waiting for whoever reads ---- */

/* So much is kept: more than is said in minutes. */
#define KEPT_MAX	(256u << 10)
#define KEPT_WRITES	4096u
/* A line, or a screen, goes there as a whole, or is lost as a whole. */
#define WHOLE_MAX	(64u << 10)

/**
 * struct out_kept - what nobody has read yet
 * @to: the stream before
 * @fd: where it goes, opened for this only if it is not that of @to
 * @used: bytes
 * @n: writes, each a line or a screen
 * @begun: a part of the first of them has gone
 * @lost: there was no room for some
 * @sizes: of the writes
 * @data: they
 */
struct out_kept {
	FILE *to;
	int fd;
	size_t used;
	size_t n;
	bool begun;
	bool lost;
	size_t sizes[KEPT_WRITES];
	char data[KEPT_MAX];
};

static void kept_forget(struct out_kept *kept)
{
	kept->used = kept->n = 0;
	kept->begun = false;
}

static void kept_drop_bytes(struct out_kept *kept, size_t at, size_t size)
{
	kept->used -= size;
	memmove(kept->data + at, kept->data + at + size, kept->used - at);
}

static void kept_drop_write(struct out_kept *kept, size_t i)
{
	kept->n--;
	memmove(kept->sizes + i, kept->sizes + i + 1, (kept->n - i) * sizeof(kept->sizes[0]));
}

static void kept_went(struct out_kept *kept, size_t size)
{
	kept_drop_bytes(kept, 0, size);
	while (kept->n && size >= kept->sizes[0]) {
		size -= kept->sizes[0];
		kept->begun = false;
		kept_drop_write(kept, 0);
	}
	if (size) {
		kept->sizes[0] -= size;
		kept->begun = true;
	}
}

/* The oldest go: how it ended is worth more. One that has begun to go does as a whole. */
static void kept_make_room(struct out_kept *kept, size_t size)
{
	size_t first = kept->begun, at = first ? kept->sizes[0] : 0;

	while (kept->n > first && (kept->n == KEPT_WRITES || kept->used + size > KEPT_MAX)) {
		kept_drop_bytes(kept, at, kept->sizes[first]);
		kept_drop_write(kept, first);
		kept->lost = true;
	}
}

/* What goes at once. A pipe that takes anything takes so much, and so does a socket. */
static int kept_send(struct out_kept *kept)
{
	struct pollfd pfd = { .fd = kept->fd, .events = POLLOUT };
	ssize_t length;

	while (kept->used && poll(&pfd, 1, 0) > 0) {
		length = write(kept->fd, kept->data,
			       kept->used < PIPE_BUF ? kept->used : PIPE_BUF);
		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (length < 0) {
			kept_forget(kept);
			return -1;
		}
		kept_went(kept, (size_t)length);
	}
	return 0;
}

/* 0 is how a stream is told of an error. */
static ssize_t kept_write(void *cookie, const char *data, size_t size)
{
	struct out_kept *kept = cookie;

	kept_make_room(kept, size);
	if (size > KEPT_MAX - kept->used || kept->n == KEPT_WRITES) {
		kept->lost = true;
		return (ssize_t)size;
	}
	memcpy(kept->data + kept->used, data, size);
	kept->sizes[kept->n++] = size;
	kept->used += size;
	return kept_send(kept) ? 0 : (ssize_t)size;
}

/*
 * A terminal can take less than it is given, and is waited for then. Opened anew it is
 * not, and nobody else who has it open is affected. With a file it would begin anew.
 */
static int kept_open(int fd)
{
	char path[32];
	struct stat st;
	int own = -1;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!fstat(fd, &st) && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
		own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return own < 0 ? fd : own;
}

void out_never_wait(struct output *out)
{
	static const cookie_io_functions_t functions = { .write = kept_write };
	struct out_kept *kept = malloc(sizeof(*kept));
	FILE *stream = kept ? fopencookie(kept, "w", functions) : NULL;

	if (!stream) {
		free(kept);
		return;
	}
	out_flush(out);
	setvbuf(stream, NULL, _IOFBF, WHOLE_MAX);
	kept->to = out->stream;
	kept->fd = kept_open(fileno(out->stream));
	kept_forget(kept);
	kept->lost = false;
	out->kept = kept;
	out->stream = stream;
}

void out_catch_up(struct output *out)
{
	if (out->kept && kept_send(out->kept))
		out_fail(out);
}

/* Until it has gone. 1 if a signal came and it does not go: whoever waits has enough of that. */
static int kept_await(struct out_kept *kept, int signals)
{
	struct pollfd fds[] = {
		{ .fd = kept->fd, .events = POLLOUT },
		{ .fd = signals, .events = POLLIN },
	};
	int ret;

	for (;;) {
		ret = kept_send(kept);
		if (ret || !kept->used)
			return ret;
		if (poll(fds, 2, -1) > 0 && !fds[0].revents)
			return 1;
	}
}

static void say_lost(void)
{
	fprintf(stderr, "migctl: some of the output was lost: nobody has read it for too long\n");
}

/*
 * Nothing is waited for any more, also not for what comes later, as the error: it goes at
 * once, or is lost. stderr may be the same pipe.
 */
static void kept_drop(struct out_kept *kept)
{
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };
	int null;

	kept_forget(kept);
	if (poll(&pfd, 1, 0) > 0) {
		say_lost();
		return;
	}
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null < 0)
		return;
	dup2(null, STDERR_FILENO);
	close(null);
}

void out_may_wait(struct output *out, int signals)
{
	struct out_kept *kept = out->kept;
	int ret;

	if (!kept)
		return;
	out_flush(out);
	ret = kept_await(kept, signals);
	if (ret > 0) {
		kept_drop(kept);
		return;
	}
	if (ret)
		out_fail(out);
	if (kept->lost)
		say_lost();
	fclose(out->stream);
	out->stream = kept->to;
	if (kept->fd != fileno(out->stream))
		close(kept->fd);
	free(kept);
	out->kept = NULL;
}
