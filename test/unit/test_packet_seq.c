/*
 * Sequence arithmetic across the wrap (RFC 9293 3.4).
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"
#include "packet/seq.h"

static const uint32_t bases[] = { 0, 1, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff };
static const uint32_t steps[] = { 1, 2, 0x10, 0x12345, 0x7ffffffe, 0x7fffffff };

static void order_holds_at_every_base(void **state)
{
	size_t i, j;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bases); i++) {
		uint32_t a = bases[i];

		assert_true(seq_le(a, a) && seq_ge(a, a) && !seq_lt(a, a) && !seq_gt(a, a));
		for (j = 0; j < ARRAY_SIZE(steps); j++) {
			uint32_t b = a + steps[j];

			assert_true(seq_lt(a, b) && seq_le(a, b) && !seq_gt(a, b) && !seq_ge(a, b));
			assert_true(seq_gt(b, a) && seq_ge(b, a) && !seq_lt(b, a) && !seq_le(b, a));
			assert_int_equal(seq_max(a, b), b);
			assert_int_equal(seq_max(b, a), b);
			assert_int_equal(seq_min(a, b), a);
			assert_int_equal(seq_min(b, a), a);
			assert_true(ts_lt(a, b) && ts_gt(b, a) && ts_max(a, b) == b);
		}
	}
}

static void between_includes_both_ends(void **state)
{
	size_t i, j;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bases); i++) {
		for (j = 0; j < ARRAY_SIZE(steps); j++) {
			uint32_t lo = bases[i], hi = lo + steps[j];

			assert_true(seq_between(lo, lo, hi));
			assert_true(seq_between(lo, hi, hi));
			assert_true(seq_between(lo, lo + steps[j] / 2, hi));
			assert_false(seq_between(lo, lo - 1, hi));
			assert_false(seq_between(lo, hi + 1, hi));
		}
	}
	assert_true(seq_between(5, 5, 5));
	assert_false(seq_between(5, 6, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_holds_at_every_base),
		cmocka_unit_test(between_includes_both_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
