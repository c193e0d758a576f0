#ifndef PACKET_CHECKSUM_H
#define PACKET_CHECKSUM_H

#include "packet/addr.h"

/*
 * The Internet checksum (RFC 1071). Sums are unfolded one's-complement sums of 16-bit words as they lie in memory, so that
 * results are stored without swapping.
 */
uint64_t csum_add(uint64_t sum, const void *data, size_t len); /* @len odd only in the last call of a packet */
uint16_t csum_fold(uint64_t sum);			       /* folded, not complemented */
static inline uint16_t csum_finish(uint64_t sum)	       /* folded and complemented: the value of the header field */
{
	return (uint16_t)~csum_fold(sum);
}

/* Sum of the TCP pseudo-header (RFC 9293 3.1; RFC 8200 8.1). @tcp_len: TCP header + payload in bytes. Family from the mapped form. */
uint64_t csum_pseudo(const struct addr *src, const struct addr *dst, uint32_t tcp_len);

/* RFC 1624 eqn. 3 update of header field value @check for a 16-bit word changed @from -> @to (all as in memory). Not for partial checksums. */
uint16_t csum_update16(uint16_t check, uint16_t from, uint16_t to);
uint16_t csum_update32(uint16_t check, uint32_t from, uint32_t to);

#endif
