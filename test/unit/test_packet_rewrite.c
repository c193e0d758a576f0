/*
 * rewrite_packet(): the changed packet must equal one built anew from the changed fields, checksums
 * included; a wrong sum must stay wrong; and what cannot be rewritten must stay as it was.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "packet/bytes.h"
#include "packet/checksum.h"
#include "packet/rewrite.h"
#include "packet_vectors.h"

/* The IP packet inside a vector, in a block of its own. */
static uint8_t *ip_packet(const char *name, size_t *len)
{
	struct raw_packet p = good_packet(good_vector(name));
	size_t link = p.link == LINK_ETHERNET ? 14 : 0;
	uint8_t *ip = malloc(p.captured - link);

	*len = p.captured - link;
	memcpy(ip, p.data + link, *len);
	free((void *)(uintptr_t)p.data);
	return ip;
}

static struct endpoint random_endpoint(bool v4)
{
	struct endpoint e = { .port = (uint16_t)test_random() };
	uint64_t r[2] = { test_random(), test_random() };

	memcpy(e.addr.b, r, 16);
	e.addr.b[0] = 0xfd; /* no multicast */
	if (v4) {
		e.addr = addr_from_v4(r);
		e.addr.b[12] = 10;
	}
	return e;
}

static void full_sums_stay_right(void **state)
{
	static const char *const names[] = { "IPv4 data",
					     "IPv6 data",
					     "IPv4 options (record route)",
					     "IPv6 hop-by-hop, destination options, routing at its end",
					     "odd payload",
					     "3 SACK blocks" };
	struct segment before, after;
	unsigned i, round;
	size_t len;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		uint8_t *ip = ip_packet(names[i], &len);
		bool v4 = ip[0] >> 4 == 4;

		for (round = 0; round < 2000; round++) {
			struct endpoint src = random_endpoint(v4), dst = random_endpoint(v4);
			struct rewrite r = {
				.src = round & 1 ? &src : NULL,
				.dst = round & 2 ? &dst : NULL,
				.set_ack = round & 4,
				.set_tsecr = round & 8,
				.ack = (uint32_t)test_random(),
				.tsecr = (uint32_t)test_random(),
			};

			assert_int_equal(parse_ip(&before, ip, (uint32_t)len, (uint32_t)len, CHECKSUM_VERIFY),
					 PARSE_OK);
			assert_true(rewrite_packet(ip, len, &r, CHECKSUM_VERIFY));
			assert_int_equal(parse_ip(&after, ip, (uint32_t)len, (uint32_t)len, CHECKSUM_VERIFY),
					 PARSE_OK);
			if (r.src)
				before.tuple.src = src;
			if (r.dst)
				before.tuple.dst = dst;
			if (r.set_ack)
				before.ack = r.ack;
			if (r.set_tsecr)
				before.opt.tsecr = r.tsecr;
			assert_true(tuple_eq(&after.tuple, &before.tuple));
			assert_int_equal(after.ack, before.ack);
			assert_int_equal(after.opt.tsecr, before.opt.tsecr);
			assert_int_equal(after.opt.tsval, before.opt.tsval);
			assert_int_equal(after.seq, before.seq);
			assert_int_equal(after.len, before.len);
		}
		free(ip);
	}
}

/* A timestamp behind one no-op: its bytes lie across the checksum's words. */
static void odd_timestamp_offset(void **state)
{
	struct rewrite r = { .set_tsecr = true, .tsecr = 0x01020304 };
	size_t len, i;
	uint8_t *ip = ip_packet("IPv4 data", &len), *o = ip + 40;
	struct segment s;
	uint16_t check;

	(void)state;
	memmove(o + 1, o + 2, 10);
	o[11] = 1;
	memset(ip + 36, 0, 2);
	check = csum_finish(csum_add(csum_add(csum_add(csum_add(0, ip + 12, 8), "\0\6", 2),
					      (uint8_t[]){ 0, (uint8_t)(len - 20) }, 2),
				     ip + 20, len - 20));
	memcpy(ip + 36, &check, 2);
	for (i = 0; i < 1000; i++) {
		assert_true(rewrite_packet(ip, len, &r, CHECKSUM_VERIFY));
		assert_int_equal(parse_ip(&s, ip, (uint32_t)len, (uint32_t)len, CHECKSUM_VERIFY), PARSE_OK);
		assert_int_equal(s.opt.tsecr, r.tsecr);
		r.tsecr = (uint32_t)test_random();
	}
	free(ip);
}

static void partial_sums_stay_partial(void **state)
{
	size_t len;
	uint8_t *ip = ip_packet("partial checksum", &len);
	unsigned round;

	(void)state;
	for (round = 0; round < 1000; round++) {
		struct endpoint src = random_endpoint(true), dst = random_endpoint(true);
		struct rewrite r = { .src = &src, .dst = &dst, .set_ack = true, .set_tsecr = true };
		uint16_t want = csum_fold(csum_pseudo(&src.addr, &dst.addr, (uint32_t)len - 20));

		r.ack = r.tsecr = (uint32_t)test_random();
		assert_true(rewrite_packet(ip, len, &r, CHECKSUM_PARTIAL));
		assert_memory_equal(ip + 36, &want, 2);
		assert_int_equal(csum_fold(csum_add(0, ip, 20)), 0xffff);
	}
	free(ip);
}

static void damage_is_not_repaired(void **state)
{
	struct endpoint dst = random_endpoint(true);
	struct rewrite r = { .dst = &dst, .set_ack = true, .ack = 1 };
	size_t len;
	uint8_t *ip = ip_packet("IPv4 data", &len);
	struct segment s;

	(void)state;
	ip[len - 1] ^= 0x20;
	assert_true(rewrite_packet(ip, len, &r, CHECKSUM_TRUSTED));
	assert_int_equal(parse_ip(&s, ip, (uint32_t)len, (uint32_t)len, CHECKSUM_VERIFY), PARSE_BAD_CHECKSUM);
	ip[len - 1] ^= 0x20;
	assert_int_equal(parse_ip(&s, ip, (uint32_t)len, (uint32_t)len, CHECKSUM_VERIFY), PARSE_OK);
	free(ip);
}

static void refused_packets_are_untouched(void **state)
{
	struct endpoint v4 = random_endpoint(true), v6 = random_endpoint(false);
	struct rewrite wrong_family = { .src = &v4, .dst = &v6, .set_ack = true, .ack = 1 };
	struct rewrite right = { .src = &v4, .dst = &v4 };
	size_t len;
	uint8_t *ip = ip_packet("IPv4 data", &len), *copy = malloc(len);

	(void)state;
	memcpy(copy, ip, len);
	assert_false(rewrite_packet(ip, len, &wrong_family, CHECKSUM_VERIFY));
	assert_memory_equal(ip, copy, len);
	assert_false(rewrite_packet(ip, len - 1, &right, CHECKSUM_VERIFY));
	assert_memory_equal(ip, copy, len);
	ip[9] = copy[9] = 17;
	assert_false(rewrite_packet(ip, len, &right, CHECKSUM_VERIFY));
	assert_memory_equal(ip, copy, len);
	free(ip);
	free(copy);
}

/* No timestamp to set: the rest is still done. */
static void tsecr_without_timestamps(void **state)
{
	struct rewrite r = { .set_ack = true, .set_tsecr = true, .ack = 99, .tsecr = 5 };
	size_t len;
	uint8_t *ip = ip_packet("Ethernet padding", &len);
	struct segment s;

	(void)state;
	len -= 6;
	assert_true(rewrite_packet(ip, len, &r, CHECKSUM_VERIFY));
	assert_int_equal(parse_ip(&s, ip, (uint32_t)len, (uint32_t)len, CHECKSUM_VERIFY), PARSE_OK);
	assert_int_equal(s.ack, 99);
	free(ip);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_sums_stay_right),          cmocka_unit_test(odd_timestamp_offset),
		cmocka_unit_test(partial_sums_stay_partial),     cmocka_unit_test(damage_is_not_repaired),
		cmocka_unit_test(refused_packets_are_untouched), cmocka_unit_test(tsecr_without_timestamps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
