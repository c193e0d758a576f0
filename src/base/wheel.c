/*
 * A hierarchical timing wheel: eight levels of 64 slots, each slot a list of nodes, so that 48 bits
 * of ticks, the whole range of a uint64_t of ns, fit. A bitmap a level says which slots are
 * occupied.
 *
 * A timer's tick is its time divided by WHEEL_TICK_NS, rounded up (never early). It lies at the
 * level of the highest group of 6 bits in which its tick differs from `current`, the last tick that
 * has been dealt with, in the slot named by that group. Hence all occupied slots of a level lie
 * ahead of current's own in that level, and everything at a lower level comes before everything at
 * a higher one: the next slot to deal with is the lowest bit of the lowest bitmap that is not zero.
 * Advancing jumps from one such slot to the next, however far apart they are: a slot of level 0
 * fires, one of a higher level is dealt out again to the levels below (cascade). A timer moves down
 * at most 7 times, which is the amortised O(1).
 *
 * What is set for a time that has passed (for wheel_advance()'s callbacks: up to the time being
 * advanced to) waits on a list of its own for the next wheel_advance(); so a callback that sets its
 * timer to "now" cannot trap the loop.
 *
 * No call takes long. Going on from slot to slot only links whole lists (all lists are rings, so
 * that this is one step): what is due to `firing`, what is to be dealt out to `moving`; and of
 * these two each call serves a bounded number of nodes. Timers of lower levels are not held up by a
 * full slot of a higher one; and what was set last or for a shorter way is dealt out first, because
 * its time is near.
 *
 * Nodes belong to the caller, who embeds them; the wheel only links them. The time comes from
 * outside.
 */
#include "base/wheel.h"

#include <assert.h>
#include <stdlib.h>

#include "base/util.h"

#define BITS 6
#define SLOTS (1u << BITS)
#define LEVELS 8

struct wheel {
	uint64_t current; /* ticks */
	uint64_t occupied[LEVELS];
	struct wheel_node slot[LEVELS][SLOTS]; /* heads of rings */
	struct wheel_node due;                 /* for the next wheel_advance() */
	struct wheel_node firing;              /* to be fired now; a ring here, so that callbacks can cancel
				     what is on it */
	struct wheel_node moving;              /* from slots of higher levels that current has entered */
	unsigned count;
};

static uint64_t tick_of(uint64_t at)
{
	return at / WHEEL_TICK_NS + (at % WHEEL_TICK_NS != 0);
}

static void ring_init(struct wheel_node *head)
{
	head->next = head->prev = head;
}

static bool ring_empty(const struct wheel_node *head)
{
	return head->next == head;
}

/* Behind @before: the head of a ring means its front, the head's prev its end. */
static void ring_insert(struct wheel_node *before, struct wheel_node *n)
{
	n->prev = before;
	n->next = before->next;
	n->next->prev = n;
	before->next = n;
}

/* The same with all of @from. */
static void ring_insert_all(struct wheel_node *before, struct wheel_node *from)
{
	if (ring_empty(from))
		return;
	from->next->prev = before;
	from->prev->next = before->next;
	before->next->prev = from->prev;
	before->next = from->next;
	ring_init(from);
}

static void unlink_node(struct wheel *w, struct wheel_node *n)
{
	struct wheel_node *head = n->next;
	const size_t offset = (uintptr_t)head - (uintptr_t)&w->slot[0][0];

	n->prev->next = n->next;
	n->next->prev = n->prev;
	n->next = n->prev = NULL;
	if (offset < sizeof(w->slot) && ring_empty(head)) {
		/* It was alone in a slot. */
		unsigned index = (unsigned)(offset / sizeof(w->slot[0][0]));

		w->occupied[index / SLOTS] &= ~(1ull << index % SLOTS);
	}
}

/* @tick is after current. */
static void place(struct wheel *w, struct wheel_node *n, uint64_t tick)
{
	unsigned level, index;

	assert(tick > w->current);
	level = (63 - (unsigned)__builtin_clzll(tick ^ w->current)) / BITS;
	assert(level < LEVELS);
	index = (unsigned)(tick >> (level * BITS)) & (SLOTS - 1);
	ring_insert(level ? &w->slot[level][index] : w->slot[0][index].prev, n);
	w->occupied[level] |= 1ull << index;
}

/* The first occupied slot; false when there is none. *@start: its first tick. */
static bool first_slot(const struct wheel *w, unsigned *level, unsigned *index, uint64_t *start)
{
	for (unsigned l = 0; l < LEVELS; l++) {
		unsigned shift = l * BITS;

		if (!w->occupied[l])
			continue;
		*level = l;
		*index = (unsigned)__builtin_ctzll(w->occupied[l]);
		*start = (w->current >> (shift + BITS) << (shift + BITS)) | (uint64_t)*index << shift;
		return true;
	}
	return false;
}

struct wheel *wheel_new(uint64_t now)
{
	struct wheel *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->current = now / WHEEL_TICK_NS;
	for (unsigned i = 0; i < LEVELS * SLOTS; i++)
		ring_init(&w->slot[i / SLOTS][i % SLOTS]);
	ring_init(&w->due);
	ring_init(&w->firing);
	ring_init(&w->moving);
	return w;
}

void wheel_free(struct wheel *w)
{
	free(w);
}

void wheel_set(struct wheel *w, struct wheel_node *n, uint64_t at)
{
	uint64_t tick = tick_of(at);

	wheel_cancel(w, n);
	n->at = at;
	if (tick <= w->current)
		ring_insert(w->due.prev, n);
	else
		place(w, n, tick);
	w->count++;
}

void wheel_cancel(struct wheel *w, struct wheel_node *n)
{
	if (!wheel_armed(n))
		return;
	unlink_node(w, n);
	w->count--;
}

/*
 * Of a million timers each lies in memory that no cache has: fetch two ahead, with what its owner keeps
 * around it.
 */
static inline void prefetch_after(const struct wheel_node *n)
{
	const char *far = (const char *)n->next->next;

	__builtin_prefetch(far, 1);
	__builtin_prefetch(far + 64, 1);
}

static unsigned fire(struct wheel *w, uint64_t now, unsigned most,
		     void (*fn)(struct wheel_node *, uint64_t, void *), void *arg)
{
	unsigned fired = 0;

	for (; fired < most && !ring_empty(&w->firing); fired++) {
		struct wheel_node *n = w->firing.next;

		prefetch_after(n);
		wheel_cancel(w, n);
		fn(n, now, arg);
	}
	return fired;
}

/* Deals out what is on `moving`; returns what is left of @most. */
static unsigned move(struct wheel *w, unsigned most)
{
	for (; most && !ring_empty(&w->moving); most--) {
		struct wheel_node *n = w->moving.next;
		uint64_t tick = tick_of(n->at);

		prefetch_after(n);
		unlink_node(w, n);
		if (tick <= w->current)
			ring_insert(w->firing.prev, n);
		else
			place(w, n, tick);
	}
	return most;
}

unsigned wheel_advance(struct wheel *w, uint64_t now, unsigned most,
		       void (*fn)(struct wheel_node *, uint64_t now, void *), void *arg)
{
	uint64_t target = MAX(now / WHEEL_TICK_NS, w->current), start;
	unsigned level, index, moves = most;

	ring_insert_all(w->firing.prev, &w->due);
	for (;;) {
		moves = move(w, moves);
		if (!first_slot(w, &level, &index, &start) || start > target)
			break;
		w->current = start;
		w->occupied[level] &= ~(1ull << index);
		ring_insert_all(level ? &w->moving : w->firing.prev, &w->slot[level][index]);
	}
	w->current = target;
	return fire(w, now, most, fn, arg);
}

uint64_t wheel_next(const struct wheel *w)
{
	unsigned level, index;
	uint64_t start;

	if (!ring_empty(&w->due) || !ring_empty(&w->firing) || !ring_empty(&w->moving))
		return w->current * WHEEL_TICK_NS;
	if (!first_slot(w, &level, &index, &start))
		return UINT64_MAX;
	return start > UINT64_MAX / WHEEL_TICK_NS ? UINT64_MAX : start * WHEEL_TICK_NS;
}

unsigned wheel_count(const struct wheel *w)
{
	return w->count;
}
