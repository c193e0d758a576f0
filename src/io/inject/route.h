#ifndef IO_INJECT_ROUTE_H
#define IO_INJECT_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/addr.h"

/* What the kernel's routing (rtnetlink RTM_GETROUTE, no source given) says about a destination. */
struct route_info {
	bool local;       /* an address of this very host (RTN_LOCAL) */
	bool unreachable; /* no route, blackhole, prohibit */
	int ifindex;
	char interface[16];
	bool has_gateway;
	struct addr gateway;
	bool has_encapsulation; /* a tunnel without an interface (lwtunnel) */
	bool has_source;
	struct addr source; /* preferred source */
	uint32_t mtu;       /* of the route if set (RTAX_MTU), else of the interface; 0: unknown */
};

/*
 * Fill *r with the route to @to. Needs no privilege. Returns 0, also if there is no route (r->unreachable),
 * or -1 with errno.
 */
int route_lookup(struct route_info *r, const struct addr *to);

/*
 * The same for what this host itself sends from its address @from: that of rules for a source as well. -1
 * with EADDRNOTAVAIL or the like if @from is none of this host.
 */
int route_lookup_from(struct route_info *r, const struct addr *from, const struct addr *to);

/*
 * The kind of the interface @ifindex, as "ip -d link" has it: "veth", "tun"; empty: it has none, as a network
 * card, or there is no such interface. *@peer becomes the index of a veth's other end; 0: not on this host.
 */
void route_interface_kind(int ifindex, char kind[16], int *peer);

/*
 * Is the interface @ifindex a VXLAN with one other end? Then *@remote is that end, and *@overhead how many
 * bytes the tunnel adds to an IP packet.
 */
bool route_interface_vxlan(int ifindex, struct addr *remote, uint32_t *overhead);

/* Is *a an address of this host, on any interface? Asks the kernel. */
bool route_is_local(const struct addr *a);

#endif
