/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One print call for people and for programs: a command describes an object
 * once, and it comes out as text (a line of a table, or a record of "label:
 * value" lines) or as one JSON object on a line, in bytes and nanoseconds.
 */
#ifndef MIGCTL_OUTPUT_H
#define MIGCTL_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"

enum out_unit {
	OUT_TEXT,
	OUT_NUMBER,
	OUT_ID,			/* as it is typed: no separators */
	OUT_BYTES,
	OUT_RATE,		/* bytes per second */
	OUT_TIME,		/* nanoseconds */
};

enum out_layout {
	OUT_ROW,
	OUT_RECORD,
};

/**
 * struct out_field - a member of an object
 * @key: its name in JSON, NULL to leave it out there
 * @label: its name for people, NULL to leave it out there
 * @width: of its column in a table
 * @unit: how people read it
 */
struct out_field {
	const char *key;
	const char *label;
	int width;
	enum out_unit unit;
};

/**
 * struct output - where a command's output goes
 * @stream: the file
 * @json: programs read it
 * @failed: something could not be written
 * @error: why, an errno
 * @kept: of out_never_wait(), NULL without
 * @layout: of the object that is being written
 * @first: nothing of it was written yet
 * @object: it, in JSON
 */
struct output {
	FILE *stream;
	bool json;
	bool failed;
	int error;
	struct out_kept *kept;
	enum out_layout layout;
	bool first;
	json_t *object;
};

void out_header(struct output *out, const struct out_field *fields, size_t n);
void out_begin(struct output *out, enum out_layout layout, const char *type);
void out_end(struct output *out);

/* JSON is UTF-8; a name of a file or process, and what is said of it, may be anything. */
json_t *json_text(const char *text);
void out_uint(struct output *out, const struct out_field *field,
	      uint64_t value);
void out_text(struct output *out, const struct out_field *field,
	      const char *value);
void out_bool(struct output *out, const struct out_field *field, bool value);

/* Unknown: "-" for people, null in JSON. */
void out_none(struct output *out, const struct out_field *field);

/* @json is used up; people see @text. */
void out_json(struct output *out, const struct out_field *field, json_t *json,
	      const char *text);

/* A line for people only. */
void out_say(struct output *out, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void out_error(struct output *out, const struct error *err);

/*
 * A guest may wait for us: from here on we do not wait for whoever reads. What does not
 * go at once is kept, up to a bound, and goes with what comes later.
 */
void out_never_wait(struct output *out);
/* What was kept, as far as it goes. */
void out_catch_up(struct output *out);
/*
 * No guest waits any more: all of it, and from here on as before. Once @signals, a
 * descriptor or -1, is readable nothing is waited for: what is kept is lost, and so is
 * what does not go at once later.
 */
void out_may_wait(struct output *out, int signals);

#endif /* MIGCTL_OUTPUT_H */
