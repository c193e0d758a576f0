/*
 * Connections of the channel over socketpairs: HELLO and its versions, silence, garbage, a reader that does
 * not read, and ends in the middle of a callback.
 */
#include "channel_ends.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void hello_brings_both_up(void **state)
{
	struct end a, b;

	(void)state;
	two_ends(&a, &b);
	assert_int_equal(a.version, 1);
	assert_string_equal(a.peer.program, "tcpcopy");
	assert_int_equal(a.peer.worker, 3);
	assert_string_equal(b.peer.program, "intercept");
	assert_true(channel_conn_send(a.conn, &watch));
	assert_true(channel_conn_send(b.conn, &watch));
	assert_true(channel_conn_send(b.conn, &watch));
	run_until(&a.messages, 2);
	settle();
	assert_int_equal(a.messages, 2);
	assert_int_equal(a.last_id, 77);
	run_until(&b.messages, 1);
	assert_int_equal(b.messages, 1);
	channel_conn_close(b.conn, "going home");
	run_until(&a.downs, 1);
	assert_string_equal(a.why, "peer closed: going home");
	assert_int_equal(b.downs, 0);
}

static void nothing_is_sent_before_hello(void **state)
{
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	assert_false(channel_conn_send(e.conn, &watch));
	channel_conn_close(e.conn, "x");
	close(fd);
}

static void a_newer_peer_is_served_at_our_version(void **state)
{
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	say_hello(fd, 1, 9);
	run_until(&e.ups, 1);
	assert_int_equal(e.version, 1);
	channel_conn_close(e.conn, "x");
	close(fd);
}

static void no_common_version_is_said_in_words(void **state)
{
	struct message m;
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	say_hello(fd, 2, 3);
	run_until(&e.downs, 1);
	assert_string_equal(e.why, "no common protocol version: 1 to 1 here, 2 to 3 at the peer");
	assert_true(hear(fd, &m));
	assert_int_equal(m.type, MSG_HELLO);
	assert_true(hear(fd, &m));
	assert_int_equal(m.type, MSG_BYE);
	assert_string_equal(m.bye, "no common protocol version: 1 to 1 here, 2 to 3 at the peer");
	assert_false(hear(fd, &m));
	assert_int_equal(e.ups, 0);
	close(fd);
}

static void who_says_no_hello_is_closed(void **state)
{
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	pass(2999);
	assert_int_equal(e.downs, 0);
	pass(1);
	assert_string_equal(e.why, "no HELLO within 3 s");
	close(fd);
}

static void garbage_is_closed_at_once(void **state)
{
	static const struct {
		const char *bytes, *why;
	} cases[] = {
		{ "GET / HTTP/1.1\r\n\r\n", "bad frame: the peer does not begin with HELLO" },
		{ "\x16\x03\x01", "the peer has a secret and this end has none; "
				  "give both the same --secret FILE" },
		{ "\x02", "bad frame: the peer does not begin with HELLO" },
		{ "\x01\x01\xff\xff", "bad frame: frame longer than 512 bytes" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct end e;
		int fd = raw_peer(&e, &intercept_options);

		assert_true(write(fd, cases[i].bytes, strlen(cases[i].bytes)) > 0);
		run_until(&e.downs, 1);
		assert_int_equal(e.downs, 1);
		assert_string_equal(e.why, cases[i].why);
		close(fd);
	}
}

static void faults_after_hello(void **state)
{
	const uint8_t short_watch[] = { 2, 0, 0, 1, 0 }, unknown[] = { 200, 0, 0, 2, 1, 2 };
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	say_hello(fd, 1, 1);
	say_hello(fd, 1, 1);
	run_until(&e.downs, 1);
	assert_string_equal(e.why, "bad frame: a second HELLO");
	close(fd);

	fd = raw_peer(&e, &intercept_options);
	say_hello(fd, 1, 1);
	assert_int_equal(write(fd, unknown, sizeof(unknown)), sizeof(unknown));
	say(fd, &watch);
	run_until(&e.messages, 1);
	assert_int_equal(e.messages, 1); /* the unknown one was skipped */
	assert_int_equal(write(fd, short_watch, sizeof(short_watch)), sizeof(short_watch));
	run_until(&e.downs, 1);
	assert_string_equal(e.why, "bad frame: wrong body length for this type");
	close(fd);
}

/* Whatever the cuts of the stream, the same messages come out. */
static void frames_may_come_in_pieces(void **state)
{
	uint8_t frame[MESSAGE_MAX_LEN];
	size_t len = message_encode(frame, &watch);
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	say_hello(fd, 1, 1);
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(e.messages, 0);
		assert_int_equal(write(fd, frame + i, 1), 1);
		settle();
	}
	assert_int_equal(e.messages, 1);
	for (unsigned i = 0; i < 2000; i++) {
		while (write(fd, frame, len) != (ssize_t)len)
			event_base_loop(base, EVLOOP_NONBLOCK);
	}
	run_until(&e.messages, 2001);
	settle();
	assert_int_equal(e.messages, 2001);
	assert_true(e.batches < 200);
	channel_conn_close(e.conn, "x");
	close(fd);
}

static void silence_is_pinged_and_then_ended(void **state)
{
	struct message m, pong = { .type = MSG_PONG };
	struct end e;
	int fd = raw_peer(&e, &intercept_options);
	char c;

	(void)state;
	say_hello(fd, 1, 1);
	assert_true(hear(fd, &m));
	settle();
	for (unsigned i = 1; i <= 4; i++) { /* answered: it stays */
		pass(9999);
		assert_int_equal(recv(fd, &c, 1, MSG_PEEK), -1);
		pass(1);
		assert_true(hear(fd, &m));
		assert_int_equal(m.type, MSG_PING);
		assert_int_equal(m.ping, i);
		pong.ping = m.ping;
		if (i < 4)
			say(fd, &pong);
	}
	pass(9999);
	assert_int_equal(e.downs, 0);
	pass(1);
	assert_int_equal(e.downs, 1);
	assert_string_equal(e.why, "silent for 15 s");
	close(fd);
}

static void ping_is_answered(void **state)
{
	struct message m, ping = { .type = MSG_PING, .ping = 0x123456789a };
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	say_hello(fd, 1, 1);
	say(fd, &ping);
	assert_true(hear(fd, &m));
	assert_true(hear(fd, &m));
	assert_int_equal(m.type, MSG_PONG);
	assert_true(m.ping == 0x123456789a);
	assert_int_equal(e.messages, 0);
	channel_conn_close(e.conn, "x");
	close(fd);
}

/* Two ends that are alive stay up, however long both say nothing. */
static void idle_ends_keep_each_other_up(void **state)
{
	struct end a, b;

	(void)state;
	two_ends(&a, &b);
	pass(3600 * 1000);
	assert_int_equal(a.downs + b.downs, 0);
	channel_conn_close(a.conn, "x");
	channel_conn_close(b.conn, "x");
}

static void a_slow_reader_costs_bounded_memory(void **state)
{
	const struct channel_options o = { .program = "intercept", .release = "1", .max_output = 20000 };
	static uint8_t sink[65536];
	unsigned sent = 0, refused = 0;
	struct end e;
	int fd = raw_peer(&e, &o);

	(void)state;
	say_hello(fd, 1, 1);
	run_until(&e.ups, 1);
	for (unsigned i = 0; i < 200000; i++) {
		if (channel_conn_send(e.conn, &watch))
			sent++;
		else
			refused++;
		if (i % 100 == 0)
			event_base_loop(base, EVLOOP_NONBLOCK);
		assert_true(channel_conn_unsent(e.conn) < 20000 + MESSAGE_MAX_LEN);
	}
	assert_true(refused > 100000);
	assert_int_equal(e.drains, 0);
	while (!e.drains) {
		assert_true(read(fd, sink, sizeof(sink)) > 0);
		settle();
	}
	assert_true(channel_conn_unsent(e.conn) <= 10000);
	assert_true(channel_conn_send(e.conn, &watch));
	assert_true(sent > 100);
	channel_conn_close(e.conn, "x");
	close(fd);
}

/* A peer that sends PINGs and reads no PONGs must not grow our output either. */
static void pings_of_a_slow_reader_cost_bounded_memory(void **state)
{
	const struct channel_options o = { .program = "intercept", .release = "1", .max_output = 20000 };
	uint8_t frame[MESSAGE_MAX_LEN];
	struct message ping = { .type = MSG_PING };
	size_t len = message_encode(frame, &ping);
	struct end e;
	int fd = raw_peer(&e, &o);

	(void)state;
	say_hello(fd, 1, 1);
	for (unsigned i = 0; i < 300000; i++) {
		if (write(fd, frame, len) != (ssize_t)len)
			event_base_loop(base, EVLOOP_NONBLOCK);
		assert_true(channel_conn_unsent(e.conn) < 20000 + 8192);
	}
	assert_true(channel_conn_unsent(e.conn) > 20000);
	channel_conn_close(e.conn, "x");
	close(fd);
}

/* What was read before the end is a batch as any other, and not left for whatever comes next. */
static void an_end_in_the_middle_of_a_batch(void **state)
{
	const struct message bye = { .type = MSG_BYE, .bye = "enough" };

	(void)state;
	for (unsigned closes = 0; closes < 2; closes++) {
		struct end e;
		int fd = raw_peer(&e, &intercept_options);

		e.close_on_batch_end = closes;
		say_hello(fd, 1, 1);
		say(fd, &watch);
		say(fd, &bye);
		run_until(&e.batches, 1);
		settle();
		assert_int_equal(e.messages, 1);
		assert_int_equal(e.batches, 1);
		assert_int_equal(e.downs, !closes);
		close(fd);
	}
}

static void a_connection_may_be_closed_in_its_own_callbacks(void **state)
{
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	e.close_on_up = true;
	say_hello(fd, 1, 1);
	say(fd, &watch);
	run_until(&e.ups, 1);
	settle();
	assert_int_equal(e.messages + e.downs, 0);
	close(fd);

	fd = raw_peer(&e, &intercept_options);
	e.close_on_message = true;
	say_hello(fd, 1, 1);
	say(fd, &watch);
	say(fd, &watch);
	run_until(&e.messages, 1);
	settle();
	assert_int_equal(e.messages, 1);
	assert_int_equal(e.batches, 0);
	assert_int_equal(e.downs, 0);
	close(fd);
}

static void the_peers_end_is_told(void **state)
{
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	close(fd);
	run_until(&e.downs, 1);
	assert_string_equal(e.why, "peer closed before HELLO");
	fd = raw_peer(&e, &intercept_options);
	say_hello(fd, 1, 1);
	run_until(&e.ups, 1);
	close(fd);
	run_until(&e.downs, 1);
	assert_int_equal(e.downs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hello_brings_both_up),
		cmocka_unit_test(nothing_is_sent_before_hello),
		cmocka_unit_test(a_newer_peer_is_served_at_our_version),
		cmocka_unit_test(no_common_version_is_said_in_words),
		cmocka_unit_test(who_says_no_hello_is_closed),
		cmocka_unit_test(garbage_is_closed_at_once),
		cmocka_unit_test(faults_after_hello),
		cmocka_unit_test(frames_may_come_in_pieces),
		cmocka_unit_test(silence_is_pinged_and_then_ended),
		cmocka_unit_test(ping_is_answered),
		cmocka_unit_test(idle_ends_keep_each_other_up),
		cmocka_unit_test(a_slow_reader_costs_bounded_memory),
		cmocka_unit_test(pings_of_a_slow_reader_cost_bounded_memory),
		cmocka_unit_test(an_end_in_the_middle_of_a_batch),
		cmocka_unit_test(a_connection_may_be_closed_in_its_own_callbacks),
		cmocka_unit_test(the_peers_end_is_told),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	libevent_global_shutdown();
	return failed;
}
