/*
 * The copies of a session: as many as was asked for, of the same connections always, each with a key of its
 * own. And in the engine: a client has the right of way over a copy that has the port it opens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"
#include "session_harness.h"
#include "tcpcopy/choice/choice.h"
#include "tcpcopy/choice/copies.h"
#include "tcpcopy/choice/targets.h"

static struct endpoint at(const char *address, unsigned port)
{
	struct endpoint e = { .port = (uint16_t)port };

	assert_true(addr_parse(&e.addr, address));
	return e;
}

/* As of the choice: these numbers never change. */
static void literal(void **state)
{
	const struct copies some = { .times = 1500000, .seed = CHOICE_SEED };
	uint32_t two = 0;

	(void)state;
	for (unsigned i = 0; i < 32; i++) {
		const struct endpoint e = at("10.90.114.82", 40000 + i);

		two |= (uint32_t)(copies_of(&some, &e) - 1) << i;
	}
	assert_int_equal(two, 0x88230ede);
}

/* The fraction, also of those that -r has chosen; and whole numbers for everybody. */
static void how_many(void **state)
{
	static const uint64_t times[] = { 0, 1000000, 1100000, 1500000, 3000000, 10250000, 1000000000 };
	const struct choice half = { .share = CHOICE_ALL / 2, .seed = CHOICE_SEED };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		const struct copies c = { .times = times[i], .seed = CHOICE_SEED };
		uint64_t sum = 0, n = 0, most = 0;

		for (unsigned port = 1024; port < 65024; port++) {
			const struct endpoint e = at("10.0.0.1", port);
			const unsigned copies = copies_of(&c, &e);

			if (!choice_takes(&half, &e, 0))
				continue;
			n++;
			sum += copies;
			most = MAX(most, copies);
			assert_true(copies == most || copies + 1 == most || n < 100);
		}
		assert_int_equal(most, copies_most(&c));
		/* five standard deviations at most */
		assert_in_range(sum * 1000000 / n, MAX(times[i], 1000000) - (times[i] % 1000000 ? 14000 : 0),
				MAX(times[i], 1000000) + (times[i] % 1000000 ? 14000 : 0));
	}
}

static void keys(void **state)
{
	const struct copies three = { .times = 3000000, .seed = 1 }, one = { .seed = 1 };
	const struct tuple request = { at("10.0.0.1", 5000), at("10.0.0.2", 80) };
	bool seen[64] = { false };

	(void)state;
	assert_int_equal(copies_mask(&three), 3);
	assert_int_equal(copies_mask(&one), 0);
	for (unsigned loop = 0; loop < 16; loop++)
		for (unsigned copy = 0; copy < 3; copy++) {
			const struct flow_key k = copies_key(&three, &request, 2, copy, loop);

			assert_false(seen[k.copy]);
			seen[k.copy] = true;
			assert_int_equal(k.copy & 3, copy);
			assert_true(endpoint_eq(&k.client, &request.src) &&
				    endpoint_eq(&k.online, &request.dst) && k.target == 2);
		}
	assert_int_equal(copies_key(&one, &request, 0, 0, 7).copy, 7);
}

/* Below the spread, all over it; the first copy at once. The same at any time. */
static void apart(void **state)
{
	const struct copies c = { .times = 3000000, .seed = 1, .spread = 200 * NS_PER_MS };
	const struct tuple request = { at("10.0.0.1", 5000), at("10.0.0.2", 80) };
	uint64_t sum = 0;

	(void)state;
	for (unsigned port = 1; port <= 10000; port++) {
		struct flow_key k = copies_key(&c, &request, 2, 0, 5);
		uint64_t later;

		k.client.port = (uint16_t)port;
		assert_int_equal(copies_later(&c, &k), 0);
		k.copy++;
		later = copies_later(&c, &k);
		assert_true(later < c.spread && later == copies_later(&c, &k));
		k.copy++;
		assert_int_not_equal(later, copies_later(&c, &k));
		sum += later;
	}
	assert_in_range(sum / 10000, 97 * NS_PER_MS, 103 * NS_PER_MS); /* five standard deviations */
}

/* By weight, within five standard deviations; and what is divided by client stays together. */
static void several_targets(void **state)
{
	const uint32_t weight[] = { 3, 1, 6 };
	struct targets t = { .mode = TARGETS_SPREAD, .seed = 1 };
	unsigned n[3] = { 0 }, first;

	(void)state;
	for (unsigned port = 1; port <= 50000; port++) {
		const struct endpoint e = at("10.0.0.1", port);

		n[targets_choose(&t, &e, weight, 3)]++;
	}
	assert_in_range(n[0], 15000 - 515, 15000 + 515);
	assert_in_range(n[1], 5000 - 340, 5000 + 340);
	assert_int_equal(n[0] + n[1] + n[2], 50000);
	t.by = TARGETS_BY_CLIENT;
	first = targets_choose(&t, &(struct endpoint){ at("10.0.0.1", 1).addr, 1 }, weight, 3);
	for (unsigned port = 1; port <= 1000; port++) {
		const struct endpoint e = at("10.0.0.1", port);

		assert_int_equal(targets_choose(&t, &e, weight, 3), first);
	}
}

static void syn(struct harness *h, const struct flow_key *k, uint32_t seq)
{
	struct segment s = { .time = h->now, .seq = seq, .flags = TCPF_SYN, .window = 1000, .ttl = 64 };

	s.tuple = (struct tuple){ k->client, k->online };
	harness_captured(h, k, &s);
}

/* Is this the next that is sent: from there, with these flags? */
static bool sent(struct harness *h, const struct endpoint *from, uint8_t flags, uint32_t seq)
{
	struct harness_emission *m = harness_take(h);
	bool ok = m && endpoint_eq(&m->t.tuple.src, from) && m->t.flags == flags && m->t.seq == seq;

	if (m)
		harness_emission_free(m);
	return ok;
}

/* The copy ends, then the client's own session begins, on the same endpoint; no other one ends. */
static void right_of_way(void **state)
{
	const struct flow_key first = { .client = at("10.0.0.1", 5000), .online = at("10.0.0.2", 80) };
	struct flow_key copy = first, client = first;
	const struct endpoint source = at("10.0.3.1", 5000);
	struct harness h;

	(void)state;
	copy.copy = 1;
	client.client = source;
	harness_init(&h);
	h.config.copy_mask = 1;
	harness_start(&h, true);
	syn(&h, &first, 1000);
	assert_true(sent(&h, &first.client, TCPF_SYN, 1000));
	syn(&h, &copy, 1000);
	assert_true(sent(&h, &source, TCPF_SYN, 1000));
	h.holder = copy;
	h.has_holder = true;
	syn(&h, &client, 7000);
	h.has_holder = false;
	assert_true(sent(&h, &source, TCPF_RST, 1001));
	assert_true(sent(&h, &source, TCPF_SYN, 7000));
	assert_null(harness_take(&h));
	assert_int_equal(h.n_outcome, 1);
	assert_int_equal(h.outcome[0].outcome, OUTCOME_GAVE_WAY);
	assert_int_equal(engine_counters(h.engine)->sessions_opened, 3);
	assert_int_equal(engine_counters(h.engine)->sessions_copies, 1);
	/* what the target says to that endpoint now is said to the client's own session */
	assert_ptr_not_equal(engine_find(h.engine, &client), NULL);
	assert_int_equal(harness_watched(&h, &(struct tuple){ h.target[0], source }, 0),
			 session_id(engine_find(h.engine, &client)));
	assert_true(harness_advance(&h, h.now + NS_PER_SEC / 10));
	assert_int_equal(engine_lingering(h.engine), 0);
	assert_null(harness_finish(&h));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(literal), cmocka_unit_test(how_many),        cmocka_unit_test(keys),
		cmocka_unit_test(apart),   cmocka_unit_test(several_targets), cmocka_unit_test(right_of_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
