/*
 * The treap against a plain array: the same order after any insertions and removals, and no deeper than
 * chance makes it, also when keys come in ascending order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/tree.h"
#include "base/util.h"

#define N 2000

struct item {
	struct tree_node node;
	uint32_t key;
	bool in;
};

static struct item item[N];
static uint32_t state_of_chance = 7;

static uint32_t chance(uint32_t n)
{
	state_of_chance = state_of_chance * 1664525 + 1013904223;
	return (state_of_chance >> 8) % n;
}

static struct item *item_of(struct tree_node *n)
{
	return n ? CONTAINER_OF(n, struct item, node) : NULL;
}

static bool before(struct tree_node *a, struct tree_node *b)
{
	return item_of(a)->key < item_of(b)->key;
}

static unsigned depth(const struct tree_node *n)
{
	return n ? 1 + MAX(depth(n->left), depth(n->right)) : 0;
}

/* The last one in with a key up to @key; and the first one above. */
static const struct item *last_up_to(uint32_t key)
{
	const struct item *found = NULL;

	for (unsigned i = 0; i < N; i++)
		if (item[i].in && item[i].key <= key && (!found || item[i].key >= found->key))
			found = &item[i];
	return found;
}
static const struct item *first_above(uint32_t key)
{
	const struct item *found = NULL;

	for (unsigned i = 0; i < N; i++)
		if (item[i].in && item[i].key > key && (!found || item[i].key < found->key))
			found = &item[i];
	return found;
}

static void as_an_array(void **state)
{
	struct tree t;
	unsigned in = 0;

	(void)state;
	tree_init(&t, 1);
	assert_null(tree_first(&t));
	assert_null(tree_last(&t));
	for (unsigned round = 0; round < 5 * N; round++) {
		struct item *i = &item[chance(N)], wanted = { .key = chance(3 * N) };
		struct item *low, *high;

		if (i->in) {
			tree_remove(&t, &i->node, before);
			in--;
		} else {
			i->key = 3 * (uint32_t)(i - item) + 1; /* keys differ */
			tree_insert(&t, &i->node, before);
			in++;
		}
		i->in = !i->in;
		low = item_of(tree_floor(&t, &wanted.node, before));
		high = item_of(tree_above(&t, &wanted.node, before));
		assert_ptr_equal(low, last_up_to(wanted.key));
		assert_ptr_equal(high, first_above(wanted.key));
		assert_ptr_equal(item_of(tree_first(&t)), first_above(0));
		assert_ptr_equal(item_of(tree_last(&t)), last_up_to(UINT32_MAX));
	}
	for (unsigned i = 0; i < N; i++)
		if (item[i].in) {
			tree_remove(&t, &item[i].node, before);
			item[i].in = false;
			in--;
		}
	assert_int_equal(in, 0);
	assert_null(t.root);
}

static void ascending_keys_do_not_make_a_list(void **state)
{
	struct tree t;

	(void)state;
	tree_init(&t, 99);
	for (unsigned i = 0; i < N; i++) {
		item[i].key = i;
		tree_insert(&t, &item[i].node, before);
	}
	assert_in_range(depth(t.root), 11, 60);
	for (unsigned i = 0; i < N; i++) {
		assert_ptr_equal(item_of(tree_first(&t)), &item[i]);
		tree_remove(&t, &item[i].node, before);
	}
}

static void of_equals_the_later_one_is_last(void **state)
{
	struct tree t;
	struct item a = { .key = 5 }, b = { .key = 5 }, key = { .key = 5 };

	(void)state;
	tree_init(&t, 3);
	tree_insert(&t, &a.node, before);
	tree_insert(&t, &b.node, before);
	assert_ptr_equal(tree_floor(&t, &key.node, before), &b.node);
	assert_null(tree_above(&t, &key.node, before));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_an_array),
		cmocka_unit_test(ascending_keys_do_not_make_a_list),
		cmocka_unit_test(of_equals_the_later_one_is_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
