#ifndef PACKET_PARSE_H
#define PACKET_PARSE_H

#include "packet/segment.h"

/* Link layers, by libpcap's DLT_ numbers (pcap/dlt.h), without needing libpcap here. */
enum link_type {
	LINK_ETHERNET = 1,
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
	uint16_t gso_size; /* from virtio_net_hdr; 0: none */
	uint64_t time;     /* ns, CLOCK_MONOTONIC */
	uint8_t pkttype;   /* PACKET_HOST, PACKET_OUTGOING, ... of linux/if_packet.h; files: HOST */
	int ifindex;       /* 0 for files */
};

/*
 * Parse down to TCP. On PARSE_OK *s is filled; otherwise *s is undefined. Every length is checked;
 * a packet cut short by the capture parses as long as its headers are whole (s->captured < s->len).
 * IP length 0 with a packet over 65535 is BIG TCP: the length is the ring's. Trailing Ethernet
 * padding is cut by the IP length. IPv6 extension headers: at most 8 are skipped.
 */
enum parse_reason parse_packet(struct segment *s, const struct raw_packet *p);

/*
 * A client's malformed option costs it the options behind it, as in Linux; a target has no business to send
 * one. @r, and for a segment with one PARSE_TCP_OPTIONS.
 */
static inline enum parse_reason parse_strict(enum parse_reason r, const struct segment *s)
{
	return r == PARSE_OK && s->opt.malformed ? PARSE_TCP_OPTIONS : r;
}

/* The same from the IP header on. s->time and s->gso_size are 0: only a source knows them. */
enum parse_reason parse_ip(struct segment *s, const uint8_t *data, uint32_t captured, uint32_t len,
			   enum checksum_state sum);

#endif
