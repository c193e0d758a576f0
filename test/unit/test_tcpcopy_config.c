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
#include <unistd.h>

#include "base/util.h"
#include "io/capture/source.h"
#include "config_words.h"

static struct config c;

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
