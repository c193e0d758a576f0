/* Verdicts on runs whose blocks and counts are known, by conditions as they are typed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "compare/verdict.h"

#define SEC NS_PER_SEC
#define US NS_PER_US

static struct rule_work work;
static struct condition c[VERDICT_CONDITIONS];
static struct rule_result r[VERDICT_CONDITIONS];
static struct verdict_counts counts[3];
static struct verdict_run run;

/*
 * 40 s of 2000 exchanges on 20 connections a second. The target takes 1.05 times as long, in the class GET
 * /slow, half of all, 1.3 times. Its felt times are 3 times the online server's, its first bytes come after
 * half the time.
 */
static int fresh(void **state)
{
	struct blocks *b = blocks_init(malloc(blocks_size(2)), 2, 0, SEC);
	static const unsigned percent[BLOCKS_METRIC_COUNT] = {
		[BLOCKS_FIRST] = 50, [BLOCKS_LAST] = 105, [BLOCKS_SERVICE] = 105, [BLOCKS_FELT] = 300
	};

	(void)state;
	memset(counts, 0, sizeof(counts));
	for (unsigned second = 0; second < 40; second++) {
		for (unsigned i = 0; i < 2000; i++) {
			const unsigned class = i % 2 ? blocks_class(b, second * SEC, 7, "GET /slow") : 0;
			const uint64_t online = (100 + i % 100) * US;
			struct blocks_times t;

			for (unsigned m = 0; m < BLOCKS_METRIC_COUNT; m++) {
				t.ns[BLOCKS_ONLINE][m] = online;
				t.ns[BLOCKS_TARGET][m] =
					online * (class && m == BLOCKS_LAST ? 130 : percent[m]) / 100;
			}
			blocks_add(b, second * SEC, class, &t);
		}
	}
	blocks_end(b, 40 * SEC);
	for (unsigned m = 0; m < VERDICT_METRIC_COUNT; m++) {
		counts[0].of[m] = (struct proportion){ .exchanges = 80000, .connections = 800 };
		counts[1].of[m] = (struct proportion){ .exchanges = 40000, .connections = 800 };
	}
	run = (struct verdict_run){ .blocks = b, .counts = counts, .span = 40 * SEC };
	*state = b;
	return 0;
}

static int gone(void **state)
{
	free(*state);
	return 0;
}

static enum verdict judge(const char *text)
{
	char error[256];
	unsigned n = condition_parse(text, verdict_metrics, VERDICT_METRIC_COUNT, c, VERDICT_CONDITIONS,
				     error, sizeof(error));

	if (!n)
		fail_msg("%s: %s", text, error);
	return verdict_judge(&run, c, n, RULE_CONFIDENCE, &work, r);
}

static void metrics(void **state)
{
	(void)state;
	assert_int_equal(judge("first p50 > 0.6x"), VERDICT_PASS);
	assert_int_equal(judge("first p50 > 0.4x"), VERDICT_FAIL);
	assert_int_equal(judge("service p50 > 1.1x"), VERDICT_PASS);
	assert_int_equal(judge("felt p99 > 2.9x"), VERDICT_FAIL);
	assert_int_equal(judge("felt p99 > 3.1x"), VERDICT_PASS);
	assert_int_equal(judge("p50 > 1ms"), VERDICT_PASS);
	assert_int_equal(judge("p50 > 150us"), VERDICT_FAIL);
}

static void of_a_class(void **state)
{
	(void)state;
	assert_int_equal(judge("GET /slow: p50 > 1.2x"), VERDICT_FAIL);
	assert_true(r[0].ratio.value > 1.28 && r[0].ratio.value < 1.32);
	assert_int_equal(judge("GET /slow: p50 > 1.4x"), VERDICT_PASS);
	assert_int_equal(judge("GET /none: p50 > 1.4x"), VERDICT_UNDECIDED);
	assert_int_equal(r[0].reason, RULE_UNSEEN);
	assert_int_equal(judge("GET /none: differ > 1%"), VERDICT_UNDECIDED);
	assert_int_equal(r[0].reason, RULE_UNSEEN);
	assert_true(verdict_more(r, 1) == RULE_NEVER);
}

/* A class without room for its times is not judged, whatever they would say. */
static void cut(void **state)
{
	struct blocks *b = blocks_init(malloc(blocks_size(1)), 1, 0, SEC);
	struct blocks_times t;

	(void)state;
	blocks_keep(b, 1, "HGETALL");
	for (unsigned i = 0; i < SCALE_BUCKETS; i++) {
		for (unsigned m = 0; m < BLOCKS_METRIC_COUNT; m++)
			t.ns[0][m] = t.ns[1][m] = (uint64_t)scale_lower(i);
		blocks_add(b, 0, blocks_class(b, 0, 1, "HGETALL"), &t);
	}
	blocks_end(b, SEC);
	run.blocks = b;
	assert_int_equal(judge("HGETALL: p50 > 1.2x"), VERDICT_UNDECIDED);
	assert_int_equal(r[0].reason, RULE_MEMORY);
	free(b);
}

static void shares(void **state)
{
	(void)state;
	assert_int_equal(judge("differ > 0.1% or errors > 0.01%"), VERDICT_PASS);
	counts[0].of[VERDICT_ON_ERRORS].hits = counts[0].of[VERDICT_ON_ERRORS].hit = 40;
	assert_int_equal(judge("differ > 0.1% or errors > 0.01%"), VERDICT_FAIL);
	assert_int_equal(r[0].verdict, VERDICT_PASS);
	assert_int_equal(r[1].verdict, VERDICT_FAIL);
	assert_int_equal(judge("GET /slow: errors > 0.1%"), VERDICT_PASS);
	counts[1].of[VERDICT_ON_ERRORS].hits = counts[1].of[VERDICT_ON_ERRORS].hit = 400;
	assert_int_equal(judge("GET /slow: errors > 0.1%"), VERDICT_FAIL);
}

static void together(void **state)
{
	(void)state;
	assert_int_equal(verdict_judge(&run, c, 0, RULE_CONFIDENCE, &work, r), VERDICT_UNDECIDED);
	assert_int_equal(judge("p50 > 2x or p99 > 2x"), VERDICT_PASS);
	assert_int_equal(judge("p50 > 2x or GET /none: p99 > 2x"), VERDICT_UNDECIDED);
	assert_int_equal(judge("p50 > 1.01x or GET /none: p99 > 2x"), VERDICT_FAIL);
	assert_int_equal(judge("p50 > 2x or errors > 0.004%"),
			 VERDICT_UNDECIDED); /* 0 of 80,000 is below 0.006 % */
	assert_true(verdict_more(r, 2) > 10 * SEC && verdict_more(r, 2) < 40 * SEC);
}

/* Each of two has half of the error: the bound of 0 of 80,000 is 4.4 of them instead of 3.7. */
static void shared_error(void **state)
{
	(void)state;
	assert_int_equal(judge("errors > 0.005%"), VERDICT_PASS);
	assert_true(r[0].ratio.high > 4.60e-5 && r[0].ratio.high < 4.62e-5);
	assert_int_equal(judge("errors > 0.005% or p50 > 2x"), VERDICT_UNDECIDED);
	assert_true(r[0].ratio.high > 5.47e-5 && r[0].ratio.high < 5.49e-5);
}

static void defaults(void **state)
{
	(void)state;
	assert_int_equal(judge(VERDICT_DEFAULTS), VERDICT_FAIL);
	assert_int_equal(r[0].verdict, VERDICT_FAIL); /* 1.17x: half of all are of the slow class */
	assert_int_equal(r[2].verdict, VERDICT_PASS);
	assert_int_equal(c[4].metric, VERDICT_ON_SILENT);
}

static void passed(void **state)
{
	unsigned which = 9;
	char error[256];

	(void)state;
	condition_parse("p50 > 1.01x or differ > 0.1% or GET /slow: closed > 0.1%", verdict_metrics,
			VERDICT_METRIC_COUNT, c, VERDICT_CONDITIONS, error, sizeof(error));
	assert_false(verdict_passed(&run, c, 3, &which));
	counts[1].of[VERDICT_ON_CLOSED].hits = counts[1].of[VERDICT_ON_CLOSED].hit = 200;
	assert_true(verdict_passed(&run, c, 3, &which));
	assert_int_equal(which, 2);
}

#define RUN(test) cmocka_unit_test_setup_teardown(test, fresh, gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(metrics),  RUN(of_a_class),   RUN(cut),      RUN(shares),
		RUN(together), RUN(shared_error), RUN(defaults), RUN(passed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
