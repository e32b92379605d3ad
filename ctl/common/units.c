// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/units.h"

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit time_units[] = {
	{ "",	NS_PER_S },
	{ "us",	NS_PER_US },
	{ "ms",	NS_PER_MS },
	{ "s",	NS_PER_S },
	{ "m",	60 * NS_PER_S },
	{ "h",	3600 * NS_PER_S },
	{ }
};

static const struct unit size_units[] = {
	{ "",	1 },
	{ "k",	1ull << 10 }, { "kib",	1ull << 10 },
	{ "m",	1ull << 20 }, { "mib",	1ull << 20 },
	{ "g",	1ull << 30 }, { "gib",	1ull << 30 },
	{ "t",	1ull << 40 }, { "tib",	1ull << 40 },
	{ }
};

static const struct unit *unit_find(const struct unit *units, const char *name)
{
	for (; units->name; units++) {
		if (!strcasecmp(units->name, name))
			return units;
	}
	return NULL;
}

/* @fraction of a unit of @factor, in its smallest parts; the rest is cut. */
static uint64_t fraction_scale(const char *fraction, uint64_t factor)
{
	uint64_t value = 0;

	for (; isdigit((unsigned char)*fraction); fraction++) {
		factor /= 10;
		value += (uint64_t)(*fraction - '0') * factor;
	}
	return value;
}

int parse_time(const char *text, uint64_t *ns)
{
	const char *fraction = "";
	const struct unit *unit;
	uint64_t whole, part;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	whole = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	if (*end == '.') {
		fraction = end + 1;
		end += 1 + strspn(fraction, "0123456789");
		if (end == fraction)
			return -EINVAL;
	}
	unit = unit_find(time_units, end);
	if (!unit)
		return -EINVAL;
	part = fraction_scale(fraction, unit->factor);
	if (__builtin_mul_overflow(whole, unit->factor, &whole) ||
	    __builtin_add_overflow(whole, part, &whole) || whole > INT64_MAX)
		return -ERANGE;
	*ns = whole;
	return 0;
}

int parse_size(const char *text, uint64_t *bytes)
{
	const struct unit *unit;
	uint64_t value;
	int base = 10;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	if (text[0] == '0' && (text[1] | 0x20) == 'x') {
		if (!isxdigit((unsigned char)text[2]))
			return -EINVAL;
		base = 16;
	}
	errno = 0;
	value = strtoull(text, &end, base);
	if (errno)
		return -ERANGE;
	unit = unit_find(size_units, end);
	if (!unit)
		return -EINVAL;
	if (__builtin_mul_overflow(value, unit->factor, bytes))
		return -ERANGE;
	return 0;
}

int parse_number(const char *text, uint64_t max, uint64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*value = strtoull(text, &end, 10);
	if (*end)
		return -EINVAL;
	return errno || *value > max ? -ERANGE : 0;
}

/* With a comma between thousands. */
char *format_number(char text[UNIT_TEXT_SIZE], uint64_t value)
{
	char digits[UNIT_TEXT_SIZE];
	size_t n, i, out = 0;

	n = (size_t)snprintf(digits, sizeof(digits), "%llu",
			     (unsigned long long)value);
	for (i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			text[out++] = ',';
		text[out++] = digits[i];
	}
	text[out] = '\0';
	return text;
}

static void format_scaled(char text[UNIT_TEXT_SIZE], uint64_t bytes,
			  const char *suffix)
{
	static const char * const names[] = {
		"KiB", "MiB", "GiB", "TiB", "PiB", "EiB",
	};
	double value = (double)bytes / 1024;
	size_t i = 0;

	if (!bytes) {
		snprintf(text, UNIT_TEXT_SIZE, "0%s%s", *suffix ? " B" : "",
			 suffix);
		return;
	}
	while (value >= 1024 && i + 1 < sizeof(names) / sizeof(names[0])) {
		value /= 1024;
		i++;
	}
	snprintf(text, UNIT_TEXT_SIZE, "%.1f %s%s", value, names[i], suffix);
}

char *format_bytes(char text[UNIT_TEXT_SIZE], uint64_t bytes)
{
	format_scaled(text, bytes, "");
	return text;
}

char *format_rate(char text[UNIT_TEXT_SIZE], uint64_t bytes_per_second)
{
	format_scaled(text, bytes_per_second, "/s");
	return text;
}

char *format_time(char text[UNIT_TEXT_SIZE], uint64_t ns)
{
	double value = (double)ns;

	if (ns < 100 * NS_PER_US)
		snprintf(text, UNIT_TEXT_SIZE, "%.1f us", value / NS_PER_US);
	else if (ns < NS_PER_S)
		snprintf(text, UNIT_TEXT_SIZE, "%.1f ms", value / NS_PER_MS);
	else if (ns < 120 * NS_PER_S)
		snprintf(text, UNIT_TEXT_SIZE, "%.1f s", value / NS_PER_S);
	else
		snprintf(text, UNIT_TEXT_SIZE, "%.1f min",
			 value / (60 * NS_PER_S));
	return text;
}

uint64_t per_second(uint64_t value, uint64_t ns)
{
	unsigned __int128 rate;

	if (!ns)
		return 0;
	rate = (unsigned __int128)value * NS_PER_S / ns;
	return rate > UINT64_MAX ? UINT64_MAX : (uint64_t)rate;
}
