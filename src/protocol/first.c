/*
 * First bytes - theory of operation
 *
 * In: the bytes with which a client begins its connection, or a turn of it. Out: the protocol, or that it is
 * not recognised. A wrong name is worse than none: it would raise a false alarm, or decline a join that
 * works. So a beginning has to have every constant field of its protocol and plausible lengths in the
 * others, and in the middle of a connection, where frames have few constants, the frames have to fill the
 * segment exactly.
 *
 * Nothing is kept: what the bytes at hand do not decide is not recognised. No more than PROTOCOL_FIRST bytes
 * of a beginning are read.
 */
#include "protocol/impl.h"

bool protocol_begins_any(const uint8_t *b, uint32_t len, const char *text, uint32_t n)
{
	if (len < n)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		uint8_t c = b[i] >= 'a' && b[i] <= 'z' ? (uint8_t)(b[i] - 'a' + 'A') : b[i];

		if (c != (uint8_t)text[i])
			return false;
	}
	return true;
}

/* Begins @b with one of @words, each of which ends in what separates it from the next? */
static bool any_word(const uint8_t *b, uint32_t len, const char *const words[])
{
	for (; *words; words++)
		if (protocol_begins_any(b, len, *words, (uint32_t)strlen(*words)))
			return true;
	return false;
}

/* The same, in just this case. */
static bool exact_word(const uint8_t *b, uint32_t len, const char *const words[])
{
	for (; *words; words++) {
		size_t n = strlen(*words);

		if (len >= n && !memcmp(b, *words, n))
			return true;
	}
	return false;
}

/* A request line, RFC 9112 3. Where its end is not at hand the method has to be one that everybody knows. */
static bool is_http1(const uint8_t *b, uint32_t len)
{
	static const char *const known[] = { "GET /",     "POST /",   "PUT /",    "HEAD /",    "DELETE /",
					     "PATCH /",   "TRACE /",  "GET http", "POST http", "OPTIONS /",
					     "OPTIONS *", "CONNECT ", NULL };
	const uint8_t *end = memchr(b, '\n', len);
	uint32_t method = 0;

	if (*b < 'A' || *b > 'Z')
		return false;
	while (method < len && method < 20 && ((b[method] >= 'A' && b[method] <= 'Z') || b[method] == '-'))
		method++;
	if (!method || method == len || b[method] != ' ')
		return false;
	if (!end)
		return exact_word(b, len, known);
	if (end > b && end[-1] == '\r')
		end--;
	return end - b >= method + 11 && !memcmp(end - 9, " HTTP/1.", 8);
}

static bool is_redis(const uint8_t *b, uint32_t len)
{
	static const char *const inline_commands[] = { "PING\r\n",  "INFO\r\n",  "AUTH ", "SELECT ",
						       "HELLO 3\r", "HELLO 2\r", NULL };
	uint32_t i = 1;

	if (len < 4 || b[0] != '*')
		return exact_word(b, len, inline_commands);
	while (i < len && i < 8 && b[i] >= '0' && b[i] <= '9')
		i++;
	if (i == 1 || i + 2 > len || b[i] != '\r' || b[i + 1] != '\n')
		return false;
	return i + 2 == len || b[i + 2] == '$';
}

/* `set key flags exptime bytes`: commands typed to redis without its framing begin with the same words. Of a
 * line whose end is not at hand, no more can be said than how it begins.
 */
static bool stores(const uint8_t *b, uint32_t len)
{
	const uint8_t *end = memchr(b, '\n', len);
	uint32_t blanks = 0;

	if (!end)
		return true;
	for (const uint8_t *p = b; p < end; p++) {
		if (*p == ' ')
			blanks++;
		else if (blanks >= 2 && blanks <= 4 && (*p < '0' || *p > '9') && *p != '-' && *p != '\r')
			return false;
	}
	return blanks >= 4;
}

static bool is_memcached(const uint8_t *b, uint32_t len)
{
	static const char *const storage[] = {
		"set ", "add ", "replace ", "append ", "prepend ", "cas ", NULL
	};
	static const char *const words[] = { "get ",        "gets ",      "incr ",     "decr ",     "delete ",
					     "touch ",      "gat ",       "gats ",     "stats\r\n", "stats ",
					     "version\r\n", "verbosity ", "flush_all", "mg ",       "ms ",
					     "md ",         "ma ",        "mn\r\n",    NULL };

	if (len >= 24 && b[0] == 0x80)
		return b[1] <= 0x25 && b[4] <= 20 && !b[5] && get_be32(b + 8) <= 128u << 20 &&
		       get_be32(b + 8) >= get_be16(b + 2) + (uint32_t)b[4];
	return exact_word(b, len, words) || (exact_word(b, len, storage) && stores(b, len));
}

static bool is_postgresql(const uint8_t *b, uint32_t len)
{
	uint32_t size, code;

	if (len < 8)
		return false;
	size = get_be32(b);
	code = get_be32(b + 4);
	if (code == PG_SSL_REQUEST || code == PG_GSS_REQUEST)
		return size == 8;
	if (code == PG_CANCEL_REQUEST)
		return size == 16;
	/* a start-up message: names and values, each with its NUL, and another NUL */
	return code >> 16 == 3 && (code & 0xffff) < 100 && size >= 9 && size <= 10000 &&
	       (size == 9 || (len > 8 && ((b[8] >= 'a' && b[8] <= 'z') || b[8] == '_')));
}

/* The client's answer to the greeting: its packet 1, with 19 bytes that nobody uses. */
static bool is_mysql(const uint8_t *b, uint32_t len)
{
	static const uint8_t filler[19];

	return len >= 36 && b[3] == 1 && get_le24(b) >= 32 && get_le24(b) < 1u << 16 &&
	       get_le32(b + 4) & MYSQL_PROTOCOL_41 && !memcmp(b + 13, filler, sizeof(filler));
}

/* The value of a remaining length (MQTT 2.2.3), and in *@at where it ends; UINT32_MAX: it is none. */
static uint32_t mqtt_length(const uint8_t *b, uint32_t len, uint32_t *at)
{
	uint32_t value = 0;

	for (unsigned shift = 0; shift < 28 && *at < len; shift += 7) {
		uint8_t c = b[(*at)++];

		value |= (uint32_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return value;
	}
	return UINT32_MAX;
}

static bool is_mqtt(const uint8_t *b, uint32_t len)
{
	uint32_t at = 1, rest;

	if (len < 2 || b[0] != 0x10)
		return false;
	rest = mqtt_length(b, len, &at);
	return rest >= 10 && rest != UINT32_MAX &&
	       (BEGINS(b + at, len - at, "\0\4MQTT") || BEGINS(b + at, len - at, "\0\6MQIsdp"));
}

/* The beginnings that are the same wherever they are met. */
static enum protocol anywhere(const uint8_t *b, uint32_t len)
{
	if (is_client_hello(b, len))
		return PROTOCOL_TLS;
	if (is_http1(b, len))
		return PROTOCOL_HTTP1;
	if (is_redis(b, len))
		return PROTOCOL_REDIS;
	return is_memcached(b, len) ? PROTOCOL_MEMCACHED : PROTOCOL_UNKNOWN;
}

enum protocol protocol_first(const uint8_t *b, uint32_t len)
{
	static const char *const smtp[] = { "EHLO ", "HELO ", "LHLO ", NULL };
	static const char *const ftp[] = { "USER ", "AUTH TLS\r\n", "AUTH SSL\r\n", "FEAT\r\n", NULL };

	len = len < PROTOCOL_FIRST ? len : PROTOCOL_FIRST;
	if (!len)
		return PROTOCOL_NONE;
	if (is_http1(b, len)) /* first of all for its cost: it is what most clients speak */
		return PROTOCOL_HTTP1;
	if (BEGINS(b, len, "PRI * HTTP/2.0\r\n\r\nSM"))
		return PROTOCOL_HTTP2;
	if (BEGINS(b, len, "SSH-2.0-") || BEGINS(b, len, "SSH-1."))
		return PROTOCOL_SSH;
	if (len >= 8 && BEGINS(b, len, "AMQP") && b[4] <= 3 && b[5] <= 1)
		return PROTOCOL_AMQP;
	if (is_postgresql(b, len))
		return PROTOCOL_POSTGRESQL;
	if (is_mysql(b, len))
		return PROTOCOL_MYSQL;
	if (is_mqtt(b, len))
		return PROTOCOL_MQTT;
	if (any_word(b, len, smtp))
		return PROTOCOL_SMTP;
	if (any_word(b, len, ftp))
		return PROTOCOL_FTP;
	return anywhere(b, len);
}

#define LONG 200      /* bytes of a command that goes on in the next segment, at least */
#define SHOWN_TEXT 64 /* and so many of it are text: of other bytes each eighth is a control character */

static bool shows_text(const uint8_t *b, uint32_t len)
{
	for (uint32_t i = 0; i < SHOWN_TEXT; i++)
		if (i == len || b[i] == 0x7f || (b[i] < ' ' && !(b[i] >= '\t' && b[i] <= '\r')))
			return false;
	return true;
}

/* The text of a query, or that of a Parse, which follows the name of its statement. */
static bool pg_shows_text(const uint8_t *b, uint32_t len)
{
	const uint8_t *end = *b == 'P' ? memchr(b + 5, 0, len - 5) : b + 4;

	return (*b == 'Q' || *b == 'P') && !b[1] && len >= LONG && end &&
	       shows_text(end + 1, len - (uint32_t)(end + 1 - b));
}

/* Messages of the PostgreSQL frontend; the last one may go on in the next segment. */
static bool pg_messages(const uint8_t *b, uint32_t len)
{
	uint32_t at = 0, size, whole = 0;

	for (; len - at >= 5; at += 1 + size, whole++) {
		if (!memchr("BCDEFHPQSXcdfp", b[at], 14))
			return false;
		size = get_be32(b + at + 1);
		if (size < 4 || size > 1u << 28)
			return false;
		if (size + 1 > len - at) /* of one that is longer than the segment the text has to show */
			return whole || pg_shows_text(b + at, len - at);
		if (b[at] == 'Q' && b[at + size])
			return false;
	}
	return whole && at == len;
}

/* A command of MySQL, which is the packet 0 of its exchange. */
static bool mysql_command(const uint8_t *b, uint32_t len)
{
	uint32_t size = len >= 5 ? get_le24(b) : 0;

	if (!size || b[3] ||
	    (size + 4 != len && (b[4] != 3 || size + 4 < len || len < LONG || !shows_text(b + 5, len - 5))))
		return false;
	switch (b[4]) {
	case 0x01: /* QUIT, STATISTICS, PING, RESET_CONNECTION */
	case 0x09:
	case 0x0e:
	case 0x1f:
		return size == 1;
	case 0x02: /* INIT_DB, QUERY, STMT_PREPARE: text */
	case 0x03:
	case 0x16:
		return size > 1 && b[5] >= '\t' && b[5] < 0x7f;
	case 0x17: /* STMT_EXECUTE: a number, flags, one iteration */
		return size >= 10 && get_le32(b + 10) == 1;
	case 0x19: /* STMT_CLOSE, STMT_RESET */
	case 0x1a:
		return size == 5;
	default:
		return false;
	}
}

static bool http2_frames(const uint8_t *b, uint32_t len)
{
	uint32_t at = 0;

	while (len - at >= 9) {
		uint32_t size = get_be32(b + at) >> 8;

		if (b[at + 3] > 9 || size > 16384 || b[at + 5] & 0x80 || size > len - at - 9)
			return false;
		at += 9 + size;
	}
	return len && at == len;
}

static bool mqtt_packets(const uint8_t *b, uint32_t len)
{
	uint32_t at = 0;

	while (at < len) {
		uint8_t type = b[at] >> 4, flags = b[at] & 15;
		uint32_t body = at + 1, size = mqtt_length(b, len, &body);

		if (size > len - body)
			return false;
		if (type == 3) { /* PUBLISH: a topic, and 2 bytes more where it wants an answer */
			uint32_t topic = size > 2 ? get_be16(b + body) : 0;

			if ((flags & 6) == 6 || !topic || topic > size - 2 ||
			    memchr(b + body + 2, 0, topic) || b[body + 2] < ' ')
				return false;
		} else if (type >= 4 && type <= 7) {
			if (flags != (type == 6 ? 2 : 0) || size < 2 || size > 4)
				return false;
		} else if (type == 8 || type == 10) {
			if (flags != 2 || size < 4)
				return false;
		} else if ((type != 12 && type != 14) || flags || size) {
			return false;
		}
		at = body + size;
	}
	return len;
}

static bool amqp_frames(const uint8_t *b, uint32_t len)
{
	uint32_t at = 0;

	while (len - at >= 8) {
		uint32_t size = get_be32(b + at + 3);

		if (!b[at] || b[at] > 8 || size > len - at - 8 || b[at + 7 + size] != 0xce)
			return false;
		at += 8 + size;
	}
	return len && at == len;
}

/* Frames of a client are masked, RFC 6455 5.2. */
static bool websocket_frames(const uint8_t *b, uint32_t len)
{
	uint32_t at = 0;

	while (len - at >= 6) {
		uint8_t op = b[at] & 15;
		uint32_t size = b[at + 1] & 0x7f, head = 6;

		if (b[at] & 0x30 || !(b[at + 1] & 0x80) || (op > 2 && op < 8) || op > 10)
			return false;
		if (size == 127 || (size == 126 && len - at < 8))
			return false;
		if (size == 126) {
			size = get_be16(b + at + 2);
			head = 8;
		}
		if (size > len - at - head)
			return false;
		at += head + size;
	}
	return len && at == len;
}

enum protocol protocol_middle(const uint8_t *b, uint32_t len)
{
	static const char *const smtp[] = { "MAIL FROM:", "RCPT TO:", "DATA\r\n", NULL };
	static const char *const ftp[] = { "PASV\r\n", "EPSV\r\n", "PORT ", "EPRT ", "RETR ", "STOR ", NULL };
	enum protocol p;

	if (!len)
		return PROTOCOL_NONE;
	if (is_tls_record(b, len, 0x17) || is_tls_record(b, len, 0x15))
		return PROTOCOL_TLS;
	p = anywhere(b, len < PROTOCOL_FIRST ? len : PROTOCOL_FIRST);
	if (p != PROTOCOL_UNKNOWN)
		return p;
	if (exact_word(b, len, smtp))
		return PROTOCOL_SMTP;
	if (exact_word(b, len, ftp))
		return PROTOCOL_FTP;
	if (pg_messages(b, len))
		return PROTOCOL_POSTGRESQL;
	if (mysql_command(b, len))
		return PROTOCOL_MYSQL;
	if (amqp_frames(b, len))
		return PROTOCOL_AMQP;
	if (http2_frames(b, len))
		return PROTOCOL_HTTP2;
	if (mqtt_packets(b, len))
		return PROTOCOL_MQTT;
	return websocket_frames(b, len) ? PROTOCOL_WEBSOCKET : PROTOCOL_UNKNOWN;
}

uint32_t protocol_proxy_header(const uint8_t *b, uint32_t len)
{
	if (BEGINS(b, len, "\r\n\r\n\0\r\nQUIT\n") && len >= 16 && b[12] >> 4 == 2) {
		uint32_t size = 16u + get_be16(b + 14);

		return size <= 16 + 1024 ? size : 0;
	}
	if (BEGINS(b, len, "PROXY TCP4 ") || BEGINS(b, len, "PROXY TCP6 ") ||
	    BEGINS(b, len, "PROXY UNKNOWN")) {
		const uint8_t *end = memchr(b, '\n', len < 107 ? len : 107);

		return end && end[-1] == '\r' ? (uint32_t)(end + 1 - b) : 0;
	}
	return 0;
}

/*
 * The next vector of the ClientHello with a length of @width bytes, taken off [*@b, *@end); NULL: it is cut.
 */
static const uint8_t *vector(const uint8_t **b, const uint8_t *end, unsigned width, uint32_t *len)
{
	const uint8_t *at;

	if (end - *b < (int)width)
		return NULL;
	*len = width == 1 ? **b : get_be16(*b);
	at = *b += width;
	if ((uint32_t)(end - *b) < *len)
		return NULL;
	*b += *len;
	return at;
}

static void extension(struct protocol_hello *h, uint16_t type, const uint8_t *b, uint32_t len)
{
	const uint8_t *end = b + len, *name;
	uint32_t n;

	if (type == 0 && len >= 5 && !b[2]) { /* server_name, RFC 6066 3: a list of names, of type 0 */
		b += 3;
		name = vector(&b, end, 2, &n);
		if (name && n <= UINT8_MAX) {
			h->sni = name;
			h->sni_len = (uint8_t)n;
		}
	} else if (type == 16 && len >= 3) { /* ALPN, RFC 7301 3.1; the first is what the client likes best */
		b += 2;
		name = vector(&b, end, 1, &n);
		if (name) {
			h->alpn = name;
			h->alpn_len = (uint8_t)n;
		}
	}
}

void protocol_client_hello(struct protocol_hello *h, const uint8_t *b, uint32_t len)
{
	const uint8_t *end = b + len, *e;
	uint32_t n;

	*h = (struct protocol_hello){ 0 };
	if (!is_client_hello(b, len) || len < 43)
		return;
	b += 5 + 4 + 2 + 32; /* record, handshake, version, random */
	if (!vector(&b, end, 1, &n) || !vector(&b, end, 2, &n) || !vector(&b, end, 1, &n) || end - b < 2)
		return;
	b += 2; /* of all extensions; what is here of them is looked at */
	while (end - b >= 4) {
		uint16_t type = get_be16(b);

		b += 2;
		e = vector(&b, end, 2, &n);
		if (!e)
			return;
		extension(h, type, e, n);
	}
}
