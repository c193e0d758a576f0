/*
 * Simulator: the referee of what the engine sends - theory of operation
 *
 * It stands between the engine and its world and hears everything: each captured segment that the engine is
 * told of, each response, and each segment that it sends. From that it knows of every session (struct
 * replica) what its TCP must be doing, by rules that are written down here once more, from the RFCs and
 * doc/SESSION.md, and not from the engine's sources:
 *
 *   referee.c       what is sent is of the client's stream
 *   referee_header.c  and so are the fields of its header
 *   referee_loss.c  a retransmission has a reason, what has one is sent, and the congestion window holds
 *   referee_outcome.c  a session ends for its reason, and in time
 *   referee_exchange.c  answers that differ are found, and none is invented
 *   referee_unseen.c  whoever is quiet is asked about, and one whose original has gone ends
 *   referee_turn.c  no turn goes before its time, none waits longer, and so it is with acknowledgments
 *
 * Where it cannot know, because captured bytes are missing, say, it is silent.
 */
#include "referee.h"

#include <stdlib.h>
#include <string.h>

#include "packet/options.h"

/* --- sessions -------------------------------------------------------------------------------- */

#define MOST_REPLICAS 256

void referee_begin(struct world *w)
{
	w->copy.replica = calloc(MOST_REPLICAS, sizeof(struct replica));
	if (!w->copy.replica)
		abort();
	unseen_start(w);
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
	if (r->watched && !w->cut_at)
		fail(w, "port %u is announced, and the session before it was not taken back", r->source.port);
	sender_free(&r->s);
	turns_free(&r->t);
	*r = (struct replica){
		.used = true,
		.source = r->source,
		.target = r->target,
		.id = id,
		.irs = r->irs,
		.edge = r->edge,
		.scale = r->scale,
		.has_edge = r->has_edge,
		.watched = true,
		.has_before = r->conn != NULL,
		.before = r->iss + 1,
		.next_known = r->next_known,
		.next_seq = r->next_seq,
	};
}

/* --- what the engine is told ------------------------------------------------------------------ */

static void tell(struct replica *r, const struct told *t)
{
	uint32_t end = t->seq + t->len + (t->flags & TCPF_FIN && t->whole);
	bool fresh = end != t->seq && t->seq == r->told_nxt;

	if (t->flags & TCPF_SYN)
		r->syn_told_at = t->time;
	if (!r->orderly || t->flags & TCPF_RST)
		return;
	if (t->flags & TCPF_SYN) {
		r->told_nxt = end; /* Fast Open */
		return;
	}
	if (!t->whole || seq_gt(t->seq, r->told_nxt) ||
	    (seq_lt(t->seq, r->told_nxt) && seq_gt(end, r->told_nxt))) {
		r->orderly = r->s.exact = false;
		return;
	}
	if (seq_lt(end, r->told_nxt)) {
		r->a.stepped = true;
		return;
	}
	if (t->flags & TCPF_ACK && (!r->t.has_turn_ack || seq_ge(t->ack, r->t.client_ack)))
		r->client_window = t->window;
	if (fresh)
		r->told_nxt = end;
	turns_told(r, t, fresh);
}

static uint64_t begun(const struct world *w)
{
	const struct engine_counters *n = engine_counters(w->copy.e);

	return n->sessions_opened + n->sessions_joined;
}

void referee_told(struct world *w, struct conn *c, const struct segment *g)
{
	w->copy.n_begun = begun(w);
	for (struct conn *d = c->reused_by; d; d = d->reused_by)
		if (d->n_told)
			return; /* what comes late is taken for the newer one's */
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
		.opt = g->opt,
		.window = g->window,
		.ip_id = g->ip_id,
		.gso_size = g->gso_size,
		.urgent = g->urgent,
		.flags = g->flags,
		.ttl = g->ttl,
		.tos = g->tos,
		.df = g->df,
		.flow_label = g->flow_label,
		.whole = g->captured == g->len,
	};
	for (struct replica *r = w->copy.replica; r->used; r++)
		if (r->conn == c && !r->over)
			tell(r, &c->told[c->n_told - 1]);
}

/* The newest that was told of @c has begun a session with @target, if there is one more now. */
void referee_taken(struct world *w, struct conn *c, unsigned target)
{
	if (begun(w) != w->copy.n_begun) {
		c->told[c->n_told - 1].begins[target] = true;
		if (!w->copy.channel_up)
			fail(w, "connection %u: a session was opened without an assistant", c->index);
	}
	w->copy.n_begun = begun(w);
}

/* The engine is in doubt about what it was told of @c: what it makes of that is not known here. */
void referee_doubt(struct world *w, const struct conn *c)
{
	if (c->n_told)
		c->told[c->n_told - 1].doubtful = true;
	for (struct replica *r = w->copy.replica; r->used; r++)
		if (r->conn == c)
			r->orderly = r->s.exact = false;
}

/* --- the SYN ---------------------------------------------------------------------------------- */

static struct conn *conn_of(struct world *w, const struct endpoint *source, uint32_t iss)
{
	const struct endpoint *client = sources_client(w, source);

	for (unsigned i = w->n_conns; i-- > 0;) {
		struct conn *c = &w->conn[i];

		if (c->started && endpoint_eq(&c->client, client) && iss - c->c.iss <= c->stream_len)
			return c;
	}
	fail(w, "port %u: a SYN was sent that is no client's", client->port);
}

/*
 * Where in what the engine was told session @r begins: with what began one when it was told; else with a
 * SYN that was in doubt then, and has the window of ours, @window. A session that goes on with what another
 * left begins with a turn of that.
 */
static unsigned beginning(struct world *w, struct replica *r, uint16_t window)
{
	struct conn *c = r->conn;

	uint64_t continued = engine_counters(w->copy.e)->sessions_continued;

	if (w->copy.n_continued != continued) {
		w->copy.n_continued = continued;
		r->continued = r->joined = true;
		outcome_continued(w, r, r->iss + 1);
		for (unsigned i = c->n_told; i-- > 0;)
			if (c->told[i].len && c->told[i].seq == r->iss + 1)
				return i;
		fail(w, "port %u: a session goes on at %u, where no segment begins", r->source.port,
		     r->iss + 1 - c->c.iss);
	}
	for (unsigned i = c->n_told; w->copy.cfg.prove && i-- > 0;)
		if (c->told[i].seq == r->iss + 1 && c->told[i].flags & TCPF_SYN &&
		    c->told[i].window == window)
			return i;
	for (unsigned i = c->n_told; w->copy.cfg.prove && i-- > 0;)
		if (c->told[i].seq == r->iss + 1 && (c->told[i].len || c->told[i].flags & TCPF_SYN)) {
			r->joined = !(c->told[i].flags & TCPF_SYN);
			return i;
		}
	if (w->copy.telling == c)
		referee_taken(w, c, r->target);
	for (unsigned i = c->n_told; i-- > 0;)
		if (c->told[i].seq == r->iss + 1 && c->told[i].begins[r->target]) {
			r->joined = !(c->told[i].flags & TCPF_SYN);
			return i;
		}
	for (unsigned i = 0; i < c->n_told; i++)
		if (c->told[i].seq == r->iss + 1 && c->told[i].flags & TCPF_SYN)
			return i;
	fail(w, "port %u: a SYN was sent for a session that nothing began", r->source.port);
}

static void syn_sent(struct world *w, struct replica *r, const struct tx_segment *t)
{
	bool again = r->conn != NULL;
	struct told g;
	unsigned i;

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
	outcome_started(w, r);
	r->told_nxt = r->t.end = r->iss + 1;
	r->t.start = r->iss;
	i = beginning(w, r, t->window);
	r->orderly = !r->continued &&
		     !w->copy.cfg.prove; /* what waits for a proof, and how long, is not known here */
	r->s.exact = r->s.exact && r->orderly && !w->copy.routed && !w->copy.takes;
	g = r->syn = r->conn->told[i];
	r->hint = i;
	r->ip_id = (uint16_t)(g.ip_id - (r->joined ? 2 : 1));
	if (r->joined && !r->continued)
		outcome_joined(w, r);
	if (sources_moved(w, &r->source)) /* it goes on counting */
		r->ip_id = (uint16_t)(t->ip_id - 1);
	r->client_window = (uint16_t)(r->joined ? g.window : g.window >> g.opt.wscale);
	r->t.turn_ack = r->t.client_ack = r->t.first_ack = g.ack;
	r->t.has_turn_ack = r->joined;
	for (; i < r->conn->n_told; i++) {
		tell(r, &r->conn->told[i]);
		if (r->conn->told[i].doubtful)
			r->orderly = r->s.exact = false;
	}
}

/* --- what it sends ---------------------------------------------------------------------------- */

const struct told *told_of(struct replica *r, uint32_t seq, uint32_t len, bool fin)
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

/* Of @t, from @g: what the way takes, or, of one at a time, what it has not been seen to take. */
static uint32_t segment_size(struct world *w, const struct replica *r, const struct told *g,
			     const struct tx_segment *t)
{
	const struct path *p = engine_path(w->copy.e, r->target);
	const uint32_t headers = (replica_v4(r) ? 40 : 60) + (r->ts_ok ? 12 : 0);
	const uint32_t mss = MIN(r->mss, MAX(88u + headers, p->limit) - headers),
		       seg = g->gso_size ? MIN(g->gso_size, mss) : mss;
	const bool probe =
		p->probing && !t->gso_size && t->len > seg && t->len <= r->mss && t->seq == r->s.nxt;

	return probe ? t->len : seg;
}

static void data_sent(struct world *w, struct replica *r, const struct tx_segment *t)
{
	bool fin = t->flags & TCPF_FIN, again = seq_lt(t->seq, r->s.nxt);
	uint32_t end = t->seq + t->len, off, seg;
	const struct conn *c = r->conn;
	const struct told *g = told_of(r, t->seq, t->len, fin);
	uint16_t raw = r->client_window;

	if (!r->has_edge || seq_gt(end + (fin && t->len), r->edge))
		fail(w, "seq %u len %u was emitted beyond the target's window, which ends at %u",
		     t->seq - r->iss, t->len, r->edge - r->iss);
	if (t->seq - c->c.iss - 1 + t->len <= c->stream_len &&
	    !content_equal(c, t->seq - c->c.iss - 1, t->payload, t->len))
		fail(w, "wrong bytes were emitted for connection %u, seq %u len %u", c->index,
		     t->seq - c->c.iss, t->len);
	if (!g)
		fail(w, "port %u: no captured segment has all of seq %u len %u%s", r->source.port,
		     t->seq - r->iss, t->len, fin ? " and FIN" : "");
	seg = segment_size(w, r, g, t);
	off = t->seq - g->seq;
	if (!again && window_bytes(w, r, shown_window(w, r, g->window)) >= 2u * r->rcv_mss)
		raw = g->flags & TCPF_SYN ? (uint16_t)(g->window >> g->opt.wscale) : g->window;
	judge_header(w, r, t, again ? (uint16_t)(r->ip_id + 1) : (uint16_t)(g->ip_id + off / seg), raw);
	if (t->gso_size != (t->len > seg ? seg : 0))
		fail(w, "port %u seq %u len %u: segments of %u bytes, not of %u", r->source.port,
		     t->seq - r->iss, t->len, t->gso_size, seg);
	if (r->orderly && !!(t->flags & TCPF_PSH) != (g->flags & TCPF_PSH && end == g->seq + g->len))
		fail(w, "port %u seq %u len %u: PSH is wrong", r->source.port, t->seq - r->iss, t->len);
	if (r->orderly && t->urgent != (g->flags & TCPF_URG && g->urgent > off ? g->urgent - off : 0))
		fail(w, "port %u seq %u: the urgent pointer is %u", r->source.port, t->seq - r->iss,
		     t->urgent);
	turns_data(w, r, t->seq, t->len + fin);
	sender_data(w, r, t->seq, t->len + fin,
		    end != g->seq + g->len || (!fin && g->flags & TCPF_FIN && g->whole));
}

void referee_emitted(struct world *w, const struct tx_segment *t)
{
	struct replica *r = replica_of(w, &t->tuple.src, referee_target(w, &t->tuple.dst));
	bool data = t->len || t->flags & TCPF_FIN;
	struct tcp_options o;

	sources_emitted(w, &t->tuple.src);
	if (t->options_len % 4 || !tcp_options_parse(&o, t->options, t->options_len))
		fail(w, "malformed options were emitted");
	if (o.n_sack || o.has_mptcp || o.has_tfo || o.has_unknown)
		fail(w, "an option was emitted that may not be");
	if (t->flags & TCPF_SYN)
		syn_sent(w, r, t);
	if (t->flags & TCPF_RST && t->seq == r->leftover_ack)
		r->leftover_reset = true;
	if (!r->conn)
		fail(w, "port %u: something was sent before its SYN", r->source.port);
	if (w->copy.cfg.prove && !(t->flags & (TCPF_SYN | TCPF_RST)) && !outcome_accepted(r->conn))
		fail(w, "port %u: the target hears of a connection that the online server has not",
		     r->source.port);
	if (!r->over && outcome_reset_waits(r) && !(t->flags & TCPF_RST))
		fail(w, "port %u: something is sent, and the target has reset it", r->source.port);
	judge_timestamps(w, r, t, &o);
	if (t->flags & TCPF_SYN)
		judge_syn(w, r, t, &o);
	else if (data)
		data_sent(w, r, t);
	else if (!r->over)
		judge_header(w, r, t, (uint16_t)(r->ip_id + 1), t->flags & TCPF_RST ? 0 : r->client_window);
	if (t->flags & TCPF_ACK)
		r->ack_owed = false;
	if (t->flags & TCPF_ACK && !(t->flags & TCPF_RST) && !r->over)
		turns_ack(w, r, t);
	r->ip_id = (uint16_t)(t->ip_id + (t->gso_size && t->len ? (t->len - 1) / t->gso_size : 0));
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

static uint32_t net_mss(const struct world *w, const struct replica *r, uint16_t option)
{
	uint32_t mss = option ? option : replica_v4(r) ? 536 : 1220;

	return MAX(88u, MIN(mss, w->copy.mtu - (replica_v4(r) ? 40 : 60))) - (r->ts_ok ? 12 : 0);
}

static void established(struct world *w, struct replica *r, const struct response *a)
{
	r->established = true;
	w->copy.target[r->target].refusals = 0;
	r->first_rcv = a->seq + 1;
	r->ts_ok = a->opt.has_ts && r->has_ts;
	r->ts_recent = a->opt.tsval;
	r->ts_recent_at = w->now;
	r->ws_ok = a->opt.has_wscale && (r->joined || r->syn.opt.has_wscale);
	r->sack_ok = a->opt.has_sack_permitted && (r->joined || r->syn.opt.has_sack_permitted);
	r->mss = (uint16_t)net_mss(w, r, a->opt.mss);
	r->rcv_mss = (uint16_t)net_mss(w, r, r->joined ? JOINED_MSS(r) : r->syn.opt.mss);
	sender_established(w, r, a);
	turns_established(w, r, a);
}

static void syn_answered(struct world *w, struct replica *r, const struct response *a)
{
	if (a->flags & TCPF_RST || !(a->flags & TCPF_ACK))
		return;
	if (a->flags & TCPF_SYN && a->ack == r->iss + 1) {
		established(w, r, a);
	} else if (a->ack == r->iss + 1 && (a->len || a->flags & TCPF_FIN || !r->s.syn_timed_out)) {
		return; /* of the connection before, under way when its RST was */
	} else if (r->leftovers < 4 && !(r->leftovers && r->leftover_ack == a->ack)) {
		r->leftovers++;
		r->leftover_ack = a->ack;
		r->leftover_owed = true;
		r->leftover_reset = false;
	}
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
	outcome_response(w, r, a);
	if (r->over)
		return;
	if (!r->established) {
		syn_answered(w, r, a);
		return;
	}
	if (!turns_response(w, r, a) || !r->ts_ok || !a->opt.has_ts)
		return;
	if (seq_gt(a->opt.tsval, r->ts_recent) || w->now - r->ts_recent_at > TS_AGE) {
		r->ts_recent = a->opt.tsval;
		r->ts_recent_at = w->now;
	}
}

/* It has, and has counted it as one to nobody, if @unknown. */
void referee_responded(struct world *w, const struct response *a, bool unknown)
{
	const struct replica *r = replica_by_id(w, a->id);

	/* of the others the next session on their source has the place */
	if (r && !w->cut_at && unknown == r->watched)
		fail(w, "port %u: a response is counted as one to %s", r->source.port,
		     unknown ? "nobody" : "somebody");
}

/* --- after each call --------------------------------------------------------------------------- */

void referee_step(struct world *w)
{
	unsigned half_open = 0;

	outcome_joins(w);
	for (struct replica *r = w->copy.replica; r->used; r++) {
		if (!r->conn)
			continue;
		half_open += !r->over && r->orderly && !r->joined && !r->t.has_turn_ack;
		outcome_step(w, r);
		if (r->over || outcome_reset_waits(r))
			continue;
		if (r->leftover_owed)
			fail(w, "port %u: a leftover was met and the SYN not sent again", r->source.port);
		sender_step(w, r);
		turns_step(w, r);
	}
	if (half_open > w->copy.cfg.max_half_open)
		fail(w, "%u sessions are half-open", half_open);
	if (w->copy.cfg.max_sessions &&
	    engine_sessions(w->copy.e) + engine_observed(w->copy.e) > w->copy.cfg.max_sessions)
		fail(w, "%u sessions live, %u are observed", engine_sessions(w->copy.e),
		     engine_observed(w->copy.e));
}

void referee_ended(struct world *w, uint64_t id, enum session_outcome o)
{
	struct replica *r = replica_by_id(w, id);

	if (!r)
		return;
	outcome_ended(w, r, o);
	r->over = true;
	r->over_at = w->now;
	r->outcome = o;
	sender_free(&r->s);
	turns_free(&r->t);
}

void referee_unwatched(struct world *w, uint64_t id)
{
	struct replica *r = replica_by_id(w, id);

	if (r)
		outcome_unwatched(w, r);
}

/* The MTU of the way to the targets is less now. */
void referee_narrower(struct world *w)
{
	for (struct replica *r = w->copy.replica; r->used; r++) {
		const uint32_t fixed = (replica_v4(r) ? 40 : 60) + (r->ts_ok ? 12 : 0);

		r->s.exact = false; /* when its MSS follows decides about its windows */
		if (r->established && r->mss > w->copy.mtu - fixed)
			r->mss = (uint16_t)MAX(88u, w->copy.mtu - fixed);
	}
}

/* The engine knows more of the way: which windows it uses with that is not known here. */
void referee_path(struct world *w)
{
	for (struct replica *r = w->copy.replica; r->used; r++)
		r->s.exact = false;
}

void referee_channel_cut(struct world *w)
{
	for (struct replica *r = w->copy.replica; r->used; r++)
		r->s.exact = r->orderly = false;
}

void referee_free(struct world *w)
{
	for (struct replica *r = w->copy.replica; r->used; r++) {
		sender_free(&r->s);
		turns_free(&r->t);
	}
	free(w->copy.replica);
	free(w->copy.lookout);
	for (unsigned i = 0; i < w->n_conns; i++)
		free(w->conn[i].told);
}
