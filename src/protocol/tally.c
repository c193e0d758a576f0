/*
 * What the sessions of a rule speak - theory of operation
 *
 * One tally for each rule and worker: counters that are added up, and the names of the first ClientHello. A
 * session counts for what it is taken for at the time, so the counters of all protocols together are always
 * the sessions. From the same numbers follows what a connection is taken for that is older than we are and
 * whose bytes say nothing.
 */
#include "protocol/impl.h"

struct words {
	const char *name, *text, *remedy;
	enum protocol_join join;
	enum protocol_weight weight;
};

/* clang-format off */
static const struct words protocols[PROTOCOL_COUNT] = {
#define X(id, n, t, j) [PROTOCOL_##id] = { .name = #n, .text = t, .join = PROTOCOL_JOIN_##j },
	PROTOCOLS(X)
#undef X
};
static const struct words details[DETAIL_COUNT] = {
#define X(id, n, w, t, r) [DETAIL_##id] = { .name = #n, .text = t, .remedy = r, .weight = PROTOCOL_##w },
	PROTOCOL_DETAILS(X)
#undef X
};
/* clang-format on */

const char *protocol_name(enum protocol p)
{
	return protocols[p].name;
}

const char *protocol_text(enum protocol p)
{
	return protocols[p].text;
}

enum protocol_join protocol_join(enum protocol p)
{
	return protocols[p].join;
}

const char *detail_name(enum protocol_detail d)
{
	return details[d].name;
}

const char *detail_text(enum protocol_detail d)
{
	return details[d].text;
}

const char *detail_remedy(enum protocol_detail d)
{
	return details[d].remedy;
}

enum protocol_weight detail_weight(enum protocol_detail d)
{
	return details[d].weight;
}

/* A name for people: anything but what a name is made of becomes a dot. */
static void copy_name(char *to, uint32_t size, const uint8_t *from, uint32_t len)
{
	len = len < size - 1 ? len : size - 1;
	for (uint32_t i = 0; i < len; i++)
		to[i] = from[i] > ' ' && from[i] < 0x7f && from[i] != '"' ? (char)from[i] : '.';
	to[len] = '\0';
}

static void keep_names(struct protocol_tally *t, const uint8_t *b, uint32_t len)
{
	struct protocol_hello h;
	uint32_t proxy = protocol_proxy_header(b, len);

	if (proxy < len)
		protocol_client_hello(&h, b + proxy, len - proxy);
	else
		return;
	copy_name(t->sni, sizeof(t->sni), h.sni, h.sni_len);
	copy_name(t->alpn, sizeof(t->alpn), h.alpn, h.alpn_len);
}

void protocol_tally_read(struct protocol_tally *t, struct protocol_state *s, const uint8_t *b, uint32_t len,
			 bool turn)
{
	const struct protocol_state before = *s;
	uint32_t fresh;

	protocol_read(s, b, len, turn);
	if (s->protocol != before.protocol) {
		t->sessions[before.protocol]--;
		t->sessions[s->protocol]++;
	}
	fresh = s->details & ~before.details;
	for (unsigned d = 0; fresh; d++, fresh >>= 1)
		t->details[d] += fresh & 1;
	if (s->protocol == PROTOCOL_TLS && before.protocol != PROTOCOL_TLS && !t->sni[0])
		keep_names(t, b, len);
}

#define DOUBTED (1u << DETAIL_POSTGRESQL_MD5 | 1u << DETAIL_MYSQL_PASSWORD)
#define LOGIN_ANSWERS 2 /* a plugin that is switched to, and the refusal */
#define ANSWERS_MAX 6

#define HANDSHAKES                                                                                           \
	(1u << DETAIL_ENCRYPTED | 1u << DETAIL_STARTTLS | 1u << DETAIL_POSTGRESQL_TLS |                      \
	 1u << DETAIL_MYSQL_TLS | 1u << DETAIL_SSH_KEYS | 1u << DETAIL_POSTGRESQL_SCRAM | DOUBTED)

/*
 * The turns that a target answers at most until it has refused, counted from where the detail is known: what
 * it answers beyond is no handshake's. The detail is known as soon as its bytes are captured, when the target
 * may not have answered the turns before it: a greeting, a request for encryption. 0: no handshake.
 */
static const uint8_t handshake[DETAIL_COUNT] = {
	[DETAIL_ENCRYPTED] = 2,        /* ServerHello, alert */
	[DETAIL_STARTTLS] = 5,         /* greeting, EHLO, STARTTLS, ServerHello, alert */
	[DETAIL_POSTGRESQL_TLS] = 4,   /* GSS and SSL requests, ServerHello, alert */
	[DETAIL_MYSQL_TLS] = 3,        /* greeting, ServerHello, alert */
	[DETAIL_SSH_KEYS] = 4,         /* greeting, KEXINIT, its key, disconnect */
	[DETAIL_POSTGRESQL_MD5] = 4,   /* GSS and SSL requests, challenge, refusal */
	[DETAIL_POSTGRESQL_SCRAM] = 5, /* the same, and its own nonce */
	[DETAIL_MYSQL_PASSWORD] = 3,   /* greeting, another plugin, refusal */
};

bool detail_is_handshake(enum protocol_detail d)
{
	return handshake[d];
}

void protocol_tally_answered(struct protocol_tally *t, struct protocol_state *s)
{
	if (!(s->details & HANDSHAKES) || s->answered == ANSWERS_MAX)
		return;
	for (unsigned d = 0; d < DETAIL_COUNT; d++)
		if (handshake[d] && s->details >> d & 1)
			t->past[d] += s->answered == handshake[d];
	s->answered++;
}

void protocol_tally_closed(struct protocol_tally *t, const struct protocol_state *s)
{
	if (s->details & DOUBTED && s->answered > LOGIN_ANSWERS)
		return;
	for (unsigned d = 0; d < DETAIL_COUNT; d++)
		t->failed[d] += s->details >> d & 1;
}

uint64_t protocol_sessions(const struct protocol_tally *t)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < PROTOCOL_COUNT; i++)
		n += t->sessions[i];
	return n;
}

void protocol_tally_add(struct protocol_tally *to, const struct protocol_tally *from)
{
	for (unsigned i = 0; i < PROTOCOL_COUNT; i++) {
		to->sessions[i] += from->sessions[i];
		to->joined[i] += from->joined[i];
		to->not_joined[i] += from->not_joined[i];
	}
	for (unsigned i = 0; i < DETAIL_COUNT; i++) {
		to->details[i] += from->details[i];
		to->failed[i] += from->failed[i];
		to->past[i] += from->past[i];
	}
	for (unsigned i = 0; i < ANSWER_COUNT; i++)
		to->answers[i] += from->answers[i], to->online_answers[i] += from->online_answers[i];
	if (!to->sni[0] && !to->alpn[0]) {
		memcpy(to->sni, from->sni, sizeof(to->sni));
		memcpy(to->alpn, from->alpn, sizeof(to->alpn));
	}
}

/* What most of the sessions speak that were recognised. */
static enum protocol mostly(const struct protocol_tally *t)
{
	enum protocol most = PROTOCOL_UNKNOWN;

	for (unsigned p = PROTOCOL_UNKNOWN; p < PROTOCOL_COUNT; p++)
		if (t->sessions[p] - t->joined[p] > t->sessions[most] - t->joined[most])
			most = (enum protocol)p;
	return most;
}

bool protocol_may_join(const struct protocol_tally *t, struct protocol_state *s, const uint8_t *b,
		       uint32_t len)
{
	const uint32_t settings =
		1u << DETAIL_REDIS_AUTH | 1u << DETAIL_REDIS_SELECT | 1u << DETAIL_REDIS_HELLO;

	/* each of the others would have been recognised; what looks like it now does by chance */
	if (s->strange && protocol_middle(b, len) != PROTOCOL_TLS)
		return true;
	if (s->protocol <= PROTOCOL_UNKNOWN) {
		enum protocol first = protocol_first(b, len);

		if (!s->strange && protocol_join(first) ==
					   PROTOCOL_JOIN_NEVER) { /* its beginning: only its SYN was missed */
			*s = (struct protocol_state){ 0 };
			return true;
		}
		s->protocol = (uint8_t)protocol_middle(b, len);
	}
	if (s->protocol <= PROTOCOL_UNKNOWN)
		s->protocol = (uint8_t)mostly(t);
	if (s->protocol == PROTOCOL_HTTP1 && s->details & 1u << DETAIL_WEBSOCKET)
		s->protocol = PROTOCOL_WEBSOCKET;
	switch (protocol_join((enum protocol)s->protocol)) {
	case PROTOCOL_JOIN_NEVER:
		return false;
	case PROTOCOL_JOIN_PLAIN:
		return !(s->details & settings) && !t->details[DETAIL_REDIS_AUTH] &&
		       !t->details[DETAIL_REDIS_SELECT] && !t->details[DETAIL_REDIS_HELLO];
	default:
		return true;
	}
}
