/*
 * TCP options: the checked walk over hostile bytes, parsing, the filtering of a SYN and the
 * building of our own. Bytes lie in heap blocks of their exact size, for the sanitizer to watch.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/util.h"
#include "packet/options.h"
#include "packet_vectors.h"

static bool parse_hex(struct tcp_options *o, const char *hex)
{
	size_t n;
	uint8_t *b = hex_bytes(hex, &n);
	bool ok = tcp_options_parse(o, b, n);

	free(b);
	return ok;
}

/* The SYN-filter's answer as text "0204 05b4 ...". */
static const char *filtered(const char *hex, uint32_t tsval, uint16_t mss_limit)
{
	static char text[2 * TCP_MAX_OPTIONS_LEN + 1];
	uint8_t out[TCP_MAX_OPTIONS_LEN], *b;
	size_t n, i, len;

	b = hex_bytes(hex, &n);
	memset(out, 0xee, sizeof(out));
	len = tcp_options_syn_filter(out, b, n, tsval, mss_limit);
	assert_int_equal(len % 4, 0);
	assert_true(len <= TCP_MAX_OPTIONS_LEN && len >= n && len < n + 4);
	text[0] = '\0';
	for (i = 0; i < len; i++)
		sprintf(text + 2 * i, "%02x", out[i]);
	free(b);
	return text;
}

static void values_of_all_kinds(void **state)
{
	struct tcp_options o;

	(void)state;
	/* mss 1460,sackOK,TS val 486106583 ecr 7,nop,wscale 10 */
	assert_true(parse_hex(&o, "0204 05b4 0402 080a 1cf9 65d7 0000 0007 0103 030a"));
	assert_int_equal(o.mss, 1460);
	assert_true(o.has_sack_permitted && o.has_ts && o.has_wscale);
	assert_int_equal(o.tsval, 486106583);
	assert_int_equal(o.tsecr, 7);
	assert_int_equal(o.wscale, 10);
	assert_false(o.has_unknown || o.has_mptcp || o.has_tfo || o.n_sack);

	/* nop,nop,sack 1 {1:4294967295} */
	assert_true(parse_hex(&o, "0101 050a 0000 0001 ffff ffff"));
	assert_int_equal(o.n_sack, 1);
	assert_int_equal(o.sack[0].start, 1);
	assert_int_equal(o.sack[0].end, 0xffffffff);
	assert_false(o.has_ts || o.mss || o.has_unknown);

	/* four blocks, the most that fit */
	assert_true(parse_hex(&o, "0101 0522 00000001 00000002 00000003 00000004"
				  " 00000005 00000006 00000007 00000008 01010101"));
	assert_int_equal(o.n_sack, 4);
	assert_int_equal(o.sack[3].end, 8);

	assert_true(parse_hex(&o, "0303 0f00"));
	assert_int_equal(o.wscale, 14); /* RFC 7323 2.3 */
	assert_true(parse_hex(&o, "1e04 0100"));
	assert_true(o.has_mptcp && o.mptcp == MPTCP_CAPABLE && !o.has_unknown);
	assert_true(parse_hex(&o, "1e04 1000 1e04 2000"));
	assert_int_equal(o.mptcp, MPTCP_JOIN | MPTCP_DSS);
	assert_true(parse_hex(&o, "1e04 3000")); /* ADD_ADDR */
	assert_true(o.has_mptcp && !o.mptcp);
	assert_true(parse_hex(&o, "1e02 0000")); /* too short for a subtype */
	assert_true(o.has_mptcp && !o.mptcp);
	assert_true(parse_hex(&o, "2202 0101"));
	assert_true(o.has_tfo && !o.has_unknown);
	assert_true(parse_hex(&o, "fe04 f989"));
	assert_true(o.has_tfo && !o.has_unknown);
	assert_true(parse_hex(&o, "fe04 e2d4")); /* another experiment */
	assert_true(!o.has_tfo && o.has_unknown);
	assert_true(parse_hex(&o, "fe03 f901")); /* too short for any identifier */
	assert_true(!o.has_tfo && o.has_unknown);
	assert_true(parse_hex(&o, "ac05 0000 0101 0101")); /* AccECN */
	assert_true(o.has_unknown);
}

static void wrong_sizes_are_unknown(void **state)
{
	static const char *const texts[] = {
		"0203 0501", "0205 05b4 0001 0101",           "0302 0101", "0304 0a0a",
		"0403 0101", "0809 0000 0000 0000 0001 0101", "0502 0101", "0509 0000 0001 0000 0001 0101",
		"052a 0000",
	};
	struct tcp_options o;
	size_t i;

	(void)state;
	for (i = 0; i + 1 < ARRAY_SIZE(texts); i++) {
		assert_true(parse_hex(&o, texts[i]));
		assert_true(o.has_unknown);
		assert_false(o.mss || o.has_wscale || o.has_sack_permitted || o.has_ts || o.n_sack);
	}
	assert_false(parse_hex(&o, texts[i]));
}

/* Five blocks fit no header, but the walk takes any length. */
static void sack_blocks_stay_in_their_array(void **state)
{
	uint8_t b[42] = { TCPOPT_SACKS, 42 };
	struct tcp_options *o = malloc(sizeof(*o));

	(void)state;
	assert_true(tcp_options_parse(o, b, sizeof(b)));
	assert_int_equal(o->n_sack, 0);
	assert_true(o->has_unknown);
	free(o);
}

static void end_stops_the_walk(void **state)
{
	struct tcp_options o;

	(void)state;
	assert_true(parse_hex(&o, "0204 05b4 0004 0200"));
	assert_int_equal(o.mss, 1460);
	assert_false(o.has_sack_permitted);
	assert_true(tcp_options_parse(&o, NULL, 0));
}

static void malformed_keeps_what_came_before(void **state)
{
	static const char *const texts[] = {
		"0204 05b4 0800", "0204 05b4 0801", "0204 05b4 080a 0000",
		"0204 05b4 0108", "0204 05b4 08",   "0204 05b4 08ff 0000",
	};
	struct tcp_options o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_false(parse_hex(&o, texts[i]));
		assert_int_equal(o.mss, 1460);
		assert_false(o.has_ts);
	}
}

/*
 * Every prefix of real options, and every prefix with each byte changed: nothing may be
 * read past the end.
 */
static void truncated_and_damaged_bytes(void **state)
{
	static const char *const texts[] = {
		"0204 05b4 0402 080a 1cf9 65d7 0000 0000 0103 030a",
		("0101 080a 3b2a da70 f354 2031 0101 051a 1877 9d31 1877 a1e9 1877 80e9 1877 978a"
		 " 1877 64a1 1877 7b41"),
		"0204 05b4 0402 080a bfd5 0a2e 0000 0000 0103 0308 2202 0101",
		"0204 05b4 0402 080a 6724 9ac3 0000 0000 0103 0308 fe04 f989",
		"0204 05b4 0402 080a 286d 4119 0000 0000 0103 0308 1e04 0101",
	};
	static const uint8_t evil[] = { 0, 1, 2, 3, 10, 0x7f, 0x80, 0xff };
	uint8_t out[TCP_MAX_OPTIONS_LEN];
	struct tcp_options o;
	size_t i, n, len, at, e;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		uint8_t *b = hex_bytes(texts[i], &n);

		for (len = 0; len <= n; len++) {
			uint8_t *cut = malloc(len ? len : 1);

			memcpy(cut, b, len);
			tcp_options_parse(&o, cut, len);
			tcp_options_syn_filter(out, cut, len, 1, 536);
			for (at = 0; at < len; at++) {
				for (e = 0; e < ARRAY_SIZE(evil); e++) {
					uint8_t was = cut[at];

					cut[at] = evil[e];
					tcp_options_parse(&o, cut, len);
					tcp_options_syn_filter(out, cut, len, 1, 536);
					assert_true(tcp_options_parse(&o, out, (len + 3) & ~3ul));
					cut[at] = was;
				}
			}
			free(cut);
		}
		free(b);
	}
}

static void the_walk_hands_out_bodies(void **state)
{
	static const uint8_t b[] = { 1, 2, 4, 5, 0xb4, 1, 1, 4, 2, 30, 3, 7, 0, 99 };
	struct tcp_option_iter it;

	(void)state;
	tcp_option_begin(&it, b, sizeof(b));
	assert_true(tcp_option_next(&it));
	assert_int_equal(it.kind, TCPOPT_MAXSEG);
	assert_int_equal(it.len, 2);
	assert_ptr_equal(it.body, b + 3);
	assert_true(tcp_option_next(&it));
	assert_int_equal(it.kind, TCPOPT_SACKOK);
	assert_int_equal(it.len, 0);
	assert_true(tcp_option_next(&it));
	assert_int_equal(it.kind, TCPOPT_MPTCP_KIND);
	assert_int_equal(it.body[0], 7);
	assert_false(tcp_option_next(&it));
	assert_false(it.malformed);
	assert_false(tcp_option_next(&it)); /* and stays at its end */
}

static void syn_filter_keeps_order_and_places(void **state)
{
	(void)state;
	/* Linux's SYN: only the timestamp values change */
	assert_string_equal(filtered("0204 05b4 0402 080a 1cf9 65d7 0000 0000 0103 030a", 0xaabbccdd, 0),
			    "020405b40402080aaabbccdd000000000103030a");
	/* a joined SYN's echo is not replicated */
	assert_string_equal(filtered("0101 080a 1111 1111 2222 2222", 5, 0), "0101080a0000000500000000");
	/* macOS: mss,nop,wscale,nop,nop,TS,sackOK,eol */
	assert_string_equal(filtered("0204 05b4 0103 0306 0101 080a 2e5c 7a5b 0000 0000 0402 0000", 1, 0),
			    "020405b4010303060101080a000000010000000004020000");
	/* Windows: mss,nop,wscale,nop,nop,sackOK; no timestamp is invented */
	assert_string_equal(filtered("0204 05b4 0103 0308 0101 0402", 1, 0), "020405b40103030801010402");
	assert_string_equal(filtered("", 1, 0), "");
}

static void syn_filter_removes_what_may_not_go(void **state)
{
	(void)state;
	/*
	 * TFO, its experimental form, MPTCP, AccECN of both orders, MD5, AO, SACK blocks,
	 * an unknown kind
	 */
	assert_string_equal(filtered("0204 05b4 2202 0101", 0, 0), "020405b401010101");
	assert_string_equal(filtered("0204 05b4 fe04 f989", 0, 0), "020405b401010101");
	assert_string_equal(filtered("1e04 0101 0204 05b4", 0, 0), "01010101020405b4");
	assert_string_equal(filtered("ac02 0402 ae05 0102 0301 0101", 0, 0), "010104020101010101010101");
	assert_string_equal(filtered("1312 00112233445566778899aabbccddeeff 0402", 0, 0),
			    "0101010101010101010101010101010101010402");
	assert_string_equal(filtered("1d04 0101 0402 0101", 0, 0), "0101010104020101");
	assert_string_equal(filtered("0101 050a 0000 0001 0000 0002", 0, 0), "010101010101010101010101");
	assert_string_equal(filtered("6304 abcd", 0, 0), "01010101");
	/* a known kind of the wrong size is unknown */
	assert_string_equal(filtered("0203 0501", 0, 0), "01010101");
}

static void syn_filter_mss_and_ends(void **state)
{
	(void)state;
	assert_string_equal(filtered("0204 05b4", 0, 1400), "02040578");
	assert_string_equal(filtered("0204 05b4", 0, 1460), "020405b4");
	assert_string_equal(filtered("0204 0218", 0, 1400), "02040218");
	/* nothing survives behind the end of the list, nor from a malformed length on */
	assert_string_equal(filtered("0402 00ff ffff ffff", 0, 0), "0402000000000000");
	assert_string_equal(filtered("0204 05b4 0800 0402", 0, 0), "020405b400000000");
	/* a length that is no multiple of four is padded */
	assert_string_equal(filtered("0402", 0, 0), "04020000");
}

static void syn_options_in_the_kernels_order(void **state)
{
	static const struct {
		uint16_t mss;
		int wscale;
		bool sack, ts;
		const char *hex;
	} k[] = {
		/*
		 * as captured from Linux, with
		 * net.ipv4.tcp_{sack,timestamps,window_scaling} on and off
		 */
		{ 1460, 10, true, true, "0204 05b4 0402 080a 1cf9 65d7 0000 0000 0103 030a" },
		{ 1460, 10, false, true, "0204 05b4 0101 080a 1cf9 65d7 0000 0000 0103 030a" },
		{ 1460, 10, true, false, "0204 05b4 0101 0402 0103 030a" },
		{ 1460, -1, true, true, "0204 05b4 0402 080a 1cf9 65d7 0000 0000" },
		{ 1440, 0, false, false, "0204 05a0 0103 0300" },
		{ 0, -1, false, false, "" },
	};
	uint8_t out[TCP_MAX_OPTIONS_LEN];
	size_t i, n;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(k); i++) {
		uint8_t *want = hex_bytes(k[i].hex, &n);

		assert_int_equal(
			tcp_options_syn_build(out, k[i].mss, k[i].wscale, k[i].sack, k[i].ts, 0x1cf965d7), n);
		assert_memory_equal(out, want, n);
		free(want);
	}
}

static void timestamps_of_every_segment(void **state)
{
	static const uint8_t want[] = { 1, 1, 8, 10, 0x1c, 0xf9, 0x65, 0xd7, 0x87, 0x19, 0x92, 0x0a };
	uint8_t out[TCP_MAX_OPTIONS_LEN];

	(void)state;
	assert_int_equal(tcp_options_ts_build(out, 0x1cf965d7, 0x8719920a), sizeof(want));
	assert_memory_equal(out, want, sizeof(want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_of_all_kinds),
		cmocka_unit_test(wrong_sizes_are_unknown),
		cmocka_unit_test(sack_blocks_stay_in_their_array),
		cmocka_unit_test(end_stops_the_walk),
		cmocka_unit_test(malformed_keeps_what_came_before),
		cmocka_unit_test(truncated_and_damaged_bytes),
		cmocka_unit_test(the_walk_hands_out_bodies),
		cmocka_unit_test(syn_filter_keeps_order_and_places),
		cmocka_unit_test(syn_filter_removes_what_may_not_go),
		cmocka_unit_test(syn_filter_mss_and_ends),
		cmocka_unit_test(syn_options_in_the_kernels_order),
		cmocka_unit_test(timestamps_of_every_segment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
