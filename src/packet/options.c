/*
 * TCP options (RFC 9293 3.1, 3.2): a checked walk, and on top of it the parsing into values, the
 * filtering of a client's SYN, and the building of our own.
 *
 * Option bytes come from the network: the walk is the one place that trusts no length, and
 * everything else reads only the body that the walk hands out. A known kind whose length is not the
 * one its RFC names counts as unknown, as in the kernel's tcp_parse_options(): ignored, never
 * guessed at.
 */
#include "packet/options.h"

#include "packet/bytes.h"

#define MAX_WSCALE 14         /* RFC 7323 2.3 */
#define MPTCP_DSS_SUBTYPE 2   /* RFC 8684 8: behind MP_CAPABLE and MP_JOIN; others follow */
#define TFO_EXP_MAGIC 0xf989u /* RFC 7413 4.1.1: the experimental option's identifier */

void tcp_option_begin(struct tcp_option_iter *it, const uint8_t *options, size_t len)
{
	/* no options may come as no pointer, to which C allows nothing to be added */
	*it = (struct tcp_option_iter){ .p = options, .end = len ? options + len : options };
}

bool tcp_option_next(struct tcp_option_iter *it)
{
	while (it->p < it->end) {
		size_t left = (size_t)(it->end - it->p);
		uint8_t kind = it->p[0];

		if (kind == TCPOPT_END)
			return false;
		if (kind == TCPOPT_NOOP) {
			it->p++;
			continue;
		}
		if (left < 2 || it->p[1] < 2 || it->p[1] > left) {
			it->malformed = true;
			return false;
		}
		it->kind = kind;
		it->len = (uint8_t)(it->p[1] - 2);
		it->body = it->p + 2;
		it->p += it->p[1];
		return true;
	}
	return false;
}

static void take_sacks(struct tcp_options *o, const uint8_t *body, unsigned len)
{
	unsigned i;

	o->n_sack = (uint8_t)(len / 8);
	for (i = 0; i < o->n_sack; i++) {
		o->sack[i].start = get_be32(body + i * 8);
		o->sack[i].end = get_be32(body + i * 8 + 4);
	}
}

/* False when the kind is not known, or its length is not the kind's. */
static bool take_option(struct tcp_options *o, const struct tcp_option_iter *it)
{
	switch (it->kind) {
	case TCPOPT_MAXSEG:
		if (it->len != 2)
			return false;
		o->mss = get_be16(it->body);
		return true;
	case TCPOPT_WSCALE:
		if (it->len != 1)
			return false;
		o->has_wscale = true;
		o->wscale = it->body[0] > MAX_WSCALE ? MAX_WSCALE : it->body[0];
		return true;
	case TCPOPT_SACKOK:
		if (it->len != 0)
			return false;
		o->has_sack_permitted = true;
		return true;
	case TCPOPT_SACKS:
		if (it->len == 0 || it->len % 8 || it->len > 8 * TCP_MAX_SACK_BLOCKS)
			return false;
		take_sacks(o, it->body, it->len);
		return true;
	case TCPOPT_TS:
		if (it->len != 8)
			return false;
		o->has_ts = true;
		o->tsval = get_be32(it->body);
		o->tsecr = get_be32(it->body + 4);
		return true;
	case TCPOPT_MD5:
	case TCPOPT_AO:
		o->has_auth = true;
		return true;
	case TCPOPT_MPTCP_KIND:
		o->has_mptcp = true;
		if (it->len && it->body[0] >> 4 <= MPTCP_DSS_SUBTYPE)
			o->mptcp |= (uint8_t)(1 << (it->body[0] >> 4));
		return true;
	case TCPOPT_TFO_COOKIE:
		o->has_tfo = true;
		return true;
	case TCPOPT_TFO_EXP:
		if (it->len < 2 || get_be16(it->body) != TFO_EXP_MAGIC)
			return false;
		o->has_tfo = true;
		return true;
	default:
		return false;
	}
}

bool tcp_options_parse(struct tcp_options *o, const uint8_t *options, size_t len)
{
	struct tcp_option_iter it;

	memset(o, 0, sizeof(*o));
	tcp_option_begin(&it, options, len);
	while (tcp_option_next(&it)) {
		if (!take_option(o, &it))
			o->has_unknown = true;
	}
	o->malformed = it.malformed;
	return !it.malformed;
}

/* May this option of a SYN go to the target? */
static bool replicable(const struct tcp_option_iter *it)
{
	switch (it->kind) {
	case TCPOPT_MAXSEG:
		return it->len == 2;
	case TCPOPT_WSCALE:
		return it->len == 1;
	case TCPOPT_SACKOK:
		return it->len == 0;
	case TCPOPT_TS:
		return it->len == 8;
	default:
		return false;
	}
}

uint8_t tcp_options_syn_filter(uint8_t out[TCP_MAX_OPTIONS_LEN], const uint8_t *options, size_t len,
			       uint32_t tsval, uint16_t mss_limit)
{
	struct tcp_option_iter it;
	size_t end;

	if (len > TCP_MAX_OPTIONS_LEN)
		len = TCP_MAX_OPTIONS_LEN;
	/*
	 * No-ops everywhere, then what may stay at the place where it stood: nothing
	 * moves, nothing is left behind.
	 */
	memset(out, TCPOPT_NOOP, TCP_MAX_OPTIONS_LEN);
	tcp_option_begin(&it, options, len);
	while (tcp_option_next(&it)) {
		uint8_t *to = out + (it.body - options);

		if (!replicable(&it))
			continue;
		to[-2] = it.kind;
		to[-1] = (uint8_t)(it.len + 2);
		memcpy(to, it.body, it.len);
		if (it.kind == TCPOPT_MAXSEG && mss_limit && get_be16(to) > mss_limit) {
			put_be16(to, mss_limit);
		} else if (it.kind == TCPOPT_TS) {
			put_be32(to, tsval);
			put_be32(to + 4, 0);
		}
	}
	/*
	 * At an end-of-list, or at a length that ends the walk for every reader, the rest
	 * is padding (zero).
	 */
	end = (size_t)(it.p - options);
	memset(out + end, TCPOPT_END, TCP_MAX_OPTIONS_LEN - end);
	return (uint8_t)((len + 3) & ~(size_t)3);
}

static uint8_t *put_ts(uint8_t *p, uint32_t tsval, uint32_t tsecr)
{
	*p++ = TCPOPT_TS;
	*p++ = 10;
	put_be32(p, tsval);
	put_be32(p + 4, tsecr);
	return p + 8;
}

uint8_t tcp_options_syn_build(uint8_t out[TCP_MAX_OPTIONS_LEN], uint16_t mss, int wscale, bool sack_permitted,
			      bool has_ts, uint32_t tsval)
{
	uint8_t *p = out;

	if (mss) {
		*p++ = TCPOPT_MAXSEG;
		*p++ = 4;
		put_be16(p, mss);
		p += 2;
	}
	if (sack_permitted || has_ts) {
		if (!sack_permitted || !has_ts) {
			*p++ = TCPOPT_NOOP;
			*p++ = TCPOPT_NOOP;
		}
		if (sack_permitted) {
			*p++ = TCPOPT_SACKOK;
			*p++ = 2;
		}
		if (has_ts)
			p = put_ts(p, tsval, 0);
	}
	if (wscale >= 0) {
		*p++ = TCPOPT_NOOP;
		*p++ = TCPOPT_WSCALE;
		*p++ = 3;
		*p++ = (uint8_t)wscale;
	}
	return (uint8_t)(p - out);
}

uint8_t tcp_options_ts_build(uint8_t out[TCP_MAX_OPTIONS_LEN], uint32_t tsval, uint32_t tsecr)
{
	out[0] = TCPOPT_NOOP;
	out[1] = TCPOPT_NOOP;
	return (uint8_t)(put_ts(out + 2, tsval, tsecr) - out);
}
