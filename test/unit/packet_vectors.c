/*
 * What the tests of the packet library share: bytes from hex, and a repeatable source of
 * randomness.
 */
#include "packet_vectors.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static unsigned digit(char c)
{
	const char *digits = "0123456789abcdef", *p = strchr(digits, c);

	assert(c && p);
	return (unsigned)(p - digits);
}

uint8_t *hex_bytes(const char *hex, size_t *len)
{
	uint8_t *b = malloc(strlen(hex) / 2 + 1), *exact;
	size_t n = 0;

	assert(b);
	while (*hex) {
		if (*hex == ' ') {
			hex++;
			continue;
		}
		b[n++] = (uint8_t)(digit(hex[0]) << 4 | digit(hex[1]));
		hex += 2;
	}
	exact = malloc(n);
	assert(exact);
	memcpy(exact, b, n);
	free(b);
	*len = n;
	return exact;
}

const struct good_vector *good_vector(const char *name)
{
	size_t i;

	for (i = 0; i < n_good_vectors; i++) {
		if (strcmp(good_vectors[i].name, name) == 0)
			return &good_vectors[i];
	}
	assert(!"no such vector");
	return NULL;
}

struct raw_packet good_packet(const struct good_vector *v)
{
	struct raw_packet p = { .link = v->link, .checksum = v->checksum, .time = 42 };
	size_t n;

	p.data = hex_bytes(v->hex, &n);
	p.captured = (uint32_t)n;
	p.len = v->wire_len ? v->wire_len : p.captured;
	return p;
}

uint64_t test_random(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	return x * 0x2545f4914f6cdd1d;
}
