/*
 * The worst cost of a packet: the CPU time of N packets, chosen to cost most, divided by N, for growing N.
 * What a packet may cost is bounded if the figure hardly grows with N; a walk over everything that came
 * before makes it grow as N does. Each kind is an attack that somebody could send to the captured port, or
 * that a target could answer. See bench.h for the form of the output; doc/SESSION.md lists the walks.
 *
 * All in one connection, whose target takes nothing:
 *   append, gaps, descending, random
 *                                      a byte each, behind a hole: in order, with gaps, backwards, mixed
 *   held                               a byte each in order, behind a turn that waits
 *   turns                              a turn each
 *   refill                             behind 1000 bytes with gaps, the first gap filled and another opened
 *   doubt                              RSTs at a wrong place: put aside, asked about, refused
 * Connections that are nobody's:
 *   syn, port, blind                   SYNs of other clients each; of one port; data without a SYN
 * Memory is short:
 *   shed                               many clients with 16 KiB each: each packet sheds a session
 * The target:
 *   sack                               ACKs with SACK blocks that change each time, N segments in flight
 *   close                              closes behind each turn, while N turns wait: each begins a connection
 */
#include "bench.h"

#include <sys/wait.h>

#include "session/impl.h"

static const unsigned counts[] = { 1000, 10000, 100000 };

struct world {
	struct engine *e;
	uint64_t now, id; /* ns; the session that was watched last */
	uint32_t response_seq;
};

static const uint8_t payload[1 << 14];

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
	w->id = id;
}

static void on_unwatch(void *arg, uint64_t id, const struct tuple *response)
{
	(void)arg, (void)id, (void)response;
}

static void on_ask(void *arg, uint64_t question, const struct flow_key *key)
{
	(void)arg, (void)question, (void)key; /* never answered: the worst that can be said */
}

static const struct engine_ops ops = {
	.emit = on_emit, .watch = on_watch, .unwatch = on_unwatch, .online_ask = on_ask
};

static void settle(struct world *w)
{
	engine_flushed(w->e);
	w->now += NS_PER_US;
	if (engine_next(w->e) <= w->now)
		engine_advance(w->e, w->now);
}

static void captured(struct world *w, unsigned client, uint8_t flags, uint32_t seq, uint32_t len,
		     uint32_t ack)
{
	struct flow_key k = {
		.client = { addr_from_v4((const uint8_t[]){ 10, (uint8_t)(client >> 16),
							    (uint8_t)(client >> 8), (uint8_t)client }),
			    40000 },
		.online = { addr_from_v4((const uint8_t[]){ 11, 0, 0, 1 }), 80 },
	};
	struct segment s = {
		.tuple = { k.client, k.online },
		.time = w->now,
		.seq = seq,
		.ack = ack,
		.len = len,
		.captured = len,
		.payload = payload,
		.flags = flags,
		.window = 60000,
		.ttl = 64,
	};

	if (flags & TCPF_SYN) {
		s.opt.mss = 1460;
		s.opt.has_sack_permitted = true;
	}
	engine_captured(w->e, &k, &s, w->now);
	engine_captured_all(w->e, w->now);
	settle(w);
}

static void response(struct world *w, uint8_t flags, uint32_t ack, uint32_t len,
		     const struct sack_block *sack)
{
	struct response r = {
		.id = w->id, .seq = w->response_seq, .ack = ack, .len = len, .flags = flags, .window = 65535
	};

	if (flags & TCPF_SYN) {
		r.opt.mss = 1460;
		r.opt.has_sack_permitted = r.opt.has_wscale = true;
	}
	if (sack) {
		r.opt.n_sack = 1;
		r.opt.sack[0] = *sack;
	}
	engine_response(w->e, &r, w->now);
	w->response_seq += len + !!(flags & TCPF_SYN);
	settle(w);
}

static void world_open(struct world *w, bool prove, size_t memory)
{
	const struct engine_config c = {
		.hold = 3600 * NS_PER_SEC,
		.session_buffer = 1u << 30,
		.max_half_open = 65536,
		.max_observed = 65536,
		.max_sessions = 4000000,
		.max_memory = memory,
		.prove = prove,
		.key = { 0x1234567, 0x89abcdef },
	};
	struct endpoint target = { addr_from_v4((const uint8_t[]){ 12, 0, 0, 1 }), 80 };

	*w = (struct world){ .now = 1000 * NS_PER_SEC };
	w->e = engine_new(&c, &ops, w, w->now);
	engine_add_target(w->e, &target, 1500);
	engine_channel_up(w->e, UINT32_MAX, w->now);
}

/* Says so if @kind did not do to the engine what it was meant to do. */
static void expect(const char *kind, uint64_t done, uint64_t least)
{
	if (done < least)
		fprintf(stderr, "%s: %llu times, not %llu\n", kind, (unsigned long long)done,
			(unsigned long long)least);
}

/* A connection of client 0 whose next byte is 1001; with @waits the target has taken nothing of it. */
static void begin(struct world *w, bool waits)
{
	world_open(w, false, 0);
	captured(w, 0, TCPF_SYN, 1000, 0, 0);
	w->response_seq = 5000;
	if (!waits)
		response(w, TCPF_SYN | TCPF_ACK, 1001, 0, NULL);
	captured(w, 0, TCPF_ACK, 1001, 0, 9001);
}

static uint64_t behind_hole(unsigned n, unsigned step, unsigned apart)
{
	struct world w;
	uint64_t start;

	begin(&w, true);
	start = bench_now();
	for (unsigned i = 0; i < n; i++)
		captured(&w, 0, TCPF_ACK, 1002 + (uint32_t)((uint64_t)i * step % n) * apart, 1, 9001);
	return bench_now() - start;
}

static uint64_t append(unsigned n)
{
	return behind_hole(n, 1, 1);
}

static uint64_t gaps(unsigned n)
{
	return behind_hole(n, 1, 2);
}

static uint64_t descending(unsigned n)
{
	return behind_hole(n, n - 1, 1);
}

static uint64_t in_no_order(unsigned n)
{
	return behind_hole(n, 7919, 1); /* prime to all counts */
}

static uint64_t in_order(unsigned n, bool turns)
{
	struct world w;
	uint64_t start;

	begin(&w, true);
	start = bench_now();
	for (unsigned i = 0; i < n; i++)
		captured(&w, 0, TCPF_ACK, 1001 + i, 1, 9001 + (turns ? i : i > 0));
	return bench_now() - start;
}

static uint64_t held(unsigned n)
{
	return in_order(n, false);
}

static uint64_t turns(unsigned n)
{
	return in_order(n, true);
}

static uint64_t refill(unsigned n)
{
	struct world w;
	uint64_t start;

	begin(&w, true);
	for (unsigned i = 0; i < 1000; i++)
		captured(&w, 0, TCPF_ACK, 1002 + 2 * i, 1, 9001);
	start = bench_now();
	for (unsigned i = 0; i < n; i += 2) {
		captured(&w, 0, TCPF_ACK, 1001 + i, 1, 9001);
		captured(&w, 0, TCPF_ACK, 1002 + 2000 + i, 1, 9001);
	}
	return bench_now() - start;
}

static uint64_t doubt(unsigned n)
{
	struct world w;
	uint64_t start;

	begin(&w, false);
	start = bench_now();
	for (unsigned i = 0; i < n; i++) {
		captured(&w, 0, TCPF_RST, 1001 + 5000 + i % 100, 0, 0);
		w.now += 5 * NS_PER_MS; /* some are asked about, some are refused meanwhile */
	}
	start = bench_now() - start;
	expect("doubt", engine_counters(w.e)->refused[REFUSAL_RST], n / 2);
	return start;
}

static uint64_t nobody(unsigned n, uint8_t flags, bool one_port)
{
	struct world w;
	uint64_t start;

	world_open(&w, true, 0);
	start = bench_now();
	for (unsigned i = 0; i < n; i++) {
		captured(&w, one_port ? 0 : i, flags, 1000 + i * 100000, flags & TCPF_SYN ? 0 : 100, 9001);
		w.now += one_port ? NS_PER_MS : 0;
	}
	return bench_now() - start;
}

static uint64_t syn(unsigned n)
{
	return nobody(n, TCPF_SYN, false);
}

static uint64_t port(unsigned n)
{
	return nobody(n, TCPF_SYN, true);
}

static uint64_t blind(unsigned n)
{
	return nobody(n, TCPF_ACK | TCPF_PSH, false);
}

static uint64_t shed(unsigned n)
{
	struct world w;
	uint64_t start;

	world_open(&w, false, (size_t)n * 2048);
	start = bench_now();
	for (unsigned i = 0; i < n; i += 2) {
		captured(&w, i, TCPF_SYN, 1000, 0, 0);
		captured(&w, i, TCPF_ACK, 1001, sizeof(payload), 9001);
	}
	start = bench_now() - start;
	expect("shed", engine_counters(w.e)->ended[OUTCOME_NO_MEMORY], n / 4);
	return start;
}

/* Each ACK has another block, and each eighth is for more bytes. */
static uint64_t sack(unsigned n)
{
	const unsigned flight = MIN(n, 60000);
	struct world w;
	uint64_t start;

	begin(&w, false);
	for (unsigned i = 0; i < flight; i++)
		captured(&w, 0, TCPF_ACK, 1001 + i, 1, 9001);
	start = bench_now();
	for (unsigned i = 0; i < n; i++) {
		const uint32_t ack = 1001 + (uint32_t)((uint64_t)(i - i % 8) * flight / n);
		const uint32_t at = ack + 2 + i * 7919 % MAX(flight - (ack - 1001), 4);
		const struct sack_block b = { at, at + 1 };

		response(&w, TCPF_ACK, ack, 0, &b);
	}
	start = bench_now() - start;
	expect("sack", engine_counters(w.e)->responses_believed, n);
	expect("sack: fast retransmits", engine_counters(w.e)->retransmitted_segments, n / 10);
	return start;
}

/* On each connection the target answers a turn as it should, then closes in the middle of the next answer. */
static uint64_t closes(unsigned n)
{
	struct world w;
	uint64_t start;

	begin(&w, false);
	for (unsigned i = 0; i <= n; i++)
		captured(&w, 0, TCPF_ACK | TCPF_PSH, 1001 + 10 * i, 10, 9001 + 1000 * i);
	start = bench_now();
	for (unsigned i = 0; i + 2 <= n; i += 2) {
		response(&w, TCPF_ACK | TCPF_PSH, 1001 + 10 * (i + 1), 1000, NULL);
		response(&w, TCPF_ACK | TCPF_PSH | TCPF_FIN, 1001 + 10 * (i + 2), 100, NULL);
		w.response_seq = 5000;
		response(&w, TCPF_SYN | TCPF_ACK, 1001 + 10 * (i + 2), 0, NULL);
	}
	start = bench_now() - start;
	expect("close", engine_counters(w.e)->sessions_continued, n / 2 - 1);
	return start;
}

static const struct {
	const char *name;
	uint64_t (*run)(unsigned n);
} kinds[] = {
	{ "append", append }, { "gaps", gaps },    { "descending", descending }, { "random", in_no_order },
	{ "held", held },     { "turns", turns },  { "refill", refill },         { "doubt", doubt },
	{ "syn", syn },       { "port", port },    { "blind", blind },           { "shed", shed },
	{ "sack", sack },     { "close", closes },
};

int main(int argc, char **argv)
{
	bench_words = argc - 1;
	bench_word = argv + 1;
	for (size_t i = 0; i < ARRAY_SIZE(kinds) * ARRAY_SIZE(counts); i++) {
		const unsigned n = counts[i % ARRAY_SIZE(counts)];
		char name[64];
		pid_t child;

		snprintf(name, sizeof(name), "worst.%s.%u", kinds[i / ARRAY_SIZE(counts)].name, n);
		if (!bench_wanted(name))
			continue;
		child = fork(); /* what was measured before leaves no memory behind */
		if (!child) {
			bench_print(name, (double)kinds[i / ARRAY_SIZE(counts)].run(n) / n, "ns");
			_exit(0);
		}
		if (child < 0 || waitpid(child, NULL, 0) != child)
			perror("fork");
	}
	return 0;
}
