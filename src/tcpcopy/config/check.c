/*
 * Does the configuration make sense as a whole, and on this host?
 *
 * Set-up is where replication fails most often, and it nearly always fails silently: packets leave, and
 * nothing comes back. So whatever is known to fail is refused here, before anything is captured, with the
 * option, the value and the reason. In: a configuration whose elements are each valid; it is not changed.
 * This host is asked for its addresses and interfaces, which needs no privilege.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "io/inject/route.h"
#include "io/capture/source.h"
#include "tcpcopy/config/parts.h"

/* The least MTU of a link that carries IPv6 (RFC 8200, 5). */
#define IPV6_MTU_MIN 1280
#define WORKER_MEMORY_MIN (1u << 20)

/* Returns 2, the status to exit with. */
static int refuse(const char *fmt, ...) PRINTF_LIKE(1, 2);

static int refuse(const char *fmt, ...)
{
	va_list ap;

	fputs("tcpcopy: option ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 2;
}

static bool same_family(const struct addr *a, const struct addr *b)
{
	return addr_is_v4(a) == addr_is_v4(b);
}

static bool is_link_local(const struct addr *a)
{
	return !addr_is_v4(a) && a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

/* What keeps @a from being the address of one host that routes lead to; NULL: nothing. */
static const char *not_unicast(const struct addr *a)
{
	if (addr_is_any(a))
		return "is not the address of a host";
	if (addr_is_multicast(a))
		return "is a multicast or broadcast address";
	if (is_link_local(a))
		return "is a link-local address, which means nothing without its interface";
	return NULL;
}

/* Copies that go to the online port itself would be captured and copied again, were they not left out. */
static int check_own_target(const struct config *c, const struct rule *rule)
{
	if (!c->n_read && !rule->has_online_addr && rule->target.port == rule->online_port &&
	    (addr_is_loopback(&rule->target.addr) || route_is_local(&rule->target.addr)))
		return refuse("-x \"%s\": the target is the online server itself, a port of this host; "
			      "accepted: another port, or a target on another host",
			      rule->text);
	return 0;
}

static int check_rule(const struct config *c, const struct rule *rule)
{
	char text[ADDR_TEXT_LEN];
	const char *why;

	if (rule->has_online_addr) {
		const struct endpoint online = { rule->online_addr, rule->online_port };

		addr_format(text, sizeof(text), &online.addr);
		why = not_unicast(&online.addr);
		if (why)
			return refuse("-x \"%s\": the online address %s %s; accepted: an address of "
				      "the online server, or none for all of its addresses",
				      rule->text, text, why);
		if (!same_family(&online.addr, &rule->target.addr))
			return refuse("-x \"%s\": one address is IPv4 and the other IPv6, but a copy keeps "
				      "its client's address; accepted: two addresses of the same family",
				      rule->text);
		if (!c->n_read && endpoint_eq(&online, &rule->target))
			return refuse("-x \"%s\": the target is the online server itself; accepted: "
				      "a target on another host",
				      rule->text);
		if (addr_is_loopback(&online.addr) && c->n_pool == 0 && c->way_back != RETURN_OWN)
			return refuse("-x \"%s\": clients of %s have loopback addresses, which the target "
				      "drops and cannot answer; accepted: an address that other hosts can "
				      "reach, or client addresses given with -c",
				      rule->text, text);
	}

	addr_format(text, sizeof(text), &rule->target.addr);
	why = not_unicast(&rule->target.addr);
	if (why)
		return refuse("-x \"%s\": the target address %s %s; accepted: the address of another "
			      "host",
			      rule->text, text, why);
	if (c->way_back == RETURN_OWN)
		return check_own_target(c, rule);
	if (addr_is_loopback(&rule->target.addr) || route_is_local(&rule->target.addr))
		return refuse("-x \"%s\": the target address %s belongs to this very host, so the responses "
			      "would go straight to the real clients; accepted: a target on another host, or "
			      "no -s",
			      rule->text, text);
	return 0;
}

/*
 * Two rules for one request. Rules of different families never meet: an IPv4 request can only go to
 * an IPv4 target, so 80-192.0.2.7:80,80-[2001:db8::7]:80 is a host with both.
 */
static bool rules_overlap(const struct rule *a, const struct rule *b)
{
	return a->online_port == b->online_port && same_family(&a->target.addr, &b->target.addr) &&
	       (!a->has_online_addr || !b->has_online_addr || addr_eq(&a->online_addr, &b->online_addr));
}

static int check_overlap(const struct config *c, const struct rule *rule, const struct rule *before)
{
	if (!rules_overlap(rule, before))
		return 0;
	if (c->targets.mode == TARGETS_ONE)
		return refuse("-x \"%s\": requests to port %u already match the rule \"%s\"; "
			      "accepted: one target per online address and port, or --targets all, which "
			      "sends each session to all of them, or --targets spread, which divides them",
			      rule->text, rule->online_port, before->text);
	if (endpoint_eq(&rule->target, &before->target))
		return refuse("-x \"%s\": has the same target as the rule \"%s\"; accepted: each target "
			      "once, and -n for several copies",
			      rule->text, before->text);
	return 0;
}

/* Is what is said of several targets for the same requests of any use? */
static int check_targets(const struct config *c)
{
	bool several = false;

	for (unsigned i = 0; i < c->n_rules; i++) {
		if (c->rules[i].weight && c->targets.mode != TARGETS_SPREAD)
			return refuse(
				"-x \"%s\": a weight is for --targets spread; accepted: with that, or a "
				"rule without /%u",
				c->rules[i].text, c->rules[i].weight);
		for (unsigned j = 0; j < i; j++)
			several |= rules_overlap(&c->rules[i], &c->rules[j]);
	}
	if (c->targets.mode != TARGETS_ONE && !several)
		return refuse(
			"--targets: no two rules of -x are for the same requests; accepted: with such rules, "
			"as in -x 80-192.0.2.7:80,80-192.0.2.8:80");
	if (c->has_spread_by && c->targets.mode != TARGETS_SPREAD)
		return refuse("--spread-by: says how --targets spread divides sessions; accepted: with that");
	return 0;
}

static int check_rules(const struct config *c)
{
	unsigned i, j;

	for (i = 0; i < c->n_rules; i++) {
		const struct rule *rule = &c->rules[i];

		if (check_rule(c, rule) != 0)
			return 2;
		for (j = 0; j < i; j++)
			if (check_overlap(c, rule, &c->rules[j]))
				return 2;
		if (c->mtu && c->mtu < IPV6_MTU_MIN && !addr_is_v4(&rule->target.addr))
			return refuse("-M \"%u\": too small for the IPv6 target of \"%s\"; accepted: "
				      "%d to 65535 bytes with IPv6",
				      c->mtu, rule->text, IPV6_MTU_MIN);
	}
	return 0;
}

static int check_assistants(const struct config *c)
{
	unsigned i, j;

	for (i = 0; i < c->n_assistants; i++) {
		const struct assistant_address *assistant = &c->assistants[i];
		const char *why = not_unicast(&assistant->at.addr);

		if (why)
			return refuse("-s \"%s\": this %s; accepted: the address of an assistant "
				      "server, where intercept runs",
				      assistant->text, why);
		for (j = 0; j < i; j++)
			if (endpoint_eq(&assistant->at, &c->assistants[j].at))
				return refuse("-s \"%s\": the same assistant as \"%s\"; accepted: each "
					      "assistant once",
					      assistant->text, c->assistants[j].text);
	}
	return 0;
}

static int refuse_pool_holds(const char *typed, const struct prefix *p, const struct addr *a,
			     const char *what)
{
	char pool[PREFIX_TEXT_LEN], text[ADDR_TEXT_LEN];

	return refuse("-c \"%s\": %s contains %s, which is %s; accepted: addresses that no host "
		      "uses and that the target routes to the assistant",
		      typed, config_prefix_format(pool, sizeof(pool), p), addr_format(text, sizeof(text), a),
		      what);
}

static int check_pool_prefix(const struct config *c, unsigned index, const struct ifaddrs *local)
{
	const struct prefix *p = &c->pool[index];
	const char *typed = c->pool_text[index], *why = not_unicast(&p->addr);
	const struct ifaddrs *ifa;
	struct endpoint e;
	bool used = false;
	unsigned i;

	if (why)
		return refuse("-c \"%s\": this %s; accepted: addresses of hosts", typed, why);
	if (addr_is_loopback(&p->addr))
		return refuse("-c \"%s\": the target cannot answer loopback addresses; accepted: "
			      "addresses that the target routes to the assistant",
			      typed);
	for (ifa = local; ifa; ifa = ifa->ifa_next)
		if (ifa->ifa_addr && addr_from_sockaddr(&e, ifa->ifa_addr) && prefix_contains(p, &e.addr))
			return refuse_pool_holds(typed, p, &e.addr, "an address of this host");
	for (i = 0; i < c->n_assistants; i++)
		if (prefix_contains(p, &c->assistants[i].at.addr))
			return refuse_pool_holds(typed, p, &c->assistants[i].at.addr,
						 "the assistant's address");
	for (i = 0; i < c->n_rules; i++) {
		const struct rule *rule = &c->rules[i];

		if (prefix_contains(p, &rule->target.addr))
			return refuse_pool_holds(typed, p, &rule->target.addr, "the target's address");
		if (rule->has_online_addr && prefix_contains(p, &rule->online_addr))
			return refuse_pool_holds(typed, p, &rule->online_addr, "the online server's address");
		used |= same_family(&p->addr, &rule->target.addr);
	}
	if (!used)
		return refuse("-c \"%s\": no rule has a target of this address family; accepted: "
			      "%s addresses",
			      typed, addr_is_v4(&p->addr) ? "IPv6" : "IPv4");
	return 0;
}

/* Without an assistant only this host gets the answers. */
static int check_own_pool(const struct config *c)
{
	for (unsigned i = 0; i < c->n_pool; i++) {
		const struct prefix *p = &c->pool[i];
		char text[PREFIX_TEXT_LEN];

		config_prefix_format(text, sizeof(text), p);
		if (p->len != 128 && !addr_is_loopback(&p->addr))
			return refuse(
				"-c \"%s\": %s is more than one address; accepted without -s: addresses "
				"of this host, and ranges of 127.0.0.0/8",
				c->pool_text[i], text);
		if (!addr_is_loopback(&p->addr) && !route_is_local(&p->addr))
			return refuse("-c \"%s\": not an address of this host, so the target's answers would "
				      "not come here; accepted without -s: addresses of this host",
				      c->pool_text[i]);
	}
	return 0;
}

static int check_pool(const struct config *c)
{
	struct ifaddrs *local = NULL;
	unsigned i;
	int rc = 0;

	if (c->n_pool == 0)
		return c->sticky
			       ? refuse("--sticky: is for the addresses of -c, and there are none; accepted: with -c")
			       : 0;
	if (c->way_back == RETURN_OWN)
		return check_own_pool(c);
	if (getifaddrs(&local) < 0)
		return refuse("-c: cannot list the addresses of this host: %s", strerror(errno));
	for (i = 0; i < c->n_pool && rc == 0; i++)
		rc = check_pool_prefix(c, i, local);
	freeifaddrs(local);
	return rc;
}

/* The probe uses this client's address, so the answer to it must not arrive at one of our own hosts. */
static int check_probe_from(const struct config *c)
{
	const struct addr *a = &c->probe_from.addr;
	const char *why = not_unicast(a);
	bool family = false, host;

	if (!c->has_probe_from)
		return 0;
	host = route_is_local(a);
	for (unsigned i = 0; i < c->n_rules; i++) {
		family |= same_family(a, &c->rules[i].target.addr);
		host |= addr_eq(a, &c->rules[i].target.addr);
	}
	for (unsigned i = 0; i < c->n_assistants; i++)
		host |= addr_eq(a, &c->assistants[i].at.addr);
	if (!why && addr_is_loopback(a))
		why = "is a loopback address";
	if (!why && host)
		why = "is the address of this host, of a target or of an assistant";
	if (!why && !family)
		why = "is not of the address family of any target";
	return why ? refuse("--probe-from \"%s\": this %s; accepted: the address of a client",
			    c->probe_from_text, why)
		   : 0;
}

static int check_interfaces(const struct config *c)
{
	char list[512] = "";
	struct if_nameindex *all, *it;
	size_t used = 0;
	unsigned i;

	for (i = 0; i < c->n_interfaces; i++)
		if (if_nametoindex(c->interfaces[i]) == 0)
			break;
	if (i == c->n_interfaces)
		return 0;

	all = if_nameindex();
	for (it = all; it && it->if_index && used < sizeof(list); it++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "",
					 it->if_name);
	if (all)
		if_freenameindex(all);
	return refuse(
		"-i \"%s\": there is no such interface, and no file of that name that can be read; accepted: %s, or a file",
		c->interfaces[i], list);
}

static int check_filter(const struct config *c)
{
	char err[sizeof(c->filter) + 256], whole[CONFIG_FILTER_SIZE];

	if (c->filter[0] == '\0')
		return 0;
	/* It is valid, but may match none of the rules' packets; libpcap notices most such cases. */
	config_capture_filter(c, whole, sizeof(whole));
	if (capture_check_filter(whole, err, sizeof(err)) < 0)
		return refuse(
			"-F \"%s\": contradicts the rules: %s; accepted: a filter that some requests match",
			c->filter, err);
	return 0;
}

static int check_memory(const struct config *c)
{
	if (c->memory / c->run.workers >= WORKER_MEMORY_MIN)
		return 0;
	return refuse("-m \"%lluM\": too little for the %u workers that share it; accepted: %uM or more",
		      (unsigned long long)c->memory >> 20, c->run.workers, c->run.workers);
}

static int check_own(const struct config *c)
{
	if (c->way_back == RETURN_OWN && c->secret)
		return refuse(
			"--secret: is for the connection to an assistant, and there is none without -s");
	if (c->way_back != RETURN_OWN && (c->n_own_ranges || c->own_ports))
		return refuse(
			"--own-ports: with an assistant copies go from the clients' ports; accepted: without -s");
	if (c->way_back != RETURN_OWN && c->max_answers != UINT64_MAX)
		return refuse("--max-answers: answers come to the assistant; accepted: without -s");
	return 0;
}

int config_check(const struct config *c)
{
	if (check_rules(c) || check_targets(c) || check_assistants(c) || check_pool(c) ||
	    check_interfaces(c) || check_own(c) || check_probe_from(c) || check_memory(c))
		return 2;
	return check_filter(c);
}
