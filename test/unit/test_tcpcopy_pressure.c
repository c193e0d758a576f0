/* What a host has left, from texts as the kernel writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tcpcopy/choice/pressure.h"

#define PERCENT 1000000ull

static struct pressure_cpu cpu(const char *text)
{
	struct pressure_cpu t;

	assert_true(pressure_cpu(&t, text));
	return t;
}

static void cpus(void **state)
{
	const struct pressure_cpu
		then = cpu(
			"cpu  1000 200 300 5000 100 10 20 30 900 0\ncpu0 500 100 150 2500 50 5 10 15 0 0\n"),
		half = cpu("cpu  1030 205 310 5040 110 11 22 32 900 0\n"),
		idle = cpu("cpu  1030 205 310 9040 110 11 22 32 900 0\n"),
		back = cpu("cpu  1030 205 310 9040 109 11 22 32 900 0\n"),
		full = cpu("cpu  9030 205 310 9040 110 11 22 32 900 0\n");
	struct pressure_cpu none;
	uint64_t share = 42;

	(void)state;
	assert_int_equal(then.busy, 1560);
	assert_int_equal(then.all, 6660);
	assert_true(pressure_cpu_share(&then, &half, &share));
	assert_int_equal(share, 50 * PERCENT);
	assert_true(pressure_cpu_share(&half, &idle, &share));
	assert_int_equal(share, 0);
	assert_true(pressure_cpu_share(&idle, &full, &share));
	assert_int_equal(share, 100 * PERCENT);
	share = 42;
	assert_false(pressure_cpu_share(&then, &then, &share));
	assert_false(pressure_cpu_share(&idle, &back, &share));
	assert_int_equal(share, 42);
	/* before 2.6 */
	assert_int_equal(cpu("cpu 10 0 20 70\n").busy, 30);
	assert_false(pressure_cpu(&none, ""));
	assert_false(pressure_cpu(&none, "cpu0 1 2 3 4 5 6 7 8\n"));
	assert_false(pressure_cpu(&none, "intr 1 2 3 4\n"));
}

static void memory(void **state)
{
	uint64_t share = 42;

	(void)state;
	assert_true(pressure_memory(&share, "some avg10=12.34 avg60=5.00 avg300=1.07 total=2304\n"
					    "full avg10=99.00 avg60=0.00 avg300=0.00 total=1\n"));
	assert_int_equal(share, 12340000);
	assert_true(pressure_memory(&share, "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"));
	assert_int_equal(share, 0);
	assert_true(pressure_memory(&share, "some avg10=100.00 avg60=0.00 avg300=0.00 total=0\n"));
	assert_int_equal(share, 100 * PERCENT);
	assert_false(pressure_memory(&share, ""));
	assert_false(pressure_memory(&share, "full avg10=99.00 avg60=0.00 avg300=0.00 total=1\n"));
	assert_int_equal(share, 100 * PERCENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(cpus), cmocka_unit_test(memory) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
