/*
 * The command line of tcpcopy. Each case is a command line as typed; for a
 * refusal the message has to name the option, the value and what is accepted, and what went wrong.
 * Nothing here needs privilege or sends a packet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ifaddrs.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "io/capture/source.h"
#include "tcpcopy/choice/strain.h"
#include "tcpcopy/config/config.h"

#define MAX_WORDS 40
#define RULE "6379-10.90.109.143:6379"
#define ASSISTANT "10.90.110.143"

static struct config c;
static char said[16384]; /* what the last parse() wrote to standard error */

/* @words: a NULL-terminated argv without the program's name. Standard error goes to said[]. */
static int parse(const char *const *words)
{
	char *argv[MAX_WORDS + 1] = { NULL };
	int argc = 0, status, i, saved = dup(STDERR_FILENO), memory = memfd_create("stderr", 0);
	ssize_t n;

	assert_true(saved >= 0 && memory >= 0);
	argv[argc++] = strdup("tcpcopy");
	while (*words && argc < MAX_WORDS)
		argv[argc++] = strdup(*words++);
	fflush(stderr);
	dup2(memory, STDERR_FILENO);
	status = config_parse(&c, argc, argv);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	n = pread(memory, said, sizeof(said) - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	close(memory);
	close(saved);
	memset(c.pool_text, 0, sizeof(c.pool_text)); /* they point into argv */
	for (i = 0; i < argc; i++)
		free(argv[i]);
	return status;
}

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

static void assert_said(const char *text)
{
	if (!strstr(said, text))
		fail_msg("\"%s\" is not in: %s", text, said);
}

/* One line, with option, value and what is accepted. */
static void assert_refused(int status, const char *option, const char *value, const char *why)
{
	char head[512];

	if (status != 2)
		fail_msg("%s %s: status %d: %s", option, value ? value : "", status, said);
	if (value)
		snprintf(head, sizeof(head), "tcpcopy: option %s \"%s\": ", option, value);
	else
		snprintf(head, sizeof(head), "tcpcopy: option %s: ", option);
	assert_said(head);
	assert_said(why);
	assert_said("; accepted: ");
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
}

static struct endpoint endpoint(const char *address, uint16_t port)
{
	struct endpoint e = { .port = port };

	assert_true(addr_parse(&e.addr, address));
	return e;
}

static void assert_endpoint(const struct endpoint *e, const char *address, uint16_t port)
{
	struct endpoint want = endpoint(address, port);

	assert_true(endpoint_eq(e, &want));
}

static void test_the_post(void **state)
{
	(void)state;
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "-d"), -1);
	assert_string_equal(said, "");
	assert_int_equal(c.n_rules, 1);
	assert_int_equal(c.rules[0].online_port, 6379);
	assert_false(c.rules[0].has_online_addr);
	assert_endpoint(&c.rules[0].target, "10.90.109.143", 6379);
	assert_string_equal(c.rules[0].text, RULE);
	assert_int_equal(c.n_assistants, 1);
	assert_endpoint(&c.assistants[0].at, ASSISTANT, 36524);
	assert_true(c.run.daemon);
	assert_false(c.run.verbose || c.keep_trying || c.no_join);
	assert_int_equal(c.n_pool + c.n_interfaces, 0);
	assert_true(c.hold == 3 * NS_PER_SEC && c.run.stats_interval == 10 * NS_PER_SEC);
	assert_int_equal(c.session_buffer, 64 << 20);
	assert_int_equal(c.memory, 160 << 20);
	assert_true(c.capture == CAPTURE_AUTO && c.ring == 0);
	assert_int_equal(c.mtu, 0);
	assert_string_equal(c.filter, "");
	assert_string_equal(c.run.log_path, "");
}

static void test_every_option(void **state)
{
	char cwd[4096], path[4200];

	(void)state;
	assert_int_equal(PARSE("--transfer=" RULE, "--assistant", ASSISTANT, "--client-pool=10.1.2.x",
			       "--interface", "lo", "--filter", "src", "net", "10.0.0.0/8", "--log", "a.log",
			       "--pid=/run/a.pid", "--port=40000", "--keep-trying", "--hold=1.5s",
			       "--session-buffer=1M", "--stats=0", "--mtu=1400", "--no-join", "--verbose",
			       "--capture=packet", "--ring=8M"),
			 -1);
	assert_endpoint(&c.assistants[0].at, ASSISTANT, 40000);
	assert_string_equal(c.interfaces[0], "lo");
	assert_string_equal(c.filter, "src net 10.0.0.0/8");
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(path, sizeof(path), "%s/a.log", cwd);
	assert_string_equal(c.run.log_path, path);
	assert_string_equal(c.run.pid_path, "/run/a.pid");
	assert_true(c.keep_trying && c.no_join && c.run.verbose && !c.run.daemon);
	assert_true(c.hold == 1500 * NS_PER_MS && c.run.stats_interval == 0);
	assert_int_equal(c.session_buffer, 1 << 20);
	assert_true(c.capture == CAPTURE_PACKET && c.ring == 8 << 20);
	assert_int_equal(c.mtu, 1400);
	assert_int_equal(c.n_pool, 1);
	assert_int_equal(c.pool[0].len, 120);

	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "-i", "any"), -1);
	assert_int_equal(c.n_interfaces, 0);
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "-LOdW", "--no-hold"), -1);
	assert_true(c.keep_trying && c.no_join && c.run.daemon && c.hold == 0);
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "-W", "--hold", "0"), -1);
}

/* What only the original tool had is taken, and the log says what there is instead. */
static void test_ignored(void **state)
{
	(void)state;
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "-C", "2", "-D", "1460", "-f", "3", "-H",
			       "10.1.2.3", "-k", "700", "-o", "eth0", "-R", "30", "-S", "65535", "-t", "600",
			       "-U", "1"),
			 -1);
	assert_int_equal(c.run.n_ignored, 10);
	assert_string_equal(c.run.ignored[6], "option -R is ignored: round-trip times are measured");
	assert_refused(PARSE("-x", RULE, "-R", "fast"), "-R", "fast", "not a number");

	assert_int_equal(PARSE("-x", "6379@00:16:3e:00:00:01-10.0.0.1:80@00:16:3E:00:00:02,[fd90::1]:80@"
				     "00:16:3e:00:00:01-[fd90::2]:81@00:16:3e:00:00:02"),
			 -1);
	assert_int_equal(c.run.n_ignored, 1);
	assert_string_equal(c.run.ignored[0],
			    "option -x: MAC addresses (@) are ignored: the kernel's routes and "
			    "neighbours say where copies go");
	assert_int_equal(c.rules[0].online_port, 6379);
	assert_endpoint(&c.rules[0].target, "10.0.0.1", 80);
	assert_endpoint(&c.rules[1].target, "fd90::2", 81);
	assert_refused(PARSE("-x", "80@00:16-10.0.0.1:80"), "-x", "80@00:16-10.0.0.1:80",
		       "is not a MAC address");
	assert_refused(PARSE("-x", "80-10.0.0.1:80@00:16:3e:00:00:0g"), "-x",
		       "80-10.0.0.1:80@00:16:3e:00:00:0g", "is not a MAC address");
}

/* A number alone is MB, as the original tool has it. */
static void test_megabytes(void **state)
{
	(void)state;
	assert_int_equal(PARSE("-x", RULE, "-m", "1024", "-B", "16"), -1);
	assert_true(c.memory == 1ull << 30 && c.ring == 16 << 20);
	assert_int_equal(PARSE("-x", RULE, "-m", "1.5G", "-B", "2048K"), -1);
	assert_true(c.memory == 3ull << 29 && c.ring == 2 << 20);
	assert_refused(PARSE("-x", RULE, "-m", "0"), "-m", "0", "out of range");
	assert_refused(PARSE("-x", RULE, "-m", "167772160"), "-m", "167772160", "or a number of MB");
	assert_refused(PARSE("-x", RULE, "-B", "4097"), "-B", "4097", "out of range");
	assert_refused(PARSE("-x", RULE, "-B", "1K"), "-B", "1K", "out of range");
}

/* Of a file it is asked only whether it is one. */
static void test_replays(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--read", "a.pcap", "b.pcap.gz", "-", "-x", RULE, "--read=c.pcap"), -1);
	assert_int_equal(c.n_read, 4);
	assert_true(c.speed == 1000000 && !c.rate && c.gap == UINT64_MAX && c.loops == 1 &&
		    c.decap == DECAP_ALL);
	assert_int_equal(PARSE("-i", "/dev/null", "-x", RULE, "-a", "0.5", "-I", "250", "-T", "3", "-q"), -1);
	assert_int_equal(c.n_read, 1);
	assert_int_equal(c.n_interfaces, 0);
	assert_true(c.speed == 500000 && c.gap == 250 * NS_PER_MS && c.loops == 3 && c.quiet);
	assert_int_equal(PARSE("--read", "a", "-x", RULE, "--speed", "max", "--decap", "vxlan,gre"), -1);
	assert_true(c.speed == 0 && c.decap == (1u << DECAP_BIT_VXLAN | 1u << DECAP_BIT_GRE));
	assert_int_equal(PARSE("--read", "a", "-x", RULE, "--rate", "1500.5", "--decap", "none", "-I", "1s"),
			 2);
	assert_int_equal(PARSE("--read", "a", "-x", RULE, "--rate", "1500.5", "--decap", "none"), -1);
	assert_true(c.rate == 1500500000 && c.decap == 0);
	/* the recorded server may be the target itself, and this host */
	assert_int_equal(PARSE("--read", "a", "-x", "6379-127.0.0.1:6379"), -1);

	assert_refused(PARSE("--read", "a", "-i", "lo", "-x", RULE), "--interface", NULL,
		       "names lo to capture on, but --read replays a file");
	assert_int_equal(PARSE("--read", "a", "-i", "any", "-x", RULE), -1);

	assert_int_equal(PARSE("--read", "a", "a", "-x", RULE), 2);
	assert_int_equal(PARSE("-x", RULE, "-a", "2"), 2);
	assert_int_equal(PARSE("-x", RULE, "-T", "2"), 2);
	assert_int_equal(PARSE("-x", RULE, "--decap", "gre"), 2);
	assert_int_equal(PARSE("--read", "a", "-x", RULE, "--decap", "l2tp"), 2);
	assert_int_equal(PARSE("--read", "a", "-x", RULE, "-a", "2", "--rate", "7"), 2);
	assert_int_equal(PARSE("--read", "-", "-x", RULE, "-T", "2"), 2);
	assert_int_equal(PARSE("--read", "-", "-x", RULE, "-d"), 2);
	assert_int_equal(PARSE("--read", "a", "-x", RULE, "--workers", "2"), 2);
	assert_int_equal(PARSE("--read", "a", "-x", RULE, "--check"), 2);
}

static void test_choice(void **state)
{
	char text[CONFIG_CHOICE_TEXT];

	(void)state;
	assert_int_equal(PARSE("-x", RULE), -1);
	assert_true(c.choice.share == CHOICE_ALL && c.choice.seed == 1 && !c.choice.ramp);
	assert_string_equal(config_choice_format(text, &c.choice, 0), "");
	assert_int_equal(PARSE("-x", RULE, "-r", "50"), -1);
	assert_true(c.choice.share == CHOICE_ALL / 2 && c.choice.by == CHOICE_BY_SESSION);
	assert_string_equal(config_choice_format(text, &c.choice, 0),
			    "50 % of the sessions, chosen by the client's address and port, seed 1");
	assert_int_equal(PARSE("-x", RULE, "--sample", "0.1", "--seed=4294967295", "--sample-by", "client",
			       "-g", "10m"),
			 -1);
	assert_true(c.choice.share == 100000 && c.choice.seed == UINT32_MAX &&
		    c.choice.by == CHOICE_BY_CLIENT && c.choice.ramp == 600 * NS_PER_SEC);
	assert_string_equal(
		config_choice_format(text, &c.choice, 0),
		"0 % of the sessions, chosen by the client's address, seed 4294967295; growing to "
		"0.1 % over 600 s");
	assert_int_equal(PARSE("-x", RULE, "--read", "a", "-g", "10s", "-a", "2"), -1);

	assert_refused(PARSE("-x", RULE, "-r", "0"), "-r", "0", "out of range");
	assert_refused(PARSE("-x", RULE, "-r", "100.1"), "-r", "100.1", "out of range");
	assert_refused(PARSE("-x", RULE, "-r", "half"), "-r", "half", "not a number");
	assert_refused(PARSE("-x", RULE, "-r", "5", "--seed", "4294967296"), "--seed", "4294967296",
		       "out of range");
	assert_refused(PARSE("-x", RULE, "-r", "5", "--sample-by", "port"), "--sample-by", "port",
		       "is neither");
	assert_int_equal(PARSE("-x", RULE, "-g", "-d"), -1); /* as the original tool has it */
	assert_true(c.choice.ramp == 100 * NS_PER_SEC);
	assert_refused(PARSE("-x", RULE, "-g", "10"), "-g", "10", "a unit is missing");
	assert_refused(PARSE("-x", RULE, "-g", "25h"), "-g", "25h", "out of range");
	assert_refused(PARSE("-x", RULE, "--seed", "3"), "--seed", NULL, "all are replicated");
	assert_refused(PARSE("-x", RULE, "--sample-by", "client"), "--sample-by", NULL, "all are replicated");
	assert_refused(PARSE("-x", RULE, "--read", "a", "-g", "10s", "--speed", "max"), "--ramp", NULL,
		       "goes by the time");
	assert_refused(PARSE("-x", RULE, "--read", "a", "-g", "10s", "--rate", "9"), "--ramp", NULL,
		       "goes by the time");
}

static void test_copies(void **state)
{
	static const struct {
		const char *value, *why;
	} bad[] = {
		{ "0", "out of range" },     { "0.5", "out of range" }, { "1000.1", "out of range" },
		{ "twice", "not a number" }, { "2x", "is not a unit" },
	};

	(void)state;
	assert_int_equal(PARSE("-x", RULE), -1);
	assert_int_equal(copies_most(&c.copies), 1);
	assert_int_equal(PARSE("-x", RULE, "-n", "3", "-s", "192.0.2.9"), -1);
	assert_true(c.copies.times == 3000000 && copies_most(&c.copies) == 3);
	assert_int_equal(PARSE("-x", RULE, "--copies", "1.5", "--seed", "9"), -1);
	assert_true(c.copies.times == 1500000 && c.copies.seed == 9);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_refused(PARSE("-x", RULE, "-n", bad[i].value), "-n", bad[i].value, bad[i].why);
	assert_refused(PARSE("-x", RULE, "-n", "2", "--seed", "9"), "--seed", NULL, "a fraction of -n");
}

static void test_targets(void **state)
{
#define TWO "6379-10.0.0.1:6379/3,6379-10.0.0.2:6379"
	(void)state;
	assert_int_equal(PARSE("-x", TWO, "-s", ASSISTANT, "--targets", "spread", "--spread-by", "client"),
			 -1);
	assert_true(c.targets.mode == TARGETS_SPREAD && c.targets.by == TARGETS_BY_CLIENT);
	assert_true(c.rules[0].weight == 3 && c.rules[1].weight == 0 && c.rules[0].target.port == 6379);
	assert_int_equal(PARSE("-x", "80-10.0.0.1:80,80-10.0.0.2:80", "-s", ASSISTANT, "--targets=all"), -1);
	assert_int_equal(PARSE("-x", "80-10.0.0.1:80@00:16:3e:00:00:01/2,80-10.0.0.2:80", "-s", ASSISTANT,
			       "--targets=spread", "--seed", "4"),
			 -1);
	assert_true(c.rules[0].weight == 2 && c.targets.seed == 4);

	assert_refused(PARSE("-x", "80-10.0.0.1:80,80-10.0.0.2:80", "-s", ASSISTANT), "-x", "80-10.0.0.2:80",
		       "--targets all");
	assert_refused(PARSE("-x", "80-10.0.0.1:80,80-10.0.0.1:80", "-s", ASSISTANT, "--targets", "all"),
		       "-x", "80-10.0.0.1:80", "has the same target");
	assert_refused(PARSE("-x", TWO, "-s", ASSISTANT, "--targets", "all"), "-x", "6379-10.0.0.1:6379/3",
		       "a weight is for --targets spread");
	assert_refused(PARSE("-x", "80-10.0.0.1:80/0", "-s", ASSISTANT), "-x", "80-10.0.0.1:80/0",
		       "not one of 1 to 1000000");
	assert_refused(PARSE("-x", "80-10.0.0.1:80/x", "-s", ASSISTANT), "-x", "80-10.0.0.1:80/x",
		       "not one of 1 to 1000000");
	assert_refused(PARSE("-x", RULE, "--targets", "all"), "--targets", NULL, "no two rules");
	assert_refused(PARSE("-x", RULE, "--targets", "one"), "--targets", "one", "no such mode");
	assert_refused(PARSE("-x", RULE, "--spread-by", "client"), "--spread-by", NULL, "with that");
	assert_refused(PARSE("-x", RULE, "--spread-by", "port"), "--spread-by", "port", "is neither");
	assert_refused(PARSE("-x", RULE, "--spread", "200ms"), "--spread", NULL, "accepted: with -n");
	assert_refused(PARSE("-x", RULE, "-n", "2", "--spread", "11s"), "--spread", "11s", "out of range");
	assert_int_equal(PARSE("-x", RULE, "-n", "2", "--spread", "200ms"), -1);
	assert_true(c.copies.spread == 200 * NS_PER_MS);
}

static void test_pool_file(void **state)
{
	char path[] = "/tmp/pool.XXXXXX", option[sizeof(path) + 1];
	const int fd = mkstemp(path);
	static const char good[] = "# ours\n192.0.2.1, 192.0.2.8/29\n\n  198.51.100.10-20 # a range\n",
			  bad[] = "192.0.2.1\n192.0.2.\n";

	(void)state;
	assert_true(fd >= 0);
	snprintf(option, sizeof(option), "@%s", path);
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-c", option), "-c", option,
		       "no address in the file");
	assert_int_equal(pwrite(fd, good, sizeof(good) - 1, 0), sizeof(good) - 1);
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "-c", option, "--sticky"), -1);
	assert_true(c.n_pool == 8 && c.sticky && c.pool[1].len == 125);
	assert_int_equal(pwrite(fd, bad, sizeof(bad), 0), sizeof(bad));
	assert_int_equal(ftruncate(fd, sizeof(bad) - 1), 0);
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-c", option), "-c", option, "line 2: ");
	close(fd);
	unlink(path);
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-c", option), "-c", option, "cannot open");
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "--sticky"), "--sticky", NULL, "there are none");
}

static void test_limits(void **state)
{
	static const struct {
		const char *option, *value, *why;
	} bad[] = {
		{ "--max-sessions", "0", "out of range" },
		{ "--max-sessions", "4000001", "out of range" },
		{ "--max-rate", "0", "out of range" },
		{ "--max-rate", "5/s", "is not a unit" },
		{ "--stop-after", "0", "out of range" },
		{ "--stop-after", "1000", "a unit is missing" },
		{ "--stop-after", "10minutes", "is not a unit" },
		{ "--stop-after", "1001h", "out of range" },
		{ "--stop-after", "0sessions", "out of range" },
		{ "--stop-after", "99999999999999999999999999requests", "out of range" },
		{ "--stop-after", "sessions", "not a number" },
		{ "--stop-after", "5 sessions", "" },
	};

	(void)state;
	assert_int_equal(PARSE("-x", RULE), -1);
	assert_true(!c.max_sessions && !c.max_rate && !c.stop_time && !c.stop_sessions && !c.stop_requests);
	assert_int_equal(PARSE("-x", RULE, "--max-sessions", "100", "--max-rate=0.5", "--stop-after", "10m",
			       "--stop-after=1000sessions", "--stop-after", "50000requests"),
			 -1);
	assert_true(c.max_sessions == 100 && c.max_rate == 500000);
	assert_true(c.stop_time == 600 * NS_PER_SEC && c.stop_sessions == 1000 && c.stop_requests == 50000);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_refused(PARSE("-x", RULE, bad[i].option, bad[i].value), bad[i].option, bad[i].value,
			       bad[i].why);
	assert_refused(PARSE("-x", RULE, "--stop-after", "1s", "--stop-after", "2s"), "--stop-after", "2s",
		       "given twice");
	assert_refused(PARSE("-x", RULE, "--max-sessions", "3", "--workers", "4"), "--max-sessions", NULL,
		       "workers that share it");
}

static void test_files_that_are_written(void **state)
{
	(void)state;
	assert_int_equal(PARSE("-x", RULE, "--write", "/tmp/day.pcapng"), -1);
	assert_string_equal(c.write, "/tmp/day.pcapng");
	assert_true(!c.write_rotate_bytes && !c.write_rotate_time && !c.write_max &&
		    c.write_answers == ANSWERS_HEADERS);
	assert_int_equal(PARSE("-x", RULE, "--write", "day", "--write-rotate", "1G,10m", "--write-max", "20G",
			       "--write-answers", "all"),
			 -1);
	assert_true(c.write[0] == '/' && c.write_rotate_bytes == 1ull << 30 &&
		    c.write_rotate_time == 600 * NS_PER_SEC && c.write_max == 20ull << 30 &&
		    c.write_answers == ANSWERS_ALL);
	assert_int_equal(PARSE("-x", RULE, "--write", "day", "--write-rotate", "10M", "--write-rotate", "1h",
			       "--write-answers", "none"),
			 -1);
	assert_true(c.write_rotate_bytes == 10 << 20 && c.write_rotate_time == 3600 * NS_PER_SEC);

	assert_refused(PARSE("-x", RULE, "--write", "a", "--write-rotate", "1K"), "--write-rotate", "1K",
		       "out of range");
	assert_refused(PARSE("-x", RULE, "--write", "a", "--write-rotate", "5ms"), "--write-rotate", "5ms",
		       "out of range");
	assert_refused(PARSE("-x", RULE, "--write", "a", "--write-rotate", "1G,2G"), "--write-rotate",
		       "1G,2G", "says twice");
	assert_refused(PARSE("-x", RULE, "--write", "a", "--write-rotate", "daily"), "--write-rotate",
		       "daily", "not a number");
	assert_refused(PARSE("-x", RULE, "--write", "a", "--write-max", "1M"), "--write-max", "1M",
		       "out of range");
	assert_refused(PARSE("-x", RULE, "--write", "a", "--write-answers", "some"), "--write-answers",
		       "some", "no such part");
	assert_refused(PARSE("-x", RULE, "--write", "a", "--write-max", "8M"), "--write-max", NULL,
		       "there is only one");
	assert_refused(PARSE("-x", RULE, "--write", "a", "--write-max", "8M", "--write-rotate", "5M"),
		       "--write-max", NULL, "less than two files");
	assert_refused(PARSE("-x", RULE, "--write-rotate", "5M"), "--write-rotate", NULL, "with --write");
	assert_refused(PARSE("-x", RULE, "--write-max", "5M"), "--write-max", NULL, "with --write");
	assert_refused(PARSE("-x", RULE, "--write-answers", "all"), "--write-answers", NULL, "with --write");
	assert_refused(PARSE("-x", RULE, "--write", "a", "--read", "b"), "--write", NULL, "without --read");
}

static void test_dry_run(void **state)
{
	(void)state;
	assert_int_equal(PARSE("-x", RULE), -1);
	assert_true(!c.dry_run && c.hold);
	assert_int_equal(PARSE("-x", RULE, "--dry-run", "--write", "a", "--read", "b"), -1);
	assert_true(c.dry_run && !c.hold);
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "--dry-run"), -1);
	assert_refused(PARSE("-x", RULE, "--dry-run", "--check"), "--dry-run", NULL, "one of the two");
	assert_refused(PARSE("-x", RULE, "--dry-run", "--write", "a", "--write-answers", "all"),
		       "--write-answers", NULL, "what would be sent");
}

static void test_breakers(void **state)
{
	static const struct {
		const char *option, *value, *why;
	} bad[] = {
		{ "--breaker", "", "> and a limit are missing" },
		{ "--breaker", "p99", "> and a limit are missing" },
		{ "--breaker", "p99 > 2", "\"2\": no limit for answer: a unit is missing" },
		{ "--breaker", "p99 > 5%", "\"5%\": no limit for answer: not of its kind (a time (5ms))" },
		{ "--breaker", "refused > 2s",
		  "\"2s\": no limit for refused: not of its kind (a share (0.1%))" },
		{ "--breaker", "refused > 101%", "more than all" },
		{ "--breaker", "cpu > 5%", "\"cpu\": no such metric (answer, refused, reset, unanswered" },
		{ "--breaker", "p99 > 2s or", "no limit for answer" },
		{ "--breaker", "p99 > 2s and refused > 5%", "nothing may stand between" },
		{ "--breaker", "GET /: p99 > 2s", "\"GET /: \": classes of requests are not known here" },
		{ "--yield", "load > 5", "\"load\": no such metric (cpu, memory, drops" },
		{ "--yield", "cpu > 80", "\"80\": no limit for cpu: a unit is missing" },
		{ "--yield", "drops > 1%",
		  "\"1%\": no limit for drops: not a number: \"%\" follows the digits (a number (10))" },
		{ "--yield", "drops > -1", "\"-1\": no limit for drops: out of range" },
	};

	(void)state;
	assert_int_equal(PARSE("-x", RULE), -1);
	assert_true(!c.n_breaker && !c.n_yield);
	assert_int_equal(PARSE("-x", RULE, "--breaker", "p99 > 2s or refused > 5%", "--yield",
			       "cpu > 80% or memory>10% or drops > 0"),
			 -1);
	assert_int_equal(c.n_breaker, 2);
	assert_int_equal(c.breaker[0].metric, STRAIN_ANSWER);
	assert_true(c.breaker[0].quantile > 0.9899 && c.breaker[0].quantile < 0.9901);
	assert_true(c.breaker[0].limit > 1.999e9 && c.breaker[0].limit < 2.001e9);
	assert_int_equal(c.breaker[1].metric, STRAIN_REFUSED);
	assert_true(c.breaker[1].limit > 0.0499 && c.breaker[1].limit < 0.0501);
	assert_int_equal(c.n_yield, 3);
	assert_int_equal(c.yield[2].metric, STRAIN_DROPS);
	assert_true(c.yield[2].limit < 0.5);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_refused(PARSE("-x", RULE, bad[i].option, bad[i].value), bad[i].option, bad[i].value,
			       bad[i].why);
	assert_int_equal(PARSE("-x", RULE, "-W", "--breaker", "refused > 5% or reset > 5%"), -1);
	assert_refused(PARSE("-x", RULE, "-W", "--breaker", "refused > 5% or answer p50 > 1s"), "--breaker",
		       NULL, "nothing waits for them");
	assert_refused(PARSE("-x", RULE, "--hold=0", "--breaker", "unanswered > 5%"), "--breaker", NULL,
		       "nothing waits for them");
}

static void test_joins(void **state)
{
	(void)state;
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT), -1);
	assert_int_equal(c.rules[0].join, ENGINE_JOIN_AUTO);
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "-O"), -1);
	assert_int_equal(c.rules[0].join, ENGINE_JOIN_NONE);
	assert_int_equal(PARSE("-x", "80-10.0.0.1:80,81-10.0.0.1:81", "-s", ASSISTANT, "--join=all, 81=none"),
			 -1);
	assert_int_equal(c.rules[0].join, ENGINE_JOIN_ALL);
	assert_int_equal(c.rules[1].join, ENGINE_JOIN_NONE);
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "-O", "--join=6379=all"), -1);
	assert_int_equal(c.rules[0].join, ENGINE_JOIN_ALL);
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "--join=some"), "--join", "some",
		       "is no such mode");
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "--join=x=all"), "--join", "x=all", "port");
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "--join=80=all"), "--join", NULL,
		       "no rule of -x has the online port 80");
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-O", "--join=all"), "-O", NULL, "--join says");
}

static void test_rules(void **state)
{
	(void)state;
	assert_int_equal(PARSE("-x", "80-10.0.0.1:8080, 10.0.0.9:81-10.0.0.2:8081", "-x",
			       "[fd90::1]:80-[fd90::2]:8080", "-s", ASSISTANT),
			 -1);
	assert_int_equal(c.n_rules, 3);
	assert_endpoint(&c.rules[1].target, "10.0.0.2", 8081);
	assert_endpoint(&(struct endpoint){ c.rules[1].online_addr, c.rules[1].online_port }, "10.0.0.9", 81);
	assert_endpoint(&c.rules[2].target, "fd90::2", 8080);
	assert_true(c.rules[2].has_online_addr);

	/* One port for both families, one port of two addresses. */
	assert_int_equal(PARSE("-x", "80-10.0.0.1:80,80-[fd90::1]:80", "-s", ASSISTANT), -1);
	assert_int_equal(PARSE("-x", "10.0.0.8:80-10.0.0.1:80,10.0.0.9:80-10.0.0.1:80", "-s", ASSISTANT), -1);

	/* A name with a hyphen is cut at the right one; it is a name that cannot exist (RFC 6761).
	 */
	assert_refused(PARSE("-x", "80-a-b.invalid:80", "-s", ASSISTANT), "-x", "80-a-b.invalid:80",
		       "the name \"a-b.invalid\" does not resolve");
	assert_refused(PARSE("-x", "a-b.invalid:80-10.0.0.1:80", "-s", ASSISTANT), "-x",
		       "a-b.invalid:80-10.0.0.1:80", "the name \"a-b.invalid\" does not resolve");
}

static void test_bad_rules(void **state)
{
	static const struct {
		const char *value, *why;
	} bad[] = {
		{ "", "the value is empty" },
		{ "a-b", "the online port \"a\" is not one of 1 to 65535" },
		{ "6379", "there is no \"-target-address:target-port\"" },
		{ "6379-", "the target has no address" },
		{ "6379-6380", "the target has no address" },
		{ "6379-:6379", "the target has no address" },
		{ "6379-10.0.0.1", "the target has no port" },
		{ "6379-10.0.0.1:", "the target port \"\" is not" },
		{ "6379-10.0.0.1:http", "the target port \"http\" is not" },
		{ "0-10.0.0.1:80", "the online port \"0\" is not" },
		{ "99999-10.0.0.1:80", "the online port \"99999\" is not" },
		{ "65536-10.0.0.1:80", "the online port \"65536\" is not" },
		{ "80-10.0.0.1:0", "the target port \"0\" is not" },
		{ "80-10.0.0.1:99999", "the target port \"99999\" is not" },
		{ "80-10.0.0.999:80", "\"10.0.0.999\" is not an IPv4 address" },
		{ "80-10.1:80", "\"10.1\" is not an IPv4 address" },
		{ "80-fd90::1:80", "must be in brackets" },
		{ "fd90::2:80-10.0.0.1:80", "must be in brackets" },
		{ "80-[fd90::1:80", "the bracket is not closed" },
		{ "80-[fd90::1]80", "after the bracket only :port" },
		{ "80-[10.0.0.1]:80", "\"10.0.0.1\" is not an IPv6 address" },
		{ "[fd90::2]-[fd90::1]:80", "\":port\" is missing after the online address" },
		{ "80-10.0.0.1:80,", "an element of the list is empty" },
		{ "80-10.0.0.1:80,a-b", "in \"a-b\", the online port \"a\" is not" },
		{ "80-nowhere.invalid:80", "the name \"nowhere.invalid\" does not resolve" },
		{ "10.0.0.9:80-[fd90::1]:80", "one address is IPv4 and the other IPv6" },
		{ "[fd90::1]:80-10.0.0.9:80", "one address is IPv4 and the other IPv6" },
		{ "10.0.0.1:80-10.0.0.1:80", "the target is the online server itself" },
		{ "80-127.0.0.1:80", "belongs to this very host" },
		{ "80-[::1]:80", "belongs to this very host" },
		{ "80-0.0.0.0:80", "is not the address of a host" },
		{ "80-224.0.0.1:80", "is a multicast or broadcast address" },
		{ "80-[ff02::1]:80", "is a multicast or broadcast address" },
		{ "80-[fe80::1]:80", "is a link-local address" },
		{ "0.0.0.0:80-10.0.0.1:80", "the online address 0.0.0.0 is not the address of a host" },
		{ "127.0.0.1:80-10.0.0.1:80", "clients of 127.0.0.1 have loopback addresses" },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_refused(PARSE("-x", bad[i].value, "-s", ASSISTANT), "-x", bad[i].value, bad[i].why);

	/* The later of two rules for one request is named, whatever options they came in. */
	assert_refused(PARSE("-x", "80-10.0.0.1:80,80-10.0.0.2:80", "-s", ASSISTANT), "-x", "80-10.0.0.2:80",
		       "already match the rule \"80-10.0.0.1:80\"");
	assert_refused(PARSE("-x", "10.0.0.9:80-10.0.0.1:80", "-s", ASSISTANT, "-x", "80-10.0.0.2:80"), "-x",
		       "80-10.0.0.2:80", "already match the rule \"10.0.0.9:80-10.0.0.1:80\"");
	/* Clients of loopback can be replicated with other addresses. */
	assert_int_equal(PARSE("-x", "127.0.0.1:80-10.0.0.1:80", "-s", ASSISTANT, "-c", "10.1.2.3"), -1);
}

static void test_target_on_this_host(void **state)
{
	struct ifaddrs *all, *ifa;
	struct endpoint e;
	char address[ADDR_TEXT_LEN], rule[160];
	bool tried = false;

	(void)state;
	assert_int_equal(getifaddrs(&all), 0);
	for (ifa = all; ifa && !tried; ifa = ifa->ifa_next) {
		if (!ifa->ifa_addr || !addr_from_sockaddr(&e, ifa->ifa_addr) || !addr_is_v4(&e.addr) ||
		    addr_is_loopback(&e.addr))
			continue;
		tried = true;
		addr_format(address, sizeof(address), &e.addr);
		snprintf(rule, sizeof(rule), "80-%s:8080", address);
		assert_refused(PARSE("-x", rule, "-s", ASSISTANT), "-x", rule, "belongs to this very host");
		assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-c", address), "-c", address,
			       "which is an address of this host");
	}
	freeifaddrs(all);
	if (!tried)
		skip();
}

static void test_assistants(void **state)
{
	static const struct {
		const char *value, *why;
	} bad[] = {
		{ "", "the value is empty" },
		{ "10.0.0.1:0", "the port \"0\" is not" },
		{ "10.0.0.1:99999", "the port \"99999\" is not" },
		{ "10.0.0.1:", "the port \"\" is not" },
		{ ":36524", "there is no address" },
		{ "fd90::110", "must be in brackets" },
		{ "10.0.0.300", "\"10.0.0.300\" is not an IPv4 address" },
		{ "nowhere.invalid", "the name \"nowhere.invalid\" does not resolve" },
		{ "0.0.0.0", "is not the address of a host" },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_refused(PARSE("-x", RULE, "-s", bad[i].value), "-s", bad[i].value, bad[i].why);
	assert_refused(PARSE("-x", RULE, "-s", "10.0.0.1,10.0.0.1:36524"), "-s", "10.0.0.1:36524",
		       "the same assistant as \"10.0.0.1\"");

	assert_int_equal(PARSE("-x", RULE, "-s", "10.0.0.1,10.0.0.1:2,[fd90::110]", "-s", "[fd90::110]:3",
			       "-p", "4000"),
			 -1);
	assert_int_equal(c.n_assistants, 4);
	assert_endpoint(&c.assistants[0].at, "10.0.0.1", 4000);
	assert_endpoint(&c.assistants[1].at, "10.0.0.1", 2);
	assert_endpoint(&c.assistants[2].at, "fd90::110", 4000);
	assert_endpoint(&c.assistants[3].at, "fd90::110", 3);
}

static bool pool_has(const char *address)
{
	struct endpoint e = endpoint(address, 0);
	unsigned i, n = 0;

	for (i = 0; i < c.n_pool; i++)
		n += prefix_contains(&c.pool[i], &e.addr);
	assert_true(n <= 1); /* a range's prefixes are disjoint */
	return n == 1;
}

static void test_pool(void **state)
{
	static const struct {
		const char *value, *why;
	} bad[] = {
		{ "", "the value is empty" },
		{ "foo", "neither an address nor a prefix" },
		{ "10.1.2.3/33", "neither an address nor a prefix" },
		{ "10.1.2", "neither an address nor a prefix" },
		{ "10.1.2.1x", "not an IPv4 address with wildcards at its end" },
		{ "x.x.x.x", "not an IPv4 address with wildcards at its end" },
		{ "10.x.3.4", "a number follows a wildcard" },
		{ "10.1.2.20-10", "the range ends before it begins" },
		{ "10.1.2.10-300", "not a range of IPv4 addresses" },
		{ "10.1.0.0-10.1.255.255", "more than 256 elements" },
		{ "fd90::1-5", "not a range of IPv4 addresses" },
		{ "10.90.109.x", "contains 10.90.109.143, which is the target's address" },
		{ "10.90.110.100-200", "contains 10.90.110.143, which is the assistant's address" },
		{ "127.0.0.2", "cannot answer loopback addresses" },
		{ "224.0.0.1", "is a multicast" },
		{ "0.0.0.0/0", "is not the address of a host" },
		{ "2001:db8::/64", "no rule has a target of this address family" },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-c", bad[i].value), "-c", bad[i].value,
			       bad[i].why);

	assert_int_equal(
		PARSE("-x", RULE, "-s", ASSISTANT, "-c", "10.1.2.10-20", "-c", "10.1.3.0/24,10.2.x.*"), -1);
	assert_false(pool_has("10.1.2.9"));
	for (i = 10; i <= 20; i++) {
		char address[16];

		snprintf(address, sizeof(address), "10.1.2.%u", i);
		assert_true(pool_has(address));
	}
	assert_false(pool_has("10.1.2.21"));
	assert_true(pool_has("10.1.3.255") && pool_has("10.2.255.1") && !pool_has("10.3.0.0"));
	for (i = 0; i < c.n_pool; i++) /* first and last address of a longer one are not used */
		assert_true(c.pool[i].len >= 127 || c.pool[i].len <= 120);
	assert_int_equal(PARSE("-x", "80-[fd90::1]:80", "-s", ASSISTANT, "-c", "2001:db8::/64"), -1);
	assert_true(pool_has("2001:db8::5"));
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "-c", "10.7.2.1-254"), -1);
	assert_false(pool_has("10.7.2.0") || pool_has("10.7.2.255"));
	assert_true(pool_has("10.7.2.1") && pool_has("10.7.2.254"));
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "-c", "10.7.2.255-10.7.3.0"), -1);
	assert_true(pool_has("10.7.2.255") && pool_has("10.7.3.0") && !pool_has("10.7.3.1"));
}

static void test_filter(void **state)
{
	static char long_filter[2000];

	(void)state;
	assert_int_equal(PARSE("-x", RULE, "-F", "tcp", "and", "src", "port", "6379", "-s", ASSISTANT), -1);
	assert_string_equal(c.filter, "tcp and src port 6379");
	assert_int_equal(PARSE("-x", RULE, "-F", "tcp and src port 6379", "-s", ASSISTANT), -1);
	assert_string_equal(c.filter, "tcp and src port 6379");

	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-F"), "-F", NULL, "its value is missing");
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-F", "-d"), "-F", NULL, "\"-d\" follows");
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-F", ""), "-F", "", "the filter is empty");
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-F", " "), "-F", " ", "the filter is empty");
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-F", "foo bar"), "-F", "foo bar", "syntax error");
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-F", "tcp) or (tcp"), "-F", "tcp) or (tcp",
		       "syntax error");
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-F", "udp"), "-F", "udp", "rejects all packets");
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-F", "tcp", "-F", "tcp"), "-F", "tcp",
		       "given twice");
	memset(long_filter, 'x', sizeof(long_filter) - 1);
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "-F", long_filter), 2);
	assert_said("longer than 1023 characters");
}

static void test_capture_filter(void **state)
{
	char text[CONFIG_FILTER_SIZE], err[512], rules[8192] = "";
	unsigned i;

	(void)state;
	assert_int_equal(PARSE("-x", "80-10.0.0.1:8080,10.0.0.9:81-10.0.0.2:81,80-[fd90::1]:8080", "-s",
			       ASSISTANT, "-F", "src net 10.0.0.0/8 or ip6"),
			 -1);
	assert_int_equal(config_capture_filter(&c, text, sizeof(text)), 0);
	assert_string_equal(
		text, "((tcp and ((ip and dst port 80) or (ip and dst host 10.0.0.9 and dst port 81) or "
		      "(ip6 and dst port 80))) or (ip6[6] = 0 and ip6[40] = 6 and ip6[42] = 0xc2 and "
		      "(ip6[50:2] = 80))) and not ((dst host 10.0.0.1 and dst port 8080) or "
		      "(dst host 10.0.0.2 and dst port 81) or (dst host fd90::1 and dst port 8080)) and "
		      "(src net 10.0.0.0/8 or ip6)");
	assert_int_equal(config_capture_filter(&c, text, 100), -1);

	/* The most and the longest that can be. */
	for (i = 0; i < CONFIG_MAX_RULES; i++)
		snprintf(rules + strlen(rules), sizeof(rules) - strlen(rules),
			 "%s[fd90:1111:2222:3333:4444:5555:6666:%x]:%u-[fd91:1111:2222:3333:4444:"
			 "5555:6666:%x]:%u",
			 i ? "," : "", 0x7777 + i, 65000 + i, 0x8888 + i, 65000 + i);
	assert_int_equal(PARSE("-x", rules, "-s", ASSISTANT), -1);
	assert_int_equal(c.n_rules, CONFIG_MAX_RULES);
	memset(c.filter, ' ', sizeof(c.filter) - 1);
	memcpy(c.filter, "tcp", 3);
	assert_int_equal(config_capture_filter(&c, text, sizeof(text)), 0);
	assert_int_equal(capture_check_filter(text, err, sizeof(err)), 0);
	snprintf(rules + strlen(rules), sizeof(rules) - strlen(rules), ",1-10.0.0.1:1");
	assert_int_equal(PARSE("-x", rules, "-s", ASSISTANT), 2);
	assert_said("more than 64 rules");
}

static void test_other_bad_values(void **state)
{
	static const struct {
		const char *option, *value, *why;
	} bad[] = {
		{ "-p", "0", "out of range" },
		{ "-p", "99999", "out of range" },
		{ "-p", "http", "not a number" },
		{ "-M", "575", "out of range" },
		{ "-M", "65536", "out of range" },
		{ "-M", "1500x", "not a number" },
		{ "--hold", "3", "a unit is missing" },
		{ "--hold", "11m", "out of range" },
		{ "--hold", "soon", "not a number" },
		{ "--session-buffer", "63K", "out of range" },
		{ "--session-buffer", "2G", "out of range" },
		{ "--stats", "99ms", "out of range" },
		{ "--stats", "10", "a unit is missing" },
		{ "-i", "nosuchdevice0",
		  "there is no such interface, and no file of that name that can be read; accepted: lo" },
		{ "-i", "anamethatistoolong0", "is not the name of an interface" },
		{ "-i", "", "is not the name of an interface" },
		{ "-i", "lo,lo", "interface lo is named twice" },
		{ "-l", "", "not a file name" },
		{ "-P", "/tmp/", "not a file name" },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, bad[i].option, bad[i].value), bad[i].option,
			       bad[i].value, bad[i].why);
	assert_refused(PARSE("-s", ASSISTANT), "-x", NULL, "is missing");
	assert_refused(PARSE("-x", RULE, "--return", "assistant"), "-s", NULL, "is missing");
	assert_refused(PARSE("-x", RULE, "--return", "own", "-s", ASSISTANT), "-s", NULL,
		       "names an assistant");
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-W", "--hold=1s"), "-W", NULL,
		       "--hold says how long");
	assert_refused(PARSE("-x", RULE, "-s", ASSISTANT, "-l", "/tmp/x", "-P", "/tmp/x"), "-P", "/tmp/x",
		       "is also the log file");
	assert_refused(PARSE("-x", "80-[fd90::1]:80", "-s", ASSISTANT, "-M", "1279"), "-M", "1279",
		       "too small for the IPv6 target");
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "--nonsense"), 2);
	assert_said("tcpcopy: option --nonsense: unknown");
	assert_int_equal(PARSE("-x", RULE, "-s", ASSISTANT, "word"), 2);
	assert_said("argument \"word\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_post),
		cmocka_unit_test(test_every_option),
		cmocka_unit_test(test_ignored),
		cmocka_unit_test(test_megabytes),
		cmocka_unit_test(test_replays),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_pool_file),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_files_that_are_written),
		cmocka_unit_test(test_dry_run),
		cmocka_unit_test(test_breakers),
		cmocka_unit_test(test_joins),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_bad_rules),
		cmocka_unit_test(test_target_on_this_host),
		cmocka_unit_test(test_assistants),
		cmocka_unit_test(test_pool),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_capture_filter),
		cmocka_unit_test(test_other_bad_values),
	};

	return cmocka_run_group_tests_name("tcpcopy_config", tests, NULL, NULL);
}
