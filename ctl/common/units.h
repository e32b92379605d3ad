/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers as people write and read them. Pure functions. */
#ifndef MIGCTL_UNITS_H
#define MIGCTL_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define NS_PER_US	1000ull
#define NS_PER_MS	1000000ull
#define NS_PER_S	1000000000ull

/* "100ms", "1s", "2.5s", "3" (seconds), us, m, h. -EINVAL, -ERANGE. */
int parse_time(const char *text, uint64_t *ns);

/* "4096", "0x1000", "2M", "2MiB"; powers of 1024. -EINVAL, -ERANGE. */
int parse_size(const char *text, uint64_t *bytes);

/* Decimal, nothing before or after it. -EINVAL, -ERANGE. */
int parse_number(const char *text, uint64_t max, uint64_t *value);

#define UNIT_TEXT_SIZE	32

char *format_number(char text[UNIT_TEXT_SIZE], uint64_t value);
char *format_bytes(char text[UNIT_TEXT_SIZE], uint64_t bytes);
char *format_rate(char text[UNIT_TEXT_SIZE], uint64_t bytes_per_second);
char *format_time(char text[UNIT_TEXT_SIZE], uint64_t ns);

/* value * NS_PER_S / ns, saturated; 0 if no time passed. */
uint64_t per_second(uint64_t value, uint64_t ns);

#endif /* MIGCTL_UNITS_H */
