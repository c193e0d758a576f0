/*
 * The channel's codec against literal bytes: each message as doc/PROTOCOL.md lays it out, every
 * truncation of it, and bodies that lie about their length or content.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "channel/message.h"

#define V4(a, b, c, d) 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d

/* clang-format off */
/* version 1..1, features 0, worker 2, "tcpcopy", "1.0.0" */
static const uint8_t hello_bytes[] = {
	1, 0, 0, 62, 'T', 'C', 'P', 'C', 0, 1, 0, 1, 0, 0, 0, 0, 0, 2,
	't', 'c', 'p', 'c', 'o', 'p', 'y', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	'1', '.', '0', '.', '0', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
};
static const uint8_t watch_bytes[] = {
	2, 0, 0, 44, 0, 0, 0, 7, 0, 0, 0, 9,
	V4(10, 90, 109, 143), 0x18, 0xeb, V4(10, 90, 114, 82), 0x84, 0x08,
};
static const uint8_t expect_bytes[] = { 15, 0, 0, 12, 0, 0, 0, 7, 0, 0, 0, 9, 0xfe, 0xdc, 0xba, 0x98 };
static const uint8_t unwatch_bytes[] = { 3, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, 9 };
static const uint8_t taken_bytes[] = { 14, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, 9 };
static const uint8_t full_bytes[] = { 16, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, 9 };
/*
 * id 9, seq 0x14c7ee83, ack 0xbcad9ff7, len 70000, window 115, merged 3, ACK|PSH, 2 dups, TS, two
 * SACK blocks
 */
static const uint8_t response_bytes[] = {
	4, 0, 0, 56, 0, 0, 0, 0, 0, 0, 0, 9, 0x14, 0xc7, 0xee, 0x83, 0xbc, 0xad, 0x9f, 0xf7,
	0, 1, 0x11, 0x70, 0, 0x73, 0, 3, 0x18, 2, 4, 2, 0, 0, 0, 0,
	0x04, 0xb0, 0x9b, 0x4a, 0x49, 0xce, 0xfb, 0xaf,
	0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 5,
};
/* a SYN-ACK: MSS 1460, window scale 7, SACK permitted, no timestamps */
static const uint8_t synack_bytes[] = {
	4, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0,
	0xff, 0xff, 0, 0, 0x12, 0, 3, 0, 0x05, 0xb4, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0,
};
/* len 20, ACK|PSH, no options, and what the payload begins with: "HTTP/1.1 404 Not" */
static const uint8_t answer_bytes[] = {
	4, 0, 0, 56, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 20,
	0xff, 0xff, 0, 0, 0x18, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0,
	'H', 'T', 'T', 'P', '/', '1', '.', '1', ' ', '4', '0', '4', ' ', 'N', 'o', 't',
};
static const uint8_t loss_bytes[] = {
	5, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2,
	0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 4,
};
static const uint8_t ping_bytes[] = { 6, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8 };
static const uint8_t pong_bytes[] = { 7, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8 };
static const uint8_t bye_bytes[] = { 8, 0, 0, 4, 's', 't', 'o', 'p' };
static const uint8_t target_bytes[] = {
	9, 0, 0, 18, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x43, 0x18, 0xeb,
};
/* an ACK of a connection that nobody has */
static const uint8_t stray_bytes[] = {
	10, 0, 0, 45, V4(10, 90, 109, 143), 0x18, 0xeb, V4(10, 90, 114, 82), 0x84, 0x08,
	0, 0, 0, 5, 0x80, 0, 0, 6, 0x10,
};
static const uint8_t probe_bytes[] = {
	11, 0, 0, 44, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff,
	V4(10, 90, 109, 143), 0x18, 0xeb, V4(10, 90, 114, 82), 0x13, 0x89,
};
/* it looks, forwards, has the client's address on lo; 3 arrived, 2 captured, 1 forwarded, 4 resets */
static const uint8_t findings_bytes[] = {
	12, 0, 0, 61, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0x0b, 0, 0, 0, 3, 0, 0, 0, 2,
	0, 0, 0, 1, 0, 0, 0, 4, V4(10, 90, 110, 143), 32,
	'l', 'o', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
};

/* clang-format on */
static const struct {
	const uint8_t *bytes;
	size_t len;
} frames[] = {
#define F(a)                                                                                                 \
	{                                                                                                    \
		a, sizeof(a)                                                                                 \
	}
	F(hello_bytes),    F(watch_bytes),  F(unwatch_bytes), F(expect_bytes), F(response_bytes),
	F(taken_bytes),    F(full_bytes),   F(synack_bytes),  F(loss_bytes),   F(ping_bytes),
	F(pong_bytes),     F(bye_bytes),    F(target_bytes),  F(stray_bytes),  F(probe_bytes),
	F(findings_bytes), F(answer_bytes),
#undef F
};

static enum message_result decode(struct message *m, const void *in, size_t len)
{
	const char *why = NULL;
	size_t used = 12345;
	enum message_result r;

	memset(m, 0xa5, sizeof(*m));
	r = message_decode(m, in, len, &used, &why);
	if (r == MESSAGE_OK || r == MESSAGE_UNKNOWN)
		assert_int_equal(used, 4 + ((const uint8_t *)in)[2] * 256 + ((const uint8_t *)in)[3]);
	if (r == MESSAGE_BAD)
		assert_non_null(why);
	return r;
}

/* A copy of @frame with the byte at @at replaced must be refused. */
static void refused(const uint8_t *frame, size_t len, size_t at, uint8_t value)
{
	uint8_t copy[MESSAGE_MAX_LEN];
	struct message m;

	memcpy(copy, frame, len);
	copy[at] = value;
	assert_int_equal(decode(&m, copy, len), MESSAGE_BAD);
}

static void literal_bytes_decode(void **state)
{
	struct message m;
	struct addr a;

	(void)state;
	assert_int_equal(decode(&m, hello_bytes, sizeof(hello_bytes)), MESSAGE_OK);
	assert_int_equal(m.type, MSG_HELLO);
	assert_int_equal(m.hello.version_min, 1);
	assert_int_equal(m.hello.version_max, 1);
	assert_int_equal(m.hello.worker, 2);
	assert_string_equal(m.hello.program, "tcpcopy");
	assert_string_equal(m.hello.release, "1.0.0");

	assert_int_equal(decode(&m, watch_bytes, sizeof(watch_bytes)), MESSAGE_OK);
	assert_int_equal(m.type, MSG_WATCH);
	assert_true(m.watch.id == 0x700000009);
	a = addr_from_v4("\x0a\x5a\x6d\x8f");
	assert_true(addr_eq(&m.watch.response.src.addr, &a));
	assert_int_equal(m.watch.response.src.port, 6379);
	assert_int_equal(m.watch.response.dst.port, 33800);

	assert_int_equal(decode(&m, unwatch_bytes, sizeof(unwatch_bytes)), MESSAGE_OK);
	assert_int_equal(m.type, MSG_UNWATCH);
	assert_true(m.watch.id == 0x700000009);

	assert_int_equal(decode(&m, expect_bytes, sizeof(expect_bytes)), MESSAGE_OK);
	assert_int_equal(m.type, MSG_EXPECT);
	assert_true(m.watch.id == 0x700000009 && m.watch.number == 0xfedcba98);

	assert_int_equal(decode(&m, taken_bytes, sizeof(taken_bytes)), MESSAGE_OK);
	assert_true(m.type == MSG_TAKEN && m.watch.id == 0x700000009);

	assert_int_equal(decode(&m, full_bytes, sizeof(full_bytes)), MESSAGE_OK);
	assert_true(m.type == MSG_FULL && m.watch.id == 0x700000009);

	assert_int_equal(decode(&m, response_bytes, sizeof(response_bytes)), MESSAGE_OK);
	assert_true(m.response.id == 9);
	assert_int_equal(m.response.seq, 0x14c7ee83);
	assert_int_equal(m.response.ack, 0xbcad9ff7);
	assert_int_equal(m.response.len, 70000);
	assert_int_equal(m.response.window, 115);
	assert_int_equal(m.response.merged, 3);
	assert_int_equal(m.response.flags, TCPF_ACK | TCPF_PSH);
	assert_int_equal(m.response.dup_acks, 2);
	assert_true(m.response.opt.has_ts);
	assert_int_equal(m.response.opt.tsval, 0x04b09b4a);
	assert_int_equal(m.response.opt.tsecr, 0x49cefbaf);
	assert_int_equal(m.response.opt.n_sack, 2);
	assert_int_equal(m.response.opt.sack[1].start, 0xffffffff);
	assert_int_equal(m.response.opt.sack[1].end, 5);

	assert_int_equal(decode(&m, synack_bytes, sizeof(synack_bytes)), MESSAGE_OK);
	assert_int_equal(m.response.opt.mss, 1460);
	assert_true(m.response.opt.has_wscale && m.response.opt.has_sack_permitted && !m.response.opt.has_ts);
	assert_int_equal(m.response.opt.wscale, 7);
	assert_int_equal(m.response.n_first, 0);
	assert_int_equal(decode(&m, answer_bytes, sizeof(answer_bytes)), MESSAGE_OK);
	assert_int_equal(m.response.len, 20);
	assert_int_equal(m.response.n_first, 16);
	assert_memory_equal(m.response.first, "HTTP/1.1 404 Not", 16);

	assert_int_equal(decode(&m, loss_bytes, sizeof(loss_bytes)), MESSAGE_OK);
	assert_int_equal(m.loss.records_dropped, 1);
	assert_int_equal(m.loss.records_merged, 2);
	assert_int_equal(m.loss.kernel_drops, 3);
	assert_true(m.loss.unowned == 0x0100000000000004);

	assert_int_equal(decode(&m, ping_bytes, sizeof(ping_bytes)), MESSAGE_OK);
	assert_true(m.ping == 0x0102030405060708);
	assert_int_equal(decode(&m, bye_bytes, sizeof(bye_bytes)), MESSAGE_OK);
	assert_string_equal(m.bye, "stop");
	assert_int_equal(decode(&m, target_bytes, sizeof(target_bytes)), MESSAGE_OK);
	assert_int_equal(m.target.port, 6379);
	assert_int_equal(m.target.addr.b[15], 0x43);
	assert_int_equal(decode(&m, stray_bytes, sizeof(stray_bytes)), MESSAGE_OK);
	assert_int_equal(m.stray.response.src.port, 6379);
	assert_int_equal(m.stray.response.dst.port, 33800);
	assert_int_equal(m.stray.seq, 5);
	assert_int_equal(m.stray.ack, 0x80000006);
	assert_int_equal(m.stray.flags, TCPF_ACK);

	assert_int_equal(decode(&m, probe_bytes, sizeof(probe_bytes)), MESSAGE_OK);
	assert_true(m.watch.id == 0x7ffffffffull);
	assert_int_equal(m.watch.response.dst.port, 5001);

	assert_int_equal(decode(&m, findings_bytes, sizeof(findings_bytes)), MESSAGE_OK);
	assert_true(m.findings.id == 0x7ffffffffull);
	assert_int_equal(m.findings.facts, FINDING_LOOKS | FINDING_FORWARDS | FINDING_CLIENT_HERE);
	assert_int_equal(m.findings.arrived, 3);
	assert_int_equal(m.findings.captured, 2);
	assert_int_equal(m.findings.forwarded, 1);
	assert_int_equal(m.findings.answered, 4);
	assert_true(addr_is_v4(&m.findings.address));
	assert_int_equal(m.findings.prefix, 32);
	assert_string_equal(m.findings.interface, "lo");
}

static void decoded_messages_encode_to_the_same_bytes(void **state)
{
	uint8_t out[MESSAGE_MAX_LEN];
	struct message m;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		assert_int_equal(decode(&m, frames[i].bytes, frames[i].len), MESSAGE_OK);
		assert_int_equal(message_encode(out, &m), frames[i].len);
		assert_memory_equal(out, frames[i].bytes, frames[i].len);
	}
}

static void every_truncation_waits_for_more(void **state)
{
	struct message m;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		for (size_t len = 0; len < frames[i].len; len++)
			assert_int_equal(decode(&m, frames[i].bytes, len), MESSAGE_MORE);
}

/* The body shorter or longer than its type wants, with a header that says so. */
static void lying_lengths_are_refused(void **state)
{
	uint8_t copy[MESSAGE_MAX_LEN] = { 0 };
	struct message m;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		if (frames[i].bytes[0] == MSG_BYE)
			continue;
		memcpy(copy, frames[i].bytes, frames[i].len);
		for (size_t body = 0; body < 120; body++) {
			if (4 + body == frames[i].len)
				continue;
			if (copy[0] == MSG_HELLO && 4 + body > frames[i].len)
				continue; /* a newer version may append */
			copy[3] = (uint8_t)body;
			assert_int_equal(decode(&m, copy, 4 + body), MESSAGE_BAD);
		}
	}
}

static void a_frame_too_long_is_refused_by_its_header(void **state)
{
	const uint8_t most[4] = { 200, 0, 0x01, 0xfc }, more[4] = { 200, 0, 0x01, 0xfd };
	uint8_t whole[MESSAGE_MAX_LEN] = { 200, 0, 0x01, 0xfc };
	struct message m;

	(void)state;
	assert_int_equal(decode(&m, more, 4), MESSAGE_BAD);
	assert_int_equal(decode(&m, most, 4), MESSAGE_MORE);
	assert_int_equal(decode(&m, whole, sizeof(whole)), MESSAGE_UNKNOWN);
	whole[0] = 0;
	assert_int_equal(decode(&m, whole, sizeof(whole)), MESSAGE_UNKNOWN);
}

static void a_newer_hello_is_understood(void **state)
{
	uint8_t longer[sizeof(hello_bytes) + 10] = { 0 };
	struct message m;

	(void)state;
	memcpy(longer, hello_bytes, sizeof(hello_bytes));
	longer[3] = 72;
	longer[11] = 9;
	memset(longer + sizeof(hello_bytes), 0xff, 10);
	assert_int_equal(decode(&m, longer, sizeof(longer)), MESSAGE_OK);
	assert_int_equal(m.hello.version_max, 9);
	assert_string_equal(m.hello.release, "1.0.0");
}

static void impossible_contents_are_refused(void **state)
{
	(void)state;
	refused(hello_bytes, sizeof(hello_bytes), 4, 'X');         /* magic */
	refused(hello_bytes, sizeof(hello_bytes), 9, 0);           /* version 0 */
	refused(hello_bytes, sizeof(hello_bytes), 9, 2);           /* 2 to 1 */
	refused(hello_bytes, sizeof(hello_bytes), 41, 'x');        /* program without end */
	refused(hello_bytes, sizeof(hello_bytes), 65, 'x');        /* release without end */
	refused(watch_bytes, sizeof(watch_bytes), 22, 0);          /* one v4, one v6 */
	refused(watch_bytes, sizeof(watch_bytes), 42, 224);        /* the client is multicast */
	refused(response_bytes, sizeof(response_bytes), 30, 0x0c); /* option bits */
	refused(response_bytes, sizeof(response_bytes), 31, 5);    /* SACK blocks */
	refused(response_bytes, sizeof(response_bytes), 31, 1);    /* fewer than there are */
	refused(response_bytes, sizeof(response_bytes), 28, TCPF_FIN | TCPF_ACK); /* merged FIN */
	refused(answer_bytes, sizeof(answer_bytes), 35, 17); /* more first bytes than there may be */
	refused(answer_bytes, sizeof(answer_bytes), 35, 15); /* fewer than there are */
	refused(answer_bytes, sizeof(answer_bytes), 23, 15); /* more than its payload has */
	refused(synack_bytes, sizeof(synack_bytes), 34, 15); /* scale */
}

static void ports_and_addresses_of_watch_and_target(void **state)
{
	uint8_t copy[64];
	struct message m;

	(void)state;
	memcpy(copy, watch_bytes, sizeof(watch_bytes));
	copy[28] = copy[29] = 0;
	assert_int_equal(decode(&m, copy, sizeof(watch_bytes)), MESSAGE_BAD);
	memcpy(copy, target_bytes, sizeof(target_bytes));
	memset(copy + 4, 0, 16);
	assert_int_equal(decode(&m, copy, sizeof(target_bytes)), MESSAGE_BAD);
}

/* Text from a peer reaches logs: nothing in it may move a cursor or end a line. */
static void text_is_made_printable(void **state)
{
	const uint8_t bye[] = { 8, 0, 0, 5, 'a', '\n', 0x1b, 0xe4, '!' };
	const uint8_t empty[] = { 8, 0, 0, 0 };
	uint8_t copy[sizeof(hello_bytes)], longest[4 + 128] = { 8, 0, 0, 127 };
	struct message m;

	(void)state;
	assert_int_equal(decode(&m, bye, sizeof(bye)), MESSAGE_OK);
	assert_string_equal(m.bye, "a"
				   "??"
				   "?!");
	assert_int_equal(decode(&m, empty, sizeof(empty)), MESSAGE_BAD);
	memset(longest + 4, 'x', 128);
	assert_int_equal(decode(&m, longest, 4 + 127), MESSAGE_OK);
	assert_int_equal(strlen(m.bye), 127);
	longest[3] = 128;
	assert_int_equal(decode(&m, longest, 4 + 128), MESSAGE_BAD);
	memcpy(copy, hello_bytes, sizeof(copy));
	copy[18] = '\r';
	assert_int_equal(decode(&m, copy, sizeof(copy)), MESSAGE_OK);
	assert_string_equal(m.hello.program, "?cpcopy");
}

static void absent_options_are_zero(void **state)
{
	uint8_t copy[sizeof(response_bytes)];
	struct message m;

	(void)state;
	memcpy(copy, response_bytes, sizeof(copy));
	copy[30] = 0; /* no timestamps, though there are bytes in their place */
	copy[34] = 9; /* nor a window scale */
	assert_int_equal(decode(&m, copy, sizeof(copy)), MESSAGE_OK);
	assert_false(m.response.opt.has_ts || m.response.opt.has_wscale);
	assert_int_equal(m.response.opt.tsval, 0);
	assert_int_equal(m.response.opt.tsecr, 0);
	assert_int_equal(m.response.opt.wscale, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(literal_bytes_decode),
		cmocka_unit_test(decoded_messages_encode_to_the_same_bytes),
		cmocka_unit_test(every_truncation_waits_for_more),
		cmocka_unit_test(lying_lengths_are_refused),
		cmocka_unit_test(a_frame_too_long_is_refused_by_its_header),
		cmocka_unit_test(a_newer_hello_is_understood),
		cmocka_unit_test(impossible_contents_are_refused),
		cmocka_unit_test(ports_and_addresses_of_watch_and_target),
		cmocka_unit_test(text_is_made_printable),
		cmocka_unit_test(absent_options_are_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
