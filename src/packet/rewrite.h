#ifndef PACKET_REWRITE_H
#define PACKET_REWRITE_H

#include "packet/segment.h"
#include "packet/parse.h"

/*
 * What to change in an IP packet in place: its endpoints, ack and TSecr. The checksums are kept correct: full
 * ones incrementally (RFC 1624), partial ones as far as the pseudo-header changes.
 */
struct rewrite {
	const struct endpoint *src, *dst; /* NULL: keep. Same family as the packet */
	bool set_ack, set_tsecr;
	uint32_t ack, tsecr; /* host byte order */
};
/*
 * Change the packet of @len bytes that begins with its IP header at @packet. Returns false, and changes
 * nothing, if parse_ip() does not accept it or the address families differ.
 */
bool rewrite_packet(uint8_t *packet, size_t len, const struct rewrite *r, enum checksum_state sum);

#endif
