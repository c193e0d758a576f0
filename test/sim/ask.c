/*
 * Simulator: the online server's sockets - theory of operation
 *
 * The engine asks about them, and is told what the online server's TCP knows. In some worlds answers come at
 * once; in others late, in any order, and some not at all. Not where ports are used again: what comes of the
 * new connection before the answer about its SYN is judged as the old one's.
 */
#include "referee.h"

#include <stdlib.h>

/* The newest connection of @client. */
static struct conn *conn_of(struct world *w, const struct endpoint *client)
{
	for (unsigned i = w->n_conns; i-- > 0;)
		if (w->conn[i].started && endpoint_eq(&w->conn[i].client, client))
			return &w->conn[i];
	return NULL;
}

static void answer_time(struct world *w, void *arg, uint64_t question)
{
	const struct endpoint *client = arg;
	struct conn *c = conn_of(w, client);
	struct online_answer a = { .word = ONLINE_GONE };
	struct copy *k = &w->copy;
	const uint64_t ignored = engine_questions(k->e)->ignored;

	if (c && c->o.w && c->o.state != T_CLOSED && c->o.state != T_TIME_WAIT && !c->elsewhere)
		a.word = ONLINE_THERE;
	trace(w, "  the socket of port %u is %s", client->port, a.word == ONLINE_THERE ? "there" : "gone");
	if (a.word == ONLINE_THERE && c->o.state == T_SYN_RCVD)
		a.tcp_state = ONLINE_SYN_RECV;
	if (a.word == ONLINE_THERE && c->o.state >= T_ESTABLISHED) {
		a.has_received = true;
		a.received = c->o.rcv_nxt - c->o.irs - 1; /* a FIN counts as one */
		a.acked = c->o.snd_una - c->o.iss - 1;
		a.silent = (uint32_t)((w->now - c->o.data_at) / NS_PER_MS);
		a.tcp_state = c->o.state == T_CLOSE_WAIT ? ONLINE_CLOSE_WAIT : 1;
	}
	engine_online_answer(w->copy.e, question, &a, w->now);
	/* the session that was asked about may have ended, and its port have another one */
	if (engine_questions(k->e)->ignored == ignored) {
		if (c)
			unseen_answer(w, c, a.word);
		if (a.word == ONLINE_THERE && k->answers_late < NS_PER_SEC / 10)
			c->found[k->asks[question % QUESTIONS_MOST]] = true;
	}
	copy_leave(w);
}

void ask_online(void *arg, uint64_t question, const struct flow_key *key)
{
	struct world *w = arg;
	struct conn *c = conn_of(w, &key->client);
	uint64_t most = w->copy.answers_late;

	for (unsigned i = 0; i < w->n_conns; i++)
		if (w->conn[i].reused_by)
			most = 0;
	if (!c)
		abort();
	unseen_asks(w, c);
	w->copy.asks[question % QUESTIONS_MOST] = key->target;
	if (most >= 200 * NS_PER_MS && rng_chance(w, 50000))
		return;
	at(w, w->now + (most ? rng_below(w, most) : 0), answer_time, (void *)(uintptr_t)&c->client, question);
}

/*
 * @s has ended as @o. A session may not end for silence while its original lives, where that can be asked and
 * is answered.
 */
void ask_ended(struct world *w, const struct session *s, enum session_outcome o)
{
	const struct conn *c = conn_of(w, &session_key(s)->client);

	if (w->copy.blind || w->copy.answers_late > NS_PER_SEC / 10 || c->reused_by || !c->o.w)
		return;
	if (c->elsewhere)
		return; /* so nobody knows that */
	if ((o == OUTCOME_TARGET_OPEN && c->o.state == T_CLOSE_WAIT) ||
	    (o == OUTCOME_IDLE && c->o.state == T_ESTABLISHED &&
	     w->now < c->told[c->n_told - 1].time + TS_AGE / 2))
		fail(w, "port %u: the session ended as %s, and its original lives", c->client.port,
		     session_outcome_name(o));
}
