/*
 * The tables of our programs - theory of operation
 *
 * In: a table and endpoints. Out: the messages that create the table or change its sets, appended to the
 * batch of nft.c. This file and nft_own.c define what a table does to packets.
 *
 * The guard's table is two of the kernel's, because a chain at the ingress of a device can ask for the type
 * of an address in the family netdev only (intercept's guard.c explains the choice of hooks):
 *
 *     table netdev tcpcopy_intercept {
 *         comment "intercept --guard, pid N"
 *         set targets4 { type ipv4_addr . inet_service; }
 *         set targets6 { type ipv6_addr . inet_service; }
 *         chain swallow {
 *             type filter hook ingress devices = { eth0, br0 } priority -300; policy accept;
 *             ip saddr . tcp sport @targets4 fib daddr type != local counter drop
 *             ip6 saddr . tcp sport @targets6 fib daddr type != local counter drop
 *         }
 *     }
 *     table inet tcpcopy_intercept {
 *         (the same comment and sets)
 *         chain swallow {
 *             type filter hook forward priority raw; policy accept;
 *             ip saddr . tcp sport @targets4 counter drop
 *             ip6 saddr . tcp sport @targets6 counter drop
 *         }
 *     }
 */
#include "program/helper/nft_impl.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

const char *nft_table_name(const struct nft *n, enum nft_table table)
{
	return table == NFT_OWN ? n->own_name : NFT_GUARD_NAME;
}

const uint8_t *nft_table_families(const struct nft *n, enum nft_table table)
{
	static const uint8_t all[] = { NFPROTO_NETDEV, NFPROTO_INET, 0 };

	return all + (table == NFT_OWN || !n->devices || !n->devices->count);
}

/*
 * The guard's sets. A key is the address and the port, each padded to a multiple of four bytes, and lies in
 * registers one after the other.
 */
static const struct nft_set guard_sets[] = {
	{ "targets4", NFPROTO_IPV4, ETH_P_IP, 7 << 6 | 13, 4, 12, NFT_REG32_01, 0 },
	{ "targets6", NFPROTO_IPV6, ETH_P_IPV6, 8 << 6 | 13, 16, 8, NFT_REG_2, 0 },
};
#define FAMILIES ARRAY_SIZE(guard_sets)

/* nft(8) stores a comment as type 0, length, text. */
static void put_comment(struct nlmsghdr *h, enum nft_table table, pid_t pid)
{
	char data[64];
	const int len = snprintf(data + 2, sizeof(data) - 2, "%s, pid %ld",
				 table == NFT_OWN ? "tcpcopy" : "intercept --guard", (long)pid) +
			1;

	data[0] = 0;
	data[1] = (char)len;
	mnl_attr_put(h, NFTA_TABLE_USERDATA, (size_t)len + 2, data);
}

void nft_put_set(struct nft *n, enum nft_table table, uint8_t family, const char *name, uint32_t key_type,
		 uint32_t key_len, uint32_t number)
{
	struct nlmsghdr *h = nft_begin(n, NFT_MSG_NEWSET, NLM_F_CREATE, family, NFTA_SET_TABLE, table);

	mnl_attr_put_strz(h, NFTA_SET_NAME, name);
	nft_put(h, NFTA_SET_FLAGS, 0);
	nft_put(h, NFTA_SET_KEY_TYPE, key_type);
	nft_put(h, NFTA_SET_KEY_LEN, key_len);
	nft_put(h, NFTA_SET_ID, number);
	nft_end(n, h);
}

static void put_devices(struct nlmsghdr *h, const struct nft_devices *devices)
{
	struct nlattr *list = mnl_attr_nest_start(h, NFTA_HOOK_DEVS);

	for (unsigned i = 0; i < devices->count; i++)
		mnl_attr_put_strz(h, NFTA_DEVICE_NAME, devices->name[i]);
	mnl_attr_nest_end(h, list);
}

void nft_put_chain(struct nft *n, enum nft_table table, uint8_t family, const char *name,
		   const struct nft_hook *hook)
{
	struct nlmsghdr *h = nft_begin(n, NFT_MSG_NEWCHAIN, NLM_F_CREATE, family, NFTA_CHAIN_TABLE, table);
	struct nlattr *at;

	mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name);
	if (hook) {
		mnl_attr_put_strz(h, NFTA_CHAIN_TYPE, "filter");
		nft_put(h, NFTA_CHAIN_POLICY, NF_ACCEPT);
		at = mnl_attr_nest_start(h, NFTA_CHAIN_HOOK);
		nft_put(h, NFTA_HOOK_HOOKNUM, hook->number);
		nft_put(h, NFTA_HOOK_PRIORITY, (uint32_t)hook->priority);
		if (family == NFPROTO_NETDEV)
			put_devices(h, n->devices);
		mnl_attr_nest_end(h, at);
	}
	nft_end(n, h);
}

struct nlmsghdr *nft_rule_of(struct nft *n, enum nft_table table, uint8_t family, const char *chain)
{
	struct nlmsghdr *h =
		nft_begin(n, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family, NFTA_RULE_TABLE, table);

	mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
	return h;
}

void nft_match(struct nlmsghdr *h, const struct nft_set *s, bool ingress)
{
	const uint16_t ethertype = htons(s->ethertype);
	const uint8_t tcp = IPPROTO_TCP;

	nft_meta(h, ingress ? NFT_META_PROTOCOL : NFT_META_NFPROTO, NFT_REG_1);
	if (ingress)
		nft_cmp(h, NFT_REG_1, NFT_CMP_EQ, &ethertype, sizeof(ethertype));
	else
		nft_cmp(h, NFT_REG_1, NFT_CMP_EQ, &s->nfproto, sizeof(s->nfproto));
	nft_meta(h, NFT_META_L4PROTO, NFT_REG_1);
	nft_cmp(h, NFT_REG_1, NFT_CMP_EQ, &tcp, sizeof(tcp));
	nft_payload(h, NFT_PAYLOAD_NETWORK_HEADER, s->source_offset, s->address_len, NFT_REG_1);
	nft_payload(h, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, s->port_reg);
	if (s->to_reg)
		nft_payload(h, NFT_PAYLOAD_NETWORK_HEADER, s->source_offset + s->address_len, s->address_len,
			    s->to_reg);
	nft_lookup(h, NFT_REG_1, s->name);
}

static void put_guard_rule(struct nft *n, uint8_t family, const struct nft_set *s)
{
	struct nlmsghdr *h = nft_rule_of(n, NFT_GUARD, family, "swallow");
	const bool ingress = family == NFPROTO_NETDEV;
	const uint32_t local = RTN_LOCAL;
	struct nlattr *rule = nft_rule_begin(h);

	nft_match(h, s, ingress);
	if (ingress) { /* what is to be forwarded is not local */
		nft_fib_daddr_type(h, NFT_REG_1);
		nft_cmp(h, NFT_REG_1, NFT_CMP_NEQ, &local, sizeof(local));
	}
	nft_counter(h);
	nft_verdict(h, NF_DROP);
	nft_rule_end(h, rule);
	nft_end(n, h);
}

static void put_guard(struct nft *n, uint8_t family)
{
	const struct nft_hook hook = {
		family == NFPROTO_NETDEV ? (uint32_t)NF_NETDEV_INGRESS : (uint32_t)NF_INET_FORWARD,
		-300, /* raw */
	};

	for (unsigned i = 0; i < FAMILIES; i++)
		nft_put_set(n, NFT_GUARD, family, guard_sets[i].name, guard_sets[i].key_type,
			    guard_sets[i].address_len + 4, i + 1);
	nft_put_chain(n, NFT_GUARD, family, "swallow", &hook);
	for (unsigned i = 0; i < FAMILIES; i++)
		put_guard_rule(n, family, &guard_sets[i]);
}

void nft_put_table(struct nft *n, enum nft_table table, pid_t pid,
		   const struct nft_ports ports[NFT_PORTS_MAX])
{
	for (const uint8_t *family = nft_table_families(n, table); *family; family++) {
		struct nlmsghdr *h = nft_begin(n, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, *family,
					       NFTA_TABLE_NAME, table);

		nft_put(h, NFTA_TABLE_FLAGS, n->owning ? NFT_TABLE_F_OWNER : 0);
		put_comment(h, table, pid);
		nft_end(n, h);
		if (table == NFT_OWN)
			nft_put_own(n, ports);
		else
			put_guard(n, *family);
	}
}

static void put_element(struct nlmsghdr *h, const struct nft_set *s, const struct nft_element *e)
{
	struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM), *key;
	uint8_t value[36] = { 0 };
	size_t len = s->address_len + 4;

	memcpy(value, e->address, s->address_len);
	value[s->address_len] = (uint8_t)(e->port >> 8);
	value[s->address_len + 1] = (uint8_t)e->port;
	if (s->to_reg) {
		memcpy(value + len, e->to, s->address_len);
		len += s->address_len;
	}
	key = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
	mnl_attr_put(h, NFTA_DATA_VALUE, len, value);
	mnl_attr_nest_end(h, key);
	mnl_attr_nest_end(h, element);
}

/* The elements of the address family of @s, for the table of @family. */
static void put_elements(struct nft *n, uint16_t message, enum nft_table table, uint8_t family,
			 const struct nft_set *s, const struct nft_element *e, unsigned count)
{
	const uint8_t version = s->nfproto == NFPROTO_IPV4 ? 4 : 6;
	struct nlattr *list;
	struct nlmsghdr *h;
	unsigned i = 0;

	while (i < count && e[i].family != version)
		i++;
	if (i == count)
		return;
	h = nft_begin(n, message, message == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0, family,
		      NFTA_SET_ELEM_LIST_TABLE, table);
	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, s->name);
	list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
	for (; i < count; i++)
		if (e[i].family == version)
			put_element(h, s, &e[i]);
	mnl_attr_nest_end(h, list);
	nft_end(n, h);
}

void nft_put_elements(struct nft *n, uint16_t message, enum nft_table table, const struct nft_element *e,
		      unsigned count)
{
	const struct nft_set *sets = table == NFT_OWN ? nft_own_sets : guard_sets;

	for (const uint8_t *family = nft_table_families(n, table); *family; family++)
		for (unsigned i = 0; i < FAMILIES; i++)
			put_elements(n, message, table, *family, &sets[i], e, count);
}
