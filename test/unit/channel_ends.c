/*
 * Ends of channel connections for the tests: one under test, which notes what it is told, and a peer that
 * is another end or a raw socket on which the test says and hears single messages.
 */
#include "channel_ends.h"
#include "still_clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct event_base *base;

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

	const uint64_t before = e->last_id;

	e->messages++;
	e->last_id = m->type == MSG_WATCH ? m->watch.id : m->type == MSG_RESPONSE ? m->response.id : 0;
	if (e->numbered)
		assert_int_equal(e->last_id, before + 1);
	if (e->close_on_message) {
		channel_conn_close(c, "enough");
		e->conn = NULL;
	}
}

static void on_batch_end(struct channel_conn *c, void *arg)
{
	struct end *e = arg;

	assert_int_equal(e->downs, 0);
	e->batches++;
	if (e->close_on_batch_end) {
		channel_conn_close(c, "enough");
		e->conn = NULL;
	}
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

const struct channel_handler handler = { on_up, on_message, on_batch_end, on_drained, on_down };
const struct channel_options intercept_options = { .program = "intercept", .release = "1.0.0" };
const struct channel_options tcpcopy_options = { .program = "tcpcopy", .release = "1.0.0", .worker = 3 };
const struct message watch = {
	.type = MSG_WATCH,
	.watch = { .id = 77, .response = { { { { 1, 2 } }, 80 }, { { { 3, 4 } }, 90 } } },
};

/* The loop and then the kernel have a turn. 20 s of them without what is waited for: a failure. */
static void turn(unsigned *turns)
{
	assert_true(++*turns < 20000);
	event_base_loop(base, EVLOOP_NONBLOCK);
	usleep(1000);
}

void run_until(const unsigned *counter, unsigned at_least)
{
	unsigned turns = 0;

	event_base_loop(base, EVLOOP_NONBLOCK);
	while (*counter < at_least)
		turn(&turns);
}

/* What one end writes, the other can read at once. An answer to an answer takes two turns each. */
void settle(void)
{
	for (unsigned i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

void pass(unsigned ms)
{
	while (ms) {
		const unsigned step = ms < 100 ? ms : 100;

		clock_move(step);
		ms -= step;
		settle();
	}
}

int listen_on_loopback(struct endpoint *at, int backlog)
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

int accept_next(int listener)
{
	unsigned turns = 0;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) < 0)
		turn(&turns);
	return fd;
}

int raw_peer(struct end *e, const struct channel_options *o)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	memset(e, 0, sizeof(*e));
	e->conn = channel_accept(base, fd[0], o, &handler, e);
	assert_non_null(e->conn);
	return fd[1];
}

void say(int fd, const struct message *m)
{
	uint8_t frame[MESSAGE_MAX_LEN];
	size_t len = message_encode(frame, m);

	assert_int_equal(write(fd, frame, len), len);
}

void say_hello(int fd, uint16_t min, uint16_t max)
{
	struct message m = { .type = MSG_HELLO,
			     .hello = { .version_min = min, .version_max = max, .program = "test" } };

	say(fd, &m);
}

bool hear(int fd, struct message *m)
{
	static uint8_t buf[MESSAGE_MAX_LEN];
	const char *why;
	size_t have = 0, used;

	for (unsigned turns = 0;;) {
		ssize_t n = recv(fd, buf + have, 1, 0);

		if (!n || (n < 0 && errno == ECONNRESET))
			return false;
		if (n < 0) {
			turn(&turns);
			continue;
		}
		have += (size_t)n;
		turns = 0;
		if (message_decode(m, buf, have, &used, &why) == MESSAGE_OK)
			return true;
	}
}

void two_ends(struct end *a, struct end *b)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	memset(a, 0, sizeof(*a));
	memset(b, 0, sizeof(*b));
	a->conn = channel_accept(base, fd[0], &intercept_options, &handler, a);
	b->conn = channel_accept(base, fd[1], &tcpcopy_options, &handler, b);
	run_until(&a->ups, 1);
	run_until(&b->ups, 1);
}
