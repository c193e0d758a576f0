/*
 * Simulator: worlds about something - theory of operation
 *
 * Where every fault has its own small chance, some meetings never happen: a slow server whose client has
 * closed, somebody who guesses sequence numbers while the real client sends, many connections of which each
 * is closed behind its first answer. So a part of the worlds has a subject. An ordinary scenario is made
 * first; then its subject changes what it is about, and leaves the rest of the faults as they are. What may
 * be asked of the run follows afterwards, as ever (scenario.c).
 */
#include "subject.h"

#include <string.h>

void subject_choose(struct world *w)
{
	w->subject = SUBJECT_ANYTHING;
	if (w->odd && !w->day && rng_below(w, 6))
		w->subject = (enum subject)(1 + rng_below(w, SUBJECT_COUNT - 1));
}

void subject_clean(struct link *l)
{
	l->loss = l->dup = l->reorder = 0;
	l->rate = l->dead_from = l->dead_to = 0;
}

/* The capture sees what the online server sees, when it does. */
static void capture_all(struct world *w)
{
	w->capture.loss = w->capture.cut = w->capture.reorder = w->capture.dup = 0;
	w->capture.gro = false;
}

static void no_reuse(struct world *w)
{
	for (unsigned i = 0; i < w->n_conns; i++) {
		w->conn[i].reused_by = NULL;
		if (w->conn[i].waits)
			w->conn[i].client.port = (uint16_t)(w->conn[i].client.port + 1000 + i);
		w->conn[i].waits = false;
	}
}

/* No limit is met. */
static void no_limits(struct world *w)
{
	struct engine_config *cfg = &w->copy.cfg;

	cfg->hold = 3 * NS_PER_SEC;
	cfg->session_buffer = 64 << 20;
	cfg->max_memory = 0;
	cfg->max_half_open = cfg->max_observed = 1000;
	cfg->max_sessions = 10000;
	w->cut_at = 0;
}

/*
 * The socket can be asked, and answers soon. Without a proof whatever is older than the capture is believed,
 * and the first that speaks is the client.
 */
static void make_stranger(struct world *w)
{
	struct copy *k = &w->copy;

	capture_all(w);
	no_reuse(w);
	no_limits(w);
	subject_clean(&w->up);
	k->blind = false;
	k->answers_late = rng_below(w, 2) ? 3 * NS_PER_MS : 0;
	k->cfg.prove = rng_below(w, 3) != 0;
	if (!k->cfg.prove)
		w->capture.from = 0;
	w->online_p.wscale = w->online_p.wscale < 0 ? 0 : w->online_p.wscale;
	w->online_p.rcvbuf = MIN(w->online_p.rcvbuf, 65535u << w->online_p.wscale);
	k->cfg.server_window = MAX(65535u << w->online_p.wscale, w->online_p.rcvbuf) + 65536;
	for (unsigned i = 0; i < k->n_targets; i++) {
		k->target[i].crash = k->target[i].closes_after = 0;
		k->target[i].refuses = false;
	}
	for (unsigned i = 0; i < w->n_conns; i++)
		w->conn[i].strangers = (unsigned)rng_below(w, 60);
}

static void make_multipath(struct world *w)
{
	no_reuse(w);
	if (rng_below(w, 2)) {
		no_limits(w);
		w->capture.from = w->now + 200 * NS_PER_MS;
		for (unsigned i = 0; i < w->n_conns; i++)
			w->conn[i].greeting = w->conn[i].target_greeting = 0;
	}
	for (unsigned i = 0; i < w->n_conns; i++)
		w->conn[i].multipath = (enum multipath)rng_below(w, 4);
}

/* Some of its requests are long. */
static void grow(struct world *w, struct conn *c)
{
	uint32_t at = 0;

	for (unsigned r = 0; r < c->n; r++) {
		c->r[r].start = at;
		if (rng_below(w, 4) == 0)
			c->r[r].size = (uint32_t)rng_range(w, 5000, 60000);
		at += c->r[r].size;
	}
	c->stream_len = at;
}

static void make_narrower(struct world *w)
{
	struct copy *k = &w->copy;

	no_reuse(w);
	k->mtu = 1500;
	k->later_mtu = w->v6 ? 1280 : (uint32_t)rng_range(w, 576, 1400);
	k->mtu_at = w->now + rng_below(w, 600 * NS_PER_MS);
	w->client_p.mss = w->v6 ? 1440 : 1460;
	for (unsigned i = 0; i < k->n_targets; i++) {
		k->target[i].p.mss = w->client_p.mss;
		k->target[i].p.no_mss = false;
	}
	for (unsigned i = 0; i < w->n_conns; i++)
		grow(w, &w->conn[i]);
}

/* Only the packets that do not arrive tell it, from the start, or from some time on. */
static void make_black_hole(struct world *w)
{
	struct copy *k = &w->copy;

	make_narrower(w);
	k->mtu_at = 0;
	k->takes = w->v6 ? (uint32_t)rng_range(w, 1280, 1480) : (uint32_t)rng_range(w, 576, 1480);
	k->takes_from = rng_below(w, 2) ? 0 : w->now + rng_below(w, 600 * NS_PER_MS);
	k->routed = rng_below(w, 2);
}

static void make_brief(struct world *w)
{
	struct copy *k = &w->copy;

	no_reuse(w);
	capture_all(w);
	k->cfg.hold = rng_below(w, 3) ? 3 * NS_PER_SEC : rng_below(w, 2) ? 100 * NS_PER_MS : 0;
	for (unsigned i = 0; i < w->n_conns; i++) {
		struct conn *c = &w->conn[i];

		c->mute = c->scans = rng_below(w, 3) == 0;
		if (c->mute || rng_below(w, 3) == 0)
			continue;
		c->n = 0;
		c->stream_len = 0;
		c->greeting = c->target_greeting = 0;
		c->ending = END_RST_EARLY;
	}
}

/* All is asked at once, and answered in minutes. */
static void make_half_close(struct world *w)
{
	for (unsigned i = 0; i < w->n_conns; i++) {
		struct conn *c = &w->conn[i];
		unsigned n = 1 + (unsigned)rng_below(w, 4);

		c->ending = END_HALF_CLOSE;
		c->n = MIN(c->n, n);
		c->stream_len = c->r[c->n - 1].start + c->r[c->n - 1].size;
		for (unsigned k = 0; k < c->n; k++) {
			struct request *r = &c->r[k];

			r->after = 0;
			r->service = rng_range(w, NS_PER_SEC, 100 * NS_PER_SEC);
			r->target_service =
				rng_below(w, 2) ? r->service : rng_range(w, NS_PER_SEC, 100 * NS_PER_SEC);
		}
	}
	for (unsigned i = 0; i < w->copy.n_targets; i++)
		w->copy.target[i].stays = rng_below(w, 3) == 0;
}

static void make_aborts(struct world *w)
{
	no_reuse(w);
	capture_all(w);
	w->capture.from = 0;
	w->copy.cfg.prove = true;
	for (unsigned i = 0; i < w->n_conns; i++) {
		w->conn[i].unheard = rng_below(w, 4) == 0;
		if (rng_below(w, 2))
			w->conn[i].ending = END_SERVER_RST;
	}
}

static void make_sources(struct world *w)
{
	no_reuse(w); /* a client's own source is one, whoever is on it */
	w->copy.n_targets = 1;
	w->n_conns = MIN(w->n_conns, 8);
	w->copy.target[0].closes_after = w->copy.target[0].crash = 0; /* one that goes on does so at once */
}

void subject_at_least(struct world *w, unsigned n)
{
	for (unsigned i = w->n_conns; i < n; i++) {
		make_conn(w, &w->conn[i], i, false, w->odd);
		if (w->capture.from)
			w->conn[i].greeting = w->conn[i].target_greeting = 0;
	}
	w->n_conns = MAX(w->n_conns, n);
}

/* Sane targets, near, that answer. */
static void calm(struct world *w)
{
	struct copy *k = &w->copy;

	for (unsigned i = 0; i < k->n_targets; i++) {
		struct target_host *h = &k->target[i];

		h->crash = h->closes_after = h->read_rate = 0;
		h->refuses = h->stays = h->slams = false;
		h->stop_from = h->stop_to = 0;
		subject_clean(&k->to_target[i]);
		subject_clean(&k->to_assistant[i]);
	}
	no_limits(w);
}

/* Nothing but the subject itself. */
void subject_undisturbed(struct world *w)
{
	no_reuse(w);
	capture_all(w);
	calm(w);
}

/* One after the other, each after so much time as a client of today takes. */
void subject_slowly(struct world *w, struct conn *c, uint64_t least, uint64_t most)
{
	for (unsigned k = 0; k < c->n; k++) {
		c->r[k].think = rng_range(w, least, most);
		c->r[k].after = k;
	}
}

static void make_joins(struct world *w)
{
	struct copy *k = &w->copy;

	subject_undisturbed(w);
	k->cfg.join = ENGINE_JOIN_AUTO;
	k->blind = false;
	k->answers_late = 0;
	w->capture.from = w->now + 700 * NS_PER_MS;
	w->n_conns = FEW_CONNS;
	for (unsigned i = 0; i < w->n_conns; i++) {
		struct conn *c = &w->conn[i];

		if (!c->n)
			make_conn(w, c, i, false, w->odd);
		c->start = rng_below(w, 400 * NS_PER_MS);
		c->mute = false;
		c->greeting = c->target_greeting = 0;
		c->ending = END_CLIENT_FIN;
		subject_slowly(w, c, 100 * NS_PER_MS, 3 * NS_PER_SEC);
		for (unsigned r = 0; r < c->n; r++)
			c->r[r].answer = c->r[r].target_answer = 300 + (uint32_t)rng_below(w, 2000);
	}
	k->n_targets = 1;
	k->target[0].no_middle = true;
	k->target[0].lwip = false;
}

static void make_losses(struct world *w)
{
	struct copy *k = &w->copy;
	const bool sack = rng_below(w, 2);

	no_reuse(w);
	capture_all(w);
	w->capture.from = 0;
	subject_clean(&w->up);
	subject_clean(&w->down);
	k->merging = rng_below(w, 2);
	k->cfg.max_memory = 0;
	w->client_p.sack = true;
	w->client_p.mss = MIN(w->client_p.mss, 1000);
	w->n_conns = MIN(w->n_conns, 4);
	w->cut_at = 0;
	for (unsigned i = 0; i < k->n_targets; i++) {
		struct target_host *h = &k->target[i];

		h->p.sack = sack;
		h->p.dsack = sack && rng_below(w, 2);
		h->crash = h->closes_after = 0;
		h->refuses = false;
		k->to_target[i].loss = (uint32_t)rng_range(w, 10000, 60000);
		k->to_target[i].dead_from = k->to_target[i].dead_to = 0;
		k->to_assistant[i].dead_from = k->to_assistant[i].dead_to = 0;
		k->to_target[i].delay = rng_range(w, NS_PER_MS, 30 * NS_PER_MS);
	}
	for (unsigned i = 0; i < w->n_conns; i++)
		grow(w, &w->conn[i]);
}

static void make_patience(struct world *w)
{
	struct copy *k = &w->copy;
	const bool often = rng_below(w, 2);

	subject_undisturbed(w);
	w->capture.from = 0;
	subject_at_least(w, 8);
	subject_clean(&w->up);
	subject_clean(&w->down);
	k->cfg.prove = false;
	k->cfg.hold = rng_range(w, 500 * NS_PER_MS, 5 * NS_PER_SEC);
	k->forged = 0;
	for (unsigned i = 0; i < w->n_conns; i++) {
		struct conn *c = &w->conn[i];

		subject_slowly(w, c, 0, 20 * NS_PER_MS);
		if (c->ending == END_RST || c->ending == END_RST_EARLY)
			c->ending = END_CLIENT_FIN; /* a RST does not wait for what is late */
		for (unsigned r = 0; r < c->n; r++) {
			c->r[r].answer = 1 + (uint32_t)rng_below(w, 500);
			c->r[r].target_answer = rng_below(w, often ? 3 : 12) ? c->r[r].answer : 0;
			c->r[r].service = rng_below(w, 5 * NS_PER_MS);
			c->r[r].target_service = rng_below(w, 80 * NS_PER_MS);
		}
	}
	for (unsigned i = 0; i < k->n_targets; i++)
		k->target[i].lwip = false;
}

/* Nothing but the target's closing is in the way of a turn, so each is executed, and once. */
static void make_whole_handover(struct world *w)
{
	struct copy *k = &w->copy;

	subject_undisturbed(w);
	w->capture.from = 0;
	subject_at_least(w, 8);
	subject_clean(&w->up);
	subject_clean(&w->down);
	k->merging = false;
	k->forged = 0;
	k->cfg.join = ENGINE_JOIN_AUTO;
	w->fair.equal_answers = true;
	if (rng_below(w, 2))
		k->cfg.hold = NS_PER_SEC;
	for (unsigned i = 0; i < k->n_targets; i++) {
		k->target[i].closes_after = 1 + (unsigned)rng_below(w, 3);
		k->to_target[i].delay = rng_range(w, NS_PER_MS, 50 * NS_PER_MS); /* so that turns pile up */
		k->target[i].lwip = false;
	}
	for (unsigned i = 0; i < w->n_conns; i++) {
		struct conn *c = &w->conn[i];

		subject_slowly(w, c, 0, 20 * NS_PER_MS);
		c->mute = false;
		c->target_greeting = c->greeting;
		c->stream_len = 0;
		for (unsigned r = 0; r < c->n; r++) {
			c->r[r].start = c->stream_len;
			c->r[r].size = MIN(c->r[r].size, 2000); /* or one takes longer than --hold */
			c->stream_len += c->r[r].size;
			c->r[r].answer = c->r[r].target_answer = 1 + (uint32_t)rng_below(w, 3000);
		}
	}
}

static void make_handover(struct world *w)
{
	struct copy *k = &w->copy;

	for (unsigned i = 0; i < k->n_targets; i++) {
		struct target_host *h = &k->target[i];

		h->refuses = h->stays = false;
		h->closes_after = rng_below(w, 3) ? 1 + (unsigned)rng_below(w, 3) : 0;
		h->crash = rng_below(w, 3) ? 0 : (uint32_t)rng_range(w, 50000, 400000);
		h->slams = rng_below(w, 8) == 0;
	}
	if (rng_below(w, 2))
		no_limits(w);
	if (rng_below(w, 2)) {
		capture_all(w);
		w->capture.from = 0;
	}
	if (rng_below(w, 2))
		make_whole_handover(w);
}

static void make_ports(struct world *w)
{
	no_reuse(w);
	if (rng_below(w, 2))
		no_limits(w);
	w->n_conns = MAX(w->n_conns, 6);
	for (unsigned i = 0; i < w->n_conns; i++) {
		struct conn *c = &w->conn[i];

		if (!c->stream_len)
			make_conn(w, c, i, false, w->odd);
		if (w->capture.from)
			c->greeting = c->target_greeting = 0;
		c->n = MIN(MAX(c->n, 1), 5);
		c->stream_len = c->r[c->n - 1].start + c->r[c->n - 1].size;
		if (c->ending == END_OPEN)
			c->ending = END_RST;
	}
	/* from the last one's end on, as each has its numbers from the one before */
	for (unsigned i = 1; i < w->n_conns; i++)
		if (i % 4) {
			w->conn[i - 1].reused_by = NULL;
			make_reuse(w, &w->conn[i - 1], &w->conn[i]);
			w->conn[i - 1].reuse_gap = rng_below(w, 3) ? 0 : rng_below(w, 5 * NS_PER_MS);
		}
}

static void make_windows(struct world *w)
{
	struct copy *k = &w->copy;

	subject_undisturbed(w);
	w->capture.from = 0;
	subject_clean(&w->up);
	k->cfg.prove = false;
	w->n_conns = MIN(w->n_conns, 6);
	for (unsigned i = 0; i < k->n_targets; i++) {
		struct target_host *h = &k->target[i];

		h->p.wscale = rng_below(w, 2) ? -1 : 0;
		h->p.rcvbuf = rng_below(w, 3) ? (uint32_t)rng_range(w, 2000, 9000)
					      : (uint32_t)rng_range(w, 100, 2000);
		h->read_rate = rng_below(w, 2) ? (uint32_t)rng_range(w, 100, 2000) : 0;
		if (rng_below(w, 3) == 0) {
			h->stop_from = w->now + rng_below(w, NS_PER_SEC);
			h->stop_to = h->stop_from + rng_below(w, 20 * NS_PER_SEC);
		}
		h->lwip = false;
	}
	for (unsigned i = 0; i < w->n_conns; i++)
		if (w->conn[i].ending == END_RST || w->conn[i].ending == END_RST_EARLY)
			w->conn[i].ending = END_CLIENT_FIN; /* a RST does not wait for what is late */
}

static void make_refusing(struct world *w)
{
	struct copy *k = &w->copy;

	no_reuse(w);
	calm(w);
	w->n_conns = FEW_CONNS;
	k->n_targets = 1;
	k->target[0].lwip = false;
	k->target[0].refuses_to = w->now + rng_range(w, 400 * NS_PER_MS, 2 * NS_PER_SEC);
	for (unsigned i = 0; i < w->n_conns; i++) {
		struct conn *c = &w->conn[i];

		if (!c->n)
			make_conn(w, c, i, false, w->odd);
		c->mute = false;
		if (w->capture.from)
			c->greeting = c->target_greeting = 0;
		c->start = rng_below(w, 2 * NS_PER_SEC);
	}
}

void subject_make(struct world *w)
{
	static void (*const make[SUBJECT_COUNT])(struct world * w) = {
		[SUBJECT_STRANGER] = make_stranger, [SUBJECT_MULTIPATH] = make_multipath,
		[SUBJECT_NARROWER] = make_narrower, [SUBJECT_BLACK_HOLE] = make_black_hole,
		[SUBJECT_BRIEF] = make_brief,       [SUBJECT_HALF_CLOSE] = make_half_close,
		[SUBJECT_ABORTS] = make_aborts,     [SUBJECT_SOURCES] = make_sources,
		[SUBJECT_JOINS] = make_joins,       [SUBJECT_LOSSES] = make_losses,
		[SUBJECT_HOLES] = make_holes,       [SUBJECT_PATIENCE] = make_patience,
		[SUBJECT_HANDOVER] = make_handover, [SUBJECT_PORTS] = make_ports,
		[SUBJECT_WINDOWS] = make_windows,   [SUBJECT_REFUSING] = make_refusing,
		[SUBJECT_UNSEEN] = make_unseen,     [SUBJECT_DOUBTS] = make_doubts,
	};

	if (make[w->subject])
		make[w->subject](w);
}
