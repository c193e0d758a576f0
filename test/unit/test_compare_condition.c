/* Conditions as typed: what they mean, and what is said of those that mean nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "compare/condition.h"

static struct condition c[4];
static char error[256];

static unsigned parse(const char *text)
{
	memset(c, 0x55, sizeof(c));
	error[0] = '\0';
	return condition_parse(text, verdict_metrics, VERDICT_METRIC_COUNT, c, ARRAY_SIZE(c), error,
			       sizeof(error));
}

static void right(void **state)
{
	static const struct {
		const char *text, *class;
		enum verdict_metric metric;
		double quantile;
		enum condition_unit unit;
		double limit;
	} rows[] = {
		{ "p99 > 1.2x", "", VERDICT_ON_LAST, 0.99, CONDITION_TIMES, 1.2 },
		{ "p99>1.2x", "", VERDICT_ON_LAST, 0.99, CONDITION_TIMES, 1.2 },
		{ "  p99.9   >  2x ", "", VERDICT_ON_LAST, 0.999, CONDITION_TIMES, 2 },
		{ "felt p99 > 2x", "", VERDICT_ON_FELT, 0.99, CONDITION_TIMES, 2 },
		{ "service p50 > 0.5x", "", VERDICT_ON_SERVICE, 0.5, CONDITION_TIMES, 0.5 },
		{ "differ > 0.1%", "", VERDICT_ON_DIFFER, 0, CONDITION_SHARE, 0.001 },
		{ "errors > 0.01%", "", VERDICT_ON_ERRORS, 0, CONDITION_SHARE, 0.0001 },
		{ "silent > 0%", "", VERDICT_ON_SILENT, 0, CONDITION_SHARE, 0 },
		{ "closed > 99.5%", "", VERDICT_ON_CLOSED, 0, CONDITION_SHARE, 0.995 },
		{ "GET /cart: first p50 > 5ms", "GET /cart", VERDICT_ON_FIRST, 0.5, CONDITION_TIME, 5e6 },
		{ "GET /a:b: c: p90 > 1.5s", "GET /a:b: c", VERDICT_ON_LAST, 0.9, CONDITION_TIME, 1.5e9 },
		{ "GET /a>b: p90 > 1h", "GET /a>b", VERDICT_ON_LAST, 0.9, CONDITION_TIME, 3600e9 },
		{ "HGETALL: differ > 1%", "HGETALL", VERDICT_ON_DIFFER, 0, CONDITION_SHARE, 0.01 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (parse(rows[i].text) != 1)
			fail_msg("%s: %s", rows[i].text, error);
		assert_string_equal(c[0].class, rows[i].class);
		assert_int_equal(c[0].metric, rows[i].metric);
		assert_int_equal(c[0].unit, rows[i].unit);
		assert_true(c[0].quantile > rows[i].quantile - 1e-9 &&
			    c[0].quantile < rows[i].quantile + 1e-9);
		assert_true(c[0].limit > rows[i].limit * (1 - 1e-9) - 1e-9);
		assert_true(c[0].limit < rows[i].limit * (1 + 1e-9) + 1e-9);
	}
}

static void several(void **state)
{
	(void)state;
	assert_int_equal(parse("p99 > 2s or errors > 5% or GET /: felt p50 > 3x"), 3);
	assert_int_equal(c[0].unit, CONDITION_TIME);
	assert_int_equal(c[1].metric, VERDICT_ON_ERRORS);
	assert_string_equal(c[2].class, "GET /");
	assert_int_equal(parse("p1 > 1x or p2 > 1x or p3 > 1x or p4 > 1x or p5 > 1x"), 0);
	assert_string_equal(error, "\"p5 > 1x\": more than 4 conditions");
	assert_int_equal(parse("p99 > 2s or "), 0);
}

static void wrong(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{ "p99", "\"p99\": > and a limit are missing, as in p99 > 1.2x" },
		{ "", "\"\": > and a limit are missing, as in p99 > 1.2x" },
		{ "p99 < 1.2x", "\"p99 < 1.2x\": > and a limit are missing, as in p99 > 1.2x" },
		{ "p99 >= 1.2x",
		  "\"= 1.2x\": no limit for last: not a number; accepted: a factor (1.2x), a time (5ms)" },
		{ "latency p99 > 1.2x",
		  "\"latency\": no such metric; accepted: last, first, service, felt, differ, errors, silent, closed, or a quantile of last such as p99; a class ends with \": \"" },
		{ "GET /cart p99 > 1.2x",
		  "\"GET\": no such metric; accepted: last, first, service, felt, differ, errors, silent, closed, or a quantile of last such as p99; a class ends with \": \"" },
		{ "> 1.2x",
		  "\"\": no such metric; accepted: last, first, service, felt, differ, errors, silent, closed, or a quantile of last such as p99; a class ends with \": \"" },
		{ ": p99 > 1.2x", "\"\": the class before \": \" is empty" },
		{ "p100 > 1.2x",
		  "\"p100\": not a quantile; accepted: above p0 and below p100, such as p50, p99, p99.9" },
		{ "p0 > 1.2x",
		  "\"p0\": not a quantile; accepted: above p0 and below p100, such as p50, p99, p99.9" },
		{ "first p9z > 1.2x",
		  "\"p9z\": not a quantile; accepted: above p0 and below p100, such as p50, p99, p99.9" },
		{ "p99 first > 1.2x", "\"first\": nothing may stand between the quantile and >" },
		{ "felt > 2x", "\"felt\": a quantile is missing; accepted: felt p99 and such" },
		{ "felt max > 2x", "\"max\": a quantile is missing; accepted: felt p99 and such" },
		{ "differ p99 > 0.1%", "\"p99\": differ has no quantiles" },
		{ "p99 > ", "\"\": no limit for last: empty; accepted: a factor (1.2x), a time (5ms)" },
		{ "p99 > 1.2",
		  "\"1.2\": no limit for last: a unit is missing (ns, us, ms, s, m or h); accepted: a factor (1.2x), a time (5ms)" },
		{ "p99 > 0x",
		  "\"0x\": no limit for last: a factor of 0; accepted: a factor (1.2x), a time (5ms)" },
		{ "p99 > 5%",
		  "\"5%\": no limit for last: not of its kind; accepted: a factor (1.2x), a time (5ms)" },
		{ "differ > 5ms", "\"5ms\": no limit for differ: not of its kind; accepted: a share (0.1%)" },
		{ "differ > 100%", "\"100%\": no limit for differ: more than all; accepted: a share (0.1%)" },
		{ "differ > x%", "\"x%\": no limit for differ: not a number; accepted: a share (0.1%)" },
		{ "differ > 0.1 %",
		  "\"0.1 %\": no limit for differ: \" \" is not a unit (none); accepted: a share (0.1%)" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (parse(rows[i].text))
			fail_msg("%s: taken", rows[i].text);
		assert_string_equal(error, rows[i].words);
	}
}

/* Another table: the first row is what a quantile alone is of. */
static void other_table(void **state)
{
	static const struct condition_metric metrics[] = {
		{ "time", 7, CONDITION_TIME, true },
		{ "refused", 9, CONDITION_SHARE, false },
	};

	(void)state;
	assert_int_equal(condition_parse("p99 > 2s or refused > 5%", metrics, 2, c, 4, error, sizeof(error)),
			 2);
	assert_int_equal(c[0].metric, 7);
	assert_true(c[0].limit == 2e9);
	assert_int_equal(c[1].metric, 9);
	assert_int_equal(condition_parse("p99 > 2x", metrics, 2, c, 4, error, sizeof(error)), 0);
	assert_string_equal(error, "\"2x\": no limit for time: not of its kind; accepted: a time (5ms)");
}

/* A metric that takes a number takes nothing else. */
static void numbers(void **state)
{
	static const struct condition_metric metrics[] = { { "drops", 5, CONDITION_COUNT, false } };

	(void)state;
	assert_int_equal(condition_parse("drops > 0", metrics, 1, c, 4, error, sizeof(error)), 1);
	assert_true(c[0].metric == 5 && c[0].unit == CONDITION_COUNT && c[0].limit < 0.5);
	assert_int_equal(condition_parse("drops > 12", metrics, 1, c, 4, error, sizeof(error)), 1);
	assert_true(c[0].limit > 11.5 && c[0].limit < 12.5);
	assert_int_equal(condition_parse("drops > 5ms", metrics, 1, c, 4, error, sizeof(error)), 0);
	assert_string_equal(
		error,
		"\"5ms\": no limit for drops: not a number: \"ms\" follows the digits; accepted: a number (10)");
}

/* Whatever is typed, the words fit. */
static void long_words(void **state)
{
	char text[400], small[8];

	(void)state;
	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(parse(text), 0);
	assert_string_equal(error, "\"yyyyyyyyyyyyyyyyyyyy...\": longer than 159 characters");
	text[150] = '\0';
	assert_int_equal(
		condition_parse(text, verdict_metrics, VERDICT_METRIC_COUNT, c, 4, small, sizeof(small)), 0);
	assert_string_equal(small, "\"yyyyyy");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right),       cmocka_unit_test(several), cmocka_unit_test(wrong),
		cmocka_unit_test(other_table), cmocka_unit_test(numbers), cmocka_unit_test(long_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
