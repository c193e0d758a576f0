#ifndef BASE_SHARE_H
#define BASE_SHARE_H

#include <stdint.h>

#include "base/tree.h"

/*
 * Who holds most of something that is short? A whole has parts, each of which holds an amount; a part may
 * be a whole of smaller parts, and so on. share_largest() finds the part that holds most. Whoever takes
 * from that one only, at each level, takes from nobody who holds less than an equal share: that is max-min
 * fairness.
 *
 * Shares are embedded in what they belong to; nothing is allocated. An amount changes in constant time, and
 * in logarithmic time once for each eighth that it grows, or each SHARE_SMALL. Amounts are in any unit, and
 * their sum must be below 2^32.
 */
struct share_whole;

struct share {
	struct tree_node node;  /* its place among the other parts */
	struct share_whole *of; /* NULL: it is part of nothing */
	uint32_t amount;
	uint32_t key; /* what it held when it got its place in the tree; 0: it is in the ring of small ones */
};

struct share_whole {
	struct share share; /* its amount is the sum of all parts; it may be part of a greater whole */
	struct tree large;
	struct share *small; /* the first of a ring; NULL: there is none */
};

/* Below this amount parts count as equal, and the one that came first is the largest. */
#define SHARE_SMALL 8u

/* Make *@w a whole without parts that is part of nothing. @seed: see tree_init(). */
void share_whole_init(struct share_whole *w, uint32_t seed);

/* Make @s, which must be part of nothing, a part of @of that holds @amount. */
void share_enter(struct share *s, struct share_whole *of, uint32_t amount);

/* @s holds @amount now. It must be part of a whole. */
void share_set(struct share *s, uint32_t amount);

/* @s is part of nothing any more, and holds nothing. It may have been part of nothing before. */
void share_leave(struct share *s);

/*
 * The part of @w that holds most; NULL if it has none. No other part holds more than nine eighths of its
 * amount, or SHARE_SMALL more.
 */
struct share *share_largest(struct share_whole *w);

#endif
