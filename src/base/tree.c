/*
 * Treap - theory of operation
 *
 * A binary search tree by the caller's order that is a heap by random priorities, so its shape is that of a
 * tree built in random order: about 2 ln n deep. Insertion goes down to where the priority belongs and splits
 * what is there; removal merges the two subtrees of what goes. Both work top down on links, without recursion
 * and without a way back up, so a node needs no parent.
 */
#include "base/tree.h"

#include <assert.h>

/* Everything of @n that is not behind @key to *low, the rest to *high. */
static void split(struct tree_node *n, struct tree_node *key, struct tree_node **low, struct tree_node **high,
		  tree_before_fn before)
{
	while (n) {
		if (before(key, n)) {
			*high = n;
			high = &n->left;
			n = n->left;
		} else {
			*low = n;
			low = &n->right;
			n = n->right;
		}
	}
	*low = *high = NULL;
}

void tree_insert(struct tree *t, struct tree_node *n, tree_before_fn before)
{
	struct tree_node **at = &t->root;

	t->random = t->random * 1664525u + 1013904223u;
	n->priority = t->random >> 8; /* the low bits of such a sequence repeat soon */
	while (*at && (*at)->priority >= n->priority)
		at = before(n, *at) ? &(*at)->left : &(*at)->right;
	split(*at, n, &n->left, &n->right, before);
	*at = n;
}

void tree_remove(struct tree *t, struct tree_node *n, tree_before_fn before)
{
	struct tree_node **at = &t->root, *a = n->left, *b = n->right;

	while (*at != n) {
		assert(*at);
		at = before(n, *at) ? &(*at)->left : &(*at)->right;
	}
	while (a && b) {
		if (a->priority >= b->priority) {
			*at = a;
			at = &a->right;
			a = a->right;
		} else {
			*at = b;
			at = &b->left;
			b = b->left;
		}
	}
	*at = a ? a : b;
}

struct tree_node *tree_first(const struct tree *t)
{
	struct tree_node *n = t->root;

	while (n && n->left)
		n = n->left;
	return n;
}

struct tree_node *tree_last(const struct tree *t)
{
	struct tree_node *n = t->root;

	while (n && n->right)
		n = n->right;
	return n;
}

struct tree_node *tree_floor(const struct tree *t, struct tree_node *key, tree_before_fn before)
{
	struct tree_node *n = t->root, *found = NULL;

	while (n) {
		if (before(key, n)) {
			n = n->left;
		} else {
			found = n;
			n = n->right;
		}
	}
	return found;
}

struct tree_node *tree_above(const struct tree *t, struct tree_node *key, tree_before_fn before)
{
	struct tree_node *n = t->root, *found = NULL;

	while (n) {
		if (before(key, n)) {
			found = n;
			n = n->left;
		} else {
			n = n->right;
		}
	}
	return found;
}
