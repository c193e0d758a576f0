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

static struct flow_key client(unsigned i)
{
	struct flow_key k = { .client.port = (uint16_t)(40000 + i), .online.port = 6379 };

	assert_true(addr_parse(&k.client.addr, "10.0.0.1") && addr_parse(&k.online.addr, "10.0.0.2"));
	return k;
}

static void captured(struct harness *h, unsigned i, uint8_t flags, uint32_t seq, uint32_t len)
{
	static const uint8_t zeros[PIECE];
	struct flow_key k = client(i);
	struct segment s = {
		.tuple = { k.client, k.online },
		.time = h->now,
		.seq = seq,
		.ack = 9001,
		.flags = flags,
		.window = 1000,
		.len = len,
		.captured = len,
		.payload = zeros,
	};

	harness_captured(h, &k, &s);
}

/* A connection whose target takes nothing: what its client sends stays in memory. */
static void open_stuck(struct harness *h, unsigned i)
{
	struct flow_key k = client(i);
	struct tuple response = { h->target[0], k.client };

	captured(h, i, TCPF_SYN, 1000, 0);
	harness_response(h, &(struct response){ .id = harness_watched(h, &response, 0),
						.seq = 5000,
						.ack = 1001,
						.flags = TCPF_SYN | TCPF_ACK });
	captured(h, i, TCPF_ACK, 1001, 0);
}

static void upload(struct harness *h, unsigned i, unsigned pieces)
{
	for (unsigned n = 0; n < pieces; n++)
		captured(h, i, TCPF_ACK, 1001 + n * PIECE, PIECE);
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
	upload(&h, 1, 100);
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
		cmocka_unit_test(given_back_when_drained),
		cmocka_unit_test(given_back_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
