/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGCTL_ERROR_H
#define MIGCTL_ERROR_H

#include "common/exit.h"

/**
 * struct error - why something failed, on its way up to main()
 * @code: migctl's exit code
 * @message: what failed
 * @advice: what to do about it, "" if there is nothing to say
 *
 * A function that takes one returns 0, or -1 after filling it.
 */
struct error {
	enum exit_code code;
	char message[1024];
	char advice[1024];
};

int error_set(struct error *err, enum exit_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int error_advise(struct error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif /* MIGCTL_ERROR_H */
