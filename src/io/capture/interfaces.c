/*
 * Which interfaces "any" stands for.
 *
 * In: the kernel's list of interfaces. Out: names, chosen so that a packet for this host is
 * captured once. What passes through several devices is taken where the host's own stack takes it:
 *
 * - a port of a bridge, bond or VRF is left out, its master is taken;
 * - a VLAN or ipvlan device is left out where the device that carries it is taken, because there
 *   the same packets are seen with their tags beside them. A macvlan device stays: its packets are
 *   addressed to another MAC address, so on the device below they do not count as this host's;
 * - a tunnel stays: below it the packets look different.
 *
 * Devices that are down or of a kind that capture does not support are left out.
 */
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "io/capture/filter.h"
#include "io/host/netlink.h"
#include "io/capture/source.h"

#define MAX_DEVICES 4096u

struct device {
	char name[IFNAMSIZ];
	int index;
	int below;     /* interface that carries this one's packets as they are; 0: none */
	bool eligible; /* up, supported, no master */
};

struct device_list {
	struct device *device;
	unsigned n, max;
	bool loopback;
};

static bool same_packets_below(const struct nlattr *linkinfo)
{
	const struct nlattr *a[IFLA_INFO_MAX + 1];
	char kind[16] = "";

	if (!linkinfo)
		return false;
	netlink_nested(a, IFLA_INFO_MAX, linkinfo);
	if (a[IFLA_INFO_KIND])
		memcpy(kind, mnl_attr_get_payload(a[IFLA_INFO_KIND]),
		       MIN(mnl_attr_get_payload_len(a[IFLA_INFO_KIND]), sizeof(kind) - 1));
	return !strcmp(kind, "vlan") || !strcmp(kind, "ipvlan") || !strcmp(kind, "ipvtap");
}

static int read_link(const struct nlmsghdr *h, void *arg)
{
	struct device_list *list = arg;
	const struct nlattr *a[IFLA_LINK_NETNSID + 1];
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
	struct device *d;
	enum link_type link;

	if (h->nlmsg_type != RTM_NEWLINK || h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || list->n == list->max)
		return 0;
	netlink_attributes(a, IFLA_LINK_NETNSID, h, sizeof(*m));
	if (!a[IFLA_IFNAME])
		return 0;
	d = &list->device[list->n];
	memcpy(d->name, mnl_attr_get_payload(a[IFLA_IFNAME]),
	       MIN(mnl_attr_get_payload_len(a[IFLA_IFNAME]), sizeof(d->name) - 1));
	d->index = m->ifi_index;
	d->eligible = (m->ifi_flags & IFF_UP) && !netlink_u32(a[IFLA_MASTER]) &&
		      capture_link_type(m->ifi_type, &link) &&
		      (list->loopback || m->ifi_type != ARPHRD_LOOPBACK);
	/* With a namespace of its own, the index counts there and says nothing here. */
	if (!a[IFLA_LINK_NETNSID] && same_packets_below(a[IFLA_LINKINFO]))
		d->below = (int)netlink_u32(a[IFLA_LINK]);
	list->n++;
	return 0;
}

static bool taken_below(const struct device_list *list, const struct device *d)
{
	for (unsigned i = 0; i < list->n; i++)
		if (d->below && list->device[i].index == d->below)
			return list->device[i].eligible;
	return false;
}

unsigned capture_interfaces(char names[][16], unsigned max, bool loopback)
{
	struct device_list list = { .max = MAX_DEVICES, .loopback = loopback };
	struct {
		struct nlmsghdr h;
		struct ifinfomsg m;
	} q = {
		.h = { .nlmsg_len = sizeof(q),
		       .nlmsg_type = RTM_GETLINK,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
	};
	unsigned n = 0;
	int error;

	list.device = calloc(MAX_DEVICES, sizeof(*list.device));
	if (!list.device || netlink_ask(&q.h, read_link, &list) < 0)
		list.n = 0;
	else
		errno = 0;
	error = errno;
	for (unsigned i = 0; i < list.n && n < max; i++)
		if (list.device[i].eligible && !taken_below(&list, &list.device[i]))
			memcpy(names[n++], list.device[i].name, IFNAMSIZ);
	free(list.device);
	errno = error;
	return n;
}
