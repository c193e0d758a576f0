#ifndef PACKET_RESPONSE_H
#define PACKET_RESPONSE_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/segment.h"

#define RESPONSE_FIRST 16

/*
 * The header of one response segment, or of several that were merged into one under pressure. Of several,
 * seq + len is the highest edge, dup_acks counts the duplicate ACKs that they stand for, flags is the OR of
 * ACK, PSH and ECE, the first bytes are those at seq, and the other fields are the newest. A record with SYN,
 * FIN or RST is never merged. All fields are in host byte order.
 */
struct response {
	uint64_t id;
	uint32_t seq, ack;
	uint32_t len;     /* payload bytes; 32 bits: super-packets */
	uint16_t window;  /* raw */
	uint8_t flags;    /* TCPF_ */
	uint8_t dup_acks; /* further duplicate ACKs merged into this record */
	uint16_t merged;  /* further records merged into this record */
	/* the first bytes of payload, as far as they are known; at most len */
	uint8_t n_first, first[RESPONSE_FIRST];
	struct tcp_options
		opt; /* timestamps and SACK blocks; of a SYN also MSS, window scale, SACK permitted */
};

/*
 * Fold the newer record *b into *a, by the rules of doc/PROTOCOL.md, "Merging". Returns false, and changes
 * nothing, if they forbid it.
 */
bool response_merge(struct response *a, const struct response *b);

/*
 * The header fields of the captured segment *s as a record with the id @id, with the first bytes of its
 * payload, as far as they were captured.
 */
struct response response_from_segment(uint64_t id, const struct segment *s);

#endif
