/*
 * SipHash (Aumasson and Bernstein 2012), with 1 round a word and 3 at the end: keyed, so that
 * whoever chooses the keys of a table (here: any client, by its port) cannot choose the bucket they
 * fall into, and fast enough for every packet. Bytes are read little-endian, as the paper says; the
 * result is the same on every machine.
 *
 * In: a key made once from the kernel's random numbers, and bytes. Out: a number. No state.
 */
#include "base/siphash.h"

#include <endian.h>
#include <string.h>

struct state {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void sip_round(struct state *s)
{
	s->v0 += s->v1;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v0 = rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v2 = rotate(s->v2, 32);
}

static inline void compress(struct state *s, uint64_t word, unsigned rounds)
{
	s->v3 ^= word;
	while (rounds--)
		sip_round(s);
	s->v0 ^= word;
}

uint64_t siphash_rounds(const struct siphash_key *key, const void *data, size_t len, unsigned each,
			unsigned last)
{
	struct state s = {
		.v0 = key->k0 ^ 0x736f6d6570736575ull,
		.v1 = key->k1 ^ 0x646f72616e646f6dull,
		.v2 = key->k0 ^ 0x6c7967656e657261ull,
		.v3 = key->k1 ^ 0x7465646279746573ull,
	};
	const unsigned char *p = data;
	uint64_t word, tail = (uint64_t)len << 56;
	size_t left = len;

	for (; left >= sizeof(word); p += sizeof(word), left -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		compress(&s, le64toh(word), each);
	}
	for (size_t i = 0; i < left; i++)
		tail |= (uint64_t)p[i] << (8 * i);
	compress(&s, tail, each);

	s.v2 ^= 0xff;
	while (last--)
		sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t siphash(const struct siphash_key *key, const void *data, size_t len)
{
	return siphash_rounds(key, data, len, 1, 3);
}
