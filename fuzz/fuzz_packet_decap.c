/*
 * Any bytes as a packet of a tunnel: what comes out lies within it, and the parser survives it. The first
 * byte chooses the link layer, the second one the tunnels, the third how much longer the packet was on the
 * wire.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "packet/decap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum link_type links[] = { LINK_ETHERNET, LINK_RAW,  LINK_COOKED, LINK_COOKED2,
						LINK_NULL,     LINK_IPV4, LINK_IPV6,   LINK_PPP_SERIAL };
	struct raw_packet p, outer;
	struct segment s;
	uint8_t *copy;

	if (size < 3)
		return 0;
	copy = malloc(size - 3 ? size - 3 : 1);
	assert(copy);
	memcpy(copy, data + 3, size - 3);
	p = (struct raw_packet){ .data = copy,
				 .captured = (uint32_t)(size - 3),
				 .len = (uint32_t)(size - 3) + data[2],
				 .link = links[data[0] % ARRAY_SIZE(links)] };
	outer = p;
	if (decap(&p, data[1] % (DECAP_ALL + 1))) {
		assert(p.data > outer.data && p.captured && p.captured <= p.len && p.len < outer.len);
		assert(p.data + p.captured <= outer.data + outer.captured);
		parse_packet(&s, &p);
	} else {
		assert(p.data == outer.data && p.captured == outer.captured && p.link == outer.link);
	}
	free(copy);
	return 0;
}
