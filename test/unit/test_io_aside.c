/*
 * Packets copied aside come out as they went in, in order, however full the queue is and wherever
 * its end is in the memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "io/capture/aside.h"

#define ROOM 4096u

/* A packet whose bytes tell its number. */
static struct raw_packet packet(uint8_t *bytes, unsigned number, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		bytes[i] = (uint8_t)(number * 7 + i);
	return (struct raw_packet){
		.data = bytes, .captured = len, .len = len + 9, .gso_size = 5, .time = number
	};
}

static bool put(struct aside *a, unsigned number, unsigned len)
{
	_Alignas(16) uint8_t bytes[ROOM + 2];
	struct raw_packet p = packet(bytes + 2, number, len);
	bool fits = aside_put(a, &p);

	memset(bytes, 0, sizeof(bytes)); /* it was copied */
	return fits;
}

static void taken(struct aside *a, unsigned number, unsigned len)
{
	uint8_t bytes[ROOM];
	struct raw_packet p, want = packet(bytes, number, len);

	assert_true(aside_take(a, &p));
	assert_int_equal(p.time, number);
	assert_int_equal(p.captured, len);
	assert_int_equal(p.len, len + 9);
	assert_int_equal(p.gso_size, 5);
	assert_int_equal((uintptr_t)p.data % 16, 2);
	assert_memory_equal(p.data, want.data, len);
}

static void as_they_went_in(void **state)
{
	struct aside *a = aside_new(ROOM);
	struct raw_packet p;

	(void)state;
	assert_true(aside_empty(a));
	assert_false(aside_take(a, &p));
	assert_true(put(a, 1, 60));
	assert_true(put(a, 2, 0));
	assert_true(put(a, 3, 1500));
	assert_false(aside_empty(a));
	taken(a, 1, 60);
	taken(a, 2, 0);
	taken(a, 3, 1500);
	assert_true(aside_empty(a));
	assert_false(aside_take(a, &p));
	aside_release(a);
	assert_true(put(a, 4, 3000));
	taken(a, 4, 3000);
	aside_free(a);
}

/* What does not fit is refused and nothing else changes; room comes with the release, not before.
 */
static void full(void **state)
{
	struct aside *a = aside_new(ROOM);
	unsigned n = 0;

	(void)state;
	assert_false(put(a, 9, ROOM));
	while (put(a, n, 300))
		n++;
	assert_in_range(n, 8, ROOM / 300);
	taken(a, 0, 300);
	taken(a, 1, 300);
	assert_false(put(a, n, 300));
	aside_release(a);
	assert_true(put(a, n, 300)); /* at the front */
	for (unsigned i = 2; i <= n; i++)
		taken(a, i, 300);
	assert_true(aside_empty(a));
	aside_free(a);
}

/* All lengths, all degrees of filling, many times around. */
static void around(void **state)
{
	struct aside *a = aside_new(ROOM);
	unsigned in = 0, out = 0, random = 1, refused = 0;

	(void)state;
	while (out < 20000) {
		random = random * 1103515245 + 12345;
		for (unsigned n = random >> 16 & 15; n; n--) {
			if (put(a, in, in * 37 % 700))
				in++;
			else
				refused++;
		}
		for (unsigned n = random >> 20 & 15; n && out < in; n--, out++)
			taken(a, out, out * 37 % 700);
		assert_int_equal(aside_empty(a), in == out);
		if (random >> 24 & 1)
			aside_release(a);
	}
	assert_in_range(refused, 1000, UINT32_MAX);
	aside_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_they_went_in),
		cmocka_unit_test(full),
		cmocka_unit_test(around),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
