/*
 * The session engine against a hostile world - theory of operation
 *
 * The bytes are a program: each operation captures a segment of one of a few clients, brings a
 * response that may be right or a lie, lets time jump, cuts the channel, or lets the sink finish.
 * To get anywhere, clients and targets are followed a little: the next sequence number of each
 * client, what was last emitted for it, and where its target stands; operations work from there
 * with offsets. What a byte of a client's stream is follows from its sequence number, so whatever
 * is emitted can be judged. Memory and session buffers are small, so that their limits are met too.
 * After each operation all invariants are checked; in the end the engine is shut down and nothing
 * may be left.
 */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "packet/options.h"
#include "packet/seq.h"
#include "session/session.h"

#define FLOWS                                                                                                \
	6 /* the odd ones share their client's address and port with the one before, towards       \
	     another target */
#define MOST_DATA 70000
#define QUESTIONS 8

struct flow {
	struct flow_key key;
	uint32_t seq, ack, ts; /* the client's next */
	bool ts_on;
	/* as emitted */
	uint64_t id;
	bool known;
	uint32_t iss, nxt, acked, last_ts;
	bool has_ts, emitted;
	/* the target's */
	uint32_t target_seq, target_ts;
};

struct world {
	struct engine *e;
	struct flow flow[FLOWS];
	uint64_t now;
	unsigned emitted;
	bool up, refuse_source;
	uint64_t question[QUESTIONS]; /* asked last, the newest first; answered or not */
	const uint8_t *p, *end;
};

static uint8_t payload[MOST_DATA];
static volatile uint8_t touched;

static uint8_t next8(struct world *w)
{
	return w->p < w->end ? *w->p++ : 0;
}

static uint16_t next16(struct world *w)
{
	uint8_t hi = next8(w);

	return (uint16_t)(hi << 8 | next8(w));
}

static uint8_t content(uint32_t seq)
{
	return (uint8_t)(seq * 2654435761u >> 23);
}

static struct flow *flow_of(struct world *w, const struct endpoint *client, uint16_t target_port)
{
	for (int i = 0; i < FLOWS; i++)
		if (endpoint_eq(&w->flow[i].key.client, client) &&
		    6000 + w->flow[i].key.target == target_port)
			return &w->flow[i];
	abort();
}

static void op_emit(void *arg, const struct tx_segment *t)
{
	struct world *w = arg;
	struct flow *f = flow_of(w, &t->tuple.src, t->tuple.dst.port);
	struct tcp_options o;

	assert(++w->emitted < 20000);
	assert(t->options_len % 4 == 0 && t->options_len <= TCP_MAX_OPTIONS_LEN);
	assert(tcp_options_parse(&o, t->options, t->options_len));
	assert(!o.n_sack && !o.has_unknown && !o.has_mptcp && !o.has_tfo);
	for (uint32_t i = 0; i < t->len; i++)
		assert(t->payload[i] == content(t->seq + i));
	if (t->len)
		touched = t->payload[t->len - 1];
	if (t->flags & TCPF_SYN && (!f->emitted || f->iss != t->seq)) {
		f->iss = t->seq;
		f->nxt = t->seq + 1;
		f->has_ts = false;
	}
	f->emitted = true;
	if (t->flags & TCPF_RST)
		return;
	if (o.has_ts) {
		assert(!f->has_ts || seq_ge(o.tsval, f->last_ts));
		f->has_ts = true;
		f->last_ts = o.tsval;
	}
	f->nxt = seq_max(f->nxt, t->seq + t->len + !!(t->flags & (TCPF_SYN | TCPF_FIN)));
	f->acked = t->ack;
}

static void op_watch(void *arg, uint64_t id, const struct tuple *response, uint32_t number)
{
	struct flow *f = flow_of(arg, &response->dst, response->src.port);

	(void)number;
	f->id = id;
	f->known = true;
}

static void op_unwatch(void *arg, uint64_t id, const struct tuple *response)
{
	struct flow *f = flow_of(arg, &response->dst, response->src.port);

	(void)id;
	f->known = true; /* its late responses may still come */
}

static bool op_source_take(void *arg, const struct flow_key *key, struct endpoint *source)
{
	struct world *w = arg;

	*source = key->client;
	return !w->refuse_source;
}

static void op_source_give(void *arg, const struct flow_key *key, const struct endpoint *source)
{
	(void)arg;
	assert(endpoint_eq(&key->client, source));
}

static void op_online_ask(void *arg, uint64_t question, const struct flow_key *key)
{
	struct world *w = arg;

	(void)key;
	assert(question > w->question[0]);
	memmove(w->question + 1, w->question, sizeof(w->question) - sizeof(w->question[0]));
	w->question[0] = question;
}

static const struct engine_ops ops = {
	.emit = op_emit,
	.watch = op_watch,
	.unwatch = op_unwatch,
	.source_take = op_source_take,
	.source_give = op_source_give,
	.online_ask = op_online_ask,
};

static struct endpoint endpoint_at(uint8_t host, uint16_t port)
{
	const uint8_t four[4] = { 10, 0, 0, host };

	return (struct endpoint){ .addr = addr_from_v4(four), .port = port };
}

/* --- the client ---------------------------------------------------------------------------- */

static void capture(struct world *w, struct flow *f, uint8_t flags, uint32_t seq, uint32_t len,
		    uint32_t captured)
{
	uint8_t options[TCP_MAX_OPTIONS_LEN];
	struct segment g = {
		.tuple = { f->key.client, f->key.online },
		.time = w->now,
		.seq = seq,
		.ack = f->ack,
		.len = len,
		.captured = captured,
		.payload = payload,
		.flags = flags,
		.window = (uint16_t)(f->seq * 31),
		.ttl = 64,
		.tos = (uint8_t)seq,
		.ip_id = (uint16_t)seq,
		.gso_size = len > 1448 ? 1448 : 0,
	};

	g.opt.has_ts = f->ts_on;
	g.opt.tsval = f->ts;
	if (flags & TCPF_SYN) {
		g.opt.mss = 1460;
		g.opt.has_wscale = g.opt.has_sack_permitted = seq & 1;
		g.opt.wscale = g.opt.has_wscale ? 7 : 0;
		g.raw_options = options;
		g.raw_options_len = tcp_options_syn_build(options, 1460, g.opt.has_wscale ? 7 : -1,
							  g.opt.has_sack_permitted, f->ts_on, f->ts);
	}
	for (uint32_t i = 0; i < captured; i++)
		payload[i] = content(seq + !!(flags & TCPF_SYN) + i);
	engine_captured(w->e, &f->key, &g, w->now);
	engine_captured_all(w->e, g.time);
}

static void client_syn(struct world *w, struct flow *f)
{
	uint8_t how = next8(w);

	if (!(how & 1)) /* else: the same again */
		f->seq += (uint32_t)how << 8;
	f->ts_on = how & 2;
	capture(w, f, how & 4 ? TCPF_SYN | TCPF_ECE | TCPF_CWR : TCPF_SYN, f->seq, how & 8 ? how : 0,
		how & 8 ? how : 0);
	if (!(how & 1))
		f->seq++;
}

static void client_data(struct world *w, struct flow *f, bool odd)
{
	uint16_t n = next16(w);
	uint32_t len = n & 0x8000 ? (n & 0x7fff) * 2u : n & 0x3ff, captured = len;
	uint8_t flags = TCPF_ACK | (n & 1 ? TCPF_PSH : 0);
	uint32_t seq = f->seq;

	if (odd) {
		uint8_t how = next8(w);

		seq += (uint32_t)(int32_t)(int16_t)next16(w);
		if (how & 1)
			captured = len / 2;
		if (how & 2)
			flags |= TCPF_FIN;
		if (how & 4)
			flags |= TCPF_URG;
		if (how & 8)
			flags &= (uint8_t)~TCPF_ACK;
		if (how & 16)
			seq += 0x40000000u * (how >> 6);
	} else {
		f->seq += len;
	}
	capture(w, f, flags, seq, len, captured);
}

static void client_control(struct world *w, struct flow *f)
{
	uint8_t how = next8(w);
	uint32_t seq = f->seq + (how & 8 ? (uint32_t)next8(w) - 128 : 0);

	switch (how & 3) {
	case 0:
		capture(w, f, TCPF_ACK, seq, 0, 0);
		break;
	case 1:
		capture(w, f, TCPF_ACK | TCPF_FIN, seq, 0, 0);
		f->seq++;
		break;
	case 2:
		capture(w, f, how & 16 ? TCPF_RST : TCPF_RST | TCPF_ACK, seq, 0, 0);
		break;
	case 3: /* it has read something */
		f->ack += next16(w);
		f->ts += next8(w);
		break;
	}
}

/* --- the target ------------------------------------------------------------------------------ */

static struct response response(struct flow *f, uint8_t flags, uint32_t len)
{
	struct response r = {
		.id = f->id,
		.seq = f->target_seq,
		.ack = f->nxt,
		.len = len,
		.window = 1000,
		.flags = flags,
	};

	r.opt.has_ts = f->has_ts;
	r.opt.tsval = ++f->target_ts;
	r.opt.tsecr = f->last_ts;
	return r;
}

static void target_honest(struct world *w, struct flow *f)
{
	uint8_t how = next8(w);
	struct response r = response(f, TCPF_ACK, 0);

	switch (how & 3) {
	case 0:
		r.flags |= TCPF_SYN;
		r.opt.mss = how & 4 ? 1460 : next16(w);
		r.opt.has_wscale = how & 8;
		r.opt.wscale = how & 8 ? 7 : 0;
		r.opt.has_sack_permitted = how & 16;
		r.seq = f->target_seq = next16(w) * 65537u;
		f->target_seq++;
		break;
	case 1:
		r.window = how & 4 ? 0 : next16(w);
		break;
	case 2:
		r.len = next16(w);
		r.flags |= how & 4 ? TCPF_PSH : 0;
		f->target_seq += r.len;
		break;
	case 3:
		r.flags |= how & 4 ? TCPF_FIN : TCPF_RST;
		f->target_seq += how & 4 ? 1 : 0;
		break;
	}
	engine_response(w->e, &r, w->now);
}

static void target_lies(struct world *w, struct flow *f)
{
	uint8_t how = next8(w), flags = next8(w);
	struct response r = response(f, flags, how & 1 ? next16(w) : 0);

	r.ack += (uint32_t)(int32_t)(int16_t)next16(w);
	r.seq += how & 2 ? (uint32_t)(int32_t)(int16_t)next16(w) : 0;
	r.window = how & 4 ? next16(w) : 1000;
	r.dup_acks = how & 8 ? next8(w) : 0;
	r.merged = r.dup_acks;
	if (how & 16)
		r.seq += 0x20000000u * (how >> 5);
	r.opt.n_sack = (uint8_t)(how >> 6);
	for (int i = 0; i < r.opt.n_sack; i++) {
		r.opt.sack[i].start = f->nxt - next16(w);
		r.opt.sack[i].end = r.opt.sack[i].start + next16(w) % 4000;
	}
	r.id += how & 32 ? 1 : 0;
	engine_response(w->e, &r, w->now);
}

/* --- the online server's sockets --------------------------------------------------------------- */

/* Some question, perhaps once more, perhaps one that was never asked. */
static void online_answers(struct world *w)
{
	uint8_t how = next8(w);
	const struct online_answer a = {
		.word = (enum online_word)(how % 3),
		.has_received = how & 128,
		.received = how & 128 ? next16(w) : 0,
	};

	engine_online_answer(w->e, w->question[(how >> 2) % QUESTIONS] + (how >> 5 & 3) / 3, &a, w->now);
}

/* --- time and machinery
 * ---------------------------------------------------------------------------- */

static void time_passes(struct world *w)
{
	static const uint64_t unit[4] = { 10 * NS_PER_US, 1 * NS_PER_MS, 30 * NS_PER_MS, 2 * NS_PER_SEC };
	uint8_t how = next8(w);
	uint64_t until = w->now + unit[how & 3] * (how >> 2);

	/* step by step, as a program does that sleeps until engine_next() */
	for (int i = 0; i < 200 && engine_next(w->e) <= until; i++) {
		w->now = MAX(w->now, engine_next(w->e));
		engine_advance(w->e, w->now);
		engine_check(w->e);
	}
	w->now = until;
}

static void operate(struct world *w)
{
	uint8_t op = next8(w);
	struct flow *f = &w->flow[(op >> 4) % FLOWS];

	w->emitted = 0;
	switch (op & 15) {
	case 0:
		client_syn(w, f);
		break;
	case 1:
	case 2:
	case 3:
		client_data(w, f, false);
		break;
	case 4:
		client_data(w, f, true);
		break;
	case 5:
	case 6:
		client_control(w, f);
		break;
	case 7:
	case 8:
	case 9:
		target_honest(w, f);
		break;
	case 10:
		target_lies(w, f);
		break;
	case 11:
		time_passes(w);
		break;
	case 12:
		online_answers(w);
		break;
	case 13:
		engine_flushed(w->e);
		if (op & 16)
			engine_capture_lost(w->e, w->now);
		if (op & 32)
			engine_channel_room(w->e, next8(w), w->now);
		break;
	case 14:
		w->up = !w->up;
		if (w->up)
			engine_channel_up(w->e, next8(w), w->now);
		else
			engine_channel_down(w->e);
		break;
	case 15:
		if (op & 16)
			engine_set_target_mtu(w->e, f->key.target, 576 + next8(w) * 8u, next8(w) & 1);
		else
			w->refuse_source = !w->refuse_source;
		break;
	}
	engine_check(w->e);
}

static void finish(struct world *w)
{
	w->emitted = 0;
	engine_shutdown(w->e, w->now);
	engine_check(w->e);
	assert(!engine_sessions(w->e));
	for (int i = 0; engine_next(w->e) != UINT64_MAX; i++) {
		assert(i < 100000);
		w->emitted = 0;
		w->now = MAX(w->now + 1, engine_next(w->e));
		engine_advance(w->e, w->now);
	}
	engine_check(w->e);
	assert(!engine_sessions(w->e) && !engine_lingering(w->e) && !engine_observed(w->e));
	engine_flushed(w->e);
	assert(!engine_memory(w->e) && !engine_live_bytes(w->e));
	engine_free(w->e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { .now = 5 * NS_PER_SEC, .p = data, .end = data + size };
	uint8_t how = next8(&w);
	const struct engine_config c = {
		.hold = how & 1 ? 3 * NS_PER_SEC : (how >> 5) * 20 * NS_PER_MS,
		.session_buffer = how & 2 ? 1 << 20 : 8000,
		.max_half_open = how & 4 ? 100 : 1,
		.max_observed = how & 4 ? 100 : 1,
		.max_sessions = how & 8 ? 100 : 4,
		.max_memory = how & 16  ? 8 << 20
			      : how & 8 ? 400000
					: 6000,
		.join = (enum engine_join)((how & 0xe0) == 0xe0 ? ENGINE_JOIN_NONE : how >> 5 & 1),
		.key = { 1, 2 },
	};

	w.e = engine_new(&c, &ops, &w, w.now);
	if (!w.e)
		return 0;
	for (uint16_t i = 0; i < 2; i++) {
		struct endpoint at = endpoint_at((uint8_t)(200 + i), (uint16_t)(6000 + i));

		assert(engine_add_target(w.e, &at, 1500) == i);
	}
	for (uint8_t i = 0; i < FLOWS; i++) {
		struct flow *f = &w.flow[i];

		f->key.client = endpoint_at((uint8_t)(100 + i / 2), 40000);
		f->key.online = endpoint_at(1, 6379);
		f->key.target = i & 1;
		f->seq = 0xfffff000u + i * 0x123456u;
		f->ack = 0xffffff00u;
		f->ts = 0xfffffff0u;
	}
	w.up = true;
	engine_channel_up(w.e, UINT_MAX, w.now);
	for (int n = 0; w.p < w.end && n < 300; n++)
		operate(&w);
	finish(&w);
	return 0;
}
