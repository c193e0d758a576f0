#ifndef TCPCOPY_CHOICE_LIMITS_H
#define TCPCOPY_CHOICE_LIMITS_H

#include "base/budget.h"
#include "session/session.h"

/* How many sessions may be live, and how many may begin. One belongs to one worker. */
struct limits {
	unsigned sessions; /* live at a time; 0: any number */
	uint64_t apart;    /* ns from one that begins to the next, in the long run; 0: any number */
	unsigned burst;    /* so many may begin at once */
	struct budget begun;
};

/*
 * The share of one of @workers workers. @sessions: at a time, of all of them; @rate: millionths of new
 * ones a second, of all; 0: any number. A tenth of what a second may bring may come at once.
 */
void limits_init(struct limits *l, uint64_t sessions, uint64_t rate, unsigned workers);

/*
 * May one more session begin at @now (ns, never back) where @live are live? Returns DECLINE_COUNT, and
 * then it counts; or the reason why not.
 */
enum decline limits_admit(struct limits *l, unsigned live, uint64_t now);

#endif
