/* Exchanges, one after the other, with literal lengths of both sides' answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "compare/exchange.h"

static struct exchange_state x;
static struct exchange_tally t;

static int fresh(void **state)
{
	(void)state;
	memset(&x, 0, sizeof(x));
	memset(&t, 0, sizeof(t));
	return 0;
}

/* The target answers @bytes to the open request. */
static void answer(int64_t bytes)
{
	exchange_answered(&x, &t, bytes, EXCHANGE_CAME_COVERING);
}

/* It answers @target, the online server @online, and the next request goes. */
static void exchange(int64_t target, uint64_t online, enum exchange_end by)
{
	exchange_begins(&x, &t);
	if (target)
		answer(target);
	exchange_next(&x, &t, online, by, true, true);
}

static void over(uint64_t online, bool known, bool complete)
{
	const struct exchange_last l = {
		.online = online, .by = EXCHANGE_BY_OVER, .known = known, .complete = complete
	};

	exchange_over(&x, &t, &l);
}

/* The client has closed, and @online more bytes were read since. */
static void closed(uint64_t online)
{
	const struct exchange_last l = { .online = online,
					 .by = EXCHANGE_BY_FIN,
					 .complete = true,
					 .client_fin = true,
					 .reads_on = true };

	exchange_over(&x, &t, &l);
}

static void balanced(void)
{
	uint64_t rows = t.same + t.open, ends = t.open;

	for (unsigned i = 0; i < EXCHANGE_DIFFERENCE_COUNT; i++)
		rows += t.different[i];
	for (unsigned i = 0; i < EXCHANGE_OBSTACLE_COUNT; i++)
		rows += t.not_comparable[i];
	for (unsigned i = 0; i < EXCHANGE_END_COUNT; i++)
		ends += t.ended_by[i];
	assert_int_equal(t.all, rows);
	assert_int_equal(t.all, ends);
	assert_int_equal(t.open, exchange_open(&x));
}

static void same(void **state)
{
	(void)state;
	exchange(100, 100, EXCHANGE_BY_REQUEST);
	assert_int_equal(t.same, 0); /* more of it may come */
	assert_int_equal(t.open, 2);
	answer(7);
	assert_int_equal(t.same, 1);
	balanced();
	over(7, true, true);
	assert_int_equal(t.same, 2);
	assert_int_equal(t.ended_by[EXCHANGE_BY_REQUEST], 1);
	assert_int_equal(t.ended_by[EXCHANGE_BY_OVER], 1);
	assert_int_equal(t.open, 0);
	balanced();
}

static void kinds(void **state)
{
	(void)state;
	exchange(60, 100, EXCHANGE_BY_QUIET);
	exchange(10, 10, EXCHANGE_BY_REQUEST);
	exchange(100, 30, EXCHANGE_BY_REQUEST);
	exchange(10, 10, EXCHANGE_BY_REQUEST);
	exchange(0, 80, EXCHANGE_BY_DEADLINE);
	answer(5);
	balanced();
	assert_int_equal(exchange_open(&x), 2); /* the open one, and the absent one: the next may be longer */
	over(5, true, true);
	assert_int_equal(t.different[EXCHANGE_SHORTER], 1);
	assert_int_equal(t.different[EXCHANGE_LONGER], 1);
	assert_int_equal(t.different[EXCHANGE_ABSENT], 1);
	assert_int_equal(t.same, 3);
	assert_int_equal(t.followers, 2);
	assert_int_equal(t.newest[EXCHANGE_SHORTER].online, 100);
	assert_int_equal(t.newest[EXCHANGE_SHORTER].target, 60);
	assert_int_equal(t.newest[EXCHANGE_LONGER].number, 2);
	assert_int_equal(t.newest[EXCHANGE_LONGER].flags, EXCHANGE_FOLLOWER);
	assert_int_equal(t.newest[EXCHANGE_ABSENT].number, 4);
	assert_int_equal(exchange_compared(&t), 6);
	assert_int_equal(exchange_differ(&t), 3);
	balanced();
}

/* What comes behind the release of the next turn, and covers nothing of it, is of the answer before. */
static void rest(void **state)
{
	(void)state;
	exchange(60, 100, EXCHANGE_BY_QUIET);
	exchange_answered(&x, &t, 40, 0);
	answer(9);
	over(9, true, true);
	assert_int_equal(t.same, 2);
	balanced();
}

static void split(void **state)
{
	(void)state;
	exchange(60, 100, EXCHANGE_BY_QUIET);
	exchange(70, 30, EXCHANGE_BY_REQUEST);
	exchange(10, 10, EXCHANGE_BY_REQUEST);
	answer(1);
	over(1, true, true);
	assert_int_equal(t.different[EXCHANGE_SPLIT], 2);
	assert_int_equal(t.same, 2);
	assert_int_equal(t.followers, 0);
	balanced();
}

/* Over three answers; and one byte less is no shift. */
static void split_far(void **state)
{
	(void)state;
	exchange(60, 100, EXCHANGE_BY_QUIET);
	exchange(50, 30, EXCHANGE_BY_REQUEST);
	exchange(30, 10, EXCHANGE_BY_REQUEST);
	exchange(1, 2, EXCHANGE_BY_QUIET);
	exchange(2, 2, EXCHANGE_BY_REQUEST);
	answer(1);
	assert_int_equal(t.different[EXCHANGE_SPLIT], 3);
	assert_int_equal(t.different[EXCHANGE_SHORTER], 1);
	over(1, true, true);
	balanced();
}

/* Each answer is longer: they are not kept waiting for long. */
static void run(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++)
		exchange(12, 10, EXCHANGE_BY_REQUEST);
	balanced();
	assert_true(t.different[EXCHANGE_LONGER] >= 8 && exchange_open(&x) <= 10);
	answer(10);
	over(10, true, true);
	assert_int_equal(t.different[EXCHANGE_LONGER], 20);
	assert_int_equal(t.followers, 19);
	balanced();
}

/* Longer than what an ack can tell apart. */
static void huge(void **state)
{
	(void)state;
	exchange_begins(&x, &t);
	for (int i = 0; i < 5; i++)
		answer(1 << 30);
	exchange_next(&x, &t, UINT64_C(5) << 30, EXCHANGE_BY_REQUEST, true, true);
	answer(1);
	over(1, true, true);
	assert_int_equal(t.same, 2);
	balanced();
}

/* What the server says first is an exchange without a request. */
static void greeting(void **state)
{
	(void)state;
	exchange_answered(&x, &t, 30, 0);
	exchange_next(&x, &t, 30, EXCHANGE_BY_REQUEST, true, true);
	answer(5);
	over(5, true, true);
	assert_int_equal(t.all, 2);
	assert_int_equal(t.same, 2);
	assert_int_equal(t.unsolicited, 1);
	balanced();
}

static void no_greeting(void **state)
{
	(void)state;
	exchange_next(&x, &t, 30, EXCHANGE_BY_DEADLINE, true, true);
	answer(5);
	over(5, true, true);
	assert_int_equal(t.different[EXCHANGE_ABSENT], 1);
	assert_int_equal(t.unsolicited, 1);
	balanced();
}

static void joined(void **state)
{
	(void)state;
	exchange_joined(&x);
	exchange(60, 100, EXCHANGE_BY_QUIET);
	exchange(10, 10, EXCHANGE_BY_REQUEST);
	answer(1);
	over(1, true, true);
	assert_int_equal(t.not_comparable[EXCHANGE_NOT_JOINED], 1);
	assert_int_equal(t.same, 2);
	balanced();
}

static void not_held(void **state)
{
	(void)state;
	exchange_begins(&x, &t);
	exchange_next(&x, &t, 100, EXCHANGE_BY_DEADLINE, true, false);
	answer(100);
	over(0, true, true);
	assert_int_equal(t.not_comparable[EXCHANGE_NOT_UNHELD], 1);
	balanced();
}

static void deadline(void **state)
{
	(void)state;
	exchange(60, 100, EXCHANGE_BY_DEADLINE);
	answer(1);
	over(1, true, true);
	assert_int_equal(t.not_comparable[EXCHANGE_NOT_DEADLINE], 1);
	balanced();
}

/* One that did not come in time was absent if the next one is as it should be, else it may have been late. */
static void late(void **state)
{
	(void)state;
	exchange(0, 100, EXCHANGE_BY_DEADLINE);
	exchange(0, 50, EXCHANGE_BY_DEADLINE);
	exchange(7, 7, EXCHANGE_BY_REQUEST);
	answer(1);
	assert_int_equal(t.different[EXCHANGE_ABSENT], 2);
	exchange_next(&x, &t, 1, EXCHANGE_BY_REQUEST, true, true);
	exchange_next(&x, &t, 100, EXCHANGE_BY_DEADLINE, true, true);
	exchange(150, 50, EXCHANGE_BY_REQUEST);
	exchange(30, 30, EXCHANGE_BY_REQUEST);
	exchange(30, 31, EXCHANGE_BY_QUIET);
	answer(9);
	balanced();
	assert_int_equal(t.not_comparable[EXCHANGE_NOT_DEADLINE], 3);
	assert_int_equal(t.same, 3);
	assert_int_equal(t.open, 1);
	exchange_connects(&x, &t, 0); /* on a connection of its own nothing is late */
	exchange_next(&x, &t, 10, EXCHANGE_BY_FIN, true, true);
	answer(1);
	over(1, true, true);
	assert_int_equal(t.different[EXCHANGE_SHORTER], 1);
	assert_int_equal(t.not_comparable[EXCHANGE_NOT_DEADLINE], 3);
	balanced();
}

/*
 * The end of a connection. @read: by the client when it closed, its acks of a FIN included; @later: after
 * that; @target: bytes of the target, whose FIN came @first.
 */
static void end(uint64_t read, uint64_t later, int64_t target, bool first)
{
	fresh(NULL);
	exchange_begins(&x, &t);
	exchange_answered(&x, &t, target,
			  EXCHANGE_CAME_COVERING | (first ? EXCHANGE_CAME_FIN | EXCHANGE_CAME_FIN_FIRST : 0));
	exchange_next(&x, &t, read, EXCHANGE_BY_REQUEST, false, true);
	if (!first)
		exchange_answered(&x, &t, 0, EXCHANGE_CAME_FIN);
	closed(later);
	balanced();
	assert_int_equal(t.open, 0);
}

static void ends(void **state)
{
	(void)state;
	end(100, 0, 100, false); /* the clients close */
	assert_int_equal(t.same, 1);
	end(100, 1, 100, false);
	assert_int_equal(t.same, 1);
	end(101, 0, 100, true); /* the servers do */
	assert_int_equal(t.same, 1);
	end(100, 1, 100, true); /* here the target */
	assert_int_equal(t.same, 1);
	end(101, 0, 100, false); /* a FIN or a byte */
	assert_int_equal(t.not_comparable[EXCHANGE_NOT_CLOSE], 1);
	end(100, 0, 100, true);
	assert_int_equal(t.not_comparable[EXCHANGE_NOT_CLOSE], 1);
	end(102, 0, 100, true);
	assert_int_equal(t.different[EXCHANGE_SHORTER], 1);
	end(100, 1, 101, false); /* one byte is one byte, where the FIN is known */
	assert_int_equal(t.different[EXCHANGE_LONGER], 1);
	end(100, 1, 99, false);
	assert_int_equal(t.different[EXCHANGE_SHORTER], 1);
	end(100, 1, 101, true);
	assert_int_equal(t.different[EXCHANGE_LONGER], 1);
	end(98, 1, 100, false);
	assert_int_equal(t.different[EXCHANGE_LONGER], 1);
}

static void ends_early(void **state)
{
	struct exchange_last l = { .by = EXCHANGE_BY_RST, .online = 50, .reset = true, .complete = true };

	exchange_begins(&x, &t);
	over(100, false, false); /* the target has not answered yet */
	assert_int_equal(t.not_comparable[EXCHANGE_NOT_SESSION], 1);
	fresh(state);
	exchange_begins(&x, &t);
	answer(5);
	over(0, false, true); /* the client has not read yet */
	assert_int_equal(t.not_comparable[EXCHANGE_NOT_UNREAD], 1);
	fresh(state);
	exchange_begins(&x, &t);
	answer(60);
	exchange_over(&x, &t, &l); /* it gave up in the middle */
	assert_int_equal(t.not_comparable[EXCHANGE_NOT_RESET], 1);
	fresh(state);
	exchange_begins(&x, &t);
	answer(20);
	exchange_over(&x, &t, &l);
	assert_int_equal(t.different[EXCHANGE_SHORTER], 1);
	fresh(state);
	exchange_begins(&x, &t);
	l.hole = true;
	exchange_over(&x, &t, &l);
	assert_int_equal(t.not_comparable[EXCHANGE_NOT_HOLE], 1);
	exchange_unsent(&t, 3);
	assert_int_equal(t.not_comparable[EXCHANGE_NOT_UNSENT], 3);
	balanced();
}

static void nothing(void **state)
{
	(void)state;
	over(0, false, false);
	closed(1);
	assert_int_equal(t.all, 0);
}

static void target_first(void **state)
{
	(void)state;
	exchange_target_first(&x, &t);
	exchange(5, 5, EXCHANGE_BY_REQUEST);
	exchange_target_first(&x, &t); /* the second one is not answered */
	for (int i = 1; i < 255; i++)
		exchange(5, 5, EXCHANGE_BY_REQUEST);
	exchange_target_first(&x, &t);
	answer(5);
	exchange_target_first(&x, &t);
	assert_int_equal(t.target_first[EXCHANGE_AFTER_NONE], 1);
	assert_int_equal(t.target_first[EXCHANGE_AFTER_ONE], 1);
	assert_int_equal(t.target_first[EXCHANGE_AFTER_MANY], 1);
	assert_int_equal(t.target_first[EXCHANGE_AFTER_MOST], 1);
	assert_int_equal(exchange_ended_first(&t), 4);
}

/* The target closes: what waits goes on, what was on its way is sent again. */
static void connects(void **state)
{
	(void)state;
	exchange(10, 10, EXCHANGE_BY_REQUEST);
	exchange_answered(&x, &t, 0, EXCHANGE_CAME_FIN | EXCHANGE_CAME_FIN_FIRST);
	exchange_connects(&x, &t, 1);
	answer(20);
	exchange_next(&x, &t, 20, EXCHANGE_BY_FIN, true, true);
	exchange_connects(&x, &t, 0);
	answer(30);
	exchange_next(&x, &t, 31, EXCHANGE_BY_QUIET, true, true);
	exchange_answered(&x, &t, 0, EXCHANGE_CAME_FIN | EXCHANGE_CAME_FIN_FIRST);
	over(0, true, true);
	assert_int_equal(t.all, 4);
	assert_int_equal(t.same, 4); /* the last byte of the third may be the online server's FIN */
	balanced();
}

/* What was taken for a byte was the FIN, which came late. */
static void fin_late(void **state)
{
	(void)state;
	exchange_begins(&x, &t);
	answer(11);
	exchange_answered(&x, &t, -1, EXCHANGE_CAME_FIN | EXCHANGE_CAME_FIN_FIRST);
	exchange_next(&x, &t, 11, EXCHANGE_BY_REQUEST, false, true);
	closed(0);
	assert_int_equal(t.same, 1);
	balanced();
}

/* The client has closed its half before it had all, and the session was over before it had read on. */
static void closes_early(void **state)
{
	(void)state;
	exchange_begins(&x, &t);
	answer(20);
	exchange_next(&x, &t, 14, EXCHANGE_BY_REQUEST, false, true);
	closed(0);
	assert_int_equal(t.not_comparable[EXCHANGE_NOT_UNREAD], 1);
	balanced();
	exchange_begins(&x, &t);
	answer(20);
	exchange_next(&x, &t, 14, EXCHANGE_BY_REQUEST, false, true);
	closed(1);
	assert_int_equal(t.different[EXCHANGE_LONGER], 1); /* it has read a FIN */
	balanced();
}

static void adds(void **state)
{
	struct exchange_tally sum = { 0 };
	uint64_t *from = (uint64_t *)&t, *to = (uint64_t *)&sum;

	(void)state;
	for (size_t i = 0; i < offsetof(struct exchange_tally, newest) / sizeof(*from); i++)
		from[i] = i + 1;
	exchange_tally_add(&sum, &t);
	exchange_tally_add(&sum, &t);
	for (size_t i = 0; i < offsetof(struct exchange_tally, newest) / sizeof(*to); i++)
		assert_int_equal(to[i], 2 * (i + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(same, fresh),         cmocka_unit_test_setup(kinds, fresh),
		cmocka_unit_test_setup(rest, fresh),         cmocka_unit_test_setup(split, fresh),
		cmocka_unit_test_setup(split_far, fresh),    cmocka_unit_test_setup(run, fresh),
		cmocka_unit_test_setup(huge, fresh),         cmocka_unit_test_setup(greeting, fresh),
		cmocka_unit_test_setup(no_greeting, fresh),  cmocka_unit_test_setup(joined, fresh),
		cmocka_unit_test_setup(not_held, fresh),     cmocka_unit_test_setup(deadline, fresh),
		cmocka_unit_test_setup(ends, fresh),         cmocka_unit_test_setup(ends_early, fresh),
		cmocka_unit_test_setup(nothing, fresh),      cmocka_unit_test_setup(target_first, fresh),
		cmocka_unit_test_setup(connects, fresh),     cmocka_unit_test_setup(fin_late, fresh),
		cmocka_unit_test_setup(adds, fresh),         cmocka_unit_test_setup(late, fresh),
		cmocka_unit_test_setup(closes_early, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
