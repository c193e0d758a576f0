/*
 * Why is nothing captured for a rule? - theory of operation
 *
 * In: the rule, and the sockets that this host has with its port. Out: one finding. Somebody has to
 * listen, unless netfilter hands the connections on to a container; and the clients that are connected
 * have to be those that the rule means: of its address family, on its address, not over 127.0.0.1, and
 * let in by -F and -i. Where all that is so and nothing comes, the clients are idle, and nothing is
 * said. --check asks when its two seconds are over, a running tcpcopy after some seconds.
 */
#include "tcpcopy/check/unheard.h"

#include <stdio.h>

#include "io/host/sockets.h"
#include "packet/addr.h"

struct sockets {
	const struct rule *rule;
	unsigned listening; /* that the rule's requests reach */
	unsigned elsewhere; /* that they do not */
	/* of the clients: on the rule's address, over 127.0.0.1, of the other address family */
	unsigned meant, loopback, other_family;
	struct endpoint at, client; /* the newest of each kind that is asked for */
};

static bool right_family(const struct rule *rule, const struct addr *local)
{
	return addr_is_v4(local) == addr_is_v4(&rule->target.addr);
}

bool unheard_reached(const struct rule *rule, const struct addr *listener)
{
	if (addr_is_any(listener)) /* [::] takes IPv4 as well */
		return addr_is_v4(&rule->target.addr) || !addr_is_v4(listener);
	if (rule->has_online_addr)
		return addr_eq(listener, &rule->online_addr);
	return right_family(rule, listener) && !addr_is_loopback(listener);
}

static bool on_listener(const struct endpoint *local, const struct endpoint *remote, void *arg)
{
	struct sockets *s = arg;
	const bool reached = unheard_reached(s->rule, &local->addr);

	(void)remote;
	s->listening += reached;
	s->elsewhere += !reached;
	if (!reached)
		s->at = *local;
	return true;
}

static bool on_client(const struct endpoint *local, const struct endpoint *remote, void *arg)
{
	struct sockets *s = arg;

	if (s->rule->has_online_addr && !addr_eq(&local->addr, &s->rule->online_addr))
		return true;
	if (addr_is_loopback(&remote->addr) && !s->rule->has_online_addr)
		s->loopback++;
	else if (!s->rule->has_online_addr && !right_family(s->rule, &local->addr))
		s->other_family++;
	else
		s->meant++;
	s->client = *remote;
	return true;
}

static void nobody_listens(struct check_result *r, const struct sockets *s, bool elsewhere, char *const *argv)
{
	const struct rule *rule = s->rule;
	int pid = elsewhere ? sockets_listener_in_container(rule->online_port) : 0;
	char command[700], at[ENDPOINT_TEXT_LEN];

	if (pid) {
		check_text(r, CHECK_BROKEN,
			   "nothing on this host listens on port %u, but process %d in a container does: its "
			   "requests are addressed to the container, so tcpcopy has to run there",
			   rule->online_port, pid);
		check_cure(r, "this host", "nsenter -t %d -n %s", pid,
			   check_command(command, sizeof(command), argv,
					 (const char *const[]){ "--check", NULL }, NULL));
		return;
	}
	if (s->elsewhere)
		check_text(r, CHECK_BROKEN,
			   "on port %u only %s listens, which the requests of \"%s\" do not reach",
			   rule->online_port, endpoint_format(at, sizeof(at), &s->at), rule->text);
	else
		check_text(
			r, CHECK_BROKEN,
			"nothing on this host listens on port %u, and no request arrived: tcpcopy belongs on the "
			"host that serves the clients",
			rule->online_port);
	check_cure(r, "this host", "ss -ltnp sport = :%u", rule->online_port);
}

char *unheard_own_client(char *buf, size_t size, const struct rule *rule, const struct addr *own)
{
	char at[ADDR_TEXT_LEN];

	snprintf(
		buf, size,
		"the clients of port %u are on this host itself (%s), where the target's responses to them go: copy "
		"them from other addresses, to which the target needs a route: -c ADDRESSES",
		rule->online_port, addr_format(at, sizeof(at), own));
	return buf;
}

/* Does another rule take the clients that this one does not mean, or has one that it means been named? */
static bool others_are_meant(const struct config *c, const struct rule *rule)
{
	for (unsigned i = 0; i < c->n_rules; i++)
		if (&c->rules[i] != rule && c->rules[i].online_port == rule->online_port)
			return true;
	return c->has_probe_from && right_family(rule, &c->probe_from.addr);
}

bool unheard_diagnose(struct check_result *r, const struct config *c, const struct rule *rule, bool published,
		      bool elsewhere, char *const *argv)
{
	struct sockets s = { .rule = rule };
	char target[ADDR_TEXT_LEN], client[ENDPOINT_TEXT_LEN];
	bool v4 = addr_is_v4(&rule->target.addr);

	*r = (struct check_result){ 0 };
	sockets_connected(rule->online_port, on_client, &s);
	sockets_listening(rule->online_port, on_listener, &s);
	if (!s.listening && !s.loopback && !s.other_family) {
		if (published)
			return false;
		nobody_listens(r, &s, elsewhere, argv);
		return true;
	}
	if (s.meant && c->filter[0]) {
		check_text(
			r, CHECK_BROKEN,
			"%u client%s connected to port %u, and the filter -F \"%s\" let none of their packets "
			"pass: it has to match requests, whose destination is port %u",
			s.meant, s.meant == 1 ? " is" : "s are", rule->online_port, c->filter,
			rule->online_port);
		check_cure(r, "this host", "tcpdump -c 3 -ni any 'tcp and dst port %u and (%s)'",
			   rule->online_port, c->filter);
		return true;
	}
	if (s.meant || others_are_meant(c, rule))
		return false;
	addr_format(target, sizeof(target), &rule->target.addr);
	if (s.other_family) {
		check_text(
			r, CHECK_BROKEN,
			"the clients of port %u speak %s, but the rule \"%s\" is for %s, as its target's address is: "
			"name the target by an %s address (client %s)",
			rule->online_port, v4 ? "IPv6" : "IPv4", rule->text, v4 ? "IPv4" : "IPv6",
			v4 ? "IPv6" : "IPv4", endpoint_format(client, sizeof(client), &s.client));
		check_cure(r, "the target", "ip -%u address", v4 ? 6 : 4);
		return true;
	}
	if (!s.loopback)
		return false;
	check_text(
		r, CHECK_BROKEN,
		"the clients of port %u connect over loopback (%s), which the rule \"%s\" leaves out: give it the "
		"online address, and the copies other source addresses, to which the target needs a route: "
		"-x %s:%u-%s%s%s:%u -c ADDRESSES",
		rule->online_port, endpoint_format(client, sizeof(client), &s.client), rule->text,
		v4 ? "127.0.0.1" : "[::1]", rule->online_port, v4 ? "" : "[", target, v4 ? "" : "]",
		rule->target.port);
	return true;
}
