/*
 * Simulator: the referee of loss recovery - theory of operation
 *
 * A second sender, written from RFC 5681, 6298, 6582, 6675 and 8985 and doc/SESSION.md, that sends nothing.
 * It is told what each session sends and what each answer says, and knows from that when a time-out is due,
 * what counts as lost, and how much may be under way. So every retransmission must have its reason: a
 * time-out, a tail loss probe, or a recovery in which it is the next that is lost; and must go when it has
 * one: not later than a timer may be, or in the step in which the answer came. New data must fit into the
 * congestion window.
 *
 * It can follow only where it sees all that the engine sees: not where captured bytes are missing or come
 * out of order, for the ends of the client's segments decide what is a sample of the round-trip time; not
 * after the channel was cut; not where memory is limited, for then a recovery may not begin. There it is
 * silent.
 */
#include "referee.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MS NS_PER_MS
#define MIN_RTO (200 * MS)
#define ALIVE_RTO (1000 * MS)
#define SILENT_RTO (8000 * MS)
#define MOST_SACKED 8u
#define OVERRIDE (200 * MS) /* RFC 9293 3.8.6.2.1 */
#define REVIVE_SPREAD (128 * 20 * NS_PER_US)

static void sample(struct sender *s, uint64_t rtt)
{
	uint64_t d;

	rtt = MAX(rtt, 1);
	if (!s->srtt) {
		s->srtt = rtt;
		s->rttvar = rtt / 2;
		return;
	}
	d = s->srtt > rtt ? s->srtt - rtt : rtt - s->srtt;
	s->rttvar = s->rttvar - s->rttvar / 4 + d / 4;
	s->srtt = MAX(s->srtt - s->srtt / 8 + rtt / 8, 1);
}

static uint64_t time_out(const struct world *w, struct replica *r)
{
	struct sender *s = &r->s;
	uint64_t heard = w->copy.target[r->target].heard_at, base = 1000 * MS, value;
	bool alive = heard && w->now - heard < 3000 * MS;

	if (s->srtt)
		base = MAX(s->srtt + MAX(4 * s->rttvar, MIN(4 * s->srtt, MIN_RTO)), MIN_RTO);
	else if (r->established && s->syn_timed_out)
		base = 3000 * MS;
	value = MIN(base << MIN(s->backoff, 10), MAX(base, alive ? ALIVE_RTO : SILENT_RTO));
	s->backed_off = value > ALIVE_RTO;
	return value;
}

static void rearm(const struct world *w, struct replica *r)
{
	struct sender *s = &r->s;
	uint64_t wait, probe;

	s->probe_is_due = false;
	s->due = 0;
	if (s->una == s->nxt) {
		s->backed_off = false;
		return;
	}
	wait = time_out(w, r);
	if (r->established && s->srtt && !s->backoff && !s->probe_out && !s->active) {
		probe = MAX(MAX(2 * s->srtt, s->srtt + 4 * s->rttvar), 10 * MS);
		if (s->nxt - s->una <= s->mss)
			probe += 40 * MS;
		if (probe < wait) {
			s->probe_is_due = true;
			if (s->progress_at + wait > w->now)
				probe = MIN(probe, s->progress_at + wait - w->now);
			wait = probe;
		}
	}
	s->due = w->now + wait;
	s->due_late = s->due + LATE_TICKS;
}

static bool timed_out(const struct world *w, const struct sender *s)
{
	return w->copy.advancing && s->due && w->now >= s->due;
}

void sender_syn(struct world *w, struct replica *r, bool again)
{
	struct sender *s = &r->s;

	if (!again) {
		s->una = r->iss;
		s->nxt = r->iss + 1;
		s->progress_at = w->now;
		s->exact = !w->copy.cfg.max_memory && !w->cut_at;
	} else if (timed_out(w, s)) {
		s->syn_timed_out = s->syn_again = true;
		r->leftovers = 0;
		s->backoff += s->backoff < 10;
	} else if (r->leftover_owed) {
		r->leftover_owed = false;
		if (!r->leftover_reset)
			fail(w, "port %u: a leftover was not reset", r->source.port);
		s->syn_again = true;
	} else if (s->exact) {
		fail(w, "port %u: the SYN was sent again without a reason", r->source.port);
	}
	rearm(w, r);
}

void sender_established(struct world *w, struct replica *r, const struct response *a)
{
	struct sender *s = &r->s;

	if (!s->syn_again)
		sample(s, w->now - s->progress_at);
	s->una = s->wl2 = a->ack;
	s->wl1 = a->seq;
	s->wnd = s->most_wnd = a->window;
	s->backoff = 0;
	s->progress_at = w->now;
	s->mss = r->mss;
	/* where the engine knows that the way takes less, it uses that; what with is not known here */
	if (r->mss + (replica_v4(r) ? 40u : 60u) + (r->ts_ok ? 12 : 0) >
	    engine_path(w->copy.e, r->target)->limit)
		s->exact = false;
	rearm(w, r);
}

/* --- the scoreboard -------------------------------------------------------------------------- */

static uint32_t sacked_below(const struct sender *s, uint32_t edge)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < s->n_sacked && seq_lt(s->sacked[i].start, edge); i++)
		sum += seq_min(s->sacked[i].end, edge) - s->sacked[i].start;
	return sum;
}

static void sack(struct sender *s, struct range b)
{
	unsigned n = 0, at = 0;
	struct range kept[MOST_SACKED + 1];

	for (unsigned i = 0; i < s->n_sacked; i++) {
		struct range *a = &s->sacked[i];

		if (seq_lt(a->end, b.start)) {
			kept[n++] = *a;
			at = n;
		} else if (seq_lt(b.end, a->start)) {
			kept[n++] = *a;
		} else {
			b.start = seq_min(b.start, a->start);
			b.end = seq_max(b.end, a->end);
		}
	}
	memmove(kept + at + 1, kept + at, (n - at) * sizeof(b));
	kept[at] = b;
	s->n_sacked = MIN(n + 1, MOST_SACKED);
	memcpy(s->sacked, kept, s->n_sacked * sizeof(b));
}

/* RFC 6675 4: IsLost(). Everything below this edge that is not SACKed. */
static uint32_t lost_edge(const struct sender *s)
{
	uint32_t first = seq_min(s->una + s->mss, s->point), above = 0;

	if (s->by_rto)
		return s->point;
	for (unsigned i = s->n_sacked; i-- > 0;) {
		above += s->sacked[i].end - s->sacked[i].start;
		if (above > 2u * s->mss || s->n_sacked - i >= 3 || s->by_probe)
			return seq_max(s->sacked[i].start, s->una);
	}
	return s->n_sacked ? seq_min(first, s->sacked[0].start) : first;
}

/* RFC 6675 4: SetPipe(). Without SACK each duplicate ACK tells of a segment that has left. */
static uint32_t pipe_of(const struct sender *s)
{
	uint32_t flight = s->nxt - s->una, gone, from = seq_max(s->repaired, s->una), edge;

	if (!s->active)
		return flight;
	edge = lost_edge(s);
	gone = seq_lt(from, edge) ? edge - from - (sacked_below(s, edge) - sacked_below(s, from)) : 0;
	if (!s->n_sacked && !s->by_rto)
		gone += s->dups * s->mss;
	gone += sacked_below(s, s->nxt);
	return flight > gone ? flight - gone : 0;
}

uint32_t sender_room(const struct sender *s)
{
	uint32_t pipe;

	if (!s->cwnd)
		return UINT32_MAX;
	pipe = pipe_of(s);
	return s->cwnd > pipe ? s->cwnd - pipe : 0;
}

/* The next repair that may go now. */
static bool next_repair(const struct sender *s, uint32_t *from, uint32_t *most)
{
	uint32_t edge = lost_edge(s), pipe = pipe_of(s);

	*from = seq_max(s->repaired, s->una);
	for (unsigned i = 0; i < s->n_sacked; i++)
		if (seq_le(s->sacked[i].start, *from) && seq_lt(*from, s->sacked[i].end))
			*from = s->sacked[i].end;
	if (!s->active || !seq_lt(*from, edge))
		return false;
	*most = edge - *from;
	for (unsigned i = 0; i < s->n_sacked; i++)
		if (seq_gt(s->sacked[i].start, *from))
			*most = MIN(*most, s->sacked[i].start - *from);
	*most = MIN(*most, MAX(s->cwnd > pipe ? s->cwnd - pipe : 0, s->mss));
	return *from == s->una || !pipe || pipe + s->mss <= s->cwnd;
}

static void enter(const struct world *w, struct replica *r, bool by_rto)
{
	struct sender *s = &r->s;

	s->ssthresh = MAX((s->nxt - s->una) / 2, 2u * s->mss);
	s->cwnd = by_rto ? s->mss : s->ssthresh;
	s->active = true;
	s->by_rto = by_rto;
	s->by_probe = s->probe_out;
	s->probe_out = false;
	s->grown = 0;
	s->point = s->nxt;
	s->repaired = s->una;
	if (by_rto)
		s->n_sacked = 0;
	rearm(w, r);
}

/* --- what the target says --------------------------------------------------------------------- */

static void take_samples(const struct world *w, struct sender *s, uint32_t ack)
{
	uint64_t rtt = 0;
	bool again = false;
	unsigned n = 0;

	for (; n < s->n_flown && !s->flown[n].open && seq_le(s->flown[n].end, ack); n++) {
		again = again || s->flown[n].again;
		if (!s->flown[n].again)
			rtt = w->now - s->flown[n].at;
	}
	s->n_flown -= n;
	memmove(s->flown, s->flown + n, s->n_flown * sizeof(*s->flown));
	if (rtt && !again)
		sample(s, rtt);
}

static void acknowledged(struct replica *r, uint32_t acked)
{
	struct sender *s = &r->s;
	unsigned gone = 0;

	s->dups = 0;
	s->probe_out = false;
	s->backoff = 0;
	while (gone < s->n_sacked && seq_le(s->sacked[gone].start, s->una))
		gone++;
	s->n_sacked -= gone;
	memmove(s->sacked, s->sacked + gone, s->n_sacked * sizeof(s->sacked[0]));
	if (s->active && seq_ge(s->una, s->point)) {
		s->active = false;
		if (!s->by_rto)
			acked = 0;
	} else if (s->active && !s->by_rto) {
		if (!s->n_sacked)
			s->repaired = s->una;
		return;
	}
	if (s->cwnd && s->cwnd < s->ssthresh) {
		s->cwnd += MIN(acked, s->mss);
	} else if (s->cwnd) {
		s->grown += acked;
		if (s->grown >= s->cwnd) {
			s->grown -= s->cwnd;
			s->cwnd += s->mss;
		}
	}
	/* all was sent and acknowledged: it begins anew */
	if (!s->active && s->una == s->nxt && r->told_nxt == s->nxt)
		s->cwnd = s->n_sacked = 0;
}

void sender_ack(struct world *w, struct replica *r, const struct response *a)
{
	struct sender *s = &r->s;
	uint32_t una = seq_max(s->una, a->ack), before = sacked_below(s, s->nxt), old = s->una, after;
	uint32_t wnd = (uint32_t)a->window << (r->ws_ok ? r->scale : 0);
	bool bare = !a->len && !(a->flags & TCPF_FIN) && a->ack == old && wnd == s->wnd;
	unsigned dups;

	for (unsigned i = 0; r->sack_ok && i < a->opt.n_sack; i++) {
		struct sack_block b = a->opt.sack[i];

		if (seq_gt(b.start, una) && seq_lt(b.start, b.end) && seq_le(b.end, s->nxt))
			sack(s, (struct range){ b.start, b.end });
	}
	after = sacked_below(s, s->nxt);
	if (r->sack_ok)
		dups = after > before ? 1u + a->dup_acks : 0;
	else
		dups = a->dup_acks + bare;
	if (!s->active && s->n_sacked && a->opt.n_sack && r->sack_ok && (s->probe_out || after > 2u * s->mss))
		enter(w, r, false);
	if (seq_gt(a->ack, old)) {
		take_samples(w, s, a->ack);
		s->una = a->ack;
		s->progress_at = w->now;
		acknowledged(r, a->ack - old);
		rearm(w, r);
	}
	if (dups && s->nxt != s->una) {
		s->dups = MIN(s->dups + dups, 255u);
		if (s->dups >= 3 && !s->active)
			enter(w, r, false);
	}
	if (seq_lt(s->wl1, a->seq) || (s->wl1 == a->seq && seq_le(s->wl2, a->ack)) ||
	    seq_gt(a->ack, s->wl2) || (a->ack == s->una && wnd > s->wnd)) {
		if (!s->wnd && wnd && s->una == s->nxt)
			s->backoff = 0;
		s->wnd = wnd;
		s->most_wnd = MAX(s->most_wnd, wnd);
		s->wl1 = a->seq;
		s->wl2 = a->ack;
	}
}

/* The target was silent and speaks: who is backed off asks at once. */
void sender_revive(struct world *w, unsigned target)
{
	for (struct replica *r = w->copy.replica; r->used; r++) {
		struct sender *s = &r->s;

		if (r->target != target || !r->conn || r->over || !s->backed_off)
			continue;
		s->backed_off = false;
		s->backoff = 0;
		if (s->due) {
			s->due = w->now;
			s->due_late = w->now + REVIVE_SPREAD + LATE_TICKS;
		}
	}
}

/* --- what the session sends ------------------------------------------------------------------- */

static void sent_again(struct world *w, struct replica *r, uint32_t seq, uint32_t len)
{
	struct sender *s = &r->s;
	uint32_t from, most, end = seq + len;

	for (unsigned i = 0; i < s->n_flown; i++)
		if (seq_lt(s->flown[i].start, end) && seq_gt(s->flown[i].end, seq))
			s->flown[i].again = true;
	if (!s->exact)
		return;
	if (timed_out(w, s) && s->probe_is_due) {
		if (end != s->nxt || seq_lt(seq, s->nxt - MIN(s->mss, s->nxt - s->una)))
			fail(w,
			     "port %u: the tail loss probe is seq %u to %u, not the last segment before %u",
			     r->source.port, seq - r->iss, end - r->iss, s->nxt - r->iss);
		s->probe_out = true;
		rearm(w, r);
		return;
	}
	if (timed_out(w, s)) {
		s->backoff += s->backoff < 10;
		enter(w, r, true);
	}
	if (!next_repair(s, &from, &most))
		fail(w, "port %u: seq %u len %u was sent again without a reason", r->source.port,
		     seq - r->iss, len);
	if (seq != from || len > most)
		fail(w, "port %u: seq %u len %u was sent again, but %u is to be repaired, %u bytes at most",
		     r->source.port, seq - r->iss, len, from - r->iss, most);
	s->repaired = end;
	rearm(w, r);
}

void sender_data(struct world *w, struct replica *r, uint32_t seq, uint32_t len, bool open)
{
	struct sender *s = &r->s;
	struct flown *last = s->n_flown ? &s->flown[s->n_flown - 1] : NULL;

	if (seq_lt(seq, s->nxt)) {
		sent_again(w, r, seq, len);
		return;
	}
	if (seq != s->nxt)
		fail(w, "port %u: seq %u was sent, %u is the next", r->source.port, seq - r->iss,
		     s->nxt - r->iss);
	if (s->exact && len > sender_room(s))
		fail(w, "port %u: %u bytes were sent, the congestion window of %u has room for %u",
		     r->source.port, len, s->cwnd, sender_room(s));
	if (last && last->open) {
		last->end = seq + len;
		last->at = w->now;
		last->open = open;
	} else {
		if (s->n_flown == s->flown_size) {
			s->flown_size = s->flown_size ? 2 * s->flown_size : 16;
			s->flown = realloc(s->flown, s->flown_size * sizeof(*s->flown));
			if (!s->flown)
				abort();
		}
		assert(s->flown);
		s->flown[s->n_flown++] = (struct flown){ seq, seq + len, w->now, false, open };
	}
	if (r->t.missed || (s->stalled && w->now >= s->stalled_from + OVERRIDE))
		s->override_at =
			w->now; /* if turns are not waited for, nobody knows when it could go first */
	if (s->exact && open && len < s->mss && w->now != s->override_at &&
	    (s->una != s->nxt || len < (s->most_wnd + 1) / 2))
		fail(w, "port %u: %u bytes from %u on are a silly segment", r->source.port, len,
		     seq - r->iss);
	s->stalled = 0;
	if (s->una == s->nxt)
		s->progress_at = w->now;
	s->nxt += len;
	s->sent_new = true;
}

/* A call into the engine is over. */
void sender_step(struct world *w, struct replica *r)
{
	struct sender *s = &r->s;
	uint32_t from, most;

	if (s->sent_new && (s->probe_is_due || !s->due))
		rearm(w, r);
	s->sent_new = false;
	if (!s->exact)
		return;
	if (r->established && next_repair(s, &from, &most))
		fail(w, "port %u: seq %u is lost and was not sent again", r->source.port, from - r->iss);
	if (s->due && w->now > s->due_late)
		fail(w, "port %u: nothing was sent %.3f ms after a %s was due", r->source.port,
		     (double)(w->now - s->due) / 1e6, s->probe_is_due ? "tail loss probe" : "time-out");
}

void sender_free(struct sender *s)
{
	free(s->flown);
	*s = (struct sender){ 0 };
}
