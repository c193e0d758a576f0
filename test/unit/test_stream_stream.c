/*
 * The ordered bytes of one side. Segments are written "SEQ:BYTES" with "F" for a FIN behind them; what has
 * come in order is compared as text, so the byte that counts is seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "stream/stream.h"

static struct stream stream;
static uint64_t trimmed;
static unsigned alive;

static struct piece *piece_new(uint32_t seq, const char *bytes, size_t len, bool fin)
{
	struct piece *p = calloc(1, sizeof(*p));

	p->chunk = malloc(sizeof(struct chunk) + len);
	memcpy(p->chunk->data, bytes, len);
	p->seq = seq;
	p->len = (uint32_t)len;
	p->fin = fin;
	alive++;
	return p;
}

static void piece_drop(struct piece *p)
{
	free(p->chunk);
	free(p);
	alive--;
}

/* How many bytes were given back or cut away. */
static uint64_t put_len(uint32_t seq, const char *bytes, size_t len, bool fin, enum stream_result expected)
{
	struct piece *back = NULL;
	uint64_t gone = trimmed;

	assert_int_equal(stream_put(&stream, piece_new(seq, bytes, len, fin), &back, &trimmed), expected);
	gone = trimmed - gone;
	while (back) {
		struct piece *p = back;

		back = p->next;
		gone += p->len;
		piece_drop(p);
	}
	return gone;
}

static uint64_t put(uint32_t seq, const char *bytes, enum stream_result expected)
{
	size_t len = strlen(bytes);
	bool fin = len && bytes[len - 1] == 'F';

	return put_len(seq, bytes, len - fin, fin, expected);
}

static void begin(uint32_t nxt)
{
	stream_init(&stream, nxt, 42);
	trimmed = 0;
}

/* All that is in order, and whether it ends. */
static void assert_read(const char *expected)
{
	char text[4096];
	size_t n = 0;

	for (const struct piece *p = stream.head; p; p = p->next) {
		memcpy(text + n, piece_bytes(p), p->len);
		n += p->len;
		if (p->fin)
			text[n++] = 'F';
	}
	text[n] = '\0';
	assert_string_equal(text, expected);
}

static void end(void)
{
	struct piece *p = stream_cut_behind(&stream);

	while (p) {
		struct piece *next = p->next;

		piece_drop(p);
		p = next;
	}
	while (stream.head)
		piece_drop(stream_take(&stream));
	assert_int_equal(alive, 0);
	assert_null(stream_first_run(&stream));
}

static void in_order(void **state)
{
	(void)state;
	begin(1);
	put(1, "abc", STREAM_NEW);
	put(4, "def", STREAM_NEW);
	assert_int_equal(stream.nxt, 7);
	assert_int_equal(put(1, "abc", STREAM_OLD), 3);
	assert_int_equal(put(5, "XYghi", STREAM_NEW), 2);
	assert_read("abcdefghi");
	end();
}

static void a_hole_is_filled(void **state)
{
	(void)state;
	begin(1);
	put(4, "def", STREAM_BEHIND);
	put(10, "jkl", STREAM_BEHIND);
	put(7, "ghi", STREAM_BEHIND);
	assert_read("");
	put(1, "abc", STREAM_NEW);
	assert_read("abcdefghijkl");
	assert_null(stream.last);
	end();
}

static void what_fills_a_hole_wins_over_what_waited(void **state)
{
	(void)state;
	begin(1);
	put(3, "BBBB", STREAM_BEHIND);
	assert_int_equal(put(1, "CCCC", STREAM_NEW), 2);
	assert_read("CCCCBB");
	end();
}

static void a_larger_segment_replaces_what_it_covers(void **state)
{
	(void)state;
	begin(1);
	put(3, "BB", STREAM_BEHIND);
	put(6, "BB", STREAM_BEHIND);
	assert_int_equal(put(2, "CCCCCCC", STREAM_BEHIND), 4);
	assert_int_equal(stream.n_behind, 1);
	put(1, "A", STREAM_NEW);
	assert_read("ACCCCCCC");
	end();
}

static void a_segment_inside_another_is_dropped(void **state)
{
	(void)state;
	begin(1);
	put(3, "BBBBB", STREAM_BEHIND);
	assert_int_equal(put(4, "CC", STREAM_OLD), 2);
	assert_int_equal(put(3, "CCCCC", STREAM_OLD), 5);
	put(1, "AA", STREAM_NEW);
	assert_read("AABBBBB");
	end();
}

static void the_longer_of_two_that_begin_together_counts(void **state)
{
	(void)state;
	begin(1);
	put(3, "BBB", STREAM_BEHIND);
	assert_int_equal(put(3, "CCCC", STREAM_BEHIND), 3);
	put(1, "AA", STREAM_NEW);
	assert_read("AACCCC");
	end();
}

static void of_a_partial_overlap_the_first_by_place_counts(void **state)
{
	(void)state;
	begin(1);
	put(5, "BBBB", STREAM_BEHIND);
	put(3, "CCCC", STREAM_BEHIND);
	put(7, "DDDD", STREAM_BEHIND);
	assert_int_equal(put(1, "AA", STREAM_NEW), 4);
	assert_read("AACCCCBBDD");
	end();
}

static void what_begins_where_a_run_ends_is_part_of_it(void **state)
{
	(void)state;
	begin(1);
	put(5, "BB", STREAM_BEHIND);
	put(7, "CC", STREAM_BEHIND);
	/* it would cover one of the two, but not both */
	put(6, "DDDD", STREAM_BEHIND);
	assert_int_equal(put(5, "EEEE", STREAM_OLD), 4);
	put(1, "AAAA", STREAM_NEW);
	assert_read("AAAABBCCD");
	end();
}

static void the_end_is_in_order_only(void **state)
{
	(void)state;
	begin(1);
	put(4, "dF", STREAM_BEHIND);
	put(9, "beyond", STREAM_BEHIND);
	assert_false(stream.fin);
	assert_int_equal(put(1, "abc", STREAM_NEW), 6);
	assert_true(stream.fin);
	assert_int_equal(stream.nxt, 6);
	assert_read("abcdF");
	put(6, "more", STREAM_OLD);
	end();
}

static void a_fin_alone(void **state)
{
	(void)state;
	begin(1);
	put(1, "ab", STREAM_NEW);
	put(1, "abF", STREAM_NEW); /* sent again with its FIN */
	assert_read("abF");
	put(3, "F", STREAM_OLD);
	end();
}

static void sequence_numbers_wrap(void **state)
{
	(void)state;
	begin(0xfffffffe);
	put(1, "def", STREAM_BEHIND);
	put(4, "gh", STREAM_BEHIND);
	put(0xfffffffe, "abc", STREAM_NEW);
	assert_read("abcdefgh");
	end();
}

static void behind_the_hole_can_be_cut_off(void **state)
{
	(void)state;
	begin(1);
	put(1, "a", STREAM_NEW);
	put(5, "e", STREAM_BEHIND);
	put(3, "c", STREAM_BEHIND);
	assert_int_equal(stream_first_run(&stream)->seq, 3);
	assert_int_equal(stream_next_run(&stream, stream_first_run(&stream))->seq, 5);
	end();
}

/* Many one-byte segments in random order, each place twice: all come, and the first copy of each counts. */
static void many_in_any_order(void **state)
{
	static uint32_t order[40000];
	uint32_t r = 1, at = 1;
	const unsigned n = ARRAY_SIZE(order) / 2;

	(void)state;
	begin(1);
	for (unsigned i = 0; i < n; i++) {
		order[i] = order[n + i] = i + 2;
	}
	for (unsigned i = n - 1; i > 0; i--) {
		uint32_t j, swap = order[i];

		r = r * 1664525 + 1013904223;
		j = (r >> 8) % (i + 1);
		order[i] = order[j];
		order[j] = swap;
	}
	for (unsigned i = 0; i < 2 * n; i++)
		put(order[i], i < n ? "x" : "y", i < n ? STREAM_BEHIND : STREAM_OLD);
	assert_int_equal(stream.n_behind, n);
	put(1, "x", STREAM_NEW);
	for (const struct piece *p = stream.head; p; p = p->next, at++) {
		assert_int_equal(p->seq, at);
		assert_int_equal(*piece_bytes(p), 'x');
	}
	assert_int_equal(at, n + 2);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order),
		cmocka_unit_test(a_hole_is_filled),
		cmocka_unit_test(what_fills_a_hole_wins_over_what_waited),
		cmocka_unit_test(a_larger_segment_replaces_what_it_covers),
		cmocka_unit_test(a_segment_inside_another_is_dropped),
		cmocka_unit_test(the_longer_of_two_that_begin_together_counts),
		cmocka_unit_test(of_a_partial_overlap_the_first_by_place_counts),
		cmocka_unit_test(what_begins_where_a_run_ends_is_part_of_it),
		cmocka_unit_test(the_end_is_in_order_only),
		cmocka_unit_test(a_fin_alone),
		cmocka_unit_test(sequence_numbers_wrap),
		cmocka_unit_test(behind_the_hole_can_be_cut_off),
		cmocka_unit_test(many_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
