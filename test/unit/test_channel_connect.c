/*
 * Connecting the channel over TCP on loopback: that it works, is refused, fails at once, or meets a server
 * that says nothing. Times are shortened.
 */
#include "channel_ends.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int listen_on_loopback(struct endpoint *at, int backlog)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
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
