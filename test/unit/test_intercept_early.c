/* Responses that wait for their WATCH, lost watches, and the set of targets with its filters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "intercept/watch/early.h"
#include "intercept/watch/orphans.h"
#include "intercept/hole/targets.h"
#include "io/capture/source.h"

static const struct siphash_key key = { 1, 2 };
static unsigned given_up;
static uint32_t got[64];
static unsigned n_got;

static void on_given_up(const struct tuple *t, const struct response *r, void *arg)
{
	(void)t;
	(void)r;
	(void)arg;
	given_up++;
}

static void on_record(const struct response *r, void *arg)
{
	(void)arg;
	got[n_got++ % 64] = r->seq;
}

static int setup(void **state)
{
	given_up = n_got = 0;
	*state = early_new(&key, on_given_up, NULL);
	return 0;
}

static int teardown(void **state)
{
	early_free(*state);
	return 0;
}

static struct segment segment(uint16_t port, uint32_t seq)
{
	struct segment s = { .seq = seq, .flags = TCPF_ACK };

	s.tuple.src = (struct endpoint){ addr_from_v4("\x0a\x5a\x6d\x8f"), 6379 };
	s.tuple.dst = (struct endpoint){ addr_from_v4("\x0a\x5a\x72\x52"), port };
	return s;
}

static void hold(struct early *e, uint16_t port, uint32_t seq, uint64_t now)
{
	struct segment s = segment(port, seq);

	early_hold(e, &s, now);
}

static unsigned take(struct early *e, uint16_t port, uint64_t now)
{
	struct segment s = segment(port, 0);

	n_got = 0;
	return early_take(e, &s.tuple, now, on_record, NULL);
}

static void held_ones_come_in_order_and_once(void **state)
{
	struct early *e = *state;

	hold(e, 1, 10, 0);
	hold(e, 2, 20, 1);
	hold(e, 1, 11, 2);
	hold(e, 1, 12, 3);
	assert_int_equal(take(e, 1, 4), 3);
	assert_int_equal(got[0], 10);
	assert_int_equal(got[1], 11);
	assert_int_equal(got[2], 12);
	assert_int_equal(take(e, 1, 4), 0);
	assert_int_equal(take(e, 3, 4), 0);
	assert_int_equal(take(e, 2, 4), 1);
	hold(e, 1, 13, 5);
	assert_int_equal(take(e, 1, 6), 1);
	assert_int_equal(got[0], 13);
	assert_int_equal(given_up, 0);
}

static void they_wait_half_a_second(void **state)
{
	struct early *e = *state;

	hold(e, 1, 10, 0);
	hold(e, 1, 11, 100 * NS_PER_MS);
	assert_int_equal(take(e, 2, 499 * NS_PER_MS), 0);
	assert_int_equal(given_up, 0);
	assert_int_equal(take(e, 1, 500 * NS_PER_MS), 1);
	assert_int_equal(got[0], 11);
	assert_int_equal(given_up, 1);
	early_expire(e, 10 * NS_PER_SEC);
	assert_int_equal(given_up, 1);
}

static void there_is_room_for_so_many(void **state)
{
	struct early *e = *state;

	for (unsigned i = 0; i < EARLY_MAX; i++)
		hold(e, (uint16_t)(i + 1), i, i);
	assert_int_equal(given_up, 0);
	hold(e, 60000, 99, EARLY_MAX);
	assert_int_equal(given_up, 1); /* the oldest */
	assert_int_equal(take(e, 1, EARLY_MAX), 0);
	assert_int_equal(take(e, 2, EARLY_MAX), 1);
	assert_int_equal(take(e, 60000, EARLY_MAX), 1);
	early_expire(e, 10 * NS_PER_SEC);
	assert_int_equal(given_up, 1 + EARLY_MAX - 2);
}

static void one_connection_does_not_fill_it(void **state)
{
	struct early *e = *state;

	for (unsigned i = 0; i < 100; i++)
		hold(e, 1, i, i);
	assert_int_equal(given_up, 100 - EARLY_MAX_PER_TUPLE);
	assert_int_equal(take(e, 1, 200), EARLY_MAX_PER_TUPLE);
	assert_int_equal(got[0], 0); /* its beginning */
}

/* The one that makes room may be the only other one of the same connection. */
static void room_made_by_the_same_connection(void **state)
{
	struct early *e = *state;

	for (unsigned i = 0; i < EARLY_MAX; i++)
		hold(e, (uint16_t)(i + 1), i, i);
	hold(e, 1, 77, EARLY_MAX);
	assert_int_equal(given_up, 1);
	assert_int_equal(early_waiting(e), EARLY_MAX);
	assert_int_equal(take(e, 1, EARLY_MAX), 1);
	assert_int_equal(got[0], 77);
	assert_int_equal(take(e, 2, EARLY_MAX), 1);
	assert_int_equal(got[0], 1);
	assert_int_equal(early_waiting(e), EARLY_MAX - 2);
}

/* Whatever is done in whatever order: each one held is delivered or given up, once. */
static void none_is_lost_and_none_comes_twice(void **state)
{
	struct early *e = *state;
	unsigned held = 0, taken = 0;
	uint64_t now = 0;

	srand(1);
	for (unsigned i = 0; i < 200000; i++) {
		now += (uint64_t)(rand() % 400) * NS_PER_US;
		if (rand() % 3) {
			hold(e, (uint16_t)(1 + rand() % 3000), i, now);
			held++;
		} else {
			taken += take(e, (uint16_t)(1 + rand() % 3000), now);
		}
	}
	early_expire(e, now + NS_PER_SEC);
	assert_int_equal(held, taken + given_up);
	assert_true(taken > 1000 && given_up > 1000);
}

static struct endpoint target(uint8_t last, uint16_t port)
{
	const uint8_t a[4] = { 10, 0, 0, last };

	return (struct endpoint){ addr_from_v4(a), port };
}

static void targets_come_and_go(void **state)
{
	static struct targets t;
	struct endpoint a = target(1, 80), b = target(2, 80);

	(void)state;
	t = (struct targets){ 0 };
	assert_false(targets_has(&t, &a));
	assert_true(targets_use(&t, &b));
	assert_true(targets_use(&t, &a));
	assert_false(targets_use(&t, &a));
	assert_true(targets_has(&t, &a) && targets_has(&t, &b));
	targets_release(&t, &a, 0);
	assert_false(
		targets_expire(&t, 10 * TARGETS_LINGER_NS, NULL, NULL)); /* b and one user of a are left */
	targets_release(&t, &a, 5);
	assert_false(targets_expire(&t, TARGETS_LINGER_NS, NULL, NULL));
	assert_false(targets_use(&t, &a));
	targets_release(&t, &a, NS_PER_SEC);
	assert_true(targets_expire(&t, NS_PER_SEC + TARGETS_LINGER_NS, NULL, NULL));
	assert_false(targets_has(&t, &a));
	assert_true(targets_has(&t, &b));
}

static void filters_are_as_narrow_as_may_be(void **state)
{
	static struct targets t;
	char buf[TARGETS_FILTER_SIZE], err[256];
	struct endpoint e = target(1, 80);

	(void)state;
	t = (struct targets){ 0 };
	assert_int_equal(capture_check_filter(targets_filter(&t, buf), err, sizeof(err)), 0);
	targets_use(&t, &e);
	assert_string_equal(targets_filter(&t, buf), "tcp and ((src host 10.0.0.1 and src port 80))");
	addr_parse(&e.addr, "fd90::1");
	targets_use(&t, &e);
	assert_string_equal(targets_filter(&t, buf), "tcp and ((src host 10.0.0.1 and src port 80) or "
						     "(src host fd90::1 and src port 80))");
	assert_int_equal(capture_check_filter(buf, err, sizeof(err)), 0);
	addr_parse(&e.addr, "2001:db8:1111:2222:3333:4444:5555:6666");
	for (e.port = 65000; t.count < TARGETS_FILTER_PAIRS; e.port++)
		targets_use(&t, &e);
	assert_int_equal(capture_check_filter(targets_filter(&t, buf), err, sizeof(err)), 0);
	assert_non_null(strstr(buf, "src port 65061)"));
	for (unsigned i = 0; i < 10; i++) {
		e = target((uint8_t)(50 + i), 80);
		targets_use(&t, &e);
	}
	assert_null(strstr(targets_filter(&t, buf), "host"));
	assert_non_null(strstr(buf, "src port 80"));
	assert_int_equal(capture_check_filter(buf, err, sizeof(err)), 0);
	for (e.port = 1000; t.count < 200; e.port++)
		targets_use(&t, &e);
	assert_string_equal(targets_filter(&t, buf), "tcp");
}

static void the_number_of_targets_is_bounded(void **state)
{
	static struct targets t;
	struct endpoint e = target(1, 0);

	(void)state;
	t = (struct targets){ 0 };
	for (unsigned i = 1; i <= TARGETS_MAX; i++) {
		e.port = (uint16_t)i;
		assert_true(targets_use(&t, &e));
	}
	e.port++;
	assert_false(targets_use(&t, &e));
	assert_int_equal(t.refused, 1);
	assert_false(targets_has(&t, &e));
	targets_release(&t, &e, 0);
	assert_int_equal(t.count, TARGETS_MAX);
}

static struct tuple lost_tuple(unsigned n)
{
	struct tuple t = segment(1, 0).tuple;

	t.dst.port = (uint16_t)(1 + n % 65535);
	t.dst.addr.b[15] = (uint8_t)(n / 65535);
	return t;
}

static void a_lost_watch_is_told_after_its_grace(void **state)
{
	struct orphans *o = orphans_new(&key);
	struct addr host = addr_from_v4("\x0a\x5a\x6f\x8e"), owner;
	struct tuple t = lost_tuple(1), other = lost_tuple(2);
	const uint64_t at = 100 * NS_PER_SEC, due = at + ORPHAN_GRACE_NS;

	(void)state;
	assert_false(orphans_due(o, &t, due, &owner));
	orphans_add(o, &t, &host, 0, at);
	assert_false(orphans_due(o, &t, due - 1, &owner));
	assert_false(orphans_due(o, &other, due, &owner));
	assert_true(orphans_due(o, &t, due, &owner));
	assert_true(addr_eq(&owner, &host));
	assert_false(orphans_due(o, &t, due + ORPHAN_AGAIN_NS - 1, &owner));
	assert_true(orphans_due(o, &t, due + ORPHAN_AGAIN_NS, &owner));
	orphans_forget(o, &t);
	assert_false(orphans_due(o, &t, due + 9 * ORPHAN_AGAIN_NS, &owner));
	orphans_add(o, &t, &host, 0, due);
	orphans_expire(o, due + ORPHAN_LIFE_NS);
	assert_false(orphans_due(o, &t, due + ORPHAN_LIFE_NS, &owner));
	orphans_free(o);
}

static void lost_watches_are_bounded(void **state)
{
	struct orphans *o = orphans_new(&key);
	struct addr host = addr_from_v4("\x0a\x5a\x6f\x8e"), owner;
	const unsigned n = ORPHANS_MAX + 1000;

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		struct tuple t = lost_tuple(i);

		orphans_add(o, &t, &host, 0, i);
	}
	for (unsigned i = 0; i < n; i += 3) {
		struct tuple t = lost_tuple(i);

		orphans_forget(o, &t);
	}
	for (unsigned i = 0; i < n; i++) {
		struct tuple t = lost_tuple(i);

		assert_int_equal(orphans_due(o, &t, n + ORPHAN_GRACE_NS, &owner), i >= 1000 && i % 3);
	}
	orphans_expire(o, UINT64_MAX);
	orphans_free(o);
}

static void a_watch_lost_again_counts_from_then(void **state)
{
	struct orphans *o = orphans_new(&key);
	struct addr first = addr_from_v4("\x0a\x5a\x6f\x8e"), second = addr_from_v4("\x0a\x5a\x6f\x8f"),
		    owner;
	struct tuple t = lost_tuple(1), other = lost_tuple(2);
	const uint64_t at = 100 * NS_PER_SEC;

	(void)state;
	orphans_add(o, &t, &first, 0, at);
	orphans_add(o, &t, &second, 0, at + NS_PER_SEC);
	assert_int_equal(orphans_count(o), 1);
	assert_false(orphans_due(o, &t, at + ORPHAN_GRACE_NS, &owner));
	assert_true(orphans_due(o, &t, at + NS_PER_SEC + ORPHAN_GRACE_NS, &owner));
	assert_true(addr_eq(&owner, &second));
	/* That it was told is its own affair, not that of whoever has its place. */
	orphans_forget(o, &t);
	assert_int_equal(orphans_count(o), 0);
	orphans_add(o, &other, &first, 0, at);
	assert_true(orphans_due(o, &other, at + NS_PER_SEC + ORPHAN_GRACE_NS, &owner));
	orphans_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
		T(held_ones_come_in_order_and_once),
		T(they_wait_half_a_second),
		T(there_is_room_for_so_many),
		T(one_connection_does_not_fill_it),
		T(room_made_by_the_same_connection),
		T(none_is_lost_and_none_comes_twice),
#undef T
		cmocka_unit_test(a_lost_watch_is_told_after_its_grace),
		cmocka_unit_test(lost_watches_are_bounded),
		cmocka_unit_test(a_watch_lost_again_counts_from_then),
		cmocka_unit_test(targets_come_and_go),
		cmocka_unit_test(filters_are_as_narrow_as_may_be),
		cmocka_unit_test(the_number_of_targets_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
