/*
 * The relay under pressure: a tcpcopy that does not read. Its records are merged, none overtakes
 * another of its session, and when it reads again it has been told everything that counts, or that
 * it was not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "base/util.h"
#include "intercept/watch/relay.h"

#define BOUND 20000
#define SESSIONS 20

static const struct siphash_key key = { 1, 2 };
static struct event_base *base;
static struct stats stats;
static struct relay *relay;
static struct route *route;
static struct client client;
static int fd;
static struct watch *watch[SESSIONS];
static uint8_t input[1 << 16]; /* read, not yet a whole message */
static size_t have;

static void on_up(struct channel_conn *c, const struct msg_hello *h, uint16_t version, void *arg)
{
	(void)c;
	(void)h;
	(void)version;
	((struct client *)arg)->up = true;
}

static void on_drained(struct channel_conn *c, void *arg)
{
	(void)c;
	relay_flush(relay, arg);
}

static void on_down(struct channel_conn *c, const char *why, void *arg)
{
	(void)c;
	(void)arg;
	fail_msg("down: %s", why);
}

static const struct channel_handler handler = { .up = on_up, .drained = on_drained, .down = on_down };

static int setup(void **state)
{
	const struct channel_options o = { .program = "intercept", .release = "1", .max_output = BOUND };
	const struct message hello = { .type = MSG_HELLO, .hello = { .version_min = 1, .version_max = 1 } };
	uint8_t frame[MESSAGE_MAX_LEN];
	size_t len = message_encode(frame, &hello);
	int pair[2], small = 4096;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	fd = pair[1];
	have = 0;
	memset(&client, 0, sizeof(client));
	memset(&stats, 0, sizeof(stats));
	base = event_base_new();
	relay = relay_new(&stats);
	route = route_new(&key);
	client.conn = channel_accept(base, pair[0], &o, &handler, &client);
	assert_int_equal(write(fd, frame, len), len);
	while (!client.up)
		event_base_loop(base, EVLOOP_NONBLOCK);
	for (unsigned i = 0; i < SESSIONS; i++) {
		struct tuple t = { { addr_from_v4("\x0a\0\0\1"), 80 },
				   { addr_from_v4("\x0a\0\0\2"), (uint16_t)(i + 1) } };

		watch[i] = route_add(route, &client, i, &t);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SESSIONS; i++) {
		relay_forget(relay, watch[i]);
		route_remove(route, watch[i]);
	}
	assert_null(client.blocked_first);
	assert_null(client.blocked_last);
	channel_conn_close(client.conn, "end");
	close(fd);
	relay_free(relay);
	route_free(route);
	event_base_free(base);
	return 0;
}

static void deliver(unsigned session, uint32_t seq, uint32_t len, uint8_t flags)
{
	struct response r = { .seq = seq, .len = len, .ack = 1, .flags = flags };

	relay_deliver(relay, watch[session], &r);
	event_base_loop(base, EVLOOP_NONBLOCK);
}

/* Read at most @most bytes once; each record in it to @fn. Returns the records, -1 when nothing was
 * there. */
static int read_some(size_t most, void (*fn)(const struct response *r))
{
	ssize_t got = read(fd, input + have, MIN(most, sizeof(input) - have));
	struct message m;
	const char *why;
	size_t used;
	int n = 0;

	event_base_loop(base, EVLOOP_NONBLOCK);
	if (got <= 0)
		return -1;
	have += (size_t)got;
	while (message_decode(&m, input, have, &used, &why) == MESSAGE_OK) {
		memmove(input, input + used, have -= used);
		if (m.type != MSG_RESPONSE)
			continue;
		n++;
		fn(&m.response);
	}
	return n;
}

/* All that there is. */
static unsigned read_all(void (*fn)(const struct response *r))
{
	unsigned n = 0, idle = 0;

	while (idle < 20) {
		int got = read_some(sizeof(input), fn);

		idle = got < 0 ? idle + 1 : 0;
		n += got > 0 ? (unsigned)got : 0;
	}
	return n;
}

static uint32_t edge[SESSIONS];
static uint64_t merged;

static void in_order(const struct response *r)
{
	assert_true(r->seq == edge[r->id]);
	edge[r->id] = r->seq + r->len + !!(r->flags & TCPF_SYN) + !!(r->flags & TCPF_FIN);
	merged += r->merged;
}

static void a_slow_reader_hears_everything_that_counts(void **state)
{
	uint32_t seq = 1;
	unsigned n = 0;

	(void)state;
	memset(edge, 0, sizeof(edge));
	merged = 0;
	for (unsigned i = 0; i < SESSIONS; i++)
		deliver(i, 0, 0, TCPF_SYN | TCPF_ACK);
	for (unsigned round = 0; round < 3000; round++, seq += 10)
		for (unsigned i = 0; i < SESSIONS; i++) {
			deliver(i, seq, 10, TCPF_ACK);
			if (round % 100 >
			    50) { /* a little now and then: there is room, but others wait for it */
				int got = read_some(40, in_order);

				n += got > 0 ? (unsigned)got : 0;
			}
		}
	for (unsigned i = 0; i < SESSIONS; i++) {
		deliver(i, seq, 0, TCPF_FIN | TCPF_ACK);
		deliver(i, seq + 1, 0, TCPF_ACK);
	}
	assert_true(channel_conn_unsent(client.conn) < BOUND + 1000);
	assert_true(stats.merged > 1000);
	n += read_all(in_order);
	for (unsigned i = 0; i < SESSIONS; i++)
		assert_int_equal(edge[i], seq + 1);
	assert_int_equal(merged, stats.merged);
	assert_int_equal(n, stats.forwarded);
	assert_int_equal(n + merged, SESSIONS * 3003);
	assert_int_equal(stats.dropped, 0);
	assert_int_equal(client.merged, stats.merged);
	deliver(0, seq + 1, 5, TCPF_ACK); /* and all is as before */
	assert_int_equal(read_all(in_order), 1);
}

static void any(const struct response *r)
{
	merged += r->merged;
}

static void what_cannot_be_merged_is_bounded_and_counted(void **state)
{
	unsigned n;

	(void)state;
	for (unsigned i = 0; i < 3000; i++)
		deliver(i % SESSIONS, i, 0, TCPF_RST);
	assert_true(stats.dropped > 0);
	for (unsigned i = 0; i < SESSIONS; i++)
		assert_true(watch[i]->n_held <= RELAY_MAX_HELD);
	n = read_all(any);
	assert_int_equal(n + stats.dropped, 3000);
	assert_int_equal(client.dropped, stats.dropped);
}

static void a_watch_that_goes_takes_its_records_along(void **state)
{
	unsigned n;

	(void)state;
	merged = 0;
	for (unsigned i = 0; i < 3000; i++)
		deliver(i % 4, i, 0, TCPF_ACK);
	assert_ptr_equal(client.blocked_first == NULL, 0);
	for (unsigned i = 1; i < 3; i++) /* out of the middle of the list */
		relay_forget(relay, watch[i]);
	n = read_all(any);
	assert_true(stats.gone >= 2);
	assert_int_equal(n, stats.forwarded);
	assert_int_equal(n + stats.gone + stats.merged, 3000);
}

static struct msg_loss last_loss;
static unsigned n_loss;

static void read_loss(void)
{
	uint8_t buf[4096];
	ssize_t got;
	size_t at = 0, used;
	const char *why;
	struct message m;

	event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_loop(base, EVLOOP_NONBLOCK);
	got = read(fd, buf, sizeof(buf));
	while (got > 0 && message_decode(&m, buf + at, (size_t)got - at, &used, &why) == MESSAGE_OK) {
		at += used;
		if (m.type == MSG_LOSS) {
			last_loss = m.loss;
			n_loss++;
		}
	}
}

static void loss_is_told_when_it_changes(void **state)
{
	(void)state;
	n_loss = 0;
	client.kernel_drops_before = 100;
	client.unowned_before = 50;
	relay_report_loss(&client, 100, 50);
	read_loss();
	assert_int_equal(n_loss, 0);
	client.dropped = 3;
	relay_report_loss(&client, 107, 51);
	relay_report_loss(&client, 107, 51);
	read_loss();
	assert_int_equal(n_loss, 1);
	assert_int_equal(last_loss.records_dropped, 3);
	assert_int_equal(last_loss.kernel_drops, 7);
	assert_int_equal(last_loss.unowned, 1);
}

static unsigned shown;

static void count_shown(const struct response *r)
{
	assert_true(!r->n_first || (r->n_first == 4 && !memcmp(r->first, "-ERR", 4)));
	shown += r->n_first != 0;
}

/* Of a segment with @len bytes of payload, which acknowledges @ack, are the first bytes told? */
static bool shows(uint32_t seq, uint32_t len, uint32_t ack)
{
	const struct response r = {
		.seq = seq, .len = len, .ack = ack, .flags = TCPF_ACK, .n_first = len ? 4 : 0, .first = "-ERR"
	};

	shown = 0;
	relay_deliver(relay, watch[0], &r);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(read_all(count_shown), 1);
	return shown;
}

static void first_bytes_go_with_the_first_segment_of_an_answer(void **state)
{
	(void)state;
	watch[0]->proved = client.takes_first = true;
	assert_true(shows(1, 10, 100));
	assert_false(shows(11, 10, 100)); /* the same answer goes on */
	assert_false(shows(21, 0, 200));  /* the next request is acknowledged, */
	assert_true(shows(21, 10, 200));  /* and answered */
	assert_false(shows(31, 10, 200));
	client.takes_first = false; /* a tcpcopy that does not know them, or a channel in clear */
	assert_false(shows(41, 10, 300));
	client.takes_first = true;
	assert_true(shows(51, 10, 400));
	watch[0]->proved = false; /* whoever asks for the tuple */
	assert_false(shows(61, 10, 500));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
		T(a_slow_reader_hears_everything_that_counts),
		T(what_cannot_be_merged_is_bounded_and_counted),
		T(a_watch_that_goes_takes_its_records_along),
		T(loss_is_told_when_it_changes),
		T(first_bytes_go_with_the_first_segment_of_an_answer),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
