/*
 * The options that both programs have, in the table of a program that has nothing else: what each of them
 * sets, what is refused, and which of them exclude each other.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "program/cpus.h"
#include "program/options.h"
#include "build/config.h"
#include "capture.h"

struct config {
	char before[100]; /* so that no offset is right by chance */
	struct run_config run;
	uint16_t port;
	bool after;
};

static const struct args_option options[] = {
	OPTION_WORKERS("work"),
	OPTION_CPUS,
	OPTION_BUSY_POLL,
	OPTION_STATS("0"),
	OPTION_CHECK("only check"),
	OPTION_USER,
	OPTION_NO_SANDBOX,
	OPTION_DAEMON,
	OPTION_LOG,
	OPTION_REPORT,
	OPTION_PID,
	OPTION_STATUS("prog"),
	OPTION_JSON,
	OPTION_CONTROL("prog"),
	OPTION_VERBOSE,
	{ 'p', "port", "PORT", 0, "a port", NULL, options_set_port, ARGS_AT(struct config, uint16_t, port) },
	{ 0, "after", NULL, 0, "a flag", NULL, args_set_true, ARGS_AT(struct config, bool, after) },
};

static const struct args_program program = {
	.name = "prog",
	.version = "1",
	.options = options,
	.count = ARRAY_SIZE(options),
};

static struct config c;
static const char *said;

static int parse(const char *const *words)
{
	char *argv[20] = { (char[]){ "prog" } };
	int argc = 1, status;

	while (*words)
		argv[argc++] = (char *)(uintptr_t)*words++;
	memset(&c, 0, sizeof(c));
	capture_begin(STDERR_FILENO);
	status = args_parse(&program, argc, argv, &c);
	if (status < 0)
		status = options_check(&program, &c.run);
	said = capture_end();
	return status;
}

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

static void assert_refused(int status, const char *words)
{
	assert_int_equal(status, 2);
	if (!strstr(said, words))
		fail_msg("\"%s\" is not in: %s", words, said);
}

static void nothing_but_the_run_config_is_touched(void)
{
	for (size_t i = 0; i < sizeof(c.before); i++)
		assert_int_equal(c.before[i], 0);
}

static void each_sets_its_own(void **state)
{
	static const struct run_config none;
	const struct {
		const char *word;
		size_t at;
	} flags[] = {
		{ "-d", offsetof(struct config, run.daemon) },
		{ "--check", offsetof(struct config, run.check) },
		{ "--status", offsetof(struct config, run.status) },
		{ "--verbose", offsetof(struct config, run.verbose) },
		{ "--busy-poll", offsetof(struct config, run.busy_poll) },
		{ "--no-sandbox", offsetof(struct config, run.no_sandbox) },
		{ "--after", offsetof(struct config, after) },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		bool *flag = (bool *)((char *)&c + flags[i].at);

		if (cpus_usable() < 2 && !strcmp(flags[i].word, "--busy-poll"))
			continue;
		assert_int_equal(PARSE(flags[i].word), -1);
		assert_true(*flag);
		*flag = false;
		assert_memory_equal(&c.run, &none, sizeof(none));
		assert_false(c.after);
		nothing_but_the_run_config_is_touched();
	}
	assert_int_equal(PARSE("--json"), -1);
	assert_true(c.run.status && c.run.status_json);
	assert_int_equal(PARSE("--workers", "7", "--stats=1500ms", "-p", "6379", "--user=root"), -1);
	assert_int_equal(c.run.workers, 7);
	assert_true(c.run.stats_interval == 1500 * NS_PER_MS);
	assert_int_equal(c.port, 6379);
	assert_string_equal(c.run.user.name, "root");
	nothing_but_the_run_config_is_touched();
	assert_int_equal(PARSE("--stats=0"), -1);
}

static void nobody_polls_on_the_only_cpu(void **state)
{
	cpu_set_t before, one;
	int first = 0;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	while (!CPU_ISSET(first, &before))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_refused(PARSE("--busy-poll"), "option --busy-poll: would leave nothing of the only CPU");
	assert_int_equal(PARSE("--workers", "auto"), -1);
	assert_int_equal(c.run.workers, 1);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

static void paths_become_absolute(void **state)
{
	char cwd[RUN_PATH_SIZE - 100], path[RUN_PATH_SIZE + 1];

	(void)state;
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(PARSE("-l", "a.log", "-P", "/run/a.pid", "--report", "./r/a.json", "--control=c"),
			 -1);
	snprintf(path, sizeof(path), "%s/a.log", cwd);
	assert_string_equal(c.run.log_path, path);
	assert_false(c.run.log_journal);
	assert_string_equal(c.run.pid_path, "/run/a.pid");
	snprintf(path, sizeof(path), "%s/./r/a.json", cwd);
	assert_string_equal(c.run.report_path, path);
	snprintf(path, sizeof(path), "%s/c", cwd);
	assert_string_equal(c.run.control_path, path);
	nothing_but_the_run_config_is_touched();
	assert_int_equal(PARSE("-l", "journal"), -1);
	assert_true(c.run.log_journal);
	assert_string_equal(c.run.log_path, "");

	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[RUN_PATH_SIZE] = '\0';
	assert_refused(PARSE("-l", path), "option -l \"/xx");
	path[RUN_PATH_SIZE - 1] = '\0';
	assert_int_equal(PARSE("-l", path), -1); /* the longest */
	assert_string_equal(c.run.log_path, path);
	assert_refused(PARSE("-l", path + 1), "option -l \"xxx");
	nothing_but_the_run_config_is_touched();
}

static void refused(void **state)
{
	(void)state;
	assert_refused(PARSE("--workers", "0"), "option --workers \"0\": out of range (1 to 32)");
	assert_refused(PARSE("--workers", "33"), "out of range (1 to 32)");
	assert_refused(PARSE("--cpus", "x"), "option --cpus \"x\": ");
	assert_refused(PARSE("--stats", "99ms"), "option --stats \"99ms\": out of range (100ms to 24h)");
	assert_refused(PARSE("--stats", "25h"), "out of range");
	assert_refused(PARSE("-p", "65536"), "out of range (1 to 65535)");
	for (int i = 0; i < 2; i++) {
		const char *value = i ? "/tmp/" : "";

		assert_refused(PARSE("-l", value), "option -l \"");
		assert_refused(PARSE("-P", value), "option -P \"");
		assert_refused(PARSE("--report", value), "option --report \"");
		assert_refused(PARSE("--control", value), "option --control \"");
	}
	assert_refused(PARSE("--user", "nobodyatall"), "option --user \"nobodyatall\": ");
}

static void one_file_for_two_things(void **state)
{
	(void)state;
	assert_refused(PARSE("-l", "/tmp/x", "-P", "/tmp/x"), "option -P \"/tmp/x\": ");
	assert_refused(PARSE("-l", "/tmp/x", "--report", "/tmp/x"), "option -l \"/tmp/x\": ");
	assert_refused(PARSE("-P", "/tmp/x", "--report", "/tmp/x"), "option -P \"/tmp/x\": ");
	assert_int_equal(PARSE("-l", "/tmp/x", "-P", "/tmp/y", "--report", "/tmp/z"), -1);
	assert_int_equal(PARSE("-d"), -1); /* three that are none are not one */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_sets_its_own),       cmocka_unit_test(nobody_polls_on_the_only_cpu),
		cmocka_unit_test(paths_become_absolute),   cmocka_unit_test(refused),
		cmocka_unit_test(one_file_for_two_things),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
