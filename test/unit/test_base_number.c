/* Numbers, sizes and durations: what is taken, and the words for what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/number.h"
#include "base/util.h"

typedef const char *parser(const char *, uint64_t, uint64_t, uint64_t *);

static void good(parser *parse, const char *text, uint64_t expected)
{
	uint64_t got = 42;
	const char *wrong = parse(text, 0, UINT64_MAX, &got);

	if (wrong)
		fail_msg("%s: %s", text, wrong);
	if (got != expected)
		fail_msg("%s: %llu", text, (unsigned long long)got);
}

static void bad(parser *parse, const char *text, uint64_t min, uint64_t max, const char *words)
{
	uint64_t got = 42;
	const char *wrong = parse(text, min, max, &got);

	if (!wrong)
		fail_msg("%s is taken", text);
	assert_string_equal(wrong, words);
	assert_true(got == 42);
}

static void numbers(void **state)
{
	(void)state;
	good(number_parse, "0", 0);
	good(number_parse, "65535", 65535);
	good(number_parse, "0080", 80);
	good(number_parse, "18446744073709551615", UINT64_MAX);
	bad(number_parse, "", 1, 65535, "empty");
	bad(number_parse, "0", 1, 65535, "out of range (1 to 65535)");
	bad(number_parse, "99999", 1, 65535, "out of range (1 to 65535)");
	bad(number_parse, "-1", 1, 65535, "out of range (1 to 65535)");
	bad(number_parse, "18446744073709551616", 1, 65535, "out of range (1 to 65535)");
	bad(number_parse, "99999999999999999999999", 0, UINT64_MAX, "out of range (0 or more, below 2^64)");
	bad(number_parse, "a", 1, 65535, "not a number");
	bad(number_parse, "-", 1, 65535, "not a number");
	bad(number_parse, "+1", 1, 65535, "not a number");
	bad(number_parse, " 1", 1, 65535, "not a number");
	bad(number_parse, "0x10", 1, 65535, "not a number: \"x10\" follows the digits");
	bad(number_parse, "1 ", 1, 65535, "not a number: \" \" follows the digits");
	bad(number_parse, "1.5", 1, 65535, "not a number: \".5\" follows the digits");
	bad(number_parse, "1K", 1, 65535, "not a number: \"K\" follows the digits");
}

static void sizes(void **state)
{
	(void)state;
	good(number_parse_size, "0", 0);
	good(number_parse_size, "65536", 65536);
	good(number_parse_size, "64M", 64ull << 20);
	good(number_parse_size, "64m", 64ull << 20);
	good(number_parse_size, "1.5G", 3ull << 29);
	good(number_parse_size, "16777215T", 16777215ull << 40);
	bad(number_parse_size, "16777216T", 0, UINT64_MAX, "out of range (0 or more, below 2^64)");
	bad(number_parse_size, "1G", 1 << 20, 1 << 29, "out of range (1M to 512M)");
	bad(number_parse_size, "1", 1500, 1 << 29, "out of range (1500 to 512M)");
	bad(number_parse_size, "64 M", 0, 1 << 20, "\" M\" is not a unit (K, M, G or T)");
	bad(number_parse_size, "64MB", 0, 1 << 20, "\"MB\" is not a unit (K, M, G or T)");
	bad(number_parse_size, "M", 0, 1 << 20, "not a number");
	bad(number_parse_size, "1.M", 0, 1 << 20, "\".M\" is not a unit (K, M, G or T)");
}

static void durations(void **state)
{
	(void)state;
	good(number_parse_rate, "0", 0);
	good(number_parse_rate, "100M", 100000000);
	good(number_parse_rate, "2.5g", 2500000000);
	good(number_parse_millionths, "10", 10000000);
	good(number_parse_millionths, "0.5", 500000);
	good(number_parse_millionths, "2.25", 2250000);
	bad(number_parse_millionths, "0", 1, 10000000, "out of range (0 to 10)");
	bad(number_parse_millionths, "fast", 1, 10000000, "not a number");
	bad(number_parse_millionths, "2s", 1, 10000000, "\"s\" is not a unit (none)");
	good(number_parse_duration, "0", 0);
	good(number_parse_duration, "3s", 3 * NS_PER_SEC);
	good(number_parse_duration, "200ms", 200 * NS_PER_MS);
	good(number_parse_duration, "1.5s", 1500 * NS_PER_MS);
	good(number_parse_duration, "0.000000001s", 1);
	good(number_parse_duration, "10us", 10 * NS_PER_US);
	good(number_parse_duration, "7ns", 7);
	good(number_parse_duration, "2m", 120 * NS_PER_SEC);
	good(number_parse_duration, "1h", 3600 * NS_PER_SEC);
	good(number_parse_duration, "0s", 0);
	bad(number_parse_duration, "3", 0, NS_PER_SEC, "a unit is missing (ns, us, ms, s, m or h)");
	bad(number_parse_duration, "3x", 0, NS_PER_SEC, "\"x\" is not a unit (ns, us, ms, s, m or h)");
	bad(number_parse_duration, "3s", 0, NS_PER_SEC, "out of range (0 to 1s)");
	bad(number_parse_duration, "0", NS_PER_MS, 60 * NS_PER_SEC, "out of range (1ms to 1m)");
	bad(number_parse_duration, "-3s", 0, NS_PER_SEC, "out of range (0 to 1s)");
	bad(number_parse_duration, "9999999999h", 0, UINT64_MAX, "out of range (0 or more, below 2^64)");
	bad(number_parse_duration, "0.0000000001s", 0, NS_PER_SEC, "more than 9 digits after the point");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(sizes),
		cmocka_unit_test(durations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
