/*
 * The addresses of this host - theory of operation
 *
 * In: the kernel's list of addresses of all interfaces, and for an address that is not in it a question to
 * its routing, which knows what an administrator has made local besides ("ip route add local 192.0.2.0/24
 * dev lo"). Out: is an address this host's own? A socket that hears of changes says when all is to be
 * learned anew.
 *
 * Answers are kept in a table by address, so a packet costs a comparison. A host that forwards for others
 * sees ever new addresses; so questions are limited in rate, and who is asked about beyond that is not
 * local until the next one: a gateway pays a bounded price for what it does not want replicated.
 */
#include "io/host/local.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/util.h"
#include "io/host/netlink.h"

#define GROUP(n) (1u << ((n)-1))
#define KNOWN 1024u
#define ASK_APART (5 * NS_PER_MS) /* 200 questions a second */
#define ASK_BURST 64u

struct known {
	struct addr addr;
	bool valid, local;
};

struct local {
	int changes; /* a socket that hears of them */
	int ask;     /* the one for questions */
	uint32_t seq;
	struct budget questions;
	struct addr *list; /* of interfaces */
	unsigned count, room;
	struct known known[KNOWN];
};

static int take_address(const struct nlmsghdr *h, void *arg)
{
	struct local *l = arg;
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *a[IFA_LOCAL + 1], *own;
	struct addr addr;

	if (h->nlmsg_type != RTM_NEWADDR || h->nlmsg_len < NLMSG_SPACE(sizeof(*m)))
		return 0;
	netlink_attributes(a, IFA_LOCAL, h, sizeof(*m));
	own = a[IFA_LOCAL] ? a[IFA_LOCAL] : a[IFA_ADDRESS]; /* the other one is the peer's, on a tunnel */
	if (!own ||
	    !netlink_addr(&addr, m->ifa_family, mnl_attr_get_payload(own), mnl_attr_get_payload_len(own)))
		return 0;
	if (l->count == l->room) {
		unsigned room = l->room ? 2 * l->room : 32;
		struct addr *more = realloc(l->list, room * sizeof(*more));

		if (!more)
			return ENOMEM;
		l->list = more;
		l->room = room;
	}
	l->list[l->count++] = addr;
	return 0;
}

/* What cannot be learned is asked for address by address. */
static void learn(struct local *l)
{
	struct {
		struct nlmsghdr h;
		struct ifaddrmsg m;
	} q = {
		.h = { .nlmsg_len = sizeof(q),
		       .nlmsg_type = RTM_GETADDR,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.m = { .ifa_family = AF_UNSPEC },
	};

	l->count = 0;
	memset(l->known, 0, sizeof(l->known));
	netlink_ask(&q.h, take_address, l);
}

struct local *local_open(void)
{
	struct local *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->changes = netlink_subscribe(GROUP(RTNLGRP_IPV4_IFADDR) | GROUP(RTNLGRP_IPV6_IFADDR) |
				       GROUP(RTNLGRP_IPV4_ROUTE) | GROUP(RTNLGRP_IPV6_ROUTE));
	l->ask = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (l->changes < 0 || l->ask < 0) {
		local_close(l);
		return NULL;
	}
	learn(l);
	return l;
}

void local_close(struct local *l)
{
	if (!l)
		return;
	if (l->changes >= 0)
		close(l->changes);
	if (l->ask >= 0)
		close(l->ask);
	free(l->list);
	free(l);
}

int local_fd(const struct local *l)
{
	return l->changes;
}

/* Routers change thousands of routes a second that are none of ours. */
static int concerns_us(const struct nlmsghdr *h, void *arg)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	bool *ours = arg;

	if (h->nlmsg_type == RTM_NEWADDR || h->nlmsg_type == RTM_DELADDR)
		*ours = true;
	else if (h->nlmsg_len >= NLMSG_SPACE(sizeof(*m)))
		*ours |= m->rtm_type == RTN_LOCAL;
	return 0;
}

void local_readable(struct local *l)
{
	bool ours = false;

	if (netlink_changes(l->changes, concerns_us, &ours) || ours)
		learn(l);
}

static int take_type(const struct nlmsghdr *h, void *arg)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);

	*(bool *)arg = h->nlmsg_type == RTM_NEWROUTE && h->nlmsg_len >= NLMSG_SPACE(sizeof(*m)) &&
		       m->rtm_type == RTN_LOCAL;
	return 0;
}

static bool ask(struct local *l, const struct addr *a)
{
	bool v4 = addr_is_v4(a), local = false;
	struct {
		struct nlmsghdr h;
		struct rtmsg m;
		char room[64];
	} q = {
		.h = { .nlmsg_len = NLMSG_LENGTH(sizeof(q.m)),
		       .nlmsg_type = RTM_GETROUTE,
		       .nlmsg_flags = NLM_F_REQUEST,
		       .nlmsg_seq = ++l->seq },
		.m = { .rtm_family = v4 ? AF_INET : AF_INET6, .rtm_dst_len = v4 ? 32 : 128 },
	};

	mnl_attr_put(&q.h, RTA_DST, v4 ? 4 : 16, v4 ? addr_v4_bytes(a) : a->b);
	return !netlink_exchange(l->ask, &q.h, take_type, &local) && local;
}

bool local_has(struct local *l, const struct addr *a, uint64_t now)
{
	struct known *k;
	uint32_t w[4];

	memcpy(w, a->b, sizeof(w));
	k = &l->known[(w[0] ^ w[1] ^ w[2] ^ w[3]) * 2654435761u >> 22];
	if (k->valid && addr_eq(&k->addr, a))
		return k->local;
	for (unsigned i = 0; i < l->count; i++)
		if (addr_eq(&l->list[i], a)) {
			*k = (struct known){ .addr = *a, .valid = true, .local = true };
			return true;
		}
	if (!budget_spend(&l->questions, now, ASK_APART, ASK_BURST))
		return false;
	*k = (struct known){ .addr = *a, .valid = true, .local = ask(l, a) };
	return k->local;
}
