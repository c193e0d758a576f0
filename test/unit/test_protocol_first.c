/*
 * What a client speaks, from literal bytes: each protocol as its own clients write it, and for each a near
 * miss that differs in one place and must not be taken for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "protocol/protocol.h"

#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1

struct beginning {
	const char *what;
	enum protocol is;
	const uint8_t *bytes;
	size_t len;
};

/* In memory of just that size, so that a byte too many that is read is found. */
static enum protocol told(enum protocol (*by)(const uint8_t *, uint32_t), const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum protocol p;

	memcpy(copy, bytes, len);
	p = by(copy, (uint32_t)len);
	free(copy);
	return p;
}

static void all_told(enum protocol (*by)(const uint8_t *, uint32_t), const struct beginning *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		enum protocol p = told(by, b[i].bytes, b[i].len);

		if (p != b[i].is)
			fail_msg("%s: %s, not %s", b[i].what, protocol_name(p), protocol_name(b[i].is));
	}
}

#define LOGIN_MYSQL                                                                                          \
	"\x54\0\0\1\x85\xa6\xff\1\0\0\0\1\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"                 \
	"app\0\x14"                                                                                          \
	"01234567890123456789shop\0mysql_native_password\0"

static const struct beginning firsts[] = {
	{ "a GET", PROTOCOL_HTTP1, BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n") },
	{ "HTTP/1.0", PROTOCOL_HTTP1, BYTES("HEAD /x HTTP/1.0\r\n\r\n") },
	{ "a bare line feed", PROTOCOL_HTTP1, BYTES("GET / HTTP/1.1\n\n") },
	{ "WebDAV", PROTOCOL_HTTP1, BYTES("PROPFIND /a HTTP/1.1\r\n") },
	{ "the line goes on", PROTOCOL_HTTP1,
	  BYTES("GET /0123456789012345678901234567890123456789012345678901234567890123456789 HTTP/1.1\r\n") },
	{ "HTTP/0.9", PROTOCOL_UNKNOWN, BYTES("GET /\r\n") },
	{ "HTTP/3 is none of ours", PROTOCOL_UNKNOWN, BYTES("GET / HTTP/3.0\r\n") },
	{ "RTSP", PROTOCOL_UNKNOWN, BYTES("OPTIONS rtsp://a RTSP/1.0\r\n") },
	{ "SIP", PROTOCOL_UNKNOWN, BYTES("INVITE sip:a SIP/2.0\r\n") },
	{ "a method in small letters", PROTOCOL_UNKNOWN, BYTES("Get / HTTP/1.1\r\n") },
	{ "HTTP/2", PROTOCOL_HTTP2, BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\4\0\0\0\0\0") },
	{ "half a preface", PROTOCOL_UNKNOWN, BYTES("PRI * HTTP/2.0\r\n\r\nXX") },
	{ "TLS 1.0 to 1.3", PROTOCOL_TLS, BYTES("\x16\3\1\2\0\1\0\1\xfc\3\3") },
	{ "a ServerHello", PROTOCOL_UNKNOWN, BYTES("\x16\3\3\0\x7a\2\0\0\x76\3\3") },
	{ "a record of TLS that is too long", PROTOCOL_UNKNOWN, BYTES("\x16\3\1\x7f\xff\1\0\1\xfc") },
	{ "TLS, cut before the handshake", PROTOCOL_UNKNOWN, BYTES("\x16\3\1\2\0") },
	{ "PostgreSQL 3.0", PROTOCOL_POSTGRESQL, BYTES("\0\0\0\x1a\0\3\0\0user\0app\0database\0d\0\0") },
	{ "an SSLRequest", PROTOCOL_POSTGRESQL, BYTES("\0\0\0\x8\x4\xd2\x16\x2f") },
	{ "a GSSENCRequest", PROTOCOL_POSTGRESQL, BYTES("\0\0\0\x8\x4\xd2\x16\x30") },
	{ "a CancelRequest", PROTOCOL_POSTGRESQL, BYTES("\0\0\0\x10\x4\xd2\x16\x2e\0\0\1\2\3\4\5\6") },
	{ "an SSLRequest of 9 bytes", PROTOCOL_UNKNOWN, BYTES("\0\0\0\x9\x4\xd2\x16\x2f\0") },
	{ "PostgreSQL 2", PROTOCOL_UNKNOWN, BYTES("\0\0\1\x28\0\2\0\0user\0app\0") },
	{ "a login of MySQL", PROTOCOL_MYSQL, BYTES(LOGIN_MYSQL) },
	{ "MySQL, packet 0", PROTOCOL_UNKNOWN,
	  BYTES("\x20\0\0\0\x85\xa6\xff\1\0\0\0\1\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0") },
	{ "MySQL, a used byte in the filler", PROTOCOL_UNKNOWN,
	  BYTES("\x20\0\0\1\x85\xa6\xff\1\0\0\0\1\x2d\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0") },
	{ "redis", PROTOCOL_REDIS, BYTES("*2\r\n$4\r\nINCR\r\n$1\r\nx\r\n") },
	{ "redis, the number alone", PROTOCOL_REDIS, BYTES("*2\r\n") },
	{ "redis, a line", PROTOCOL_REDIS, BYTES("PING\r\n") },
	{ "a star without a number", PROTOCOL_UNKNOWN, BYTES("*\r\n$4\r\n") },
	{ "a number and no length", PROTOCOL_UNKNOWN, BYTES("*2\r\n:4\r\n") },
	{ "memcached", PROTOCOL_MEMCACHED, BYTES("set k 0 0 5\r\nhello\r\n") },
	{ "memcached, meta", PROTOCOL_MEMCACHED, BYTES("mg k v\r\n") },
	{ "memcached, binary", PROTOCOL_MEMCACHED,
	  BYTES("\x80\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0k") },
	{ "binary, a key longer than the body", PROTOCOL_UNKNOWN,
	  BYTES("\x80\0\0\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0k") },
	{ "memcached, no answer wanted", PROTOCOL_MEMCACHED, BYTES("add k 0 -1 5 noreply\r\nhello\r\n") },
	{ "memcached, a line that goes on", PROTOCOL_MEMCACHED,
	  BYTES("set a_key_of_a_length_such_that_the_line_goes") },
	{ "a set typed to redis", PROTOCOL_UNKNOWN, BYTES("set k 0\r\n") },
	{ "a set with more words", PROTOCOL_UNKNOWN, BYTES("set k v EX 10\r\n") },
	{ "a word that goes on", PROTOCOL_UNKNOWN, BYTES("settle k 0 0 5\r\n") },
	{ "MQTT 3.1.1", PROTOCOL_MQTT, BYTES("\x10\xe\0\4MQTT\4\2\0\x3c\0\2ab") },
	{ "MQTT 3.1", PROTOCOL_MQTT, BYTES("\x10\x10\0\6MQIsdp\3\2\0\x3c\0\2ab") },
	{ "another name", PROTOCOL_UNKNOWN, BYTES("\x10\xe\0\4MQTZ\4\2\0\x3c\0\2ab") },
	{ "AMQP 0-9-1", PROTOCOL_AMQP, BYTES("AMQP\0\0\x9\1") },
	{ "AMQP 1.0 with SASL", PROTOCOL_AMQP, BYTES("AMQP\3\1\0\0") },
	{ "half of AMQP", PROTOCOL_UNKNOWN, BYTES("AMQP") },
	{ "SSH", PROTOCOL_SSH, BYTES("SSH-2.0-OpenSSH_9.2p1\r\n") },
	{ "SSH 3", PROTOCOL_UNKNOWN, BYTES("SSH-3.0-x\r\n") },
	{ "SMTP", PROTOCOL_SMTP, BYTES("EHLO client.example\r\n") },
	{ "SMTP in small letters", PROTOCOL_SMTP, BYTES("helo a\r\n") },
	{ "a greeting", PROTOCOL_UNKNOWN, BYTES("HELLO there\r\n") },
	{ "FTP", PROTOCOL_FTP, BYTES("USER anonymous\r\n") },
	{ "another verb", PROTOCOL_UNKNOWN, BYTES("USERS\r\n") },
	{ "one byte", PROTOCOL_UNKNOWN, BYTES("G") },
	{ "nothing", PROTOCOL_NONE, BYTES("") },
	{ "zeros", PROTOCOL_UNKNOWN,
	  BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0") },
};

/* 200 bytes, of which the first 64 are text or are not */
#define TEXT_64 "SELECT name, price FROM articles WHERE id IN (1, 2, 3) ORDER BY "
#define MORE_200 TEXT_64 TEXT_64 TEXT_64 "12345678"
#define BINARY "\xf6\x9aU\xd7\xcc&\x8f\x9d\2"

static const struct beginning middles[] = {
	{ "a GET", PROTOCOL_HTTP1, BYTES("GET / HTTP/1.1\r\n\r\n") },
	{ "redis", PROTOCOL_REDIS, BYTES("*2\r\n$4\r\nINCR\r\n$1\r\nx\r\n") },
	{ "memcached", PROTOCOL_MEMCACHED, BYTES("get k\r\n") },
	{ "application data of TLS", PROTOCOL_TLS, BYTES("\x17\3\3\0\x1cxxxxxxxxxxxxxxxxxxxxxxxxxxxx") },
	{ "TLS 2", PROTOCOL_UNKNOWN, BYTES("\x17\2\3\0\x1cxxxxxxxxxxxxxxxxxxxxxxxxxxxx") },
	{ "a query of PostgreSQL", PROTOCOL_POSTGRESQL, BYTES("Q\0\0\0\xdSELECT 1\0") },
	{ "Parse and Sync", PROTOCOL_POSTGRESQL, BYTES("P\0\0\0\x10\0SELECT 1\0\0\0S\0\0\0\4") },
	{ "the beginning of a long query", PROTOCOL_POSTGRESQL, BYTES("Q\0\0\x10\0" MORE_200) },
	{ "the beginning of a long Parse", PROTOCOL_POSTGRESQL, BYTES("P\0\0\x10\0name\0" MORE_200) },
	{ "a long Q that is no query", PROTOCOL_UNKNOWN, BYTES("Q\0\x0a\xf2\xe4" BINARY MORE_200) },
	{ "a long P that is no Parse", PROTOCOL_UNKNOWN, BYTES("P\0\x0a\xf2\xe4s\0" BINARY MORE_200) },
	{ "a P without the end of a name", PROTOCOL_UNKNOWN, BYTES("P\0\x0a\xf2\xe4" MORE_200) },
	{ "the beginning of a long query of MySQL", PROTOCOL_MYSQL, BYTES("\0\x10\0\0\3" MORE_200) },
	{ "a long 3 that is no query", PROTOCOL_UNKNOWN, BYTES("\0\x10\0\0\3x" BINARY MORE_200) },
	{ "a query with a byte too many", PROTOCOL_UNKNOWN, BYTES("Q\0\0\0\xcSELECT 1\0") },
	{ "a query of MySQL", PROTOCOL_MYSQL, BYTES("\x9\0\0\0\3SELECT 1") },
	{ "a ping of MySQL", PROTOCOL_MYSQL, BYTES("\1\0\0\0\x0e") },
	{ "a command that there is not", PROTOCOL_UNKNOWN, BYTES("\1\0\0\0\x15") },
	{ "a query with a byte too few", PROTOCOL_UNKNOWN, BYTES("\x8\0\0\0\3SELECT 1") },
	{ "WINDOW_UPDATE and HEADERS", PROTOCOL_HTTP2,
	  BYTES("\0\0\4\x8\0\0\0\0\0\0\0\xff\xff\0\0\3\1\5\0\0\0\3\x82\x86\x84") },
	{ "a frame that is cut", PROTOCOL_UNKNOWN, BYTES("\0\0\4\x8\0\0\0\0\0\0\0\xff") },
	{ "a PUBLISH", PROTOCOL_MQTT, BYTES("\x30\x7\0\3a/bhi") },
	{ "a PUBLISH of QoS 3", PROTOCOL_UNKNOWN, BYTES("\x36\x7\0\3a/bhi") },
	{ "a PUBLISH without room for its topic", PROTOCOL_UNKNOWN, BYTES("\x32\1\0") },
	{ "a PINGREQ", PROTOCOL_MQTT, BYTES("\xc0\0") },
	{ "two PUBACKs", PROTOCOL_MQTT, BYTES("\x40\2\0\1\x40\2\0\2") },
	{ "a method of AMQP", PROTOCOL_AMQP, BYTES("\1\0\1\0\0\0\4\0\x3c\0\x28\xce") },
	{ "a frame without its end", PROTOCOL_UNKNOWN, BYTES("\1\0\1\0\0\0\4\0\x3c\0\x28\xcf") },
	{ "a masked frame", PROTOCOL_WEBSOCKET,
	  BYTES("\x81\x82"
		"mask"
		"hi") },
	{ "one that is not masked", PROTOCOL_UNKNOWN,
	  BYTES("\x81\x6"
		"maskhi") },
	{ "SMTP", PROTOCOL_SMTP, BYTES("MAIL FROM:<a@example>\r\n") },
	{ "FTP", PROTOCOL_FTP, BYTES("STOR file\r\n") },
	{ "text", PROTOCOL_UNKNOWN, BYTES("hello\r\n") },
	{ "zeros", PROTOCOL_UNKNOWN, BYTES("\0\0\0\0") },
};

static void test_first_bytes_name_the_protocol(void **state)
{
	(void)state;
	all_told(protocol_first, firsts, ARRAY_SIZE(firsts));
}

static void test_a_turn_in_the_middle_names_it_too(void **state)
{
	(void)state;
	all_told(protocol_middle, middles, ARRAY_SIZE(middles));
}

/* More bytes never change what is told, from as many as have to be there. */
static void test_what_follows_the_first_64_bytes_does_not_matter(void **state)
{
	uint8_t long_one[400];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(firsts); i++) {
		enum protocol before;

		if (firsts[i].len < PROTOCOL_FIRST)
			continue;
		memcpy(long_one, firsts[i].bytes, PROTOCOL_FIRST);
		memset(long_one + PROTOCOL_FIRST, 0xff, sizeof(long_one) - PROTOCOL_FIRST);
		before = told(protocol_first, firsts[i].bytes, PROTOCOL_FIRST);
		assert_int_equal(told(protocol_first, long_one, sizeof(long_one)), before);
		assert_int_equal(before, firsts[i].is);
	}
}

static void test_a_proxy_header_has_a_length(void **state)
{
	static const struct {
		uint32_t is;
		const uint8_t *bytes;
		size_t len;
	} headers[] = {
		{ 40, BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\nGET /") },
		{ 15, BYTES("PROXY UNKNOWN\r\n") },
		{ 0, BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1000 80") },
		{ 0, BYTES("PROXY TCP5 192.0.2.1 192.0.2.2 1000 80\r\n") },
		{ 28, BYTES("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
			    "aaaabbbbccdd"
			    "GET /") },
		{ 0, BYTES("\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c"
			   "aaaabbbbccdd") },
		{ 0, BYTES("GET / HTTP/1.1\r\n") },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		assert_int_equal(protocol_proxy_header(headers[i].bytes, (uint32_t)headers[i].len),
				 headers[i].is);
}

static const uint8_t hello[] = {
	0x16, 3,    1,   0,    0x5b, 1,   0,  0,   0x57, 3,   3, /* record, handshake, version */
	1,    2,    3,   4,    5,    6,   7,  8,   9,    10,  11,  12,  13,  14,  15,  16,  17,  18,
	19,   20,   21,  22,   23,   24,  25, 26,  27,   28,  29,  30,  31,  32, /* random */
	0,    0,    2,   0x13, 1,    1,   0,  0,   0x2c, /* session, ciphers, compression, extensions */
	0,    0,    0,   0x11, 0,    0xf, 0,  0,   0xc,  's', 'h', 'o', 'p', '.', 'e', 'x', 'a', 'm',
	'p',  'l',  'e', 0,    0x2b, 0,   3,  2,   3,    4, /* supported_versions */
	0,    0x10, 0,   0xe,  0,    0xc, 2,  'h', '2',  8,   'h', 't', 't', 'p', '/', '1', '.', '1',
};

static void test_a_client_hello_has_names(void **state)
{
	struct protocol_hello h;

	(void)state;
	protocol_client_hello(&h, hello, sizeof(hello));
	assert_int_equal(h.sni_len, 12);
	assert_memory_equal(h.sni, "shop.example", 12);
	assert_int_equal(h.alpn_len, 2);
	assert_memory_equal(h.alpn, "h2", 2);
	for (size_t n = 0; n < sizeof(hello); n++) { /* wherever it is cut */
		uint8_t *cut = malloc(n ? n : 1);

		memcpy(cut, hello, n);
		protocol_client_hello(&h, cut, (uint32_t)n);
		assert_true(!h.sni_len || h.sni + h.sni_len <= cut + n);
		assert_int_equal(h.sni_len, n < sizeof(hello) - 25 ? 0 : 12);
		assert_int_equal(h.alpn_len, 0);
		free(cut);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_bytes_name_the_protocol),
		cmocka_unit_test(test_a_turn_in_the_middle_names_it_too),
		cmocka_unit_test(test_what_follows_the_first_64_bytes_does_not_matter),
		cmocka_unit_test(test_a_proxy_header_has_a_length),
		cmocka_unit_test(test_a_client_hello_has_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
