#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t k0, k1;
};

/* SipHash-1-3 over @len bytes: the table's keys are chosen by clients, so an unkeyed hash could be attacked. */
uint64_t siphash(const struct siphash_key *key, const void *data, size_t len);

#endif
