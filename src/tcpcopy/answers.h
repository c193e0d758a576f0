#ifndef TCPCOPY_ANSWERS_H
#define TCPCOPY_ANSWERS_H

#include "io/host/online.h"
#include "session/session.h"

/* Questions of the engine about the online server's sockets, and who answers them; see answers.c. */
struct answers {
	struct online *online; /* NULL: it cannot be asked */
	unsigned n;
	struct {
		uint64_t question;
		struct flow_key key;
	} open[QUESTIONS_MOST];
};

/* The engine asks: ops->online_ask. */
void answers_ask(struct answers *a, uint64_t question, const struct flow_key *key);

void answers_give_all(struct answers *a, struct engine *e, uint64_t now);

/* Answer everything that was asked. To be called when a call of the engine has returned. @now: ns. */
static inline void answers_give(struct answers *a, struct engine *e, uint64_t now)
{
	if (a->n)
		answers_give_all(a, e, now);
}

#endif
