/*
 * Simulator: worlds about something - theory of operation
 *
 * Where every fault has its own small chance, some meetings never happen: a slow server whose client has
 * closed, somebody who guesses sequence numbers while the real client sends, many connections of which each
 * is closed behind its first answer. So a part of the worlds has a subject. An ordinary scenario is made
 * first; then its subject changes what it is about, and leaves the rest of the faults as they are. What may
 * be asked of the run follows afterwards, as ever (scenario.c).
 */
#include "sim.h"

#include <string.h>

void subject_choose(struct world *w)
{
	w->subject = SUBJECT_ANYTHING;
	if (w->odd && !w->day && rng_below(w, 3))
		w->subject = (enum subject)(1 + rng_below(w, SUBJECT_COUNT - 1));
}

static void clean(struct link *l)
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

/*
 * The socket can be asked, and answers soon. Without a proof whatever is older than the capture is believed,
 * and the first that speaks is the client.
 */
static void make_stranger(struct world *w)
{
	struct copy *k = &w->copy;

	capture_all(w);
	no_reuse(w);
	clean(&w->up);
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
	for (unsigned i = 0; i < w->n_conns; i++)
		w->conn[i].multipath = (enum multipath)rng_below(w, 4);
}

static void make_narrower(struct world *w)
{
	struct copy *k = &w->copy;

	k->mtu = 1500;
	k->later_mtu = (uint32_t)rng_range(w, w->v6 ? 1280 : 576, 1499);
	k->mtu_at = w->now + rng_range(w, 0, 2 * NS_PER_SEC);
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

void subject_make(struct world *w)
{
	static void (*const make[SUBJECT_COUNT])(struct world * w) = {
		[SUBJECT_STRANGER] = make_stranger,     [SUBJECT_MULTIPATH] = make_multipath,
		[SUBJECT_NARROWER] = make_narrower,     [SUBJECT_BRIEF] = make_brief,
		[SUBJECT_HALF_CLOSE] = make_half_close, [SUBJECT_ABORTS] = make_aborts,
		[SUBJECT_SOURCES] = make_sources,
	};

	if (make[w->subject])
		make[w->subject](w);
}
