#ifndef SESSION_TEXT_H
#define SESSION_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/segment.h"

/*
 * The words of a session script: numbers with units and segments in packetdrill's manner. All
 * parsers return NULL, or what is wrong with the text (a constant string).
 */
struct script_segment {
	uint8_t flags;
	uint32_t seq, len;
	bool has_ack, has_win, has_id, has_ttl, has_tos, has_gso, has_urg, has_options;
	uint32_t ack, win, id, ttl, tos, gso, urg;
	bool other;       /* different bytes than a client sends at this place */
	const char *says; /* the bytes that it begins with, says_len of them; NULL: as any other */
	uint32_t says_len;
	uint32_t captured;    /* cut N: payload bytes present; else len */
	uint64_t late;        /* ns: captured this much before it is handed over */
	uint32_t dup, merged; /* of a response */
	unsigned age;         /* stale: of the session before this one */
	char name[32];        /* for NAME */
	uint8_t options[TCP_MAX_OPTIONS_LEN];
	uint8_t options_len;
};

const char *script_time(const char *word, uint64_t *ns);  /* 5ms 3s 131us 0 */
const char *script_number(const char *word, uint64_t *n); /* 1000 0x10 64K 1M */
/* "S. 5000:5000 ack 1001 win 65160 <mss 1460,nop,wscale 7> for client2"; @text is cut to pieces. */
const char *script_segment(char *text, struct script_segment *s);

/* Byte @i of the payload of *s, which begins at @seq. */
uint8_t script_payload(const struct script_segment *s, uint32_t seq, uint32_t i);

/* The byte that every client sends at sequence number @seq. */
static inline uint8_t script_byte(uint32_t seq, bool other)
{
	return (uint8_t)((seq * 2654435761u >> 24) ^ (other ? 0xff : 0));
}

#endif
