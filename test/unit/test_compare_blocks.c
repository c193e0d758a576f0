/* Blocks of time, with literal times: which block, which bucket, what is merged, and what has no room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/util.h"
#include "compare/blocks.h"

#define SEC NS_PER_SEC

static struct blocks *b;
static struct blocks_view v;

/* Room for two classes, 10 s of warm-up, blocks of a second. */
static int fresh(void **state)
{
	(void)state;
	b = blocks_init(malloc(blocks_size(2)), 2, 10 * SEC, SEC);
	return 0;
}

static int gone(void **state)
{
	(void)state;
	free(b);
	return 0;
}

/* All of the online server's times are @online, all of the target's @target. */
static void add(uint64_t now, unsigned class, uint64_t online, uint64_t target)
{
	struct blocks_times t;

	for (unsigned m = 0; m < BLOCKS_METRIC_COUNT; m++) {
		t.ns[BLOCKS_ONLINE][m] = online;
		t.ns[BLOCKS_TARGET][m] = target;
	}
	blocks_add(b, now, class, &t);
}

static uint64_t total(enum blocks_side side, unsigned column)
{
	return v.at_most[side][SCALE_NEVER][column];
}

static void scale(void **state)
{
	(void)state;
	assert_int_equal(scale_bucket(0), 0);
	assert_int_equal(scale_bucket(63), 0);
	assert_int_equal(scale_bucket(64), 1);
	assert_int_equal(scale_bucket(4095), 63);
	assert_int_equal(scale_bucket(4096), 64);
	assert_int_equal(scale_bucket(8191), 127);
	assert_int_equal(scale_bucket(8192), 128);
	assert_int_equal(scale_bucket(8319), 128);
	assert_int_equal(scale_bucket(8320), 129);
	assert_int_equal(scale_bucket((1ull << 36) - 1), SCALE_NEVER - 1);
	assert_int_equal(scale_bucket(1ull << 36), SCALE_NEVER); /* 68.7 s */
	assert_int_equal(scale_bucket(TIME_NEVER), SCALE_NEVER);
	for (unsigned i = 0; i < SCALE_NEVER; i++) {
		const uint64_t low = (uint64_t)scale_lower(i), width = (uint64_t)scale_width(i);

		assert_int_equal(scale_bucket(low), i);
		assert_int_equal(scale_bucket(low + width - 1), i);
		assert_true(i < 64 ? width == 64 : width * 64 <= low);
	}
	assert_true(scale_lower(SCALE_NEVER) == 68719476736.0);
	assert_true(scale_width(SCALE_NEVER) == 0);
}

static void warm_up(void **state)
{
	(void)state;
	add(3 * SEC, 0, 100, 100);
	add(10 * SEC - 1, 0, 100, 100);
	add(10 * SEC, 0, 100, 100);
	assert_int_equal(blocks_warming(b), 2);
	assert_int_equal(blocks_class_exchanges(b, BLOCKS_TOTAL), 1);
	blocks_end(b, 11 * SEC);
	blocks_view(b, BLOCKS_TOTAL, BLOCKS_LAST, &v);
	assert_int_equal(v.blocks, 1);
	assert_int_equal(v.exchanges, 1);
}

static void sides_and_metrics(void **state)
{
	struct blocks_times t;

	(void)state;
	for (unsigned m = 0; m < BLOCKS_METRIC_COUNT; m++) {
		t.ns[BLOCKS_ONLINE][m] = 64 * (10 + m);
		t.ns[BLOCKS_TARGET][m] = 64 * (20 + m);
	}
	t.ns[BLOCKS_TARGET][BLOCKS_FELT] = TIME_NEVER;
	blocks_keep(b, 1, "GET /kept");
	blocks_class(b, 10 * SEC, 2, "GET /other");
	blocks_add(b, 10 * SEC, 2, &t);
	blocks_add(b, 10 * SEC, 1, &t);
	blocks_advance(b, 11 * SEC - 1);
	assert_int_equal(blocks_count(b), 0); /* still open */
	blocks_advance(b, 11 * SEC);
	assert_int_equal(blocks_count(b), 1);
	for (unsigned class = 0; class < 2; class ++) {
		for (unsigned m = 0; m < BLOCKS_METRIC_COUNT; m++) {
			const unsigned bucket = m == BLOCKS_FELT ? SCALE_NEVER : 20 + m;

			blocks_view(b, class, m, &v);
			assert_int_equal(v.blocks, 1);
			assert_int_equal(v.at_most[BLOCKS_ONLINE][9 + m][0], 0);
			assert_int_equal(v.at_most[BLOCKS_ONLINE][10 + m][0], class ? 1 : 2);
			assert_int_equal(v.at_most[BLOCKS_TARGET][bucket - 1][0], 0);
			assert_int_equal(v.at_most[BLOCKS_TARGET][bucket][0], class ? 1 : 2);
			assert_int_equal(total(BLOCKS_TARGET, 0), class ? 1 : 2);
		}
	}
	/* a class that no rule names has two of them */
	for (unsigned m = 0; m < BLOCKS_METRIC_COUNT; m++) {
		blocks_view(b, 2, m, &v);
		assert_int_equal(v.blocks, m <= BLOCKS_LAST);
	}
}

/* Block k has k + 1 exchanges of bucket k. */
static void merged_when_full(void **state)
{
	(void)state;
	blocks_keep(b, 1, "GET /");
	for (unsigned k = 0; k < 64; k++) {
		for (unsigned i = 0; i <= k; i++)
			add((10 + k) * SEC, 1, 64 * k, 64 * k);
	}
	assert_int_equal(blocks_count(b), 63);
	assert_int_equal(blocks_length(b), SEC);
	blocks_advance(b, 74 * SEC);
	assert_int_equal(blocks_count(b), 32);
	assert_int_equal(blocks_length(b), 2 * SEC);
	blocks_view(b, 1, BLOCKS_SERVICE, &v);
	assert_int_equal(v.blocks, 32);
	assert_int_equal(v.length, 2 * SEC);
	assert_int_equal(v.span, 64 * SEC);
	assert_int_equal(v.exchanges, 64 * 65 / 2);
	for (unsigned k = 0; k < 32; k++) {
		assert_int_equal(v.at_most[BLOCKS_TARGET][2 * k][k], 2 * k + 1);
		assert_int_equal(v.at_most[BLOCKS_TARGET][2 * k + 1][k], 4 * k + 3);
		assert_int_equal(total(BLOCKS_ONLINE, k), 4 * k + 3);
	}
	blocks_advance(b, 76 * SEC - 1);
	assert_int_equal(blocks_count(b), 32); /* the next is as long as they are */
	blocks_advance(b, 76 * SEC);
	assert_int_equal(blocks_count(b), 33);
}

/* A month of silence between two exchanges costs neither. */
static void silence(void **state)
{
	const uint64_t month = 30ull * 24 * 3600 * SEC;

	(void)state;
	add(10 * SEC, 0, 100, 100);
	add(10 * SEC + month, 0, 100, 100);
	blocks_end(b, 10 * SEC + month + 1);
	blocks_view(b, BLOCKS_TOTAL, BLOCKS_LAST, &v);
	assert_int_equal(v.exchanges, 2);
	assert_true(v.blocks <= 2);
	assert_int_equal(v.span, blocks_count(b) * blocks_length(b));
	assert_true(blocks_count(b) >= 32 && blocks_count(b) < 64);
}

static void the_end(void **state)
{
	(void)state;
	add(10 * SEC, 0, 64, 64);
	add(11 * SEC, 0, 128, 128);
	blocks_end(b, 11 * SEC + SEC / 2 - 1); /* less than half a block: it joins the last */
	assert_int_equal(blocks_count(b), 1);
	blocks_view(b, BLOCKS_TOTAL, BLOCKS_LAST, &v);
	assert_int_equal(total(BLOCKS_TARGET, 0), 2);
	blocks_end(b, 11 * SEC + SEC / 2 - 1);
	assert_int_equal(blocks_count(b), 1); /* nothing new */
	add(11 * SEC + SEC / 2, 0, 128, 128);
	blocks_end(b, 11 * SEC + SEC / 2);
	assert_int_equal(blocks_count(b), 2);
}

static void only_one_short_block(void **state)
{
	(void)state;
	add(10 * SEC, 0, 64, 64);
	blocks_end(b, 10 * SEC + 1);
	assert_int_equal(blocks_count(b), 1);
}

static void pairs_of_a_view(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 5; k++) {
		for (unsigned i = 0; i < 1u << k; i++)
			add((10 + k) * SEC, 0, 64, 64);
	}
	blocks_end(b, 15 * SEC);
	blocks_view(b, BLOCKS_TOTAL, BLOCKS_FIRST, &v);
	assert_int_equal(v.blocks, 5);
	blocks_view_pair(&v);
	assert_int_equal(v.blocks, 2);
	assert_int_equal(v.length, 2 * SEC);
	assert_int_equal(total(BLOCKS_ONLINE, 0), 3);
	assert_int_equal(total(BLOCKS_ONLINE, 1), 28); /* 4 + 8, and the odd 16 */
	blocks_view_pair(&v);
	blocks_view_pair(&v);
	assert_int_equal(v.blocks, 1);
	assert_int_equal(total(BLOCKS_TARGET, 0), 31);
}

/* An entry counts up to 2^21; merged, closed and read it is still all of them. */
static void many_in_one_bucket(void **state)
{
	const uint64_t many = 5000000;

	(void)state;
	for (uint64_t i = 0; i < many; i++)
		add(10 * SEC, 0, 64, 128);
	add(11 * SEC, 0, 64, 128);
	blocks_end(b, 11 * SEC + 1);
	blocks_view(b, BLOCKS_TOTAL, BLOCKS_FELT, &v);
	assert_int_equal(v.blocks, 1);
	assert_int_equal(v.at_most[BLOCKS_TARGET][2][0], many + 1);
	assert_int_equal(v.at_most[BLOCKS_TARGET][1][0], 0);
}

/* One time for every bucket: the total fits, a class of the same does not, and the other is untouched. */
static void no_room(void **state)
{
	(void)state;
	blocks_keep(b, 1, "GET /1");
	blocks_keep(b, 2, "GET /2");
	for (unsigned i = 0; i < SCALE_BUCKETS; i++)
		add(11 * SEC, 1, (uint64_t)scale_lower(i), (uint64_t)scale_lower(i));
	add(11 * SEC, 2, 64, 64);
	blocks_end(b, 12 * SEC);
	assert_false(blocks_class_cut(b, BLOCKS_TOTAL));
	assert_true(blocks_class_cut(b, 1));
	assert_false(blocks_class_cut(b, 2));
	blocks_view(b, BLOCKS_TOTAL, BLOCKS_FELT, &v);
	assert_int_equal(v.exchanges, SCALE_BUCKETS + 1);
	for (unsigned m = 0; m < BLOCKS_METRIC_COUNT; m++) { /* nor has it those that would have fitted */
		blocks_view(b, 1, m, &v);
		assert_int_equal(v.blocks, 0);
	}
	blocks_view(b, 2, BLOCKS_FELT, &v);
	assert_int_equal(v.exchanges, 1);
	add(12 * SEC, 1, 64, 64); /* for good */
	blocks_end(b, 13 * SEC);
	blocks_view(b, 1, BLOCKS_FELT, &v);
	assert_int_equal(v.exchanges, 0);
}

static void classes(void **state)
{
	(void)state;
	assert_int_equal(blocks_keep(b, 70, "GET /kept"), 1);
	assert_int_equal(blocks_class(b, SEC, 71, "GET /often"), 2);
	assert_int_equal(blocks_class(b, SEC, 71, "GET /often"), 2);
	/* full, and warming: the quietest that is not kept gives way */
	assert_int_equal(blocks_class(b, SEC, 72, "GET /newer"), 2);
	assert_string_equal(blocks_class_name(b, 2), "GET /newer");
	assert_int_equal(blocks_class_exchanges(b, 2), 3);
	assert_int_equal(blocks_class(b, SEC, 70, "GET /kept"), 1);
	/* then no more */
	assert_int_equal(blocks_class(b, 10 * SEC, 71, "GET /often"), 0);
	assert_int_equal(blocks_elsewhere(b), 1);
	assert_int_equal(blocks_class(b, 10 * SEC, 72, "GET /newer"), 2);
	assert_int_equal(blocks_keep(b, 72, "GET /newer"), 2);
	assert_int_equal(blocks_keep(b, 73, "GET /late"), 0);
	assert_int_equal(blocks_classes(b), 2);
	assert_string_equal(blocks_class_name(b, BLOCKS_TOTAL), "");
	assert_int_equal(blocks_class_exchanges(b, 1), 1);
}

/* Hashes that meet in the index, and a name that is too long. */
static void class_index(void **state)
{
	struct blocks *many = blocks_init(malloc(blocks_size(64)), 64, 10 * SEC, SEC);

	(void)state;
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(blocks_class(many, 11 * SEC, 256 * i + 255,
					      "0123456789012345678901234567890123456789"
					      "012345678901234567890123456789"),
				 i + 1);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(blocks_class(many, 11 * SEC, 256 * i + 255, ""), i + 1);
	assert_int_equal(blocks_class(many, 11 * SEC, 64 * 256 + 255, ""), 0);
	assert_string_equal(blocks_class_name(many, 64),
			    "012345678901234567890123456789012345678901234567890123456789012");
	free(many);
}

/* The busiest of a thousand are among 64, though they came last. */
static void busiest(void **state)
{
	struct blocks *many = blocks_init(malloc(blocks_size(64)), 64, 10 * SEC, SEC);
	unsigned found = 0;

	(void)state;
	for (unsigned round = 0; round < 100; round++) {
		for (unsigned i = 0; i < 900; i += round % 9 + 1)
			blocks_class(many, SEC, 1000 + i, "seldom");
		for (unsigned i = 0; i < 20; i++) {
			for (unsigned k = 0; k < 100; k++)
				blocks_class(many, SEC, i, "often");
		}
	}
	for (unsigned i = 0; i < 20; i++)
		found += blocks_class(many, 10 * SEC, i, "often") != 0;
	assert_int_equal(found, 20);
	free(many);
}

/* The memory does not grow, so it has to be known. */
static void memory(void **state)
{
	(void)state;
	assert_int_equal(blocks_size(0) / 1024, 3260);
	assert_int_equal(blocks_size(64) / 1024, 19776);
	assert_int_equal(sizeof(struct blocks_view), 32 + 2 * 1601 * 64 * 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scale),
		cmocka_unit_test_setup_teardown(warm_up, fresh, gone),
		cmocka_unit_test_setup_teardown(sides_and_metrics, fresh, gone),
		cmocka_unit_test_setup_teardown(merged_when_full, fresh, gone),
		cmocka_unit_test_setup_teardown(silence, fresh, gone),
		cmocka_unit_test_setup_teardown(the_end, fresh, gone),
		cmocka_unit_test_setup_teardown(only_one_short_block, fresh, gone),
		cmocka_unit_test_setup_teardown(pairs_of_a_view, fresh, gone),
		cmocka_unit_test_setup_teardown(many_in_one_bucket, fresh, gone),
		cmocka_unit_test_setup_teardown(no_room, fresh, gone),
		cmocka_unit_test_setup_teardown(classes, fresh, gone),
		cmocka_unit_test(class_index),
		cmocka_unit_test(busiest),
		cmocka_unit_test(memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
