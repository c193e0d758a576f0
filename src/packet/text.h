#ifndef PACKET_TEXT_H
#define PACKET_TEXT_H

#include "packet/segment.h"

#define SEGMENT_TEXT_LEN 512
/*
 * Write the segment *s into @buf as one line in the style of tcpdump: "10.0.0.1:33800 > 10.0.0.2:6379 [P.]
 * seq 1:41 ack 7 win 115 <nop,nop,TS val 1 ecr 2> len 40". SEGMENT_TEXT_LEN bytes fit all. Returns @buf.
 */
char *segment_format(char *buf, size_t size, const struct segment *s);

/* The same for a segment that is to be sent, so that the two can be compared by eye. */
char *tx_segment_format(char *buf, size_t size, const struct tx_segment *t);

#endif
