// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>

#include "common/units.h"
#include "unit.h"

static long long time_of(const char *text)
{
	uint64_t ns;
	int ret = parse_time(text, &ns);

	return ret ? ret : (long long)ns;
}

static long long size_of(const char *text)
{
	uint64_t bytes;
	int ret = parse_size(text, &bytes);

	return ret ? ret : (long long)bytes;
}

TEST(time_is_parsed)
{
	CHECK_EQ(time_of("1s"), NS_PER_S);
	CHECK_EQ(time_of("3"), 3 * NS_PER_S);
	CHECK_EQ(time_of("2.5s"), 2500 * NS_PER_MS);
	CHECK_EQ(time_of("2.5"), 2500 * NS_PER_MS);
	CHECK_EQ(time_of("100ms"), 100 * NS_PER_MS);
	CHECK_EQ(time_of("0.5ms"), 500 * NS_PER_US);
	CHECK_EQ(time_of("7us"), 7 * NS_PER_US);
	CHECK_EQ(time_of("2m"), 120 * NS_PER_S);
	CHECK_EQ(time_of("1h"), 3600 * NS_PER_S);
	CHECK_EQ(time_of("0"), 0);
	CHECK_EQ(time_of("1.9999999999999"), 1999999999);
	CHECK_EQ(time_of("9223372036"), 9223372036 * (long long)NS_PER_S);
}

TEST(time_is_refused)
{
	CHECK_EQ(time_of(""), -EINVAL);
	CHECK_EQ(time_of("s"), -EINVAL);
	CHECK_EQ(time_of("-1s"), -EINVAL);
	CHECK_EQ(time_of("+1s"), -EINVAL);
	CHECK_EQ(time_of(" 1s"), -EINVAL);
	CHECK_EQ(time_of("1 s"), -EINVAL);
	CHECK_EQ(time_of("1."), -EINVAL);
	CHECK_EQ(time_of("1.s"), -EINVAL);
	CHECK_EQ(time_of("1.2.3s"), -EINVAL);
	CHECK_EQ(time_of("0x10"), -EINVAL);
	CHECK_EQ(time_of("1e3"), -EINVAL);
	CHECK_EQ(time_of("1d"), -EINVAL);
	CHECK_EQ(time_of("inf"), -EINVAL);
	CHECK_EQ(time_of("9223372037"), -ERANGE);
	CHECK_EQ(time_of("99999999999999999999"), -ERANGE);
	CHECK_EQ(time_of("18446744073709551615h"), -ERANGE);
}

TEST(size_is_parsed_and_refused)
{
	CHECK_EQ(size_of("4096"), 4096);
	CHECK_EQ(size_of("0x1000"), 4096);
	CHECK_EQ(size_of("4K"), 4096);
	CHECK_EQ(size_of("4KiB"), 4096);
	CHECK_EQ(size_of("2m"), 2 << 20);
	CHECK_EQ(size_of("1G"), 1 << 30);
	CHECK_EQ(size_of("1T"), 1ll << 40);
	CHECK_EQ(size_of(""), -EINVAL);
	CHECK_EQ(size_of("x"), -EINVAL);
	CHECK_EQ(size_of("0x"), -EINVAL);
	CHECK_EQ(size_of("-1"), -EINVAL);
	CHECK_EQ(size_of("1.5G"), -EINVAL);
	CHECK_EQ(size_of("1KB"), -EINVAL);
	CHECK_EQ(size_of("18446744073709551616"), -ERANGE);
	CHECK_EQ(size_of("16777216T"), -ERANGE);
}

TEST(number_is_parsed_and_refused)
{
	uint64_t n;

	CHECK_EQ(parse_number("42", 100, &n), 0);
	CHECK_EQ(n, 42);
	CHECK_EQ(parse_number("100", 100, &n), 0);
	CHECK_EQ(parse_number("101", 100, &n), -ERANGE);
	CHECK_EQ(parse_number("", 100, &n), -EINVAL);
	CHECK_EQ(parse_number("4x", 100, &n), -EINVAL);
	CHECK_EQ(parse_number("-4", 100, &n), -EINVAL);
	CHECK_EQ(parse_number("99999999999999999999", UINT64_MAX, &n), -ERANGE);
}

TEST(numbers_are_formatted)
{
	char text[UNIT_TEXT_SIZE];

	CHECK_STR(format_number(text, 0), "0");
	CHECK_STR(format_number(text, 999), "999");
	CHECK_STR(format_number(text, 1000), "1,000");
	CHECK_STR(format_number(text, UINT64_MAX), "18,446,744,073,709,551,615");
	CHECK_STR(format_bytes(text, 0), "0");
	CHECK_STR(format_bytes(text, 4096), "4.0 KiB");
	CHECK_STR(format_bytes(text, 1536 << 10), "1.5 MiB");
	CHECK_STR(format_bytes(text, 1ull << 30), "1.0 GiB");
	CHECK_STR(format_bytes(text, UINT64_MAX), "16.0 EiB");
	CHECK_STR(format_rate(text, 0), "0 B/s");
	CHECK_STR(format_rate(text, 4096), "4.0 KiB/s");
	CHECK_STR(format_time(text, 0), "0.0 us");
	CHECK_STR(format_time(text, 2500000), "2.5 ms");
	CHECK_STR(format_time(text, 1500000000), "1.5 s");
	CHECK_STR(format_time(text, 300 * NS_PER_S), "5.0 min");
}

TEST(rates_do_not_overflow)
{
	CHECK_EQ(per_second(10, NS_PER_S), 10);
	CHECK_EQ(per_second(10, NS_PER_MS), 10000);
	CHECK_EQ(per_second(10, 0), 0);
	CHECK(per_second(UINT64_MAX, 1) == UINT64_MAX);
	CHECK(per_second(UINT64_MAX, NS_PER_S) == UINT64_MAX);
}
