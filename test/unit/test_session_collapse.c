/*
 * Tiny segments: whoever sends a byte in each does not make it cost two hundred, in whatever order they
 * come, and the target gets the same bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "session/impl.h"
#include "session_harness.h"

#define BYTES 20000u
#define FIRST 1001u /* the sequence number of the first byte */

static const struct flow_key key = {
	.client = { { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1 } }, 40000 },
	.online = { { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 2 } }, 6379 },
};

static uint8_t byte_at(uint32_t seq)
{
	return (uint8_t)(seq * 2654435761u >> 24);
}

/* Captured, without the check of everything that follows each step of the harness. */
static void captured(struct harness *h, uint8_t flags, uint32_t seq, uint32_t len, uint32_t ack)
{
	uint8_t data[8];
	struct segment s = {
		.tuple = { key.client, key.online },
		.time = h->now,
		.seq = seq,
		.ack = ack,
		.flags = flags,
		.window = 1000,
		.len = len,
		.captured = len,
		.payload = data,
	};

	for (uint32_t i = 0; i < len; i++)
		data[i] = byte_at(seq + i);
	engine_captured(h->engine, &key, &s, h->now);
	engine_captured_all(h->engine, h->now);
	engine_flushed(h->engine);
}

static void begin(struct harness *h)
{
	struct tuple response;

	harness_init(h);
	harness_start(h, true);
	response = (struct tuple){ h->target[0], key.client };
	captured(h, TCPF_SYN, FIRST - 1, 0, 0);
	harness_response(h, &(struct response){ .id = harness_watched(h, &response, 0),
						.seq = 5000,
						.ack = FIRST,
						.window = 0,
						.flags = TCPF_SYN | TCPF_ACK });
	captured(h, TCPF_ACK, FIRST, 0, 9001);
}

/* The target takes everything up to @end: what it gets is what was sent. */
static void delivered(struct harness *h, uint32_t end)
{
	const struct tuple response = { h->target[0], key.client };
	struct response r = {
		.id = harness_watched(h, &response, 0),
		.seq = 5001,
		.ack = FIRST,
		.window = 60000,
		.flags = TCPF_ACK,
	};
	struct harness_emission *m;
	uint32_t at = FIRST;

	while ((m = harness_take(h)))
		harness_emission_free(m);
	while (seq_lt(at, end)) {
		const uint32_t before = at;

		r.ack = at;
		harness_response(h, &r);
		while ((m = harness_take(h))) {
			if (m->t.len)
				assert_int_equal(m->t.seq, at);
			for (uint32_t i = 0; i < m->t.len; i++)
				assert_int_equal(m->payload[i], byte_at(at + i));
			at += m->t.len;
			harness_emission_free(m);
		}
		assert_int_not_equal(at, before);
	}
	assert_int_equal(at, end);
	r.ack = end;
	harness_response(h, &r);
	assert_int_equal(engine_live_bytes(h->engine), 0);
}

static void check_memory(struct harness *h, size_t most)
{
	engine_check(h->engine);
	assert_int_equal(engine_live_bytes(h->engine), BYTES);
	assert_true(engine_memory(h->engine) <= most);
}

/* A byte each: 64 KiB may be held uncollapsed, and as much again before it is worth a look. */
#define LITTLE (BYTES * 3u / 2u + 2u * 65536u)

static void in_order_but_held(void **state)
{
	struct harness h;

	(void)state;
	begin(&h);
	for (uint32_t i = 0; i < BYTES; i++)
		captured(&h, i % 3 ? TCPF_ACK : TCPF_ACK | TCPF_PSH, FIRST + i, 1, 9001);
	check_memory(&h, LITTLE);
	delivered(&h, FIRST + BYTES);
	assert_null(harness_finish(&h));
}

/* Behind a hole of one byte, which is filled last; @step is prime to BYTES: every byte comes once. */
static void behind_a_hole(unsigned step, size_t most)
{
	struct harness h;

	begin(&h);
	for (uint32_t i = 0; i < BYTES; i++)
		captured(&h, TCPF_ACK, FIRST + 1 + (uint32_t)((uint64_t)i * step % BYTES), 1, 9001);
	check_memory(&h, most);
	captured(&h, TCPF_ACK, FIRST, 1, 9001);
	delivered(&h, FIRST + 1 + BYTES);
	assert_null(harness_finish(&h));
}

static void ascending(void **state)
{
	(void)state;
	behind_a_hole(1, LITTLE);
}

static void descending(void **state)
{
	(void)state;
	behind_a_hole(BYTES - 1, LITTLE);
}

static void in_no_order(void **state)
{
	(void)state;
	behind_a_hole(7919, (size_t)BYTES * 20); /* there are gaps between them for long */
}

/* Boundaries of turns stay: each piece that opens one is one. */
static void turns_stay(void **state)
{
	struct harness h;

	(void)state;
	begin(&h);
	for (uint32_t i = 0; i < 2000; i++)
		captured(&h, TCPF_ACK, FIRST + i, 1, 9001 + i / 100);
	engine_check(h.engine);
	assert_int_equal(engine_turns_waiting(h.engine), 19);
	assert_null(harness_finish(&h));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order_but_held), cmocka_unit_test(ascending),
		cmocka_unit_test(descending),        cmocka_unit_test(in_no_order),
		cmocka_unit_test(turns_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
