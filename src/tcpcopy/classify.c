/*
 * Classification - theory of operation
 *
 * The kernel's filter has let in what goes to an online port; here each segment finds the rules that it is
 * for. A rule with an online address wants that address; one without wants its target's address family,
 * since a client's address is kept and so the family cannot change. Pure.
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

unsigned classify(const struct config *c, struct classify_counters *n, const struct segment *s,
		  unsigned rule[CONFIG_MAX_RULES])
{
	unsigned count = 0;

	for (unsigned i = 0; i < c->n_rules; i++)
		if (rule_wants(&c->rules[i], s))
			rule[count++] = i;
	if (!count) {
		n->no_rule++;
		return 0;
	}
	if (addr_is_loopback(&s->tuple.src.addr) && !c->n_pool) {
		n->loopback_source++;
		return 0;
	}
	n->given++;
	n->given_again += count - 1;
	return count;
}
