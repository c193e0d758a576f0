/*
 * The blocks of pcapng files, byte by byte as the format has them; and that libpcap reads them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>

#include "io/file/pcapng.h"

static uint8_t block[8192];

#define IS(n, ...)                                                                                           \
	do {                                                                                                 \
		static const uint8_t expected[] = { __VA_ARGS__ };                                           \
                                                                                                             \
		assert_int_equal(n, sizeof(expected));                                                       \
		assert_memory_equal(block, expected, sizeof(expected));                                      \
	} while (0)

static void section(void **state)
{
	(void)state;
	IS(pcapng_section(block, sizeof(block), "tc 1", "why"), 0x0a, 0x0d, 0x0d, 0x0a, 48, 0, 0, 0, 0x4d,
	   0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* head */
	   4, 0, 4, 0, 't', 'c', ' ', '1', 1, 0, 3, 0, 'w', 'h', 'y', 0, 0, 0, 0, 0, 48, 0, 0, 0);
	IS(pcapng_section(block, sizeof(block), NULL, ""), 0x0a, 0x0d, 0x0d, 0x0a, 32, 0, 0, 0, 0x4d, 0x3c,
	   0x2b, 0x1a, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 32, 0, 0, 0);
}

static void interface(void **state)
{
	(void)state;
	IS(pcapng_interface(block, sizeof(block), "lo", "tcp"), 1, 0, 0, 0, 48, 0, 0, 0, 1, 0, 0, 0, 0, 0, 4,
	   0,                             /* Ethernet, 262144 */
	   2, 0, 2, 0, 'l', 'o', 0, 0,    /* its name */
	   9, 0, 1, 0, 9, 0, 0, 0,        /* nanoseconds */
	   11, 0, 4, 0, 0, 't', 'c', 'p', /* its filter, a text */
	   0, 0, 0, 0, 48, 0, 0, 0);
	IS(pcapng_interface(block, sizeof(block), "eth0", NULL), 1, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 4,
	   0, 2, 0, 4, 0, 'e', 't', 'h', '0', 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0);
}

static void packet(void **state)
{
	struct pcapng_packet p = {
		.interface = 3, .time = 0x0102030405060708, .captured = 5, .len = 1500, .comment = "s"
	};

	(void)state;
	IS(pcapng_packet(block, sizeof(block), &p, (const uint8_t *)"hello"), 6, 0, 0, 0, 60, 0, 0, 0, 3, 0,
	   0, 0,                             /* interface */
	   4, 3, 2, 1, 8, 7, 6, 5,           /* time: the upper half first */
	   5, 0, 0, 0, 0xdc, 5, 0, 0,        /* 5 bytes of 1500 */
	   'h', 'e', 'l', 'l', 'o', 0, 0, 0, /* padded */
	   1, 0, 1, 0, 's', 0, 0, 0,         /* comment */
	   2, 0, 4, 0, 1, 0, 0, 0,           /* inbound */
	   0, 0, 0, 0, 60, 0, 0, 0);
	p = (struct pcapng_packet){ .captured = 4, .len = 4, .outgoing = true };
	IS(pcapng_packet(block, sizeof(block), &p, (const uint8_t *)"abcd"), 6, 0, 0, 0, 48, 0, 0, 0, 0, 0, 0,
	   0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 'a', 'b', 'c', 'd', 2, 0, 4, 0, 2, 0, 0, 0, 0,
	   0, 0, 0, 48, 0, 0, 0);
	assert_int_equal(pcapng_packet_size(&p), 48);
}

/* What was captured without a link layer is given one. */
static void bare_packet(void **state)
{
	const struct pcapng_packet p = { .captured = 3, .len = 60, .bare = true };

	(void)state;
	IS(pcapng_packet(block, sizeof(block), &p, (const uint8_t *)"\x45zz"), 6, 0, 0, 0, 64, 0, 0, 0, 0, 0,
	   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 74, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0,
	   0x45, 'z', 'z', 0, 0, 0, 2, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0);
	assert_int_equal(pcapng_packet(block, sizeof(block), &p, (const uint8_t *)"\x60zz"), 64);
	assert_memory_equal(block + 40, "\x86\xdd\x60zz", 5);
}

static void what_does_not_fit(void **state)
{
	const struct pcapng_packet p = { .captured = 4, .len = 4 };
	static char text[PCAPNG_TEXT_MOST + 1000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	assert_int_equal(pcapng_packet(block, 47, &p, (const uint8_t *)"abcd"), 0);
	assert_int_equal(pcapng_section(block, 31, NULL, NULL), 0);
	assert_int_equal(pcapng_interface(block, 39, "eth0", NULL), 0);
	/* of a long text there is the beginning */
	assert_int_equal(pcapng_section(block, sizeof(block), NULL, text), 32 + 4 + PCAPNG_TEXT_MOST);
}

static void libpcap_reads_it(void **state)
{
	struct pcapng_packet p = {
		.interface = 1, .time = 1700000000123456789, .captured = 5, .len = 9, .comment = "x"
	};
	char words[PCAP_ERRBUF_SIZE];
	struct pcap_pkthdr *h;
	const u_char *data;
	FILE *f;
	size_t n;
	pcap_t *pcap;

	(void)state;
	n = pcapng_section(block, sizeof(block), "tcpcopy", "a comment");
	n += pcapng_interface(block + n, sizeof(block) - n, "lo", NULL);
	n += pcapng_interface(block + n, sizeof(block) - n, "eth0", "tcp port 1");
	n += pcapng_packet(block + n, sizeof(block) - n, &p, (const uint8_t *)"\x45zzzz");
	f = fmemopen(block, n, "r");
	assert_non_null(f);
	pcap = pcap_fopen_offline_with_tstamp_precision(f, PCAP_TSTAMP_PRECISION_NANO, words);
	assert_non_null(pcap);
	if (pcap_next_ex(pcap, &h, &data) != 1)
		fail_msg("%s", pcap_geterr(pcap));
	assert_int_equal(h->ts.tv_sec, 1700000000);
	assert_int_equal(h->ts.tv_usec, 123456789);
	assert_true(h->caplen == 5 && h->len == 9 && !memcmp(data, "\x45zzzz", 5));
	assert_int_equal(pcap_next_ex(pcap, &h, &data), PCAP_ERROR_BREAK);
	pcap_close(pcap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(section),
		cmocka_unit_test(interface),
		cmocka_unit_test(packet),
		cmocka_unit_test(bare_packet),
		cmocka_unit_test(what_does_not_fit),
		cmocka_unit_test(libpcap_reads_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
