/*
 * The Internet checksum (RFC 1071).
 *
 * A one's-complement sum of 16-bit words may be taken in wider words and folded afterwards: 2^16 is
 * 1 modulo 2^16 - 1, and so is 2^64. Four accumulators with end-around carry keep the adders busy;
 * the words are added as they lie in memory, which makes the code free of byte order (RFC
 * 1071 2.B). Loads go through memcpy, so any alignment of @data will do.
 */
#include "packet/checksum.h"

#include <endian.h>
#include <netinet/in.h>

static inline uint64_t add_carry(uint64_t a, uint64_t b)
{
	a += b;
	return a + (a < b);
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t fold32(uint64_t sum)
{
	return (sum >> 32) + (sum & 0xffffffff);
}

uint64_t csum_add(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t a = sum, b = 0, c = 0, d = 0;

	for (; len >= 64; len -= 64, p += 64) {
		a = add_carry(a, load64(p));
		b = add_carry(b, load64(p + 8));
		c = add_carry(c, load64(p + 16));
		d = add_carry(d, load64(p + 24));
		a = add_carry(a, load64(p + 32));
		b = add_carry(b, load64(p + 40));
		c = add_carry(c, load64(p + 48));
		d = add_carry(d, load64(p + 56));
	}
	a = add_carry(add_carry(a, b), add_carry(c, d));
	for (; len >= 8; len -= 8, p += 8)
		a = add_carry(a, load64(p));
	/* What is left has less than 35 bits each: no carry out of 64 once folded. */
	a = fold32(a);
	if (len & 4) {
		uint32_t v;

		memcpy(&v, p, 4);
		a += v;
		p += 4;
	}
	if (len & 2) {
		uint16_t v;

		memcpy(&v, p, 2);
		a += v;
		p += 2;
	}
	if (len & 1) {
		/* the odd byte is the first of a word whose second byte is zero */
		uint16_t v = 0;

		memcpy(&v, p, 1);
		a += v;
	}
	return fold32(a);
}

uint16_t csum_fold(uint64_t sum)
{
	sum = fold32(sum);
	sum = fold32(sum);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)sum;
}

/*
 * One code path for both families: the mapped form of an IPv4 address only adds the word 0xffff,
 * which is zero in one's complement, and the protocol number keeps the sum from being a true zero.
 */
uint64_t csum_pseudo(const struct addr *src, const struct addr *dst, uint32_t tcp_len)
{
	uint64_t sum = (uint64_t)htobe32(tcp_len) + htobe16(IPPROTO_TCP);

	sum = csum_add(sum, src->b, 16);
	return csum_add(sum, dst->b, 16);
}
