/*
 * Simulator: the referee of what the engine sends - theory of operation
 *
 * It stands between the engine and its world and hears everything: each captured segment that the engine is
 * told of, each response, and each segment that it sends. From that it knows of every session (struct
 * replica) what its TCP must be doing, by rules that are written down here once more, from the RFCs and
 * doc/SESSION.md, and not from the engine's sources:
 *
 *   referee.c       the segments are the client's; acknowledgments come in time
 *   referee_loss.c  a retransmission has a reason, what has one is sent, and the congestion window holds
 *   referee_turn.c  no turn goes before its time, none waits longer, and so it is with acknowledgments
 *
 * Where it cannot know, because captured bytes are missing, say, it is silent.
 */
#include "referee.h"

#include <stdlib.h>
#include <string.h>

#include "packet/options.h"

#define ACK_DELAY (40 * NS_PER_MS)

/* --- sessions -------------------------------------------------------------------------------- */

#define MOST_REPLICAS 256

void referee_begin(struct world *w)
{
	w->copy.replica = calloc(MOST_REPLICAS, sizeof(struct replica));
	if (!w->copy.replica)
		abort();
}

struct replica *replica_of(struct world *w, const struct endpoint *source, unsigned target)
{
	struct replica *r = w->copy.replica;

	for (; r < w->copy.replica + MOST_REPLICAS - 1; r++)
		if (!r->used || (r->target == target && endpoint_eq(&r->source, source)))
			break;
	if (r == w->copy.replica + MOST_REPLICAS - 1)
		abort();
	r->used = true;
	r->source = *source;
	r->target = target;
	return r;
}

static struct replica *replica_by_id(struct world *w, uint64_t id)
{
	for (struct replica *r = w->copy.replica; r->used; r++)
		if (r->conn && r->id == id)
			return r;
	return NULL;
}

unsigned referee_target(const struct world *w, const struct endpoint *at)
{
	for (unsigned i = 0; i < w->copy.n_targets; i++)
		if (endpoint_eq(&w->copy.target[i].at, at))
			return i;
	abort();
}

/* The engine announces a session: a new one begins, unless it is announced again. */
void referee_watched(struct world *w, uint64_t id, const struct tuple *response)
{
	struct replica *r = replica_of(w, &response->dst, referee_target(w, &response->src));

	if (r->conn && r->id == id)
		return;
	sender_free(&r->s);
	*r = (struct replica){
		.used = true,
		.source = r->source,
		.target = r->target,
		.id = id,
		.irs = r->irs,
		.edge = r->edge,
		.scale = r->scale,
		.has_edge = r->has_edge,
	};
}

static bool v4(const struct replica *r)
{
	return addr_is_v4(&r->source.addr);
}

/* --- what the engine is told ------------------------------------------------------------------ */

static void tell(struct replica *r, const struct told *t)
{
	uint32_t end = t->seq + t->len + (t->flags & TCPF_FIN && t->whole);

	if (!r->orderly || t->flags & (TCPF_SYN | TCPF_RST))
		return;
	if (!t->whole || seq_gt(t->seq, r->told_nxt) ||
	    (seq_lt(t->seq, r->told_nxt) && seq_gt(end, r->told_nxt)))
		r->orderly = r->s.exact = false;
	else if (t->seq == r->told_nxt)
		r->told_nxt = end;
}

void referee_told(struct world *w, struct conn *c, const struct segment *g)
{
	if (c->n_told == c->told_size) {
		c->told_size = c->told_size ? 2 * c->told_size : 64;
		c->told = realloc(c->told, c->told_size * sizeof(*c->told));
		if (!c->told)
			abort();
	}
	c->told[c->n_told++] = (struct told){
		.time = g->time,
		.seq = g->seq + !!(g->flags & TCPF_SYN),
		.len = g->captured,
		.ack = g->ack,
		.tsval = g->opt.tsval,
		.has_ts = g->opt.has_ts,
		.window = g->window,
		.ip_id = g->ip_id,
		.gso_size = g->gso_size,
		.urgent = g->urgent,
		.flags = g->flags,
		.whole = g->captured == g->len,
	};
	for (struct replica *r = w->copy.replica; r->used; r++)
		if (r->conn == c && !r->over)
			tell(r, &c->told[c->n_told - 1]);
}

/* --- the SYN ---------------------------------------------------------------------------------- */

static struct conn *conn_of(struct world *w, const struct endpoint *client, uint32_t iss)
{
	for (unsigned i = w->n_conns; i-- > 0;) {
		struct conn *c = &w->conn[i];

		if (c->started && endpoint_eq(&c->client, client) && iss - c->c.iss <= c->stream_len)
			return c;
	}
	fail(w, "port %u: a SYN was sent that is no client's", client->port);
}

/*
 * Where in what the engine was told session @r begins: with a SYN that no session has begun with, or it was
 * joined at the newest data behind its own SYN.
 */
static unsigned beginning(struct replica *r)
{
	struct conn *c = r->conn;

	for (unsigned i = c->n_told; i-- > c->begun[r->target];)
		if (c->told[i].flags & TCPF_SYN && c->told[i].seq == r->iss + 1) {
			c->begun[r->target] = i + 1;
			return i;
		}
	r->joined = true;
	for (unsigned i = c->n_told; i-- > 0;)
		if (c->told[i].len && c->told[i].seq == r->iss + 1)
			return i;
	return c->n_told;
}

static void syn_sent(struct world *w, struct replica *r, const struct tx_segment *t)
{
	bool again = r->conn != NULL;

	if (again && t->seq != r->iss)
		fail(w, "port %u: the SYN was sent again with another number", r->source.port);
	if (!again) {
		r->conn = conn_of(w, &r->source, t->seq);
		r->iss = t->seq;
		r->started_at = w->now;
	}
	sender_syn(w, r, again);
	if (again)
		return;
	r->told_nxt = r->iss + 1;
	r->orderly = true;
	for (unsigned i = beginning(r); i < r->conn->n_told; i++)
		tell(r, &r->conn->told[i]);
}

/* --- what it sends ---------------------------------------------------------------------------- */

/* The captured segment that [@seq, @seq + @len) is of; NULL: none has all of it. */
static const struct told *told_of(struct replica *r, uint32_t seq, uint32_t len, bool fin)
{
	const struct conn *c = r->conn;

	for (unsigned n = 0; n < c->n_told; n++) {
		unsigned i = (r->hint + n) % c->n_told;
		const struct told *t = &c->told[i];

		if (seq_le(t->seq, seq) && seq_le(seq + len, t->seq + t->len) &&
		    (!fin || (t->flags & TCPF_FIN && t->whole && seq + len == t->seq + t->len))) {
			r->hint = i;
			return t;
		}
	}
	return NULL;
}

static void referee_timestamps(struct world *w, struct replica *r, const struct tx_segment *t,
			       const struct tcp_options *o)
{
	if (!o->has_ts)
		return;
	/* RFC 7323 5.5: after so long a silence nobody remembers the last one */
	if (r->has_ts && seq_lt(o->tsval, r->ts_emitted) && w->now <= r->ts_at + TS_AGE)
		fail(w, "port %u seq %u flags %02x: TSval went back from %u to %u", t->tuple.src.port,
		     t->seq - r->iss, t->flags, r->ts_emitted, o->tsval);
	if (w->client_p.ts && w->online_p.ts && seq_gt(o->tsval, stack_clock(w, &w->client_p)))
		fail(w, "port %u: TSval %u is more than the client's clock shows, %u", t->tuple.src.port,
		     o->tsval, stack_clock(w, &w->client_p));
	if (t->flags & TCPF_ACK && !w->copy.target[r->target].lwip && w->now <= r->heard_at + TS_AGE &&
	    seq_gt(o->tsecr, stack_clock(w, &w->copy.target[r->target].p)))
		fail(w, "port %u: TSecr %u is more than the target's clock shows, %u", t->tuple.src.port,
		     o->tsecr, stack_clock(w, &w->copy.target[r->target].p));
	r->has_ts = true;
	r->ts_emitted = o->tsval;
	r->ts_at = w->now;
}

static void data_sent(struct world *w, struct replica *r, const struct tx_segment *t)
{
	bool fin = t->flags & TCPF_FIN;
	uint32_t end = t->seq + t->len;
	const struct conn *c = r->conn;
	const struct told *g = told_of(r, t->seq, t->len, fin);

	if (!r->has_edge || seq_gt(end, r->edge))
		fail(w, "seq %u len %u was emitted beyond the target's window, which ends at %u",
		     t->seq - r->iss, t->len, r->edge - r->iss);
	if (t->seq - c->c.iss - 1 + t->len <= c->stream_len &&
	    !content_equal(c, t->seq - c->c.iss - 1, t->payload, t->len))
		fail(w, "wrong bytes were emitted for connection %u, seq %u len %u", c->index,
		     t->seq - c->c.iss, t->len);
	if (!g)
		fail(w, "port %u: no captured segment has all of seq %u len %u%s", r->source.port,
		     t->seq - r->iss, t->len, fin ? " and FIN" : "");
	sender_data(w, r, t->seq, t->len + fin,
		    end != g->seq + g->len || (!fin && g->flags & TCPF_FIN && g->whole));
}

void referee_emitted(struct world *w, const struct tx_segment *t)
{
	struct replica *r = replica_of(w, &t->tuple.src, referee_target(w, &t->tuple.dst));
	struct tcp_options o;

	if (t->options_len % 4 || !tcp_options_parse(&o, t->options, t->options_len))
		fail(w, "malformed options were emitted");
	if (o.n_sack || o.has_mptcp || o.has_tfo || o.has_unknown)
		fail(w, "an option was emitted that may not be");
	if (t->flags & TCPF_SYN)
		syn_sent(w, r, t);
	if (!r->conn)
		fail(w, "port %u: something was sent before its SYN", r->source.port);
	if (t->flags & TCPF_RST)
		return;
	referee_timestamps(w, r, t, &o);
	if (t->flags & TCPF_ACK) {
		r->acked = t->ack;
		r->owes = r->owes && seq_lt(t->ack, r->owed);
	}
	if (t->len + !!(t->flags & TCPF_FIN) && !(t->flags & TCPF_SYN))
		data_sent(w, r, t);
}

/* --- what the target answers ------------------------------------------------------------------- */

/* A target's segment leaves it: windows that it has offered are known from here on. */
void referee_target_sent(struct world *w, unsigned target, const struct segment *g)
{
	struct replica *r = replica_of(w, &g->tuple.dst, target);

	trace_segment(w, "  target", g, r->irs, r->iss);
	if (g->flags & TCPF_SYN) {
		r->scale = g->opt.has_wscale ? g->opt.wscale : 0;
		r->irs = g->seq;
		r->has_edge = false;
	}
	if (!(g->flags & TCPF_RST)) {
		uint32_t edge = g->ack + ((uint32_t)g->window << (g->flags & TCPF_SYN ? 0 : r->scale));

		if (!r->has_edge || seq_gt(edge, r->edge))
			r->edge = edge;
		r->has_edge = true;
	}
}

static const struct told *syn_of(const struct replica *r)
{
	for (unsigned i = 0; i < r->conn->n_told; i++)
		if (r->conn->told[i].flags & TCPF_SYN)
			return &r->conn->told[i];
	return NULL;
}

static void established(struct world *w, struct replica *r, const struct response *a)
{
	uint32_t fixed = v4(r) ? 40 : 60, theirs = a->opt.mss ? a->opt.mss : v4(r) ? 536 : 1220;
	const struct told *syn = syn_of(r);

	r->established = true;
	r->rcv_nxt = a->seq + 1;
	r->acked = a->seq;
	r->ts_ok = a->opt.has_ts && (r->joined ? r->has_ts : syn->has_ts);
	r->ws_ok = a->opt.has_wscale && (r->joined || w->client_p.wscale >= 0);
	r->sack_ok = a->opt.has_sack_permitted && (r->joined || w->client_p.sack);
	r->mss = (uint16_t)(MAX(88u, MIN(theirs, w->copy.mtu - fixed)) - (r->ts_ok ? 12 : 0));
	sender_established(w, r, a);
}

static void syn_answered(struct world *w, struct replica *r, const struct response *a)
{
	if (a->flags & TCPF_RST || !(a->flags & TCPF_ACK))
		return;
	if (a->flags & TCPF_SYN && a->ack == r->iss + 1) {
		established(w, r, a);
	} else if (a->ack == r->iss + 1 && (a->len || a->flags & TCPF_FIN)) {
		return; /* of the connection before, under way when its RST was */
	} else if (r->leftovers < 4 && !(r->leftovers && r->leftover_ack == a->ack)) {
		r->leftovers++;
		r->leftover_ack = a->ack;
		r->leftover_owed = true;
	}
}

static bool believed(const struct replica *r, const struct response *a)
{
	if (a->seq - r->rcv_nxt + (1u << 30) > 2u << 30)
		return false;
	return a->flags & TCPF_ACK && !(a->flags & (TCPF_SYN | TCPF_RST)) && seq_ge(a->ack, r->s.una) &&
	       seq_le(a->ack, r->s.nxt);
}

static void owes(struct world *w, struct replica *r, const struct response *a)
{
	uint32_t end = a->seq + a->len + !!(a->flags & TCPF_FIN);

	if (end == a->seq || seq_le(end, r->acked) || r->owes)
		return;
	r->owes = true;
	r->owes_since = w->now;
	r->owed = end;
}

/* The engine is about to be given @a. */
void referee_response(struct world *w, const struct response *a)
{
	struct replica *r = replica_by_id(w, a->id);
	struct target_host *h;

	if (!r)
		return;
	h = &w->copy.target[r->target];
	if (!r->over || w->now < r->over_at + NS_PER_SEC) {
		if (w->now - h->heard_at > NS_PER_SEC)
			sender_revive(w, r->target);
		h->heard_at = r->heard_at = w->now;
	}
	if (r->over)
		return;
	if (!r->established) {
		syn_answered(w, r, a);
		return;
	}
	if (!believed(r, a))
		return;
	sender_ack(w, r, a);
	owes(w, r, a);
}

/* --- after each call --------------------------------------------------------------------------- */

void referee_step(struct world *w)
{
	for (struct replica *r = w->copy.replica; r->used; r++) {
		if (!r->conn || r->over)
			continue;
		if (r->owes && w->now > r->owes_since + ACK_DELAY + LATE_TICKS)
			fail(w, "the target's bytes below %u were not acknowledged for %.3f ms",
			     r->owed - r->irs, (double)(w->now - r->owes_since) / 1e6);
		if (r->leftover_owed)
			fail(w, "port %u: a leftover was met and the SYN not sent again", r->source.port);
		sender_step(w, r);
	}
}

void referee_ended(struct world *w, uint64_t id, enum session_outcome o)
{
	struct replica *r = replica_by_id(w, id);

	if (!r)
		return;
	r->over = true;
	r->over_at = w->now;
	r->outcome = o;
	sender_free(&r->s);
}

void referee_channel_cut(struct world *w)
{
	for (struct replica *r = w->copy.replica; r->used; r++)
		r->s.exact = r->orderly = false;
}

void referee_free(struct world *w)
{
	for (struct replica *r = w->copy.replica; r->used; r++)
		sender_free(&r->s);
	free(w->copy.replica);
	for (unsigned i = 0; i < w->n_conns; i++)
		free(w->conn[i].told);
}
