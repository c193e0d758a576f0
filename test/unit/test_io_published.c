/*
 * Which rules of nf_tables publish a port: messages as the kernel sends them, native ones and iptables'.
 */
#include "io/host/published.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

static _Alignas(struct nlmsghdr) char buf[1024];

struct making {
	struct nlmsghdr *h;
	struct nlattr *rule, *element, *data;
};

static void begin(struct making *m)
{
	memset(buf, 0, sizeof(buf));
	m->h = mnl_nlmsg_put_header(buf);
	m->h->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE;
	mnl_nlmsg_put_extra_header(m->h, sizeof(struct nfgenmsg));
	m->rule = mnl_attr_nest_start(m->h, NFTA_RULE_EXPRESSIONS);
}

static void expression(struct making *m, const char *name)
{
	m->element = mnl_attr_nest_start(m->h, NFTA_LIST_ELEM);
	mnl_attr_put_strz(m->h, NFTA_EXPR_NAME, name);
	m->data = mnl_attr_nest_start(m->h, NFTA_EXPR_DATA);
}

static void end(struct making *m)
{
	mnl_attr_nest_end(m->h, m->data);
	mnl_attr_nest_end(m->h, m->element);
}

static void compare(struct making *m, uint32_t op, uint16_t port)
{
	struct nlattr *value;

	expression(m, "cmp");
	mnl_attr_put_u32(m->h, NFTA_CMP_OP, htonl(op));
	value = mnl_attr_nest_start(m->h, NFTA_CMP_DATA);
	mnl_attr_put_u16(m->h, NFTA_DATA_VALUE, htons(port));
	mnl_attr_nest_end(m->h, value);
	end(m);
}

static void translate(struct making *m, uint32_t kind)
{
	expression(m, "nat");
	mnl_attr_put_u32(m->h, NFTA_NAT_TYPE, htonl(kind));
	end(m);
}

static bool publishes(struct making *m, uint16_t port)
{
	mnl_attr_nest_end(m->h, m->rule);
	return published_by(m->h, port);
}

static void test_native(void **state)
{
	static const struct {
		uint32_t op, kind;
		uint16_t port;
		bool published;
	} cases[] = {
		{ NFT_CMP_EQ, NFT_NAT_DNAT, 8080, true },
		{ NFT_CMP_EQ, NFT_NAT_DNAT, 8081, false },
		{ NFT_CMP_EQ, NFT_NAT_SNAT, 8080, false },
		{ NFT_CMP_NEQ, NFT_NAT_DNAT, 8080, false },
	};
	struct making m;

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin(&m);
		compare(&m, cases[i].op, cases[i].port);
		translate(&m, cases[i].kind);
		assert_int_equal(publishes(&m, 8080), cases[i].published);
	}
	begin(&m);
	compare(&m, NFT_CMP_EQ, 8080);
	assert_false(publishes(&m, 8080));
	begin(&m);
	compare(&m, NFT_CMP_EQ, 8080);
	expression(&m, "redir");
	end(&m);
	assert_true(publishes(&m, 8080));
	begin(&m);
	assert_false(publishes(&m, 8080));
}

static void test_iptables(void **state)
{
	static const char *const targets[] = { "DNAT", "REDIRECT", "MASQUERADE" };
	const uint16_t info[8] = { 0, 0xffff, 8080,
				   8082 }; /* struct xt_tcp: source ports, destination ports */
	struct making m;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		for (uint16_t port = 8079; port <= 8083; port++) {
			begin(&m);
			expression(&m, "match");
			mnl_attr_put_strz(m.h, NFTA_MATCH_NAME, "tcp");
			mnl_attr_put(m.h, NFTA_MATCH_INFO, sizeof(info), info);
			end(&m);
			expression(&m, "target");
			mnl_attr_put_strz(m.h, NFTA_TARGET_NAME, targets[i]);
			end(&m);
			assert_int_equal(publishes(&m, port), i < 2 && port >= 8080 && port <= 8082);
		}
	}
	begin(&m);
	expression(&m, "match");
	mnl_attr_put_strz(m.h, NFTA_MATCH_NAME, "tcp");
	mnl_attr_put(m.h, NFTA_MATCH_INFO, 6, info);
	end(&m);
	expression(&m, "redir");
	end(&m);
	assert_false(publishes(&m, 8080));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_native),
		cmocka_unit_test(test_iptables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
