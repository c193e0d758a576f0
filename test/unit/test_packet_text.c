/*
 * The one-line text of segments beyond what the parse vectors show: odd options, flags, and buffers
 * too small.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "packet/text.h"
#include "packet_vectors.h"

#define HEAD "10.0.0.1:1 > [fd00::2]:65535 "

static struct segment plain(void)
{
	struct segment s = { .seq = 1, .ack = 7, .window = 115, .flags = TCPF_ACK };

	assert_true(addr_parse(&s.tuple.src.addr, "10.0.0.1"));
	assert_true(addr_parse(&s.tuple.dst.addr, "fd00::2"));
	s.tuple.src.port = 1;
	s.tuple.dst.port = 65535;
	return s;
}

static void with_options(const char *hex, const char *want)
{
	char line[SEGMENT_TEXT_LEN], full[SEGMENT_TEXT_LEN];
	struct segment s = plain();
	size_t n;
	uint8_t *b = hex_bytes(hex, &n);

	s.raw_options = b;
	s.raw_options_len = (uint8_t)n;
	snprintf(full, sizeof(full), HEAD "[.] seq 1 ack 7 win 115 <%s> len 0", want);
	assert_string_equal(segment_format(line, sizeof(line), &s), full);
	free(b);
}

static void options_in_all_their_forms(void **state)
{
	(void)state;
	with_options("0101 080a 0000 0001 0000 0002", "nop,nop,TS val 1 ecr 2");
	with_options("0402 0101", "sackOK,nop,nop");
	with_options("0204 05b4 0000", "mss 1460,eol");
	with_options("0000 0000", "eol");
	with_options("0108 0000", "nop,[bad opt]");
	with_options("080a 0000", "[bad opt]");
	with_options("0203 0501", "unknown-2 0x05,nop");
	with_options("6302 0101", "unknown-99,nop,nop");
	with_options("0512 00000001 00000002 fffffff0 00000004", "sack 2 {1:2}{4294967280:4}");
}

static void flags_in_tcpdumps_order(void **state)
{
	char line[SEGMENT_TEXT_LEN];
	struct segment s = plain();

	(void)state;
	s.flags = 0xff;
	s.urgent = 3;
	assert_string_equal(segment_format(line, sizeof(line), &s),
			    HEAD "[FSRP.UEW] seq 1 ack 7 win 115 urg 3 len 0");
	s.flags = 0;
	assert_string_equal(segment_format(line, sizeof(line), &s), HEAD "[none] seq 1 win 115 len 0");
	s.flags = TCPF_RST;
	s.len = 40;
	s.captured = 10;
	s.gso_size = 20;
	s.seq = 0xffffffff;
	assert_string_equal(segment_format(line, sizeof(line), &s),
			    HEAD "[R] seq 4294967295:39 win 115 len 40 gso 20 captured 10");
}

static void both_kinds_read_alike(void **state)
{
	char a[SEGMENT_TEXT_LEN], b[SEGMENT_TEXT_LEN];
	struct raw_packet p = good_packet(good_vector("IPv6 SYN"));
	struct tx_segment t = { 0 };
	struct segment s;

	(void)state;
	assert_int_equal(parse_packet(&s, &p), PARSE_OK);
	t.tuple = s.tuple;
	t.seq = s.seq;
	t.flags = s.flags;
	t.window = s.window;
	t.options_len = s.raw_options_len;
	memcpy(t.options, s.raw_options, s.raw_options_len);
	assert_string_equal(segment_format(a, sizeof(a), &s), tx_segment_format(b, sizeof(b), &t));
	free((void *)(uintptr_t)p.data);
}

/*
 * Whatever the size, the text is cut, ended, and never written past. The longest line
 * fits SEGMENT_TEXT_LEN.
 */
static void any_buffer_size(void **state)
{
	char whole[SEGMENT_TEXT_LEN];
	struct segment s = plain();
	uint8_t options[40];
	size_t size, i;

	(void)state;
	for (i = 0; i < sizeof(options); i += 2) {
		options[i] = 200;
		options[i + 1] = 2;
	}
	memset(s.tuple.src.addr.b, 0xff, 16);
	s.tuple.dst = s.tuple.src = (struct endpoint){ s.tuple.src.addr, 65535 };
	s.seq = s.ack = s.len = 4294967294u;
	s.window = s.urgent = s.gso_size = 65535;
	s.flags = 0xff;
	s.captured = s.len - 1;
	s.raw_options = options;
	s.raw_options_len = sizeof(options);
	segment_format(whole, sizeof(whole), &s);
	assert_non_null(strstr(whole, " captured 4294967293"));
	for (size = 1; size <= sizeof(whole); size++) {
		char *buf = malloc(size);

		segment_format(buf, size, &s);
		assert_true(strlen(buf) < size);
		assert_memory_equal(buf, whole, strlen(buf));
		assert_true(strlen(buf) == size - 1 || strlen(buf) == strlen(whole));
		free(buf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_in_all_their_forms),
		cmocka_unit_test(flags_in_tcpdumps_order),
		cmocka_unit_test(both_kinds_read_alike),
		cmocka_unit_test(any_buffer_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
