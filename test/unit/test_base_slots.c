/*
 * Numbered objects: against a reference under random takes and gives, with numbers that are not in
 * use, and the way back to little memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/slots.h"

#define SIZE 472u
#define PIECE 65536u

static uint64_t seed = 88172645463325252ull;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void against_reference(void **state)
{
	enum { N = 5000, STEPS = 100000 };
	static struct {
		uint64_t *object;
		uint32_t number;
	} x[N];
	struct pool *pool = pool_new(0);
	struct slots *s = slots_new(pool, SIZE);
	uint32_t count = 0, most = 0;

	(void)state;
	for (unsigned step = 0; step < STEPS; step++) {
		/* waves: mostly taking, then mostly giving */
		bool taking = next_random() % 8 < (step / 20000 % 2 ? 2 : 6);
		unsigned i = (unsigned)(next_random() % N);

		if (taking && !x[i].object) {
			x[i].object = slots_take(s, &x[i].number);
			memset(x[i].object, (int)i, SIZE);
			x[i].object[0] = i;
			count++;
			most = x[i].number > most ? x[i].number : most;
		} else if (!taking && x[i].object) {
			assert_int_equal(x[i].object[0], i);
			slots_give(s, x[i].number);
			assert_null(slots_at(s, x[i].number));
			x[i].object = NULL;
			count--;
		}
		assert_int_equal(slots_count(s), count);
		i = (unsigned)(next_random() % N);
		if (x[i].object) {
			assert_ptr_equal(slots_at(s, x[i].number), x[i].object);
			assert_int_equal(x[i].object[0], i);
		}
		if (step % 1000 == 0) { /* walk through all */
			uint32_t number = 0, seen = 0;
			uint64_t *object;

			for (; (object = slots_from(s, &number)); number++, seen++) {
				assert_ptr_equal(x[object[0]].object, object);
				assert_int_equal(x[object[0]].number, number);
			}
			assert_int_equal(seen, count);
		}
		assert_null(slots_at(s, (uint32_t)next_random() | 1u << 31));
	}
	for (unsigned i = 0; i < N; i++)
		if (x[i].object)
			slots_give(s, x[i].number);
	assert_int_equal(pool_bytes_used(pool), PIECE); /* one kept */
	for (uint32_t i = 0; i <= most + 300; i++)
		assert_null(slots_at(s, i));
	slots_free(s);
	assert_int_equal(pool_bytes_used(pool), 0);
	pool_free(pool);
}

static void memory_limit(void **state)
{
	struct pool *pool = pool_new(8 * PIECE);
	struct slots *s = slots_new(pool, SIZE);
	uint32_t number, last = 0, n = 0;

	(void)state;
	for (; slots_take(s, &number); n++)
		last = number;
	assert_int_equal(n, 7 * (PIECE / SIZE));
	assert_null(slots_take(s, &number));
	slots_give(s, last);
	assert_non_null(slots_take(s, &number));
	assert_int_equal(number, last);
	slots_free(s);
	pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_reference),
		cmocka_unit_test(memory_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
