/*
 * The capture filter follows the targets, also when the kernel refuses it for a while. The captures are
 * played: what is linked here takes the place of captures.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "intercept/hole/announce.h"
#include "still_clock.h"

static bool refuses;
static unsigned calls;
static char in_force[TARGETS_FILTER_SIZE];

int captures_set_filter(struct captures *all, const char *filter, char *err, size_t err_size)
{
	(void)all;
	calls++;
	if (refuses) {
		snprintf(err, err_size, "no memory");
		return -1;
	}
	snprintf(in_force, sizeof(in_force), "%s", filter);
	return 0;
}

static struct endpoint target(uint16_t port)
{
	struct endpoint e = { .port = port };

	assert_true(addr_parse(&e.addr, "10.0.0.3"));
	return e;
}

static void refused_filter(void **state)
{
	static struct announce a = { .own_filter = true, .silent = true };
	const struct endpoint one = target(80), two = target(81);

	(void)state;
	announce_use(&a, &one);
	announce_apply(&a);
	assert_non_null(strstr(in_force, "port 80"));
	assert_int_equal(calls, 1);

	refuses = true;
	announce_use(&a, &two);
	announce_apply(&a);
	assert_int_equal(calls, 2);
	announce_apply(&a); /* messages go on: not at each batch of them */
	assert_int_equal(calls, 2);
	announce_expire(&a, 0);
	assert_int_equal(calls, 3);
	refuses = false;
	announce_expire(&a, 0);
	assert_int_equal(calls, 4);
	assert_non_null(strstr(in_force, "port 81"));
	announce_expire(&a, 0);
	assert_int_equal(calls, 4);
}

/* Ever new targets cost a bounded time of the thread that captures; none is forgotten. */
static void very_many_targets(void **state)
{
	static struct announce a = { .own_filter = true, .silent = true };

	(void)state;
	calls = 0;
	for (uint16_t n = 1; n <= 60; n++) {
		const struct endpoint e = target(n);

		announce_use(&a, &e);
		announce_apply(&a);
	}
	assert_in_range(calls, 2, 40);
	assert_null(strstr(in_force, "port 60)"));
	clock_move(1000);
	announce_expire(&a, 0);
	assert_non_null(strstr(in_force, "port 60)"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused_filter),
		cmocka_unit_test(very_many_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
