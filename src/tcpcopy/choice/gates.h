#ifndef TCPCOPY_CHOICE_GATES_H
#define TCPCOPY_CHOICE_GATES_H

#include <stdatomic.h>

#include "session/session.h"
#include "tcpcopy/config/config.h"

/*
 * What the main thread tells all workers of new sessions: none to the target of a rule, or none at all. The
 * only thing that is shared is whether a flag is set, so there is no order to keep.
 */
struct gates {
	atomic_bool breaker[CONFIG_MAX_RULES];
	atomic_bool yield;
};

/* Returns DECLINE_COUNT if a session may begin to the target of @rule, or the reason why not. */
static inline enum decline gates_admit(const struct gates *g, unsigned rule)
{
	if (atomic_load_explicit(&g->yield, memory_order_relaxed))
		return DECLINE_YIELD;
	if (atomic_load_explicit(&g->breaker[rule], memory_order_relaxed))
		return DECLINE_BREAKER;
	return DECLINE_COUNT;
}

#endif
