#ifndef PACKET_PARSE_IMPL_H
#define PACKET_PARSE_IMPL_H

#include "packet/parse.h"

/*
 * TCP from its header on: @len bytes of segment by the IP header, @captured of them present
 * (captured <= len). s->tuple's addresses are set already: the checksum, verified if @verify and
 * nothing was cut off, covers them.
 */
enum parse_reason parse_tcp(struct segment *s, const uint8_t *data, uint32_t captured, uint32_t len,
			    bool verify);

#endif
