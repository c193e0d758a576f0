/*
 * Limits of a channel connection: how many PINGs a silent peer gets, and what is still said when the output
 * is full.
 */
#include "channel_ends.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* All messages that wait at @fd, counted by type; the last BYE in *@bye. */
struct heard {
	unsigned type[256], all;
	char bye[sizeof(((struct message *)0)->bye)];
};

static struct heard hear_all(int fd)
{
	struct heard h = { 0 };
	struct message m;

	while (hear(fd, &m)) {
		h.type[m.type]++;
		h.all++;
		if (m.type == MSG_BYE)
			memcpy(h.bye, m.bye, sizeof(h.bye));
	}
	return h;
}

/* Who says nothing is asked once a tick and given up at the third: after two PINGs without an answer. */
static void the_third_silent_tick_ends_it(void **state)
{
	struct heard h;
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	say_hello(fd, 1, 1);
	settle();
	pass(4 * CHANNEL_PING_MS - 1); /* the first tick finds the HELLO */
	assert_int_equal(e.downs, 0);
	pass(1);
	assert_int_equal(e.downs, 1);
	h = hear_all(fd);
	assert_int_equal(h.type[MSG_HELLO], 1);
	assert_int_equal(h.type[MSG_PING], 2);
	assert_int_equal(h.type[MSG_BYE], 1);
	assert_string_equal(h.bye, "silent for 15 s");
	close(fd);
}

/* Anything that is heard begins the count anew. */
static void a_word_begins_the_count_anew(void **state)
{
	struct message m;
	struct heard h;
	struct end e;
	int fd = raw_peer(&e, &intercept_options);

	(void)state;
	say_hello(fd, 1, 1);
	settle();
	pass(3 * CHANNEL_PING_MS);
	assert_true(hear(fd, &m));
	for (unsigned i = 1; i <= 2; i++) {
		assert_true(hear(fd, &m));
		assert_int_equal(m.type, MSG_PING);
		assert_int_equal(m.ping, i);
	}
	say(fd, &watch);
	settle();
	assert_int_equal(e.messages, 1);
	pass(4 * CHANNEL_PING_MS - 1);
	assert_int_equal(e.downs, 0);
	pass(1);
	assert_int_equal(e.downs, 1);
	h = hear_all(fd);
	assert_int_equal(h.type[MSG_PING], 2);
	close(fd);
}

/*
 * The peer does not read, and nothing more is taken for it. Its PING is answered all the same, or it would
 * take us for dead once it reads on.
 */
static void control_finds_room_in_a_full_output(void **state)
{
	const struct channel_options o = { .program = "intercept", .release = "1", .max_output = 20000 };
	const struct message ping = { .type = MSG_PING, .ping = 7 };
	unsigned sent = 0, before = 0;
	struct message m = { 0 };
	struct end e;
	int fd = raw_peer(&e, &o);

	(void)state;
	say_hello(fd, 1, 1);
	run_until(&e.ups, 1);
	/* until neither the kernel nor the connection takes anything */
	for (unsigned idle = 0; idle < 3; idle++) {
		while (channel_conn_send(e.conn, &watch)) {
			sent++;
			idle = 0;
		}
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	say(fd, &ping);
	say(fd, &watch); /* when it is there, the PING was too */
	run_until(&e.messages, 1);
	assert_int_equal(e.messages, 1);
	assert_false(channel_conn_send(e.conn, &watch));
	while (m.type != MSG_PONG && before < sent + 10) {
		assert_true(hear(fd, &m));
		before += m.type == MSG_WATCH;
	}
	assert_int_equal(m.type, MSG_PONG);
	assert_int_equal(m.ping, 7);
	assert_int_equal(before, sent);
	channel_conn_close(e.conn, "enough");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_third_silent_tick_ends_it),
		cmocka_unit_test(a_word_begins_the_count_anew),
		cmocka_unit_test(control_finds_room_in_a_full_output),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	libevent_global_shutdown();
	return failed;
}
