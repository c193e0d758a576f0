/*
 * Simulator: from a seed to a world - theory of operation
 *
 * Every feature and fault is switched on by its own chance, so that they meet in all combinations;
 * one run in five has no fault at all and is judged most strictly. What the run must then fulfil
 * (struct fairness) follows from what was switched on.
 */
#include "sim.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static struct endpoint endpoint_at(const struct world *w, unsigned host, uint16_t port)
{
	struct endpoint e = { .port = port };
	char text[64];

	snprintf(text, sizeof(text), w->v6 ? "fd00::%x" : "10.0.0.%u", host);
	if (!addr_parse(&e.addr, text))
		__builtin_trap();
	return e;
}

/* A part of @most: all of it, a half, a quarter, ... */
static uint32_t share(struct world *w, uint32_t most)
{
	return most >> rng_below(w, 8);
}

static void make_stack(struct world *w, struct stack_params *p, uint32_t odd)
{
	p->mss = w->v6 ? 1440 : 1460;
	p->wscale = 7;
	p->ts = p->sack = p->nagle = true;
	p->rcvbuf = (uint32_t)rng_range(w, 65536, 1 << 20);
	p->delack = 40 * NS_PER_MS;
	p->min_rto = 200 * NS_PER_MS;
	p->time_wait = 60 * NS_PER_SEC;
	p->ts_base = (uint32_t)rng(w);
	p->ttl = 64;
	if (rng_chance(w, odd)) {
		p->ttl = (uint8_t)rng_range(w, 30, 255);
		p->tos = (uint8_t)rng(w);
		p->flow_label = w->v6 ? (uint32_t)rng_below(w, 1u << 20) : 0;
	}
	if (rng_chance(w, odd))
		p->mss = (uint16_t)rng_range(w, 200, p->mss);
	if (rng_chance(w, odd))
		p->wscale = rng_below(w, 2) ? -1 : (int)rng_below(w, 15);
	if (rng_chance(w, odd))
		p->ts = false;
	if (rng_chance(w, odd))
		p->sack = false;
	if (rng_chance(w, odd))
		p->rcvbuf = (uint32_t)rng_range(w, 4096, 65535);
	if (p->wscale < 0 || p->rcvbuf >> p->wscale > 65535)
		p->rcvbuf = MIN(p->rcvbuf, 65535u << MAX(p->wscale, 0));
	p->lazy = rng_chance(w, odd);
	p->dsack = rng_below(w, 2);
	p->nagle = rng_below(w, 2);
	if (rng_chance(w, odd))
		p->delack = rng_range(w, 0, 150) * NS_PER_MS; /* silence of 200 ms begins a turn */
}

static void make_link(struct world *w, struct link *l, const char *name, uint32_t odd, uint64_t longest,
		      void (*deliver)(struct world *, void *, const struct segment *, const uint8_t *,
				      uint32_t))
{
	l->name = name;
	l->deliver = deliver;
	l->delay = rng_range(w, 10 * NS_PER_US, longest);
	if (rng_chance(w, odd))
		l->jitter = rng_range(w, 0, l->delay);
	if (rng_chance(w, odd))
		l->loss = share(w, 60000);
	if (rng_chance(w, odd / 2))
		l->dup = share(w, 30000);
	if (rng_chance(w, odd / 2))
		l->reorder = share(w, 50000);
	if (rng_chance(w, odd / 3)) {
		l->rate = rng_range(w, 500 * 1000, 100 * 1000 * 1000);
		l->queue = rng_range(w, 20000, 500000);
	}
}

static void make_requests(struct world *w, struct conn *c, bool big)
{
	const struct fairness *f = &w->fair;
	uint64_t pace = rng_range(w, 0, 100 * NS_PER_MS), work = rng_range(w, 0, 20 * NS_PER_MS);
	unsigned ahead, pipelining = rng_below(w, 4) ? 0 : (unsigned)rng_range(w, 1, 8),
			slow = (unsigned)rng_below(w, 6);
	uint32_t at = 0;

	c->n = 1 + (unsigned)rng_below(w, big ? MAX_REQUESTS / 2 : MAX_REQUESTS);
	for (unsigned i = 0; i < c->n; i++) {
		struct request *r = &c->r[i];

		r->start = at;
		r->size = (uint32_t)rng_range(w, 1, rng_below(w, 8) ? 2000 : big ? 200 * 1024 : 20000);
		at += r->size;
		r->answer = (uint32_t)rng_range(w, rng_below(w, 8) == 0 ? 0 : 1,
						rng_below(w, 8) ? 5000
						: big           ? 300 * 1024
								: 30000);
		r->target_answer = r->answer;
		ahead = (unsigned)rng_below(w, pipelining + 1);
		r->after = i - MIN(i, ahead);
		if (i && r->after < c->r[i - 1].after)
			r->after = c->r[i - 1].after;
		r->think = rng_below(w, 4) ? rng_below(w, pace + 1) : 0;
		r->service = r->target_service = rng_below(w, work + 1);
		if (slow == 0)
			r->target_service = rng_below(w, 3 * work + 1);
		else if (slow == 1)
			r->target_service = rng_below(w, work / 4 + 1);
		if (!f->equal_answers && rng_below(w, 3) == 0)
			r->target_answer = (uint32_t)(rng_below(w, 2) ? rng_range(w, 0, r->answer)
								      : r->answer + rng_range(w, 0, 20000));
	}
	c->stream_len = at;
}

void make_conn(struct world *w, struct conn *c, unsigned i, bool big, uint32_t odd)
{
	static const enum ending endings[] = { END_CLIENT_FIN, END_CLIENT_FIN, END_HALF_CLOSE, END_SERVER_FIN,
					       END_RST,        END_RST_EARLY,  END_OPEN };

	c->index = i;
	c->client = endpoint_at(w, 100 + i % 3, (uint16_t)(40000 + i));
	c->c.iss = rng_below(w, 4) ? (uint32_t)rng(w) : UINT32_MAX - (uint32_t)rng_below(w, 100000);
	c->key = (uint32_t)rng_below(w, 60000);
	c->start = rng_range(w, 0, 500 * NS_PER_MS);
	make_requests(w, c, big);
	if (rng_below(w, 6) == 0) {
		c->greeting = c->target_greeting = (uint32_t)rng_range(w, 1, 300);
		if (!w->fair.equal_answers)
			c->target_greeting = (uint32_t)rng_range(w, 1, 300);
	}
	c->mute = rng_chance(w, w->copy.cfg.max_half_open < 1000 ? 500000 : odd / 8);
	c->ending = odd ? endings[rng_below(w, ARRAY_SIZE(endings))] : END_CLIENT_FIN;
}

/* Connection @c opens on the port of @old, soon after that is closed. */
void make_reuse(struct world *w, struct conn *old, struct conn *c)
{
	if (old->reused_by || old->ending == END_OPEN || old->mute || c->mute)
		return;
	/* what follows a declined SYN may be taken for the old one's */
	if (w->copy.cfg.max_half_open < 1000)
		return;
	old->reused_by = c;
	old->reuse_gap = rng_range(w, 0, 50 * NS_PER_MS);
	c->client = old->client;
	c->c.iss = old->c.iss + old->stream_len + 2 + (uint32_t)rng_range(w, 1000, 100000000);
	c->waits = true;
}

static void make_target(struct world *w, unsigned i, uint32_t odd)
{
	struct target_host *h = &w->copy.target[i];

	h->w = w;
	h->index = i;
	h->at = endpoint_at(w, 10 + i, 6379);
	make_stack(w, &h->p, odd);
	if (rng_chance(w, odd / 2))
		h->read_rate = (uint32_t)rng_range(w, 200, 100000);
	if (rng_chance(w, odd / 4)) {
		h->stop_from = w->now + rng_range(w, 0, NS_PER_SEC);
		h->stop_to = h->stop_from + rng_range(w, NS_PER_MS, 8 * NS_PER_SEC);
	}
	h->closes = rng_below(w, 4);
	if (rng_chance(w, odd / 6))
		h->crash = (uint32_t)rng_range(w, 1000, 200000);
	h->refuses = rng_chance(w, odd / 40);
	h->stays = rng_chance(w, odd / 12);
	h->p.no_mss = rng_chance(w, odd / 10);
	if (h->p.no_mss)
		h->p.mss = MAX(h->p.mss, w->v6 ? 1220 : 536);
	if (rng_chance(w, odd / 4))
		h->closes_after = 1 + (unsigned)rng_below(w, 10);
	make_link(w, &w->copy.to_target[i], "link to target", odd, 50 * NS_PER_MS, to_target_input);
	make_link(w, &w->copy.to_assistant[i], "link to assistant", odd, 20 * NS_PER_MS, to_assistant_input);
	if (rng_chance(w, odd / 20)) {
		w->copy.to_target[i].dead_from = w->now + rng_range(w, 0, NS_PER_SEC);
		w->copy.to_target[i].dead_to =
			w->copy.to_target[i].dead_from + rng_range(w, NS_PER_MS, 30 * NS_PER_SEC);
	}
	if (rng_chance(w, odd / 12)) { /* for ever: the target, or only the way back from it */
		struct link *l = rng_below(w, 2) ? &w->copy.to_target[i] : &w->copy.to_assistant[i];

		l->dead_from = w->now + rng_range(w, 0, NS_PER_SEC);
		l->dead_to = UINT64_MAX;
	}
}

static void make_capture(struct world *w, uint32_t odd)
{
	struct capture *k = &w->capture;

	k->gro = rng_below(w, 3);
	if (rng_chance(w, odd / 2))
		k->loss = share(w, 50000);
	if (rng_chance(w, odd / 4))
		k->dup = share(w, 100000);
	if (rng_chance(w, odd / 4))
		k->reorder = share(w, 50000);
	if (rng_chance(w, odd / 10))
		k->cut = share(w, 30000);
	if (rng_chance(w, odd))
		k->from = w->now + rng_range(w, 0, 2 * NS_PER_SEC);
}

static void make_copy(struct world *w, uint32_t odd)
{
	static const uint64_t late[] = { 0, 3 * NS_PER_MS, 200 * NS_PER_MS, 1500 * NS_PER_MS };
	struct copy *k = &w->copy;

	k->cfg = (struct engine_config){
		.hold = 3 * NS_PER_SEC,
		.session_buffer = 64 << 20,
		.max_half_open = 1000,
		.max_observed = 1000,
		.max_sessions = 10000,
		.key = { rng(w), rng(w) },
	};
	if (rng_chance(w, odd / 8))
		k->cfg.hold = rng_range(w, 0, 500) * NS_PER_MS;
	if (rng_chance(w, odd / 8))
		k->cfg.session_buffer = rng_range(w, 10000, 1000000);
	if (rng_chance(w, odd / 12))
		k->cfg.max_memory = rng_range(w, 1 << 17, 4 << 20);
	if (rng_chance(w, odd / 12))
		k->cfg.max_half_open = k->cfg.max_observed = (unsigned)rng_range(w, 1, 3);
	k->cfg.join = rng_chance(w, odd / 12) ? ENGINE_JOIN_NONE : ENGINE_JOIN_AUTO;
	k->channel_delay = rng_range(w, 1000, 2 * NS_PER_MS);
	k->hold_early = 200 * NS_PER_MS;
	k->cfg.prove = odd && rng_below(w, 4) == 0;
	k->merging = rng_chance(w, odd / 2);
	if (rng_chance(w, odd / 4))
		k->forged = share(w, 200000);
	if (rng_chance(w, odd / 12))
		k->cfg.max_sessions = (unsigned)rng_range(w, 1, 5);
	k->merge_interval = rng_range(w, 1000, 5 * NS_PER_MS);
	k->batch = rng_below(w, 2) ? 0 : rng_range(w, 0, 200 * NS_PER_US);
	k->cfg.engines = odd ? (unsigned)rng_below(w, 4) : 0;
	k->mtu = rng_chance(w, odd) ? (uint32_t)rng_range(w, w->v6 ? 1280 : 576, 1500) : 1500;
	k->blind = rng_below(w, 3) == 0;
	k->check_every = 1;
	k->answers_late = late[w->seed % ARRAY_SIZE(late)];
	k->n_targets = rng_below(w, 8) ? 1 : 2;
}

/* What can be asked of this run? */
static void decide_fairness(struct world *w)
{
	struct fairness *f = &w->fair;
	const struct copy *k = &w->copy;
	const struct capture *c = &w->capture;
	bool closes = false, silent = false,
	     lives = !w->cut_at && k->cfg.hold && k->cfg.session_buffer >= 64 << 20 && !k->cfg.max_memory &&
		     k->cfg.max_half_open >= 1000 && k->cfg.max_sessions >= 10000;

	f->capture_whole = !c->loss && !c->cut && !c->reorder && w->subject != SUBJECT_HOLES &&
			   w->subject != SUBJECT_UNSEEN;
	f->client_clean = link_clean(&w->up) && link_clean(&w->down);
	f->wires_clean = !k->merging && !k->forged && !k->takes;
	f->nothing_lost = !w->cut_at && w->subject != SUBJECT_SOURCES && !k->takes;
	for (unsigned i = 0; i < k->n_targets; i++) {
		const struct target_host *h = &k->target[i];

		if (!link_clean(&k->to_target[i]) || !link_clean(&k->to_assistant[i]))
			f->wires_clean = false;
		if (k->to_target[i].loss || k->to_target[i].rate || k->to_target[i].dead_from ||
		    k->to_assistant[i].dead_from || k->to_assistant[i].loss || k->to_assistant[i].rate)
			f->nothing_lost = false;
		if (h->p.rcvbuf < 2000) /* a hundred bytes each 200 ms take their time */
			lives = false;
		if (h->crash || h->slams || h->refuses || h->refuses_to || h->stays || h->stop_from ||
		    k->to_target[i].dead_from || k->to_assistant[i].dead_from)
			lives = false;
		closes |= h->closes_after;
	}
	/* where the client loses much, a hole may last longer than patience */
	f->complete = lives && !c->loss && !c->cut && w->up.loss <= 10000 && !w->up.rate &&
		      w->subject != SUBJECT_SOURCES;
	/* of what comes behind newer acknowledgments the socket has to say in time that it was taken */
	if (c->reorder && !k->blind && k->answers_late >= NS_PER_SEC / 10)
		f->complete = false;
	/* one that ended idle is unknown when it speaks again: older, as far as anybody can tell */
	if (w->day && (k->cfg.join == ENGINE_JOIN_NONE || (k->cfg.prove && k->blind)))
		f->complete = false;
	/* where the proof may be lost or late, what waits for it is refused */
	if (k->cfg.prove && !(f->client_clean && f->capture_whole && !c->from))
		f->complete = false;
	f->lockstep = true;
	for (unsigned i = 0; i < w->n_conns; i++)
		for (unsigned r = 0; r < w->conn[i].n; r++) {
			if (w->conn[i].r[r].after != r)
				f->lockstep = false;
			silent |= !w->conn[i]
					   .r[r]
					   .target_answer; /* a session whose target closes then has failed */
		}
	/*
	 * Where all that is sent together is one turn, nothing is lost of what waits when a target closes.
	 * With less than a second for --hold turns go before their answers, which is what it is for: a
	 * handshake behind each answer takes longer. What is on its way to a target that closes is lost.
	 */
	if (closes && !(!silent && k->cfg.hold >= NS_PER_SEC && f->lockstep && f->equal_answers &&
			f->wires_clean && f->client_clean && f->capture_whole && !k->target[0].lwip))
		f->complete = false;
	f->prompt = !w->odd && f->lockstep;
	for (unsigned i = 0; i < k->n_targets; i++)
		if (k->target[i].no_middle)
			f->complete = f->equal_answers = false;
	if (w->subject == SUBJECT_HOLES || w->subject == SUBJECT_UNSEEN)
		f->complete = false; /* but see check_holes() */
	f->no_early = f->equal_answers && f->capture_whole && f->lockstep && k->cfg.hold && !c->loss &&
		      !c->cut && !c->reorder && f->client_clean;
}

void scenario_make(struct world *w)
{
	/* a fifth of the runs is plain, the others ever more odd */
	static const uint32_t odds[] = { 0, 80000, 200000, 400000, 400000 };
	uint32_t odd = odds[rng_below(w, ARRAY_SIZE(odds))];
	bool big = rng_below(w, 6) == 0;

	w->odd = odd;
	subject_choose(w);
	w->v6 = rng_below(w, 4) == 0;
	w->fair.equal_answers = odd == 0 || rng_below(w, 2);
	w->online = endpoint_at(w, 1, 6379);
	make_stack(w, &w->client_p, odd);
	make_stack(w, &w->online_p, odd);
	if (rng_chance(w, odd / 2))
		w->client_p.keepalive = rng_range(w, 20, 2000) * NS_PER_MS;
	w->client_p.keepalive_byte = rng_chance(w, odd);
	make_link(w, &w->up, "client's link up", odd / 2, 20 * NS_PER_MS, online_input);
	make_link(w, &w->down, "client's link down", odd / 2, 20 * NS_PER_MS, client_input);
	make_copy(w, odd);
	for (unsigned i = 0; i < w->copy.n_targets; i++)
		make_target(w, i, odd);
	w->copy.target[0].lwip = !w->v6 && rng_below(w, 5) == 0 && !w->day;
	make_capture(w, odd);
	if (rng_chance(w, odd / 8)) {
		w->cut_at = rng_range(w, NS_PER_MS, NS_PER_SEC);
		w->cut_for = rng_range(w, NS_PER_MS, 5 * NS_PER_SEC);
	}
	w->n_conns = (unsigned)(big ? rng_range(w, 1, 3) : rng_range(w, 1, rng_below(w, 4) ? 4 : FEW_CONNS));
	if (w->day)
		w->n_conns = (unsigned)rng_range(w, 4, MAX_CONNS);
	for (unsigned i = 0; i < w->n_conns; i++) {
		make_conn(w, &w->conn[i], i, big, odd);
		if (i && rng_chance(w, w->day ? 700000 : odd))
			make_reuse(w, &w->conn[i - 1], &w->conn[i]);
		if (w->capture.from)
			w->conn[i].greeting = w->conn[i].target_greeting = 0;
	}
	subject_make(w);
	w->shutdown_at_end = rng_below(w, 2);
	if (w->day)
		day_make(w);
	decide_fairness(w);
}

static void print_link(const struct link *l)
{
	printf("  %s: delay %.3f ms jitter %.3f ms loss %u dup %u reorder %u ppm rate %llu queue %llu dead %.1f-%.1f ms\n",
	       l->name, (double)l->delay / 1e6, (double)l->jitter / 1e6, l->loss, l->dup, l->reorder,
	       (unsigned long long)l->rate, (unsigned long long)l->queue, (double)l->dead_from / 1e6,
	       (double)l->dead_to / 1e6);
}

static void print_stack(const char *name, const struct stack_params *p)
{
	printf("  %s: mss %u wscale %d ts %d sack %d nagle %d rcvbuf %u delack %llu ms keepalive %llu ms\n",
	       name, p->mss, p->wscale, p->ts, p->sack, p->nagle, p->rcvbuf,
	       (unsigned long long)(p->delack / NS_PER_MS), (unsigned long long)(p->keepalive / NS_PER_MS));
}

void scenario_print(const struct world *w)
{
	static const char *const ending[] = { "client's FIN", "half-close", "server's FIN", "RST",
					      "early RST",    "open",       "server's RST" };
	static const char *const subject[] = {
#define X(id, text) text,
		SUBJECTS(X)
#undef X
	};
	const struct copy *k = &w->copy;

	printf("seed %llu: %s, oddness %u, IPv%d, %u connections, %u targets\n", (unsigned long long)w->seed,
	       subject[w->subject], w->odd, w->v6 ? 6 : 4, w->n_conns, k->n_targets);
	print_stack("client", &w->client_p);
	print_stack("online", &w->online_p);
	print_link(&w->up);
	print_link(&w->down);
	printf("  capture: from %.1f ms loss %u dup %u reorder %u cut %u ppm gro %d\n",
	       (double)w->capture.from / 1e6, w->capture.loss, w->capture.dup, w->capture.reorder,
	       w->capture.cut, w->capture.gro);
	printf("  copy: hold %llu ms buffer %llu memory %zu half-open %u no-join %d merging %d batch %.3f ms mtu %u"
	       " blind %d channel %.3f ms cut at %.1f for %.1f ms\n",
	       (unsigned long long)(k->cfg.hold / NS_PER_MS), (unsigned long long)k->cfg.session_buffer,
	       k->cfg.max_memory, k->cfg.max_half_open, k->cfg.join == ENGINE_JOIN_NONE, k->merging,
	       (double)k->batch / 1e6, k->mtu, k->blind, (double)k->channel_delay / 1e6,
	       (double)w->cut_at / 1e6, (double)w->cut_for / 1e6);
	for (unsigned i = 0; i < k->n_targets; i++) {
		const struct target_host *h = &k->target[i];

		print_stack(h->lwip ? "target (lwIP)" : "target", &h->p);
		printf("    reads %u bytes/ms, stopped %.1f-%.1f ms, closes %d crash %u ppm refuses %d\n",
		       h->read_rate, (double)h->stop_from / 1e6, (double)h->stop_to / 1e6, h->closes,
		       h->crash, h->refuses);
		print_link(&k->to_target[i]);
		print_link(&k->to_assistant[i]);
	}
	for (unsigned i = 0; i < w->n_conns; i++) {
		const struct conn *c = &w->conn[i];

		printf("  connection %u: port %u start %.1f ms requests %u bytes %u greeting %u/%u ends by %s%s\n",
		       i, c->client.port, (double)c->start / 1e6, c->n, c->stream_len, c->greeting,
		       c->target_greeting, ending[c->ending], c->waits ? ", reuses the port before" : "");
	}
	printf("  fair: capture whole %d, wires clean %d, client clean %d, complete %d, equal answers %d, no early turn %d\n",
	       w->fair.capture_whole, w->fair.wires_clean, w->fair.client_clean, w->fair.complete,
	       w->fair.equal_answers, w->fair.no_early);
}
