/* The merging rules of doc/PROTOCOL.md, and what of a segment becomes a record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "channel/message.h"

static struct response data(uint32_t seq, uint32_t len, uint32_t ack)
{
	return (struct response){
		.id = 1, .seq = seq, .len = len, .ack = ack, .window = 100, .flags = TCPF_ACK
	};
}

static void the_highest_edge_counts(void **state)
{
	struct response a = data(1000, 100, 5), b = data(1100, 50, 5), hole = data(2000, 10, 5),
			old = data(900, 20, 5);

	(void)state;
	assert_true(response_merge(&a, &b));
	assert_int_equal(a.seq, 1000);
	assert_int_equal(a.len, 150);
	assert_true(response_merge(&a, &hole));
	assert_int_equal(a.seq + a.len, 2010);
	assert_true(response_merge(&a, &old));
	assert_int_equal(a.seq, 900); /* a retransmission still shows */
	assert_int_equal(a.seq + a.len, 2010);
	assert_int_equal(a.merged, 3);
}

static void the_edge_wraps(void **state)
{
	struct response a = data(0xffffff00, 0x80, 0xfffffff0), b = data(0xffffff80, 0x100, 0x10);

	(void)state;
	assert_true(response_merge(&a, &b));
	assert_int_equal(a.seq, 0xffffff00);
	assert_int_equal(a.len, 0x180);
	assert_int_equal(a.ack, 0x10);
}

static void with_first(struct response *r, const char *text)
{
	r->n_first = (uint8_t)strlen(text);
	memcpy(r->first, text, r->n_first);
}

static void first_bytes_are_those_of_one_answer(void **state)
{
	struct response a = data(1000, 100, 5), rest = data(1100, 50, 5), before = data(900, 100, 5),
			next = data(1150, 10, 9), ack = data(1000, 0, 5);

	(void)state;
	with_first(&a, "-NOAUTH Auth");
	with_first(&next, "+OK");
	assert_true(response_merge(&a, &rest));
	assert_int_equal(a.n_first, 12); /* the same answer goes on */
	assert_memory_equal(a.first, "-NOAUTH Auth", 12);
	rest = a;
	assert_true(response_merge(&rest, &before)); /* they are not at its beginning any more */
	assert_int_equal(rest.n_first, 0);
	assert_true(response_merge(&a, &next)); /* the acknowledgment is now that of another */
	assert_int_equal(a.n_first, 0);
	with_first(&next, "+OK");
	assert_true(response_merge(&ack, &next)); /* nor is it told what is behind it */
	assert_int_equal(ack.n_first, 0);
}

static void first_bytes_are_as_many_as_were_captured(void **state)
{
	static const uint8_t payload[] = "HTTP/1.1 200 OK\r\nServer: nginx";
	struct segment s = { .payload = payload, .len = 5000, .captured = 31, .flags = TCPF_ACK };
	struct response r = response_from_segment(1, &s);

	(void)state;
	assert_int_equal(r.n_first, 16);
	assert_memory_equal(r.first, payload, 16);
	s.captured = 3;
	assert_int_equal(response_from_segment(1, &s).n_first, 3);
	s.len = s.captured = 0;
	s.payload = NULL;
	assert_int_equal(response_from_segment(1, &s).n_first, 0);
}

static void far_apart_is_refused(void **state)
{
	struct response a = data(0, 10, 5), b = data(0x40000001, 0, 5), c = data(0x80000000, 0, 5),
			d = data(0xbfffffff, 0, 5), e = data(0, 0x40000001, 5), f = data(0x40000000, 0, 5);

	(void)state;
	assert_false(response_merge(&a, &b));
	assert_false(response_merge(&a, &c));
	assert_false(response_merge(&a, &d));
	assert_false(response_merge(&a, &e));
	assert_int_equal(a.merged, 0);
	assert_true(response_merge(&a, &f));
}

static void events_are_never_merged(void **state)
{
	const uint8_t events[] = { TCPF_SYN, TCPF_FIN, TCPF_RST };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		struct response a = data(1, 1, 5), b = data(2, 1, 5), before;

		b.flags |= events[i];
		before = a;
		assert_false(response_merge(&a, &b));
		assert_memory_equal(&a, &before, sizeof(a));
		before = b;
		assert_false(response_merge(&b, &a));
		assert_memory_equal(&b, &before, sizeof(b));
	}
}

static void other_sessions_are_never_merged(void **state)
{
	struct response a = data(1, 1, 5), b = data(2, 1, 5);

	(void)state;
	b.id = 2;
	assert_false(response_merge(&a, &b));
}

static void window_timestamps_and_sack_are_the_newest(void **state)
{
	struct response a = data(1, 0, 5), b = data(1, 0, 9);

	(void)state;
	a.opt = (struct tcp_options){
		.has_ts = true, .tsval = 0xfffffffe, .tsecr = 10, .n_sack = 1, .sack = { { 20, 30 } }
	};
	b.window = 0;
	b.opt = (struct tcp_options){
		.has_ts = true, .tsval = 3, .tsecr = 12, .n_sack = 2, .sack = { { 40, 50 }, { 20, 30 } }
	};
	assert_true(response_merge(&a, &b));
	assert_int_equal(a.ack, 9);
	assert_int_equal(a.window, 0);
	assert_int_equal(a.opt.tsval, 3);
	assert_int_equal(a.opt.tsecr, 12);
	assert_int_equal(a.opt.n_sack, 2);
	assert_int_equal(a.opt.sack[0].start, 40);
}

/* Captured later but sent earlier: nothing of it is news but its edge. */
static void an_older_ack_does_not_turn_back(void **state)
{
	struct response a = data(1, 0, 9), b = data(1, 7, 5);

	(void)state;
	a.opt = (struct tcp_options){ .has_ts = true, .tsval = 50, .tsecr = 10 };
	b.window = 7;
	b.opt = (struct tcp_options){
		.has_ts = true, .tsval = 49, .tsecr = 9, .n_sack = 1, .sack = { { 6, 7 } }
	};
	assert_true(response_merge(&a, &b));
	assert_int_equal(a.ack, 9);
	assert_int_equal(a.window, 100);
	assert_int_equal(a.opt.n_sack, 0);
	assert_int_equal(a.opt.tsval, 50);
	assert_int_equal(a.dup_acks, 0);
	assert_int_equal(a.seq + a.len, 8);
}

static void duplicate_acks_are_counted(void **state)
{
	struct response a = data(1, 0, 5), dup = data(1, 0, 5), update = data(1, 0, 5),
			with_data = data(1, 9, 5), sacked = data(1, 0, 5), newer = data(1, 0, 6);

	(void)state;
	assert_true(response_merge(&a, &dup));
	assert_true(response_merge(&a, &dup));
	assert_int_equal(a.dup_acks, 2);
	assert_true(response_merge(&a, &with_data));
	assert_int_equal(a.dup_acks, 2);
	update.window = 200; /* a window update is none */
	assert_true(response_merge(&a, &update));
	assert_int_equal(a.dup_acks, 2);
	sacked.window = 300; /* unless it brings SACK blocks */
	sacked.opt.n_sack = 1;
	assert_true(response_merge(&a, &sacked));
	assert_int_equal(a.dup_acks, 3);
	sacked.dup_acks = 4; /* itself a merged one */
	assert_true(response_merge(&a, &sacked));
	assert_int_equal(a.dup_acks, 8);
	assert_true(response_merge(&a, &newer));
	assert_int_equal(a.dup_acks, 0);
	assert_int_equal(a.merged, 7);
}

static void counts_do_not_overflow(void **state)
{
	struct response a = data(1, 0, 5), dup = data(1, 0, 5);

	(void)state;
	a.dup_acks = 250;
	dup.dup_acks = 250;
	a.merged = 65534;
	assert_true(response_merge(&a, &dup));
	assert_int_equal(a.dup_acks, 255);
	assert_int_equal(a.merged, 65535);
	assert_false(response_merge(&a, &dup));
}

static void push_and_ece_are_ored(void **state)
{
	struct response a = data(1, 1, 5), b = data(2, 1, 5);

	(void)state;
	a.flags |= TCPF_PSH | TCPF_URG;
	b.flags |= TCPF_ECE | TCPF_CWR;
	assert_true(response_merge(&a, &b));
	assert_int_equal(a.flags, TCPF_ACK | TCPF_PSH | TCPF_ECE);
}

static void a_segment_becomes_a_record(void **state)
{
	struct segment s = { .seq = 7, .ack = 8, .len = 100000, .flags = TCPF_ACK, .window = 9 };
	struct response r;

	(void)state;
	s.opt = (struct tcp_options){ .mss = 1460,
				      .has_wscale = true,
				      .wscale = 7,
				      .has_sack_permitted = true,
				      .has_ts = true,
				      .tsval = 1,
				      .has_mptcp = true,
				      .has_tfo = true,
				      .has_unknown = true };
	r = response_from_segment(3, &s);
	assert_int_equal(r.id, 3);
	assert_int_equal(r.seq, 7);
	assert_int_equal(r.ack, 8);
	assert_int_equal(r.len, 100000);
	assert_int_equal(r.window, 9);
	assert_true(r.opt.has_ts);
	assert_false(r.opt.mss || r.opt.has_wscale || r.opt.wscale || r.opt.has_sack_permitted); /* no SYN */
	assert_false(r.opt.has_mptcp || r.opt.has_tfo || r.opt.has_unknown);
	s.flags |= TCPF_SYN;
	r = response_from_segment(3, &s);
	assert_int_equal(r.opt.mss, 1460);
	assert_true(r.opt.has_wscale && r.opt.wscale == 7 && r.opt.has_sack_permitted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_highest_edge_counts),
		cmocka_unit_test(the_edge_wraps),
		cmocka_unit_test(first_bytes_are_those_of_one_answer),
		cmocka_unit_test(first_bytes_are_as_many_as_were_captured),
		cmocka_unit_test(far_apart_is_refused),
		cmocka_unit_test(events_are_never_merged),
		cmocka_unit_test(other_sessions_are_never_merged),
		cmocka_unit_test(window_timestamps_and_sack_are_the_newest),
		cmocka_unit_test(an_older_ack_does_not_turn_back),
		cmocka_unit_test(duplicate_acks_are_counted),
		cmocka_unit_test(counts_do_not_overflow),
		cmocka_unit_test(push_and_ece_are_ored),
		cmocka_unit_test(a_segment_becomes_a_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
