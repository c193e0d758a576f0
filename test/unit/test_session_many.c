/*
 * Many sessions: what has to happen to all of them happens in portions. A new connection to an
 * assistant: they are announced while there is room, all of them, and rightly those that end and
 * begin meanwhile. A target that speaks again after a silence: its signs of life help all. Packets
 * that were lost: all quiet sessions are asked about, as fast as there are answers.
 *
 * The engine is driven by engine_next() alone, as in a program that has nothing else to do: what it
 * does not ask to be woken for does not happen.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "session/session.h"

#define SESSIONS 5000u
#define MORE 300u

struct world {
	struct engine *e;
	uint64_t now;
	unsigned emitted;
	unsigned watches;              /* since the connection is up */
	bool watched[SESSIONS + MORE]; /* what the assistant knows, by port */
	uint64_t id[SESSIONS + MORE];
	uint64_t question[SESSIONS]; /* not answered yet */
	unsigned n_questions;
	unsigned asked[SESSIONS + MORE]; /* times */
	bool new[2]; /* the channel of the even ports, of the odd ones: not all is announced on it */
	unsigned announced[SESSIONS + MORE]; /* times, on one of them */
};

static unsigned index_of(const struct tuple *response)
{
	return response->dst.port - 1024u;
}

static void on_emit(void *arg, const struct tx_segment *t)
{
	(void)t;
	((struct world *)arg)->emitted++;
}

static void on_watch(void *arg, uint64_t id, const struct tuple *response, uint32_t number)
{
	struct world *w = arg;

	(void)number;
	w->watches++;
	w->watched[index_of(response)] = true;
	w->id[index_of(response)] = id;
}

static void on_unwatch(void *arg, uint64_t id, const struct tuple *response)
{
	struct world *w = arg;

	(void)id;
	w->watched[index_of(response)] = false;
}

static void on_ask(void *arg, uint64_t question, const struct flow_key *key)
{
	struct world *w = arg;

	assert_true(w->n_questions < SESSIONS);
	w->question[w->n_questions++] = question;
	w->asked[key->client.port - 1024u]++;
}

static const struct engine_ops ops = {
	.online_ask = on_ask,
	.emit = on_emit,
	.watch = on_watch,
	.unwatch = on_unwatch,
};

static bool on_announce(void *arg, uint64_t id, const struct tuple *response, uint32_t number)
{
	struct world *w = arg;
	unsigned i = index_of(response);

	(void)number;
	(void)id;
	w->announced[i] += w->new[i % 2];
	return w->new[i % 2];
}

static const struct engine_ops ops_two_channels = {
	.emit = on_emit,
	.watch = on_watch,
	.announce = on_announce,
	.unwatch = on_unwatch,
};

static void captured(struct world *w, unsigned i, uint8_t flags)
{
	struct segment s = { .time = w->now, .seq = 1000 + !(flags & TCPF_SYN), .ack = 5001, .flags = flags };
	struct flow_key k = { .client = { .port = (uint16_t)(1024 + i) }, .online = { .port = 80 } };

	assert_true(addr_parse(&k.client.addr, "10.0.0.1") && addr_parse(&k.online.addr, "10.0.0.2"));
	s.tuple = (struct tuple){ k.client, k.online };
	engine_captured(w->e, &k, &s, w->now);
}

static void open_session(struct world *w, unsigned i)
{
	captured(w, i, TCPF_SYN);
	assert_true(w->watched[i]);
	engine_response(
		w->e,
		&(struct response){ .id = w->id[i], .seq = 5000, .ack = 1001, .flags = TCPF_SYN | TCPF_ACK },
		w->now);
	captured(w, i, TCPF_ACK);
}

/* The client resets, and so does the session; then its memory goes. */
static void close_session(struct world *w, unsigned i)
{
	captured(w, i, TCPF_RST | TCPF_ACK);
}

/* Sleep until engine_next(), but not beyond @until. False: until then nothing is due any more. */
static bool step(struct world *w, uint64_t until)
{
	uint64_t next = engine_next(w->e);

	if (next > until) {
		w->now = until;
		return false;
	}
	w->now = next > w->now ? next : w->now;
	engine_advance(w->e, w->now);
	engine_flushed(w->e);
	return true;
}

static void world_open_with(struct world *w, const struct engine_ops *o)
{
	const struct engine_config c = {
		.session_buffer = 1 << 20,
		.max_half_open = 10000,
		.max_observed = 10000,
		.max_sessions = 10000,
		.key = { 1, 2 },
	};
	struct endpoint target = { .port = 80 };

	*w = (struct world){ .now = 1000000000 };
	w->e = engine_new(&c, o, w, w->now);
	assert_non_null(w->e);
	assert_true(addr_parse(&target.addr, "10.0.0.3"));
	assert_int_equal(engine_add_target(w->e, &target, 1500), 0);
	engine_channel_up(w->e, UINT_MAX, w->now);
}

static void world_open(struct world *w)
{
	world_open_with(w, &ops);
}

static void pass(struct world *w, uint64_t ns)
{
	uint64_t until = w->now + ns;

	for (unsigned n = 0; step(w, until); n++)
		assert_true(n < 1000000); /* time does not stand still */
}

static void signs_of_life(void **state)
{
	static struct world w;
	unsigned sent = 0;

	(void)state;
	world_open(&w);
	for (unsigned i = 0; i < 300; i++) {
		captured(&w, i, TCPF_SYN);
		captured(&w, i, TCPF_ACK);
	}
	pass(&w, 3500000000);              /* SYNs again after 1 s and 3 s, and then for 4 s nothing */
	for (uint16_t i = 0; i < 200; i++) /* the list of targets may move meanwhile */
		assert_true(engine_add_target(w.e, &(struct endpoint){ .port = i }, 1500) > 0);
	engine_check(w.e);
	for (unsigned i = 0; i < 3; i++) {
		const struct response r = {
			.id = w.id[i],
			.seq = 5000,
			.ack = 1001,
			.flags = TCPF_SYN | TCPF_ACK,
		};

		w.emitted = 0;
		engine_response(w.e, &r, w.now);
		pass(&w, 10000000);
		assert_in_range(w.emitted, 1, 129);
		sent += w.emitted;
		engine_check(w.e);
	}
	assert_in_range(sent, 298, 304);
	engine_free(w.e);
}

static void lose_channel(struct world *w)
{
	engine_channel_down(w->e);
	memset(w->watched, 0, sizeof(w->watched));
	w->watches = 0;
}

/* Nothing but the announcements is due for hours, and they are all made at once. */
static void idle(void **state)
{
	static struct world w;
	uint64_t up;

	(void)state;
	world_open(&w);
	for (unsigned i = 0; i < SESSIONS; i++)
		open_session(&w, i);
	pass(&w, 600000000000);
	assert_true(engine_next(w.e) > w.now + 3600000000000);
	lose_channel(&w);
	pass(&w, 1000000000);
	up = w.now;
	engine_channel_up(w.e, UINT_MAX, w.now);
	assert_in_range(w.watches, 1, 128);
	while (step(&w, up + 1000000))
		;
	assert_int_equal(w.watches, SESSIONS);
	assert_false(engine_announcing(w.e));
	for (unsigned i = 0; i < SESSIONS; i++)
		assert_true(w.watched[i]);
	engine_check(w.e);
	engine_free(w.e);
}

/* Another channel comes up while the sessions are being announced on the first: on it, too, all are. */
static void two_channels(void **state)
{
	static struct world w;
	unsigned again = 0;

	(void)state;
	world_open_with(&w, &ops_two_channels);
	for (unsigned i = 0; i < SESSIONS; i++)
		open_session(&w, i);
	pass(&w, 1000000000);
	assert_false(engine_announcing(w.e));
	for (unsigned up = 0; up < 2; up++) {
		w.new[up] = true;
		engine_channel_up(w.e, 100, w.now);
		pass(&w, 20000000);
		assert_true(engine_announcing(w.e)); /* there was no room for more */
	}
	engine_channel_room(w.e, UINT_MAX, w.now);
	pass(&w, 20000000);
	assert_false(engine_announcing(w.e));
	for (unsigned i = 0; i < SESSIONS; i++) {
		assert_in_range(w.announced[i], 1, 2);
		again += w.announced[i] - 1;
	}
	assert_int_equal(again, 100);
	engine_check(w.e);
	engine_free(w.e);
}

static void portions(void **state)
{
	static struct world w;
	unsigned calls = 0, closed = 0;

	(void)state;
	world_open(&w);
	for (unsigned i = 0; i < SESSIONS; i++)
		open_session(&w, i);
	assert_int_equal(engine_sessions(w.e), SESSIONS);

	lose_channel(&w);
	engine_channel_up(w.e, 0, w.now);
	pass(&w, 20000000);
	assert_int_equal(w.watches, 0); /* there is no room */
	for (; w.watches < SESSIONS - MORE && calls < 1000; calls++) {
		unsigned room = calls % 3 * 100, before = w.watches, last = before;

		engine_channel_room(w.e, room, w.now);
		for (; step(&w, w.now); last = w.watches)
			assert_true(w.watches - last <= 128);
		assert_int_equal(w.watches - before, room);
		if (calls == 3) /* some end before they are announced, some after, some begin */
			for (unsigned i = 0; i < MORE; i++) {
				close_session(&w, i * 5 + 1);
				closed++;
				open_session(&w, SESSIONS + i);
			}
	}
	engine_channel_room(w.e, UINT_MAX, w.now);
	pass(&w, 3000000000); /* and those that ended are gone */
	for (unsigned i = 0; i < SESSIONS + MORE; i++) {
		bool over = i < MORE * 5 && i % 5 == 1;

		assert_int_equal(w.watched[i], !over);
	}
	assert_int_equal(closed, MORE);
	assert_int_equal(engine_sessions(w.e), SESSIONS);
	engine_check(w.e);

	/* lost again in the middle: nothing more is announced */
	engine_channel_up(w.e, UINT_MAX, w.now);
	engine_channel_down(w.e);
	w.watches = 0;
	engine_channel_room(w.e, UINT_MAX, w.now);
	pass(&w, 20000000);
	assert_int_equal(w.watches, 0);
	engine_free(w.e);
}

/* The last one first. What is said tells of no socket, so sessions are asked about after a loss only. */
static void answer_all(struct world *w)
{
	while (w->n_questions)
		engine_online_answer(w->e, w->question[--w->n_questions],
				     &(struct online_answer){ .word = ONLINE_UNKNOWN }, w->now);
}

static void questions(void **state)
{
	const struct engine_questions *n;
	static struct world w;
	const unsigned sessions = 3000;
	unsigned left = sessions;

	(void)state;
	world_open(&w);
	for (unsigned i = 0; i < sessions; i++)
		open_session(&w, i);
	answer_all(&w);
	pass(&w, 1000000000);
	n = engine_questions(w.e);
	memset(w.asked, 0, sizeof(w.asked));

	/* a second after the loss, 8 in a millisecond: as many as can be open, then as answers come */
	engine_capture_lost(w.e, w.now);
	pass(&w, 1005000000);
	assert_in_range(w.n_questions, 8, 6 * 8);
	while (left) {
		pass(&w, 100000000);
		assert_int_equal(w.n_questions, MIN(left, QUESTIONS_MOST));
		left -= w.n_questions;
		assert_int_equal(n->open, w.n_questions);
		engine_check(w.e);
		answer_all(&w);
		assert_int_equal(n->open, 0);
	}
	assert_true(n->refused > 0 && !n->overdue);
	for (unsigned i = 0; i < sessions; i++)
		assert_int_equal(w.asked[i], 1);

	/* 10 s after it nobody answers, and each has its second time all the same */
	pass(&w, 30000000000);
	assert_int_equal(n->overdue, sessions);
	for (unsigned i = 0; i < sessions; i++)
		assert_int_equal(w.asked[i], 2);
	answer_all(&w);
	assert_int_equal(n->ignored, sessions);
	assert_int_equal(engine_sessions(w.e), sessions);
	engine_check(w.e);
	engine_free(w.e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle),      cmocka_unit_test(two_channels),  cmocka_unit_test(portions),
		cmocka_unit_test(questions), cmocka_unit_test(signs_of_life),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
