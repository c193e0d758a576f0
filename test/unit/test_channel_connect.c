/*
 * Connecting the channel over TCP on loopback: that it works, is refused, fails at once, or meets a server
 * that says nothing.
 */
#include "channel_ends.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void connect_over_tcp(void **state)
{
	struct end a = { 0 }, b = { 0 };
	struct endpoint at;
	int listener = listen_on_loopback(&at, 5), fd, on = 0;
	socklen_t len = sizeof(on);

	(void)state;
	a.conn = channel_connect(base, &at, 1000, &tcpcopy_options, &handler, &a);
	fd = accept_next(listener);
	b.conn = channel_accept(base, fd, &intercept_options, &handler, &b);
	run_until(&a.ups, 1);
	run_until(&b.ups, 1);
	assert_int_equal(a.ups + b.ups, 2);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	assert_int_equal(on, 1);
	assert_true(endpoint_eq(channel_conn_peer(a.conn), &at));
	assert_true(channel_conn_send(a.conn, &watch));
	run_until(&b.messages, 1);
	assert_int_equal(b.last_id, 77);
	channel_conn_close(b.conn, "shutting down");
	run_until(&a.downs, 1);
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
	run_until(&e.downs, 1);
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
	run_until(&e.downs, 1);
	assert_int_equal(e.downs, 1);
	assert_true(e.why[0]);
}

/* A server accepts and says no HELLO. */
static void a_connect_without_hello_times_out(void **state)
{
	struct end e = { 0 };
	struct endpoint at;
	int listener = listen_on_loopback(&at, 5), fd;

	(void)state;
	e.conn = channel_connect(base, &at, 1500, &tcpcopy_options, &handler, &e);
	fd = accept_next(listener);
	settle();
	assert_true(channel_conn_reached(e.conn));
	pass(1499);
	assert_int_equal(e.downs, 0);
	pass(1);
	assert_string_equal(e.why, "no HELLO within 1.5 s");
	close(fd);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
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
