#ifndef TEST_PACKET_VECTORS_H
#define TEST_PACKET_VECTORS_H

#include "packet/parse.h"

/* A packet that parses, and what it must parse to. */
struct good_vector {
	const char *name;
	enum link_type link;
	enum checksum_state checksum;
	uint32_t wire_len; /* 0: all bytes are there */
	uint8_t ttl, tos;
	uint16_t ip_id;
	bool df;
	uint32_t flow_label;
	const char *text; /* of segment_format() */
	const char *hex;
};

/* A packet that must be turned away, and why. */
struct bad_vector {
	const char *name;
	enum parse_reason reason;
	enum link_type link;
	enum checksum_state checksum;
	uint32_t wire_len;
	const char *hex;
};

extern const struct good_vector good_vectors[];
extern const size_t n_good_vectors;
extern const struct bad_vector bad_vectors[];
extern const size_t n_bad_vectors;

const struct good_vector *good_vector(const char *name);

/*
 * Bytes of "4500 003c ..." in a heap block of exactly their size, for the sanitizer to
 * watch; free() it.
 */
uint8_t *hex_bytes(const char *hex, size_t *len);

/* The vector as a source would deliver it; free() p.data. */
struct raw_packet good_packet(const struct good_vector *v);

/* Deterministic random numbers (xorshift64*), so that a failure repeats. */
uint64_t test_random(void);

#endif
