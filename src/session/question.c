/*
 * Session engine: questions about the online server's sockets - theory of operation
 *
 * A question is an action, ops->online_ask, and its answer is an event, engine_online_answer(). The answer
 * may come before the next packet or a second later, in any order, or never; the engine goes on meanwhile,
 * and what follows from an answer is decided by what the session is by then.
 *
 * The engine asks for four reasons (enum asker): hole.c and doubt.c have one each, unseen.c two. Each asker
 * has at most one open question about a session. A new question withdraws the one before, and the end of
 * the session withdraws them all. Ids count all questions, so no id is ever used again. The low bits of an
 * id are the question's place in the table of open questions, which knows the session. An answer whose id
 * is not in its place has come too late, and the engine ignores it.
 *
 * A question that has been open for ANSWER_WITHIN is answered by "unknown". The table is bounded: while it
 * is full, the engine asks nothing, and the asker takes "unknown" for the answer at once. The table has
 * room for all that one call of the engine can ask, so this cannot happen to a caller who answers before
 * its next call.
 */
#include "session/impl.h"

#include <assert.h>

#define ANSWER_WITHIN (1000 * NS_PER_MS)

_Static_assert((QUESTIONS_MOST & (QUESTIONS_MOST - 1)) == 0, "a place is some low bits of an id");
/* HOLE fires for a hole or an unseen end, DOUBT for what is in doubt, LIFE; then a portion of either sweep */
_Static_assert(QUESTIONS_MOST >= 3 * ADVANCE_AT_ONCE + 2 * SWEEP_ASKS, "what one call can ask has room");

/* What follows from an answer. The session has no outcome yet. @asked: when the question was asked, ns. */
typedef void answered_fn(struct engine *e, struct session *s, const struct online_answer *a, uint64_t asked,
			 uint64_t now);

static answered_fn *const answered[ASKERS] = {
	[ASKER_HOLE] = hole_answered,
	[ASKER_UNSEEN] = unseen_answered,
	[ASKER_DOUBT] = doubt_answered,
	[ASKER_LIFE] = unseen_life_answered,
};

static void close_question(struct engine *e, struct session *s, enum asker by)
{
	struct question *q = &e->question[s->question[by] - 1];

	assert(q->id && q->session == s->id && q->by == by);
	q->id = 0;
	s->question[by] = 0;
	if (!--e->questions.open)
		e->overdue_at = UINT64_MAX;
}

void question_withdraw(struct engine *e, struct session *s, enum asker by)
{
	if (!question_is_open(s, by))
		return;
	e->questions.withdrawn++;
	close_question(e, s, by);
}

void question_follow(struct engine *e, const struct session *s)
{
	for (int by = 0; by < ASKERS; by++)
		if (question_is_open(s, (enum asker)by))
			e->question[s->question[by] - 1].session = s->id;
}

void question_withdraw_all(struct engine *e, struct session *s)
{
	for (int by = 0; by < ASKERS; by++)
		question_withdraw(e, s, (enum asker)by);
}

bool question_ask(struct engine *e, struct session *s, enum asker by, uint64_t now)
{
	struct question *q;
	uint64_t number;

	if (!e->ops->online_ask)
		return false;
	question_withdraw(e, s, by);
	if (e->questions.open == QUESTIONS_MOST) {
		e->questions.refused++;
		return false;
	}
	/* the next place was used longest ago, so it is free in most cases */
	do
		number = ++e->question_number;
	while (e->question[number % QUESTIONS_MOST].id);
	q = &e->question[number % QUESTIONS_MOST];
	*q = (struct question){ .id = number, .session = s->id, .asked = now, .by = by };
	s->question[by] = (uint16_t)(q - e->question + 1);
	e->overdue_at = MIN(e->overdue_at, now + ANSWER_WITHIN);
	e->questions.open++;
	e->questions.asked++;
	e->ops->online_ask(e->arg, q->id, &s->key);
	return true;
}

static void answer(struct engine *e, const struct question *q, const struct online_answer *a, uint64_t now)
{
	struct session *s = session_by_id(e, q->session);
	uint64_t asked = q->asked;
	enum asker by = q->by;

	close_question(e, s, by);
	answered[by](e, s, a, asked, now);
	session_step(e, s, now);
}

void engine_online_answer(struct engine *e, uint64_t id, const struct online_answer *a, uint64_t now)
{
	const struct question *q = &e->question[id % QUESTIONS_MOST];

	if (!id || q->id != id) {
		e->questions.ignored++;
		return;
	}
	e->questions.answered++;
	answer(e, q, a, now);
}

bool question_received(const struct session *s, const struct online_answer *a, uint32_t *rcv_nxt)
{
	*rcv_nxt = s->iss + 1 + (uint32_t)a->received;
	return a->word == ONLINE_THERE && a->has_received && !(s->events & EV_JOINED);
}

/*
 * What is overdue is found by a look at the whole table: who answers at all hardly ever lets it come to
 * that.
 */
void question_overdue(struct engine *e, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	e->overdue_at = UINT64_MAX;
	for (const struct question *q = e->question; q < e->question + QUESTIONS_MOST; q++) {
		if (!q->id)
			continue;
		if (q->asked + ANSWER_WITHIN > now) {
			next = MIN(next, q->asked + ANSWER_WITHIN);
			continue;
		}
		e->questions.overdue++;
		answer(e, q, &(struct online_answer){ .word = ONLINE_UNKNOWN }, now);
	}
	e->overdue_at = MIN(e->overdue_at, next);
}
