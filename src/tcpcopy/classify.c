/*
 * Classification - theory of operation
 *
 * The kernel's filter has let in what goes to an online port; here each segment finds the rules that it is
 * for. A rule with an online address wants that address, whoever's it is. One without wants an address of
 * this host, because what the host only forwards is somebody else's: a request of a container to a service
 * outside is none of ours, and its payload is for a third party. And it wants its target's address family,
 * since a client's address is kept and so the family cannot change.
 *
 * With an assistant, a client on this host itself (a health check) is left out, unless -c gives its copies
 * other addresses: the target would answer them to this host, whose TCP would reset the copies.
 *
 * Of several rules for one request all take it, or, with --targets spread, the one that a hash names. Of what
 * is left, the choice takes its share (-r, -g).
 */
#include "tcpcopy/classify.h"

static bool rule_wants(const struct rule *r, const struct segment *s)
{
	if (s->tuple.dst.port != r->online_port)
		return false;
	if (r->has_online_addr)
		return addr_eq(&s->tuple.dst.addr, &r->online_addr);
	return addr_is_v4(&s->tuple.dst.addr) == addr_is_v4(&r->target.addr);
}

/* Of the @n rules the one to whose target the client's sessions go. */
static unsigned choose_target(const struct config *c, const struct endpoint *client, unsigned rule[],
			      unsigned n)
{
	uint32_t weight[CONFIG_MAX_RULES];

	for (unsigned i = 0; i < n; i++)
		weight[i] = c->rules[rule[i]].weight ? c->rules[rule[i]].weight : 1;
	rule[0] = rule[targets_choose(&c->targets, client, weight, n)];
	return 1;
}

unsigned classify(const struct config *c, struct local *local, struct classify_counters *n,
		  const struct choice *choice, const struct segment *s, bool looped, uint64_t now,
		  unsigned rule[CONFIG_MAX_RULES])
{
	unsigned count = 0, foreign = 0;

	for (unsigned i = 0; i < c->n_rules; i++)
		if (!rule_wants(&c->rules[i], s))
			continue;
		else if (!c->rules[i].has_online_addr && local && !local_has(local, &s->tuple.dst.addr, now))
			foreign++;
		else
			rule[count++] = i;
	if (!count && foreign) {
		n->foreign++;
		return 0;
	}
	if (!count) {
		n->no_rule++;
		return 0;
	}
	if (!c->n_pool && c->way_back != RETURN_OWN) {
		if (addr_is_loopback(&s->tuple.src.addr)) {
			n->loopback_source++;
			return 0;
		}
		if (looped && local && local_has(local, &s->tuple.src.addr, now)) {
			n->from_here++;
			return 0;
		}
	}
	if (choice && !choice_takes(choice, &s->tuple.src, now)) {
		n->not_chosen++;
		return 0;
	}
	if (count > 1 && c->targets.mode == TARGETS_SPREAD)
		count = choose_target(c, &s->tuple.src, rule, count);
	n->given++;
	n->given_again += count - 1;
	n->given_copies += (uint64_t)count * (copies_of(&c->copies, &s->tuple.src) - 1);
	return count;
}
