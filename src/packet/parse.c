/*
 * Link layers.
 *
 * A packet comes in as the source saw it, with or without a link-layer header; this file finds the
 * IP header, ip.c and tcp.c go on from there. The link layer's word on the protocol is held against
 * the IP version, because the kernel does so too: what the online server's stack did not take must
 * not reach the target.
 */
#include "packet/parse.h"

#include "packet/bytes.h"
#include "packet/parse_impl.h"

#define ETHER_LEN 14
#define COOKED_LEN 16
#define COOKED2_LEN 20
#define NULL_LEN 4
#define HDLC_LEN 4
#define VLAN_LEN 4
#define MAX_VLAN_TAGS 2

enum { ETHERTYPE_IP4 = 0x0800, ETHERTYPE_IP6 = 0x86dd, ETHERTYPE_8021Q = 0x8100, ETHERTYPE_8021AD = 0x88a8 };

enum { PPP_IP4 = 0x21, PPP_IP6 = 0x57 };

/*
 * Where the IP header is, and which version the link layer says it has (0: the link layer
 * does not say).
 */
struct link {
	uint32_t offset;
	uint8_t version;
};

/* @l->offset stands behind the header that held @ethertype. */
static enum parse_reason after_ethertype(struct link *l, const uint8_t *d, uint32_t captured,
					 uint16_t ethertype)
{
	unsigned tags;

	for (tags = 0; ethertype == ETHERTYPE_8021Q || ethertype == ETHERTYPE_8021AD; tags++) {
		if (tags == MAX_VLAN_TAGS)
			return PARSE_NOT_IP;
		if (captured < l->offset + VLAN_LEN)
			return PARSE_LINK_SHORT;
		ethertype = get_be16(d + l->offset + 2);
		l->offset += VLAN_LEN;
	}
	if (ethertype != ETHERTYPE_IP4 && ethertype != ETHERTYPE_IP6)
		return PARSE_NOT_IP;
	l->version = ethertype == ETHERTYPE_IP4 ? 4 : 6;
	return PARSE_OK;
}

/*
 * The address family in BSD's loopback header is in the byte order of the host that captured
 * (LINK_LOOP: in network order), and AF_INET6 is another number on every system. All are under 256,
 * so that either order reads right.
 */
static enum parse_reason after_family(struct link *l, const uint8_t *d)
{
	uint32_t family = d[0] ? d[0] | (uint32_t)d[1] << 8 | (uint32_t)d[2] << 16 : get_be32(d);

	switch (family) {
	case 2:
		l->version = 4;
		return PARSE_OK;
	case 10: /* Linux */
	case 24: /* NetBSD, OpenBSD */
	case 28: /* FreeBSD */
	case 30: /* Darwin */
		l->version = 6;
		return PARSE_OK;
	default:
		return PARSE_NOT_IP;
	}
}

/* RFC 1661, 1662: address and control may be left out, and so may the protocol's first byte where it is 0. */
static enum parse_reason after_ppp(struct link *l, const uint8_t *d, uint32_t captured)
{
	uint16_t protocol;

	if (captured >= 2 && d[0] == 0xff && d[1] == 0x03)
		l->offset = 2;
	if (captured < l->offset + 2)
		return PARSE_LINK_SHORT;
	protocol = d[l->offset] & 1 ? d[l->offset] : get_be16(d + l->offset);
	l->offset += d[l->offset] & 1 ? 1 : 2;
	if (protocol != PPP_IP4 && protocol != PPP_IP6)
		return PARSE_NOT_IP;
	l->version = protocol == PPP_IP4 ? 4 : 6;
	return PARSE_OK;
}

/* An address, unicast or broadcast, a byte of control, and the type. */
static enum parse_reason after_hdlc(struct link *l, const uint8_t *d, uint32_t captured)
{
	if (captured < HDLC_LEN)
		return PARSE_LINK_SHORT;
	l->offset = HDLC_LEN;
	return after_ethertype(l, d, captured, get_be16(d + 2));
}

static enum parse_reason parse_link(struct link *l, enum link_type type, const uint8_t *d, uint32_t captured)
{
	*l = (struct link){ 0, 0 };
	switch (type) {
	case LINK_ETHERNET:
		if (captured < ETHER_LEN)
			return PARSE_LINK_SHORT;
		l->offset = ETHER_LEN;
		return after_ethertype(l, d, captured, get_be16(d + 12));
	case LINK_COOKED:
		if (captured < COOKED_LEN)
			return PARSE_LINK_SHORT;
		l->offset = COOKED_LEN;
		return after_ethertype(l, d, captured, get_be16(d + 14));
	case LINK_COOKED2:
		if (captured < COOKED2_LEN)
			return PARSE_LINK_SHORT;
		l->offset = COOKED2_LEN;
		return after_ethertype(l, d, captured, get_be16(d));
	case LINK_NULL:
	case LINK_LOOP:
		if (captured < NULL_LEN)
			return PARSE_LINK_SHORT;
		l->offset = NULL_LEN;
		return after_family(l, d);
	case LINK_PPP:
	case LINK_PPP_SERIAL:
		return captured && (d[0] == 0x0f || d[0] == 0x8f) ? after_hdlc(l, d, captured)
								  : after_ppp(l, d, captured);
	case LINK_HDLC:
		return after_hdlc(l, d, captured);
	case LINK_RAW:
	case LINK_RAW_IP:
		return PARSE_OK;
	case LINK_IPV4:
		l->version = 4;
		return PARSE_OK;
	case LINK_IPV6:
		l->version = 6;
		return PARSE_OK;
	default:
		return PARSE_LINK_UNKNOWN;
	}
}

bool parse_ip_offset(enum link_type type, const uint8_t *data, uint32_t captured, uint32_t *offset)
{
	struct link l;

	if (parse_link(&l, type, data, captured) != PARSE_OK)
		return false;
	*offset = l.offset;
	return true;
}

enum parse_reason parse_packet(struct segment *s, const struct raw_packet *p)
{
	/* files may claim anything */
	uint32_t captured = p->captured < p->len ? p->captured : p->len;
	enum parse_reason r;
	struct link l;

	r = parse_link(&l, p->link, p->data, captured);
	if (r != PARSE_OK)
		return r;
	if (captured == l.offset)
		return PARSE_IP_SHORT;
	if (l.version && p->data[l.offset] >> 4 != l.version)
		return PARSE_NOT_IP;
	r = parse_ip(s, p->data + l.offset, captured - l.offset, p->len - l.offset, p->checksum);
	s->time = p->time;
	s->gso_size = p->gso_size;
	return r;
}
