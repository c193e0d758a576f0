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
	for (unsigned i = 0; i < ADMISSION_MAX_PER_ADDRESS; i++)
		assert_int_equal(admission_enter(a, &from), ADMISSION_OK);
	assert_int_equal(admission_enter(a, &from), ADMISSION_FULL);
	assert_int_equal(enter(a, "192.0.2.2"), ADMISSION_OK);
	admission_leave(a, &from);
	assert_int_equal(admission_enter(a, &from), ADMISSION_OK);
	assert_int_equal(admission_enter(a, &from), ADMISSION_FULL);
	admission_free(a);
}

static void all_together_have_one(void **state)
{
	struct admission *a = admission_new(NULL, 0);
	struct addr from = address("2001:db8::");

	(void)state;
	for (unsigned i = 0; i < ADMISSION_MAX; i++) {
		from.b[14] = (uint8_t)(i >> 8);
		from.b[15] = (uint8_t)i;
		assert_int_equal(admission_enter(a, &from), ADMISSION_OK);
	}
	assert_int_equal(enter(a, "192.0.2.2"), ADMISSION_FULL);
	admission_leave(a, &from);
	assert_int_equal(enter(a, "192.0.2.2"), ADMISSION_OK);
	admission_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_without_a_list),
		cmocka_unit_test(only_who_is_named),
		cmocka_unit_test(an_address_has_a_limit),
		cmocka_unit_test(all_together_have_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
