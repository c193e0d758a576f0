/*
 * What the packet library costs: nanoseconds per operation, the best of several rounds, on warm
 * caches. Prints figures, judges nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/util.h"
#include "packet/build.h"
#include "packet/checksum.h"
#include "packet/options.h"
#include "packet/parse.h"
#include "packet/rewrite.h"
#include "packet/text.h"

#define ROUNDS 7

static uint8_t payload[65536];
static uint8_t packet[65536 + BUILD_MAX_HEADERS];
static struct tx_segment tx;
static struct raw_packet raw;
static struct rewrite change;
static struct endpoint to;
static size_t sum_len;
static volatile uint64_t sink; /* keeps the compiler from dropping the work */

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void do_parse(void)
{
	struct segment s;

	sink += parse_packet(&s, &raw) + s.len;
}

static void do_build_full(void)
{
	sink += build_headers(packet, &tx, BUILD_CHECKSUM_FULL);
}

static void do_build_partial(void)
{
	sink += build_headers(packet, &tx, BUILD_CHECKSUM_PARTIAL);
}

static void do_sum(void)
{
	sink += csum_fold(csum_add(0, payload, sum_len));
}

static void do_update(void)
{
	sink += csum_update32((uint16_t)sink, 0x12345678, (uint32_t)sink);
}

static void do_rewrite(void)
{
	sink += rewrite_packet(packet, raw.len, &change, CHECKSUM_TRUSTED);
}

static void do_format(void)
{
	char line[SEGMENT_TEXT_LEN];
	struct segment s;

	parse_packet(&s, &raw);
	sink += (uint8_t)*segment_format(line, sizeof(line), &s);
}

static void measure(const char *what, void (*fn)(void), unsigned n)
{
	double best = 1e18;
	unsigned r, i;

	for (r = 0; r < ROUNDS; r++) {
		uint64_t start = now();

		for (i = 0; i < n; i++)
			fn();
		best = MIN(best, (double)(now() - start) / n);
	}
	printf("%-44s %10.1f ns\n", what, best);
}

static void set_up(const char *src, const char *dst, uint32_t len)
{
	tx = (struct tx_segment){.seq = 1,
				 .ack = 2,
				 .window = 3,
				 .flags = TCPF_ACK | TCPF_PSH,
				 .ttl = 64,
				 .df = true,
				 .payload = payload,
				 .len = len};
	if (!addr_parse(&tx.tuple.src.addr, src) || !addr_parse(&tx.tuple.dst.addr, dst))
		abort();
	tx.tuple.src.port = 33800;
	tx.tuple.dst.port = 6379;
	tx.options_len = tcp_options_ts_build(tx.options, 4, 5);
	raw = (struct raw_packet){.data = packet, .link = LINK_RAW};
	raw.captured = raw.len = (uint32_t)build_packet(packet, sizeof(packet), &tx);
	to = tx.tuple.dst;
	to.addr.b[15] ^= 1;
	change = (struct rewrite){.dst = &to, .set_ack = true, .set_tsecr = true};
}

static void family(const char *name, const char *src, const char *dst)
{
	char what[64];

	set_up(src, dst, 40);
	raw.checksum = CHECKSUM_TRUSTED;
	snprintf(what, sizeof(what), "%s, 40 B: parse, sums trusted", name);
	measure(what, do_parse, 1000000);
	raw.checksum = CHECKSUM_VERIFY;
	snprintf(what, sizeof(what), "%s, 40 B: parse, sums verified", name);
	measure(what, do_parse, 1000000);
	snprintf(what, sizeof(what), "%s, 40 B: build headers, full sum", name);
	measure(what, do_build_full, 1000000);
	snprintf(what, sizeof(what), "%s, 40 B: build headers, partial sum", name);
	measure(what, do_build_partial, 1000000);
	set_up(src, dst, 40);
	snprintf(what, sizeof(what), "%s, 40 B: rewrite in place", name);
	measure(what, do_rewrite, 1000000);
	snprintf(what, sizeof(what), "%s, 40 B: parse and format", name);
	measure(what, do_format, 100000);
	set_up(src, dst, 1448);
	snprintf(what, sizeof(what), "%s, 1448 B: parse, sums verified", name);
	measure(what, do_parse, 1000000);
	snprintf(what, sizeof(what), "%s, 1448 B: build headers, full sum", name);
	measure(what, do_build_full, 1000000);
}

int main(void)
{
	static const size_t lens[] = {66, 1500, 65536};
	char what[64];
	size_t i;

	for (i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 7);
	family("IPv4", "10.90.114.82", "10.90.111.142");
	family("IPv6", "fd00:90::114:82", "fd00:90::111:142");
	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		sum_len = lens[i];
		snprintf(what, sizeof(what), "checksum of %zu bytes", sum_len);
		measure(what, do_sum, sum_len > 10000 ? 20000 : 1000000);
	}
	measure("incremental checksum update, 32 bits", do_update, 1000000);
	return 0;
}
