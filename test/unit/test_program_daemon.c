/*
 * Daemons and pid files, with real processes: the test forks a "shell command", which becomes a
 * daemon as the programs do, and looks at how the command ends and what it prints; the daemon tells
 * its state through a pipe of the test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "program/daemon.h"
#include "capture.h"

static char directory[] = "/tmp/test_program_daemon.XXXXXX";
static char path[64];
static int to_test[2] = { -1, -1 }, to_daemon[2] = { -1, -1 }; /* pipes */

static int set_up(void **state)
{
	(void)state;
	/* Daemons become our children, so that all of them can be waited for. */
	if (!mkdtemp(directory) || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/pid", directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static void tell(const char *text)
{
	if (write(to_test[1], text, strlen(text) + 1) < 0)
		abort();
}

/* The next text of the daemon, within a minute. */
static const char *hear(void)
{
	static char text[200];
	struct pollfd p = { .fd = to_test[0], .events = POLLIN };

	for (size_t i = 0; i < sizeof(text); i++) {
		if (poll(&p, 1, 60000) != 1)
			return "(silence)";
		if (read(to_test[0], &text[i], 1) != 1)
			return "(end)";
		if (!text[i])
			return text;
	}
	return "(too long)";
}

static void wait_for_test(void)
{
	char c;

	while (read(to_daemon[0], &c, 1) < 0 && errno == EINTR)
		;
}

/* Runs @program as a command of a shell; returns its pid. */
static pid_t start(void (*program)(void))
{
	pid_t pid;

	assert_int_equal(pipe(to_test), 0);
	assert_int_equal(pipe(to_daemon), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(to_test[0]);
		close(to_daemon[1]);
		program();
		exit(0);
	}
	close(to_test[1]);
	close(to_daemon[0]);
	return pid;
}

/* Lets a waiting daemon go on, and waits for all. Also after a failure, or a daemon would be left.
 */
static void finish(void)
{
	if (to_test[0] >= 0)
		close(to_test[0]);
	if (to_daemon[1] >= 0)
		close(to_daemon[1]);
	to_test[0] = to_daemon[1] = -1;
	while (wait(NULL) > 0)
		;
}

static int finish_test(void **state)
{
	(void)state;
	finish();
	return 0;
}

static int exit_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void works(void)
{
	char text[300], link[100] = "", cwd[100] = "";
	mode_t mask;

	if (daemon_begin("prog") < 0)
		exit(9);
	fprintf(stderr, "still heard\n");
	tell("begun");
	wait_for_test();
	if (daemon_ready() < 0)
		exit(9);
	fprintf(stderr, "not heard\n");
	printf("not heard\n");
	fflush(stdout);
	mask = umask(0);
	if (readlink("/proc/self/fd/2", link, sizeof(link) - 1) < 0 || !getcwd(cwd, sizeof(cwd)))
		exit(9);
	snprintf(text, sizeof(text), "%s %s %03o %d", link, cwd, (unsigned)mask, getsid(0) == getpid());
	tell(text);
	wait_for_test();
}

static void ready(void **state)
{
	pid_t pid;

	(void)state;
	capture_begin(STDERR_FILENO);
	pid = start(works);
	assert_string_equal(hear(), "begun");
	usleep(20000);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0); /* the command waits */
	assert_int_equal(write(to_daemon[1], "", 1), 1);
	assert_int_equal(exit_status(pid), 0);
	assert_string_equal(hear(), "/dev/null / 027 1");
	finish();
	assert_string_equal(capture_end(), "still heard\n");
}

static void fails(void)
{
	if (daemon_begin("prog") < 0)
		exit(9);
	daemon_fail(2, "option -p \"%d\": in use", 7);
}

static void failure(void **state)
{
	pid_t pid;

	(void)state;
	capture_begin(STDERR_FILENO);
	pid = start(fails);
	assert_int_equal(exit_status(pid), 2);
	finish();
	assert_string_equal(capture_end(), "prog: option -p \"7\": in use\n");
}

static void fails_in_foreground(void)
{
	if (daemon_ready() < 0) /* nothing to do */
		exit(9);
	daemon_fail(1, "no");
}

static void foreground(void **state)
{
	pid_t pid;

	(void)state;
	capture_begin(STDERR_FILENO);
	pid = start(fails_in_foreground);
	assert_int_equal(exit_status(pid), 1);
	finish();
	assert_string_equal(capture_end(), "test_program_daemon: no\n"); /* by its file */
}

static void exits(void)
{
	if (daemon_begin("prog") < 0)
		_exit(9);
	_exit(3);
}

static void exits_well(void)
{
	if (daemon_begin("prog") < 0)
		_exit(9);
	_exit(0);
}

static void crashes(void)
{
	if (daemon_begin("prog") < 0)
		_exit(9);
	signal(SIGTERM, SIG_DFL);
	raise(SIGTERM);
}

/* A daemon that ends without a word before it is ready is never taken for one that started. */
static void early_end(void **state)
{
	pid_t pid;

	(void)state;
	pid = start(exits);
	assert_int_equal(exit_status(pid), 3);
	finish();

	capture_begin(STDERR_FILENO);
	pid = start(exits_well);
	assert_int_equal(exit_status(pid), 1);
	finish();
	assert_string_equal(capture_end(), "prog: ended before it was ready\n");

	capture_begin(STDERR_FILENO);
	pid = start(crashes);
	assert_int_equal(exit_status(pid), 1);
	finish();
	assert_string_equal(capture_end(), "prog: ended by signal 15 (Terminated) before it was ready\n");
}

static void waits(void)
{
	if (daemon_begin("prog") < 0)
		exit(9);
	tell("begun");
	wait_for_test();
	tell("not reached");
}

/* ^C at the shell, which reaches the command only, takes the daemon along until that is ready. */
static void interrupted(void **state)
{
	pid_t pid;

	(void)state;
	pid = start(waits);
	assert_string_equal(hear(), "begun");
	kill(pid, SIGINT);
	assert_int_equal(exit_status(pid), 1000 + SIGINT);
	assert_string_equal(hear(), "(end)"); /* the daemon is gone */
	finish();
}

static void holds_pid_file(void)
{
	pid_t holder;
	char text[20];

	if (daemon_begin("prog") < 0 || pid_file_take(path, &holder) < 0 || daemon_ready() < 0)
		exit(9);
	snprintf(text, sizeof(text), "%d", (int)getpid());
	tell(text);
	wait_for_test();
	exit(0);
}

static void read_pid_file(char *text, size_t room)
{
	FILE *f = fopen(path, "r");

	text[0] = '\0';
	if (!f)
		return;
	if (!fgets(text, (int)room, f))
		text[0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	fclose(f);
}

static void pid_file(void **state)
{
	char pid_text[20], text[20];
	pid_t pid, holder = -1;
	FILE *f;

	(void)state;
	f = fopen(path, "w"); /* left by a crash: taken over */
	assert_non_null(f);
	fprintf(f, "1234567890\n");
	fclose(f);
	pid = start(holds_pid_file);
	assert_int_equal(exit_status(pid), 0);
	snprintf(pid_text, sizeof(pid_text), "%s", hear());
	read_pid_file(text, sizeof(text));
	assert_string_equal(text, pid_text);

	assert_int_equal(pid_file_take(path, &holder), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(holder, atoi(pid_text));
	read_pid_file(text, sizeof(text)); /* and it was not touched */
	assert_string_equal(text, pid_text);

	finish();
	assert_int_equal(access(path, F_OK), -1); /* removed at exit */
}

static void forks_on(void)
{
	pid_t holder;

	if (chdir(directory) < 0 || pid_file_take("pid", &holder) < 0 || chdir("/") < 0)
		_exit(9);
	if (fork() == 0)
		exit(0); /* a child's exit is not ours: the file stays */
	wait(NULL);
	tell(access(path, F_OK) == 0 ? "there" : "gone");
	exit(0); /* relative to a directory that we have left */
}

static void pid_file_of_a_child(void **state)
{
	pid_t pid, holder;

	(void)state;
	pid = start(forks_on);
	assert_string_equal(hear(), "there");
	assert_int_equal(exit_status(pid), 0);
	finish();
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(pid_file_take("/nonexistent/pid", &holder), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(holder, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(ready, finish_test),
		cmocka_unit_test_teardown(failure, finish_test),
		cmocka_unit_test_teardown(foreground, finish_test),
		cmocka_unit_test_teardown(early_end, finish_test),
		cmocka_unit_test_teardown(interrupted, finish_test),
		cmocka_unit_test_teardown(pid_file, finish_test),
		cmocka_unit_test_teardown(pid_file_of_a_child, finish_test),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
