/*
 * One line for a segment, in tcpdump's manner, for messages, reports and failing tests.
 *
 * A small cursor over the caller's buffer drops what does not fit; the line always ends in a NUL.
 * Both kinds of segment are shown by the same code, so that what came in and what went out can be
 * compared by eye.
 */
#include "packet/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/util.h"
#include "packet/bytes.h"
#include "packet/options.h"

struct line {
	char *p, *end;
};

static void PRINTF_LIKE(2, 3) put(struct line *l, const char *fmt, ...)
{
	size_t room = (size_t)(l->end - l->p);
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->p, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->p += (size_t)n < room ? (size_t)n : room - 1;
}

static void put_flags(struct line *l, uint8_t flags)
{
	static const char letters[8] = { 'F', 'S', 'R', 'P', '.', 'U', 'E', 'W' };
	unsigned i;

	put(l, " [%s", flags ? "" : "none");
	for (i = 0; i < 8; i++) {
		if (flags & 1u << i)
			put(l, "%c", letters[i]);
	}
	put(l, "]");
}

static void put_sacks(struct line *l, const struct tcp_option_iter *it)
{
	unsigned i, n = it->len / 8u;

	put(l, "sack %u ", n);
	for (i = 0; i < n; i++)
		put(l, "{%u:%u}", get_be32(it->body + i * 8), get_be32(it->body + i * 8 + 4));
}

static void put_unknown(struct line *l, const struct tcp_option_iter *it)
{
	unsigned i;

	put(l, "unknown-%u", it->kind);
	if (it->len)
		put(l, " 0x");
	for (i = 0; i < it->len; i++)
		put(l, "%02x", it->body[i]);
}

static void put_option(struct line *l, const struct tcp_option_iter *it)
{
	if (it->kind == TCPOPT_MAXSEG && it->len == 2)
		put(l, "mss %u", get_be16(it->body));
	else if (it->kind == TCPOPT_WSCALE && it->len == 1)
		put(l, "wscale %u", it->body[0]);
	else if (it->kind == TCPOPT_SACKOK && it->len == 0)
		put(l, "sackOK");
	else if (it->kind == TCPOPT_SACKS && it->len && it->len % 8 == 0)
		put_sacks(l, it);
	else if (it->kind == TCPOPT_TS && it->len == 8)
		put(l, "TS val %u ecr %u", get_be32(it->body), get_be32(it->body + 4));
	else
		put_unknown(l, it);
}

static void put_nops(struct line *l, const char **comma, const uint8_t *from, const uint8_t *to)
{
	for (; from < to && *from == TCPOPT_NOOP; from++, *comma = ",")
		put(l, "%snop", *comma);
}

static void put_options(struct line *l, const uint8_t *options, size_t len)
{
	const uint8_t *at = options;
	struct tcp_option_iter it;
	const char *comma = "";

	if (!len)
		return;
	put(l, " <");
	tcp_option_begin(&it, options, len);
	while (tcp_option_next(&it)) {
		put_nops(l, &comma, at, it.body - 2);
		put(l, "%s", comma);
		put_option(l, &it);
		comma = ",";
		at = it.p;
	}
	put_nops(l, &comma, at, it.p);
	if (it.malformed)
		put(l, "%s[bad opt]", comma);
	else if (it.p < it.end)
		put(l, "%seol", comma);
	put(l, ">");
}

struct fields {
	const struct tuple *tuple;
	uint32_t seq, ack, len;
	uint16_t window, urgent, gso_size;
	uint8_t flags;
	const uint8_t *options;
	uint8_t options_len;
};

static void put_segment(struct line *l, const struct fields *f)
{
	char src[ENDPOINT_TEXT_LEN], dst[ENDPOINT_TEXT_LEN];

	put(l, "%s > %s", endpoint_format(src, sizeof(src), &f->tuple->src),
	    endpoint_format(dst, sizeof(dst), &f->tuple->dst));
	put_flags(l, f->flags);
	put(l, " seq %u", f->seq);
	if (f->len)
		put(l, ":%u", f->seq + f->len);
	if (f->flags & TCPF_ACK)
		put(l, " ack %u", f->ack);
	put(l, " win %u", f->window);
	if (f->flags & TCPF_URG)
		put(l, " urg %u", f->urgent);
	put_options(l, f->options, f->options_len);
	put(l, " len %u", f->len);
	if (f->gso_size)
		put(l, " gso %u", f->gso_size);
}

char *segment_format(char *buf, size_t size, const struct segment *s)
{
	struct line l = { buf, buf + size };
	struct fields f = {
		.tuple = &s->tuple,
		.seq = s->seq,
		.ack = s->ack,
		.len = s->len,
		.window = s->window,
		.urgent = s->urgent,
		.gso_size = s->gso_size,
		.flags = s->flags,
		.options = s->raw_options,
		.options_len = s->raw_options_len,
	};

	assert(size > 0);
	put_segment(&l, &f);
	if (s->captured < s->len)
		put(&l, " captured %u", s->captured);
	return buf;
}

char *tx_segment_format(char *buf, size_t size, const struct tx_segment *t)
{
	struct line l = { buf, buf + size };
	struct fields f = {
		.tuple = &t->tuple,
		.seq = t->seq,
		.ack = t->ack,
		.len = t->len,
		.window = t->window,
		.urgent = t->urgent,
		.gso_size = t->gso_size,
		.flags = t->flags,
		.options = t->options,
		.options_len = t->options_len,
	};

	assert(size > 0);
	put_segment(&l, &f);
	return buf;
}
