#ifndef PACKET_DECAP_H
#define PACKET_DECAP_H

#include "packet/parse.h"

/* Tunnels and mirrors whose packets carry others. One table: enum, name as typed. */
#define DECAPS(X)                                                                                            \
	X(VXLAN, "vxlan")   /* RFC 7348, UDP port 4789 and, as Linux had it, 8472 */                         \
	X(GENEVE, "geneve") /* RFC 8926, UDP port 6081 */                                                    \
	X(ERSPAN, "erspan") /* types I, II and III, in GRE */                                                \
	X(GRE, "gre")       /* RFC 2784, 2890, with IP or Ethernet in it */                                  \
	X(IPIP, "ipip")     /* IP in IP, of either version: RFC 2003, 2473, 4213; LVS uses it */

enum decap_kind {
#define X(id, name) DECAP_BIT_##id,
	DECAPS(X)
#undef X
		DECAP_COUNT
};
#define DECAP_ALL ((1u << DECAP_COUNT) - 1)

/*
 * If *p is a packet of one of the tunnels @kinds (bits by enum decap_kind), make *p the packet that it
 * carries, whose bytes lie in those of the outer one, and return true. Else leave it as it is. Of tunnels in
 * tunnels, three are taken off. Every length is checked. An outer packet that is a fragment, or IPv6 with
 * extension headers, is none.
 */
bool decap(struct raw_packet *p, unsigned kinds);

#endif
