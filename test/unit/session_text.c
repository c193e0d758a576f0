/*
 * The words of a session script: see session_text.h. Plain tokens by strtok_r(); an unknown word is
 * an error, so that a misspelt field is not a field that is silently not compared.
 */
#include "session_text.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "packet/bytes.h"
#include "packet/options.h"

static const char *scaled(const char *word, uint64_t *n, const char *const units[], const uint64_t factor[],
			  int count)
{
	char *end;

	if (*word < '0' || *word > '9')
		return "a number is expected";
	*n = strtoull(word, &end, 0);
	if (!*end)
		return NULL;
	for (int i = 0; i < count; i++)
		if (!strcmp(end, units[i])) {
			*n *= factor[i];
			return NULL;
		}
	return "unknown unit";
}

const char *script_time(const char *word, uint64_t *ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s", "min", "h" };
	static const uint64_t factor[] = { 1,          NS_PER_US,       NS_PER_MS,
					   NS_PER_SEC, 60 * NS_PER_SEC, 3600 * NS_PER_SEC };

	return scaled(word, ns, units, factor, 6);
}

const char *script_number(const char *word, uint64_t *n)
{
	static const char *const units[] = { "K", "M" };
	static const uint64_t factor[] = { 1024, 1024 * 1024 };

	return scaled(word, n, units, factor, 2);
}

static uint8_t *put(uint8_t *p, uint8_t kind, uint8_t len)
{
	*p++ = kind;
	*p++ = len;
	return p;
}

/* "sack 1:2 5:9" behind its first word */
static const char *put_sacks(uint8_t **p, const uint8_t *end, char **rest)
{
	uint8_t *head = *p;
	const char *word;

	*p += 2;
	while ((word = strtok_r(NULL, " ", rest))) {
		char *second;
		uint32_t start = (uint32_t)strtoul(word, &second, 10);

		if (*second != ':' || *p + 8 > end)
			return "bad SACK block";
		put_be32(*p, start);
		put_be32(*p + 4, (uint32_t)strtoul(second + 1, NULL, 10));
		*p += 8;
	}
	put(head, TCPOPT_SACKS, (uint8_t)(*p - head));
	return NULL;
}

static const char *put_option(uint8_t **p, const uint8_t *end, char *text)
{
	char *rest, *word = strtok_r(text, " ", &rest), *arg;
	uint32_t n[2] = { 0, 0 };

	if (!word)
		return "bad option";
	if (!strcmp(word, "sack"))
		return put_sacks(p, end, &rest);
	for (int i = 0; (arg = strtok_r(NULL, " ", &rest));) {
		if (!strcmp(arg, "val") || !strcmp(arg, "ecr"))
			continue;
		if (i < 2)
			n[i++] = (uint32_t)strtoul(arg, NULL, 0);
	}
	if (!strcmp(word, "nop")) {
		*(*p)++ = TCPOPT_NOOP;
	} else if (!strcmp(word, "eol")) {
		*(*p)++ = TCPOPT_END;
	} else if (!strcmp(word, "mss")) {
		*p = put(*p, TCPOPT_MAXSEG, 4);
		put_be16(*p, (uint16_t)n[0]);
		*p += 2;
	} else if (!strcmp(word, "wscale")) {
		*p = put(*p, TCPOPT_WSCALE, 3);
		*(*p)++ = (uint8_t)n[0];
	} else if (!strcmp(word, "sackOK")) {
		*p = put(*p, TCPOPT_SACKOK, 2);
	} else if (!strcmp(word, "TS")) {
		*p = put(*p, TCPOPT_TS, 10);
		put_be32(*p, n[0]);
		put_be32(*p + 4, n[1]);
		*p += 8;
	} else if (!strcmp(word, "mptcp")) { /* mptcp SUBTYPE */
		*p = put(*p, TCPOPT_MPTCP_KIND, 4);
		*(*p)++ = (uint8_t)(n[0] << 4);
		*(*p)++ = 0;
	} else if (!strcmp(word, "kind")) { /* kind K LEN: LEN bytes in all, of 0xab */
		*p = put(*p, (uint8_t)n[0], (uint8_t)n[1]);
		for (uint32_t i = 2; i < n[1]; i++)
			*(*p)++ = 0xab;
	} else {
		return "unknown option";
	}
	return NULL;
}

static const char *options(char *text, struct script_segment *s)
{
	uint8_t space[2 * TCP_MAX_OPTIONS_LEN], *p = space;
	char *rest, *option;

	s->has_options = true;
	for (option = strtok_r(text, ",", &rest); option; option = strtok_r(NULL, ",", &rest)) {
		const char *fault = put_option(&p, space + TCP_MAX_OPTIONS_LEN, option);

		if (fault)
			return fault;
		if (p > space + TCP_MAX_OPTIONS_LEN)
			return "more than 40 bytes of options";
	}
	while ((p - space) % 4)
		*p++ = TCPOPT_END;
	s->options_len = (uint8_t)(p - space);
	memcpy(s->options, space, s->options_len);
	return NULL;
}

static const char *flags(const char *word, uint8_t *f)
{
	static const char letters[] = "FSRP.UEW";

	for (*f = 0; *word; word++) {
		const char *at = strchr(letters, *word);

		if (!at)
			return "flags are letters of FSRP.UEW";
		*f |= (uint8_t)(1u << (at - letters));
	}
	return NULL;
}

/* The word with a value that @key names: where it goes. */
static uint32_t *field(struct script_segment *s, const char *key)
{
	const struct {
		const char *key;
		uint32_t *value;
		bool *has;
	} fields[] = {
		{ "ack", &s->ack, &s->has_ack }, { "win", &s->win, &s->has_win },
		{ "id", &s->id, &s->has_id },    { "ttl", &s->ttl, &s->has_ttl },
		{ "tos", &s->tos, &s->has_tos }, { "gso", &s->gso, &s->has_gso },
		{ "urg", &s->urg, &s->has_urg }, { "cut", &s->captured, NULL },
		{ "dup", &s->dup, NULL },        { "merged", &s->merged, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (!strcmp(fields[i].key, key)) {
			if (fields[i].has)
				*fields[i].has = true;
			return fields[i].value;
		}
	return NULL;
}

/* What a client can say, by name. */
static const struct {
	const char *name, *bytes;
	uint32_t len;
} sayings[] = {
#define SAYS(name, literal)                                                                                  \
	{                                                                                                    \
		name, literal, sizeof(literal) - 1                                                           \
	}
	SAYS("http", "GET / HTTP/1.1\r\n\r\n"),
	SAYS("websocket", "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
	SAYS("hello", "\x16\3\1\2\0\1\0\1\xfc\3\3"),
	SAYS("tls", "\x17\3\3\0\x5f"),
	SAYS("redis", "*2\r\n$4\r\nINCR\r\n$1\r\nx\r\n"),
	SAYS("select", "*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n"),
	SAYS("startup", "\0\0\0\x64\0\3\0\0user\0app\0"),
	SAYS("md5", "p\0\0\0\x28md5"),
	SAYS("binary", "P\0\xa\xf2\xe4v\x57\4\xf6\0\xd7\xcc&\x8f\x9d\2"), /* almost a Parse of PostgreSQL */
	SAYS("redis-noauth", "-NOAUTH Authentication required.\r\n"),
	SAYS("preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
#undef SAYS
};

static const char *says(struct script_segment *s, char **rest)
{
	const char *name = strtok_r(NULL, " \t", rest);

	for (size_t i = 0; name && i < ARRAY_SIZE(sayings); i++)
		if (!strcmp(name, sayings[i].name)) {
			s->says = sayings[i].bytes;
			s->says_len = sayings[i].len;
			return NULL;
		}
	return "says WHAT?";
}

uint8_t script_payload(const struct script_segment *s, uint32_t seq, uint32_t i)
{
	return i < s->says_len ? (uint8_t)s->says[i] : script_byte(seq + i, s->other);
}

static const char *one_word(struct script_segment *s, const char *word, char **rest)
{
	uint32_t *value = field(s, word);
	const char *arg, *fault;
	uint64_t n;

	if (!strcmp(word, "other")) {
		s->other = true;
		return NULL;
	}
	if (!strcmp(word, "says"))
		return says(s, rest);
	if (!strcmp(word, "stale")) {
		s->age++;
		return NULL;
	}
	arg = strtok_r(NULL, " \t", rest);
	if (!arg)
		return "unknown word, or its value is missing";
	if (!strcmp(word, "late"))
		return script_time(arg, &s->late);
	if (!strcmp(word, "for")) {
		strncpy(s->name, arg, sizeof(s->name) - 1);
		return NULL;
	}
	if (!value)
		return "unknown word";
	fault = script_number(arg, &n);
	*value = (uint32_t)n;
	return fault;
}

const char *script_segment(char *text, struct script_segment *s)
{
	char *open = strchr(text, '<'), *shut = open ? strchr(open, '>') : NULL, *rest, *word, *end;
	const char *fault;

	memset(s, 0, sizeof(*s));
	strcpy(s->name, "client");
	if (open) {
		if (!shut)
			return "> is missing";
		*shut = '\0';
		fault = options(open + 1, s);
		if (fault)
			return fault;
		memset(open, ' ', (size_t)(shut + 1 - open));
	}
	word = strtok_r(text, " \t", &rest);
	if (!word)
		return "flags are missing";
	fault = flags(word, &s->flags);
	if (fault)
		return fault;
	word = strtok_r(NULL, " \t", &rest);
	if (!word || *word < '0' || *word > '9')
		return "a sequence number is missing";
	s->seq = (uint32_t)strtoul(word, &end, 10);
	if (*end == ':')
		s->len = (uint32_t)strtoul(end + 1, &end, 10) - s->seq;
	if (*end)
		return "sequence numbers are START or START:END";
	s->captured = s->len;
	while ((word = strtok_r(NULL, " \t", &rest))) {
		fault = one_word(s, word, &rest);
		if (fault)
			return fault;
	}
	if (s->captured > s->len)
		return "cut: more than there is";
	return NULL;
}
