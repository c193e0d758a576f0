/* The pool: classes, alignment, the limit, refusals, reuse, and memory that falls again after a
 * burst. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/pool.h"
#include "base/util.h"

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void classes(void **state)
{
	struct pool *p = pool_new(0);

	(void)state;
	assert_int_equal(pool_class_size(0), 64);
	assert_int_equal(pool_class_size(64), 64);
	assert_int_equal(pool_class_size(65), 80);
	assert_int_equal(pool_class_size(80), 80);
	assert_int_equal(pool_class_size(113), 128);
	assert_int_equal(pool_class_size(129), 160);
	assert_int_equal(pool_class_size(1500), 1536);
	assert_int_equal(pool_class_size(1537), 1792);
	assert_int_equal(pool_class_size(65536), 65536);
	assert_int_equal(pool_class_size(65537), 80 * 1024);
	for (size_t size = 64, n = 0; size < POOL_MAX; size = pool_class_size(size + 1), n++) {
		assert_int_equal(pool_class_size(size), size);
		assert_int_equal(size % 16, 0);
		assert_true(size * 5 / 4 >= pool_class_size(size + 1));
		assert_in_range(n, 0, 43);
	}
	assert_int_equal(pool_class_size(POOL_MAX), POOL_MAX);
	for (size_t size = 0; size <= POOL_MAX; size = size * 2 + 1) {
		unsigned char *block = pool_get(p, size);

		assert_non_null(block);
		assert_int_equal((uintptr_t)block % 16, 0);
		memset(block, 0xa5, size);
		assert_int_equal(pool_bytes_used(p), pool_class_size(size));
		pool_put(p, block, size);
		assert_int_equal(pool_bytes_used(p), 0);
	}
	assert_null(pool_get(p, POOL_MAX + 1));
	assert_null(pool_get(p, SIZE_MAX));
	pool_put(p, NULL, 10);
	pool_free(p);
	pool_free(NULL);
}

/* A block is returned by any size of its class, and is the next to be handed out (its lines are in
 * the cache). */
static void reuse(void **state)
{
	struct pool *p = pool_new(0);
	void *a = pool_get(p, 1000), *b = pool_get(p, 1000), *c;

	(void)state;
	assert_ptr_not_equal(a, b);
	pool_put(p, a, 1024);
	c = pool_get(p, 900);
	assert_ptr_equal(a, c);
	pool_put(p, b, 900);
	pool_put(p, c, 900);
	assert_int_equal(pool_bytes_used(p), 0);
	pool_free(p);
}

static void limit(void **state)
{
	const size_t most = 1024 * 1024;
	struct pool *p = pool_new(most);
	void *blocks[20000];
	size_t count = 0, again = 0;

	(void)state;
	while (count < ARRAY_SIZE(blocks) && (blocks[count] = pool_get(p, 200)))
		count++;
	assert_true(count < ARRAY_SIZE(blocks));
	assert_true(pool_bytes_held(p) <= most);
	/* nearly all of the limit is blocks: a place a slab is lost to its header */
	assert_true(count * pool_class_size(200) >= most / 100 * 99);
	assert_int_equal(pool_bytes_used(p), count * pool_class_size(200));

	for (size_t i = 0; i < count; i++)
		pool_put(p, blocks[i], 200);
	while (again < ARRAY_SIZE(blocks) && (blocks[again] = pool_get(p, 200)))
		again++;
	assert_int_equal(again, count);
	for (size_t i = 0; i < again; i++)
		pool_put(p, blocks[i], 200);
	pool_free(p);

	p = pool_new(100); /* less than a header and a block */
	assert_false(pool_has_room(p, 10));
	assert_null(pool_get(p, 10));
	pool_free(p);
}

/*
 * Takes blocks of @size until there is no room, which is announced. Returns how many; they go with the
 * pool.
 */
static unsigned fill(struct pool *p, size_t size)
{
	unsigned n = 0;

	for (;; n++) {
		bool room = pool_has_room(p, size);

		assert_int_equal(room, pool_get(p, size) != NULL);
		if (!room)
			return n;
	}
}

/* Empty slabs of other classes do not stand in the way of a request. */
static void empty_ones_yield(void **state)
{
	struct pool *p = pool_new(1024 * 1024);
	void *blocks[4 * 1023];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
		blocks[i] = pool_get(p, 64);
	for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
		pool_put(p, blocks[i], 64);
	assert_int_equal(pool_bytes_touched(p), 256 * 1024);
	assert_int_equal(pool_spare(p), 1024 * 1024);
	assert_int_equal(fill(p, POOL_MAX), 7); /* and a header */
	assert_int_equal(pool_bytes_held(p), 1024 * 1024);
	assert_int_equal(fill(p, 64), 0); /* in use now, so it does not yield */
	pool_free(p);
}

/* A slab takes of the limit what was touched of it. */
static void slabs_are_not_counted_whole(void **state)
{
	struct pool *p = pool_new(1024 * 1024);

	(void)state;
	for (size_t size = 16 * 1024; size <= POOL_MAX; size *= 2)
		assert_non_null(pool_get(p, size));
	assert_true(pool_bytes_held(p) > 1024 * 1024);
	assert_true(pool_bytes_touched(p) <= 1024 * 1024);
	fill(p, 100);
	assert_true(pool_bytes_touched(p) <= 1024 * 1024);
	assert_true(pool_bytes_touched(p) >= 1024 * 1024 - 128);
	pool_free(p);
}

static void falls_again(void **state)
{
	struct pool *p = pool_new(0);
	static void *blocks[4000];
	size_t peak;

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
			blocks[i] = pool_get(p, 2000);
		peak = pool_bytes_held(p);
		assert_true(peak >= ARRAY_SIZE(blocks) * 2048);
		/* not in the order of the slabs */
		for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
			pool_put(p, blocks[i * 1237 % ARRAY_SIZE(blocks)], 2000);
		assert_int_equal(pool_bytes_used(p), 0);
		assert_int_equal(pool_bytes_held(p), peak); /* another wave would find it */
		assert_true(pool_trim(p));                  /* all of it was needed until now */
		assert_int_equal(pool_bytes_held(p), peak);
		pool_put(p, pool_get(p, 2000), 2000);
		assert_true(pool_trim(p)); /* a bounded piece of work */
		assert_int_equal(pool_bytes_held(p), peak - (8u << 20));
		assert_false(pool_trim(p));
		assert_int_equal(pool_bytes_held(p), 64 * 1024); /* one a class */
	}
	/* what a wave needed stays for the next one */
	blocks[0] = pool_get(p, 2000);
	for (int i = 1; i < 100; i++)
		blocks[i] = pool_get(p, 2000);
	peak = pool_bytes_held(p);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 100; i++)
			pool_put(p, blocks[i], 2000);
		for (int i = 0; i < 100; i++)
			blocks[i] = pool_get(p, 2000);
		assert_false(pool_trim(p));
		assert_int_equal(pool_bytes_held(p), peak);
	}
	pool_free(p);
}

/* Blocks of random sizes, filled with what says whose they are: none overlaps another, at any time.
 */
static void random_use(void **state)
{
	static struct {
		unsigned char *block;
		size_t size;
		unsigned char fill;
	} held[500];
	struct pool *p = pool_new(16 * 1024 * 1024);
	size_t used = 0;

	(void)state;
	for (int step = 0; step < 20000; step++) {
		size_t i = next_random() % ARRAY_SIZE(held);

		if (held[i].block) {
			for (size_t b = 0; b < held[i].size; b += 61)
				assert_int_equal(held[i].block[b], held[i].fill);
			pool_put(p, held[i].block, held[i].size);
			used -= pool_class_size(held[i].size);
			held[i].block = NULL;
		} else {
			held[i].size = next_random() % (POOL_MAX >> (next_random() % 11)) + 1;
			held[i].fill = (unsigned char)next_random();
			held[i].block = pool_get(p, held[i].size);
			if (held[i].block) {
				memset(held[i].block, held[i].fill, held[i].size);
				used += pool_class_size(held[i].size);
			}
		}
		assert_int_equal(pool_bytes_used(p), used);
		assert_true(pool_bytes_touched(p) >= used && pool_bytes_touched(p) <= 16 * 1024 * 1024);
		assert_true(pool_bytes_touched(p) <= pool_bytes_held(p));
	}
	pool_free(p); /* with blocks still out: they go with it */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classes),
		cmocka_unit_test(reuse),
		cmocka_unit_test(limit),
		cmocka_unit_test(empty_ones_yield),
		cmocka_unit_test(slabs_are_not_counted_whole),
		cmocka_unit_test(falls_again),
		cmocka_unit_test(random_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
