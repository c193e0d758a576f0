/*
 * Memory of the sessions: who loses his when it is used up, and that it goes back to the kernel when it is
 * no longer needed, without anything else to wake the engine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "session/impl.h"
#include "session_harness.h"

#define PIECE 60000u
#define STORED 65536u /* what one occupies */

/* Who sends: the client's last two address bytes, its port's number, the rule. */
struct who {
	unsigned address, port, target;
};

static struct flow_key key_of(struct who w)
{
	struct flow_key k = {
		.client = { addr_from_v4((const uint8_t[]){ 10, 0, (uint8_t)(w.address >> 8),
							    (uint8_t)w.address }),
			    (uint16_t)(40000 + w.port) },
		.online = { addr_from_v4((const uint8_t[]){ 10, 9, 0, 2 }), 6379 },
		.target = (uint16_t)w.target,
	};

	return k;
}

static struct segment segment_of(struct harness *h, struct who w, uint8_t flags, uint32_t seq, uint32_t len)
{
	static const uint8_t zeros[PIECE];
	struct flow_key k = key_of(w);

	return (struct segment){
		.tuple = { k.client, k.online },
		.time = h->now,
		.seq = seq,
		.ack = flags & TCPF_ACK ? 9001 : 0,
		.flags = flags,
		.window = 1000,
		.len = len,
		.captured = len,
		.payload = zeros,
	};
}

static void captured_of(struct harness *h, struct who w, uint8_t flags, uint32_t seq, uint32_t len)
{
	struct flow_key k = key_of(w);
	struct segment s = segment_of(h, w, flags, seq, len);

	harness_captured(h, &k, &s);
}

/* A connection whose target takes nothing: what its client sends stays in memory. */
static void open_stuck_of(struct harness *h, struct who w)
{
	struct flow_key k = key_of(w);
	struct tuple response = { h->target[w.target], k.client };

	captured_of(h, w, TCPF_SYN, 1000, 0);
	harness_response(h, &(struct response){ .id = harness_watched(h, &response, 0),
						.seq = 5000,
						.ack = 1001,
						.flags = TCPF_SYN | TCPF_ACK });
	captured_of(h, w, TCPF_ACK, 1001, 0);
}

static void upload_of(struct harness *h, struct who w, unsigned from, unsigned to, uint32_t size)
{
	for (unsigned n = from; n < to; n++)
		captured_of(h, w, TCPF_ACK, 1001 + n * size, size);
}

/* Has the session that @w opened first ended? */
static bool ended(const struct harness *h, struct who w)
{
	struct flow_key k = key_of(w);

	for (unsigned i = 0; i < h->n_outcome; i++)
		if (endpoint_eq(&h->outcome[i].key.client, &k.client) &&
		    h->outcome[i].key.target == w.target) {
			assert_int_equal(h->outcome[i].outcome, OUTCOME_NO_MEMORY);
			return true;
		}
	return false;
}

static struct flow_key client(unsigned i)
{
	return key_of((struct who){ .address = 1, .port = i });
}

static void captured(struct harness *h, unsigned i, uint8_t flags, uint32_t seq, uint32_t len)
{
	captured_of(h, (struct who){ .address = 1, .port = i }, flags, seq, len);
}

static void open_stuck(struct harness *h, unsigned i)
{
	open_stuck_of(h, (struct who){ .address = 1, .port = i });
}

static void upload(struct harness *h, unsigned i, unsigned pieces)
{
	upload_of(h, (struct who){ .address = 1, .port = i }, 0, pieces, PIECE);
}

static void largest_is_shed(void **state)
{
	struct harness h;

	(void)state;
	harness_init(&h);
	h.config.max_memory = 8 << 20;
	harness_start(&h, true);
	for (unsigned i = 0; i < 3; i++)
		open_stuck(&h, i);
	upload(&h, 0, 10);
	upload(&h, 1, 80);
	upload(&h, 2, 10);
	assert_int_equal(h.n_outcome, 0);
	assert_true(engine_memory(h.engine) < h.config.max_memory);
	upload(&h, 2, 30);
	assert_int_equal(h.n_outcome, 1);
	assert_int_equal(h.outcome[0].outcome, OUTCOME_NO_MEMORY);
	assert_int_equal(h.outcome[0].key.client.port, 40001);
	assert_true(engine_memory(h.engine) < h.config.max_memory / 2);
	assert_null(harness_finish(&h));
}

static uint64_t declined(const struct harness *h)
{
	return engine_counters(h->engine)->declined[DECLINE_MEMORY];
}

/* Of 50 sessions of one client one takes all it can; whoever holds less than a fiftieth notices nothing. */
static void one_session_of_fifty(void **state)
{
	const struct who bad = { .address = 1 };
	struct harness h;

	(void)state;
	harness_init(&h);
	h.config.max_memory = 8 << 20;
	harness_start(&h, true);
	for (unsigned port = 0; port < 50; port++) {
		const struct who w = { .address = 1, .port = port };

		open_stuck_of(&h, w);
		upload_of(&h, w, 0, 2, PIECE);
	}
	for (unsigned n = 2; n < 300 && !ended(&h, bad); n++)
		upload_of(&h, bad, n, n + 1, PIECE);
	assert_true(ended(&h, bad));
	assert_int_equal(h.n_outcome, 1);
	open_stuck_of(&h, (struct who){ .address = 1, .port = 50 });
	assert_int_equal(declined(&h), 0);
	assert_null(harness_finish(&h));
}

/*
 * Three clients of 300 park data in many sessions. The others, each with more data in one session, keep
 * theirs.
 */
static void three_clients_of_three_hundred(void **state)
{
	struct harness h;

	(void)state;
	harness_init(&h);
	h.config.max_memory = 16 << 20;
	harness_start(&h, true);
	for (unsigned i = 1; i <= 300; i++) {
		const struct who w = { .address = i };

		open_stuck_of(&h, w);
		if (i > 3)
			upload_of(&h, w, 0, 1, 25000);
	}
	for (unsigned n = 0; n < 600; n++) {
		const struct who bad = { .address = 1 + n % 3, .port = 1 + n / 3 };

		open_stuck_of(&h, bad);
		upload_of(&h, bad, 0, 1, 20000);
		if (n % 50 == 0)
			open_stuck_of(&h, (struct who){ .address = 1000 + n });
	}
	assert_true(h.n_outcome > 100);
	for (unsigned i = 0; i < h.n_outcome; i++)
		assert_true(h.outcome[i].key.client.addr.b[14] == 0 &&
			    h.outcome[i].key.client.addr.b[15] <= 3);
	assert_int_equal(declined(&h), 0);
	assert_true(engine_memory(h.engine) <= h.config.max_memory);
	assert_null(harness_finish(&h));
}

/* Three clients park data behind a hole, up to where memory is short: all others get their sessions. */
static void parked_behind_a_hole(void **state)
{
	struct harness h;

	(void)state;
	harness_init(&h);
	h.config.max_memory = 16 << 20;
	harness_start(&h, true);
	for (unsigned i = 1; i <= 3; i++) {
		open_stuck_of(&h, (struct who){ .address = i });
		upload_of(&h, (struct who){ .address = i }, 1, 75, PIECE); /* the first is missing */
	}
	assert_true(engine_memory(h.engine) > h.config.max_memory / 8 * 7 - 2 * STORED);
	for (unsigned i = 10; i < 310; i++) {
		open_stuck_of(&h, (struct who){ .address = i });
		upload_of(&h, (struct who){ .address = i }, 0, 1, 5000);
	}
	assert_int_equal(declined(&h), 0);
	assert_int_equal(h.n_outcome, 1);
	assert_true(h.outcome[0].key.client.addr.b[15] <= 3);
	assert_int_equal(engine_sessions(h.engine), 302);
	assert_null(harness_finish(&h));
}

/* The target of one rule of three takes nothing; its clients are many and each holds little. */
static void one_rule_of_three(void **state)
{
	struct harness h;

	(void)state;
	harness_init(&h);
	h.config.max_memory = 16 << 20;
	h.config.max_sessions = h.config.max_observed = 10000;
	harness_start(&h, true);
	for (unsigned target = 1; target < 3; target++)
		for (unsigned i = 0; i < 5; i++) {
			const struct who w = { .address = i, .target = target };

			open_stuck_of(&h, w);
			upload_of(&h, w, 0, 7, PIECE);
		}
	for (unsigned i = 0; i < 600; i++) {
		const struct who w = { .address = 1000 + i };

		open_stuck_of(&h, w);
		upload_of(&h, w, 0, 1, 40000);
		if (i % 50 == 0)
			open_stuck_of(&h, (struct who){ .address = 1000 + i, .target = 1 });
	}
	assert_true(h.n_outcome > 100);
	for (unsigned i = 0; i < h.n_outcome; i++)
		assert_int_equal(h.outcome[i].key.target, 0);
	assert_int_equal(declined(&h), 0);
	assert_true(engine_memory(h.engine) <= h.config.max_memory);
	assert_null(harness_finish(&h));
}

/* Addresses of IPv6 are counted by /64. */
static void one_network_of_ipv6(void **state)
{
	struct harness h;

	(void)state;
	harness_init(&h);
	h.config.max_memory = 8 << 20;
	harness_start(&h, true);
	for (unsigned i = 0; i < 200; i++) {
		struct flow_key k = key_of((struct who){ .address = 1 });
		struct segment s = segment_of(&h, (struct who){ .address = 1 }, TCPF_SYN, 1000, 0);

		assert_true(addr_parse(&k.online.addr, "2001:db8:9::1"));
		assert_true(addr_parse(&k.client.addr, i % 8 ? "2001:db8:1:1::" : "2001:db8:1:2::"));
		k.client.addr.b[15] = (uint8_t)i;
		s.tuple = (struct tuple){ k.client, k.online };
		harness_captured(&h, &k, &s);
		s.flags = TCPF_ACK;
		s.seq = 1001;
		s.ack = 9001;
		s.len = s.captured = i % 8 ? 50000 : 60000;
		harness_captured(&h, &k, &s);
	}
	assert_true(h.n_outcome > 10);
	for (unsigned i = 0; i < h.n_outcome; i++)
		assert_int_equal(h.outcome[i].key.client.addr.b[7], 1);
	assert_null(harness_finish(&h));
}

/* Little memory and super-packets of all sizes, many in a batch: those who write little do not pay for it. */
static void super_packets_of_many_sizes(void **state)
{
	const struct who big = { .address = 1 };
	struct who small;
	struct harness h;

	(void)state;
	harness_init(&h);
	h.config.max_memory = 1 << 20;
	harness_start(&h, true);
	for (unsigned i = 2; i < 22; i++)
		open_stuck_of(&h, (struct who){ .address = i });
	open_stuck_of(&h, big);
	for (unsigned n = 0, seq = 1001; n < 400; n++) {
		const struct flow_key k = key_of(big);
		uint32_t len = 3000 + n * 7919 % 57000;
		struct segment s = segment_of(&h, big, TCPF_ACK, seq, len);

		engine_captured(h.engine, &k, &s, h.now);
		seq += len;
		small = (struct who){ .address = 2 + n % 20 };
		if (n % 16 == 0)
			upload_of(&h, small, n / 16 / 20, n / 16 / 20 + 1, 500);
	}
	assert_true(ended(&h, big));
	assert_int_equal(h.n_outcome, 1);
	assert_true(pool_bytes_touched(h.engine->pool) <= h.config.max_memory / 4 * 5);
	assert_null(harness_finish(&h));
}

/*
 * Nothing but sessions, which hold no data: a flood of SYNs that nobody proves fills the memory, and those
 * who are proved neither end nor are declined for it. A client that has filled it gets no more sessions;
 * others do.
 */
static void sessions_without_data(void **state)
{
	struct harness h;

	(void)state;
	harness_init(&h);
	h.config.max_memory = 512 << 10;
	h.config.max_half_open = h.config.max_sessions = 100000;
	h.config.prove = true;
	h.online = ONLINE_THERE;
	harness_start(&h, true);
	for (unsigned i = 0; i < 20; i++) {
		const struct who w = { .address = i };

		captured_of(&h, w, TCPF_SYN, 1000, 0);
		captured_of(&h, w, TCPF_ACK, 1001, 0);
	}
	assert_true(harness_advance(&h, h.now + 5 * NS_PER_MS)); /* then the socket is asked */
	assert_int_equal(engine_proofs(h.engine, 0)->found, 20);
	for (unsigned i = 0; i < 3000; i++) {
		const struct who w = { .address = 1000 + i };

		captured_of(&h, w, TCPF_SYN, 1000, 0);
		if (i % 100)
			continue;
		captured_of(&h, w, TCPF_ACK, 1001, 0);
		assert_true(harness_advance(&h, h.now + 5 * NS_PER_MS));
	}
	assert_int_equal(engine_proofs(h.engine, 0)->found, 50);
	for (unsigned i = 0; i < 20; i++)
		assert_false(ended(&h, (struct who){ .address = i }));
	for (unsigned i = 0; i < 3000; i += 100)
		assert_false(ended(&h, (struct who){ .address = 1000 + i }));
	assert_int_equal(declined(&h), 0);
	assert_true(engine_memory(h.engine) <= h.config.max_memory);
	assert_null(harness_finish(&h));

	harness_init(&h);
	h.config.max_memory = 512 << 10;
	h.config.max_sessions = 100000;
	harness_start(&h, true);
	for (unsigned port = 0; port < 2000; port++)
		open_stuck_of(&h, (struct who){ .address = 1, .port = port });
	assert_true(declined(&h) > 500);
	assert_int_equal(h.n_outcome, 0);
	for (unsigned i = 2; i < 100; i++) {
		open_stuck_of(&h, (struct who){ .address = i });
		assert_false(ended(&h, (struct who){ .address = i }));
	}
	assert_null(harness_finish(&h));
}

/* The target takes all of it, long after the client has sent it; the connection goes on. */
static void drain(struct harness *h, unsigned i, unsigned pieces)
{
	struct flow_key k = client(i);
	struct tuple response = { h->target[0], k.client };
	struct harness_emission *m;

	for (unsigned n = 0; n <= pieces; n++) {
		harness_response(h, &(struct response){ .id = harness_watched(h, &response, 0),
							.seq = 5001,
							.ack = 1001 + n * PIECE,
							.window = PIECE,
							.flags = TCPF_ACK });
		while ((m = harness_take(h)))
			harness_emission_free(m);
	}
}

static void given_back_when_drained(void **state)
{
	struct harness h;
	size_t most;

	(void)state;
	harness_init(&h);
	harness_start(&h, true);
	open_stuck(&h, 0);
	upload(&h, 0, 200);
	most = pool_bytes_held(h.engine->pool);
	assert_true(harness_advance(&h, h.now + 10 * NS_PER_SEC));
	assert_int_equal(pool_bytes_held(h.engine->pool), most);
	drain(&h, 0, 200);
	assert_int_equal(engine_live_bytes(h.engine), 0);
	assert_true(harness_advance(&h, h.now + 10 * NS_PER_SEC));
	assert_int_equal(engine_sessions(h.engine), 1);
	assert_true(pool_bytes_held(h.engine->pool) < most / 10);
	assert_null(harness_finish(&h));
}

static void given_back_at_the_end(void **state)
{
	struct harness h;
	size_t most;

	(void)state;
	harness_init(&h);
	harness_start(&h, true);
	open_stuck(&h, 0);
	upload(&h, 0, 200);
	captured(&h, 0, TCPF_RST | TCPF_ACK, 1001 + 200 * PIECE, 0);
	most = pool_bytes_held(h.engine->pool);
	assert_true(most > 200 * PIECE);
	/* its RST waits for --hold; the memory goes eight megabytes a second */
	assert_true(harness_advance(&h, h.now + h.config.hold + 5 * NS_PER_SEC));
	assert_int_equal(engine_sessions(h.engine), 0);
	assert_true(pool_bytes_held(h.engine->pool) < most / 10);
	assert_true(engine_next(h.engine) == UINT64_MAX);
	assert_null(harness_finish(&h));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(largest_is_shed),
		cmocka_unit_test(one_session_of_fifty),
		cmocka_unit_test(three_clients_of_three_hundred),
		cmocka_unit_test(parked_behind_a_hole),
		cmocka_unit_test(one_rule_of_three),
		cmocka_unit_test(one_network_of_ipv6),
		cmocka_unit_test(super_packets_of_many_sizes),
		cmocka_unit_test(sessions_without_data),
		cmocka_unit_test(given_back_when_drained),
		cmocka_unit_test(given_back_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
