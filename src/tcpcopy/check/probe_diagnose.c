/*
 * Which hop is broken?
 *
 * In: what a probe has seen. Out: one line and its cure. Pure. What an assistant has found by itself comes
 * first: that it forwards, or that its own kernel answers, is certain whatever the probe saw. Then the hops
 * are examined in the order in which a packet passes them.
 *
 * If nothing came back, the answer to the assistant's own address decides, because it needs no route to the
 * client. If it arrives, the target is reachable and answers; only its response to the client goes astray, or
 * something drops the client's packet: a reverse path filter, or a firewall. If it does not arrive, packets
 * with another host's address are dropped on the way, by a router if there is one. What cannot be told apart
 * is named in the order in which it is worth trying, each with a command of its own; no command takes away
 * what may be right.
 */
#include <stdio.h>
#include <string.h>

#include "tcpcopy/check/firewall.h"
#include "tcpcopy/check/probe.h"
#include "tcpcopy/paths.h"

struct names {
	const struct probe_result *r;
	const struct config *c;
	char target[ADDR_TEXT_LEN], at[ENDPOINT_TEXT_LEN], source[ADDR_TEXT_LEN];
	char route[PREFIX_TEXT_LEN];   /* the prefix that the target has to route to the assistant */
	char assistant[ADDR_TEXT_LEN]; /* its address as the target reaches it */
	const struct msg_findings *f;  /* those of the assistant that choose() chose; never NULL */
};

/* The assistant to report on: one that received something, else the first that answered. */
static const struct msg_findings *choose(const struct probe_result *r, const struct config *c,
					 unsigned *assistant)
{
	static const struct msg_findings none;
	const struct msg_findings *best = &none;

	*assistant = 0;
	for (unsigned i = 0; i < c->n_assistants; i++) {
		if (!r->has_found[i] || (best != &none && (best->arrived || !r->found[i].arrived)))
			continue;
		best = &r->found[i];
		*assistant = i;
	}
	return best;
}

static void name(struct names *n, const struct probe_result *r, const struct config *c)
{
	struct prefix own = { r->source.addr, 128 };
	unsigned assistant;

	n->r = r;
	n->c = c;
	n->f = choose(r, c, &assistant);
	for (unsigned i = 0; i < c->n_pool; i++)
		if (prefix_contains(&c->pool[i], &r->source.addr))
			own = c->pool[i];
	addr_format(n->target, sizeof(n->target), &r->target.addr);
	endpoint_format(n->at, sizeof(n->at), &r->target);
	addr_format(n->source, sizeof(n->source), &r->source.addr);
	config_prefix_format(n->route, sizeof(n->route), &own);
	/* Its address on the target's own link is the better one, provided that it captures there. */
	addr_format(n->assistant, sizeof(n->assistant),
		    addr_is_any(&n->f->address) || (n->f->facts & FINDING_UNCAPTURED)
			    ? &c->assistants[assistant].at.addr
			    : &n->f->address);
}

static void not_sent(struct check_result *out, const struct names *n)
{
	if (n->r->refused == SINK_PERM && n->r->tracking_full) {
		check_text(out, CHECK_BROKEN,
			   "connection tracking of this host is full, so netfilter drops packets to %s",
			   n->at);
		firewall_untrack(out, &n->r->target);
		return;
	}
	if (n->r->refused == SINK_PERM) {
		check_text(
			out, CHECK_BROKEN,
			"netfilter on this host drops or rejects the SYN to %s: a rule for what it sends does "
			"that (--inject link passes none of them)",
			n->at);
		firewall_let_out(out, &n->r->target);
		return;
	}
	check_text(out, CHECK_BROKEN, "this host cannot send to %s: %s", n->at,
		   sink_error_text(n->r->refused));
	check_cure(out, "this host", "ip route get %s", n->target);
}

static void not_listening(struct check_result *out, const struct names *n)
{
	check_text(out, CHECK_BROKEN,
		   "nothing listens on %s: the target answers with a reset (a service bound to 127.0.0.1 "
		   "cannot be reached; it has to listen on %s or on all addresses)",
		   n->at, n->target);
	check_cure(out, "the target", "ss -ltnp sport = :%u", n->r->target.port);
}

/* What is certain without any packet. */
static bool assistant_is_wrong(struct check_result *out, const struct names *n)
{
	for (unsigned i = 0; i < n->c->n_assistants; i++) {
		const struct msg_findings *f = &n->r->found[i];
		const char *text = n->c->assistants[i].text;

		if (!n->r->has_found[i])
			continue;
		if ((f->facts & FINDING_FORWARDS) || f->forwarded) {
			check_text(out, CHECK_BROKEN,
				   "the assistant %s forwards the target's responses to the clients, which "
				   "reset them",
				   text);
			check_cure(out, "the assistant",
				   "sysctl -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
			return true;
		}
		if (f->facts & FINDING_CLIENT_HERE) {
			check_text(out, CHECK_BROKEN,
				   "%s is an address of the assistant %s itself, so its kernel resets the "
				   "responses",
				   n->source, text);
			check_cure(out, "the assistant", "ip address del %s/%u dev %s", n->source, f->prefix,
				   f->interface);
			return true;
		}
		if (f->answered) {
			check_text(out, CHECK_BROKEN,
				   "the kernel of the assistant %s resets the responses (is there a load "
				   "balancer or a proxy?)",
				   text);
			check_cure(out, "the assistant", "nft list ruleset; ipvsadm -Ln");
			return true;
		}
	}
	return false;
}

/*
 * An intercept on the target itself, whose responses leave for the clients. What would hold them back is a
 * device that leads nowhere, and an address of the target of which all that it sends goes there.
 */
static bool leaves_the_target(struct check_result *out, const struct names *n)
{
	if (!(n->f->facts & FINDING_SOURCE_HERE) || (n->f->facts & FINDING_HOLE))
		return false;
	check_text(
		out, CHECK_BROKEN,
		"intercept runs on the target itself, and its responses go on to the clients, which reset them; "
		"give the target a second address that no host has, name it in -x instead of %s, and let intercept "
		"take what is sent from there (or run intercept on a host of its own)",
		n->target);
	check_cure(out, "the target", "intercept --on-target SECOND-ADDRESS -d");
	return true;
}

static void torn(struct check_result *out, const struct names *n)
{
	if (leaves_the_target(out, n))
		return;
	check_text(
		out, CHECK_BROKEN,
		"the target answered, but then another host reset the connection: the responses also reach %s",
		n->source);
	check_cure(out, "the target", "ip route get %s", n->source);
}

/* The packets that arrive are smaller than those that the route promises. */
static bool narrow(struct check_result *out, const struct names *n)
{
	const struct probe_result *r = n->r;
	const uint32_t takes = r->takes ? r->takes : 576;
	char cure[200];

	if (!r->large || r->takes == r->large || (!r->takes && !r->small_takes))
		return false;
	check_text(
		out, CHECK_WARNING,
		"%s answered, but packets of %u bytes do not arrive there, and those of %u do: a link on the way "
		"takes less than this host's route says. tcpcopy finds that out by itself and cuts the copies, but "
		"a packet is lost for it every 10 minutes",
		n->at, r->large,
		r->takes                      ? r->takes
		: addr_is_v4(&r->target.addr) ? 40
					      : 60);
	check_cure(out, "this host", "%s", paths_cure(cure, sizeof(cure), &r->target.addr, &r->route, takes));
	return true;
}

/* Without an assistant: what somebody on the way, or this host, has done to the answer. */
static bool own_came_back(struct check_result *out, const struct names *n)
{
	if (n->c->way_back != RETURN_OWN)
		return false;
	if (n->r->torn) {
		check_text(
			out, CHECK_BROKEN,
			"%s answered this host's port %u, but then the connection was reset: by this host, or "
			"by something on the way that keeps track of connections",
			n->at, n->r->source.port);
		check_cure(out, "this host", "nft list ruleset");
	} else if (!narrow(out, n)) {
		check_text(out, CHECK_OK, "%s answered this host's port %u after %.1f ms", n->at,
			   n->r->source.port, (double)n->r->round_trip / 1e6);
	}
	return true;
}

static void own_astray(struct check_result *out, const struct names *n)
{
	check_text(
		out, CHECK_BROKEN,
		"%s answers an ordinary connection of this host, but not a packet from its port %u: this host "
		"rewrites that address for its own connections (a service address, a published port: name the "
		"real address and port with -x), or a firewall lets only some ports pass (--own-ports)",
		n->at, n->r->source.port);
	check_cure(out, "this host", "nft list ruleset; ip route get %s", n->target);
}

static void came_back(struct check_result *out, const struct names *n)
{
	if (own_came_back(out, n))
		return;
	if (n->r->torn) {
		torn(out, n);
	} else if (!n->c->n_pool && leaves_the_target(out, n)) {
		return; /* this client has not reset, which it may not do for long */
	} else if (n->r->ack_refused) {
		check_text(
			out, CHECK_BROKEN,
			"netfilter on this host lets the SYN to %s pass, but nothing after it (is there a rule "
			"that drops the state INVALID?)",
			n->at);
		firewall_untrack(out, &n->r->target);
	} else if (!narrow(out, n)) {
		check_text(out, CHECK_OK, "%s answered %s, and the assistant reported it after %.1f ms",
			   n->at, n->source, (double)n->r->round_trip / 1e6);
	}
}

static bool not_captured(struct check_result *out, const struct names *n)
{
	const struct msg_findings *f = n->f;
	const uint16_t port = n->r->target.port;

	if (f->arrived && !f->captured) {
		check_text(out, CHECK_BROKEN,
			   "the response reached the assistant %s on %s, where intercept does not capture",
			   n->assistant, f->interface);
		check_cure(out, "the assistant", "intercept -i %s -d", f->interface);
	} else if ((f->facts & FINDING_FILTERED) && (f->arrived || !(f->facts & FINDING_LOOKS))) {
		check_text(out, CHECK_BROKEN,
			   "the filter (-F) of intercept on %s does not match the responses", n->assistant);
		check_cure(out, "the assistant", "intercept -i %s -F tcp and src port %u -d", f->interface,
			   port);
	} else if (f->arrived) {
		check_text(out, CHECK_BROKEN,
			   "the response reached the assistant %s, but intercept did not report it",
			   n->assistant);
		check_cure(out, "the assistant", "pkill -USR1 intercept");
	} else {
		return false;
	}
	return true;
}

/* The target's kernel may compare where a packet comes from with its route there; IPv6 does not. */
static void then_reverse_path(struct check_result *out, const struct names *n)
{
	if (addr_is_v4(&n->r->target.addr))
		check_then(out, "sysctl -w net.ipv4.conf.all.rp_filter=2");
}

/* A packet from the assistant's own address was not answered either, or (not @tried) it could not be told. */
static void not_let_through(struct check_result *out, const struct names *n, bool tried)
{
	const struct probe_result *r = n->r;
	char gateway[ADDR_TEXT_LEN];

	if (tried && r->near_same_link) {
		check_text(
			out, CHECK_BROKEN,
			"the target answers this host, but not packets with another host's address (%s, %s): "
			"something on the way drops packets whose source is not their sender (in a cloud, "
			"disable the source/destination check of this instance; elsewhere, look for "
			"anti-spoofing at the switch port or in the container network; or lead the copies "
			"through a VXLAN to the target), or a firewall of the target drops them. To see whether "
			"such a packet arrives",
			n->source, n->assistant);
		check_cure(out, "the target", "timeout 10 tcpdump -ni any -c 1 host %s", n->source);
		firewall_let_in(out, "the target", &r->target, NULL, true);
		return;
	}
	if (tried && r->has_gateway && addr_is_v4(&r->target.addr)) {
		check_text(
			out, CHECK_BROKEN,
			"the target answers this host, but not packets with another host's address (%s, %s): a "
			"router on the way, first of all %s, drops packets whose source is not behind the "
			"interface that they come by (its reverse path filter, or an access list); or the "
			"target's own reverse path filter does (sysctl -w net.ipv4.conf.all.rp_filter=2 there), "
			"or anti-spoofing (lead the copies through a VXLAN to the target)",
			n->source, n->assistant, addr_format(gateway, sizeof(gateway), &r->gateway));
		check_cure(out, "the router", "sysctl -w net.ipv4.conf.all.rp_filter=2");
		return;
	}
	check_text(
		out, CHECK_BROKEN,
		"nothing came back from %s for %s: the target has no route to the assistant, its reverse path "
		"filter drops the request, or a firewall drops packets from there (if none of these, look for an "
		"anti-spoofing filter on the way)",
		n->target, n->source);
	check_cure(out, "the target", "ip route replace %s via %s", n->route, n->assistant);
	then_reverse_path(out, n);
	firewall_let_in(out, "the target", &r->target, NULL, true);
}

/* A route names a neighbour as the next hop (ip-route(8): "Nexthop has invalid gateway"). */
static bool out_of_reach(struct check_result *out, const struct names *n)
{
	if (!(n->f->facts & FINDING_ROUTED))
		return false;
	check_text(
		out, CHECK_BROKEN,
		"the target answers this host, but its response to %s did not reach the assistant: %s is in another "
		"network than %s, so no route of the target can lead there: run intercept on a host of the target's "
		"own network, or on the target itself with a second address for it, named in -x",
		n->source, n->assistant, n->target);
	check_cure(out, "the target", "intercept --on-target SECOND-ADDRESS -d");
	return true;
}

/* The target answers this host, and not the client. */
static void astray(struct check_result *out, const struct names *n)
{
	const struct probe_result *r = n->r;
	const bool blind = n->f->facts & (FINDING_UNCAPTURED | FINDING_FILTERED);

	if (out_of_reach(out, n))
		return;
	if (!r->tried_near || !r->near || blind) {
		not_let_through(out, n, r->tried_near && !blind);
		return;
	}
	check_text(
		out, CHECK_BROKEN,
		"the target answers %s, but its response to %s did not reach the assistant: the host with the "
		"address %s (if that is a NAT or a load balancer, it, not a server behind it) has no route that "
		"leads it there, or %sa firewall, there or on the way, drops packets from %s",
		n->assistant, n->source, n->target,
		!addr_is_v4(&r->target.addr) || r->near_same_link ? ""
		: r->has_gateway ? "its reverse path filter or that of a router drops the request, or "
				 : "its reverse path filter drops the request, or ",
		n->source);
	check_cure(out, "the target", "ip route replace %s via %s", n->route, n->assistant);
	if (!r->near_same_link)
		then_reverse_path(out, n);
	firewall_let_in(out, "the target", &r->target, NULL, true);
}

/* Answers to this host itself have reached the assistant. */
static void covered(struct check_result *out, const struct names *n)
{
	char own[ADDR_TEXT_LEN];

	addr_format(own, sizeof(own), &n->r->plain_source);
	if (!n->r->served) {
		check_text(
			out, CHECK_BROKEN,
			"nothing on this host (%s) listens on port %u, and the target leads its responses to this "
			"host to the assistant, as it has to for a client: tcpcopy belongs on the host that serves "
			"the clients, not on a client's",
			own, n->r->online_port);
		check_cure(out, "this host", "ss -ltnp sport = :%u", n->r->online_port);
		return;
	}
	check_text(
		out, CHECK_BROKEN,
		"the target's route to the assistant also covers this host (%s): it has to lead only clients' "
		"addresses there%s",
		own,
		n->r->near_same_link ? "" : " (GATEWAY is the router by which the target reaches this host)");
	if (n->r->near_same_link)
		check_cure(out, "the target",
			   "ip route replace %s dev $(ip -o route get %s | sed 's/.* dev //;s/ .*//')", own,
			   n->assistant);
	else
		check_cure(out, "the target", "ip route replace %s via GATEWAY", own);
}

/* The assistant has seen the answer come from another address than the target's. */
static bool translated(struct check_result *out, const struct names *n)
{
	if (!(n->f->facts & FINDING_OTHER_SOURCE))
		return false;
	check_text(out, CHECK_BROKEN,
		   "%s was answered from another address than %s, which therefore belongs to a NAT or a load "
		   "balancer: name the address and port of the server behind it in -x. To see that address",
		   n->source, n->at);
	check_cure(out, "the assistant", "timeout 10 tcpdump -ni any -c 1 tcp and dst host %s", n->source);
	return true;
}

static void nothing_back(struct check_result *out, const struct names *n)
{
	const struct probe_result *r = n->r;
	char by[ADDR_TEXT_LEN];

	if (translated(out, n))
		return;
	switch (r->plain) {
	case REACH_CONNECTED:
		if (n->c->way_back == RETURN_OWN)
			own_astray(out, n);
		else
			astray(out, n);
		break;
	case REACH_RESET:
		not_listening(out, n);
		break;
	case REACH_REFUSED:
		check_text(out, CHECK_BROKEN, "a firewall on %s refuses connections to %s",
			   addr_format(by, sizeof(by), &r->plain_by), n->at);
		firewall_let_in(out, "the target", &r->target, NULL, false);
		break;
	case REACH_SILENT:
		if (r->plain_covered) {
			covered(out, n);
			break;
		}
		check_text(
			out, CHECK_BROKEN,
			"%s answers nobody: a firewall, there or on the way, drops packets to this port, or the "
			"host is down, or the address is that of a NAT or a load balancer, whose servers answer "
			"from their own addresses (name the server's own one in -x)",
			n->at);
		firewall_let_in(out, "the target", &r->target, NULL, false);
		break;
	case REACH_NO_NEIGHBOUR:
		check_text(out, CHECK_BROKEN, "no host has the address %s, or it is down", n->target);
		check_cure(out, "the target", "ip address show");
		break;
	case REACH_FAILED:
		check_text(out, CHECK_BROKEN, "this host cannot connect to %s: %s", n->at,
			   strerror(r->plain_error));
		check_cure(out, "this host", "ip route get %s", n->target);
		break;
	}
}

void probe_diagnose(struct check_result *out, const struct probe_result *r, const struct config *c)
{
	struct names n;

	memset(out, 0, sizeof(*out));
	name(&n, r, c);
	if (!r->source.port && r->plain == REACH_CONNECTED)
		check_text(out, CHECK_OK, "%s answers this host", n.at);
	else if (!r->source.port)
		nothing_back(out, &n);
	else if (!r->sent)
		not_sent(out, &n);
	else if (assistant_is_wrong(out, &n))
		return;
	else if (r->reset)
		not_listening(out, &n);
	else if (r->answered)
		came_back(out, &n);
	else if (r->tried_plain && r->plain == REACH_RESET) /* whatever else is wrong as well */
		not_listening(out, &n);
	else if (!not_captured(out, &n))
		nothing_back(out, &n);
}
