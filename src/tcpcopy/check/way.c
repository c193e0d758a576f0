/*
 * The ways from this host: which route leads to each target, and does every assistant answer?
 *
 * The route is looked up as injection looks it up. The assistants are connected through the channel itself,
 * whose words for a failure (version, secret, silence) are the finding. If TCP itself fails, an ordinary
 * connection tells a host without intercept from a firewall. The connections stay open for the probe.
 */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "io/inject/next_hop.h"
#include "io/host/reach.h"
#include "io/inject/route.h"
#include "tcpcopy/check/firewall.h"
#include "tcpcopy/check/parts.h"

/* A tunnel whose packets do not fit what carries them works, as long as fragments arrive. */
static bool say_tunnel(struct check_report *report, const struct route_info *route)
{
	struct check_result r = { 0 };
	struct route_info below;
	struct addr remote;
	uint32_t overhead;

	if (!route_interface_vxlan(route->ifindex, &remote, &overhead) || route_lookup(&below, &remote) ||
	    !below.mtu || route->mtu + overhead <= below.mtu)
		return false;
	check_text(
		&r, CHECK_WARNING,
		"%s is a tunnel whose packets of up to %u bytes do not fit the MTU of %s, %u: each large copy becomes "
		"fragments, which many networks drop",
		route->interface, route->mtu + overhead, below.interface, below.mtu);
	check_cure(&r, "this host", "ip link set %s mtu %u", route->interface, below.mtu - overhead);
	check_say(report, &r);
	return true;
}

static void say_route(struct check_report *report, const struct config *c, const struct rule *rule)
{
	static struct next_hops hops;
	struct check_result r = { 0 };
	struct route_info route;
	struct next_hop *hop;
	char to[ADDR_TEXT_LEN], via[ADDR_TEXT_LEN];

	addr_format(to, sizeof(to), &rule->target.addr);
	if (route_lookup(&route, &rule->target.addr) || route.unreachable) {
		check_text(&r, CHECK_BROKEN, "this host has no route to the target %s", to);
		check_cure(&r, "this host", "ip route add %s via GATEWAY", to);
		check_say(report, &r);
		return;
	}
	if (next_hops_open(&hops)) {
		check_note(report, CHECK_WARNING, "cannot read this host's neighbour table");
		return;
	}
	hop = next_hops_find(&hops, &rule->target.addr, 0);
	if (!hop->ethernet && c->inject == INJECT_LINK)
		check_note(report, CHECK_BROKEN,
			   "%s is not reached over Ethernet, which --inject=link requires: omit that option",
			   to);
	else if (!say_tunnel(report, &route))
		check_note(report, CHECK_OK, "%s through %s%s%s, %s, MTU %u", to, route.interface,
			   route.has_gateway ? " via " : "",
			   route.has_gateway ? addr_format(via, sizeof(via), &route.gateway) : "",
			   !hop->ethernet ? "not Ethernet, so through raw sockets"
			   : hop->usable  ? "neighbour known"
					  : "neighbour not resolved yet",
			   hop->mtu);
	next_hops_close(&hops);
}

void check_route(struct check_report *report, void *arg)
{
	const struct checking *k = arg;
	const struct config *c = k->config;

	for (unsigned i = 0; i < c->n_rules; i++) {
		unsigned j = 0;

		while (j < i && !addr_eq(&c->rules[j].target.addr, &c->rules[i].target.addr))
			j++;
		if (j == i)
			say_route(report, c, &c->rules[i]);
	}
}

static void cure_firewall(struct check_result *r, const struct endpoint *to)
{
	struct route_info route;

	firewall_let_in(r, "the assistant", to,
			!route_lookup(&route, &to->addr) && route.has_source ? &route.source : NULL, false);
}

static void say_unreachable(struct check_report *report, const struct check_assistant *p)
{
	const struct endpoint *to = &p->address->at;
	struct check_result r = { 0 };
	struct reach reach;
	char at[ENDPOINT_TEXT_LEN], by[ADDR_TEXT_LEN];

	endpoint_format(at, sizeof(at), to);
	if (route_is_local(&to->addr) && reach_try(&reach, to) != REACH_CONNECTED) {
		check_note(
			report, CHECK_BROKEN,
			"-s \"%s\" names this very host, and no intercept runs here: name the assistant, the host "
			"to which the target's route for the clients leads",
			p->address->text);
		return;
	}
	switch (reach_try(&reach, to)) {
	case REACH_CONNECTED:
		check_text(&r, CHECK_BROKEN, "%s accepts the connection, but: %s", at, p->why);
		if (!strstr(p->why, "secret")) /* the words say what to do */
			check_cure(&r, "the assistant", "ss -ltnp sport = :%u", to->port);
		break;
	case REACH_RESET:
		check_text(
			&r, CHECK_BROKEN,
			"%s: nothing listens there, so intercept is not running (or a firewall answers with a reset)",
			at);
		check_cure(&r, "the assistant",
			   to->port == CHANNEL_PORT ? "intercept -d" : "intercept -p %u -d", to->port);
		break;
	case REACH_REFUSED:
		addr_format(by, sizeof(by), &reach.by);
		check_text(&r, CHECK_BROKEN, "%s: a firewall on %s refuses this port", at, by);
		cure_firewall(&r, to);
		break;
	case REACH_SILENT:
		check_text(
			&r, CHECK_BROKEN,
			"%s does not answer: a firewall drops packets to this port, or there is no such host",
			at);
		cure_firewall(&r, to);
		break;
	case REACH_NO_NEIGHBOUR:
		check_text(&r, CHECK_BROKEN, "%s: no host has this address, or it is down", at);
		check_cure(&r, "the assistant", "ip address show");
		break;
	case REACH_FAILED:
		check_text(&r, CHECK_BROKEN, "%s: %s", at, strerror(reach.error));
		check_cure(&r, "this host", "ip route get %s", addr_format(by, sizeof(by), &to->addr));
		break;
	}
	check_say(report, &r);
}

static bool is_a_target(const struct config *c, const struct addr *a)
{
	for (unsigned i = 0; i < c->n_rules; i++)
		if (addr_eq(&c->rules[i].target.addr, a))
			return true;
	return false;
}

static void on_decided(struct checking *k)
{
	event_base_loopbreak(k->base);
}

void check_assistants(struct check_report *report, void *arg)
{
	struct checking *k = arg;
	const struct config *c = k->config;

	if (!c->n_assistants)
		return;
	check_live_connect(k, on_decided);
	event_base_dispatch(k->base);
	for (unsigned i = 0; i < c->n_assistants; i++) {
		struct check_assistant *p = &k->assistant[i];

		if (is_a_target(c, &p->address->at.addr))
			check_note(
				report, CHECK_OK,
				"%s is the target itself; whether its responses end there is seen by the probe",
				p->address->text);
		if (p->up)
			check_note(report, CHECK_OK, "%s: %s %s, protocol %u", p->address->text,
				   p->hello.program, p->hello.release, p->version);
		else
			say_unreachable(report, p);
	}
}
