/*
 * Segments to packets: headers with right lengths and checksums, and the cutting of super-packets.
 *
 * Headers and payload are kept apart, because the sinks hand both to the kernel as they lie
 * (scatter/gather); only build_packet() copies. IP options and extension headers are never written,
 * whatever the client's packet carried. The pieces of a cut segment are what a sending kernel would
 * have put on the wire in its place (Linux: tcp_gso_segment()), except that urgent data, which a
 * GSO packet cannot say, keeps pointing to the same byte.
 */
#include "packet/build.h"

#include <assert.h>
#include <netinet/in.h>

#include "packet/bytes.h"
#include "packet/checksum.h"

#define IP4_LEN 20u
#define IP6_LEN 40u
#define TCP_LEN 20u
#define IP4_DF 0x4000u

size_t build_headers_len(const struct tx_segment *t)
{
	return (addr_is_v4(&t->tuple.src.addr) ? IP4_LEN : IP6_LEN) + TCP_LEN + t->options_len;
}

static void build_ip4(uint8_t *d, const struct tx_segment *t, uint32_t tcp_len)
{
	uint32_t total = IP4_LEN + tcp_len;
	uint16_t check;

	d[0] = 0x45;
	d[1] = t->tos;
	put_be16(d + 2, total > 0xffff ? 0 : (uint16_t)total);
	put_be16(d + 4, t->ip_id);
	put_be16(d + 6, t->df ? IP4_DF : 0);
	d[8] = t->ttl;
	d[9] = IPPROTO_TCP;
	memset(d + 10, 0, 2);
	memcpy(d + 12, addr_v4_bytes(&t->tuple.src.addr), 4);
	memcpy(d + 16, addr_v4_bytes(&t->tuple.dst.addr), 4);
	check = csum_finish(csum_add(0, d, IP4_LEN));
	memcpy(d + 10, &check, 2);
}

static void build_ip6(uint8_t *d, const struct tx_segment *t, uint32_t tcp_len)
{
	put_be32(d, 6u << 28 | (uint32_t)t->tos << 20 | (t->flow_label & 0xfffff));
	put_be16(d + 4, tcp_len > 0xffff ? 0 : (uint16_t)tcp_len);
	d[6] = IPPROTO_TCP;
	d[7] = t->ttl;
	memcpy(d + 8, t->tuple.src.addr.b, 16);
	memcpy(d + 24, t->tuple.dst.addr.b, 16);
}

static void build_tcp(uint8_t *d, const struct tx_segment *t, uint32_t tcp_len, enum build_checksum how)
{
	uint32_t header_len = TCP_LEN + t->options_len;
	uint64_t sum = csum_pseudo(&t->tuple.src.addr, &t->tuple.dst.addr, tcp_len);
	uint16_t check;

	put_be16(d, t->tuple.src.port);
	put_be16(d + 2, t->tuple.dst.port);
	put_be32(d + 4, t->seq);
	put_be32(d + 8, t->ack);
	d[12] = (uint8_t)(header_len / 4 << 4);
	d[13] = t->flags;
	put_be16(d + 14, t->window);
	memset(d + 16, 0, 2);
	put_be16(d + 18, t->urgent);
	memcpy(d + TCP_LEN, t->options, t->options_len);
	if (how == BUILD_CHECKSUM_PARTIAL) {
		check = csum_fold(sum);
	} else {
		sum = csum_add(sum, d, header_len);
		check = csum_finish(csum_add(sum, t->payload, t->len));
	}
	memcpy(d + 16, &check, 2);
}

size_t build_headers(uint8_t *out, const struct tx_segment *t, enum build_checksum how)
{
	bool v4 = addr_is_v4(&t->tuple.src.addr);
	uint32_t ip_len = v4 ? IP4_LEN : IP6_LEN;
	uint32_t tcp_len = TCP_LEN + t->options_len + t->len;

	assert(v4 == addr_is_v4(&t->tuple.dst.addr));
	assert(t->options_len % 4 == 0 && t->options_len <= TCP_MAX_OPTIONS_LEN);
	if (v4)
		build_ip4(out, t, tcp_len);
	else
		build_ip6(out, t, tcp_len);
	build_tcp(out + ip_len, t, tcp_len, how);
	return ip_len + TCP_LEN + t->options_len;
}

size_t build_packet(uint8_t *out, size_t size, const struct tx_segment *t)
{
	size_t header_len = build_headers_len(t);

	if (size < header_len || size - header_len < t->len)
		return 0;
	build_headers(out, t, BUILD_CHECKSUM_FULL);
	if (t->len)
		memcpy(out + header_len, t->payload, t->len);
	return header_len + t->len;
}

uint32_t build_piece_count(const struct tx_segment *t, uint32_t mss)
{
	if (mss == 0 || t->len <= mss)
		return 1;
	return (t->len - 1) / mss + 1;
}

bool build_piece(struct tx_segment *piece, const struct tx_segment *t, uint32_t mss, uint32_t i)
{
	uint32_t count = build_piece_count(t, mss);
	uint32_t offset = i * mss;

	if (i >= count)
		return false;
	*piece = *t;
	piece->gso_size = 0;
	if (count == 1)
		return true;
	piece->seq += offset;
	piece->ip_id = (uint16_t)(t->ip_id + i);
	piece->payload += offset;
	piece->len = i == count - 1 ? t->len - offset : mss;
	if (i < count - 1)
		piece->flags &= (uint8_t) ~(TCPF_PSH | TCPF_FIN);
	if (i > 0) {
		/* a SYN takes one number of its own, before the first byte */
		piece->seq += !!(t->flags & TCPF_SYN);
		piece->flags &= (uint8_t) ~(TCPF_CWR | TCPF_SYN);
	}
	if (t->flags & TCPF_URG) {
		if (t->urgent > offset) {
			piece->urgent = (uint16_t)(t->urgent - offset);
		} else {
			piece->urgent = 0;
			piece->flags &= (uint8_t)~TCPF_URG;
		}
	}
	return true;
}
