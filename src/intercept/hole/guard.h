#ifndef INTERCEPT_HOLE_GUARD_H
#define INTERCEPT_HOLE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "intercept/config.h"
#include "packet/addr.h"
#include "program/helper/nft.h"

#define GUARD_TABLE NFT_GUARD_NAME

struct event_base;
struct helper;

/*
 * --guard: nft tables that drop TCP segments that come from known targets and are not addressed to this host.
 * There is at most one guard per network namespace.
 */
struct guard;

/* Can this host have a guard? If not, @why gets the reason, as part of a message for the user. */
bool guard_possible(char *why, size_t size);

/*
 * Create the table, for the interfaces of @c, and wait for it. Call this before the program starts threads or
 * enters its sandbox. From then on @base's loop maintains the guard, and calls @lost with @arg if the helper
 * ends. Returns NULL with words in @err: no nf_tables, no permission, or another intercept has a guard.
 * Replaces a table that a crash left behind, and logs a warning.
 */
struct guard *guard_open(struct event_base *base, const struct config *c, void (*lost)(void *arg), void *arg,
			 char *err, size_t err_size);
/* A guard whose table @helper has created, for tests; guard_close() closes @helper. NULL: no memory. */
struct guard *guard_new(struct event_base *base, struct helper *helper, bool owning, void (*lost)(void *arg),
			void *arg);

/* An endpoint that nobody has announced for so long is guarded no more: a target has given up by then. */
#define GUARD_LINGER_NS (30 * 60 * NS_PER_SEC)

/*
 * Drop what @e sends; the caller is one more user of @e. The rule comes into force a moment later; the guard
 * repeats a request that fails. May be called from any thread and never waits. False: there are too many, or
 * the helper has ended; offer @e again.
 */
bool guard_add(struct guard *g, const struct endpoint *e);
/* One user of @e, whose guard_add() was true, has ended at @now (ns, CLOCK_MONOTONIC). As guard_add(). */
void guard_release(struct guard *g, const struct endpoint *e, uint64_t now);
/* Is the guard in force? False if its helper has ended, or @g is NULL. May be called from any thread. */
bool guard_holds(struct guard *g);

/* Removes the table and frees @g. Call this when @base's loop has ended. @g may be NULL. */
void guard_close(struct guard *g);

#endif
