/*
 * The table of a tcpcopy without an assistant - theory of operation
 *
 * In: the ranges of ports from which copies leave this host; the sets are filled later. Out: the messages
 * that create it. Answers of a target to such a port must not reach this host's TCP, which knows nothing of
 * the copies and would reset them. Captures see them earlier, so nothing is lost by dropping them here.
 *
 *     table inet tcpcopy_own_N {
 *         comment "tcpcopy, pid N"
 *         set answers4 { type ipv4_addr . inet_service . ipv4_addr; }
 *         set answers6 { type ipv6_addr . inet_service . ipv6_addr; }
 *         chain swallow {
 *             socket wildcard 0 accept
 *             counter drop
 *         }
 *         chain untrack {
 *             type filter hook prerouting priority raw; policy accept;
 *             ip saddr . tcp sport . ip daddr @answers4 tcp dport 1024-32767 notrack
 *             ...
 *         }
 *         chain answers {
 *             type filter hook input priority raw; policy accept;
 *             ip saddr . tcp sport . ip daddr @answers4 tcp dport 1024-32767 goto swallow
 *             ...
 *         }
 *     }
 *
 * The drop is at input, because with br_netfilter the prerouting chain runs at the port of a bridge, before
 * the bridge's own tap: what is dropped there is never captured. Connection tracking comes before input, and
 * would look up each answer in vain; so it is told at prerouting to leave them alone. Kernels without it have
 * no such chain.
 *
 * Whatever has a socket is accepted: the host's own connection from such a port, or a service that listens at
 * the address itself. A socket that is bound to no address ("wildcard") is not meant by an answer of a
 * target.
 */
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "base/util.h"
#include "program/helper/nft_impl.h"

#define SWALLOW "swallow"
#define UNTRACK "untrack"
#define ANSWERS "answers"
#define RAW (-300)

/* A key is the target's address and port, and the address of this host, as in nft_table.c. */
const struct nft_set nft_own_sets[] = {
	{ "answers4", NFPROTO_IPV4, ETH_P_IP, 7 << 12 | 13 << 6 | 7, 4, 12, NFT_REG32_01, NFT_REG32_02 },
	{ "answers6", NFPROTO_IPV6, ETH_P_IPV6, 8 << 12 | 13 << 6 | 8, 16, 8, NFT_REG_2, NFT_REG32_05 },
};

static void put_answer_rule(struct nft *n, const char *chain, const struct nft_set *s,
			    const struct nft_ports *ports)
{
	const uint8_t first[2] = { (uint8_t)(ports->first >> 8), (uint8_t)ports->first };
	const uint8_t last[2] = { (uint8_t)(ports->last >> 8), (uint8_t)ports->last };
	struct nlmsghdr *h = nft_rule_of(n, NFT_OWN, NFPROTO_INET, chain);
	struct nlattr *rule = nft_rule_begin(h);

	nft_match(h, s, false);
	nft_payload(h, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, NFT_REG_1);
	nft_cmp(h, NFT_REG_1, NFT_CMP_GTE, first, sizeof(first));
	nft_cmp(h, NFT_REG_1, NFT_CMP_LTE, last, sizeof(last));
	if (chain[0] == UNTRACK[0])
		nft_notrack(h);
	else
		nft_goto(h, SWALLOW);
	nft_rule_end(h, rule);
	nft_end(n, h);
}

static void put_hooked(struct nft *n, const char *chain, uint32_t number,
		       const struct nft_ports ports[NFT_PORTS_MAX])
{
	nft_put_chain(n, NFT_OWN, NFPROTO_INET, chain, &(struct nft_hook){ number, RAW });
	for (unsigned i = 0; i < ARRAY_SIZE(nft_own_sets); i++)
		for (unsigned j = 0; j < NFT_PORTS_MAX && ports[j].last; j++)
			put_answer_rule(n, chain, &nft_own_sets[i], &ports[j]);
}

static void put_swallow(struct nft *n)
{
	const uint8_t no = 0;
	struct nlmsghdr *h;
	struct nlattr *rule;

	nft_put_chain(n, NFT_OWN, NFPROTO_INET, SWALLOW, NULL);
	h = nft_rule_of(n, NFT_OWN, NFPROTO_INET, SWALLOW);
	rule = nft_rule_begin(h);
	nft_socket_wildcard(h, NFT_REG_1);
	nft_cmp(h, NFT_REG_1, NFT_CMP_EQ, &no, sizeof(no));
	nft_verdict(h, NF_ACCEPT);
	nft_rule_end(h, rule);
	nft_end(n, h);
	h = nft_rule_of(n, NFT_OWN, NFPROTO_INET, SWALLOW);
	rule = nft_rule_begin(h);
	nft_counter(h);
	nft_verdict(h, NF_DROP);
	nft_rule_end(h, rule);
	nft_end(n, h);
}

void nft_put_own(struct nft *n, const struct nft_ports ports[NFT_PORTS_MAX])
{
	for (unsigned i = 0; i < ARRAY_SIZE(nft_own_sets); i++)
		nft_put_set(n, NFT_OWN, NFPROTO_INET, nft_own_sets[i].name, nft_own_sets[i].key_type,
			    2 * nft_own_sets[i].address_len + 4, i + 1);
	put_swallow(n);
	if (!n->tracked)
		put_hooked(n, UNTRACK, NF_INET_PRE_ROUTING, ports);
	put_hooked(n, ANSWERS, NF_INET_LOCAL_IN, ports);
}
