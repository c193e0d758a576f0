/*
 * What happens to the packets of one tuple on this host?
 *
 * In: PROBE messages. Out: FINDINGS, from which tcpcopy can tell a response that never arrived here from one
 * that arrived but was not captured, was forwarded, or was answered by this very kernel. The captures cannot
 * tell, because they see only what their filter and interfaces let through. So there is a second socket,
 * which listens to this one tuple on all interfaces and in both directions, but only while somebody asks. It
 * is created at the start, when that is still permitted, and receives nothing until it is needed: a socket of
 * protocol 0 costs nothing. Binding it to a protocol that does not occur makes it idle again.
 *
 * One tuple at a time: a probe takes seconds, and is made only when nothing works.
 */
#include "intercept/check/findings.h"

#include <event2/event.h>
#include <ifaddrs.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "program/clock.h"
#include "program/sandbox.h"
#include "base/budget.h"
#include "base/util.h"
#include "intercept/hole/blackhole.h"
#include "intercept/check/check.h"
#include "io/capture/filter.h"
#include "io/host/host.h"
#include "io/inject/route.h"
#include "packet/parse.h"

/* The socket exists from the start, and begins to listen later. */
SANDBOX_CALLS("bind", "setsockopt", "recvfrom");

#define LOOK_S 60
#define PACKETS_AT_ONCE 64

/* A tcpcopy asks about three tuples of a target in some seconds. */
#define CLIENT_APART_NS (250 * NS_PER_MS)
#define CLIENT_BURST 16
#define ALL_APART_NS (20 * NS_PER_MS)
#define ALL_BURST 64

struct findings {
	const struct config *config;
	const struct announce *announce;
	int fd; /* -1: none */
	struct event *readable, *end;
	const struct client *client; /* who asks; NULL: nobody */
	struct tuple tuple;
	struct msg_findings found;
	struct budget probes; /* of all clients */
	bool leaks;           /* the kernel forwards, as it was read last, ... */
	uint64_t leaks_at;    /* ... at this time (ns) */
};

static bool listen_to(struct findings *p, unsigned short protocol)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_protocol = htons(protocol) };

	return p->fd >= 0 && !bind(p->fd, (struct sockaddr *)&ll, sizeof(ll));
}

static void stop(struct findings *p)
{
	p->client = NULL;
	listen_to(p, ETH_P_LOOP);
	if (p->readable)
		event_del(p->readable);
	event_del(p->end);
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	stop(arg);
}

static void count(struct findings *p, const struct segment *s, const struct sockaddr_ll *from)
{
	struct msg_findings *f = &p->found;
	bool out = from->sll_pkttype == PACKET_OUTGOING;
	char interface[IF_NAMESIZE] = "";

	if (endpoint_eq(&s->tuple.src, &p->tuple.dst)) {
		f->answered += out && (s->flags & TCPF_RST);
		return;
	}
	if (!endpoint_eq(&s->tuple.src, &p->tuple.src)) {
		if (!out && from->sll_pkttype == PACKET_HOST && (s->flags & TCPF_SYN) &&
		    (s->flags & TCPF_ACK))
			f->facts |= FINDING_OTHER_SOURCE;
		return;
	}
	if (out) {
		f->forwarded += !(f->facts & FINDING_SOURCE_HERE);
		return;
	}
	if (from->sll_pkttype != PACKET_HOST)
		return;
	f->arrived++;
	host_interface_name(from->sll_ifindex, interface);
	f->captured += host_interface_among(p->config->interfaces, p->config->n_interfaces, interface);
	if (!(f->facts & FINDING_CLIENT_HERE))
		snprintf(f->interface, sizeof(f->interface), "%s", interface);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct findings *p = arg;
	uint8_t packet[128];

	(void)what;
	for (unsigned i = 0; i < PACKETS_AT_ONCE; i++) {
		struct sockaddr_ll from = { 0 };
		socklen_t from_len = sizeof(from);
		ssize_t n =
			recvfrom(fd, packet, sizeof(packet), MSG_TRUNC, (struct sockaddr *)&from, &from_len);
		struct segment s;

		if (n < 0)
			return;
		if (parse_ip(&s, packet, (uint32_t)MIN((size_t)n, sizeof(packet)), (uint32_t)n,
			     CHECKSUM_TRUSTED) == PARSE_OK)
			count(p, &s, &from);
	}
}

/* The interface and prefix of an address of this host. */
static void find_address(struct msg_findings *f, const struct addr *a)
{
	struct ifaddrs *list, *i;
	struct endpoint e;

	if (getifaddrs(&list))
		return;
	for (i = list; i; i = i->ifa_next) {
		if (!i->ifa_addr || !addr_from_sockaddr(&e, i->ifa_addr) || !addr_eq(&e.addr, a))
			continue;
		snprintf(f->interface, sizeof(f->interface), "%s", i->ifa_name);
		f->prefix = addr_is_v4(a) ? 32 : 128;
		if (i->ifa_netmask && addr_from_sockaddr(&e, i->ifa_netmask)) {
			f->prefix = 0;
			for (unsigned byte = addr_is_v4(a) ? 12 : 0; byte < 16; byte++)
				f->prefix = (uint8_t)(f->prefix + __builtin_popcount(e.addr.b[byte]));
		}
		break;
	}
	freeifaddrs(list);
}

/*
 * Does the kernel forward? That is in files, several for each interface, and this is the thread of the
 * packets: once a second is often enough.
 */
static bool leaks(struct findings *p)
{
	const uint64_t now = clock_now();
	char why[512];

	if (guard_holds(p->announce->guard))
		return false;
	if (!p->leaks_at || now - p->leaks_at >= NS_PER_SEC) {
		p->leaks = blackhole_leaks(p->config, why, sizeof(why));
		p->leaks_at = now;
	}
	return p->leaks;
}

/*
 * Do the responses of this very host end here? They leave into a veth whose other end is here as well, or
 * into a device without one that is captured on, because a TUN may also be a tunnel.
 */
static bool ends_here(const struct config *c, const struct addr *from, const struct addr *to)
{
	struct route_info route;
	char kind[16];
	int peer;

	if (route_lookup_from(&route, from, to) || route.unreachable || route.local)
		return false;
	route_interface_kind(route.ifindex, kind, &peer);
	return peer || ((!strcmp(kind, "tun") || !strcmp(kind, "dummy")) &&
			host_interface_among(c->interfaces, c->n_interfaces, route.interface));
}

/* What is so without waiting for any packet. */
static void learn(struct findings *p)
{
	const struct config *c = p->config;
	struct msg_findings *f = &p->found;
	const struct addr *source = &p->tuple.src.addr, *client = &p->tuple.dst.addr;
	struct route_info route;

	if (!route_lookup(&route, source) && !route.unreachable) {
		snprintf(f->interface, sizeof(f->interface), "%.15s", route.interface);
		if (route.has_source)
			f->address = route.source;
		if (route.has_gateway)
			f->facts |= FINDING_ROUTED;
		if (!route.local && !host_interface_among(c->interfaces, c->n_interfaces, route.interface))
			f->facts |= FINDING_UNCAPTURED;
	}
	if (route_is_local(source)) {
		f->facts |= FINDING_SOURCE_HERE;
		if (ends_here(c, source, client))
			f->facts |= FINDING_HOLE;
	}
	if (route_is_local(client)) {
		f->facts |= FINDING_CLIENT_HERE;
		find_address(f, client);
	}
	if (leaks(p))
		f->facts |= FINDING_FORWARDS;
	if (!check_filter_passes(c->filter, &p->tuple.src, &p->tuple.dst) ||
	    (!c->filter && !targets_has(&p->announce->targets, &p->tuple.src)))
		f->facts |= FINDING_FILTERED;
}

/* The kernel lets nothing else of this host into the socket. */
static bool narrow(struct findings *p)
{
	char filter[600], a[ADDR_TEXT_LEN], b[ADDR_TEXT_LEN], err[256];
	struct bpf_program program;
	bool done;

	addr_format(a, sizeof(a), &p->tuple.src.addr);
	addr_format(b, sizeof(b), &p->tuple.dst.addr);
	snprintf(filter, sizeof(filter),
		 "tcp and ((dst host %s and dst port %u) or "
		 "(src host %s and src port %u and dst host %s and dst port %u))",
		 b, p->tuple.dst.port, b, p->tuple.dst.port, a, p->tuple.src.port);
	if (p->fd < 0 || capture_filter_compile(&program, filter, LINK_RAW, 0, err, sizeof(err)))
		return false;
	done = !capture_filter_attach(p->fd, &program, CAPTURE_BOTH, err, sizeof(err));
	pcap_freecode(&program);
	return done;
}

/* To look anew costs a quarter of a millisecond, in the thread that captures. */
static bool may_look(struct findings *p, struct client *client)
{
	const uint64_t now = clock_now();

	return budget_spend(&client->probes, now, CLIENT_APART_NS, CLIENT_BURST) &&
	       budget_spend(&p->probes, now, ALL_APART_NS, ALL_BURST);
}

bool findings_ask(struct findings *p, struct client *client, const struct msg_watch *m)
{
	const struct timeval later = { LOOK_S, 0 };
	struct message answer = { .type = MSG_FINDINGS };

	if (p->client != client || p->found.id != m->id) {
		if (!may_look(p, client))
			return false;
		p->client = client;
		p->tuple = m->response;
		p->found = (struct msg_findings){ .id = m->id };
		learn(p);
		if (narrow(p) && listen_to(p, ETH_P_ALL) && p->readable && !event_add(p->readable, NULL))
			p->found.facts |= FINDING_LOOKS;
	} else if (p->found.facts & FINDING_LOOKS) {
		on_readable(p->fd, 0, p);
	}
	event_add(p->end, &later);
	answer.findings = p->found;
	channel_conn_send(client->conn, &answer);
	return true;
}

void findings_end(struct findings *p, const struct client *client)
{
	if (p->client == client)
		stop(p);
}

struct findings *findings_new(struct event_base *base, const struct config *c, const struct announce *a)
{
	struct findings *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->config = c;
	p->announce = a;
	p->end = evtimer_new(base, on_end, p);
	p->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd >= 0)
		sandbox_keep_changing(p->fd);
	if (p->fd >= 0)
		p->readable = event_new(base, p->fd, EV_READ | EV_PERSIST, on_readable, p);
	if (!p->end) {
		findings_free(p);
		return NULL;
	}
	return p;
}

void findings_free(struct findings *p)
{
	if (!p)
		return;
	if (p->readable)
		event_free(p->readable);
	if (p->end)
		event_free(p->end);
	if (p->fd >= 0)
		sandbox_close(p->fd);
	free(p);
}
