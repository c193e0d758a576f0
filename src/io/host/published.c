/*
 * Published ports - theory of operation
 *
 * In: a port. Out: whether nf_tables translates its destination. The kernel lists all rules of this network
 * namespace; of each, its expressions (linux/netfilter/nf_tables.h) tell whether it translates and which port
 * it compares. A rule that iptables has made holds the match and the target of xtables instead. A port that
 * only a map or a set names is not found: then --check says what it would say without this.
 */
#include "io/host/published.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "io/host/netlink.h"

#define MATCH_PORTS 4 /* bytes before the destination ports in struct xt_tcp */

static bool is_text(const struct nlattr *a, const char *text)
{
	return a && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0 && !strcmp(mnl_attr_get_str(a), text);
}

static bool compares(const struct nlattr *data, uint16_t port)
{
	const struct nlattr *cmp[NFTA_CMP_MAX + 1], *value[NFTA_DATA_MAX + 1];
	const uint16_t wanted = htons(port);

	netlink_nested(cmp, NFTA_CMP_MAX, data);
	if (!cmp[NFTA_CMP_DATA] || ntohl(netlink_u32(cmp[NFTA_CMP_OP])) != NFT_CMP_EQ)
		return false;
	netlink_nested(value, NFTA_DATA_MAX, cmp[NFTA_CMP_DATA]);
	return value[NFTA_DATA_VALUE] && mnl_attr_get_payload_len(value[NFTA_DATA_VALUE]) == sizeof(wanted) &&
	       !memcmp(mnl_attr_get_payload(value[NFTA_DATA_VALUE]), &wanted, sizeof(wanted));
}

/* The match "tcp" of iptables. */
static bool matches(const struct nlattr *data, uint16_t port)
{
	const struct nlattr *match[NFTA_MATCH_MAX + 1];
	uint16_t ports[2];

	netlink_nested(match, NFTA_MATCH_MAX, data);
	if (!is_text(match[NFTA_MATCH_NAME], "tcp") || !match[NFTA_MATCH_INFO] ||
	    mnl_attr_get_payload_len(match[NFTA_MATCH_INFO]) < MATCH_PORTS + sizeof(ports))
		return false;
	memcpy(ports, (const char *)mnl_attr_get_payload(match[NFTA_MATCH_INFO]) + MATCH_PORTS,
	       sizeof(ports));
	return ports[0] && port >= ports[0] && port <= ports[1];
}

static bool translates(const struct nlattr *name, const struct nlattr *data)
{
	const struct nlattr *nat[NFTA_NAT_MAX + 1], *target[NFTA_TARGET_MAX + 1];

	if (is_text(name, "nat")) {
		netlink_nested(nat, NFTA_NAT_MAX, data);
		return ntohl(netlink_u32(nat[NFTA_NAT_TYPE])) == NFT_NAT_DNAT && nat[NFTA_NAT_TYPE];
	}
	if (is_text(name, "target")) {
		netlink_nested(target, NFTA_TARGET_MAX, data);
		return is_text(target[NFTA_TARGET_NAME], "DNAT") ||
		       is_text(target[NFTA_TARGET_NAME], "REDIRECT");
	}
	return is_text(name, "redir");
}

bool published_by(const struct nlmsghdr *h, uint16_t port)
{
	const struct nlattr *attributes[NFTA_RULE_MAX + 1], *e, *expr[NFTA_EXPR_MAX + 1];
	bool compared = false, translated = false;

	netlink_attributes(attributes, NFTA_RULE_MAX, h, sizeof(struct nfgenmsg));
	if (!attributes[NFTA_RULE_EXPRESSIONS])
		return false;
	mnl_attr_for_each_nested(e, attributes[NFTA_RULE_EXPRESSIONS]) {
		netlink_nested(expr, NFTA_EXPR_MAX, e);
		if (!expr[NFTA_EXPR_DATA])
			continue;
		compared |= (is_text(expr[NFTA_EXPR_NAME], "cmp") && compares(expr[NFTA_EXPR_DATA], port)) ||
			    (is_text(expr[NFTA_EXPR_NAME], "match") && matches(expr[NFTA_EXPR_DATA], port));
		translated |= translates(expr[NFTA_EXPR_NAME], expr[NFTA_EXPR_DATA]);
	}
	return compared && translated;
}

static int on_rule(const struct nlmsghdr *h, void *arg)
{
	const uint16_t *port = arg;

	return h->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE) && published_by(h, *port);
}

bool published_port(uint16_t port)
{
	_Alignas(struct nlmsghdr) char buf[256];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));

	h->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	*g = (struct nfgenmsg){ .nfgen_family = NFPROTO_UNSPEC, .version = NFNETLINK_V0 };
	return netlink_ask_family(NETLINK_NETFILTER, h, on_rule, &port) == 1;
}
