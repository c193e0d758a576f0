/*
 * What a session asks for - theory of operation
 *
 * In: the client's stream, in order, as pieces of memory that the caller keeps. Out: a protocol, and a set of
 * details: what the copy cannot do, or what a joined connection would lack. At most PROTOCOL_READ bytes of
 * the first PROTOCOL_TURNS turns are looked at, once each, and nothing of them is kept, so a line that is
 * cut between two segments is not understood. A session costs eight bytes, and nothing once it is decided.
 */
#include "protocol/impl.h"

#define SET(s, detail) ((s)->details |= 1u << DETAIL_##detail)

static void decide(struct protocol_state *s, enum protocol p)
{
	s->protocol = (uint8_t)p;
	s->strange = p == PROTOCOL_UNKNOWN;
	/* nothing that they say later matters */
	s->over = p == PROTOCOL_UNKNOWN || p == PROTOCOL_HTTP2 || p == PROTOCOL_TLS || p == PROTOCOL_SSH ||
		  p == PROTOCOL_MQTT || p == PROTOCOL_AMQP;
	if (p == PROTOCOL_TLS)
		SET(s, ENCRYPTED);
	if (p == PROTOCOL_SSH)
		SET(s, SSH_KEYS);
}

/* The head of a request, up to its empty line: what follows in this turn is its body, or other requests. */
static void http1(struct protocol_state *s, const uint8_t *b, uint32_t len)
{
	while (len) {
		const uint8_t *end = memchr(b, '\n', len);
		uint32_t n = end ? (uint32_t)(end + 1 - b) : len;

		if (n <= 2 && end) {
			s->body = true;
			return;
		}
		if ((b[0] | 0x20) == 'u' && BEGINS_ANY(b, n, "UPGRADE:")) {
			uint32_t at = 8;

			while (at < n && b[at] == ' ')
				at++;
			if (BEGINS_ANY(b + at, n - at, "WEBSOCKET"))
				SET(s, WEBSOCKET);
		} else if ((b[0] | 0x20) == 'a' && BEGINS_ANY(b, n, "AUTHORIZATION: DIGEST ")) {
			SET(s, DIGEST);
		}
		b += n;
		len -= n;
	}
}

/* The first message after the start-up, if it is a password or what stands for one. */
static void postgresql(struct protocol_state *s, const uint8_t *b, uint32_t len)
{
	if (s->upgrade && s->turns > 1) { /* the server has agreed, or the client goes on in the clear */
		s->upgrade = false;
		if (is_client_hello(b, len)) {
			SET(s, POSTGRESQL_TLS);
			s->over = true;
			return;
		}
	}
	if (len >= 8 && get_be32(b) == 8 &&
	    (get_be32(b + 4) == PG_SSL_REQUEST || get_be32(b + 4) == PG_GSS_REQUEST)) {
		s->upgrade = true;
		s->turns -= s->turns > 1; /* a client asks for both before it begins */
		return;
	}
	if (len < 6 || b[0] != 'p')
		return;
	s->over = true;
	if (get_be32(b + 1) == 40 && BEGINS(b + 5, len - 5, "md5"))
		SET(s, POSTGRESQL_MD5);
	else if (BEGINS(b + 5, len - 5, "SCRAM-SHA-256"))
		SET(s, POSTGRESQL_SCRAM);
	else
		SET(s, CLEAR_PASSWORD);
}

/* Is the password sent as it is, to a plugin that asks for no proof? */
static bool plain_plugin(const char *name, uint32_t n)
{
	return (n == 20 && !memcmp(name, "mysql_clear_password", 20)) ||
	       (n == 6 && !memcmp(name, "dialog", 6));
}

/* The login: capabilities, user, the answer to the challenge, database, plugin. */
static void mysql(struct protocol_state *s, const uint8_t *b, uint32_t len)
{
	const uint8_t *end = b + len, *p, *plugin;
	uint32_t caps, answer;

	s->over = true;
	if (len < 36)
		return;
	caps = get_le32(b + 4);
	if (get_le24(b) == 32 && caps & MYSQL_SSL) {
		SET(s, MYSQL_TLS);
		return;
	}
	p = memchr(b + 36, 0, len - 36); /* behind the user's name */
	if (!p || ++p == end)
		return;
	answer = caps & (MYSQL_LENENC_AUTH | MYSQL_SECURE_CONNECTION) ? *p : 0;
	if (!answer || answer > 250 || answer + 1 > (uint32_t)(end - p))
		return;
	p += 1 + answer;
	if (caps & MYSQL_CONNECT_WITH_DB) {
		p = p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;
		if (!p)
			p = end;
		else
			p++;
	}
	plugin = caps & MYSQL_PLUGIN_AUTH && p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;
	if (plugin && plain_plugin((const char *)p, (uint32_t)(plugin - p)))
		SET(s, CLEAR_PASSWORD);
	else
		SET(s, MYSQL_PASSWORD);
}

/* Is the command whose name @b begins with @word? */
static bool command(const uint8_t *b, uint32_t len, const char *word, uint32_t n)
{
	return len > n && protocol_begins_any(b, n, word, n) && (b[n] == ' ' || b[n] == '\r' || b[n] == '\n');
}
#define COMMAND(b, len, word) command(b, len, word, sizeof(word) - 1)

/* Commands of one segment, in RESP ("*2\r\n$4\r\nAUTH\r\n..."), or as lines. */
static void redis(struct protocol_state *s, const uint8_t *b, uint32_t len)
{
	const bool lines = b[0] != '*';
	enum { VALUE, LENGTH, NAME } next = lines ? NAME : VALUE;

	while (len) {
		const uint8_t *end = memchr(b, '\n', len);
		uint32_t n = end ? (uint32_t)(end + 1 - b) : len;

		if (next == NAME) {
			if (COMMAND(b, n, "AUTH"))
				SET(s, REDIS_AUTH);
			else if (COMMAND(b, n, "SELECT"))
				SET(s, REDIS_SELECT);
			else if (COMMAND(b, n, "HELLO"))
				SET(s, REDIS_HELLO);
			next = lines ? NAME : VALUE;
		} else if (b[0] == '*') {
			next = LENGTH;
		} else {
			next = next == LENGTH && b[0] == '$' ? NAME : VALUE;
		}
		b += n;
		len -= n;
	}
}

static void smtp(struct protocol_state *s, const uint8_t *b, uint32_t len)
{
	if (s->upgrade && is_client_hello(b, len)) {
		SET(s, STARTTLS);
		s->over = true;
	}
	s->upgrade = BEGINS_ANY(b, len, "STARTTLS\r\n");
}

/* USER is POP3's as well: which of them it is the commands after the login tell. */
static void ftp(struct protocol_state *s, const uint8_t *b, uint32_t len)
{
	static const char *const words[] = { "PASV", "EPSV", "PORT", "EPRT", "TYPE", "SYST",
					     "FEAT", "PWD",  "OPTS", "PBSZ", NULL };

	if (s->upgrade && is_client_hello(b, len)) {
		SET(s, STARTTLS);
		s->over = true;
		return;
	}
	s->upgrade = BEGINS_ANY(b, len, "AUTH TLS") || BEGINS_ANY(b, len, "AUTH SSL");
	for (unsigned i = 0; words[i]; i++)
		if (protocol_begins_any(b, len, words[i], (uint32_t)strlen(words[i]))) {
			SET(s, FTP_DATA);
			s->over = true;
			return;
		}
	if (BEGINS_ANY(b, len, "STAT\r\n") || BEGINS_ANY(b, len, "LIST") || BEGINS_ANY(b, len, "UIDL") ||
	    BEGINS_ANY(b, len, "CAPA")) /* FTP names a way for data before LIST */
		decide(s, PROTOCOL_UNKNOWN);
}

void protocol_details(struct protocol_state *s, const uint8_t *b, uint32_t len)
{
	switch (s->protocol) {
	case PROTOCOL_HTTP1:
		if (!s->body)
			http1(s, b, len);
		break;
	case PROTOCOL_POSTGRESQL:
		postgresql(s, b, len);
		break;
	case PROTOCOL_MYSQL:
		mysql(s, b, len);
		break;
	case PROTOCOL_REDIS:
		redis(s, b, len);
		break;
	case PROTOCOL_MEMCACHED:
		if (BEGINS(b, len, "cas ") ||
		    (len >= 24 && b[0] == 0x80 &&
		     (b[16] | b[17] | b[18] | b[19] | b[20] | b[21] | b[22] | b[23])))
			SET(s, CAS);
		break;
	case PROTOCOL_SMTP:
		smtp(s, b, len);
		break;
	case PROTOCOL_FTP:
		ftp(s, b, len);
		break;
	default:
		break;
	}
}

void protocol_read(struct protocol_state *s, const uint8_t *b, uint32_t len, bool turn)
{
	uint32_t proxy;

	if (s->over || !len)
		return;
	if (turn) {
		s->body = false;
		if (s->turns++ == PROTOCOL_TURNS) {
			s->over = true;
			return;
		}
	}
	len = len < PROTOCOL_READ - s->read ? len : PROTOCOL_READ - s->read;
	s->read = (uint16_t)(s->read + len);
	if (s->protocol == PROTOCOL_NONE) {
		proxy = s->details ? 0 : protocol_proxy_header(b, len);
		if (proxy) {
			SET(s, PROXY);
			if (proxy >= len)
				return; /* what it stands before comes in the next segment */
			b += proxy;
			len -= proxy;
		}
		decide(s, protocol_first(b, len));
	}
	if (!s->over)
		protocol_details(s, b, len);
	s->over |= s->read == PROTOCOL_READ;
}
