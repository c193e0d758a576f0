/*
 * Changes of this host's network settings, by rtnetlink.
 *
 * In: an address, a route or a rule. Out: one message to the kernel, whose acknowledgement is waited for. No
 * program is run for this: one that keeps CAP_NET_ADMIN may have no right to run any, and ip(8) need not be
 * installed. What other programs make is not touched: each message names all that makes a setting ours.
 */
#include "io/host/settings.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/util.h"
#include "io/host/host.h"
#include "io/host/netlink.h"

#define TIMEOUT_S 5

/* A message and its attributes; none of ours is longer. */
struct message {
	struct nlmsghdr h;
	char room[256];
};

int settings_open(void)
{
	const struct timeval patience = { .tv_sec = TIMEOUT_S };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

int settings_interface_up(const char *name, int packets)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = -1, saved;
	struct ifreq ifr = { 0 };

	if (fd < 0)
		return 0;
	memcpy(ifr.ifr_name, name, MIN(strlen(name), sizeof(ifr.ifr_name) - 1));
	/* The kernel gives a device that comes up with a length of 0 no discipline. */
	if (!ioctl(fd, SIOCSIFTXQLEN, &ifr) && !ioctl(fd, SIOCGIFFLAGS, &ifr)) {
		ifr.ifr_flags = (short)(ifr.ifr_flags | IFF_UP);
		rc = ioctl(fd, SIOCSIFFLAGS, &ifr);
		ifr.ifr_qlen = packets;
		rc = rc ? rc : ioctl(fd, SIOCSIFTXQLEN, &ifr);
	}
	saved = errno;
	close(fd);
	errno = saved;
	return rc ? 0 : host_interface_index(name);
}

int settings_interface_of(const struct addr *a)
{
	struct ifaddrs *list, *i;
	struct endpoint e;
	int index = 0;

	if (getifaddrs(&list))
		return 0;
	for (i = list; i && !index; i = i->ifa_next)
		if (i->ifa_addr && addr_from_sockaddr(&e, i->ifa_addr) && addr_eq(&e.addr, a))
			index = host_interface_index(i->ifa_name);
	freeifaddrs(list);
	return index;
}

/* Begin a message that makes or removes something, with the family's own header of @size bytes. */
static void *begin(struct message *m, bool make, uint16_t make_type, uint16_t remove_type, size_t size)
{
	static uint32_t seq;

	memset(m, 0, sizeof(*m));
	mnl_nlmsg_put_header(m);
	m->h.nlmsg_type = make ? make_type : remove_type;
	m->h.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	if (make)
		m->h.nlmsg_flags |= NLM_F_CREATE | NLM_F_REPLACE;
	m->h.nlmsg_seq = ++seq;
	return mnl_nlmsg_put_extra_header(&m->h, size);
}

static void put_addr(struct message *m, uint16_t type, const struct addr *a)
{
	mnl_attr_put(&m->h, type, addr_is_v4(a) ? 4 : 16, addr_is_v4(a) ? addr_v4_bytes(a) : a->b);
}

static int ignore(const struct nlmsghdr *h, void *arg)
{
	(void)h;
	(void)arg;
	return 0;
}

static int commit(int fd, struct message *m, bool make)
{
	if (!netlink_exchange(fd, &m->h, ignore, NULL) || (make && errno == EEXIST) ||
	    (!make && (errno == ENOENT || errno == ESRCH || errno == EADDRNOTAVAIL || errno == ENODEV)))
		return 0;
	return -1;
}

int settings_address(int fd, bool make, int ifindex, const struct addr *a, uint32_t seconds)
{
	const struct ifa_cacheinfo life = { .ifa_valid = seconds };
	struct message m;
	struct ifaddrmsg *i = begin(&m, make, RTM_NEWADDR, RTM_DELADDR, sizeof(*i));

	i->ifa_family = addr_is_v4(a) ? AF_INET : AF_INET6;
	i->ifa_prefixlen = addr_is_v4(a) ? 32 : 128;
	i->ifa_index = (unsigned)ifindex;
	put_addr(&m, IFA_LOCAL, a);
	put_addr(&m, IFA_ADDRESS, a);
	if (make)
		mnl_attr_put_u32(&m.h, IFA_FLAGS, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
	if (make && seconds)
		mnl_attr_put(&m.h, IFA_CACHEINFO, sizeof(life), &life);
	return commit(fd, &m, make);
}

int settings_route(int fd, bool make, int family, uint32_t table, int ifindex, uint32_t metric)
{
	struct message m;
	struct rtmsg *r = begin(&m, make, RTM_NEWROUTE, RTM_DELROUTE, sizeof(*r));

	r->rtm_family = (unsigned char)family;
	r->rtm_table = RT_TABLE_UNSPEC;
	r->rtm_protocol = SETTINGS_PROTOCOL;
	r->rtm_scope = ifindex ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	r->rtm_type = ifindex ? RTN_UNICAST : RTN_BLACKHOLE;
	mnl_attr_put_u32(&m.h, RTA_TABLE, table);
	mnl_attr_put_u32(&m.h, RTA_PRIORITY, metric);
	if (ifindex)
		mnl_attr_put_u32(&m.h, RTA_OIF, (uint32_t)ifindex);
	return commit(fd, &m, make);
}

int settings_rule(int fd, bool make, const struct addr *from, uint32_t table, uint32_t priority)
{
	struct message m;
	struct fib_rule_hdr *r = begin(&m, make, RTM_NEWRULE, RTM_DELRULE, sizeof(*r));

	m.h.nlmsg_flags = (uint16_t)(m.h.nlmsg_flags & ~NLM_F_REPLACE); /* there is none for rules */
	if (make)
		m.h.nlmsg_flags |= NLM_F_EXCL;
	r->family = addr_is_v4(from) ? AF_INET : AF_INET6;
	r->src_len = addr_is_v4(from) ? 32 : 128;
	r->action = FR_ACT_TO_TBL;
	put_addr(&m, FRA_SRC, from);
	mnl_attr_put_u32(&m.h, FRA_TABLE, table);
	mnl_attr_put_u32(&m.h, FRA_PRIORITY, priority);
	mnl_attr_put_u8(&m.h, FRA_PROTOCOL, SETTINGS_PROTOCOL);
	return commit(fd, &m, make);
}

/* --- what there is --- */

struct listing {
	uint32_t table;
	void (*fn)(const struct addr *from, void *arg);
	void *arg;
};

static int read_rule(const struct nlmsghdr *h, void *arg)
{
	const struct fib_rule_hdr *r = mnl_nlmsg_get_payload(h);
	const struct nlattr *a[FRA_MAX + 1];
	const struct listing *l = arg;
	struct addr from;

	if (h->nlmsg_type != RTM_NEWRULE || h->nlmsg_len < NLMSG_LENGTH(sizeof(*r)))
		return 0;
	netlink_attributes(a, FRA_MAX, h, sizeof(*r));
	if (netlink_u32(a[FRA_TABLE]) == l->table && a[FRA_SRC] && a[FRA_PROTOCOL] &&
	    mnl_attr_get_payload_len(a[FRA_PROTOCOL]) &&
	    mnl_attr_get_u8(a[FRA_PROTOCOL]) == SETTINGS_PROTOCOL &&
	    netlink_addr(&from, r->family, mnl_attr_get_payload(a[FRA_SRC]),
			 mnl_attr_get_payload_len(a[FRA_SRC])))
		l->fn(&from, l->arg);
	return 0;
}

int settings_rules(uint32_t table, void (*fn)(const struct addr *from, void *arg), void *arg)
{
	static const int families[] = { AF_INET, AF_INET6 };
	struct listing l = { table, fn, arg };

	for (unsigned i = 0; i < ARRAY_SIZE(families); i++) {
		struct {
			struct nlmsghdr h;
			struct fib_rule_hdr r;
		} q = {
			.h = { .nlmsg_len = sizeof(q),
			       .nlmsg_type = RTM_GETRULE,
			       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
			.r = { .family = (__u8)families[i] },
		};

		if (netlink_ask(&q.h, read_rule, &l) < 0 && families[i] == AF_INET)
			return -1;
	}
	return 0;
}
