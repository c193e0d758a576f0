/*
 * What a probe has seen, and which hop is blamed for it: the words, the host, and the commands in order.
 */
#include "tcpcopy/check/probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static struct config config; /* all zero but for one assistant; the probe goes to its first rule */

static struct addr v4(uint8_t last)
{
	return addr_from_v4((const uint8_t[]){ 192, 0, 2, last });
}

/* A probe to 192.0.2.1:80 from the client 192.0.2.9, which the assistant 192.0.2.3 has heard nothing of. */
static struct probe_result silence(enum reach_state plain)
{
	config = (struct config){ .n_assistants = 1, .n_rules = 1 };
	config.assistants[0].at = (struct endpoint){ v4(3), 36524 };
	snprintf(config.assistants[0].text, sizeof(config.assistants[0].text), "192.0.2.3");
	return (struct probe_result){
		.target = { v4(1), 80 },
		.source = { v4(9), 5001 },
		.served = true,
		.online_port = 8080,
		.sent = true,
		.has_found = { true },
		.found = { { .facts = FINDING_LOOKS, .address = v4(3) } },
		.tried_plain = true,
		.plain = plain,
		.plain_source = v4(2),
	};
}

static void judge(const struct probe_result *r, const char *line)
{
	struct check_result out;
	char text[sizeof(out)];

	probe_diagnose(&out, r, &config);
	check_format(text, sizeof(text), &out);
	if (!strstr(text, line))
		fail_msg("\n%s\n  is not in\n%s", line, text);
	assert_int_equal(out.state, CHECK_BROKEN);
	assert_null(strstr(text, " del "));
	assert_true(strlen(out.text) < sizeof(out.text) - 1 && strlen(out.cure) < sizeof(out.cure) - 1);
	assert_true(strlen(out.then) < sizeof(out.then) - 1);
}

#define ROUTE                                                                                                \
	": on the target type: ip route replace 192.0.2.9/32 via 192.0.2.3; if that does not help, type there: "

static void test_astray(void **state)
{
	struct probe_result r = silence(REACH_CONNECTED);

	(void)state;
	r.tried_near = r.near = r.near_same_link = true;
	judge(&r, ROUTE "nft list chains");
	judge(&r, "a firewall, there or on the way, drops packets from 192.0.2.9");
	r.near_same_link = false;
	judge(&r, ROUTE
	      "sysctl -w net.ipv4.conf.all.rp_filter=2; if that does not help, type there: nft list chains");
	r.has_gateway = true;
	judge(&r, "its reverse path filter or that of a router");
	r.found[0].facts |= FINDING_ROUTED;
	judge(&r, "192.0.2.3 is in another network than 192.0.2.1");
}

static void test_not_let_through(void **state)
{
	struct probe_result r = silence(REACH_CONNECTED);

	(void)state;
	r.tried_near = true;
	judge(&r, ROUTE
	      "sysctl -w net.ipv4.conf.all.rp_filter=2; if that does not help, type there: nft list chains");
	r.has_gateway = true;
	r.gateway = v4(254);
	judge(&r, "first of all 192.0.2.254");
	judge(&r, ": on the router type: sysctl -w net.ipv4.conf.all.rp_filter=2");
	r.has_gateway = false;
	r.near_same_link = true;
	judge(&r, "source/destination check");
	/* where intercept would not have seen it, that tells nothing */
	r.found[0].facts |= FINDING_UNCAPTURED;
	judge(&r, "nothing came back from 192.0.2.1 for 192.0.2.9");
}

/* A route that also leads our own answers away is made narrower; on a client's host it is right. */
static void test_covered(void **state)
{
	struct probe_result r = silence(REACH_SILENT);

	(void)state;
	r.plain_covered = r.near_same_link = true;
	judge(&r, ": on the target type: ip route replace 192.0.2.2 dev $(ip -o route get 192.0.2.3 ");
	r.near_same_link = false;
	judge(&r, ": on the target type: ip route replace 192.0.2.2 via GATEWAY");
	r.served = false;
	judge(&r,
	      "tcpcopy belongs on the host that serves the clients, not on a client's: on this host type: ss "
	      "-ltnp sport = :8080");
}

static void test_others(void **state)
{
	struct probe_result r = silence(REACH_SILENT);

	(void)state;
	judge(&r, "192.0.2.1:80 answers nobody: a firewall, there or on the way");
	judge(&r,
	      "\"insert rule\",t,c,\"tcp dport 80 accept\"}' | nft -f -; if that does not help, type there: iptables -I "
	      "INPUT -p tcp --dport 80 -j ACCEPT");
	r.found[0].facts |= FINDING_OTHER_SOURCE;
	judge(&r, "was answered from another address than 192.0.2.1:80");
	r.found[0].facts = FINDING_FILTERED;
	r.plain = REACH_RESET; /* the port is doubted before the filter of intercept */
	judge(&r, "nothing listens on 192.0.2.1:80");
	r.plain = REACH_CONNECTED;
	judge(&r, "the filter (-F) of intercept on 192.0.2.3 does not match the responses");
}

static void test_not_sent(void **state)
{
	struct probe_result r = silence(REACH_SILENT);

	(void)state;
	r.sent = false;
	r.refused = SINK_PERM;
	judge(&r, "drops or rejects the SYN to 192.0.2.1:80");
	judge(&r, "type filter hook (output|postrouting)");
	r.tracking_full = true;
	judge(&r, "connection tracking of this host is full");
	judge(&r, "ip daddr 192.0.2.1 tcp dport 80 notrack");
	r.refused = SINK_UNREACH;
	judge(&r, ": on this host type: ip route get 192.0.2.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_astray),   cmocka_unit_test(test_not_let_through),
		cmocka_unit_test(test_covered),  cmocka_unit_test(test_others),
		cmocka_unit_test(test_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
