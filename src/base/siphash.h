#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t k0, k1;
};

/* SipHash-1-3 over @len bytes: the table's keys are chosen by clients, so an unkeyed hash could be
 * attacked. */
uint64_t siphash(const struct siphash_key *key, const void *data, size_t len);

/* The same with @each rounds a word and @last at the end; SipHash-2-4, the one with published
 * vectors, is (2, 4). */
uint64_t siphash_rounds(const struct siphash_key *key, const void *data, size_t len, unsigned each,
			unsigned last);

#endif
