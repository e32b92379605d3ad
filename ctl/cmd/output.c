// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/output.h"
#include "common/units.h"

#define LABEL_WIDTH	20

static void out_flush(struct output *out)
{
	if (fflush(out->stream) || ferror(out->stream))
		out->failed = true;
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
			out->failed = true;
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
		out->failed = true;
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
