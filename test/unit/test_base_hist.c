/* The histogram: resolution at every magnitude, quantiles against a sorted list, merging, the
 * extremes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/hist.h"
#include "base/util.h"

static uint64_t seed = 88172645463325252ull;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void empty(void **state)
{
	static struct hist h;

	(void)state;
	hist_reset(&h);
	assert_int_equal(hist_quantile(&h, 0.5), 0);
	assert_int_equal(hist_quantile(&h, 1), 0);
	assert_int_equal(h.count, 0);
}

/* Every value falls into a bucket whose edge is at most 1/16 above it, never below. */
static void resolution(void **state)
{
	static struct hist h;

	(void)state;
	for (unsigned shift = 0; shift < 64; shift++) {
		for (int i = 0; i < 100; i++) {
			uint64_t value = (1ull << shift) | (next_random() & ((1ull << shift) - 1)), edge;

			hist_reset(&h);
			hist_add(&h, value);
			h.max = UINT64_MAX; /* no clamping: the edge itself */
			edge = hist_quantile(&h, 0.5);
			assert_true(edge >= value);
			assert_true(edge - value <= value / 16);
		}
	}
	hist_reset(&h);
	hist_add(&h, 0);
	h.max = UINT64_MAX;
	assert_true(hist_quantile(&h, 0.5) == 0);
}

static void quantiles(void **state)
{
	static const double q[] = { 0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1 };
	static struct hist h;
	static uint64_t values[10000];

	(void)state;
	hist_reset(&h);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		values[i] = next_random() >> (next_random() % 60);
		hist_add(&h, values[i]);
	}
	qsort(values, ARRAY_SIZE(values), sizeof(values[0]), ascending);
	for (size_t i = 0; i < ARRAY_SIZE(q); i++) {
		size_t rank = MIN((size_t)(q[i] * ARRAY_SIZE(values)), ARRAY_SIZE(values) - 1);
		uint64_t got = hist_quantile(&h, q[i]);

		assert_true(got >= values[rank]);
		assert_true(got - values[rank] <= values[rank] / 16);
	}
	assert_true(hist_quantile(&h, 1) == values[ARRAY_SIZE(values) - 1]);
	assert_true(h.min == values[0] && h.max == values[ARRAY_SIZE(values) - 1]);
}

static void merging(void **state)
{
	static struct hist all, a, b, none;

	(void)state;
	hist_reset(&all);
	hist_reset(&a);
	hist_reset(&b);
	hist_reset(&none);
	for (int i = 0; i < 1000; i++) {
		uint64_t value = next_random() % 1000000;

		hist_add(&all, value);
		hist_add(i % 3 ? &a : &b, value);
	}
	hist_merge(&a, &none);
	hist_merge(&none, &a); /* into an empty one: min comes over */
	hist_merge(&none, &b);
	assert_memory_equal(&none, &all, sizeof(all));
}

static void extremes(void **state)
{
	static struct hist h;

	(void)state;
	hist_reset(&h);
	hist_add(&h, UINT64_MAX);
	hist_add(&h, UINT64_MAX);
	hist_add(&h, 7);
	assert_true(h.sum == UINT64_MAX); /* saturated */
	assert_true(hist_quantile(&h, 0.9) == UINT64_MAX);
	assert_true(hist_quantile(&h, 0) == 7);
}

static void subtract(void **state)
{
	static struct hist all, then, since;

	(void)state;
	hist_reset(&all);
	for (uint64_t v = 1; v <= 1000; v++)
		hist_add(&all, v);
	then = all;
	hist_add(&all, 20);
	hist_add(&all, 30);
	since = all;
	hist_subtract(&since, &then);
	assert_int_equal(since.count, 2);
	assert_int_equal(since.sum, 50);
	assert_true(since.min <= 20 && since.max >= 30 && since.max < 34);
	assert_true(hist_quantile(&since, 0.25) <= 21);
	then = since;
	hist_subtract(&since, &then);
	assert_int_equal(hist_quantile(&since, 0.5), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty),   cmocka_unit_test(resolution), cmocka_unit_test(quantiles),
		cmocka_unit_test(merging), cmocka_unit_test(extremes),   cmocka_unit_test(subtract),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
