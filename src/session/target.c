/*
 * Session engine: what the target did - theory of operation
 *
 * engine_response() takes the header of one response segment (or of several merged ones) and lets the
 * session's TCP react as RFC 9293 3.10.7 says for a client: the handshake in SYN-SENT, then acknowledgment,
 * window, SACK and data of the target, its FIN and RST. Payload never comes here; a length is enough.
 *
 * Belief: a response counts only if it is of this incarnation (its id), its ack lies in [SND.UNA, SND.NXT],
 * or below by no more than a window, and its seq within 2^30 of RCV.NXT. One forged or stale record must not
 * stop a session. RCV.NXT is max(seq + len) seen, not the in-order edge: the target has sent everything below
 * it, so a lost or reordered header record harms nothing. Only a RST is put aside for RESET_WAIT where it has
 * overtaken what the target sent before: a kernel takes it as the last that comes, but its header may have
 * come by another CPU of the assistant. Nothing is sent meanwhile.
 */
#include "session/impl.h"

#define MAX_LEFTOVER_RESETS 4 /* for each SYN time-out */

static void refuse(struct engine *e)
{
	e->n.responses_refused++;
}

static void believe(struct engine *e)
{
	e->n.responses_believed++;
}

/*
 * RFC 9293 3.10.7.3: the target answers our SYN for an older connection with the same tuple: reset that,
 * and ask again.
 */
static void reset_leftover(struct engine *e, struct session *s, const struct response *r, uint64_t now)
{
	/* a volley of its segments needs one RST; another ack may be the one that its challenge ACK tells */
	if (s->leftover_resets >= MAX_LEFTOVER_RESETS || (s->leftover_resets && r->ack == s->leftover_ack)) {
		refuse(e);
		return;
	}
	s->leftover_resets++;
	s->leftover_ack = r->ack;
	e->n.leftovers_reset++;
	output_rst(e, s, r->ack, false, now);
	output_syn(e, s, now);
	s->syn_resent = true;
	loss_rearm(e, s, now);
}

static void handshake(struct engine *e, struct session *s, const struct response *r, uint64_t now)
{
	bool acceptable = (r->flags & TCPF_ACK) && r->ack == s->iss + 1;

	if (r->flags & TCPF_RST) {
		if (!acceptable) {
			refuse(e);
			return;
		}
		believe(e);
		session_target(e, s)->refusals++;
		session_target(e, s)->ask_after = now + pause_of_all(e, REFUSED_PAUSE);
		session_end(e, s, OUTCOME_REFUSED, now);
		return;
	}
	/*
	 * RFC 9293 3.10.7.3, fifth: neither SYN nor RST. What an older connection with these numbers says
	 * left before the RST that ended it came there, and another RST would meet the new one. Only if the
	 * SYN is not answered that RST was lost, and a bare ACK is the older one's answer.
	 */
	if (!(r->flags & TCPF_ACK) ||
	    (acceptable && !(r->flags & TCPF_SYN) && (r->len || r->flags & TCPF_FIN || !s->syn_timed_out))) {
		refuse(e);
		return;
	}
	if (!acceptable || !(r->flags & TCPF_SYN)) {
		reset_leftover(e, s, r, now);
		return;
	}
	believe(e);
	session_event(e, s, EV_ESTABLISHED);
	s->established_at = now;
	session_target(e, s)->joins.era += session_target(e, s)->refusals != 0; /* another process answers */
	session_target(e, s)->refusals = 0;
	s->irs = r->seq;
	s->rcv_nxt = s->window_most = r->seq + 1;
	s->snd_una = s->snd_wl2 = r->ack;
	s->snd_wl1 = r->seq;
	s->snd_wnd = s->snd_wnd_max = r->window; /* never scaled in a SYN */
	s->ts_ok = r->opt.has_ts && s->client_ts;
	s->ts_recent = r->opt.tsval;
	s->ts_recent_at = now;
	s->ws_ok = r->opt.has_wscale && s->client_ws;
	s->target_wscale = s->ws_ok ? r->opt.wscale : 0;
	s->sack_ok = r->opt.has_sack_permitted && s->client_sack;
	s->peer_mss = r->opt.mss;
	if (!s->syn_resent)
		loss_rtt_sample(s, now - s->progress_at);
	s->backoff = 0;
	s->progress_at = now;
	s->ack_emitted = r->seq;
	proof_handshake(e, s, now);
	output_negotiated(e, s);
	loss_rearm(e, s, now);
	session_step(e, s, now);
}

static void take_window(struct session *s, const struct response *r)
{
	uint32_t window = (uint32_t)r->window << s->target_wscale;
	bool was_shut = !s->snd_wnd;

	/*
	 * a newer ack always brings its window: with that of a reordered segment the edge would lie too far
	 */
	if (seq_lt(s->snd_wl1, r->seq) || (s->snd_wl1 == r->seq && seq_le(s->snd_wl2, r->ack)) ||
	    seq_gt(r->ack, s->snd_wl2) || (r->ack == s->snd_una && window > s->snd_wnd)) {
		s->snd_wnd = window;
		s->snd_wnd_max = MAX(s->snd_wnd_max, window);
		s->snd_wl1 = r->seq;
		s->snd_wl2 = r->ack;
	}
	if (was_shut && s->snd_wnd && timer_on(s, TIMER_PERSIST)) {
		timer_off(s, TIMER_PERSIST);
		s->backoff = 0; /* it grew with the probes, which were all answered */
	}
}

/*
 * How many duplicate ACKs @r is or was merged from (RFC 5681 2); with SACK (RFC 6675 2) that depends on
 * @news: it has SACKed something new.
 */
static unsigned duplicates(const struct session *s, const struct response *r, bool news)
{
	if (s->sack_ok)
		return news ? 1u + r->dup_acks : 0;
	return r->dup_acks + (!r->len && !(r->flags & TCPF_FIN) && r->ack == s->snd_una &&
			      (uint32_t)r->window << s->target_wscale == s->snd_wnd);
}

static void take_ack(struct engine *e, struct session *s, const struct response *r, uint64_t now)
{
	bool news = r->opt.n_sack && s->sack_ok && loss_sack(e, s, r, now);
	unsigned dups = duplicates(s, r, news);
	uint32_t old = s->snd_una;

	if (seq_gt(r->ack, old)) {
		queue_acked(e, s, r->ack, now);
		s->snd_una = r->ack;
		s->progress_at = now;
		if (s->events & EV_FIN_SENT && r->ack == s->snd_nxt) {
			session_event(e, s, EV_FIN_ACKED);
			timer_set(e, s, TIMER_LIFE, now + FIN_WAIT_2_LIFE);
		}
		loss_acked(e, s, old, now);
		loss_rearm(e, s, now);
	}
	if (dups && s->snd_nxt != s->snd_una)
		loss_dup_ack(e, s, dups, now);
	take_window(s, r);
}

/* The target's data and FIN. */
static void take_data(struct engine *e, struct session *s, const struct response *r, uint64_t now)
{
	bool fin = r->flags & TCPF_FIN, first;
	uint32_t end = r->seq + r->len + (fin ? 1 : 0), fresh;
	uint64_t expect;

	e->n.response_bytes += r->len;
	if (seq_lt(r->seq, s->rcv_nxt) ||
	    (end == r->seq && r->seq != s->rcv_nxt && seq_le(r->seq, s->rcv_nxt)))
		s->ack_now = true; /* retransmission, keep-alive, window probe */
	/*
	 * A bare ACK from beyond RCV.NXT: what lies between was lost on its way to us. When we have closed,
	 * the last of it may be the target's FIN; only its retransmission tells, and acknowledging it
	 * unseen would leave us to wait for it.
	 */
	if (end == r->seq && s->events & EV_FIN_SENT)
		end--;
	/*
	 * an ACK from behind the FIN may have overtaken it, or was merged with what lies before: then it
	 * brings no byte, but it is the FIN
	 */
	if (!seq_gt(end, s->rcv_nxt) && !(fin && end == s->rcv_nxt && !(s->events & EV_TARGET_FIN)))
		return;
	fresh = end - s->rcv_nxt;
	first = fin && !(s->events & EV_TARGET_FIN);
	s->rcv_nxt = end;
	if (fin) {
		if (!(s->events & EV_TARGET_FIN))
			session_event(e, s, EV_TARGET_FIN);
		if (s->events & EV_FIN_SENT)
			s->ack_now = true; /* nothing of ours will carry it; else our FIN mostly does */
		else if (!timer_on(s, TIMER_ACK) || s->deadline[TIMER_ACK] > now + ACK_DELAY_SHORT)
			timer_set(e, s, TIMER_ACK, now + ACK_DELAY_SHORT);
	}
	if (s->snd_nxt == s->iss + 1)
		session_target(e, s)->client_first = false;
	turn_response(e, s, r, fresh, first, now);
	if (fin)
		rejoin_closed(e, s);
	expect = s->hold ? s->hold->expect : s->client_read - s->turn_read;
	if (s->answered + 1 < expect) /* one of them may be the online server's FIN */
		s->ack_now = true;    /* or the target's Nagle waits for it */
}

/* RFC 5961 5.2, and not what never was an ack of this connection. */
static uint32_t oldest_ack(const struct session *s)
{
	return s->snd_una - MIN(s->snd_wnd_max, s->snd_una - (s->iss + 1));
}

/*
 * Is something of what the target had sent before its RST still to come? A RST with an ack is the next that
 * it sent (RFC 9293 3.10.5), so up to its seq all has left. One without answers a segment of ours, whose ack
 * it repeats: the connection was over by then. If it has ended with a FIN, that says what becomes of the
 * turn which is on its way.
 */
static bool reset_overtook(const struct session *s)
{
	if (s->reset_bare)
		return !(s->events & EV_TARGET_FIN) && s->rcv_nxt != s->irs + 1 && s->snd_una != s->snd_nxt;
	return seq_lt(s->rcv_nxt, s->reset_seq);
}

/*
 * RFC 5961 asks for seq = RCV.NXT; ours is the highest edge seen, so anything near it is believed. What the
 * RST has overtaken decides what becomes of the turns, so that is waited for, shortly.
 */
static void take_reset(struct engine *e, struct session *s, const struct response *r, uint64_t now)
{
	const bool waits = timer_on(s, TIMER_RESET);
	/* it is for a late segment of the connection before: nothing of this one lies there */
	const bool before = s->rcv_nxt - s->irs < BELIEVE_WITHIN && seq_le(r->seq, s->irs);

	if (before || (r->flags & TCPF_ACK && !seq_between(s->snd_una, r->ack, s->snd_nxt))) {
		refuse(e);
		return;
	}
	believe(e);
	if (!waits)
		s->reset_ack = s->snd_una;
	if (!waits || s->reset_bare) {
		s->reset_bare = !(r->flags & TCPF_ACK);
		s->reset_seq = r->seq;
	}
	if (r->flags & TCPF_ACK)
		s->reset_ack = seq_max(s->reset_ack, r->ack);
	if (!reset_overtook(s))
		handover_reset(e, s, now);
	else if (!waits)
		timer_set(e, s, TIMER_RESET, now + RESET_WAIT);
}

static void established(struct engine *e, struct session *s, const struct response *r, uint64_t now)
{
	/*
	 * not further back than 2^30, and not beyond any window that we have shown: RCV.NXT would never
	 * come back from there
	 */
	if (r->seq - s->rcv_nxt + BELIEVE_WITHIN > 2 * BELIEVE_WITHIN || seq_gt(r->seq, s->window_most)) {
		refuse(e);
		return;
	}
	if (r->flags & TCPF_SYN) {
		if (r->seq == s->irs) {
			believe(e);
			s->ack_now = !proof_needed(e, s); /* our ACK of the SYN-ACK was lost */
		} else {
			refuse(e);
		}
		session_step(e, s, now);
		return;
	}
	if (r->flags & TCPF_RST) {
		take_reset(e, s, r, now);
		return;
	}
	if (!(r->flags & TCPF_ACK) || !seq_between(oldest_ack(s), r->ack, s->snd_nxt)) {
		refuse(e);
		if (r->len && seq_le(r->seq + r->len, s->rcv_nxt))
			s->ack_now = true; /* an old segment come late: harmless */
		session_step(e, s, now);
		return;
	}
	believe(e);
	if (s->ts_ok && r->opt.has_ts &&
	    (ts_gt(r->opt.tsval, s->ts_recent) || now - s->ts_recent_at > TS_FORGOTTEN)) {
		s->ts_recent = r->opt.tsval;
		s->ts_recent_at = now;
	}
	if (seq_ge(r->ack, s->snd_una)) /* else a later one has overtaken it: it brings data only */
		take_ack(e, s, r, now);
	if (s->events & EV_ENDED)
		return;
	take_data(e, s, r, now);
	if (timer_on(s, TIMER_RESET) && !reset_overtook(s))
		handover_reset(e, s, now);
	else
		session_step(e, s, now);
}

/* After the end: acknowledge a FIN sent again, and answer a challenge ACK to our RST (RFC 5961 3.2). */
static void afterwards(struct engine *e, struct session *s, const struct response *r, uint64_t now)
{
	if (r->flags & TCPF_RST || !(r->flags & TCPF_ACK))
		return;
	if (!s->watched)
		return; /* of the next session on this port, looked up before its WATCH came there */
	if (s->events & EV_RST_SENT)
		output_rst(e, s, r->ack, false, now);
	else if ((s->outcome == OUTCOME_COMPLETE || s->outcome == OUTCOME_UNANSWERED) &&
		 (r->len || r->flags & (TCPF_FIN | TCPF_SYN)))
		output_ack(e, s, now);
}

void engine_response(struct engine *e, const struct response *r, uint64_t now)
{
	struct session *s = session_by_id(e, r->id);
	struct target *t;

	e->trim_at = MIN(e->trim_at, now + TRIM_PERIOD);
	e->n.responses++;
	e->n.responses_merged += r->merged;
	if (!s || !(s->events & EV_STARTED)) {
		e->n.responses_unknown++;
		return;
	}
	s->unwatched = false; /* by all who listen to it, that is */
	t = session_target(e, s);
	if (t->backed_off && (t->reviving || now - t->last_heard > RTO_CAP_ALIVE))
		loss_target_alive(e, t, now);
	t->last_heard = now;
	if (s->events & EV_ENDED) {
		e->n.responses_late++;
		afterwards(e, s, r, now);
	} else if (!(s->events & EV_ESTABLISHED)) {
		handshake(e, s, r, now);
	} else {
		established(e, s, r, now);
	}
}
