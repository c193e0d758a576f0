/* Every option of the original tcpcopy: its row in doc/MIGRATING.md, and its command line. */
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
#include "tcpcopy/config/config.h"

/* As its getopt() has them, and in that order; what one build alone has is among them. */
static const char *const original[] = { "-x", "-x @MAC", "-H", "-c", "-i FILE", "-a", "-I", "-T", "-i",
					"-F", "-B",      "-S", "-o", "-n",      "-f", "-m", "-M", "-D",
					"-R", "-U",      "-C", "-s", "-t",      "-k", "-l", "-r", "-p",
					"-P", "-O",      "-g", "-W", "-L",      "-h", "-v", "-d", NULL };

static struct migrating_row rows[MIGRATING_MAX];
static struct config config;

static void each_option_has_a_row(void **state)
{
	(void)state;
	migrating_complete(rows, migrating_rows("tcpcopy", rows), original);
}

static void each_command_line_is_taken(void **state)
{
	const size_t n = migrating_rows("tcpcopy", rows);

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

/* day.pcap is a file where the command lines are typed. */
static int in_a_folder(void **state)
{
	static char folder[] = "/tmp/migrating.XXXXXX";
	FILE *f;

	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
	f = fopen("day.pcap", "w");
	assert_non_null(f);
	*state = folder;
	return fclose(f);
}

static int leave(void **state)
{
	return unlink("day.pcap") || chdir("/") || rmdir(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_option_has_a_row),
		cmocka_unit_test_setup_teardown(each_command_line_is_taken, in_a_folder, leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
