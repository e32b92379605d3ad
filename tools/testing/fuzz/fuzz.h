/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the targets share. Each is a file NAME.c with LLVMFuzzerTestOneInput(); those
 * that test a static function include the file that has it.
 */
#ifndef MIGTRACK_FUZZ_H
#define MIGTRACK_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input as text, to be freed. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

/* What has to be true, whatever came. */
#define FUZZ_ASSERT(condition) do {	\
	if (!(condition))		\
		__builtin_trap();	\
} while (0)

#endif /* MIGTRACK_FUZZ_H */
