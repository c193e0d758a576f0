/*
 * Session queue - theory of operation
 *
 * The client's stream, each byte once, in order: a stream of pieces (stream/stream.h), each with what the
 * engine has to know of the segment that brought it. Those in order are contiguous from SND.UNA to
 * stream.nxt; what lies behind a hole waits apart and is never sent.
 *
 * Bytes stay until the target acknowledges them (queue_acked) or the session is given up (queue_drop). A
 * capture that was cut short counts as a segment of what is there; the rest is a hole.
 *
 * A piece and its payload are one block, so that they are near each other where the target is behind and both
 * are in no cache any more. It costs two hundred bytes besides its payload. Where a session holds much, tiny
 * ones are put together; their boundaries are lost, and the target gets them in full segments.
 *
 * The account: a byte that is kept is queued; one that turns out to be another copy, because a segment was
 * replaced or overlaps another one, moves from there to the duplicates.
 */
#include "session/impl.h"
#include "session/memory.h"

#include <assert.h>

#define COLLAPSE_FROM 65536u /* bytes that a session holds, from which on ... */
#define COLLAPSE_WASTE 4u    /* ... and as often its payload, ... */
#define COLLAPSE_TINY 256u   /* ... pieces of so many are put together ... */
#define COLLAPSE_INTO 4096u  /* ... into one of so many */

/* A sink may still hold pointers to the payload, so the blocks wait in limbo for engine_flushed(). */
static void qseg_free(struct engine *e, struct session *s, struct qseg *q)
{
	const uint32_t cost = qseg_cost(q);

	s->held -= cost;
	s->payload -= q->piece.len;
	if (!s->held)
		s->collapse_at = 0;
	memory_changed(s);
	if (s->sent == q)
		s->sent = NULL;
	if (s->rec && s->rec->again == q)
		s->rec->again = NULL;
	e->limbo_bytes += cost;
	q->piece.next = e->limbo;
	e->limbo = &q->piece;
}

void engine_flushed(struct engine *e)
{
	while (e->limbo) {
		struct piece *p = e->limbo;

		e->limbo = p->next;
		if (qseg_apart(qseg_of(p)))
			pool_put(e->pool, p->chunk, p->chunk->cost);
		pool_put(e->pool, p, qseg_of(p)->cost);
	}
	e->limbo_bytes = 0;
}

/* Bytes that were queued, but as another copy of what is there, or behind the FIN: they were not new. */
static void not_new(struct engine *e, uint64_t *row, uint64_t bytes)
{
	e->n.queued_bytes -= bytes;
	e->live_bytes -= bytes;
	*row += bytes;
}

static struct qseg *qseg_new(struct engine *e, const struct segment *g, uint32_t seq, uint32_t len, bool fin)
{
	struct qseg *q = pool_get(e->pool, QSEG_BYTES + len);
	struct chunk *c;

	if (!q)
		return NULL;
	c = qseg_inside(q);
	c->cost = 0;
	memcpy(c->data, g->payload + (seq - g->seq), len);
	*q = (struct qseg){
		.piece.chunk = c,
		.piece.seq = seq,
		.piece.len = len,
		.piece.fin = fin,
		.cost = (uint32_t)pool_class_size(QSEG_BYTES + len),
		.captured_at = g->time,
		.ack = g->ack,
		.tsval = g->opt.has_ts ? g->opt.tsval : 0,
		.window = g->window,
		.ip_id = g->gso_size ? (uint16_t)(g->ip_id + (seq - g->seq) / g->gso_size) : g->ip_id,
		.gso_size = g->gso_size,
		.psh = (g->flags & TCPF_PSH) && seq + len == g->seq + g->len,
		.urg = g->flags & TCPF_URG,
		.urgent_end = g->seq + MAX(g->urgent, 1), /* 0 is the first byte, too, to Linux */
	};
	return q;
}

static bool tiny(const struct qseg *q)
{
	return q->piece.len <= COLLAPSE_TINY && !q->piece.fin && !q->urg;
}

/* Moves the bytes of @n pieces behind @q into @q, @len with its own. False: no memory. */
static bool put_together(struct engine *e, struct session *s, struct piece *run, struct qseg *q, unsigned n,
			 uint32_t len)
{
	uint32_t at = q->piece.len;
	struct chunk *old = q->piece.chunk, *c = pool_get(e->pool, sizeof(*c) + len);

	if (!c)
		return false;
	s->held -= qseg_cost(q);
	c->cost = (uint32_t)pool_class_size(sizeof(*c) + len);
	memcpy(c->data, piece_bytes(&q->piece), at);
	if (qseg_apart(q))
		pool_put(e->pool, old, old->cost);
	q->piece.chunk = c;
	q->piece.off = 0;
	q->piece.len = len;
	q->gso_size = 0;
	s->held += qseg_cost(q);
	for (; n; n--) {
		struct qseg *next = qseg_of(stream_take_next(&s->stream, run, &q->piece));

		memcpy(c->data + at, piece_bytes(&next->piece), next->piece.len);
		at += next->piece.len;
		s->payload += next->piece.len; /* it stays */
		q->psh = next->psh;
		q->window = next->window;
		qseg_free(e, s, next);
	}
	return true;
}

/* Tiny pieces from @q on, all of them unsent. @run: the first piece of their run; NULL: they are in order. */
static void collapse_from(struct engine *e, struct session *s, struct piece *run, struct qseg *q)
{
	for (; q; q = qseg_next(q)) {
		uint32_t len = q->piece.len;
		unsigned n = 0;

		if (!tiny(q))
			continue;
		for (const struct qseg *o = qseg_next(q); o && tiny(o) && len + o->piece.len <= COLLAPSE_INTO;
		     o = qseg_next(o)) {
			if (run ? o->ack != q->ack : o->turn)
				break;
			len += o->piece.len;
			n++;
		}
		if (n && !put_together(e, s, run, q, n, len))
			return;
	}
}

/*
 * A client that sends a byte in each segment must not make it cost two hundred. So when a session holds
 * much, what is unsent, tiny and contiguous is put together, as Linux's receiver does (tcp_collapse()). It
 * is done anew when half as much again is held, so each piece is looked at a bounded number of times. Not
 * where the newest piece is a turn: that cannot be put into another, and mostly they all are, of a target
 * that is behind.
 */
static void collapse(struct engine *e, struct session *s)
{
	struct qseg *q = s->next;

	if (q && s->events & EV_ESTABLISHED && seq_gt(s->snd_nxt, q->piece.seq))
		q = qseg_next(q);
	collapse_from(e, s, NULL, q);
	for (struct piece *run = stream_first_run(&s->stream), *next; run; run = next) {
		while ((next = stream_next_run(&s->stream, run)) && next->seq == stream_run_end(run) &&
		       tiny(qseg_of(run->tail)) && tiny(qseg_of(next)))
			stream_join(&s->stream, run, next);
		collapse_from(e, s, run, qseg_of(run));
	}
	s->collapse_at = MAX(COLLAPSE_FROM, s->held + s->held / 2);
}

/* One piece [seq, seq + len) of @g, with its FIN if @fin. */
static enum queue_result put_piece(struct engine *e, struct session *s, const struct segment *g, uint32_t seq,
				   uint32_t len, bool fin)
{
	const uint32_t cost = (uint32_t)pool_class_size(QSEG_BYTES + len);
	struct piece *back = NULL, *tail;
	const bool hole = session_has_hole(s);
	enum stream_result result;
	uint64_t trimmed = 0;
	struct qseg *q;

	if (s->held >= MAX(s->collapse_at, COLLAPSE_FROM) && s->held / COLLAPSE_WASTE >= s->payload &&
	    (hole || (s->stream.tail && !qseg_of(s->stream.tail)->turn)))
		collapse(e, s);
	tail = s->stream.tail;
	if ((size_t)s->held + cost > e->cfg.session_buffer)
		return QUEUE_FULL;
	q = qseg_new(e, g, seq, len, fin);
	if (!q)
		return QUEUE_NO_MEMORY;
	s->held += cost;
	s->payload += len;
	memory_changed(s);
	e->n.queued_bytes += len;
	e->live_bytes += len;
	result = stream_put(&s->stream, &q->piece, &back, &trimmed);
	not_new(e, &e->n.duplicate_bytes, trimmed);
	s->payload -= (uint32_t)trimmed;
	while (back) {
		struct qseg *old = qseg_of(back);
		bool behind_fin = s->stream.fin && seq_ge(old->piece.seq, s->stream.nxt);

		back = back->next;
		not_new(e, behind_fin ? &e->n.keepalive_bytes : &e->n.duplicate_bytes, old->piece.len);
		qseg_free(e, s, old);
	}
	if (result == STREAM_BEHIND)
		s->behind_ack = hole ? seq_max(s->behind_ack, g->ack) : g->ack;
	if (result != STREAM_NEW)
		return result == STREAM_BEHIND ? QUEUE_BEHIND_HOLE : QUEUE_OLD;
	q = qseg_of(tail ? tail->next : s->stream.head);
	if (!s->next)
		s->next = q;
	for (; q; q = qseg_next(q)) {
		turn_linked(e, s, q);
		if (!s->spoken.over)
			protocol_tally_read(&session_target(e, s)->spoken, &s->spoken, piece_bytes(&q->piece),
					    q->piece.len, q->turn || !s->spoken.turns);
	}
	if (s->stream.fin)
		session_event(e, s, EV_CLIENT_FIN);
	return QUEUE_NEW;
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

	if (seq_lt(at, s->stream.nxt)) {
		uint32_t old = MIN(s->stream.nxt - at, len);

		e->n.duplicate_bytes += old;
		at += old;
	}
	while (seq_lt(at, end) || (fin && at == end)) {
		uint32_t n = end - at;

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
			if (s->has_turn_ack && session_read(s, g->ack) > 0)
				s->turn_ack = g->ack;
			return r;
		}
		if (result != QUEUE_NEW && r != QUEUE_OLD)
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
	if (seq_le(seq, q->piece.seq))
		return q->piece.len;
	return q->piece.len - MIN(q->piece.len, seq - q->piece.seq);
}

/* The target acknowledged everything below @ack, which lies in (SND.UNA, SND.NXT]. */
void queue_acked(struct engine *e, struct session *s, uint32_t ack, uint64_t now)
{
	uint64_t sample = 0;
	bool repaired = false;

	for (struct qseg *q = session_head(s); q; q = session_head(s)) {
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
		stream_take(&s->stream);
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
	if (!session_has_hole(s))
		return;
	if (session_read(s, s->behind_ack) > 0)
		*ack = s->behind_ack;
	*end = stream_run_end(s->stream.last);
	for (struct piece *p = stream_cut_behind(&s->stream), *next; p; p = next) {
		next = p->next;
		e->n.lost_bytes += p->len;
		e->live_bytes -= p->len;
		qseg_free(e, s, qseg_of(p));
	}
}

void queue_cut(struct engine *e, struct session *s, uint32_t *end, uint32_t *ack)
{
	*end = s->stream.nxt;
	*ack = s->turn_ack;
	drop_behind_hole(e, s, end, ack);
}

void queue_drop_before(struct engine *e, struct session *s, const struct qseg *from)
{
	bool unsent =
		false; /* all that stays: what is on its way ends in s->next, and many may wait behind it */

	while (session_head(s) != from) {
		struct qseg *q = qseg_of(stream_take(&s->stream));
		uint32_t lost = data_above(q, s->snd_una);

		unsent |= q == s->next;
		e->n.lost_bytes += lost;
		e->live_bytes -= lost;
		qseg_free(e, s, q);
	}
	for (struct qseg *q = unsent ? NULL : session_head(s); q; q = q == s->next ? NULL : qseg_next(q))
		q->resent = false;
	s->next = session_head(s);
	s->sent = NULL;
}

void queue_drop(struct engine *e, struct session *s)
{
	unsigned unsent = 0;

	for (const struct qseg *q = s->hold; q; q = qseg_next(q)) {
		e->n.turns_given_up += q->turn;
		e->turns_waiting -= q->turn;
		unsent += q->turn && q->piece.len;
	}
	exchange_unsent(&session_target(e, s)->exchanges, unsent);
	while (s->stream.head) {
		struct qseg *q = qseg_of(stream_take(&s->stream));
		uint32_t lost = data_above(q, s->snd_una);

		e->n.lost_bytes += lost;
		e->live_bytes -= lost;
		qseg_free(e, s, q);
	}
	drop_behind_hole(e, s, &s->stream.nxt, &s->turn_ack);
	e->n.lost_bytes += s->not_taken;
	e->live_bytes -= s->not_taken;
	s->not_taken = 0;
	s->next = s->hold = NULL;
}
