/*
 * The plan of own addresses and ports - theory of operation
 *
 * In: the rules, -c and --own-ports, and what the kernel says. Out: for each target the addresses of this
 * host that copies to it have, and a set of ports.
 *
 * The address is that from which this host itself would connect to the target, unless -c names others; but
 * none of IPv6 that is temporary, since nobody would notice in a few days why nothing comes back. The
 * ports are those that nobody else is likely to have: not the well-known ones, not those that the kernel
 * gives to connections of this host (ip_local_port_range), not one that a program listens on, nor one that a
 * connection of this host to that target has. A program that begins to listen later loses nothing either:
 * what has a socket is not taken from it (program/helper/nft_own.c).
 */
#include "tcpcopy/returns/plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "io/host/host.h"
#include "io/host/offloads.h"
#include "io/host/sockets.h"
#include "io/inject/route.h"
#include "packet/bytes.h"
#include "program/log.h"

#define FIRST_PORT 1024u
#define LAST_PORT 65535u
#define EPHEMERAL "/proc/sys/net/ipv4/ip_local_port_range" /* of IPv6 as well */

static int fail(char *err, size_t err_size, const char *fmt, ...) PRINTF_LIKE(3, 4);

static int fail(char *err, size_t err_size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, err_size, fmt, ap);
	va_end(ap);
	return -1;
}

/* --- addresses --- */

static int add_place(struct plan *p, unsigned rule, const struct addr *own, char *err, size_t err_size)
{
	const struct rule *r = &p->config->rules[rule];

	for (unsigned i = 0; i < p->n_places; i++)
		if (endpoint_eq(&p->place[i].target, &r->target) && addr_eq(&p->place[i].own, own))
			return 0;
	if (p->n_places == PLAN_PLACES_MAX)
		return fail(err, err_size, "option -c: more than %u pairs of a target and an address",
			    PLAN_PLACES_MAX);
	p->place[p->n_places++] =
		(struct plan_place){ .target = r->target, .own = *own, .rule = (uint16_t)rule };
	return 0;
}

/* The address from which this host connects to the target. */
static int add_source(struct plan *p, unsigned rule, char *err, size_t err_size)
{
	const struct rule *r = &p->config->rules[rule];
	char host[ADDR_TEXT_LEN];
	struct route_info route;

	addr_format(host, sizeof(host), &r->target.addr);
	if (route_lookup(&route, &r->target.addr))
		return fail(err, err_size, "option -x \"%s\": cannot look up the route: %s", r->text,
			    strerror(errno));
	if (route.unreachable)
		return fail(err, err_size,
			    "option -x \"%s\": this host has no route to the target %s; add one (ip route "
			    "add %s via GATEWAY), or correct the address",
			    r->text, host, host);
	if (!route.has_source)
		return fail(err, err_size,
			    "option -x \"%s\": no address of this host is known from which it reaches %s; "
			    "name one with -c",
			    r->text, host);
	if (!host_lasting_address(&route.source))
		return fail(
			err, err_size,
			"option -x \"%s\": this host reaches %s from a temporary address only, which is gone "
			"in a few days; give it one that lasts, or name one with -c",
			r->text, host);
	return add_place(p, rule, &route.source, err, err_size);
}

/* The addresses of *x, one for most, a range of loopback for targets there alone. */
static int add_addresses(struct plan *p, unsigned rule, const struct prefix *x, char *err, size_t err_size)
{
	const struct addr *target = &p->config->rules[rule].target.addr;
	const uint32_t n = x->len > 104 ? 1u << (128 - x->len) : 1u << 24;
	const uint32_t edge = n > 2; /* the first and the last of a prefix are not used, as in other pools */

	if (addr_is_v4(&x->addr) != addr_is_v4(target) ||
	    (addr_is_loopback(&x->addr) && !addr_is_loopback(target)))
		return 0;
	for (uint32_t i = edge; i < n - edge; i++) {
		struct addr own = x->addr;

		put_be32(own.b + 12, get_be32(own.b + 12) + i);
		if (add_place(p, rule, &own, err, err_size))
			return -1;
	}
	return 0;
}

static int add_rule(struct plan *p, unsigned rule, char *err, size_t err_size)
{
	const struct config *c = p->config;
	const unsigned before = p->n_places;

	for (unsigned i = 0; i < rule; i++)
		if (endpoint_eq(&c->rules[i].target, &c->rules[rule].target))
			return 0;
	for (unsigned i = 0; i < c->n_pool; i++)
		if (add_addresses(p, rule, &c->pool[i], err, err_size))
			return -1;
	return p->n_places > before ? 0 : add_source(p, rule, err, err_size);
}

/* --- ports --- */

static void set_usable(struct plan *p, unsigned port, bool usable)
{
	const uint8_t bit = (uint8_t)(1u << port % 8);

	p->n_ports -= plan_usable(p, (uint16_t)port);
	p->n_ports += usable;
	p->usable[port / 8] = (uint8_t)(usable ? p->usable[port / 8] | bit : p->usable[port / 8] & ~bit);
}

static void add_range(struct plan *p, unsigned first, unsigned last)
{
	if (first > last)
		return;
	p->range[p->n_ranges++] = (struct port_range){ (uint16_t)first, (uint16_t)last };
	for (unsigned port = first; port <= last; port++)
		set_usable(p, port, true);
}

static int default_ranges(struct plan *p, char *err, size_t err_size)
{
	FILE *f = fopen(EPHEMERAL, "re");
	unsigned first = 0, last = 0;
	int got = f ? fscanf(f, "%u %u", &first, &last) : 0;

	if (f)
		fclose(f);
	if (got != 2 || first > last || last > LAST_PORT)
		return fail(err, err_size, "cannot read " EPHEMERAL "; name the ports with --own-ports");
	if (first > FIRST_PORT)
		add_range(p, FIRST_PORT, first - 1);
	add_range(p, MAX(last + 1, FIRST_PORT), LAST_PORT);
	if (p->n_ranges)
		return 0;
	return fail(err, err_size,
		    "no port is left to copy from: this host's own connections may have all of %u-%u "
		    "(" EPHEMERAL "); narrow that range, or name ports with --own-ports",
		    FIRST_PORT, LAST_PORT);
}

static bool on_listener(const struct endpoint *local, const struct endpoint *remote, void *plan)
{
	(void)remote;
	set_usable(plan, local->port, false);
	return true;
}

static bool on_connection(const struct endpoint *local, const struct endpoint *remote, void *plan)
{
	struct plan *p = plan;

	for (unsigned i = 0; i < p->n_places; i++)
		if (endpoint_eq(&p->place[i].target, remote))
			set_usable(p, local->port, false);
	return true;
}

void plan_without(struct plan *p, uint16_t port)
{
	set_usable(p, port, false);
}

void plan_most(struct plan *p, unsigned most)
{
	unsigned left = p->n_ports > most ? p->n_ports - most : 0;

	for (unsigned port = 0; port <= LAST_PORT && left; port++)
		if (plan_usable(p, (uint16_t)port)) {
			set_usable(p, port, false);
			left--;
		}
	for (unsigned i = 0; i < p->n_ranges; i++) {
		struct port_range *r = &p->range[i];

		while (r->first < r->last && !plan_usable(p, r->first))
			r->first++;
		if (!plan_usable(p, r->first))
			p->range[i--] = p->range[--p->n_ranges];
	}
}

static int choose_ports(struct plan *p, char *err, size_t err_size)
{
	const struct config *c = p->config;

	for (unsigned i = 0; i < c->n_own_ranges; i++)
		add_range(p, c->own_range[i].first, c->own_range[i].last);
	if (!c->n_own_ranges && default_ranges(p, err, err_size))
		return -1;
	if (sockets_listening(0, on_listener, p) || sockets_connected(0, on_connection, p))
		return fail(err, err_size, "cannot list the sockets of this host: %s", strerror(errno));
	for (unsigned i = 0; i < c->n_rules; i++)
		set_usable(p, c->rules[i].online_port, false);
	if (c->own_ports && !c->n_own_ranges)
		plan_most(p, c->own_ports);
	if (p->n_ports >= c->run.workers)
		return 0;
	return fail(err, err_size,
		    "--own-ports: programs of this host have all of these ports; name others, A-B");
}

/* --- the rate of the answers --- */

#define MBIT 1000000ull /* bits/s */
#define LINK_UNKNOWN (1000 * MBIT)

/* A tenth of the slowest link by which answers come. Those of a target on this host come by none. */
static void choose_rate(struct plan *p)
{
	uint64_t slowest = 0;

	p->max_answers = p->config->max_answers;
	if (p->max_answers != UINT64_MAX)
		return;
	for (unsigned i = 0; i < p->n_places; i++) {
		struct route_info route;
		uint64_t speed;

		if (route_lookup(&route, &p->place[i].target.addr) || route.local)
			continue;
		speed = link_speed(route.interface) * MBIT;
		if (!speed)
			speed = LINK_UNKNOWN;
		slowest = slowest ? MIN(slowest, speed) : speed;
	}
	p->max_answers = slowest / 10;
}

int plan_make(struct plan *p, const struct config *c, char *err, size_t err_size)
{
	*p = (struct plan){ .config = c };
	for (unsigned i = 0; i < c->n_rules; i++)
		if (add_rule(p, i, err, err_size))
			return -1;
	choose_rate(p);
	return choose_ports(p, err, err_size);
}

void plan_only(struct plan *p, uint16_t port)
{
	memset(p->usable, 0, sizeof(p->usable));
	p->n_ports = p->n_ranges = 0;
	add_range(p, port, port);
}

/* --- words --- */

int plan_filter(const struct plan *p, char *out, size_t size)
{
	char target[ADDR_TEXT_LEN], own[ADDR_TEXT_LEN];
	size_t n = (size_t)snprintf(out, size, "tcp and (");

	for (unsigned i = 0; i < p->n_ranges && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%sdst portrange %u-%u", i ? " or " : "",
				      p->range[i].first, p->range[i].last);
	for (unsigned i = 0; i < p->n_places && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%ssrc host %s and src port %u and dst host %s",
				      i ? ") or (" : ") and ((",
				      addr_format(target, sizeof(target), &p->place[i].target.addr),
				      p->place[i].target.port,
				      addr_format(own, sizeof(own), &p->place[i].own));
	if (n < size)
		n += (size_t)snprintf(out + n, size - n, "))");
	return n < size ? 0 : -1;
}

char *plan_ports_format(const struct plan *p, char buf[PLAN_PORTS_TEXT])
{
	size_t n = 0;

	for (unsigned i = 0; i < p->n_ranges; i++)
		n += (size_t)snprintf(buf + n, PLAN_PORTS_TEXT - n, "%s%u-%u", i ? " and " : "",
				      p->range[i].first, p->range[i].last);
	return buf;
}

void plan_log(const struct plan *p)
{
	char target[ENDPOINT_TEXT_LEN], own[ADDR_TEXT_LEN], ports[PLAN_PORTS_TEXT];

	for (unsigned i = 0; i < p->n_places; i++)
		log_info("answers of %s come back to this host, to %s",
			 endpoint_format(target, sizeof(target), &p->place[i].target),
			 addr_format(own, sizeof(own), &p->place[i].own));
	log_info(
		"targets see this host's address, not the clients': %u sessions at once from each address to "
		"each target, from ports %s",
		p->n_ports, plan_ports_format(p, ports));
	if (p->max_answers)
		log_info(
			"the answers take bandwidth of this host: while more than %.0f Mbit/s come in, no session "
			"begins (--max-answers)",
			(double)p->max_answers / MBIT);
	else
		log_info("the answers come in here at any rate (--max-answers)");
}
