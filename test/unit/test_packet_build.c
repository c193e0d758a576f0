/*
 * build_packet() against packets of other makers: what the kernel sent and what scapy wrote must
 * come out byte for byte when their fields go in. Then partial checksums, big lengths, and the
 * cutting of super-packets.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "packet/build.h"
#include "packet/bytes.h"
#include "packet/checksum.h"
#include "packet_vectors.h"

static struct tx_segment tx_of(const struct segment *s)
{
	struct tx_segment t = {
		.tuple = s->tuple,
		.seq = s->seq,
		.ack = s->ack,
		.window = s->window,
		.urgent = s->urgent,
		.ip_id = s->ip_id,
		.flags = s->flags,
		.ttl = s->ttl,
		.tos = s->tos,
		.df = s->df,
		.flow_label = s->flow_label,
		.options_len = s->raw_options_len,
		.payload = s->payload,
		.len = s->len,
	};

	memcpy(t.options, s->raw_options, s->raw_options_len);
	return t;
}

static void packets_come_out_as_they_went_in(void **state)
{
	size_t i, compared = 0, n;

	(void)state;
	for (i = 0; i < n_good_vectors; i++) {
		const struct good_vector *v = &good_vectors[i];
		struct raw_packet p = good_packet(v);
		uint8_t out[2048], *exact;
		struct tx_segment t;
		struct segment s;
		const uint8_t *ip;

		assert_int_equal(parse_packet(&s, &p), PARSE_OK);
		t = tx_of(&s);
		n = build_headers_len(&t) + s.len;
		ip = s.payload + s.len - n;
		/* IP options and extension headers are left out by design */
		if (s.captured == s.len && v->checksum == CHECKSUM_VERIFY && ip >= p.data &&
		    (ip[0] == 0x45 || (ip[0] >> 4 == 6 && ip[6] == 6))) {
			assert_int_equal(build_packet(out, sizeof(out), &t), n);
			if (memcmp(out, ip, n) != 0)
				fail_msg("%s", v->name);
			/* a buffer of just the size, and one that is a byte short */
			exact = malloc(n);
			assert_int_equal(build_packet(exact, n, &t), n);
			assert_int_equal(build_packet(exact, n - 1, &t), 0);
			assert_int_equal(build_packet(exact, 10, &t), 0);
			free(exact);
			compared++;
		}
		free((void *)(uintptr_t)p.data);
	}
	assert_true(compared >= 25);
}

/* What the kernel left in the field when it meant the device to finish the sum. */
static void partial_sums_are_the_kernels(void **state)
{
	size_t i, compared = 0;

	(void)state;
	for (i = 0; i < n_good_vectors; i++) {
		struct raw_packet p = good_packet(&good_vectors[i]);
		uint8_t out[BUILD_MAX_HEADERS];
		struct tx_segment t;
		struct segment s;
		size_t n;

		assert_int_equal(parse_packet(&s, &p), PARSE_OK);
		/* scapy fills in a full sum of what it was given: only packets from the kernel */
		if (good_vectors[i].checksum == CHECKSUM_PARTIAL && !strstr(good_vectors[i].name, ":")) {
			t = tx_of(&s);
			n = build_headers(out, &t, BUILD_CHECKSUM_PARTIAL);
			if (memcmp(out, s.payload - n, n) != 0)
				fail_msg("%s", good_vectors[i].name);
			compared++;
		}
		free((void *)(uintptr_t)p.data);
	}
	assert_true(compared >= 4);
}

/* Finishing a partial sum as a device does (virtio 1.2, 5.1.6.2) gives the full one. */
static void a_device_can_finish_the_sum(void **state)
{
	struct raw_packet p = good_packet(good_vector("IPv6 data"));
	uint8_t full[BUILD_MAX_HEADERS], part[BUILD_MAX_HEADERS];
	struct tx_segment t;
	struct segment s;
	uint16_t check;
	size_t n;

	(void)state;
	assert_int_equal(parse_packet(&s, &p), PARSE_OK);
	t = tx_of(&s);
	n = build_headers(full, &t, BUILD_CHECKSUM_FULL);
	assert_int_equal(build_headers(part, &t, BUILD_CHECKSUM_PARTIAL), n);
	check = csum_finish(csum_add(csum_add(0, part + 40, n - 40), t.payload, t.len));
	memcpy(part + 40 + 16, &check, 2);
	assert_memory_equal(full, part, n);
	free((void *)(uintptr_t)p.data);
}

static void big_lengths_are_zero(void **state)
{
	struct tx_segment t = { .flags = TCPF_ACK, .ttl = 64 };
	uint8_t out[BUILD_MAX_HEADERS], *payload = calloc(1, 70000);

	(void)state;
	t.payload = payload;
	assert_true(addr_parse(&t.tuple.src.addr, "10.0.0.1"));
	assert_true(addr_parse(&t.tuple.dst.addr, "10.0.0.2"));
	t.len = 65535 - 40;
	assert_int_equal(build_headers(out, &t, BUILD_CHECKSUM_PARTIAL), 40);
	assert_int_equal(get_be16(out + 2), 65535);
	t.len++;
	build_headers(out, &t, BUILD_CHECKSUM_FULL);
	assert_int_equal(get_be16(out + 2), 0);

	assert_true(addr_parse(&t.tuple.src.addr, "fd00::1"));
	assert_true(addr_parse(&t.tuple.dst.addr, "fd00::2"));
	t.len = 65535 - 20;
	assert_int_equal(build_headers(out, &t, BUILD_CHECKSUM_PARTIAL), 60);
	assert_int_equal(get_be16(out + 4), 65535);
	t.len++;
	build_headers(out, &t, BUILD_CHECKSUM_PARTIAL);
	assert_int_equal(get_be16(out + 4), 0);
	free(payload);
}

static struct tx_segment super_packet(const uint8_t *payload, uint32_t len)
{
	struct tx_segment t = {
		.seq = 0xfffffff0, /* wraps within */
		.ack = 77,
		.window = 500,
		.ip_id = 0xfffe, /* wraps, too */
		.flags = TCPF_ACK | TCPF_PSH | TCPF_FIN | TCPF_CWR | TCPF_ECE,
		.ttl = 52,
		.df = true,
		.gso_size = 1448,
		.options_len = 12,
		.options = { 1, 1, 8, 10 },
		.payload = payload,
		.len = len,
	};

	assert_true(addr_parse(&t.tuple.src.addr, "10.0.0.1"));
	assert_true(addr_parse(&t.tuple.dst.addr, "10.0.0.2"));
	return t;
}

static void pieces_make_the_whole(void **state)
{
	static const uint32_t lens[] = { 1449, 2896, 2897, 65000, 130320 };
	static const uint32_t sizes[] = { 1448, 536, 1, 65535 };
	uint8_t *payload = malloc(130320), *got = malloc(130320);
	uint32_t i, j, k, off, count;

	(void)state;
	for (i = 0; i < 130320; i++)
		payload[i] = (uint8_t)test_random();
	for (i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		struct tx_segment t = super_packet(payload, lens[i]), piece;

		for (j = 0; j < sizeof(sizes) / sizeof(*sizes); j++) {
			count = build_piece_count(&t, sizes[j]);
			assert_int_equal(count, (lens[i] + sizes[j] - 1) / sizes[j]);
			memset(got, 0, lens[i]);
			for (k = off = 0; build_piece(&piece, &t, sizes[j], k); k++) {
				assert_true(piece.len > 0 && piece.len <= sizes[j]);
				assert_int_equal(piece.seq, (uint32_t)(0xfffffff0 + off));
				assert_int_equal(piece.ip_id, (uint16_t)(0xfffe + k));
				assert_int_equal(piece.ack, 77);
				assert_int_equal(piece.options_len, 12);
				assert_int_equal(piece.gso_size, 0);
				assert_int_equal(!!(piece.flags & TCPF_CWR), k == 0);
				assert_int_equal(!!(piece.flags & TCPF_PSH), k == count - 1);
				assert_int_equal(!!(piece.flags & TCPF_FIN), k == count - 1);
				assert_true(piece.flags & TCPF_ACK && piece.flags & TCPF_ECE);
				memcpy(got + off, piece.payload, piece.len);
				off += piece.len;
			}
			assert_int_equal(k, count);
			assert_int_equal(off, lens[i]);
			assert_memory_equal(got, payload, lens[i]);
			assert_false(build_piece(&piece, &t, sizes[j], count));
		}
	}
	free(payload);
	free(got);
}

static void one_piece_is_the_segment_itself(void **state)
{
	uint8_t payload[10] = "abcdefghi";
	struct tx_segment t = super_packet(payload, 0), piece;

	(void)state;
	assert_int_equal(build_piece_count(&t, 1448), 1);
	assert_true(build_piece(&piece, &t, 1448, 0));
	assert_int_equal(piece.flags, t.flags);
	assert_false(build_piece(&piece, &t, 1448, 1));
	t.len = 10;
	assert_int_equal(build_piece_count(&t, 10), 1);
	assert_int_equal(build_piece_count(&t, 0), 1); /* no limit */
	assert_true(build_piece(&piece, &t, 0, 0));
	assert_int_equal(piece.len, 10);
	assert_int_equal(piece.seq, t.seq);
	assert_false(build_piece(&piece, &t, 0, 1));
}

static void urgent_data_and_syn_data_keep_their_bytes(void **state)
{
	uint8_t payload[30] = { 0 };
	struct tx_segment t = super_packet(payload, 30), piece;

	(void)state;
	t.flags |= TCPF_URG;
	t.urgent = 15;
	assert_true(build_piece(&piece, &t, 10, 0));
	assert_true(piece.flags & TCPF_URG);
	assert_int_equal(piece.urgent, 15);
	assert_true(build_piece(&piece, &t, 10, 1));
	assert_true(piece.flags & TCPF_URG);
	assert_int_equal(piece.urgent, 5);
	assert_true(build_piece(&piece, &t, 10, 2));
	assert_false(piece.flags & TCPF_URG);
	assert_int_equal(piece.urgent, 0);

	t.flags = TCPF_SYN;
	assert_true(build_piece(&piece, &t, 10, 0));
	assert_int_equal(piece.flags, TCPF_SYN);
	assert_int_equal(piece.seq, t.seq);
	assert_true(build_piece(&piece, &t, 10, 1));
	assert_int_equal(piece.flags, 0);
	assert_int_equal(piece.seq, t.seq + 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_come_out_as_they_went_in),
		cmocka_unit_test(partial_sums_are_the_kernels),
		cmocka_unit_test(a_device_can_finish_the_sum),
		cmocka_unit_test(big_lengths_are_zero),
		cmocka_unit_test(pieces_make_the_whole),
		cmocka_unit_test(one_piece_is_the_segment_itself),
		cmocka_unit_test(urgent_data_and_syn_data_keep_their_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
