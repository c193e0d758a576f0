#ifndef INTERCEPT_HOLE_ANNOUNCE_H
#define INTERCEPT_HOLE_ANNOUNCE_H

#include "intercept/captures.h"
#include "intercept/hole/guard.h"
#include "intercept/hole/targets.h"

/* The targets that tcpcopys announced, and what follows from them: the capture filter, where -F
 * gives none, and the guard's drops. */
struct announce {
	struct targets targets;
	bool own_filter;           /* no -F */
	struct captures *captures; /* not owned */
	struct guard *guard;       /* NULL: none; not owned */
	bool silent;               /* another worker says it in the log */
	bool stale;                /* the filter is behind the targets */
	bool unguarded;            /* so is the guard */
};

void announce_use(struct announce *a, const struct endpoint *e);
void announce_release(struct announce *a, const struct endpoint *e, uint64_t now);
/* Put what is new in force: after a batch of announcements, before captures are read again. */
void announce_apply(struct announce *a);
/* Once a second: remove targets that have had no users for long, and repeat what failed. */
void announce_expire(struct announce *a, uint64_t now);

#endif
