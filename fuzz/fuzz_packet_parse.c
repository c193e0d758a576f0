/*
 * Any bytes as a packet of every link type: the parser must survive them, keep its promises about
 * what it accepts, and what it accepts must survive formatting, building, parsing again and
 * rewriting. The first bytes of the input choose the checksum state and how much longer than its
 * bytes the packet was on the wire.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/util.h"
#include "packet/build.h"
#include "packet/bytes.h"
#include "packet/parse.h"
#include "packet/rewrite.h"
#include "packet/text.h"

static const enum link_type links[] = {
	LINK_ETHERNET, LINK_RAW,  LINK_RAW_IP, LINK_COOKED, LINK_COOKED2,    LINK_NULL,
	LINK_LOOP,     LINK_IPV4, LINK_IPV6,   LINK_PPP,    LINK_PPP_SERIAL, LINK_HDLC,
};

static struct tx_segment tx_of(const struct segment *s)
{
	struct tx_segment t = {
		.tuple = s->tuple,
		.seq = s->seq,
		.ack = s->ack,
		.window = s->window,
		.urgent = s->urgent,
		.ip_id = s->ip_id,
		.flags = s->flags,
		.ttl = s->ttl,
		.tos = s->tos,
		.df = s->df,
		.flow_label = s->flow_label,
		.options_len = s->raw_options_len,
		.payload = s->payload,
		.len = s->captured,
	};

	memcpy(t.options, s->raw_options, s->raw_options_len);
	return t;
}

static void check_same(const struct segment *a, const struct segment *b)
{
	assert(tuple_eq(&a->tuple, &b->tuple));
	assert(a->seq == b->seq && a->ack == b->ack && a->flags == b->flags);
	assert(a->window == b->window && a->urgent == b->urgent);
	assert(a->ttl == b->ttl && a->tos == b->tos && a->df == b->df && a->ip_id == b->ip_id);
	assert(a->flow_label == b->flow_label);
	assert(a->raw_options_len == b->raw_options_len);
	assert(memcmp(a->raw_options, b->raw_options, a->raw_options_len) == 0);
	assert(memcmp(&a->opt, &b->opt, sizeof(a->opt)) == 0);
}

/* Built anew, the packet must have right sums and the same fields; so must it after a rewrite. */
static void round_trip(const struct segment *s)
{
	struct tx_segment t = tx_of(s);
	size_t size = build_headers_len(&t) + t.len;
	uint8_t *packet = malloc(size);
	struct endpoint to = s->tuple.src;
	struct rewrite r = { .dst = &to, .set_ack = true, .set_tsecr = true, .ack = 5, .tsecr = 6 };
	struct segment again;

	assert(packet && build_packet(packet, size, &t) == size);
	if (size <= 0xffff) {
		assert(parse_ip(&again, packet, (uint32_t)size, (uint32_t)size, CHECKSUM_VERIFY) == PARSE_OK);
		check_same(s, &again);
		assert(again.len == t.len && memcmp(again.payload, s->payload, t.len) == 0);
		assert(rewrite_packet(packet, size, &r, CHECKSUM_VERIFY));
		assert(parse_ip(&again, packet, (uint32_t)size, (uint32_t)size, CHECKSUM_VERIFY) == PARSE_OK);
		assert(again.ack == 5 && endpoint_eq(&again.tuple.dst, &to));
		assert(!again.opt.has_ts || again.opt.tsecr == 6);
	}
	free(packet);
}

static void check_accepted(const struct raw_packet *p, const struct segment *s)
{
	char line[SEGMENT_TEXT_LEN], small[40];
	const uint8_t *end = p->data + p->captured;

	assert(s->captured <= s->len && s->len <= p->len);
	assert(s->payload >= p->data && s->payload + s->captured <= end);
	assert(s->raw_options >= p->data && s->raw_options + s->raw_options_len == s->payload);
	assert(s->raw_options_len % 4 == 0 && s->raw_options_len <= TCP_MAX_OPTIONS_LEN);
	assert(s->opt.n_sack <= TCP_MAX_SACK_BLOCKS && s->opt.wscale <= 14);
	segment_format(line, sizeof(line), s);
	segment_format(small, sizeof(small), s);
	assert(strlen(line) < sizeof(line) - 1 && strlen(small) < sizeof(small));
	round_trip(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct raw_packet p = { .time = 1 };
	size_t i;

	if (size < 4)
		return 0;
	p.checksum = (enum checksum_state)(data[0] % 3);
	p.data = data + 4;
	p.captured = (uint32_t)size - 4;
	p.len = p.captured;
	if (data[1] & 1)
		p.len += get_be16(data + 2) * (data[1] & 2 ? 64u : 1u);
	for (i = 0; i < ARRAY_SIZE(links); i++) {
		struct segment s;

		p.link = links[i];
		if (parse_packet(&s, &p) == PARSE_OK)
			check_accepted(&p, &s);
	}
	return 0;
}
