/*
 * The queue from a worker to the thread that writes: order, bytes, what happens when it is full, and two
 * threads at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "tcpcopy/record/queue.h"

#define BYTES 4096u

static bool put(struct record_queue *q, uint32_t n, uint32_t captured)
{
	struct queued *x = record_queue_room(q, captured);

	if (!x)
		return false;
	x->captured = captured;
	x->time = n;
	memset(x->data, (int)(n & 255), captured);
	record_queue_put(q);
	return true;
}

static void check(const struct queued *x, uint32_t n, uint32_t captured)
{
	assert_int_equal(x->time, n);
	assert_int_equal(x->captured, captured);
	for (uint32_t i = 0; i < captured; i++)
		if (x->data[i] != (n & 255))
			fail_msg("packet %u, byte %u", n, i);
}

static void in_order(void **state)
{
	struct record_queue *q = record_queue_new(BYTES);
	uint32_t in = 0, out = 0;

	(void)state;
	assert_null(record_queue_next(q));
	/* sizes that end everywhere in the ring */
	for (unsigned round = 0; round < 2000; round++) {
		while (put(q, in, in * 7 % 900))
			in++;
		for (unsigned i = 0; i < 1 + round % 5; i++) {
			const struct queued *x = record_queue_next(q);

			if (!x)
				break;
			assert_ptr_equal(record_queue_next(q), x);
			check(x, out, out * 7 % 900);
			record_queue_take(q);
			out++;
		}
	}
	for (; out < in; out++) {
		check(record_queue_next(q), out, out * 7 % 900);
		record_queue_take(q);
	}
	assert_null(record_queue_next(q));
	record_queue_free(q);
}

static void full(void **state)
{
	struct record_queue *q = record_queue_new(BYTES);
	uint32_t n = 0;

	(void)state;
	assert_false(record_queue_is_pressed(q));
	while (put(q, n, 200))
		n++;
	assert_true(n >= 14 && record_queue_is_pressed(q));
	assert_false(put(q, n, 200));        /* still */
	check(record_queue_next(q), 0, 200); /* and nothing was lost by that */
	record_queue_take(q);
	while (record_queue_next(q))
		record_queue_take(q);
	assert_false(record_queue_is_pressed(q));
	assert_true(put(q, n, 200));
	record_queue_free(q);
}

/* What is never put is no packet. */
static void given_up(void **state)
{
	struct record_queue *q = record_queue_new(BYTES);

	(void)state;
	assert_non_null(record_queue_room(q, 1000));
	assert_null(record_queue_next(q));
	assert_true(put(q, 5, 10));
	check(record_queue_next(q), 5, 10);
	record_queue_free(q);
}

/* The reader is to be woken when a quarter waits, and not before. */
static void woken(void **state)
{
	struct record_queue *q = record_queue_new(BYTES);
	unsigned n = 0;

	(void)state;
	do
		assert_non_null(record_queue_room(q, 60));
	while (n++ < 100 && !record_queue_put(q));
	assert_true(n >= 9 && n <= 11);
	record_queue_free(q);
}

#define MANY 300000u
static void *writer(void *arg)
{
	for (uint32_t n = 0; n < MANY;)
		if (put(arg, n, n % 300))
			n++;
		else
			sched_yield();
	return NULL;
}

static void two_threads(void **state)
{
	struct record_queue *q = record_queue_new(65536);
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, writer, q), 0);
	for (uint32_t n = 0; n < MANY;) {
		const struct queued *x = record_queue_next(q);

		if (!x) {
			sched_yield();
			continue;
		}
		check(x, n, n % 300);
		record_queue_take(q);
		n++;
	}
	pthread_join(thread, NULL);
	record_queue_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order), cmocka_unit_test(full),        cmocka_unit_test(given_up),
		cmocka_unit_test(woken),    cmocka_unit_test(two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
