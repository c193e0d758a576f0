/*
 * The engine between a captured client and a target that takes all - theory of operation
 *
 * The target answers a SYN at once, acknowledges what arrives in order, and says nothing of its own; so only
 * what the engine decides of the client's segments is left to be seen. Nothing is held for answers. Responses
 * and answers of the server's socket are given to the engine after the call that caused them, as the pipeline
 * does.
 */
#include "copy.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "packet/options.h"
#include "packet/parse.h"
#include "packet/response.h"
#include "packet/seq.h"
#include "session/session.h"

#define STREAM_MAX (512u << 10)
#define PENDING_MAX 4096
#define TARGET_ISS 5000u

struct copy {
	struct engine *engine;
	copy_ask_fn ask;
	void *arg;
	uint64_t now;
	uint64_t id; /* of the session announced last */
	struct response pending[PENDING_MAX];
	unsigned n_pending;
	uint64_t question[QUESTIONS_MOST];
	unsigned n_questions;
	uint32_t first, nxt; /* of the stream, as the target sees it */
	uint8_t stream[STREAM_MAX];
	size_t n;
	struct copy_state state;
};

static void op_emit(void *arg, const struct tx_segment *t)
{
	struct copy *c = arg;
	struct response *r;
	struct tcp_options opt;

	if (t->flags & TCPF_RST) {
		c->state.end = COPY_RST;
		return;
	}
	assert(c->n_pending < PENDING_MAX);
	r = &c->pending[c->n_pending++];
	*r = (struct response){ .id = c->id, .seq = TARGET_ISS + 1, .flags = TCPF_ACK, .window = 65535 };
	if (t->flags & TCPF_SYN) {
		c->state.connections++;
		c->state.end = COPY_OPEN;
		c->first = c->nxt = t->seq + 1;
		r->seq = TARGET_ISS;
		r->flags |= TCPF_SYN;
		memset(&opt, 0, sizeof(opt));
		assert(tcp_options_parse(&opt, t->options, t->options_len));
		r->opt = (struct tcp_options){ .mss = 1460,
					       .has_wscale = opt.has_wscale,
					       .wscale = 7,
					       .has_sack_permitted = opt.has_sack_permitted,
					       .has_ts = opt.has_ts,
					       .tsval = 1,
					       .tsecr = opt.tsval };
		r->ack = c->nxt;
		return;
	}
	c->state.accepted = true;
	if (t->seq == c->nxt && t->len) {
		assert(c->n + t->len <= STREAM_MAX);
		memcpy(c->stream + c->n, t->payload, t->len);
		c->n += t->len;
		c->nxt += t->len;
	}
	if (t->flags & TCPF_FIN && t->seq + t->len == c->nxt) {
		c->nxt++;
		c->state.end = COPY_FIN;
	}
	r->ack = c->nxt;
	if (!t->len && !(t->flags & TCPF_FIN))
		c->n_pending--; /* an ACK is not answered */
}

static void op_watch(void *arg, uint64_t id, const struct tuple *response, uint32_t number)
{
	(void)number;
	(void)response;
	((struct copy *)arg)->id = id;
}

static void op_unwatch(void *arg, uint64_t id, const struct tuple *response)
{
	(void)arg;
	(void)id;
	(void)response;
}

static void op_online_ask(void *arg, uint64_t question, const struct flow_key *k)
{
	struct copy *c = arg;

	(void)k;
	assert(c->n_questions < QUESTIONS_MOST);
	c->question[c->n_questions++] = question;
}

static const struct engine_ops ops = {
	.emit = op_emit,
	.watch = op_watch,
	.unwatch = op_unwatch,
	.online_ask = op_online_ask,
};

/* What the server's socket says. */
static void answer(struct copy *c, uint64_t question)
{
	struct online_answer a = { .word = ONLINE_UNKNOWN };
	unsigned state;
	uint32_t window;

	if (!c->ask(c->arg, &state, &a.received, &window)) {
		a.word = state == 7 ? ONLINE_GONE : ONLINE_THERE; /* TCP_CLOSE */
		a.tcp_state = (uint8_t)state;
		a.has_received = a.word == ONLINE_THERE;
	}
	engine_online_answer(c->engine, question, &a, c->now);
}

/* Until nothing is left to be answered. */
static void settle(struct copy *c)
{
	struct response r;

	while (c->n_questions)
		answer(c, c->question[--c->n_questions]);
	engine_flushed(c->engine);
	while (c->n_pending) {
		r = c->pending[0];
		memmove(c->pending, c->pending + 1, --c->n_pending * sizeof(r));
		engine_response(c->engine, &r, c->now);
		engine_flushed(c->engine);
	}
	engine_check(c->engine);
}

struct copy *copy_new(copy_ask_fn ask, void *arg)
{
	struct engine_config config = {
		.session_buffer = 16u << 20, .max_half_open = 100, .max_observed = 100, .max_sessions = 100
	};
	struct endpoint target = { .addr = addr_from_v4((const uint8_t[]){ 10, 0, 1, 1 }), .port = 7000 };
	struct copy *c = calloc(1, sizeof(*c));

	assert(c);
	c->ask = ask;
	c->arg = arg;
	c->now = 1000 * NS_PER_SEC;
	c->engine = engine_new(&config, &ops, c, c->now);
	assert(c->engine);
	engine_add_target(c->engine, &target, 1500);
	engine_channel_up(c->engine, UINT_MAX, c->now);
	return c;
}

void copy_free(struct copy *c)
{
	engine_free(c->engine);
	free(c);
}

void copy_captured(struct copy *c, const uint8_t *packet, size_t len)
{
	struct segment s;
	struct flow_key k;

	if (parse_ip(&s, packet, (uint32_t)len, (uint32_t)len, CHECKSUM_VERIFY) != PARSE_OK)
		return;
	s.time = c->now;
	k = (struct flow_key){ .client = s.tuple.src, .online = s.tuple.dst };
	engine_captured(c->engine, &k, &s, c->now);
	engine_captured_all(c->engine, c->now);
	settle(c);
}

void copy_sent_by_server(struct copy *c, const uint8_t *packet, size_t len)
{
	(void)c;
	(void)packet;
	(void)len;
}

void copy_advance(struct copy *c, uint64_t ns)
{
	uint64_t to = c->now + ns, next;

	while ((next = engine_next(c->engine)) <= to) {
		c->now = MAX(c->now, next);
		engine_captured_all(c->engine, c->now);
		engine_advance(c->engine, c->now);
		settle(c);
	}
	c->now = to;
	engine_captured_all(c->engine, c->now);
}

struct copy_state copy_state(const struct copy *c)
{
	struct copy_state s = c->state;

	s.bytes = c->stream;
	s.n_bytes = c->n;
	return s;
}

void copy_print(const struct copy *c)
{
	const struct engine_counters *n = engine_counters(c->engine);

#define X(field, text)                                                                                       \
	if (n->field)                                                                                        \
		fprintf(stderr, "    %s %llu\n", #field, (unsigned long long)n->field);
	ENGINE_COUNTERS(X)
#undef X
	for (int o = 0; o < OUTCOME_COUNT; o++)
		if (n->ended[o])
			fprintf(stderr, "    ended %s\n", session_outcome_name((enum session_outcome)o));
}
