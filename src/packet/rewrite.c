/*
 * Changing a packet where it lies.
 *
 * The parser says where the headers are and proves that they are whole; nothing is touched before
 * all conditions hold. Each change adds its difference (new minus old, in one's complement) to the
 * difference of the checksums that cover it; both header fields are corrected once at the end (RFC
 * 1624 eqn. 3). A sum that was wrong stays wrong: damage is not made to look whole. A partial TCP
 * checksum is the pseudo-header's sum, so of all changes only the addresses count, and the field is
 * not complemented.
 */
#include "packet/rewrite.h"

#include "packet/bytes.h"
#include "packet/checksum.h"
#include "packet/options.h"

#define IP4_CHECK 10
#define TCP_CHECK 16

/*
 * Put @n bytes at @base + @off and return the difference of the sum over @base. @base is where the
 * checksummed words begin; a field at an odd offset (a timestamp behind a single no-op) lies across
 * words, so whole words are summed.
 */
static uint64_t replace(uint8_t *base, size_t off, const void *bytes, size_t n)
{
	size_t first = off & ~(size_t)1, len = ((off + n + 1) & ~(size_t)1) - first;
	uint16_t before = csum_finish(csum_add(0, base + first, len));

	memcpy(base + off, bytes, n);
	return csum_add(before, base + first, len);
}

static void correct(uint8_t *field, uint64_t diff, bool complemented)
{
	uint16_t check;

	memcpy(&check, field, 2);
	if (complemented)
		check = csum_finish(diff + (uint16_t)~check);
	else
		check = csum_fold(diff + check);
	memcpy(field, &check, 2);
}

/*
 * Offset of the TSecr from the start of the options, or 0 when there is none. Of several timestamps
 * the last one counts, as it does to the reader.
 */
static size_t tsecr_offset(const struct segment *s)
{
	struct tcp_option_iter it;
	size_t off = 0;

	tcp_option_begin(&it, s->raw_options, s->raw_options_len);
	while (tcp_option_next(&it)) {
		if (it.kind == TCPOPT_TS && it.len == 8)
			off = (size_t)(it.body - s->raw_options) + 4;
	}
	return off;
}

static uint64_t replace_addr(uint8_t *packet, bool v4, bool is_src, const struct addr *a)
{
	if (v4)
		return replace(packet, is_src ? 12 : 16, addr_v4_bytes(a), 4);
	return replace(packet, is_src ? 8 : 24, a->b, 16);
}

static uint64_t replace_port(uint8_t *tcp, bool is_src, uint16_t port)
{
	uint8_t b[2];

	put_be16(b, port);
	return replace(tcp, is_src ? 0 : 2, b, sizeof(b));
}

bool rewrite_packet(uint8_t *packet, size_t len, const struct rewrite *r, enum checksum_state sum)
{
	uint64_t addr_diff = 0, tcp_diff = 0;
	uint8_t *tcp, b[4];
	struct segment s;
	size_t off;
	bool v4;

	if (len > UINT32_MAX)
		return false;
	if (parse_ip(&s, packet, (uint32_t)len, (uint32_t)len, CHECKSUM_TRUSTED) != PARSE_OK)
		return false;
	v4 = addr_is_v4(&s.tuple.src.addr);
	if ((r->src && addr_is_v4(&r->src->addr) != v4) || (r->dst && addr_is_v4(&r->dst->addr) != v4))
		return false;
	tcp = packet + (s.raw_options - packet) - 20;
	if (r->src) {
		addr_diff += replace_addr(packet, v4, true, &r->src->addr);
		tcp_diff += replace_port(tcp, true, r->src->port);
	}
	if (r->dst) {
		addr_diff += replace_addr(packet, v4, false, &r->dst->addr);
		tcp_diff += replace_port(tcp, false, r->dst->port);
	}
	if (r->set_ack) {
		put_be32(b, r->ack);
		tcp_diff += replace(tcp, 8, b, 4);
	}
	off = r->set_tsecr ? tsecr_offset(&s) : 0;
	if (off) {
		put_be32(b, r->tsecr);
		tcp_diff += replace(tcp, 20 + off, b, 4);
	}
	if (v4)
		correct(packet + IP4_CHECK, addr_diff, true);
	if (sum == CHECKSUM_PARTIAL)
		correct(tcp + TCP_CHECK, addr_diff, false);
	else
		correct(tcp + TCP_CHECK, addr_diff + tcp_diff, true);
	return true;
}
