/*
 * The choice of sessions: the same by every host, whole, as large as was asked for, and never taken back. And
 * their limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"
#include "tcpcopy/choice/choice.h"
#include "tcpcopy/choice/limits.h"

#define PERCENT 1000000ull

static struct endpoint client(const char *address, uint16_t port)
{
	struct endpoint e = { .port = port };

	assert_true(addr_parse(&e.addr, address));
	return e;
}

static bool takes(const struct choice *c, const char *address, unsigned port, uint64_t now)
{
	const struct endpoint e = client(address, (uint16_t)port);

	return choice_takes(c, &e, now);
}

/* Of the @n ports from @port on, the ones that are chosen, as bits. */
static uint64_t chosen(const struct choice *c, const char *address, unsigned port, unsigned n)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < n; i++)
		bits |= (uint64_t)takes(c, address, port + i, 0) << i;
	return bits;
}

/*
 * What is chosen is part of what the program promises: a host with another version of it, or of another byte
 * order, must choose the same. So these numbers never change.
 */
static void literal(void **state)
{
	const struct choice half = { .share = 50 * PERCENT, .seed = CHOICE_SEED },
			    other = { .share = 50 * PERCENT, .seed = 7 },
			    tenth = { .share = 10 * PERCENT, .seed = CHOICE_SEED };

	(void)state;
	assert_int_equal(chosen(&half, "10.90.114.82", 40000, 32), 0xb15f34aa);
	assert_int_equal(chosen(&other, "10.90.114.82", 40000, 32), 0xc1bbc395);
	assert_int_equal(chosen(&tenth, "10.90.114.82", 40000, 32), 0x41020);
	assert_int_equal(chosen(&half, "fd90::114:82", 40000, 32), 0x31bf69ce);
}

static unsigned count(const struct choice *c)
{
	unsigned n = 0;

	for (unsigned port = 1024; port < 61024; port++)
		n += takes(c, "192.0.2.9", port, 0);
	return n;
}

/* Within five standard deviations of 60,000 draws, which is the same at each run. */
static void shares(void **state)
{
	static const struct {
		uint64_t share;
		unsigned least, most;
	} list[] = {
		{ CHOICE_ALL, 60000, 60000 },     { 50 * PERCENT, 29388, 30612 },
		{ 10 * PERCENT, 5633, 6367 },     { 1 * PERCENT, 479, 721 },
		{ PERCENT / 100, 0, 18 },         { 1, 0, 1 },
		{ CHOICE_ALL - 1, 59999, 60000 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
		const struct choice c = { .share = list[i].share, .seed = CHOICE_SEED };

		assert_in_range(count(&c), list[i].least, list[i].most);
	}
}

/* Whatever a smaller share has, a larger one has as well. */
static void nested(void **state)
{
	(void)state;
	for (unsigned port = 1024; port < 3024; port++) {
		bool before = false;

		for (uint64_t share = PERCENT; share <= CHOICE_ALL; share += PERCENT) {
			const struct choice c = { .share = share, .seed = 3 };
			const bool now = takes(&c, "198.51.100.3", port, 0);

			assert_true(now || !before);
			before = now;
		}
		assert_true(before);
	}
}

static void by_client(void **state)
{
	const struct choice c = { .share = 50 * PERCENT, .seed = CHOICE_SEED, .by = CHOICE_BY_CLIENT };
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < 250; i++) {
		struct endpoint e = client("192.0.2.0", 1024);
		bool first;

		e.addr.b[15] = (uint8_t)i;
		first = choice_takes(&c, &e, 0);
		n += first;
		for (e.port = 1025; e.port < 1100; e.port++)
			assert_true(choice_takes(&c, &e, 0) == first);
	}
	assert_in_range(n, 86, 164);
}

static void ramp(void **state)
{
	struct choice c = { .share = 50 * PERCENT, .seed = CHOICE_SEED, .ramp = 100 * NS_PER_SEC };
	const uint64_t begin = 7 * NS_PER_SEC;

	(void)state;
	assert_int_equal(choice_share(&c, begin), 0); /* the way back is not up */
	assert_true(choice_grows(&c, begin));
	c.since = begin;
	assert_int_equal(choice_share(&c, begin - 1), 0);
	assert_int_equal(choice_share(&c, begin), 0);
	assert_int_equal(choice_share(&c, begin + 10 * NS_PER_SEC), 5 * PERCENT);
	assert_int_equal(choice_share(&c, begin + 50 * NS_PER_SEC), 25 * PERCENT);
	assert_true(choice_grows(&c, begin + 100 * NS_PER_SEC - 1));
	assert_int_equal(choice_share(&c, begin + 100 * NS_PER_SEC), 50 * PERCENT);
	assert_int_equal(choice_share(&c, UINT64_MAX), 50 * PERCENT);
	assert_false(choice_grows(&c, begin + 100 * NS_PER_SEC));
	c.ramp = CHOICE_RAMP_MOST;
	c.share = CHOICE_ALL;
	assert_int_equal(choice_share(&c, begin + CHOICE_RAMP_MOST / 4), 25 * PERCENT);
	assert_in_range(choice_share(&c, begin + CHOICE_RAMP_MOST - 1), CHOICE_ALL - 2, CHOICE_ALL);
}

static void once_chosen(void **state)
{
	const struct choice c = { .share = CHOICE_ALL, .seed = 5, .ramp = 60 * NS_PER_SEC, .since = 1 };

	(void)state;
	for (unsigned port = 1024; port < 2024; port++) {
		bool before = false;

		for (uint64_t s = 0; s <= 60; s++) {
			const bool now = takes(&c, "10.0.0.1", port, 1 + s * NS_PER_SEC);

			assert_true(now || !before);
			before = now;
		}
		assert_true(before);
		assert_false(takes(&c, "10.0.0.1", port, 1));
	}
}

static void limits(void **state)
{
	struct limits l;
	uint64_t now = 1000 * NS_PER_SEC;
	unsigned n = 0;

	(void)state;
	limits_init(&l, 0, 0, 3);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(limits_admit(&l, i, now), DECLINE_COUNT);
	limits_init(&l, 100, 0, 3);
	assert_int_equal(limits_admit(&l, 32, now), DECLINE_COUNT);
	assert_int_equal(limits_admit(&l, 33, now), DECLINE_MAX_SESSIONS);
	limits_init(&l, 2, 0, 3);
	assert_int_equal(limits_admit(&l, 0, now), DECLINE_COUNT);

	/* 200 a second on two workers: 10 at once, and one each 10 ms */
	limits_init(&l, 0, 200 * 1000000ull, 2);
	while (limits_admit(&l, 0, now) == DECLINE_COUNT)
		n++;
	assert_int_equal(n, 10);
	assert_int_equal(limits_admit(&l, 0, now + 9 * NS_PER_MS), DECLINE_MAX_RATE);
	assert_int_equal(limits_admit(&l, 0, now + 10 * NS_PER_MS), DECLINE_COUNT);
	for (n = 0; now < 1010 * NS_PER_SEC; now += NS_PER_MS)
		n += limits_admit(&l, 0, now) == DECLINE_COUNT;
	assert_in_range(n, 998, 1000);
	/* one that is not admitted for the one limit does not count for the other */
	limits_init(&l, 5, 1000000ull, 1);
	assert_int_equal(limits_admit(&l, 5, now), DECLINE_MAX_SESSIONS);
	assert_int_equal(limits_admit(&l, 4, now), DECLINE_COUNT);
	assert_int_equal(limits_admit(&l, 4, now), DECLINE_MAX_RATE);
	/* fewer than one a second */
	limits_init(&l, 0, 1000, 1);
	assert_int_equal(limits_admit(&l, 0, now), DECLINE_COUNT);
	assert_int_equal(limits_admit(&l, 0, now + 999 * NS_PER_SEC), DECLINE_MAX_RATE);
	assert_int_equal(limits_admit(&l, 0, now + 1000 * NS_PER_SEC), DECLINE_COUNT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(literal),   cmocka_unit_test(shares), cmocka_unit_test(nested),
		cmocka_unit_test(by_client), cmocka_unit_test(ramp),   cmocka_unit_test(once_chosen),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
