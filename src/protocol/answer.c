/*
 * The class of an answer - theory of operation
 *
 * In: what the client speaks, and the first bytes of a server's answer, 16 are enough. Out: whether
 * the server did what it was asked, or refused. Each class has constant bytes at its beginning; what does not
 * have them has no class, and a class that may be wrong is worse than none.
 */
#include "protocol/impl.h"

/* "HTTP/1.1 404": RFC 9112 4. */
static enum protocol_answer http(const uint8_t *b, uint32_t len)
{
	if (len < 12 || memcmp(b, "HTTP/1.", 7) || b[8] != ' ' || b[9] < '1' || b[9] > '5')
		return ANSWER_NONE;
	for (unsigned i = 10; i < 12; i++)
		if (b[i] < '0' || b[i] > '9')
			return ANSWER_NONE;
	return (enum protocol_answer)(ANSWER_HTTP_1XX + (b[9] - '1'));
}

static enum protocol_answer redis(const uint8_t *b, uint32_t len)
{
	if (!len || !memchr("+-:$*_#,(!=%~>", *b, 14))
		return ANSWER_NONE;
	if (*b != '-' && *b != '!')
		return ANSWER_REDIS_FINE;
	if (BEGINS(b, len, "-NOAUTH ") || BEGINS(b, len, "-WRONGPASS ") || BEGINS(b, len, "-NOPERM "))
		return ANSWER_REDIS_NOAUTH;
	if (BEGINS(b, len, "-MOVED ") || BEGINS(b, len, "-ASK "))
		return ANSWER_REDIS_MOVED;
	return ANSWER_REDIS_ERROR;
}

/* ErrorResponse: 'E', a length, and the field 'S' first, which is "ERROR" or its translation. */
static enum protocol_answer postgresql(const uint8_t *b, uint32_t len)
{
	if (len < 6 || get_be32(b + 1) < 4 || get_be32(b + 1) > 1u << 30)
		return ANSWER_NONE;
	if (*b != 'E')
		return memchr("123CDITZRSNtn", *b, 13) ? ANSWER_POSTGRESQL_FINE : ANSWER_NONE;
	return b[5] == 'S' ? ANSWER_POSTGRESQL_ERROR : ANSWER_NONE;
}

/* A packet with a length, a number that is not the greeting's, and 0xff behind them: ERR, with its code. */
static enum protocol_answer mysql(const uint8_t *b, uint32_t len)
{
	if (len < 5 || !get_le24(b) || !b[3])
		return ANSWER_NONE;
	if (b[4] != 0xff)
		return ANSWER_MYSQL_FINE;
	return len >= 7 && get_le24(b) >= 3 && (b[5] | b[6] << 8) >= 1000 ? ANSWER_MYSQL_ERROR : ANSWER_NONE;
}

enum protocol_answer protocol_answer(enum protocol p, const uint8_t *b, uint32_t len)
{
	switch (p) {
	case PROTOCOL_HTTP1:
		return http(b, len);
	case PROTOCOL_REDIS:
		return redis(b, len);
	case PROTOCOL_POSTGRESQL:
		return postgresql(b, len);
	case PROTOCOL_MYSQL:
		return mysql(b, len);
	default:
		return ANSWER_NONE;
	}
}

const char *protocol_answer_name(enum protocol_answer a)
{
	static const char *const names[] = {
#define X(id, name, text) #name,
		PROTOCOL_ANSWERS(X)
#undef X
	};

	return names[a];
}
