/*
 * Simulator: the engine in its place - theory of operation
 *
 * What tcpcopy's pipeline does around the engine: captured segments go in, emitted ones are kept to the end
 * of the batch and then leave as IP packets (built, and later parsed, by the packet library, so that lengths
 * and checksums are judged too). How the targets' answers come back is in channel.c. Every step ends in
 * engine_check() and in our own look at what was emitted.
 */
#include "referee.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/wheel.h"
#include "packet/build.h"

#define MOST_WAKES 2000 /* in ten ticks */
#define FLUSH_AT (7 * ARRAY_SIZE(w->copy.out) / 8)

/* --- what was emitted ---------------------------------------------------------------------------- */

static void op_emit(void *arg, const struct tx_segment *t)
{
	struct world *w = arg;
	struct copy *k = &w->copy;

	referee_emitted(w, t);
	if (k->n_out == ARRAY_SIZE(k->out))
		fail(w, "%u segments were emitted in one batch", k->n_out);
	k->out[k->n_out++] = *t;
	k->emitted_now++;
}

static void flush(struct world *w)
{
	static uint8_t packet[1 << 16];
	struct copy *k = &w->copy;

	for (unsigned i = 0; i < k->n_out; i++) {
		const struct tx_segment *t = &k->out[i];
		unsigned target = referee_target(w, &t->tuple.dst);
		uint32_t mss = t->gso_size ? t->gso_size : MAX(t->len, 1u);
		struct tx_segment piece;

		for (uint32_t n = 0; build_piece(&piece, t, mss, n); n++) {
			size_t len = build_packet(packet, sizeof(packet), &piece);
			struct segment g = { .seq = piece.seq, .len = piece.len };

			if (!len || len > k->mtu)
				fail(w, "a packet of %zu bytes was emitted, the MTU is %u", len, k->mtu);
			if (sources_elsewhere(w, &t->tuple.src))
				continue;
			if (k->takes && len > k->takes && w->now >= k->takes_from) {
				k->swallowed++;
				continue;
			}
			link_send(w, &k->to_target[target], &k->target[target], &g, packet, (uint32_t)len);
		}
	}
	k->n_out = 0;
	engine_flushed(k->e);
}

static void flush_time(struct world *w, void *arg, uint64_t n)
{
	(void)arg, (void)n;
	w->copy.flush_due = false;
	flush(w);
}

void to_target_input(struct world *w, void *to, const struct segment *g, const uint8_t *ip, uint32_t ip_len)
{
	struct target_host *h = to;

	(void)w, (void)g;
	if (h->lwip)
		lwip_input(h, ip, ip_len);
	else
		target_input(h, ip, ip_len);
}

/* --- the engine's calls -------------------------------------------------------------------------- */

static void engine_time(struct world *w, void *arg, uint64_t n)
{
	(void)arg;
	if (w->copy.timer_at != n)
		return;
	w->copy.timer_at = 0;
	if (w->now > w->copy.wakes_since + 10 * WHEEL_TICK_NS) {
		w->copy.wakes_since = w->now;
		w->copy.wakes = 0;
	}
	if (++w->copy.wakes > MOST_WAKES)
		fail(w, "the engine was woken %u times in ten ticks", w->copy.wakes);
	w->copy.advancing = true;
	engine_advance(w->copy.e, w->now);
	w->copy.advancing = false;
	copy_leave(w);
}

void copy_leave(struct world *w)
{
	struct copy *k = &w->copy;
	uint64_t next;

	if (++k->step % k->check_every == 0)
		engine_check(k->e);
	if (w->day)
		day_check(w);
	referee_step(w);
	if (w->now == k->last_time) {
		if (++k->same_time_steps > 20000)
			fail(w, "%u steps without the time going on", k->same_time_steps);
	} else {
		k->same_time_steps = 0;
		k->last_time = w->now;
	}
	if (k->emitted_now > 4096)
		fail(w, "%u segments were emitted in one step", k->emitted_now);
	k->emitted_now = 0;
	if (k->n_out > FLUSH_AT || (k->n_out && !k->batch)) {
		flush(w);
	} else if (!k->flush_due) {
		k->flush_due = true;
		at(w, w->now + k->batch, flush_time, NULL, 0);
	}
	next = engine_next(k->e);
	if (next != UINT64_MAX && (!k->timer_at || next < k->timer_at)) {
		k->timer_at = MAX(next, w->now + 1);
		at(w, k->timer_at, engine_time, NULL, k->timer_at);
	}
}

void copy_captured(struct world *w, struct conn *c, struct segment *g)
{
	struct flow_key key = { .client = g->tuple.src, .online = g->tuple.dst };
	uint64_t doubtful = engine_counters(w->copy.e)->doubtful;

	referee_told(w, c, g);
	w->copy.telling = c->n_told ? c : NULL;
	w->copy.last_input = w->now;
	for (unsigned i = 0; i < w->copy.n_targets; i++) {
		key.target = (uint16_t)i;
		engine_captured(w->copy.e, &key, g, w->now);
		engine_captured_all(w->copy.e, g->time);
		if (c->n_told)
			referee_taken(w, c, i);
		if (engine_counters(w->copy.e)->doubtful != doubtful)
			referee_doubt(w, c);
		if (w->trace) {
			struct session *s = engine_find(w->copy.e, &key);
			char line[400];

			if (s)
				trace(w, "  session %llx: %s", (unsigned long long)session_id(s),
				      session_format(line, sizeof(line), s));
		}
	}
	w->copy.telling = NULL;
	unseen_told(w, c);
	copy_leave(w);
}

void copy_foreign(struct world *w, const struct segment *g)
{
	struct flow_key key = { .client = g->tuple.src, .online = g->tuple.dst };

	if (w->now < w->capture.from)
		return;
	w->copy.last_input = w->now;
	for (unsigned i = 0; i < w->copy.n_targets; i++) {
		key.target = (uint16_t)i;
		engine_captured(w->copy.e, &key, g, w->now);
		engine_captured_all(w->copy.e, g->time);
	}
	copy_leave(w);
}

static void server_says(struct world *w, const struct segment *g)
{
	struct flow_key key = { .client = g->tuple.dst, .online = g->tuple.src };

	w->copy.last_input = w->now;
	for (unsigned i = 0; i < w->copy.n_targets; i++) {
		key.target = (uint16_t)i;
		engine_server(w->copy.e, &key, g, w->now);
	}
	copy_leave(w);
}

static void server_says_late(struct world *w, void *arg, uint64_t n)
{
	(void)n;
	server_says(w, arg);
	free(arg);
}

/* A RST is told when all that was captured before it has been, which takes its time (doc/SESSION.md). */
#define RST_WAITS (100 * NS_PER_MS)

void copy_server(struct world *w, const struct segment *g)
{
	struct flow_key key = { .client = g->tuple.dst, .online = g->tuple.src };
	struct segment *late;

	if (!w->copy.cfg.prove || w->now < w->capture.from || !(g->flags & (TCPF_SYN | TCPF_RST)))
		return;
	if (!(g->flags & TCPF_RST)) {
		server_says(w, g);
		return;
	}
	late = malloc(sizeof(*late));
	if (!late)
		abort();
	*late = *g;
	for (unsigned i = 0; i < w->copy.n_targets; i++) {
		key.target = (uint16_t)i;
		engine_server_resets(w->copy.e, &key, g);
	}
	at(w, w->now + RST_WAITS, server_says_late, late, 0);
}

void copy_narrow(struct world *w, void *arg, uint64_t mtu)
{
	(void)arg;
	flush(w);
	w->copy.mtu = (uint32_t)mtu;
	for (unsigned i = 0; i < w->copy.n_targets; i++)
		engine_set_target_mtu(w->copy.e, i, (uint32_t)mtu, !w->copy.routed);
	referee_narrower(w);
}

/* The capture counts what it loses. */
void copy_capture_lost(struct world *w)
{
	unseen_lost(w);
	engine_capture_lost(w->copy.e, w->now);
	copy_leave(w);
}

/* --- beginning and end --------------------------------------------------------------------------- */

static void op_ended(void *arg, const struct session *s, enum session_outcome o)
{
	struct world *w = arg;

	ask_ended(w, s, o);
	w->sum_ended[o] += !(w->stopped && o == OUTCOME_CAPTURE_HOLE); /* those are to be found gone */
	referee_ended(w, session_id(s), o);
	trace(w, "session %llx ends: %s", (unsigned long long)session_id(s), session_outcome_name(o));
}

static void op_path(void *arg, unsigned target, const struct path *p)
{
	(void)target;
	trace(arg, "the way takes %u bytes: proved %u, at most %u, base %u", p->limit, p->proved, p->most,
	      p->base);
	referee_path(arg);
}

void copy_start(struct world *w)
{
	struct copy *k = &w->copy;

	referee_begin(w);
	k->ops = (struct engine_ops){
		.emit = op_emit,
		.watch = channel_watch,
		.unwatch = channel_unwatch,
		.ended = op_ended,
		.path = op_path,
		.online_ask = k->blind ? NULL : ask_online,
	};
	if (w->subject == SUBJECT_SOURCES)
		sources_begin(w);
	/* it begins with the capture: what is silent is counted from then on */
	k->e = engine_new(&k->cfg, &k->ops, w, MAX(w->now, w->capture.from));
	if (!k->e)
		abort();
	for (unsigned i = 0; i < k->n_targets; i++) {
		if (engine_add_target(k->e, &k->target[i].at, k->mtu) != (int)i)
			abort();
		engine_set_target_mtu(k->e, i, k->mtu, !k->routed);
	}
	if (k->target[0].lwip)
		k->target[0].lwip = lwip_start(w, &k->target[0]);
	copy_restore_channel(w);
}

void copy_cut_channel(struct world *w)
{
	struct copy *k = &w->copy;

	trace(w, "the channel is cut");
	referee_channel_cut(w);
	k->channel_epoch++;
	k->channel_up = false;
	k->n_watched = k->n_early = k->n_backlog = 0;
	k->backlog_due = false;
	engine_channel_down(k->e);
	copy_leave(w);
}

/* Announcing the sessions again takes its time. */
static void room_time(struct world *w, void *arg, uint64_t epoch)
{
	struct copy *k = &w->copy;

	(void)arg;
	if (epoch != k->channel_epoch || !engine_announcing(k->e))
		return;
	engine_channel_room(k->e, (unsigned)rng_below(w, 8), w->now);
	at(w, w->now + NS_PER_MS, room_time, NULL, epoch);
	copy_leave(w);
}

void copy_restore_channel(struct world *w)
{
	trace(w, "the channel is up");
	referee_channel_cut(w); /* a SYN may be announced and sent again */
	w->copy.channel_up = true;
	w->copy.channel_epoch++;
	w->copy.last_input = w->now;
	engine_channel_up(w->copy.e, 0, w->now);
	room_time(w, NULL, w->copy.channel_epoch);
	copy_leave(w);
}

void copy_shutdown(struct world *w)
{
	engine_shutdown(w->copy.e, w->now);
	copy_leave(w);
}

void copy_free(struct world *w)
{
	/* what is on the channel still owns memory */
	for (struct event *v = w->heap; v < w->heap + w->n_heap; v++)
		if (v->fn == channel_response_arrives || v->fn == channel_order_arrives ||
		    v->fn == server_says_late)
			free(v->arg);
	engine_free(w->copy.e);
	sources_free(w);
	referee_free(w);
}
