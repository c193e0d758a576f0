/*
 * Session engine: what waits when the target has closed - theory of operation
 *
 * A target may close a connection before its client does, because it keeps connections for a shorter time
 * or for fewer requests than the online server. Behind the turn that it answered last, others wait: few if
 * the target is near, many if it is slow or far away. None of them has been sent, so none is lost: the
 * session ends as target-closed, or as target-reset, and begins anew in its place (session_again()), on the
 * same addresses and ports, with all that waits, in order. Its old connection gets the RST of its outcome
 * first, or the new SYN would meet it. It goes as soon as all before it is acknowledged, or when it has
 * waited for its time.
 *
 *   what waits                     after the target's FIN
 *   a turn with data               begins the next connection
 *   the client's FIN               goes to this one: it closes it
 *   a turn that waits for exactly  goes to this one: the client has read that the online server has closed
 *   what came, FIN included        too, and goes on all the same, to a half-closed connection
 *
 * A turn may be on its way when the target's FIN comes: released by the answer's last byte, which came a
 * moment before. The target's kernel resets the connection for it, and says by that that it has given
 * nothing of it to an application. So a turn of which nothing was acknowledged is sent again, to the next
 * connection, and counted (turns_resent). One of which a part was acknowledged is lost, as is one that was
 * sent before a RST without a FIN: its application may have read it. What waits behind that one goes on.
 *
 * Each connection has to take something of the stream: the first turn of a session is not handed over, but
 * lost with it. So a target that accepts and closes is not asked again and again for the same turn. And it
 * has to have been answered as a connection is that the target takes (rejoin.c); else it has failed, and the
 * pause before the next one grows. One that was seen from its beginning goes on once after a failure, unless
 * another join was begun just before: it may be that one request for which the target resets a connection.
 *
 * A session that began so has a target which takes longer for each turn than the online server, by a
 * handshake at least. So its turns have --hold from the release of the one before, as long as that was
 * answered: to send them earlier, together, would lose them where the target closes behind the first.
 */
#include "packet/options.h"
#include "session/impl.h"

/* May the stream go on at turn @q on another connection? This one has to take something before it. */
static bool may_begin_at(const struct session *s, const struct qseg *q)
{
	return q && q->turn && q->piece.len && q->piece.seq != s->iss + 1;
}

bool handover_waits(const struct session *s)
{
	return s->events & EV_TARGET_FIN && may_begin_at(s, s->hold) && s->answered != s->hold->expect;
}

uint64_t handover_deadline(const struct engine *e, const struct session *s)
{
	return MAX(s->hold->captured_at, s->patience_at) + MAX(e->cfg.hold, RTO_CAP_ALIVE);
}

/* @s goes on from @head on, on another connection. @o: the outcome of this one. */
static void hand_over(struct engine *e, struct session *s, const struct qseg *head, enum session_outcome o,
		      uint64_t now)
{
	const uint16_t mss = addr_is_v4(&s->key.client.addr) ? 1460 : 1440;
	uint64_t lost = e->n.lost_bytes;

	if (!rejoin_ended(e, s, o, true, now) ||
	    !rejoin_makes_sense(e, s, piece_bytes(&head->piece), head->piece.len) ||
	    !session_again(e, s, o, now)) {
		session_end(e, s, o, now);
		return;
	}
	queue_drop_before(e, s, head);
	e->n.lost_by_outcome[o] += e->n.lost_bytes - lost;
	s->iss = head->piece.seq - 1;
	s->snd_una = s->snd_nxt = s->iss;
	s->judge.first_ack = head->ack;
	turn_begin_again(e, s, now);
	s->srtt = s->rttvar = 0;
	s->backoff = s->dup_acks = s->leftover_resets = 0;
	s->fin_late = s->ts_ok = s->ack_now = s->tlp_armed = s->tlp_out = s->syn_resent = s->syn_timed_out =
		false;
	s->ip_id = (uint16_t)(head->ip_id - 2);
	/* as any joined session: its client's scale is not that of what waits */
	s->client_mss = s->client_mss ? s->client_mss : mss;
	s->client_ws = true;
	s->client_wscale = JOIN_WSCALE;
	s->syn_window = 64240;
	if (s->client_ts && head->tsval)
		s->ts_emitted = ts_max(s->ts_emitted, head->tsval);
	s->syn->len = tcp_options_syn_build(s->syn->b, s->client_mss, JOIN_WSCALE, s->client_sack,
					    s->client_ts, s->ts_emitted);
	session_start(e, s, now);
}

bool handover(struct engine *e, struct session *s, uint64_t now)
{
	if (!handover_waits(s) || (s->snd_una != s->hold->piece.seq && now < handover_deadline(e, s)))
		return false;
	hand_over(e, s, s->hold, OUTCOME_TARGET_CLOSED, now);
	return true;
}

void handover_reset(struct engine *e, struct session *s, uint64_t now)
{
	const bool closed = s->events & EV_TARGET_FIN;
	const enum session_outcome o = closed ? OUTCOME_TARGET_CLOSED : OUTCOME_TARGET_RESET;
	const uint32_t taken = seq_max(s->snd_una, s->reset_ack);
	const struct qseg *q = s->hold;

	if (closed)
		for (q = session_head(s); q && !(may_begin_at(s, q) && seq_ge(q->piece.seq, taken));)
			q = qseg_next(q);
	if (may_begin_at(s, q))
		hand_over(e, s, q, o, now);
	else
		session_end(e, s, o, now);
}
