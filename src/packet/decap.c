/*
 * Packets inside of packets.
 *
 * A switch or a cloud mirrors traffic to a collector inside of a tunnel, and what is recorded there is the
 * tunnel's. In: such a packet. Out: the one that it carries, for the parser. The outer checksums are not
 * looked at, since the inner packet has its own.
 */
#include "packet/decap.h"

#include "packet/bytes.h"
#include "packet/parse_impl.h"

#define DEEPEST 3

#define IP6_LEN 40
#define UDP_LEN 8
#define VXLAN_LEN 8
#define GENEVE_LEN 8
#define GRE_LEN 4

enum { PROTO_IP4 = 4, PROTO_UDP = 17, PROTO_IP6 = 41, PROTO_GRE = 47 };
enum { PORT_VXLAN = 4789, PORT_VXLAN_LINUX = 8472, PORT_GENEVE = 6081 };
enum {
	TYPE_IP4 = 0x0800,
	TYPE_IP6 = 0x86dd,
	TYPE_ETHERNET = 0x6558,
	TYPE_ERSPAN2 = 0x88be,
	TYPE_ERSPAN3 = 0x22eb
};

/* What is left of a packet. */
struct rest {
	const uint8_t *data;
	uint32_t captured, len;
};

/* Take @n bytes off. False: so many were not captured. */
static bool skip(struct rest *r, uint32_t n)
{
	if (r->captured < n)
		return false;
	r->data += n;
	r->captured -= n;
	r->len -= n;
	return true;
}

/* From the IP header to what it carries; *protocol: what that is. */
static bool skip_ip(struct rest *r, uint8_t *protocol)
{
	uint32_t header, total;

	if (r->captured < 20)
		return false;
	if (r->data[0] >> 4 == 4) {
		header = (r->data[0] & 0xfu) * 4;
		total = get_be16(r->data + 2);
		if (header < 20 || get_be16(r->data + 6) & 0x3fff)
			return false;
		*protocol = r->data[9];
	} else if (r->data[0] >> 4 == 6 && r->captured >= IP6_LEN) {
		header = IP6_LEN;
		total = IP6_LEN + get_be16(r->data + 4);
		*protocol = r->data[6];
	} else {
		return false;
	}
	if (total < header || total > r->len)
		return false;
	r->len = total; /* cuts off Ethernet's padding */
	r->captured = r->captured < total ? r->captured : total;
	return skip(r, header);
}

/* What @type says of the packet at @r. */
static bool inner_link(uint16_t type, enum link_type *link)
{
	switch (type) {
	case TYPE_ETHERNET:
		*link = LINK_ETHERNET;
		return true;
	case TYPE_IP4:
		*link = LINK_IPV4;
		return true;
	case TYPE_IP6:
		*link = LINK_IPV6;
		return true;
	default:
		return false;
	}
}

static bool out_of_vxlan(struct rest *r, enum link_type *link)
{
	*link = LINK_ETHERNET;
	return r->captured >= VXLAN_LEN && r->data[0] & 0x08 && skip(r, VXLAN_LEN);
}

static bool out_of_geneve(struct rest *r, enum link_type *link)
{
	uint32_t options;

	if (r->captured < GENEVE_LEN || r->data[0] >> 6 || !inner_link(get_be16(r->data + 2), link))
		return false;
	options = (r->data[0] & 0x3fu) * 4;
	return skip(r, GENEVE_LEN + options);
}

static bool out_of_udp(struct rest *r, unsigned kinds, enum link_type *link)
{
	uint16_t port;

	if (r->captured < UDP_LEN)
		return false;
	port = get_be16(r->data + 2);
	skip(r, UDP_LEN);
	if (port == PORT_VXLAN || port == PORT_VXLAN_LINUX)
		return kinds & 1u << DECAP_BIT_VXLAN && out_of_vxlan(r, link);
	return port == PORT_GENEVE && kinds & 1u << DECAP_BIT_GENEVE && out_of_geneve(r, link);
}

/* @numbered: GRE has a sequence number, which tells type II from type I, that has no header of its own. */
static bool out_of_erspan(struct rest *r, uint16_t type, bool numbered, enum link_type *link)
{
	*link = LINK_ETHERNET;
	if (type == TYPE_ERSPAN2)
		return !numbered || (r->captured >= 8 && r->data[0] >> 4 == 1 && skip(r, 8));
	if (r->captured < 12 || r->data[0] >> 4 != 2)
		return false;
	return skip(r, r->data[11] & 1 ? 20 : 12); /* with what belongs to a platform */
}

static bool out_of_gre(struct rest *r, unsigned kinds, enum link_type *link)
{
	uint16_t flags, type;

	if (r->captured < GRE_LEN)
		return false;
	flags = get_be16(r->data);
	type = get_be16(r->data + 2);
	if (flags & 0x4007) /* source routes, and versions other than 0 */
		return false;
	if (!skip(r,
		  GRE_LEN + (flags & 0x8000 ? 4 : 0) + (flags & 0x2000 ? 4 : 0) + (flags & 0x1000 ? 4 : 0)))
		return false;
	if (type == TYPE_ERSPAN2 || type == TYPE_ERSPAN3)
		return kinds & 1u << DECAP_BIT_ERSPAN && out_of_erspan(r, type, flags & 0x1000, link);
	return kinds & 1u << DECAP_BIT_GRE && inner_link(type, link);
}

/* Of the packet at @r, whose @protocol says what it is. */
static bool out_of_outer(struct rest *r, uint8_t protocol, unsigned kinds, enum link_type *link)
{
	switch (protocol) {
	case PROTO_UDP:
		return out_of_udp(r, kinds, link);
	case PROTO_GRE:
		return out_of_gre(r, kinds, link);
	case PROTO_IP4:
	case PROTO_IP6:
		*link = protocol == PROTO_IP4 ? LINK_IPV4 : LINK_IPV6;
		return kinds & 1u << DECAP_BIT_IPIP;
	default:
		return false;
	}
}

static bool decap_once(struct raw_packet *p, unsigned kinds)
{
	struct rest r = { p->data, p->captured < p->len ? p->captured : p->len, p->len };
	enum link_type link = LINK_ETHERNET;
	uint8_t protocol;
	uint32_t offset;

	if (!parse_ip_offset(p->link, r.data, r.captured, &offset) || !skip(&r, offset) ||
	    !skip_ip(&r, &protocol) || !out_of_outer(&r, protocol, kinds, &link) || !r.captured)
		return false;
	p->data = r.data;
	p->captured = r.captured;
	p->len = r.len;
	p->link = link;
	p->gso_size = 0;
	p->checksum = CHECKSUM_VERIFY;
	return true;
}

bool decap(struct raw_packet *p, unsigned kinds)
{
	unsigned n = 0;

	while (n < DEEPEST && decap_once(p, kinds))
		n++;
	return n > 0;
}
