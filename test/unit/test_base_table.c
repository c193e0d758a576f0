/*
 * The growing hash table: against a reference under random adds and removes, with every entry
 * looked up after every step while it grows and shrinks, and with hashes as bad as they can be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/siphash.h"
#include "base/table.h"
#include "base/util.h"

struct entry {
	struct table_node node;
	uint64_t key;
	bool in;
};

static uint64_t seed;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint32_t hash_good(uint64_t key)
{
	static const struct siphash_key k = { 1, 2 };

	return (uint32_t)siphash(&k, &key, sizeof(key));
}

/* Chosen keys whose hashes share all the bits that choose the bucket, the tag, or everything. */
static uint32_t hash_low_equal(uint64_t key)
{
	return (uint32_t)key << 20 | 5;
}

static uint32_t hash_high_equal(uint64_t key)
{
	return (uint32_t)key & 0xffffff;
}

static uint32_t hash_equal(uint64_t key)
{
	(void)key;
	return 77;
}

static bool key_eq(struct table_node *n, const void *key)
{
	return CONTAINER_OF(n, struct entry, node)->key == *(const uint64_t *)key;
}

static void check_entry(const struct table *t, struct entry *e, uint32_t (*hash)(uint64_t))
{
	struct table_node *found = table_find(t, hash(e->key), key_eq, &e->key);

	assert_ptr_equal(found, e->in ? &e->node : NULL);
}

/* Grows to @n entries and falls to none again, at random; with @all each step looks all up. */
static void run(unsigned n, uint32_t (*hash)(uint64_t), bool all)
{
	struct pool *pool = pool_new(0);
	struct table *t = table_new(pool);
	struct entry *e = calloc(n, sizeof(*e));
	unsigned count = 0;

	assert_true(pool && t && e);
	seed = 88172645463325252ull + n;
	for (unsigned i = 0; i < n; i++)
		e[i].key = i;
	for (unsigned step = 0; step < 6 * n; step++) {
		bool growing = step < 3 * n;
		struct entry *x = &e[next_random() % n];

		if (!x->in && (growing || next_random() % 4 == 0)) {
			table_add(t, &x->node, hash(x->key));
			x->in = true;
			count++;
		} else if (x->in && (!growing || next_random() % 4 == 0)) {
			assert_true(table_remove(t, &x->node));
			assert_false(table_remove(t, &x->node));
			x->in = false;
			count--;
		}
		assert_int_equal(table_count(t), count);
		for (unsigned i = 0; all && i < n; i++)
			check_entry(t, &e[i], hash);
		check_entry(t, x, hash);
	}
	for (unsigned i = 0; i < n; i++) {
		check_entry(t, &e[i], hash);
		if (e[i].in)
			assert_true(table_remove(t, &e[i].node));
		e[i].in = false;
	}
	assert_int_equal(table_count(t), 0);
	assert_int_equal(table_bytes(t), 64 * 64); /* as small as at the start */
	table_free(t);
	assert_int_equal(pool_bytes_used(pool), 0);
	pool_free(pool);
	free(e);
}

static void every_lookup_while_it_grows(void **state)
{
	(void)state;
	run(1200, hash_good, true);
}

static void random_against_reference(void **state)
{
	(void)state;
	run(100000, hash_good, false);
}

static void chosen_keys(void **state)
{
	(void)state;
	run(600, hash_low_equal, true);
	run(600, hash_high_equal, true);
	run(300, hash_equal, true);
}

static void likely_is_mostly_right(void **state)
{
	enum { N = 20000 };
	struct pool *pool = pool_new(0);
	struct table *t = table_new(pool);
	struct entry *e = calloc(N, sizeof(*e));
	unsigned right = 0;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		e[i].key = i;
		table_add(t, &e[i].node, hash_good(i));
	}
	for (unsigned i = 0; i < N; i++) {
		table_prefetch(t, hash_good(i));
		right += table_likely(t, hash_good(i)) == &e[i].node;
	}
	assert_true(right > N * 9 / 10);
	table_free(t);
	pool_free(pool);
	free(e);
}

/* No memory for buckets: everything is found nevertheless. */
static void pool_that_refuses(void **state)
{
	enum { N = 20000 };
	struct pool *pool = pool_new(512 * 1024); /* seven pieces of 1024 buckets */
	struct table *t = table_new(pool);
	struct entry *e = calloc(N, sizeof(*e));
	void *block[6];

	(void)state;
	for (int i = 0; i < 6; i++)
		block[i] = pool_get(pool, 64 * 1024);
	for (unsigned i = 0; i < N; i++) {
		e[i] = (struct entry){ .key = i, .in = true };
		table_add(t, &e[i].node, hash_good(i));
	}
	assert_int_equal(table_bytes(t), 64 * 1024);
	for (unsigned i = 0; i < N; i++)
		check_entry(t, &e[i], hash_good);
	for (int i = 0; i < 6; i++)
		pool_put(pool, block[i], 64 * 1024);
	for (unsigned i = 0; i < N; i++) {
		assert_true(table_remove(t, &e[i].node));
		table_add(t, &e[i].node, hash_good(i));
	}
	assert_true(table_bytes(t) > 300 * 1024);
	for (unsigned i = 0; i < N; i++)
		check_entry(t, &e[i], hash_good);
	table_free(t);
	pool_free(pool);
	free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_lookup_while_it_grows),
		cmocka_unit_test(random_against_reference),
		cmocka_unit_test(chosen_keys),
		cmocka_unit_test(likely_is_mostly_right),
		cmocka_unit_test(pool_that_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
