/*
 * Session engine: may a connection be joined? - theory of operation
 *
 * A connection whose session ended while its client went on is joined again at a later turn, and one that is
 * older than the engine for the first time. Neither helps where the target does not take the connection in
 * its middle: a login is missing, or the rest cannot be decrypted. Each attempt then costs the target a
 * connection, and an address that only ever fails may be blocked, with all that is good from it.
 *
 * So a session has to prove itself: it does when the target has answered its second turn and it has lived for
 * JOIN_PROOF. A greeting, an error text and a bare FIN are no proof. It fails if the target closes or resets
 * it before its second answer. It does not if the target ends each connection after one request. Either of
 * two things says that it does:
 *
 * - The one answer was about as long as the online server's. Where most joins fail, that is a coincidence. A
 *   target that speaks before it can have read what the connection was joined with greets a client that has
 *   just come.
 * - It has closed the first connection of this stream, too, behind its one answer, and that one it had from
 *   its beginning. Then the lengths do not matter, but one: where the answer is as long as on the connection
 *   before, and the online server's was not, it is an error text, which the first connection got, too.
 *
 * One connection that fails JOIN_FAILURES times in a row is given up. It counts from the beginning when its
 * target has been away in between (it refused connections), for then another process answers; and when the
 * joins begin again.
 *
 * One target (a rule) remembers how its last JOINS_KNOWN joins ended. If JOINS_FAILED of them failed, no
 * connection is joined any more, but for one each JOIN_TRY, be it given up or not. The first that proves
 * itself lets the joins begin again. Until one has had a second answer, a target with DOUBTED_AFTER failures
 * in a row gets a join each JOIN_APART, and so does a connection that has failed.
 *
 * Where several engines send to a target, one for each worker of the program, each knows its own joins. So
 * that the target gets no more, the pauses of each are as many times as long as there are engines.
 *
 * And with --join=auto none is joined whose protocol does not allow it: what came before in the connection (a
 * login, a preface, a database that was selected) would be missing, and the rest fail or, worse, be executed
 * all the same. What a session has spoken since its beginning tells that, or the turn at which it would be
 * joined; see protocol_may_join().
 *
 * What is not a failure of these (refused, silent, no memory, a hole) has the growing pause alone.
 */
#include "session/impl.h"

static unsigned failures_of(const struct joins *t)
{
	unsigned n = 0;

	for (uint32_t bits = t->failed; bits; bits &= bits - 1)
		n++;
	return n;
}

/* A join of target @t has proved itself, or has @failed. */
static void remember(struct engine *e, struct joins *t, bool failed, uint64_t now)
{
	t->failed = (t->failed << 1 | (failed ? 1 : 0)) & ((1u << JOINS_KNOWN) - 1);
	t->known = (uint8_t)MIN(t->known + 1, JOINS_KNOWN);
	if (!failed) {
		t->failed_in_row = 0;
		if (!t->report.stopped)
			return;
		t->report.stopped = false;
		t->known = 0;
		t->failed = 0;
		t->era++;
	} else {
		t->failed_in_row = (uint8_t)MIN(t->failed_in_row + 1, DOUBTED_AFTER);
		if (t->report.stopped || t->known < JOINS_KNOWN || failures_of(t) < JOINS_FAILED)
			return;
		t->report.stopped = true;
		t->report.stops++;
		e->n.joins_stopped++;
		t->try_at = now + pause_of_all(e, JOIN_TRY);
	}
}

static unsigned failures(const struct engine *e, const struct session *s)
{
	return s->era == session_target(e, s)->joins.era ? s->failures : 0;
}

bool rejoin_may(const struct engine *e, const struct session *s, enum decline *why, uint64_t now)
{
	const struct joins *t = &session_target(e, s)->joins;
	const unsigned failed = failures(e, s);

	*why = DECLINE_MIDDLE;
	if (t->report.stopped) {
		*why = DECLINE_JOINS_STOPPED;
		return now >= t->try_at;
	}
	if (failed >= JOIN_FAILURES) {
		*why = DECLINE_GIVEN_UP;
		return false;
	}
	return (!failed && t->failed_in_row < DOUBTED_AFTER) || now >= t->next_at;
}

bool rejoin_makes_sense(const struct engine *e, struct session *s, const uint8_t *bytes, uint32_t len)
{
	const struct target *t = session_target(e, s);

	return protocol_may_join(&t->spoken, &s->spoken, bytes, len) || t->join != ENGINE_JOIN_AUTO;
}

uint64_t rejoin_memory(const struct session *s)
{
	return s->failures ? FAILED_LIFE : OBSERVE_LIFE;
}

void rejoin_begun(struct engine *e, struct session *s, uint64_t now)
{
	struct joins *t = &session_target(e, s)->joins;

	s->failures = (uint8_t)failures(e, s);
	s->era = t->era;
	s->answers = 0;
	s->lasting = s->alike = s->judged = s->greeted = false;
	s->expected = 0;
	t->next_at = now + pause_of_all(e, JOIN_APART);
	t->try_at = now + pause_of_all(e, JOIN_TRY);
}

/* Has @s proved itself by now? */
static void check_proof(struct engine *e, struct session *s, uint64_t now)
{
	if (s->lasting || s->answers < 2 || now < s->established_at + JOIN_PROOF)
		return;
	s->lasting = true;
	s->rejoins = s->failures = 0;
	if (s->events & EV_JOINED)
		remember(e, &session_target(e, s)->joins, false, now);
}

static void fail(struct engine *e, struct session *s, uint64_t now)
{
	struct joins *t = &session_target(e, s)->joins;

	s->failures = (uint8_t)MIN(failures(e, s) + 1, JOIN_FAILURES + 1u);
	s->era = t->era;
	if (s->failures == JOIN_FAILURES) {
		e->n.connections_given_up++;
		t->report.given_up++;
	}
	if (s->events & EV_JOINED) {
		e->n.joins_failed++;
		remember(e, t, true, now);
	}
}

void rejoin_answered(struct engine *e, struct session *s, uint64_t now)
{
	protocol_tally_answered(&session_target(e, s)->spoken, &s->spoken);
	if (s->answers < 2 && ++s->answers == 2 && s->events & EV_JOINED)
		session_target(e, s)->joins.failed_in_row = 0;
	check_proof(e, s, now);
}

/*
 * Are @here bytes of the target about as many as @there of the online server? A connection that was seen from
 * its beginning had what a login needs, and the two servers may be different ones.
 */
static bool alike(const struct session *s, uint64_t here, uint64_t there)
{
	const uint64_t more = s->from_start ? UINT64_C(16) : 0;
	const unsigned share = s->from_start ? 0 : 2; /* all of it, or a quarter */

	return here && !s->greeted && here <= there + (there >> share) + more &&
	       there <= here + (here >> share) + more;
}

void rejoin_released(struct session *s, uint64_t expect)
{
	s->alike = alike(s, s->answered, expect);
	s->expected = expect;
}

/*
 * Has the target sent, greeting included, about as much as the online server had when the client went on?
 * *@here, *@there: those numbers.
 */
static bool sent_alike(const struct session *s, uint32_t *here, uint32_t *there)
{
	*there = (s->hold ? s->hold->ack : s->client_ack) - s->judge.first_ack;
	*here = s->rcv_nxt - s->irs - 1;
	*here -= s->events & EV_TARGET_FIN ? 1 : 0; /* it takes a sequence number */
	return s->answered && alike(s, *here, *there);
}

/* The target had @s from its beginning, and closed it behind the answer to its first turn. */
static bool closed_first(const struct session *s)
{
	/* a FIN alone is the whole answer to a later turn: with that it came, not with the first */
	return !(s->events & EV_JOINED) && s->events & EV_TARGET_FIN && s->answers == 1 && s->answered != 1;
}

/* What the online server answered to the one turn that the target has answered on @s, bytes. */
static uint64_t expected(const struct session *s)
{
	return s->expected ? s->expected : s->hold ? s->hold->expect : s->client_read - s->turn_read;
}

/* It has closed the first connection so, and @s, on which it sent @here bytes in all, is one like that. */
static bool closes_each(const struct session *s, uint32_t here)
{
	return s->closes_each && s->answers && !s->greeted &&
	       (here != s->here_before || expected(s) == s->expected_before);
}

void rejoin_closed(struct engine *e, struct session *s)
{
	struct joins *t = &session_target(e, s)->joins;
	uint32_t here, there;

	/* whether it fails is known when its client goes on; the other joins do not wait for that */
	if (s->events & EV_JOINED && s->answers < 2 && !s->alike && !sent_alike(s, &here, &there) &&
	    !closes_each(s, here) && (!here || there || !t->one_answer))
		t->failed_in_row = (uint8_t)MIN(t->failed_in_row + 1, DOUBTED_AFTER);
}

bool rejoin_ended(struct engine *e, struct session *s, enum session_outcome o, bool goes_on, uint64_t now)
{
	struct joins *t = &session_target(e, s)->joins;
	const bool by_target = o == OUTCOME_TARGET_CLOSED || o == OUTCOME_TARGET_RESET;
	enum decline why;
	uint32_t here, there;

	if (s->judged || !(s->events & EV_ESTABLISHED))
		return true;
	s->judged = true;
	check_proof(e, s, now);
	if (s->lasting)
		return true;
	if (!goes_on || !by_target) { /* nothing was wrong with what has been seen of it */
		if (s->events & EV_JOINED && s->answers >= 2 && !goes_on)
			remember(e, t, false, now);
		return true;
	}
	protocol_tally_closed(&session_target(e, s)->spoken, &s->spoken);
	if (s->answers < 2) {
		const bool same = sent_alike(s, &here, &there) || s->alike;

		/* of a target that has mostly failed it is a coincidence */
		t->one_answer = (same && 2 * failures_of(t) <= t->known) || closes_each(s, here);
		s->closes_each = closed_first(s) || (s->closes_each && t->one_answer);
		s->here_before = here;
		s->expected_before = expected(s);
		t->one_answer |= s->closes_each;
		if (!t->one_answer) {
			fail(e, s, now);
			/* the first time one that has logged in may go on */
			return !(s->events & EV_JOINED) && rejoin_may(e, s, &why, now);
		}
		if (s->events & EV_JOINED && !t->report.stopped)
			remember(e, t, false, now);
	}
	if (o == OUTCOME_TARGET_CLOSED)
		s->rejoins = 0;
	return true;
}

const struct protocol_tally *engine_spoken(const struct engine *e, unsigned target)
{
	return &e->target[target].spoken;
}

const struct engine_joins *engine_joins(const struct engine *e, unsigned target)
{
	return &e->target[target].joins.report;
}
