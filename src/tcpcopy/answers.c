/*
 * Answers to the engine's questions - theory of operation
 *
 * The engine must not be called from inside its own actions, so its questions are collected here while it
 * runs and answered when it has returned, before it is given the next packet. The kernel answers at once, so
 * no question outlives the turn of the loop in which it was asked.
 */
#include "tcpcopy/answers.h"

void answers_ask(struct answers *a, uint64_t question, const struct flow_key *key)
{
	if (a->n == QUESTIONS_MOST)
		return; /* with others withdrawn since: its time will be over, which says "unknown" */
	a->open[a->n].question = question;
	a->open[a->n++].key = *key;
}

void answers_give_all(struct answers *a, struct engine *e, uint64_t now)
{
	/* an answer may lead to further questions */
	for (unsigned i = 0; i < a->n; i++) {
		const struct flow_key *k = &a->open[i].key;
		struct online_answer answer = { .word = ONLINE_UNKNOWN };

		if (a->served)
			answer = served_look(a->served, k);
		else if (a->online)
			answer = online_look(a->online, &k->client, &k->online);
		engine_online_answer(e, a->open[i].question, &answer, now);
	}
	a->n = 0;
}
