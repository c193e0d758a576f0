#ifndef PACKET_BUILD_H
#define PACKET_BUILD_H

#include "packet/segment.h"

#define BUILD_MAX_HEADERS (40 + 20 + TCP_MAX_OPTIONS_LEN) /* IPv6 + TCP with options */

/* Bytes of IP + TCP headers that @t needs. */
size_t build_headers_len(const struct tx_segment *t);

enum build_checksum {
	BUILD_CHECKSUM_FULL,   /* right TCP checksum over headers and payload */
	BUILD_CHECKSUM_PARTIAL /* pseudo-header sum only, for VIRTIO_NET_HDR_F_NEEDS_CSUM / GSO */
};

/*
 * Write the IP (RFC 791, RFC 8200) and TCP (RFC 9293) headers of @t to @out, at least
 * BUILD_MAX_HEADERS bytes; the payload is summed, not copied. Both addresses are of one family.
 * Returns the headers' length. A length too big for its field (IPv4: total over 65535, IPv6:
 * payload) is written as 0; the sink must not send such a packet without GSO.
 */
size_t build_headers(uint8_t *out, const struct tx_segment *t, enum build_checksum how);

/* Headers and payload into one buffer; 0 when @size is too small. */
size_t build_packet(uint8_t *out, size_t size, const struct tx_segment *t);

/*
 * Cutting a super-packet: piece @i (from 0) of @t, at most @mss payload bytes each, into *piece.
 * False past the last. A segment without payload has one piece.
 */
bool build_piece(struct tx_segment *piece, const struct tx_segment *t, uint32_t mss, uint32_t i);
uint32_t build_piece_count(const struct tx_segment *t, uint32_t mss);

#endif
