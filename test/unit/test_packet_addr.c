/*
 * Addresses, endpoints and prefixes: both families, their text forms, and what must be refused.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>

#include "base/util.h"
#include "packet/addr.h"

static struct addr parsed(const char *text)
{
	struct addr a;

	if (!addr_parse(&a, text))
		fail_msg("%s", text);
	return a;
}

static void text_round_trips(void **state)
{
	static const char *const texts[][2] = {
		{ "10.90.114.82", "10.90.114.82" },
		{ "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "::ffff:10.0.0.1", "10.0.0.1" },
		{ "::", "::" },
		{ "::1", "::1" },
		{ "FD00:0090:0:0::114:0082", "fd00:90::114:82" },
		{ "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1" }, /* RFC 5952 4.2.2 */
		{ "2001:0:0:1:0:0:0:1", "2001:0:0:1::1" },          /* 4.2.3, the longer run */
		{ "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1" },    /* 4.2.3, the first */
		{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};
	char buf[ADDR_TEXT_LEN];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		struct addr a = parsed(texts[i][0]);

		assert_string_equal(addr_format(buf, sizeof(buf), &a), texts[i][1]);
	}
}

static void what_is_no_address(void **state)
{
	static const char *const texts[] = {
		"",          "a",          "10.0.0",     "10.0.0.256", "10.0.0.1.1", "010.0.0.1",
		"10.0.0.1 ", " 10.0.0.1",  "[::1]",      ":::",        "1::2::3",    "12345::",
		"::1%lo",    "0x7f.0.0.1", "10.0.0.1/8", "localhost",
	};
	struct addr a;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		if (addr_parse(&a, texts[i]))
			fail_msg("'%s' was taken", texts[i]);
	}
}

static void kinds_of_addresses(void **state)
{
	static const struct {
		const char *text;
		bool v4, any, loopback, multicast;
	} k[] = {
		{ "0.0.0.0", true, true, false, false },
		{ "127.0.0.1", true, false, true, false },
		{ "127.255.255.254", true, false, true, false },
		{ "128.0.0.1", true, false, false, false },
		{ "223.255.255.255", true, false, false, false },
		{ "224.0.0.0", true, false, false, true },
		{ "239.255.255.255", true, false, false, true },
		{ "240.0.0.1", true, false, false, false },
		{ "255.255.255.255", true, false, false, true },
		{ "::", false, true, false, false },
		{ "::1", false, false, true, false },
		{ "::2", false, false, false, false },
		{ "fe80::1", false, false, false, false },
		{ "ff02::1", false, false, false, true },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(k); i++) {
		struct addr a = parsed(k[i].text);

		if (addr_is_v4(&a) != k[i].v4 || addr_is_any(&a) != k[i].any ||
		    addr_is_loopback(&a) != k[i].loopback || addr_is_multicast(&a) != k[i].multicast)
			fail_msg("%s", k[i].text);
	}
}

static void prefixes_contain(void **state)
{
	static const struct {
		const char *prefix, *addr;
		bool in;
	} k[] = {
		{ "10.0.0.0/8", "10.255.0.1", true },
		{ "10.0.0.0/8", "11.0.0.0", false },
		{ "10.1.2.3/8", "10.9.9.9", true }, /* host bits are cut */
		{ "10.90.96.0/19", "10.90.127.255", true },
		{ "10.90.96.0/19", "10.90.128.0", false },
		{ "10.0.0.1/32", "10.0.0.1", true },
		{ "10.0.0.1/32", "10.0.0.0", false },
		{ "10.0.0.1", "10.0.0.1", true },
		{ "10.0.0.1", "10.0.0.3", false },
		{ "0.0.0.0/0", "203.0.113.9", true },
		{ "0.0.0.0/0", "fd00::1", false },
		{ "::/0", "fd00::1", true },
		{ "::/0", "203.0.113.9", false },
		{ "::ffff:10.0.0.0/104", "10.1.1.1", true },
		{ "fd00::/16", "fd00:ffff::", true },
		{ "fd00::/16", "fd01::", false },
		{ "fd00:90::114:80/123", "fd00:90::114:9f", true },
		{ "fd00:90::114:80/123", "fd00:90::114:a0", false },
		{ "fd00::1", "fd00::1", true },
		{ "fd00::1/128", "fd00::", false },
	};
	struct prefix p;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(k); i++) {
		struct addr a = parsed(k[i].addr);

		assert_true(prefix_parse(&p, k[i].prefix));
		if (prefix_contains(&p, &a) != k[i].in)
			fail_msg("%s in %s", k[i].addr, k[i].prefix);
	}
	assert_true(prefix_parse(&p, "10.0.0.0/24"));
	assert_int_equal(p.len, 120);
}

static void what_is_no_prefix(void **state)
{
	static const char *const texts[] = {
		"10.0.0.0/33",
		"10.0.0.0/",
		"10.0.0.0/-1",
		"10.0.0.0/ 8",
		"10.0.0.0/8x",
		"fd00::/129",
		"fd00::/1000",
		"/8",
		"10.0.0.0/8/8",
		"10.0.0.0/+8",
		"1234567890123456789012345678901234567890123456789012345678901234567890/8",
	};
	struct prefix p;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		if (prefix_parse(&p, texts[i]))
			fail_msg("'%s' was taken", texts[i]);
	}
}

static void endpoints_and_sockaddrs(void **state)
{
	struct endpoint v4 = { parsed("10.90.111.142"), 6379 }, v6 = { parsed("fd00::1"), 80 }, back;
	char buf[ENDPOINT_TEXT_LEN], tiny[8];
	struct sockaddr_storage ss;
	struct sockaddr_in6 mapped;

	(void)state;
	assert_string_equal(endpoint_format(buf, sizeof(buf), &v4), "10.90.111.142:6379");
	assert_string_equal(endpoint_format(buf, sizeof(buf), &v6), "[fd00::1]:80");
	assert_string_equal(endpoint_format(tiny, sizeof(tiny), &v4), "10.90.1");
	assert_int_equal(addr_to_sockaddr(&ss, &v4.addr, v4.port), sizeof(struct sockaddr_in));
	assert_int_equal(ss.ss_family, AF_INET);
	assert_true(addr_from_sockaddr(&back, (struct sockaddr *)&ss));
	assert_true(endpoint_eq(&back, &v4));
	assert_int_equal(addr_to_sockaddr(&ss, &v6.addr, v6.port), sizeof(struct sockaddr_in6));
	assert_int_equal(ss.ss_family, AF_INET6);
	assert_true(addr_from_sockaddr(&back, (struct sockaddr *)&ss));
	assert_true(endpoint_eq(&back, &v6));
	assert_false(endpoint_eq(&back, &v4));

	/* what a dual-stack socket says of an IPv4 peer is IPv4 here */
	memset(&mapped, 0, sizeof(mapped));
	mapped.sin6_family = AF_INET6;
	mapped.sin6_port = htons(6379);
	memcpy(&mapped.sin6_addr, v4.addr.b, 16);
	assert_true(addr_from_sockaddr(&back, (struct sockaddr *)&mapped));
	assert_true(endpoint_eq(&back, &v4));
	ss.ss_family = AF_UNIX;
	assert_false(addr_from_sockaddr(&back, (struct sockaddr *)&ss));
}

static void neighbours(void **state)
{
	static const struct {
		const char *a, *b;
		bool are;
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false },
		{ "2001:db8::1", "2001:db8::ffff:1:2:3", true },
		{ "2001:db8::1", "2001:db8:0:1::1", false },
		{ "192.0.2.1", "::1", false },
		{ "::1", "192.0.2.1", false },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct addr a, b;

		assert_true(addr_parse(&a, cases[i].a) && addr_parse(&b, cases[i].b));
		assert_int_equal(addr_neighbours(&a, &b), cases[i].are);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_round_trips),
		cmocka_unit_test(what_is_no_address),
		cmocka_unit_test(kinds_of_addresses),
		cmocka_unit_test(prefixes_contain),
		cmocka_unit_test(neighbours),
		cmocka_unit_test(what_is_no_prefix),
		cmocka_unit_test(endpoints_and_sockaddrs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
