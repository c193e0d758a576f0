/*
 * The TCP header (RFC 9293 3.1) into a segment.
 *
 * The checksum is judged before flags and options: a damaged packet shall be counted as damaged,
 * not as what its damage looks like. Where the capture cut payload off there is no checksum to
 * judge, and none is.
 */
#include "packet/bytes.h"
#include "packet/checksum.h"
#include "packet/options.h"
#include "packet/parse_impl.h"

#define TCP_LEN 20u

static bool bad_flags(uint8_t f)
{
	if (!(f & (TCPF_SYN | TCPF_ACK | TCPF_RST | TCPF_FIN)))
		return true;
	return (f & TCPF_SYN) && (f & TCPF_FIN);
}

static bool checksum_right(const struct segment *s, const uint8_t *d, uint32_t len)
{
	uint64_t sum = csum_pseudo(&s->tuple.src.addr, &s->tuple.dst.addr, len);

	return csum_fold(csum_add(sum, d, len)) == 0xffff;
}

enum parse_reason parse_tcp(struct segment *s, const uint8_t *d, uint32_t captured, uint32_t len, bool verify)
{
	uint32_t header_len;

	if (captured < TCP_LEN)
		return PARSE_TCP_SHORT;
	header_len = (d[12] >> 4) * 4u;
	if (header_len < TCP_LEN)
		return PARSE_TCP_HEADER_LEN;
	if (header_len > captured)
		return PARSE_TCP_SHORT;
	if (verify && captured == len && !checksum_right(s, d, len))
		return PARSE_BAD_CHECKSUM;
	s->flags = d[13];
	if (s->flags & TCPF_RST)
		s->flags &= (uint8_t)~TCPF_SYN; /* every state looks at the RST first (RFC 9293 3.10.7) */
	if (bad_flags(s->flags))
		return PARSE_BAD_FLAGS;
	s->tuple.src.port = get_be16(d);
	s->tuple.dst.port = get_be16(d + 2);
	if (!s->tuple.src.port || !s->tuple.dst.port)
		return PARSE_BAD_ADDRESS; /* RFC 9293 leaves it out, and the channel cannot say it */
	s->seq = get_be32(d + 4);
	s->ack = get_be32(d + 8);
	s->window = get_be16(d + 14);
	s->urgent = get_be16(d + 18);
	s->raw_options = d + TCP_LEN;
	s->raw_options_len = (uint8_t)(header_len - TCP_LEN);
	s->payload = d + header_len;
	s->len = len - header_len;
	s->captured = captured - header_len;
	tcp_options_parse(&s->opt, s->raw_options, s->raw_options_len);
	return PARSE_OK;
}
