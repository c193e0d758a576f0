#ifndef PACKET_SEQ_H
#define PACKET_SEQ_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Sequence numbers (RFC 9293 3.4) and timestamp values (RFC 7323 5.2) are compared modulo 2^32, and only
 * here. All values are in host byte order. The order of two values that are 2^31 apart is undefined.
 */
/* Is @a less than @b: before it on the circle? */
static inline bool seq_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}
/* Is @a @b, or before it? */
static inline bool seq_le(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}
/* Is @a greater than @b: behind it on the circle? */
static inline bool seq_gt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}
/* Is @a @b, or behind it? */
static inline bool seq_ge(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) >= 0;
}
/* The later one. */
static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
	return seq_ge(a, b) ? a : b;
}
/* The earlier one. */
static inline uint32_t seq_min(uint32_t a, uint32_t b)
{
	return seq_le(a, b) ? a : b;
}
/* Does @x lie in [@lo, @hi] on the circle? The distance from @lo to @hi must be below 2^31. */
static inline bool seq_between(uint32_t lo, uint32_t x, uint32_t hi)
{
	return x - lo <= hi - lo;
}

/* The same of timestamp values. */
#define ts_lt seq_lt
#define ts_gt seq_gt
#define ts_max seq_max

#endif
