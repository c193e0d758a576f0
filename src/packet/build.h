#ifndef PACKET_BUILD_H
#define PACKET_BUILD_H

#include "packet/segment.h"

#define BUILD_MAX_HEADERS (40 + 20 + TCP_MAX_OPTIONS_LEN) /* IPv6 + TCP with options */

/* The length in bytes of the IP and TCP headers that @t needs, its options included. */
size_t build_headers_len(const struct tx_segment *t);

enum build_checksum {
	BUILD_CHECKSUM_FULL,   /* right TCP checksum over headers and payload */
	BUILD_CHECKSUM_PARTIAL /* pseudo-header sum only, for VIRTIO_NET_HDR_F_NEEDS_CSUM / GSO */
};

/*
 * Write the IP (RFC 791, RFC 8200) and TCP (RFC 9293) headers of @t to @out, which has room for at least
 * BUILD_MAX_HEADERS bytes. The payload is summed, not copied. Both addresses must be of the same family.
 * Returns the length of the headers in bytes. A length that is too large for its field (IPv4: the total,
 * IPv6: the payload) is written as 0; the sink must not send such a packet without GSO.
 */
size_t build_headers(uint8_t *out, const struct tx_segment *t, enum build_checksum how);

/*
 * Write headers and payload of @t into @out, with full checksums. Returns the length of the packet in bytes,
 * or 0 if it does not fit into @size bytes.
 */
size_t build_packet(uint8_t *out, size_t size, const struct tx_segment *t);

/*
 * Cut a super-packet: fill *piece with piece @i (from 0) of @t, in pieces of at most @mss payload bytes. The
 * payload is not copied. Returns false if there is no such piece. A segment without payload has one piece.
 */
bool build_piece(struct tx_segment *piece, const struct tx_segment *t, uint32_t mss, uint32_t i);

/* How many pieces build_piece() makes of @t: at least one. */
uint32_t build_piece_count(const struct tx_segment *t, uint32_t mss);

#endif
