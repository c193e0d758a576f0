/* Files that are replaced whole: the content, what is refused at the start, what stays when writing fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>
#include <cmocka.h>

#include "program/replace.h"

static char directory[] = "/tmp/test_program_replace.XXXXXX";
static char path[64];

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/report", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory); /* fails if anything else was left */
}

static const char *content(void)
{
	static char text[100];
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static void replaces(void **state)
{
	struct replace *r;

	(void)state;
	assert_int_equal(chdir(directory), 0);
	r = replace_open("report");
	assert_non_null(r);
	assert_int_equal(access(path, F_OK), -1); /* not before there is something to say */
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(replace_write(r, "first, and longer", 17), 0);
	assert_string_equal(content(), "first, and longer");
	assert_int_equal(replace_write(r, "second", 6), 0);
	assert_string_equal(content(), "second");
	replace_close(r);
}

static void keeps_the_old_one(void **state)
{
	struct replace *r = replace_open(path);
	struct rlimit before;

	(void)state;
	assert_non_null(r);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(replace_write(r, "old", 3), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 3, before.rlim_max }), 0);
	assert_int_equal(replace_write(r, "newer", 5), -1);
	assert_int_equal(errno, EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_string_equal(content(), "old");
	replace_close(r);
}

static void refuses(void **state)
{
	char long_name[400];

	(void)state;
	assert_null(replace_open("/nonexistent/x"));
	assert_int_equal(errno, ENOENT);
	assert_null(replace_open(directory));
	assert_int_equal(errno, EISDIR);
	snprintf(long_name, sizeof(long_name), "%s/%0300d", directory, 0);
	assert_null(replace_open(long_name));
	assert_int_equal(errno, ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replaces),
		cmocka_unit_test(keeps_the_old_one),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
