/*
 * The rules on simulated traffic, with fixed seeds: two equal servers are not called different, and one that
 * is slower is found. A few runs of what bench/verdict.c does a thousand times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/util.h"
#include "traffic_model.h"

static struct rule_work work;
static unsigned count[VERDICT_COUNT], looked[VERDICT_COUNT];

static struct traffic_verdict run(const struct traffic *t, unsigned seeds, double seconds)
{
	void *memory = malloc(blocks_size(0));
	struct traffic_verdict end = { .judged = 0 }, decided;

	for (unsigned v = 0; v < VERDICT_COUNT; v++)
		count[v] = looked[v] = 0;
	for (unsigned seed = 1; seed <= seeds; seed++) {
		traffic_run(t, seed, seconds, memory, &work, &end, &decided);
		count[end.both]++;
		looked[decided.both]++;
	}
	free(memory);
	return end;
}

static void equal_short_memory(void **state)
{
	const struct traffic t = {
		.tau = 0.5, .sd = 0.2, .common = 0.5, .rate = 1000, .slower = 1, .tail = 1
	};

	(void)state;
	run(&t, 20, 60);
	assert_int_equal(count[VERDICT_FAIL], 0);
	assert_int_equal(looked[VERDICT_FAIL], 0);
	assert_true(count[VERDICT_PASS] >= 10);
}

static void equal_long_memory(void **state)
{
	const struct traffic t = {
		.tau = 5, .sd = 0.3, .pauses = 0.05, .rate = 2000, .slower = 1, .tail = 1
	};

	(void)state;
	run(&t, 20, 60);
	assert_int_equal(count[VERDICT_FAIL], 0);
	assert_int_equal(looked[VERDICT_FAIL], 0);
}

static void slower(void **state)
{
	const struct traffic t = {
		.tau = 0.5, .sd = 0.2, .common = 0.5, .rate = 500, .slower = 1.3, .tail = 1
	};

	(void)state;
	run(&t, 5, 300);
	assert_int_equal(count[VERDICT_FAIL], 5);
	assert_int_equal(looked[VERDICT_FAIL], 5);
}

/* Only 1 % is slower: p50 passes, p99 does not. */
static void slower_tail(void **state)
{
	const struct traffic t = {
		.tau = 0.5, .sd = 0.1, .common = 0.5, .rate = 500, .slower = 1, .tail = 2
	};
	struct traffic_verdict v;

	(void)state;
	v = run(&t, 5, 300);
	assert_int_equal(count[VERDICT_FAIL], 5);
	assert_int_equal(v.p50.verdict, VERDICT_PASS);
	assert_int_equal(v.p99.verdict, VERDICT_FAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_short_memory),
		cmocka_unit_test(equal_long_memory),
		cmocka_unit_test(slower),
		cmocka_unit_test(slower_tail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
