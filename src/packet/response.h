#ifndef PACKET_RESPONSE_H
#define PACKET_RESPONSE_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/segment.h"

/*
 * The header of one response segment, or of several merged into one under pressure: then seq + len
 * is the highest edge seen, the other fields are the newest, dup_acks how many duplicate ACKs it
 * stands for, flags the OR of PSH and ECE (a record with SYN, FIN or RST is never merged).
 */
struct response {
	uint64_t id;
	uint32_t seq, ack;
	uint32_t len;           /* payload bytes; 32 bits: super-packets */
	uint16_t window;        /* raw */
	uint8_t flags;          /* TCPF_ */
	uint8_t dup_acks;       /* further duplicate ACKs merged into this record */
	uint16_t merged;        /* further records merged into this record */
	struct tcp_options opt; /* MSS, window scale, SACK permitted in SYN records; timestamps and
				   SACK blocks in all */
};

/* May @b (newer) be folded into @a, and do so: see struct response. False when the rules forbid it.
 */
bool response_merge(struct response *a, const struct response *b);

/* Header fields of a captured segment as a record. */
struct response response_from_segment(uint64_t id, const struct segment *s);

#endif
