#ifndef INTERCEPT_HOLE_ANNOUNCE_H
#define INTERCEPT_HOLE_ANNOUNCE_H

#include "base/budget.h"
#include "intercept/captures.h"
#include "intercept/hole/guard.h"
#include "intercept/hole/targets.h"

/*
 * The targets that the tcpcopys have announced to one worker, and what follows from them: the capture filter,
 * unless -F gives one, and the guard's drops.
 */
struct announce {
	struct targets targets;
	bool own_filter;           /* no -F */
	struct captures *captures; /* not owned */
	struct guard *guard;       /* NULL: none; not owned */
	bool silent;               /* another worker logs the change */
	bool stale;                /* the filter lags behind the targets */
	struct budget changes;     /* of the filter */
	bool refused;              /* the newest filter was: it is tried again every second */
	bool unguarded;            /* the guard lags behind the targets */
};

/*
 * The target @e has one more user: a watch, or a connection that announced it. announce_apply() must follow.
 */
void announce_use(struct announce *a, const struct endpoint *e);
/* A user of @e has ended, at @now (ns, CLOCK_MONOTONIC). @e stays a target for TARGETS_LINGER_NS. */
void announce_release(struct announce *a, const struct endpoint *e, uint64_t now);
/*
 * Puts new targets into force: offers them to the guard and replaces the capture filter. Call this after a
 * batch of announcements, before packets are read again. A failure is logged. The filter is replaced 10 times
 * a second at most, after a burst of 32; what waits is put into force by a later call.
 */
void announce_apply(struct announce *a);
/*
 * Call this once a second: removes targets that have had no users for TARGETS_LINGER_NS, and repeats what
 * failed.
 */
void announce_expire(struct announce *a, uint64_t now);

#endif
