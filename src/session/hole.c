/*
 * Session holes - theory of operation
 *
 * Captured bytes are missing. If the client's packet was lost before it came here, the client retransmits
 * it, and waiting is right. If capture lost it, the online server has it and nobody retransmits it: a
 * session that waited for ever would grow in memory and fall behind. The online server's socket tells the
 * two apart: it says how many bytes it has received in order (question.c). If that is past the hole, the
 * bytes were there. The engine decides nothing while a question is open.
 *
 * The server may know more than we because the refill is still on its way through the capture buffer. So a
 * proof counts only when the engine has processed everything that was captured before the question, or
 * after ten seconds. While the server says that it lacks the bytes, the client will send them, however
 * often they are lost; only a client that never does ends the waiting. Where the socket cannot be asked
 * (mirror port, file, a joined session whose first byte the server's count does not tell), the hole has
 * HOLE_PATIENCE to be filled.
 *
 * Then the stream is cut at the hole. What lies behind it is given up, and its memory freed, at once; what
 * lies before it was captured as any other and is still delivered, in its turns, and then the session ends
 * by RST. The connection is joined again at its next turn, which waits for that end.
 */
#include "session/impl.h"

#define ASK_FIRST (10 * NS_PER_MS) /* reordering on the way here is over by then */
#define ASK_AGAIN (100 * NS_PER_MS)

/* After captured data was queued: a hole opens, is filled, or moves on to the next one. */
void hole_watch(struct engine *e, struct session *s, uint32_t old_nxt, uint64_t now)
{
	bool was = s->hole_since != 0, moved = s->stream.nxt != old_nxt;

	if (was && (moved || !session_has_hole(s))) {
		e->n.holes_filled++;
		e->holes_open--;
	}
	if (!session_has_hole(s)) {
		s->hole_since = s->hole_proof = 0;
		timer_off(s, TIMER_HOLE);
		question_withdraw(e, s, ASKER_HOLE);
	} else if (!was || moved) {
		question_withdraw(e, s, ASKER_HOLE);
		e->n.holes++;
		e->holes_open++;
		s->hole_since = now;
		s->hole_proof = 0;
		timer_set(e, s, TIMER_HOLE, now + ASK_FIRST);
	}
}

void hole_close(struct engine *e, struct session *s)
{
	uint32_t at = s->stream.nxt;

	if (!s->hole_since)
		return;
	e->n.holes_given_up++;
	e->holes_open--;
	e->n.holes_proved += s->hole_proof != 0;
	/* each of them goes next, so what this walk costs they have paid for */
	for (struct piece *p = stream_first_run(&s->stream); p; p = stream_next_run(&s->stream, p)) {
		if (seq_gt(p->seq, at))
			e->n.missing_bytes += p->seq - at;
		at = seq_max(at, stream_run_end(p));
	}
	s->hole_since = s->hole_proof = 0;
}

void engine_captured_all(struct engine *e, uint64_t until)
{
	e->captured_until = MAX(e->captured_until, until);
}

bool captured_all_before(const struct engine *e, uint64_t at, uint64_t now)
{
	return e->captured_until > at || now >= at + PROOF_AGE;
}

/* Has the online server received the byte at stream.nxt? */
enum word { SERVER_SILENT, SERVER_HAS_NOT, SERVER_HAS };

/*
 * How long the hole may stay where the server says nothing. Behind it the client acknowledges more than
 * before it: something was answered since, so the server probably has the bytes; a client that had to send
 * them again would have done so within its own time-out.
 */
static uint64_t patience(const struct session *s)
{
	return s->has_turn_ack && session_read(s, s->behind_ack) > 0 ? HOLE_PATIENCE_ACKED : HOLE_PATIENCE;
}

/*
 * What the hole hides never comes. The session goes on to the hole, at most until the deadline of a turn
 * captured now; who reads behind the hole is observed until a turn begins.
 */
void hole_cut(struct engine *e, struct session *s, enum session_outcome o, bool observe, uint64_t now)
{
	const bool newest =
		observe && flow_table_find(e->flows, &s->key) == s && !(s->events & EV_CLIENT_RST);
	uint64_t lost = e->n.lost_bytes;
	struct session *next = NULL;
	uint32_t end, ack;

	timer_off(s, TIMER_HOLE);
	question_withdraw(e, s, ASKER_HOLE);
	question_withdraw(e, s, ASKER_UNSEEN);
	hole_close(e, s);
	queue_cut(e, s, &end, &ack);
	e->n.lost_by_outcome[OUTCOME_CAPTURE_HOLE] += e->n.lost_bytes - lost;
	session_event(e, s, EV_CUT);
	s->outcome = o;
	if (!(s->events & EV_CLIENT_RST)) {
		s->rst_at = now;
		ack = observe ? ack : s->client_ack;
		s->rst_expect = ack != s->turn_ack ? (uint64_t)MAX(session_read(s, ack), 0) : 0;
	}
	if (newest)
		next = session_observe_again(e, s, true, now);
	if (next) {
		next->stream.nxt = end;
		next->turn_ack = ack;
	}
	if (!(s->events & EV_ESTABLISHED) && !s->stream.head)
		session_end(e, s, o, now);
}

/* May the hole stay? */
static void judge(struct engine *e, struct session *s, enum word word, uint64_t now)
{
	uint64_t end = s->hole_since + (word == SERVER_SILENT ? patience(s) : HOLE_PATIENCE_KNOWN);

	if (word == SERVER_HAS && !s->hole_proof) {
		s->hole_proof = now;
		engine_capture_lost(e, now); /* and ends may be lost, too */
	} else if (now >= end || (s->hole_proof && captured_all_before(e, s->hole_proof, now))) {
		hole_cut(e, s, OUTCOME_CAPTURE_HOLE, true, now);
		return;
	}
	timer_set(e, s, TIMER_HOLE, MIN(now + ASK_AGAIN, MAX(end, now + NS_PER_MS)));
}

void hole_answered(struct engine *e, struct session *s, const struct online_answer *a, uint64_t asked,
		   uint64_t now)
{
	uint32_t rcv_nxt;

	(void)asked;
	if (!question_received(s, a, &rcv_nxt))
		judge(e, s, SERVER_SILENT, now);
	else
		judge(e, s, seq_gt(rcv_nxt, s->stream.nxt) ? SERVER_HAS : SERVER_HAS_NOT, now);
}

/* TIMER_HOLE fired. */
void hole_timeout(struct engine *e, struct session *s, uint64_t now)
{
	if (!s->hole_since)
		unseen_timeout(e, s, now);
	else if (s->hole_proof)
		judge(e, s, SERVER_HAS, now);
	else if (!question_ask(e, s, ASKER_HOLE, now))
		judge(e, s, SERVER_SILENT, now);
}
