#ifndef TCPCOPY_ANSWERS_H
#define TCPCOPY_ANSWERS_H

#include "io/host/online.h"
#include "session/session.h"
#include "tcpcopy/replay/served.h"

/* The engine's open questions about the online server's sockets; see answers.c. */
struct answers {
	const struct served *served; /* what was recorded of the online server; NULL: it is live */
	struct online *online;       /* NULL: the online server cannot be asked */
	unsigned n;
	struct {
		uint64_t question;
		struct flow_key key;
	} open[QUESTIONS_MOST];
};

/* Keep the question number @question about the connection of *key, for ops->online_ask. Asks nobody yet. */
void answers_ask(struct answers *a, uint64_t question, const struct flow_key *key);

/* Look up all that was asked, and give the answers to the engine. @now: ns. See answers_give(). */
void answers_give_all(struct answers *a, struct engine *e, uint64_t now);

/* The same, at little cost if nothing was asked. Call it when a call of the engine has returned. @now: ns. */
static inline void answers_give(struct answers *a, struct engine *e, uint64_t now)
{
	if (a->n)
		answers_give_all(a, e, now);
}

#endif
