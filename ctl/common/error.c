// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/error.h"

static const char * const exit_code_names[] = {
	[EXIT_OK] = "ok",
	[EXIT_FAILED] = "failed",
	[EXIT_USAGE] = "usage",
	[EXIT_NO_MODULE] = "no-module",
	[EXIT_PERMISSION] = "permission",
	[EXIT_GONE] = "gone",
	[EXIT_UNTRACKABLE] = "untrackable",
	[EXIT_VMM] = "vmm",
	[EXIT_UNUSABLE] = "unusable",
	[EXIT_TIMEOUT] = "timeout",
	[EXIT_CANCELLED] = "cancelled",
	[EXIT_IN_DOUBT] = "in-doubt",
	[EXIT_DIFFERS] = "differs",
	[EXIT_SNAPSHOT] = "snapshot",
	[EXIT_PEER] = "peer",
	[EXIT_MOVED] = "moved",
};

const char *exit_code_name(enum exit_code code)
{
	return exit_code_names[code];
}

/* Messages quote files, processes and VMMs: nothing for the terminal to obey. */
static void text_clean(char *text)
{
	for (; *text; text++) {
		if (iscntrl((unsigned char)*text))
			*text = ' ';
	}
}

/**
 * error_set() - say what failed
 * @err: filled; its advice is emptied
 * @code: the exit code
 * @format: what failed, without a newline or full stop at the end
 *
 * Return: -1, to be returned by the caller.
 */
int error_set(struct error *err, enum exit_code code, const char *format, ...)
{
	va_list args;

	err->code = code;
	err->advice[0] = '\0';
	va_start(args, format);
	vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);
	text_clean(err->message);
	return -1;
}

/**
 * error_advise() - say what to do about the failure
 * @err: an error that is set
 * @format: the advice, a clause without a full stop at the end
 *
 * Return: -1, to be returned by the caller.
 */
int error_advise(struct error *err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err->advice, sizeof(err->advice), format, args);
	va_end(args);
	text_clean(err->advice);
	return -1;
}
