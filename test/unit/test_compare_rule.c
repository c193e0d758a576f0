/*
 * The rule on times, in runs whose blocks are known: what passes, what fails, what is too little to say so.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/util.h"
#include "compare/rule.h"

#define SEC NS_PER_SEC
#define US NS_PER_US

static struct blocks *b;
static struct rule_work work;
static struct rule_result r;
static struct rule_quantile p50, p99;

/* No warm-up, blocks of a second. */
static int fresh(void **state)
{
	(void)state;
	b = blocks_init(malloc(blocks_size(0)), 0, 0, SEC);
	p50 = (struct rule_quantile){ .quantile = 0.5, .limit = 1.1 };
	p99 = (struct rule_quantile){ .quantile = 0.99, .limit = 1.1 };
	return 0;
}

static int gone(void **state)
{
	(void)state;
	free(b);
	return 0;
}

static void add(unsigned second, uint64_t online, uint64_t target)
{
	struct blocks_times t;

	for (unsigned m = 0; m < BLOCKS_METRIC_COUNT; m++) {
		t.ns[BLOCKS_ONLINE][m] = online;
		t.ns[BLOCKS_TARGET][m] = target;
	}
	blocks_add(b, second * SEC, 0, &t);
}

/*
 * @count exchanges in that second, from @base on 1 % apart; the target takes @percent of the online server's.
 */
static void second(unsigned which, unsigned count, uint64_t base, unsigned percent)
{
	for (unsigned i = 0; i < count; i++) {
		const uint64_t online = base + base * (i % 100) / 100;

		add(which, online, online * percent / 100);
	}
}

static enum verdict judge(const struct rule_quantile *q)
{
	blocks_view(b, BLOCKS_TOTAL, BLOCKS_LAST, &work.view);
	rule_judge(&work, q, 0.95, &r);
	return r.verdict;
}

static void near(double got, double want, double error)
{
	if (got < want * (1 - error) || got > want * (1 + error))
		fail_msg("%.9g instead of %.9g", got, want);
}

static void nothing(void **state)
{
	(void)state;
	assert_int_equal(judge(&p50), VERDICT_UNDECIDED);
	assert_int_equal(r.reason, RULE_UNSEEN);
	assert_true(r.more == RULE_NEVER);
}

static void equal(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++)
		second(i, 200, 100 * US, 100);
	blocks_end(b, 40 * SEC);
	assert_int_equal(judge(&p99), VERDICT_PASS);
	assert_int_equal(r.reason, RULE_DECIDED);
	assert_int_equal(r.blocks, 40);
	assert_int_equal(r.length, SEC);
	assert_true(r.ratio.value == 1 && r.ratio.low == 1 && r.ratio.high == 1);
	assert_true(r.difference.low == 0 && r.difference.high == 0);
	near(r.online, 199.5e3, 0.005);
	assert_int_equal(judge(&p50), VERDICT_PASS);
	near(r.online, 150e3, 0.005);
}

/* The interval is a point where all blocks are the same: 1.3x is above a limit of 1.10x, 1.05x below. */
static void slower(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++)
		second(i, 200, 100 * US, 130);
	blocks_end(b, 20 * SEC);
	assert_int_equal(judge(&p50), VERDICT_FAIL);
	near(r.ratio.value, 1.3, 0.005);
	near(r.difference.value, 45e3, 0.02);
	assert_int_equal(judge(&p99), VERDICT_FAIL);
	p50.limit = 1.35;
	assert_int_equal(judge(&p50), VERDICT_PASS);
}

static void faster(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++)
		second(i, 200, 100 * US, 50);
	blocks_end(b, 20 * SEC);
	assert_int_equal(judge(&p50), VERDICT_PASS);
	near(r.ratio.high, 0.5, 0.005);
}

static void too_few_blocks(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 19; i++)
		second(i, 1000, 100 * US, 200);
	blocks_end(b, 19 * SEC);
	assert_int_equal(judge(&p50), VERDICT_UNDECIDED);
	assert_int_equal(r.reason, RULE_FEW_BLOCKS);
	assert_true(r.more == SEC);
	near(r.ratio.value, 2, 0.01); /* said all the same */
}

/* p99 takes 2000 exchanges, 20 of them above it; p50 takes 40, and of them it is not the upper half alone. */
static void too_few_exchanges(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++)
		second(i, i ? 100 : 99, 100 * US, 200);
	blocks_end(b, 20 * SEC);
	assert_int_equal(judge(&p99), VERDICT_UNDECIDED);
	assert_int_equal(r.reason, RULE_FEW_EXCHANGES);
	near((double)r.more, 20e9 / 1999, 0.01);
	assert_int_equal(judge(&p50), VERDICT_FAIL);
	p50.quantile = 0.005;
	assert_int_equal(judge(&p50), VERDICT_UNDECIDED);
}

/* 20 of 200 above p90, though 0.1 of 200 is a little less for a computer. */
static void just_enough_of_p90(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++)
		second(i, 10, 100 * US, 200);
	blocks_end(b, 20 * SEC);
	p50.quantile = 0.9;
	assert_int_equal(judge(&p50), VERDICT_FAIL);
}

static void just_enough(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++)
		second(i, 100, 100 * US, 200);
	blocks_end(b, 20 * SEC);
	assert_int_equal(judge(&p99), VERDICT_FAIL);
}

/* Seconds without a request are no blocks. */
static void pauses(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i += 2)
		second(i, i == 10 ? 0 : 200, 100 * US, 100);
	blocks_end(b, 40 * SEC);
	assert_int_equal(judge(&p50), VERDICT_UNDECIDED);
	assert_int_equal(r.reason, RULE_FEW_BLOCKS);
	assert_int_equal(r.blocks, 19);
}

/* The second half is slower: that is one change, not twenty. */
static void drift(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++)
		second(i, 200, 100 * US, i < 20 ? 100 : 150);
	blocks_end(b, 40 * SEC);
	assert_int_equal(judge(&p50), VERDICT_UNDECIDED);
	assert_int_equal(r.reason, RULE_DEPENDENT);
	assert_true(r.dependence > 0.5);
	assert_int_equal(r.blocks, 10);  /* 40 and 20 were too much alike */
	assert_true(r.more == 40 * SEC); /* 20 blocks of 4 s are 80 s */
}

/* At p99 nothing changes, at the median all does: the load does, and p99 is not believed either. */
static void drift_of_the_median(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		second(i, 196, 100 * US, i < 20 ? 100 : 150);
		for (unsigned k = 0; k < 4; k++)
			add(i, 10000 * US, (i % 2 ? 20000 : 21000) * US);
	}
	blocks_end(b, 40 * SEC);
	assert_int_equal(judge(&p99), VERDICT_UNDECIDED);
	assert_int_equal(r.reason, RULE_DEPENDENT);
}

/* Four slow seconds, four fast ones: in pairs they are independent. */
static void merged_once(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 60; i++)
		second(i, 200, 100 * US, i % 8 < 4 ? 125 : 135);
	blocks_end(b, 60 * SEC);
	assert_int_equal(judge(&p50), VERDICT_FAIL);
	assert_int_equal(r.blocks, 30);
	assert_int_equal(r.length, 2 * SEC);
	assert_true(r.dependence < 0.1);
}

/* What alternates is not alike: nothing is merged. */
static void alternating(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 60; i++)
		second(i, 200, 100 * US, i % 2 ? 120 : 140);
	blocks_end(b, 60 * SEC);
	assert_int_equal(judge(&p50), VERDICT_FAIL);
	assert_int_equal(r.blocks, 60);
	assert_true(r.dependence < -0.9);
}

/* What slows both down cancels. */
static void common_load(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 60; i++)
		second(i, 200, (i % 3 == 0 ? 300 : 100) * US, 105);
	blocks_end(b, 60 * SEC);
	assert_int_equal(judge(&p50), VERDICT_PASS);
	near(r.ratio.low, 1.05, 0.01);
	near(r.ratio.high, 1.05, 0.01);
}

static void too_wide(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 60; i++)
		second(i, 200, 100 * US, 76 + 17 * (i * i % 7));
	blocks_end(b, 60 * SEC);
	assert_int_equal(judge(&p50), VERDICT_UNDECIDED);
	assert_int_equal(r.reason, RULE_WIDE);
	assert_true(r.ratio.low < 1.1 && r.ratio.high > 1.1);
	near((double)r.more, 62.8e9,
	     0.01); /* 60 s times 2.05: the square of half the interval by the way to 1.1 */
}

/* An answer that never came is slower than all others. */
static void never(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		second(i, 196, 100 * US, 100);
		for (unsigned k = 0; k < 4; k++)
			add(i, 100 * US, TIME_NEVER);
	}
	blocks_end(b, 40 * SEC);
	assert_int_equal(judge(&p99), VERDICT_FAIL);
	assert_true(r.target == 68719476736.0);
	assert_int_equal(judge(&p50), VERDICT_PASS);
}

static void never_on_both_sides(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		second(i, 196, 100 * US, 100);
		for (unsigned k = 0; k < 4; k++)
			add(i, TIME_NEVER, TIME_NEVER);
	}
	blocks_end(b, 40 * SEC);
	assert_int_equal(judge(&p99), VERDICT_PASS);
	assert_true(r.ratio.value == 1);
}

/* 90 us against 120 us is 1.33x; where the path jitters by 40 us it is the same. */
static void resolution(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		for (unsigned k = 0; k < 200; k++)
			add(i, 90 * US, (i % 2 ? 118 : 122) * US);
	}
	blocks_end(b, 40 * SEC);
	p50.resolution = 40e3;
	assert_int_equal(judge(&p50), VERDICT_PASS);
	near(r.ratio.low, 1.31, 0.02);
	p50.resolution = 20e3;
	assert_int_equal(judge(&p50), VERDICT_FAIL);
	p50.resolution = 30e3;
	assert_int_equal(judge(&p50), VERDICT_UNDECIDED);
	assert_int_equal(r.reason, RULE_RESOLUTION);
}

/* A limit in ns is for the target alone. */
static void absolute(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++)
		second(i, 200, 1000 * US, 300);
	blocks_end(b, 40 * SEC);
	p50 = (struct rule_quantile){ .quantile = 0.5, .absolute = true, .limit = 5e6, .resolution = 1e9 };
	assert_int_equal(judge(&p50), VERDICT_PASS);
	near(r.ratio.value, 4.5e6, 0.005);
	p50.limit = 4e6;
	assert_int_equal(judge(&p50), VERDICT_FAIL);
}

/* The same counts, the same interval; more confidence, a wider one. */
static void deterministic(void **state)
{
	struct rule_result first;

	(void)state;
	for (unsigned i = 0; i < 60; i++)
		second(i, 200, 100 * US, 90 + 7 * (i * i % 11));
	blocks_end(b, 60 * SEC);
	judge(&p99);
	first = r;
	judge(&p99);
	assert_memory_equal(&first, &r, sizeof(r));
	blocks_view(b, BLOCKS_TOTAL, BLOCKS_LAST, &work.view);
	rule_judge(&work, &p99, 0.99, &r);
	assert_true(r.ratio.low < first.ratio.low && r.ratio.high > first.ratio.high);
}

static void confidence(void **state)
{
	(void)state;
	near(rule_confidence(0.95, 5), 0.99, 1e-12);
	near(rule_confidence(0.95, 1), 0.95, 1e-12);
	assert_string_equal(rule_verdict_name(VERDICT_UNDECIDED), "UNDECIDED");
	assert_string_equal(rule_reason_name(RULE_WIDE), "wide");
}

static void looks(void **state)
{
	uint64_t next = 0;

	(void)state;
	assert_false(rule_look(&next, 19 * SEC, SEC));
	assert_true(rule_look(&next, 20 * SEC, SEC));
	assert_false(rule_look(&next, 20 * SEC, SEC));
	assert_false(rule_look(&next, 39 * SEC, SEC));
	assert_true(rule_look(&next, 45 * SEC, SEC));
	assert_false(rule_look(&next, 89 * SEC, 2 * SEC));
	assert_true(rule_look(&next, 90 * SEC, 2 * SEC));
}

static void foreseen(void **state)
{
	(void)state;
	assert_true(rule_until(2, 60 * SEC) == 60 * SEC);
	assert_true(rule_until(0.5, 60 * SEC) == 0);
	assert_true(rule_until(1e9, 60 * SEC) == RULE_NEVER);
	assert_true(rule_until(NAN, 60 * SEC) == RULE_NEVER);
}

#define RUN(test) cmocka_unit_test_setup_teardown(test, fresh, gone)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(nothing),
		RUN(equal),
		RUN(slower),
		RUN(faster),
		RUN(too_few_blocks),
		RUN(too_few_exchanges),
		RUN(just_enough),
		RUN(just_enough_of_p90),
		RUN(pauses),
		RUN(drift),
		RUN(drift_of_the_median),
		RUN(merged_once),
		RUN(alternating),
		RUN(common_load),
		RUN(too_wide),
		RUN(never),
		RUN(never_on_both_sides),
		RUN(resolution),
		RUN(absolute),
		RUN(deterministic),
		cmocka_unit_test(confidence),
		cmocka_unit_test(looks),
		cmocka_unit_test(foreseen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
