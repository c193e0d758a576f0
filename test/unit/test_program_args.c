/* The command line: every form that is taken, every error with its words, and the usage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "program/args.h"
#include "base/number.h"
#include "capture.h"

struct config {
	char rules[200]; /* each followed by ';' */
	const char *filter, *device, *log, *pause;
	uint64_t port;
	int daemon, quiet;
	char ignored;
};

static const char *set_rule(void *into, const char *value)
{
	struct config *c = into;

	if (!strchr(value, ':'))
		return args_wrong("no \":\" in %zu bytes", strlen(value));
	strcat(strcat(c->rules, value), ";");
	return NULL;
}

static const char *set_filter(void *into, const char *value)
{
	((struct config *)into)->filter = value;
	return *value ? NULL : "an empty filter";
}

static const char *set_device(void *into, const char *value)
{
	((struct config *)into)->device = value;
	return NULL;
}

static const char *set_log(void *into, const char *value)
{
	((struct config *)into)->log = value;
	return NULL;
}

static const char *set_port(void *into, const char *value)
{
	return number_parse(value, 1, 65535, &((struct config *)into)->port);
}

static const char *set_daemon(void *into, const char *value)
{
	assert_null(value);
	((struct config *)into)->daemon++;
	return NULL;
}

static const char *set_quiet(void *into, const char *value)
{
	assert_null(value);
	((struct config *)into)->quiet++;
	return NULL;
}

static const char *set_pause(void *into, const char *value)
{
	((struct config *)into)->pause = value ? value : "none";
	return NULL;
}

static const char *set_size(void *into, const char *value)
{
	uint64_t n;

	(void)into;
	return number_parse(value, 1, 10, &n);
}

static const struct args_option options[] = {
	ARGS_TOPIC_ROW("rules", "what and where"),
	{ 'x', "rules", "RULE", ARGS_REPEAT | ARGS_FIRST, "what is replicated where", "PORT-HOST:PORT",
	  set_rule, ARGS_WHOLE },
	{ 'F', "filter", "FILTER", ARGS_GREEDY, "a filter, also unquoted", NULL, set_filter, ARGS_WHOLE },
	{ 'i', "interface", "NAME", 0, "where to listen", NULL, set_device, ARGS_WHOLE },
	ARGS_TOPIC_ROW("channel", "the way back"),
	{ 'p', "port", "PORT", ARGS_FIRST, "port of the channel; nothing else [36524]", "1 to 65535",
	  set_port, ARGS_WHOLE },
	{ 'l', "log", "FILE", ARGS_DASH, "log file", NULL, set_log, ARGS_WHOLE },
	{ 'd', "daemon", NULL, 0, "become a daemon", NULL, set_daemon, ARGS_WHOLE },
	{ 'q', NULL, NULL, ARGS_REPEAT, "say less", NULL, set_quiet, ARGS_WHOLE },
	{ 'g', "pause", "TIME", ARGS_OPTIONAL, "wait a while", NULL, set_pause, ARGS_WHOLE },
	{ 'U', NULL, "NUMBER", ARGS_IGNORED, "tables grow", "1 to 10", set_size, ARGS_WHOLE },
	ARGS_TOPIC_ROW("running", "how it runs"),
	{ 0, "a-rather-long-option-name", "WHATEVER", 0,
	  "an option whose name leaves no room for its help beside it, and whose help is long enough to be "
	  "wrapped at eighty columns\nand has a second line",
	  NULL, set_device, ARGS_WHOLE },
};

static void note_ignored(void *into, char letter, const char *instead)
{
	struct config *c = into;

	c->ignored = letter;
	assert_string_equal(instead, "tables grow");
}

static const struct args_program program = {
	.name = "tcpcopy",
	.version = "1.2.3",
	.summary = "Replicates. And more.",
	.ignored = note_ignored,
	.closing = "Example:\n  tcpcopy -x 80-10.0.0.1:80\n",
	.options = options,
	.count = ARRAY_SIZE(options),
};

static struct config config;
static int status;
static char output[65536];

/* @line is split at blanks; '_' stands for a blank inside a word, a lone "''" for an empty word. */
static const char *run(int fd, const char *line)
{
	static char copy[1000];
	char *argv[64] = { copy }, *save;
	int argc = 1;

	args_free();
	memset(&config, 0, sizeof(config));
	snprintf(copy, sizeof(copy), "tcpcopy %s", line);
	argv[0] = strtok_r(copy, " ", &save);
	while ((argv[argc] = strtok_r(NULL, " ", &save))) {
		for (char *c = argv[argc]; *c; c++) {
			if (*c == '_')
				*c = ' ';
		}
		if (strcmp(argv[argc], "''") == 0)
			argv[argc][0] = '\0';
		argc++;
	}
	capture_begin(fd);
	status = args_parse(&program, argc, argv, &config);
	strcpy(output, capture_end());
	return output;
}

static void good(const char *line)
{
	run(STDERR_FILENO, line);
	assert_string_equal(output, "");
	assert_int_equal(status, -1);
}

static void bad(const char *line, const char *expected)
{
	char full[600];

	run(STDERR_FILENO, line);
	snprintf(full, sizeof(full), "tcpcopy: %s\n", expected);
	assert_string_equal(output, full);
	assert_int_equal(status, 2);
}

static void forms(void **state)
{
	(void)state;
	good("");
	good("-x a:b -d");
	assert_string_equal(config.rules, "a:b;");
	assert_int_equal(config.daemon, 1);
	good("-xa:b -p80 -ieth0");
	assert_string_equal(config.rules, "a:b;");
	assert_int_equal(config.port, 80);
	assert_string_equal(config.device, "eth0");
	good("--rules a:b --rules=c:d=e --port=1");
	assert_string_equal(config.rules, "a:b;c:d=e;");
	good("-dq -qdqp 80"); /* clustered, the last one with a value */
	assert_int_equal(config.daemon, 1);
	assert_int_equal(config.quiet, 3);
	assert_int_equal(config.port, 80);
	good("-dqp80");
	assert_int_equal(config.port, 80);
	good("-d -d"); /* a flag that is on stays on */
	assert_int_equal(config.daemon, 1);
	good("-l -strange -d");
	assert_string_equal(config.log, "-strange");
	good("-i -"); /* a lone dash is a value */
	assert_string_equal(config.device, "-");
	good("-i ''");
	assert_string_equal(config.device, "");
	good("--interface=");
	assert_string_equal(config.device, "");
	good("-d --");
}

static void greedy(void **state)
{
	(void)state;
	good("-F tcp and src port 6379 -d");
	assert_string_equal(config.filter, "tcp and src port 6379");
	assert_int_equal(config.daemon, 1);
	good("-F tcp_and_src_port_6379 -d");
	assert_string_equal(config.filter, "tcp and src port 6379");
	good("-d -F tcp and src port 6379");
	assert_string_equal(config.filter, "tcp and src port 6379");
	good("--filter=tcp and port 1 -d");
	assert_string_equal(config.filter, "tcp and port 1");
	good("-Ftcp and port 1");
	assert_string_equal(config.filter, "tcp and port 1");
	good("-F tcp[2:2] - 1 = 5 -p 7");
	assert_string_equal(config.filter, "tcp[2:2] - 1 = 5");
	assert_int_equal(config.port, 7);
	good("-dF ip6");
	assert_string_equal(config.filter, "ip6");
}

static void missing_values(void **state)
{
	(void)state;
	bad("-F -d", "option -F: its value is missing, \"-d\" follows; accepted: FILTER");
	bad("-F", "option -F: its value is missing; accepted: FILTER");
	bad("--filter --daemon",
	    "option --filter: its value is missing, \"--daemon\" follows; accepted: FILTER");
	bad("-d -x", "option -x: its value is missing; accepted: PORT-HOST:PORT");
	bad("-dx -p 3", "option -x: its value is missing, \"-p\" follows; accepted: PORT-HOST:PORT");
	bad("--port=-3", "option --port \"-3\": its value must not begin with \"-\"; accepted: 1 to 65535");
	bad("-F -x_and_y", "option -F: its value is missing, \"-x and y\" follows; accepted: FILTER");
	bad("-F ''", "option -F \"\": an empty filter; accepted: FILTER");
	bad("-l", "option -l: its value is missing; accepted: FILE");
}

static void wrong_values(void **state)
{
	(void)state;
	bad("-x a-b", "option -x \"a-b\": no \":\" in 3 bytes; accepted: PORT-HOST:PORT");
	bad("--rules=a-b", "option --rules \"a-b\": no \":\" in 3 bytes; accepted: PORT-HOST:PORT");
	bad("-p 99999 -x", "option -p \"99999\": out of range (1 to 65535); accepted: 1 to 65535");
	bad("-i a -d -i b", "option -i \"b\": given twice; accepted: once");
	bad("-i a --interface b", "option --interface \"b\": given twice; accepted: once");
	bad("--daemon=yes", "option --daemon \"yes\": takes no value; accepted: the option alone");
	bad("--daemon=", "option --daemon \"\": takes no value; accepted: the option alone");
	bad("eth0 -d",
	    "argument \"eth0\": belongs to no option; accepted: options, which tcpcopy --help all lists");
	bad("-i eth0 eth1",
	    "argument \"eth1\": belongs to no option; accepted: options, which tcpcopy --help all lists");
	bad("-d -- -x",
	    "argument \"-x\": belongs to no option; accepted: options, which tcpcopy --help all lists");
	bad("-", "argument \"-\": belongs to no option; accepted: options, which tcpcopy --help all lists");
	bad("\xe2\x80\x93x a:b",
	    "argument \"\xe2\x80\x93x\": begins with a typographic dash; accepted: \"-\", typed again");
}

/* A setter that calls another one puts its words into its own. */
static void words_of_words(void **state)
{
	(void)state;
	assert_string_equal(args_wrong("in %s: %s", "b", args_wrong("no %s", "a")), "in b: no a");
}

static void unknown(void **state)
{
	(void)state;
	bad("--filtr x", "option --filtr: unknown; did you mean --filter? (tcpcopy --help all lists them)");
	bad("--fitler=x", "option --fitler: unknown; did you mean --filter? (tcpcopy --help all lists them)");
	bad("--inter eth0",
	    "option --inter: unknown; did you mean --interface? (tcpcopy --help all lists them)");
	bad("--hlep", "option --hlep: unknown; did you mean --help? (tcpcopy --help all lists them)");
	bad("--zzzzzz", "option --zzzzzz: unknown; accepted: those that tcpcopy --help all lists");
	bad("--=3", "option --: unknown; accepted: those that tcpcopy --help all lists");
	bad("-filter x", "option -filter: unknown; did you mean --filter? (tcpcopy --help all lists them)");
	bad("-rulez x", "option -rulez: unknown; did you mean --rules? (tcpcopy --help all lists them)");
	bad("-D", "option -D: unknown; did you mean -d? (tcpcopy --help all lists them)");
	bad("-dZ", "option -Z: unknown; accepted: those that tcpcopy --help all lists");
	bad("-?", "option -?: unknown; accepted: those that tcpcopy --help all lists");
}

static void found_later(void **state)
{
	(void)state;
	capture_begin(STDERR_FILENO);
	status = args_error(&program, 'x', "80-nowhere:80", "the name does not resolve");
	assert_string_equal(capture_end(), "tcpcopy: option -x \"80-nowhere:80\": the name does not resolve; "
					   "accepted: PORT-HOST:PORT\n");
	assert_int_equal(status, 2);
	capture_begin(STDERR_FILENO);
	args_error(&program, 'x', NULL, "missing");
	assert_string_equal(capture_end(), "tcpcopy: option -x: missing; accepted: PORT-HOST:PORT\n");
}

static void fits_the_screen(void)
{
	const char *line;

	for (line = output; *line; line += strcspn(line, "\n") + 1) {
		assert_true(strcspn(line, "\n") < 80);
		assert_true(line[0] == '\n' || line[strcspn(line, "\n") - 1] != ' '); /* no trailing blank */
	}
}

/* The few, each by its first thought. */
static void help_in_short(void **state)
{
	(void)state;
	run(STDOUT_FILENO, "-d --help -x");
	assert_int_equal(status, 0);
	assert_string_equal(
		output, "Usage: tcpcopy OPTIONS\nReplicates.\n\n"
			"  -x, --rules=RULE            what is replicated where\n"
			"  -p, --port=PORT             port of the channel\n"
			"  -h, --help[=TOPIC]          print the most needed options or those of TOPIC\n\n"
			"TOPIC is one of rules, channel, running, all. See also: man 8 tcpcopy\n\n"
			"Example:\n  tcpcopy -x 80-10.0.0.1:80\n");
	run(STDOUT_FILENO, "-dh");
	assert_int_equal(status, 0);
}

static void help_of_a_topic(void **state)
{
	(void)state;
	run(STDOUT_FILENO, "--help channel");
	assert_int_equal(status, 0);
	assert_string_equal(output,
			    "channel: the way back\n"
			    "  -p, --port=PORT             port of the channel; nothing else [36524]\n"
			    "  -l, --log=FILE              log file\n"
			    "  -d, --daemon                become a daemon\n"
			    "  -q                          say less\n"
			    "  -g, --pause[=TIME]          wait a while\n"
			    "  -U NUMBER                   ignored: tables grow\n");
	run(STDOUT_FILENO, "--help=running");
	assert_non_null(strstr(
		output, "\n      --a-rather-long-option-name=WHATEVER\n"
			"                              an option whose name leaves no room for its help\n"
			"                              beside it, and whose help is long enough to be\n"
			"                              wrapped at eighty columns\n"
			"                              and has a second line\n"
			"  -h, --help[=TOPIC]          print the most needed options or those of TOPIC,\n"
			"                              and exit; TOPIC all: all of them\n"));
	fits_the_screen();
	bad("-h fruit",
	    "option --help \"fruit\": there is no such topic; accepted: rules, channel, running, all");
	bad("--help=", "option --help \"\": there is no such topic; accepted: rules, channel, running, all");
	bad("--channel", "option --channel: unknown; accepted: those that tcpcopy --help all lists");
}

static void help_of_all(void **state)
{
	(void)state;
	run(STDOUT_FILENO, "-h all");
	assert_int_equal(status, 0);
	assert_non_null(strstr(output,
			       "Usage: tcpcopy OPTIONS\nReplicates. And more.\n\nrules: what and where\n"
			       "  -x, --rules=RULE            what is replicated where\n"));
	assert_non_null(strstr(output, "\n\nchannel: the way back\n  -p"));
	assert_non_null(strstr(output, "\n  -v, --version "));
	assert_non_null(strstr(output, "\n\nExample:\n  tcpcopy -x"));
	fits_the_screen();
	run(STDOUT_FILENO, "-v");
	assert_int_equal(status, 0);
	assert_string_equal(output, "tcpcopy 1.2.3\n");
}

static void optional_values(void **state)
{
	(void)state;
	good("-g -d");
	assert_string_equal(config.pause, "none");
	assert_int_equal(config.daemon, 1);
	good("-dg");
	assert_string_equal(config.pause, "none");
	good("--pause");
	assert_string_equal(config.pause, "none");
	good("-g 3 -d");
	assert_string_equal(config.pause, "3");
	good("--pause=4");
	assert_string_equal(config.pause, "4");
	good("-g5");
	assert_string_equal(config.pause, "5");
	bad("--pause=-5", "option --pause \"-5\": its value must not begin with \"-\"; accepted: TIME");
}

/* Its value is judged all the same. */
static void ignored(void **state)
{
	(void)state;
	good("-U 7 -d");
	assert_int_equal(config.ignored, 'U');
	assert_int_equal(config.daemon, 1);
	good("-d");
	assert_int_equal(config.ignored, 0);
	bad("-U 11", "option -U \"11\": out of range (1 to 10); accepted: 1 to 10");
	bad("-U", "option -U: its value is missing; accepted: 1 to 10");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms),           cmocka_unit_test(greedy),
		cmocka_unit_test(missing_values),  cmocka_unit_test(wrong_values),
		cmocka_unit_test(words_of_words),  cmocka_unit_test(unknown),
		cmocka_unit_test(found_later),     cmocka_unit_test(help_in_short),
		cmocka_unit_test(help_of_a_topic), cmocka_unit_test(help_of_all),
		cmocka_unit_test(ignored),         cmocka_unit_test(optional_values),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	args_free();
	return failed;
}
