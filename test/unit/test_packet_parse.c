/*
 * parse_packet() against packets from the wire. Each vector lies in a heap block of its exact size,
 * so that under AddressSanitizer a read past the end is a failure; the truncation tests repeat that
 * at every length.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "packet/options.h"
#include "packet/text.h"
#include "packet_vectors.h"

#define X(id, name, text) [PARSE_##id] = name,
static const char *const name[PARSE_REASON_COUNT] = { PARSE_REASONS(X) };
#undef X
#define X(id, name, text) [PARSE_##id] = text,
static const char *const text[PARSE_REASON_COUNT] = { PARSE_REASONS(X) };
#undef X

static void good_packets_parse_to_their_fields(void **state)
{
	char line[SEGMENT_TEXT_LEN];
	size_t i;

	(void)state;
	for (i = 0; i < n_good_vectors; i++) {
		const struct good_vector *v = &good_vectors[i];
		struct raw_packet p = good_packet(v);
		enum parse_reason r;
		struct segment s;

		r = parse_packet(&s, &p);
		if (r != PARSE_OK)
			fail_msg("%s: %s", v->name, name[r]);
		if (strcmp(segment_format(line, sizeof(line), &s), v->text) != 0)
			fail_msg("%s:\n%s, expected\n%s", v->name, line, v->text);
		if (s.ttl != v->ttl || s.tos != v->tos || s.ip_id != v->ip_id || s.df != v->df ||
		    s.flow_label != v->flow_label)
			fail_msg("%s: ttl %u tos %#x id %#x df %d flow %#x", v->name, s.ttl, s.tos, s.ip_id,
				 s.df, s.flow_label);
		assert_int_equal(s.time, 42);
		free((void *)(uintptr_t)p.data);
	}
}

/* What Linux does with IP options (ip_options_compile()): it drops the packet, or takes it. */
static void odd_ip_options_are_noted(void **state)
{
	static const struct {
		uint8_t option[8];
		bool odd;
	} vector[] = {
		{ { 1, 1, 1, 1, 1, 1, 1, 0 }, false },
		{ { 0, 131 }, false },
		{ { 131, 7, 4, 10, 0, 0, 1, 0 }, true },
		{ { 1, 137, 7, 4, 10, 0, 0, 1 }, true },
		{ { 7, 7, 4, 10, 0, 0, 1, 0 }, false },
		{ { 7, 7, 8, 10, 0, 0, 1, 0 }, false }, /* full */
		{ { 7, 7, 3, 10, 0, 0, 1, 0 }, true },
		{ { 7, 7, 5, 10, 0, 0, 1, 0 }, true },
		{ { 7, 2 }, true },
		{ { 68, 8, 5, 0 }, false },
		{ { 68, 8, 4, 0 }, true },
		{ { 68, 2 }, true },
		{ { 148, 4, 0, 0 }, false },
		{ { 148, 3, 0, 0 }, true },
		{ { 30, 4, 0, 0, 30, 4, 0, 0 }, false },
		{ { 30, 9, 0, 0 }, true },
		{ { 30, 1, 0, 0 }, true },
		{ { 1, 1, 1, 1, 1, 1, 1, 30 }, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(vector) / sizeof(vector[0]); i++) {
		uint8_t packet[48] = { 0x47, 0, 0, 48, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2 };
		const struct raw_packet p = {
			.data = packet,
			.captured = sizeof(packet),
			.len = sizeof(packet),
			.link = LINK_RAW,
			.checksum = CHECKSUM_TRUSTED,
		};
		struct segment s;

		memcpy(packet + 20, vector[i].option, 8);
		memcpy(packet + 28,
		       (const uint8_t[]){ 0x9c, 0x40, 0x1b, 0x58, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10 }, 14);
		assert_int_equal(parse_packet(&s, &p), PARSE_OK);
		if (s.odd_ip_option != vector[i].odd)
			fail_msg("option %zu", i);
	}
}

static void bad_packets_have_their_reason(void **state)
{
	bool seen[PARSE_REASON_COUNT] = { [PARSE_OK] = true };
	size_t i, n;

	(void)state;
	for (i = 0; i < n_bad_vectors; i++) {
		const struct bad_vector *v = &bad_vectors[i];
		struct raw_packet p = { .link = v->link, .checksum = v->checksum };
		uint8_t *data = hex_bytes(v->hex, &n);
		enum parse_reason r;
		struct segment s;

		p.data = data;
		p.captured = (uint32_t)n;
		p.len = v->wire_len ? v->wire_len : p.captured;
		r = parse_strict(parse_packet(&s, &p), &s);
		if (r != v->reason)
			fail_msg("%s: %s, expected %s", v->name, name[r], name[v->reason]);
		seen[r] = true;
		free(data);
	}
	for (i = 0; i < PARSE_REASON_COUNT; i++) {
		if (!seen[i])
			fail_msg("no vector for %s", name[i]);
	}
}

static void every_reason_has_a_name_of_its_own(void **state)
{
	unsigned i, j;

	(void)state;
	for (i = 0; i < PARSE_REASON_COUNT; i++) {
		assert_true(*text[i]);
		for (j = 0; j < i; j++)
			assert_string_not_equal(name[i], name[j]);
	}
}

/*
 * The capture ends anywhere: headers cut are a "short" reason, payload cut is a smaller
 * s.captured.
 */
static void every_capture_length_is_survived(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < n_good_vectors; i++) {
		struct raw_packet p = good_packet(&good_vectors[i]), cut = p;
		struct segment whole;

		assert_int_equal(parse_packet(&whole, &p), PARSE_OK);
		for (cut.captured = 0; cut.captured < p.captured; cut.captured++) {
			uint8_t *exact = malloc(cut.captured ? cut.captured : 1);
			enum parse_reason r;
			struct segment s;

			memcpy(exact, p.data, cut.captured);
			cut.data = exact;
			r = parse_packet(&s, &cut);
			if (cut.captured < (size_t)(whole.payload - p.data)) {
				assert_true(r == PARSE_LINK_SHORT || r == PARSE_IP_SHORT ||
					    r == PARSE_TCP_SHORT);
			} else {
				assert_int_equal(r, PARSE_OK);
				assert_int_equal(s.len, whole.len);
				assert_true(s.captured <= cut.captured && s.captured <= whole.captured);
				assert_true(s.payload + s.captured <= exact + cut.captured);
			}
			free(exact);
		}
		free((void *)(uintptr_t)p.data);
	}
}

/* The packet itself ends early: the lengths in its headers lie. */
static void every_wire_length_is_survived(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < n_good_vectors; i++) {
		struct raw_packet p = good_packet(&good_vectors[i]), cut = p;
		struct segment whole;

		if (good_vectors[i].wire_len) {
			free((void *)(uintptr_t)p.data);
			continue;
		}
		assert_int_equal(parse_packet(&whole, &p), PARSE_OK);
		for (cut.len = 0; cut.len < (size_t)(whole.payload - p.data) + whole.len; cut.len++) {
			uint8_t *exact = malloc(cut.len ? cut.len : 1);
			struct segment s;

			memcpy(exact, p.data, cut.len);
			cut.data = exact;
			cut.captured = cut.len;
			assert_int_not_equal(parse_packet(&s, &cut), PARSE_OK);
			free(exact);
		}
		free((void *)(uintptr_t)p.data);
	}
}

/* A file that claims more captured bytes than the packet had on the wire. */
static void captured_above_length_is_cut(void **state)
{
	struct raw_packet p = good_packet(good_vector("IPv4 data"));
	struct segment s;

	(void)state;
	p.len = 20;
	assert_int_equal(parse_packet(&s, &p), PARSE_IP_SHORT);
	p.len = 10;
	assert_int_equal(parse_packet(&s, &p), PARSE_LINK_SHORT);
	free((void *)(uintptr_t)p.data);
}

static void gso_size_and_super_packets(void **state)
{
	struct raw_packet p = good_packet(good_vector("BIG TCP from the kernel, IPv4"));
	struct segment s;

	(void)state;
	p.gso_size = 1448;
	assert_int_equal(parse_packet(&s, &p), PARSE_OK);
	assert_int_equal(s.gso_size, 1448);
	assert_true(s.len > 65535 && s.captured < s.len);
	assert_int_equal(segment_seq_len(&s), s.len);
	free((void *)(uintptr_t)p.data);
}

static void padding_is_not_payload(void **state)
{
	struct raw_packet p = good_packet(good_vector("Ethernet padding"));
	struct segment s;

	(void)state;
	assert_int_equal(p.captured, 60);
	assert_int_equal(parse_packet(&s, &p), PARSE_OK);
	assert_int_equal(s.len, 0);
	assert_int_equal(s.captured, 0);
	free((void *)(uintptr_t)p.data);
}

static void options_reach_the_segment(void **state)
{
	struct raw_packet p = good_packet(good_vector("IPv4 SYN"));
	struct segment s;

	(void)state;
	assert_int_equal(parse_packet(&s, &p), PARSE_OK);
	assert_int_equal(s.opt.mss, 1460);
	assert_true(s.opt.has_wscale && s.opt.has_sack_permitted && s.opt.has_ts);
	assert_int_equal(s.opt.wscale, 10);
	assert_int_equal(s.opt.tsval, 486106583);
	assert_int_equal(s.opt.tsecr, 0);
	assert_false(s.opt.has_tfo || s.opt.has_mptcp || s.opt.has_unknown);
	assert_int_equal(segment_seq_len(&s), 1);
	free((void *)(uintptr_t)p.data);

	p = good_packet(good_vector("3 SACK blocks"));
	assert_int_equal(parse_packet(&s, &p), PARSE_OK);
	assert_int_equal(s.opt.n_sack, 3);
	assert_int_equal(s.opt.sack[0].end - s.opt.sack[0].start, 20033 - 18825);
	assert_int_equal(s.opt.sack[2].start, s.ack + 4345 - 2897);
	free((void *)(uintptr_t)p.data);

	p = good_packet(good_vector("SYN with MPTCP and ECN"));
	assert_int_equal(parse_packet(&s, &p), PARSE_OK);
	assert_true(s.opt.has_mptcp);
	assert_int_equal(s.flags, TCPF_SYN | TCPF_ECE | TCPF_CWR);
	free((void *)(uintptr_t)p.data);
}

/*
 * One changed byte anywhere under the checksums is noticed; with the kernel vouching it
 * is not looked for.
 */
static void damage_is_noticed_only_when_asked(void **state)
{
	struct raw_packet p = good_packet(good_vector("IPv6 data"));
	uint8_t *b = (void *)(uintptr_t)p.data;
	struct segment s;
	uint32_t i;

	(void)state;
	for (i = 14 + 40; i < p.captured; i++) {
		b[i] ^= 0x10;
		p.checksum = CHECKSUM_VERIFY;
		assert_int_not_equal(parse_packet(&s, &p), PARSE_OK);
		b[i] ^= 0x10;
	}
	b[p.captured - 1] ^= 1;
	assert_int_equal(parse_packet(&s, &p), PARSE_BAD_CHECKSUM);
	p.checksum = CHECKSUM_PARTIAL;
	assert_int_equal(parse_packet(&s, &p), PARSE_OK);
	p.checksum = CHECKSUM_TRUSTED;
	assert_int_equal(parse_packet(&s, &p), PARSE_OK);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_packets_parse_to_their_fields),
		cmocka_unit_test(odd_ip_options_are_noted),
		cmocka_unit_test(bad_packets_have_their_reason),
		cmocka_unit_test(every_reason_has_a_name_of_its_own),
		cmocka_unit_test(every_capture_length_is_survived),
		cmocka_unit_test(every_wire_length_is_survived),
		cmocka_unit_test(captured_above_length_is_cut),
		cmocka_unit_test(gso_size_and_super_packets),
		cmocka_unit_test(padding_is_not_payload),
		cmocka_unit_test(options_reach_the_segment),
		cmocka_unit_test(damage_is_noticed_only_when_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
