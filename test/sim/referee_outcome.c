/*
 * Simulator: the referee of outcomes - theory of operation
 *
 * A session may not end for a reason that is none, nor too early for its reason, nor go on when it has one:
 * doc/SESSION.md, "Outcomes" and "Timers". And what its end leaves behind has to be in order: the assistant is
 * told, a target that has not heard the last acknowledgment gets it again, and what waited when the target
 * closed goes on from the right turn.
 */
#include "referee.h"

#define SYN_PATIENCE (60 * NS_PER_SEC)
#define DATA_PATIENCE (120 * NS_PER_SEC)
#define FIN_PATIENCE (60 * NS_PER_SEC)
#define HALF_OPEN_PATIENCE (3 * NS_PER_SEC)
#define LONGEST_WAIT (9 * NS_PER_SEC) /* between two time-outs */
#define LINGERS NS_PER_SEC
#define SUCCESSOR_WAITS (200 * NS_PER_MS) /* at least; else for --hold */
#define HOLE_PATIENCE (3 * NS_PER_SEC)
#define PROOF_AGE (10 * NS_PER_SEC) /* if nobody's segments tell that all before has been handed over */
#define RESET_WAITS (50 * NS_PER_MS)
#define NEAR (1u << 30)

/* Is what the world says of this session known to the last segment? */
static bool plain(const struct world *w, const struct replica *r)
{
	return r->orderly && !w->cut_at && !w->copy.cfg.max_memory;
}

/* The engine is about to be given @a. */
void outcome_response(struct world *w, struct replica *r, const struct response *a)
{
	const bool ack = a->flags & TCPF_ACK;

	if (r->over) {
		r->ack_owed = (r->outcome == OUTCOME_COMPLETE || r->outcome == OUTCOME_UNANSWERED) &&
			      r->watched && plain(w, r) && ack && !(a->flags & TCPF_RST) &&
			      (a->len || a->flags & (TCPF_FIN | TCPF_SYN)) && w->now < r->over_at + LINGERS;
		return;
	}
	if (!(a->flags & TCPF_RST))
		return;
	if (!r->established && ack && a->ack == r->iss + 1) {
		w->copy.target[r->target].refusals += !r->refused;
		r->refused = true;
	} else if (!r->established) {
		return;
	}
	if (r->established && a->seq - r->a.rcv_nxt + NEAR <= 2 * NEAR && !seq_gt(a->seq, r->a.most) &&
	    !(r->a.rcv_nxt - r->first_rcv < NEAR && seq_lt(a->seq, r->first_rcv)) &&
	    (!ack || (seq_ge(a->ack, r->s.una) && seq_le(a->ack, r->s.nxt)))) {
		if (!r->was_reset) {
			r->was_reset_at = w->now;
			r->reset_ack = r->s.una;
		}
		if (!r->was_reset || r->reset_bare) {
			r->reset_bare = !ack;
			r->reset_seq = a->seq;
		}
		r->was_reset = true;
		if (ack)
			r->reset_ack = seq_max(r->reset_ack, a->ack);
	}
}

bool outcome_reset_waits(const struct replica *r)
{
	if (!r->was_reset)
		return false;
	if (r->reset_bare)
		return !r->a.fin && r->a.rcv_nxt != r->first_rcv && r->s.una != r->s.nxt;
	return seq_gt(r->reset_seq, r->a.rcv_nxt);
}

static void too_early(struct world *w, const struct replica *r, enum session_outcome o, uint64_t since,
		      uint64_t patience)
{
	if (w->now < since + patience)
		fail(w, "port %u: it ended as %s %.3f s too early", r->source.port, session_outcome_name(o),
		     (double)(since + patience - w->now) / 1e9);
}

static void wrong(struct world *w, const struct replica *r, enum session_outcome o)
{
	fail(w, "port %u: it ended as %s, without a reason", r->source.port, session_outcome_name(o));
}

/*
 * Of a target that takes no connection in its middle: each join fails. doc/SESSION.md, "Joining, and joining
 * again": how often is that tried?
 */
#define FAILURES_MOST 3
#define JOINS_COUNT 20
#define TRY_AGAIN (30 * NS_PER_SEC)
#define APART (200 * NS_PER_MS)
#define PAUSE (100 * NS_PER_MS)

/* Of what a target gets of all the engines, each makes its share. */
static uint64_t of_all(const struct world *w, uint64_t pause)
{
	return pause * MAX(w->copy.cfg.engines, 1u);
}

void outcome_joins(struct world *w)
{
	const struct engine_counters *n = engine_counters(w->copy.e);
	const uint64_t joins = n->sessions_joined - n->sessions_continued;
	struct target_host *h = &w->copy.target[0];
	const uint64_t since = w->now - h->joined_at;

	if (!h->no_middle || joins == h->joins)
		return;
	if (h->joins_failed >= JOINS_COUNT && since < of_all(w, TRY_AGAIN))
		fail(w, "a connection is joined %.3f s after another, and %u joins in a row have failed",
		     (double)since / 1e9, h->joins_failed);
	if (h->joins_failed >= FAILURES_MOST && since < of_all(w, APART))
		fail(w, "a connection is joined %.3f ms after another, and joins fail", (double)since / 1e6);
	h->joins = joins;
	h->joined_at = w->now;
}

/* A target that refuses is asked from time to time only: doc/SESSION.md, REFUSALS_FEW and REFUSED_PAUSE. */
void outcome_started(struct world *w, const struct replica *r)
{
	struct target_host *h = &w->copy.target[r->target];

	if (h->refusals >= 16 && w->now < h->asked_at + of_all(w, 100 * NS_PER_MS) - LATE_TICKS &&
	    !r->conn->waits && w->subject == SUBJECT_REFUSING)
		fail(w, "port %u is sent a SYN %.3f ms after another, and the target has refused %u",
		     r->source.port, (double)(w->now - h->asked_at) / 1e6, h->refusals);
	h->asked_at = w->now;
}

void outcome_joined(struct world *w, struct replica *r)
{
	struct target_host *h = &w->copy.target[r->target];
	const struct conn *c = r->conn;

	if (h->no_middle && h->joins_failed < JOINS_COUNT && c->join_failures >= FAILURES_MOST)
		fail(w, "port %u is joined again after %u failures", r->source.port, c->join_failures);
	if (h->no_middle && c->join_failures && c->join_failures < FAILURES_MOST &&
	    w->now < c->join_failed_at + (PAUSE << (c->join_failures - 1)))
		fail(w, "port %u is joined again %.3f ms after failure %u", r->source.port,
		     (double)(w->now - c->join_failed_at) / 1e6, c->join_failures);
}

static void join_failed(struct world *w, struct replica *r)
{
	if (!r->joined || r->continued || !r->established)
		return;
	w->copy.target[r->target].joins_failed++;
	r->conn->join_failures++;
	r->conn->join_failed_at = w->now;
}

/* Was the engine told of the client's FIN, and of all that came before? */
static bool closed_in_order(const struct world *w, const struct conn *c)
{
	bool fin = false;

	for (unsigned i = 0; i < c->n_told; i++)
		fin |= c->told[i].flags & TCPF_FIN;
	return fin && w->fair.capture_whole && w->fair.client_clean && !w->copy.cfg.prove;
}

/*
 * Has the target answered @r as one is answered that it takes? Twice, or it was a connection's first turn,
 * with which it closes each.
 */
static bool takes_it(const struct replica *r)
{
	return r->t.all_answers >= 2 ||
	       (r->t.all_answers && !r->joined && r->a.fin && !r->was_reset && r->t.answered > 1);
}

/* The referee of turns and the one of losses still know all of @r. */
void outcome_ended(struct world *w, struct replica *r, enum session_outcome o)
{
	bool done = r->a.fin_sent && r->s.una == r->s.nxt;
	uint64_t heard;

	r->next_known = false;
	switch (o) {
	case OUTCOME_TARGET_RESET:
		if (!r->was_reset)
			wrong(w, r, o);
		break;
	case OUTCOME_REFUSED:
		if (!r->refused)
			wrong(w, r, o);
		break;
	case OUTCOME_TARGET_CLOSED:
		if (!r->a.fin || (!r->was_reset && plain(w, r) && r->s.exact && !turns_next_is_due(w, r)))
			wrong(w, r, o);
		break;
	case OUTCOME_COMPLETE:
	case OUTCOME_UNANSWERED:
		if (!r->a.fin || !done)
			wrong(w, r, o);
		break;
	case OUTCOME_NO_ANSWER:
	case OUTCOME_RETURN_SILENT:
		if (r->established)
			wrong(w, r, o);
		too_early(w, r, o, r->started_at, SYN_PATIENCE);
		heard = w->copy.target[r->target].heard_at;
		if ((o == OUTCOME_NO_ANSWER) != (heard && w->now - heard <= SYN_PATIENCE))
			wrong(w, r, o);
		break;
	case OUTCOME_TARGET_SILENT:
		if (r->s.exact)
			too_early(w, r, o, r->s.progress_at, DATA_PATIENCE);
		break;
	case OUTCOME_TARGET_OPEN:
		if (!done || r->a.fin)
			wrong(w, r, o);
		too_early(w, r, o, MAX(r->s.progress_at, r->t.answer_last), FIN_PATIENCE);
		break;
	case OUTCOME_CLIENT_RESET:
		/* what a newer one says on its port may be taken for its own */
		if (!r->conn->rst_told && !r->conn->reused_by)
			wrong(w, r, o);
		if (!r->established && plain(w, r) && r->t.has_turn_ack)
			too_early(w, r, o, r->conn->rst_told, MAX(w->copy.cfg.hold, NS_PER_SEC));
		break;
	case OUTCOME_SERVER_RESET:
		if (!r->conn->reset_at && !r->conn->unheard)
			wrong(w, r, o);
		break;
	case OUTCOME_PORT_REUSED:
		if (!r->conn->reused_by || !r->conn->reused_by->started)
			wrong(w, r, o);
		/* whose client had closed has its time, or requests on their way would be lost */
		if (closed_in_order(w, r->conn) && r->conn->reused_by->n_told)
			too_early(w, r, o, r->conn->reused_by->told[0].time,
				  MAX(w->copy.cfg.hold, SUCCESSOR_WAITS));
		r->conn->pressed[r->target] = true;
		break;
	case OUTCOME_SOURCE_TAKEN:
	case OUTCOME_UNWATCHED:
	case OUTCOME_SOURCE_LOST:
		if (w->subject != SUBJECT_SOURCES)
			wrong(w, r, o);
		break;
	case OUTCOME_MPTCP:
		if (r->conn->multipath < MULTIPATH_AGREED)
			wrong(w, r, o);
		break;
	case OUTCOME_CAPTURE_HOLE:
		if (w->fair.capture_whole && w->fair.client_clean && !w->capture.from &&
		    r->conn->o.state == T_ESTABLISHED && !w->stopped)
			wrong(w, r, o);
		break;
	case OUTCOME_HALF_OPEN:
		if (w->copy.cfg.max_half_open >= 1000 && plain(w, r))
			too_early(w, r, o, r->syn_told_at, HALF_OPEN_PATIENCE);
		break;
	default:
		break;
	}
	unseen_ended(w, r, o);
	if (o == OUTCOME_TARGET_CLOSED || o == OUTCOME_TARGET_RESET)
		join_failed(w, r);
	if ((o == OUTCOME_TARGET_CLOSED || o == OUTCOME_TARGET_RESET) && plain(w, r))
		r->next_known = turns_next(w, r, &r->next_seq);
	r->must_go_on = r->next_known && takes_it(r) && w->copy.cfg.max_sessions >= 10000 &&
			w->copy.cfg.join == ENGINE_JOIN_AUTO && !w->copy.sources;
}

/* A session that goes on with what another left begins at @seq; *@before has been that. */
void outcome_continued(struct world *w, const struct replica *r, uint32_t seq)
{
	if (r->has_before && !seq_gt(seq, r->before) && !r->conn->waits)
		fail(w, "port %u: a session goes on at %u again, of which the target took nothing",
		     r->source.port, seq - r->conn->c.iss);
	if (r->next_known && r->next_seq != seq)
		fail(w, "port %u: a session goes on at %u, not at %u", r->source.port, seq - r->conn->c.iss,
		     r->next_seq - r->conn->c.iss);
}

static void too_late(struct world *w, const struct replica *r, const char *what, uint64_t since,
		     uint64_t patience)
{
	if (w->now > since + patience + LATE_TICKS)
		fail(w, "port %u: %.3f s after %s it goes on", r->source.port, (double)(w->now - since) / 1e9,
		     what);
}

/* A call into the engine is over. */
void outcome_step(struct world *w, struct replica *r)
{
	const struct sender *s = &r->s;
	bool done = r->a.fin_sent && s->una == s->nxt;

	if (r->over) {
		if (r->must_go_on)
			fail(w, "port %u: what waits does not go on at %u", r->source.port,
			     r->next_seq - r->iss);
		if (r->ack_owed)
			fail(w, "port %u: the target did not get the last ACK again", r->source.port);
		return;
	}
	unseen_step(w, r);
	if (r->conn->mute && plain(w, r) && !r->t.has_turn_ack)
		too_late(w, r, "the client's last SYN", r->syn_told_at, HALF_OPEN_PATIENCE);
	if (r->conn->scans && r->conn->rst_told)
		too_late(w, r, "its client's RST, which was all it had to say", r->conn->rst_told, 0);
	if (r->conn->rst_told && plain(w, r) && !r->conn->reused_by && !r->was_reset &&
	    (r->established || r->told_nxt == r->iss + 1))
		too_late(w, r, "its client's RST", r->conn->rst_told, MAX(w->copy.cfg.hold, NS_PER_SEC));
	if ((r->conn->reset_at || r->conn->unheard) && w->copy.cfg.prove && !w->cut_at &&
	    (r->established || !r->conn->stream_len))
		too_late(w, r, "the online server's RST", MAX(r->conn->reset_at, r->started_at),
			 MAX(w->copy.cfg.hold, NS_PER_SEC) +
				 (w->fair.nothing_lost ? NS_PER_SEC : LONGEST_WAIT));
	if (!r->established)
		too_late(w, r, "its SYN", r->started_at, SYN_PATIENCE + LONGEST_WAIT);
	else if (s->exact && s->una != s->nxt && s->wnd)
		too_late(w, r, "the last progress", s->progress_at, DATA_PATIENCE + LONGEST_WAIT);
	if (r->established && done && !r->a.fin && plain(w, r) && r->conn->ended && r->conn->closed_at &&
	    r->conn->reused_by == NULL)
		too_late(w, r, "its FIN", MAX(r->conn->closed_at, MAX(s->progress_at, r->t.answer_last)),
			 FIN_PATIENCE + LONGEST_WAIT);
	if (r->conn->hole_told && r->started_at < r->conn->hole_told && !w->cut_at)
		too_late(w, r, "a hole was met", r->conn->hole_told,
			 (w->copy.blind ? HOLE_PATIENCE : PROOF_AGE) + NS_PER_SEC + w->copy.cfg.hold);
	if (r->was_reset)
		too_late(w, r, "the target's RST", r->was_reset_at, outcome_reset_waits(r) ? RESET_WAITS : 0);
	if (r->established && done && r->a.fin)
		fail(w, "port %u: both have closed, and it goes on", r->source.port);
}

/* The assistant is told to forget @r. */
void outcome_unwatched(struct world *w, struct replica *r)
{
	if (r->over && (r->outcome == OUTCOME_COMPLETE || r->outcome == OUTCOME_UNANSWERED) && plain(w, r) &&
	    !r->conn->reused_by && w->now < r->over_at + LINGERS)
		fail(w, "port %u: it is forgotten %.3f ms after its end", r->source.port,
		     (double)(w->now - r->over_at) / 1e6);
	r->watched = false;
	if (!r->over && sources_leaves(w, &r->source)) { /* it goes on from another source */
		r->over = true;
		r->over_at = w->now;
		r->outcome = OUTCOME_SOURCE_TAKEN;
	}
}

/* Has the online server this connection, or what the engine was told last completes its handshake? */
bool outcome_accepted(const struct conn *c)
{
	for (unsigned i = c->n_told; c->o.w && !c->accepted && i-- > 0;)
		if (c->told[i].flags & TCPF_ACK && c->told[i].ack == c->o.iss + 1)
			return true;
	return c->accepted;
}
