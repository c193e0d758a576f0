#ifndef PACKET_REWRITE_H
#define PACKET_REWRITE_H

#include "packet/segment.h"
#include "packet/parse.h"

/*
 * In-place change of an IP packet's endpoints, ack, and TSecr with checksums kept right:
 * incrementally (RFC 1624) where the packet's checksums are full, pseudo-header only where they are
 * partial. @packet starts with the IP header and was accepted by parse_ip().
 */
struct rewrite {
	const struct endpoint *src, *dst; /* NULL: keep. Same family as the packet */
	bool set_ack, set_tsecr;
	uint32_t ack, tsecr; /* host byte order */
};
/*
 * False when the packet is not what parse_ip() accepts or the families differ; the packet
 * is then unchanged.
 */
bool rewrite_packet(uint8_t *packet, size_t len, const struct rewrite *r, enum checksum_state sum);

#endif
