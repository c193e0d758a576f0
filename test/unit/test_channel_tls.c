/*
 * Connections with a secret: over loopback and byte by byte, with the right secret, another one and
 * none at one of the ends; and the files that a secret may come from.
 */
#include "channel_ends.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "channel/tls.h"

static struct channel_secret *one, *same, *other;
static bool is_older; /* intercept does not know CHANNEL_FIRST */

/* tcpcopy @a connects to intercept @b. */
static void pair(struct end *a, const struct channel_secret *of_a, struct end *b,
		 const struct channel_secret *of_b)
{
	const struct channel_options
		a_options = { .program = "tcpcopy", .release = "1", .secret = of_a, .first = true },
		b_options = { .program = "intercept", .release = "1", .secret = of_b, .first = !is_older };
	struct endpoint at;
	int fd = listen_on_loopback(&at, 8);

	*a = *b = (struct end){ .numbered = true };
	a->conn = channel_connect(base, &at, 3000, &a_options, &handler, a);
	b->conn = channel_accept(base, accept_next(fd), &b_options, &handler, b);
	assert_non_null(a->conn);
	assert_non_null(b->conn);
	close(fd);
}

static void send_watch(struct end *e, uint64_t id)
{
	const struct message m = {
		.type = MSG_WATCH,
		.watch = { .id = id, .response = { { { { 1, 2 } }, 80 }, { { { 3, 4 } }, 90 } } },
	};

	assert_true(channel_conn_send(e->conn, &m));
}

static void close_both(struct end *a, struct end *b)
{
	if (a->conn)
		channel_conn_close(a->conn, "going home");
	if (b->conn)
		run_until(&b->downs, 1);
}

static void the_same_secret_brings_both_up(void **state)
{
	struct end a, b;

	(void)state;
	pair(&a, one, &b, same);
	run_until(&a.ups, 1);
	run_until(&b.ups, 1);
	for (unsigned i = 1; i <= 5000; i++) /* many records, in both directions */
		send_watch(&a, i);
	for (unsigned i = 1; i <= 100; i++)
		send_watch(&b, i);
	run_until(&b.messages, 5000);
	run_until(&a.messages, 100);
	close_both(&a, &b);
	assert_string_equal(b.why, "peer closed: going home");
}

static void send_first(struct end *e)
{
	const struct message m = {
		.type = MSG_RESPONSE,
		.response = { .id = 1, .len = 4, .flags = TCPF_ACK, .n_first = 4, .first = "-ERR" },
	};

	assert_true(channel_conn_send(e->conn, &m));
}

static void first_bytes_are_offered_where_it_is_encrypted(void **state)
{
	struct end a, b;

	(void)state;
	pair(&a, one, &b, same);
	run_until(&a.ups, 1);
	run_until(&b.ups, 1);
	assert_int_equal(a.peer.features & b.peer.features, CHANNEL_FIRST);
	send_first(&b);
	run_until(&a.messages, 1);
	close_both(&a, &b);
	pair(&a, NULL, &b, NULL);
	run_until(&a.ups, 1);
	run_until(&b.ups, 1);
	assert_int_equal(a.peer.features | b.peer.features, 0);
	send_first(&b); /* which no intercept does */
	run_until(&a.downs, 1);
	assert_string_equal(a.why, "bad frame: RESPONSE with first bytes, which were not agreed on");
	if (b.conn)
		run_until(&b.downs, 1);
}

static void an_older_intercept_gives_none(void **state)
{
	struct end a, b;

	(void)state;
	is_older = true;
	pair(&a, one, &b, same);
	is_older = false;
	run_until(&a.ups, 1);
	run_until(&b.ups, 1);
	assert_int_equal(b.peer.features, CHANNEL_FIRST);
	assert_int_equal(a.peer.features, 0);
	send_watch(&a, 1);
	run_until(&b.messages, 1);
	close_both(&a, &b);
}

static void different_secrets_are_told_at_both_ends(void **state)
{
	struct end a, b;

	(void)state;
	pair(&a, one, &b, other);
	run_until(&a.downs, 1);
	run_until(&b.downs, 1);
	assert_int_equal(a.ups + b.ups, 0);
	assert_non_null(strstr(a.why, "the secrets of the two ends differ"));
	assert_non_null(strstr(b.why, "the secrets of the two ends differ"));
}

static void a_missing_secret_is_told_at_both_ends(void **state)
{
	struct end a, b;

	(void)state;
	pair(&a, NULL, &b, one);
	run_until(&a.downs, 1);
	run_until(&b.downs, 1);
	assert_int_equal(a.ups + b.ups, 0);
	assert_non_null(strstr(a.why, "a secret is needed here"));
	assert_non_null(strstr(b.why, "this end has a secret and the peer has none"));

	pair(&a, one, &b, NULL);
	run_until(&a.downs, 1);
	run_until(&b.downs, 1);
	assert_int_equal(a.ups + b.ups, 0);
	assert_non_null(strstr(a.why, "this end has a secret and the peer has none"));
	/* Either the ClientHello was read, or the BYE that answered the plain HELLO. */
	assert_true(strstr(b.why, "the peer has a secret") || strstr(b.why, "a secret is needed"));
}

/* Before it is known who they are: with and without a secret. */
static void who_is_turned_away_is_told(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		const struct channel_options o = { .program = "tcpcopy",
						   .release = "1",
						   .secret = i ? one : NULL };
		struct end a = { .numbered = true };
		struct endpoint at;
		int fd = listen_on_loopback(&at, 8);

		a.conn = channel_connect(base, &at, 3000, &o, &handler, &a);
		assert_non_null(a.conn);
		channel_refuse(accept_next(fd), "there are too many");
		run_until(&a.downs, 1);
		assert_int_equal(a.ups, 0);
		assert_string_equal(a.why, i ? "peer closed, not encrypted: there are too many"
					     : "peer closed: there are too many");
		close(fd);
	}
}

static void a_slow_reader_costs_bounded_memory(void **state)
{
	const struct message m = { .type = MSG_WATCH,
				   .watch = { .id = 1,
					      .response = { { { { 1, 2 } }, 80 }, { { { 3, 4 } }, 90 } } } };
	struct end a, b;
	unsigned sent = 0;

	(void)state;
	pair(&a, one, &b, one);
	run_until(&a.ups, 1);
	run_until(&b.ups, 1);
	while (channel_conn_send(a.conn, &m)) /* no turn of the loop: nobody reads */
		sent++;
	assert_true(channel_conn_unsent(a.conn) < (1 << 20) + 4096);
	assert_true(sent > 10000);
	channel_conn_close(a.conn, "x");
	channel_conn_close(b.conn, "x");
}

/* The two ends of the TLS layer alone. */
struct layer {
	struct tls *tls;
	struct evbuffer *wire; /* to the other */
};

static void layers(struct layer *client, struct layer *server)
{
	client->tls = tls_new(one, false);
	server->tls = tls_new(one, true);
	client->wire = evbuffer_new();
	server->wire = evbuffer_new();
	assert_true(tls_begin(client->tls, client->wire));
}

static void free_layer(struct layer *l)
{
	tls_free(l->tls);
	evbuffer_free(l->wire);
}

/* What @from has for @to, @n bytes at a time. */
static const char *carry(struct layer *from, struct layer *to, size_t n)
{
	struct evbuffer *piece = evbuffer_new();
	const char *why = NULL;

	while (!why && evbuffer_get_length(from->wire)) {
		evbuffer_remove_buffer(from->wire, piece, n);
		why = tls_receive(to->tls, piece, to->wire);
		assert_true(why || !evbuffer_get_length(piece));
	}
	evbuffer_free(piece);
	return why;
}

static void shake_hands(struct layer *client, struct layer *server)
{
	layers(client, server);
	assert_null(carry(client, server, 1));
	assert_null(carry(server, client, 1));
	assert_null(carry(client, server, 1));
	assert_true(tls_is_open(client->tls) && tls_is_open(server->tls));
}

static void bytes_may_come_one_by_one(void **state)
{
	struct layer client, server;
	char back[8] = "";

	(void)state;
	shake_hands(&client, &server);
	evbuffer_add(client.wire, "visible", 7);
	assert_true(tls_seal(client.tls, client.wire));
	assert_int_equal(evbuffer_search(client.wire, "visible", 7, NULL).pos, -1);
	assert_null(carry(&client, &server, 1));
	assert_int_equal(evbuffer_remove(tls_clear(server.tls), back, sizeof(back)), 7);
	assert_string_equal(back, "visible");
	free_layer(&client);
	free_layer(&server);
}

/* Each byte of what the client says, in turn, with a bit turned over. */
static void damage_is_never_taken(void **state)
{
	(void)state;
	for (size_t at = 0;; at++) {
		struct layer client, server;
		unsigned char *bytes;

		shake_hands(&client, &server);
		evbuffer_add(client.wire, "visible", 7);
		assert_true(tls_seal(client.tls, client.wire));
		if (at == evbuffer_get_length(client.wire)) {
			free_layer(&client);
			free_layer(&server);
			break;
		}
		bytes = evbuffer_pullup(client.wire, -1);
		bytes[at] ^= 1;
		carry(&client, &server, 4096); /* a fault, or a record that has not come whole */
		assert_int_equal(evbuffer_get_length(tls_clear(server.tls)), 0);
		free_layer(&client);
		free_layer(&server);
	}
}

static void recorded_bytes_open_nothing(void **state)
{
	struct layer client, server, again = { 0 };
	struct evbuffer *record = evbuffer_new();

	(void)state;
	layers(&client, &server);
	evbuffer_add_buffer_reference(record, client.wire);
	assert_null(carry(&client, &server, 4096));
	assert_null(carry(&server, &client, 4096));
	evbuffer_add_buffer_reference(record, client.wire);
	assert_null(carry(&client, &server, 4096));
	assert_true(tls_is_open(server.tls));

	again.tls = tls_new(one, true);
	again.wire = evbuffer_new();
	assert_non_null(tls_receive(again.tls, record, again.wire));
	assert_false(tls_is_open(again.tls));
	evbuffer_free(record);
	free_layer(&client);
	free_layer(&server);
	free_layer(&again);
}

static char path[] = "/tmp/test_channel_tls.XXXXXX";

static void put_file(const char *content, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);

	assert_int_equal(write(fd, content, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static struct channel_secret *secret_of(const char *content)
{
	char err[512] = "";
	struct channel_secret *s;

	put_file(content, strlen(content), 0600);
	s = channel_secret_load(path, err, sizeof(err));
	assert_string_equal(err, "");
	assert_non_null(s);
	return s;
}

static void refused(const char *words)
{
	char err[512] = "";

	assert_null(channel_secret_load(path, err, sizeof(err)));
	if (!strstr(err, words))
		fail_msg("\"%s\" lacks \"%s\"", err, words);
}

static void bad_files_are_refused_with_the_cure(void **state)
{
	static char big[CHANNEL_SECRET_MAX + 1];

	(void)state;
	put_file("0123456789abcdef", 16, 0640);
	refused("its mode is 0640, so others than its owner can access it; chmod 600 ");
	put_file("0123456789abcdef", 16, 0602);
	refused("chmod 600 ");
	put_file("", 0, 0600);
	refused("it has 0 bytes, not counting trailing newlines, but needs at least 16; head -c 32 ");
	put_file("0123456789abcde\n", 16, 0600);
	refused("it has 15 bytes");
	put_file(big, sizeof(big), 0600);
	refused("it is longer than 4096 bytes");
	put_file(big, sizeof(big) - 1, 0400);
	channel_secret_free(channel_secret_load(path, big, sizeof(big)));
	unlink(path);
	refused("No such file");
	mkdir(path, 0700);
	refused("not a regular file");
	rmdir(path);
	mkfifo(path, 0600);
	refused("not a regular file"); /* and is not waited for */
	unlink(path);
	put_file("0123456789abcdef", 16, 0600);
	if (!geteuid() && !chown(path, 12345, 0))
		refused("it belongs to user 12345, who could change it; chown root ");
	unlink(path);
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	close(mkstemp(path));
	one = secret_of("correct horse battery");
	same = secret_of("correct horse battery\r\n\n");
	other = secret_of("correct horse batters");
	return !base;
}

static int tear_down(void **state)
{
	(void)state;
	channel_secret_free(one);
	channel_secret_free(same);
	channel_secret_free(other);
	event_base_free(base);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_secret_brings_both_up),
		cmocka_unit_test(first_bytes_are_offered_where_it_is_encrypted),
		cmocka_unit_test(an_older_intercept_gives_none),
		cmocka_unit_test(different_secrets_are_told_at_both_ends),
		cmocka_unit_test(a_missing_secret_is_told_at_both_ends),
		cmocka_unit_test(who_is_turned_away_is_told),
		cmocka_unit_test(a_slow_reader_costs_bounded_memory),
		cmocka_unit_test(bytes_may_come_one_by_one),
		cmocka_unit_test(damage_is_never_taken),
		cmocka_unit_test(recorded_bytes_open_nothing),
		cmocka_unit_test(bad_files_are_refused_with_the_cure),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
