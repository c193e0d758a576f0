/*
 * The checksum against a reference that follows RFC 1071's words literally, at every small length
 * and alignment.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "packet/bytes.h"
#include "packet/checksum.h"
#include "packet_vectors.h"

/* Host byte order: 16-bit big-endian words, carries added back at each step. */
static uint16_t reference(const uint8_t *p, size_t len, uint32_t sum)
{
	size_t i;

	for (i = 0; i + 1 < len; i += 2) {
		sum += (uint32_t)p[i] << 8 | p[i + 1];
		sum = (sum & 0xffff) + (sum >> 16);
	}
	if (len & 1) {
		sum += (uint32_t)p[len - 1] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)sum;
}

static uint16_t folded(const uint8_t *p, size_t len)
{
	return be16toh(csum_fold(csum_add(0, p, len)));
}

static void the_example_of_rfc_1071(void **state)
{
	static const uint8_t b[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };

	(void)state;
	assert_int_equal(folded(b, sizeof(b)), 0xddf2);
	assert_int_equal(be16toh(csum_finish(csum_add(0, b, sizeof(b)))), 0x220d);
}

static void every_length_and_alignment(void **state)
{
	size_t len, align, i;

	(void)state;
	for (len = 0; len < 300; len++) {
		for (align = 0; align < 8; align++) {
			uint8_t *block = malloc(align + len + 1), *p = block + align;

			for (i = 0; i < len; i++)
				p[i] = (uint8_t)test_random();
			/* cppcheck-suppress memleakOnRealloc ; without memory there is no test */
			block = realloc(block, align + len + !len);
			p = block + align;
			assert_int_equal(folded(p, len), reference(p, len, 0));
			free(block);
		}
	}
}

static void carries_are_kept(void **state)
{
	size_t len;
	uint8_t *p = malloc(65535);

	(void)state;
	memset(p, 0xff, 65535);
	for (len = 1; len < 65535; len += 977)
		assert_int_equal(folded(p, len), reference(p, len, 0));
	assert_int_equal(folded(p, 65535), reference(p, 65535, 0));
	/* a start value that leaves no room */
	assert_int_equal(csum_fold(csum_add(UINT64_MAX, p, 64)), 0xffff);
	assert_int_equal(csum_fold(UINT64_MAX), 0xffff);
	assert_int_equal(csum_fold(0), 0);
	assert_int_equal(csum_fold(0xffff0001), 1);
	assert_int_equal(csum_fold(0x1fffe), 0xffff);
	free(p);
}

static void sums_may_be_taken_in_parts(void **state)
{
	uint8_t b[1500];
	size_t i, cut;

	(void)state;
	for (i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)test_random();
	for (cut = 0; cut <= sizeof(b); cut += 2) {
		uint64_t sum = csum_add(0, b, cut);

		assert_true(sum < 1ull << 33);
		assert_int_equal(csum_fold(csum_add(sum, b + cut, sizeof(b) - cut)),
				 csum_fold(csum_add(0, b, sizeof(b))));
	}
}

/* Against the pseudo-headers written out, lengths over 16 bits included. */
static void pseudo_headers(void **state)
{
	static const uint32_t lens[] = { 20, 0xffff, 0x10000, 200000 };
	struct addr a, b;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		uint8_t h[40] = { 0 };

		assert_true(addr_parse(&a, "10.90.114.82") && addr_parse(&b, "10.90.111.142"));
		memcpy(h, addr_v4_bytes(&a), 4);
		memcpy(h + 4, addr_v4_bytes(&b), 4);
		h[9] = 6;
		put_be32(h + 10, lens[i]); /* 32 bits: zero above for what IPv4 can say */
		assert_int_equal(be16toh(csum_fold(csum_pseudo(&a, &b, lens[i]))), reference(h, 14, 0));

		memset(h, 0, sizeof(h));
		assert_true(addr_parse(&a, "fd00:90::114:82") && addr_parse(&b, "fd00:90::111:142"));
		memcpy(h, a.b, 16);
		memcpy(h + 16, b.b, 16);
		put_be32(h + 32, lens[i]);
		h[39] = 6;
		assert_int_equal(be16toh(csum_fold(csum_pseudo(&a, &b, lens[i]))), reference(h, 40, 0));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_of_rfc_1071), cmocka_unit_test(every_length_and_alignment),
		cmocka_unit_test(carries_are_kept),        cmocka_unit_test(sums_may_be_taken_in_parts),
		cmocka_unit_test(pseudo_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
