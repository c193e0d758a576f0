#ifndef BASE_WHEEL_H
#define BASE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A hierarchical timing wheel (Varghese and Lauck 1987): set and cancel are O(1), expiry amortised
 * O(1). It knows no clock: time comes as an argument, in ns. Resolution is one tick of
 * WHEEL_TICK_NS; a timer never fires before its time and at most one tick after it (plus whatever
 * the caller is late).
 */
#define WHEEL_TICK_NS 131072ull /* 2^17 ns: pauses of 1 ms need a fraction of it */

struct wheel_node {
	struct wheel_node *next, *prev; /* prev NULL: not armed */
	uint64_t at;                    /* ns */
};

struct wheel;
struct wheel *wheel_new(uint64_t now);
void wheel_free(struct wheel *w); /* nodes still armed are forgotten */

/* (Re)arm @n for time @at (ns); a time in the past fires at the next wheel_advance(). */
void wheel_set(struct wheel *w, struct wheel_node *n, uint64_t at);
void wheel_cancel(struct wheel *w, struct wheel_node *n);
static inline bool wheel_armed(const struct wheel_node *n)
{
	return n->prev != NULL;
}

/*
 * Fire what is due at or before @now: each node is disarmed, then fn(node, now, arg). fn may set
 * or cancel any node, also its own. Returns how many fired. At most @most nodes are fired, and at
 * most as many moved from one level of the wheel to another, so that a million timers that are due
 * at once cannot stop their owner; wheel_next() is then not later than @now, and the next call goes
 * on. Until it has, those that were set long before can be late.
 */
unsigned wheel_advance(struct wheel *w, uint64_t now, unsigned most,
		       void (*fn)(struct wheel_node *, uint64_t now, void *arg), void *arg);

/* When wheel_advance() should be called next (ns), never later than the earliest timer needs;
 * UINT64_MAX when nothing is armed. It may be early (a cascade), never late. O(1) in the number of
 * timers. */
uint64_t wheel_next(const struct wheel *w);
unsigned wheel_count(const struct wheel *w);

#endif
