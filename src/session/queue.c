/*
 * Session queue - theory of operation
 *
 * The client's stream, each byte once, in order. A captured segment is cut against what is there already
 * (the first copy of a byte wins, as in a receiver) and its new parts become qsegs of at most 64 KB: those
 * at cap_nxt are linked to the main queue, later ones wait in the ooo list until the hole before them is
 * filled. So the main queue is always contiguous from SND.UNA to cap_nxt and nothing behind a hole is ever
 * sent.
 *
 * Bytes stay until the target acknowledges them (queue_acked) or the session is given up (queue_drop). A
 * capture that was cut short counts as a segment of what is there; the rest is a hole.
 */
#include "session/impl.h"

#include <assert.h>

/* A sink may still hold pointers to the payload, so the block waits in limbo for engine_flushed(). */
static void qseg_free(struct engine *e, struct session *s, struct qseg *q)
{
	s->held -= (uint32_t)pool_class_size(q->cost);
	e->limbo_bytes += pool_class_size(q->cost);
	q->next = e->limbo;
	e->limbo = q;
}

void engine_flushed(struct engine *e)
{
	while (e->limbo) {
		struct qseg *q = e->limbo;

		e->limbo = q->next;
		pool_put(e->pool, q, q->cost);
	}
	e->limbo_bytes = 0;
}

/* Append to the main queue; q->seq is cap_nxt. */
static void link_in_order(struct engine *e, struct session *s, struct qseg *q)
{
	assert(q->seq == s->cap_nxt);
	q->next = NULL;
	if (s->tail)
		s->tail->next = q;
	else
		s->head = q;
	s->tail = q;
	if (!s->next)
		s->next = q;
	s->cap_nxt = qseg_end(q);
	turn_linked(e, s, q);
	if (q->fin)
		session_event(e, s, EV_CLIENT_FIN);
}

/* What was waiting behind a hole that is now filled. */
static void drain(struct engine *e, struct session *s)
{
	while (s->ooo && s->ooo->seq == s->cap_nxt && !(s->events & EV_CLIENT_FIN)) {
		struct qseg *q = s->ooo;

		s->ooo = q->next;
		link_in_order(e, s, q);
	}
	/*
	 * behind the FIN nothing is of this stream; mostly it is the same FIN, captured before a
	 * retransmission brought it with data
	 */
	while (s->ooo && s->events & EV_CLIENT_FIN) {
		struct qseg *q = s->ooo;

		s->ooo = q->next;
		e->n.queued_bytes -= q->len;
		e->n.keepalive_bytes += q->len;
		e->live_bytes -= q->len;
		qseg_free(e, s, q);
	}
}

static void link_behind_hole(struct session *s, struct qseg *q)
{
	struct qseg **at = &s->ooo;

	while (*at && seq_lt((*at)->seq, q->seq))
		at = &(*at)->next;
	q->next = *at;
	*at = q;
}

/* One piece [seq, seq + len) of @g, with its FIN if @fin. */
static enum queue_result put_piece(struct engine *e, struct session *s, const struct segment *g, uint32_t seq,
				   uint32_t len, bool fin)
{
	uint32_t cost = (uint32_t)sizeof(struct qseg) + len;
	struct qseg *q;

	if (s->held + (uint32_t)pool_class_size(cost) > e->cfg.session_buffer)
		return QUEUE_FULL;
	q = pool_get(e->pool, cost);
	if (!q)
		return QUEUE_NO_MEMORY;
	memset(q, 0, sizeof(*q));
	q->cost = cost;
	q->seq = seq;
	q->len = len;
	q->captured_at = g->time;
	q->ack = g->ack;
	q->tsval = g->opt.has_ts ? g->opt.tsval : 0;
	q->window = g->window;
	q->ip_id = g->gso_size ? (uint16_t)(g->ip_id + (seq - g->seq) / g->gso_size) : g->ip_id;
	q->gso_size = g->gso_size;
	q->fin = fin;
	q->psh = (g->flags & TCPF_PSH) && seq + len == g->seq + g->len;
	q->urg = (g->flags & TCPF_URG) && g->urgent;
	q->urgent_end = g->seq + g->urgent;
	memcpy(q->data, g->payload + (seq - g->seq), len);
	s->held += (uint32_t)pool_class_size(cost);
	e->n.queued_bytes += len;
	e->live_bytes += len;
	if (seq == s->cap_nxt) {
		link_in_order(e, s, q);
		drain(e, s);
		return QUEUE_NEW;
	}
	link_behind_hole(s, q);
	return QUEUE_BEHIND_HOLE;
}

/* The first range of the ooo list that ends above @seq. */
static const struct qseg *ooo_above(const struct session *s, uint32_t seq)
{
	const struct qseg *q = s->ooo;

	while (q && seq_le(qseg_end(q), seq))
		q = q->next;
	return q;
}

/*
 * Take what is new of captured segment @g: its data (and, where the capture is whole, its FIN). QUEUE_NEW
 * when anything was linked in order, else QUEUE_BEHIND_HOLE when anything was kept, else QUEUE_OLD;
 * QUEUE_FULL and QUEUE_NO_MEMORY when something could not be kept.
 */
enum queue_result queue_put(struct engine *e, struct session *s, const struct segment *g)
{
	bool whole = g->captured >= g->len;
	bool fin = whole && (g->flags & TCPF_FIN);
	uint32_t len = whole ? g->len : g->captured;
	uint32_t at = g->seq, end = g->seq + len;
	enum queue_result result = QUEUE_OLD, r;

	if (s->events & EV_CLIENT_FIN) {
		e->n.keepalive_bytes += len;
		return QUEUE_OLD;
	}
	while (seq_lt(at, end) || (fin && at == end)) {
		const struct qseg *above;
		uint32_t n = end - at;

		if (seq_lt(at, s->cap_nxt)) { /* also what a piece before has drained */
			uint32_t old = MIN(s->cap_nxt - at, n);

			e->n.duplicate_bytes += old;
			at += old;
			if (seq_lt(end, s->cap_nxt))
				fin = false; /* lies before bytes that came later: not this stream's end */
			continue;
		}
		if (s->events & EV_CLIENT_FIN) { /* was waiting behind the hole */
			e->n.keepalive_bytes += n;
			return result;
		}
		above = ooo_above(s, at);
		if (above && seq_le(above->seq, at) && seq_lt(at, qseg_end(above))) {
			n = MIN(n, qseg_end(above) - at);
			if (at == end)
				break; /* its FIN is there already, or data beyond it */
			e->n.duplicate_bytes += n;
			at += n;
			continue;
		}
		if (above && seq_lt(above->seq, end))
			n = above->seq - at;
		if (n > QSEG_MAX_DATA) {
			n = QSEG_MAX_DATA;
			if (g->gso_size && g->gso_size <= n) /* cut where the client's segments were */
				n -= (n + at - g->seq) % g->gso_size;
		}
		r = put_piece(e, s, g, at, n, fin && at + n == end);
		if (r == QUEUE_FULL || r == QUEUE_NO_MEMORY) {
			/* the session ends of it: what was not taken is lost with it */
			e->n.queued_bytes += end - at;
			e->live_bytes += end - at;
			s->not_taken = end - at;
			if (s->has_turn_ack)
				s->turn_ack = seq_max(s->turn_ack, g->ack);
			return r;
		}
		if (result != QUEUE_NEW)
			result = r;
		at += n;
		if (at == end)
			break;
	}
	return result;
}

/* Bytes of @q's data at and above @seq. */
static uint32_t data_above(const struct qseg *q, uint32_t seq)
{
	if (seq_le(seq, q->seq))
		return q->len;
	return MIN(q->len, q->len - MIN(q->len, seq - q->seq));
}

/* The target acknowledged everything below @ack, which lies in (SND.UNA, SND.NXT]. */
void queue_acked(struct engine *e, struct session *s, uint32_t ack, uint64_t now)
{
	uint64_t sample = 0;
	bool repaired = false;

	for (struct qseg *q = s->head; q; q = s->head) {
		uint32_t before = data_above(q, s->snd_una), after = data_above(q, ack);

		e->n.acked_bytes += before - after;
		e->live_bytes -= before - after;
		if (seq_gt(qseg_end(q), ack))
			break;
		if (q->resent)
			/* Karn: what the ACK is for is not known, and what follows waited for the repair */
			repaired = true;
		else if (q->sent_at)
			sample = now - q->sent_at;
		assert(q != s->next && q != s->hold);
		s->head = q->next;
		if (!s->head)
			s->tail = NULL;
		qseg_free(e, s, q);
	}
	if (sample && !repaired)
		loss_rtt_sample(s, sample);
}

/*
 * Everything behind the hole, counted as lost. *@end, *@ack: where the client stands then, should it be
 * joined again.
 */
static void drop_behind_hole(struct engine *e, struct session *s, uint32_t *end, uint32_t *ack)
{
	while (s->ooo) {
		struct qseg *q = s->ooo;

		*ack = seq_max(*ack, q->ack);
		*end = qseg_end(q);
		e->n.lost_bytes += q->len;
		e->live_bytes -= q->len;
		s->ooo = q->next;
		qseg_free(e, s, q);
	}
}

void queue_cut(struct engine *e, struct session *s, uint32_t *end, uint32_t *ack)
{
	*end = s->cap_nxt;
	*ack = s->turn_ack;
	drop_behind_hole(e, s, end, ack);
}

void queue_drop(struct engine *e, struct session *s)
{
	for (const struct qseg *q = s->hold; q; q = q->next) {
		e->n.turns_given_up += q->turn;
		e->turns_waiting -= q->turn;
	}
	while (s->head) {
		struct qseg *q = s->head;
		uint32_t lost = data_above(q, s->snd_una);

		e->n.lost_bytes += lost;
		e->live_bytes -= lost;
		s->head = q->next;
		qseg_free(e, s, q);
	}
	drop_behind_hole(e, s, &s->cap_nxt, &s->turn_ack);
	e->n.lost_bytes += s->not_taken;
	e->live_bytes -= s->not_taken;
	s->not_taken = 0;
	s->tail = s->next = s->hold = NULL;
}
