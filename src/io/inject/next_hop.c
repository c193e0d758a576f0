/*
 * Where packets for a destination leave this host, and to which neighbour.
 *
 * In: destinations, of which there are few (targets). Out: interface, MTU and the Ethernet header.
 * An entry is made by three questions to the kernel (route, interface, neighbour) when its
 * destination is first seen. Then a netlink socket tells of changes. A change of a neighbour is
 * taken from the message itself. A change of anything that routing depends on (routes, rules,
 * next-hop objects, addresses, interfaces; IPv4 routes that vanish with their interface are not
 * reported by themselves) makes all entries outdated, and each is asked for again when it is next
 * used. Routers change thousands of routes a second, so that is limited in rate; until then the old
 * answer stands, which costs packets at the most. Messages that the kernel had to drop outdate all
 * entries as well.
 *
 * An entry is usable while the kernel itself would send to the neighbour without asking first
 * (RFC 4861 7.3.2: reachable, stale, delay, probe; or permanent). The table never asks a neighbour
 * itself, which would need CAP_NET_ADMIN: the caller sends by a raw socket while an entry is not
 * usable, and once in a while while it is stale, and so the kernel asks.
 *
 * Of several next hops of a route the kernel names one; all packets for the destination take it.
 */
#include "io/inject/next_hop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "io/host/netlink.h"
#include "io/inject/route.h"

#define RESOLVE_INTERVAL (10 * NS_PER_MS)
#define NUD_USABLE (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT)
#define GROUP(n) (1u << ((n)-1))
#define GROUPS                                                                                               \
	(GROUP(RTNLGRP_LINK) | GROUP(RTNLGRP_NEIGH) | GROUP(RTNLGRP_IPV4_IFADDR) |                           \
	 GROUP(RTNLGRP_IPV4_ROUTE) | GROUP(RTNLGRP_IPV4_RULE) | GROUP(RTNLGRP_IPV6_IFADDR) |                 \
	 GROUP(RTNLGRP_IPV6_ROUTE) | GROUP(RTNLGRP_IPV6_RULE) | GROUP(RTNLGRP_NEXTHOP))

/* The payload of @h, and its attributes behind a header of @size bytes. False: too short. */
static bool open_message(const struct nlmsghdr *h, size_t size, const void **payload,
			 const struct nlattr *table[], unsigned max)
{
	if (h->nlmsg_len < NLMSG_SPACE(size))
		return false;
	*payload = mnl_nlmsg_get_payload(h);
	netlink_attributes(table, max, h, size);
	return true;
}

static int read_link(const struct nlmsghdr *h, void *arg)
{
	struct next_hop *hop = arg;
	const struct nlattr *a[IFLA_MTU + 1];
	const struct ifinfomsg *m;
	const void *payload;
	uint32_t mtu;

	if (h->nlmsg_type != RTM_NEWLINK || !open_message(h, sizeof(*m), &payload, a, IFLA_MTU))
		return 0;
	m = payload;
	hop->ethernet = m->ifi_type == ARPHRD_ETHER && (m->ifi_flags & IFF_UP) &&
			!(m->ifi_flags & (IFF_NOARP | IFF_LOOPBACK)) && a[IFLA_ADDRESS] &&
			mnl_attr_get_payload_len(a[IFLA_ADDRESS]) == ETH_ALEN;
	if (hop->ethernet)
		memcpy(hop->header + ETH_ALEN, mnl_attr_get_payload(a[IFLA_ADDRESS]), ETH_ALEN);
	mtu = netlink_u32(a[IFLA_MTU]);
	if (mtu && (!hop->mtu || mtu < hop->mtu))
		hop->mtu = mtu;
	return 0;
}

static void set_neighbour(struct next_hop *hop, unsigned state, const struct nlattr *link_address)
{
	hop->usable =
		(state & NUD_USABLE) && link_address && mnl_attr_get_payload_len(link_address) == ETH_ALEN;
	hop->stale = hop->usable && (state & NUD_STALE);
	if (hop->usable)
		memcpy(hop->header, mnl_attr_get_payload(link_address), ETH_ALEN);
}

/* A neighbour's state, asked for or reported, into one entry if it is about its neighbour. */
static int read_neighbour(const struct nlmsghdr *h, void *arg)
{
	struct next_hop *hop = arg;
	const struct nlattr *a[NDA_LLADDR + 1];
	const struct ndmsg *m;
	const void *payload;
	struct addr about;

	if ((h->nlmsg_type != RTM_NEWNEIGH && h->nlmsg_type != RTM_DELNEIGH) ||
	    !open_message(h, sizeof(*m), &payload, a, NDA_LLADDR))
		return 0;
	m = payload;
	if (!hop->ethernet || m->ndm_ifindex != hop->ifindex || !a[NDA_DST] ||
	    !netlink_addr(&about, m->ndm_family, mnl_attr_get_payload(a[NDA_DST]),
			  mnl_attr_get_payload_len(a[NDA_DST])) ||
	    !addr_eq(&about, &hop->via))
		return 0;
	set_neighbour(hop, h->nlmsg_type == RTM_NEWNEIGH ? m->ndm_state : NUD_NONE, a[NDA_LLADDR]);
	return 0;
}

static void ask_link(struct next_hop *hop)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg m;
	} q = {
		.h = { .nlmsg_len = sizeof(q), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST },
		.m = { .ifi_family = AF_UNSPEC, .ifi_index = hop->ifindex },
	};

	netlink_ask(&q.h, read_link, hop);
}

/* One neighbour by name, which kernels before 5.0 cannot do; they list all. */
static void ask_neighbour(struct next_hop *hop)
{
	bool v4 = addr_is_v4(&hop->via);
	struct {
		struct nlmsghdr h;
		struct ndmsg m;
		char room[32];
	} q = {
		.h = { .nlmsg_len = NLMSG_LENGTH(sizeof(q.m)),
		       .nlmsg_type = RTM_GETNEIGH,
		       .nlmsg_flags = NLM_F_REQUEST },
		.m = { .ndm_family = v4 ? AF_INET : AF_INET6, .ndm_ifindex = hop->ifindex },
	};

	mnl_attr_put(&q.h, NDA_DST, v4 ? 4 : 16, v4 ? addr_v4_bytes(&hop->via) : hop->via.b);
	if (netlink_ask(&q.h, read_neighbour, hop) == 0 || errno != EOPNOTSUPP)
		return;
	q.h.nlmsg_flags |= NLM_F_DUMP;
	q.h.nlmsg_len = NLMSG_LENGTH(sizeof(q.m));
	q.m.ndm_ifindex = 0;
	netlink_ask(&q.h, read_neighbour, hop);
}

static void resolve(struct next_hops *t, struct next_hop *hop, uint64_t now)
{
	uint16_t type = htons(addr_is_v4(&hop->to) ? ETH_P_IP : ETH_P_IPV6);
	uint32_t mtu_before = hop->mtu;
	struct route_info r;

	hop->outdated = false;
	hop->resolved_at = now;
	hop->ethernet = hop->usable = hop->stale = hop->local = false;
	hop->ifindex = 0;
	if (route_lookup(&r, &hop->to) < 0 || r.unreachable)
		return;
	hop->ifindex = r.ifindex;
	hop->local = r.local;
	hop->via = r.has_gateway ? r.gateway : hop->to;
	hop->mtu = r.mtu;
	memcpy(hop->header + 2 * ETH_ALEN, &type, sizeof(type));
	ask_link(hop);
	hop->ethernet &= !r.local && !r.has_encapsulation;
	if (hop->ethernet)
		ask_neighbour(hop);
	if (hop->mtu != mtu_before)
		t->mtu_changes++;
}

static void all_outdated(struct next_hops *t)
{
	for (unsigned i = 0; i < t->n; i++)
		t->hop[i].outdated = true;
}

static int read_change(const struct nlmsghdr *h, void *arg)
{
	struct next_hops *t = arg;

	if (h->nlmsg_type != RTM_NEWNEIGH && h->nlmsg_type != RTM_DELNEIGH) {
		all_outdated(t);
		return 0;
	}
	for (unsigned i = 0; i < t->n; i++)
		read_neighbour(h, &t->hop[i]);
	return 0;
}

void next_hops_readable(struct next_hops *t)
{
	if (netlink_changes(t->fd, read_change, t) < 0)
		all_outdated(t);
}

struct next_hop *next_hops_find(struct next_hops *t, const struct addr *to, uint64_t now)
{
	struct next_hop *hop = t->hop, *end = t->hop + t->n;

	while (hop < end && !addr_eq(&hop->to, to))
		hop++;
	if (hop < end) {
		if (hop->outdated && now - hop->resolved_at >= RESOLVE_INTERVAL)
			resolve(t, hop, now);
		return hop;
	}
	if (t->n == NEXT_HOPS_MAX)
		return NULL;
	t->n++;
	memset(hop, 0, sizeof(*hop));
	hop->to = *to;
	resolve(t, hop, now);
	return hop;
}

int next_hops_open(struct next_hops *t)
{
	memset(t, 0, sizeof(*t));
	t->fd = netlink_subscribe(GROUPS);
	return t->fd < 0 ? -1 : 0;
}

void next_hops_close(struct next_hops *t)
{
	close(t->fd);
}

bool next_hop_unresolved(const struct addr *to)
{
	struct next_hops t = { .fd = -1 };
	struct next_hop hop = { .to = *to };

	resolve(&t, &hop, 0);
	return hop.ethernet && !hop.usable;
}
