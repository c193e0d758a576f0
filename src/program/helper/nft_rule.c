/*
 * Expressions of nf_tables - theory of operation
 *
 * A rule is a list of expressions. Each has a name and a few attributes, and does one thing: load a register,
 * compare it, look it up, count, decide. The first comparison that fails ends the rule. What nft(8) writes
 * as "tcp sport 80 drop" takes five expressions; `nft --debug=netlink` shows them for any rule.
 *
 * In: the parameters of an expression. Out: its attributes (linux/netfilter/nf_tables.h), appended to the
 * message.
 */
#include "program/helper/nft_impl.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>

/* The nest of an expression's own attributes, in that of the expression. */
struct expression {
	struct nlattr *whole, *own;
};

static struct expression begin(struct nlmsghdr *h, const char *name)
{
	struct expression e;

	e.whole = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
	mnl_attr_put_strz(h, NFTA_EXPR_NAME, name);
	e.own = mnl_attr_nest_start(h, NFTA_EXPR_DATA);
	return e;
}

static void end(struct nlmsghdr *h, struct expression e)
{
	mnl_attr_nest_end(h, e.own);
	mnl_attr_nest_end(h, e.whole);
}

void nft_put(struct nlmsghdr *h, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(h, type, htonl(value));
}

struct nlattr *nft_rule_begin(struct nlmsghdr *h)
{
	return mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct nlmsghdr *h, struct nlattr *rule)
{
	mnl_attr_nest_end(h, rule);
}

void nft_meta(struct nlmsghdr *h, uint32_t key, uint32_t reg)
{
	const struct expression e = begin(h, "meta");

	nft_put(h, NFTA_META_KEY, key);
	nft_put(h, NFTA_META_DREG, reg);
	end(h, e);
}

void nft_payload(struct nlmsghdr *h, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg)
{
	const struct expression e = begin(h, "payload");

	nft_put(h, NFTA_PAYLOAD_DREG, reg);
	nft_put(h, NFTA_PAYLOAD_BASE, base);
	nft_put(h, NFTA_PAYLOAD_OFFSET, offset);
	nft_put(h, NFTA_PAYLOAD_LEN, len);
	end(h, e);
}

void nft_fib_daddr_type(struct nlmsghdr *h, uint32_t reg)
{
	const struct expression e = begin(h, "fib");

	nft_put(h, NFTA_FIB_DREG, reg);
	nft_put(h, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	nft_put(h, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
	end(h, e);
}

void nft_cmp(struct nlmsghdr *h, uint32_t reg, uint32_t op, const void *value, size_t len)
{
	const struct expression e = begin(h, "cmp");
	struct nlattr *data;

	nft_put(h, NFTA_CMP_SREG, reg);
	nft_put(h, NFTA_CMP_OP, op);
	data = mnl_attr_nest_start(h, NFTA_CMP_DATA);
	mnl_attr_put(h, NFTA_DATA_VALUE, len, value);
	mnl_attr_nest_end(h, data);
	end(h, e);
}

void nft_lookup(struct nlmsghdr *h, uint32_t reg, const char *set)
{
	const struct expression e = begin(h, "lookup");

	mnl_attr_put_strz(h, NFTA_LOOKUP_SET, set);
	nft_put(h, NFTA_LOOKUP_SREG, reg);
	end(h, e);
}

void nft_counter(struct nlmsghdr *h)
{
	end(h, begin(h, "counter"));
}

void nft_socket_wildcard(struct nlmsghdr *h, uint32_t reg)
{
	const struct expression e = begin(h, "socket");

	nft_put(h, NFTA_SOCKET_KEY, NFT_SOCKET_WILDCARD);
	nft_put(h, NFTA_SOCKET_DREG, reg);
	end(h, e);
}

void nft_notrack(struct nlmsghdr *h)
{
	end(h, begin(h, "notrack"));
}

static void decide(struct nlmsghdr *h, uint32_t code, const char *chain)
{
	const struct expression e = begin(h, "immediate");
	struct nlattr *data, *verdict;

	nft_put(h, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = mnl_attr_nest_start(h, NFTA_IMMEDIATE_DATA);
	verdict = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);
	nft_put(h, NFTA_VERDICT_CODE, code);
	if (chain)
		mnl_attr_put_strz(h, NFTA_VERDICT_CHAIN, chain);
	mnl_attr_nest_end(h, verdict);
	mnl_attr_nest_end(h, data);
	end(h, e);
}

void nft_verdict(struct nlmsghdr *h, uint32_t code)
{
	decide(h, code, NULL);
}

void nft_goto(struct nlmsghdr *h, const char *name)
{
	decide(h, (uint32_t)NFT_GOTO, name);
}
