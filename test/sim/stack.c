/*
 * Simulator: a small TCP, its sending half - theory of operation
 *
 * Written from RFC 9293, 7323, 2018, 5681, 6582 and 6298, and from nothing in src/: it is the peer
 * that judges the engine, and also the client and the online server whose traffic is captured. It
 * is strict where a receiver may be strict, and counts what it had to object to (struct
 * objections).
 *
 * What is sent has no content here: an application writes a number of bytes, and whoever needs them
 * makes them from the sequence number. Timers are events that find out by their deadline whether
 * they still count.
 */
#include "stack.h"

#include <assert.h>
#include <stdlib.h>

#define RTO_FIRST (1000 * NS_PER_MS)
#define RTO_MOST (60 * NS_PER_SEC)
#define GIVE_UP 12 /* time-outs in a row */

static void timer_fired(struct world *w, void *arg, uint64_t n);

void tcb_timer(struct tcb *t, enum tcb_timer which, uint64_t when)
{
	if (t->deadline[which] == when)
		return;
	t->deadline[which] = when;
	if (when)
		at(t->w, when, timer_fired, t, (uint64_t)which << 56 | when);
}

void tcb_init(struct tcb *t, struct world *w, const struct stack_params *p, const struct endpoint *local,
	      const struct endpoint *peer, uint32_t iss)
{
	t->w = w;
	t->p = p;
	t->local = *local;
	t->peer = *peer;
	t->iss = t->snd_una = t->snd_nxt = t->snd_max = iss;
	t->tx_end = iss + 1;
	t->snd_mss = 536;
	t->ip_id = (uint16_t)iss;
	t->ssthresh = UINT32_MAX / 2;
	t->state = T_CLOSED;
}

void tcb_free(struct tcb *t)
{
	free(t->rx);
	t->rx = NULL;
}

uint32_t stack_clock(const struct world *w, const struct stack_params *p)
{
	return p->ts_base + (uint32_t)(w->now / NS_PER_MS);
}

static uint8_t our_scale(const struct tcb *t)
{
	return t->ws_ok ? (uint8_t)t->p->wscale : 0;
}

/* The window to advertise: RFC 9293 3.8.6.2.2 against silly windows; the right edge never moves
 * back. */
static uint16_t window(struct tcb *t, bool syn)
{
	uint32_t used = tcb_readable(t), left = t->p->rcvbuf > used ? t->p->rcvbuf - used : 0;
	uint32_t edge = t->rcv_nxt + left, scale = syn ? 0 : our_scale(t), raw;
	int32_t grown = (int32_t)(edge - t->adv_edge);

	if (t->adv_edge && grown < (int32_t)MIN(t->p->mss, t->p->rcvbuf / 2))
		edge = t->adv_edge;
	if ((int32_t)(edge - t->rcv_nxt) < 0)
		edge = t->rcv_nxt;
	raw = (edge - t->rcv_nxt + (1u << scale) - 1) >> scale;
	raw = MIN(raw, 65535u);
	edge = t->rcv_nxt + (raw << scale);
	if (!t->adv_edge || (int32_t)(edge - t->adv_edge) > 0)
		t->adv_edge = edge;
	return (uint16_t)raw;
}

static void put_sack(struct tcb *t, struct tcp_options *o)
{
	unsigned most = t->ts_ok ? 3 : 4;

	if (!t->sack_ok)
		return;
	if (t->has_dup_block && t->p->dsack)
		o->sack[o->n_sack++] = (struct sack_block){ t->dup_block.start, t->dup_block.end };
	t->has_dup_block = false;
	/* the newest block first (RFC 2018 4), then the others in turn */
	for (unsigned i = 0; i < t->n_ooo && o->n_sack < most; i++) {
		const struct range *b = &t->ooo[(t->last_ooo + i) % t->n_ooo];

		o->sack[o->n_sack++] = (struct sack_block){ b->start, b->end };
	}
}

static void transmit(struct tcb *t, uint8_t flags, uint32_t seq, uint32_t len)
{
	struct segment g = {
		.tuple = { t->local, t->peer },
		.seq = seq,
		.len = len,
		.captured = len,
		.flags = flags,
		.ip_id = t->ip_id++,
		.ttl = t->p->ttl,
		.tos = t->p->tos,
		.flow_label = t->p->flow_label,
		.df = true,
		.time = t->w->now,
	};
	bool syn = flags & TCPF_SYN, ack = flags & TCPF_ACK;

	if (ack)
		g.ack = t->last_ack_sent = t->rcv_nxt;
	if (!(flags & TCPF_RST))
		g.window = window(t, syn);
	if (syn) {
		g.opt.mss = ack && t->p->no_mss ? 0 : t->p->mss;
		g.opt.has_wscale = ack ? t->ws_ok : t->p->wscale >= 0;
		g.opt.wscale = g.opt.has_wscale ? (uint8_t)t->p->wscale : 0;
		g.opt.has_sack_permitted = ack ? t->sack_ok : t->p->sack;
	}
	if (syn && !ack ? t->p->ts : t->ts_ok) {
		g.opt.has_ts = true;
		g.opt.tsval = stack_clock(t->w, t->p);
		g.opt.tsecr = ack ? t->ts_recent : 0;
	}
	if (ack && !syn && !(flags & TCPF_RST))
		put_sack(t, &g.opt);
	if (ack) {
		t->unacked = 0;
		tcb_timer(t, TT_DELACK, 0);
	}
	t->send(t, &g);
}

void tcb_ack(struct tcb *t)
{
	transmit(t, TCPF_ACK, t->snd_nxt, 0);
}

static uint64_t rto(const struct tcb *t)
{
	uint64_t base = t->srtt ? t->srtt + MAX(4 * t->rttvar, NS_PER_MS) : RTO_FIRST;

	return MIN(MAX(base, t->p->min_rto) << t->backoff, RTO_MOST);
}

static void arm(struct tcb *t)
{
	tcb_timer(t, TT_RTX, t->snd_una == t->snd_max ? 0 : t->w->now + rto(t));
}

void tcb_progress(struct tcb *t)
{
	t->backoff = 0;
	arm(t);
}

static uint32_t fin_at(const struct tcb *t)
{
	return t->tx_end;
}

static bool fin_sent(const struct tcb *t)
{
	return t->fin_wanted && (int32_t)(t->snd_max - fin_at(t)) > 0;
}

/* One segment of at most @most bytes from @seq, with the FIN if it comes to it. Returns sequence
 * space. */
static uint32_t send_from(struct tcb *t, uint32_t seq, uint32_t most, bool may_fin)
{
	uint32_t left = (int32_t)(t->tx_end - seq) > 0 ? t->tx_end - seq : 0,
		 n = MIN(MIN(left, most), t->snd_mss);
	bool fin = may_fin && t->fin_wanted && seq + n == fin_at(t);
	uint8_t flags = TCPF_ACK;

	if (!n && !fin)
		return 0;
	if (n && seq + n == t->tx_end)
		flags |= TCPF_PSH;
	if (fin)
		flags |= TCPF_FIN;
	if (!t->timing && seq == t->snd_max) {
		t->timing = true;
		t->timed_at = t->w->now;
		t->timed_seq = seq + n + fin;
	}
	transmit(t, flags, seq, n);
	return n + fin;
}

void tcb_output(struct tcb *t)
{
	bool sent = false;

	if (t->state < T_ESTABLISHED || t->state == T_FIN_WAIT_2 || t->state == T_TIME_WAIT)
		return;
	for (;;) {
		uint32_t flight = t->snd_nxt - t->snd_una, wnd = MIN(t->snd_wnd, t->cwnd);
		uint32_t avail = wnd > flight ? wnd - flight : 0, n;
		uint32_t left = (int32_t)(t->tx_end - t->snd_nxt) > 0 ? t->tx_end - t->snd_nxt : 0;

		n = MIN(MIN(left, avail), t->snd_mss);
		if (n < t->snd_mss && n < left && flight)
			break; /* silly window, RFC 9293 3.8.6.2.1 */
		if (n && n < t->snd_mss && flight && t->p->nagle && !t->fin_wanted)
			break;
		if (n < left || !left)
			n = n ? send_from(t, t->snd_nxt, n, false) : 0;
		else
			n = send_from(t, t->snd_nxt, n, avail > left);
		if (!n && !left && t->fin_wanted && t->snd_nxt == fin_at(t))
			n = send_from(t, t->snd_nxt, 0, true);
		if (!n)
			break;
		sent = true;
		t->snd_nxt += n;
		if ((int32_t)(t->snd_nxt - t->snd_max) > 0)
			t->snd_max = t->snd_nxt;
	}
	if (fin_sent(t) && (t->state == T_ESTABLISHED || t->state == T_CLOSE_WAIT))
		t->state = t->state == T_ESTABLISHED ? T_FIN_WAIT_1 : T_LAST_ACK;
	if (sent && !t->deadline[TT_RTX])
		arm(t);
	if (t->snd_una == t->snd_max && (int32_t)(t->tx_end - t->snd_nxt) > 0) {
		if (!t->deadline[TT_PERSIST])
			tcb_timer(t, TT_PERSIST, t->w->now + rto(t));
	} else {
		tcb_timer(t, TT_PERSIST, 0);
	}
	if (sent && t->p->keepalive)
		tcb_timer(t, TT_KEEPALIVE, t->w->now + t->p->keepalive);
}

/* The oldest segment again. */
void tcb_resend(struct tcb *t)
{
	if (t->state == T_SYN_SENT)
		transmit(t, TCPF_SYN, t->iss, 0);
	else if (t->state == T_SYN_RCVD)
		transmit(t, TCPF_SYN | TCPF_ACK, t->iss, 0);
	else
		send_from(t, t->snd_una, MIN(t->snd_mss, t->snd_max - fin_sent(t) - t->snd_una), fin_sent(t));
	t->timing = false; /* Karn */
}

static void rtx_time_out(struct tcb *t)
{
	uint32_t flight = t->snd_max - t->snd_una;

	if (!flight || t->state == T_CLOSED)
		return;
	if (++t->backoff > GIVE_UP) {
		tcb_abort(t);
		t->event(t, TCB_RESET);
		return;
	}
	t->ssthresh = MAX(flight / 2, 2u * t->snd_mss);
	t->cwnd = t->snd_mss;
	t->recovering = false;
	t->dupacks = 0;
	tcb_resend(t);
	/* go back: what follows is sent again as acknowledgments open the congestion window */
	if (t->state >= T_ESTABLISHED)
		t->snd_nxt = t->snd_una + MIN(flight, t->snd_mss);
	arm(t);
}

static void persist(struct tcb *t)
{
	if (t->snd_wnd) {
		tcb_output(t);
		return;
	}
	/* RFC 9293 3.8.6.1: one byte beyond the window */
	if (t->backoff < 8)
		t->backoff++;
	if (send_from(t, t->snd_nxt, 1, false)) {
		t->snd_nxt++;
		if ((int32_t)(t->snd_nxt - t->snd_max) > 0)
			t->snd_max = t->snd_nxt;
	}
	arm(t);
}

static void keepalive(struct tcb *t)
{
	if (!t->p->keepalive || (t->state != T_ESTABLISHED && t->state != T_CLOSE_WAIT))
		return;
	if (t->snd_una == t->snd_max) {
		uint32_t n = t->p->keepalive_byte && t->tx_end != t->iss + 1;

		unsigned unacked = t->unacked;
		uint64_t delack = t->deadline[TT_DELACK];

		/* no peer takes the ACK of a segment below its window: ours is still due */
		transmit(t, TCPF_ACK, t->snd_nxt - 1, n);
		t->unacked = unacked;
		tcb_timer(t, TT_DELACK, delack);
	}
	tcb_timer(t, TT_KEEPALIVE, t->w->now + t->p->keepalive);
}

static void timer_fired(struct world *w, void *arg, uint64_t n)
{
	struct tcb *t = arg;
	enum tcb_timer which = (enum tcb_timer)(n >> 56);

	if (t->deadline[which] != (n & (UINT64_MAX >> 8)) || w->now != t->deadline[which])
		return;
	t->deadline[which] = 0;
	switch (which) {
	case TT_RTX:
		rtx_time_out(t);
		break;
	case TT_PERSIST:
		persist(t);
		break;
	case TT_DELACK:
		if (t->unacked)
			tcb_ack(t);
		break;
	case TT_TIME_WAIT:
		tcb_gone(t, TCB_CLOSED);
		break;
	case TT_KEEPALIVE:
		keepalive(t);
		break;
	case TT_COUNT:
		break;
	}
}

void tcb_gone(struct tcb *t, enum tcb_event e)
{
	t->state = T_CLOSED;
	for (int i = 0; i < TT_COUNT; i++)
		t->deadline[i] = 0;
	t->event(t, e);
}

void tcb_connect(struct tcb *t)
{
	t->state = T_SYN_SENT;
	t->snd_nxt = t->snd_max = t->iss + 1;
	t->timing = true;
	t->timed_at = t->w->now;
	t->timed_seq = t->iss + 1;
	transmit(t, TCPF_SYN, t->iss, 0);
	arm(t);
}

void tcb_synchronise(struct tcb *t, const struct segment *syn)
{
	t->irs = syn->seq;
	t->rcv_nxt = t->read_seq = syn->seq + 1;
	t->adv_edge = 0; /* the SYN's was counted from nothing */
	t->ts_ok = t->p->ts && syn->opt.has_ts;
	t->ts_recent = syn->opt.tsval;
	t->ts_recent_at = t->w->now;
	t->sack_ok = t->p->sack && syn->opt.has_sack_permitted;
	t->ws_ok = t->p->wscale >= 0 && syn->opt.has_wscale;
	t->snd_scale = t->ws_ok ? syn->opt.wscale : 0;
	t->snd_mss = (uint16_t)(MIN(syn->opt.mss ? syn->opt.mss : 536, t->p->mss) - (t->ts_ok ? 12 : 0));
	t->cwnd = 10u * t->snd_mss;
	t->snd_wnd = t->max_wnd = syn->window;
	t->snd_wl1 = syn->seq;
	t->snd_wl2 = syn->ack;
}

void tcb_accept(struct tcb *t, const struct segment *syn)
{
	tcb_synchronise(t, syn);
	t->state = T_SYN_RCVD;
	t->snd_nxt = t->snd_max = t->iss + 1;
	transmit(t, TCPF_SYN | TCPF_ACK, t->iss, 0);
	arm(t);
}

void tcb_write(struct tcb *t, uint32_t n)
{
	assert(!t->fin_wanted);
	t->tx_end += n;
	tcb_output(t);
}

void tcb_close(struct tcb *t)
{
	t->fin_wanted = true;
	tcb_output(t);
}

void tcb_close_both(struct tcb *t)
{
	if (tcb_readable(t)) {
		tcb_abort(t);
		return;
	}
	t->deaf = true;
	tcb_close(t);
}

void tcb_abort(struct tcb *t)
{
	if (t->state >= T_SYN_RCVD)
		transmit(t, TCPF_RST | TCPF_ACK, t->snd_nxt, 0);
	t->state = T_CLOSED;
	for (int i = 0; i < TT_COUNT; i++)
		t->deadline[i] = 0;
}

uint32_t tcb_readable(const struct tcb *t)
{
	return t->rcv_nxt - t->fin_taken - t->read_seq;
}

void tcb_read(struct tcb *t, uint32_t n)
{
	uint32_t edge = t->adv_edge;
	bool small = (int32_t)(edge - t->rcv_nxt) < 2 * t->p->mss;

	assert(n <= tcb_readable(t));
	t->read_seq += n;
	/* a window that was nearly shut and has opened by a useful step is told at once */
	if (small && t->state >= T_ESTABLISHED && t->state < T_LAST_ACK &&
	    t->rcv_nxt + t->p->rcvbuf - tcb_readable(t) - edge >= MIN(2u * t->p->mss, t->p->rcvbuf / 2))
		tcb_ack(t);
}
