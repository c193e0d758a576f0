#ifndef BASE_WHEEL_H
#define BASE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A hierarchical timing wheel (Varghese and Lauck 1987): setting and cancelling are O(1), expiry is amortised
 * O(1). It reads no clock: the time comes as an argument, in ns. The resolution is one tick of WHEEL_TICK_NS:
 * a timer never fires before its time, and at most one tick after it (plus the caller's own delay).
 */
#define WHEEL_TICK_NS 131072ull /* 2^17 ns: pauses of 1 ms need a fraction of it */

struct wheel_node {
	struct wheel_node *next, *prev; /* prev NULL: not armed */
	uint64_t at;                    /* ns */
};

struct wheel;

/* A new wheel whose time is @now (ns). NULL if out of memory. */
struct wheel *wheel_new(uint64_t now);

/* Free the wheel. Nodes belong to the caller; those that are still armed never fire. */
void wheel_free(struct wheel *w);

/* Arm @n for the time @at (ns), whether it was armed or not. A time in the past fires at the next advance. */
void wheel_set(struct wheel *w, struct wheel_node *n, uint64_t at);

/* Disarm @n. Does nothing if it is not armed. */
void wheel_cancel(struct wheel *w, struct wheel_node *n);

/* Is @n armed? A zeroed node is not. */
static inline bool wheel_armed(const struct wheel_node *n)
{
	return n->prev != NULL;
}

/*
 * Fire what is due at or before @now (ns): disarm each node and call fn(node, now, arg). fn may set or cancel
 * any node, including its own. Returns how many were fired. At most @most nodes are fired, and at most as
 * many moved from one level of the wheel to another, so that a million timers that are due at once cannot
 * stop their owner. If some are left, wheel_next() is not later than @now and the next call goes on; until
 * then, nodes that were set long before can be late.
 */
unsigned wheel_advance(struct wheel *w, uint64_t now, unsigned most,
		       void (*fn)(struct wheel_node *, uint64_t now, void *arg), void *arg);

/*
 * When to call wheel_advance() next (ns), or UINT64_MAX if nothing is armed. This may be earlier than the
 * earliest timer (for a cascade), but never later. O(1) in the number of timers.
 */
uint64_t wheel_next(const struct wheel *w);

/* How many nodes are armed. */
unsigned wheel_count(const struct wheel *w);

#endif
