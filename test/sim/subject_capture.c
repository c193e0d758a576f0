/*
 * Simulator: worlds in which the capture does not tell all - theory of operation
 *
 * It loses requests, or how connections end, or what clients acknowledge; or what it shows is more than the
 * online server can have taken, as far as anybody has said. So the engine has to ask about its sockets. See
 * subject.c.
 */
#include "subject.h"

/* What is captured behind a lost request comes soon, or long after the hole was met. */
void make_holes(struct world *w)
{
	struct copy *k = &w->copy;

	subject_undisturbed(w);
	w->capture.from = 0;
	subject_at_least(w, 6);
	subject_clean(&w->up);
	subject_clean(&w->down);
	k->answers_late = rng_below(w, 2) ? 3 * NS_PER_MS : 0;
	k->cfg.join = ENGINE_JOIN_AUTO;
	k->cfg.prove = false;
	for (unsigned i = 0; i < k->n_targets; i++)
		k->target[i].p.rcvbuf = MAX(k->target[i].p.rcvbuf, 30000);
	w->client_p.keepalive = 0; /* one that repeats a byte begins nothing */
	for (unsigned i = 0; i < w->n_conns; i++) {
		struct conn *c = &w->conn[i];

		c->n = MIN(c->n, 10);
		c->stream_len = 0;
		for (unsigned r = 0; r < c->n; r++) {
			c->r[r].start = c->stream_len;
			c->r[r].size = 1 + (uint32_t)rng_below(w, 3000);
			c->r[r].answer = c->r[r].target_answer = (uint32_t)rng_range(w, 1, 5000);
			c->stream_len += c->r[r].size;
		}
		c->mute = false;
		c->ending = END_CLIENT_FIN;
		subject_slowly(w, c, 10 * NS_PER_MS, rng_below(w, 2) ? 12 * NS_PER_SEC : 100 * NS_PER_MS);
		if (c->n > 3 && rng_below(w, 3))
			c->lose = 1u << rng_range(w, 1, c->n - 2);
	}
}

/* Clients that say little, and are quiet for long; some of their connections have ended meanwhile. */
void make_unseen(struct world *w)
{
	static const enum ending endings[] = { END_CLIENT_FIN, END_RST,        END_HALF_CLOSE,
					       END_OPEN,       END_SERVER_RST, END_OPEN };
	static const unsigned shares[] = { 0, 0, 20, 50, 100 };
	const unsigned elsewhere = shares[rng_below(w, ARRAY_SIZE(shares))];
	struct copy *k = &w->copy;

	subject_undisturbed(w);
	w->capture.from = 0;
	w->capture.silent = rng_below(w, 2);
	subject_clean(&w->up);
	subject_clean(&w->down);
	w->client_p.keepalive = 0;
	w->n_conns = FEW_CONNS;
	w->fair.equal_answers = true;
	k->blind = false;
	k->answers_late = rng_below(w, 2) ? 3 * NS_PER_MS : 0;
	k->cfg.prove = false;
	k->forged = 0;
	k->n_targets = 1;
	k->target[0].lwip = false;
	k->target[0].closes_after = rng_below(w, 2) ? 3 : 0; /* some close sooner than their clients */
	for (unsigned i = 0; i < w->n_conns; i++) {
		struct conn *c = &w->conn[i];
		const unsigned n = 1 + (unsigned)rng_below(w, 3);

		make_conn(w, c, i, false, w->odd);
		c->mute = false;
		c->greeting = c->target_greeting = 0;
		c->n = MIN(c->n, n);
		c->stream_len = c->r[c->n - 1].start + c->r[c->n - 1].size;
		c->start = rng_below(w, 3 * NS_PER_SEC);
		c->ending = endings[rng_below(w, ARRAY_SIZE(endings))];
		subject_slowly(w, c, 0, rng_below(w, 2) ? 12 * NS_PER_SEC : 100 * NS_PER_MS);
		for (unsigned r = 0; r < c->n; r++)
			c->r[r].answer = c->r[r].target_answer = 1 + (uint32_t)rng_below(w, 5000);
		if (c->ending == END_HALF_CLOSE)
			c->r[c->n - 1].service = rng_below(w, 70 * NS_PER_SEC);
		c->elsewhere = rng_below(w, 100) < elsewhere;
		c->strangers = c->elsewhere ? (unsigned)rng_below(w, 20) : 0;
		/* what is captured after its end would tell that somebody else sent what it has read */
		c->lose_end = c->ending == END_SERVER_RST || c->ending == END_HALF_CLOSE || rng_below(w, 2);
	}
}

/*
 * What the client has read is known from its next request only, and seems to be more than it can be; or the
 * online server's window is larger than anybody has said.
 */
void make_doubts(struct world *w)
{
	struct copy *k = &w->copy;

	subject_undisturbed(w);
	w->capture.from = 0;
	w->capture.lose_acks = rng_below(w, 2);
	subject_clean(&w->up);
	subject_clean(&w->down);
	w->client_p.mss = w->v6 ? 1440 : 1460;
	w->client_p.wscale = 7;
	w->client_p.rcvbuf = 1 << 20;
	w->client_p.keepalive = 0;
	w->n_conns = MIN(w->n_conns, 3);
	k->blind = w->capture.lose_acks && rng_below(w, 2);
	k->answers_late = w->capture.lose_acks && rng_below(w, 2) ? 3 * NS_PER_MS : 0;
	k->cfg.prove = false;
	if (!w->capture.lose_acks) /* a socket that has gone meanwhile cannot say that it took it */
		k->cfg.server_window = 100 + (uint32_t)rng_below(w, 200);
	for (unsigned i = 0; i < w->n_conns; i++) {
		struct conn *c = &w->conn[i];

		c->mute = false;
		c->n = MIN(c->n, 4);
		c->stream_len = 0;
		for (unsigned r = 0; r < c->n; r++) {
			c->r[r].start = c->stream_len;
			c->r[r].size = 300 + (uint32_t)rng_below(w, 800);
			c->stream_len += c->r[r].size;
			if (w->capture.lose_acks)
				c->r[r].answer = c->r[r].target_answer =
					150000 + (uint32_t)rng_below(w, 200000);
		}
		c->ending = END_CLIENT_FIN;
		subject_slowly(w, c, 0, 20 * NS_PER_MS);
	}
}
