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
	uint64_t horizon; /* ticks: what is set for this or before is due; ahead of current while
			     advancing */
	uint64_t occupied[LEVELS];
	struct wheel_node *slot[LEVELS][SLOTS];
	struct wheel_node *due;    /* for the next wheel_advance() */
	struct wheel_node *firing; /* being fired now; a list here, so that callbacks can cancel
				      what is on it */
	unsigned count;
};

static uint64_t tick_of(uint64_t at)
{
	return at / WHEEL_TICK_NS + (at % WHEEL_TICK_NS != 0);
}

static void link_node(struct wheel_node **head, struct wheel_node *n)
{
	n->next = *head;
	if (n->next)
		n->next->pprev = &n->next;
	n->pprev = head;
	*head = n;
}

static void unlink_node(struct wheel *w, struct wheel_node *n)
{
	uintptr_t first = (uintptr_t)&w->slot[0][0], offset = (uintptr_t)n->pprev - first;

	*n->pprev = n->next;
	if (n->next)
		n->next->pprev = n->pprev;
	else if (offset < sizeof(w->slot)) {
		/* It was alone in a slot. */
		unsigned index = (unsigned)(offset / sizeof(w->slot[0][0]));

		w->occupied[index / SLOTS] &= ~(1ull << index % SLOTS);
	}
	n->pprev = NULL;
	n->next = NULL;
}

/* @tick is not before current; equal to it only during a cascade, which fires it next. */
static void place(struct wheel *w, struct wheel_node *n, uint64_t tick)
{
	uint64_t differs = tick ^ w->current;
	unsigned level = differs ? (63 - (unsigned)__builtin_clzll(differs)) / BITS : 0;
	unsigned index = (unsigned)(tick >> (level * BITS)) & (SLOTS - 1);

	assert(tick >= w->current && level < LEVELS);
	link_node(&w->slot[level][index], n);
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
		*start = (w->current >> (shift + BITS) << (shift + BITS)) | (uint64_t)*index
										    << shift;
		return true;
	}
	return false;
}

/* Moves a whole list to another head, which must be empty. */
static void take_list(struct wheel_node **to, struct wheel_node **from)
{
	assert(!*to);
	*to = *from;
	if (*to)
		(*to)->pprev = to;
	*from = NULL;
}

struct wheel *wheel_new(uint64_t now)
{
	struct wheel *w = calloc(1, sizeof(*w));

	if (w)
		w->current = w->horizon = now / WHEEL_TICK_NS;
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
	if (tick <= w->horizon)
		link_node(&w->due, n);
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

static unsigned fire_list(struct wheel *w, uint64_t now,
			  void (*fn)(struct wheel_node *, uint64_t, void *), void *arg)
{
	struct wheel_node *n;
	unsigned fired = 0;

	while ((n = w->firing)) {
		wheel_cancel(w, n);
		fn(n, now, arg);
		fired++;
	}
	return fired;
}

static void cascade(struct wheel *w, unsigned level, unsigned index)
{
	struct wheel_node *list = NULL, *n;

	take_list(&list, &w->slot[level][index]);
	w->occupied[level] &= ~(1ull << index);
	while ((n = list)) {
		list = n->next;
		place(w, n, tick_of(n->at));
	}
}

unsigned wheel_advance(struct wheel *w, uint64_t now,
		       void (*fn)(struct wheel_node *, uint64_t now, void *), void *arg)
{
	uint64_t target = MAX(now / WHEEL_TICK_NS, w->current), start;
	unsigned level, index, fired = 0;

	assert(!w->firing && w->horizon == w->current);
	w->horizon = target;
	take_list(&w->firing, &w->due);
	fired += fire_list(w, now, fn, arg);

	while (first_slot(w, &level, &index, &start) && start <= target) {
		w->current = start;
		if (level > 0) {
			cascade(w, level, index);
			continue;
		}
		take_list(&w->firing, &w->slot[0][index]);
		w->occupied[0] &= ~(1ull << index);
		fired += fire_list(w, now, fn, arg);
	}
	w->current = target;
	return fired;
}

uint64_t wheel_next(const struct wheel *w)
{
	unsigned level, index;
	uint64_t start;

	if (w->due)
		return w->current * WHEEL_TICK_NS;
	if (!first_slot(w, &level, &index, &start))
		return UINT64_MAX;
	return start > UINT64_MAX / WHEEL_TICK_NS ? UINT64_MAX : start * WHEEL_TICK_NS;
}

unsigned wheel_count(const struct wheel *w)
{
	return w->count;
}
