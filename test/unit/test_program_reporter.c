/* When a program's reports are made and where they go; what they say is here an account of one number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <jansson.h>
#include <cmocka.h>

#include "program/log.h"
#include "program/reporter.h"
#include "capture.h"

struct report {
	struct reporter reporter;
	unsigned collected, kept;
};

static char directory[] = "/tmp/test_program_reporter.XXXXXX";
static char path[64];

static struct report *report_of(struct reporter *r)
{
	return CONTAINER_OF(r, struct report, reporter);
}

static void collect(struct reporter *r, bool keep)
{
	report_of(r)->collected++;
	report_of(r)->kept += keep;
}

static void print_line(struct reporter *r, FILE *to)
{
	fprintf(to, "line %u\n", report_of(r)->collected);
}

/* By then the file has it. */
static void print_account(struct reporter *r, FILE *to)
{
	fprintf(to, "account %u\n%s\n", report_of(r)->collected, access(path, F_OK) ? "no file" : "a file");
}

static void print_screen(struct reporter *r, FILE *to)
{
	fprintf(to, "screen %u\n", report_of(r)->collected);
}

static int add_json(struct reporter *r, json_t *all)
{
	return json_object_set_new(all, "collected", json_integer(report_of(r)->collected));
}

static const struct reporter_ops ops = {
	.program = "prog",
	.collect = collect,
	.line = print_line,
	.account = print_account,
	.screen = print_screen,
	.json = add_json,
};

static struct reporter *open_at(const char *file)
{
	struct report *r = calloc(1, sizeof(*r));
	char err[500] = "";

	assert_non_null(r);
	r->reporter.ops = &ops;
	assert_int_equal(reporter_open(&r->reporter, file, err, sizeof(err)), 0);
	return &r->reporter;
}

static int make_directory(void **state)
{
	(void)state;
	log_init("prog", LOGL_INFO);
	snprintf(directory, sizeof(directory), "/tmp/test_program_reporter.XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/json", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

/* "collected" of the file. */
static long long in_file(void)
{
	json_t *all = json_load_file(path, 0, NULL);
	long long n = all ? json_integer_value(json_object_get(all, "collected")) : -1;

	json_decref(all);
	return n;
}

static void each_report_counts_anew(void **state)
{
	struct reporter *r = open_at(path);
	char *text;

	(void)state;
	assert_int_equal(in_file(), -1);
	capture_begin(STDERR_FILENO);
	reporter_account(r);
	assert_string_equal(capture_end(), "prog: account 1\nprog: a file\n");
	assert_int_equal(in_file(), 1);
	capture_begin(STDERR_FILENO);
	reporter_interval(r);
	assert_string_equal(capture_end(), "prog: line 2\n");
	assert_int_equal(in_file(), 2);
	text = reporter_status(r, false);
	assert_string_equal(text, "screen 3\n");
	free(text);
	assert_int_equal(in_file(), 2); /* who asks gets an answer, no file */
	reporter_free(r);
}

static void json_has_a_head(void **state)
{
	struct reporter *r = open_at("");
	char *text, now[ACCOUNT_TIME_LEN];
	json_t *all;

	(void)state;
	r->started -= 90 * NS_PER_SEC;
	text = reporter_status(r, true);
	all = json_loads(text, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(all, "program")), "prog");
	assert_int_equal(json_integer_value(json_object_get(all, "pid")), getpid());
	assert_true(json_real_value(json_object_get(all, "uptime")) >= 90);
	assert_string_equal(json_string_value(json_object_get(all, "time")), reporter_time(r, r->at, now));
	assert_string_not_equal(json_string_value(json_object_get(all, "started")), now);
	assert_int_equal(json_integer_value(json_object_get(all, "collected")), 1);
	json_decref(all);
	free(text);
	reporter_free(r);
}

/* Counts that are too young are no base for rates: those before them stay it. */
static void what_rates_are_counted_from(void **state)
{
	struct reporter *r = open_at("");
	uint64_t before;

	(void)state;
	before = r->at -= REPORTER_LEAST;
	free(reporter_status(r, false));
	assert_int_equal(report_of(r)->kept, 1);
	assert_true(r->since == before && r->at > before);
	for (unsigned old = 1, i = 0; i < 3; i++) {
		before = r->at;
		free(reporter_status(r, false));
		old += r->at - before >= REPORTER_LEAST; /* on a machine that is busy enough */
		assert_int_equal(report_of(r)->kept, old);
	}
	reporter_free(r);
}

static void a_file_that_cannot_be_written(void **state)
{
	char err[500];
	struct report *none = calloc(1, sizeof(*none));
	struct reporter *r = open_at(path);

	(void)state;
	none->reporter.ops = &ops;
	assert_int_equal(reporter_open(&none->reporter, "/nonexistent/json", err, sizeof(err)), -1);
	assert_non_null(strstr(err, "option --report \"/nonexistent/json\": No such file or directory"));
	reporter_free(&none->reporter);
	assert_int_equal(rmdir(directory), 0);
	capture_begin(STDERR_FILENO);
	reporter_interval(r);
	assert_non_null(strstr(capture_end(), "line 1"));
	assert_int_equal(r->write_failures, 1);
	reporter_free(r);
	assert_non_null(mkdtemp(strcpy(directory, "/tmp/test_program_reporter.XXXXXX")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_report_counts_anew, make_directory, remove_directory),
		cmocka_unit_test(json_has_a_head),
		cmocka_unit_test(what_rates_are_counted_from),
		cmocka_unit_test_setup_teardown(a_file_that_cannot_be_written, make_directory,
						remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
