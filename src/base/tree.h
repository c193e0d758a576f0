#ifndef BASE_TREE_H
#define BASE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * An ordered set whose nodes are embedded in what they order: a treap. Nothing is allocated. Each operation
 * takes logarithmic time in the number of nodes, whatever their order: as long as @seed is secret, nobody who
 * chooses the keys can predict the priorities that balance the tree.
 */
struct tree_node {
	struct tree_node *left, *right;
	uint32_t priority;
};

struct tree {
	struct tree_node *root;
	uint32_t random;
};

/* Does @a come before @b? */
typedef bool (*tree_before_fn)(struct tree_node *a, struct tree_node *b);

/* Make *t empty. @seed: the start of its random priorities, any value. */
static inline void tree_init(struct tree *t, uint32_t seed)
{
	t->root = NULL;
	t->random = seed;
}

/* Insert @n, which must not be in a tree. Among equals it comes last. */
void tree_insert(struct tree *t, struct tree_node *n, tree_before_fn before);

/* Remove @n, which must be in this tree. */
void tree_remove(struct tree *t, struct tree_node *n, tree_before_fn before);

/* The first node in order, or NULL if the tree is empty. */
struct tree_node *tree_first(const struct tree *t);

/* The last node in order, or NULL if the tree is empty. */
struct tree_node *tree_last(const struct tree *t);

/* The last node that does not come after @key, which need not be in the tree. NULL if there is none. */
struct tree_node *tree_floor(const struct tree *t, struct tree_node *key, tree_before_fn before);

/* The first node that comes after @key, which need not be in the tree. NULL if there is none. */
struct tree_node *tree_above(const struct tree *t, struct tree_node *key, tree_before_fn before);

#endif
