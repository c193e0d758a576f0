/*
 * Session turns - theory of operation
 *
 * A client's next request was sent because it had read an answer. Replayed without regard to that, a
 * request could reach the target before the one whose result it needs. So the stream is divided into turns:
 * data whose ack has advanced since the data before it opens a new turn, and the advance says how many
 * bytes of answer the client had read. A FIN and an RST open turns in the same way.
 *
 * One turn is released at a time. The next one goes for one of four reasons, and each is counted. The
 * target has sent as many bytes as the online server had, with an ack that covers the end of the released
 * turn; bytes that were under way before it do not count. Or the answer has paused: the target has sent
 * something, with PSH, has acknowledged everything of ours, and was quiet for max(2 SRTT, 1 ms). Or the
 * target has closed, so nothing more will come. Or capture time + hold has passed. The check runs in the
 * step that handles the response, so no tick delays a turn.
 *
 * An answer that never comes costs --hold once. From then on the session waits for some of its usual answer
 * times only, counted from when the target has acknowledged the turn before; for half as long after each
 * further one that does not come; and for --hold again when so many came in a row that none is missing.
 *
 * The silence of a pause begins with the last byte of answer or with the capture of the turn that waits,
 * whichever is later: before the client had sent that turn, its answer was not late.
 *
 * Bytes whose ack covers nothing of the released turn were sent before the target had any of it. Mostly
 * they are the rest of the answer before, which was longer than the online server's: so they are not the
 * answer that has begun, and only a long silence says that they were what the client had read. But a server
 * that speaks unasked sends them as well. There the target has then sent, in all, exactly as much as the
 * client had read, and a short pause will do, even if all of it had come before the turn was released.
 *
 * A pause is not always the end. Three things say that it may not be one, and then it takes a long silence.
 * The client's acks, pure ones as well, show that the online answer came in parts, far apart, and the target
 * has sent no more than the parts before the last. Or the pause that released an earlier turn was none: more
 * of that answer came after it, and no long silence has been the end since. Or not half of the answer has
 * come, and of no such answer it is known yet that it was the whole one.
 *
 * Here, too, the exchanges are fed (compare/exchange.h): a turn with the answers of both sides. A session
 * that ends leaves the last one, of which it is known what the client has read, and whether the target is
 * done.
 *
 * s->hold is the first qseg of the turn that waits (NULL: none); what precedes it may be sent. The released
 * turn lies between s->turn_start and s->turn_end, as far as captured: it grows while the turn is still
 * being captured, and the answer is counted anew each time.
 */
#include "session/impl.h"

#define ANSWER_QUIET (1000 * NS_PER_MS) /* of both sides: an answer is over; or --hold, if that is longer */

static struct exchange_tally *exchanges(const struct engine *e, const struct session *s)
{
	return &session_target(e, s)->exchanges;
}

/* Keep the newest exchanges that differ, for people to look at. */
static void keep_examples(struct engine *e, const struct session *s, uint64_t now)
{
	struct exchange_tally *t = exchanges(e, s);

	for (unsigned d = 0; t->fresh; d++, t->fresh >>= 1)
		if (t->fresh & 1) {
			e->examples.differs[d] = (struct engine_example){ .key = s->key, .time = now };
			e->examples.answer[d] = t->newest[d];
		}
}

/* @q was just appended to the main queue. */
void turn_linked(struct engine *e, struct session *s, struct qseg *q)
{
	if (!s->has_turn_ack) {
		s->turn_ack = q->ack;
		s->has_turn_ack = true;
	}
	if (session_read(s, q->ack) > 0) {
		q->turn = true;
		q->expect = (uint64_t)session_read(s, q->ack);
		q->part = s->part;
		s->part = 0;
		s->turn_ack = q->ack;
		s->turn_read += q->expect;
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
		if (q->piece.len)
			exchange_begins(session_exchange(s), exchanges(e, s));
	}
}

/* The first bytes came that answer the released turn. */
static void answer_begins(struct session *s, uint64_t now)
{
	struct patience *p = &s->patience;

	if (p->released_at)
		p->usual = MAX(now - p->released_at, p->usual - p->usual / 8);
	if (s->by_pause && !s->unasked) {
		s->in_parts = false;
		s->ends_short |= s->by_short;
	}
	p->misses = MIN(p->misses, 1);
	if (p->misses && ++p->answers == HOLD_RECOVERED)
		p->misses = 0;
}

static void answer_missed(struct session *s)
{
	s->patience.misses += s->patience.misses < UINT8_MAX;
	s->patience.answers = 0;
}

/* As exchange_answered(). */
static void exchange_goes_on(struct engine *e, struct session *s, const struct response *r,
			     uint32_t new_bytes, bool fin, uint64_t now)
{
	const bool covers = seq_gt(r->ack, seq_max(s->turn_start, s->iss + 1));
	struct exchange_state *x = session_exchange(s);

	if (r->n_first && covers && x->open && !x->target && new_bytes >= r->len)
		session_target(e, s)->spoken.answers[protocol_answer((enum protocol)s->spoken.protocol,
								     r->first, r->n_first)]++;
	exchange_answered(x, exchanges(e, s), (int64_t)new_bytes - fin,
			  (covers ? EXCHANGE_CAME_COVERING : 0u) | (r->merged ? EXCHANGE_CAME_MERGED : 0u) |
				  (fin ? EXCHANGE_CAME_FIN : 0u) |
				  (s->events & EV_FIN_SENT ? 0u : EXCHANGE_CAME_FIN_FIRST));
	keep_examples(e, s, now);
}

/*
 * How long the target has taken for the turn that went. What it never answered took at least --hold; where
 * the session had lost its patience before (deadline()), nothing is known.
 */
static void count_pace(struct engine *e, const struct session *s, bool missed, uint64_t now)
{
	struct hist *h = &session_target(e, s)->pace.answer;

	if (!s->turn_at)
		return;
	if (!missed && s->answer_end > s->turn_at)
		hist_add(h, s->answer_end - s->turn_at);
	else if (missed && e->cfg.hold && now >= s->turn_at + e->cfg.hold)
		hist_add(h, now - s->turn_at);
}

/*
 * It is the first segment of the answer to the newest turn if it begins at what the client had read when it
 * sent that, and the server has all of it. One that was sent again is counted again, which is no matter in a
 * sample.
 */
void turn_server(struct engine *e, const struct session *s, const struct segment *g)
{
	if (s->has_turn_ack && g->seq == s->turn_ack && g->ack == s->stream.nxt)
		session_target(e, s)->spoken.online_answers[protocol_answer((enum protocol)s->spoken.protocol,
									    g->payload, g->captured)]++;
}

/* @new_bytes of answer (its FIN, if @fin, counts as one) came with @r, after its ack was taken. */
void turn_response(struct engine *e, struct session *s, const struct response *r, uint32_t new_bytes,
		   bool fin, uint64_t now)
{
	exchange_goes_on(e, s, r, new_bytes, fin, now);
	if (!new_bytes)
		return;
	s->answer_last = now;
	/* what comes long after an answer, and nobody waits for, is none: the target speaks unasked */
	if (s->answer_end <= s->turn_at || s->hold || now <= s->answer_end + ANSWER_QUIET)
		s->answer_end = now;
	if (seq_gt(r->ack, s->turn_start)) {
		s->answered_any += new_bytes;
	} else {
		s->unasked = true;
		s->in_parts |= s->by_pause;
	}
	s->psh_seen = r->flags & TCPF_PSH;
	if (s->events & EV_JOINED && r->len && r->ack == s->iss + 1)
		s->greeted = true;
	if (seq_ge(r->ack, s->turn_end)) {
		if (!s->answered && r->len) {
			answer_begins(s, now);
			rejoin_answered(e, s, now);
		}
		s->answered += new_bytes;
	}
}

/*
 * Has the target sent, in all, as much as the online server had when the client sent @ack, or its newest
 * segment? No more and no less: where the answers' lengths differ, the sums hardly ever meet.
 */
static bool sums_are_equal(const struct session *s, uint32_t ack)
{
	uint32_t sum = s->rcv_nxt - s->irs - 1, first = s->judge.first_ack;

	/* a RST is the newest segment where its ack is above what others had read */
	return s->judge.acked &&
	       (sum == ack - first || (seq_ge(s->client_ack, ack) && sum == s->client_ack - first));
}

/* Is what the target has answered less than half of @expect bytes? */
static bool much_shorter(const struct session *s, uint64_t expect)
{
	return 2 * s->answered < expect;
}

void turn_client_reads(struct session *s, uint64_t at)
{
	if (s->client_read != s->turn_read && at >= s->read_at + PARTS_APART)
		s->part = s->client_read - s->turn_read;
	s->read_at = at;
}

/*
 * When the silence is long enough, ns, that lets go what was captured at @at and sent because of @ack;
 * UINT64_MAX: no silence is. @part: bytes of the online answer that were not its last part.
 */
static uint64_t pause_over(const struct session *s, uint32_t ack, uint64_t expect, uint64_t part, uint64_t at)
{
	uint64_t quiet = MAX(2 * s->srtt, PAUSE_FLOOR);

	if (s->snd_una != s->turn_end)
		return UINT64_MAX;
	if (!sums_are_equal(s, ack)) {
		if (!s->psh_seen || (!s->answered_any && !s->unasked))
			return UINT64_MAX;
		if (s->in_parts || s->answered <= part || (!s->ends_short && much_shorter(s, expect)))
			quiet = MAX(quiet, REST_PAUSE);
	}
	return MAX(s->answer_last, at) + quiet;
}

/* From when what was captured at @at has --hold, ns. */
static uint64_t waits_since(const struct engine *e, const struct session *s, uint64_t at)
{
	at = MAX(at + s->later, s->patience_at);
	return e->cfg.recorded ? MAX(at, MAX(s->patience.released_at, s->progress_at)) : at;
}

/*
 * When turn @q no longer waits for the target, ns. A FIN waits for all its time: nothing waits behind it,
 * and servers abort work for it.
 */
static uint64_t deadline(const struct engine *e, const struct session *s, const struct qseg *q)
{
	const struct patience *p = &s->patience;
	uint64_t last = waits_since(e, s, q->captured_at) + e->cfg.hold, hold;

	if (!p->misses || !q->piece.len || s->snd_una != s->turn_end)
		return last;
	hold = MAX(HOLD_LEAST, HOLD_ANSWERS * p->usual) >> MIN(p->misses - 1, 16);
	return MIN(last, MAX(q->captured_at, s->progress_at) + MAX(hold, MAX(2 * s->srtt, PAUSE_FLOOR)));
}

/* May turn @q, which waits, go now? Counts it by the way it goes, *@by. */
static bool may_go(struct engine *e, struct session *s, const struct qseg *q, enum exchange_end *by,
		   uint64_t now)
{
	if (s->answered >= q->expect) {
		rejoin_released(s, q->expect);
		e->n.released_on_answer++;
		*by = EXCHANGE_BY_REQUEST;
	} else if (s->events & EV_TARGET_FIN) {
		e->n.released_on_close++;
		*by = EXCHANGE_BY_FIN;
	} else if (now >= deadline(e, s, q)) {
		answer_missed(s);
		e->n.released_on_deadline++;
		*by = EXCHANGE_BY_DEADLINE;
	} else if (now >= pause_over(s, q->ack, q->expect, q->part, q->captured_at)) {
		rejoin_released(s, q->expect);
		e->n.released_on_pause++;
		*by = EXCHANGE_BY_QUIET;
		s->by_pause = true;
		s->by_short = much_shorter(s, q->expect);
		return true;
	} else {
		return false;
	}
	s->by_pause = false;
	return true;
}

/* The turn that waits goes, because of @by. */
static void release(struct engine *e, struct session *s, enum exchange_end by, uint64_t now)
{
	struct qseg *q = s->hold;
	const bool missed = by == EXCHANGE_BY_DEADLINE && e->cfg.hold;
	struct engine_pace *pace = &session_target(e, s)->pace;

	pace->released++;
	pace->overdue += missed;
	count_pace(e, s, missed, now);
	s->turn_at = q->piece.len ? now : 0;
	exchange_next(session_exchange(s), exchanges(e, s), q->expect, by, q->piece.len != 0,
		      e->cfg.hold != 0);
	keep_examples(e, s, now);
	q = qseg_next(q);
	while (q && !q->turn)
		q = qseg_next(q);
	s->hold = q;
	s->patience.released_at = now;
	s->turn_start = s->turn_end;
	s->turn_end = q ? q->piece.seq : s->stream.nxt;
	s->answered = s->answered_any = 0;
	s->unasked = s->psh_seen = false;
}

/* Deadline and pause timers of what waits now. */
static void arm(struct engine *e, struct session *s, uint64_t deadline, uint64_t pause)
{
	timer_set(e, s, TIMER_HOLD, deadline);
	if (pause == UINT64_MAX)
		timer_off(s, TIMER_PAUSE);
	else
		timer_set(e, s, TIMER_PAUSE, pause);
}

/*
 * Of the RST. A client's is as late as its last turn may be; what was cut is delivered, without --hold,
 * too.
 */
static uint64_t rst_deadline(const struct engine *e, const struct session *s)
{
	const bool at_least = s->events & EV_CUT || !(s->events & EV_ESTABLISHED);

	return waits_since(e, s, s->rst_at) + (at_least ? MAX(e->cfg.hold, RTO_CAP_ALIVE) : e->cfg.hold);
}

/* As pause_over(), of the RST. */
static uint64_t rst_pause(const struct session *s)
{
	return pause_over(s, s->turn_ack + (uint32_t)s->rst_expect, s->rst_expect, s->part, s->rst_at);
}

/* Release every turn that may go. The connection is established. */
void turn_check(struct engine *e, struct session *s, uint64_t now)
{
	enum exchange_end by = EXCHANGE_BY_OVER;
	const struct qseg *q;

	while ((q = s->hold)) {
		const uint64_t late = e->n.released_on_deadline;

		if (now < q->captured_at + s->later) { /* and nothing else lets it go */
			arm(e, s, q->captured_at + s->later, UINT64_MAX);
			return;
		}
		if (s->events & EV_TARGET_FIN && handover_waits(s)) {
			arm(e, s, handover_deadline(e, s), UINT64_MAX);
			return;
		}
		if (!may_go(e, s, q, &by, now)) {
			arm(e, s, deadline(e, s, q),
			    pause_over(s, q->ack, q->expect, q->part, q->captured_at));
			return;
		}
		/* one that nothing has answered: the others have waited long enough */
		if (s->patience_at)
			s->patience_at = s->answered_any || s->unasked ? now : 0;
		if (q->piece.fin && !q->piece.len && e->n.released_on_deadline != late && !s->answered_any &&
		    !s->unasked) {
			s->fin_late = true;
			s->fin_rcv_nxt = s->rcv_nxt;
		}
		e->turns_waiting--;
		release(e, s, by, now);
	}
	if (s->events & (EV_CLIENT_RST | EV_CUT) && !turn_rst_may_go(e, s, now)) {
		arm(e, s, rst_deadline(e, s), rst_pause(s));
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
	return now >= rst_pause(s);
}

void turn_begin_again(struct engine *e, struct session *s, uint64_t now)
{
	const struct qseg *head = session_head(s);
	unsigned again = 0;

	exchange_target_first(session_exchange(s), exchanges(e, s));
	for (const struct qseg *q = head; q != s->hold; q = qseg_next(q)) {
		e->n.turns_resent += q->turn;
		again += q->turn && q->piece.len;
	}
	s->turn_end = head->piece.seq;
	if (s->hold == head) { /* it waits for nothing there */
		e->n.released_on_close++;
		e->turns_waiting--;
		release(e, s, EXCHANGE_BY_FIN, now);
	} else {
		s->turn_end = s->hold ? s->hold->piece.seq : s->stream.nxt;
	}
	exchange_connects(session_exchange(s), exchanges(e, s), again);
	keep_examples(e, s, now);
	s->turn_start = s->iss;
	s->turn_at = 0;
	s->answered = s->answered_any = 0;
	s->unasked = s->psh_seen = false;
	s->patience_at = now;
	s->patience = (struct patience){ .released_at = now };
}

bool turn_unanswered(const struct session *s)
{
	return s->fin_late && s->rcv_nxt == s->fin_rcv_nxt + 1; /* its FIN alone has come since */
}

/* Has the target sent all that it will? */
static bool target_is_done(const struct session *s, enum session_outcome o)
{
	switch (o) {
	case OUTCOME_COMPLETE:
	case OUTCOME_UNANSWERED:
	case OUTCOME_TARGET_OPEN:
	case OUTCOME_TARGET_CLOSED:
	case OUTCOME_TARGET_RESET:
		return true;
	case OUTCOME_CLIENT_RESET: /* it has waited for its turn */
		return s->events & EV_ESTABLISHED && s->snd_una == s->snd_nxt && !s->hold;
	default:
		return false;
	}
}

static enum exchange_end end_of(enum session_outcome o)
{
	switch (o) {
	case OUTCOME_COMPLETE:
	case OUTCOME_UNANSWERED:
	case OUTCOME_TARGET_OPEN:
	case OUTCOME_TARGET_CLOSED:
		return EXCHANGE_BY_FIN;
	case OUTCOME_CLIENT_RESET:
	case OUTCOME_SERVER_RESET:
	case OUTCOME_TARGET_RESET:
		return EXCHANGE_BY_RST;
	default:
		return EXCHANGE_BY_OVER;
	}
}

/* Have both sides said nothing for so long that nothing is on its way? */
static bool all_is_quiet(const struct engine *e, const struct session *s, uint64_t now)
{
	return s->events & EV_ESTABLISHED && s->snd_una == s->snd_nxt && !s->next &&
	       now >= MAX(s->captured_last, s->answer_last) + MAX(ANSWER_QUIET, e->cfg.hold);
}

void turn_over(struct engine *e, struct session *s, enum session_outcome o, uint64_t now)
{
	const uint32_t over = s->events & (EV_CLIENT_FIN | EV_CLIENT_RST | EV_CUT);
	const uint64_t read = s->client_read - s->turn_read;
	const bool quiet = all_is_quiet(e, s, now);
	const struct exchange_last l = {
		.online = s->hold ? s->hold->expect : MAX(read, s->rst_expect),
		.by = end_of(o),
		/* what did not begin may still come */
		.known = s->hold || (quiet && read),
		.complete = target_is_done(s, o) || quiet,
		.client_fin = s->events & EV_CLIENT_FIN,
		.reads_on = s->events & EV_CLIENT_FIN && !s->hold,
		.reset = s->events & EV_CLIENT_RST || o == OUTCOME_SERVER_RESET,
		.hole = s->events & EV_CUT,
	};

	if ((o == OUTCOME_TARGET_CLOSED || o == OUTCOME_TARGET_RESET) &&
	    (!over || (s->hold && s->hold->piece.len)))
		exchange_target_first(session_exchange(s), exchanges(e, s));
	count_pace(e, s, false, now);
	exchange_over(session_exchange(s), exchanges(e, s), &l);
	keep_examples(e, s, now);
}

const struct engine_pace *engine_pace(const struct engine *e, unsigned target)
{
	return &e->target[target].pace;
}

const struct exchange_tally *engine_exchanges(const struct engine *e, unsigned target)
{
	return &e->target[target].exchanges;
}
