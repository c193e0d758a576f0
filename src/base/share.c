/*
 * Shares - theory of operation
 *
 *     whole ── large: a tree by the amount at which a part got its place
 *          └── small: a ring, oldest first
 *
 * To keep parts in the order of their amounts would cost a search at each change, and amounts change with
 * each packet. So a part's place is renewed only when it has grown by an eighth, and by SHARE_SMALL, since
 * it got it, and when it is found to have shrunk at the moment the largest is asked for. What a part holds
 * is thus never more than that above its key; and one at the end of the tree that holds at least its key is
 * the largest, give or take as much. Each renewal in share_largest() was paid for by a share_set() that made
 * the part smaller.
 *
 * Most parts hold next to nothing most of the time. They stand in a ring, in which nobody is searched for.
 */
#include "base/share.h"

#include <assert.h>
#include <stddef.h>

#include "base/util.h"

static struct share *share_of(struct tree_node *n)
{
	return n ? CONTAINER_OF(n, struct share, node) : NULL;
}

/*
 * No two are equal, or the tree could not find them. Equal keys are told apart by a number that every run
 * of a test gives them, and not by their priorities as they are, which would turn the tree into a list.
 */
static bool before(struct tree_node *a, struct tree_node *b)
{
	const uint32_t x = share_of(a)->key, y = share_of(b)->key;
	const uint32_t i = a->priority * 2654435761u, j = b->priority * 2654435761u;

	return x != y ? x < y : i != j ? i < j : (uintptr_t)a < (uintptr_t)b;
}

/* In the ring `left` is the one before, `right` the one behind. */
static void ring_add(struct share_whole *w, struct share *s)
{
	struct tree_node *first = w->small ? &w->small->node : &s->node;

	s->node.right = first;
	s->node.left = w->small ? first->left : &s->node;
	s->node.left->right = &s->node;
	first->left = &s->node;
	w->small = share_of(first);
}

static void ring_remove(struct share_whole *w, struct share *s)
{
	s->node.left->right = s->node.right;
	s->node.right->left = s->node.left;
	if (w->small == s)
		w->small = s->node.right == &s->node ? NULL : share_of(s->node.right);
}

static void place(struct share *s)
{
	s->key = s->amount < SHARE_SMALL ? 0 : s->amount;
	if (s->key)
		tree_insert(&s->of->large, &s->node, before);
	else
		ring_add(s->of, s);
}

static void unplace(struct share *s)
{
	if (s->key)
		tree_remove(&s->of->large, &s->node, before);
	else
		ring_remove(s->of, s);
}

void share_whole_init(struct share_whole *w, uint32_t seed)
{
	*w = (struct share_whole){ .small = NULL };
	tree_init(&w->large, seed);
}

void share_set(struct share *s, uint32_t amount)
{
	const uint32_t more = amount - s->amount; /* modulo 2^32 */

	for (; s; s = s->of ? &s->of->share : NULL) {
		s->amount += more;
		if (s->of && s->amount >= s->key + MAX(s->key / 8, SHARE_SMALL)) {
			unplace(s);
			place(s);
		}
	}
}

void share_enter(struct share *s, struct share_whole *of, uint32_t amount)
{
	assert(!s->of);
	s->of = of;
	place(s);
	share_set(s, s->amount + amount);
}

void share_leave(struct share *s)
{
	if (!s->of)
		return;
	share_set(s, 0);
	unplace(s);
	s->of = NULL;
}

struct share *share_largest(struct share_whole *w)
{
	struct share *s;

	while ((s = share_of(tree_last(&w->large))) && s->amount < s->key) {
		unplace(s);
		place(s);
	}
	return s ? s : w->small;
}
