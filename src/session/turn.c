/*
 * Session turns - theory of operation
 *
 * A client's next request was sent because it had read an answer. Replayed without regard to that, a
 * request could reach the target before the one whose result it needs. So the stream is divided into turns:
 * data whose ack has advanced since the data before it opens a new turn, and the advance says how many
 * bytes of answer the client had read. A FIN and an RST open turns in the same way.
 *
 * One turn is released at a time. The next one is released when the target has sent as many bytes, with an
 * ack that covers the end of the released turn (so bytes that were under way before it do not count), as
 * the online server had. Otherwise when the answer has paused: something was answered, PSH seen, everything
 * of ours acknowledged, and quiet for max(2 SRTT, 1 ms). Otherwise when the target has closed: nothing more
 * will come. Otherwise when capture time + hold has passed. Each way is counted. The check runs in the step
 * that handles the response, so no tick delays a turn.
 *
 * s->hold is the first qseg of the turn that waits (NULL: none); what precedes it may be sent. s->turn_end
 * is where the released turn ends as far as captured: it grows while the turn is still being captured, and
 * the answer is counted anew each time.
 */
#include "session/impl.h"

/* @q was just appended to the main queue. */
void turn_linked(struct engine *e, struct session *s, struct qseg *q)
{
	if (!s->has_turn_ack) {
		s->turn_ack = q->ack;
		s->has_turn_ack = true;
	}
	if (seq_gt(q->ack, s->turn_ack)) {
		q->turn = true;
		q->expect = q->ack - s->turn_ack;
		s->turn_ack = q->ack;
		e->n.turns++;
		e->turns_waiting++;
		if (!s->hold) {
			s->hold = q;
			/*
			 * the answer that it waits for has begun and is incomplete: the target's Nagle may
			 * wait for our ACK
			 */
			if (s->answered_any && s->answered < q->expect && s->ack_emitted != s->rcv_nxt)
				s->ack_now = true;
		}
	} else if (!s->hold) {
		s->turn_end = qseg_end(q);
		s->answered = 0;
	}
}

/* @new_bytes of answer (its FIN counts as one) came with @r, after its ack was taken. */
void turn_response(struct session *s, const struct response *r, uint32_t new_bytes, uint64_t now)
{
	if (!new_bytes)
		return;
	s->answer_last = now;
	s->answered_any += new_bytes;
	s->psh_seen = r->flags & TCPF_PSH;
	if (seq_ge(r->ack, s->turn_end))
		s->answered += new_bytes;
}

/* Has the answer paused? @quiet: the length of the silence that decides, ns. */
static bool answer_may_pause(const struct session *s, uint64_t *quiet)
{
	*quiet = MAX(2 * s->srtt, PAUSE_FLOOR);
	return s->answered_any && s->psh_seen && s->snd_una == s->turn_end;
}

/* May what waited with @expect and capture time @at go now? Counts it by the way it goes. */
static bool may_go(struct engine *e, const struct session *s, uint32_t expect, uint64_t at, uint64_t now)
{
	uint64_t quiet;

	if (s->answered >= expect)
		e->n.released_on_answer++;
	else if (s->events & EV_TARGET_FIN)
		e->n.released_on_close++;
	else if (now >= at + e->cfg.hold)
		e->n.released_on_deadline++;
	else if (answer_may_pause(s, &quiet) && now >= s->answer_last + quiet)
		e->n.released_on_pause++;
	else
		return false;
	return true;
}

static void release(struct session *s)
{
	struct qseg *q = qseg_next(s->hold);

	while (q && !q->turn)
		q = qseg_next(q);
	s->hold = q;
	s->turn_end = q ? q->piece.seq : s->stream.nxt;
	s->answered = s->answered_any = 0;
	s->psh_seen = false;
}

/* Deadline and pause timers of what waits now. */
static void arm(struct engine *e, struct session *s, uint64_t deadline)
{
	uint64_t quiet;

	timer_set(e, s, TIMER_HOLD, deadline);
	if (answer_may_pause(s, &quiet))
		timer_set(e, s, TIMER_PAUSE, s->answer_last + quiet);
	else
		timer_off(s, TIMER_PAUSE);
}

/*
 * Of the RST. A client's is as late as its last turn may be; what was cut is delivered, without --hold,
 * too.
 */
static uint64_t rst_deadline(const struct engine *e, const struct session *s)
{
	return s->rst_at + (s->events & EV_CUT ? MAX(e->cfg.hold, RTO_CAP_ALIVE) : e->cfg.hold);
}

/* Release every turn that may go. The connection is established. */
void turn_check(struct engine *e, struct session *s, uint64_t now)
{
	while (s->hold) {
		if (!may_go(e, s, s->hold->expect, s->hold->captured_at, now)) {
			arm(e, s, s->hold->captured_at + e->cfg.hold);
			return;
		}
		e->turns_waiting--;
		release(s);
	}
	if (s->events & (EV_CLIENT_RST | EV_CUT) && !turn_rst_may_go(e, s, now)) {
		arm(e, s, rst_deadline(e, s));
		return;
	}
	timer_off(s, TIMER_HOLD);
	timer_off(s, TIMER_PAUSE);
}

/*
 * The client's RST waits for its turn, or servers abort work that the client had waited for; and for the
 * acknowledgment of everything before it, for an RST would take what was lost on the way with it. The same
 * goes for the RST that ends a stream which was cut.
 */
bool turn_rst_may_go(const struct engine *e, const struct session *s, uint64_t now)
{
	if (now >= rst_deadline(e, s))
		return true;
	if (s->hold || s->next || s->snd_una != s->snd_nxt)
		return false;
	if (s->answered >= s->rst_expect || s->events & EV_TARGET_FIN)
		return true;
	return s->answered_any && s->psh_seen && now >= s->answer_last + MAX(2 * s->srtt, PAUSE_FLOOR);
}
