/*
 * Simulator: the referee of turns and acknowledgments - theory of operation
 *
 * What of the client's stream may go is decided once more, by doc/SESSION.md, "Turns": data whose ack has
 * advanced waits until the target has answered as much as the online server had, or has paused, closed, or
 * --hold has passed. A byte that goes earlier is wrong, and so is one that may go, fits into all windows,
 * and stays.
 *
 * A session in which one went by its deadline no longer waits for all of --hold, but for some of its usual
 * answer times. Those are known but for a tick, and so are the bounds. Where it is not known why a turn went,
 * it is only asked that the next one waits for a pause's length, and for no more than --hold.
 *
 * Likewise with acknowledgments (RFC 9293 3.8.6.3, RFC 1122 4.2.3.2): at once for what was repeated, for
 * more than a segment, for a FIN behind ours, for an incomplete answer; otherwise within the delay, and
 * never without any of these reasons. RCV.NXT is the highest edge seen.
 *
 * Between the moment at which a turn may go by its deadline or by a pause and the tick in which the engine
 * sees it, an answer may come. Whether that belongs to the turn before or to the one after is then not
 * known here, and the next turn is not judged.
 */
#include "referee.h"

#include <assert.h>
#include <stdlib.h>

#define ACK_DELAY (40 * NS_PER_MS)
#define ACK_SOON (4 * NS_PER_MS)
#define REST_PAUSE (200 * NS_PER_MS)
#define PARTS_APART (300 * NS_PER_MS)
#define HOLD_LEAST (200 * NS_PER_MS)
#define HOLD_ANSWERS 8
#define HOLD_RECOVERED 16
#define FAR (1u << 30)

static const struct turn *held(const struct replica *r)
{
	return r->t.first < r->t.n ? &r->t.turn[r->t.first] : NULL;
}

static void add_turn(struct turns *t, const struct told *g)
{
	if (t->n == t->size) {
		t->size = t->size ? 2 * t->size : 16;
		t->turn = realloc(t->turn, t->size * sizeof(*t->turn));
		if (!t->turn)
			abort();
	}
	assert(t->turn);
	t->turn[t->n++] = (struct turn){ g->seq, g->ack - t->turn_ack, g->ack, g->len > 0, g->time, t->part };
	t->part = 0;
	t->turn_ack = g->ack;
}

/* @fresh: it has gone on with the stream. */
void turns_told(struct replica *r, const struct told *g, bool fresh)
{
	struct turns *t = &r->t;
	struct reader *a = &r->a;

	a->stepped = true;
	if (!(g->flags & TCPF_ACK))
		return;
	if (!t->has_turn_ack) {
		t->turn_ack = t->client_ack = t->first_ack = g->ack;
		t->has_turn_ack = true;
	}
	if (seq_gt(g->ack, t->client_ack)) {
		if (t->client_ack != t->turn_ack && g->time >= t->read_at + PARTS_APART)
			t->part = t->client_ack - t->turn_ack;
		t->read_at = g->time;
		t->client_ack = g->ack;
	}
	if (!fresh)
		return;
	if (seq_gt(g->ack, t->turn_ack)) {
		if (!held(r) && r->established && !t->unsure && t->answered_any &&
		    t->answered < g->ack - t->turn_ack && a->acked != a->rcv_nxt)
			a->must = true;
		add_turn(t, g);
	} else if (!held(r)) {
		t->end = r->told_nxt;
		t->answered = 0;
	}
}

void turns_free(struct turns *t)
{
	free(t->turn);
	*t = (struct turns){ 0 };
}

/* --- what the target says ----------------------------------------------------------------------- */

void turns_established(struct world *w, struct replica *r, const struct response *a)
{
	r->a.rcv_nxt = r->a.most = a->seq + 1;
	r->a.acked = a->seq;
	r->a.edge = r->a.rcv_nxt + window_bytes(w, r, shown_window(w, r, r->client_window));
	if (w->copy.target[r->target].client_first)
		r->a.timer = w->now + ACK_SOON;
	else
		r->a.must = true;
	r->a.stepped = true;
}

/* Has the target sent in all exactly what the client had read when it sent @h, or its newest segment? */
static bool as_much(const struct replica *r, const struct turn *h)
{
	uint32_t sum = r->a.rcv_nxt - r->first_rcv;

	return sum == h->ack - r->t.first_ack || sum == r->t.client_ack - r->t.first_ack;
}

/* @must: not when the pause may be over but when it is, where that is not known. */
static uint64_t pause_end(const struct replica *r, const struct turn *h, bool must)
{
	const struct turns *t = &r->t;
	bool in_part = t->in_parts || (!t->ends_short && 2 * t->answered < h->expect);
	uint64_t quiet = MAX(2 * r->s.srtt, NS_PER_MS);

	if (r->s.una != t->end)
		return UINT64_MAX;
	if (!as_much(r, h)) {
		if (!(t->answered_any || t->unasked) || !t->psh)
			return UINT64_MAX;
		if (!t->answered_any || t->answered <= h->part || (t->vague ? must : in_part))
			quiet = MAX(quiet, REST_PAUSE);
	}
	return MAX(t->answer_last, h->at) + quiet;
}

/* When turn @h, which waits, has to go by the time alone, ns. */
static uint64_t time_of(const struct world *w, const struct replica *r, const struct turn *h)
{
	return MIN(h->at + w->copy.cfg.hold, pause_end(r, h, true));
}

/* Does the session wait for some answer times only? */
static bool impatient(const struct replica *r, const struct turn *h)
{
	return r->t.misses && !r->t.unclear && r->s.exact && h->data && r->s.una == r->t.end;
}

/* When it no longer waits, if an answer takes @usual, ns. */
static uint64_t patience_end(const struct world *w, const struct replica *r, const struct turn *h,
			     uint64_t usual)
{
	uint64_t wait = MAX(HOLD_LEAST, HOLD_ANSWERS * usual) >> MIN(r->t.misses - 1, 16);

	wait = MAX(wait, MAX(2 * r->s.srtt, NS_PER_MS));
	return MIN(h->at + w->copy.cfg.hold, MAX(h->at, r->s.progress_at) + wait);
}

/* When it may. */
static uint64_t earliest(const struct world *w, const struct replica *r, const struct turn *h)
{
	uint64_t least = MAX(h->at, r->t.gone) + MAX(2 * r->s.srtt, NS_PER_MS);

	if (impatient(r, h))
		return MIN(patience_end(w, r, h, r->t.usual_least), pause_end(r, h, false));
	if (!r->t.unclear && r->s.exact && !r->t.misses)
		return MIN(h->at + w->copy.cfg.hold, pause_end(r, h, false));

	/* whatever it is that it waits for, it does not beyond --hold */
	if (!(r->t.missed && h->data && r->s.una == r->t.end))
		least = UINT64_MAX;
	return MIN(MIN(least, h->at + w->copy.cfg.hold), pause_end(r, h, false));
}

/* The target has closed, and turn @h is for its next connection. */
static bool of_the_next(const struct replica *r, const struct turn *h)
{
	return r->a.fin && h->data && h->seq != r->iss + 1 && r->t.answered != h->expect;
}

/* When the turn that waits for the next connection goes there, whatever is acknowledged, ns. */
static uint64_t next_deadline(const struct world *w, const struct turn *h)
{
	return h->at + MAX(w->copy.cfg.hold, NS_PER_SEC);
}

static void answer_begins(const struct world *w, struct turns *t)
{
	t->all_answers++;
	if (t->gone) {
		uint64_t least = w->now - (t->gone + LATE_TICKS);

		t->usual_most = MAX(w->now - t->gone, t->usual_most);
		t->usual_least = MAX(least, t->usual_least - t->usual_least / 8);
	}
	t->misses = MIN(t->misses, 1);
	if (t->misses && ++t->answers == HOLD_RECOVERED)
		t->misses = 0;
}

static void answer(struct world *w, struct replica *r, const struct response *g)
{
	struct reader *a = &r->a;
	struct turns *t = &r->t;
	const struct turn *h = held(r);
	bool fin = g->flags & TCPF_FIN;
	uint32_t end = g->seq + g->len + fin, fresh, expect;

	if (seq_lt(g->seq, a->rcv_nxt))
		a->must = true;
	if (end == g->seq && a->fin_sent)
		end--; /* beyond RCV.NXT: what is missing may be the FIN */
	if (!seq_gt(end, a->rcv_nxt) && !(fin && end == a->rcv_nxt && !a->fin))
		return;
	fresh = end - a->rcv_nxt;
	a->rcv_nxt = end;
	if (fin) {
		a->fin = true;
		if (a->fin_sent)
			a->must = true;
		else if (!a->timer || a->timer > w->now + ACK_SOON)
			a->timer = w->now + ACK_SOON;
	}
	if (r->s.nxt == r->iss + 1)
		w->copy.target[r->target].client_first = false;
	if (fresh) {
		if (h && w->now >= earliest(w, r, h))
			t->unsure = 2;
		t->answer_last = w->now;
		if (seq_gt(g->ack, t->start)) {
			t->answered_any += fresh;
		} else {
			t->unasked = true;
			t->in_parts |= t->by_pause;
		}
		t->psh = g->flags & TCPF_PSH;
		if (seq_ge(g->ack, t->end)) {
			if (!t->answered && g->len)
				answer_begins(w, t);
			if (!t->answered && g->len && t->by_pause && !t->unasked) {
				t->in_parts = false;
				t->ends_short |= t->by_short;
			}
			t->answered += fresh;
		}
	}
	expect = held(r)                              ? held(r)->expect
		 : seq_gt(t->client_ack, t->turn_ack) ? t->client_ack - t->turn_ack
						      : 0;
	if (t->answered + 1 < expect && !t->unsure)
		a->must = true;
}

bool turns_response(struct world *w, struct replica *r, const struct response *g)
{
	struct reader *a = &r->a;
	uint32_t oldest = r->s.una - MIN(r->s.most_wnd, r->s.una - (r->iss + 1)); /* RFC 5961 5.2 */

	if (g->seq - a->rcv_nxt + FAR > 2 * FAR || seq_gt(g->seq, a->most))
		return false;
	a->stepped = !(g->flags & TCPF_RST);
	if (g->flags & TCPF_SYN) {
		if (g->seq + 1 == r->first_rcv)
			a->must = true;
		return false;
	}
	if (g->flags & TCPF_RST)
		return false;
	if (!(g->flags & TCPF_ACK) || seq_lt(g->ack, oldest) || seq_gt(g->ack, r->s.nxt)) {
		if (g->len && seq_le(g->seq + g->len, a->rcv_nxt))
			a->must = true;
		return false;
	}
	if (seq_ge(g->ack, r->s.una))
		sender_ack(w, r, g);
	answer(w, r, g);
	return true;
}

/* --- what the session sends ---------------------------------------------------------------------- */

static void release(const struct world *w, struct replica *r)
{
	struct turns *t = &r->t;

	const struct turn *h = &t->turn[t->first];
	const bool unanswered = t->answered < h->expect && !r->a.fin;

	t->unclear |= t->unsure;
	if (unanswered) {
		t->unclear |= t->answered_any || t->unasked || as_much(r, h);
		t->misses++;
		t->answers = 0;
	}
	t->by_pause = unanswered && w->now < h->at + w->copy.cfg.hold;
	t->by_short = t->by_pause && 2 * t->answered < h->expect;
	t->missed = t->missed || t->unsure || w->now >= h->at + w->copy.cfg.hold;
	t->vague = t->vague || t->missed;
	t->gone = w->now - LATE_TICKS;
	t->first++;
	t->start = t->end;
	t->end = held(r) ? held(r)->seq : r->told_nxt;
	t->answered = t->answered_any = 0;
	t->psh = t->unasked = false;
	t->unsure -= t->unsure > 0;
}

/* What has to go at @now, ns. */
static void settle(const struct world *w, struct replica *r, uint64_t now)
{
	const struct turn *h;

	while ((h = held(r)) && !of_the_next(r, h) &&
	       (r->t.answered >= h->expect || r->a.fin || now >= time_of(w, r, h)))
		release(w, r);
}

void turns_data(struct world *w, struct replica *r, uint32_t seq, uint32_t len)
{
	const struct turn *h;

	if (r->s.nxt == r->iss + 1 && r->a.rcv_nxt == r->first_rcv)
		w->copy.target[r->target].client_first = true;
	if (!r->orderly)
		return;
	settle(w, r, w->now);
	while ((h = held(r)) && seq_gt(seq + len, h->seq) && !of_the_next(r, h) &&
	       w->now >= earliest(w, r, h))
		release(w, r);
	if (!h || !seq_gt(seq + len, h->seq))
		return;
	if (!r->t.unsure)
		fail(w,
		     "port %u: the turn at %u went with %u of %u answer bytes, %.3f ms before its deadline",
		     r->source.port, h->seq - r->iss, r->t.answered, h->expect,
		     (double)(h->at + w->copy.cfg.hold - w->now) / 1e6);
	while ((h = held(r)) && seq_gt(seq + len, h->seq))
		release(w, r);
}

static bool reopened(const struct world *w, const struct replica *r)
{
	const struct reader *a = &r->a;
	uint32_t left = seq_gt(a->edge, a->rcv_nxt) ? a->edge - a->rcv_nxt : 0, step = 2u * r->rcv_mss;

	return left < step && window_bytes(w, r, shown_window(w, r, r->client_window)) >= left + step;
}

/* A segment with an acknowledgment leaves. */
void turns_ack(struct world *w, struct replica *r, const struct tx_segment *t)
{
	struct reader *a = &r->a;
	bool bare = !t->len && !(t->flags & (TCPF_FIN | TCPF_SYN)) && t->seq == r->s.nxt;

	if (t->ack != a->rcv_nxt)
		fail(w, "port %u: ack %u was sent, the target has come to %u", r->source.port,
		     t->ack - r->first_rcv, a->rcv_nxt - r->first_rcv);
	/* of the handshake, or the RST that follows would come before it is complete */
	a->must |= r->conn->rst_told && a->acked + 1 == r->first_rcv;
	if (bare && r->orderly && !a->must && !r->t.unsure && a->rcv_nxt - a->acked <= r->rcv_mss &&
	    !reopened(w, r) && !(w->copy.advancing && a->timer && w->now >= a->timer))
		fail(w, "port %u: ack %u was sent without a reason", r->source.port, t->ack - r->first_rcv);
	a->must = false;
	a->timer = 0;
	a->acked = t->ack;
	a->edge = t->ack + window_bytes(w, r, t->window);
	a->most = seq_max(a->most, a->edge);
	a->fin_sent = a->fin_sent || t->flags & TCPF_FIN;
}

#define OVERRIDE (200 * NS_PER_MS)

/*
 * Does anything wait that may go and fits? What does not fit whole is kept back, against silly windows
 * (RFC 9293 3.8.6.2.1), while something is in flight; with nothing in flight only if it is less than half of
 * the largest window there was, and for OVERRIDE at most.
 */
static bool idle_data(const struct world *w, struct replica *r)
{
	const struct turn *h = held(r);
	struct sender *s = &r->s;
	uint32_t limit = h ? h->seq : r->told_nxt, edge = s->una + s->wnd, usable, left;
	const struct told *g;

	if (!seq_lt(s->nxt, limit)) {
		s->stalled = 0;
		s->looked_at = w->now;
		return false;
	}
	usable = MIN(seq_gt(edge, s->nxt) ? edge - s->nxt : 0, sender_room(s));
	g = told_of(r, s->nxt, 1, false);
	left = g ? g->seq + g->len - s->nxt : 0;
	if (!left || !usable || s->una != s->nxt)
		s->stalled = 0;
	else if (!s->stalled)
		s->stalled_from = s->looked_at, s->stalled = w->now;
	s->looked_at = w->now;
	return left && (usable >= s->mss || usable > left ||
			(s->stalled &&
			 (usable >= (s->most_wnd + 1) / 2 || w->now > s->stalled + OVERRIDE + LATE_TICKS)));
}

void turns_step(struct world *w, struct replica *r)
{
	struct reader *a = &r->a;
	const struct turn *h;

	if (!r->established || !r->orderly)
		return;
	settle(w, r, a->stepped ? w->now : w->now - LATE_TICKS);
	a->stepped = false;
	if (a->must || a->rcv_nxt - a->acked > r->rcv_mss || reopened(w, r))
		fail(w, "port %u: ack %u is due at once and was not sent", r->source.port,
		     a->rcv_nxt - r->first_rcv);
	if (a->acked == a->rcv_nxt)
		a->timer = 0;
	else if (!a->timer)
		a->timer = w->now + ACK_DELAY;
	if (a->timer && w->now > a->timer + LATE_TICKS)
		fail(w, "port %u: ack %u was due %.3f ms ago", r->source.port, a->rcv_nxt - r->first_rcv,
		     (double)(w->now - a->timer) / 1e6);
	h = held(r);
	if (h && impatient(r, h) && MIN(r->s.wnd, sender_room(&r->s)) >= r->s.mss &&
	    w->now > patience_end(w, r, h, r->t.usual_most) + LATE_TICKS)
		fail(w, "port %u: the turn at %u waits for too long, after %u without an answer",
		     r->source.port, h->seq - r->iss, r->t.misses);
	if (r->s.exact && h && of_the_next(r, h) &&
	    (r->s.una == h->seq || w->now > next_deadline(w, h) + LATE_TICKS))
		fail(w, "port %u: the turn at %u waits, and no next connection has begun", r->source.port,
		     h->seq - r->iss);
	if (r->s.exact && idle_data(w, r))
		fail(w, "port %u: seq %u may go and was not sent", r->source.port, r->s.nxt - r->iss);
}

/* --- its end -------------------------------------------------------------------------------------- */

bool turns_next_is_due(const struct world *w, struct replica *r)
{
	const struct turn *h;

	settle(w, r, w->now);
	h = held(r);
	return h && of_the_next(r, h) && (r->s.una == h->seq || w->now >= next_deadline(w, h));
}

bool turns_next(const struct world *w, struct replica *r, uint32_t *seq)
{
	const struct turns *t = &r->t;

	if (!r->was_reset)
		settle(w, r, w->now);
	for (unsigned i = r->a.fin && r->was_reset ? 0 : t->first; i < t->n; i++) {
		const struct turn *h = &t->turn[i];

		*seq = h->seq;
		if (r->was_reset && r->a.fin &&
		    (!h->data || h->seq == r->iss + 1 || seq_lt(h->seq, seq_max(r->s.una, r->reset_ack))))
			continue;
		return h->data && h->seq != r->iss + 1;
	}
	return false;
}
