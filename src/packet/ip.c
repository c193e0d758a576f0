/*
 * IPv4 (RFC 791) and IPv6 (RFC 8200) headers down to TCP.
 *
 * The bytes come from the network or a file and may be cut short: @captured bounds what is read,
 * @len what the lengths in the headers may claim. The IP length, not the capture's, ends the
 * segment, so that Ethernet padding never becomes payload; only a zero length on a packet too big
 * for the field (BIG TCP) takes the capture's. The protocol is looked at before fragmentation: a
 * fragment of UDP is "not TCP", a fragment of TCP is lost work and has its own count.
 */
#include "packet/bytes.h"
#include "packet/parse_impl.h"
#include "packet/checksum.h"

#include <netinet/in.h>

#define IP4_LEN 20u
#define IP6_LEN 40u
#define IP4_DF 0x4000u
#define IP4_MF_OR_OFFSET 0x3fffu
#define MAX_EXT_HEADERS 8
#define EXT_MIN_LEN 8u
#define IPOPT_END 0
#define IPOPT_NOOP 1
#define IPOPT_RR 7
#define IPOPT_TIMESTAMP 68
#define IPOPT_LSRR 131
#define IPOPT_SSRR 137
#define IPOPT_RA 148
#define OPT_PAD1 0
#define OPT_JUMBO 0xc2 /* RFC 2675 */

enum { EXT_HOST_IDENTITY = 139, EXT_SHIM6 = 140 };

static bool bad_address(const struct tuple *t)
{
	return addr_is_any(&t->src.addr) || addr_is_any(&t->dst.addr) || addr_is_multicast(&t->src.addr) ||
	       addr_is_multicast(&t->dst.addr);
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Would Linux take option @o of @len bytes (ip_options_compile())? It looks into no others. */
static bool ip_option_is_good(const uint8_t *o, uint32_t len)
{
	switch (o[0]) {
	case IPOPT_LSRR:
	case IPOPT_SSRR:
		return false; /* well formed or not: nobody forwards them, and no service takes them */
	case IPOPT_RR:
		return len >= 3 && o[2] >= 4 && (o[2] > len || o[2] + 3u <= len);
	case IPOPT_TIMESTAMP:
		return len >= 4 && o[2] >= 5 && (o[2] > len || o[2] + 3u <= len);
	case IPOPT_RA:
		return len >= 4;
	default:
		return true;
	}
}

/* Has the IPv4 header of @len bytes at @d a source route among its options (RFC 791), or a malformed one? */
static bool has_odd_option(const uint8_t *d, uint32_t len)
{
	for (uint32_t i = IP4_LEN; i < len && d[i] != IPOPT_END;) {
		if (d[i] == IPOPT_NOOP) {
			i++;
			continue;
		}
		if (i + 1 >= len || d[i + 1] < 2 || d[i + 1] > len - i || !ip_option_is_good(d + i, d[i + 1]))
			return true;
		i += d[i + 1];
	}
	return false;
}

static enum parse_reason parse_ip4(struct segment *s, const uint8_t *d, uint32_t captured, uint32_t len,
				   bool verify)
{
	uint32_t header_len, total;
	uint16_t frag;

	if (captured < IP4_LEN)
		return PARSE_IP_SHORT;
	header_len = (d[0] & 15u) * 4;
	if (header_len < IP4_LEN)
		return PARSE_IP_HEADER_LEN;
	if (header_len > captured)
		return PARSE_IP_SHORT;
	if (verify && csum_fold(csum_add(0, d, header_len)) != 0xffff)
		return PARSE_BAD_CHECKSUM;
	total = get_be16(d + 2);
	if (total == 0 && len > 0xffff)
		total = len;
	if (total < header_len || total > len)
		return PARSE_IP_TOTAL_LEN;
	if (d[9] != IPPROTO_TCP)
		return PARSE_NOT_TCP;
	frag = get_be16(d + 6);
	if (frag & IP4_MF_OR_OFFSET)
		return PARSE_FRAGMENT;
	s->tuple.src.addr = addr_from_v4(d + 12);
	s->tuple.dst.addr = addr_from_v4(d + 16);
	if (bad_address(&s->tuple))
		return PARSE_BAD_ADDRESS;
	s->tos = d[1];
	s->ip_id = get_be16(d + 4);
	s->df = frag & IP4_DF;
	s->ttl = d[8];
	s->odd_ip_option = header_len > IP4_LEN && has_odd_option(d, header_len);
	s->flow_label = 0;
	return parse_tcp(s, d + header_len, min_u32(captured, total) - header_len, total - header_len,
			 verify);
}

/* The jumbo payload length in the hop-by-hop header at @h, or 0. @len bounds the reading. */
static uint32_t jumbo_option(const uint8_t *h, uint32_t len)
{
	uint32_t end, i;

	if (len < EXT_MIN_LEN)
		return 0;
	end = min_u32((h[1] + 1u) * 8, len);
	for (i = 2; i < end;) {
		if (h[i] == OPT_PAD1) {
			i++;
			continue;
		}
		if (end - i < 2 || h[i + 1] > end - i - 2)
			return 0;
		if (h[i] == OPT_JUMBO && h[i + 1] == 4)
			return get_be32(h + i + 2);
		i += 2 + h[i + 1];
	}
	return 0;
}

/*
 * Bytes behind the fixed header, or false when the packet does not say it or says more
 * than there are.
 */
static bool payload_len6(uint32_t *payload, const uint8_t *d, uint32_t captured, uint32_t len)
{
	uint32_t v = get_be16(d + 4);

	if (v == 0 && d[6] == IPPROTO_HOPOPTS) {
		v = jumbo_option(d + IP6_LEN, captured - IP6_LEN);
		if (v && v <= 0xffff) /* RFC 2675 section 3: an error */
			return false;
	}
	if (v == 0 && len > IP6_LEN + 0xffff)
		v = len - IP6_LEN;
	*payload = v;
	return v != 0 && v <= len - IP6_LEN;
}

static bool is_extension(uint8_t next)
{
	switch (next) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH:
	case EXT_HOST_IDENTITY:
	case EXT_SHIM6:
		return true;
	default:
		return false;
	}
}

/*
 * Step from the fixed header over extension headers; *offset is then where TCP begins. @end: of the
 * packet by its own length; @captured: no more than that.
 */
static enum parse_reason skip_extensions(const uint8_t *d, uint32_t captured, uint32_t end, uint32_t *offset)
{
	uint32_t off = IP6_LEN, ext_len;
	uint8_t next = d[6];
	unsigned n;

	for (n = 0; is_extension(next); n++) {
		const uint8_t *h = d + off;

		if (n == MAX_EXT_HEADERS || end - off < EXT_MIN_LEN)
			return PARSE_EXT_HEADERS;
		if (captured < off + EXT_MIN_LEN)
			return PARSE_IP_SHORT;
		ext_len = (h[1] + 1u) * 8;
		switch (next) {
		case IPPROTO_HOPOPTS:
			if (n > 0) /* only ever first: RFC 8200 4.1 */
				return PARSE_EXT_HEADERS;
			break;
		case IPPROTO_ROUTING:
			if (h[3]) /* segments left: not at its destination */
				return PARSE_EXT_HEADERS;
			break;
		case IPPROTO_AH:
			ext_len = (h[1] + 2u) * 4;
			break;
		case IPPROTO_FRAGMENT:
			ext_len = 8;
			/*
			 * offset 0 and no more to come is an atomic fragment, a whole
			 * packet: RFC 6946
			 */
			if (get_be16(h + 2) & 0xfff9u) {
				if (h[0] == IPPROTO_TCP || is_extension(h[0]))
					return PARSE_FRAGMENT6;
				return PARSE_NOT_TCP;
			}
			break;
		}
		if (ext_len > end - off)
			return PARSE_EXT_HEADERS;
		if (ext_len > captured - off)
			return PARSE_IP_SHORT;
		next = h[0];
		off += ext_len;
	}
	*offset = off;
	return next == IPPROTO_TCP ? PARSE_OK : PARSE_NOT_TCP;
}

static enum parse_reason parse_ip6(struct segment *s, const uint8_t *d, uint32_t captured, uint32_t len,
				   bool verify)
{
	uint32_t payload, end, off;
	enum parse_reason r;

	if (captured < IP6_LEN)
		return PARSE_IP_SHORT;
	if (!payload_len6(&payload, d, captured, len))
		return PARSE_IP_TOTAL_LEN;
	end = IP6_LEN + payload;
	captured = min_u32(captured, end);
	r = skip_extensions(d, captured, end, &off);
	if (r != PARSE_OK)
		return r;
	s->tuple.src.addr = addr_from_v6(d + 8);
	s->tuple.dst.addr = addr_from_v6(d + 24);
	/*
	 * a mapped address never stands in a packet (RFC 4291 2.5.5.2) and would pass for
	 * IPv4 further on
	 */
	if (bad_address(&s->tuple) || addr_is_v4(&s->tuple.src.addr) || addr_is_v4(&s->tuple.dst.addr))
		return PARSE_BAD_ADDRESS;
	s->tos = (uint8_t)(get_be16(d) >> 4);
	s->flow_label = get_be32(d) & 0xfffff;
	s->ip_id = 0;
	s->df = false;
	s->ttl = d[7];
	s->odd_ip_option = false;
	return parse_tcp(s, d + off, captured - off, end - off, verify);
}

enum parse_reason parse_ip(struct segment *s, const uint8_t *data, uint32_t captured, uint32_t len,
			   enum checksum_state sum)
{
	bool verify = sum == CHECKSUM_VERIFY;

	s->time = 0;
	s->gso_size = 0;
	if (captured > len)
		captured = len;
	if (captured == 0)
		return PARSE_IP_SHORT;
	switch (data[0] >> 4) {
	case 4:
		return parse_ip4(s, data, captured, len, verify);
	case 6:
		return parse_ip6(s, data, captured, len, verify);
	default:
		return PARSE_NOT_IP;
	}
}
