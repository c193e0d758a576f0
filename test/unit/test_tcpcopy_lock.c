/*
 * The claims on rules: two programs that replicate the same requests to one target would send each of
 * them twice. The other program is a child of this one, which holds its claims until it is told to end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

#include "tcpcopy/config/config.h"
#include "tcpcopy/config/lock.h"

static struct config c;

/* A command line with @rules as its -x, which is accepted. */
static void parse(const char *rules)
{
	char program[] = "tcpcopy", x[] = "-x", via[] = "-s", assistant[] = "10.90.110.143",
	     *text = strdup(rules);
	char *argv[] = { program, x, text, via, assistant, NULL };

	assert_int_equal(config_parse(&c, 5, argv), -1);
	free(text);
}

/* lock_rules() in a process of its own, which then waits until @hold is closed. Returns its pid,
 * once it has claimed. */
static pid_t claim_elsewhere(const char *rules, int *hold)
{
	int ready[2], end[2];
	char byte, err[512];
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(end), 0);
	parse(rules);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(ready[0]);
		close(end[1]);
		if (lock_rules(&c, err, sizeof(err)) != 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		_exit(read(end[0], &byte, 1) == 0 ? 0 : 1);
	}
	close(ready[1]);
	close(end[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	*hold = end[1];
	return pid;
}

static void test_lock(void **state)
{
	char err[512] = "", want[64];
	int hold, status;
	pid_t pid;

	(void)state;
	/* Ports and addresses that nobody else uses in a test. */
	pid = claim_elsewhere("64999-10.66.2.77:1,10.66.2.66:64998-10.66.2.77:1", &hold);
	snprintf(want, sizeof(want), "process %d", (int)pid);

	parse("64999-10.66.2.77:1");
	assert_int_equal(lock_rules(&c, err, sizeof(err)), -1);
	assert_non_null(strstr(err, want));
	assert_non_null(strstr(err, "option -x \"64999-10.66.2.77:1\""));
	/* One online address, where the other has all, and the other way about. */
	parse("10.66.2.66:64999-10.66.2.77:1");
	assert_int_equal(lock_rules(&c, err, sizeof(err)), -1);
	assert_non_null(strstr(err, want));
	parse("64998-10.66.2.77:1");
	assert_int_equal(lock_rules(&c, err, sizeof(err)), -1);
	assert_non_null(strstr(err, want));
	/* Another target, another port of the target, another online address: all free. What failed
	 * before left nothing claimed. */
	parse("64999-10.66.2.78:1,10.66.2.67:64998-10.66.2.77:1");
	assert_int_equal(lock_rules(&c, err, sizeof(err)), 0);
	lock_release();
	parse("64999-10.66.2.77:2,4999-10.66.2.77:1");
	assert_int_equal(lock_rules(&c, err, sizeof(err)), 0);
	lock_release();

	close(hold);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	/* With the process its claims are gone. */
	parse("64999-10.66.2.77:1");
	assert_int_equal(lock_rules(&c, err, sizeof(err)), 0);
	lock_release();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lock),
	};

	return cmocka_run_group_tests_name("tcpcopy_lock", tests, NULL, NULL);
}
