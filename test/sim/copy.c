/*
 * Simulator: the engine in its place - theory of operation
 *
 * What tcpcopy's pipeline and intercept do around the engine: captured segments go in, emitted ones are kept
 * to the end of the batch and then leave as IP packets (built, and later parsed, by the packet library, so
 * that lengths and checksums are judged too); the targets' answers are looked up among the watched tuples and
 * come back over an ordered channel that may be slow, merge records, or be cut. Every step ends in
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

/* --- channel and assistant ----------------------------------------------------------------------- */

struct order { /* WATCH or UNWATCH on its way */
	struct watched watched;
	bool add;
};

static void response_arrives(struct world *w, void *arg, uint64_t epoch);

static void channel_send(struct world *w, uint64_t id, const struct segment *g)
{
	struct response *r = malloc(sizeof(*r));
	struct segment header = *g;

	if (!r)
		abort();
	header.captured = 0; /* its payload stayed in the packet, which is gone */
	*r = response_from_segment(id, &header);
	at(w, w->now + w->copy.channel_delay, response_arrives, r, w->copy.channel_epoch);
}

/* A SYN-ACK that acknowledges another number is of a connection that is still to be announced. */
static bool is_for(const struct watched *k, const struct segment *g)
{
	return tuple_eq(&k->response, &g->tuple) &&
	       ((g->flags & (TCPF_SYN | TCPF_ACK)) != (TCPF_SYN | TCPF_ACK) || g->ack == k->number + 1);
}

static void order_arrives(struct world *w, void *arg, uint64_t epoch)
{
	struct order *o = arg;
	struct copy *k = &w->copy;
	unsigned i;

	for (i = 0; i < k->n_watched; i++)
		if (o->add ? tuple_eq(&k->watched[i].response, &o->watched.response)
			   : k->watched[i].id == o->watched.id)
			break;
	if (epoch != k->channel_epoch) {
		free(o); /* it was on its way when the channel was cut */
		return;
	}
	if (o->add) {
		if (i == ARRAY_SIZE(k->watched))
			abort();
		k->watched[i] = o->watched;
		k->n_watched = MAX(k->n_watched, i + 1);
		for (unsigned n = 0; n < k->n_early; n++)
			if (w->now <= k->early[n].until && is_for(&o->watched, &k->early[n].g)) {
				channel_send(w, o->watched.id, &k->early[n].g);
				k->early[n].until = 0;
			}
	} else if (i < k->n_watched) {
		k->watched[i] = k->watched[--k->n_watched];
	}
	free(o);
}

static void op_order(void *arg, uint64_t id, const struct tuple *response, uint32_t number, bool add)
{
	struct world *w = arg;
	struct order *o = malloc(sizeof(*o));

	if (!o)
		abort();
	*o = (struct order){ { id, *response, number }, add };
	at(w, w->now + w->copy.channel_delay, order_arrives, o, w->copy.channel_epoch);
}

static void forge(struct world *w, uint64_t id, const struct response *like);
static void forge_time(struct world *w, void *arg, uint64_t id);

static void op_watch(void *arg, uint64_t id, const struct tuple *response, uint32_t number)
{
	struct world *w = arg;

	referee_watched(w, id, response);
	if (rng_chance(w, w->copy.forged))
		at(w, w->now + 1 + rng_below(w, 20 * NS_PER_MS), forge_time, NULL, id);
	sources_watched(w, id, response);
	op_order(arg, id, response, number, true);
}

static void op_unwatch(void *arg, uint64_t id, const struct tuple *response)
{
	referee_unwatched(arg, id);
	op_order(arg, id, response, 0, false);
}

static void deliver(struct world *w, const struct response *r)
{
	const uint64_t unknown = engine_counters(w->copy.e)->responses_unknown;

	if (w->trace)
		trace(w, "  response to session %llx: flags %02x ack %u seq %u len %u win %u merged %u",
		      (unsigned long long)r->id, r->flags, r->ack, r->seq, r->len, r->window, r->merged);
	w->copy.last_input = w->now;
	referee_response(w, r);
	engine_response(w->copy.e, r, w->now);
	referee_responded(w, r, engine_counters(w->copy.e)->responses_unknown != unknown);
	copy_leave(w);
}

/*
 * What somebody sends who does not see the connection: responses of session @id that no TCP believes. @like
 * is one that it would.
 */
static void forge(struct world *w, uint64_t id, const struct response *like)
{
	const struct replica *r = w->copy.replica;
	struct response f = { .id = id, .flags = TCPF_ACK, .window = 1000 };
	uint32_t far = (1u << 28) + (uint32_t)rng_below(w, 1u << 20);

	while (r->used && !(r->conn && r->id == id))
		r++;
	if (!r->used || r->over)
		return;
	if (like) {
		f.seq = like->seq;
		f.ack = like->ack;
		f.window = like->window;
	}
	switch (rng_below(w, 8)) {
	case 0:
		f.ack += far;
		f.len = (uint32_t)rng_below(w, 2) * 100;
		break;
	case 1:
		f.flags = 0;
		f.len = 100;
		break;
	case 2:
		f.flags |= TCPF_RST;
		f.ack += far;
		break;
	case 3:
		f.flags = TCPF_RST;
		f.seq += (1u << 30) + far;
		break;
	case 4:
		if (!r->established || !seq_gt(f.seq + far, r->a.most))
			return;
		f.seq += far; /* within 2^30, and beyond every window that was shown */
		f.len = 100;
		break;
	case 5:
		if (!r->established)
			return;
		f.seq += (1u << 30) + far;
		f.len = 100;
		break;
	case 6:
		if (!r->established)
			return;
		f.flags |= TCPF_SYN;
		f.seq += far;
		break;
	default:
		f.ack -= far;
		f.len = (uint32_t)rng_below(w, 2) * 100;
		f.seq -= f.len;
		break;
	}
	deliver(w, &f);
}

static void forge_time(struct world *w, void *arg, uint64_t id)
{
	(void)arg;
	for (unsigned i = 0; i < 8; i++)
		forge(w, id, NULL);
}

/* One that has come by the channel. */
static void deliver_next(struct world *w, const struct response *r)
{
	if (rng_chance(w, w->copy.forged))
		forge(w, r->id, r);
	deliver(w, r);
}

static void backlog_time(struct world *w, void *arg, uint64_t epoch)
{
	struct copy *k = &w->copy;
	unsigned n = k->n_backlog;
	static struct response r[ARRAY_SIZE(k->backlog)];

	(void)arg;
	k->backlog_due = false;
	k->n_backlog = 0;
	memcpy(r, k->backlog, n * sizeof(*r));
	for (unsigned i = 0; i < n && epoch == k->channel_epoch; i++)
		deliver_next(w, &r[i]);
}

static void response_arrives(struct world *w, void *arg, uint64_t epoch)
{
	struct response r = *(struct response *)arg;
	struct copy *k = &w->copy;

	free(arg);
	if (epoch != k->channel_epoch)
		return;
	if (!k->merging) {
		deliver_next(w, &r);
		return;
	}
	for (unsigned i = k->n_backlog; i-- > 0;)
		if (k->backlog[i].id == r.id) {
			if (response_merge(&k->backlog[i], &r))
				return;
			break;
		}
	if (k->n_backlog == ARRAY_SIZE(k->backlog)) {
		backlog_time(w, NULL, epoch);
		k->backlog_due = true;
	}
	k->backlog[k->n_backlog++] = r;
	if (!k->backlog_due) {
		k->backlog_due = true;
		at(w, w->now + k->merge_interval, backlog_time, NULL, epoch);
	}
}

/* A target's packet, on its way to the assistant. */
void target_output(struct target_host *h, const struct segment *g)
{
	struct world *w = h->w;

	referee_target_sent(w, h->index, g);
	link_send(w, &w->copy.to_assistant[h->index], h, g, NULL, 0);
}

void to_assistant_input(struct world *w, void *to, const struct segment *g, const uint8_t *ip,
			uint32_t ip_len)
{
	struct copy *k = &w->copy;

	(void)to, (void)ip, (void)ip_len;
	if (!k->channel_up)
		return;
	for (unsigned i = 0; i < k->n_watched; i++)
		if (is_for(&k->watched[i], g)) {
			channel_send(w, k->watched[i].id, g);
			return;
		}
	for (unsigned i = 0; i < ARRAY_SIZE(k->early); i++)
		if (k->early[i].until < w->now) {
			k->early[i] = (struct held){ *g, w->now + k->hold_early };
			k->n_early = MAX(k->n_early, i + 1);
			return;
		}
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
		.watch = op_watch,
		.unwatch = op_unwatch,
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
		if (v->fn == response_arrives || v->fn == order_arrives || v->fn == server_says_late)
			free(v->arg);
	engine_free(w->copy.e);
	sources_free(w);
	referee_free(w);
}
