/*
 * Every test/script/NAME.script as a test of its own, in a process of its own, so that an assertion
 * of the engine or a loop without end fails one script and not the rest. Names as arguments choose
 * some of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session_script.h"

#define TIME_LIMIT 60 /* s of a processor, for one script */

static void run(void **state)
{
	const char *path = *state;
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		setitimer(ITIMER_VIRTUAL, &(struct itimerval){ .it_value = { .tv_sec = TIME_LIMIT } }, NULL);
		if (session_script_run(path, stderr))
			exit(0);
		_exit(1); /* what a failed script leaves allocated is not of interest */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc < 2;
}

int main(int argc, char **argv)
{
	struct CMUnitTest *tests;
	size_t n = 0;
	int failed;
	glob_t g;

	if (glob(TEST_DIR "/script/*.script", 0, NULL, &g)) {
		fprintf(stderr, "no scripts in %s/script\n", TEST_DIR);
		return 1;
	}
	tests = calloc(g.gl_pathc, sizeof(*tests));
	if (!tests)
		return 1;
	for (size_t i = 0; i < g.gl_pathc; i++) {
		const char *slash = strrchr(g.gl_pathv[i], '/') + 1;
		char *name = strndup(slash, strlen(slash) - strlen(".script"));

		if (name && wanted(name, argc, argv))
			tests[n++] = (struct CMUnitTest){ .name = name,
							  .test_func = run,
							  .initial_state = g.gl_pathv[i] };
		else
			free(name);
	}
	failed = n ? _cmocka_run_group_tests("session scripts", tests, n, NULL, NULL) : 1;
	for (size_t i = 0; i < n; i++)
		free((char *)(uintptr_t)tests[i].name);
	free(tests);
	globfree(&g);
	return failed != 0;
}
