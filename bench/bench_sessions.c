/*
 * What sessions cost by their number: look-ups in the flow table, sources of a pool, a step of the engine,
 * memory, and the worst single step while a million of them are opened. See bench.h for the form of the
 * output.
 *
 * A cycle of the engine is what one request makes of it: the client's data is captured and sent on,
 * the target's answer comes, the client's ACK is captured; and the timers that follow from it.
 * Sessions are taken in random order, so that each is as cold as can be; and each has its turn
 * about once in three seconds of virtual time, however many there are, so that its timers do the
 * same. "batch" is the same with the engine's prefetching in batches of eight. "answer" is one answer that
 * comes when 4096 other sessions have been dealt with since the request: its own is cold again.
 */
#include "bench.h"

#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#include "packet/options.h"
#include "session/impl.h"
#include "tcpcopy/mapping.h"

#define BATCH 8

static const struct siphash_key key = { 0x1234567, 0x89abcdef };
static const unsigned counts[] = { 1000, 10000, 100000, 1000000 };

static struct flow_key flow(unsigned i)
{
	struct flow_key k = { .online = { .port = 80 } };

	addr_parse(&k.online.addr, "10.200.0.1");
	k.client = k.online;
	k.client.addr.b[13] = (uint8_t)(i >> 20);
	k.client.addr.b[14] = (uint8_t)(i >> 12);
	k.client.addr.b[15] = (uint8_t)(i >> 4);
	k.client.port = (uint16_t)(1024 + (i & 15));
	return k;
}

/* --- look-up --- */
struct lookup {
	struct pool *pool;
	struct slots *slots;
	struct flow_table *table;
	unsigned n;
};

static void do_find(void *arg, unsigned n)
{
	struct lookup *l = arg;

	while (n--) {
		struct flow_key k = flow(bench_random() % l->n);

		bench_sink += flow_table_find(l->table, &k)->stream.nxt;
	}
}

static void do_find_batch(void *arg, unsigned n)
{
	struct lookup *l = arg;

	for (; n >= BATCH; n -= BATCH) {
		struct flow_key k[BATCH];
		uint32_t hash[BATCH];

		for (int i = 0; i < BATCH; i++) {
			k[i] = flow(bench_random() % l->n);
			hash[i] = flow_table_prefetch(l->table, &k[i]);
		}
		for (int i = 0; i < BATCH; i++) {
			const struct session *s = flow_table_likely(l->table, hash[i]);

			__builtin_prefetch(s);
			if (s)
				__builtin_prefetch(&s->stream.nxt);
		}
		for (int i = 0; i < BATCH; i++)
			bench_sink += flow_table_find(l->table, &k[i])->stream.nxt;
	}
}

/* What making the keys takes, which is not the table's. */
static void do_key(void *arg, unsigned n)
{
	struct lookup *l = arg;

	while (n--) {
		struct flow_key k = flow(bench_random() % l->n);

		bench_sink += k.client.addr.b[15];
	}
}

static void lookup(unsigned n)
{
	struct lookup l = { .pool = pool_new(0), .n = n };
	char name[64];

	l.slots = slots_new(l.pool, sizeof(struct session));
	l.table = flow_table_new(&key, l.pool);
	for (unsigned i = 0; i < n; i++) {
		uint32_t number;
		struct session *s = slots_take(l.slots, &number);

		memset(s, 0, sizeof(*s));
		s->key = flow(i);
		flow_table_put(l.table, s);
	}
	bench_run((snprintf(name, sizeof(name), "lookup.key.%u", n), name), do_key, &l, 500000);
	bench_run((snprintf(name, sizeof(name), "lookup.one.%u", n), name), do_find, &l, 500000);
	bench_run((snprintf(name, sizeof(name), "lookup.batch.%u", n), name), do_find_batch, &l, 500000);
	flow_table_free(l.table);
	slots_free(l.slots);
	pool_free(l.pool);
}

/* --- engine --- */
struct client {
	uint64_t id;
	uint32_t seq, ack; /* next of the client, of the target */
};

struct world {
	struct engine *e;
	struct client *c;
	unsigned n, opening;
	uint64_t now, pace; /* ns; of each thing that happens */
};

static const uint8_t payload[100];

static void on_emit(void *arg, const struct tx_segment *t)
{
	(void)arg;
	bench_sink += t->seq;
}

static void on_watch(void *arg, uint64_t id, const struct tuple *response, uint32_t number)
{
	struct world *w = arg;

	(void)number;
	(void)response;
	w->c[w->opening].id = id;
}

static void on_unwatch(void *arg, uint64_t id, const struct tuple *response)
{
	(void)arg;
	(void)id;
	(void)response;
}

static const struct engine_ops ops = { .emit = on_emit, .watch = on_watch, .unwatch = on_unwatch };

static void captured(struct world *w, unsigned i, const struct flow_key *k, uint8_t flags, uint32_t len)
{
	static const uint8_t syn_options[] = { 2, 4, 5, 180, 4, 2, 1, 1 };
	struct client *c = &w->c[i];
	struct segment s = {
		.tuple = { k->client, k->online },
		.time = w->now,
		.seq = c->seq,
		.ack = flags & TCPF_ACK ? c->ack : 0,
		.len = len,
		.captured = len,
		.payload = payload,
		.flags = flags,
		.window = 500,
		.ttl = 64,
	};

	if (flags & TCPF_SYN) {
		s.raw_options = syn_options;
		s.raw_options_len = sizeof(syn_options);
		s.opt.mss = 1460;
		s.opt.has_sack_permitted = true;
	}
	c->seq += segment_seq_len(&s);
	engine_captured(w->e, k, &s, w->now);
}

static void answered(struct world *w, unsigned i, uint8_t flags, uint32_t len)
{
	struct client *c = &w->c[i];
	struct response r = {
		.id = c->id, .seq = c->ack, .ack = c->seq, .len = len, .window = 500, .flags = flags
	};

	if (flags & TCPF_SYN) {
		r.opt.mss = 1460;
		r.opt.has_sack_permitted = true;
	}
	c->ack += len + !!(flags & TCPF_SYN);
	engine_response(w->e, &r, w->now);
}

static void batch_end(struct world *w)
{
	engine_flushed(w->e);
	if (engine_next(w->e) <= w->now)
		engine_advance(w->e, w->now);
}

static void open_session(struct world *w, unsigned i)
{
	struct flow_key k = flow(i);

	w->opening = i;
	w->c[i] = (struct client){ .seq = 1000, .ack = 5000 };
	captured(w, i, &k, TCPF_SYN, 0);
	answered(w, i, TCPF_SYN | TCPF_ACK, 0);
	captured(w, i, &k, TCPF_ACK, 0);
	w->now += w->pace;
	batch_end(w);
}

static void world_open(struct world *w, unsigned n)
{
	const struct engine_config c = {
		.hold = 3 * NS_PER_SEC,
		.session_buffer = 1u << 20,
		.max_half_open = 65536,
		.max_observed = 65536,
		.max_sessions = 4000000,
		.max_memory = (size_t)1 << 30,
		.key = key,
	};
	struct endpoint target = { .port = 80 };

	*w = (struct world){ .n = n, .now = NS_PER_SEC, .pace = NS_PER_SEC / n };
	w->c = calloc(n, sizeof(*w->c));
	memset(w->c, 1, n * sizeof(*w->c)); /* its pages are not the engine's */
	w->e = engine_new(&c, &ops, w, w->now);
	addr_parse(&target.addr, "10.201.0.1");
	engine_add_target(w->e, &target, 1500);
	engine_channel_up(w->e, UINT_MAX, w->now);
}

static void world_close(struct world *w)
{
	engine_free(w->e);
	free(w->c);
}

static void cycle(struct world *w, const unsigned *i, const struct flow_key *k, unsigned n, bool ahead)
{
	uint32_t hint[BATCH];

	for (unsigned j = 0; ahead && j < n; j++)
		hint[j] = engine_prefetch(w->e, &k[j]);
	for (unsigned j = 0; ahead && j < n; j++)
		engine_prefetch_session(w->e, hint[j]);
	for (unsigned j = 0; ahead && j < n; j++)
		engine_prefetch_timer(w->e, hint[j]);
	for (unsigned j = 0; j < n; j++)
		captured(w, i[j], &k[j], TCPF_ACK | TCPF_PSH, sizeof(payload));
	batch_end(w);
	w->now += n * w->pace;
	for (unsigned j = 0; ahead && j < n; j++)
		engine_prefetch_response(w->e, w->c[i[j]].id);
	for (unsigned j = 0; j < n; j++)
		answered(w, i[j], TCPF_ACK | TCPF_PSH, 200);
	batch_end(w);
	w->now += n * w->pace;
	for (unsigned j = 0; j < n; j++)
		captured(w, i[j], &k[j], TCPF_ACK, 0);
	batch_end(w);
	w->now += n * w->pace;
}

static void cycles(struct world *w, unsigned n, unsigned batch, bool ahead)
{
	unsigned i[BATCH];
	struct flow_key k[BATCH];

	for (; n >= batch; n -= batch) {
		for (unsigned j = 0; j < batch; j++) {
			i[j] = bench_random() % w->n;
			k[j] = flow(i[j]);
			__builtin_prefetch(&w->c[i[j]]); /* the benchmark's own, not the engine's */
		}
		cycle(w, i, k, batch, ahead);
	}
}

static void do_cycle_one(void *arg, unsigned n)
{
	cycles(arg, n, 1, false);
}

static void do_cycle(void *arg, unsigned n)
{
	cycles(arg, n, BATCH, false);
}

static void do_cycle_batch(void *arg, unsigned n)
{
	cycles(arg, n, BATCH, true);
}

/* --- answers that come late --- */
#define LATE 4096

/* Requests of LATE sessions, which are not measured, and then their answers, which are. */
static double answer_round(struct world *w, unsigned *next, bool ahead)
{
	static unsigned i[LATE];
	uint64_t start;

	for (unsigned j = 0; j < LATE; j++) {
		struct flow_key k;

		*next = (*next + 7919) % w->n; /* prime to the counts: each has its turn */
		i[j] = *next;
		k = flow(i[j]);
		captured(w, i[j], &k, TCPF_ACK | TCPF_PSH, sizeof(payload));
		w->now += w->pace;
		batch_end(w);
	}
	start = bench_now();
	for (unsigned j = 0; j < LATE; j += BATCH) {
		for (unsigned b = 0; b < BATCH; b++)
			__builtin_prefetch(&w->c[i[j + b]]);
		for (unsigned b = 0; ahead && b < BATCH; b++)
			engine_prefetch_response(w->e, w->c[i[j + b]].id);
		for (unsigned b = 0; b < BATCH; b++)
			answered(w, i[j + b], TCPF_ACK | TCPF_PSH, 200);
		batch_end(w);
	}
	return (double)(bench_now() - start) / LATE;
}

static void answers(struct world *w, bool ahead)
{
	double ns[BENCH_RUNS * 8];
	unsigned next = 0;
	char name[64];

	for (unsigned run = 0; run < ARRAY_SIZE(ns); run++)
		ns[run] = answer_round(w, &next, ahead);
	snprintf(name, sizeof(name), ahead ? "engine.answer-8-batch.%u" : "engine.answer-8.%u", w->n);
	bench_print(name, bench_median(ns, ARRAY_SIZE(ns)), "ns");
}

static void late(unsigned n)
{
	struct world w;

	world_open(&w, n);
	for (unsigned i = 0; i < n; i++)
		open_session(&w, i);
	answers(&w, false);
	answers(&w, true);
	world_close(&w);
}

static void engine(unsigned n)
{
	struct world w;
	char name[64];

	world_open(&w, n);
	for (unsigned i = 0; i < n; i++)
		open_session(&w, i);
	bench_run((snprintf(name, sizeof(name), "engine.cycle.%u", n), name), do_cycle_one, &w, 200000);
	bench_run((snprintf(name, sizeof(name), "engine.cycle-8.%u", n), name), do_cycle, &w, 200000);
	bench_run((snprintf(name, sizeof(name), "engine.cycle-8-batch.%u", n), name), do_cycle_batch, &w,
		  200000);
	if (engine_sessions(w.e) != n)
		fprintf(stderr, "only %u of %u sessions are left\n", engine_sessions(w.e), n);
	world_close(&w);
}

/* --- memory, and the worst step while it grows --- */
static void memory(unsigned n)
{
	struct world w;
	char name[64];
	size_t before;

	world_open(&w, n);
	before = bench_resident();
	for (unsigned i = 0; i < n; i++)
		open_session(&w, i);
	snprintf(name, sizeof(name), "memory.resident.%u", n);
	bench_print(name, (double)(bench_resident() - before) / n, "B/session");
	snprintf(name, sizeof(name), "memory.counted.%u", n);
	bench_print(name, (double)engine_memory(w.e) / n, "B/session");
	if (n == 1000000)
		bench_print("memory.process.1000000", (double)bench_resident() / 1e6, "MB");
}

/* --- sources: one operation gives back the oldest of @n sessions' and takes one for a new session --- */
struct sources {
	struct mapping *mapping;
	struct endpoint *taken;
	unsigned n, next;
};

static void do_source(void *arg, unsigned n)
{
	struct sources *s = arg;

	for (; n--; s->next++) {
		const struct flow_key old = flow(s->next - s->n), k = flow(s->next);
		struct endpoint *e = &s->taken[s->next % s->n];

		if (s->next >= s->n)
			mapping_give(s->mapping, &old, e);
		if (!mapping_take(s->mapping, &k, e))
			abort();
	}
}

/* Up to a quarter of the addresses have a client, so some endpoints collide. */
static void sources(unsigned n)
{
	static struct config c = { .n_pool = 1 };
	const struct fanout spread = { .workers = 1, .source_port_only = true };
	struct sources s = { .mapping = mapping_new(&c, &spread, 0, &key),
			     .taken = calloc(n, sizeof(*s.taken)),
			     .n = n };
	char name[64];

	if (!s.mapping || !s.taken || !prefix_parse(&c.pool[0], "10.0.0.0/14"))
		abort();
	do_source(&s, n);
	snprintf(name, sizeof(name), "mapping.give-take.%u", n);
	bench_run(name, do_source, &s, 500000);
	mapping_free(s.mapping);
	free(s.taken);
}

/* Of the million times that a session is opened, the slowest and the slowest but a hundred. */
static void worst(unsigned n)
{
	struct world w;
	double *us = calloc(n, sizeof(*us));
	char name[64];

	world_open(&w, n);
	for (unsigned i = 0; i < n; i++) {
		uint64_t start = bench_now();

		open_session(&w, i);
		us[i] = (double)(bench_now() - start) / NS_PER_US;
	}
	qsort(us, n, sizeof(*us), bench_order);
	snprintf(name, sizeof(name), "engine.open.%u", n);
	bench_print(name, us[n / 2] * 1000, "ns");
	snprintf(name, sizeof(name), "engine.open-worst.%u", n);
	bench_print(name, us[n - 1], "us");
	snprintf(name, sizeof(name), "engine.open-worst-but-100.%u", n);
	bench_print(name, us[n - 101], "us");
}

/* In a process of its own: what was measured before leaves no memory behind. */
static void apart(const char *name, void (*fn)(unsigned), unsigned n)
{
	pid_t child;

	if (!bench_wanted_of(name))
		return;
	child = fork();
	if (!child) {
		fn(n);
		_exit(0);
	}
	if (child < 0 || waitpid(child, NULL, 0) != child)
		perror("fork");
}

int main(int argc, char **argv)
{
	bench_words = argc - 1;
	bench_word = argv + 1;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		apart("lookup", lookup, counts[i]);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		apart("mapping", sources, counts[i]);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		apart("engine.cycle", engine, counts[i]);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		if (counts[i] > LATE)
			apart("engine.answer", late, counts[i]);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		apart("memory", memory, counts[i]);
	apart("engine.open", worst, 1000000);
	return 0;
}
