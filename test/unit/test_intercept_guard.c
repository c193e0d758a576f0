/*
 * The guard's queue: which targets the helper is asked for, when, and what becomes of those that it refuses.
 * The helper is played over a pair of sockets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <event2/event.h>

#include "base/util.h"
#include "intercept/hole/announce.h"
#include "intercept/hole/guard.h"
#include "program/clock.h"
#include "program/helper/helper.h"
#include "still_clock.h"

#define QUEUE 8192u

static struct event_base *base;
static struct guard *guard;
static int played; /* the helper's end */
static struct helper_request asked;
static unsigned lost;

static void on_lost(void *arg)
{
	assert_ptr_equal(arg, &lost);
	lost++;
}

static int set_up(void **state)
{
	int pair[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -1;
	played = pair[1];
	base = event_base_new();
	guard = guard_new(base, helper_of(pair[0]), true, on_lost, &lost);
	lost = 0;
	return !guard;
}

static int tear_down(void **state)
{
	(void)state;
	close(played);
	guard_close(guard);
	event_base_free(base);
	return 0;
}

static struct endpoint target(unsigned number)
{
	const uint8_t a[4] = { 10, 0, (uint8_t)(number >> 8), (uint8_t)number };

	return (struct endpoint){ .addr = addr_from_v4(a), .port = 80 };
}

static bool add(unsigned number)
{
	const struct endpoint e = target(number);

	return guard_add(guard, &e);
}

static bool next_request(void)
{
	const ssize_t n = recv(played, &asked, sizeof(asked), 0);

	if (n < 0 && errno == EAGAIN)
		return false;
	assert_true(helper_request_valid(&asked, (size_t)n));
	return true;
}

/* It has these targets, in order. */
static void assert_request(enum helper_kind kind, unsigned first, unsigned count)
{
	assert_true(next_request());
	assert_int_equal(asked.kind, kind);
	assert_int_equal(asked.count, count);
	for (unsigned i = 0; i < count; i++) {
		const struct endpoint e = target(first + i);

		assert_int_equal(asked.element[i].family, 4);
		assert_int_equal(asked.element[i].port, 80);
		assert_memory_equal(asked.element[i].address, addr_v4_bytes(&e.addr), 4);
	}
	assert_false(next_request());
}

static void assert_asks(unsigned first, unsigned count)
{
	assert_request(HELPER_ADD, first, count);
}

static void answer(int error)
{
	const struct helper_answer a = { .id = asked.id, .error = error, .refused = NFT_MSG_NEWSETELEM };

	assert_int_equal(send(played, &a, sizeof(a), 0), sizeof(a));
	event_base_loop(base, EVLOOP_ONCE);
}

static void pass(unsigned ms)
{
	clock_move(ms);
	event_base_loop(base, EVLOOP_NONBLOCK);
}

/* It is announced, asked for, and in the set. */
static void guarded(unsigned number)
{
	assert_true(add(number));
	assert_asks(number, 1);
	answer(0);
}

static void asked_for_at_once_and_once(void **state)
{
	(void)state;
	guarded(1);
	pass(1000);
	assert_false(next_request());
}

static void those_that_come_meanwhile_go_together(void **state)
{
	(void)state;
	assert_true(add(1));
	assert_asks(1, 1);
	for (unsigned i = 2; i < 12; i++)
		assert_true(add(i));
	for (unsigned i = 1; i < 12; i++)
		assert_true(add(i)); /* they wait already */
	assert_false(next_request());
	answer(0);
	assert_asks(2, 10);
	answer(0);
	assert_false(next_request());
}

static void a_refused_one_is_asked_for_again(void **state)
{
	(void)state;
	assert_true(add(1));
	assert_asks(1, 1);
	assert_true(add(2));
	answer(-ENOMEM);
	assert_false(next_request()); /* not at once */
	pass(999);
	assert_false(next_request());
	pass(1);
	assert_asks(1, 2);
	answer(-ENOMEM);
	pass(1000);
	assert_asks(1, 2);
	answer(0);
	pass(1000);
	assert_false(next_request());
}

static void one_is_asked_for_once_for_all_its_users(void **state)
{
	(void)state;
	guarded(1);
	assert_true(add(1));
	assert_false(next_request());
}

static void let_go(unsigned number)
{
	const struct endpoint e = target(number);

	guard_release(guard, &e, clock_now());
}

static void one_goes_when_its_last_user_has_been_gone_for_long(void **state)
{
	(void)state;
	assert_true(add(1) && add(1) && add(2));
	assert_asks(1, 1);
	answer(0);
	assert_asks(2, 1);
	answer(0);
	let_go(1);
	pass(GUARD_LINGER_NS / NS_PER_MS + 2000);
	assert_false(next_request());
	let_go(1);
	let_go(1); /* nobody's any more */
	pass(GUARD_LINGER_NS / NS_PER_MS - 2000);
	assert_false(next_request());
	pass(2000);
	assert_request(HELPER_REMOVE, 1, 1);
	answer(0);
	pass(2000);
	assert_false(next_request());
	guarded(1);
}

static void one_that_leaves_and_is_announced_meanwhile(void **state)
{
	(void)state;
	guarded(1);
	let_go(1);
	pass(GUARD_LINGER_NS / NS_PER_MS);
	assert_request(HELPER_REMOVE, 1, 1);
	assert_true(add(1));
	assert_false(next_request());
	answer(0);
	assert_asks(1, 1);
	answer(0);
	assert_false(next_request());
}

/* Somebody has emptied the set: what is not in it cannot be taken out, and is put there first. */
static void one_that_cannot_leave(void **state)
{
	(void)state;
	guarded(1);
	let_go(1);
	pass(GUARD_LINGER_NS / NS_PER_MS);
	assert_request(HELPER_REMOVE, 1, 1);
	answer(-ENOENT);
	assert_false(next_request());
	pass(1000);
	assert_asks(1, 1);
	answer(0);
	assert_request(HELPER_REMOVE, 1, 1);
	answer(0);
	pass(1000);
	assert_false(next_request());
}

/* One that nothing can come from would be refused, and those behind it would wait for ever. */
static void endpoints_that_send_nothing(void **state)
{
	const struct endpoint none = { .port = 80 };
	struct endpoint e = target(1);

	(void)state;
	e.port = 0;
	assert_true(guard_add(guard, &e));
	assert_true(guard_add(guard, &none));
	assert_false(next_request());
	guarded(2);
}

static void a_full_queue_says_so(void **state)
{
	unsigned first = 0;

	(void)state;
	for (unsigned i = 0; i < QUEUE; i++)
		assert_true(add(i));
	assert_false(add(QUEUE));
	assert_true(add(5)); /* is in it */
	assert_asks(0, 1);
	answer(0);
	for (first = 1; first < QUEUE; first += asked.count) {
		assert_asks(first, MIN(QUEUE - first, NFT_ELEMENTS_MAX));
		answer(0);
	}
	assert_false(next_request());
	assert_false(add(QUEUE));
}

/* What does not fit in is offered again at the next expiry, as it comes each second. */
static void announced_targets_are_offered_again(void **state)
{
	static struct announce a;
	const struct endpoint late = target(QUEUE);

	(void)state;
	a.guard = guard;
	for (unsigned i = 0; i < QUEUE; i++)
		assert_true(add(i));
	announce_use(&a, &late);
	announce_apply(&a);
	announce_expire(&a, 0);
	while (next_request()) {
		answer(0);
		assert_memory_not_equal(asked.element[asked.count - 1].address, addr_v4_bytes(&late.addr), 4);
	}
	let_go(7);
	pass(GUARD_LINGER_NS / NS_PER_MS);
	assert_request(HELPER_REMOVE, 7, 1);
	answer(0);
	announce_expire(&a, 0);
	assert_asks(QUEUE, 1);
	answer(0);
	announce_expire(&a, 0);
	assert_false(next_request());
	announce_release(&a, &late, 0);
	announce_expire(&a, TARGETS_LINGER_NS);
	pass(GUARD_LINGER_NS / NS_PER_MS);
	assert_request(HELPER_REMOVE, QUEUE, 1);
	answer(0);
}

static void the_helper_ends(void **state)
{
	(void)state;
	assert_true(guard_holds(guard));
	assert_false(guard_holds(NULL));
	assert_true(add(1));
	assert_int_equal(lost, 0);
	shutdown(played, SHUT_RDWR);
	event_base_loop(base, EVLOOP_ONCE);
	assert_false(guard_holds(guard));
	assert_false(add(2));
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(lost, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(asked_for_at_once_and_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(those_that_come_meanwhile_go_together, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_refused_one_is_asked_for_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_is_asked_for_once_for_all_its_users, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_goes_when_its_last_user_has_been_gone_for_long, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(one_that_leaves_and_is_announced_meanwhile, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(one_that_cannot_leave, set_up, tear_down),
		cmocka_unit_test_setup_teardown(endpoints_that_send_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_full_queue_says_so, set_up, tear_down),
		cmocka_unit_test_setup_teardown(announced_targets_are_offered_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_helper_ends, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
