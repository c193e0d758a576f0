/*
 * Does what is to be replicated come by here, and do the addresses of -c suit it?
 *
 * The capture sees what is addressed to this host. Requests of a container are not, so for each
 * rule somebody of this network namespace has to listen, or requests have to be seen. To see them,
 * all interfaces are captured for a moment, those of -i and the others, until a request of each rule
 * comes by one that will be captured, and tells what its client speaks (listen.c). Its sender is known then
 * as a client, whose address the probe may use.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program/clock.h"
#include "io/inject/route.h"
#include "io/host/host.h"
#include "io/host/published.h"
#include "io/host/sockets.h"
#include "io/capture/source.h"
#include "tcpcopy/check/listen.h"
#include "tcpcopy/check/parts.h"
#include "tcpcopy/check/unheard.h"
#include "tcpcopy/classify.h"

#define LISTEN (2 * NS_PER_SEC) /* for a request to come */
#define MAX_CLIENTS (1u << 20)

/* What is known of one rule. */
struct seen {
	const struct rule *rule;
	struct endpoint at; /* where somebody listens */
	struct addr own;    /* a client that is this host itself; valid with from_here */
	bool from_here, from_others;
	char interface[16];  /* by which a request came that is captured; "" none */
	char uncaptured[16]; /* by which one came that is not */
};

struct looking {
	struct local *local;
	struct checking *k;
	struct classify_counters counters;
	const char *interface; /* of the source that is read now */
	bool captured;         /* it is one of those to be captured on */
	bool client_captured;  /* the client that is known came by such a one */
	struct seen seen[CONFIG_MAX_RULES];
	struct listening heard;
	bool told[CONFIG_MAX_RULES]; /* it is known of some client of the rule what it speaks */
	unsigned untold;             /* rules of which it is not */
};

static bool on_listener(const struct endpoint *local, const struct endpoint *remote, void *arg)
{
	struct seen *s = arg;

	(void)remote;
	s->at = *local;
	return !unheard_reached(s->rule, &local->addr);
}

static void on_packet(const struct raw_packet *packet, void *arg)
{
	struct looking *l = arg;
	unsigned rule[CONFIG_MAX_RULES], n;
	struct segment s;

	if (parse_packet(&s, packet) != PARSE_OK)
		return;
	n = classify(l->k->config, l->local, &l->counters, NULL, &s, false, s.time, rule);
	for (unsigned i = 0; i < n; i++) {
		struct seen *seen = &l->seen[rule[i]];

		snprintf(l->captured ? seen->interface : seen->uncaptured, sizeof(seen->interface), "%s",
			 l->interface);
		if (route_is_local(&s.tuple.src.addr)) {
			seen->from_here = true;
			seen->own = s.tuple.src.addr;
		} else {
			seen->from_others = true;
		}
		if (!l->told[rule[i]] &&
		    listen_segment(&l->heard, &l->k->config->rules[rule[i]], rule[i], &s)) {
			l->told[rule[i]] = true;
			l->untold--;
		}
		/* The target would answer an address of this host by a route of its own. */
		if (l->client_captured || (l->k->has_client && !l->captured) ||
		    route_is_local(&s.tuple.src.addr))
			continue;
		l->client_captured = l->captured;
		l->k->has_client = true;
		l->k->client = s.tuple.src;
	}
}

/* Capture on @n interfaces until a client is known, and of each rule what its clients speak. */
static void look(struct looking *l, char names[][16], unsigned n)
{
	char filter[CONFIG_FILTER_SIZE], err[512];
	struct source *source[2 * CONFIG_MAX_INTERFACES];
	struct pollfd fds[2 * CONFIG_MAX_INTERFACES];
	uint64_t now = clock_now(), end = now + LISTEN;
	struct capture_options o = { .filter = filter, .incoming_only = true, .mode = CAPTURE_PACKET };
	const struct checking *k = l->k;
	unsigned opened = 0;

	config_capture_filter(k->config, filter, sizeof(filter));
	for (unsigned i = 0; i < n; i++) {
		o.interface = names[i];
		source[opened] = capture_open(&o, err, sizeof(err));
		if (source[opened])
			opened++;
	}
	for (unsigned i = 0; i < opened; i++)
		fds[i] = (struct pollfd){ .fd = source[i]->fd, .events = POLLIN };
	while (opened && !(l->client_captured && !l->untold) && now < end) {
		poll(fds, opened, (int)((end - now) / NS_PER_MS + 1));
		for (unsigned i = 0; i < opened; i++) {
			l->interface = source[i]->name;
			l->captured = host_interface_among(k->interfaces, k->n_interfaces, l->interface);
			source_poll(source[i], 64, on_packet, l);
		}
		now = clock_now();
	}
	for (unsigned i = 0; i < opened; i++)
		source_close(source[i]);
}

static void say_rule(struct check_report *report, const struct checking *k, const struct seen *s)
{
	struct check_result r = { 0 };
	const bool published = !s->interface[0] && published_port(s->rule->online_port);
	char command[700], at[ENDPOINT_TEXT_LEN], more[32], text[640];

	if (s->from_here && !s->from_others && !k->config->n_pool && k->config->way_back != RETURN_OWN)
		check_note(report, CHECK_BROKEN, "%s",
			   unheard_own_client(text, sizeof(text), s->rule, &s->own));
	if (s->interface[0]) {
		check_note(report, CHECK_OK, "port %u: they arrive on %s", s->rule->online_port,
			   s->interface);
	} else if (s->uncaptured[0]) {
		check_text(&r, CHECK_BROKEN, "requests to port %u arrive on %s, which -i does not name",
			   s->rule->online_port, s->uncaptured);
		snprintf(more, sizeof(more), "-i %s", s->uncaptured);
		check_cure(&r, "this host", "%s",
			   check_command(command, sizeof(command), k->argv,
					 (const char *const[]){ "--check", NULL }, more));
		check_say(report, &r);
	} else if (unheard_diagnose(&r, k->config, s->rule, published, true, k->argv)) {
		check_say(report, &r);
	} else if (published) {
		check_note(
			report, CHECK_OK,
			"port %u: a rule of netfilter hands its connections on (DNAT); none arrived within 2 s",
			s->rule->online_port);
	} else {
		check_note(report, CHECK_OK, "port %u: %s listens; none arrived within 2 s",
			   s->rule->online_port, endpoint_format(at, sizeof(at), &s->at));
	}
}

void check_requests(struct check_report *report, void *arg)
{
	static struct looking l;
	struct checking *k = arg;
	const struct config *c = k->config;
	char names[2 * CONFIG_MAX_INTERFACES][16];
	unsigned n = capture_interfaces(names, CONFIG_MAX_INTERFACES, true);

	l = (struct looking){ .k = k, .local = local_open(), .untold = c->n_rules };
	for (unsigned i = 0; i < c->n_rules; i++) {
		l.seen[i].rule = &c->rules[i];
		sockets_listening(c->rules[i].online_port, on_listener, &l.seen[i]);
	}
	for (unsigned i = 0; i < k->n_interfaces; i++) {
		unsigned j = 0;

		while (j < n && strcmp(names[j], k->interfaces[i]))
			j++;
		if (j == n)
			memcpy(names[n++], k->interfaces[i], sizeof(names[0]));
	}
	look(&l, names, n);
	for (unsigned i = 0; i < c->n_rules; i++) {
		say_rule(report, k, &l.seen[i]);
		listen_say(report, &l.heard, &c->rules[i], i);
	}
	local_close(l.local);
}

/* Addresses of the clients that are connected now, and which of them lie in the pool. */
struct clients {
	const struct config *config;
	struct addr *list;
	size_t n, size;
	bool in_pool;
	struct addr shared;
};

static bool in_pool(const struct config *c, const struct addr *a)
{
	for (unsigned i = 0; i < c->n_pool; i++)
		if (prefix_contains(&c->pool[i], a))
			return true;
	return false;
}

static bool on_client(const struct endpoint *local, const struct endpoint *remote, void *arg)
{
	struct clients *all = arg;

	(void)local;
	if (!all->in_pool && in_pool(all->config, &remote->addr)) {
		all->in_pool = true;
		all->shared = remote->addr;
	}
	if (all->n == all->size) {
		size_t size = all->size ? all->size * 2 : 1024;
		struct addr *list = size > MAX_CLIENTS ? NULL : realloc(all->list, size * sizeof(*list));

		if (!list)
			return false;
		all->list = list;
		all->size = size;
	}
	all->list[all->n++] = remote->addr;
	return true;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct addr));
}

static size_t distinct(struct clients *all)
{
	size_t n = 0;

	if (all->n)
		qsort(all->list, all->n, sizeof(all->list[0]), compare);
	for (size_t i = 0; i < all->n; i++)
		n += !i || !addr_eq(&all->list[i], &all->list[i - 1]);
	return n;
}

static unsigned long long pool_addresses(const struct config *c)
{
	unsigned long long sum = 0;

	for (unsigned i = 0; i < c->n_pool; i++)
		sum += 1ull << MIN(128 - c->pool[i].len, 40);
	return sum;
}

/* Bits that a netmask has. */
static uint8_t mask_len(const struct sockaddr *mask)
{
	struct endpoint e;
	uint8_t n = 0;

	if (!mask || !addr_from_sockaddr(&e, mask))
		return 128;
	for (unsigned i = addr_is_v4(&e.addr) ? 12 : 0; i < 16; i++)
		n = (uint8_t)(n + __builtin_popcount(e.addr.b[i]));
	return (uint8_t)(addr_is_v4(&e.addr) ? 96 + n : n);
}

/*
 * Does the pool lie within a network of this host? The hosts of that network, perhaps the target among them,
 * look for its addresses on their own link.
 */
static void say_overlap(struct check_report *report, const struct config *c, const struct ifaddrs *local)
{
	for (const struct ifaddrs *i = local; i; i = i->ifa_next) {
		struct check_result r = { 0 };
		struct prefix network;
		struct endpoint e;
		char pool[PREFIX_TEXT_LEN], at[ADDR_TEXT_LEN], assistant[ADDR_TEXT_LEN];

		if (!i->ifa_addr || !addr_from_sockaddr(&e, i->ifa_addr) || addr_is_loopback(&e.addr))
			continue;
		network = (struct prefix){ e.addr, mask_len(i->ifa_netmask) };
		for (unsigned j = 0; j < c->n_pool; j++) {
			if (network.len >= 128 || !prefix_contains(&network, &c->pool[j].addr))
				continue;
			config_prefix_format(pool, sizeof(pool), &c->pool[j]);
			check_text(
				&r, CHECK_WARNING,
				"-c %s lies in the network of %s (%s/%u): the target may look for these addresses "
				"on its own link",
				pool, i->ifa_name, addr_format(at, sizeof(at), &e.addr),
				addr_is_v4(&e.addr) ? network.len - 96 : network.len);
			check_cure(&r, "the target", "ip route replace %s via %s", pool,
				   addr_format(assistant, sizeof(assistant), &c->assistants[0].at.addr));
			check_say(report, &r);
		}
	}
}

void check_pool_network(struct check_report *report, void *arg)
{
	const struct checking *k = arg;
	const struct config *c = k->config;
	struct ifaddrs *local = NULL;

	/* the answer to one address of a network has come back by the route for all of it */
	if (c->way_back == RETURN_OWN || (k->probed_all && c->n_pool == 1 && !c->has_probe_from))
		return;
	if (!getifaddrs(&local))
		say_overlap(report, c, local);
	freeifaddrs(local);
}

void check_pool(struct check_report *report, void *arg)
{
	const struct checking *k = arg;
	const struct config *c = k->config;
	struct clients all = { .config = c };
	unsigned before = report->warnings;
	char at[ADDR_TEXT_LEN];
	size_t n;

	for (unsigned i = 0; i < c->n_rules; i++)
		sockets_connected(c->rules[i].online_port, on_client, &all);
	n = distinct(&all);
	if (!c->n_pool || c->way_back == RETURN_OWN) {
		check_note(report, CHECK_OK,
			   c->way_back == RETURN_OWN ? "%zu connected; the target sees this host's address"
						     : "%zu connected; copies keep their addresses",
			   n);
		free(all.list);
		return;
	}
	if (all.in_pool)
		check_note(report, CHECK_WARNING,
			   "-c contains %s, the address of a client: the target cannot tell the two apart",
			   addr_format(at, sizeof(at), &all.shared));
	if (n > pool_addresses(c)) {
		struct check_result r = { 0 };
		struct prefix wider = c->pool[0];
		char command[700], text[PREFIX_TEXT_LEN], more[PREFIX_TEXT_LEN + 4];

		wider.len = 128;
		while (wider.len > 104 && 1ull << (128 - wider.len) < 4 * n)
			wider.len--;
		for (unsigned bit = wider.len; bit < 128; bit++)
			wider.addr.b[bit / 8] = (uint8_t)(wider.addr.b[bit / 8] & ~(0x80u >> bit % 8));
		snprintf(more, sizeof(more), "-c %s", config_prefix_format(text, sizeof(text), &wider));
		check_text(
			&r, CHECK_WARNING,
			"%zu clients are connected, but -c has only %llu address%s: of two clients with the "
			"same port, one is given another port",
			n, pool_addresses(c), pool_addresses(c) == 1 ? "" : "es");
		check_cure(&r, "this host", "%s",
			   check_command(command, sizeof(command), k->argv,
					 (const char *const[]){ "--check", NULL }, more));
		check_say(report, &r);
	}
	if (before == report->warnings)
		check_note(report, CHECK_OK, "%zu connected; -c has %llu addresses for them", n,
			   pool_addresses(c));
	free(all.list);
}
