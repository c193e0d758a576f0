/*
 * Connections of the channel over socketpairs and loopback: HELLO and its versions, silence,
 * garbage, a reader that does not read, and ends in the middle of a callback. Times are shortened.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "channel/conn.h"

static struct event_base *base;

/* One end under test and what it told. */
struct end {
	struct channel_conn *conn;
	unsigned ups, messages, batches, drains, downs;
	uint64_t last_id;
	uint16_t version;
	struct msg_hello peer;
	char why[200];
	bool close_on_up, close_on_message;
};

static void on_up(struct channel_conn *c, const struct msg_hello *peer, uint16_t version, void *arg)
{
	struct end *e = arg;

	e->ups++;
	e->peer = *peer;
	e->version = version;
	if (e->close_on_up) {
		channel_conn_close(c, "enough");
		e->conn = NULL;
	}
}

static void on_message(struct channel_conn *c, const struct message *m, void *arg)
{
	struct end *e = arg;

	e->messages++;
	e->last_id = m->type == MSG_WATCH      ? m->watch.id
		     : m->type == MSG_RESPONSE ? m->response.id
					       : 0;
	if (e->close_on_message) {
		channel_conn_close(c, "enough");
		e->conn = NULL;
	}
}

static void on_batch_end(struct channel_conn *c, void *arg)
{
	(void)c;
	((struct end *)arg)->batches++;
}

static void on_drained(struct channel_conn *c, void *arg)
{
	(void)c;
	((struct end *)arg)->drains++;
}

static void on_down(struct channel_conn *c, const char *why, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(c, e->conn);
	e->downs++;
	e->conn = NULL;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static const struct channel_handler handler = { on_up, on_message, on_batch_end, on_drained,
						on_down };
static const struct channel_options intercept_options = { .program = "intercept",
							  .release = "1.0.0" };
static const struct channel_options tcpcopy_options = { .program = "tcpcopy",
							.release = "1.0.0",
							.worker = 3 };
static const struct message watch = {
	.type = MSG_WATCH,
	.watch = { .id = 77, .response = { { { { 1, 2 } }, 80 }, { { { 3, 4 } }, 90 } } },
};

/* Run the loop until *counter is not 0, at most @ms. */
static void run_until(const unsigned *counter, unsigned ms)
{
	for (unsigned i = 0; i < ms && (!counter || !*counter); i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(1000);
	}
}

/* A raw socket that plays the peer of @e. */
static int raw_peer(struct end *e, const struct channel_options *o)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	memset(e, 0, sizeof(*e));
	e->conn = channel_accept(base, fd[0], o, &handler, e);
	assert_non_null(e->conn);
	return fd[1];
}

static void say(int fd, const struct message *m)
{
	uint8_t frame[MESSAGE_MAX_LEN];
	size_t len = message_encode(frame, m);

	assert_int_equal(write(fd, frame, len), len);
}

static void say_hello(int fd, uint16_t min, uint16_t max)
{
	struct message m = { .type = MSG_HELLO,
			     .hello = {
				     .version_min = min, .version_max = max, .program = "test" } };

	say(fd, &m);
}

/* The next message that the end under test sent to @fd; false at EOF. */
static bool hear(int fd, struct message *m)
{
	static uint8_t buf[MESSAGE_MAX_LEN];
	const char *why;
	size_t have = 0, used;

	for (unsigned ms = 0; ms < 2000; ms++) {
		ssize_t n = recv(fd, buf + have, 1, 0);

		if (!n || (n < 0 && errno == ECONNRESET))
			return false;
		if (n < 0) {
			event_base_loop(base, EVLOOP_NONBLOCK);
			usleep(1000);
			continue;
		}
		have += (size_t)n;
		ms = 0;
		if (message_decode(m, buf, have, &used, &why) == MESSAGE_OK)
			return true;
	}
	fail_msg("nothing came");
	return false;
}

static void two_ends(struct end *a, struct end *b)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	memset(a, 0, sizeof(*a));
	memset(b, 0, sizeof(*b));
	a->conn = channel_accept(base, fd[0], &intercept_options, &handler, a);
	b->conn = channel_accept(base, fd[1], &tcpcopy_options, &handler, b);
	run_until(&a->ups, 500);
	run_until(&b->ups, 500);
	assert_int_equal(a->ups, 1);
	assert_int_equal(b->ups, 1);
}

static void hello_brings_both_up(void **state)
{
	struct end a, b;

	(void)state;
	two_ends(&a, &b);
	assert_int_equal(a.version, 1);
	assert_string_equal(a.peer.program, "tcpcopy");
	assert_int_equal(a.peer.worker, 3);
	assert_string_equal(b.peer.program, "intercept");
	assert_true(channel_conn_is_up(a.conn));
	assert_true(channel_conn_send(b.conn, &watch));
	assert_true(channel_conn_send(b.conn, &watch));
	run_until(&a.messages, 500);
	assert_int_equal(a.messages, 2);
	assert_int_equal(a.last_id, 77);
	channel_conn_close(b.conn, "going home");
	run_until(&a.downs, 500);
	assert_string_equal(a.why, "peer closed: going home");
	assert_int_equal(b.downs, 0);
}

static void nothing_is_sent_before_hello(void **state)
{
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	assert_false(channel_conn_is_up(e.conn));
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
	run_until(&e.ups, 500);
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
	run_until(&e.downs, 500);
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
	int fd;

	(void)state;
	channel_timing.hello_ms = 30;
	fd = raw_peer(&e, &intercept_options);
	run_until(&e.downs, 20);
	assert_int_equal(e.downs, 0);
	run_until(&e.downs, 500);
	assert_string_equal(e.why, "no HELLO within 0.03 s");
	channel_timing.hello_ms = 3000;
	close(fd);
}

static void garbage_is_closed_at_once(void **state)
{
	static const struct {
		const char *bytes, *why;
	} cases[] = {
		{ "GET / HTTP/1.1\r\n\r\n", "bad frame: the peer does not begin with HELLO" },
		{ "\x16\x03\x01", "the peer speaks TLS, so it has a secret, and this end has none; "
				  "give both the same --secret FILE" },
		{ "\x02", "bad frame: the peer does not begin with HELLO" },
		{ "\x01\x01\xff\xff", "bad frame: frame longer than 512 bytes" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct end e;
		int fd = raw_peer(&e, &intercept_options);

		assert_true(write(fd, cases[i].bytes, strlen(cases[i].bytes)) > 0);
		run_until(&e.downs, 500);
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
	run_until(&e.downs, 500);
	assert_string_equal(e.why, "bad frame: a second HELLO");
	close(fd);

	fd = raw_peer(&e, &intercept_options);
	say_hello(fd, 1, 1);
	assert_int_equal(write(fd, unknown, sizeof(unknown)), sizeof(unknown));
	say(fd, &watch);
	run_until(&e.messages, 500);
	assert_int_equal(e.messages, 1); /* the unknown one was skipped */
	assert_int_equal(write(fd, short_watch, sizeof(short_watch)), sizeof(short_watch));
	run_until(&e.downs, 500);
	assert_string_equal(e.why, "bad frame: body of a wrong length for its type");
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
		run_until(NULL, 2);
	}
	run_until(&e.messages, 500);
	for (unsigned i = 0; i < 2000; i++) {
		while (write(fd, frame, len) != (ssize_t)len)
			event_base_loop(base, EVLOOP_NONBLOCK);
	}
	run_until(NULL, 20);
	assert_int_equal(e.messages, 2001);
	assert_true(e.batches < 200);
	channel_conn_close(e.conn, "x");
	close(fd);
}

static void silence_is_pinged_and_then_ended(void **state)
{
	struct message m, pong = { .type = MSG_PONG };
	struct end e;
	int fd;

	(void)state;
	channel_timing.ping_ms = 20;
	fd = raw_peer(&e, &intercept_options);
	say_hello(fd, 1, 1);
	assert_true(hear(fd, &m));
	for (unsigned i = 1; i <= 4; i++) { /* answered: it stays */
		assert_true(hear(fd, &m));
		assert_int_equal(m.type, MSG_PING);
		assert_int_equal(m.ping, i);
		pong.ping = m.ping;
		say(fd, &pong);
	}
	assert_int_equal(e.downs, 0);
	run_until(&e.downs, 500);
	assert_string_equal(e.why, "silent for 0.06 s");
	channel_timing.ping_ms = 5000;
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
	channel_timing.ping_ms = 10;
	two_ends(&a, &b);
	run_until(NULL, 150);
	assert_int_equal(a.downs + b.downs, 0);
	channel_conn_close(a.conn, "x");
	channel_conn_close(b.conn, "x");
	channel_timing.ping_ms = 5000;
}

static void a_slow_reader_costs_bounded_memory(void **state)
{
	const struct channel_options o = { .program = "intercept",
					   .release = "1",
					   .max_output = 20000 };
	static uint8_t sink[65536];
	unsigned sent = 0, refused = 0;
	struct end e;
	int fd = raw_peer(&e, &o);

	(void)state;
	say_hello(fd, 1, 1);
	run_until(&e.ups, 500);
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
		run_until(NULL, 2);
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
	const struct channel_options o = { .program = "intercept",
					   .release = "1",
					   .max_output = 20000 };
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

static void a_connection_may_be_closed_in_its_own_callbacks(void **state)
{
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	e.close_on_up = true;
	say_hello(fd, 1, 1);
	say(fd, &watch);
	run_until(&e.ups, 500);
	run_until(NULL, 5);
	assert_int_equal(e.messages + e.downs, 0);
	close(fd);

	fd = raw_peer(&e, &intercept_options);
	e.close_on_message = true;
	say_hello(fd, 1, 1);
	say(fd, &watch);
	say(fd, &watch);
	run_until(&e.messages, 500);
	run_until(NULL, 5);
	assert_int_equal(e.messages, 1);
	assert_int_equal(e.downs, 0);
	close(fd);
}

static void the_peers_end_is_told(void **state)
{
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	close(fd);
	run_until(&e.downs, 500);
	assert_string_equal(e.why, "peer closed before HELLO");
	fd = raw_peer(&e, &intercept_options);
	say_hello(fd, 1, 1);
	run_until(&e.ups, 500);
	close(fd);
	run_until(&e.downs, 500);
	assert_int_equal(e.downs, 1);
}

static int listen_on_loopback(struct endpoint *at, int backlog)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_true(addr_from_sockaddr(at, (struct sockaddr *)&sin));
	return fd;
}

static void connect_over_tcp(void **state)
{
	struct end a = { 0 }, b = { 0 };
	struct endpoint at;
	int listener = listen_on_loopback(&at, 5), fd = -1, on = 0;
	socklen_t len = sizeof(on);

	(void)state;
	a.conn = channel_connect(base, &at, 1000, &tcpcopy_options, &handler, &a);
	for (unsigned i = 0; fd < 0 && i < 500; i++) {
		run_until(NULL, 1);
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	}
	assert_true(fd >= 0);
	b.conn = channel_accept(base, fd, &intercept_options, &handler, &b);
	run_until(&a.ups, 500);
	run_until(&b.ups, 500);
	assert_int_equal(a.ups + b.ups, 2);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	assert_int_equal(on, 1);
	assert_true(endpoint_eq(channel_conn_peer(a.conn), &at));
	assert_true(channel_conn_send(a.conn, &watch));
	run_until(&b.messages, 500);
	assert_int_equal(b.last_id, 77);
	channel_conn_close(b.conn, "shutting down");
	run_until(&a.downs, 500);
	assert_string_equal(a.why, "peer closed: shutting down");
	close(listener);
}

static void a_refused_connect_is_told(void **state)
{
	struct end e = { 0 };
	struct endpoint at;

	(void)state;
	close(listen_on_loopback(&at, 1));
	e.conn = channel_connect(base, &at, 1000, &tcpcopy_options, &handler, &e);
	run_until(&e.downs, 1500);
	assert_string_equal(e.why, "connection refused");
}

/* connect() itself fails; the caller still hears it from the loop. */
static void a_connect_that_fails_at_once_is_told_later(void **state)
{
	struct end e = { 0 };
	struct endpoint at = { .port = 1 };

	(void)state;
	memset(at.addr.b, 0xff, sizeof(at.addr.b)); /* ff..ff: multicast */
	e.conn = channel_connect(base, &at, 1000, &tcpcopy_options, &handler, &e);
	assert_non_null(e.conn);
	assert_int_equal(e.downs, 0);
	run_until(&e.downs, 500);
	assert_int_equal(e.downs, 1);
	assert_true(e.why[0]);
}

/* The kernel completes the handshake, but nobody accepts and says HELLO. */
static void a_connect_without_hello_times_out(void **state)
{
	struct end e = { 0 };
	struct endpoint at;
	int listener = listen_on_loopback(&at, 5);

	(void)state;
	e.conn = channel_connect(base, &at, 50, &tcpcopy_options, &handler, &e);
	run_until(&e.downs, 1000);
	assert_string_equal(e.why, "no HELLO within 0.05 s");
	close(listener);
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
		cmocka_unit_test(a_connection_may_be_closed_in_its_own_callbacks),
		cmocka_unit_test(the_peers_end_is_told),
		cmocka_unit_test(connect_over_tcp),
		cmocka_unit_test(a_refused_connect_is_told),
		cmocka_unit_test(a_connect_that_fails_at_once_is_told_later),
		cmocka_unit_test(a_connect_without_hello_times_out),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	libevent_global_shutdown();
	return failed;
}
