/* Answers by their first bytes, and what only looks like them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/util.h"
#include "protocol/protocol.h"

#define OF(protocol, text) protocol_answer(PROTOCOL_##protocol, (const uint8_t *)(text), sizeof(text) - 1)
#define IS(protocol, text, class) assert_int_equal(OF(protocol, text), ANSWER_##class)

static void http(void **state)
{
	(void)state;
	IS(HTTP1, "HTTP/1.1 100 Con", HTTP_1XX);
	IS(HTTP1, "HTTP/1.1 200 OK\r", HTTP_2XX);
	IS(HTTP1, "HTTP/1.0 304", HTTP_3XX);
	IS(HTTP1, "HTTP/1.1 404 Not", HTTP_4XX);
	IS(HTTP1, "HTTP/1.1 503 Bad", HTTP_5XX);
	IS(HTTP1, "HTTP/1.1 20", NONE);
	IS(HTTP1, "HTTP/1.1 600 Odd", NONE);
	IS(HTTP1, "HTTP/1.1 2x0 Odd", NONE);
	IS(HTTP1, "HTTP/2.0 200 OK\r", NONE);
	IS(HTTP1, "<html><head>    ", NONE);
}

static void redis(void **state)
{
	(void)state;
	IS(REDIS, "+OK\r\n", REDIS_FINE);
	IS(REDIS, "$-1\r\n", REDIS_FINE);
	IS(REDIS, ":-1\r\n", REDIS_FINE);
	IS(REDIS, "-ERR unknown com", REDIS_ERROR);
	IS(REDIS, "-WRONGTYPE Opera", REDIS_ERROR);
	IS(REDIS, "!21\r\nSYNTAX inv", REDIS_ERROR);
	IS(REDIS, "-NOAUTH Authenti", REDIS_NOAUTH);
	IS(REDIS, "-WRONGPASS inval", REDIS_NOAUTH);
	IS(REDIS, "-MOVED 3999 127.", REDIS_MOVED);
	IS(REDIS, "-MOVEDX", REDIS_ERROR);
	IS(REDIS, "OK", NONE);
	IS(REDIS, "", NONE);
}

static void postgresql(void **state)
{
	(void)state;
	IS(POSTGRESQL, "E\0\0\0\x66SERROR\0VER", POSTGRESQL_ERROR);
	IS(POSTGRESQL, "E\0\0\0\x66SFEHLER\0V", POSTGRESQL_ERROR);
	IS(POSTGRESQL, "E\0\0\0\x66XERROR\0VER", NONE);
	IS(POSTGRESQL, "E\0\0\0\x02S", NONE);
	IS(POSTGRESQL, "T\0\0\0\x21\0\1?column", POSTGRESQL_FINE);
	IS(POSTGRESQL, "C\0\0\0\x0dSELECT 1", POSTGRESQL_FINE);
	IS(POSTGRESQL, "x\0\0\0\x0dSELECT 1", NONE);
	IS(POSTGRESQL, "N", NONE); /* no TLS */
}

static void mysql(void **state)
{
	(void)state;
	IS(MYSQL, "\x48\0\0\x02\xff\x15\x04#28000Ac", MYSQL_ERROR);
	IS(MYSQL, "\x07\0\0\x01\0\0\0\2\0\0\0", MYSQL_FINE);
	IS(MYSQL, "\x01\0\0\x01\2", MYSQL_FINE);
	IS(MYSQL, "\x48\0\0\x02\xff\x01\0", NONE); /* no code that there is */
	IS(MYSQL, "\x48\0\0\0\xff\x15\x04", NONE); /* before the greeting */
	IS(MYSQL, "\x48\0\0\x02", NONE);
}

static void others(void **state)
{
	(void)state;
	IS(TLS, "HTTP/1.1 200 OK\r", NONE);
	IS(UNKNOWN, "-NOAUTH Authenti", NONE);
	for (int a = 0; a < ANSWER_COUNT; a++)
		assert_non_null(protocol_answer_name((enum protocol_answer)a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http),  cmocka_unit_test(redis),  cmocka_unit_test(postgresql),
		cmocka_unit_test(mysql), cmocka_unit_test(others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
