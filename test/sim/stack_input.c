/*
 * Simulator: a small TCP, its receiving half - theory of operation
 *
 * The steps of RFC 9293 3.10.7.4 in their order: timestamps (RFC 7323 5.3) first, then sequence,
 * RST and SYN (RFC 5961), ACK, data, FIN. Whatever a peer that obeys TCP would not have sent is
 * counted.
 */
#include "stack.h"

#include <stdlib.h>
#include <string.h>

static bool lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static bool le(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}

/* RFC 9293 3.4: does the segment touch the receive window? */
static bool acceptable(const struct tcb *t, const struct segment *g)
{
	uint32_t len = segment_seq_len(g), wnd = t->adv_edge - t->rcv_nxt, last = g->seq + len - 1;

	if (!len && !wnd)
		return g->seq == t->rcv_nxt;
	if (!len)
		return le(t->rcv_nxt, g->seq) && lt(g->seq, t->rcv_nxt + wnd);
	if (!wnd)
		return false;
	return (le(t->rcv_nxt, g->seq) && lt(g->seq, t->rcv_nxt + wnd)) ||
	       (le(t->rcv_nxt, last) && lt(last, t->rcv_nxt + wnd));
}

static void time_wait(struct tcb *t)
{
	t->state = T_TIME_WAIT;
	for (int i = 0; i < TT_COUNT; i++)
		tcb_timer(t, (enum tcb_timer)i, 0);
	tcb_timer(t, TT_TIME_WAIT, t->w->now + t->p->time_wait);
}

static void syn_sent(struct tcb *t, const struct segment *g)
{
	bool ack = (g->flags & TCPF_ACK) && g->ack == t->iss + 1;

	if (!ack)
		return;
	if (g->flags & TCPF_RST) {
		tcb_gone(t, TCB_RESET);
		return;
	}
	if (!(g->flags & TCPF_SYN))
		return;
	t->snd_una = g->ack;
	tcb_synchronise(t, g);
	if (t->timing)
		t->srtt = t->w->now - t->timed_at, t->rttvar = t->srtt / 2;
	t->timing = false;
	t->state = T_ESTABLISHED;
	tcb_progress(t);
	tcb_ack(t);
	t->event(t, TCB_CONNECTED);
	if (t->p->keepalive)
		tcb_timer(t, TT_KEEPALIVE, t->w->now + t->p->keepalive);
}

static void sample_rtt(struct tcb *t)
{
	uint64_t rtt = t->w->now - t->timed_at;

	t->timing = false;
	if (!t->srtt) {
		t->srtt = rtt;
		t->rttvar = rtt / 2;
	} else {
		uint64_t d = t->srtt > rtt ? t->srtt - rtt : rtt - t->srtt;

		t->rttvar = t->rttvar - t->rttvar / 4 + d / 4;
		t->srtt = t->srtt - t->srtt / 8 + rtt / 8;
	}
}

/* RFC 5681 and 6582. */
static void new_ack(struct tcb *t, uint32_t ack)
{
	uint32_t acked = ack - t->snd_una;

	if (t->timing && le(t->timed_seq, ack))
		sample_rtt(t);
	t->snd_una = ack;
	if (lt(t->snd_nxt, ack))
		t->snd_nxt = ack;
	t->dupacks = 0;
	if (t->recovering && lt(ack, t->recover)) {
		tcb_resend(t); /* partial acknowledgment */
		t->cwnd = t->cwnd > acked ? t->cwnd - acked + t->snd_mss : t->snd_mss;
	} else if (t->recovering) {
		t->recovering = false;
		t->cwnd = t->ssthresh;
	} else if (t->cwnd < t->ssthresh) {
		t->cwnd += MIN(acked, t->snd_mss);
	} else {
		t->cwnd += MAX(1u, (uint32_t)t->snd_mss * t->snd_mss / t->cwnd);
	}
	tcb_progress(t);
}

static void dup_ack(struct tcb *t)
{
	t->dupacks++;
	if (t->dupacks == 3 && !t->recovering) {
		t->ssthresh = MAX((t->snd_max - t->snd_una) / 2, 2u * t->snd_mss);
		t->recover = t->snd_max;
		t->recovering = true;
		t->cwnd = t->ssthresh + 3u * t->snd_mss;
		tcb_resend(t);
	} else if (t->recovering) {
		t->cwnd += t->snd_mss;
	}
}

/* False: drop the segment. */
static bool take_ack(struct tcb *t, const struct segment *g)
{
	uint32_t wnd = (uint32_t)g->window << t->snd_scale;

	if (!(g->flags & TCPF_ACK))
		return false;
	if (t->state == T_SYN_RCVD) {
		if (!(lt(t->iss, g->ack) && le(g->ack, t->snd_max))) {
			t->bad.ack_beyond++;
			trace(t->w, "TARGET OBJECTS: ack %u in SYN-RECEIVED", g->ack);
			t->send(t, &(struct segment){ .tuple = { t->local, t->peer },
						      .seq = g->ack,
						      .flags = TCPF_RST });
			return false;
		}
		t->state = T_ESTABLISHED;
		if (t->timing)
			sample_rtt(t);
		t->snd_una = g->ack;
		t->snd_wnd = wnd;
		t->snd_wl1 = g->seq;
		t->snd_wl2 = g->ack;
		tcb_progress(t);
		t->event(t, TCB_CONNECTED);
		return t->state != T_CLOSED;
	}
	if (lt(t->snd_max, g->ack)) {
		t->bad.ack_beyond++;
		trace(t->w, "TARGET OBJECTS: ack %u above SND.NXT %u", g->ack, t->snd_max);
		tcb_ack(t);
		return false;
	}
	if (lt(g->ack, t->snd_una - t->max_wnd)) {
		t->bad.challenge++; /* RFC 5961 5.2 */
		tcb_ack(t);
		return false;
	}
	t->max_wnd = MAX(t->max_wnd, wnd);
	if (lt(t->snd_una, g->ack)) {
		new_ack(t, g->ack);
		t->event(t, TCB_ACKED);
	} else if (g->ack == t->snd_una && !segment_seq_len(g) && wnd == t->snd_wnd &&
		   t->snd_una != t->snd_max) {
		dup_ack(t);
	}
	if (lt(t->snd_wl1, g->seq) || (t->snd_wl1 == g->seq && le(t->snd_wl2, g->ack))) {
		t->snd_wnd = wnd;
		t->snd_wl1 = g->seq;
		t->snd_wl2 = g->ack;
	}
	return true;
}

/* Our FIN may just have been acknowledged. False: the connection has gone. */
static bool fin_acked(struct tcb *t)
{
	if (!t->fin_wanted || t->snd_una != t->tx_end + 1)
		return true;
	if (t->state == T_FIN_WAIT_1)
		t->state = T_FIN_WAIT_2;
	else if (t->state == T_CLOSING)
		time_wait(t);
	else if (t->state == T_LAST_ACK)
		tcb_gone(t, TCB_CLOSED);
	return t->state != T_CLOSED && t->state != T_TIME_WAIT;
}

static void store(struct tcb *t, uint32_t seq, const uint8_t *data, uint32_t n)
{
	size_t from = seq - t->irs - 1;

	if (from + n > t->rx_size) {
		t->rx_size = MAX(from + n, 2 * t->rx_size);
		t->rx = realloc(t->rx, t->rx_size);
		if (!t->rx)
			abort();
	}
	memcpy(t->rx + from, data, n);
}

/* Remember [start, end) received out of order. */
static void keep_range(struct tcb *t, uint32_t start, uint32_t end)
{
	struct range b = { start, end };
	unsigned n = 0;

	for (unsigned i = 0; i < t->n_ooo; i++) {
		struct range *r = &t->ooo[i];

		if (lt(r->end, b.start) || lt(b.end, r->start)) {
			t->ooo[n++] = *r;
			continue;
		}
		b.start = lt(r->start, b.start) ? r->start : b.start;
		b.end = lt(b.end, r->end) ? r->end : b.end;
	}
	if (n < ARRAY_SIZE(t->ooo))
		t->ooo[n++] = b; /* else forgotten: it will come again */
	t->n_ooo = n;
	t->last_ooo = n - 1;
}

static void absorb_ranges(struct tcb *t)
{
	bool more = true;

	while (more) {
		more = false;
		for (unsigned i = 0; i < t->n_ooo; i++)
			if (le(t->ooo[i].start, t->rcv_nxt)) {
				if (lt(t->rcv_nxt, t->ooo[i].end))
					t->rcv_nxt = t->ooo[i].end;
				t->ooo[i] = t->ooo[--t->n_ooo];
				more = true;
			}
	}
	if (t->last_ooo >= t->n_ooo)
		t->last_ooo = 0;
}

/* True when an acknowledgment must leave at once. */
static bool take_data(struct tcb *t, const struct segment *g)
{
	uint32_t start = g->seq, end = g->seq + g->len;
	const uint8_t *data = g->payload;

	if (lt(start, t->rcv_nxt)) {
		t->has_dup_block = true;
		t->dup_block = (struct range){ start, lt(end, t->rcv_nxt) ? end : t->rcv_nxt };
		if (data)
			data += t->rcv_nxt - start;
		start = t->rcv_nxt;
	}
	if (lt(t->adv_edge, end))
		end = t->adv_edge;
	if (!lt(start, end))
		return true;
	if (data)
		store(t, start, data, end - start);
	if (start != t->rcv_nxt) {
		keep_range(t, start, end);
		return true;
	}
	t->rcv_nxt = end;
	t->data_at = t->w->now;
	if (t->n_ooo) {
		absorb_ranges(t);
		return true;
	}
	t->unacked += end - start;
	return t->p->lazy ? t->unacked >= 2u * t->snd_mss : t->unacked > t->snd_mss;
}

static void take_fin(struct tcb *t)
{
	if (!t->fin_seen || t->fin_taken || t->rcv_nxt != t->fin_seq)
		return;
	t->fin_taken = true;
	t->rcv_nxt++;
	if (t->state == T_ESTABLISHED)
		t->state = T_CLOSE_WAIT;
	else if (t->state == T_FIN_WAIT_1)
		t->state = T_CLOSING;
	else if (t->state == T_FIN_WAIT_2)
		time_wait(t);
}

/* The text of a segment whose header was found good. */
static void take_text(struct tcb *t, const struct segment *g)
{
	bool now = false, had_fin = t->fin_taken;

	if (g->len && !t->fin_taken)
		now = take_data(t, g);
	else if (g->len)
		now = true;
	if (g->flags & TCPF_FIN) {
		t->fin_seen = true;
		t->fin_seq = g->seq + g->len;
		now = true;
	}
	take_fin(t);
	if (now)
		tcb_ack(t);
	else if (g->len && !t->deadline[TT_DELACK])
		tcb_timer(t, TT_DELACK, t->w->now + t->p->delack);
	if (tcb_readable(t))
		t->event(t, TCB_READABLE);
	if (t->fin_taken && !had_fin && t->state != T_CLOSED)
		t->event(t, TCB_EOF);
}

static void synchronised(struct tcb *t, const struct segment *g)
{
	/* RFC 7323 5.5: after 24 days a timestamp says nothing any more */
	bool forgotten = t->w->now - t->ts_recent_at > TS_AGE;

	if (t->ts_ok && !(g->flags & TCPF_RST)) {
		if (!g->opt.has_ts && !(g->flags & TCPF_SYN)) {
			t->bad.no_ts++;
			return;
		}
		if (g->opt.has_ts && lt(g->opt.tsval, t->ts_recent) && !forgotten) {
			t->bad.paws += !(g->flags & TCPF_SYN); /* that is another connection's */
			trace(t->w, "TARGET OBJECTS: PAWS, tsval %u below %u", g->opt.tsval, t->ts_recent);
			tcb_ack(t);
			return;
		}
	}
	if (g->len + (t->ts_ok ? 12u : 0u) > t->p->mss && g->payload)
		t->bad.oversize++;
	if (!acceptable(t, g)) {
		if (g->flags & TCPF_RST)
			return;
		if (segment_seq_len(g) && !le(g->seq + segment_seq_len(g), t->rcv_nxt)) {
			t->bad.beyond_window++;
			trace(t->w, "TARGET OBJECTS: seq %u len %u beyond its window %u..%u", g->seq, g->len,
			      t->rcv_nxt, t->adv_edge);
		} else {
			t->bad.old++;
		}
		if (t->state == T_TIME_WAIT && g->flags & TCPF_FIN)
			tcb_timer(t, TT_TIME_WAIT, t->w->now + t->p->time_wait);
		if (g->len && lt(g->seq, t->rcv_nxt)) {
			t->has_dup_block = true;
			t->dup_block = (struct range){ g->seq, g->seq + g->len };
		}
		if (t->state == T_SYN_RCVD && g->flags & TCPF_SYN && g->seq == t->irs)
			tcb_resend(t);
		else
			tcb_ack(t);
		return;
	}
	if (g->flags & TCPF_RST) {
		if (g->seq == t->rcv_nxt) {
			tcb_gone(t, TCB_RESET);
		} else {
			t->bad.bad_rst++; /* RFC 5961 3.2 */
			tcb_ack(t);
		}
		return;
	}
	if (g->flags & TCPF_SYN) {
		t->bad.challenge++;
		tcb_ack(t);
		return;
	}
	if (t->deaf && lt(t->rcv_nxt, g->seq + g->len)) {
		struct segment r = {
			.tuple = { t->local, t->peer }, .time = t->w->now, .flags = TCPF_RST, .seq = g->ack
		};

		t->send(t, &r);
		tcb_gone(t, TCB_CLOSED);
		return;
	}
	if (!take_ack(t, g))
		return;
	/* here as in Linux: not of a segment that is dropped for its acknowledgment */
	if (t->ts_ok && g->opt.has_ts && (le(t->ts_recent, g->opt.tsval) || forgotten) &&
	    le(g->seq, t->last_ack_sent)) {
		t->ts_recent = g->opt.tsval;
		t->ts_recent_at = t->w->now;
	}
	if (!fin_acked(t) || t->state == T_CLOSED)
		return;
	take_text(t, g);
	if (t->state != T_CLOSED)
		tcb_output(t);
}

void tcb_input(struct tcb *t, const struct segment *g)
{
	if (t->state == T_CLOSED)
		return;
	if (t->p->keepalive)
		tcb_timer(t, TT_KEEPALIVE, t->w->now + t->p->keepalive);
	if (t->state == T_SYN_SENT)
		syn_sent(t, g);
	else
		synchronised(t, g);
}
