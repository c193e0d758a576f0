/* The table of watches: finding, replacing, growing and shrinking; and telling copies of a segment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/if_packet.h>

#include <cmocka.h>

#include "intercept/clients/clients.h"
#include "intercept/watch/route.h"

static const struct siphash_key key = { 1, 2 };

static struct tuple tuple(unsigned n)
{
	const uint8_t client[4] = { 10, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8) };

	return (struct tuple){ { addr_from_v4("\x0a\x5a\x6d\x8f"), 6379 },
			       { addr_from_v4(client), (uint16_t)(1024 + n % 256) } };
}

static void watches_are_found_by_tuple_and_by_id(void **state)
{
	struct route *r = route_new(&key);
	struct client a, b;
	struct tuple t1 = tuple(1), t2 = tuple(2), t3 = tuple(3);
	struct watch *w1 = route_add(r, &a, 7, &t1), *w2 = route_add(r, &b, 7, &t2);

	(void)state;
	assert_ptr_equal(route_find(r, &t1), w1);
	assert_ptr_equal(route_find(r, &t2), w2);
	assert_null(route_find(r, &t3));
	assert_ptr_equal(route_find_id(r, &a, 7), w1); /* ids are those of a connection */
	assert_ptr_equal(route_find_id(r, &b, 7), w2);
	assert_null(route_find_id(r, &a, 8));
	route_remove(r, w1);
	assert_null(route_find(r, &t1));
	assert_null(route_find_id(r, &a, 7));
	assert_ptr_equal(route_find(r, &t2), w2);
	route_remove(r, w2);
	assert_int_equal(route_count(r), 0);
	route_free(r);
}

static void the_table_grows_and_shrinks(void **state)
{
	const unsigned n = 20000;
	struct route *r = route_new(&key);
	struct client p;

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		struct tuple t = tuple(i);

		assert_non_null(route_add(r, &p, i, &t));
	}
	assert_int_equal(route_count(r), n);
	for (unsigned i = 0; i < n; i++) {
		struct tuple t = tuple(i);
		struct watch *w = route_find(r, &t);

		assert_non_null(w);
		assert_int_equal(w->id, i);
		assert_ptr_equal(route_find_id(r, &p, i), w);
		if (i % 100)
			route_remove(r, w);
	}
	assert_int_equal(route_count(r), n / 100);
	for (unsigned i = 0; i < n; i += 100) {
		struct tuple t = tuple(i);

		assert_non_null(route_find(r, &t));
		route_remove(r, route_find_id(r, &p, i));
	}
	assert_int_equal(route_count(r), 0);
	route_free(r);
}

static void copies_from_another_side_are_told(void **state)
{
	struct route *r = route_new(&key);
	struct client p;
	struct tuple t = tuple(1);
	struct watch *w = route_add(r, &p, 1, &t);
	struct segment dup = { .seq = 1, .ack = 2, .flags = TCPF_ACK, .window = 3 }, other = dup;

	(void)state;
	other.ack = 4;
	/* While there is one side only, nothing is a copy. */
	assert_false(route_is_copy(r, w, &dup, 2, PACKET_HOST));
	assert_false(route_is_copy(r, w, &dup, 2, PACKET_HOST));
	assert_false(route_is_copy(r, w, &other, 2, PACKET_OUTGOING));
	/* Three duplicate ACKs come in, then go out: three, not six. */
	for (unsigned i = 0; i < 3; i++)
		assert_false(route_is_copy(r, w, &dup, 2, PACKET_HOST));
	for (unsigned i = 0; i < 3; i++)
		assert_true(route_is_copy(r, w, &dup, 2, PACKET_OUTGOING));
	assert_false(route_is_copy(r, w, &dup, 2, PACKET_OUTGOING));
	/* On another interface. */
	assert_true(route_is_copy(r, w, &dup, 3, PACKET_HOST));
	route_remove(r, w);
	route_free(r);
}

static void what_differs_is_no_copy(void **state)
{
	struct route *r = route_new(&key);
	struct client p;
	struct tuple t = tuple(1);
	struct watch *w = route_add(r, &p, 1, &t);
	const struct segment s = { .seq = 1, .ack = 2, .flags = TCPF_ACK, .window = 3, .ip_id = 5 };
	struct segment v[7] = { s, s, s, s, s, s, s };

	(void)state;
	v[0].seq++;
	v[1].ack++;
	v[2].window++;
	v[3].ip_id++;
	v[4].opt.tsval++;
	v[5].flags |= TCPF_PSH;
	v[6].len++;
	route_is_copy(r, w, &v[0], 1, PACKET_HOST);
	route_is_copy(r, w, &v[0], 2, PACKET_HOST);
	assert_false(route_is_copy(r, w, &s, 1, PACKET_HOST));
	for (unsigned i = 0; i < 7; i++)
		assert_false(route_is_copy(r, w, &v[i], 2, PACKET_HOST));
	assert_true(route_is_copy(r, w, &s, 2, PACKET_HOST));
	route_remove(r, w);
	route_free(r);
}

/*
 * The next session on a port, or another tcpcopy's, may be answered before its WATCH is here: that answer is
 * not this session's.
 */
static void a_syn_ack_of_another_syn_is_another_sessions(void **state)
{
	const struct watch w = { .number = 1000, .has_number = true }, unknown = { .id = 1 };

	(void)state;
	assert_false(route_is_of_another(&w, TCPF_ACK, 7001));
	assert_false(route_is_of_another(&w, TCPF_SYN | TCPF_ACK, 1001));
	assert_true(route_is_of_another(&w, TCPF_SYN | TCPF_ACK, 1002));
	assert_true(route_is_of_another(&w, TCPF_SYN | TCPF_ACK, 1000));
	assert_true(route_is_of_another(&unknown, TCPF_SYN | TCPF_ACK, 1));
	assert_false(route_is_of_another(&unknown, TCPF_ACK, 1));
}

/* A SYN-ACK has to be exact; an older connection may have gone on before it is announced again. */
static void what_was_sent_is_proved_by_its_acknowledgment(void **state)
{
	const struct watch w = { .number = UINT32_MAX - 1, .has_number = true, .was_proved = true },
			   fresh = { .number = UINT32_MAX - 1, .has_number = true }, unknown = { .id = 1 };

	(void)state;
	assert_true(route_proves(&fresh, TCPF_SYN | TCPF_ACK, UINT32_MAX));
	assert_true(route_proves(&fresh, TCPF_RST | TCPF_ACK, UINT32_MAX));
	assert_false(route_proves(&fresh, TCPF_ACK, UINT32_MAX)); /* others may have heard it */
	assert_false(route_proves(&w, TCPF_RST | TCPF_ACK, 0));
	assert_true(route_proves(&w, TCPF_SYN | TCPF_ACK, UINT32_MAX));
	assert_false(route_proves(&w, TCPF_SYN | TCPF_ACK, 0));
	assert_false(route_proves(&w, TCPF_SYN | TCPF_ACK, UINT32_MAX - 1));
	assert_true(route_proves(&w, TCPF_ACK, UINT32_MAX));
	assert_true(route_proves(&w, TCPF_ACK | TCPF_PSH, ROUTE_NEAR - 2));
	assert_false(route_proves(&w, TCPF_ACK, ROUTE_NEAR - 1));
	assert_false(route_proves(&w, TCPF_ACK, UINT32_MAX - 1));
	assert_false(route_proves(&w, TCPF_PSH, UINT32_MAX));
	assert_false(route_proves(&unknown, TCPF_SYN | TCPF_ACK, 1));
}

/* Watches of one tuple: the oldest leads to the others, whichever of them goes. */
static void a_tuple_has_several_watches(void **state)
{
	static const unsigned order[][3] = { { 0, 1, 2 }, { 1, 0, 2 }, { 2, 1, 0 }, { 1, 2, 0 } };
	struct route *r = route_new(&key);
	struct tuple t = tuple(1), other = tuple(2);
	struct client p;

	(void)state;
	route_remove(r, route_add(r, &p, 9, &other));
	for (unsigned i = 0; i < 4; i++) {
		struct watch *w[3];
		bool gone[3] = { false };

		for (unsigned j = 0; j < 3; j++)
			w[j] = route_add(r, &p, j, &t);
		assert_int_equal(route_count(r), 3);
		for (unsigned j = 0; j < 3; j++) {
			const struct watch *left = route_find(r, &t);

			for (unsigned k = 0; k < 3; k++) {
				assert_true(gone[k] || left == w[k]);
				left = gone[k] ? left : left->same;
			}
			assert_null(left);
			route_remove(r, w[order[i][j]]);
			gone[order[i][j]] = true;
			assert_null(route_find_id(r, &p, order[i][j]));
		}
		assert_null(route_find(r, &t));
	}
	assert_int_equal(route_count(r), 0);
	route_free(r);
}

/* Who asks most often for a tuple makes room for the next one. */
static void a_crowd_makes_room(void **state)
{
	struct client few = { .from = addr_from_v4("\x0a\0\0\1") },
		      many = { .from = addr_from_v4("\x0a\0\0\2") };
	struct watch w[4] = {
		{ .client = &few }, { .client = &many }, { .client = &few }, { .client = &many }
	};

	(void)state;
	assert_null(route_crowded(NULL));
	for (unsigned i = 0; i < 3; i++) {
		assert_null(route_crowded(&w[0]));
		w[i].same = &w[i + 1];
	}
	assert_ptr_equal(route_crowded(&w[0]), &w[0]); /* of equals the oldest */
	w[2].client = &many;
	assert_ptr_equal(route_crowded(&w[0]), &w[1]);
}

/* Each takes all that it gets; the next one still finds as much as that. */
static void nobody_takes_what_is_left_for_others(void **state)
{
	unsigned total = 0, own;

	(void)state;
	for (unsigned left = ROUTE_MAX_WATCHES; left > 1; left -= own) {
		for (own = 0; route_has_share(own, total); own++)
			total++;
		assert_int_equal(own, (left + 1) / 2);
	}
	assert_true(route_has_share(0, ROUTE_MAX_WATCHES - 1));
	assert_false(route_has_share(0, ROUTE_MAX_WATCHES));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(watches_are_found_by_tuple_and_by_id),
		cmocka_unit_test(the_table_grows_and_shrinks),
		cmocka_unit_test(copies_from_another_side_are_told),
		cmocka_unit_test(what_differs_is_no_copy),
		cmocka_unit_test(a_syn_ack_of_another_syn_is_another_sessions),
		cmocka_unit_test(what_was_sent_is_proved_by_its_acknowledgment),
		cmocka_unit_test(a_tuple_has_several_watches),
		cmocka_unit_test(a_crowd_makes_room),
		cmocka_unit_test(nobody_takes_what_is_left_for_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
