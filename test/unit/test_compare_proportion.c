/* Shares with published or computed bounds, and what rules make of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"
#include "compare/proportion.h"

#define HOUR (3600 * NS_PER_SEC)

static void near_by(double got, double want, double error)
{
	if (got < want * (1 - error) - 1e-15 || got > want * (1 + error) + 1e-15)
		fail_msg("%.9g instead of %.9g", got, want);
}

static void near(double got, double want)
{
	near_by(got, want, 1e-6);
}

static void exact(void **state)
{
	static const struct {
		uint64_t hits, all;
		double confidence, low, high;
	} rows[] = {
		{ 0, 0, 0.95, 0, 1 },
		{ 0, 10, 0.95, 0, 0.3084971078 },
		{ 10, 10, 0.95, 0.6915028922, 1 },
		{ 5, 10, 0.95, 0.1870860284, 0.8129139716 },
		{ 1, 1000, 0.95, 2.5317487491e-05, 0.0055589242798 },
		{ 3, 2000, 0.99, 0.00016900193532, 0.0054778029600 },
		{ 200, 1000, 0.95, 0.1756205748, 0.2261593728 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct rule_interval v =
			proportion_exact(rows[i].hits, rows[i].all, rows[i].confidence);

		near(v.low, rows[i].low);
		near(v.high, rows[i].high);
		near(v.value, rows[i].all ? (double)rows[i].hits / (double)rows[i].all : 0);
	}
}

/* 0 of a billion: below 3.7 of a billion. A billion of as many: the other way round. */
static void large(void **state)
{
	(void)state;
	near_by(proportion_exact(0, 1000000000, 0.95).high, 3.68887945e-9, 1e-3);
	near_by(1 - proportion_exact(1000000000, 1000000000, 0.95).low, 3.68887945e-9, 1e-3);
	assert_true(proportion_exact(500000000, 1000000000, 0.95).low > 0.499968);
	assert_true(proportion_exact(500000000, 1000000000, 0.95).high < 0.500032);
}

/* 100 answers differ of 100,000: each on a connection of its own, or all on one of 1000. */
static void clusters(void **state)
{
	const struct proportion apart = { 100000, 100, 1000, 100 }, together = { 100000, 100, 1000, 1 };
	const struct proportion none = { 1000000, 0, 50, 0 };
	struct rule_interval a = proportion_interval(&apart, 0.95), t = proportion_interval(&together, 0.95);

	(void)state;
	near(a.value, 0.001);
	near(t.value, 0.001);
	assert_true(a.low > 0.0008 && a.high < 0.0013);
	near(t.low, proportion_exact(1, 1000, 0.95).low);
	near(t.high, proportion_exact(1, 1000, 0.95).high);
	near(proportion_interval(&none, 0.95).high, 3.6888726e-6); /* few connections do not matter then */
}

static void judged(void **state)
{
	const struct proportion none = { 0, 0, 0, 0 }, clean = { 100000, 0, 1000, 0 },
				few = { 2000, 0, 20, 0 };
	const struct proportion bad = { 100000, 1000, 1000, 600 }, close = { 100000, 110, 1000, 100 };
	struct rule_result r;

	(void)state;
	proportion_judge(&none, 0.001, 0.95, HOUR, &r);
	assert_int_equal(r.verdict, VERDICT_UNDECIDED);
	assert_int_equal(r.reason, RULE_UNSEEN);
	assert_true(r.more == RULE_NEVER);
	proportion_judge(&clean, 0.001, 0.95, HOUR, &r);
	assert_int_equal(r.verdict, VERDICT_PASS);
	proportion_judge(&few, 0.001, 0.95, HOUR, &r);
	assert_int_equal(r.verdict, VERDICT_UNDECIDED);
	assert_int_equal(r.reason, RULE_WIDE);
	assert_true(r.more > HOUR * 6 / 10 && r.more < HOUR * 9 / 10); /* 3700 exchanges would do */
	proportion_judge(&bad, 0.001, 0.95, HOUR, &r);
	assert_int_equal(r.verdict, VERDICT_FAIL);
	proportion_judge(&close, 0.001, 0.95, HOUR, &r);
	assert_int_equal(r.verdict, VERDICT_UNDECIDED);
	assert_true(r.more > 2 * HOUR && r.more < 12 * HOUR);
}

/* One hit is never enough; a share of ten times the limit soon is. */
static void passed(void **state)
{
	struct proportion p = { 0, 0, 0, 0 };
	unsigned connections = 0;

	(void)state;
	for (; connections < 100; connections++) {
		p.exchanges += 10;
		p.connections++;
		p.hits += connections % 10 == 0;
		p.hit += connections % 10 == 0;
		if (proportion_passed(&p, 0.001))
			break;
	}
	assert_int_equal(p.hit, 5);
	p = (struct proportion){ 10, 1, 1, 1 };
	assert_false(proportion_passed(&p, 0.001));
	p = (struct proportion){ 1000000, 1000, 100000, 1000 };
	assert_false(proportion_passed(&p, 0.001));
	p = (struct proportion){ 1000000, 0, 100000, 0 };
	assert_false(proportion_passed(&p, 0));
}

/*
 * Of @runs, how many are stopped: half of all answers differ on connections chosen so that @share of all do.
 */
static unsigned stopped(double share, unsigned runs)
{
	uint64_t seed = 88172645463325252ull;
	unsigned stops = 0;

	for (unsigned run = 0; run < runs; run++) {
		struct proportion p = { 0, 0, 0, 0 };
		bool stop = false;

		for (unsigned i = 0; i < 3000 && !stop; i++) {
			unsigned hits = 0;

			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			if ((double)(seed >> 40) / (1 << 24) < 2 * share)
				hits = (unsigned)__builtin_popcount(seed & 1023); /* 5 of 10 */
			p.exchanges += 10;
			p.connections++;
			p.hits += hits;
			p.hit += hits != 0;
			stop = hits && proportion_passed(&p, 0.001);
		}
		stops += stop;
	}
	return stops;
}

/*
 * Looked at after every hit: at the limit itself one run in 200 is stopped at most, at five times the limit
 * all are.
 */
static void watched(void **state)
{
	(void)state;
	assert_true(stopped(0.001, 200) <= 1);
	assert_int_equal(stopped(0.0005, 100), 0);
	assert_int_equal(stopped(0.005, 20), 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exact),  cmocka_unit_test(large),  cmocka_unit_test(clusters),
		cmocka_unit_test(judged), cmocka_unit_test(passed), cmocka_unit_test(watched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
