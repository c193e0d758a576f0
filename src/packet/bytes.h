#ifndef PACKET_BYTES_H
#define PACKET_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* Read and write big-endian fields at any alignment. The values are in host byte order. */
/* The 2 bytes at @p. */
static inline uint16_t get_be16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}
/* The 4 bytes at @p. */
static inline uint32_t get_be32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}
/* Write @v to the 2 bytes at @p. */
static inline void put_be16(void *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof(v));
}
/* Write @v to the 4 bytes at @p. */
static inline void put_be32(void *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

#endif
