/*
 * The timing wheel against a model (an array of times, searched from end to end) under random sets,
 * cancels and jumps of a virtual clock, with callbacks that set and cancel; and the cases that
 * random tests reach too seldom.
 */
#include <setjmp.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "base/wheel.h"

#define TIMERS 300

static uint64_t seed;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

struct timer {
	struct wheel_node node;
	bool armed; /* as the model sees it */
	uint64_t at;
	uint64_t set_in; /* the advance in whose callbacks it was set, or 0 */
};

struct model {
	struct wheel *w;
	struct timer timers[TIMERS];
	uint64_t now, advance;
	unsigned fired;
};

/* Times from "past" over ticks to days: every level is used. */
static uint64_t random_time(uint64_t now)
{
	uint64_t ahead = next_random() >> (next_random() % 40 + 15); /* below 2^49 ns, 6 days */

	if (next_random() % 16 == 0)
		return now > ahead ? now - ahead : 0;
	if (next_random() % 64 == 0)
		return UINT64_MAX - ahead;
	if (next_random() % 4 == 0)
		return (now + ahead) / WHEEL_TICK_NS * WHEEL_TICK_NS; /* just on a tick */
	return now + ahead;
}

static void set(struct model *m, struct timer *t, uint64_t at)
{
	wheel_set(m->w, &t->node, at);
	t->armed = true;
	t->at = at;
	t->set_in = 0;
}

static void cancel(struct model *m, struct timer *t)
{
	wheel_cancel(m->w, &t->node);
	t->armed = false;
	assert_false(wheel_armed(&t->node));
}

static unsigned model_count(const struct model *m)
{
	unsigned count = 0;

	for (size_t i = 0; i < TIMERS; i++)
		count += m->timers[i].armed;
	return count;
}

static void on_fire(struct wheel_node *node, uint64_t now, void *arg)
{
	struct model *m = arg;
	struct timer *t = CONTAINER_OF(node, struct timer, node), *other;

	assert_true(t->armed);
	assert_false(wheel_armed(node));
	assert_true(now == m->now);
	assert_true(node->at == t->at);
	assert_true(t->at <= now);            /* never early */
	assert_true(t->set_in != m->advance); /* not in the advance that set it */
	t->armed = false;
	m->fired++;

	other = &m->timers[next_random() % TIMERS];
	switch (next_random() % 6) {
	case 0:
		set(m, t, random_time(now));
		t->set_in = m->advance;
		break;
	case 1:
		set(m, other, random_time(now));
		other->set_in = m->advance;
		break;
	case 2:
		cancel(m, other);
		break;
	case 3:
		set(m, t, now); /* for ever */
		t->set_in = m->advance;
		break;
	default:
		break;
	}
}

static void check_next(const struct model *m)
{
	uint64_t next = wheel_next(m->w), earliest = UINT64_MAX;
	unsigned count = 0;

	for (size_t i = 0; i < TIMERS; i++) {
		if (!m->timers[i].armed)
			continue;
		assert_true(wheel_armed(&m->timers[i].node));
		count++;
		if (m->timers[i].at < earliest)
			earliest = m->timers[i].at;
	}
	assert_int_equal(wheel_count(m->w), count);
	if (!count) {
		assert_true(next == UINT64_MAX);
		return;
	}
	/* Not later than the end of the tick in which the earliest is due. */
	if (earliest <= UINT64_MAX - WHEEL_TICK_NS)
		assert_true(next < MAX(earliest, m->now) + WHEEL_TICK_NS);
	if (earliest > m->now)
		assert_true(next > m->now || earliest < m->now + WHEEL_TICK_NS);
}

static void run_model(uint64_t start, uint64_t model_seed)
{
	static struct model m;

	memset(&m, 0, sizeof(m));
	seed = model_seed;
	m.now = start;
	m.w = wheel_new(start);
	assert_true(wheel_next(m.w) == UINT64_MAX);
	for (m.advance = 1; m.advance < 1500; m.advance++) {
		unsigned steps = next_random() % 20, reported;

		while (steps--) {
			struct timer *t = &m.timers[next_random() % TIMERS];

			if (next_random() % 4)
				set(&m, t, random_time(m.now));
			else
				cancel(&m, t);
		}
		check_next(&m);

		switch (next_random() % 8) {
		case 0:
			break; /* no time passes */
		case 1:
			m.now += next_random() >> (next_random() % 34 + 16); /* a jump, up to 3 days */
			break;
		case 2:
			if (wheel_next(m.w) != UINT64_MAX && wheel_next(m.w) > m.now)
				m.now = wheel_next(m.w); /* as a loop would */
			break;
		default:
			m.now += next_random() % (4 * WHEEL_TICK_NS);
		}
		m.fired = 0;
		reported = wheel_advance(m.w, m.now, UINT_MAX, on_fire, &m);
		assert_int_equal(reported, m.fired);
		/* Nothing that is due for a tick or more, and was not set just now, is left. */
		for (size_t i = 0; i < TIMERS; i++) {
			const struct timer *t = &m.timers[i];

			if (t->armed && t->set_in != m.advance)
				assert_true(t->at > m.now / WHEEL_TICK_NS * WHEEL_TICK_NS);
		}
		assert_int_equal(wheel_count(m.w), model_count(&m));
	}
	wheel_free(m.w);
}

static void model(void **state)
{
	(void)state;
	for (uint64_t s = 1; s <= 10; s++) {
		run_model(0, s * 0x9e3779b97f4a7c15ull);
		run_model(s * 123456789012345ull, s * 0xbf58476d1ce4e5b9ull);
		run_model((1ull << 41) - s * 1000,
			  s * 0x94d049bb133111ebull); /* a carry through all levels */
	}
}

struct trace {
	struct wheel_node *fired[16];
	unsigned count;
	struct wheel *w;
	struct wheel_node *victim;
};

static void record(struct wheel_node *node, uint64_t now, void *arg)
{
	struct trace *t = arg;

	(void)now;
	t->fired[t->count++] = node;
	if (t->victim)
		wheel_cancel(t->w, t->victim);
}

/* Following wheel_next() alone, as a loop with nothing else to do, every timer is hit within its
 * tick, in few steps. */
static void follow_next(void **state)
{
	static const uint64_t delays[] = { 1,          NS_PER_MS,      40 * NS_PER_MS,   200 * NS_PER_MS,
					   NS_PER_SEC, 3 * NS_PER_SEC, 600 * NS_PER_SEC, 86400 * NS_PER_SEC };
	struct wheel_node nodes[ARRAY_SIZE(delays)] = { 0 };
	uint64_t start = 987654321987654ull, now = start;
	struct trace t = { .count = 0 };
	unsigned steps = 0;

	(void)state;
	t.w = wheel_new(start);
	for (size_t i = 0; i < ARRAY_SIZE(delays); i++)
		wheel_set(t.w, &nodes[i], start + delays[i]);
	while (wheel_next(t.w) != UINT64_MAX) {
		unsigned before = t.count;

		assert_true(wheel_next(t.w) >= now || t.count == 0);
		now = MAX(now, wheel_next(t.w));
		wheel_advance(t.w, now, UINT_MAX, record, &t);
		steps++;
		for (unsigned i = before; i < t.count; i++) {
			assert_ptr_equal(t.fired[i], &nodes[i]);
			assert_true(now >= start + delays[i]);
			assert_true(now < start + delays[i] + WHEEL_TICK_NS);
		}
	}
	assert_int_equal(t.count, ARRAY_SIZE(delays));
	assert_true(steps <= ARRAY_SIZE(delays) * 8);
	wheel_free(t.w);
}

/* Cancelling one that is due in the same advance, later in the same list or in a later slot, keeps
 * it from firing. */
static void cancel_in_callback(void **state)
{
	(void)state;
	for (uint64_t apart = 0; apart < 1000 * NS_PER_MS; apart = apart * 2 + WHEEL_TICK_NS / 2) {
		struct wheel_node a = { 0 }, b = { 0 };
		struct trace t = { .w = wheel_new(0) };

		wheel_set(t.w, &a, 1000 * NS_PER_MS);
		wheel_set(t.w, &b, 1000 * NS_PER_MS + apart);
		t.victim = &b;
		wheel_advance(t.w, 5000 * NS_PER_MS, UINT_MAX, record, &t);
		assert_int_equal(wheel_count(t.w), 0);
		assert_true(t.count >= 1 && t.count <= 2);
		/* within a tick either may come first; b cannot cancel a */
		assert_ptr_equal(t.fired[t.count - 1], &a);
		if (apart >= WHEEL_TICK_NS)
			assert_int_equal(t.count, 1);
		wheel_free(t.w);
	}
}

static void past_and_rearm(void **state)
{
	struct wheel_node a = { 0 };
	struct trace t = { .w = wheel_new(NS_PER_SEC) };

	(void)state;
	wheel_set(t.w, &a, 0);
	assert_true(wheel_next(t.w) <= NS_PER_SEC);
	wheel_set(t.w, &a, 2 * NS_PER_SEC); /* rearmed: the old time is forgotten */
	assert_int_equal(wheel_count(t.w), 1);
	assert_int_equal(wheel_advance(t.w, NS_PER_SEC + 5, UINT_MAX, record, &t), 0);
	assert_int_equal(wheel_advance(t.w, 2 * NS_PER_SEC - 1, UINT_MAX, record, &t), 0);
	wheel_set(t.w, &a, 1);
	assert_int_equal(wheel_advance(t.w, 2 * NS_PER_SEC - 1, UINT_MAX, record, &t), 1);
	wheel_cancel(t.w, &a); /* not armed: nothing */
	assert_int_equal(wheel_count(t.w), 0);

	wheel_set(t.w, &a, UINT64_MAX); /* as good as never */
	assert_true(wheel_next(t.w) > 2 * NS_PER_SEC);
	assert_int_equal(wheel_advance(t.w, UINT64_MAX / 2, UINT_MAX, record, &t), 0);
	wheel_cancel(t.w, &a);
	assert_true(wheel_next(t.w) == UINT64_MAX);

	/* A slot that a cancel has emptied wakes no one up. */
	wheel_set(t.w, &a, UINT64_MAX / 2 + NS_PER_SEC);
	assert_true(wheel_next(t.w) < UINT64_MAX);
	wheel_cancel(t.w, &a);
	assert_true(wheel_next(t.w) == UINT64_MAX);

	/* A clock that steps back fires nothing new and does no harm. */
	wheel_set(t.w, &a, UINT64_MAX / 2 + NS_PER_SEC);
	assert_int_equal(wheel_advance(t.w, 5, UINT_MAX, record, &t), 0);
	assert_int_equal(wheel_advance(t.w, UINT64_MAX / 2 + 2 * NS_PER_SEC, UINT_MAX, record, &t), 1);
	wheel_free(t.w);
}

#define CROWD 5000

struct crowd {
	struct wheel *w;
	struct wheel_node node[CROWD], quick;
	uint64_t at; /* of the crowd */
	unsigned fired, quick_fired;
};

static void crowd_fired(struct wheel_node *n, uint64_t now, void *arg)
{
	struct crowd *c = arg;

	assert_true(n->at <= now);
	if (n == &c->quick) {
		assert_true(now < n->at + 2 * WHEEL_TICK_NS);
		c->quick_fired++;
		wheel_set(c->w, n, now + NS_PER_MS);
	} else {
		c->fired++;
	}
}

/* Thousands that become due at once, far ahead: no call does more than it may, all fire, and one
 * that was set shortly before is not held up. */
static void bounded_work(void **state)
{
	static struct crowd c;
	uint64_t now = 5 * NS_PER_SEC;
	unsigned calls = 0, quick = 0;

	(void)state;
	c.w = wheel_new(now);
	c.at = now + 600 * NS_PER_SEC;
	for (unsigned i = 0; i < CROWD; i++)
		wheel_set(c.w, &c.node[i], c.at + i % 3 * WHEEL_TICK_NS);
	wheel_set(c.w, &c.quick, now + NS_PER_MS);
	for (; c.fired < CROWD; calls++) {
		uint64_t next = wheel_next(c.w);
		unsigned fired = c.fired;

		assert_true(next != UINT64_MAX);
		now = MAX(now + NS_PER_US, next);
		wheel_advance(c.w, now, 16, crowd_fired, &c);
		assert_true(c.fired - fired <= 16);
		assert_true(c.fired == 0 || now >= c.at);
	}
	quick = c.quick_fired;
	assert_true(quick > 500000); /* each ms of the 600 s */
	assert_true(calls >= CROWD / 16);
	assert_true(now < c.at + NS_PER_SEC);
	assert_int_equal(wheel_count(c.w), 1);
	wheel_cancel(c.w, &c.quick);
	assert_true(wheel_next(c.w) == UINT64_MAX);

	/* Cancelled while they wait for their turn. */
	for (unsigned i = 0; i < CROWD; i++)
		wheel_set(c.w, &c.node[i], now + NS_PER_SEC);
	now += NS_PER_SEC + WHEEL_TICK_NS;
	assert_true(wheel_advance(c.w, now, 16, crowd_fired, &c) <= 16);
	assert_true(wheel_next(c.w) <= now);
	for (unsigned i = 0; i < CROWD; i++)
		wheel_cancel(c.w, &c.node[i]);
	assert_int_equal(wheel_count(c.w), 0);
	assert_true(wheel_next(c.w) == UINT64_MAX);
	assert_int_equal(wheel_advance(c.w, now + NS_PER_SEC, 16, crowd_fired, &c), 0);
	wheel_free(c.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(model),
		cmocka_unit_test(follow_next),
		cmocka_unit_test(cancel_in_callback),
		cmocka_unit_test(past_and_rearm),
		cmocka_unit_test(bounded_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
