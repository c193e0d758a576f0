#ifndef PACKET_PARSE_H
#define PACKET_PARSE_H

#include "packet/segment.h"

/* Link layers, by libpcap's DLT_ numbers (pcap/dlt.h), without needing libpcap here. */
enum link_type {
	LINK_ETHERNET = 1,
	LINK_PPP = 9, /* or, by its first byte, Cisco HDLC */
	LINK_PPP_SERIAL = 50,
	LINK_HDLC = 104, /* Cisco's */
	LINK_RAW = 12,
	LINK_RAW_IP = 101,
	LINK_COOKED = 113,
	LINK_COOKED2 = 276,
	LINK_NULL = 0,
	LINK_LOOP = 108,
	LINK_IPV4 = 228,
	LINK_IPV6 = 229
};

/* How far the checksums of a captured packet can be trusted. */
enum checksum_state {
	/* as on the wire: IPv4's is verified always, TCP's when all bytes are there */
	CHECKSUM_VERIFY,
	/* the TCP field holds only the pseudo-header's sum (offload pending): the kernel vouches */
	CHECKSUM_PARTIAL,
	/* verified by the kernel or the device (VIRTIO_NET_HDR_F_DATA_VALID), or GRO made it */
	CHECKSUM_TRUSTED,
};

/* A packet as a source delivers it. */
struct raw_packet {
	const uint8_t *data; /* link-layer header first */
	uint32_t captured;   /* bytes at @data */
	uint32_t len;        /* bytes on the wire; >= captured */
	enum link_type link;
	enum checksum_state checksum;
	uint16_t gso_size; /* bytes, from virtio_net_hdr; 0: none */
	uint64_t time;     /* ns, CLOCK_MONOTONIC */
	uint8_t pkttype;   /* PACKET_HOST, PACKET_OUTGOING, ... of linux/if_packet.h; files: HOST */
	int ifindex;       /* 0 for files */
};

/*
 * Parse the packet *p down to TCP. Returns PARSE_OK and fills *s, whose pointers point into the packet; or
 * returns the reason why it cannot be parsed, and leaves *s undefined. Every length is checked. A packet that
 * the capture truncated parses as long as its headers are complete; then s->captured < s->len. An IP length
 * of 0 in a packet over 65535 bytes is BIG TCP, and p->len applies. The IP length cuts off Ethernet padding.
 * At most 8 IPv6 extension headers are skipped.
 */
enum parse_reason parse_packet(struct segment *s, const struct raw_packet *p);

/*
 * Returns @r, or PARSE_TCP_OPTIONS if *s parsed but has a malformed option. A client's malformed option costs
 * it only the options after it, as in Linux; a target has no business to send one.
 */
static inline enum parse_reason parse_strict(enum parse_reason r, const struct segment *s)
{
	return r == PARSE_OK && s->opt.malformed ? PARSE_TCP_OPTIONS : r;
}

/*
 * The same for a packet of @len bytes that begins with its IP header, of which the first @captured are at
 * @data. s->time and s->gso_size are 0, because only a source knows them.
 */
enum parse_reason parse_ip(struct segment *s, const uint8_t *data, uint32_t captured, uint32_t len,
			   enum checksum_state sum);

/*
 * Set *offset to where the IP header begins behind a link-layer header of the type @type, of which @captured
 * bytes are at @data, and return true. False: it is not IP, or cut off.
 */
bool parse_ip_offset(enum link_type type, const uint8_t *data, uint32_t captured, uint32_t *offset);

#endif
