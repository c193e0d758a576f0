/*
 * What this host's routing says about an address.
 *
 * In: an address. Out: where the kernel would send to it, and how large a packet may be there. The
 * question carries no source address, because the packets that we send carry the client's, which
 * is not ours: a look-up with it would be refused or would follow the wrong rule, and the raw
 * socket's own look-up carries none either.
 *
 * Nothing is kept: routes change while we run, and who needs the answer often asks again at the
 * pace that suits it.
 */
#include "io/inject/route.h"

#include <errno.h>
#include <ifaddrs.h>
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
