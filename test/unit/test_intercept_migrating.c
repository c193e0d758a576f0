/* Every option of the original intercept: its row in doc/MIGRATING.md, and its command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture.h"
#include "migrating.h"
#include "intercept/config.h"

/* As its getopt() has them, and in that order; what one build alone has is among them. */
static const char *const original[] = { "-x", "-i", "-F", "-o", "-n", "-p", "-t", "-s", "-b",
					"-D", "-q", "-c", "-l", "-P", "-h", "-v", "-d", NULL };

static struct migrating_row rows[MIGRATING_MAX];
static struct config config;

static void each_option_has_a_row(void **state)
{
	(void)state;
	migrating_complete(rows, migrating_rows("intercept", rows), original);
}

static void each_command_line_is_taken(void **state)
{
	const size_t n = migrating_rows("intercept", rows);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		static char said[4096];
		int status;

		capture_begin(STDERR_FILENO);
		status = config_parse(&config, rows[i].argc, rows[i].argv);
		snprintf(said, sizeof(said), "%s", capture_end());
		migrating_judge(&rows[i], status, said, config.run.n_ignored);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_option_has_a_row),
		cmocka_unit_test(each_command_line_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
