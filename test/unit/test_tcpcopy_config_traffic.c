/*
 * The command line of tcpcopy: what is replicated, how much of it and how often, and what is written.
 * Cases are as in test_tcpcopy_config.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/util.h"
#include "tcpcopy/choice/strain.h"
#include "config_words.h"

static struct config c;

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replays),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_pool_file),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_files_that_are_written),
		cmocka_unit_test(test_dry_run),
		cmocka_unit_test(test_breakers),
	};

	return cmocka_run_group_tests_name("tcpcopy_config_traffic", tests, NULL, NULL);
}
