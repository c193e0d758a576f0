#ifndef PACKET_CHECKSUM_H
#define PACKET_CHECKSUM_H

#include "packet/addr.h"

/*
 * The Internet checksum (RFC 1071). Sums are unfolded one's-complement sums of 16-bit words as they
 * lie in memory, so that results are stored without swapping. A sum that these functions return is
 * under 2^33, so sums may also be added with a plain +.
 */

/*
 * Returns @sum plus the words of the @len bytes at @data, which may have any alignment. @len may be odd only
 * in the last call for a packet.
 */
uint64_t csum_add(uint64_t sum, const void *data, size_t len);

/* @sum folded to 16 bits, not complemented. It is zero only if @sum is zero. */
uint16_t csum_fold(uint64_t sum);

/* @sum folded and complemented: the value of the header field, to be stored without swapping. */
static inline uint16_t csum_finish(uint64_t sum)
{
	return (uint16_t)~csum_fold(sum);
}

/*
 * The sum of the TCP pseudo-header (RFC 9293 3.1; RFC 8200 8.1), by one formula for both families. @tcp_len:
 * bytes of TCP header and payload, in host byte order.
 */
uint64_t csum_pseudo(const struct addr *src, const struct addr *dst, uint32_t tcp_len);

#endif
