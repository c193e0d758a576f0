/*
 * Packets inside of packets, byte by byte: each tunnel with each of its optional parts, and each length that
 * can lie.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "packet/decap.h"

#define ETHER "\x02\0\0\0\0\x01\x02\0\0\0\0\x02"
#define ETHER_IP4 ETHER "\x08\0"
#define ETHER_IP6 ETHER "\x86\xdd"
#define VXLAN "\x08\0\0\0\0\0\x07\0"
#define GENEVE "\0\0\x65\x58\0\0\x07\0"
#define INNER "the inner packet"
#define INNER_LEN 16u

static uint8_t bytes[512];
static uint32_t len;

static void put(const void *p, size_t n)
{
	memcpy(bytes + len, p, n);
	len += (uint32_t)n;
}

#define PUT(literal) put(literal, sizeof(literal) - 1)

/* An outer IPv4 packet with @protocol, whose length is filled in by done(). */
static void begin_v4(uint8_t protocol)
{
	len = 0;
	PUT(ETHER_IP4 "\x45\0\0\0\0\0\0\0\x40\0\0\0\x0a\0\0\x01\x0a\0\0\x02");
	bytes[23] = protocol;
}

static void begin_v6(uint8_t protocol)
{
	len = 0;
	PUT(ETHER_IP6 "\x60\0\0\0\0\0\0\x40");
	bytes[20] = protocol;
	for (unsigned i = 0; i < 32; i++)
		PUT("\xfd");
}

static void udp(unsigned port)
{
	const uint8_t header[8] = { 0xc0, 0, (uint8_t)(port >> 8), (uint8_t)port };

	put(header, sizeof(header));
}

static struct raw_packet done(void)
{
	const uint32_t ip = len - 14;

	if (bytes[14] >> 4 == 4) {
		bytes[16] = (uint8_t)(ip >> 8);
		bytes[17] = (uint8_t)ip;
	} else {
		bytes[18] = (uint8_t)((ip - 40) >> 8);
		bytes[19] = (uint8_t)(ip - 40);
	}
	return (struct raw_packet){ .data = bytes, .captured = len, .len = len, .link = LINK_ETHERNET };
}

/* The inner packet comes out; and of every shorter capture, nothing beyond its bytes is looked at. */
static void carries(unsigned kind, enum link_type link)
{
	struct raw_packet p = done();

	assert_true(decap(&p, 1u << kind));
	assert_int_equal(p.link, link);
	assert_int_equal(p.len, INNER_LEN);
	assert_int_equal(p.captured, INNER_LEN);
	assert_memory_equal(p.data, INNER, INNER_LEN);
	p = done();
	assert_false(decap(&p, DECAP_ALL & ~(1u << kind)));
	for (uint32_t n = 0; n < len; n++) {
		uint8_t *copy = malloc(n ? n : 1);

		memcpy(copy, bytes, n);
		p = done();
		p.data = copy;
		p.captured = n;
		if (decap(&p, DECAP_ALL)) {
			assert_true(n > len - INNER_LEN);
			assert_int_equal(p.captured, n - (len - INNER_LEN));
			assert_int_equal(p.len, INNER_LEN);
		}
		free(copy);
	}
}

static void carries_nothing(void)
{
	struct raw_packet p = done();

	assert_false(decap(&p, DECAP_ALL));
	assert_ptr_equal(p.data, bytes);
}

static void vxlan(void **state)
{
	(void)state;
	begin_v4(17);
	udp(4789);
	PUT(VXLAN INNER);
	carries(DECAP_BIT_VXLAN, LINK_ETHERNET);
	begin_v6(17);
	udp(8472);
	PUT(VXLAN INNER);
	carries(DECAP_BIT_VXLAN, LINK_ETHERNET);
	begin_v4(17);
	udp(4789);
	PUT("\0\0\0\0\0\0\x07\0" INNER); /* without a network's number */
	carries_nothing();
	begin_v4(17);
	udp(4790);
	PUT(VXLAN INNER);
	carries_nothing();
}

static void geneve(void **state)
{
	(void)state;
	begin_v4(17);
	udp(6081);
	PUT(GENEVE INNER);
	carries(DECAP_BIT_GENEVE, LINK_ETHERNET);
	begin_v4(17);
	udp(6081);
	PUT("\x02\0\x08\0\0\0\x07\0"
	    "options." INNER);
	carries(DECAP_BIT_GENEVE, LINK_IPV4);
	begin_v4(17);
	udp(6081);
	PUT("\x3f\0\x65\x58\0\0\x07\0" INNER); /* options longer than the packet */
	carries_nothing();
	begin_v4(17);
	udp(6081);
	PUT("\x40\0\x65\x58\0\0\x07\0" INNER); /* another version */
	carries_nothing();
}

static void erspan(void **state)
{
	(void)state;
	begin_v4(47);
	PUT("\0\0\x88\xbe" INNER);
	carries(DECAP_BIT_ERSPAN, LINK_ETHERNET);
	begin_v4(47);
	PUT("\x10\0\x88\xbe\0\0\0\x01\x10\0\0\0\0\0\0\0" INNER);
	carries(DECAP_BIT_ERSPAN, LINK_ETHERNET);
	begin_v4(47);
	PUT("\x10\0\x22\xeb\0\0\0\x01\x20\0\0\0\0\0\0\0\0\0\0\0" INNER);
	carries(DECAP_BIT_ERSPAN, LINK_ETHERNET);
	begin_v6(47);
	PUT("\x10\0\x22\xeb\0\0\0\x01\x20\0\0\0\0\0\0\0\0\0\0\x01platform" INNER);
	carries(DECAP_BIT_ERSPAN, LINK_ETHERNET);
	begin_v4(47);
	PUT("\x10\0\x88\xbe\0\0\0\x01\x20\0\0\0\0\0\0\0" INNER); /* another version */
	carries_nothing();
}

static void gre(void **state)
{
	(void)state;
	begin_v4(47);
	PUT("\0\0\x08\0" INNER);
	carries(DECAP_BIT_GRE, LINK_IPV4);
	begin_v4(47);
	PUT("\xb0\0\x65\x58sum.key.seq." INNER);
	carries(DECAP_BIT_GRE, LINK_ETHERNET);
	begin_v4(47);
	PUT("\x40\0\x08\0" INNER); /* a source route */
	carries_nothing();
	begin_v4(47);
	PUT("\0\x01\x08\0" INNER); /* PPTP */
	carries_nothing();
}

static void ipip(void **state)
{
	(void)state;
	begin_v4(4);
	PUT(INNER);
	carries(DECAP_BIT_IPIP, LINK_IPV4);
	begin_v6(4);
	PUT(INNER);
	carries(DECAP_BIT_IPIP, LINK_IPV4);
	begin_v4(41);
	PUT(INNER);
	carries(DECAP_BIT_IPIP, LINK_IPV6);
	begin_v4(5);
	PUT(INNER);
	carries_nothing();
	begin_v4(4);
	carries_nothing();
}

static void one_in_another(void **state)
{
	struct raw_packet p;

	(void)state;
	begin_v4(17);
	udp(4789);
	PUT(VXLAN ETHER_IP4 "\x45\0\0\x34\0\0\0\0\x40\x2f\0\0\x0a\0\0\x01\x0a\0\0\x02\0\0\x88\xbe");
	PUT(INNER "............");
	p = done();
	assert_true(decap(&p, DECAP_ALL));
	assert_memory_equal(p.data, INNER, INNER_LEN);
	assert_int_equal(p.len, 0x34 - 24);
}

static void lies(void **state)
{
	struct raw_packet p;

	(void)state;
	begin_v4(17);
	udp(4789);
	PUT(VXLAN INNER);
	p = done();
	bytes[14] = 0x44; /* a header under 20 bytes */
	assert_false(decap(&p, DECAP_ALL));
	bytes[14] = 0x4f; /* one that reaches into what follows */
	assert_false(decap(&p, DECAP_ALL));
	bytes[14] = 0x45;
	bytes[20] = 0x20; /* a fragment */
	assert_false(decap(&p, DECAP_ALL));
	bytes[20] = 0;
	bytes[16] = 0xff; /* longer than the packet */
	assert_false(decap(&p, DECAP_ALL));
	bytes[16] = 0;
	bytes[17] = 10; /* shorter than its header */
	assert_false(decap(&p, DECAP_ALL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vxlan), cmocka_unit_test(geneve), cmocka_unit_test(erspan),
		cmocka_unit_test(gre),   cmocka_unit_test(ipip),   cmocka_unit_test(one_in_another),
		cmocka_unit_test(lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
