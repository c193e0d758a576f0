#ifndef BASE_TREE_H
#define BASE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * An ordered set whose nodes are part of what they order: a treap. Nothing is allocated. The cost of each
 * operation is logarithmic in the number of nodes, whatever their order: the priorities that balance it are
 * random to whoever chooses the keys, as long as @seed is.
 */
struct tree_node {
	struct tree_node *left, *right;
	uint32_t priority;
};

struct tree {
	struct tree_node *root;
	uint32_t random;
};

/* Is @a before @b? */
typedef bool (*tree_before_fn)(struct tree_node *a, struct tree_node *b);

static inline void tree_init(struct tree *t, uint32_t seed)
{
	t->root = NULL;
	t->random = seed;
}

/* Put @n in. Among equals it comes last. */
void tree_insert(struct tree *t, struct tree_node *n, tree_before_fn before);

/* Take @n out, which must be in. */
void tree_remove(struct tree *t, struct tree_node *n, tree_before_fn before);

/* The first one; NULL: it is empty. */
struct tree_node *tree_first(const struct tree *t);
struct tree_node *tree_last(const struct tree *t);

/*
 * The neighbours of @key, which need not be in: the last one that is not behind it (NULL: none), and the
 * first one that is behind it.
 */
struct tree_node *tree_floor(const struct tree *t, struct tree_node *key, tree_before_fn before);
struct tree_node *tree_above(const struct tree *t, struct tree_node *key, tree_before_fn before);

#endif
