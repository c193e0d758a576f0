#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t k0, k1;
};

/*
 * SipHash-1-3 of the @len bytes at @data. The hash is keyed because clients choose what is looked up in the
 * tables, and could make an unkeyed hash collide.
 */
uint64_t siphash(const struct siphash_key *key, const void *data, size_t len);

/*
 * The same with @each rounds per word and @last rounds at the end. (2, 4) is SipHash-2-4, for which test
 * vectors are published.
 */
uint64_t siphash_rounds(const struct siphash_key *key, const void *data, size_t len, unsigned each,
			unsigned last);

#endif
