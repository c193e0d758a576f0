/*
 * The frame of --check: what a line says, and that a command that it names can be typed.
 */
#include "program/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static void test_line(void **state)
{
	struct check_result r = { 0 };
	char line[sizeof(r)];

	(void)state;
	check_text(&r, CHECK_BROKEN, "%s is down", "eth0");
	assert_string_equal(check_format(line, sizeof(line), &r), "eth0 is down");
	check_cure(&r, "the target", "ip link set %s up", "eth0");
	assert_string_equal(check_format(line, sizeof(line), &r),
			    "eth0 is down: on the target type: ip link set eth0 up");
	check_then(&r, "ip link show %s", "eth0");
	check_then(&r, "reboot");
	assert_string_equal(
		check_format(line, sizeof(line), &r),
		"eth0 is down: on the target type: ip link set eth0 up; if that does not help, type "
		"there: ip link show eth0; if that does not help, type there: reboot");
	check_cure(&r, "the target", "ip link");
	assert_string_equal(check_format(line, sizeof(line), &r),
			    "eth0 is down: on the target type: ip link");
	for (unsigned i = 0; i < 100; i++)
		check_then(&r, "%s", "a step that does not fit");
	assert_true(strlen(r.then) == sizeof(r.then) - 1);
}

static void test_command(void **state)
{
	static char name[] = "./tcpcopy", filter[] = "src net 10.0.0.0/8 and not host it's", option[] = "-F",
		    check[] = "--check", empty[] = "";
	char *argv[] = { name, check, option, filter, empty, NULL };
	const char *const leave_out[] = { "--check", NULL };
	char buf[200];

	(void)state;
	assert_string_equal(check_command(buf, sizeof(buf), argv, leave_out, "-i eth0"),
			    "./tcpcopy -i eth0 -F 'src net 10.0.0.0/8 and not host it'\\''s' ''");
	assert_string_equal(check_command(buf, sizeof(buf), argv, NULL, NULL),
			    "./tcpcopy --check -F 'src net 10.0.0.0/8 and not host it'\\''s' ''");
}

/* However little room there is, it ends with a zero inside of it. */
static void test_no_room(void **state)
{
	static char name[] = "./tcpcopy", filter[] = "a '''' b", more[] = "-F";
	char *argv[] = { name, more, filter, filter, NULL };
	char buf[64];

	(void)state;
	for (size_t size = 1; size <= sizeof(buf); size++) {
		memset(buf, 'x', sizeof(buf));
		check_command(buf, size, argv, NULL, "-i eth0");
		assert_non_null(memchr(buf, '\0', size));
		for (size_t i = size; i < sizeof(buf); i++)
			assert_int_equal(buf[i], 'x');
	}
}

static void broken(struct check_report *report, void *arg)
{
	check_note(report, *(enum check_state *)arg, "said");
}

static void test_status(void **state)
{
	static const struct check checks[] = { { "topic", broken } };
	static const enum check_state states[] = { CHECK_OK, CHECK_WARNING, CHECK_BROKEN };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		struct check_report report = { 0 };
		enum check_state s = states[i];

		assert_int_equal(check_run(&report, checks, 1, &s), s == CHECK_BROKEN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
