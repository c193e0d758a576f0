/*
 * Simulator: weeks of the virtual clock - theory of operation
 *
 * What a long life brings and a short run does not: connections that are silent for minutes, for
 * just under and just over the two hours after which a session ends, for days, and then go on;
 * keep-alives of any of the three hosts that keep them open; sequence numbers and timestamps of all
 * hosts that wrap at 2^31 and 2^32; timestamps that have gone more than half way around since the
 * last one; ports that are used again and again; the generation in the sessions' ids that wraps;
 * and a clock that shows more than 32 bits of anything. An ordinary scenario is stretched: its
 * faults, sizes and answers stay, its pauses grow. Nothing happens in most of the time, so a month
 * costs as little as its packets.
 *
 * All that is asked of an ordinary run is asked of this one too. Besides, after each call into the
 * engine every deadline of every session must lie ahead, and none farther than the longest life;
 * and each hour, if the engine was told nothing for so long that every session must have ended, it
 * must hold nothing and have nothing to wait for.
 */
#include "sim.h"

#include "session/impl.h"

#define MINUTE (60 * NS_PER_SEC)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define TS_HALF_WAY ((1ull << 31) * NS_PER_MS) /* 24.9 days: half of what 32 bits of ms hold */
#define QUIET (IDLE_LIFE + 5 * MINUTE)         /* longer than anything lives without a word */
#define LATE (2 * WHEEL_TICK_NS)

/* Within @before below one of the two places where 32 bits wrap. */
static uint32_t near_wrap(struct world *w, uint32_t before)
{
	return (rng_below(w, 2) ? UINT32_MAX : INT32_MAX) - (uint32_t)rng_below(w, before);
}

uint32_t day_isn(struct world *w)
{
	return near_wrap(w, rng_below(w, 2) ? 300 : 30000);
}

/* The clock of a machine that has been up for no time, or until just before its ms or tens of days
 * pass a power of two. */
void day_begin(struct world *w)
{
	static const uint64_t up[] = { NS_PER_SEC, 49 * DAY, 24 * DAY + 12 * HOUR, 400 * DAY };

	w->begun = w->now = up[rng_below(w, ARRAY_SIZE(up))];
	w->span = rng_below(w, 3) ? 40 * DAY : DAY + HOUR;
}

/* A client's pause before a request; at most @most. */
static uint64_t pause(struct world *w, uint64_t most)
{
	uint64_t p;

	switch (rng_below(w, 6)) {
	case 0:
		p = IDLE_LIFE - MINUTE + rng_below(w, 2 * MINUTE);
		break;
	case 1:
		p = 2 * HOUR - MINUTE + rng_below(w, 2 * MINUTE);
		break;
	case 2:
		p = TS_HALF_WAY + rng_below(w, DAY);
		break;
	default:
		p = rng_range(w, NS_PER_SEC, DAY);
		break;
	}
	return MIN(p, most);
}

/* The life of connection @c, @left ns long; returns what is left of that. */
static uint64_t stretch(struct world *w, struct conn *c, uint64_t left)
{
	for (unsigned i = 1; i < c->n; i++) {
		uint64_t p;

		if (rng_below(w, 4))
			continue;
		p = pause(w, left);
		c->r[i].think += p;
		c->r[i].after = i; /* it speaks when all has been answered */
		left -= p;
	}
	for (unsigned i = 1; i < c->n; i++)
		if (c->r[i].after < c->r[i - 1].after)
			c->r[i].after = c->r[i - 1].after;
	return left;
}

static void make_keepalive(struct world *w, struct stack_params *p)
{
	static const uint64_t every[] = { 20 * MINUTE, HOUR, 2 * HOUR, 5 * HOUR };

	p->keepalive = rng_below(w, 2) ? every[rng_below(w, ARRAY_SIZE(every))] : 0;
	/* its timestamps wrap, or pass 2^31, at any time of the run */
	p->ts_base = near_wrap(w, 2) - (uint32_t)((w->begun + rng_below(w, w->span)) / NS_PER_MS);
}

void day_make(struct world *w)
{
	uint64_t left = 0;
	uint32_t moved = 0;

	make_keepalive(w, &w->client_p);
	make_keepalive(w, &w->online_p);
	for (unsigned i = 0; i < w->copy.n_targets; i++)
		make_keepalive(w, &w->copy.target[i].p);
	if (w->cut_at)
		w->cut_at = rng_below(w, w->span);
	for (unsigned i = 0; i < w->n_conns; i++) {
		struct conn *c = &w->conn[i];

		if (!c->waits) {
			left = w->span;
			if (rng_below(w, 2))
				c->start += rng_below(w, w->span);
			moved = rng_below(w, 2) ? near_wrap(w, c->stream_len + 2) - c->c.iss : 0;
		}
		c->c.iss += moved; /* all on one port keep their distance */
		if (c->reused_by && rng_below(w, 4) == 0) {
			c->reuse_gap = pause(w, left);
			left -= c->reuse_gap;
		}
		left = stretch(w, c, left);
	}
}

/* Connections of which the online server has a socket, and can be asked about it. */
static unsigned online_has(const struct world *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->n_conns && !w->copy.blind; i++) {
		const struct tcb *o = &w->conn[i].o;

		n += o->w && o->state != T_CLOSED && o->state != T_TIME_WAIT;
	}
	return n;
}

/* Has anything been left behind? */
static void each_hour(struct world *w, void *arg, uint64_t n)
{
	const struct copy *k = &w->copy;

	(void)arg, (void)n;
	if (w->now < w->begun + w->span)
		at(w, w->now + HOUR, each_hour, NULL, 0);
	if (w->now < k->last_input + QUIET)
		return;
	engine_check(k->e);
	if (engine_sessions(k->e) && engine_sessions(k->e) <= online_has(w) * k->n_targets)
		return; /* their originals live */
	if (engine_sessions(k->e) || engine_lingering(k->e) || engine_observed(k->e))
		fail(w, "nobody spoke for %.3f h: %u sessions live, %u linger, %u are observed",
		     (double)(w->now - k->last_input) / HOUR, engine_sessions(k->e), engine_lingering(k->e),
		     engine_observed(k->e));
	if (engine_memory(k->e) || engine_live_bytes(k->e))
		fail(w, "nobody spoke for %.3f h: %zu bytes of memory are in use",
		     (double)(w->now - k->last_input) / HOUR, engine_memory(k->e));
	if (engine_next(k->e) != UINT64_MAX)
		fail(w, "nobody spoke for %.3f h, and the engine waits for %.6f s",
		     (double)(w->now - k->last_input) / HOUR, (double)engine_next(k->e) / 1e9);
}

void day_start(struct world *w)
{
	/* in the middle of the run the generation is 0 again */
	w->copy.e->generation = UINT32_MAX - (uint32_t)rng_below(w, w->n_conns);
	at(w, w->now, each_hour, NULL, 0);
}

void day_check(struct world *w)
{
	const struct engine *e = w->copy.e;
	const struct session *s;

	for (uint32_t i = 0; (s = slots_from(e->sessions, &i)); i++)
		for (int t = 0; t < TIMER_COUNT; t++) {
			uint64_t at = s->deadline[t];

			if (at && (at + LATE < w->now || at > w->now + IDLE_LIFE + LATE))
				fail(w, "timer %d of session %llx is set for %.6f s", t,
				     (unsigned long long)s->id, (double)at / 1e9);
		}
}
