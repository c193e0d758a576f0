/*
 * What this host's routing says about an address.
 *
 * In: an address. Out: where the kernel would send to it, and how large a packet may be there. For injection
 * the question carries no source address, because the packets that we send carry the client's, which is not
 * ours: a look-up with it would be refused or would follow the wrong rule, and the raw socket's own look-up
 * carries none either.
 *
 * Nothing is kept: routes change while we run, and who needs the answer often asks again at the
 * pace that suits it.
 */
#include "io/inject/route.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/util.h"
#include "io/host/host.h"
#include "io/host/netlink.h"

static bool attribute_addr(struct addr *a, int family, const struct nlattr *attr)
{
	return attr && netlink_addr(a, family, mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));
}

/* A gateway of the other family (RFC 5549): the family stands in front of the address. */
static bool via_addr(struct addr *a, const struct nlattr *attr)
{
	uint16_t family;

	if (!attr || mnl_attr_get_payload_len(attr) < sizeof(family))
		return false;
	memcpy(&family, mnl_attr_get_payload(attr), sizeof(family));
	return netlink_addr(a, family, (const char *)mnl_attr_get_payload(attr) + sizeof(family),
			    mnl_attr_get_payload_len(attr) - sizeof(family));
}

static int read_route(const struct nlmsghdr *h, void *arg)
{
	struct route_info *r = arg;
	const struct nlattr *a[RTA_MAX + 1], *metrics[RTAX_MAX + 1];
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);

	if (h->nlmsg_type != RTM_NEWROUTE || h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
		return 0;
	netlink_attributes(a, RTA_MAX, h, sizeof(*m));
	r->local = m->rtm_type == RTN_LOCAL;
	r->unreachable = m->rtm_type == RTN_UNREACHABLE || m->rtm_type == RTN_BLACKHOLE ||
			 m->rtm_type == RTN_PROHIBIT || m->rtm_type == RTN_THROW;
	r->ifindex = (int)netlink_u32(a[RTA_OIF]);
	r->has_gateway = attribute_addr(&r->gateway, m->rtm_family, a[RTA_GATEWAY]) ||
			 via_addr(&r->gateway, a[RTA_VIA]);
	r->has_encapsulation = a[RTA_ENCAP];
	r->has_source = attribute_addr(&r->source, m->rtm_family, a[RTA_PREFSRC]);
	if (a[RTA_METRICS]) {
		netlink_nested(metrics, RTAX_MAX, a[RTA_METRICS]);
		r->mtu = netlink_u32(metrics[RTAX_MTU]);
	}
	return 0;
}

/* Name and, where the route sets none, MTU of the interface. */
static void add_interface(struct route_info *r)
{
	struct ifreq ifr = { 0 };
	int fd;

	if (!r->ifindex || !host_interface_name((int)r->ifindex, r->interface) || r->mtu)
		return;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	memcpy(ifr.ifr_name, r->interface, sizeof(ifr.ifr_name));
	if (!ioctl(fd, SIOCGIFMTU, &ifr))
		r->mtu = (uint32_t)ifr.ifr_mtu;
	close(fd);
}

int route_lookup(struct route_info *r, const struct addr *to)
{
	return route_lookup_from(r, NULL, to);
}

int route_lookup_from(struct route_info *r, const struct addr *from, const struct addr *to)
{
	bool v4 = addr_is_v4(to);
	struct {
		struct nlmsghdr h;
		struct rtmsg m;
		char room[64];
	} q = {
		.h = { .nlmsg_len = NLMSG_LENGTH(sizeof(q.m)),
		       .nlmsg_type = RTM_GETROUTE,
		       .nlmsg_flags = NLM_F_REQUEST },
		.m = { .rtm_family = v4 ? AF_INET : AF_INET6, .rtm_dst_len = v4 ? 32 : 128 },
	};

	memset(r, 0, sizeof(*r));
	mnl_attr_put(&q.h, RTA_DST, v4 ? 4 : 16, v4 ? addr_v4_bytes(to) : to->b);
	if (from) {
		q.m.rtm_src_len = q.m.rtm_dst_len;
		mnl_attr_put(&q.h, RTA_SRC, v4 ? 4 : 16, v4 ? addr_v4_bytes(from) : from->b);
	}
	if (netlink_ask(&q.h, read_route, r) < 0) {
		/* What the routing says, by errno: no route, prohibit, and EINVAL for a blackhole.
		 */
		if (errno != ENETUNREACH && errno != EHOSTUNREACH && errno != EACCES && errno != EINVAL)
			return -1;
		r->unreachable = true;
		return 0;
	}
	add_interface(r);
	return 0;
}

struct kind {
	char *kind;
	int *peer;
	struct addr remote;
	bool has_remote;
};

static int read_kind(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *a[IFLA_LINK_NETNSID + 1], *info[IFLA_INFO_MAX + 1], *data[IFLA_VXLAN_MAX + 1];
	struct kind *k = arg;

	if (h->nlmsg_type != RTM_NEWLINK || h->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
		return 0;
	netlink_attributes(a, IFLA_LINK_NETNSID, h, sizeof(struct ifinfomsg));
	if (!a[IFLA_LINKINFO])
		return 0;
	netlink_nested(info, IFLA_INFO_MAX, a[IFLA_LINKINFO]);
	if (info[IFLA_INFO_KIND])
		memcpy(k->kind, mnl_attr_get_payload(info[IFLA_INFO_KIND]),
		       MIN(mnl_attr_get_payload_len(info[IFLA_INFO_KIND]), 15));
	if (!strcmp(k->kind, "vxlan") && info[IFLA_INFO_DATA]) {
		netlink_nested(data, IFLA_VXLAN_MAX, info[IFLA_INFO_DATA]);
		k->has_remote = attribute_addr(&k->remote, AF_INET, data[IFLA_VXLAN_GROUP]) ||
				attribute_addr(&k->remote, AF_INET6, data[IFLA_VXLAN_GROUP6]);
	}
	if (!a[IFLA_LINK_NETNSID]) /* else it counts in another namespace */
		*k->peer = (int)netlink_u32(a[IFLA_LINK]);
	return 0;
}

static void ask_kind(int ifindex, struct kind *k)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg m;
	} q = {
		.h = { .nlmsg_len = sizeof(q), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST },
		.m = { .ifi_index = ifindex },
	};

	netlink_ask(&q.h, read_kind, k);
}

void route_interface_kind(int ifindex, char kind[16], int *peer)
{
	struct kind k = { .kind = kind, .peer = peer };

	memset(kind, 0, 16);
	*peer = 0;
	ask_kind(ifindex, &k);
	if (strcmp(kind, "veth"))
		*peer = 0;
}

bool route_interface_vxlan(int ifindex, struct addr *remote, uint32_t *overhead)
{
	char kind[16] = "";
	int peer = 0;
	struct kind k = { .kind = kind, .peer = &peer };

	ask_kind(ifindex, &k);
	*remote = k.remote;
	/* Ethernet, VXLAN (RFC 7348), UDP and IP */
	*overhead = 14 + 8 + 8 + (addr_is_v4(remote) ? 20 : 40);
	return k.has_remote && !addr_is_multicast(remote);
}

/*
 * The routing also knows what is local without being an interface's address; the list knows
 * interfaces that are down or in a VRF.
 */
bool route_is_local(const struct addr *a)
{
	struct route_info r;
	struct ifaddrs *list, *i;
	struct endpoint e;
	bool found = false;

	if (!route_lookup(&r, a) && r.local)
		return true;
	if (getifaddrs(&list) < 0)
		return false;
	for (i = list; i && !found; i = i->ifa_next)
		found = i->ifa_addr && addr_from_sockaddr(&e, i->ifa_addr) && addr_eq(&e.addr, a);
	freeifaddrs(list);
	return found;
}
