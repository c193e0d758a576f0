/*
 * What the kernel says of connections of this host: of one that begins, that lives, that is half closed, that
 * is gone, and of one that never was, by IPv4, by IPv6, and by IPv4 to a listener of both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/host/online.h"

#define BYTES 100

enum { ESTABLISHED = 1, CLOSE_WAIT = 8 }; /* net/tcp_states.h */

struct pair {
	int listener, client, server;
	struct endpoint client_at, server_at;
};

static struct endpoint endpoint_of(const struct sockaddr_storage *s)
{
	const struct sockaddr_in *four = (const void *)s;
	const struct sockaddr_in6 *six = (const void *)s;
	struct endpoint e;

	if (s->ss_family == AF_INET)
		return (struct endpoint){ addr_from_v4((const void *)&four->sin_addr),
					  ntohs(four->sin_port) };
	e.port = ntohs(six->sin6_port);
	memcpy(e.addr.b, &six->sin6_addr, sizeof(e.addr.b)); /* an IPv4 address is a mapped one here, too */
	return e;
}

/* @deferred: the server's handshake is not complete before data comes. */
static struct pair pair_open(const char *listen_at, const char *connect_to, bool deferred)
{
	struct sockaddr_storage s = { 0 };
	struct sockaddr_in *four = (void *)&s;
	struct sockaddr_in6 *six = (void *)&s;
	socklen_t len = sizeof(s);
	in_port_t port;
	struct pair p;

	s.ss_family = strchr(listen_at, ':') ? AF_INET6 : AF_INET;
	assert_int_equal(inet_pton(s.ss_family, listen_at,
				   s.ss_family == AF_INET6 ? (void *)&six->sin6_addr : &four->sin_addr),
			 1);
	p.listener = socket(s.ss_family, SOCK_STREAM, 0);
	assert_true(p.listener >= 0);
	assert_int_equal(bind(p.listener, (void *)&s, s.ss_family == AF_INET6 ? sizeof(*six) : sizeof(*four)),
			 0);
	if (deferred)
		assert_int_equal(
			setsockopt(p.listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &(int){ 10 }, sizeof(int)), 0);
	assert_int_equal(listen(p.listener, 1), 0);
	assert_int_equal(getsockname(p.listener, (void *)&s, &len), 0);
	port = s.ss_family == AF_INET6 ? six->sin6_port : four->sin_port;

	memset(&s, 0, sizeof(s));
	s.ss_family = strchr(connect_to, ':') ? AF_INET6 : AF_INET;
	assert_int_equal(inet_pton(s.ss_family, connect_to,
				   s.ss_family == AF_INET6 ? (void *)&six->sin6_addr : &four->sin_addr),
			 1);
	*(s.ss_family == AF_INET6 ? &six->sin6_port : &four->sin_port) = port;
	p.client = socket(s.ss_family, SOCK_STREAM, 0);
	assert_true(p.client >= 0);
	assert_int_equal(
		connect(p.client, (void *)&s, s.ss_family == AF_INET6 ? sizeof(*six) : sizeof(*four)), 0);
	p.server_at = endpoint_of(&s);
	len = sizeof(s);
	assert_int_equal(getsockname(p.client, (void *)&s, &len), 0);
	p.client_at = endpoint_of(&s);
	p.server = deferred ? -1 : accept(p.listener, NULL, NULL);
	assert_true(deferred || p.server >= 0);
	return p;
}

/* Until the server's socket has it all; the FIN is readable as well. */
static void wait_for(const struct pair *p, int bytes, bool fin)
{
	int n = -1;

	while (n != bytes)
		assert_int_equal(ioctl(p->server, FIONREAD, &n), 0);
	if (fin)
		assert_int_equal(poll(&(struct pollfd){ .fd = p->server, .events = POLLRDHUP }, 1, -1), 1);
}

static void life(const char *listen_at, const char *connect_to)
{
	struct pair p = pair_open(listen_at, connect_to, false);
	struct online *o = online_open();
	const uint8_t bytes[BYTES] = { 0 };
	struct online_answer a;

	assert_non_null(o);
	a = online_look(o, &p.client_at, &p.server_at);
	assert_int_equal(a.word, ONLINE_THERE);
	assert_int_equal(a.tcp_state, ESTABLISHED);
	assert_true(a.has_received && a.received == 0);

	assert_int_equal(send(p.client, bytes, BYTES, 0), BYTES);
	wait_for(&p, BYTES, false);
	a = online_look(o, &p.client_at, &p.server_at);
	assert_true(a.word == ONLINE_THERE && a.has_received && a.received == BYTES);

	shutdown(p.client, SHUT_WR);
	wait_for(&p, BYTES, true);
	a = online_look(o, &p.client_at, &p.server_at);
	assert_int_equal(a.word, ONLINE_THERE);
	assert_int_equal(a.tcp_state, CLOSE_WAIT);
	assert_true(a.has_received && a.received == BYTES + 1);

	close(p.server);
	close(p.client);
	do
		a = online_look(o, &p.client_at, &p.server_at);
	while (a.word == ONLINE_THERE);
	assert_int_equal(a.word, ONLINE_GONE);

	/* of a connection that never was the kernel finds the listener, or nothing */
	p.client_at.port ^= 1;
	a = online_look(o, &p.client_at, &p.server_at);
	assert_true(a.word == ONLINE_GONE && !a.tcp_state && !a.has_received);
	close(p.listener);
	a = online_look(o, &p.client_at, &p.server_at);
	assert_true(a.word == ONLINE_GONE && !a.tcp_state && !a.has_received);
	online_close(o);
}

static void ipv4(void **state)
{
	(void)state;
	life("127.0.0.1", "127.0.0.1");
}

static void ipv6(void **state)
{
	(void)state;
	life("::1", "::1");
}

static void ipv4_to_a_listener_of_both(void **state)
{
	(void)state;
	life("::", "127.0.0.1");
}

static void handshake(void **state)
{
	struct pair p = pair_open("127.0.0.1", "127.0.0.1", true);
	struct online *o = online_open();
	struct online_answer a;

	(void)state;
	assert_non_null(o);
	a = online_look(o, &p.client_at, &p.server_at);
	assert_int_equal(a.word, ONLINE_THERE);
	assert_int_equal(a.tcp_state, ONLINE_SYN_RECV);
	assert_false(a.has_received);
	close(p.client);
	close(p.listener);
	online_close(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4),
		cmocka_unit_test(ipv6),
		cmocka_unit_test(ipv4_to_a_listener_of_both),
		cmocka_unit_test(handshake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
