/*
 * Simulator: what a run has come to - theory of operation
 *
 * When all clients are done and the copies had their time: did what had to arrive arrive, was anything
 * counted that may not be, and is nothing left of it? How much may be asked of a run follows from what was
 * switched on (struct fairness). What is wrong earlier is found earlier: referee.c, target.c.
 */
#include "referee.h"

#define HOLE_OVER (7 * NS_PER_SEC) /* found, its stream delivered, and the session ended */
#define JOIN_SILENT (200 * NS_PER_MS)

/* Was any data of @c captured before that at @start of its stream, at the time @at? */
static bool heard_before(const struct conn *c, uint32_t start, uint64_t at)
{
	for (unsigned i = 0; i < c->n_told; i++)
		if (c->told[i].len && c->told[i].time <= at &&
		    (int32_t)(c->told[i].seq - c->c.iss - 1 - start) < 0)
			return true;
	return false;
}

/* Everything that the client's bytes went through is over: did they arrive? */
void check_complete(struct world *w)
{
	for (unsigned i = 0; i < w->n_conns; i++) {
		const struct conn *c = &w->conn[i];
		uint32_t got = c->o.w ? c->o.rcv_nxt - c->o.irs - 1 - c->o.fin_taken : 0;

		for (unsigned t = 0; t < w->copy.n_targets; t++) {
			const struct target_host *h = &w->copy.target[t];
			/*
			 * A target that closes behind each answer takes a handshake for each turn. A
			 * successor on the same port waits for --hold, as does its RST for its turn, and not
			 * for that; referee_outcome.c looks that it waits so long.
			 */
			bool pressed =
				h->closes_after && (c->pressed[t] || (c->waits && w->conn[i - 1].pressed[t]));
			bool quick = w->fair.lockstep && w->fair.equal_answers && w->fair.wires_clean &&
				     !h->read_rate && w->subject != SUBJECT_PORTS && !pressed;

			if (c->multipath >= MULTIPATH_AGREED || c->unheard)
				continue;
			/* a successor on the same port waits, and so does an RST, but not for ever */
			if ((c->reused_by || c->ending == END_RST || c->ending == END_RST_EARLY ||
			     c->reset_at || c->has_limit || (c->waits && pressed)) &&
			    !quick)
				continue;
			if (c->waits && h->lwip)
				continue; /* its TIME-WAIT refuses every SYN for two minutes */
			if (!c->met[t] && (c->old || (!got && !(c->accepted && quick))))
				continue; /* a connection older than the capture may have had no
					     further turn */
			if (!c->met[t])
				fail(w, "connection %u never reached target %u", i, t);
			if (c->base[t] && !c->old)
				fail(w, "connection %u was joined at %u", i, c->base[t]);
			/*
			 * What came before the turn at which an older connection was joined is not copied. A
			 * RST that follows the last request at once waits for its acknowledgment, and not
			 * until the target has executed it.
			 */
			for (unsigned k = 0; k < c->n && h->closes_after; k++)
				if (c->r[k].start >= c->base[t] &&
				    !(c->ending == END_RST_EARLY && k + 1 == c->sent) &&
				    c->r[k].start + c->r[k].size <= got && c->executed[t][k] != 1)
					fail(w, "connection %u: target %u has executed request %u %u times",
					     i, t, k, c->executed[t][k]);
			if (c->reached[t] != got)
				fail(w, "connection %u: target %u has read up to %u of %u bytes", i, t,
				     c->reached[t], got);
		}
	}
}

/*
 * The first request of @c, which is older than the capture, that is known to begin a turn: its client has
 * read the answer to the one before, of which all was captured, or it was silent since the capture began.
 * doc/SESSION.md, JOIN_SILENCE.
 */
static unsigned first_turn(const struct world *w, const struct conn *c)
{
	for (unsigned k = 0; k < c->n; k++) {
		const uint64_t at = c->captured_at[k];

		if (!at)
			continue;
		if (k && c->captured_at[k - 1] && c->r[k - 1].answer)
			return k;
		if (k && !c->captured_at[k - 1] && at >= w->capture.from + JOIN_SILENT &&
		    !heard_before(c, c->r[k].start, at))
			return k;
	}
	return c->n;
}

/* A connection that is older than the capture is copied from its next turn on. */
void check_older(struct world *w)
{
	const struct fairness *f = &w->fair;

	if (!f->complete || !f->lockstep || !f->capture_whole || !f->client_clean || w->day ||
	    w->copy.cfg.join != ENGINE_JOIN_AUTO || w->copy.cfg.max_observed < 1000 || w->copy.cfg.prove)
		return;
	for (unsigned i = 0; i < w->n_conns; i++) {
		const struct conn *c = &w->conn[i];
		const unsigned k = first_turn(w, c);

		for (unsigned t = 0; c->old && k < c->n && t < w->copy.n_targets; t++)
			if (c->multipath < MULTIPATH_AGREED && c->ending != END_RST &&
			    c->ending != END_RST_EARLY && !c->reused_by && !c->waits && !c->has_limit &&
			    (!c->met[t] || c->base[t] > c->r[k].start))
				fail(w, "connection %u: target %u has got nothing of it from request %u on",
				     i, t, k);
	}
}

/*
 * The capture has lost a request. What was captured some seconds after that became known begins with a turn
 * of its own, and is copied from there on.
 */
void check_holes(struct world *w)
{
	for (unsigned i = 0; w->subject == SUBJECT_HOLES && i < w->n_conns; i++) {
		const struct conn *c = &w->conn[i];

		for (unsigned t = 0; t < w->copy.n_targets; t++)
			for (unsigned k = 0; k < c->n && !w->copy.target[t].lwip; k++) {
				const bool lost = c->lose >> k & 1;
				const bool before = !c->lose || k < (unsigned)__builtin_ctz(c->lose);

				if ((before || (!lost && c->hole_told &&
						c->captured_at[k] > c->hole_told + HOLE_OVER)) &&
				    c->executed[t][k] != 1)
					fail(w, "connection %u: target %u has executed request %u %u times",
					     i, t, k, c->executed[t][k]);
			}
	}
}

void check_objections(struct world *w)
{
	for (unsigned i = 0; i < w->copy.n_targets; i++) {
		const struct objections *b = &w->copy.target[i].bad;

		if (b->no_ts || b->oversize)
			fail(w, "target %u: %llu segments without timestamps, %llu over its MSS", i,
			     (unsigned long long)b->no_ts, (unsigned long long)b->oversize);
		if (!w->copy.to_target[i].dup && !w->copy.to_target[i].reorder && b->paws)
			fail(w, "target %u dropped %llu segments by PAWS", i, (unsigned long long)b->paws);
		if (w->fair.wires_clean && w->fair.complete &&
		    (b->challenge || b->ack_beyond || b->beyond_window))
			fail(w,
			     "target %u: %llu challenge ACKs, %llu ACKs above SND.NXT, %llu beyond its window",
			     i, (unsigned long long)b->challenge, (unsigned long long)b->ack_beyond,
			     (unsigned long long)b->beyond_window);
	}
}

void check_counters(struct world *w)
{
	const struct engine_counters *n = engine_counters(w->copy.e);
	uint64_t waits = n->released_on_pause + n->released_on_deadline + n->released_on_close;
	bool far = false;

	/* a target farther away than the client falls behind in a closed loop, until --hold has
	 * passed */
	for (unsigned i = 0; i < w->copy.n_targets; i++)
		if (MAX_REQUESTS * (w->copy.to_target[i].delay + w->copy.to_assistant[i].delay) >
		    w->copy.cfg.hold / 2)
			far = true;

	if (w->fair.no_early && w->early && !waits)
		fail(w, "%llu requests came early, only %llu turns were released without their answer",
		     (unsigned long long)w->early, (unsigned long long)waits);
	if (!w->odd && w->fair.lockstep && waits - (far ? n->released_on_deadline : 0))
		fail(w, "a plain run: %llu turns released on pause, %llu on deadline, %llu on close",
		     (unsigned long long)n->released_on_pause, (unsigned long long)n->released_on_deadline,
		     (unsigned long long)n->released_on_close);
	/* lwIP delays an ACK longer than a tail loss probe waits */
	/* where a port is used again at once, the SYN-ACK may be looked up as the old connection's */
	if (!w->odd && !w->copy.target[0].lwip && !w->day &&
	    (n->retransmitted_segments || n->responses_refused))
		fail(w, "a plain run: %llu retransmissions, %llu responses refused",
		     (unsigned long long)n->retransmitted_segments, (unsigned long long)n->responses_refused);
}

static bool any_mute(const struct world *w)
{
	for (unsigned i = 0; i < w->n_conns; i++)
		if (w->conn[i].mute)
			return true;
	return false;
}

/* Where nothing goes wrong, no session ends because something did. */
void check_outcomes(struct world *w)
{
	static const enum session_outcome wrong[] = {
		OUTCOME_TARGET_RESET,  OUTCOME_REFUSED,      OUTCOME_NO_ANSWER,   OUTCOME_RETURN_SILENT,
		OUTCOME_TARGET_SILENT, OUTCOME_CAPTURE_HOLE, OUTCOME_BUFFER_FULL, OUTCOME_NO_MEMORY,
		OUTCOME_HALF_OPEN,     OUTCOME_TARGET_OPEN,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		if ((wrong[i] == OUTCOME_HALF_OPEN && any_mute(w)) ||
		    (wrong[i] == OUTCOME_TARGET_OPEN && w->subject == SUBJECT_HALF_CLOSE))
			continue;
		else if (w->fair.complete && w->fair.wires_clean && w->fair.client_clean &&
			 w->fair.capture_whole && !w->copy.target[0].lwip && w->sum_ended[wrong[i]])
			fail(w, "%llu sessions ended: %s", (unsigned long long)w->sum_ended[wrong[i]],
			     session_outcome_name(wrong[i]));
}

/* The engine has nothing left to do: nothing may be left of it. */
void check_nothing_left(struct world *w)
{
	struct engine *e = w->copy.e;

	engine_check(e);
	if (engine_sessions(e) || engine_lingering(e) || engine_observed(e))
		fail(w, "at the end %u sessions live, %u linger, %u are observed", engine_sessions(e),
		     engine_lingering(e), engine_observed(e));
	engine_flushed(e);
	if (engine_memory(e) || engine_live_bytes(e))
		fail(w, "at the end %zu bytes of memory are in use", engine_memory(e));
	sources_end(w);
	if (w->copy.n_watched && !w->cut_at)
		fail(w, "at the end the assistant still watches %u sessions", w->copy.n_watched);
	for (unsigned i = 0; i < w->copy.n_targets; i++)
		for (const struct served *v = w->copy.target[i].all; v; v = v->link)
			if (w->fair.nothing_lost && !v->closed && v->t.w && v->t.state != T_TIME_WAIT)
				fail(w, "target %u still has connection %u, state %d", i, v->conn->index,
				     v->t.state);
}

/*
 * Nobody said that the originals are gone: it has to be found. A missing socket is the end only of a session
 * whose socket was there before.
 */
void check_ends(struct world *w)
{
	unsigned n = engine_states(w->copy.e)[STATE_ESTABLISHED], unknown = 0;

	for (unsigned i = 0; i < w->n_conns; i++)
		for (unsigned t = 0; t < w->copy.n_targets; t++)
			unknown += !w->conn[i].found[t];
	if (n > unknown)
		fail(w, "%u sessions live %.0f s after their originals have gone", n,
		     (double)FOUND_GONE / 1e9);
}
