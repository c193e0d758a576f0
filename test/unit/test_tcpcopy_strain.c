/*
 * What a target or this host suffers, by numbers that are made up; and breakers, which go by that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "tcpcopy/choice/breaker.h"
#include "tcpcopy/choice/gates.h"
#include "tcpcopy/choice/strain.h"

static struct condition condition(const char *text)
{
	struct condition c;
	char error[256];
	const bool host = strchr("cmd", text[0]);

	if (condition_parse(text, host ? strain_host : strain_target,
			    host ? STRAIN_HOST_COUNT : STRAIN_TARGET_COUNT, &c, 1, error, sizeof(error)) != 1)
		fail_msg("%s: %s", text, error);
	return c;
}

/* What is measured, times a thousand; -1: nothing. */
static int of_target(const char *text, const struct engine_pace *p)
{
	const struct condition c = condition(text);
	double value;

	return strain_of_target(&c, p, &value) ? (int)(value * 1000 + 0.5) : -1;
}

static int of_host(const char *text, const struct strain_host *h)
{
	const struct condition c = condition(text);
	double value;

	return strain_of_host(&c, h, &value) ? (int)(value * 1000 + 0.5) : -1;
}

static void nothing_happened(void **state)
{
	static const struct engine_pace none;
	const struct strain_host host = { .drops = 0 };

	(void)state;
	assert_int_equal(of_target("p99 > 2s", &none), -1);
	assert_int_equal(of_target("refused > 5%", &none), -1);
	assert_int_equal(of_target("reset > 5%", &none), -1);
	assert_int_equal(of_target("unanswered > 5%", &none), -1);
	assert_int_equal(of_host("cpu > 80%", &host), -1);
	assert_int_equal(of_host("memory > 10%", &host), -1);
	assert_int_equal(of_host("drops > 0", &host), 0);
}

static void targets(void **state)
{
	static struct engine_pace now, then;
	const struct condition p50 = condition("p50 > 1ms"), p99 = condition("answer p99 > 2s");
	double value;

	(void)state;
	hist_add(&then.answer, 60 * NS_PER_SEC);
	then.begun = then.ended = then.refused = then.reset = then.released = then.overdue = 1000;
	now = then;
	for (unsigned i = 0; i < 97; i++)
		hist_add(&now.answer, NS_PER_MS);
	for (unsigned i = 0; i < 3; i++)
		hist_add(&now.answer, 3 * NS_PER_SEC);
	now.begun += 200;
	now.refused += 12;
	now.ended += 50;
	now.reset += 1;
	now.released += 1000;
	now.overdue += 30;
	strain_between(&now, &then);
	assert_true(strain_of_target(&p50, &now, &value));
	assert_true(value > 0.9e6 && value < 1.1e6);
	assert_true(strain_of_target(&p99, &now, &value));
	assert_true(value > 2.8e9 && value < 3.2e9);
	assert_int_equal(of_target("refused > 5%", &now), 60);
	assert_int_equal(of_target("reset > 5%", &now), 20);
	assert_int_equal(of_target("unanswered > 5%", &now), 30);
	/* they began before, and are refused now */
	now.begun = 4;
	assert_int_equal(of_target("refused > 5%", &now), 1000);
}

static void hosts(void **state)
{
	const struct strain_host h = {
		.cpu_known = true, .cpu = 0.83, .memory_known = true, .memory = 0.07, .drops = 12
	};

	(void)state;
	assert_int_equal(of_host("cpu > 80%", &h), 830);
	assert_int_equal(of_host("memory > 10%", &h), 70);
	assert_int_equal(of_host("drops > 0", &h), 12000);
}

static void words(void **state)
{
	const struct condition p99 = condition("p99.9 > 2s"), refused = condition("refused > 5%"),
			       drops = condition("drops > 0");
	char buf[STRAIN_TEXT];

	(void)state;
	assert_string_equal(strain_format(buf, &p99, 3.21e9), "answer p99.9 3.21 s > 2 s");
	assert_string_equal(strain_format(buf, &refused, 0.1234), "refused 12.3 % > 5 %");
	assert_string_equal(strain_format(buf, &drops, 1234567), "drops 1234567 > 0");
	assert_string_equal(strain_format(buf, &p99, 1.5e6), "answer p99.9 1.5 ms > 2 s");
}

static void breakers(void **state)
{
	struct breaker b = { .trips = 0 };
	uint64_t now = 5 * NS_PER_SEC;

	(void)state;
	assert_int_equal(breaker_look(&b, false, now), BREAKER_NOTHING);
	assert_int_equal(breaker_look(&b, true, now), BREAKER_TRIPS);
	assert_int_equal(breaker_look(&b, true, now + 1), BREAKER_NOTHING);
	assert_int_equal(breaker_look(&b, false, now + BREAKER_WELL), BREAKER_NOTHING);
	/* again, and it has to be well from then on */
	now += BREAKER_WELL;
	assert_int_equal(breaker_look(&b, true, now), BREAKER_NOTHING);
	assert_int_equal(breaker_look(&b, false, now + BREAKER_WELL - 1), BREAKER_NOTHING);
	assert_true(b.tripped);
	assert_int_equal(breaker_look(&b, false, now + BREAKER_WELL), BREAKER_OVER);
	assert_int_equal(breaker_look(&b, false, now + BREAKER_WELL + 1), BREAKER_NOTHING);
	assert_int_equal(breaker_look(&b, true, now + BREAKER_WELL + 2), BREAKER_TRIPS);
	assert_int_equal(b.trips, 2);
	assert_int_equal(b.since, now + BREAKER_WELL + 2);
}

static void gates(void **state)
{
	static struct gates g;

	(void)state;
	assert_int_equal(gates_admit(&g, 3), DECLINE_COUNT);
	atomic_store(&g.breaker[3], true);
	assert_int_equal(gates_admit(&g, 3), DECLINE_BREAKER);
	assert_int_equal(gates_admit(&g, 4), DECLINE_COUNT);
	atomic_store(&g.yield, true);
	assert_int_equal(gates_admit(&g, 3), DECLINE_YIELD);
	assert_int_equal(gates_admit(&g, 4), DECLINE_YIELD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_happened),
		cmocka_unit_test(targets),
		cmocka_unit_test(hosts),
		cmocka_unit_test(words),
		cmocka_unit_test(breakers),
		cmocka_unit_test(gates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
