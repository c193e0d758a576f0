/*
 * A replay's clock, and what it knows of the recorded server.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/util.h"
#include "tcpcopy/replay/figures.h"
#include "tcpcopy/replay/reached.h"
#include "tcpcopy/replay/schedule.h"
#include "tcpcopy/replay/served.h"

#define EPOCH (1795888152 * NS_PER_SEC)
#define MS NS_PER_MS
#define START (1000 * MS)

static struct schedule at(uint64_t millionths)
{
	return (struct schedule){ .speed = millionths, .gap = UINT64_MAX };
}

static void speeds(void **state)
{
	static const struct {
		uint64_t speed, due;
	} list[] = {
		{ 1000000, 500 * MS }, { 10000000, 50 * MS }, { 500000, 1000 * MS }, { 1, 500000000 * MS }
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
		struct schedule s = at(list[i].speed);

		assert_int_equal(schedule_due(&s, EPOCH, true, START), START);
		assert_int_equal(schedule_due(&s, EPOCH + 500 * MS, true, START + 7), START + list[i].due);
		/* an older time changes nothing */
		assert_int_equal(schedule_due(&s, EPOCH, true, START + 9), START + list[i].due);
	}
}

static void at_most(void **state)
{
	struct schedule s = at(0);

	(void)state;
	assert_int_equal(schedule_due(&s, EPOCH, true, START), 0);
	assert_int_equal(schedule_due(&s, EPOCH + NS_PER_SEC, true, START), 0);
	assert_false(schedule_move(&s, 0, false, START + NS_PER_SEC));
}

static void pauses(void **state)
{
	struct schedule s = at(2000000);

	(void)state;
	s.gap = 100 * MS;
	schedule_due(&s, EPOCH, true, START);
	assert_int_equal(schedule_due(&s, EPOCH + 60 * MS, true, START), START + 30 * MS);
	assert_int_equal(schedule_due(&s, EPOCH + 3600 * NS_PER_SEC, true, START), START + 80 * MS);
	assert_int_equal(s.cut, 3600 * NS_PER_SEC - 160 * MS);
	assert_int_equal(s.recorded, 160 * MS);
}

static void rate(void **state)
{
	struct schedule s = { .rate = 250 * 1000000, .gap = UINT64_MAX };

	(void)state;
	assert_int_equal(schedule_due(&s, EPOCH, false, START), START); /* a SYN */
	assert_int_equal(schedule_due(&s, EPOCH, true, START), START);
	assert_int_equal(schedule_due(&s, EPOCH + 1, false, START), START);
	assert_int_equal(schedule_due(&s, EPOCH + 2, true, START), START + 4 * MS);
	assert_int_equal(schedule_due(&s, EPOCH + 900 * MS, true, START), START + 8 * MS);
}

static void late(void **state)
{
	struct schedule s = at(1000000);

	(void)state;
	schedule_due(&s, EPOCH, true, START);
	assert_false(schedule_move(&s, START, false, START + SCHEDULE_LATE));
	assert_int_equal(schedule_due(&s, EPOCH + MS, true, START), START + MS);
	assert_true(schedule_move(&s, START + MS, false, START + MS + 30 * MS));
	assert_int_equal(s.late_here, 30 * MS);
	/* what follows keeps its distance: no burst */
	assert_int_equal(schedule_due(&s, EPOCH + 3 * MS, true, START), START + 33 * MS);
	assert_true(schedule_move(&s, START + 33 * MS, true, START + 73 * MS));
	assert_int_equal(s.late_there, 40 * MS);
	assert_int_equal(s.moves, 2);
}

static const struct siphash_key key = { 1, 2 };
static struct flow_key k;

static struct served *fresh(void)
{
	memset(&k, 0, sizeof(k));
	assert_true(addr_parse(&k.client.addr, "10.0.0.1"));
	assert_true(addr_parse(&k.online.addr, "10.0.0.2"));
	k.client.port = 40000;
	k.online.port = 6379;
	return served_new(&key);
}

static struct segment client(uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len)
{
	return (struct segment){
		.tuple = { k.client, k.online }, .flags = flags, .seq = seq, .ack = ack, .len = len
	};
}

static struct segment server(uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len)
{
	return (struct segment){
		.tuple = { k.online, k.client }, .flags = flags, .seq = seq, .ack = ack, .len = len
	};
}

/* A SYN is a connection when it was answered, or when its client goes on. */
static void syns(void **state)
{
	struct served *s = fresh();
	const uint8_t options[] = { 2, 4, 5, 180 };
	struct segment g = client(TCPF_SYN, 1000, 0, 0);
	const struct served_syn *syn;

	(void)state;
	g.raw_options = options;
	g.raw_options_len = sizeof(options);
	assert_true(served_client(s, &k, &g).keep);
	assert_true(served_client(s, &k, &g).keep); /* again */
	assert_int_equal(served_open(s), 0);
	g = server(TCPF_SYN | TCPF_ACK, 9000, 777, 0); /* an old one */
	assert_null(served_server(s, &k, &g));
	g = server(TCPF_SYN | TCPF_ACK, 9000, 1001, 0);
	syn = served_server(s, &k, &g);
	assert_non_null(syn);
	assert_int_equal(syn->segment.seq, 1000);
	assert_int_equal(syn->segment.raw_options_len, 4);
	assert_memory_equal(syn->segment.raw_options, options, 4);
	assert_null(served_server(s, &k, &g)); /* once */
	assert_int_equal(served_open(s), 1);

	k.client.port++;
	g = client(TCPF_SYN, 1000, 0, 0);
	assert_true(served_client(s, &k, &g).keep);
	g = client(TCPF_ACK, 1001, 9001, 0);
	assert_non_null(served_client(s, &k, &g).syn);
	assert_int_equal(served_open(s), 2);

	k.client.port++; /* refused */
	g = client(TCPF_SYN, 1000, 0, 0);
	assert_true(served_client(s, &k, &g).keep);
	g = server(TCPF_RST | TCPF_ACK, 0, 1001, 0);
	assert_null(served_server(s, &k, &g));
	assert_int_equal(served_open(s), 2);

	k.copy = 1; /* another loop has connections of its own */
	assert_int_equal(served_look(s, &k).word, ONLINE_UNKNOWN);
	served_free(s);
}

static void turns(void **state)
{
	struct served *s = fresh();
	struct segment g = client(TCPF_ACK, 1001, 9001, 10);

	(void)state;
	assert_true(served_client(s, &k, &g).turn);
	g = client(TCPF_ACK, 1011, 9001, 10); /* pipelined */
	assert_false(served_client(s, &k, &g).turn);
	g = client(TCPF_ACK, 1021, 9051, 0); /* an ACK alone */
	assert_false(served_client(s, &k, &g).turn);
	g = client(TCPF_ACK, 1021, 9051, 10);
	assert_true(served_client(s, &k, &g).turn);
	assert_false(served_client(s, &k, &g).turn); /* again */
	served_free(s);
}

/* Nothing is said while anything is not acknowledged. */
static void what_was_taken(void **state)
{
	struct served *s = fresh();
	struct segment g = client(TCPF_SYN, 1000, 0, 0);

	(void)state;
	served_client(s, &k, &g);
	g = server(TCPF_SYN | TCPF_ACK, 9000, 1001, 0);
	served_server(s, &k, &g);
	g = client(TCPF_ACK, 1101, 9001, 100); /* behind a hole of 100 bytes */
	served_client(s, &k, &g);
	assert_int_equal(served_look(s, &k).word, ONLINE_UNKNOWN);
	g = server(TCPF_ACK, 9001, 1101, 0);
	served_server(s, &k, &g);
	assert_int_equal(served_look(s, &k).word, ONLINE_UNKNOWN);
	g = server(TCPF_ACK, 9001, 1201, 0);
	served_server(s, &k, &g);
	assert_int_equal(served_look(s, &k).word, ONLINE_THERE);
	assert_true(served_look(s, &k).has_received);
	assert_int_equal(served_look(s, &k).received, 200);
	g = client(TCPF_ACK | TCPF_FIN, 1201, 9001, 0);
	served_client(s, &k, &g);
	assert_int_equal(served_look(s, &k).word, ONLINE_UNKNOWN);
	assert_int_equal(served_open(s), 0);
	g = server(TCPF_ACK, 9001, 1202, 0);
	served_server(s, &k, &g);
	assert_int_equal(served_look(s, &k).received, 201); /* a FIN counts as one */
	served_free(s);
}

/* More connections than there are places: the table stays what it is, and each still has its SYN. */
static void many(void **state)
{
	struct served *s = fresh();
	struct segment g;
	unsigned open = 0;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		k.client.port = (uint16_t)(1 + i % 60000);
		k.online.port = (uint16_t)(1 + i / 60000);
		g = client(TCPF_SYN, i, 0, 0);
		assert_true(served_client(s, &k, &g).keep);
		g = server(TCPF_SYN | TCPF_ACK, 9000, i + 1, 0);
		open += served_server(s, &k, &g) != NULL;
	}
	assert_int_equal(open, 200000);
	assert_true(served_open(s) <= 65536);
	served_free(s);
}

static void durations(void **state)
{
	static const struct {
		uint64_t seconds;
		const char *text;
	} list[] = {
		{ 0, "0 seconds" },
		{ 1, "1 second" },
		{ 75, "1 minute 15 seconds" },
		{ 3600, "1 hour" },
		{ 3661, "1 hour 1 minute" },
		{ 86400 + 59, "1 day" },
		{ 2 * 31536000ull + 3 * 86400 + 7, "2 years 3 days" },
		{ 18446744073ull, "584 years 343 days" },
	};
	char text[FIGURES_DURATION];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		assert_string_equal(figures_duration(text, list[i].seconds * NS_PER_SEC), list[i].text);
}

/* A replay of which no connection was opened is a failure. */
static void nobody_was_reached(void **state)
{
	static struct config c;
	struct engine_counters n = { .sessions_opened = 5 };
	char words[200];

	(void)state;
	c.n_rules = 1;
	c.rules[0].target.port = 6379;
	assert_true(addr_parse(&c.rules[0].target.addr, "10.0.0.1"));
	n.ended[OUTCOME_REFUSED] = 5;
	n.responses = 5;
	assert_true(replay_reached_nobody(&c, &n, words, sizeof(words)));
	assert_string_equal(words, "10.0.0.1:6379 refused all 5 connections; nothing listens there");
	n.ended[OUTCOME_REFUSED] = 4;
	n.ended[OUTCOME_COMPLETE] = 1;
	assert_false(replay_reached_nobody(&c, &n, words, sizeof(words)));
	n = (struct engine_counters){ .sessions_opened = 4, .sessions_joined = 1 };
	n.ended[OUTCOME_SHUTDOWN] = 5;
	c.n_rules = 2;
	assert_true(replay_reached_nobody(&c, &n, words, sizeof(words)));
	assert_string_equal(words, "each target answered none of 5 connections; --check says what is wrong");
	n.responses = 1;
	assert_false(replay_reached_nobody(&c, &n, words, sizeof(words)));
	n = (struct engine_counters){ .responses = 0 }; /* all were declined: the account says why */
	assert_false(replay_reached_nobody(&c, &n, words, sizeof(words)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(speeds),
		cmocka_unit_test(at_most),
		cmocka_unit_test(pauses),
		cmocka_unit_test(rate),
		cmocka_unit_test(late),
		cmocka_unit_test(syns),
		cmocka_unit_test(turns),
		cmocka_unit_test(what_was_taken),
		cmocka_unit_test(many),
		cmocka_unit_test(durations),
		cmocka_unit_test(nobody_was_reached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
