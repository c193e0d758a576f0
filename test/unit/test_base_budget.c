/* Budgets: a burst, then one at a time, and no more than a burst however long the rest was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/budget.h"

#define APART 1000u
#define BURST 5u

static unsigned spent(struct budget *b, uint64_t now)
{
	unsigned n = 0;

	while (budget_spend(b, now, APART, BURST))
		n++;
	return n;
}

static void a_burst_and_then_a_rate(void **state)
{
	struct budget b = { 0 };
	uint64_t now = 1000000;

	(void)state;
	assert_int_equal(spent(&b, now), BURST);
	assert_int_equal(spent(&b, now), 0);
	assert_int_equal(spent(&b, now + APART - 1), 0);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(spent(&b, now += APART), 1);
	assert_int_equal(spent(&b, now += 3 * APART), 3);
}

static void rest_saves_no_more_than_a_burst(void **state)
{
	struct budget b = { 0 };

	(void)state;
	assert_int_equal(spent(&b, 1000000), BURST);
	assert_int_equal(spent(&b, 1000000000000), BURST);
	assert_int_equal(spent(&b, UINT64_MAX - APART), BURST);
}

static void at_the_begin_of_time(void **state)
{
	struct budget b = { 0 };

	(void)state;
	assert_int_equal(spent(&b, 0), 0);
	assert_int_equal(spent(&b, 2 * APART), 2);
	assert_int_equal(spent(&b, 3 * APART), 1);
}

/* Asked all the time, it gives the rate: as often as fits, not less. */
static void who_asks_all_the_time_gets_the_rate(void **state)
{
	struct budget b = { 0 };
	unsigned n = 0;

	(void)state;
	for (uint64_t now = 1000000; now < 1000000 + 100 * APART; now += 7)
		n += budget_spend(&b, now, APART, BURST);
	assert_int_equal(n, BURST + 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_and_then_a_rate),
		cmocka_unit_test(rest_saves_no_more_than_a_burst),
		cmocka_unit_test(at_the_begin_of_time),
		cmocka_unit_test(who_asks_all_the_time_gets_the_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
