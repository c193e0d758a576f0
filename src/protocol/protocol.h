#ifndef PROTOCOL_PROTOCOL_H
#define PROTOCOL_PROTOCOL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What a client speaks, told from its first bytes; what a copy of it cannot do; and whether a connection may
 * be joined in its middle. Pure: bytes in, numbers and words out. Nothing is copied but the names of a
 * ClientHello.
 */

/* May a connection be joined at the beginning of a request? */
enum protocol_join {
	PROTOCOL_JOIN_UNKNOWN, /* it is tried, and how it went is judged */
	PROTOCOL_JOIN_ALWAYS,  /* each request stands for itself */
	PROTOCOL_JOIN_PLAIN,   /* so it does if the connection has no login and no settings */
	PROTOCOL_JOIN_NEVER,   /* a login, a preface, keys or subscriptions came before */
};

/* The protocols. One table: enum, name, text, struct protocol_join. */
#define PROTOCOLS(X)                                                                                         \
	X(NONE, none, "nothing yet", UNKNOWN)                                                                \
	X(UNKNOWN, unknown, "a protocol that is not recognised", UNKNOWN)                                    \
	X(HTTP1, http1, "HTTP/1", ALWAYS)                                                                    \
	X(HTTP2, http2, "HTTP/2", NEVER)                                                                     \
	X(WEBSOCKET, websocket, "WebSocket", NEVER)                                                          \
	X(TLS, tls, "TLS", NEVER)                                                                            \
	X(POSTGRESQL, postgresql, "PostgreSQL", NEVER)                                                       \
	X(MYSQL, mysql, "MySQL", NEVER)                                                                      \
	X(REDIS, redis, "redis", PLAIN)                                                                      \
	X(MEMCACHED, memcached, "memcached", ALWAYS)                                                         \
	X(MQTT, mqtt, "MQTT", NEVER)                                                                         \
	X(AMQP, amqp, "AMQP", NEVER)                                                                         \
	X(SSH, ssh, "SSH", NEVER)                                                                            \
	X(SMTP, smtp, "SMTP", NEVER)                                                                         \
	X(FTP, ftp, "FTP", NEVER)

enum protocol {
#define X(id, name, text, join) PROTOCOL_##id,
	PROTOCOLS(X)
#undef X
		PROTOCOL_COUNT
};

/* What a detail means for the copy. */
enum protocol_weight {
	PROTOCOL_COUNTED, /* it is worth a counter */
	PROTOCOL_NOTED,   /* it works if the target is set up for it */
	PROTOCOL_DOUBTED, /* the same, and a target that is not closes the connection */
	PROTOCOL_BROKEN,  /* the target does not do what the online server does */
};

/*
 * Details of a session. One table: enum, name, weight, what is so and what follows, and the remedy. In a
 * remedy @T stands for the target's address, @P for its port and @O for the online port.
 */
#define PROTOCOL_DETAILS(X)                                                                                  \
	X(PROXY, proxy, COUNTED, "a PROXY header comes first", "")                                           \
	X(ENCRYPTED, encrypted, BROKEN, "the clients speak TLS, which the target cannot decrypt",            \
	  "copy the hop behind the TLS terminator, without -s: tcpcopy -x 127.0.0.1:@O-@T:@P, with the "     \
	  "terminator's plain port in place of @O (doc/SERVICES.md has a recipe for each)")                  \
	X(SSH_KEYS, ssh_keys, BROKEN, "the clients speak SSH, whose keys the target does not have",          \
	  "leave this rule out: SSH cannot be copied")                                                       \
	X(POSTGRESQL_TLS, postgresql_tls, BROKEN,                                                            \
	  "the clients of PostgreSQL encrypt, which the target cannot decrypt",                              \
	  "let the clients connect with sslmode=disable, or on both servers: ALTER SYSTEM "                  \
	  "SET ssl = off; SELECT pg_reload_conf();")                                                         \
	X(POSTGRESQL_MD5, postgresql_md5, DOUBTED,                                                           \
	  "the clients answer the online server's md5 challenge, which is not the target's",                 \
	  "on the target, in pg_hba.conf: host all all all pam pamservice=tcpcopy, with pam_exec.so "        \
	  "expose_authtok /bin/true as that service")                                                        \
	X(POSTGRESQL_SCRAM, postgresql_scram, BROKEN,                                                        \
	  "the clients answer the online server's SCRAM challenge, which is not the target's",               \
	  "on both servers, a line for pg_hba.conf: host all all all password, or trust")                    \
	X(MYSQL_TLS, mysql_tls, BROKEN, "the clients of MySQL encrypt, which the target cannot decrypt",     \
	  "let the clients connect with --skip-ssl, or start the online server with it")                     \
	X(MYSQL_PASSWORD, mysql_password, DOUBTED,                                                           \
	  "the clients answer the online server's password challenge, which is not the target's",            \
	  "on the target start mysqld --skip-grant-tables --skip-name-resolve --skip-networking=0")          \
	X(STARTTLS, starttls, BROKEN, "the clients turn to TLS (STARTTLS), which the target cannot decrypt", \
	  "copy the hop behind the TLS terminator, or turn STARTTLS off on the online server")               \
	X(DIGEST, digest, NOTED, "the clients use HTTP Digest, whose nonce most targets refuse (401)",       \
	  "on the target turn authentication off for @T:@P")                                                 \
	X(FTP_DATA, ftp_data, BROKEN, "FTP moves files on other connections, which are not copied",          \
	  "leave this rule out: FTP cannot be copied")                                                       \
	X(WEBSOCKET, websocket, NOTED, "the clients speak WebSocket, and answer the online server's pings",  \
	  "on the target turn pings off (ping_timeout=None), or it closes after its time-out")               \
	X(CLEAR_PASSWORD, clear_password, COUNTED, "a password in the clear, which the target takes", "")    \
	X(REDIS_AUTH, redis_auth, COUNTED, "AUTH, which holds for the rest of the connection", "")           \
	X(REDIS_SELECT, redis_select, COUNTED, "SELECT, which holds for the rest of the connection", "")     \
	X(REDIS_HELLO, redis_hello, COUNTED, "HELLO, which holds for the rest of the connection", "")        \
	X(CAS, cas, COUNTED, "memcached cas, whose numbers depend on all writes before", "")

enum protocol_detail {
#define X(id, name, weight, text, remedy) DETAIL_##id,
	PROTOCOL_DETAILS(X)
#undef X
		DETAIL_COUNT
};

/* The words of the tables. */
const char *protocol_name(enum protocol p);
const char *protocol_text(enum protocol p);
enum protocol_join protocol_join(enum protocol p);
const char *detail_name(enum protocol_detail d);
const char *detail_text(enum protocol_detail d);
const char *detail_remedy(enum protocol_detail d);
enum protocol_weight detail_weight(enum protocol_detail d);

#define PROTOCOL_FIRST 64   /* bytes by which a protocol is recognised */
#define PROTOCOL_READ 2048u /* bytes of one session that are looked at, at most */
#define PROTOCOL_TURNS 3    /* in so many turns of the client */

/* What is known of one session. All zero: nothing yet. */
struct protocol_state {
	uint32_t details; /* a set of 1 << enum protocol_detail */
	uint16_t read;    /* bytes looked at */
	uint8_t protocol; /* enum protocol */
	uint8_t turns : 4;
	uint8_t answered : 3; /* turns that the target has answered since a handshake's detail, up to 6 */
	bool over : 1;        /* nothing more is looked at */
	bool body : 1;        /* of the present turn only what needs no attention follows */
	bool upgrade : 1;     /* TLS was asked for, and follows if the server agreed */
	bool strange : 1;     /* its first bytes are of none of the protocols */
};

/*
 * The next @len bytes of the client's stream, in order; @turn: a turn begins with them, as with the first.
 * Does nothing once @s->over.
 */
void protocol_read(struct protocol_state *s, const uint8_t *bytes, uint32_t len, bool turn);

/* Recognise a connection from the beginning of some turn: its first one, or any later one. */
enum protocol protocol_first(const uint8_t *bytes, uint32_t len);
enum protocol protocol_middle(const uint8_t *bytes, uint32_t len);

/* The length of a PROXY header (version 1 or 2) at the front of @bytes; 0: there is none. */
uint32_t protocol_proxy_header(const uint8_t *bytes, uint32_t len);

/* Names of a ClientHello. Within its bytes; len 0: it has none. */
struct protocol_hello {
	const uint8_t *sni, *alpn;
	uint8_t sni_len, alpn_len; /* bytes; longer names count as none */
};
void protocol_client_hello(struct protocol_hello *h, const uint8_t *bytes, uint32_t len);

/* What a server has answered. One table: enum, name, text behind "answers of the targets: ". */
#define PROTOCOL_ANSWERS(X)                                                                                  \
	X(NONE, none, "of no class that is known")                                                           \
	X(HTTP_1XX, http_1xx, "HTTP status 1xx, informational")                                              \
	X(HTTP_2XX, http_2xx, "HTTP status 2xx, successful")                                                 \
	X(HTTP_3XX, http_3xx, "HTTP status 3xx, a redirection")                                              \
	X(HTTP_4XX, http_4xx, "HTTP status 4xx, refused")                                                    \
	X(HTTP_5XX, http_5xx, "HTTP status 5xx, the server failed")                                          \
	X(REDIS_FINE, redis_fine, "redis, no error")                                                         \
	X(REDIS_ERROR, redis_error, "redis, an error such as -ERR")                                          \
	X(REDIS_NOAUTH, redis_noauth, "redis, a login is missing or wrong (-NOAUTH, -WRONGPASS, -NOPERM)")   \
	X(REDIS_MOVED, redis_moved, "redis, on another node of the cluster (-MOVED, -ASK)")                  \
	X(POSTGRESQL_FINE, postgresql_fine, "PostgreSQL, no error at its beginning")                         \
	X(POSTGRESQL_ERROR, postgresql_error, "PostgreSQL, an ErrorResponse")                                \
	X(MYSQL_FINE, mysql_fine, "MySQL, no error at its beginning")                                        \
	X(MYSQL_ERROR, mysql_error, "MySQL, an ERR packet")

enum protocol_answer {
#define X(id, name, text) ANSWER_##id,
	PROTOCOL_ANSWERS(X)
#undef X
		ANSWER_COUNT
};
/* The class of an answer to a client that speaks @p, from its first @len bytes. */
enum protocol_answer protocol_answer(enum protocol p, const uint8_t *bytes, uint32_t len);
const char *protocol_answer_name(enum protocol_answer a);

/* What the sessions of one rule speak. Counters; all zero: there was none. */
struct protocol_tally {
	uint64_t sessions[PROTOCOL_COUNT]; /* each session once, by the last word on it */
	uint64_t details[DETAIL_COUNT];    /* sessions that have it */
	uint64_t failed
		[DETAIL_COUNT];      /* of these, closed by the target soon after, while the client went on */
	uint64_t past[DETAIL_COUNT]; /* of these, got past the handshake that the detail is of */
	uint64_t joined[PROTOCOL_COUNT];       /* connections joined in their middle, with what they spoke */
	uint64_t not_joined[PROTOCOL_COUNT];   /* connections that were not, because of what they spoke */
	uint64_t answers[ANSWER_COUNT];        /* of the target, as far as their first bytes are known */
	uint64_t online_answers[ANSWER_COUNT]; /* of the online server, a sample */
	char sni[64], alpn[16];                /* of the first ClientHello; "" none */
};

/* Read as protocol_read() does, and keep the tally of the session in @t. */
void protocol_tally_read(struct protocol_tally *t, struct protocol_state *s, const uint8_t *bytes,
			 uint32_t len, bool turn);
/* The target has begun to answer a turn of *s, whose tally is *t. */
void protocol_tally_answered(struct protocol_tally *t, struct protocol_state *s);
/*
 * Is @d something that a target refuses in a handshake? Then a session counts in past[] when the target has
 * answered more turns than it does before it refuses.
 */
bool detail_is_handshake(enum protocol_detail d);
/*
 * The target has closed the session *s while its client goes on. That is a refusal if it has not answered
 * more than a login takes.
 */
void protocol_tally_closed(struct protocol_tally *t, const struct protocol_state *s);
/* All sessions of *t. */
uint64_t protocol_sessions(const struct protocol_tally *t);
/* Add *from to *to, whose names stay if it has any. */
void protocol_tally_add(struct protocol_tally *to, const struct protocol_tally *from);

/*
 * May a connection be joined whose turn begins with @bytes? *@s: what is known of it from earlier; its
 * protocol becomes what it is taken for; nothing, if the bytes are the beginning of the connection itself.
 * One that began as nothing known may have turned to TLS, and to nothing else.
 * Where they say nothing, the sessions of @t that were seen from their beginning do.
 */
bool protocol_may_join(const struct protocol_tally *t, struct protocol_state *s, const uint8_t *bytes,
		       uint32_t len);

#endif
