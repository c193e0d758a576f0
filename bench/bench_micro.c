/*
 * What the parts cost on warm caches: packets, checksums, timers, memory, messages of the channel.
 * See bench.h for the form of the output.
 */
#include "bench.h"

#include <limits.h>

#include "base/pool.h"
#include "base/siphash.h"
#include "base/wheel.h"
#include "channel/message.h"
#include "compare/blocks.h"
#include "compare/exchange.h"
#include "packet/build.h"
#include "packet/checksum.h"
#include "packet/options.h"
#include "packet/parse.h"
#include "packet/rewrite.h"
#include "packet/text.h"

static uint8_t payload[65536];
static uint8_t packet[65536 + BUILD_MAX_HEADERS];
static struct tx_segment tx;
static struct raw_packet raw;
static struct rewrite change;
static struct endpoint to;

static void do_parse(void *arg, unsigned n)
{
	struct segment s;

	(void)arg;
	while (n--)
		bench_sink += parse_packet(&s, &raw) + s.len;
}

static void do_build(void *arg, unsigned n)
{
	while (n--)
		bench_sink += build_headers(packet, &tx, *(enum build_checksum *)arg);
}

static void do_rewrite(void *arg, unsigned n)
{
	(void)arg;
	while (n--) {
		change.ack++;
		bench_sink += rewrite_packet(packet, raw.len, &change, CHECKSUM_TRUSTED);
	}
}

static void do_format(void *arg, unsigned n)
{
	char line[SEGMENT_TEXT_LEN];
	struct segment s;

	(void)arg;
	while (n--) {
		parse_packet(&s, &raw);
		bench_sink += (uint8_t)*segment_format(line, sizeof(line), &s);
	}
}

/* One operation is one piece with its headers. */
static void do_cut(void *arg, unsigned n)
{
	struct tx_segment piece;
	uint32_t i = 0;

	(void)arg;
	while (n--) {
		if (!build_piece(&piece, &tx, 1448, i++)) {
			i = 0;
			continue;
		}
		bench_sink += build_headers(packet, &piece, BUILD_CHECKSUM_PARTIAL);
	}
}

static void do_sum(void *arg, unsigned n)
{
	while (n--)
		bench_sink += csum_fold(csum_add(0, payload, *(size_t *)arg));
}

static void do_siphash(void *arg, unsigned n)
{
	const struct siphash_key key = { 1, 2 };

	while (n--)
		payload[0] = (uint8_t)siphash(&key, payload, *(size_t *)arg);
}

static void set_up(const char *src, const char *dst, uint32_t len)
{
	tx = (struct tx_segment){ .seq = 1,
				  .ack = 2,
				  .window = 3,
				  .flags = TCPF_ACK | TCPF_PSH,
				  .ttl = 64,
				  .df = true,
				  .payload = payload,
				  .len = len };
	if (!addr_parse(&tx.tuple.src.addr, src) || !addr_parse(&tx.tuple.dst.addr, dst))
		abort();
	tx.tuple.src.port = 33800;
	tx.tuple.dst.port = 6379;
	tx.options_len = tcp_options_ts_build(tx.options, 4, 5);
	raw = (struct raw_packet){ .data = packet, .link = LINK_RAW };
	raw.captured = raw.len = (uint32_t)build_packet(packet, sizeof(packet), &tx);
	to = tx.tuple.dst;
	to.addr.b[15] ^= 1;
	change = (struct rewrite){ .dst = &to, .set_ack = true, .set_tsecr = true };
}

static void packets(const char *family, const char *src, const char *dst)
{
	enum build_checksum full = BUILD_CHECKSUM_FULL, partial = BUILD_CHECKSUM_PARTIAL;
	static const uint32_t lens[] = { 40, 1448 };
	char name[64];

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
#define NAME(what) (snprintf(name, sizeof(name), "packet.%s.%s.%u", what, family, lens[i]), name)
		set_up(src, dst, lens[i]);
		raw.checksum = CHECKSUM_TRUSTED;
		bench_run(NAME("parse"), do_parse, NULL, 1000000);
		raw.checksum = CHECKSUM_VERIFY;
		bench_run(NAME("parse-verify"), do_parse, NULL, 500000);
		bench_run(NAME("build-full"), do_build, &full, 500000);
		bench_run(NAME("build-partial"), do_build, &partial, 1000000);
		set_up(src, dst, lens[i]);
		bench_run(NAME("rewrite"), do_rewrite, NULL, 1000000);
	}
	set_up(src, dst, 40);
	bench_run((snprintf(name, sizeof(name), "packet.format.%s", family), name), do_format, NULL, 100000);
	set_up(src, dst, 60000);
	tx.gso_size = 1448;
	bench_run((snprintf(name, sizeof(name), "packet.cut.%s.1448", family), name), do_cut, NULL, 1000000);
}

static void checksums(void)
{
	static size_t lens[] = { 66, 1500, 65536 }, keys[] = { 16, 40 };
	char name[64];

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		snprintf(name, sizeof(name), "checksum.full.%zu", lens[i]);
		bench_run(name, do_sum, &lens[i], lens[i] > 10000 ? 20000 : 1000000);
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		snprintf(name, sizeof(name), "siphash.%zu", keys[i]);
		bench_run(name, do_siphash, &keys[i], 2000000);
	}
}

/* --- timers: @n of them in the wheel, spread over ten seconds and touched in random order */
struct timers {
	struct wheel *w;
	struct wheel_node *node;
	unsigned count;
	uint64_t now;
};

static uint64_t somewhen(const struct timers *t)
{
	return t->now + bench_random() % 10000 * NS_PER_MS;
}

static void do_timer_set(void *arg, unsigned n)
{
	struct timers *t = arg;

	while (n--)
		wheel_set(t->w, &t->node[bench_random() % t->count], somewhen(t));
}

static void do_timer_cancel(void *arg, unsigned n)
{
	struct timers *t = arg;

	while (n--) {
		struct wheel_node *node = &t->node[bench_random() % t->count];

		wheel_cancel(t->w, node);
		wheel_set(t->w, node, somewhen(t));
	}
}

static void set_again(struct wheel_node *n, uint64_t now, void *arg)
{
	const struct timers *t = arg;

	(void)now;
	wheel_set(t->w, n, somewhen(t));
}

/* One operation is one timer that fires and is set again, with all its moves between the levels. */
static void do_timer_fire(void *arg, unsigned n)
{
	struct timers *t = arg;
	unsigned fired = 0;

	while (fired < n) {
		t->now = MAX(t->now, wheel_next(t->w));
		fired += wheel_advance(t->w, t->now, 128, set_again, t);
	}
}

static void timers(unsigned count)
{
	struct timers t = { .count = count, .now = 1 };
	uint64_t worst = 0;
	char name[64];

	snprintf(name, sizeof(name), "wheel.%u", count);
	t.w = wheel_new(t.now);
	t.node = calloc(count, sizeof(*t.node));
	if (!t.w || !t.node)
		abort();
	for (unsigned i = 0; i < count; i++)
		wheel_set(t.w, &t.node[i], somewhen(&t));
	bench_run((snprintf(name, sizeof(name), "wheel.set.%u", count), name), do_timer_set, &t, 500000);
	bench_run((snprintf(name, sizeof(name), "wheel.cancel-set.%u", count), name), do_timer_cancel, &t,
		  500000);
	bench_run((snprintf(name, sizeof(name), "wheel.fire.%u", count), name), do_timer_fire, &t, 200000);
	snprintf(name, sizeof(name), "wheel.crowd-worst-call.%u", count);
	if (bench_wanted(name)) {
		double us[BENCH_RUNS];

		for (int run = 0; run < BENCH_RUNS; run++) {
			unsigned fired = 0;

			worst = 0;
			for (unsigned i = 0; i < count; i++)
				wheel_set(t.w, &t.node[i], t.now + 600 * NS_PER_SEC);
			while (fired < count) {
				uint64_t start = bench_now();

				t.now = MAX(t.now, wheel_next(t.w));
				fired += wheel_advance(t.w, t.now, 128, set_again, &t);
				worst = MAX(worst, bench_now() - start);
			}
			us[run] = (double)worst / NS_PER_US;
		}
		bench_print(name, bench_median(us, BENCH_RUNS), "us");
	}
	free(t.node);
	wheel_free(t.w);
}

static void do_pool(void *arg, unsigned n)
{
	static void *block[64];
	const size_t size = *(size_t *)arg;
	struct pool *p = pool_new(0);

	for (unsigned i = 0; i < n; i++) {
		pool_put(p, block[i % 64], size);
		block[i % 64] = pool_get(p, size);
	}
	memset(block, 0, sizeof(block));
	pool_free(p);
}

static void do_encode(void *arg, unsigned n)
{
	uint8_t frame[MESSAGE_MAX_LEN];

	while (n--)
		bench_sink += message_encode(frame, arg);
}

static void do_decode(void *arg, unsigned n)
{
	uint8_t frame[MESSAGE_MAX_LEN];
	const size_t len = message_encode(frame, arg);
	const char *why;
	struct message m;
	size_t used;

	while (n--)
		bench_sink += message_decode(&m, frame, len, &used, &why);
}

static void messages(void)
{
	struct message watch = { .type = MSG_WATCH, .watch = { .id = 7, .response = tx.tuple } };
	struct message response = { .type = MSG_RESPONSE,
				    .response = { .id = 7,
						  .seq = 1,
						  .ack = 2,
						  .len = 100,
						  .window = 500,
						  .flags = TCPF_ACK | TCPF_PSH,
						  .opt = { .has_ts = true, .tsval = 1, .tsecr = 2 } } };

	bench_run("channel.encode-response", do_encode, &response, 2000000);
	bench_run("channel.decode-response", do_decode, &response, 2000000);
	bench_run("channel.encode-watch", do_encode, &watch, 2000000);
	bench_run("channel.decode-watch", do_decode, &watch, 2000000);
}

/* An answer, and the next request. @arg: of the same length, or not. */
static void do_exchange(void *arg, unsigned n)
{
	const uint64_t more = *(const size_t *)arg;
	struct exchange_state x = { 0 };
	struct exchange_tally t = { 0 };

	exchange_begins(&x, &t);
	for (unsigned i = 0; i < n; i++) {
		exchange_answered(&x, &t, 100 + (int64_t)more, EXCHANGE_CAME_COVERING);
		exchange_next(&x, &t, 100, EXCHANGE_BY_REQUEST, true, true);
	}
	bench_sink += t.same + exchange_differ(&t);
}

/* The times of an exchange, in the total and in one of 64 classes. */
static void do_times(void *arg, unsigned n)
{
	static uint64_t now;
	struct blocks *b = arg;
	struct blocks_times t;

	for (unsigned i = 0; i < n; i++) {
		const uint64_t ns = 100000 + ((uint64_t)i * 2654435761u >> 12) % 1000000;

		for (unsigned m = 0; m < BLOCKS_METRIC_COUNT; m++) {
			t.ns[BLOCKS_ONLINE][m] = ns + m * 1000;
			t.ns[BLOCKS_TARGET][m] = ns + m * 2000;
		}
		now += 20000; /* 50,000/s */
		blocks_add(b, now, blocks_class(b, now, i % 64, "class"), &t);
	}
	bench_sink += blocks_count(b);
}

static void exchanges(void)
{
	void *memory = malloc(blocks_size(64));

	size_t more[] = { 0, 1 };

	bench_run("exchange.same", do_exchange, &more[0], 2000000);
	bench_run("exchange.longer", do_exchange, &more[1], 2000000);
	if (memory)
		bench_run("exchange.times", do_times, blocks_init(memory, 64, 0, NS_PER_SEC), 2000000);
	free(memory);
}

int main(int argc, char **argv)
{
	static size_t sizes[] = { 64, 512, 2048, 65536 };
	char name[64];

	bench_words = argc - 1;
	bench_word = argv + 1;
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 7);
	packets("ipv4", "10.90.114.82", "10.90.111.142");
	packets("ipv6", "fd00:90::114:82", "fd00:90::111:142");
	checksums();
	timers(1000);
	timers(100000);
	timers(1000000);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		snprintf(name, sizeof(name), "pool.put-get.%zu", sizes[i]);
		bench_run(name, do_pool, &sizes[i], 2000000);
	}
	messages();
	exchanges();
	return 0;
}
