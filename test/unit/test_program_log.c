/* The log: its forms on stderr and in a file, levels, long and dirty lines, rotation, the rate
 * limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "program/log.h"
#include "capture.h"
#include "still_clock.h"

static char directory[] = "/tmp/test_program_log.XXXXXX";
static char path[64], rotated[64];

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/log", directory);
	snprintf(rotated, sizeof(rotated), "%s/log.1", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	log_close();
	unlink(path);
	unlink(rotated);
	return rmdir(directory);
}

static char *content(const char *file)
{
	static char text[20000];
	FILE *f = fopen(file, "r");
	size_t len;

	assert_non_null(f);
	len = fread(text, 1, sizeof(text) - 1, f);
	text[len] = '\0';
	fclose(f);
	return text;
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t r;

	assert_int_equal(regcomp(&r, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&r, text, 0, NULL, 0) != 0)
		fail_msg("\"%s\" does not match \"%s\"", text, pattern);
	regfree(&r);
}

static void to_stderr(void **state)
{
	(void)state;
	log_init("prog", LOGL_INFO);
	capture_begin(STDERR_FILENO);
	log_info("one %d", 1);
	log_err("two");
	log_debug("not shown");
	log_warn("a\nb\tc\x1b[31m\x7f");
	errno = ENOENT;
	log_err("open: %m");
	assert_int_equal(errno, ENOENT);
	assert_string_equal(
		capture_end(),
		"prog: one 1\nprog: two\nprog: a?b?c?[31m?\nprog: open: No such file or directory\n");
}

static void long_line(void **state)
{
	static char text[10000];
	const char *got;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	capture_begin(STDERR_FILENO);
	log_info("%s", text);
	got = capture_end();
	assert_int_equal(strlen(got), 4096 - 1);
	assert_string_equal(got + strlen(got) - 5, "x...\n");
	assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);
}

static void to_file(void **state)
{
	struct stat st;
	char *second;

	(void)state;
	log_init("prog", LOGL_DEBUG);
	assert_int_equal(log_to_file("/nonexistent/log"), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(log_to_file(path), 0);
	capture_begin(STDERR_FILENO);
	log_info("first");
	log_debug("second");
	assert_string_equal(capture_end(), "");
	assert_matches(content(path), "^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}[+-][0-9]{4} "
				      "prog\\[[0-9]+\\] info: first\n");
	second = strchr(content(path), '\n') + 1;
	assert_matches(second, " debug: second\n$");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0137, 0); /* no one else may read it */

	log_close();
	assert_int_equal(log_to_file(path), 0); /* appends */
	log_info("third");
	assert_matches(content(path), " info: first\n.* debug: second\n.* info: third\n$");
}

static void reopen(void **state)
{
	char relative[64];

	(void)state;
	unlink(path);
	assert_int_equal(chdir("/tmp"), 0);
	snprintf(relative, sizeof(relative), "%s/log", strrchr(directory, '/') + 1);
	assert_int_equal(log_to_file(relative), 0);
	assert_int_equal(chdir("/"), 0); /* as a daemon does; the path must still hold */
	log_info("before");
	assert_int_equal(rename(path, rotated), 0);
	log_info("between");
	assert_int_equal(log_reopen(), 0);
	log_info("after");
	assert_matches(content(rotated), "before\n.*between\n$");
	assert_matches(content(path), "info: after\n$");
	assert_null(strstr(content(path), "between"));

	/* Where the new file cannot be had, the old one is kept. */
	unlink(rotated);
	assert_int_equal(rename(path, rotated), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(log_reopen(), -1);
	assert_int_equal(errno, EISDIR);
	log_info("kept");
	assert_matches(content(rotated), "after\n.*kept\n$");
	assert_int_equal(rmdir(path), 0);
	log_close();
	assert_int_equal(log_reopen(), 0); /* no file: nothing to do */
}

static void say(int number)
{
	log_limited(LOGL_INFO, "number %d", number);
}

static void rate_limit(void **state)
{
	struct log_limit l = { 0 };
	unsigned kept_back = 99;

	(void)state;
	log_init("prog", LOGL_INFO);
	capture_begin(STDERR_FILENO);
	for (int i = 0; i < 5; i++)
		say(i);
	assert_string_equal(capture_end(), "prog: number 0\n");
	clock_move(999);
	capture_begin(STDERR_FILENO);
	say(5);
	assert_string_equal(capture_end(), "");
	clock_move(1);
	capture_begin(STDERR_FILENO);
	say(6);
	say(7);
	assert_string_equal(capture_end(), "prog: number 6 (5 similar lines suppressed)\n");

	assert_int_equal(log_lines_suppressed(), 6);

	assert_true(log_limit_pass(&l, 2, &kept_back)); /* each call site has its own */
	assert_true(log_limit_pass(&l, 2, &kept_back));
	assert_int_equal(kept_back, 0);
	assert_false(log_limit_pass(&l, 2, &kept_back));
}

/* A datagram a line, in the journal's own form; text from outside cannot add a field. */
static void to_journal(void **state)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char got[200];
	ssize_t n;

	(void)state;
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/journal", directory);
	log_init("prog", LOGL_INFO);
	assert_int_equal(log_to_journal(at.sun_path), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(log_to_journal(at.sun_path), 0);
	log_warn("low\nPRIORITY=0");
	n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	got[n] = '\0';
	assert_string_equal(got, "SYSLOG_IDENTIFIER=prog\nPRIORITY=4\nMESSAGE=low?PRIORITY=0\n");
	close(fd);
	log_info("nobody reads this");
	log_close();
	assert_int_equal(unlink(at.sun_path), 0);
}

static size_t receive(int fd, char *got, size_t size)
{
	ssize_t n = recv(fd, got, size - 1, MSG_DONTWAIT);

	got[MAX(n, 0)] = '\0';
	return (size_t)MAX(n, 0);
}

static int listen_as(int type, struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	*at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(at->sun_path, sizeof(at->sun_path), "%s/syslog", directory);
	assert_int_equal(bind(fd, (struct sockaddr *)at, sizeof(*at)), 0);
	return fd;
}

/*
 * The socket is opened when it is asked for, used later, and not opened again: what is sent after its
 * daemon's end is lost and counted, also when there is a new one at the same path.
 */
static void to_syslog(void **state)
{
	const uint64_t dropped = log_lines_dropped();
	struct sockaddr_un at;
	char got[200];
	int fd, daemon;
	size_t len;

	(void)state;
	log_init("prog", LOGL_INFO);
	fd = listen_as(SOCK_DGRAM, &at);
	assert_int_equal(log_open_syslog(at.sun_path), 0);
	capture_begin(STDERR_FILENO);
	log_info("to stderr");
	assert_string_equal(capture_end(), "prog: to stderr\n");
	log_to_syslog();
	log_warn("low\n<0>");
	receive(fd, got, sizeof(got));
	assert_matches(got, "^<28>[A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} prog\\[[0-9]+]: low[?]<0>$");
	close(fd);
	assert_int_equal(unlink(at.sun_path), 0);
	fd = listen_as(SOCK_DGRAM, &at);
	log_info("nobody reads this");
	assert_int_equal(receive(fd, got, sizeof(got)), 0);
	assert_int_equal(log_lines_dropped(), dropped + 1);
	close(fd);
	assert_int_equal(unlink(at.sun_path), 0);
	assert_int_equal(log_open_syslog(at.sun_path), -1);
	assert_int_equal(errno, ENOENT);

	fd = listen_as(SOCK_STREAM, &at);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(log_open_syslog(at.sun_path), 0);
	daemon = accept(fd, NULL, NULL);
	log_to_syslog();
	log_info("one");
	len = receive(daemon, got, sizeof(got));
	assert_int_equal(len, strlen(got) + 1); /* the zero ends the line */
	assert_non_null(strstr(got, "]: one"));
	log_close();
	close(daemon);
	close(fd);
	assert_int_equal(unlink(at.sun_path), 0);
}

/* A daemon that hangs is waited for once; when it reads again, it learns how much it missed. */
static void to_a_syslog_that_hangs(void **state)
{
	const uint64_t dropped = log_lines_dropped();
	struct sockaddr_un at;
	char got[200];
	unsigned n = 0;
	uint64_t missed;
	int fd;

	(void)state;
	log_init("prog", LOGL_INFO);
	fd = listen_as(SOCK_DGRAM, &at);
	assert_int_equal(log_open_syslog(at.sun_path), 0);
	log_to_syslog();
	for (int i = 0; i < 2000; i++) /* more than a queue holds */
		log_info("%d", i);
	missed = log_lines_dropped() - dropped;
	assert_in_range(missed, 1, 1999);
	while (receive(fd, got, sizeof(got)))
		n++;
	assert_int_equal(n + missed, 2000);
	log_info("at last");
	receive(fd, got, sizeof(got));
	assert_non_null(strstr(got, "at last ("));
	assert_non_null(strstr(got, ", Resource temporarily unavailable)"));
	assert_int_equal(strtoull(strstr(got, "one: ") + 5, NULL, 10), missed);
	log_close();
	close(fd);
	assert_int_equal(unlink(at.sun_path), 0);
}

/* Where stderr is the journal's, each line says its priority. */
static void to_stderr_of_systemd(void **state)
{
	struct stat st;
	char stream[64];

	(void)state;
	capture_begin(STDERR_FILENO);
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("prog", LOGL_INFO);
	log_err("bad");
	setenv("JOURNAL_STREAM", "1:1", 1); /* inherited, but stderr was redirected since */
	log_init("prog", LOGL_INFO);
	log_err("bad");
	unsetenv("JOURNAL_STREAM");
	log_init("prog", LOGL_INFO);
	assert_string_equal(capture_end(), "<3>prog: bad\nprog: bad\n");
}

/* Whoever reads stderr may stop, as a pager does: that is waited for once, and the lines are counted. */
static void to_a_stderr_that_nobody_reads(void **state)
{
	const uint64_t dropped = log_lines_dropped();
	const int kept = dup(STDERR_FILENO);
	char read_back[1 << 16];
	unsigned lines = 0;
	int pipe_of[2];

	(void)state;
	assert_int_equal(pipe(pipe_of), 0);
	assert_int_equal(dup2(pipe_of[1], STDERR_FILENO), STDERR_FILENO);
	for (; log_lines_dropped() == dropped && lines < 10000; lines++)
		log_info("%0500u", lines);
	for (unsigned i = 0; i < 100; i++)
		log_info("lost");
	assert_int_equal(log_lines_dropped(), dropped + 101);
	assert_true(read(pipe_of[0], read_back, sizeof(read_back)) > 4096);
	log_info("after");
	assert_true(read(pipe_of[0], read_back, sizeof(read_back) - 1) > 0);
	dup2(kept, STDERR_FILENO);
	assert_non_null(strstr(read_back, "prog: after (lines lost before this one: 101, "));
	close(kept);
	close(pipe_of[0]);
	close(pipe_of[1]);
}

/*
 * A line that finds half the room it needs: the next one begins on a line of its own, and both are counted.
 */
static void full_disk(void **state)
{
	struct rlimit before;
	uint64_t dropped = log_lines_dropped();
	struct stat st;

	(void)state;
	unlink(path);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(log_to_file(path), 0);
	log_info("whole");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(
		setrlimit(RLIMIT_FSIZE, &(struct rlimit){ (rlim_t)st.st_size + 10, before.rlim_max }), 0);
	log_info("torn");
	log_info("lost");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(log_lines_dropped(), dropped + 2);
	log_info("after");
	log_info("and on");
	log_close();
	assert_matches(content(path), " whole\n20.{8}\n20[^\n]* after \\(lines lost before this one: 2, "
				      "File too large\\)\n20[^\n]* and on\n$");
}

/* Warnings of one place are limited by themselves. */
static void bursts(void **state)
{
	uint64_t before = log_lines_suppressed();

	(void)state;
	capture_begin(STDERR_FILENO);
	for (int i = 0; i < LOG_BURST + 5; i++)
		log_warn("%d", i);
	assert_non_null(strstr(capture_end(), "prog: 19\n"));
	assert_int_equal(log_lines_suppressed(), before + 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(to_stderr),
		cmocka_unit_test(long_line),
		cmocka_unit_test(to_file),
		cmocka_unit_test(reopen),
		cmocka_unit_test(rate_limit),
		cmocka_unit_test(bursts),
		cmocka_unit_test(to_journal),
		cmocka_unit_test(to_stderr_of_systemd),
		cmocka_unit_test(full_disk),
		cmocka_unit_test(to_syslog),
		cmocka_unit_test(to_a_syslog_that_hangs),
		cmocka_unit_test(to_a_stderr_that_nobody_reads),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
