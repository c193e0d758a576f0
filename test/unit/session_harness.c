/*
 * The mock world of a session engine - theory of operation
 *
 * The engine's ops append to lists: emissions (with a copy of the payload), announcements,
 * outcomes. Nothing is answered; what the target says comes from the test. The clock is a number.
 * Every entry into the engine ends in settle(): the invariants, then a comparison of the payload
 * that the engine promised to keep until the flush with the copy made at emission, then the flush.
 */
#include "session_harness.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define STANDSTILL 100000 /* timers at one time, beyond which time is said to stand still */

static void *grown(void *p, size_t n, size_t size)
{
	p = realloc(p, n * size);
	assert(p);
	return p;
}

/* What is sent for a session must find the assistant prepared for the answer, and for whose SYN it is. */
static bool announced(const struct harness *h, const struct tx_segment *t)
{
	struct tuple response = { .src = t->tuple.dst, .dst = t->tuple.src };

	for (unsigned i = h->n_watch; i-- > 0;)
		if (tuple_eq(&h->watch[i].response, &response))
			return !h->watch[i].unwatched &&
			       (!(t->flags & TCPF_SYN) || h->watch[i].number == t->seq);
	return false;
}

static void op_emit(void *arg, const struct tx_segment *t)
{
	struct harness *h = arg;
	struct harness_emission *m = calloc(1, sizeof(*m)), *b = malloc(sizeof(*b));

	assert(m && b && announced(h, t));
	m->at = h->now;
	m->t = *t;
	if (t->len) {
		m->payload = malloc(t->len);
		assert(m->payload && t->payload);
		memcpy(m->payload, t->payload, t->len);
	}
	*b = *m;
	b->payload = t->len ? memcpy(grown(NULL, t->len, 1), t->payload, t->len) : NULL;
	b->next = h->batch;
	h->batch = b;
	m->t.payload = m->payload;
	*h->last = m;
	h->last = &m->next;
}

static void op_flush(void *arg)
{
	struct harness *h = arg;
	struct harness_emission *b;

	while ((b = h->batch)) {
		/* free()d memory is found by the sanitizer, reused memory here */
		assert(!b->t.len || !memcmp(b->payload, b->t.payload, b->t.len));
		h->batch = b->next;
		harness_emission_free(b);
	}
}

static void op_watch(void *arg, uint64_t id, const struct tuple *response, uint32_t number)
{
	struct harness *h = arg;

	h->watch_calls++;
	h->number = number;
	for (unsigned i = 0; i < h->n_watch; i++)
		if (h->watch[i].id == id) {
			h->watch[i].number = number;
			assert(tuple_eq(&h->watch[i].response, response));
			assert(!h->watch[i].unwatched);
			h->watch[i].watched++;
			return;
		}
	h->watch = grown(h->watch, h->n_watch + 1, sizeof(*h->watch));
	h->watch[h->n_watch++] =
		(struct harness_watch){ .id = id, .response = *response, .number = number, .watched = 1 };
}

static bool op_announce(void *arg, uint64_t id, const struct tuple *response, uint32_t number)
{
	struct harness *h = arg;

	if (h->announce_to.port && !endpoint_eq(&h->announce_to, &response->dst))
		return false;
	op_watch(arg, id, response, number);
	return true;
}

static void op_unwatch(void *arg, uint64_t id, const struct tuple *response)
{
	struct harness *h = arg;

	(void)response;
	h->unwatch_calls++;
	for (unsigned i = 0; i < h->n_watch; i++)
		if (h->watch[i].id == id) {
			assert(!h->watch[i].unwatched);
			h->watch[i].unwatched = 1;
			return;
		}
	assert(!"unwatched, but never watched");
}

struct endpoint harness_source(const struct harness *h, const struct flow_key *k)
{
	struct endpoint source = k->client;

	if (k->copy)
		source.addr = addr_from_v4((const uint8_t[]){ 10, 0, 3, (uint8_t)k->copy });
	for (unsigned i = 0; i < h->n_moved; i++)
		if (!memcmp(&h->moved[i], k, sizeof(*k)))
			source.port = (uint16_t)(source.port + 1000);
	return source;
}

static bool op_source_other(void *arg, const struct flow_key *k, struct endpoint *source)
{
	struct harness *h = arg;

	if (h->no_other)
		return false;
	assert(h->n_moved < HARNESS_MOVES);
	h->moved[h->n_moved++] = *k;
	*source = harness_source(h, k);
	h->sources++;
	return true;
}

static enum decline op_admit(void *arg, const struct flow_key *k, unsigned live, uint64_t now)
{
	const struct harness *h = arg;

	(void)k;
	assert(live == engine_sessions(h->engine) && now == h->now);
	return h->declines;
}

static bool op_source_holder(void *arg, const struct flow_key *k, struct flow_key *holder)
{
	const struct harness *h = arg;

	(void)k;
	*holder = h->holder;
	return h->has_holder;
}

static uint64_t op_later(void *arg, const struct flow_key *k)
{
	(void)k;
	return ((const struct harness *)arg)->later;
}

static bool op_source_take(void *arg, const struct flow_key *k, struct endpoint *source)
{
	struct harness *h = arg;

	if (h->no_source)
		return false;
	*source = harness_source(h, k);
	h->sources++;
	return true;
}

static void op_source_give(void *arg, const struct flow_key *k, const struct endpoint *source)
{
	struct harness *h = arg;
	struct endpoint own = harness_source(h, k);

	assert(addr_eq(&own.addr, &source->addr) && (own.port - source->port) % 1000 == 0 && h->sources > 0);
	h->sources--;
}

static void op_online_ask(void *arg, uint64_t question, const struct flow_key *k)
{
	struct harness *h = arg;

	assert(question);
	for (unsigned i = 0; i < h->n_question; i++)
		assert(h->question[i].id != question);
	h->question = grown(h->question, h->n_question + 1, sizeof(*h->question));
	h->question[h->n_question++] = (struct harness_question){ question, *k, h->now };
}

static void op_ended(void *arg, const struct session *s, enum session_outcome o)
{
	struct harness *h = arg;

	h->outcome = grown(h->outcome, h->n_outcome + 1, sizeof(*h->outcome));
	h->outcome[h->n_outcome++] = (struct harness_outcome){ .key = *session_key(s), .outcome = o };
}

static const struct engine_ops ops = {
	.emit = op_emit,
	.flush = op_flush,
	.watch = op_watch,
	.announce = op_announce,
	.unwatch = op_unwatch,
	.admit = op_admit,
	.source_holder = op_source_holder,
	.later = op_later,
	.source_take = op_source_take,
	.source_other = op_source_other,
	.source_give = op_source_give,
	.online_ask = op_online_ask,
	.ended = op_ended,
};

void harness_init(struct harness *h)
{
	memset(h, 0, sizeof(*h));
	h->declines = DECLINE_COUNT;
	h->config = (struct engine_config){
		.hold = 3 * NS_PER_SEC,
		.session_buffer = 16u << 20,
		.max_half_open = 100,
		.max_observed = 100,
		.max_sessions = 1000,
	};
	for (uint8_t i = 0; i < HARNESS_TARGETS; i++) {
		h->target[i].addr = addr_from_v4((const uint8_t[]){ 10, 0, 1, (uint8_t)(i + 1) });
		h->target[i].port = 6379;
	}
	h->mtu = 1500;
	h->now = HARNESS_START;
	h->last = &h->first;
}

static struct online_answer answer_to(const struct harness *h, const struct harness_question *q)
{
	if (endpoint_eq(&q->key.client, &h->online_gone))
		return (struct online_answer){ .word = ONLINE_GONE };
	if (h->online == ONLINE_GONE || !h->online_known)
		return (struct online_answer){ .word = h->online };
	return (struct online_answer){
		.word = ONLINE_THERE,
		.has_received = true,
		.received = h->online_bytes,
		.acked = UINT64_MAX,
	};
}

/* As a program does that asks its kernel: all is answered when the engine has returned. */
static void answer_at_once(struct harness *h)
{
	while (!h->online_waits && h->n_taken < h->n_question) {
		const struct harness_question *q = &h->question[h->n_taken++];
		struct online_answer a = answer_to(h, q);

		engine_online_answer(h->engine, q->id, &a, h->now);
		engine_check(h->engine);
	}
}

static void settle(struct harness *h)
{
	engine_check(h->engine);
	answer_at_once(h);
	op_flush(h);
	engine_flushed(h->engine);
	engine_check(h->engine);
}

void harness_start(struct harness *h, bool channel_up)
{
	h->engine = engine_new(&h->config, &ops, h, h->now);
	assert(h->engine);
	for (int i = 0; i < HARNESS_TARGETS; i++) {
		int index = engine_add_target(h->engine, &h->target[i], h->mtu);

		assert(index == i);
		engine_set_target_mtu(h->engine, (unsigned)i, h->mtu, !h->routed);
	}
	if (channel_up)
		engine_channel_up(h->engine, UINT_MAX, h->now);
	settle(h);
}

void harness_captured(struct harness *h, const struct flow_key *k, const struct segment *s)
{
	engine_captured(h->engine, k, s, h->now);
	engine_captured_all(h->engine, s->time);
	settle(h);
}

void harness_server(struct harness *h, const struct flow_key *k, const struct segment *s)
{
	engine_server(h->engine, k, s, h->now);
	settle(h);
}

void harness_server_resets(struct harness *h, const struct flow_key *k, const struct segment *s)
{
	engine_server_resets(h->engine, k, s);
	settle(h);
}

void harness_response(struct harness *h, const struct response *r)
{
	engine_response(h->engine, r, h->now);
	settle(h);
}

void harness_answer(struct harness *h, uint64_t question, const struct online_answer *a)
{
	engine_online_answer(h->engine, question, a, h->now);
	settle(h);
}

void harness_channel(struct harness *h, bool up, const struct endpoint *only)
{
	h->announce_to = only ? *only : (struct endpoint){ .port = 0 };
	if (up)
		engine_channel_up(h->engine, UINT_MAX, h->now);
	else
		engine_channel_down(h->engine);
	settle(h);
}

void harness_source_taken(struct harness *h, uint64_t id)
{
	engine_source_taken(h->engine, id, h->now);
	settle(h);
}

void harness_source_lost(struct harness *h, uint64_t id)
{
	engine_source_lost(h->engine, id, h->now);
	settle(h);
}

void harness_unwatched(struct harness *h, uint64_t id, bool deaf)
{
	engine_unwatched(h->engine, id, deaf, h->now);
	settle(h);
}

void harness_shutdown(struct harness *h)
{
	engine_shutdown(h->engine, h->now);
	settle(h);
}

bool harness_advance(struct harness *h, uint64_t to)
{
	uint64_t next;

	for (unsigned i = 0; (next = engine_next(h->engine)) <= to; i++) {
		if (next > h->now) {
			h->now = next;
			i = 0;
		}
		engine_advance(h->engine, h->now);
		settle(h);
		if (i > STANDSTILL)
			return false;
	}
	h->now = MAX(h->now, to);
	return true;
}

struct harness_emission *harness_take(struct harness *h)
{
	struct harness_emission *m = h->first;

	if (!m)
		return NULL;
	h->first = m->next;
	if (!h->first)
		h->last = &h->first;
	return m;
}

const struct harness_question *harness_take_question(struct harness *h)
{
	return h->n_taken < h->n_question ? &h->question[h->n_taken++] : NULL;
}

void harness_emission_free(struct harness_emission *m)
{
	free(m->payload);
	free(m);
}

uint64_t harness_watched(const struct harness *h, const struct tuple *response, unsigned age)
{
	for (unsigned i = h->n_watch; i-- > 0;)
		if (tuple_eq(&h->watch[i].response, response) && age-- == 0)
			return h->watch[i].id;
	return 0;
}

static const char *left_behind(struct harness *h)
{
	struct harness_emission *m;

	while ((m = harness_take(h)))
		harness_emission_free(m);
	harness_shutdown(h);
	if (engine_sessions(h->engine))
		return "sessions survive the shutdown";
	if (!harness_advance(h,
			     h->now + 700 * NS_PER_SEC)) /* beyond the observation of an older connection */
		return "time stands still";
	for (m = h->first; m; m = m->next)
		if (!(m->t.flags & TCPF_RST))
			return "something other than an RST is sent at the shutdown";
	if (engine_lingering(h->engine) || engine_observed(h->engine))
		return "sessions are left";
	if (engine_memory(h->engine))
		return "memory is left";
	if (engine_live_bytes(h->engine))
		return "bytes are neither acknowledged nor given up";
	if (h->sources)
		return "sources are not given back";
	for (unsigned i = 0; i < h->n_watch; i++)
		if (!h->watch[i].unwatched)
			return "a session is still announced";
	if (engine_next(h->engine) != UINT64_MAX)
		return "a timer is left";
	return NULL;
}

const char *harness_finish(struct harness *h)
{
	const char *fault = left_behind(h);
	struct harness_emission *m;

	engine_free(h->engine);
	while ((m = harness_take(h)))
		harness_emission_free(m);
	free(h->watch);
	free(h->question);
	free(h->outcome);
	return fault;
}
