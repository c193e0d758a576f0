/*
 * Who may connect to intercept: prefixes of both families, and the limits of an address and of all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "intercept/clients/admission.h"

static struct addr address(const char *text)
{
	struct addr a;

	assert_true(addr_parse(&a, text));
	return a;
}

static enum admission_verdict enter(struct admission *a, const char *text)
{
	const struct addr from = address(text);

	return admission_enter(a, &from);
}

static void everybody_without_a_list(void **state)
{
	struct admission *a = admission_new(NULL, 0);

	(void)state;
	assert_int_equal(enter(a, "192.0.2.1"), ADMISSION_OK);
	assert_int_equal(enter(a, "2001:db8::1"), ADMISSION_OK);
	admission_free(a);
}

static void only_who_is_named(void **state)
{
	struct prefix allow[2] = { 0 };
	struct admission *a = admission_new(allow, 2);

	(void)state;
	assert_true(prefix_parse(&allow[0], "192.0.2.0/28"));
	assert_true(prefix_parse(&allow[1], "2001:db8::/64"));
	assert_int_equal(enter(a, "192.0.2.0"), ADMISSION_OK);
	assert_int_equal(enter(a, "192.0.2.15"), ADMISSION_OK);
	assert_int_equal(enter(a, "192.0.2.16"), ADMISSION_FOREIGN);
	assert_int_equal(enter(a, "2001:db8::ffff"), ADMISSION_OK);
	assert_int_equal(enter(a, "2001:db8:0:1::"), ADMISSION_FOREIGN);
	assert_int_equal(enter(a, "::1"), ADMISSION_FOREIGN);
	admission_free(a);
}

static void an_address_has_a_limit(void **state)
{
	const struct addr from = address("192.0.2.1");
	struct admission *a = admission_new(NULL, 0);

	(void)state;
	for (unsigned i = 0; i < ADMISSION_MAX_PER_NEIGHBOUR; i++)
		assert_int_equal(admission_enter(a, &from), ADMISSION_OK);
	assert_int_equal(admission_enter(a, &from), ADMISSION_FULL);
	assert_int_equal(enter(a, "192.0.2.2"), ADMISSION_OK);
	admission_leave(a, &from);
	assert_int_equal(admission_enter(a, &from), ADMISSION_OK);
	assert_int_equal(admission_enter(a, &from), ADMISSION_FULL);
	admission_free(a);
}

static void an_ipv6_subnet_has_the_same(void **state)
{
	struct admission *a = admission_new(NULL, 0);
	struct addr from = address("2001:db8::");

	(void)state;
	for (unsigned i = 0; i < ADMISSION_MAX_PER_NEIGHBOUR; i++) {
		from.b[8] = (uint8_t)i;
		assert_int_equal(admission_enter(a, &from), ADMISSION_OK);
	}
	assert_int_equal(enter(a, "2001:db8::ffff:ffff:ffff:ffff"), ADMISSION_FULL);
	assert_int_equal(enter(a, "2001:db8:0:1::"), ADMISSION_OK);
	admission_free(a);
}

/* How many connections from 10.0.0.@last are admitted. */
static unsigned fill(struct admission *a, uint8_t last)
{
	const uint8_t b[4] = { 10, 0, 0, last };
	const struct addr from = addr_from_v4(b);
	unsigned n = 0;

	while (admission_enter(a, &from) == ADMISSION_OK)
		n++;
	return n;
}

static void nobody_takes_what_is_left(void **state)
{
	const unsigned admitted[] = { 256, 256, 256, 128, 64, 32, 16, 8, 4, 2, 1, 1, 0 };
	const uint8_t first[4] = { 10, 0, 0, 0 };
	const struct addr from = addr_from_v4(first);
	struct admission *a = admission_new(NULL, 0);

	(void)state;
	for (uint8_t i = 0; i < sizeof(admitted) / sizeof(admitted[0]); i++)
		assert_int_equal(fill(a, i), admitted[i]);
	admission_leave(a, &from);
	assert_int_equal(enter(a, "192.0.2.2"), ADMISSION_OK);
	assert_int_equal(enter(a, "192.0.2.3"), ADMISSION_FULL);
	admission_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_without_a_list),  cmocka_unit_test(only_who_is_named),
		cmocka_unit_test(an_address_has_a_limit),    cmocka_unit_test(an_ipv6_subnet_has_the_same),
		cmocka_unit_test(nobody_takes_what_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
