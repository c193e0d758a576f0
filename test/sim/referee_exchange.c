/*
 * Simulator: the referee of exchanges - theory of operation
 *
 * The scenario knows how long each answer of each side was. A client that waits for its answers sends all
 * requests up to the next answer together, so these are one exchange, and so is a greeting. From that follows
 * how many exchanges there are and how many of them differ, where every connection was copied from its
 * beginning to its end, and nobody gave up on anything.
 */
#include "referee.h"

struct truth {
	uint64_t all, differ;
};

static void add_exchange(struct truth *t, uint64_t online, uint64_t target)
{
	t->all++;
	t->differ += online != target;
}

static void of_connection(const struct conn *c, struct truth *t)
{
	uint64_t online = 0, target = 0;

	if (c->greeting || c->target_greeting)
		add_exchange(t, c->greeting, c->target_greeting);
	for (unsigned i = 0; i < c->n; i++) {
		online += c->r[i].answer;
		target += c->r[i].target_answer;
		if (i + 1 < c->n && !c->r[i].answer)
			continue; /* the next one follows at once */
		add_exchange(t, online, target);
		online = target = 0;
	}
}

/* Are the exchanges of this world known, because nothing happens to its connections but what they say? */
static bool all_known(const struct world *w)
{
	const struct copy *k = &w->copy;

	if (w->odd || w->day || !w->fair.lockstep || !k->cfg.hold)
		return false;
	for (unsigned i = 0; i < w->n_conns; i++)
		if (w->conn[i].old || w->conn[i].mute || w->conn[i].ending != END_CLIENT_FIN)
			return false;
	return true;
}

void referee_exchanges(struct world *w)
{
	struct truth truth = { 0 };

	for (unsigned i = 0; i < w->n_conns; i++)
		of_connection(&w->conn[i], &truth);
	for (unsigned i = 0; i < w->copy.n_targets; i++) {
		const struct exchange_tally *t = engine_exchanges(w->copy.e, i);
		uint64_t cannot = t->open, differ = exchange_differ(t) + t->different[EXCHANGE_SPLIT];

		for (unsigned o = 0; o < EXCHANGE_OBSTACLE_COUNT; o++)
			cannot += t->not_comparable[o];
		w->exchanges.all += t->all;
		w->exchanges.compared += exchange_compared(t);
		w->exchanges.differ += differ;
		if (t->open)
			fail(w, "target %u: %llu exchanges are open", i, (unsigned long long)t->open);
		if (all_known(w) && (t->all != truth.all || differ != truth.differ || cannot))
			fail(w,
			     "target %u: %llu exchanges of %llu, %llu differ of %llu, %llu cannot be compared",
			     i, (unsigned long long)t->all, (unsigned long long)truth.all,
			     (unsigned long long)differ, (unsigned long long)truth.differ,
			     (unsigned long long)cannot);
		/*
		 * What the client has read is known where all its acknowledgments are, and in order. The
		 * target may need longer for an answer than a half-closed connection lasts.
		 */
		if (!truth.differ && w->fair.lockstep && w->fair.capture_whole && w->fair.complete &&
		    w->fair.client_clean && !w->capture.lose_acks &&
		    !engine_counters(w->copy.e)->released_on_deadline &&
		    differ > w->sum_ended[OUTCOME_TARGET_OPEN])
			fail(w, "target %u answers as the online server does, and %llu answers differ", i,
			     (unsigned long long)differ);
		if (truth.differ && w->fair.lockstep && w->fair.capture_whole && w->fair.complete &&
		    w->fair.wires_clean && w->fair.client_clean && !cannot && t->all == truth.all && !differ)
			fail(w, "target %u: none of %llu different answers was found", i,
			     (unsigned long long)truth.differ);
	}
}
