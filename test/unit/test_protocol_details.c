/*
 * What a session asks for, and what follows from it: turns of literal bytes, as the clients of the trial sent
 * them. "|" has no meaning in them; each string is a turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "protocol/protocol.h"

struct turn {
	const char *bytes;
	uint32_t len;
};
#define TURN(literal)                                                                                        \
	{                                                                                                    \
		literal, sizeof(literal) - 1                                                                 \
	}
#define D(detail) (1u << DETAIL_##detail)

#define CLIENT_HELLO "\x16\3\1\0\x6\1\0\0\2\3\3"
#define SSL_REQUEST "\0\0\0\x8\x4\xd2\x16\x2f"
#define GSS_REQUEST "\0\0\0\x8\x4\xd2\x16\x30"
#define STARTUP "\0\0\0\x1a\0\3\0\0user\0app\0database\0d\0\0"
#define CAPS(low) low "\xa6\x3f\0\0\0\0\1\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

static const struct {
	const char *what;
	struct turn turn[6];
	enum protocol is;
	uint32_t details;
} sessions[] = {
	{ "HTTP", { TURN("GET / HTTP/1.1\r\nHost: a\r\n\r\n") }, PROTOCOL_HTTP1, 0 },
	{ "an upgrade",
	  { TURN("GET / HTTP/1.1\r\nHost: a\r\nupgrade:  WebSocket\r\n\r\n") },
	  PROTOCOL_HTTP1,
	  D(WEBSOCKET) },
	{ "an upgrade to h2c", { TURN("GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n") }, PROTOCOL_HTTP1, 0 },
	{ "what looks like a header in a body",
	  { TURN("POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nAuthorization: Digest a\r\n") },
	  PROTOCOL_HTTP1,
	  0 },
	{ "Digest in the second turn",
	  { TURN("GET / HTTP/1.1\r\n\r\n"),
	    TURN("GET / HTTP/1.1\r\nAuthorization: Digest username=\"a\"\r\n\r\n") },
	  PROTOCOL_HTTP1,
	  D(DIGEST) },
	{ "Basic", { TURN("GET / HTTP/1.1\r\nAuthorization: Basic YTpi\r\n\r\n") }, PROTOCOL_HTTP1, 0 },
	{ "Digest in the fourth turn is not looked at",
	  { TURN("GET / HTTP/1.1\r\n\r\n"), TURN("GET / HTTP/1.1\r\n\r\n"), TURN("GET / HTTP/1.1\r\n\r\n"),
	    TURN("GET / HTTP/1.1\r\nAuthorization: Digest a\r\n\r\n") },
	  PROTOCOL_HTTP1,
	  0 },
	{ "TLS", { TURN(CLIENT_HELLO) }, PROTOCOL_TLS, D(ENCRYPTED) },
	{ "TLS behind a PROXY header",
	  { TURN("PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n" CLIENT_HELLO) },
	  PROTOCOL_TLS,
	  D(PROXY) | D(ENCRYPTED) },
	{ "SSH", { TURN("SSH-2.0-OpenSSH_9.2p1\r\n") }, PROTOCOL_SSH, D(SSH_KEYS) },
	{ "PostgreSQL, trust", { TURN(STARTUP), TURN("Q\0\0\0\xdSELECT 1\0") }, PROTOCOL_POSTGRESQL, 0 },
	{ "PostgreSQL, md5",
	  { TURN(STARTUP), TURN("p\0\0\0\x28md50123456789abcdef0123456789abcdef\0") },
	  PROTOCOL_POSTGRESQL,
	  D(POSTGRESQL_MD5) },
	{ "PostgreSQL, a password that begins like one",
	  { TURN(STARTUP), TURN("p\0\0\0\x9md5x\0") },
	  PROTOCOL_POSTGRESQL,
	  D(CLEAR_PASSWORD) },
	{ "PostgreSQL, SCRAM, the server declines TLS",
	  { TURN(SSL_REQUEST), TURN(STARTUP), TURN("p\0\0\0\x36SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=abc") },
	  PROTOCOL_POSTGRESQL,
	  D(POSTGRESQL_SCRAM) },
	{ "PostgreSQL asks for GSS, for TLS, and gets neither",
	  { TURN(GSS_REQUEST), TURN(SSL_REQUEST), TURN(STARTUP), TURN("p\0\0\0\xasecret\0") },
	  PROTOCOL_POSTGRESQL,
	  D(CLEAR_PASSWORD) },
	{ "PostgreSQL, TLS",
	  { TURN(SSL_REQUEST), TURN(CLIENT_HELLO) },
	  PROTOCOL_POSTGRESQL,
	  D(POSTGRESQL_TLS) },
	{ "MySQL without a password",
	  { TURN("\x3a\0\0\1" CAPS("\x85") "app\0\0mysql_native_password\0") },
	  PROTOCOL_MYSQL,
	  0 },
	{ "MySQL with one",
	  { TURN("\x4e\0\0\1" CAPS("\x85") "app\0\x14"
					   "01234567890123456789mysql_native_password\0") },
	  PROTOCOL_MYSQL,
	  D(MYSQL_PASSWORD) },
	{ "MySQL with one, and a database",
	  { TURN("\x53\0\0\1" CAPS("\x8d") "app\0\x14"
					   "01234567890123456789shop\0caching_sha2_password\0") },
	  PROTOCOL_MYSQL,
	  D(MYSQL_PASSWORD) },
	{ "MySQL with one in the clear",
	  { TURN("\x41\0\0\1" CAPS("\x85") "app\0\6"
					   "secretmysql_clear_password\0") },
	  PROTOCOL_MYSQL,
	  D(CLEAR_PASSWORD) },
	{ "MySQL over TLS",
	  { TURN("\x20\0\0\1\x85\xae\x3f\0\0\0\0\1\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0") },
	  PROTOCOL_MYSQL,
	  D(MYSQL_TLS) },
	{ "redis", { TURN("*2\r\n$4\r\nINCR\r\n$1\r\nx\r\n") }, PROTOCOL_REDIS, 0 },
	{ "a key called auth", { TURN("*2\r\n$4\r\nINCR\r\n$4\r\nauth\r\n") }, PROTOCOL_REDIS, 0 },
	{ "AUTH and SELECT in one",
	  { TURN("*2\r\n$4\r\nauth\r\n$1\r\nx\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n") },
	  PROTOCOL_REDIS,
	  D(REDIS_AUTH) | D(REDIS_SELECT) },
	{ "HELLO in the second turn",
	  { TURN("*1\r\n$4\r\nPING\r\n"), TURN("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n") },
	  PROTOCOL_REDIS,
	  D(REDIS_HELLO) },
	{ "AUTHORS is no AUTH", { TURN("*1\r\n$7\r\nAUTHORS\r\n") }, PROTOCOL_REDIS, 0 },
	{ "memcached", { TURN("get k\r\n"), TURN("cas k 0 0 1 7\r\nx\r\n") }, PROTOCOL_MEMCACHED, D(CAS) },
	{ "memcached, binary",
	  { TURN("\x80\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0k") },
	  PROTOCOL_MEMCACHED,
	  0 },
	{ "SMTP in the clear",
	  { TURN("EHLO a\r\n"), TURN("MAIL FROM:<a@b>\r\n"), TURN("RCPT TO:<a@b>\r\n") },
	  PROTOCOL_SMTP,
	  0 },
	{ "SMTP with TLS",
	  { TURN("EHLO a\r\n"), TURN("STARTTLS\r\n"), TURN(CLIENT_HELLO) },
	  PROTOCOL_SMTP,
	  D(STARTTLS) },
	{ "SMTP that asks in vain",
	  { TURN("EHLO a\r\n"), TURN("STARTTLS\r\n"), TURN("MAIL FROM:<a@b>\r\n") },
	  PROTOCOL_SMTP,
	  0 },
	{ "FTP", { TURN("USER a\r\n"), TURN("PASS b\r\n"), TURN("TYPE I\r\n") }, PROTOCOL_FTP, D(FTP_DATA) },
	{ "POP3", { TURN("USER a\r\n"), TURN("PASS b\r\n"), TURN("STAT\r\n") }, PROTOCOL_UNKNOWN, 0 },
	{ "POP3 that lists",
	  { TURN("USER a\r\n"), TURN("PASS b\r\n"), TURN("LIST\r\n") },
	  PROTOCOL_UNKNOWN,
	  0 },
	{ "what nobody knows", { TURN("xyzzy\r\n"), TURN("GET / HTTP/1.1\r\n\r\n") }, PROTOCOL_UNKNOWN, 0 },
};

static void read_all(struct protocol_tally *t, struct protocol_state *s, const struct turn *turn,
		     uint32_t piece)
{
	for (; turn->len; turn++)
		for (uint32_t at = 0; at < turn->len; at += piece)
			protocol_tally_read(t, s, (const uint8_t *)turn->bytes + at,
					    MIN(piece, turn->len - at), !at);
}

static void test_turns_have_details(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sessions); i++) {
		struct protocol_tally t = { .sessions[PROTOCOL_NONE] = 1 };
		struct protocol_state s = { 0 };

		read_all(&t, &s, sessions[i].turn, UINT32_MAX);
		if (s.protocol != sessions[i].is || s.details != sessions[i].details)
			fail_msg("%s: %s, details 0x%x, not %s, 0x%x", sessions[i].what,
				 protocol_name((enum protocol)s.protocol), s.details,
				 protocol_name(sessions[i].is), sessions[i].details);
		for (unsigned p = 0; p < PROTOCOL_COUNT; p++)
			assert_int_equal(t.sessions[p], p == s.protocol);
		for (unsigned d = 0; d < DETAIL_COUNT; d++)
			assert_int_equal(t.details[d], s.details >> d & 1);
	}
}

/* In pieces of any size nothing is told that is not so, and each session is counted once. */
static void test_pieces_of_any_size(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sessions); i++)
		for (uint32_t piece = 1; piece < 80; piece++) {
			struct protocol_tally t = { .sessions[PROTOCOL_NONE] = 1 };
			struct protocol_state s = { 0 };

			read_all(&t, &s, sessions[i].turn, piece);
			assert_true(s.protocol == sessions[i].is || s.protocol == PROTOCOL_UNKNOWN ||
				    s.protocol == PROTOCOL_FTP);
			assert_int_equal(t.sessions[s.protocol], 1);
		}
}

static void test_no_more_than_2_kb_are_read(void **state)
{
	static const uint8_t line[100] = "GET / HTTP/1.1\r\n";
	struct protocol_state s = { 0 };

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		protocol_read(&s, line, sizeof(line), !i);
	assert_int_equal(s.read, PROTOCOL_READ);
	assert_true(s.over);
}

static bool may_join(const struct protocol_tally *t, struct protocol_state s, const char *bytes)
{
	return protocol_may_join(t, &s, (const uint8_t *)bytes, (uint32_t)strlen(bytes));
}

static void test_who_may_be_joined(void **state)
{
	const struct protocol_state none = { 0 };
	const struct protocol_state upgraded = { .protocol = PROTOCOL_HTTP1, .details = D(WEBSOCKET) };
	const struct protocol_state selected = { .protocol = PROTOCOL_REDIS, .details = D(REDIS_SELECT) };
	const struct protocol_state plain = { .protocol = PROTOCOL_REDIS };
	struct protocol_tally t = { 0 };

	(void)state;
	assert_true(may_join(&t, none, "GET / HTTP/1.1\r\n\r\n"));
	assert_true(may_join(&t, none, "get k\r\n"));
	assert_true(may_join(&t, none, "xyzzy\r\n"));
	assert_true(may_join(&t, none, "*1\r\n$4\r\nPING\r\n"));
	assert_true(may_join(&t, plain, "*1\r\n$4\r\nPING\r\n"));
	assert_false(may_join(&t, selected, "*1\r\n$4\r\nPING\r\n"));
	assert_false(may_join(&t, upgraded, "GET / HTTP/1.1\r\n\r\n"));
	assert_false(may_join(&t, none, "\x17\3\3\1\1"));
	assert_false(may_join(&t, none, "MAIL FROM:<a@b>\r\n"));
	/* its beginning, although its SYN was not captured */
	assert_true(may_join(&t, none, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
	/* what new connections of the rule speak tells what older ones do */
	t.sessions[PROTOCOL_MQTT] = 2;
	t.sessions[PROTOCOL_UNKNOWN] = 1;
	assert_false(may_join(&t, none, "xyzzy\r\n"));
	assert_true(may_join(&t, none, "get k\r\n"));
	t.sessions[PROTOCOL_UNKNOWN] = 3;
	assert_true(may_join(&t, none, "xyzzy\r\n"));
	/* but not those that were joined themselves */
	t.sessions[PROTOCOL_MYSQL] = t.joined[PROTOCOL_MYSQL] = 9;
	assert_true(may_join(&t, none, "xyzzy\r\n"));
	t.details[DETAIL_REDIS_AUTH] = 1;
	assert_false(may_join(&t, none, "*1\r\n$4\r\nPING\r\n"));
}

static void test_tallies_add_up(void **state)
{
	struct protocol_tally sum = { .sni = "a" }, one = { .sni = "b", .alpn = "h2" };

	(void)state;
	one.sessions[PROTOCOL_TLS] = 2;
	one.details[DETAIL_ENCRYPTED] = 2;
	protocol_tally_closed(&one, &(struct protocol_state){ .details = D(ENCRYPTED) | D(PROXY) });
	one.joined[PROTOCOL_HTTP1] = 3;
	one.not_joined[PROTOCOL_TLS] = 4;
	protocol_tally_add(&sum, &one);
	protocol_tally_add(&sum, &one);
	assert_int_equal(sum.sessions[PROTOCOL_TLS], 4);
	assert_int_equal(sum.details[DETAIL_ENCRYPTED], 4);
	assert_int_equal(sum.failed[DETAIL_ENCRYPTED], 2);
	assert_int_equal(sum.failed[DETAIL_PROXY], 2);
	assert_int_equal(sum.failed[DETAIL_DIGEST], 0);
	assert_int_equal(sum.joined[PROTOCOL_HTTP1], 6);
	assert_int_equal(sum.not_joined[PROTOCOL_TLS], 8);
	assert_string_equal(sum.sni, "a");
	assert_string_equal(sum.alpn, "");
}

/* A target that is set up to take any password goes on after it; one that is not closes. */
static void test_a_refused_login_is_closed(void **state)
{
	struct protocol_state s = { .details = D(MYSQL_PASSWORD) };
	struct protocol_tally t = { 0 };

	(void)state;
	protocol_tally_answered(&t, &s);
	protocol_tally_closed(&t, &s);
	assert_int_equal(t.failed[DETAIL_MYSQL_PASSWORD], 1);
	protocol_tally_answered(&t, &s);
	protocol_tally_closed(&t, &s);
	assert_int_equal(t.failed[DETAIL_MYSQL_PASSWORD], 2);
	for (unsigned i = 0; i < 5; i++)
		protocol_tally_answered(&t, &s);
	protocol_tally_closed(&t, &s);
	assert_int_equal(t.failed[DETAIL_MYSQL_PASSWORD], 2);
	for (unsigned d = 0; d < DETAIL_COUNT; d++) /* those that are judged so are those that tell */
		assert_int_equal(detail_weight((enum protocol_detail)d) == PROTOCOL_DOUBTED,
				 d == DETAIL_POSTGRESQL_MD5 || d == DETAIL_MYSQL_PASSWORD);
}

/* What the target answers until it refuses passes no handshake; what it answers beyond does, once. */
static void test_handshakes_are_passed(void **state)
{
	static const struct {
		enum protocol_detail detail;
		unsigned answers;
	} cases[] = {
		{ DETAIL_ENCRYPTED, 2 },      { DETAIL_STARTTLS, 5 },         { DETAIL_POSTGRESQL_TLS, 4 },
		{ DETAIL_MYSQL_TLS, 3 },      { DETAIL_POSTGRESQL_SCRAM, 5 }, { DETAIL_MYSQL_PASSWORD, 3 },
		{ DETAIL_POSTGRESQL_MD5, 4 }, { DETAIL_SSH_KEYS, 4 },
	};
	struct protocol_state other = { .details = D(REDIS_AUTH) | D(WEBSOCKET) };
	struct protocol_tally sum = { 0 };
	unsigned handshakes = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct protocol_state s = { .details = 1u << cases[i].detail };
		struct protocol_tally t = { 0 };

		for (unsigned n = 1; n < 9; n++) {
			protocol_tally_answered(&t, &s);
			assert_int_equal(t.past[cases[i].detail], n > cases[i].answers);
		}
		protocol_tally_add(&sum, &t);
		protocol_tally_add(&sum, &t);
		assert_int_equal(sum.past[cases[i].detail], 2);
	}
	for (unsigned i = 0; i < 9; i++)
		protocol_tally_answered(&sum, &other);
	assert_int_equal(other.answered, 0);
	for (unsigned d = 0; d < DETAIL_COUNT; d++)
		handshakes += detail_is_handshake((enum protocol_detail)d);
	assert_int_equal(handshakes, ARRAY_SIZE(cases));
}

/* Whoever is told that something does not work is told what to do. */
static void test_each_trouble_has_a_remedy(void **state)
{
	(void)state;
	for (unsigned d = 0; d < DETAIL_COUNT; d++) {
		assert_true(strlen(detail_text((enum protocol_detail)d)) > 0);
		assert_int_equal(detail_weight((enum protocol_detail)d) == PROTOCOL_COUNTED,
				 !detail_remedy((enum protocol_detail)d)[0]);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_turns_have_details),
		cmocka_unit_test(test_pieces_of_any_size),
		cmocka_unit_test(test_no_more_than_2_kb_are_read),
		cmocka_unit_test(test_who_may_be_joined),
		cmocka_unit_test(test_tallies_add_up),
		cmocka_unit_test(test_a_refused_login_is_closed),
		cmocka_unit_test(test_handshakes_are_passed),
		cmocka_unit_test(test_each_trouble_has_a_remedy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
