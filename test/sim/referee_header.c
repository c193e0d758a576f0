/*
 * Simulator: the referee of headers - theory of operation
 *
 * What the client's own segments said, those of its copy say too: TTL, DSCP, IP id, window, the options of
 * the SYN. Timestamps never go back, and never run ahead of the client's clock; what is echoed is the
 * target's highest. See doc/SESSION.md, "Sequence space and fields", "Options" and "Windows".
 */
#include "referee.h"

void judge_timestamps(struct world *w, struct replica *r, const struct tx_segment *t,
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
	if (r->orderly && r->established && w->now <= r->heard_at + TS_AGE && o->tsecr != r->ts_recent)
		fail(w, "port %u: TSecr %u, the target's highest is %u", t->tuple.src.port, o->tsecr,
		     r->ts_recent);
	if (t->flags & TCPF_ACK && !w->copy.target[r->target].lwip && w->now <= r->heard_at + TS_AGE &&
	    seq_gt(o->tsecr, stack_clock(w, &w->copy.target[r->target].p)))
		fail(w, "port %u: TSecr %u is more than the target's clock shows, %u", t->tuple.src.port,
		     o->tsecr, stack_clock(w, &w->copy.target[r->target].p));
	r->has_ts = true;
	r->ts_emitted = o->tsval;
	r->ts_at = w->now;
}

uint16_t shown_window(const struct world *w, const struct replica *r, uint16_t raw)
{
	if (r->joined)
		return raw && r->ws_ok ? MAX(raw, 512) : raw ? 65535 : 0;
	if (r->syn.opt.has_wscale && !r->ws_ok)
		return (uint16_t)MIN(65535u, (uint32_t)raw << r->syn.opt.wscale);
	(void)w;
	return raw;
}

uint32_t window_bytes(const struct world *w, const struct replica *r, uint16_t shown)
{
	(void)w;
	return (uint32_t)shown << (!r->ws_ok ? 0 : r->joined ? 7 : r->syn.opt.wscale);
}

/* What the client's own segments said, those of this session say too. */
void judge_header(struct world *w, struct replica *r, const struct tx_segment *t, uint16_t id, uint16_t raw)
{
	const struct told *g = &r->syn;
	uint16_t window = t->flags & TCPF_SYN ? raw : shown_window(w, r, raw);

	if (t->ttl != g->ttl || t->tos != (g->tos & 0xfc) || t->df != g->df || t->flow_label != g->flow_label)
		fail(w, "port %u: TTL %u TOS %02x DF %d label %x, the client's has %u %02x %d %x",
		     r->source.port, t->ttl, t->tos, t->df, t->flow_label, g->ttl, g->tos, g->df,
		     g->flow_label);
	if (r->orderly && t->ip_id != id)
		fail(w, "port %u seq %u flags %02x: IP id %u, not %u", r->source.port, t->seq - r->iss,
		     t->flags, t->ip_id, id);
	if (r->orderly && t->flags & (TCPF_ACK | TCPF_SYN) && t->window != window)
		fail(w, "port %u seq %u flags %02x: window %u, not %u", r->source.port, t->seq - r->iss,
		     t->flags, t->window, window);
	if (t->flags & (TCPF_ECE | TCPF_CWR) || (t->flags & TCPF_URG && !t->urgent))
		fail(w, "port %u: flags %02x", r->source.port, t->flags);
}

void judge_syn(struct world *w, struct replica *r, const struct tx_segment *t, const struct tcp_options *o)
{
	const struct tcp_options *c = &r->syn.opt;
	struct tcp_options joined = { .mss = JOINED_MSS(r),
				      .has_wscale = true,
				      .wscale = 7,
				      .has_ts = c->has_ts,
				      .has_sack_permitted = true,
				      .tsval = c->tsval };

	if (w->copy.cfg.prove || r->continued) /* which of the two it is, or was, is not known */
		joined = *o;
	if (r->joined || w->copy.cfg.prove)
		c = &joined;
	if (o->mss != c->mss || o->has_wscale != c->has_wscale || o->wscale != c->wscale ||
	    o->has_sack_permitted != c->has_sack_permitted || o->has_ts != c->has_ts || o->tsval != c->tsval)
		fail(w, "port %u: the SYN has other options than the client's", r->source.port);
	judge_header(w, r, t, (uint16_t)(r->ip_id + 1), r->joined ? 64240 : r->syn.window);
}
